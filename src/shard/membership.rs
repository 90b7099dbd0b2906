//! This shard's side of the rooms: who of its connections is a member of what.
//!
//! Members of a room stand in one dense list, in no particular order; a connection's memberships are
//! linked through one arena. Joining and leaving are O(1) and an idle member owns no heap.

use std::collections::HashMap;
use std::sync::Arc;

use crate::endpoint::OwnMessages;
use crate::id::ShardId;
use crate::rooms::{Registry, Room, RoomName, Route};
use crate::slab::{Key, NONE, Slab};

/// One connection in one room.
#[derive(Debug)]
struct Membership {
    room: Key,
    /// Its place in the room's list of members.
    position: u32,
    /// The connection's next membership.
    next: u32,
    own: OwnMessages,
}

/// A member, as the delivery loop wants it.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// The connection's slot.
    pub connection: u32,
    membership: u32,
    /// The room's offset when it joined: what came before is not for it.
    pub joined_after: u64,
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
}

/// The membership limit of a connection is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyMemberships;

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

    /// Whether this member wants its own messages.
    pub fn receives_own(&self, member: &Member) -> bool {
        self.memberships
            .at(member.membership)
            .is_some_and(|membership| membership.own == OwnMessages::Receive)
    }

    /// The rooms of a connection whose list of memberships starts at `first`.
    pub fn rooms_of(&self, first: u32) -> impl Iterator<Item = Key> + '_ {
        let mut at = first;
        std::iter::from_fn(move || {
            let membership = self.memberships.at(at)?;
            at = membership.next;
            Some(membership.room)
        })
    }

    /// Makes a connection a member; `first` is the head of its list of memberships.
    ///
    /// # Errors
    ///
    /// [`TooManyMemberships`] if it has `limit` of them already.
    pub fn join(
        &mut self,
        connection: u32,
        first: &mut u32,
        name: &RoomName,
        own: OwnMessages,
        limit: usize,
    ) -> Result<(), TooManyMemberships> {
        if let Some(existing) = self.membership_in(*first, name) {
            self.memberships.at_mut(existing).expect("just found").own = own;
            return Ok(());
        }
        if self.rooms_of(*first).count() >= limit {
            return Err(TooManyMemberships);
        }
        let room_key = self.find(name).unwrap_or_else(|| self.open(name));
        let room = self.rooms.get_mut(room_key).expect("just found or opened");
        let position = room.members.len() as u32;
        let joined_after = room.room.last_offset();
        let membership = Membership { room: room_key, position, next: *first, own };
        let index = self.memberships.insert(membership).index();
        room.members.push(Member { connection, membership: index, joined_after });
        *first = index;
        Ok(())
    }

    /// Ends the membership in a room of this name, if there is one.
    pub fn leave(&mut self, first: &mut u32, name: &RoomName) -> Option<Emptied> {
        let leaving = self.membership_in(*first, name)?;
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

    /// Forgets a room without members.
    pub fn forget(&mut self, Emptied(key): Emptied) {
        let room = self.rooms.remove_at(key.index()).expect("an emptied room is forgotten once");
        assert!(room.members.is_empty() && room.pending.is_none(), "only a room without use is forgotten");
        self.by_name.remove(room.room.name());
        self.registry.remove_route(&room.room, self.shard);
    }

    fn open(&mut self, name: &RoomName) -> Key {
        let LocalRooms { rooms, registry, shard, .. } = self;
        let key = rooms.insert_with(|local_room| LocalRoom {
            room: registry.add_route(name, Route { shard: *shard, local_room }),
            members: Vec::new(),
            pending: None,
        });
        self.by_name.insert(name.clone(), key);
        key
    }

    fn membership_in(&self, first: u32, name: &RoomName) -> Option<u32> {
        let room = self.find(name)?;
        let mut at = first;
        while let Some(membership) = self.memberships.at(at) {
            if membership.room == room {
                return Some(at);
            }
            at = membership.next;
        }
        None
    }

    /// Takes a membership that no list names any more out of its room.
    fn remove(&mut self, index: u32) -> Option<Emptied> {
        let membership = self.memberships.remove_at(index).expect("a listed membership is present");
        let room = self.rooms.get_mut(membership.room).expect("a membership's room is present");
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

    use proptest::prelude::*;

    use super::*;

    fn rooms() -> LocalRooms {
        LocalRooms::new(ShardId::new(0), Arc::default())
    }

    fn leave_all(rooms: &mut LocalRooms, first: &mut u32) {
        while let Some(emptied) = rooms.leave_first(first) {
            if let Some(emptied) = emptied {
                rooms.forget(emptied);
            }
        }
    }

    #[test]
    fn the_limit_of_memberships_is_inclusive() {
        let mut rooms = rooms();
        let mut first = NO_MEMBERSHIP;
        for (number, ok) in [(1, true), (2, true), (3, true), (4, false)] {
            let name = RoomName::new(&format!("r{number}")).unwrap();
            assert_eq!(rooms.join(0, &mut first, &name, OwnMessages::Skip, 3).is_ok(), ok, "{number}");
        }
        let again = RoomName::new("r1").unwrap();
        assert!(rooms.join(0, &mut first, &again, OwnMessages::Receive, 3).is_ok(), "a member already");
        leave_all(&mut rooms, &mut first);
        assert_eq!((rooms.len(), rooms.memberships(), rooms.registry.len()), (0, 0, 0));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_set_of_pairs(
            steps in prop::collection::vec((0usize..5, 0usize..4, 0u8..3), 1..120)
        ) {
            let mut rooms = rooms();
            let mut heads = [NO_MEMBERSHIP; 5];
            let mut model = BTreeSet::new();
            for (connection, room, action) in steps {
                let name = RoomName::new(&format!("room {room}")).unwrap();
                match action {
                    0 => {
                        rooms.join(connection as u32, &mut heads[connection], &name, OwnMessages::Skip, 128).unwrap();
                        model.insert((connection, room));
                    }
                    1 => {
                        if let Some(emptied) = rooms.leave(&mut heads[connection], &name) {
                            rooms.forget(emptied);
                        }
                        model.remove(&(connection, room));
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
