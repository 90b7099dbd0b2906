//! A room as the shard that has members of it knows it.

use std::sync::Arc;

use crate::rooms::{Batch, LagPolicy, Room};

/// A publication that members are still to be sent.
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

/// About what a message takes in the longer encodings beside its frame: many short ones are no less to send there.
const MESSAGE_OVERHEAD_BYTES: usize = 256;

/// A room with members on this shard.
#[derive(Debug)]
pub struct LocalRoom {
    /// The room that all shards share.
    pub room: Arc<Room>,
    /// What happens to members that fall behind. What has begun to be sent must not change until it is, so
    /// this only changes between two fan-outs.
    pub policy: LagPolicy,
    /// The numbers of its members' memberships here.
    pub members: Vec<u32>,
    /// The first so many of them have been addressed: sent what arrived, or marked for it, or left until their
    /// sockets take something.
    pub addressed: u32,
    /// The first so many of them are to be, or have been. Who joins meanwhile stands behind them.
    pub due: u32,
    /// How many of them are told who joins and leaves.
    pub watchers: usize,
    /// This turn's publications: first and last in the publish queue.
    pub pending: Option<(u32, u32)>,
    /// The offset up to which this shard has heard of messages.
    pub seen: u64,
    /// What came last, until all members have been addressed: in order and without a gap.
    pub arrived: Vec<Arrived>,
    /// How much it is for each of them, as frames.
    pub arrived_bytes: usize,
}

impl LocalRoom {
    /// The messages of all that has arrived.
    pub fn arrived_messages(&self) -> u64 {
        self.arrived.first().map_or(0, |first| self.seen - first.offset_before)
    }

    /// About how much it is for each member at most, whatever it reads.
    pub fn arrived_bytes_at_most(&self) -> usize {
        self.arrived_bytes + self.arrived_messages() as usize * MESSAGE_OVERHEAD_BYTES
    }
}
