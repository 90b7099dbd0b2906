//! F15: SIGTERM under load.

use std::time::Duration;

use rustix::process::Signal;

use crate::bars::Bars;
use crate::crowd::Crowd;
use crate::finding::{Finding, Measured, Round};
use crate::judge::grown;
use crate::rounds::{Title, setup};
use crate::settings::{Deadlines, Size};
use crate::stage::{PATIENCE, Stage};

/// Deliveries a second, for 5,000 members.
const DELIVERIES: f64 = 10_000.0;
/// What may be added to the time of a drain: by the looks at the process.
const LOOK: Duration = Duration::from_secs(1);

pub fn title() -> Title {
    Title::new("F15", "F15", "SIGTERM under load (drain)")
}

/// Each round is a server of its own, as none survives.
pub fn run(title: &Title, size: &Size) -> Finding {
    let rate = if size.smoke { size.rate } else { DELIVERIES / 5_000.0 };
    let crowd = Crowd::new(size, rate);
    let mut finding = Finding {
        number: title.number.to_owned(),
        key: title.key.to_owned(),
        name: title.name.clone(),
        connections: crowd.count(),
        done: format!(
            "the server is told to stop under {:.0} deliveries a second (--drain {:?})",
            rate * crowd.count() as f64,
            size.deadlines.drain
        ),
        ..Finding::default()
    };
    for _ in 0..size.rounds {
        play(&mut finding, size, &crowd);
    }
    finding.compare();
    finding
}

fn play(finding: &mut Finding, size: &Size, crowd: &Crowd) {
    let mut setup = setup(size);
    setup.apart.processes = 0;
    size.ask_for_flags(&mut setup.flags);
    let mut stage = Stage::new(&setup, size, crowd.clone());
    let began = stage.load.now();
    let causes = stage.load.server.log().causes.clone();
    let base = stage.measure(|stage| stage.pass(size.baseline, |_| {}));
    stage.load.tolerate(&[1001]);
    stage.pass(Duration::from_millis(200), |_| {});
    let (fault, took) = drain(&mut stage);
    finding.rounds.push(Round { base, fault });
    let code = stage.load.server.wait();
    let bars = &mut finding.bars;
    let seen = code.map_or("a signal".to_owned(), |code| code.to_string());
    bars.must("exit status", code == Some(0), seen, 0);
    let Deadlines { drain, write_timeout, .. } = size.deadlines;
    let most = drain + write_timeout + LOOK;
    bars.must("the process has ended after", took <= most, format!("{took:.2?}"), format!("≤ {most:?}"));
    // Nobody here is slow: the last is told just before the end of the drain, and leaves.
    bars.at_most("seconds until it had ended", took.as_secs_f64(), (drain + LOOK).as_secs_f64(), "s");
    account(finding, &stage, crowd);
    let log = stage.load.server.log();
    for (cause, count) in grown(&causes, &log.causes) {
        *finding.causes.entry(cause).or_default() += count;
    }
    let (errors, first) = (log.errors, log.alarms.first().map_or("", String::as_str));
    finding.bars.must("errors in the server's log", errors == 0, format!("{errors} {first}").trim_end(), 0);
    drop(log);
    finding.seconds += stage.load.now().since(began).as_secs_f64();
}

/// Tells it to stop, and waits until it has and everybody knows. Gives what was measured meanwhile, and how long
/// the process went on.
fn drain(stage: &mut Stage<'_>) -> (Measured, Duration) {
    let mut took = Duration::ZERO;
    let measured = stage.measure(|stage| {
        stage.load.server.signal(Signal::TERM);
        stage.mark();
        while !stage.load.server.has_ended() && stage.since_mark() < PATIENCE {
            stage.load.run_for(Duration::from_millis(5));
        }
        took = stage.since_mark();
        let everybody = |stage: &Stage<'_>| stage.load.state.players_in_all() == 0;
        while !everybody(stage) && stage.since_mark() < PATIENCE {
            stage.load.run_for(Duration::from_millis(20));
        }
    });
    (measured, took)
}

/// What became of everybody.
fn account(finding: &mut Finding, stage: &Stage<'_>, crowd: &Crowd) {
    let state = &stage.load.state;
    let (mut told, mut received) = (0, 0);
    for cast in &crowd.casts {
        told += state.count(&cast.name, "close 1001");
        finding.lost += state.count(&cast.name, "violation");
        received += state.received(&cast.name);
    }
    finding.complaints.extend(state.complaints.iter().cloned());
    let (lost, count) = (finding.lost, crowd.count() as u64);
    let bars: &mut Bars = &mut finding.bars;
    bars.must("everybody is told by Close 1001, behind whole messages", told == count, told, count);
    bars.must(
        "every message at every honest client, once and in order",
        lost == 0 && received > 0,
        format!("{lost} wrong of {received}"),
        "0 wrong",
    );
    let failures = &stage.load.outcome.failures;
    // The clients cannot be asked any more once the server has ended.
    let failures: Vec<&String> =
        failures.iter().filter(|what| !what.ends_with("the server has ended")).collect();
    bars.must("the run went as planned", failures.is_empty(), format!("{failures:?}"), "[]");
}
