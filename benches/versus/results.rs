//! What was measured, and what follows from it.

use serde::Serialize;

use crate::cells::{Cell, Work};
use crate::statistics::Spread;

/// One server under one load for one round.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Measured {
    /// Messages, deliveries or handshakes a second; connections that were held.
    pub rate: f64,
    /// Microseconds of the server's processor time, of each of them.
    pub cpu_us: f64,
    /// Of it in user mode.
    pub user_us: f64,
    /// The 99th percentile of the latency.
    pub p99_us: f64,
    /// Resident memory of the server, of each connection.
    pub rss_bytes: f64,
    /// Who could not do more: server, generator or neither.
    pub saturated: String,
}

/// A server in a cell; a round is missing if it failed.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub server: &'static str,
    pub rounds: Vec<Option<Measured>>,
}

/// All servers in a cell.
#[derive(Clone, Debug, Serialize)]
pub struct CellResults {
    pub cell: Cell,
    pub rows: Vec<Row>,
}

/// The floor, the same without coalescing, and with an io_uring.
pub const FLOOR: &str = "floor";
pub const FLOOR_PLAIN: &str = "floor-plain";
pub const FLOOR_RING: &str = "floor-ring";
/// This server, as it comes.
pub const FANFARE: &str = "fanfare";

/// Whether it is a server of others.
pub fn is_peer(server: &str) -> bool {
    ![FLOOR, FLOOR_PLAIN, FLOOR_RING, FANFARE].contains(&server)
}

impl CellResults {
    pub fn row(&self, server: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.server == server)
    }

    /// What is compared in this cell: less is better.
    pub fn cost(&self) -> fn(&Measured) -> f64 {
        match self.cell.work {
            Work::Echo | Work::Fanout | Work::Storm => |measured| measured.cpu_us,
            Work::Idle => |measured| measured.rss_bytes,
        }
    }

    /// A figure of a server.
    pub fn spread(&self, server: &str, figure: fn(&Measured) -> f64) -> Option<Spread> {
        Spread::of(self.row(server)?.rounds.iter().flatten().map(figure))
    }

    /// Microseconds in user mode of a server, all rounds together: the kernel only looks now and then which mode
    /// it is in, and in one round it may not have met the rarer one.
    pub fn user_us(&self, server: &str) -> Option<f64> {
        let rounds = || self.row(server).into_iter().flat_map(|row| row.rounds.iter().flatten());
        let count: f64 = rounds().map(|measured| measured.rate).sum();
        (count > 0.0).then(|| rounds().map(|measured| measured.user_us * measured.rate).sum::<f64>() / count)
    }

    /// How a server's cost compares with another's, of the rounds that both have: each has seen the machine as
    /// the other has.
    pub fn ratio(&self, server: &str, other: &str) -> Option<Spread> {
        let cost = self.cost();
        let pairs = self.row(server)?.rounds.iter().zip(&self.row(other)?.rounds);
        let ratio = |(own, other): (&Option<Measured>, &Option<Measured>)| {
            let (own, other) = (cost(own.as_ref()?), cost(other.as_ref()?));
            (other > 0.0).then(|| own / other)
        };
        Spread::of(pairs.filter_map(ratio))
    }
}
