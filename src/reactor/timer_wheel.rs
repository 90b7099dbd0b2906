//! Coarse timers for everything that a shard owns: one entry per slab index, no allocation per
//! timer, O(1) to arm and to cancel.
//!
//! Deadlines mostly move away while nothing happens to them (every read moves the heartbeat), so
//! an entry is allowed to expire early: the owner works out the real deadline and arms it anew.

use std::collections::TryReserveError;

use crate::slab::{NONE, try_reserve_long};
use crate::time::Time;

/// One tick: 2²⁶ ns, 67 ms. Deadlines are kept to within one tick, never early.
const TICK_BITS: u32 = 26;
const SLOTS: usize = 1024;

/// A deadline as the wheel keeps it: a count of ticks, half the size of a [`Time`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(u32);

impl Tick {
    /// One that is never reached.
    pub const NEVER: Tick = Tick(NONE);

    /// The first tick at or after `deadline`, at which a wheel lets it expire anyway.
    pub fn after(deadline: Time) -> Tick {
        Tick(tick_after(deadline))
    }

    /// When it begins.
    pub fn time(self) -> Time {
        if self == Tick::NEVER { Time::NEVER } else { Time::from_nanos(u64::from(self.0) << TICK_BITS) }
    }
}
const WORDS: usize = SLOTS / 64;

#[derive(Clone, Copy, Debug)]
struct Link {
    previous: u32,
    next: u32,
    /// The tick it expires at; [`NONE`] when it is not armed.
    due: u32,
}

const UNARMED: Link = Link { previous: NONE, next: NONE, due: NONE };

/// A hashed wheel of 1,024 ticks. What lies beyond its 69 s horizon expires early.
#[derive(Debug)]
pub struct TimerWheel {
    heads: Box<[u32; SLOTS]>,
    occupied: [u64; WORDS],
    links: Vec<Link>,
    /// All ticks up to this one have expired.
    current: u32,
}

impl TimerWheel {
    /// Bytes of the wheel that each index costs.
    pub const LINK_BYTES: usize = size_of::<Link>();

    /// An empty wheel at `now`.
    pub fn new(now: Time) -> TimerWheel {
        TimerWheel {
            heads: Box::new([NONE; SLOTS]),
            occupied: [0; WORDS],
            links: Vec::new(),
            current: tick_before(now),
        }
    }

    /// Makes room for `index`, so that arming it cannot fail for want of memory.
    ///
    /// # Errors
    ///
    /// When there is no memory; the wheel is as it was.
    pub fn try_reserve(&mut self, index: u32) -> Result<(), TryReserveError> {
        let wanted = (index as usize + 1).saturating_sub(self.links.len());
        try_reserve_long(&mut self.links, wanted)?;
        self.links.resize(self.links.len() + wanted, UNARMED);
        Ok(())
    }

    /// Makes `index` expire at `deadline` or, if it is armed for an earlier time, then.
    pub fn arm(&mut self, index: u32, deadline: Time) {
        let slot = index as usize;
        if slot >= self.links.len() {
            self.links.resize(slot + 1, UNARMED);
        }
        let horizon = self.current.saturating_add(SLOTS as u32 - 1);
        let due = tick_after(deadline).clamp(self.current.saturating_add(1), horizon);
        if self.links[slot].due != NONE {
            if self.links[slot].due <= due {
                return;
            }
            self.unlink(index);
        }
        self.link(index, due);
    }

    /// Forgets `index`.
    pub fn cancel(&mut self, index: u32) {
        if self.links.get(index as usize).is_some_and(|link| link.due != NONE) {
            self.unlink(index);
        }
    }

    /// Appends every index that is due at `now` to `expired` and disarms it.
    pub fn expire(&mut self, now: Time, expired: &mut Vec<u32>) {
        let last = tick_before(now);
        if last <= self.current {
            return;
        }
        let steps = (last - self.current).min(SLOTS as u32);
        for tick in self.current + 1..=self.current + steps {
            let bucket = tick as usize % SLOTS;
            while self.heads[bucket] != NONE {
                let index = self.heads[bucket];
                self.unlink(index);
                expired.push(index);
            }
        }
        self.current = last;
    }

    /// When [`TimerWheel::expire`] will next find something.
    pub fn next_deadline(&self) -> Option<Time> {
        let start = (self.current as usize + 1) % SLOTS;
        let bucket = self.next_occupied(start)?;
        let distance = (bucket + SLOTS - start) % SLOTS;
        let tick = u64::from(self.current) + 1 + distance as u64;
        Some(Time::from_nanos(tick << TICK_BITS))
    }

    /// The first occupied bucket at or after `start`, going round.
    fn next_occupied(&self, start: usize) -> Option<usize> {
        let (first_word, first_bit) = (start / 64, start % 64);
        for step in 0..=WORDS {
            let word = (first_word + step) % WORDS;
            let mut bits = self.occupied[word];
            if step == 0 {
                bits &= u64::MAX << first_bit;
            }
            if bits != 0 {
                return Some(word * 64 + bits.trailing_zeros() as usize);
            }
        }
        None
    }

    fn link(&mut self, index: u32, due: u32) {
        let bucket = due as usize % SLOTS;
        let next = self.heads[bucket];
        if next != NONE {
            self.links[next as usize].previous = index;
        }
        self.links[index as usize] = Link { previous: NONE, next, due };
        self.heads[bucket] = index;
        self.occupied[bucket / 64] |= 1 << (bucket % 64);
    }

    fn unlink(&mut self, index: u32) {
        let Link { previous, next, due } = self.links[index as usize];
        let bucket = due as usize % SLOTS;
        if previous == NONE {
            self.heads[bucket] = next;
        } else {
            self.links[previous as usize].next = next;
        }
        if next != NONE {
            self.links[next as usize].previous = previous;
        }
        if self.heads[bucket] == NONE {
            self.occupied[bucket / 64] &= !(1 << (bucket % 64));
        }
        self.links[index as usize] = UNARMED;
    }
}

/// The last tick that has begun at `time`. A process would have to run for nine years to saturate.
fn tick_before(time: Time) -> u32 {
    u32::try_from(time.as_nanos() >> TICK_BITS).unwrap_or(NONE - 1)
}

/// The first tick at or after `time`.
fn tick_after(time: Time) -> u32 {
    let rounded = time.as_nanos().saturating_add((1 << TICK_BITS) - 1);
    u32::try_from(rounded >> TICK_BITS).unwrap_or(NONE - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const TICK: Duration = Duration::from_nanos(1 << TICK_BITS);

    fn expire(wheel: &mut TimerWheel, now: Time) -> Vec<u32> {
        let mut expired = Vec::new();
        wheel.expire(now, &mut expired);
        expired.sort_unstable();
        expired
    }

    #[test]
    fn it_expires_within_one_tick_and_never_early() {
        let mut wheel = TimerWheel::new(Time::ZERO);
        let deadline = Time::ZERO + Duration::from_secs(5);
        wheel.arm(3, deadline);
        let due = wheel.next_deadline().unwrap();
        assert!(due >= deadline && due.since(deadline) <= TICK);
        assert_eq!(expire(&mut wheel, Time::from_nanos(due.as_nanos() - 1)), [] as [u32; 0]);
        assert_eq!(expire(&mut wheel, due), [3]);
        assert_eq!(wheel.next_deadline(), None);
    }

    #[test]
    fn a_tick_is_when_the_wheel_lets_its_deadline_expire() {
        for nanoseconds in [0, 1, (1 << TICK_BITS) - 1, 1 << TICK_BITS, (1 << TICK_BITS) + 1, 30_000_000_000]
        {
            let deadline = Time::from_nanos(nanoseconds);
            let due = Tick::after(deadline).time();
            assert!(due >= deadline && due.since(deadline) < TICK);
            assert_eq!(Tick::after(due).time(), due);
            let mut wheel = TimerWheel::new(Time::ZERO);
            wheel.arm(0, deadline.max(Time::from_nanos(1)));
            assert_eq!(wheel.next_deadline(), Some(due.max(Time::ZERO + TICK)));
        }
        assert_eq!(Tick::NEVER.time(), Time::NEVER);
        assert!(Tick::after(Time::NEVER) < Tick::NEVER);
    }

    #[test]
    fn arming_earlier_moves_it_and_later_does_not() {
        let mut wheel = TimerWheel::new(Time::ZERO);
        wheel.arm(0, Time::ZERO + Duration::from_secs(10));
        wheel.arm(0, Time::ZERO + Duration::from_secs(20));
        let ten = wheel.next_deadline().unwrap();
        assert!(ten < Time::ZERO + Duration::from_secs(11));
        wheel.arm(0, Time::ZERO + Duration::from_secs(2));
        assert!(wheel.next_deadline().unwrap() < Time::ZERO + Duration::from_secs(3));
        assert_eq!(expire(&mut wheel, Time::ZERO + Duration::from_secs(30)), [0]);
    }

    #[test]
    fn what_lies_beyond_the_horizon_expires_early() {
        let mut wheel = TimerWheel::new(Time::ZERO);
        wheel.arm(1, Time::NEVER);
        let due = wheel.next_deadline().unwrap();
        assert!(due < Time::ZERO + Duration::from_secs(70));
        assert_eq!(expire(&mut wheel, due), [1]);
    }

    #[test]
    fn a_jump_over_the_whole_wheel_expires_everything_once() {
        let mut wheel = TimerWheel::new(Time::ZERO);
        for index in 0..500 {
            wheel.arm(index, Time::ZERO + Duration::from_millis(u64::from(index) * 100));
        }
        let expired = expire(&mut wheel, Time::ZERO + Duration::from_secs(3600));
        assert_eq!(expired, (0..500).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_sorted_map(
            steps in prop::collection::vec((0u32..20, 0u64..60_000, any::<bool>()), 1..200)
        ) {
            let mut wheel = TimerWheel::new(Time::ZERO);
            let mut model: BTreeMap<u32, u32> = BTreeMap::new();
            let mut now = Time::ZERO;
            for (index, milliseconds, cancel) in steps {
                if cancel {
                    wheel.cancel(index);
                    model.remove(&index);
                } else {
                    let deadline = now + Duration::from_millis(milliseconds);
                    wheel.arm(index, deadline);
                    let due = tick_after(deadline).max(tick_before(now) + 1);
                    let entry = model.entry(index).or_insert(due);
                    *entry = (*entry).min(due);
                }
                now = now + Duration::from_millis(milliseconds / 7);
                let last = tick_before(now);
                let due: Vec<u32> = model.iter().filter(|(_, due)| **due <= last).map(|(index, _)| *index).collect();
                model.retain(|_, due| *due > last);
                prop_assert_eq!(expire(&mut wheel, now), due);
                let next = model.values().min().map(|tick| Time::from_nanos(u64::from(*tick) << TICK_BITS));
                prop_assert_eq!(wheel.next_deadline(), next);
            }
        }
    }
}
