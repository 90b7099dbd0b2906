//! One room: who receives it, by shard, and the order of its messages.

use parking_lot::Mutex;

use super::RoomName;
use crate::id::ShardId;
use crate::slab::Key;

/// Where a room's messages go on one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The shard that has members of the room.
    pub shard: ShardId,
    /// The shard's own entry for the room.
    pub local_room: Key,
}

#[derive(Debug, Default)]
struct Log {
    /// The offset of the latest message; the first message has offset 1.
    last_offset: u64,
    /// The shards with members, one route each.
    routes: Vec<Route>,
}

/// A room with at least one member somewhere.
#[derive(Debug)]
pub struct Room {
    name: RoomName,
    log: Mutex<Log>,
}

impl Room {
    pub(super) fn new(name: RoomName) -> Room {
        Room { name, log: Mutex::default() }
    }

    /// The room's name.
    pub fn name(&self) -> &RoomName {
        &self.name
    }

    /// The offset of the latest message, 0 before the first.
    pub fn last_offset(&self) -> u64 {
        self.log.lock().last_offset
    }

    /// Publishes under the room's lock: what `deliver` hands to the routes' mailboxes there stands
    /// in offset order in every one of them. `deliver` is given the latest offset so far and the
    /// routes, must not block, and returns how many messages it published.
    pub fn publish(&self, deliver: impl FnOnce(u64, &[Route]) -> u64) {
        let mut log = self.log.lock();
        let published = deliver(log.last_offset, &log.routes);
        log.last_offset += published;
    }

    pub(super) fn add_route(&self, route: Route) {
        self.log.lock().routes.push(route);
    }

    /// Takes a shard's route out and says whether it was the last.
    pub(super) fn remove_route(&self, shard: ShardId) -> bool {
        let mut log = self.log.lock();
        log.routes.retain(|route| route.shard != shard);
        log.routes.is_empty()
    }
}
