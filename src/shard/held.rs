//! What connections make a shard hold, for simulations and tests: the limits of the configuration are
//! promises about these numbers.

use crate::reactor::Io;

use super::Shard;
use super::session::Flag;

/// Bytes of heap that one connection keeps from being freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its conversation is over, and only what waits is still sent.
    pub ended: bool,
    /// Answers and notices that wait to be sent.
    pub replies: usize,
    /// Messages of rooms: of the one that is half out, or what its rooms still had for it when it ended.
    pub messages: usize,
    /// What has come of an incomplete request, frame or message, and requests that wait.
    pub incoming: usize,
}

impl<I: Io> Shard<I> {
    /// What each connection of this shard holds, in the order of their slots.
    pub fn held(&self) -> impl Iterator<Item = Held> + '_ {
        self.connections.keys().filter_map(|key| self.connections.get(key)).map(|slot| {
            let outbound = &slot.session.outbound;
            let replies = outbound.pinned_reply_bytes();
            Held {
                ended: slot.session.is(Flag::Ended),
                replies,
                messages: outbound.pinned_bytes().saturating_sub(replies),
                incoming: slot.protocol.heap_bytes(),
            }
        })
    }
}
