//! The keys under which back ends have published, as long as the message they stand for is held: a
//! repeat is answered with the first result (the Idempotency-Key header).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// The longest key in bytes: a UUID or a hash in any spelling fits.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;
/// What a key costs beside its bytes: its places in the list and the map, and its reference counts.
const OVERHEAD_BYTES: usize = 96;

#[derive(Debug, Default)]
pub(super) struct Keys(Option<Box<Remembered>>);

#[derive(Debug, Default)]
struct Remembered {
    offsets: HashMap<Arc<str>, u64>,
    in_order: VecDeque<(u64, Arc<str>)>,
    bytes: usize,
}

impl Keys {
    /// The offset that was published under this key.
    pub(super) fn offset_of(&self, key: &str) -> Option<u64> {
        self.0.as_ref()?.offsets.get(key).copied()
    }

    /// Remembers that a key stands for the message with this offset.
    pub(super) fn remember(&mut self, key: &str, offset: u64) {
        let remembered = self.0.get_or_insert_default();
        let key: Arc<str> = key.into();
        remembered.bytes += key.len() + OVERHEAD_BYTES;
        remembered.offsets.insert(Arc::clone(&key), offset);
        remembered.in_order.push_back((offset, key));
    }

    /// Forgets the keys of messages up to this offset.
    pub(super) fn forget_until(&mut self, offset: u64) {
        let Some(remembered) = &mut self.0 else { return };
        while let Some((oldest, _)) = remembered.in_order.front()
            && *oldest <= offset
        {
            let Some((forgotten, key)) = remembered.in_order.pop_front() else { return };
            remembered.bytes -= key.len() + OVERHEAD_BYTES;
            // The key may have been used again since, when its message was too old but still in memory.
            if remembered.offsets.get(&key) == Some(&forgotten) {
                remembered.offsets.remove(&key);
            }
        }
        if remembered.in_order.is_empty() {
            self.0 = None;
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |remembered| remembered.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_used_again_outlives_its_first_message() {
        let mut keys = Keys::default();
        keys.remember("a", 1);
        keys.remember("a", 2);
        keys.forget_until(1);
        assert_eq!((keys.offset_of("a"), keys.bytes()), (Some(2), 1 + OVERHEAD_BYTES));
        keys.forget_until(2);
        assert_eq!((keys.offset_of("a"), keys.bytes()), (None, 0));
    }

    #[test]
    fn a_key_is_known_as_long_as_its_message_is_held() {
        let mut keys = Keys::default();
        keys.remember("a", 3);
        keys.remember("b", 5);
        assert_eq!(keys.bytes(), 2 * (1 + OVERHEAD_BYTES));
        for (until, a, b) in [(2, Some(3), Some(5)), (3, None, Some(5)), (4, None, Some(5)), (5, None, None)]
        {
            keys.forget_until(until);
            assert_eq!((keys.offset_of("a"), keys.offset_of("b")), (a, b), "{until}");
        }
        assert_eq!(keys.bytes(), 0);
        assert!(keys.0.is_none(), "a room without keys owns nothing for them");
    }
}
