//! How many bytes are in flight to a shard, and who waits for them to become fewer.
//!
//! A waiter sets its flag and looks at the count again; the receiver lowers the count and looks at the
//! flags. Between the two steps of each lies a sequentially consistent fence, and of two such fences one
//! is first: either the waiter sees the lower count and does not wait, or the receiver sees the flag and
//! wakes it. Nothing else is read on the strength of a count or a flag, so the operations themselves need
//! no order.

use std::sync::atomic::Ordering;

use crate::id::{SHARDS_MAX, ShardId};
use crate::sync::{AtomicU64, AtomicUsize, fence};

/// What is in flight to one shard.
#[derive(Debug)]
pub struct InFlight {
    bytes: AtomicUsize,
    /// One bit per shard that wants a wake-up when the bytes have fallen.
    waiters: [AtomicU64; SHARDS_MAX / 64],
}

impl InFlight {
    /// Nothing, and nobody waits.
    pub fn new() -> InFlight {
        InFlight { bytes: AtomicUsize::new(0), waiters: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// Bytes that have been sent and not taken.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Counts what is about to be sent. The channel orders it before the receiver's
    /// [`InFlight::remove`], so the count never falls below zero.
    pub fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts what was taken.
    pub fn remove(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether more than `low` is in flight. If so, [`InFlight::take_waiters`] will name `shard` once it is
    /// not.
    pub fn awaits(&self, low: usize, shard: ShardId) -> bool {
        if self.bytes() <= low {
            return false;
        }
        let (word, bit) = (shard.index() / 64, 1u64 << (shard.index() % 64));
        self.waiters[word].fetch_or(bit, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.bytes() > low
    }

    /// If no more than `low` is in flight, names those who wait for that, each once. To be called after
    /// every [`InFlight::remove`], though once after several of them is enough.
    pub fn take_waiters(&self, low: usize, mut named: impl FnMut(ShardId)) {
        if self.bytes() > low {
            return;
        }
        fence(Ordering::SeqCst);
        for (word, waiters) in self.waiters.iter().enumerate() {
            if waiters.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let mut bits = waiters.swap(0, Ordering::Relaxed);
            while bits != 0 {
                named(ShardId::new(word * 64 + bits.trailing_zeros() as usize));
                bits &= bits - 1;
            }
        }
    }
}
