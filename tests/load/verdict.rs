//! Whether a run was clean, and if not, what was wrong.

use std::fmt;
use std::time::Duration;

use super::conductor::{Outcome, Sample};

/// Growth of memory that is allowed after the warm-up.
pub const SLOPE_PERCENT_PER_HOUR: f64 = 0.1;
/// Growth in all that cannot be told from the steps in which an allocator takes memory: a slope that comes to
/// less over the measured time is allowed.
pub const GROWTH_FLOOR_BYTES: f64 = (256 << 10) as f64;
/// A slope is judged from so long a time on; before, only the growth as such is.
pub const SLOPE_TIME_MIN: Duration = Duration::from_secs(20 * 60);
/// What memory may grow by in a shorter time after the warm-up, in parts of itself.
pub const SHORT_GROWTH_MAX: f64 = 0.1;
/// How far shards may be from the mean.
pub const BALANCE_MAX: f64 = 0.1;
/// With fewer connections on a shard the balance is chance.
pub const BALANCE_CONNECTIONS_MIN: f64 = 500.0;

/// What a check has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    Passed,
    Failed,
    /// Shown only: too short or too small to tell, or not for us to tell.
    Shown,
}

/// One thing that was checked.
#[derive(Clone, Debug)]
pub struct Check {
    pub name: &'static str,
    pub judged: Judged,
    pub detail: String,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    pub checks: Vec<Check>,
}

impl Verdict {
    pub fn is_clean(&self) -> bool {
        self.failed().next().is_none()
    }

    pub fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.judged == Judged::Failed)
    }

    fn check(&mut self, name: &'static str, passed: bool, detail: String) {
        let judged = if passed { Judged::Passed } else { Judged::Failed };
        self.checks.push(Check { name, judged, detail });
    }
}

/// One line.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed: Vec<String> =
            self.failed().map(|check| format!("{} ({})", check.name, check.detail)).collect();
        if failed.is_empty() { f.write_str("clean") } else { write!(f, "NOT CLEAN: {}", failed.join("; ")) }
    }
}

/// The part of a run in which everybody was in, and the warm-up at its beginning.
#[derive(Clone, Copy, Debug, Default)]
pub struct Steady {
    pub from: f64,
    pub warm: f64,
    pub to: f64,
}

/// Judges a run.
pub fn judge(outcome: &Outcome, steady: &Steady) -> Verdict {
    let mut verdict = Verdict::default();
    judge_clients(outcome, &mut verdict);
    judge_server(outcome, &mut verdict);
    let of_part = |from: f64| -> Vec<&Sample> {
        outcome.samples.iter().filter(|sample| (from..=steady.to).contains(&sample.at)).collect()
    };
    verdict.checks.push(balance(&of_part(steady.from)));
    verdict.checks.push(memory(&of_part(steady.warm)));
    verdict.checks.push(drift(&of_part(steady.warm)));
    verdict
}

fn judge_clients(outcome: &Outcome, verdict: &mut Verdict) {
    let honest = || outcome.casts.iter().filter(|cast| cast.honest);
    let received: u64 = honest().map(|cast| cast.received).sum();
    let cut: u64 = honest().filter_map(|cast| cast.counts.get("cut")).sum();
    verdict.check(
        "every message at every honest client",
        outcome.violations == 0 && received > 0,
        format!("{received} messages checked, {} violations", outcome.violations),
    );
    verdict.check("honest connections are never cut", cut == 0, format!("{cut} cut"));
    let counted = |what: &str| -> u64 {
        outcome.casts.iter().filter(|cast| !cast.honest).filter_map(|cast| cast.counts.get(what)).sum()
    };
    let (told, unread) = (counted("cut with 1008"), counted("cut, the Close not read"));
    let unknown = outcome.cut_unknown.len();
    verdict.checks.push(Check {
        name: "slow readers are cut with the stated code",
        judged: match unknown {
            0 if told + unread == 0 => Judged::Shown,
            0 => Judged::Passed,
            _ => Judged::Failed,
        },
        detail: format!(
            "{told} read their 1008, {unread} broke off before it; the log knows the cause of all but {unknown}"
        ),
    });
    let steps = match outcome.failures.as_slice() {
        [] => "all steps were reached".to_owned(),
        failures => failures.join(", "),
    };
    verdict.check("the run went as planned", outcome.failures.is_empty(), steps);
    if outcome.interrupted {
        verdict.check("the run was not ended early", false, "by a signal".to_owned());
    }
}

fn judge_server(outcome: &Outcome, verdict: &mut Verdict) {
    let (base, end) = (outcome.base_descriptors, outcome.end_descriptors);
    verdict.check("descriptors are back to base", end <= base, format!("{base} before, {end} after"));
    let sockets: usize = outcome.end_sockets.states.values().sum();
    let close_wait = outcome.close_wait_stuck;
    verdict.check(
        "sockets are back to base, none stays in CLOSE_WAIT",
        sockets == 0 && close_wait == 0,
        format!("{sockets} left {:?}, {close_wait} in CLOSE_WAIT for long", outcome.end_sockets.states),
    );
    let before = outcome.overflows_before.count;
    let overflows = outcome.overflows_after.count.saturating_sub(before);
    let whose = if outcome.overflows_after.exact { "at its listener" } else { "on the whole machine" };
    verdict.check("the listener's queue never overflows", overflows == 0, format!("{overflows} {whose}"));
    let (errors, warnings) = (outcome.log.errors, outcome.log.warnings);
    let first = outcome.log.alarms.first().map_or(String::new(), |line| format!(", first: {line}"));
    verdict.check(
        "no error in the server's log",
        errors == 0,
        format!("{errors} errors, {warnings} warnings{first}"),
    );
    let code = outcome.exit_code.map_or("a signal".to_owned(), |code| format!("status {code}"));
    verdict.check("SIGTERM ends the server with status 0", outcome.exit_code == Some(0), code);
}

/// Mean connections of each shard over the steady part.
pub fn shard_means(samples: &[&Sample]) -> Vec<f64> {
    let shards = samples.iter().map(|sample| sample.shards.len()).max().unwrap_or_default();
    let of = |shard: usize| samples.iter().map(move |sample| sample.shards.get(shard).copied());
    (0..shards).map(|shard| of(shard).flatten().sum::<u64>() as f64 / samples.len() as f64).collect()
}

fn balance(samples: &[&Sample]) -> Check {
    let means = shard_means(samples);
    let mean = means.iter().sum::<f64>() / means.len().max(1) as f64;
    let off = means.iter().map(|shard| (shard / mean - 1.0).abs()).fold(0.0, f64::max);
    let shown: Vec<String> = means.iter().map(|mean| format!("{mean:.0}")).collect();
    let judged = match off <= BALANCE_MAX {
        _ if means.is_empty() || mean < BALANCE_CONNECTIONS_MIN => Judged::Shown,
        true => Judged::Passed,
        false => Judged::Failed,
    };
    let detail = format!("{} on each, {:.1} % off the mean at most", shown.join(" and "), off * 100.0);
    Check { name: "shards are within 10 % of each other", judged, detail }
}

/// A straight line through points, by least squares: its value in the middle and what it rises by in a second.
pub fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let count = points.len().max(1) as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (time, value) = (mean(|point| point.0), mean(|point| point.1));
    let square: f64 = points.iter().map(|(at, _)| (at - time).powi(2)).sum();
    let product: f64 = points.iter().map(|(at, what)| (at - time) * (what - value)).sum();
    (value, if square > 0.0 { product / square } else { 0.0 })
}

fn memory(samples: &[&Sample]) -> Check {
    let name = "memory does not grow after the warm-up";
    let points: Vec<(f64, f64)> =
        samples.iter().map(|sample| (sample.at, sample.memory.resident as f64)).collect();
    let ([(from, _), _, ..], Some((to, _))) = (points.as_slice(), points.last()) else {
        return Check { name, judged: Judged::Shown, detail: "no time was left for it".to_owned() };
    };
    let seconds = to - from;
    let (mean, slope) = line(&points);
    let (growth, percent) = (slope * seconds, slope * 3600.0 / mean * 100.0);
    let mebibytes = mean / f64::from(1 << 20);
    let kibibytes = growth / 1024.0;
    let shown = format!("{mebibytes:.1} MiB, {kibibytes:+.0} KiB in {seconds:.0} s");
    let (passed, rule) = if seconds >= SLOPE_TIME_MIN.as_secs_f64() {
        let passed = percent <= SLOPE_PERCENT_PER_HOUR || growth <= GROWTH_FLOOR_BYTES;
        (passed, format!("{percent:+.2} % an hour; allowed are 0.1 % an hour, or 256 KiB in all"))
    } else {
        (growth <= mean * SHORT_GROWTH_MAX, "too short for a slope; 10 % in all are allowed".to_owned())
    };
    let judged = if passed { Judged::Passed } else { Judged::Failed };
    Check { name, judged, detail: format!("{shown}: {rule}") }
}

/// The p99 of most seconds at the end beside that at the beginning. Whatever else the machine does moves it, so
/// it is shown and not judged.
fn drift(samples: &[&Sample]) -> Check {
    let median = |part: &[&Sample]| {
        let mut p99: Vec<f64> = part.iter().filter_map(|sample| Some(sample.latency_ms?[1])).collect();
        p99.sort_by(f64::total_cmp);
        p99.get(p99.len() / 2).copied().unwrap_or_default()
    };
    let third = samples.len() / 3;
    let (first, last) = (median(&samples[..third]), median(&samples[samples.len() - third..]));
    let detail =
        format!("p99 of the median second: {first:.2} ms in the first third, {last:.2} ms in the last");
    Check { name: "latency does not drift", judged: Judged::Shown, detail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::conductor::CastOutcome;
    use crate::load::conductor::kernel::Memory;

    const STEADY: Steady = Steady { from: 0.0, warm: 600.0, to: 2400.0 };

    /// A run of 40 minutes without a fault.
    fn clean() -> Outcome {
        let sample = |at: u32| Sample {
            at: f64::from(at),
            shards: vec![1000 + u64::from(at % 7), 1000],
            // A ripple that goes nowhere.
            memory: Memory { resident: (50 << 20) + u64::from(at % 11) * 4096, anonymous: 40 << 20 },
            ..Sample::default()
        };
        let members = CastOutcome { honest: true, received: 7, ..CastOutcome::default() };
        let counts = [("cut with 1008".to_owned(), 3)].into();
        let slow = CastOutcome { counts, ..CastOutcome::default() };
        Outcome {
            samples: (0..2400).map(sample).collect(),
            casts: vec![members, slow],
            exit_code: Some(0),
            ..Outcome::default()
        }
    }

    fn failures(outcome: &Outcome) -> Vec<&'static str> {
        judge(outcome, &STEADY).failed().map(|check| check.name).collect()
    }

    #[test]
    fn a_clean_run_is_clean() {
        let verdict = judge(&clean(), &STEADY);
        assert_eq!(verdict.to_string(), "clean");
        let not_judged = verdict.checks.iter().filter(|check| check.judged == Judged::Shown);
        assert_eq!(not_judged.count(), 1, "{verdict:?}");
    }

    #[test]
    fn each_planted_fault_makes_a_run_not_clean() {
        type Plant = fn(&mut Outcome);
        let plants: [(&str, Plant); 11] = [
            ("every message", |run| run.violations = 1),
            ("every message", |run| run.casts[0].received = 0),
            ("honest connections", |run| {
                run.casts[0].counts.insert("cut".to_owned(), 1);
            }),
            ("slow readers", |run| run.cut_unknown.push("127.0.0.1:1".parse().unwrap())),
            ("the run went", |run| run.failures.push("it did not".to_owned())),
            ("descriptors", |run| run.end_descriptors = 1),
            ("sockets", |run| {
                run.end_sockets.states.insert("CLOSE_WAIT", 1);
            }),
            ("sockets", |run| run.close_wait_stuck = 1),
            ("the listener's", |run| run.overflows_after.count = 1),
            ("no error", |run| run.log.take("panic at src/lib.rs:1:1: oh")),
            ("SIGTERM", |run| run.exit_code = Some(1)),
        ];
        for (name, plant) in plants {
            let mut outcome = clean();
            plant(&mut outcome);
            let failed = failures(&outcome);
            assert!(matches!(failed.as_slice(), [only] if only.starts_with(name)), "{name}: {failed:?}");
            assert!(judge(&outcome, &STEADY).to_string().starts_with("NOT CLEAN: "));
        }
    }

    #[test]
    fn memory_that_grows_and_shards_that_lean_are_seen() {
        let mut outcome = clean();
        for sample in &mut outcome.samples {
            // 1 KiB a second: 1.8 MiB in the half hour behind the warm-up.
            sample.memory.resident += sample.at as u64 * 1024;
        }
        assert_eq!(failures(&outcome), ["memory does not grow after the warm-up"]);
        let mut outcome = clean();
        for sample in &mut outcome.samples {
            sample.shards[1] = 800;
        }
        assert_eq!(failures(&outcome), ["shards are within 10 % of each other"]);
    }

    #[test]
    fn what_is_too_short_or_too_small_is_not_judged() {
        let mut outcome = clean();
        outcome.samples.truncate(700);
        for sample in &mut outcome.samples {
            sample.shards = vec![10, 30];
            sample.memory.resident += sample.at as u64 * 1024;
        }
        let verdict = judge(&outcome, &STEADY);
        assert!(verdict.is_clean(), "{verdict}");
        let not_judged = verdict.checks.iter().filter(|check| check.judged == Judged::Shown);
        assert_eq!(not_judged.count(), 2, "{verdict:?}");
    }

    #[test]
    fn a_line_has_the_slope_that_it_was_drawn_with() {
        let points: Vec<(f64, f64)> = (0..100).map(|at| (f64::from(at), 7.0 + 0.5 * f64::from(at))).collect();
        let (middle, slope) = line(&points);
        assert!((middle - (7.0 + 0.5 * 49.5)).abs() < 1e-9 && (slope - 0.5).abs() < 1e-9);
    }
}
