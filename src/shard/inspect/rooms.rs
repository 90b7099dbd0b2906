//! The rooms that rank highest, of the parts of the registry that are this shard's to look at.

use crate::rooms::{RoomName, RoomSummary};

use super::{Budget, RoomSort, Top};
use crate::shard::Core;

/// Rooms that are taken out of the registry under one lock: few, as others may wait for it.
const ROOMS_PER_LOCK: usize = 64;

impl<S> Core<S> {
    pub(super) fn look_at_rooms(
        &self,
        sort: RoomSort,
        (part, after): (&mut usize, &mut Option<RoomName>),
        top: &mut Top<RoomSummary>,
        budget: &mut Budget,
    ) -> bool {
        let registry = self.rooms.registry();
        let rules = registry.rules();
        while *part < registry.parts() {
            if budget.left == 0 {
                return false;
            }
            let rooms = registry.of_part(*part, after.as_ref(), ROOMS_PER_LOCK);
            for room in &rooms {
                let summary = room.summary(self.now, rules.lag_policy(room.name()));
                budget.spend(0);
                top.offer(sort.rank(&summary), summary);
            }
            *after = rooms.last().map(|room| room.name().clone());
            if rooms.len() < ROOMS_PER_LOCK {
                (*part, *after) = (*part + self.mailbox.mesh().shards(), None);
            }
        }
        true
    }
}

impl RoomSort {
    fn rank(self, room: &RoomSummary) -> u64 {
        match self {
            // Less than one in a second ranks, too.
            RoomSort::Messages => (room.traffic.messages * 1000.0) as u64,
            RoomSort::Bytes => (room.traffic.bytes * 1000.0) as u64,
            RoomSort::Members => room.members as u64,
            RoomSort::History => room.bytes as u64,
        }
    }
}
