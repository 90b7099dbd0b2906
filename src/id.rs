//! Identities that cross shards.

use std::fmt;
use std::str::FromStr;

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

/// A text that is no connection's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a client's id is SHARD-KEY, a decimal and a hexadecimal number")]
pub struct ConnectionIdError;

impl FromStr for ConnectionId {
    type Err = ConnectionIdError;

    fn from_str(text: &str) -> Result<ConnectionId, ConnectionIdError> {
        let (shard, key) = text.split_once('-').ok_or(ConnectionIdError)?;
        let shard = shard.parse().ok().filter(|shard| *shard < SHARDS_MAX).ok_or(ConnectionIdError)?;
        let key = u64::from_str_radix(key, 16).map_err(|_| ConnectionIdError)?;
        Ok(ConnectionId { shard: ShardId::new(shard), key: Key::from_u64(key) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::Slab;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let key = Slab::default().insert(());
        let id = ConnectionId { shard: ShardId::new(7), key };
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "7", "-", "7-", "256-1", "x-1", "7-g", "7-10000000000000000"] {
            assert_eq!(wrong.parse::<ConnectionId>(), Err(ConnectionIdError), "{wrong}");
        }
    }
}
