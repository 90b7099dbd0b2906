//! A soak: the mix comes, stays for a while, and leaves; then it is judged.

use std::time::Duration;

use super::conductor::{Load, Outcome, Setup};
use super::mix::Mix;
use super::verdict::{Steady, Verdict, judge};

/// How long those who stay may take to come in, and a second for so many of them.
const ARRIVAL: Duration = Duration::from_secs(60);
const ARRIVALS_PER_SECOND: u32 = 200;

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub mix: Mix,
    /// From when everybody is in.
    pub duration: Duration,
    /// At the beginning of that, before memory is judged.
    pub warm_up: Duration,
}

impl Plan {
    /// A plan for so long, with what follows from that.
    pub fn new(connections: usize, duration: Duration) -> Plan {
        // Windows fill until messages leave them by age: before that memory grows as it should.
        let history_age = (duration / 10).clamp(Duration::from_secs(30), Duration::from_secs(300));
        let warm_up = (duration / 6).max(history_age * 3 / 2).min(duration * 3 / 4);
        Plan { mix: Mix { connections, rate: 1.0, stay: 5.0, history_age }, duration, warm_up }
    }

    /// Flags of the server that belong to the plan.
    pub fn flags(&self) -> Vec<String> {
        let seconds = self.mix.history_age.as_secs();
        vec!["--history-age".to_owned(), format!("{seconds}s")]
    }
}

/// A finished soak.
#[derive(Debug)]
pub struct Soak {
    pub outcome: Outcome,
    pub steady: Steady,
    pub verdict: Verdict,
}

/// Runs it. `tell` is given a line now and then.
pub fn run(plan: &Plan, setup: &Setup, tell: &mut dyn FnMut(&str)) -> Soak {
    let mut setup = setup.clone();
    setup.flags.splice(0..0, plan.flags());
    let mut load = Load::start(&setup);
    tell(&format!("the server listens on {}, process {}", load.server.address, load.server.id()));
    let steady_casts = plan.mix.steady();
    for cast in &plan.mix.casts() {
        load.begin(cast);
    }
    let patience = ARRIVAL + Duration::from_secs(1) * (plan.mix.connections as u32 / ARRIVALS_PER_SECOND);
    load.until("those who stay are in", patience, |state| {
        steady_casts.iter().all(|cast| state.open(&cast.name) == cast.count as u64)
    });
    let mut steady = Steady { from: load.seconds(), ..Steady::default() };
    steady.warm = steady.from + plan.warm_up.as_secs_f64();
    tell(&format!("{} connections are open after {:.1} s", load.state.open_in_all(), steady.from));
    stay(&mut load, plan, tell);
    steady.to = load.seconds();
    tell("publishers stop, everybody gets what is on its way");
    load.settle();
    tell("everybody leaves");
    let outcome = load.finish();
    let verdict = judge(&outcome, &steady);
    Soak { outcome, steady, verdict }
}

/// Says how it goes every tenth of the time.
fn stay(load: &mut Load, plan: &Plan, tell: &mut dyn FnMut(&str)) {
    let part = plan.duration / 10;
    for _ in 0..10 {
        load.run_for(part);
        if load.is_interrupted() {
            tell("it is told to end early");
            return;
        }
        if load.server.has_ended() {
            return load.fail("the server has ended by itself".to_owned());
        }
        let Some(sample) = load.outcome.samples.last() else { continue };
        let [p50, p99, max] = sample.latency_ms.unwrap_or_default();
        let cores: f64 = sample.workers.iter().sum();
        tell(&format!(
            "{:>6.0} s: {} open, {:.0} in/s, {:.0} out/s, latency {p50:.1}/{p99:.1}/{max:.0} ms, \
             {:.1} MiB, workers {cores:.2} cores, clients {:.2}, {} violations",
            sample.at,
            sample.open,
            sample.sent,
            sample.received,
            sample.memory.resident as f64 / f64::from(1 << 20),
            sample.clients,
            load.state.violations()
        ));
    }
}
