//! A slab with generational keys: dense storage whose keys never name a reused slot.
//!
//! An epoll event and a message from another shard can both outlive what they name; the generation
//! makes such a key miss instead of hitting the slot's next owner.

use std::collections::TryReserveError;

/// Marks "no index" in the intrusive lists that run through slabs.
pub const NONE: u32 = u32::MAX;

/// What a list that may become very long reserves at first: so much that the usual allocators map it apart. Only what
/// is used of it becomes resident, to grow it later moves pages instead of bytes, and no holes of half the size, a
/// quarter and so on stay behind.
const FIRST_BYTES: usize = 128 << 10;

/// Makes room for `more` at the end of a list that may become very long.
///
/// # Errors
///
/// When there is no memory; the list is as it was.
pub fn try_reserve_long<T>(list: &mut Vec<T>, more: usize) -> Result<(), TryReserveError> {
    let first = if list.capacity() == 0 { FIRST_BYTES.div_ceil(size_of::<T>().max(1)) } else { 0 };
    list.try_reserve(more.max(first))
}

/// Names one occupancy of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    index: u32,
    /// Odd while the slot is occupied, so a key is never all ones.
    generation: u32,
}

impl Key {
    /// The key as one number, for a poller's user data. It is never `u64::MAX`.
    pub fn as_u64(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The inverse of [`Key::as_u64`].
    pub fn from_u64(raw: u64) -> Key {
        Key { index: raw as u32, generation: (raw >> 32) as u32 }
    }

    /// The slot, without its generation.
    pub fn index(self) -> u32 {
        self.index
    }
}

#[derive(Debug)]
enum Entry<T> {
    Vacant { next_free: u32 },
    Occupied(T),
}

/// Storage of `T` under generational [`Key`]s. Slots are reused last in, first out.
#[derive(Debug)]
pub struct Slab<T> {
    entries: Vec<Entry<T>>,
    /// Of each entry's latest occupancy. They stand apart, as beside a value each would take eight bytes.
    generations: Vec<u32>,
    first_free: u32,
    occupied: u32,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab { entries: Vec::new(), generations: Vec::new(), first_free: NONE, occupied: 0 }
    }
}

impl<T> Slab<T> {
    /// Bytes that one slot takes.
    pub const SLOT_BYTES: usize = size_of::<Entry<T>>() + size_of::<u32>();

    /// Stores the value that `make` builds for its own key.
    ///
    /// # Panics
    ///
    /// When 2³² − 1 slots are occupied: limits on connections keep far below it.
    pub fn insert_with(&mut self, make: impl FnOnce(Key) -> T) -> Key {
        let key = self.next_key();
        let value = make(key);
        match self.entries.get_mut(self.first_free as usize) {
            Some(entry) => {
                let Entry::Vacant { next_free } = *entry else {
                    unreachable!("the free list names only vacant slots");
                };
                self.first_free = next_free;
                *entry = Entry::Occupied(value);
                self.generations[key.index as usize] = key.generation;
            }
            None => {
                assert!(self.entries.len() < NONE as usize, "a slab holds fewer than 2^32 - 1 entries");
                // Without memory, what follows says so.
                let _ = self.try_reserve();
                self.entries.push(Entry::Occupied(value));
                self.generations.push(key.generation);
            }
        }
        self.occupied += 1;
        key
    }

    /// The key that the next insertion will get.
    pub fn next_key(&self) -> Key {
        match self.generations.get(self.first_free as usize) {
            Some(generation) => Key { index: self.first_free, generation: next_generation(*generation) },
            None => Key { index: self.entries.len() as u32, generation: 1 },
        }
    }

    /// Makes room for one more insertion, which cannot fail for want of memory then.
    ///
    /// # Errors
    ///
    /// When there is no memory; what the slab holds is as it was.
    pub fn try_reserve(&mut self) -> Result<(), TryReserveError> {
        if self.first_free != NONE {
            return Ok(());
        }
        try_reserve_long(&mut self.entries, 1)?;
        try_reserve_long(&mut self.generations, 1)
    }

    /// Stores `value`. See [`Slab::insert_with`].
    pub fn insert(&mut self, value: T) -> Key {
        self.insert_with(|_| value)
    }

    /// The value that `key` names, if that occupancy still lasts.
    pub fn get(&self, key: Key) -> Option<&T> {
        if self.generations.get(key.index as usize) == Some(&key.generation) {
            self.at(key.index)
        } else {
            None
        }
    }

    /// The value that `key` names, if that occupancy still lasts.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        if self.generations.get(key.index as usize) == Some(&key.generation) {
            self.at_mut(key.index)
        } else {
            None
        }
    }

    /// The value in slot `index`, whatever its generation.
    pub fn at(&self, index: u32) -> Option<&T> {
        match self.entries.get(index as usize) {
            Some(Entry::Occupied(value)) => Some(value),
            _ => None,
        }
    }

    /// The value in slot `index`, whatever its generation.
    pub fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        match self.entries.get_mut(index as usize) {
            Some(Entry::Occupied(value)) => Some(value),
            _ => None,
        }
    }

    /// The key of what is in slot `index` now.
    pub fn key_at(&self, index: u32) -> Option<Key> {
        self.at(index)?;
        let generation = *self.generations.get(index as usize)?;
        Some(Key { index, generation })
    }

    /// Takes the value in slot `index` out, whatever its generation.
    pub fn remove_at(&mut self, index: u32) -> Option<T> {
        let entry =
            self.entries.get_mut(index as usize).filter(|entry| matches!(entry, Entry::Occupied(_)))?;
        let vacant = Entry::Vacant { next_free: self.first_free };
        let Entry::Occupied(value) = std::mem::replace(entry, vacant) else { unreachable!("checked above") };
        self.first_free = index;
        self.occupied -= 1;
        Some(value)
    }

    /// Occupied slots.
    pub fn len(&self) -> usize {
        self.occupied as usize
    }

    /// Slots, occupied or not: their numbers are below it.
    pub fn slots(&self) -> u32 {
        self.entries.len() as u32
    }

    /// Whether no slot is occupied.
    pub fn is_empty(&self) -> bool {
        self.occupied == 0
    }

    /// The keys of all occupied slots, by index.
    pub fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        (0..self.slots()).filter_map(|index| self.key_at(index))
    }
}

/// Odd, and never the all-ones pattern that pollers reserve.
fn next_generation(generation: u32) -> u32 {
    #[cfg(loom)]
    if crate::sync::model::is_injected(crate::sync::model::Fault::SameGeneration) {
        return generation;
    }
    let next = generation.wrapping_add(2);
    if next == u32::MAX { 1 } else { next }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_misses_after_its_slot_is_reused() {
        let mut slab = Slab::default();
        let first = slab.insert("first");
        assert_eq!(slab.remove_at(first.index()), Some("first"));
        let announced = slab.next_key();
        let second = slab.insert("second");
        assert_eq!(second, announced);
        assert_eq!(first.index(), second.index());
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.get(second), Some(&"second"));
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn keys_survive_the_round_trip_through_a_number() {
        let mut slab = Slab::default();
        for value in 0..100u32 {
            let key = slab.insert(value);
            assert_eq!(Key::from_u64(key.as_u64()), key);
            assert_ne!(key.as_u64(), u64::MAX);
        }
        assert_eq!(slab.keys().count(), 100);
    }

    #[test]
    fn the_generation_wraps_without_the_reserved_pattern() {
        assert_eq!(next_generation(u32::MAX - 2), 1);
        assert_eq!(next_generation(1), 3);
    }

    #[test]
    fn removing_twice_gives_nothing() {
        let mut slab = Slab::default();
        let key = slab.insert(1);
        assert_eq!(slab.remove_at(key.index()), Some(1));
        assert_eq!(slab.remove_at(key.index()), None);
        assert_eq!(slab.remove_at(7), None);
        assert!(slab.is_empty());
    }
}
