//! What is measured: one load at a time.

use serde::Serialize;

use crate::names::{Names, all_meant};

/// What the generator does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// Every message comes back.
    Echo,
    /// One publisher, and members that get what it sends.
    Fanout,
    /// Connections come and go: handshakes.
    Storm,
    /// Connections do nothing: memory.
    Idle,
}

/// One load.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// What `--list` shows and names choose.
    pub name: &'static str,
    /// In words.
    pub title: &'static str,
    pub work: Work,
    /// Of a message.
    pub size_bytes: usize,
    /// Messages that a connection, or the publisher, has under way; handshakes in a storm.
    pub in_flight: usize,
    /// Echoing connections, or members of the room.
    pub connections: usize,
    /// More rounds would say the same.
    #[serde(skip)]
    pub rounds_max: usize,
}

impl Cell {
    /// What one of what is counted is called.
    pub fn unit(&self) -> &'static str {
        match self.work {
            Work::Echo => "message",
            Work::Fanout => "delivery",
            Work::Storm => "handshake",
            Work::Idle => "connection",
        }
    }

    /// The plural of [`Cell::unit`].
    pub fn units(&self) -> &'static str {
        match self.work {
            Work::Echo => "messages",
            Work::Fanout => "deliveries",
            Work::Storm => "handshakes",
            Work::Idle => "connections",
        }
    }

    /// The same, so small that it is over at once.
    pub fn small(mut self) -> Cell {
        self.connections = self.connections.min(20);
        self.rounds_max = 1;
        self
    }
}

const fn echo(name: &'static str, title: &'static str, size: usize, in_flight: usize, count: usize) -> Cell {
    Cell {
        name,
        title,
        work: Work::Echo,
        size_bytes: size,
        in_flight,
        connections: count,
        rounds_max: usize::MAX,
    }
}

const fn fanout(
    name: &'static str,
    title: &'static str,
    size: usize,
    in_flight: usize,
    count: usize,
) -> Cell {
    Cell { work: Work::Fanout, ..echo(name, title, size, in_flight, count) }
}

pub const ECHO_16_1: &str = "echo-16b-1";
pub const ECHO_16_16: &str = "echo-16b-16";
pub const ECHO_1K_1: &str = "echo-1kib-1";
pub const ECHO_1K_16: &str = "echo-1kib-16";
pub const ECHO_64K_1: &str = "echo-64kib-1";
pub const FANOUT_64_1: &str = "fanout-64b-1";
pub const FANOUT_64_16: &str = "fanout-64b-16";
pub const FANOUT_1K_1: &str = "fanout-1kib-1";
pub const FANOUT_1K_16: &str = "fanout-1kib-16";
pub const FANOUT_16K_1: &str = "fanout-16kib-1";
pub const FANOUT_16K_16: &str = "fanout-16kib-16";
pub const STORM: &str = "handshakes";
pub const IDLE: &str = "idle";

/// Enough of them to see that everything works.
pub const SMOKE: [&str; 6] = [ECHO_16_16, ECHO_64K_1, FANOUT_64_16, FANOUT_16K_1, STORM, IDLE];

/// Those that were asked for by their names or parts of them; enough to see that everything works, or all, if none was.
///
/// # Errors
///
/// If a name is none of theirs.
pub fn chosen(asked: &[String], is_smoke: bool) -> Result<Vec<Cell>, String> {
    let all = all();
    let names: Vec<Names> = all.iter().map(|cell| [cell.name, cell.title]).collect();
    let meant = all_meant("load", asked, &names)?;
    let is_chosen = |at: usize, cell: &Cell| match asked {
        [] => !is_smoke || SMOKE.contains(&cell.name),
        _ => meant.contains(&at),
    };
    let chosen = all.into_iter().enumerate().filter(|(at, cell)| is_chosen(*at, cell));
    Ok(chosen.map(|(_, cell)| if is_smoke { cell.small() } else { cell }).collect())
}

/// All of them, in the order of the table.
pub fn all() -> Vec<Cell> {
    vec![
        echo(ECHO_16_1, "echo 16 B, 100 connections, 1 in flight", 16, 1, 100),
        echo(ECHO_16_16, "echo 16 B, 100 connections, 16 in flight", 16, 16, 100),
        echo(ECHO_1K_1, "echo 1 KiB, 100 connections, 1 in flight", 1 << 10, 1, 100),
        echo(ECHO_1K_16, "echo 1 KiB, 100 connections, 16 in flight", 1 << 10, 16, 100),
        // All of it together fits into what a processor has close by, as that of the others does.
        echo(ECHO_64K_1, "echo 64 KiB, 16 connections, 1 in flight", 64 << 10, 1, 16),
        fanout(FANOUT_64_1, "fan-out 64 B to 1,000, 1 in flight", 64, 1, 1000),
        fanout(FANOUT_64_16, "fan-out 64 B to 1,000, 16 in flight", 64, 16, 1000),
        fanout(FANOUT_1K_1, "fan-out 1 KiB to 1,000, 1 in flight", 1 << 10, 1, 1000),
        fanout(FANOUT_1K_16, "fan-out 1 KiB to 1,000, 16 in flight", 1 << 10, 16, 1000),
        fanout(FANOUT_16K_1, "fan-out 16 KiB to 500, 1 in flight", 16 << 10, 1, 500),
        fanout(FANOUT_16K_16, "fan-out 16 KiB to 500, 16 in flight", 16 << 10, 16, 500),
        Cell { work: Work::Storm, ..echo(STORM, "handshakes of 500 connections, 64 at a time", 16, 64, 500) },
        Cell { work: Work::Idle, rounds_max: 5, ..echo(IDLE, "10,000 idle connections", 16, 1, 10_000) },
    ]
}
