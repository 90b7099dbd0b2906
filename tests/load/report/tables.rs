//! The tables of the report: what was checked, who played, why connections ended.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::plot::number;
use crate::load::conductor::Outcome;
use crate::load::verdict::{Judged, Verdict};

/// Text as it may stand in HTML.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

pub fn checks(verdict: &Verdict) -> String {
    let mut out = String::from("<table><tr><th></th><th>checked</th><th>seen</th></tr>\n");
    for check in &verdict.checks {
        let (class, mark) = match check.judged {
            Judged::Passed => ("good", "✓"),
            Judged::Failed => ("bad", "✗"),
            Judged::Shown => ("dim", "–"),
        };
        let detail = escaped(&check.detail);
        let _ = writeln!(
            out,
            "<tr><td class={class}>{mark}</td><td>{}</td><td class=dim>{detail}</td></tr>",
            check.name
        );
    }
    out.push_str("</table>\n");
    out
}

pub fn casts(outcome: &Outcome) -> String {
    let mut out = String::from(
        "<table class=numbers><tr><th>cast</th><th>connections</th><th>sent</th><th>received</th>\
         <th class=left>counted</th></tr>\n",
    );
    for cast in &outcome.casts {
        let _ = writeln!(
            out,
            "<tr><td>{}{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"left dim\">{}</td></tr>",
            escaped(&cast.name),
            if cast.honest { " <span class=tag>honest</span>" } else { "" },
            number(cast.count as f64),
            number(cast.sent as f64),
            number(cast.received as f64),
            counts(&cast.counts)
        );
    }
    out.push_str("</table>\n");
    out
}

pub fn counts(counts: &BTreeMap<String, u64>) -> String {
    let each = counts.iter().map(|(what, count)| format!("{} {}", number(*count as f64), escaped(what)));
    each.collect::<Vec<String>>().join(", ")
}

/// What went wrong in words, and what the server warned of.
pub fn complaints(outcome: &Outcome) -> String {
    let mut out = String::new();
    for (title, lines) in
        [("Violations, the first ones", &outcome.complaints), ("The server's warnings", &outcome.log.alarms)]
    {
        if lines.is_empty() {
            continue;
        }
        let _ = write!(out, "<h2>{title}</h2><ul class=lines>");
        for line in lines.iter().take(30) {
            let _ = write!(out, "<li>{}</li>", escaped(line));
        }
        out.push_str("</ul>\n");
    }
    out
}
