//! What a fault must not do, and what was seen of it.

use serde::Serialize;

/// What it means if a bar is missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The server does something wrong: the run fails.
    Correctness,
    /// Latency, CPU time, memory beyond what must be: on a busy machine it says little.
    Figure,
}

/// One bar.
#[derive(Clone, Debug, Serialize)]
pub struct Bar {
    pub name: String,
    pub kind: Kind,
    pub holds: bool,
    pub seen: String,
    pub allowed: String,
}

/// All bars of a fault.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Bars(Vec<Bar>);

impl Bars {
    /// What the server must do.
    pub fn must(&mut self, name: &str, holds: bool, seen: impl ToString, allowed: impl ToString) {
        self.add(Kind::Correctness, name, holds, seen, allowed);
    }

    /// A figure to hold.
    pub fn figure(&mut self, name: &str, holds: bool, seen: impl ToString, allowed: impl ToString) {
        self.add(Kind::Figure, name, holds, seen, allowed);
    }

    /// A figure that must be at most so much, with its unit.
    pub fn at_most(&mut self, name: &str, seen: f64, allowed: f64, unit: &str) {
        let shown = |value: f64| format!("{} {unit}", round(value)).trim_end().to_owned();
        self.figure(name, seen <= allowed, shown(seen), format!("≤ {}", shown(allowed)));
    }

    /// The fault was as strong as it is said to be.
    pub fn strength(&mut self, name: &str, seen: f64, stated: f64) {
        let allowed = format!("≥ 90 % of {}", round(stated));
        self.figure(name, seen >= 0.9 * stated, round(seen), allowed);
    }

    /// A bar that was missed in one round is missed; what was seen then is kept.
    fn add(&mut self, kind: Kind, name: &str, holds: bool, seen: impl ToString, allowed: impl ToString) {
        let bar =
            Bar { name: name.to_owned(), kind, holds, seen: seen.to_string(), allowed: allowed.to_string() };
        match self.0.iter_mut().find(|known| known.name == bar.name) {
            Some(known) if known.holds => *known = bar,
            Some(_) => {}
            None => self.0.push(bar),
        }
    }

    pub fn missed(&self, kind: Kind) -> impl Iterator<Item = &Bar> {
        self.0.iter().filter(move |bar| bar.kind == kind && !bar.holds)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Bar> {
        self.0.iter()
    }
}

/// As many digits as mean something.
pub fn round(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        small if small < 10.0 => format!("{value:.2}"),
        middle if middle < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
