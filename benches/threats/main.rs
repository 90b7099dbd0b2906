//! The bars of `SECURITY.md` that are times, so that no test can hold them: `cargo bench --bench threats`.
//!
//! How the time of a head grows with the length of each of its values, a head that comes byte by byte, text,
//! names that are made to collide, and handshakes beside peers that never finish theirs. It fails if a bar is
//! missed. `THREATS_PEERS` is how many never finish.

#[path = "../common/mod.rs"]
mod common;
mod names;
mod parsing;
mod settings;
mod slow_peers;
mod text;

use std::process::ExitCode;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use common::numbers;
use common::output::say;
use settings::Size;

/// What was measured against what is allowed.
pub struct Bar {
    /// What it is about, with its unit.
    pub what: String,
    /// What was measured.
    pub seen: f64,
    /// The most or the least that is allowed.
    pub allowed: f64,
    /// Whether more is better.
    pub at_least: bool,
}

impl Bar {
    fn holds(&self) -> bool {
        if self.at_least { self.seen >= self.allowed } else { self.seen <= self.allowed }
    }
}

fn main() -> ExitCode {
    match Size::of(std::env::args().skip(1), numbers::environment) {
        Ok(size) => measure(size),
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// With `--test`, as `cargo test --benches` runs it, everything is small and nothing is judged.
fn measure(Size { peers, smoke }: Size) {
    let mut bars = parsing::run(smoke);
    bars.extend(text::run(smoke));
    bars.extend(names::run(smoke));
    bars.extend(slow_peers::run(smoke, peers));
    say(&format!("\n{:<72} {:>10} {:>10}", "bar", "seen", "allowed"));
    for bar in &bars {
        let sign = if bar.at_least { "≥" } else { "≤" };
        let verdict = if bar.holds() { "" } else { "  MISSED" };
        say(&format!("{:<72} {:>10.2} {sign} {:>8.2}{verdict}", bar.what, bar.seen, bar.allowed));
    }
    let missed = bars.iter().filter(|bar| !bar.holds()).count();
    assert!(smoke || missed == 0, "{missed} bars are missed");
}

/// Calls that are timed together: the clock itself takes a part of a microsecond.
const CALLS: u32 = 16;

/// The shortest time that this thread computes for a piece of work, over so many rounds: what it takes when
/// nobody disturbs it.
fn shortest(rounds: usize, mut work: impl FnMut()) -> Duration {
    let times = (0..rounds).map(|_| {
        let start = computed();
        (0..CALLS).for_each(|_| work());
        (computed() - start) / CALLS
    });
    times.min().unwrap_or_default()
}

/// The time that this thread has computed.
fn computed() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}
