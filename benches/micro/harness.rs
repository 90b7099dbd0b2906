//! Times of small pieces of work, and the bars that they are held against.
//!
//! Works that are compared take turns, several rounds of them, and the median counts: what disturbs the
//! machine disturbs all of them. Shown is the time that this thread computes. The common harnesses measure one
//! work after the other and keep the figures to themselves, where ratios within a round are what is wanted.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::output::say;

const ROUNDS: usize = 15;
/// How long a work runs in a round, about.
const SLICE: Duration = Duration::from_millis(3);

/// A work that does something `times` times when it is called.
pub struct Work<'a> {
    pub times: usize,
    pub act: &'a mut dyn FnMut(),
}

/// What was seen against what is allowed.
pub struct Bar {
    pub what: String,
    pub seen: f64,
    pub allowed: f64,
    pub at_least: bool,
    /// A count is the same in every run, and so is judged in every run.
    pub is_count: bool,
}

impl Bar {
    pub fn is_met(&self) -> bool {
        if self.at_least { self.seen >= self.allowed } else { self.seen <= self.allowed }
    }
}

/// Measures, shows, and keeps the bars.
pub struct Harness {
    /// Everything runs once, and no time is judged.
    pub smoke: bool,
    pub bars: Vec<Bar>,
}

impl Harness {
    /// Medians of nanoseconds for doing each work once.
    pub fn compare<const N: usize>(&self, mut works: [Work<'_>; N]) -> [f64; N] {
        let repeats = works.each_mut().map(|work| if self.smoke { 1 } else { repeats(work) });
        let rounds = if self.smoke { 1 } else { ROUNDS };
        let mut times = [const { Vec::new() }; N];
        for _ in 0..rounds {
            for ((work, repeats), times) in works.iter_mut().zip(repeats).zip(&mut times) {
                let taken = time(work, repeats).as_nanos() as f64;
                times.push(taken / (repeats * work.times) as f64);
            }
        }
        times.map(|mut times| {
            times.sort_unstable_by(f64::total_cmp);
            times[times.len() / 2]
        })
    }

    /// The median for one work that does something once.
    pub fn time(&self, times: usize, mut act: impl FnMut()) -> f64 {
        self.compare([Work { times, act: &mut act }])[0]
    }

    pub fn bar(&mut self, bar: Bar) {
        self.bars.push(bar);
    }

    /// Whether all bars that were judged are met; shows each.
    pub fn verdict(&self) -> bool {
        say(&format!("\n{:<66} {:>9} {:>11}", "bar", "seen", "allowed"));
        let mut all_met = true;
        for bar in self.bars.iter().filter(|bar| bar.is_count || !self.smoke) {
            let sign = if bar.at_least { "≥" } else { "≤" };
            let verdict = if bar.is_met() { "met" } else { "NOT MET" };
            all_met &= bar.is_met();
            say(&format!("{:<66} {:>9.2} {sign} {:>9.2}  {verdict}", bar.what, bar.seen, bar.allowed));
        }
        all_met
    }
}

/// How often a work is to be called for a slice.
fn repeats(work: &mut Work<'_>) -> usize {
    let mut repeats = 1;
    loop {
        let taken = time(work, repeats);
        if taken >= SLICE / 4 {
            return (repeats as f64 * SLICE.as_secs_f64() / taken.as_secs_f64()) as usize + 1;
        }
        repeats *= 2;
    }
}

fn time(work: &mut Work<'_>, repeats: usize) -> Duration {
    let start = computed();
    (0..repeats).for_each(|_| (work.act)());
    computed() - start
}

fn computed() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// One line of figures.
pub fn show(what: &str, nanoseconds: f64, more: &str) {
    say(&format!("{what:<66} {nanoseconds:>9.1} ns  {more}"));
}
