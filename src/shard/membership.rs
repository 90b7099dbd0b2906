//! This shard's side of the rooms: who of its connections is a member of what.
//!
//! Members of a room stand in one dense list, in no particular order; a connection's memberships are
//! linked through one arena. Joining and leaving are O(1) and an idle member owns no heap: a membership
//! is a cursor into the room's log.

use std::collections::HashMap;
use std::sync::Arc;

use crate::endpoint::OwnMessages;
use crate::id::ShardId;
use crate::rooms::{Batch, Encoding, Extent, OutOfWindow, Registry, Room, RoomName, Route, Start};
use crate::slab::{Key, NONE, Slab};
use crate::time::Time;

use super::begun::{Begun, begin};

/// One connection in one room.
#[derive(Debug)]
pub struct Membership {
    /// The room's entry here.
    pub room: Key,
    /// The offset up to which it has been served.
    pub cursor: u64,
    /// Messages up to this offset may be ones that it does not get.
    pub own_until: u64,
    /// Whether it gets what it sends itself.
    pub own: OwnMessages,
    /// How messages are sent to it.
    pub encoding: Encoding,
    /// Its place in the room's list of members.
    position: u32,
    /// The connection's next membership.
    pub next: u32,
}

/// A member, as the delivery loop wants it.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// The connection's slot.
    pub connection: u32,
    membership: u32,
}

/// A publication that came in this turn.
#[derive(Debug)]
pub struct Arrived {
    /// The offset before its first message.
    pub offset_before: u64,
    /// The messages.
    pub batch: Arc<Batch>,
}

impl Arrived {
    /// The offset of its last message.
    pub fn last_offset(&self) -> u64 {
        self.offset_before + u64::from(self.batch.len())
    }
}

/// A room with members on this shard.
#[derive(Debug)]
pub struct LocalRoom {
    /// The room that all shards share.
    pub room: Arc<Room>,
    /// Its members here.
    pub members: Vec<Member>,
    /// This turn's publications: first and last in the publish queue.
    pub pending: Option<(u32, u32)>,
    /// The offset up to which this shard has heard of messages.
    pub seen: u64,
    /// What came in this turn, in order and without a gap.
    pub arrived: Vec<Arrived>,
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
}

/// Where a member has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The offset before the first message that it gets.
    pub from: u64,
    /// What the room held then.
    pub extent: Extent,
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

/// All rooms with members on this shard.
#[derive(Debug)]
pub struct LocalRooms {
    shard: ShardId,
    registry: Arc<Registry>,
    rooms: Slab<LocalRoom>,
    by_name: HashMap<RoomName, Key>,
    memberships: Slab<Membership>,
    /// The rooms that something has arrived in in this turn.
    arrived_in: Vec<Key>,
    /// What those who joined in this turn begin with.
    pub begun: Begun,
}

impl LocalRooms {
    /// None yet.
    pub fn new(shard: ShardId, registry: Arc<Registry>) -> LocalRooms {
        LocalRooms {
            shard,
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
            let room = self.memberships.at(index)?.room;
            Some((room, self.memberships.key_at(index)))
        })
    }

    /// The membership in the room of this name in the list that starts at `first`.
    pub fn membership_in(&self, first: u32, room: Key) -> Option<u32> {
        self.memberships_of(first)
            .find(|index| self.memberships.at(*index).is_some_and(|found| found.room == room))
    }

    /// The key of a membership.
    pub fn membership_key(&self, index: u32) -> Option<Key> {
        self.memberships.key_at(index)
    }

    /// A room of this list that has more for its member, or else any of them, and the member's cursor.
    pub fn behind(&self, first: u32) -> Option<(&Room, u64)> {
        let place = |index| {
            let membership = self.memberships.at(index)?;
            Some((self.rooms.get(membership.room)?, membership.cursor))
        };
        let mut places = self.memberships_of(first).filter_map(place);
        let first = places.next()?;
        let behind = |(local, cursor): &(&LocalRoom, u64)| *cursor < local.seen;
        let found = if behind(&first) { first } else { places.find(behind).unwrap_or(first) };
        Some((&found.0.room, found.1))
    }

    /// Notes that the messages up to `offset` have one that this membership does not get.
    pub fn note_own(&mut self, membership: Key, offset: u64) {
        if let Some(membership) = self.memberships.get_mut(membership) {
            membership.own_until = membership.own_until.max(offset);
        }
    }

    /// Takes in what has come for a room.
    pub fn arrive(&mut self, room: Key, arrived: Arrived) -> Option<&LocalRoom> {
        let local = self.rooms.get_mut(room)?;
        if arrived.last_offset() <= local.seen {
            // It entered before this shard's first member came.
            return None;
        }
        debug_assert_eq!(arrived.offset_before, local.seen, "nothing is missing");
        local.seen = arrived.last_offset();
        if local.arrived.is_empty() {
            self.arrived_in.push(room);
        }
        local.arrived.push(arrived);
        Some(local)
    }

    /// The rooms that something has arrived in in this turn.
    pub fn arrived_in(&self) -> &[Key] {
        &self.arrived_in
    }

    /// Lets go of what has arrived: whoever has not been sent it is served from the room's window.
    pub fn clear_arrived(&mut self) {
        self.begun.clear();
        for key in self.arrived_in.drain(..) {
            if let Some(local) = self.rooms.get_mut(key) {
                local.arrived.clear();
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
            return Ok(Joined { from: membership.cursor, extent });
        }
        if self.memberships_of(*first).count() >= limit {
            return Err(JoinError::TooManyMemberships);
        }
        let room_key = known.unwrap_or_else(|| self.open(name, now));
        let local = self.rooms.get_mut(room_key).expect("just found or opened");
        let mut pieces = Vec::new();
        let (from, extent) = match begin(&local.room, wish.start, now, &mut pieces) {
            Ok(begun) => begun,
            Err(error) => {
                if local.members.is_empty() {
                    self.forget(Emptied(room_key), now);
                }
                return Err(JoinError::OutOfWindow(error));
            }
        };
        let membership = Membership {
            room: room_key,
            cursor: from,
            // It may have been a member before, and begin with messages of that time.
            own_until: from.max(extent.last),
            own: wish.own,
            encoding: wish.encoding,
            position: local.members.len() as u32,
            next: *first,
        };
        let index = self.memberships.insert(membership).index();
        local.members.push(Member { connection, membership: index });
        local.room.member_joined();
        self.begun.keep(index, pieces);
        *first = index;
        Ok(Joined { from, extent })
    }

    /// Ends the membership in a room of this name, if there is one.
    pub fn leave(&mut self, first: &mut u32, name: &RoomName) -> Option<Emptied> {
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
        self.remove(leaving)
    }

    /// Ends the first membership of a list, if there is one.
    pub fn leave_first(&mut self, first: &mut u32) -> Option<Option<Emptied>> {
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
        let LocalRooms { rooms, registry, shard, .. } = self;
        let key = rooms.insert_with(|local_room| {
            let (room, seen) = registry.add_route(name, Route { shard: *shard, local_room }, now);
            LocalRoom { room, members: Vec::new(), pending: None, seen, arrived: Vec::new() }
        });
        self.by_name.insert(name.clone(), key);
        key
    }

    /// Takes a membership that no list names any more out of its room.
    fn remove(&mut self, index: u32) -> Option<Emptied> {
        let membership = self.memberships.remove_at(index).expect("a listed membership is present");
        self.begun.forget(index);
        let room = self.rooms.get_mut(membership.room).expect("a membership's room is present");
        room.room.member_left();
        room.members.swap_remove(membership.position as usize);
        if let Some(moved) = room.members.get(membership.position as usize) {
            self.memberships.at_mut(moved.membership).expect("a member's membership is present").position =
                membership.position;
        }
        room.members.is_empty().then_some(Emptied(membership.room))
    }
}

/// The head of an empty list of memberships.
pub const NO_MEMBERSHIP: u32 = NONE;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::rooms::{HistoryLimits, RoomSettings};

    fn settings() -> RoomSettings {
        let history = HistoryLimits { bytes_max: 1 << 20, messages_max: 10, age_max: Duration::from_secs(1) };
        RoomSettings { history, memory_max: 1 << 30, lag: Vec::new() }
    }

    fn wish() -> Wish {
        Wish { own: OwnMessages::Skip, start: Start::Live, encoding: Encoding::Frames }
    }

    fn rooms() -> LocalRooms {
        LocalRooms::new(ShardId::new(0), Arc::new(Registry::new(settings())))
    }

    fn leave_all(rooms: &mut LocalRooms, first: &mut u32) {
        while let Some(emptied) = rooms.leave_first(first) {
            if let Some(emptied) = emptied {
                rooms.forget(emptied, Time::ZERO);
            }
        }
    }

    #[test]
    fn the_limit_of_memberships_is_inclusive() {
        let mut rooms = rooms();
        let mut first = NO_MEMBERSHIP;
        for (number, ok) in [(1, true), (2, true), (3, true), (4, false)] {
            let name = RoomName::new(&format!("r{number}")).unwrap();
            assert_eq!(rooms.join((0, &mut first), &name, wish(), 3, Time::ZERO).is_ok(), ok, "{number}");
        }
        let again = RoomName::new("r1").unwrap();
        assert!(rooms.join((0, &mut first), &again, wish(), 3, Time::ZERO).is_ok(), "a member already");
        leave_all(&mut rooms, &mut first);
        assert_eq!((rooms.len(), rooms.memberships()), (0, 0));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_set_of_pairs(
            steps in prop::collection::vec((0usize..5, 0usize..4, 0u8..4), 1..120)
        ) {
            let mut rooms = rooms();
            let mut heads = [NO_MEMBERSHIP; 5];
            let mut model = BTreeSet::new();
            for (connection, room, action) in steps {
                let name = RoomName::new(&format!("room {room}")).unwrap();
                match action {
                    0 => {
                        rooms.join((connection as u32, &mut heads[connection]), &name, wish(), 128, Time::ZERO).unwrap();
                        model.insert((connection, room));
                    }
                    1 => {
                        if let Some(emptied) = rooms.leave(&mut heads[connection], &name) {
                            rooms.forget(emptied, Time::ZERO);
                        }
                        model.remove(&(connection, room));
                    }
                    2 => {
                        let mut list: Vec<u32> = rooms.memberships_of(heads[connection]).collect();
                        if let Some(head) = list.get(room).copied() {
                            rooms.begin_with(&mut heads[connection], head);
                            list.rotate_left(room);
                        }
                        prop_assert_eq!(rooms.memberships_of(heads[connection]).collect::<Vec<_>>(), list);
                    }
                    _ => {
                        leave_all(&mut rooms, &mut heads[connection]);
                        model.retain(|(member, _)| *member != connection);
                    }
                }
                prop_assert_eq!(rooms.memberships(), model.len());
                for room in 0..4 {
                    let name = RoomName::new(&format!("room {room}")).unwrap();
                    let seen: BTreeSet<usize> = rooms.find(&name).map_or(BTreeSet::new(), |key| {
                        rooms.get(key).unwrap().members.iter().map(|member| member.connection as usize).collect()
                    });
                    let expected: BTreeSet<usize> =
                        model.iter().filter(|(_, of)| *of == room).map(|(member, _)| *member).collect();
                    prop_assert_eq!(seen, expected);
                }
            }
        }
    }
}
