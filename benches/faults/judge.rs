//! What must hold at the end of every run, whatever the fault was.

use std::collections::BTreeMap;

use crate::finding::Finding;
use crate::load::Outcome;

/// What is new.
pub fn grown(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let known = |cause: &str| before.get(cause).copied().unwrap_or_default();
    let grown = after.iter().map(|(cause, count)| (cause.clone(), count - known(cause)));
    grown.filter(|(_, count)| *count > 0).collect()
}

/// What must hold at the end of every run.
pub fn conclude(finding: &mut Finding, outcome: &Outcome, players: &[&str], explained_errors: u64) {
    let violations = |honest: bool| -> u64 {
        let casts = outcome.casts.iter().filter(|cast| cast.honest == honest);
        casts.filter_map(|cast| cast.counts.get("violation")).sum()
    };
    finding.lost = violations(true);
    finding.complaints.clone_from(&outcome.complaints);
    for cast in outcome.casts.iter().filter(|cast| players.contains(&cast.name.as_str())) {
        for (what, count) in &cast.counts {
            *finding.counts.entry(what.clone()).or_default() += count;
        }
    }
    let received: u64 = outcome.casts.iter().filter(|cast| cast.honest).map(|cast| cast.received).sum();
    let bars = &mut finding.bars;
    bars.must(
        "every message at every honest client, once and in order, and none is cut",
        finding.lost == 0 && received > 0,
        format!("{} wrong of {received}", finding.lost),
        "0 wrong",
    );
    bars.must("the others are treated as stated", violations(false) == 0, violations(false), 0);
    let failures = &outcome.failures;
    bars.must("the run went as planned", failures.is_empty(), failures.join("; "), "no failure");
    let (base, end) = (outcome.base_descriptors, outcome.end_descriptors);
    bars.must("descriptors are back to base at the end", end <= base, end, format!("≤ {base}"));
    let states = &outcome.end_sockets.states;
    bars.must("no socket is left", states.is_empty(), format!("{states:?}"), "none");
    let stuck = outcome.close_wait_stuck;
    bars.must("no socket stays in CLOSE_WAIT", stuck == 0, stuck, 0);
    let overflows = outcome.overflows_after.count.saturating_sub(outcome.overflows_before.count);
    if outcome.overflows_after.exact {
        bars.must("listen overflows", overflows == 0, overflows, 0);
    } else {
        bars.figure("listen overflows of the whole machine", overflows == 0, overflows, 0);
    }
    let errors = outcome.log.errors;
    let first = outcome.log.alarms.first().filter(|_| errors > 0).map_or("", String::as_str);
    let seen = format!("{errors} {first}");
    bars.must("errors in the server's log", errors == explained_errors, seen.trim_end(), explained_errors);
    let code = outcome.exit_code.map_or("a signal".to_owned(), |code| code.to_string());
    bars.must("exit status after SIGTERM", outcome.exit_code == Some(0), code, 0);
    finding.compare();
}
