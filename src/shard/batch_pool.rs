//! Recycles the memory of publications that have left their room's window, so a steady flow allocates
//! nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use super::publish::BATCH_BYTES_MAX;
use crate::rooms::{Batch, Encoding};

/// Room for a header, so that payloads of a power of two fit.
const HEADER_BYTES: usize = 16;
/// Buffer sizes that are recycled: a buffer pins at most twice what it holds, from 256 bytes on.
/// Larger ones are rare and allocated exactly.
const CLASS_BYTES: [usize; 10] = [
    (1 << 8) + HEADER_BYTES,
    (1 << 9) + HEADER_BYTES,
    (1 << 10) + HEADER_BYTES,
    (1 << 11) + HEADER_BYTES,
    (1 << 12) + HEADER_BYTES,
    (1 << 13) + HEADER_BYTES,
    (1 << 14) + HEADER_BYTES,
    (1 << 15) + HEADER_BYTES,
    (1 << 16) + HEADER_BYTES,
    (1 << 17) + HEADER_BYTES,
];
const _: () =
    assert!(CLASS_BYTES[CLASS_BYTES.len() - 1] >= BATCH_BYTES_MAX, "what a turn gathers is recycled");
/// Bytes kept for reuse, so that a burst leaves no more behind: one of the largest, or many small ones.
const POOL_BYTES: usize = CLASS_BYTES[CLASS_BYTES.len() - 1];

/// Batches to be used again, by size.
#[derive(Debug, Default)]
pub struct BatchPool {
    classes: [VecDeque<Arc<Batch>>; CLASS_BYTES.len()],
    /// Bytes of all of them.
    bytes: usize,
}

impl BatchPool {
    /// A batch that `fill` writes `bytes` bytes into.
    pub fn build(&mut self, bytes: usize, fill: impl FnOnce(&mut Batch)) -> Arc<Batch> {
        let mut batch = self.take(bytes);
        let Some(empty) = Arc::get_mut(&mut batch) else {
            unreachable!("taken alone, and nobody else has it")
        };
        fill(empty);
        batch
    }

    /// Takes back a batch, which others may still be sending.
    pub fn recycle(&mut self, batch: Arc<Batch>) {
        let capacity = batch.capacity();
        let Some(class) = CLASS_BYTES.iter().position(|class_bytes| *class_bytes == capacity) else { return };
        if self.bytes + capacity <= POOL_BYTES {
            self.bytes += capacity;
            self.classes[class].push_back(batch);
        }
    }

    fn take(&mut self, bytes: usize) -> Arc<Batch> {
        let Some(class) = CLASS_BYTES.iter().position(|class_bytes| bytes <= *class_bytes) else {
            return Arc::new(Batch::with_capacity(bytes));
        };
        let ring = &mut self.classes[class];
        if let Some(mut batch) = ring.pop_front() {
            if let Some(unused) = Arc::get_mut(&mut batch) {
                unused.clear();
                self.bytes -= CLASS_BYTES[class];
                return batch;
            }
            // Still being sent: others may be free already.
            ring.push_back(batch);
        }
        Arc::new(Batch::with_capacity(CLASS_BYTES[class]))
    }
}

/// The bytes of a batch as WebSocket frames.
pub fn frame_bytes(batch: &Batch) -> usize {
    batch.bytes(Encoding::Frames).len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rooms::Sender;

    fn build(pool: &mut BatchPool, byte: u8, bytes: usize) -> Arc<Batch> {
        pool.build(bytes, |batch| {
            batch.push(false, (Sender::Api { exclude: None }, None), bytes, |out| out.resize(bytes, byte));
        })
    }

    #[test]
    fn a_recycled_batch_is_used_again() {
        let mut pool = BatchPool::default();
        let first = build(&mut pool, 1, 100);
        let address = first.bytes(Encoding::Frames).as_ptr();
        pool.recycle(first);
        let second = build(&mut pool, 2, 200);
        assert_eq!(second.bytes(Encoding::Frames).as_ptr(), address);
        assert_eq!(second.bytes(Encoding::Frames), [2; 200]);
    }

    #[test]
    fn a_batch_that_others_hold_is_never_written_again() {
        let mut pool = BatchPool::default();
        let held = build(&mut pool, 1, 50);
        pool.recycle(Arc::clone(&held));
        let other = build(&mut pool, 2, 50);
        assert_eq!((held.payload(0), other.payload(0)), (&[1; 50][..], &[2; 50][..]));
        drop(held);
        let address = build(&mut pool, 3, 50).payload(0).as_ptr();
        assert_ne!(address, other.payload(0).as_ptr());
    }

    #[test]
    fn the_pool_keeps_a_bounded_number_and_no_odd_sizes() {
        let mut pool = BatchPool::default();
        for class_bytes in CLASS_BYTES {
            let held: Vec<Arc<Batch>> = (0..2000).map(|_| build(&mut pool, 0, class_bytes)).collect();
            held.into_iter().for_each(|batch| pool.recycle(batch));
        }
        let large = build(&mut pool, 0, CLASS_BYTES[CLASS_BYTES.len() - 1] + 1);
        pool.recycle(large);
        let mut bytes = 0;
        for (ring, class_bytes) in pool.classes.iter().zip(CLASS_BYTES) {
            bytes += ring.len() * class_bytes;
            assert!(ring.iter().all(|batch| batch.capacity() == class_bytes));
        }
        assert_eq!(bytes, pool.bytes);
        assert!(bytes <= POOL_BYTES);
        drop(CLASS_BYTES.map(|class_bytes| build(&mut pool, 0, class_bytes)));
        assert!(pool.bytes < bytes, "what is used again is no longer kept");
    }
}
