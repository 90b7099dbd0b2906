//! What a shard counts. The shard adds to plain numbers and publishes them once per turn; anybody
//! may read what was published.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::endpoint::{CloseCause, CloseKind};

macro_rules! counters {
    ($($counter:ident => $name:literal, $doc:literal;)*) => {
        /// A number that a shard keeps. Those that end in `_total` only grow.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Counter { $(#[doc = $doc] $counter),* }

        impl Counter {
            /// All of them, in order.
            pub const ALL: &'static [Counter] = &[$(Counter::$counter),*];

            /// The name in logs.
            pub fn name(self) -> &'static str {
                match self { $(Counter::$counter => $name),* }
            }
        }
    };
}

counters! {
    Connections => "connections", "Connections now, in any state.";
    Accepted => "accepted_total", "Sockets taken over from the acceptor.";
    Opened => "opened_total", "Handshakes that were completed, and streams of events.";
    HttpRequests => "http_requests_total", "HTTP requests, upgrades among them.";
    MessagesIn => "messages_in_total", "Messages received.";
    BytesIn => "bytes_in_total", "Bytes received, of any kind.";
    BytesOut => "bytes_out_total", "Bytes that the kernel took.";
    Sends => "sends_total", "Send calls that took something.";
    Publications => "publications_total", "Messages that entered a room.";
    Deliveries => "deliveries_total", "Messages given to a member's socket.";
    CutOutOfWindow => "lag_cut_out_of_window_total", "Members disconnected because their cursor fell out of the room's window (policy `disconnect`).";
    RemovedOutOfWindow => "lag_removed_total", "Memberships ended because the cursor fell out of the window, of members that can be told to come back (policy `skip`).";
    CutStalled => "lag_cut_stalled_total", "Members disconnected behind in a room without progress (policy `disconnect`).";
    CutStalledSkip => "lag_cut_stalled_skip_total", "The same in a room of policy `skip`.";
    CutStalledLatest => "lag_cut_stalled_latest_total", "The same in a room of policy `latest`.";
    SkippedOutOfWindow => "lag_skips_total", "Skips of members whose cursor fell out of the window (policy `skip`).";
    SkippedLatest => "lag_latest_skips_total", "Skips of members that had more than one message to get (policy `latest`).";
    SkippedMessages => "lag_skipped_messages_total", "Messages that members were not given for it.";
    ReplyPauses => "reply_pauses_total", "Pauses of reading because own replies were not taken.";
    PublisherPauses => "publisher_pauses_total", "Pauses of reading because a shard's inbox was full.";
    RatePauses => "rate_pauses_total", "Pauses of reading because the peer sent too fast.";
    Memberships => "memberships", "Memberships now.";
    Rooms => "rooms", "Rooms with members on this shard now.";
    QueuePinnedMax => "queue_pinned_bytes_max", "The most bytes that one outbound queue has pinned.";
    Turns => "turns_total", "Turns of the loop.";
}

impl Counter {
    /// Whether it is the highest value seen, rather than a number to be added up over shards.
    pub fn is_maximum(self) -> bool {
        self == Counter::QueuePinnedMax
    }
}

const COUNTERS: usize = Counter::ALL.len();
const CELLS: usize = COUNTERS + CloseKind::ALL.len();

/// The numbers of one shard, readable from any thread.
#[derive(Clone, Debug)]
pub struct ShardStats(Arc<[AtomicU64]>);

impl Default for ShardStats {
    fn default() -> Self {
        ShardStats((0..CELLS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl ShardStats {
    /// The value after the latest turn.
    pub fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize].load(Ordering::Relaxed)
    }

    /// Connections that ended for this kind of cause, after the latest turn.
    pub fn closes(&self, kind: CloseKind) -> u64 {
        self.0[COUNTERS + kind as usize].load(Ordering::Relaxed)
    }
}

/// The shard's own side of [`ShardStats`].
#[derive(Debug)]
pub struct Tally {
    cells: [u64; CELLS],
    published: ShardStats,
}

impl Tally {
    /// Zeroes that are published into `published`.
    pub fn new(published: ShardStats) -> Tally {
        Tally { cells: [0; CELLS], published }
    }

    /// Adds to a total.
    pub fn add(&mut self, counter: Counter, amount: u64) {
        self.cells[counter as usize] += amount;
    }

    /// Sets a number that can fall.
    pub fn set(&mut self, counter: Counter, value: u64) {
        self.cells[counter as usize] = value;
    }

    /// Raises a maximum.
    pub fn raise(&mut self, counter: Counter, value: u64) {
        let cell = &mut self.cells[counter as usize];
        *cell = (*cell).max(value);
    }

    /// Counts the end of a connection.
    pub fn count_close(&mut self, cause: &CloseCause) {
        self.cells[COUNTERS + cause.kind() as usize] += 1;
    }

    /// Makes the numbers visible. Relaxed: each is read for itself, and only this thread writes.
    pub fn publish(&self) {
        for (cell, value) in self.published.0.iter().zip(&self.cells) {
            cell.store(*value, Ordering::Relaxed);
        }
    }
}
