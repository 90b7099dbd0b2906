//! The loop of the service: signals become orders to the server, and its health becomes notices to the service
//! manager.

use std::time::Duration;

use fanfare::ServerHandle;
use fanfare::reactor::MonotonicClock;
use fanfare::server::Health;
use fanfare::time::Time;

use super::environment::Environment;
use super::notify::{Notice, Notifier};
use super::reload::Reloading;
use super::signals::{Order, Signals};
use super::status::Status;

/// Between two looks at a server that is about to be ready.
const START_INTERVAL: Duration = Duration::from_millis(5);
/// Between two status lines, which people read.
const STATUS_INTERVAL: Duration = Duration::from_secs(2);
/// Between two signs of progress of a shutdown.
const DRAIN_INTERVAL: Duration = Duration::from_secs(1);
/// What each of them asks for: some may come late. A thread that hangs for so long is no progress.
const DRAIN_EXTENSION: Duration = Duration::from_secs(5);
/// What a shutdown may take over its own deadline.
const DRAIN_OVERTIME: Duration = Duration::from_secs(10);
/// Looks in a period of the watchdog. A thread that turns in three quarters of it keeps it quiet; one that hangs
/// is found within a period and a quarter.
const LOOKS_PER_PERIOD: u32 = 4;

/// What the service is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Running,
    /// Since then.
    Stopping(Time),
}

/// Signs of life for the service manager.
#[derive(Debug)]
struct Watchdog {
    period: Duration,
    /// How the server was when the last one was given.
    last: Health,
    /// A thread hangs, and that was said.
    is_stalled: bool,
}

/// Obeys signals, and tells the service manager, if there is one.
#[derive(Debug)]
pub struct Supervisor {
    server: ServerHandle,
    clock: MonotonicClock,
    notifier: Option<Notifier>,
    watchdog: Option<Watchdog>,
    status: Status,
    phase: Phase,
    reloading: Reloading,
    drain_max: Duration,
    next_look: Time,
    next_status: Time,
}

impl Supervisor {
    /// For a server that has just been started, and may take `drain_max` to stop.
    pub fn new(
        server: ServerHandle,
        environment: Environment,
        reloading: Reloading,
        drain_max: Duration,
    ) -> Supervisor {
        let clock = MonotonicClock::start();
        let now = clock.now();
        let Environment { notifier, watchdog, .. } = environment;
        let watch = |period| Watchdog { period, last: server.health(), is_stalled: false };
        Supervisor {
            watchdog: watchdog.map(watch),
            notifier,
            status: Status::new(server.clone(), now),
            server,
            clock,
            phase: Phase::Starting,
            reloading,
            drain_max,
            next_look: now,
            next_status: now,
        }
    }

    /// Does so until the process ends.
    pub fn run(mut self, mut signals: Signals) {
        loop {
            let most = self.look();
            for order in signals.wait(most) {
                self.obey(order);
            }
        }
    }

    /// Does what is due, and says for how long nothing will be.
    fn look(&mut self) -> Option<Duration> {
        self.notifier.as_ref()?;
        let now = self.clock.now();
        if now >= self.next_look {
            let health = self.server.health();
            self.check_readiness(&health, now);
            if self.watchdog.is_some() {
                self.give_sign_of_life(health);
            }
            self.next_look = self.look_interval().map_or(Time::NEVER, |interval| now + interval);
        }
        if now >= self.next_status {
            self.tell_status(now);
        }
        Some(self.next_look.min(self.next_status).since(now))
    }

    /// A server that is ready and has no watchdog need not be looked at.
    fn look_interval(&self) -> Option<Duration> {
        if self.phase == Phase::Starting {
            return Some(START_INTERVAL);
        }
        self.watchdog.as_ref().map(|watchdog| watchdog.period / LOOKS_PER_PERIOD)
    }

    fn check_readiness(&mut self, health: &Health, now: Time) {
        if self.phase == Phase::Starting && health.is_ready() {
            self.phase = Phase::Running;
            self.next_status = now + STATUS_INTERVAL;
            let status = self.status.running(now);
            self.tell(&[Notice::Ready, Notice::Status(status)]);
        }
    }

    /// One if every thread has turned since the last one; else says which one hangs.
    fn give_sign_of_life(&mut self, health: Health) {
        let Some(watchdog) = &mut self.watchdog else { return };
        if health.has_turned_since(&watchdog.last) {
            watchdog.last = health;
            if std::mem::take(&mut watchdog.is_stalled) {
                tracing::warn!("every thread turns again");
                self.next_status = Time::ZERO;
            }
            self.tell(&[Notice::Watchdog]);
            return;
        }
        let Some(slowest) = health.slowest().filter(|slowest| slowest.unanswered >= watchdog.period / 2)
        else {
            return;
        };
        let line = format!("{} has not turned for {} ms", slowest.thread, slowest.unanswered.as_millis());
        if !std::mem::replace(&mut watchdog.is_stalled, true) {
            tracing::error!("{line}: the service manager gets no sign of life");
        }
        self.tell(&[Notice::Status(line)]);
    }

    fn tell_status(&mut self, now: Time) {
        let is_stalled = self.watchdog.as_ref().is_some_and(|watchdog| watchdog.is_stalled);
        match self.phase {
            Phase::Starting => self.tell(&[Notice::Status("starting".to_owned())]),
            Phase::Running if is_stalled => {}
            Phase::Running => {
                let status = self.status.running(now);
                self.tell(&[Notice::Status(status)]);
            }
            Phase::Stopping(since) => {
                self.next_status = now + DRAIN_INTERVAL;
                self.tell_drain(now, since);
                return;
            }
        }
        self.next_status = now + STATUS_INTERVAL;
    }

    /// More time is asked for only as long as the drain may last and goes on.
    fn tell_drain(&mut self, now: Time, since: Time) {
        let left = self.drain_max.saturating_sub(now.since(since));
        let mut notices = vec![Notice::Status(self.status.draining(left))];
        let health = self.server.health();
        let unanswered = health.slowest().map_or(Duration::ZERO, |slowest| slowest.unanswered);
        if may_go_on(now.since(since), self.drain_max, unanswered) {
            notices.push(Notice::ExtendTimeout(DRAIN_EXTENSION));
        }
        self.tell(&notices);
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Stop(name) if matches!(self.phase, Phase::Stopping(_)) => {
                tracing::warn!("{name} again: stopping at once");
                self.reloading.flush_log();
                std::process::exit(i32::from(crate::EXIT_FAILED));
            }
            Order::Stop(name) => {
                tracing::info!("{name}: shutting down");
                let now = self.clock.now();
                self.phase = Phase::Stopping(now);
                self.tell(&[Notice::Stopping]);
                self.server.shutdown();
                self.next_status = now;
            }
            Order::Reload if matches!(self.phase, Phase::Stopping(_)) => {
                tracing::info!("SIGHUP: nothing is reloaded in a shutdown");
            }
            Order::Reload => self.reload(),
        }
    }

    fn reload(&mut self) {
        tracing::info!("SIGHUP: reading the settings again");
        // Before it is ready, that is what it is about to become in any case.
        let is_ready = self.phase == Phase::Running;
        if is_ready {
            let began = MonotonicClock::machine_time();
            self.tell(&[Notice::Reloading(began), Notice::Status("reading the settings again".to_owned())]);
        }
        let outcome = self.reloading.reload(&self.server);
        self.drain_max = outcome.drain_max.unwrap_or(self.drain_max);
        self.status.set_note(outcome.note);
        if is_ready {
            let now = self.clock.now();
            self.next_status = now + STATUS_INTERVAL;
            let status = self.status.running(now);
            self.tell(&[Notice::Ready, Notice::Status(status)]);
        }
    }

    fn tell(&mut self, notices: &[Notice]) {
        if let Some(notifier) = &mut self.notifier {
            notifier.tell(notices);
        }
    }
}

/// Whether a shutdown that has gone on for so long gets more time, with a thread that has owed a turn for so long.
fn may_go_on(gone_on: Duration, drain_max: Duration, unanswered: Duration) -> bool {
    gone_on < drain_max + DRAIN_OVERTIME && unanswered < DRAIN_EXTENSION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shutdown_gets_more_time_until_it_is_overdue_or_hangs() {
        let (step, drain_max) = (Duration::from_nanos(1), Duration::from_secs(12));
        let overdue = drain_max + DRAIN_OVERTIME;
        for (gone_on, more) in [(overdue - step, true), (overdue, false), (overdue + step, false)] {
            assert_eq!(may_go_on(gone_on, drain_max, Duration::ZERO), more, "{gone_on:?}");
        }
        for (unanswered, more) in
            [(DRAIN_EXTENSION - step, true), (DRAIN_EXTENSION, false), (DRAIN_EXTENSION + step, false)]
        {
            assert_eq!(may_go_on(Duration::ZERO, drain_max, unanswered), more, "{unanswered:?}");
        }
    }
}
