//! What each room may hold, where every room reads it and a reload changes it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::HistoryLimits;

/// The [`HistoryLimits`] of all rooms. Each is valid by itself, so that a reader may see some of them new and
/// others old.
#[derive(Debug)]
pub(super) struct LiveLimits {
    bytes_max: AtomicUsize,
    messages_max: AtomicU64,
    age_max_ns: AtomicU64,
}

impl LiveLimits {
    pub(super) fn new(limits: HistoryLimits) -> LiveLimits {
        let live = LiveLimits {
            bytes_max: AtomicUsize::new(0),
            messages_max: AtomicU64::new(0),
            age_max_ns: AtomicU64::new(0),
        };
        live.set(limits);
        live
    }

    pub(super) fn get(&self) -> HistoryLimits {
        HistoryLimits {
            bytes_max: self.bytes_max.load(Ordering::Relaxed),
            messages_max: self.messages_max.load(Ordering::Relaxed),
            age_max: Duration::from_nanos(self.age_max_ns.load(Ordering::Relaxed)),
        }
    }

    pub(super) fn set(&self, limits: HistoryLimits) {
        let age_max_ns = u64::try_from(limits.age_max.as_nanos()).unwrap_or(u64::MAX);
        self.bytes_max.store(limits.bytes_max, Ordering::Relaxed);
        self.messages_max.store(limits.messages_max, Ordering::Relaxed);
        self.age_max_ns.store(age_max_ns, Ordering::Relaxed);
    }
}
