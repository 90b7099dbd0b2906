//! One run: a server, its client processes, and what was seen of both.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use fanfare::reactor::MonotonicClock;
use fanfare::time::Time;
use rustix::process::Signal;

use super::clients::{ClientProcess, Heard};
use super::kernel;
use super::outcome::{Apart, CastOutcome, Outcome, Setup};
use super::server::ServerProcess;
use super::state::{Sample, State};
use crate::load::cast::Cast;
use crate::load::wire::{Begin, Said, Tell};

const SECOND: Duration = Duration::from_secs(1);
/// Listing every socket of the machine takes longer than all other looks together.
const SOCKETS_EVERY: u64 = 10;
/// Between two looks at something that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long the end of a run may wait for any one thing.
const PATIENCE: Duration = Duration::from_secs(120);
/// Source addresses of one process: enough ports even if every connection lasts for a moment only.
const SOURCES: u8 = 8;

/// A run that goes on.
pub struct Load {
    pub server: ServerProcess,
    pub(super) clients: Vec<ClientProcess>,
    heard: Receiver<Heard>,
    pub state: State,
    setup: Setup,
    clock: MonotonicClock,
    began: Time,
    sample_at: Time,
    last: Cumulative,
    casts: Vec<Cast>,
    rooms: BTreeMap<String, u64>,
    rooms_heard: BTreeSet<usize>,
    settled: bool,
    ending: bool,
    pub outcome: Outcome,
}

/// Counts at the last sample.
#[derive(Debug, Default)]
struct Cumulative {
    at: Time,
    workers: Vec<f64>,
    others: f64,
    clients: f64,
    causes: BTreeMap<String, u64>,
    close_wait: BTreeSet<String>,
}

impl Load {
    /// Starts a server and its client processes; nobody connects yet.
    pub fn start(setup: &Setup) -> Load {
        let server =
            ServerProcess::start(&setup.server, &setup.listen, setup.flags.iter().map(String::as_str));
        let (sender, heard) = channel();
        let clock = MonotonicClock::start();
        let mut load = Load {
            clients: Vec::new(),
            heard,
            state: State::new(setup.processes + setup.apart.processes),
            setup: setup.clone(),
            began: clock.now(),
            sample_at: Time::ZERO,
            clock,
            last: Cumulative::default(),
            casts: Vec::new(),
            rooms: BTreeMap::new(),
            rooms_heard: BTreeSet::new(),
            settled: false,
            ending: false,
            outcome: Outcome::default(),
            server,
        };
        load.find_base();
        for process in 0..setup.processes + setup.apart.processes {
            let (fellows, connects_per_second, niceness) = match setup.apart {
                Apart { processes, connects_per_second, niceness } if process >= setup.processes => {
                    (processes, connects_per_second, niceness)
                }
                _ => (setup.processes, setup.connects_per_second, 0),
            };
            let number = process as u8 + 1;
            let begin = Begin {
                process,
                server: load.server.address.into(),
                server_process: load.server.id(),
                sources: (1..=SOURCES).map(|host| Ipv4Addr::new(127, 0, number, host)).collect(),
                connects_per_second: (connects_per_second / fellows as u32).max(1),
                niceness,
                seed: setup.seed.wrapping_add(process as u64),
            };
            load.clients.push(ClientProcess::start(&setup.launcher, &begin, sender.clone()));
        }
        load.began = load.clock.now();
        load.sample_at = load.began + SECOND;
        load.last.at = load.began;
        load
    }

    /// What the server holds before anybody comes: once it no longer changes.
    fn find_base(&mut self) {
        let (mut same, mut last) = (0, 0);
        while same < 5 {
            let _ = self.heard.recv_timeout(LOOK_EVERY / 2);
            let descriptors = kernel::descriptors(self.server.id());
            same = if descriptors == last { same + 1 } else { 0 };
            last = descriptors;
        }
        self.outcome.base_descriptors = last;
        self.outcome.base_memory = kernel::memory(self.server.id());
        self.outcome.overflows_before = kernel::overflows(self.server.address.port());
    }

    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// Seconds since the run began.
    pub fn seconds(&self) -> f64 {
        self.now().since(self.began).as_secs_f64()
    }

    /// Whether it was told from outside to end.
    pub fn is_interrupted(&self) -> bool {
        self.setup.stop.load(Ordering::Relaxed)
    }

    /// Notes what keeps the run from going as it should.
    pub fn fail(&mut self, what: String) {
        self.outcome.failures.push(what);
    }

    /// Spreads a cast over the processes.
    pub fn begin(&mut self, cast: &Cast) {
        if cast.role.is_honest() {
            self.state.add_honest(&cast.name);
        }
        self.casts.push(cast.clone());
        let (of_all, ordinary) = (self.clients.len(), self.setup.processes);
        let chosen = if cast.apart && of_all > ordinary { ordinary..of_all } else { 0..ordinary };
        for (part, process) in chosen.clone().enumerate() {
            self.clients[process].tell(&Tell::Start(cast.share(part, chosen.len())));
            self.state.add_told(process);
        }
    }

    /// Takes a cast off: the honest close, the others just go.
    pub fn stop(&mut self, cast: &str) {
        self.tell(&Tell::Stop(cast.to_owned()));
    }

    /// Closes with these codes are none of the server's faults from now on, 0 for an end without one.
    pub fn tolerate(&mut self, codes: &[u16]) {
        self.tell(&Tell::Tolerate(codes.to_vec()));
    }

    fn tell(&mut self, tell: &Tell) {
        for (process, client) in self.clients.iter_mut().enumerate() {
            client.tell(tell);
            self.state.add_told(process);
        }
    }

    /// Lets the run go on for so long, or until it is told to end.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now() + duration;
        while self.now() < end && !self.is_interrupted() {
            self.step(end);
        }
    }

    /// Lets the run go on until something is reached; notes a failure if that takes longer than `patience`.
    pub fn until(&mut self, what: &str, patience: Duration, reached: impl Fn(&State) -> bool) -> bool {
        let end = self.now() + patience;
        while !reached(&self.state) {
            if self.now() >= end {
                self.fail(format!("{what}: not within {patience:?}"));
                return false;
            }
            if self.server.has_ended() {
                self.fail(format!("{what}: the server has ended"));
                return false;
            }
            if self.is_interrupted() && !self.ending {
                return false;
            }
            // By themselves they report once a second only.
            if self.state.is_current() {
                self.tell(&Tell::Report);
            }
            let next = end.min(self.now() + LOOK_EVERY);
            while self.now() < next && !reached(&self.state) {
                self.step(next);
            }
        }
        true
    }

    /// Takes one report, or the time that has come.
    fn step(&mut self, until: Time) {
        let now = self.now();
        let next = until.min(self.sample_at).min(now + LOOK_EVERY);
        match self.heard.recv_timeout(next.since(now)) {
            Ok((process, Some(Said::Report(report)))) => self.state.take(process, report),
            Ok((process, Some(Said::Rooms(rooms)))) => {
                self.rooms_heard.insert(process);
                for (room, offset) in rooms {
                    let known = self.rooms.entry(room).or_default();
                    *known = offset.max(*known);
                }
            }
            Ok((process, None)) => self.fail(format!("client process {process} has ended")),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        if self.now() >= self.sample_at {
            self.sample();
            self.sample_at = (self.sample_at + SECOND).max(self.now());
        }
    }

    fn sample(&mut self) {
        self.look_up_cuts();
        let now = self.now();
        let process = self.server.id();
        let (workers, others) = kernel::worker_seconds(process);
        let clients = self.clients.iter().map(|client| kernel::process_seconds(client.id())).sum();
        let causes = self.server.log().causes.clone();
        let elapsed = now.since(self.last.at).as_secs_f64();
        let rate = |count: u64, before: u64| count.saturating_sub(before) as f64 / elapsed;
        let part = |seconds: f64, before: f64| ((seconds - before) / elapsed).max(0.0);
        let before = |worker: usize| self.last.workers.get(worker).copied().unwrap_or_default();
        let latency = self.state.take_second();
        let latency_ms = (latency.count() > 0)
            .then(|| [latency.quantile_ms(0.5), latency.quantile_ms(0.99), latency.max_ms()]);
        self.outcome.latency.add(&latency);
        let of_cause = |(cause, count): (&String, &u64)| {
            let before = self.last.causes.get(cause).copied().unwrap_or_default();
            (cause.clone(), rate(*count, before))
        };
        let sample = Sample {
            at: now.since(self.began).as_secs_f64(),
            open: self.state.open_in_all(),
            honest_open: self.state.honest_open(),
            sent: self.state.rates().0,
            received: self.state.rates().1,
            latency_ms,
            memory: kernel::memory(process),
            descriptors: kernel::descriptors(process),
            workers: workers.iter().enumerate().map(|(at, seconds)| part(*seconds, before(at))).collect(),
            others: part(others, self.last.others),
            clients: part(clients, self.last.clients),
            shards: self.state.shards(),
            causes: causes.iter().map(of_cause).collect(),
        };
        let mut close_wait = std::mem::take(&mut self.last.close_wait);
        if (self.outcome.samples.len() as u64).is_multiple_of(SOCKETS_EVERY) {
            let sockets = kernel::sockets(self.server.address);
            self.outcome.close_wait_stuck += sockets.close_wait.intersection(&close_wait).count();
            close_wait = sockets.close_wait;
        }
        self.outcome.samples.push(sample);
        self.last = Cumulative { at: now, workers, others, clients, causes, close_wait };
    }

    /// Publishers stop, and everybody gets what is still on its way; who does not is a violation.
    pub fn settle(&mut self) {
        self.settled = true;
        self.ending = true;
        self.tell(&Tell::Quiet);
        let settled = |state: &State| state.is_current() && state.unsettled() == 0;
        let mut is_whole = self.until("publishers have all of their own messages back", PATIENCE, settled);
        self.tell(&Tell::Rooms);
        let end = self.now() + PATIENCE;
        while self.rooms_heard.len() < self.clients.len() && self.now() < end {
            self.step(end);
        }
        let goals = self.rooms.clone();
        self.tell(&Tell::Goals(goals));
        is_whole &= self.until("everybody has every message", PATIENCE, settled);
        if !is_whole {
            self.tell(&Tell::Blame);
        }
    }

    /// Ends the run: everybody leaves, the server comes back to its base and is stopped by a signal.
    pub fn finish(mut self) -> Outcome {
        self.outcome.interrupted = self.is_interrupted();
        if !self.settled {
            self.settle();
        }
        let names: Vec<String> = self.casts.iter().map(|cast| cast.name.clone()).collect();
        for name in &names {
            self.stop(name);
        }
        self.until("everybody has left", PATIENCE, |state| state.players_in_all() == 0);
        self.await_base();
        self.hear_all();
        self.account(&names);
        self.clients.clear();
        self.server.signal(Signal::TERM);
        self.outcome.exit_code = self.server.wait();
        self.look_up_cuts();
        self.outcome.cut_unknown = std::mem::take(&mut self.state.cut);
        self.outcome.log = std::mem::take(&mut self.server.log());
        self.outcome
    }

    /// Has every process say how it stands now.
    pub(super) fn hear_all(&mut self) {
        self.tell(&Tell::Report);
        let end = self.now() + PATIENCE;
        while !self.state.is_current() && self.now() < end {
            self.step(end);
        }
        if !self.state.is_current() {
            self.fail(format!("not every client process has reported within {PATIENCE:?}"));
        }
    }

    /// Waits until the server has nothing left of anybody.
    fn await_base(&mut self) {
        let (process, address) = (self.server.id(), self.server.address);
        let end = self.now() + PATIENCE;
        loop {
            self.outcome.end_descriptors = kernel::descriptors(process);
            let has_closed = self.outcome.end_descriptors <= self.outcome.base_descriptors;
            let is_late = self.now() >= end;
            // Listing every socket of the machine takes long where there are many.
            if has_closed || is_late {
                self.outcome.end_sockets = kernel::sockets(address);
                if is_late || self.outcome.end_sockets.states.is_empty() {
                    break;
                }
            }
            let next = self.now() + LOOK_EVERY;
            self.step(next);
        }
        self.outcome.end_memory = kernel::memory(process);
        self.outcome.overflows_after = kernel::overflows_since(self.outcome.overflows_before, address.port());
    }

    fn account(&mut self, names: &[String]) {
        let state = &mut self.state;
        self.outcome.violations = state.violations();
        self.outcome.complaints = std::mem::take(&mut state.complaints);
        for name in names.iter().collect::<BTreeSet<_>>() {
            let casts = || self.casts.iter().filter(|cast| cast.name == *name);
            self.outcome.casts.push(CastOutcome {
                name: name.clone(),
                count: casts().map(|cast| cast.count).sum(),
                honest: casts().all(|cast| cast.role.is_honest()),
                sent: state.sent(name),
                received: state.received(name),
                counts: state.counts(name),
            });
        }
    }

    /// Finds in the log why slow readers were cut.
    fn look_up_cuts(&mut self) {
        let (mut log, causes) = (self.server.log(), &mut self.outcome.cut);
        self.state.cut.retain(|address| match log.take_cut(address) {
            Some(cause) => {
                *causes.entry(cause).or_default() += 1;
                false
            }
            // The log is read behind what clients see.
            None => true,
        });
    }
}
