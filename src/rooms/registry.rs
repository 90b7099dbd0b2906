//! All rooms that have a member, by name.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Room, RoomName, Route};
use crate::id::ShardId;

/// Joins of different rooms rarely meet on one of so many locks.
const STRIPES: usize = 64;

type Stripe = Mutex<HashMap<RoomName, Arc<Room>>>;

/// Names to rooms, shared by all shards. A room exists while some shard has a member of it.
#[derive(Debug)]
pub struct Registry {
    /// Chooses the stripe. Keyed at random, as peers choose the names.
    hasher: RandomState,
    stripes: Box<[Stripe]>,
}

impl Default for Registry {
    fn default() -> Self {
        let stripes = (0..STRIPES).map(|_| Mutex::default()).collect();
        Registry { hasher: RandomState::new(), stripes }
    }
}

impl Registry {
    /// Adds a shard's route to the room of this name, which is created if need be.
    pub fn add_route(&self, name: &RoomName, route: Route) -> Arc<Room> {
        let mut rooms = self.stripe(name).lock();
        let room = rooms.entry(name.clone()).or_insert_with(|| Arc::new(Room::new(name.clone())));
        room.add_route(route);
        Arc::clone(room)
    }

    /// Takes a shard's route out of the room, and forgets a room without routes.
    pub fn remove_route(&self, room: &Room, shard: ShardId) {
        let mut rooms = self.stripe(room.name()).lock();
        if room.remove_route(shard) {
            rooms.remove(room.name());
        }
    }

    /// The room of this name, if it has a member anywhere.
    pub fn find(&self, name: &RoomName) -> Option<Arc<Room>> {
        self.stripe(name).lock().get(name).cloned()
    }

    /// How many rooms have a member.
    pub fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.lock().len()).sum()
    }

    /// Whether no room has a member.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn stripe(&self, name: &RoomName) -> &Stripe {
        &self.stripes[self.hasher.hash_one(name) as usize % STRIPES]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::Slab;

    fn route(shard: usize) -> Route {
        Route { shard: ShardId::new(shard), local_room: Slab::default().insert(()) }
    }

    #[test]
    fn a_room_lives_from_its_first_route_to_its_last() {
        let registry = Registry::default();
        let name = RoomName::new("a").unwrap();
        let first = registry.add_route(&name, route(0));
        let second = registry.add_route(&name, route(1));
        assert!(Arc::ptr_eq(&first, &second));
        registry.remove_route(&first, ShardId::new(0));
        assert!(registry.find(&name).is_some());
        registry.remove_route(&first, ShardId::new(1));
        assert!(registry.find(&name).is_none());
        assert!(registry.is_empty());
    }

    #[test]
    fn every_route_sees_the_same_offsets_in_one_order() {
        let registry = Arc::new(Registry::default());
        let name = RoomName::new("a").unwrap();
        let room = registry.add_route(&name, route(0));
        registry.add_route(&name, route(1));
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let (room, sender) = (Arc::clone(&room), sender.clone());
                scope.spawn(move || {
                    for _ in 0..1000 {
                        room.publish(|last, routes| {
                            for route in routes {
                                sender.send((route.shard, last + 1)).unwrap();
                            }
                            1
                        });
                    }
                });
            }
        });
        drop(sender);
        let seen: Vec<(ShardId, u64)> = receiver.iter().collect();
        for shard in [ShardId::new(0), ShardId::new(1)] {
            let offsets: Vec<u64> =
                seen.iter().filter(|(at, _)| *at == shard).map(|(_, offset)| *offset).collect();
            assert_eq!(offsets, (1..=4000).collect::<Vec<_>>());
        }
        assert_eq!(room.last_offset(), 4000);
    }
}
