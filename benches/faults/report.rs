//! The table, and the figures behind it.

use std::fmt::Write as _;

use serde::Serialize;

use crate::bars::{Bar, Kind, round};
use crate::finding::{Compared, Finding};

/// Cores that others may use before figures are in doubt.
const FOREIGN_CORES: f64 = 0.2;

/// All that a run has found.
#[derive(Debug, Serialize)]
pub struct Report {
    pub cores: usize,
    pub members: usize,
    pub rounds: usize,
    /// Cores that neither the server nor its clients have used, on the average.
    pub foreign_cores: f64,
    pub findings: Vec<Finding>,
}

impl Report {
    pub fn new(cores: usize, (members, rounds): (usize, usize), findings: Vec<Finding>) -> Report {
        let windows = findings.iter().flat_map(|finding| &finding.rounds);
        let windows: Vec<_> = windows.flat_map(|round| [&round.base, &round.fault]).collect();
        let foreign = windows.iter().map(|at| at.machine_cores - at.server_cores - at.client_cores);
        Report {
            cores,
            members,
            rounds,
            foreign_cores: foreign.sum::<f64>() / windows.len().max(1) as f64,
            findings,
        }
    }

    pub fn fails(&self, strict: bool) -> bool {
        self.findings.iter().any(|finding| finding.fails(strict))
    }

    /// The table in Markdown, and what the verdicts rest on.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        let Report { cores, members, rounds, foreign_cores, .. } = self;
        let _ = writeln!(
            text,
            "N = {members} honest members, {rounds} rounds of a window without the fault and one with it, {cores} cores for \
             the server and all clients. Latencies in ms, from the intended time of sending: medians over the rounds, max \
             the highest. Load: deliveries a second to the honest; cores of the server, of all clients, of the machine.\n"
        );
        if *foreign_cores > FOREIGN_CORES {
            let _ = writeln!(
                text,
                "**Others have used {} cores meanwhile: latencies and ratios are in doubt.**\n",
                round(*foreign_cores)
            );
        }
        text.push_str(
            "| fault | N | what was done | load without → with | p50 | p99 without → with | ratio (goal) | max | lost \
             | ends by cause | verdict |\n|---|---|---|---|---|---|---|---|---|---|---|\n",
        );
        for finding in &self.findings {
            text.push_str(&row(finding));
        }
        text.push_str(
            "| F13: system calls and allocations fail | – | the n-th call fails, n = 1, 2, 3 … | – | – | – | – | – | – | – \
             | `cargo test --test failures` |\n\n",
        );
        for finding in &self.findings {
            details(&mut text, finding);
        }
        text
    }
}

fn row(finding: &Finding) -> String {
    let causes: Vec<String> =
        finding.causes.iter().map(|(cause, count)| format!("{cause} {count}")).collect();
    let (deliveries, _) = finding.medians(|measured| measured.deliveries_per_second);
    let (_, with) = finding.medians(|measured| measured.deliveries_per_second);
    let server = finding.medians(|measured| measured.server_cores);
    let clients = finding.medians(|measured| measured.client_cores);
    let machine = finding.medians(|measured| measured.machine_cores);
    let load = |deliveries: f64, server: f64, clients: f64, machine: f64| {
        // Of a process that has ended nothing is known any more.
        let server = if server < 0.0 { "–".to_owned() } else { format!("{server:.2}") };
        format!("{deliveries:.0}/s, {server} + {clients:.2} of {machine:.2}")
    };
    let loads = format!(
        "{} → {}",
        load(deliveries, server.0, clients.0, machine.0),
        load(with, server.1, clients.1, machine.1)
    );
    let latencies = match finding.worst() {
        Some(worst) => latencies(worst, finding.ratio_goal),
        None => "– | – | – | –".to_owned(),
    };
    format!(
        "| {}: {} | {} | {} | {loads} | {latencies} | {} | {} | {} |\n",
        finding.key,
        finding.name,
        finding.connections,
        finding.done,
        finding.lost,
        causes.join(", "),
        verdict(finding),
    )
}

/// Four columns.
fn latencies(compared: &Compared, goal: Option<f64>) -> String {
    let Compared { group, base, fault, p99_ratio } = compared;
    let both = |before: f64, now: f64| match p99_ratio {
        Some(_) => format!("{} → {}", round(before), round(now)),
        None => round(now),
    };
    let ratio = match (p99_ratio, goal) {
        (Some(ratio), Some(goal)) => format!("{} ({goal}), {group}", round(*ratio)),
        (Some(ratio), None) => format!("{} (none), {group}", round(*ratio)),
        (None, _) => "–".to_owned(),
    };
    format!(
        "{} | {} | {ratio} | {}",
        both(base.p50_ms, fault.p50_ms),
        both(base.p99_ms, fault.p99_ms),
        both(base.max_ms, fault.max_ms)
    )
}

/// In words: what is wrong first, and then what is over its goal.
fn verdict(finding: &Finding) -> String {
    let said = |bar: &Bar| format!("{}: {}, {}", bar.name, bar.seen, bar.allowed);
    let wrong: Vec<String> = finding.bars.missed(Kind::Correctness).map(said).collect();
    let over: Vec<String> = finding.bars.missed(Kind::Figure).map(said).collect();
    let mut words = Vec::new();
    if !wrong.is_empty() {
        words.push(format!("**FAILS** ({})", wrong.join("; ")));
    }
    if !over.is_empty() {
        words.push(format!("**over its goal** ({})", over.join("; ")));
    }
    if words.is_empty() { "holds".to_owned() } else { words.join(", ").replace('|', "/") }
}

fn details(text: &mut String, finding: &Finding) {
    let _ = writeln!(text, "### {}: {}\n", finding.key, finding.name);
    for (number, round) in finding.rounds.iter().enumerate() {
        for (group, fault) in &round.fault.groups {
            let base = round.base.groups.get(group).copied().unwrap_or_default();
            let _ = writeln!(
                text,
                "* round {}, {group}: p50 {:.2} → {:.2}, p99 {:.2} → {:.2}, p99.9 {:.2} → {:.2}, max {:.1} → {:.1} ms of {} → {}",
                number + 1,
                base.p50_ms,
                fault.p50_ms,
                base.p99_ms,
                fault.p99_ms,
                base.p999_ms,
                fault.p999_ms,
                base.max_ms,
                fault.max_ms,
                base.count,
                fault.count,
            );
        }
    }
    if !finding.counts.is_empty() {
        let counts: Vec<String> =
            finding.counts.iter().map(|(what, count)| format!("{what} {count}")).collect();
        let _ = writeln!(text, "* they counted: {}", counts.join(", "));
    }
    for bar in finding.bars.iter() {
        let holds = match (bar.holds, bar.kind) {
            (true, _) => "holds",
            (false, Kind::Correctness) => "**FAILS**",
            (false, Kind::Figure) => "**over**",
        };
        let _ = writeln!(text, "* {holds}: {}: {}, allowed {}", bar.name, bar.seen, bar.allowed);
    }
    for complaint in &finding.complaints {
        let _ = writeln!(text, "* wrong: {complaint}");
    }
    text.push('\n');
}
