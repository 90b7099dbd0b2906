//! When the server has nearly used up its memory or its descriptors, slow consumers give back what they have of
//! it: who makes the server hold most comes first.

use std::cmp::Reverse;

use crate::endpoint::{Behind, CloseCause, Scarcity};
use crate::reactor::Io;
use crate::rooms::Position;
use crate::slab::Key;

use super::session::{Flag, Session};
use super::{Core, Shard};

/// About what the kernel holds for a peer that takes nothing: `--send-buffer` as it is by default.
const KERNEL_BYTES: usize = 128 << 10;

/// The order to close slow consumers: until one of the two is reached, or none is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShedOrder {
    /// What there is little left of.
    pub scarcity: Scarcity,
    /// How much of it may be in use, in percent.
    pub percent: u8,
    /// Connections to close.
    pub connections: usize,
    /// Bytes to give back.
    pub bytes: usize,
}

/// A slow consumer; the worst is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Burden {
    /// What waits in its own queue.
    queued_bytes: usize,
    /// What its rooms have for it.
    lag: u64,
}

impl<I: Io> Shard<I> {
    /// Closes the worst slow consumers. Returns at how many connections it has looked.
    pub(super) fn shed(&mut self, order: ShedOrder) -> usize {
        let Shard { connections, core, .. } = self;
        let burden = |key: Key| {
            let session = &connections.get(key)?.session;
            let slow = session.is(Flag::Waiting) && !session.is(Flag::Ended);
            slow.then(|| (core.burden(session), key))
        };
        let mut slow: Vec<(Burden, Key)> = connections.keys().filter_map(burden).collect();
        slow.sort_unstable_by_key(|(burden, key)| (Reverse(*burden), key.index()));
        let (looked_at, mut freed_bytes) = (connections.len(), 0);
        for (burden, key) in slow.into_iter().take(order.connections) {
            if freed_bytes >= order.bytes {
                break;
            }
            freed_bytes += burden.queued_bytes + KERNEL_BYTES;
            let Some(slot) = connections.get_mut(key) else { continue };
            let behind = core.behind(&slot.session);
            let ShedOrder { scarcity, percent, .. } = order;
            core.finish(key, slot, CloseCause::Shed { scarcity, percent, behind });
        }
        looked_at
    }
}

impl<S> Core<S> {
    fn burden(&self, session: &Session) -> Burden {
        let memberships = self.rooms.memberships_of(session.memberships);
        let memberships = memberships.filter_map(|index| self.rooms.membership(index));
        let lag = memberships.map(|membership| self.rooms.lag(membership)).sum();
        Burden { queued_bytes: session.outbound.pinned_bytes(), lag }
    }

    /// Where a slow consumer is, if it is in a room.
    fn behind(&self, session: &Session) -> Option<Behind> {
        let (local, offset) = self.rooms.behind(session.memberships)?;
        let position = Position { epoch: local.room.epoch(), offset };
        Some(Behind { room: local.room.name().clone(), position })
    }
}
