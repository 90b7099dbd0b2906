//! What a shard holds, for whoever looks from outside: connections that lag, rooms that are busy, closes that were.
//!
//! A question comes as mail in the lane of new connections, so that it does not wait behind what others publish. A
//! shard answers it at the end of its turns, in steps of [`INSPECTED_PER_TURN`], and does not wait for its sockets
//! before it is through: the answer is over all that there is, and no turn becomes long for it.

mod closes;
mod connections;
mod rooms;
mod top;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use crate::endpoint::CloseKind;
use crate::id::ShardId;
use crate::reactor::Io;
use crate::rooms::{RoomName, RoomSummary};
use crate::slab::Key;
use crate::time::Time;

use super::Shard;
use super::closes::Closed;
use super::mailbox::Reply;

pub use connections::{ConnectionSeen, ConnectionState, Pause, ROOMS_SHOWN, RoomSeen};
pub use top::Top;

/// Connections and their memberships, or rooms, that a turn looks at: about twice the members
/// that it sends to, as a look costs far less.
pub const INSPECTED_PER_TURN: usize = 2048;
/// The most that one answer lists: its last step takes about as long as any other.
pub const LISTED_MAX: usize = 1000;
/// Questions that wait for a shard; those that come beyond are not answered.
pub const INSPECTIONS_MAX: usize = 8;

/// What connections are listed by, the highest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConnectionSort {
    /// Messages that they have not been sent yet, of the room that they are furthest behind in.
    #[default]
    Lag,
    /// Bytes that wait to be sent to them.
    Queue,
    /// The time for which they have taken no byte of those that wait.
    Stalled,
    /// Rooms that they are in.
    Rooms,
}

/// What rooms are listed by, the highest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RoomSort {
    /// Messages a second that enter.
    #[default]
    Messages,
    /// Bytes a second that enter.
    Bytes,
    /// Members.
    Members,
    /// Bytes that the history pins.
    History,
}

/// Which closes are wanted; nothing set is all.
#[derive(Clone, Debug, Default)]
pub struct ClosesWanted {
    /// Of this cause.
    pub cause: Option<CloseKind>,
    /// From this address, whatever the port.
    pub address: Option<IpAddr>,
    /// That concern this room.
    pub room: Option<RoomName>,
}

/// What is asked.
#[derive(Clone, Debug)]
pub enum Query {
    /// The connections that rank highest, of a room or of all.
    Connections {
        /// Only members of this room; their lag is that in this room.
        room: Option<RoomName>,
        /// What ranks them.
        sort: ConnectionSort,
    },
    /// The rooms that rank highest, with members or without. The shards divide them among themselves.
    Rooms {
        /// What ranks them.
        sort: RoomSort,
    },
    /// The latest closes.
    Closes(ClosesWanted),
}

/// A question to one shard.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Stands in the answer, for who asks more than one.
    pub number: usize,
    /// What is asked.
    pub query: Query,
    /// How many are listed at most; never more than [`LISTED_MAX`].
    pub limit: usize,
    /// How long the shard may look after it has taken the question; then it answers with what it has seen.
    pub patience: Duration,
    /// Where the answer goes; it must have room for it.
    pub reply: Reply<Findings>,
}

/// The answer of one shard.
#[derive(Clone, Debug)]
pub struct Findings {
    /// Whose it is.
    pub shard: ShardId,
    /// Of which question.
    pub number: usize,
    /// Whether it has looked at everything.
    pub is_complete: bool,
    /// At how many connections, rooms or closes.
    pub looked_at: usize,
    /// What it has found.
    pub found: Found,
}

/// What is found: the highest rank, or the latest, first.
#[derive(Clone, Debug)]
pub enum Found {
    /// With their ranks.
    Connections(Vec<(u64, ConnectionSeen)>),
    /// With their ranks.
    Rooms(Vec<(u64, RoomSummary)>),
    /// By time.
    Closes(Vec<Closed>),
}

/// What is looked for, and how far that has come.
#[derive(Debug)]
enum Looking {
    Connections {
        room: Option<RoomName>,
        sort: ConnectionSort,
        /// The slot that comes next, or, of the members of a room, the one behind it.
        next: Option<u32>,
        top: Top<Key>,
    },
    Rooms {
        sort: RoomSort,
        /// The part of the registry.
        part: usize,
        /// The room that was looked at last there.
        after: Option<RoomName>,
        top: Top<RoomSummary>,
    },
    Closes(ClosesWanted),
}

#[derive(Debug)]
struct Task {
    number: usize,
    looking: Looking,
    limit: usize,
    until: Time,
    looked_at: usize,
    reply: Reply<Findings>,
}

/// What a turn may still look at, and at what it has looked.
#[derive(Debug)]
struct Budget {
    left: usize,
    looked_at: usize,
}

impl Budget {
    /// Notes that something was looked at that has so many parts.
    fn spend(&mut self, parts: usize) {
        self.left = self.left.saturating_sub(1 + parts);
        self.looked_at += 1;
    }
}

/// The questions that a shard has taken and not answered yet.
#[derive(Debug, Default)]
pub struct Inspections(VecDeque<Task>);

impl Inspections {
    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a question to the shard of this number.
    pub fn take_up(&mut self, inspection: Inspection, shard: ShardId, now: Time) {
        if self.0.len() >= INSPECTIONS_MAX {
            return;
        }
        let Inspection { number, query, limit, patience, reply } = inspection;
        let limit = limit.min(LISTED_MAX);
        let looking = match query {
            Query::Connections { room, sort } => {
                Looking::Connections { room, sort, next: None, top: Top::new(limit) }
            }
            Query::Rooms { sort } => {
                Looking::Rooms { sort, part: shard.index(), after: None, top: Top::new(limit) }
            }
            Query::Closes(wanted) => Looking::Closes(wanted),
        };
        self.0.push_back(Task { number, looking, limit, until: now + patience, looked_at: 0, reply });
    }
}

impl<I: Io> Shard<I> {
    /// Goes on with what is asked, and answers what is done or has taken too long.
    pub(super) fn inspect(&mut self) {
        let mut budget = Budget { left: INSPECTED_PER_TURN, looked_at: 0 };
        while let Some(mut task) = self.core.inspections.0.pop_front() {
            budget.looked_at = 0;
            let is_complete = self.look(&mut task.looking, &mut budget);
            task.looked_at += budget.looked_at;
            if !is_complete && self.core.now < task.until {
                self.core.inspections.0.push_front(task);
                return;
            }
            self.answer(task, is_complete);
        }
    }

    /// Looks at as much as the budget allows; `true` when that was everything.
    fn look(&self, looking: &mut Looking, budget: &mut Budget) -> bool {
        match looking {
            Looking::Connections { room: Some(room), sort, next, top } => {
                self.look_at_members(room, *sort, (next, top), budget)
            }
            Looking::Connections { room: None, sort, next, top } => {
                self.look_at_connections(*sort, (next, top), budget)
            }
            Looking::Rooms { sort, part, after, top } => {
                self.core.look_at_rooms(*sort, (part, after), top, budget)
            }
            Looking::Closes(wanted) => {
                budget.looked_at += self.core.closes.of(wanted.cause).count();
                true
            }
        }
    }

    fn answer(&self, task: Task, is_complete: bool) {
        let Task { number, looking, limit, looked_at, reply, .. } = task;
        let found = match looking {
            Looking::Connections { room, top, .. } => Found::Connections(self.seen(room.as_ref(), top)),
            Looking::Rooms { top, .. } => Found::Rooms(top.into_sorted()),
            Looking::Closes(wanted) => Found::Closes(self.core.closes_wanted(&wanted, limit)),
        };
        // Nobody may be waiting any more.
        let _ = reply.try_send(Findings { shard: self.core.id, number, is_complete, looked_at, found });
    }
}
