//! Identities that cross shards.

use std::fmt;

use crate::slab::Key;

/// The most shards that a server runs.
pub const SHARDS_MAX: usize = 256;

/// A shard: one worker thread with its loop, numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(u16);

impl ShardId {
    /// The shard with this number.
    ///
    /// # Panics
    ///
    /// When `number` is not below [`SHARDS_MAX`].
    pub fn new(number: usize) -> ShardId {
        assert!(number < SHARDS_MAX, "shard numbers are below {SHARDS_MAX}");
        ShardId(number as u16)
    }

    /// The shard's number.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One connection, named uniquely in the process from its accept until its slot is reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    /// The shard that owns the connection.
    pub shard: ShardId,
    /// Its slot there.
    pub key: Key,
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:x}", self.shard, self.key.as_u64())
    }
}
