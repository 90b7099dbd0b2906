//! How values of the same kind spread: counts of them by upper bounds, and their sum.

/// What a shard keeps the distribution of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Distribution {
    /// How long turns take, from the return of the wait to the end, in nanoseconds.
    TurnDuration,
    /// From the turn that has read a publication to the end of the turn that has sent it, and what was taken with it,
    /// to those members here whose sockets took it, in nanoseconds; once for each publication and shard with members.
    FlushLatency,
    /// How many messages members are behind their room when they are served: 1 is in step with single messages;
    /// once for each time that a member is served.
    Lag,
}

/// Nanoseconds in three steps a decade, from a turn that has nothing to do to what nobody should ever see.
const DURATIONS: &[u64] = &[
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];
/// Messages, up to many times what a window holds by default.
const MESSAGES: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16_384, 65_536];

impl Distribution {
    /// All of them, in order.
    pub const ALL: [Distribution; 3] =
        [Distribution::TurnDuration, Distribution::FlushLatency, Distribution::Lag];

    /// The upper bounds of its buckets, rising; a last bucket has what is over all of them.
    pub const fn bounds(self) -> &'static [u64] {
        match self {
            Distribution::TurnDuration | Distribution::FlushLatency => DURATIONS,
            Distribution::Lag => MESSAGES,
        }
    }

    /// The cells that it takes: its buckets, and the sum.
    const fn cells(self) -> usize {
        self.bounds().len() + 2
    }

    /// The place of its first cell among those of all distributions.
    const fn first_cell(self) -> usize {
        let (mut at, mut first) = (0, 0);
        while at < self as usize {
            first += Distribution::ALL[at].cells();
            at += 1;
        }
        first
    }
}

/// The cells of all distributions.
pub const DISTRIBUTION_CELLS: usize = {
    let (mut at, mut cells) = (0, 0);
    while at < Distribution::ALL.len() {
        cells += Distribution::ALL[at].cells();
        at += 1;
    }
    cells
};

const _: () = assert!(DISTRIBUTION_CELLS <= u64::BITS as usize, "each cell has a bit");

/// The distributions of a shard, and which of their cells have changed.
#[derive(Debug)]
pub struct Distributions {
    cells: [u64; DISTRIBUTION_CELLS],
    changed: u64,
}

impl Default for Distributions {
    fn default() -> Distributions {
        Distributions { cells: [0; DISTRIBUTION_CELLS], changed: 0 }
    }
}

impl Distributions {
    /// Counts a value so many times.
    pub fn observe(&mut self, distribution: Distribution, value: u64, times: u64) {
        let bounds = distribution.bounds();
        let first = distribution.first_cell();
        let bucket = first + bounds.partition_point(|bound| *bound < value);
        let sum = first + bounds.len() + 1;
        self.cells[bucket] += times;
        // After 584 years of turns, or when all messages are far behind, the sum begins anew.
        self.cells[sum] = self.cells[sum].wrapping_add(value.wrapping_mul(times));
        self.changed |= 1 << bucket | 1 << sum;
    }

    /// Hands out each cell that has changed since, with its place.
    pub fn take_changed(&mut self, mut take: impl FnMut(usize, u64)) {
        while self.changed != 0 {
            let at = self.changed.trailing_zeros() as usize;
            self.changed &= self.changed - 1;
            take(at, self.cells[at]);
        }
    }
}

/// What has been seen of a distribution so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// How many values were in each bucket: over the bound before it, up to its own.
    pub buckets: Vec<u64>,
    /// The sum of all values.
    pub sum: u64,
}

impl Observed {
    /// Reads it out of the cells of all distributions.
    pub fn read(distribution: Distribution, cell: impl Fn(usize) -> u64) -> Observed {
        let (first, buckets) = (distribution.first_cell(), distribution.bounds().len() + 1);
        Observed { buckets: (first..first + buckets).map(&cell).collect(), sum: cell(first + buckets) }
    }

    /// How many values they were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Adds what another shard has seen.
    pub fn add(&mut self, other: &Observed) {
        for (bucket, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *bucket += more;
        }
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(distributions: &Distributions, which: Distribution) -> Observed {
        Observed::read(which, |at| distributions.cells[at])
    }

    #[test]
    fn a_value_is_in_the_bucket_whose_bound_it_does_not_exceed() {
        for distribution in Distribution::ALL {
            for (at, bound) in distribution.bounds().iter().enumerate() {
                for (value, bucket) in [(bound - 1, at), (*bound, at), (bound + 1, at + 1)] {
                    let mut all = Distributions::default();
                    all.observe(distribution, value, 3);
                    let seen = observed(&all, distribution);
                    // One less than a bound may be the bound before it.
                    let before = at.checked_sub(1).filter(|before| distribution.bounds()[*before] == value);
                    assert_eq!(seen.buckets[before.unwrap_or(bucket)], 3, "{distribution:?} {value}");
                    assert_eq!((seen.count(), seen.sum), (3, 3 * value));
                }
            }
        }
    }

    #[test]
    fn bounds_rise_and_distributions_do_not_share_cells() {
        for distribution in Distribution::ALL {
            assert!(distribution.bounds().is_sorted_by(|one, next| one < next));
        }
        for one in Distribution::ALL {
            let mut all = Distributions::default();
            all.observe(one, u64::MAX, 1);
            all.observe(one, 0, 1);
            for other in Distribution::ALL {
                let expected = if other == one { 2 } else { 0 };
                assert_eq!(observed(&all, other).count(), expected, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn what_has_changed_is_handed_out_once() {
        let mut all = Distributions::default();
        let mut published = [0; DISTRIBUTION_CELLS];
        for (value, times) in [(1, 5), (2, 1), (1, 2), (1 << 40, 1)] {
            all.observe(Distribution::Lag, value, times);
            all.take_changed(|at, value| published[at] = value);
            assert_eq!(published, all.cells);
        }
        all.take_changed(|_, _| panic!("nothing has changed"));
        let mut sum = Observed::read(Distribution::Lag, |at| published[at]);
        sum.add(&sum.clone());
        assert_eq!((sum.count(), sum.sum), (18, 2 * (9 + (1 << 40))));
    }
}
