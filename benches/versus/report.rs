//! The tables in Markdown, and everything in JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::bars::{Judgement, Verdict, judge};
use crate::cells::Work;
use crate::common::machine::Machine;
use crate::common::output::counted;
use crate::results::{CellResults, FANFARE, FLOOR, Measured, Row, UserMode};
use crate::statistics::Spread;
use crate::tables::{cpu_table, user_table};

/// Where and how it was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct About {
    #[serde(flatten)]
    pub machine: Machine,
    pub command: String,
    pub rounds: usize,
    pub seconds: f64,
}

/// A server that took part.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    pub key: &'static str,
    pub name: &'static str,
    pub version: String,
}

/// One that could not.
#[derive(Clone, Debug, Serialize)]
pub struct Absent {
    pub key: &'static str,
    pub name: &'static str,
    pub why: String,
}

/// A whole run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub about: About,
    pub servers: Vec<Listed>,
    pub absent: Vec<Absent>,
    pub cells: Vec<CellResults>,
    pub judgements: Vec<Judgement>,
    /// What went wrong in the rounds that are missing.
    pub failures: Vec<String>,
}

impl Report {
    pub fn new(
        about: About,
        servers: Vec<Listed>,
        absent: Vec<Absent>,
        cells: Vec<CellResults>,
        failures: Vec<String>,
    ) -> Report {
        let judgements = judge(&cells, about.machine.ticks_per_s);
        Report { about, servers, absent, cells, judgements, failures }
    }

    /// What a server is called in tables.
    pub fn name(&self, key: &str) -> &str {
        self.servers.iter().find(|server| server.key == key).map_or("?", |server| server.name)
    }

    pub fn markdown(&self) -> String {
        let mut text = self.head();
        for table in [cpu_table(self), user_table(self)].into_iter().flatten() {
            let _ = write!(text, "\n{table}");
        }
        for results in &self.cells {
            let _ = write!(text, "\n### {}\n\n", results.cell.title);
            text.push_str(&columns(results));
            for row in &results.rows {
                text.push_str(&self.row(results, row));
            }
        }
        text.push_str(
            "\n### The figures to reach\n\n| figure | load | asked | seen | |\n|--:|---|---|--:|---|\n",
        );
        for Judgement { figure, cell, asked, seen, verdict } in &self.judgements {
            let _ = writeln!(text, "| {figure} | {cell} | {asked} | {seen} | {} |", verdict.words());
        }
        for failure in &self.failures {
            let _ = write!(text, "\n* failed: {failure}");
        }
        text
    }

    fn head(&self) -> String {
        let About { machine, command, rounds, seconds } = &self.about;
        let others = self.servers.iter().filter(|server| server.key != FANFARE && !server.version.is_empty());
        let others: Vec<String> =
            others.map(|server| format!("{} {}", server.name, server.version)).collect();
        let places = match machine.cores {
            1 => "server and load generator on the same core",
            _ => "server on one core, load generator on another",
        };
        let rounds = counted(*rounds, "interleaved round");
        let mut text = format!(
            "Medians of {rounds} of {seconds} s, {places}, loopback.\nA ratio (×, ÷ floor) is the median of the ratios \
             within a round. CPU is user and system time of the server, in microseconds.\nFirst all loads, then each \
             with the quartiles (in parentheses).\n\n\
             User mode is that of all rounds together: kernels without exact accounting of it look at each tick, here \
             {:.0} a second,\nwhich mode a process is in. ± is one standard deviation: of the count of ticks, and of \
             what the units of 10 ms in `/proc/PID/stat` cut off.\n\n{}",
            machine.ticks_per_s,
            machine.markdown(),
        );
        if !others.is_empty() {
            let _ = writeln!(text, "* {}", others.join(", "));
        }
        let _ = writeln!(text, "* command: `{command}`");
        for Absent { name, why, .. } in &self.absent {
            let _ = writeln!(text, "* {name}: {why}");
        }
        text
    }

    fn row(&self, results: &CellResults, row: &Row) -> String {
        let name = self.name(row.server);
        let spread = |figure: fn(&Measured) -> f64| results.spread(row.server, figure);
        let Some(rate) = spread(|measured| measured.rate) else {
            return format!("| {name} | failed |\n");
        };
        let ratio = results.ratio(row.server, FLOOR).map_or("–".to_owned(), |ratio| shown(&ratio, 1.0));
        let scaled = |figure: fn(&Measured) -> f64, unit: f64| {
            spread(figure).map_or("–".to_owned(), |spread| shown(&spread, unit))
        };
        let bytes = scaled(|measured| measured.rss_bytes, 1.0);
        if results.cell.work == Work::Idle {
            return format!("| {name} | {bytes} | {ratio} |\n");
        }
        let rounds = || row.rounds.iter().flatten();
        let bound_rounds = rounds().filter(|measured| measured.saturated == "generator").count();
        let bound = if 2 * bound_rounds > rounds().count() { ", bound by the generator" } else { "" };
        let cpu = scaled(|measured| measured.cpu_us, 1.0);
        let uncertain = |user: UserMode| user.uncertain(self.about.machine.ticks_per_s);
        let user = row
            .user_mode()
            .map_or("–".to_owned(), |user| format!("{} ({})", digits(user.us), uncertain(user)));
        let (rate, p99) = (shown(&rate, 1.0), scaled(|measured| measured.p99_us, 1e3));
        format!("| {name} | {cpu} | {user} | {ratio} | {rate}{bound} | {p99} |\n")
    }

    /// Whether something that this server is to reach was measured and missed.
    pub fn misses(&self) -> usize {
        self.judgements.iter().filter(|judgement| judgement.verdict == Verdict::NotMet).count()
    }
}

fn columns(results: &CellResults) -> String {
    let (unit, units) = (results.cell.unit(), results.cell.units());
    match results.cell.work {
        Work::Idle => format!("| server | RSS bytes per {unit} | ÷ floor |\n|---|--:|--:|\n"),
        Work::Echo | Work::Fanout | Work::Storm => format!(
            "| server | CPU µs per {unit} | of it user mode | ÷ floor | {units} per second | p99, ms |\n\
             |---|--:|--:|--:|--:|--:|\n"
        ),
    }
}

/// The median, and behind it the quartiles, in a unit of so much.
fn shown(spread: &Spread, unit: f64) -> String {
    let number = |value: f64| digits(value / unit);
    format!("{} ({}–{})", number(spread.median), number(spread.lower_quartile), number(spread.upper_quartile))
}

/// Up to three digits or a whole number, thousands apart.
pub fn digits(value: f64) -> String {
    match value {
        _ if value == 0.0 => "0".to_owned(),
        _ if value < 0.0995 => format!("{value:.3}"),
        _ if value < 9.995 => format!("{value:.2}"),
        _ if value < 99.95 => format!("{value:.1}"),
        _ => thousands(value.round() as u64),
    }
}

fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
