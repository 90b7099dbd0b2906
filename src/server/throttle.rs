//! How fast new connections are let in, all together, and when those who are not may come again.

use std::time::Duration;

use rand::{Rng, RngExt};

use crate::rate::Bucket;
use crate::time::Time;

/// What comes in so much time is let in at once.
const AT_ONCE: Duration = Duration::from_millis(100);
/// Turns are given out so far ahead; those behind share the last one.
const AHEAD_MAX: Duration = Duration::from_secs(60);

/// The rate of new connections, over all addresses.
#[derive(Debug)]
pub struct Throttle {
    admitted: Bucket,
    /// The turns of those who were turned away: as if they stood in a queue that the rate empties.
    turns: Bucket,
}

impl Default for Throttle {
    fn default() -> Throttle {
        Throttle { admitted: Bucket::FULL, turns: Bucket::FULL }
    }
}

impl Throttle {
    /// Whether another one may be let in now.
    pub fn has_room(&self, per_second: u32, now: Time) -> bool {
        self.admitted.clone().take_within(AT_ONCE, per_second.into(), now)
    }

    /// Counts one that is let in.
    pub fn admit(&mut self, per_second: u32, now: Time) {
        self.admitted.take_within(AT_ONCE, per_second.into(), now);
    }

    /// In how many seconds one that is turned away may come again: when it is its turn if all of them come back,
    /// and up to half as long again at random, so that they do not come together.
    pub fn retry_after_s(&mut self, per_second: u32, chance: &mut impl Rng, now: Time) -> u32 {
        if self.turns.missing(now) < AHEAD_MAX {
            self.turns.charge(1, per_second.into(), now);
        }
        let turn_s = 1 + self.turns.missing(now).as_secs() as u32;
        chance.random_range(turn_s..=turn_s + turn_s.div_ceil(2))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::Xoshiro256PlusPlus;

    use super::*;

    fn at(milliseconds: u64) -> Time {
        Time::ZERO + Duration::from_millis(milliseconds)
    }

    #[test]
    fn no_time_sees_more_than_its_rate_and_a_tenth_of_a_second_s() {
        for rate in [1, 7, 100, 1000, 10_000] {
            let mut throttle = Throttle::default();
            let mut admitted = Vec::new();
            for now in 0..5_000 {
                while throttle.has_room(rate, at(now)) {
                    throttle.admit(rate, at(now));
                    admitted.push(now);
                }
            }
            let at_once = (rate as usize / 10).max(1);
            for width in [1, 10, 100, 1000, 4000] {
                let most = rate as usize * width / 1000 + at_once;
                for start in (0..5_000 - width as u64).step_by(37) {
                    let within = start..start + width as u64;
                    let seen = admitted.iter().filter(|now| within.contains(*now)).count();
                    assert!(seen <= most + 1, "{seen} of {rate} within {width} ms from {start}");
                }
            }
            let all = 5 * rate as usize;
            assert!(
                admitted.len() + 1 >= all && admitted.len() <= all + at_once,
                "{} of {rate}",
                admitted.len()
            );
        }
    }

    #[test]
    fn who_is_turned_away_is_given_a_turn_of_its_own_and_nobody_for_ever() {
        let mut chance = Xoshiro256PlusPlus::seed_from_u64(7);
        let mut throttle = Throttle::default();
        let mut turn = |now| throttle.retry_after_s(100, &mut chance, at(now));
        let first: Vec<u32> = (0..99).map(|_| turn(0)).collect();
        assert!(first.iter().all(|seconds| (1..=2).contains(seconds)), "{first:?}");
        assert!(first.contains(&1) && first.contains(&2), "at random");
        // A thousand, of which a hundred come back in each second.
        let later: Vec<u32> = (99..1000).map(|_| turn(0)).collect();
        assert!(later.iter().all(|seconds| (1..=17).contains(seconds)));
        assert!(later.iter().max() > Some(&11) && later[850..].iter().all(|seconds| *seconds > 9));
        for _ in 0..100_000 {
            assert!(turn(0) <= 61 + 31);
        }
        assert!(turn(59_500) <= 4, "the turns that were given out are nearly over");
    }
}
