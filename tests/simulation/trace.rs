//! What a run did: a hash of all of it, and on demand the lines to read.
//!
//! Epochs are random in every run and never go into it.

use std::fmt::Write as _;

/// Lines shown of the connection at which a run failed, and of all.
const OWN_LINES: usize = 80;
const LAST_LINES: usize = 40;

/// Everything that has happened in a run.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    /// Whether lines are kept.
    told: bool,
    lines: Vec<(usize, String)>,
    /// The connection that something happened to last.
    pub at: usize,
}

/// Nobody in particular.
pub const NOBODY: usize = usize::MAX;

impl Trace {
    pub fn new(told: bool) -> Trace {
        Trace { hash: 0xcbf2_9ce4_8422_2325, told, lines: Vec::new(), at: NOBODY }
    }

    /// Notes that something has happened to a connection.
    pub fn note(&mut self, who: usize, what: &'static str, number: u64) {
        self.tell(who, what, number, String::new);
    }

    /// The same with more to read; what it says does not count for the hash.
    pub fn tell(&mut self, who: usize, what: &'static str, number: u64, more: impl FnOnce() -> String) {
        if who != NOBODY {
            self.at = who;
        }
        for word in [who as u64, what.len() as u64 | u64::from(what.as_bytes()[0]) << 8, number] {
            self.hash = (self.hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        if self.told {
            self.lines.push((who, format!("{what} {number} {}", more())));
        }
    }

    /// The same for bytes that were read, which count; epochs in them do not. Of lists of rooms, which are in
    /// a random order, only their number counts.
    pub fn bytes(&mut self, who: usize, what: &'static str, bytes: &[u8], order_is_random: bool) {
        let hash = if order_is_random { bytes.len() as u64 } else { hash_without_epochs(bytes) };
        self.tell(who, what, hash, || shown(bytes));
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The last lines of the connection at hand, and of all; or everything.
    pub fn show(&self, all: bool) -> String {
        let mut out = String::new();
        let last = if all { self.lines.len() } else { LAST_LINES };
        let own: Vec<&(usize, String)> = self.lines.iter().filter(|(who, _)| *who == self.at).collect();
        let _ = writeln!(out, "-- the last of connection {}", self.at as isize);
        for (_, line) in &own[own.len().saturating_sub(OWN_LINES)..] {
            let _ = writeln!(out, "   {line}");
        }
        let _ = writeln!(out, "-- the last of all {} steps", self.lines.len());
        for (who, line) in &self.lines[self.lines.len().saturating_sub(last)..] {
            let _ = writeln!(out, "   [{}] {line}", *who as isize);
        }
        out
    }
}

/// A hash of bytes and their number, in which hexadecimal digits, as epochs are written, are all the same.
fn hash_without_epochs(bytes: &[u8]) -> u64 {
    let hexadecimal = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    let mut hash = bytes.len() as u64;
    for byte in bytes {
        let counted = if hexadecimal(byte) { b'0' } else { *byte };
        hash = (hash.rotate_left(5) ^ u64::from(counted)).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
    hash
}

pub fn shown(bytes: &[u8]) -> String {
    const SHOWN: usize = 160;
    let more = if bytes.len() > SHOWN { "…" } else { "" };
    format!("{} bytes: {}{more}", bytes.len(), bytes[..bytes.len().min(SHOWN)].escape_ascii())
}
