//! What happens by chance: one generator, and so one run, for each seed.

use std::ops::RangeInclusive;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, RngExt, SeedableRng};

/// Draws of one seed.
#[derive(Debug)]
pub struct Chance(Xoshiro256PlusPlus);

/// How often something happens, in 65,536 draws.
pub type Odds = u16;

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// Another generator, whose draws do not change those of this one.
    pub fn fork(&mut self) -> Chance {
        Chance::new(self.0.next_u64())
    }

    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end)
    }

    pub fn within(&mut self, range: RangeInclusive<usize>) -> usize {
        self.0.random_range(range)
    }

    /// A number of any order of magnitude that the range has.
    pub fn magnitude(&mut self, range: RangeInclusive<usize>) -> usize {
        let (least, most) = (*range.start() as f64 + 1.0, *range.end() as f64 + 1.0);
        let exponent = self.0.random_range(0.0..=1.0);
        let drawn = least * (most / least).powf(exponent) - 1.0;
        (drawn.round() as usize).clamp(*range.start(), *range.end())
    }

    pub fn odds(&mut self, odds: Odds) -> bool {
        (self.0.next_u64() >> 48) < u64::from(odds)
    }

    /// True once in `count` draws.
    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for at in (1..list.len()).rev() {
            list.swap(at, self.below(at + 1));
        }
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.0.next_u64() as u8).collect()
    }
}
