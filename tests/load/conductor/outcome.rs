//! What a run is set up with, and what it has shown.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::clients::Launcher;
use super::kernel::{Memory, Overflows, Sockets};
use super::server::LogBook;
use super::state::Sample;
use crate::load::latency::Latency;

/// How a run is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    pub launcher: Launcher,
    /// Client processes.
    pub processes: usize,
    /// Further ones, for casts that are to play apart from the others.
    pub apart: Apart,
    /// What serves: the real binary, or another program that takes its flags and logs as it does.
    pub server: Launcher,
    /// Flags of the server beside its address and its log.
    pub flags: Vec<String>,
    /// Where it listens; port 0 for a free one.
    pub listen: String,
    /// Connections that all clients together begin in a second at most.
    pub connects_per_second: u32,
    pub seed: u64,
    /// Set from outside to end early.
    pub stop: Arc<AtomicBool>,
}

/// Client processes that stand back for the others: on a few cores those who play a fault would else take
/// the time of those whose latency is measured, which says nothing of the server.
#[derive(Clone, Copy, Debug)]
pub struct Apart {
    pub processes: usize,
    /// Connections that all of them together begin in a second at most.
    pub connects_per_second: u32,
    /// As of `nice`.
    pub niceness: i32,
}

impl Setup {
    pub fn new(launcher: Launcher) -> Setup {
        Setup {
            launcher,
            processes: 2,
            apart: Apart { processes: 0, connects_per_second: 2_000, niceness: 10 },
            server: Launcher::of_the_server(),
            flags: Vec::new(),
            listen: "127.0.0.1:0".to_owned(),
            connects_per_second: 2_000,
            seed: 1,
            stop: Arc::default(),
        }
    }
}

/// A cast's account at the end.
#[derive(Clone, Debug, Default)]
pub struct CastOutcome {
    pub name: String,
    pub count: usize,
    pub honest: bool,
    pub sent: u64,
    pub received: u64,
    pub counts: BTreeMap<String, u64>,
}

/// Everything that a run has shown.
#[derive(Debug, Default)]
pub struct Outcome {
    pub samples: Vec<Sample>,
    pub casts: Vec<CastOutcome>,
    /// What clients found wrong, the first ones in words.
    pub violations: u64,
    pub complaints: Vec<String>,
    /// What kept the run from going as it should.
    pub failures: Vec<String>,
    pub interrupted: bool,
    /// Latencies of honest members over the whole run.
    pub latency: Latency,
    pub base_memory: Memory,
    pub end_memory: Memory,
    pub base_descriptors: usize,
    pub end_descriptors: usize,
    /// Sockets of the server when everybody had left.
    pub end_sockets: Sockets,
    /// Sockets that were in `CLOSE_WAIT` at two looks in a row.
    pub close_wait_stuck: usize,
    pub overflows_before: Overflows,
    pub overflows_after: Overflows,
    /// Slow readers that were cut, by the cause in the log; and those that the log does not know.
    pub cut: BTreeMap<String, u64>,
    pub cut_unknown: Vec<SocketAddr>,
    pub exit_code: Option<i32>,
    pub log: LogBook,
}
