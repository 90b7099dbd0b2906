//! The only place that reads the operating system's clock.

use std::time::{Duration, Instant, SystemTime};

use crate::time::Time;

/// The monotonic clock that all threads of one server share.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock {
    start: Instant,
}

impl MonotonicClock {
    /// A clock whose [`Time::ZERO`] is now.
    #[allow(clippy::disallowed_methods)] // the one caller
    pub fn start() -> MonotonicClock {
        MonotonicClock { start: Instant::now() }
    }

    /// The time now.
    pub fn now(&self) -> Time {
        let nanoseconds = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Time::from_nanos(nanoseconds)
    }

    /// The time that all processes of this machine share (`CLOCK_MONOTONIC`), for who compares it with theirs.
    pub fn machine_time() -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
    }

    /// The time since 1970-01-01T00:00:00Z; it may jump.
    #[allow(clippy::disallowed_methods)] // the one caller
    pub fn unix_time(&self) -> Duration {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
}
