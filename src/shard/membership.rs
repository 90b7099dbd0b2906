//! This shard's side of the rooms: who of its connections is a member of what.
//!
//! Members of a room stand in one dense list, those first who have been sent what arrived; a connection's
//! memberships are linked through one arena. Joining and leaving are O(1) and an idle member owns no heap: a
//! membership is a cursor into the room's log.

use std::collections::HashMap;
use std::sync::Arc;

use crate::endpoint::OwnMessages;
use crate::id::ShardId;
use crate::mutant::{Mutant, strikes};
use crate::rooms::{Encoding, Extent, OutOfWindow, Piece, Registry, Room, RoomName, RoomRules, Route, Start};
use crate::slab::{Key, NONE, Slab};
use crate::time::Time;

use super::begun::{Begun, begin};
pub use super::local_room::{Arrived, LocalRoom};

mod arriving;
#[cfg(test)]
mod tests;

/// One connection in one room. There are as many as connections and more, so that every byte counts.
#[derive(Debug)]
pub struct Membership {
    /// The offset up to which it has been served.
    pub cursor: u64,
    /// The slot of its connection.
    pub connection: u32,
    /// The number of the room's entry here, which stays while it has a member.
    pub room: u32,
    /// The lower half of the offset up to which messages may be ones that it does not get.
    own_until: u32,
    /// Whether it gets what it sends itself.
    pub own: OwnMessages,
    /// How messages are sent to it.
    pub encoding: Encoding,
    /// Whether it is told who joins and leaves.
    pub watches: bool,
    /// Its place in the room's list of members.
    position: u32,
    /// The connection's next membership.
    pub next: u32,
}

impl Membership {
    /// Whether messages behind this offset may be ones that it does not get. The halves of offsets are compared:
    /// no window holds 2³¹ messages, and where an old half seems to lie ahead, each message is looked at in vain.
    pub fn may_own_behind(&self, offset: u64) -> bool {
        self.own_until.wrapping_sub(offset as u32) as i32 > 0
    }

    /// Whether everything behind `offset` is for it, and nothing before.
    pub fn is_in_step(&self, offset: u64) -> bool {
        let some_own = self.own == OwnMessages::Skip && self.may_own_behind(offset);
        self.cursor == offset && !some_own
    }
}

/// What a connection wants of a room.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Whether it gets what it sends itself.
    pub own: OwnMessages,
    /// Where it begins.
    pub start: Start,
    /// How messages are sent to it.
    pub encoding: Encoding,
    /// Whether it is told who joins and leaves.
    pub watches: bool,
}

/// Where a member has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The offset before the first message that it gets.
    pub from: u64,
    /// What the room held then.
    pub extent: Extent,
    /// Whether it was no member before.
    pub is_new: bool,
}

/// Why a connection does not become a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinError {
    /// It has as many memberships as it may have.
    TooManyMemberships,
    /// The room does not hold all that was asked for any more.
    OutOfWindow(OutOfWindow),
}

/// A room that has lost its last member here.
#[derive(Debug)]
#[must_use = "what is pending for it must be published before it is forgotten"]
pub struct Emptied(pub Key);

/// A connection is not a member of a room any more.
#[derive(Debug)]
#[must_use = "its presence ends, and an emptied room is forgotten"]
pub struct Left {
    /// The room.
    pub room: Arc<Room>,
    /// How messages were sent to it.
    pub encoding: Encoding,
    /// Whether that was the last member here.
    pub emptied: Option<Emptied>,
}

/// All rooms with members on this shard.
#[derive(Debug)]
pub struct LocalRooms {
    shard: ShardId,
    registry: Arc<Registry>,
    /// The registry's own, as of the start or of the latest reload that this shard has taken.
    rules: Arc<RoomRules>,
    rooms: Slab<LocalRoom>,
    by_name: HashMap<RoomName, Key>,
    memberships: Slab<Membership>,
    /// The rooms that something has arrived in and whose members are not all addressed.
    arrived_in: Vec<Key>,
    /// What those who joined in this turn begin with.
    pub begun: Begun,
}

impl LocalRooms {
    /// None yet.
    pub fn new(shard: ShardId, registry: Arc<Registry>) -> LocalRooms {
        LocalRooms {
            shard,
            rules: registry.rules(),
            registry,
            rooms: Slab::default(),
            by_name: HashMap::new(),
            memberships: Slab::default(),
            arrived_in: Vec::new(),
            begun: Begun::default(),
        }
    }

    /// The shared registry.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Rooms with members here.
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Memberships of connections here.
    pub fn memberships(&self) -> usize {
        self.memberships.len()
    }

    /// The room under this key, while it has members here.
    pub fn get(&self, key: Key) -> Option<&LocalRoom> {
        self.rooms.get(key)
    }

    /// The room of a membership.
    pub fn of(&self, membership: &Membership) -> Option<&LocalRoom> {
        self.rooms.at(membership.room)
    }

    /// The room with this number, as memberships have it.
    pub fn at(&self, room: u32) -> Option<&LocalRoom> {
        self.rooms.at(room)
    }

    /// The room under this key, while it has members here.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut LocalRoom> {
        self.rooms.get_mut(key)
    }

    /// The key of the room of this name, if it has members here.
    pub fn find(&self, name: &RoomName) -> Option<Key> {
        self.by_name.get(name).copied()
    }

    /// The membership with this number, as lists of memberships have it.
    pub fn membership(&self, index: u32) -> Option<&Membership> {
        self.memberships.at(index)
    }

    /// The membership with this number, as lists of memberships have it.
    pub fn membership_mut(&mut self, index: u32) -> Option<&mut Membership> {
        self.memberships.at_mut(index)
    }

    /// The memberships of a connection whose list starts at `first`: their numbers.
    pub fn memberships_of(&self, first: u32) -> impl Iterator<Item = u32> + '_ {
        let mut at = first;
        std::iter::from_fn(move || {
            let index = at;
            at = self.memberships.at(index)?.next;
            Some(index)
        })
    }

    /// The rooms of a connection whose list of memberships starts at `first`, with the membership.
    pub fn rooms_of(&self, first: u32) -> impl Iterator<Item = (Key, Option<Key>)> + '_ {
        self.memberships_of(first).filter_map(|index| {
            let room = self.rooms.key_at(self.memberships.at(index)?.room)?;
            Some((room, self.memberships.key_at(index)))
        })
    }

    /// The room of the membership that a list starts with.
    pub fn room_of(&self, first: u32) -> Option<Arc<Room>> {
        let membership = self.memberships.at(first)?;
        Some(Arc::clone(&self.of(membership)?.room))
    }

    /// The room of a list of one membership.
    pub fn only_room_of(&self, first: u32) -> Option<&RoomName> {
        let membership = self.memberships.at(first)?;
        let is_only = self.memberships.at(membership.next).is_none();
        self.of(membership).filter(|_| is_only).map(|local| local.room.name())
    }

    /// The membership in the room of this name in the list that starts at `first`.
    pub fn membership_in(&self, first: u32, room: Key) -> Option<u32> {
        self.memberships_of(first)
            .find(|index| self.memberships.at(*index).is_some_and(|found| found.room == room.index()))
    }

    /// The key of a membership.
    pub fn membership_key(&self, index: u32) -> Option<Key> {
        self.memberships.key_at(index)
    }

    /// Messages of its room that a member has not been sent although it was its turn.
    pub fn lag(&self, membership: &Membership) -> u64 {
        let Some(local) = self.of(membership) else { return 0 };
        let is_to_come = (local.addressed..local.due).contains(&membership.position);
        let due =
            local.arrived.first().filter(|_| is_to_come).map_or(local.seen, |first| first.offset_before);
        due.saturating_sub(membership.cursor)
    }

    /// A room of this list that has more for its member, or else any of them, and the member's cursor.
    pub fn behind(&self, first: u32) -> Option<(&LocalRoom, u64)> {
        let mut memberships = self.memberships_of(first).filter_map(|index| self.memberships.at(index));
        let first = memberships.next()?;
        let behind = |membership: &&Membership| self.lag(membership) > 0;
        let found = if behind(&first) { first } else { memberships.find(behind).unwrap_or(first) };
        Some((self.of(found)?, found.cursor))
    }

    /// What a member that has joined in this turn begins with, up to so many bytes of frames, as served.
    pub fn take_begun(&mut self, membership: u32, bytes_max: usize) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let Some(served) = self.memberships.at_mut(membership) else { return pieces };
        self.begun.read(membership, served.cursor, usize::MAX, &mut pieces);
        let mut bytes = 0;
        let over = |piece: &Piece| {
            bytes += piece.frame_bytes();
            bytes > bytes_max
        };
        pieces.truncate(pieces.iter().position(over).unwrap_or(pieces.len()));
        if let Some(last) = pieces.last() {
            served.cursor = last.last_offset();
        }
        pieces
    }

    /// Notes that the messages up to `offset`, the room's latest, have one that this membership does not get.
    pub fn note_own(&mut self, membership: Key, offset: u64) {
        if let Some(membership) = self.memberships.get_mut(membership) {
            membership.own_until = offset as u32;
        }
    }

    /// The rooms and all memberships, to go through the members of a room.
    pub fn parts(&mut self) -> (&Slab<LocalRoom>, &mut Slab<Membership>) {
        (&self.rooms, &mut self.memberships)
    }

    /// Takes the rules of the registry anew.
    pub fn renew_rules(&mut self) {
        let before = std::mem::replace(&mut self.rules, self.registry.rules());
        if before == self.rules {
            return;
        }
        let keys: Vec<Key> = self.rooms.keys().collect();
        for key in keys {
            if let Some(local) = self.rooms.get_mut(key) {
                local.policy = self.rules.lag_policy(local.room.name());
            }
        }
    }

    /// Makes a connection a member; `first` is the head of its list of memberships. A member already
    /// only changes its [`OwnMessages`].
    ///
    /// # Errors
    ///
    /// [`JoinError`] if it has `limit` memberships already or cannot begin where it wants to; nothing has
    /// changed then.
    pub fn join(
        &mut self,
        (connection, first): (u32, &mut u32),
        name: &RoomName,
        wish: Wish,
        limit: usize,
        now: Time,
    ) -> Result<Joined, JoinError> {
        let known = self.find(name);
        if let Some(room) = known
            && let Some(existing) = self.membership_in(*first, room)
        {
            let extent = self.rooms.get(room).map(|local| local.room.extent(now)).expect("just found");
            let membership = self.memberships.at_mut(existing).expect("just found");
            membership.own = wish.own;
            return Ok(Joined { from: membership.cursor, extent, is_new: false });
        }
        if self.memberships_of(*first).count() >= limit {
            return Err(JoinError::TooManyMemberships);
        }
        let room_key = known.unwrap_or_else(|| self.open(name, now));
        let local = self.rooms.get_mut(room_key).expect("just found or opened");
        let mut pieces = Vec::new();
        let (from, extent) = match begin((&local.room, local.policy), wish.start, now, &mut pieces) {
            Ok(begun) => begun,
            Err(error) => {
                if local.members.is_empty() {
                    self.forget(Emptied(room_key), now);
                }
                return Err(JoinError::OutOfWindow(error));
            }
        };
        let membership = Membership {
            connection,
            room: room_key.index(),
            cursor: from,
            // It may have been a member before, and begin with messages of that time.
            own_until: from.max(extent.last) as u32,
            own: wish.own,
            encoding: wish.encoding,
            watches: wish.watches,
            position: local.members.len() as u32,
            next: *first,
        };
        let index = self.memberships.insert(membership).index();
        local.members.push(index);
        local.room.member_joined(wish.watches);
        local.watchers += usize::from(wish.watches);
        self.begun.keep(index, pieces);
        *first = index;
        Ok(Joined { from, extent, is_new: true })
    }

    /// Ends the membership in a room of this name, if there is one.
    pub fn leave(&mut self, first: &mut u32, name: &RoomName) -> Option<Left> {
        let leaving = self.membership_in(*first, self.find(name)?)?;
        let next = self.memberships.at(leaving).expect("just found").next;
        if *first == leaving {
            *first = next;
        } else {
            let mut at = *first;
            while let Some(membership) = self.memberships.at_mut(at) {
                if membership.next == leaving {
                    membership.next = next;
                    break;
                }
                at = membership.next;
            }
        }
        Some(self.remove(leaving))
    }

    /// Ends the first membership of a list, if there is one.
    pub fn leave_first(&mut self, first: &mut u32) -> Option<Left> {
        let leaving = *first;
        *first = self.memberships.at(leaving)?.next;
        Some(self.remove(leaving))
    }

    /// Makes the membership `head` the first of a list, with those before it behind the last. The rooms
    /// of a member that does not keep up are served in turn so.
    pub fn begin_with(&mut self, first: &mut u32, head: u32) {
        if *first == head || self.memberships.at(head).is_none() {
            return;
        }
        let mut at = *first;
        while let Some(membership) = self.memberships.at_mut(at) {
            let next = membership.next;
            if next == head {
                membership.next = NONE;
            } else if next == NONE {
                membership.next = *first;
                break;
            }
            at = next;
        }
        *first = head;
    }

    /// Forgets a room without members.
    pub fn forget(&mut self, Emptied(key): Emptied, now: Time) {
        let room = self.rooms.remove_at(key.index()).expect("an emptied room is forgotten once");
        assert!(room.members.is_empty() && room.pending.is_none(), "only a room without use is forgotten");
        self.by_name.remove(room.room.name());
        room.room.remove_route(self.shard, now);
    }

    fn open(&mut self, name: &RoomName, now: Time) -> Key {
        let LocalRooms { rooms, registry, rules, shard, .. } = self;
        let key = rooms.insert_with(|local_room| {
            let (room, seen) = registry.add_route(name, Route { shard: *shard, local_room }, now);
            let (policy, members, arrived) = (rules.lag_policy(name), Vec::new(), Vec::new());
            LocalRoom {
                room,
                policy,
                members,
                addressed: 0,
                due: 0,
                watchers: 0,
                pending: None,
                seen,
                arrived,
                arrived_bytes: 0,
            }
        });
        self.by_name.insert(name.clone(), key);
        key
    }

    /// Takes a membership that no list names any more out of its room.
    fn remove(&mut self, index: u32) -> Left {
        let membership = self.memberships.remove_at(index).expect("a listed membership is present");
        self.begun.forget(index);
        let key = self.rooms.key_at(membership.room).expect("a membership's room is present");
        let room = self.rooms.at_mut(membership.room).expect("a membership's room is present");
        room.room.member_left(membership.watches);
        room.watchers -= usize::from(membership.watches);
        let mut gap = membership.position;
        for end in [&mut room.addressed, &mut room.due] {
            // Who is still to be sent to must not come to stand among those who have been, nor who joined since
            // among them.
            if gap < *end && !strikes(Mutant::MovedMember) {
                *end -= 1;
                room.members.swap(gap as usize, *end as usize);
                set_position(&mut self.memberships, &room.members, gap);
                gap = *end;
            }
        }
        room.members.swap_remove(gap as usize);
        set_position(&mut self.memberships, &room.members, gap);
        let emptied = room.members.is_empty().then_some(Emptied(key));
        Left { room: Arc::clone(&room.room), encoding: membership.encoding, emptied }
    }
}

/// Tells the member at this place of a room's list where it stands, if it is not the one that leaves.
fn set_position(memberships: &mut Slab<Membership>, members: &[u32], position: u32) {
    if let Some(member) = members.get(position as usize)
        && let Some(membership) = memberships.at_mut(*member)
    {
        membership.position = position;
    }
}

/// Bytes that one membership takes: its slot, and its place in the room's list.
pub const MEMBERSHIP_BYTES: usize = Slab::<Membership>::SLOT_BYTES + size_of::<u32>();

/// The head of an empty list of memberships.
pub const NO_MEMBERSHIP: u32 = NONE;
