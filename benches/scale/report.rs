//! What was found: a table in Markdown, and the same as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::common::machine::Machine;
use crate::common::output::counted;

/// One bar.
#[derive(Debug, Serialize)]
pub struct Bar {
    pub name: String,
    pub seen: f64,
    pub allowed: f64,
    /// Whether less is better.
    pub at_most: bool,
    pub holds: bool,
    pub unit: &'static str,
}

/// What one part has found.
#[derive(Debug, Default, Serialize)]
pub struct Finding {
    pub part: &'static str,
    /// What was done, and over what.
    pub how: String,
    pub figures: Vec<(String, String)>,
    pub bars: Vec<Bar>,
    /// What could not be measured here.
    pub missing: Vec<String>,
}

impl Finding {
    pub fn new(part: &'static str, how: impl Into<String>) -> Finding {
        Finding { part, how: how.into(), ..Finding::default() }
    }

    pub fn figure(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.figures.push((name.into(), value.into()));
    }

    pub fn at_most(&mut self, name: impl Into<String>, seen: f64, allowed: f64, unit: &'static str) {
        let holds = seen <= allowed;
        self.bars.push(Bar { name: name.into(), seen, allowed, at_most: true, holds, unit });
    }

    pub fn at_least(&mut self, name: impl Into<String>, seen: f64, allowed: f64, unit: &'static str) {
        let holds = seen >= allowed;
        self.bars.push(Bar { name: name.into(), seen, allowed, at_most: false, holds, unit });
    }
}

/// All that a run has found.
#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub machine: Machine,
    pub command: String,
    pub rounds: usize,
    pub findings: Vec<Finding>,
}

impl Report {
    pub fn misses(&self) -> usize {
        self.findings.iter().flat_map(|finding| &finding.bars).filter(|bar| !bar.holds).count()
    }

    /// Parts of which nothing can be said.
    pub fn failures(&self) -> usize {
        self.findings.iter().map(|finding| finding.missing.len()).sum()
    }

    pub fn markdown(&self) -> String {
        let mut text = format!(
            "Medians of {}.\n\n{}* command: `{}`\n\n",
            counted(self.rounds, "interleaved round"),
            self.machine.markdown(),
            self.command,
        );
        text.push_str("| part | bar | seen | allowed | holds |\n|---|---|--:|--:|---|\n");
        for finding in &self.findings {
            for Bar { name, seen, allowed, at_most, holds, unit } in &finding.bars {
                let (sign, holds) = (if *at_most { "≤" } else { "≥" }, if *holds { "yes" } else { "**no**" });
                let (part, seen, allowed) = (finding.part, round(*seen), round(*allowed));
                let _ =
                    writeln!(text, "| {part} | {name} | {seen} {unit} | {sign} {allowed} {unit} | {holds} |");
            }
            for missing in &finding.missing {
                let _ = writeln!(text, "| {} | {missing} | – | – | not measured |", finding.part);
            }
        }
        for finding in &self.findings {
            let _ = writeln!(text, "\n{}: {}\n", finding.part, finding.how);
            for (name, value) in &finding.figures {
                let _ = writeln!(text, "* {name}: {value}");
            }
        }
        text
    }
}

/// As many digits as mean something.
pub fn round(value: f64) -> String {
    match value.abs() {
        small if small < 0.1 => format!("{value:.4}"),
        small if small < 10.0 => format!("{value:.2}"),
        middle if middle < 1000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
