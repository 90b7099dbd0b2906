//! What was measured, and what follows from it.

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::cells::{Cell, Work};
use crate::statistics::Spread;

/// One server under one load for one round.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Measured {
    /// Messages, deliveries or handshakes a second; connections that were held.
    pub rate: f64,
    /// How many of them the processor time is of.
    pub count: f64,
    /// Microseconds of the server's processor time, of each of them.
    pub cpu_us: f64,
    /// Seconds in user mode of all of them; [`UserMode`] is what a figure can be made of.
    pub user_s: f64,
    /// The 99th percentile of the latency.
    pub p99_us: f64,
    /// Resident memory of the server, of each connection.
    pub rss_bytes: f64,
    /// Who could not do more: server, generator or neither.
    pub saturated: String,
}

/// A server in a cell; a round is missing if it failed.
#[derive(Clone, Debug)]
pub struct Row {
    pub server: &'static str,
    pub rounds: Vec<Option<Measured>>,
}

impl Row {
    pub fn user_mode(&self) -> Option<UserMode> {
        UserMode::of(self.rounds.iter().flatten())
    }
}

/// With the figure that nobody should make of single rounds.
impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut row = serializer.serialize_struct("Row", 3)?;
        row.serialize_field("server", self.server)?;
        row.serialize_field("user_mode", &self.user_mode())?;
        row.serialize_field("rounds", &self.rounds)?;
        row.end()
    }
}

/// Units of `/proc/PID/stat` a second, on every machine.
const USER_HZ: f64 = 100.0;

/// What a server used in user mode, all rounds together. Most kernels know how long a process ran, and share that out by
/// the mode in which their ticks met it: of a hundredth of a second in a round there are two or three.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct UserMode {
    /// Microseconds of each message, delivery or handshake.
    pub us: f64,
    pub seconds: f64,
    pub rounds: usize,
}

impl UserMode {
    /// None if nothing came in any round.
    fn of<'a>(rounds: impl Iterator<Item = &'a Measured>) -> Option<UserMode> {
        let add = |(count, seconds, rounds), measured: &Measured| {
            (count + measured.count, seconds + measured.user_s, rounds + 1)
        };
        let (count, seconds, rounds) = rounds.fold((0.0, 0.0, 0), add);
        (count > 0.0).then(|| UserMode { us: seconds * 1e6 / count, seconds, rounds })
    }

    /// About how many ticks have met it: the kernel shows the time that it was shared out, not their number.
    pub fn ticks(&self, ticks_per_s: f64) -> f64 {
        self.seconds * ticks_per_s
    }

    /// How far it may be off, one standard deviation as a part of itself: by chance the ticks are more or less by their
    /// square root, and each round begins and ends somewhere in a unit of the file, of which both are cut off.
    pub fn uncertainty(&self, ticks_per_s: f64) -> f64 {
        let ticks = self.ticks(ticks_per_s);
        let cut_off = self.rounds as f64 * (ticks_per_s / USER_HZ).powi(2) / 6.0;
        (ticks + cut_off).sqrt() / ticks
    }

    /// The same in words: of less than a tick nothing can be said.
    pub fn uncertain(&self, ticks_per_s: f64) -> String {
        match self.ticks(ticks_per_s) {
            ticks if ticks < 1.0 => "± ?".to_owned(),
            _ => format!("± {:.0} %", (self.uncertainty(ticks_per_s) * 100.0).max(1.0)),
        }
    }
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
