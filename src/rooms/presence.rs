//! Who is in a room: its clients with the names that they say, and how many there are.
//!
//! A client is a connection, named by its id; a user is the name that it says, which several clients may
//! share. The clients without a name count together as one user, the one with the empty name, as
//! `num_users` of the Centrifugo client protocol has it (`getStats` in `presence_memory.go` of
//! centrifugal/centrifuge counts the different `UserID`s, of which the empty one is one).
//!
//! A client whose connection died without a word may linger: it stays listed and counted for a grace, so
//! that one which comes back in time under the same id is no leave and join for the others.
//!
//! All of it stands in ordered maps: an answer has the same order each time, no step under the room's
//! lock moves all entries of a huge room, and no choice of names makes one slow.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::Arc;

use super::Identity;
use super::rule::{Rule, Word};
use crate::id::{ConnectionId, ShardId};
use crate::slab::Key;
use crate::time::Time;

/// What a room keeps of who is in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PresenceLevel {
    /// Nothing.
    Off,
    /// How many clients and users there are; memory for each user, none for each client.
    Count,
    /// Each client with its name; the others are told who joins and leaves.
    #[default]
    Full,
}

impl Word for PresenceLevel {
    const ALL: &'static [PresenceLevel] = &[PresenceLevel::Off, PresenceLevel::Count, PresenceLevel::Full];
    const KIND: &'static str = "presence level";
    const VALUE: &'static str = "LEVEL";

    fn name(self) -> &'static str {
        match self {
            PresenceLevel::Off => "off",
            PresenceLevel::Count => "count",
            PresenceLevel::Full => "full",
        }
    }
}

impl fmt::Display for PresenceLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A level and the rooms that it is for: `LEVEL` for all, or `PATTERN=LEVEL`.
pub type PresenceRule = Rule<PresenceLevel>;

/// A client in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// Its id.
    pub client: ConnectionId,
    /// What it says of itself; none for one that says nothing.
    pub identity: Option<Arc<Identity>>,
}

/// How many are in a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PresenceStats {
    /// Clients, those that linger included.
    pub clients: usize,
    /// Different names among them; no name counts as one.
    pub users: usize,
}

/// What an entering was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// It was not here: the others are told that it joined.
    New,
    /// It lingered and is back: nobody is told.
    Returned,
    /// It is here already: nothing happened.
    Again,
    /// It is only counted: nobody is told.
    Unlisted,
}

/// Why there is no list of who is in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoList {
    /// The room does not keep one.
    #[error("the room's presence level is {level}; who is in a room is known at full (--presence)")]
    NotKept {
        /// Its level.
        level: PresenceLevel,
    },
    /// It would be too long, and half of a list would be wrong.
    #[error("{clients} clients are in the room; a list has at most {limit}")]
    TooMany {
        /// How many there are.
        clients: usize,
        /// The most that a list may have.
        limit: usize,
    },
}

/// Orders clients by shard, then by key.
pub(super) type Place = (ShardId, u64);

pub(super) fn place_of(client: ConnectionId) -> Place {
    (client.shard, client.key.as_u64())
}

pub(super) fn client_at((shard, key): Place) -> ConnectionId {
    ConnectionId { shard, key: Key::from_u64(key) }
}

/// What an allocation costs beside what was asked for: the allocator's header and rounding.
pub(super) const ALLOCATION_BYTES: usize = 16;
/// The places of a node of an ordered map, and those of them that are in use at least.
const NODE_PLACES: usize = 11;
const NODE_PLACES_USED_MIN: usize = 5;

/// What an entry of an ordered map costs at most: its part of a node that is as empty as can be, and of
/// that node's own links and header.
pub(super) const fn map_entry_bytes(entry: usize) -> usize {
    entry * NODE_PLACES / NODE_PLACES_USED_MIN + 16
}

/// A client: its place in the list.
const MEMBER_BYTES: usize = map_entry_bytes(size_of::<(Place, Member)>());
/// Its identity, beside the name. Each counts whole, as if nobody shared it: the connection does until it
/// has died.
const IDENTITY_BYTES: usize = size_of::<Identity>() + 2 * size_of::<usize>() + 2 * ALLOCATION_BYTES;
/// A user: its place in the counts, beside the name.
const USER_BYTES: usize = map_entry_bytes(size_of::<(Box<str>, usize)>()) + ALLOCATION_BYTES;
/// A room with somebody in it: the counts themselves, and a node of each map that nearly nothing is in.
const KEPT_BYTES: usize = size_of::<Kept>()
    + NODE_PLACES * (size_of::<(Place, Member)>() + size_of::<(Box<str>, usize)>())
    + 5 * ALLOCATION_BYTES;

#[derive(Debug)]
struct Member {
    identity: Option<Arc<Identity>>,
    /// Until when it lingers, if its connection has died.
    until: Option<Time>,
}

/// Who is in one room, kept under the room's own lock. Owns no heap while nobody is.
#[derive(Debug)]
pub struct Presence {
    level: PresenceLevel,
    kept: Option<Box<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    clients: usize,
    /// The part of the clients that say no name.
    anonymous: usize,
    /// Clients by name.
    users: BTreeMap<Box<str>, usize>,
    /// At level full the clients that are listed, else none.
    members: BTreeMap<Place, Member>,
    /// What the entries of the maps and the names pin.
    bytes: usize,
}

impl Presence {
    /// Nobody yet.
    pub fn new(level: PresenceLevel) -> Presence {
        Presence { level, kept: None }
    }

    /// Whether nobody is here, not even one that lingers.
    pub fn is_empty(&self) -> bool {
        self.kept.is_none()
    }

    /// What it keeps.
    pub fn level(&self) -> PresenceLevel {
        self.level
    }

    /// A client enters. One that lingers is back then, late or not, until [`Presence::expire`] has ended it.
    /// While it is listed it keeps the identity that it is listed with.
    ///
    /// Clients that are not `listed`, as all at level count, are not told apart: the caller lets each enter
    /// once before it leaves.
    pub fn enter(&mut self, member: Present, listed: bool) -> Entered {
        if self.level == PresenceLevel::Off {
            return Entered::Unlisted;
        }
        let kept = self.kept.get_or_insert_default();
        let Present { client, identity } = member;
        if self.level == PresenceLevel::Count || !listed {
            kept.count(identity.as_deref());
            return Entered::Unlisted;
        }
        match kept.members.entry(place_of(client)) {
            Entry::Occupied(mut listed) => match listed.get_mut().until.take() {
                Some(_) => Entered::Returned,
                None => Entered::Again,
            },
            Entry::Vacant(free) => {
                kept.bytes += member_bytes(identity.as_deref());
                free.insert(Member { identity: identity.clone(), until: None });
                kept.count(identity.as_deref());
                Entered::New
            }
        }
    }

    /// A client leaves, also one that lingers. Returns what the others are told has left; none if it was not
    /// here or the room keeps no list.
    ///
    /// The identity and `listed` are those with which it entered: where there is no list they say whom to
    /// count no more.
    pub fn leave(
        &mut self,
        client: ConnectionId,
        identity: Option<&Identity>,
        listed: bool,
    ) -> Option<Present> {
        if self.level == PresenceLevel::Full && listed {
            return self.remove(client);
        }
        self.kept.as_mut()?.uncount(identity);
        self.give_back();
        None
    }

    /// A client's connection died and may come back: it stays listed and counted, and
    /// [`Presence::expire`] ends it when the time has come.
    ///
    /// False if it does not linger, as it is not here or the room keeps no list; the caller then lets it
    /// leave.
    #[must_use = "who does not linger has to leave"]
    pub fn linger(&mut self, client: ConnectionId, until: Time) -> bool {
        let members = self.kept.as_mut().map(|kept| &mut kept.members);
        let Some(member) = members.and_then(|members| members.get_mut(&place_of(client))) else {
            return false;
        };
        member.until = Some(until);
        true
    }

    /// Ends a client whose time to come back is over: `now` is its `until` or later. Returns what the others
    /// are told has left; none if it is not here, is back, or has time left.
    pub fn expire(&mut self, client: ConnectionId, now: Time) -> Option<Present> {
        let until = self.kept.as_ref()?.members.get(&place_of(client))?.until?;
        if until <= now { self.remove(client) } else { None }
    }

    /// How many are here, in the same short time in any room; none at level off.
    pub fn stats(&self) -> Option<PresenceStats> {
        if self.level == PresenceLevel::Off {
            return None;
        }
        let Some(kept) = &self.kept else { return Some(PresenceStats::default()) };
        let users = kept.users.len() + usize::from(kept.anonymous > 0);
        Some(PresenceStats { clients: kept.clients, users })
    }

    /// All clients, in the order of their ids: by shard, then by key.
    ///
    /// # Errors
    ///
    /// [`NoList`] if there are more than `limit`, or none is kept.
    pub fn list(&self, limit: usize) -> Result<Vec<Present>, NoList> {
        if self.level != PresenceLevel::Full {
            return Err(NoList::NotKept { level: self.level });
        }
        let Some(kept) = &self.kept else { return Ok(Vec::new()) };
        let clients = kept.members.len();
        if clients > limit {
            return Err(NoList::TooMany { clients, limit });
        }
        let present = |(place, member): (&Place, &Member)| Present {
            client: client_at(*place),
            identity: member.identity.clone(),
        };
        Ok(kept.members.iter().map(present).collect())
    }

    /// Bytes of heap that it pins at most, overhead included; 0 while nobody is here.
    pub fn bytes(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| KEPT_BYTES + kept.bytes)
    }

    fn remove(&mut self, client: ConnectionId) -> Option<Present> {
        let kept = self.kept.as_mut()?;
        let Member { identity, .. } = kept.members.remove(&place_of(client))?;
        kept.bytes -= member_bytes(identity.as_deref());
        kept.uncount(identity.as_deref());
        self.give_back();
        Some(Present { client, identity })
    }

    fn give_back(&mut self) {
        if self.kept.as_ref().is_some_and(|kept| kept.clients == 0) {
            self.kept = None;
        }
    }
}

impl Kept {
    fn count(&mut self, identity: Option<&Identity>) {
        self.clients += 1;
        let Some(user) = identity.map(Identity::user) else {
            self.anonymous += 1;
            return;
        };
        match self.users.get_mut(user) {
            Some(clients) => *clients += 1,
            None => {
                self.users.insert(user.into(), 1);
                self.bytes += USER_BYTES + user.len();
            }
        }
    }

    /// Whoever has not been counted is not taken off either.
    fn uncount(&mut self, identity: Option<&Identity>) {
        let user = identity.map(Identity::user);
        let clients = match user {
            None => Some(&mut self.anonymous),
            Some(user) => self.users.get_mut(user),
        };
        let Some(clients) = clients.filter(|clients| **clients > 0) else { return };
        *clients -= 1;
        self.clients -= 1;
        if let Some(user) = user
            && *clients == 0
        {
            self.users.remove(user);
            self.bytes -= USER_BYTES + user.len();
        }
    }
}

fn member_bytes(identity: Option<&Identity>) -> usize {
    MEMBER_BYTES + identity.map_or(0, |identity| IDENTITY_BYTES + identity.user().len())
}

#[cfg(test)]
mod tests;
