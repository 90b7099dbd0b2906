//! What is known of a client beside its rooms, which are known where they are: in the shard.

use super::Framing;
use crate::endpoint::Heartbeat;
use crate::rate::Bucket;

/// One client.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    pub framing: Framing,
    pub heartbeat: Heartbeat,
    pub connected: bool,
    /// Pings without an answer yet. Whatever else comes shows that the client lives, so there may be more.
    pub pongs_awaited: u32,
    pub errors_in_a_row: u8,
    /// The commands that it may send.
    pub commands: Bucket,
}

impl State {
    /// One that has just opened.
    pub fn new(framing: Framing, heartbeat: Heartbeat) -> State {
        State {
            framing,
            heartbeat,
            connected: false,
            pongs_awaited: 0,
            errors_in_a_row: 0,
            commands: Bucket::FULL,
        }
    }
}
