//! The tables that the README shows: a row for each load, a column for each server.

use std::fmt::Write as _;

use crate::cells::Work;
use crate::report::{Report, digits};
use crate::results::{CellResults, FANFARE, FLOOR, FLOOR_RING};

/// Their columns, as far as the servers took part.
const COLUMNS: [&str; 9] =
    [FLOOR, FLOOR_RING, FANFARE, "fastwebsockets", "tungstenite", "bun", "gorilla", "nchan", "ws"];

/// Medians of what is compared, and of the ratios to the floor; none without loads.
pub fn cpu_table(report: &Report) -> Option<String> {
    let cell = |results: &CellResults, server: &str| {
        let cost = digits(results.spread(server, results.cost())?.median);
        let ratio = results.ratio(server, FLOOR).filter(|_| server != FLOOR);
        Some(cost + &ratio.map(|ratio| format!(" (×{})", digits(ratio.median))).unwrap_or_default())
    };
    let columns = columns(report, &COLUMNS);
    let mut text = head(report, "CPU µs per message, delivery or handshake", &columns);
    for results in &report.cells {
        let name = match results.cell.work {
            Work::Idle => format!("{}: RSS bytes each", results.cell.title),
            Work::Echo | Work::Fanout | Work::Storm => results.cell.title.to_owned(),
        };
        text.push_str(&row(&name, &columns, |server| cell(results, server)));
    }
    (!report.cells.is_empty()).then_some(text)
}

/// Of it in user mode; none without loads that have messages.
pub fn user_table(report: &Report) -> Option<String> {
    let loads: Vec<&CellResults> =
        report.cells.iter().filter(|results| results.cell.work != Work::Idle).collect();
    let shown: Vec<&str> = COLUMNS.into_iter().filter(|server| *server != FLOOR_RING).collect();
    let columns = columns(report, &shown);
    let mut text = head(report, "of it in user mode, µs", &columns);
    for results in &loads {
        let cell = |server: &str| Some(digits(results.row(server)?.user_mode()?.us));
        text.push_str(&row(results.cell.title, &columns, cell));
    }
    (!loads.is_empty()).then_some(text)
}

/// Those that have a figure somewhere.
fn columns<'a>(report: &Report, shown: &[&'a str]) -> Vec<&'a str> {
    let took_part = |server: &&str| report.cells.iter().any(|results| results.row(server).is_some());
    shown.iter().copied().filter(took_part).collect()
}

fn head(report: &Report, title: &str, columns: &[&str]) -> String {
    let mut text = row(title, columns, |server| Some(report.name(server).to_owned()));
    let _ = writeln!(text, "|---|{}", "--:|".repeat(columns.len()));
    text
}

/// A line; this server's is in bold.
fn row(name: &str, columns: &[&str], cell: impl Fn(&str) -> Option<String>) -> String {
    let cells = columns.iter().map(|server| match cell(server) {
        Some(cell) if *server == FANFARE => format!(" **{cell}** |"),
        Some(cell) => format!(" {cell} |"),
        None => " – |".to_owned(),
    });
    format!("| {name} |{}\n", cells.collect::<String>())
}
