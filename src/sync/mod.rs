//! What threads share, under names that mean the same to the server and to its model checker: the
//! standard library's atomics, the lock and the channel; with `--cfg loom` those of `model`, which the
//! tests in `tests/loom` drive through every order that matters.
//!
//! Only what takes part in the protocols between threads comes from here. Counters that nothing waits
//! for are the standard library's everywhere.

#[cfg(loom)]
pub mod model;

#[cfg(loom)]
pub use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
#[cfg(loom)]
pub use model::{Mutex, channel, fence};

#[cfg(not(loom))]
pub use crossbeam_channel as channel;
#[cfg(not(loom))]
pub use parking_lot::Mutex;
#[cfg(not(loom))]
pub use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, fence};
