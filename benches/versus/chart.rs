//! The same as a picture: a bar for each server, a panel for each load.

use std::fmt::Write as _;

use crate::cells::Work;
use crate::report::{Report, digits};
use crate::results::{CellResults, FANFARE, FLOOR, FLOOR_PLAIN, FLOOR_RING};

const WIDTH: usize = 860;
const MARGIN: usize = 20;
const COLUMNS: usize = 2;
const PANEL_WIDTH: usize = (WIDTH - MARGIN * (COLUMNS + 1)) / COLUMNS;
const LABEL_WIDTH: usize = 128;
const VALUE_WIDTH: usize = 64;
const TITLE_HEIGHT: usize = 24;
const BAR_HEIGHT: usize = 14;
const BAR_STEP: usize = 19;
const HEAD_HEIGHT: usize = 54;
/// Bars that are more than so many times as long as this server's are cut, or nothing else could be seen.
const CUT: f64 = 4.0;

const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#1f2328}.title{font-weight:600}.quiet{fill:#59636e}\
.own{fill:#0969da}.floor{fill:#afb8c1}.peer{fill:#8250df}.cut{fill:#fff}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.quiet{fill:#9198a1}.own{fill:#4493f8}.floor{fill:#656c76}\
.peer{fill:#ab7df8}.cut{fill:#0d1117}}";

/// The whole picture; it needs nothing from elsewhere.
pub fn svg(report: &Report) -> String {
    let panels: Vec<(String, usize)> = report.cells.iter().map(|results| panel(report, results)).collect();
    let mut body = String::new();
    let mut top = HEAD_HEIGHT;
    for row in panels.chunks(COLUMNS) {
        for (column, (panel, _)) in row.iter().enumerate() {
            let left = MARGIN + column * (PANEL_WIDTH + MARGIN);
            let _ = writeln!(body, "<g transform=\"translate({left} {top})\">{panel}</g>");
        }
        top += row.iter().map(|(_, height)| height).max().unwrap_or(&0) + MARGIN;
    }
    let about = &report.about;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {top}\" role=\"img\" \
         aria-label=\"Processor time of WebSocket servers\">\n<style>{STYLE}</style>\n\
         <text x=\"{MARGIN}\" y=\"22\" class=\"title\">Processor time of the server, µs per message, delivery or \
         handshake: shorter is better</text>\n\
         <text x=\"{MARGIN}\" y=\"40\" class=\"quiet\">{}, Linux {}; medians of {} interleaved rounds; //: more than \
         {CUT} times as much as fanfare</text>\n{body}</svg>\n",
        escaped(&about.machine.processor),
        escaped(&about.machine.kernel),
        about.rounds,
    )
}

/// A panel and its height.
fn panel(report: &Report, results: &CellResults) -> (String, usize) {
    let cost = results.cost();
    let bars: Vec<(&str, f64)> = results
        .rows
        .iter()
        .filter_map(|row| Some((row.server, results.spread(row.server, cost)?.median)))
        .collect();
    let longest = bars.iter().map(|(_, cost)| *cost).fold(0.0, f64::max);
    let own = bars.iter().find(|(server, _)| *server == FANFARE).map_or(longest, |(_, cost)| *cost);
    let scale = longest.min(CUT * own).max(f64::MIN_POSITIVE);
    let unit = if results.cell.work == Work::Idle { "RSS bytes each" } else { "µs" };
    let mut text = format!(
        "<text y=\"14\" class=\"title\">{} <tspan class=\"quiet\">({unit})</tspan></text>",
        escaped(results.cell.title)
    );
    for (at, (server, cost)) in bars.iter().enumerate() {
        let top = TITLE_HEIGHT + at * BAR_STEP;
        text.push_str(&bar(report.name(server), server, *cost, scale, top));
    }
    (text, TITLE_HEIGHT + bars.len() * BAR_STEP)
}

fn bar(name: &str, server: &str, cost: f64, scale: f64, top: usize) -> String {
    let room = (PANEL_WIDTH - LABEL_WIDTH - VALUE_WIDTH) as f64;
    let is_cut = cost > scale;
    let width = (cost.min(scale) / scale * room).max(1.0);
    let class = match server {
        FANFARE => "own",
        FLOOR | FLOOR_PLAIN | FLOOR_RING => "floor",
        _ => "peer",
    };
    let (baseline, end) = (top + BAR_HEIGHT - 3, LABEL_WIDTH as f64 + width);
    let mut text = format!(
        "<text x=\"{}\" y=\"{baseline}\" text-anchor=\"end\">{}</text>\
         <rect x=\"{LABEL_WIDTH}\" y=\"{top}\" width=\"{width:.1}\" height=\"{BAR_HEIGHT}\" rx=\"2\" class=\"{class}\"/>",
        LABEL_WIDTH - 8,
        escaped(name),
    );
    if is_cut {
        for left in [end - 22.0, end - 14.0] {
            let _ = write!(
                text,
                "<path d=\"M{left:.1} {}l5 -{BAR_HEIGHT}h3l-5 {BAR_HEIGHT}z\" class=\"cut\"/>",
                top + BAR_HEIGHT
            );
        }
    }
    let _ = write!(text, "<text x=\"{:.1}\" y=\"{baseline}\">{}</text>", end + 6.0, digits(cost));
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
