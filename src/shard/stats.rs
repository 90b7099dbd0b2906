//! What a shard counts. The shard adds to plain numbers and publishes them once per turn; anybody
//! may read what was published.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::distribution::{DISTRIBUTION_CELLS, Distribution, Distributions, Observed};
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
    Handshaking => "connections_handshaking", "Connections now whose first request has not been answered.";
    BetweenRequests => "connections_http", "Connections now that have been answered HTTP requests, and may send more.";
    OpenWebSockets => "connections_websocket", "Connections now with an open WebSocket.";
    OpenStreams => "connections_events", "Connections now with a stream of events.";
    Closing => "connections_closing", "Connections now whose end is decided, until they are closed.";
    Waiting => "connections_waiting", "Connections now whose sockets have not taken all that was sent.";
    Accepted => "accepted_total", "Sockets taken over from the acceptor.";
    Opened => "opened_total", "Handshakes that were completed, and streams of events.";
    HttpRequests => "http_requests_total", "HTTP requests, upgrades among them.";
    MessagesIn => "messages_in_total", "Messages received.";
    BytesIn => "bytes_in_total", "Bytes received, of any kind.";
    BytesOut => "bytes_out_total", "Bytes that the kernel took.";
    Replies => "replies_total", "Messages that endpoints have sent to their own connection.";
    Notices => "notices_total", "Messages to members about who has joined or left.";
    Sends => "sends_total", "Send calls of which the kernel took something.";
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
    QueueBytes => "queue_bytes", "Bytes that all outbound queues pin now.";
    AnswerBytes => "answer_bytes", "Bytes that answers pin now until they are taken: what `--http-bytes` bounds.";
    Turns => "turns_total", "Turns of the loop.";
    WakeUps => "wake_ups_total", "Wake-ups that were given to other shards.";
    TurnEnd => "turn_end_nanoseconds", "When the latest turn has ended, by the clock of the server.";
}

impl Counter {
    /// Whether it is the highest value seen, rather than a number to be added up over shards.
    pub fn is_maximum(self) -> bool {
        matches!(self, Counter::QueuePinnedMax | Counter::TurnEnd)
    }
}

const COUNTERS: usize = Counter::ALL.len();
/// Where the distributions begin.
const DISTRIBUTIONS: usize = COUNTERS + CloseKind::ALL.len();
const CELLS: usize = DISTRIBUTIONS + DISTRIBUTION_CELLS;

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

    /// How values of this kind have spread, after the latest turn.
    pub fn distribution(&self, distribution: Distribution) -> Observed {
        Observed::read(distribution, |at| self.0[DISTRIBUTIONS + at].load(Ordering::Relaxed))
    }
}

/// The shard's own side of [`ShardStats`].
#[derive(Debug)]
pub struct Tally {
    cells: [u64; DISTRIBUTIONS],
    distributions: Distributions,
    published: ShardStats,
}

impl Tally {
    /// Zeroes that are published into `published`.
    pub fn new(published: ShardStats) -> Tally {
        Tally { cells: [0; DISTRIBUTIONS], distributions: Distributions::default(), published }
    }

    /// Adds to a total.
    pub fn add(&mut self, counter: Counter, amount: u64) {
        self.cells[counter as usize] += amount;
    }

    /// Counts a connection in another state.
    pub fn change_state(&mut self, before: Counter, after: Counter) {
        self.subtract(before, 1);
        self.add(after, 1);
    }

    /// Takes from a number that can fall.
    pub fn subtract(&mut self, counter: Counter, amount: u64) {
        self.cells[counter as usize] -= amount;
    }

    /// Counts a value of a distribution so many times.
    pub fn observe(&mut self, distribution: Distribution, value: u64, times: u64) {
        self.distributions.observe(distribution, value, times);
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
    pub fn publish(&mut self) {
        for (cell, value) in self.published.0.iter().zip(&self.cells) {
            cell.store(*value, Ordering::Relaxed);
        }
        let published = &self.published.0[DISTRIBUTIONS..];
        self.distributions.take_changed(|at, value| published[at].store(value, Ordering::Relaxed));
    }
}
