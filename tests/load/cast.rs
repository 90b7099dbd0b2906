//! What clients do, as data.

use serde::{Deserialize, Serialize};

/// So many players of one role, under a name that they are counted by.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cast {
    pub name: String,
    /// Connections that it keeps, or comes back to.
    pub count: usize,
    /// The number of the first player: player `n` of a cast is in room `n` of its rooms, modulo their count.
    pub first: usize,
    pub role: Role,
    /// It plays in the processes apart, if there are some.
    pub apart: bool,
}

impl Cast {
    pub fn new(name: &str, count: usize, role: Role) -> Cast {
        Cast { name: name.to_owned(), count, first: 0, role, apart: false }
    }

    /// The same in the processes apart: what it costs to play it delays nobody else's clock.
    pub fn apart(self) -> Cast {
        Cast { apart: true, ..self }
    }

    /// Its part for one of so many processes.
    pub fn share(&self, process: usize, processes: usize) -> Cast {
        let before = |process: usize| self.count * process / processes;
        let (from, to) = (before(process), before(process + 1));
        Cast { first: self.first + from, count: to - from, ..self.clone() }
    }
}

/// Rooms `NAME-0`, `NAME-1` and so on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rooms {
    pub name: String,
    pub count: usize,
}

impl Rooms {
    pub fn new(name: &str, count: usize) -> Rooms {
        Rooms { name: name.to_owned(), count: count.max(1) }
    }

    /// The room of this player.
    pub fn of(&self, player: usize) -> String {
        format!("{}-{}", self.name, player % self.count)
    }
}

/// Messages at a steady rate.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Publish {
    /// Messages a second of each player.
    pub rate: f64,
    /// Bytes of a message, at least [`super::payload::STAMP_BYTES`].
    pub bytes: usize,
}

/// An honest member of a room, over a WebSocket: it checks every message and is never cut.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Member {
    pub rooms: Rooms,
    /// What it publishes; it gets its own messages too then.
    pub publish: Option<Publish>,
    pub habit: Habit,
}

/// How long an honest member stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Habit {
    Stay,
    /// Leaves with a Close after about so long, and joins the next room at once.
    Churn {
        stay_ms: u64,
    },
    /// Drops its connection after about so long, with a reset every second time, and comes back with its
    /// position, from which it goes on without a gap.
    Return {
        stay_ms: u64,
        away_ms: u64,
        /// Messages that the room holds at least: a 410 for less is a violation.
        held: u64,
    },
    /// Stops reading for so long, wherever in a message that may be, and reads on.
    Pause {
        every_ms: u64,
        for_ms: u64,
    },
}

/// Joins a room and reads too little, until the server cuts it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Slow {
    pub rooms: Rooms,
    /// 0: it never reads.
    pub bytes_per_second: u32,
    /// It looks whether it has been cut after so long, and so again.
    pub look_ms: u64,
    /// Looks after which it is a violation that it is still connected.
    pub looks_max: u32,
}

/// What a player does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Role {
    Member(Member),
    /// Honest: a room as server-sent events.
    Events {
        rooms: Rooms,
    },
    /// Honest: publishes over HTTP on one connection, each message when the one before is acknowledged.
    Post {
        rooms: Rooms,
        publish: Publish,
    },
    Slow(Slow),
    /// Honest, but byte by byte: its handshake, then messages to `/echo` that must come back.
    Bytewise {
        every_ms: u64,
    },
    /// Connects, and resets the connection within so long: in its handshake, in a frame, or as a member.
    Reset {
        rooms: Rooms,
        within_ms: u64,
    },
    /// Joins, ends its direction of the stream, and waits for the server to end the other.
    HalfClose {
        rooms: Rooms,
        stay_ms: u64,
        /// Longer is a violation.
        patience_ms: u64,
    },
    /// Sends what is no handshake, and must be refused.
    Garbage {
        pause_ms: u64,
        /// The server may refuse its address as such.
        limited: bool,
    },
    /// Joins and reads; when the cast is stopped, all of its connections are reset at once.
    Storm {
        rooms: Rooms,
    },
    /// Joins where there may be no room for it: it is let in, or must be refused.
    Knock {
        rooms: Rooms,
        /// Longer is a violation.
        patience_ms: u64,
        /// It knocks again after about so long.
        again_ms: u64,
    },
    /// Sends an endpoint what it panics at: it must be closed with 1011.
    Fated {
        path: String,
        pause_ms: u64,
    },
    /// Honest: joins and leaves rooms on one connection, by the client protocol.
    Subscriber {
        rooms: Rooms,
        every_ms: u64,
    },
    /// Connects and sends nothing: it must be let go within the server's handshake timeout.
    Silent {
        /// Longer is a violation.
        patience_ms: u64,
    },
}

impl Role {
    /// An honest member that stays and only reads.
    pub fn member(rooms: Rooms) -> Role {
        Role::Member(Member { rooms, publish: None, habit: Habit::Stay })
    }

    /// An honest member that publishes at this rate, and gets its own messages too.
    pub fn publisher(rooms: Rooms, rate: f64, bytes: usize) -> Role {
        Role::Member(Member { rooms, publish: Some(Publish { rate, bytes }), habit: Habit::Stay })
    }

    /// An honest member with a habit.
    pub fn with_habit(rooms: Rooms, habit: Habit) -> Role {
        Role::Member(Member { rooms, publish: None, habit })
    }

    /// Whether the server must never cut it.
    pub fn is_honest(&self) -> bool {
        matches!(
            self,
            Role::Member(_)
                | Role::Events { .. }
                | Role::Post { .. }
                | Role::Bytewise { .. }
                | Role::Subscriber { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_a_cast_are_the_cast() {
        let cast = Cast::new("members", 103, Role::member(Rooms::new("room", 7)));
        for processes in 1..9 {
            let shares: Vec<Cast> = (0..processes).map(|process| cast.share(process, processes)).collect();
            let players = shares.iter().flat_map(|share| share.first..share.first + share.count);
            assert!(players.eq(0..103), "{processes}");
        }
    }
}
