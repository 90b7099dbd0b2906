//! The line that says how far it is, on a terminal.

use std::io::{IsTerminal, Write};
use std::sync::atomic::Ordering;

use fanfare::time::Time;

use super::course::Course;
use super::plan::Plan;
use super::table::{grouped, rate};

/// A line on standard error, if that is a terminal.
#[derive(Debug)]
pub struct Progress {
    is_terminal: bool,
    /// When it was shown last, and how many messages had come then.
    last: (Time, u64),
}

impl Progress {
    /// A line that is empty yet.
    pub fn new() -> Progress {
        Progress { is_terminal: std::io::stderr().is_terminal(), last: (Time::ZERO, 0) }
    }

    /// Shows how far it is.
    pub fn show(&mut self, plan: &Plan, course: &Course, phase: &str) {
        if !self.is_terminal {
            return;
        }
        let now = course.clock.now();
        let live = &course.live;
        let received = live.received.load(Ordering::Relaxed);
        let seconds = now.since(self.last.0).as_secs_f64().max(0.001);
        let per_second = rate((received - self.last.1) as f64 / seconds);
        self.last = (now, received);
        let open = grouped(live.open.load(Ordering::Relaxed));
        let all = grouped(u64::from(plan.connections + plan.publishers()));
        let left = match course.until().since(now).as_secs() {
            left if course.until() < Time::NEVER => format!(", {left} s left"),
            _ => String::new(),
        };
        let errors = grouped(live.errors.load(Ordering::Relaxed));
        // Nobody may be left to read it.
        let _ = write!(
            std::io::stderr(),
            "\r\x1b[K{phase}{left}: {open} of {all} connections, {per_second} messages/s, {errors} errors"
        );
    }

    /// Says something that stays, terminal or not.
    pub fn say(&mut self, line: &str) {
        self.clear();
        // Nobody may be left to read it.
        let _ = writeln!(std::io::stderr(), "{line}");
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if self.is_terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
