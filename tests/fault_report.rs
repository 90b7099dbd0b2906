//! What the fault tests (`benches/faults/`) take for wrong, and what they show.

#![allow(dead_code)] // they are parts of the bench

#[path = "../benches/faults/bars.rs"]
mod bars;
#[path = "../benches/faults/finding.rs"]
mod finding;
#[path = "../benches/faults/judge.rs"]
mod judge;
#[path = "load/mod.rs"]
mod load;
#[path = "../benches/faults/report.rs"]
mod report;
#[path = "../benches/faults/statistics.rs"]
mod statistics;

use bars::{Bars, Kind};
use finding::{Finding, Measured, Round};
use load::Outcome;
use load::conductor::CastOutcome;
use report::Report;
use statistics::{Quantiles, median};

fn cast(name: &str, honest: bool) -> CastOutcome {
    CastOutcome { name: name.to_owned(), honest, received: 100, ..CastOutcome::default() }
}

/// What a run ends with in which nothing is wrong.
fn clean() -> Outcome {
    Outcome {
        casts: vec![cast("members", true), cast("storm", false)],
        exit_code: Some(0),
        ..Outcome::default()
    }
}

fn measured(p99_ms: f64) -> Measured {
    let quantiles = Quantiles { count: 10, p50_ms: 1.0, p99_ms, p999_ms: p99_ms, max_ms: 2.0 * p99_ms };
    Measured { seconds: 1.0, groups: [("crowd".to_owned(), quantiles)].into(), ..Measured::default() }
}

/// A finding with rounds of these 99th percentiles, without the fault and with it.
fn finding(rounds: &[(f64, f64)]) -> Finding {
    let rounds = rounds.iter().map(|(base, fault)| Round { base: measured(*base), fault: measured(*fault) });
    Finding { ratio_goal: Some(1.5), rounds: rounds.collect(), ..Finding::default() }
}

fn concluded(outcome: &Outcome) -> Finding {
    let mut finding = finding(&[(2.0, 2.5)]);
    judge::conclude(&mut finding, outcome, &["storm"], 0);
    finding
}

#[test]
fn a_median_is_the_middle_one() {
    assert_eq!(median([]), 0.0);
    assert_eq!(median([7.0]), 7.0);
    assert_eq!(median([9.0, 1.0, 2.0]), 2.0);
    assert_eq!(median([4.0, 1.0, 2.0, 9.0]), 3.0);
}

#[test]
fn a_run_with_nothing_wrong_holds() {
    let mut outcome = clean();
    outcome.casts[1].counts.insert("reset".to_owned(), 7);
    let finding = concluded(&outcome);
    assert!(!finding.fails(true), "{:?}", finding.bars);
    assert_eq!((finding.lost, finding.counts["reset"]), (0, 7));
}

#[test]
fn each_planted_wrong_fails_the_run() {
    type Plant = fn(&mut Outcome);
    let plants: [(&str, Plant); 10] = [
        ("every message", |run| {
            run.casts[0].counts.insert("violation".to_owned(), 1);
        }),
        ("every message", |run| run.casts[0].received = 0),
        ("the others", |run| {
            run.casts[1].counts.insert("violation".to_owned(), 1);
        }),
        ("the run went", |run| run.failures.push("it did not".to_owned())),
        ("descriptors", |run| run.end_descriptors = 1),
        ("no socket is left", |run| {
            run.end_sockets.states.insert("ESTABLISHED", 1);
        }),
        ("no socket stays", |run| run.close_wait_stuck = 1),
        ("listen overflows", |run| {
            run.overflows_after.exact = true;
            run.overflows_after.count = 1;
        }),
        ("errors", |run| run.log.take("panic at src/lib.rs:1:1: oh")),
        ("exit status", |run| run.exit_code = None),
    ];
    for (name, plant) in plants {
        let mut outcome = clean();
        plant(&mut outcome);
        let finding = concluded(&outcome);
        let missed: Vec<&str> = finding.bars.missed(Kind::Correctness).map(|bar| bar.name.as_str()).collect();
        assert!(matches!(missed.as_slice(), [only] if only.starts_with(name)), "{name}: {missed:?}");
        assert!(finding.fails(false));
    }
}

#[test]
fn a_ratio_over_its_goal_is_shown_and_fails_a_strict_run_only() {
    let mut finding = finding(&[(1.0, 9.0), (2.0, 4.0), (3.0, 3.0)]);
    finding.compare();
    // Of medians: neither the worst round nor the best.
    assert_eq!(finding.worst().and_then(|worst| worst.p99_ratio), Some(2.0));
    assert_eq!((finding.fails(false), finding.fails(true)), (false, true));
    let report = Report::new(2, (5_000, 3), vec![finding]);
    let text = report.markdown();
    assert!(text.contains("**over its goal**") && text.contains("2.00 (1.5), crowd"), "{text}");
    assert_eq!((report.fails(false), report.fails(true)), (false, true));
}

#[test]
fn what_is_wrong_is_shown_before_what_is_slow() {
    let mut outcome = clean();
    outcome.casts[0].counts.insert("violation".to_owned(), 3);
    outcome.complaints.push("members 7 (process 0): room room-1: a gap".to_owned());
    let mut finding = finding(&[(1.0, 9.0)]);
    judge::conclude(&mut finding, &outcome, &[], 0);
    let text = Report::new(2, (5_000, 1), vec![finding]).markdown();
    let (wrong, slow) = (text.find("**FAILS**"), text.find("**over its goal**"));
    assert!(wrong.is_some() && wrong < slow, "{text}");
    assert!(text.contains("| 3 |") && text.contains("members 7 (process 0)"), "{text}");
}

#[test]
fn a_bar_that_was_missed_once_stays_missed() {
    let mut bars = Bars::default();
    bars.must("a", true, 1, 1);
    bars.must("a", false, 2, 1);
    bars.must("a", true, 1, 1);
    bars.at_most("b", 1.0, 2.0, "ms");
    let missed: Vec<_> = bars.missed(Kind::Correctness).map(|bar| bar.seen.as_str()).collect();
    assert_eq!(missed, ["2"]);
    assert_eq!((bars.iter().count(), bars.missed(Kind::Figure).count()), (2, 0));
}

#[test]
fn what_others_computed_meanwhile_puts_figures_in_doubt() {
    let text = |foreign_cores: f64| {
        let report = Report { foreign_cores, ..Report::new(2, (10, 1), vec![finding(&[(1.0, 1.0)])]) };
        report.markdown()
    };
    assert!(text(1.0).contains("in doubt") && !text(0.05).contains("in doubt"));
}
