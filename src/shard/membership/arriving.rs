//! What arrives in rooms, from the mailbox until all who are members then have been addressed: sent it, marked for
//! it, or left to come back for it when their sockets take something.

use crate::mutant::{Mutant, strikes};
use crate::shard::batch_pool::frame_bytes;
use crate::slab::Key;

use super::{Arrived, LocalRoom, LocalRooms};

impl LocalRooms {
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
        // Nobody is addressed before all that is taken at a time has arrived.
        local.due = local.members.len() as u32;
        local.arrived_bytes += frame_bytes(&arrived.batch);
        local.arrived.push(arrived);
        if let [.., before, last] = local.arrived.as_mut_slice()
            && strikes(Mutant::SwappedDeliveries)
        {
            std::mem::swap(&mut before.batch, &mut last.batch);
        }
        Some(local)
    }

    /// The rooms that something has arrived in in this turn, or earlier if their members are not all addressed.
    pub fn arrived_in(&self) -> &[Key] {
        &self.arrived_in
    }

    /// Notes that the next so many members of a room have been addressed.
    pub fn note_addressed(&mut self, room: Key, members: usize) {
        if let Some(local) = self.rooms.get_mut(room) {
            local.addressed += members as u32;
        }
    }

    /// Lets go of what has arrived where all members have been addressed: whoever has not been sent it is served
    /// from the room's window. A room that takes several turns lets the others go first in the next.
    pub fn clear_arrived(&mut self) {
        let LocalRooms { rooms, arrived_in, begun, .. } = self;
        begun.clear();
        let first = arrived_in.first().copied();
        arrived_in.retain(|key| {
            let Some(local) = rooms.get_mut(*key) else { return false };
            let is_unfinished = local.addressed < local.due;
            if !is_unfinished {
                local.arrived.clear();
                (local.arrived_bytes, local.addressed, local.due) = (0, 0, 0);
            }
            is_unfinished
        });
        if first.is_some() && arrived_in.first() == first.as_ref() {
            arrived_in.rotate_left(1);
        }
    }
}
