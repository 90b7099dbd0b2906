//! What a shard is told: limits and deadlines. `config.rs` says which flag sets each, and why its
//! default is what it is.

use std::time::Duration;

use super::forwarded::ProxySettings;
use super::rates::RateLimits;
use crate::protocol::Limits;

/// Limits and deadlines of every connection of a shard.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What a peer may send.
    pub limits: Limits,
    /// How fast it may.
    pub rates: RateLimits,
    /// Which proxies say who is there.
    pub proxies: ProxySettings,
    /// From accept to the end of the request head.
    pub handshake_timeout: Duration,
    /// Between an HTTP response and the next request.
    pub http_idle_timeout: Duration,
    /// From the first byte of a message to its last.
    pub message_timeout: Duration,
    /// Silence after which a ping is sent.
    pub ping_interval: Duration,
    /// Silence after a ping that ends the connection.
    pub pong_timeout: Duration,
    /// From our Close, or from the end of the conversation, to the end of the transport.
    pub close_timeout: Duration,
    /// Without progress while bytes wait to be sent.
    pub write_timeout: Duration,
    /// Bytes that an outbound queue may pin for a room's messages.
    pub queue_bytes_max: usize,
    /// Bytes of own replies over which a connection is not read from.
    pub reply_bytes_high: usize,
    /// Bytes of answers that may wait on a shard before those that can be long are refused.
    pub http_bytes_max: usize,
    /// Members that are sent to in a turn before everybody is read from again; at least 1.
    pub fan_out_members_max: usize,
    /// Rooms that a connection may be in.
    pub memberships_max: usize,
    /// How long one that died may take to come back before the others are told that it left.
    pub presence_grace: Duration,
    /// Members of a room that a list of them has at most, and up to which members are told who joins and
    /// leaves.
    pub presence_members_max: usize,
    /// Bytes that are read and thrown away after the conversation has ended.
    pub linger_bytes_max: usize,
}

impl Settings {
    /// Bytes that a connection's own replies may pin. Reading pauses long before; this bounds what an
    /// endpoint can answer to the messages of one read.
    pub fn reply_bytes_max(&self) -> usize {
        self.queue_bytes_max.max(self.limits.message_bytes_max + 2 * super::RECEIVE_BYTES)
            + self.reply_bytes_high
    }
}
