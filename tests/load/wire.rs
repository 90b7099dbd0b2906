//! What the conductor and its client processes say to each other: one JSON text a line, on the standard
//! input and output of the client.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::cast::Cast;
use super::latency::Pairs;

/// What a client process is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Tell {
    /// The first line.
    Begin(Begin),
    Start(Cast),
    /// A cast leaves: the honest with a Close.
    Stop(String),
    /// Nothing more is published, nobody leaves or comes any more.
    Quiet,
    /// It answers with [`Said::Rooms`].
    Rooms,
    /// The last offset of each room: who is not there yet is not settled.
    Goals(BTreeMap<String, u64>),
    /// Whoever is not settled is a violation.
    Blame,
    /// It reports at once.
    Report,
    /// Closes with these codes are none of the server's faults from now on; 0 stands for an end without one.
    Tolerate(Vec<u16>),
    /// It ends at once.
    End,
}

/// Who a client process is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Begin {
    /// Its number.
    pub process: usize,
    pub server: SocketAddr,
    /// Ended if the conductor is gone without a word.
    pub server_process: u32,
    /// The addresses that it connects from, in turn.
    pub sources: Vec<Ipv4Addr>,
    /// Connections that it begins in a second at most.
    pub connects_per_second: u32,
    /// How much it stands back for others, as of `nice`; 0 for not at all.
    pub niceness: i32,
    pub seed: u64,
}

/// What a client process says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Said {
    /// Once a second, and when everybody has got where it should.
    Report(Report),
    /// The last offset that it has seen in each room.
    Rooms(BTreeMap<String, u64>),
}

/// What happened until now; counts are since the process began, latencies since the last report.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// When, in seconds of the clock that all processes share.
    pub at: f64,
    pub casts: Vec<CastReport>,
    /// Open WebSockets on each shard of the server.
    pub shards: Vec<u64>,
    pub violations: u64,
    /// The first of them in words, those that are new.
    pub complaints: Vec<String>,
    /// How many things it has been told and has done.
    pub told: u64,
    /// Players that are not where they should be before the end.
    pub unsettled: u64,
    /// Slow readers that were cut, whether they have seen why or not: the server's log must know.
    pub cut: Vec<SocketAddr>,
}

/// A cast's share of a report.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CastReport {
    pub name: String,
    /// Players that have not left for good.
    pub players: u64,
    /// Of them those whose handshake is done.
    pub open: u64,
    /// Messages sent and received.
    pub sent: u64,
    pub received: u64,
    pub received_bytes: u64,
    /// Whatever else its role counts, such as how connections ended.
    pub counts: BTreeMap<String, u64>,
    /// From when a message was meant to be sent to when it was read.
    pub latency: Pairs,
    /// From connecting to the end of the handshake.
    pub connect: Pairs,
}
