//! The end of a shard: those who are connected are told one after the other, in random order and evenly over
//! the time of the drain, so that they do not all come back to the next process at once.
//!
//! Who has no conversation that an end would interrupt, as its handshake is not over or no request is under
//! way, is told at the beginning.

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;

use crate::endpoint::CloseCause;
use crate::reactor::Io;
use crate::slab::Key;
use crate::time::Time;

use super::Shard;
use super::session::{Flag, Session};

/// The order to close every connection with 1001, and to finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainOrder {
    /// When the first is told.
    pub begin: Time,
    /// The time over which the others are.
    pub spread: Duration,
    /// When nobody is waited for any more.
    pub deadline: Time,
    /// Decides who is told when.
    pub seed: u64,
}

impl DrainOrder {
    /// Everybody is told now.
    pub fn at_once(deadline: Time) -> DrainOrder {
        DrainOrder { begin: Time::ZERO, spread: Duration::ZERO, deadline, seed: 0 }
    }
}

/// A drain that goes on.
#[derive(Debug)]
pub(super) struct Draining {
    order: DrainOrder,
    /// Those who are not told yet, the next one last. Some may have gone since.
    untold: Vec<Key>,
    count: usize,
}

impl Draining {
    fn new(order: DrainOrder, mut untold: Vec<Key>) -> Draining {
        untold.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(order.seed));
        Draining { order, count: untold.len(), untold }
    }

    /// When there is next something to do: somebody is told, or everybody ends.
    pub fn due(&self) -> Time {
        self.next_at().map_or(self.order.deadline, |next| next.min(self.order.deadline))
    }

    /// Whether nobody is waited for any more.
    pub fn is_over(&self, now: Time) -> bool {
        self.order.deadline <= now
    }

    fn next_at(&self) -> Option<Time> {
        let told = (self.count - self.untold.len()) as u128;
        let after = self.order.spread.as_nanos() * told / (self.count as u128).max(1);
        (!self.untold.is_empty()).then(|| self.order.begin + Duration::from_nanos(after as u64))
    }

    fn take_next(&mut self, now: Time) -> Option<Key> {
        self.next_at().filter(|next| *next <= now)?;
        self.untold.pop()
    }
}

impl<I: Io> Shard<I> {
    /// Begins to drain. A second order counts in place of the first.
    pub(super) fn drain(&mut self, order: DrainOrder) {
        let Shard { connections, core, .. } = self;
        let keys: Vec<Key> = connections.keys().collect();
        let mut untold = Vec::with_capacity(keys.len());
        for key in keys {
            match connections.get_mut(key) {
                Some(slot) if is_interrupted(&slot.session) => untold.push(key),
                Some(slot) => core.finish(key, slot, CloseCause::Shutdown),
                None => {}
            }
        }
        core.draining = Some(Draining::new(order, untold));
        self.tell_of_the_end();
    }

    /// Tells those whose time it is.
    pub(super) fn tell_of_the_end(&mut self) {
        let Shard { connections, core, .. } = self;
        while let Some(key) = core.draining.as_mut().and_then(|draining| draining.take_next(core.now)) {
            if let Some(slot) = connections.get_mut(key) {
                core.finish(key, slot, CloseCause::Shutdown);
            }
        }
    }

    /// Past the deadline of a drain nobody is waited for any more.
    pub(super) fn enforce_drain_deadline(&mut self) {
        let Shard { connections, core, .. } = self;
        if core.draining.as_ref().is_none_or(|draining| !draining.is_over(core.now)) {
            return;
        }
        let keys: Vec<Key> = connections.keys().collect();
        for key in keys {
            if let Some(slot) = connections.get_mut(key) {
                core.kill(key.index(), slot);
            }
        }
    }
}

fn is_interrupted(session: &Session) -> bool {
    session.is(Flag::Opened) || session.is(Flag::Streams)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::Slab;

    fn drain(count: usize, seed: u64) -> Draining {
        let mut slab = Slab::default();
        let keys = (0..count).map(|_| slab.insert(())).collect();
        let (begin, spread) = (Time::from_nanos(1_000), Duration::from_secs(10));
        Draining::new(DrainOrder { begin, spread, deadline: begin + 2 * spread, seed }, keys)
    }

    /// When each is told, as milliseconds from the beginning, and who.
    fn told(mut draining: Draining) -> (Vec<u64>, Vec<u32>) {
        let (mut times, mut who) = (Vec::new(), Vec::new());
        while let Some(at) = draining.next_at() {
            assert_eq!(draining.due(), at);
            assert_eq!(draining.take_next(Time::from_nanos(at.as_nanos() - 1)), None, "not before");
            who.push(draining.take_next(at).expect("it is time").index());
            times.push(at.since(Time::from_nanos(1_000)).as_millis() as u64);
        }
        (times, who)
    }

    #[test]
    fn they_are_told_evenly_over_the_time_and_each_once() {
        assert_eq!(told(drain(1, 7)).0, [0]);
        assert_eq!(told(drain(4, 7)).0, [0, 2_500, 5_000, 7_500]);
        let (times, mut who) = told(drain(10_000, 7));
        assert!(times.iter().enumerate().all(|(at, time)| *time == at as u64), "one a millisecond");
        who.sort_unstable();
        assert!(who.iter().copied().eq(0..10_000));
    }

    #[test]
    fn the_order_is_the_seed_s_and_no_other() {
        let order = |seed| told(drain(100, seed)).1;
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        assert!(!order(1).is_sorted() && !order(1).iter().rev().is_sorted());
    }

    #[test]
    fn without_anybody_only_the_deadline_is_awaited() {
        let draining = drain(0, 7);
        let deadline = Time::from_nanos(1_000) + Duration::from_secs(20);
        assert_eq!(draining.due(), deadline);
        assert!(!draining.is_over(Time::from_nanos(deadline.as_nanos() - 1)) && draining.is_over(deadline));
    }
}
