//! The n-th growth of what connections live in finds no memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use crate::common::sim::ADOPTING;

use super::scenario::Day;

/// Members beside those that the day needs, so that the slab grows twice on both shards.
const MORE: usize = 2200;

thread_local! {
    /// Growths that succeed before the one that fails; `None` when none is to fail.
    static SUCCEED_BEFORE: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The system's allocator, which can be told to refuse one growth of a shard's tables.
struct Refusing;

/// Whether this is the allocation that fails: between the registration of a socket and what is next asked of
/// the system, only the tables grow.
fn refuses() -> bool {
    if !ADOPTING.get() {
        return false;
    }
    let left = SUCCEED_BEFORE.get();
    SUCCEED_BEFORE.set(left.and_then(|left| left.checked_sub(1)));
    left == Some(0)
}

#[allow(unsafe_code)] // a global allocator cannot be had without
// SAFETY: every call goes to the system's allocator as it came, or is refused with null.
unsafe impl GlobalAlloc for Refusing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if refuses() {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller keeps to the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps to the contract of `dealloc`, and it was the system's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if refuses() {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller keeps to the contract of `realloc`, and it was the system's.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Refusing = Refusing;

#[test]
fn the_nth_connection_finds_no_memory_and_nobody_else_loses_anything() {
    for growth in 0.. {
        SUCCEED_BEFORE.set(Some(growth));
        let day = Day::begin(None, MORE);
        let failed = SUCCEED_BEFORE.take().is_none();
        let evening = day.end();
        assert_eq!(evening.turned_away(), usize::from(failed), "growth {growth}");
        evening.check(|seen| !seen.is_turned_away());
        if !failed {
            // Slots, their generations and timers on both shards, and slots once more.
            assert!(growth >= 8, "only {growth} growths were met");
            return;
        }
    }
}
