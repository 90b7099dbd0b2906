//! No queue is above its limit, ever: looked at behind every turn.

use std::sync::atomic::Ordering;

use fanfare::id::ShardId;
use fanfare::shard::{Held, RECEIVE_BYTES};

use crate::world::{UNREAD_MAX, World};

/// What a batch of the smallest messages costs beside their bytes, with all encodings.
const BATCH_BYTES: usize = 4 << 20;
/// What lists and boxes cost.
const OVERHEAD_BYTES: usize = 4096;

impl World {
    /// Checks what a shard holds behind its turn, and what it has sent to the others.
    pub fn check_bounds(&self, shard: usize) {
        self.check_limits();
        for held in self.server.shards[shard].held() {
            self.check_held(&held);
        }
        // A publisher is stopped behind the read that has filled an inbox, and each connection can publish
        // once so. What is in it takes more there than on the wire: mail has its overhead.
        let mail = self.plan.mailbox_bytes + self.lines.len() * (2 * UNREAD_MAX + OVERHEAD_BYTES);
        for shard in 0..self.plan.shards {
            let in_flight = self.server.mesh.bytes_in_flight(ShardId::new(shard));
            assert!(
                in_flight <= mail,
                "{in_flight} bytes are in flight to shard {shard}, allowed are {mail}"
            );
        }
    }

    /// Windows, connections and the share of an address, to the byte and the one.
    fn check_limits(&self) {
        let config = &self.plan.config;
        for name in &self.plan.rooms {
            let Some(room) = self.server.registry.find(name) else { continue };
            let ((bytes, batches), most) = (room.limited_bytes(), config.history_bytes);
            let extent = room.extent(self.server.now());
            let messages = extent.last - extent.start;
            assert!(
                bytes <= most || batches == 1,
                "{name} holds {bytes} bytes of {batches} batches, allowed are {most}"
            );
            let most = config.history_messages;
            assert!(messages <= most, "{name} holds {messages} messages, allowed are {most}");
        }
        let open = self.server.connections.load(Ordering::Relaxed);
        let most = config.max_connections.unwrap_or(usize::MAX);
        assert!(open <= most, "{open} connections are open, allowed are {most}");
        let most = config.connections_per_address;
        let of_one = self.gate.as_ref().map_or(0, |gate| gate.acceptor.most_of_an_address());
        assert!(of_one <= most, "one address has {of_one} connections, allowed are {most}");
    }

    fn check_held(&self, held: &Held) {
        let config = &self.plan.config;
        let settings = config.settings();
        // One answer may be on top of what is allowed to wait; the longest is a history, escaped.
        let answer = 3 * config.history_bytes + 2 * settings.limits.message_bytes_max + (64 << 10);
        let replies = settings.reply_bytes_max() + answer;
        assert!(held.replies <= replies, "{held:?}, allowed are {replies} bytes of replies");
        let message = BATCH_BYTES + 8 * self.plan.payload_max;
        assert!(held.ended || held.messages <= message, "{held:?}, allowed are {message} bytes of messages");
        // A body comes behind its head, and requests that wait are no more than one read.
        let incoming = config.max_head + config.max_message.max(RECEIVE_BYTES) + OVERHEAD_BYTES;
        assert!(held.incoming <= incoming, "{held:?}, allowed are {incoming} incoming bytes");
    }
}
