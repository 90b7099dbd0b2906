//! The system's allocator with counts per thread, so that tests in parallel do not meet.

#![allow(dead_code)] // each test crate uses its part

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static LIVE_BYTES: Cell<i64> = const { Cell::new(0) };
    static PEAK_BYTES: Cell<i64> = const { Cell::new(0) };
    static LARGEST_BYTES: Cell<usize> = const { Cell::new(0) };
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

/// Counts `size` bytes asked for in place of `freed` ones.
fn count(size: usize, freed: usize) {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
    LARGEST_BYTES.set(LARGEST_BYTES.get().max(size));
    let live = LIVE_BYTES.get() + size as i64 - freed as i64;
    LIVE_BYTES.set(live);
    PEAK_BYTES.set(PEAK_BYTES.get().max(live));
}

#[allow(unsafe_code)] // a global allocator cannot be had without
// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps to the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps to the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_BYTES.set(LIVE_BYTES.get() - layout.size() as i64);
        // SAFETY: the caller keeps to the contract of `dealloc`, and it was the system's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: the caller keeps to the contract of `realloc`, and it was the system's.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Live bytes of this thread now.
pub fn live_bytes() -> i64 {
    LIVE_BYTES.get()
}

/// Allocations of this thread while `act` runs.
pub fn allocations(act: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    act();
    ALLOCATIONS.get() - before
}

/// What a piece of work asked of the allocator, on this thread.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The largest single request.
    pub largest: usize,
    /// The most by which live bytes had grown at any moment.
    pub peak_growth: i64,
    /// By how much they have grown at the end.
    pub growth: i64,
}

/// What `act` asks of the allocator.
pub fn asked(act: impl FnOnce()) -> Asked {
    let before = live_bytes();
    LARGEST_BYTES.set(0);
    PEAK_BYTES.set(before);
    act();
    Asked {
        largest: LARGEST_BYTES.get(),
        peak_growth: PEAK_BYTES.get() - before,
        growth: live_bytes() - before,
    }
}
