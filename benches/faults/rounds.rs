//! One fault after the other: windows without the fault and with it take turns in one run, and then everybody
//! must have everything.

use std::time::Duration;

use crate::crowd::Crowd;
use crate::finding::{Finding, Round};
use crate::judge::{conclude, grown};
use crate::load::conductor::server::LogBook;
use crate::load::{Apart, Launcher, Setup};
pub use crate::names::Title;
use crate::settings::Size;
use crate::stage::Stage;

/// A fault that comes and goes while a crowd goes on.
pub trait Fault: Send {
    fn title(&self) -> Title;

    /// What is done, in words.
    fn done(&self, size: &Size) -> String;

    /// Up to which ratio the latency of the honest may grow.
    fn ratio_goal(&self) -> f64 {
        1.5
    }

    fn crowd(&self, size: &Size) -> Crowd {
        Crowd::new(size, size.rate)
    }

    /// How long it is measured.
    fn window(&self, size: &Size) -> Duration {
        size.window
    }

    /// Whatever else the run needs.
    fn set_up(&self, _: &Size, _: &mut Setup) {}

    /// Outside of the windows, just before the fault.
    fn prepare(&mut self, _: &mut Stage<'_>) {}

    /// The fault begins; the window with it is open.
    fn begin(&mut self, stage: &mut Stage<'_>);

    /// Again and again while it lasts.
    fn watch(&mut self, _: &mut Stage<'_>) {}

    /// The window is closed: the fault is taken off, and what it left is looked at.
    fn end(&mut self, stage: &mut Stage<'_>, round: &Round);

    /// How many errors in the server's log belong to the fault.
    fn explained_errors(&self, _: &LogBook) -> u64 {
        0
    }

    /// Names of the casts that play it.
    fn casts(&self) -> Vec<&'static str>;
}

/// What every run begins with.
pub fn setup(size: &Size) -> Setup {
    Setup {
        processes: if size.smoke { 1 } else { 2 },
        apart: Apart { processes: 1, connects_per_second: 5_000, niceness: 10 },
        connects_per_second: 3_000,
        flags: size.server_flags(),
        ..Setup::new(Launcher::this_program(&["client"]))
    }
}

/// Runs a fault.
pub fn run(fault: &mut dyn Fault, size: &Size) -> Finding {
    let mut setup = setup(size);
    fault.set_up(size, &mut setup);
    size.ask_for_flags(&mut setup.flags);
    let mut stage = Stage::new(&setup, size, fault.crowd(size));
    let began = stage.load.now();
    let causes = stage.load.server.log().causes.clone();
    let mut rounds = Vec::new();
    for round in 0..size.rounds {
        stage.round = round;
        let base = stage.measure(|stage| stage.pass(size.baseline, |_| {}));
        fault.prepare(&mut stage);
        let measured = stage.measure(|stage| {
            stage.begin_fault();
            fault.begin(stage);
            let rest = fault.window(size).saturating_sub(stage.elapsed());
            stage.pass(rest, |stage| fault.watch(stage));
        });
        rounds.push(Round { base, fault: measured });
        fault.end(&mut stage, &rounds[round]);
    }
    let causes = grown(&causes, &stage.load.server.log().causes);
    let Title { number, key, name } = fault.title();
    let mut finding = Finding {
        number: number.to_owned(),
        key: key.to_owned(),
        name,
        connections: stage.crowd.count(),
        done: fault.done(size),
        ratio_goal: Some(fault.ratio_goal()),
        rounds,
        causes,
        ..Finding::default()
    };
    stage.load.settle();
    finding.seconds = stage.load.now().since(began).as_secs_f64();
    finding.bars = std::mem::take(&mut stage.bars);
    let outcome = stage.load.finish();
    conclude(&mut finding, &outcome, &fault.casts(), fault.explained_errors(&outcome.log));
    finding
}
