//! Encoded frames that many receivers share, and a pool that recycles them.
//!
//! It does not encode: what fills a buffer is the caller's. A buffer holds whole frames, header and
//! payload contiguous, so that one send can carry it as it is.

use std::collections::VecDeque;
use std::sync::Arc;

/// What a buffer costs beside its bytes: two reference counts, the vector's three words, and the
/// allocator's own header for both allocations.
const OVERHEAD_BYTES: usize = 72;

/// Whole encoded frames, immutable and shared by reference count across shards.
#[derive(Clone, Debug)]
pub struct FrameBuf(Arc<Vec<u8>>);

impl FrameBuf {
    /// Shares `bytes` as they are.
    pub fn new(bytes: Vec<u8>) -> FrameBuf {
        FrameBuf(Arc::new(bytes))
    }

    /// The encoded bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// Encoded bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of memory that a holder keeps from being freed: capacity and overhead, not length.
    pub fn pinned_bytes(&self) -> usize {
        self.0.capacity() + OVERHEAD_BYTES
    }

    /// How many hold it, for the check that nobody keeps it for ever.
    #[cfg(test)]
    pub(crate) fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Whether both are the same buffer, not just equal bytes.
    pub fn is_same(&self, other: &FrameBuf) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Room for a header, so that payloads of a power of two fit.
const HEADER_BYTES: usize = 16;
/// Buffer sizes that are recycled: a buffer pins at most twice what it holds, from 256 bytes on.
/// Larger ones are rare and allocated exactly.
const CLASS_BYTES: [usize; 9] = [
    (1 << 8) + HEADER_BYTES,
    (1 << 9) + HEADER_BYTES,
    (1 << 10) + HEADER_BYTES,
    (1 << 11) + HEADER_BYTES,
    (1 << 12) + HEADER_BYTES,
    (1 << 13) + HEADER_BYTES,
    (1 << 14) + HEADER_BYTES,
    (1 << 15) + HEADER_BYTES,
    (1 << 16) + HEADER_BYTES,
];
/// Bytes that one class may keep for reuse, so a burst leaves no more behind than this.
const CLASS_POOL_BYTES: usize = 256 << 10;

/// Recycles buffers once their last receiver has let go, so a steady flow allocates nothing.
#[derive(Debug, Default)]
pub struct FramePool {
    classes: [VecDeque<FrameBuf>; CLASS_BYTES.len()],
}

impl FramePool {
    /// A buffer that `fill` writes `bytes` bytes into.
    pub fn build(&mut self, bytes: usize, fill: impl FnOnce(&mut Vec<u8>)) -> FrameBuf {
        let Some(class) = CLASS_BYTES.iter().position(|class_bytes| bytes <= *class_bytes) else {
            let mut vec = Vec::with_capacity(bytes);
            fill(&mut vec);
            return FrameBuf::new(vec);
        };
        let ring = &mut self.classes[class];
        let mut frame = match ring.pop_front() {
            // Still being sent: leave it to its receivers rather than let it block the ring.
            Some(frame) if Arc::strong_count(&frame.0) > 1 => {
                if ring.len() < CLASS_POOL_BYTES / CLASS_BYTES[class] / 2 {
                    ring.push_back(frame);
                }
                fresh(class)
            }
            Some(frame) => frame,
            None => fresh(class),
        };
        match Arc::get_mut(&mut frame.0) {
            Some(vec) => {
                vec.clear();
                fill(vec);
            }
            None => unreachable!("checked or made above, and nobody else can clone it"),
        }
        if ring.len() < CLASS_POOL_BYTES / CLASS_BYTES[class] {
            ring.push_back(frame.clone());
        }
        frame
    }
}

fn fresh(class: usize) -> FrameBuf {
    FrameBuf::new(Vec::with_capacity(CLASS_BYTES[class]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(pool: &mut FramePool, byte: u8, bytes: usize) -> FrameBuf {
        pool.build(bytes, |vec| vec.resize(bytes, byte))
    }

    #[test]
    fn a_released_buffer_is_used_again() {
        let mut pool = FramePool::default();
        let first = build(&mut pool, 1, 100);
        let address = first.as_slice().as_ptr();
        drop(first);
        let second = build(&mut pool, 2, 200);
        assert_eq!(second.as_slice().as_ptr(), address);
        assert_eq!(second.as_slice(), [2; 200]);
    }

    #[test]
    fn a_held_buffer_is_never_written_again() {
        let mut pool = FramePool::default();
        let held: Vec<FrameBuf> = (0..100).map(|byte| build(&mut pool, byte, 50)).collect();
        for (byte, frame) in held.iter().enumerate() {
            assert_eq!(frame.as_slice(), [byte as u8; 50]);
        }
    }

    #[test]
    fn the_pool_keeps_a_bounded_number() {
        let mut pool = FramePool::default();
        for class_bytes in CLASS_BYTES {
            let held: Vec<FrameBuf> = (0..2000).map(|_| build(&mut pool, 0, class_bytes)).collect();
            drop(held);
        }
        for (ring, class_bytes) in pool.classes.iter().zip(CLASS_BYTES) {
            assert!(ring.len() * class_bytes <= CLASS_POOL_BYTES);
        }
    }

    #[test]
    fn a_large_buffer_is_exact_and_pins_what_it_holds() {
        let mut pool = FramePool::default();
        let bytes = CLASS_BYTES[CLASS_BYTES.len() - 1] + 1;
        let frame = build(&mut pool, 0, bytes);
        assert_eq!(frame.pinned_bytes(), bytes + OVERHEAD_BYTES);
    }
}
