//! Rates: token buckets, each a single point in time.

use std::time::Duration;

use crate::time::Time;

/// What a bucket holds, as the time that it takes to fill.
const CAPACITY: Duration = Duration::from_secs(1);

/// A token bucket that holds one second's worth and fills evenly (the "virtual scheduling" of ITU-T I.371).
///
/// All that is kept is when it will be full again; whoever takes tokens moves that away. The cost of a token
/// is rounded down to a nanosecond: single tokens are counted exactly up to 31,622 a second, and to 0.1 %
/// at a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    full_at: Time,
}

impl Bucket {
    /// One that is full.
    pub const FULL: Bucket = Bucket { full_at: Time::ZERO };

    /// Takes a token, if there is one.
    pub fn take(&mut self, per_second: u64, now: Time) -> bool {
        self.take_within(CAPACITY, per_second, now)
    }

    /// Takes a token, if there is one, of a bucket that holds only what comes in this time, and one token at least:
    /// in any time at most what comes in it and in `capacity` is taken.
    pub fn take_within(&mut self, capacity: Duration, per_second: u64, now: Time) -> bool {
        let mut after = *self;
        after.charge(1, per_second, now);
        let one = Duration::from_nanos(1_000_000_000 / per_second.max(1));
        let taken = after.missing(now) <= capacity.max(one);
        if taken {
            *self = after;
        }
        taken
    }

    /// Takes tokens whether they are there or not: the bucket may be in debt afterwards.
    pub fn charge(&mut self, tokens: u64, per_second: u64, now: Time) {
        let nanoseconds = tokens.saturating_mul(1_000_000_000) / per_second.max(1);
        // As numbers: a duration is seconds and a rest, which costs a division.
        let since = self.full_at.max(now).as_nanos();
        self.full_at = Time::from_nanos(since.saturating_add(nanoseconds));
    }

    /// Whether more was taken than there was.
    pub fn is_in_debt(&self, now: Time) -> bool {
        self.missing(now) > CAPACITY
    }

    /// How long it takes until it is full again.
    pub fn missing(&self, now: Time) -> Duration {
        self.full_at.since(now)
    }

    /// When there is no debt any more.
    pub fn paid_at(&self) -> Time {
        Time::from_nanos(self.full_at.as_nanos().saturating_sub(CAPACITY.as_nanos() as u64))
    }

    /// Whether nothing is missing.
    pub fn is_full(&self, now: Time) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Time {
        Time::ZERO + Duration::from_millis(milliseconds)
    }

    fn taken(bucket: &mut Bucket, rate: u64, now: Time, wanted: u64) -> u64 {
        (0..wanted).map(|_| u64::from(bucket.take(rate, now))).sum()
    }

    #[test]
    fn a_second_gives_as_many_as_the_rate_evenly_and_no_more_are_kept() {
        for rate in [1, 2, 7, 50, 100, 1000, 20_000, 31_622] {
            let mut bucket = Bucket::FULL;
            assert_eq!(taken(&mut bucket, rate, at(5), rate - 1), rate - 1);
            assert_eq!(taken(&mut bucket, rate, at(5), 2), 1, "the last of {rate}, and no other");
            let half = taken(&mut bucket, rate, at(505), rate + 1);
            assert!(half.abs_diff(rate / 2) <= 1, "{half} of {rate}");
            assert_eq!(taken(&mut bucket, rate, at(60_000), rate + 1), rate, "after a minute");
        }
        let (mut bucket, rate) = (Bucket::FULL, 1 << 20);
        let all = taken(&mut bucket, rate, at(0), 2 * rate);
        assert!((rate..=rate + rate / 1000).contains(&all), "{all}");
    }

    #[test]
    fn what_a_moment_gives_is_not_lost_however_often_it_is_looked_at() {
        let mut bucket = Bucket::FULL;
        assert_eq!(taken(&mut bucket, 10, at(0), 11), 10);
        let given: u64 = (1..=1000).map(|now| taken(&mut bucket, 10, at(now), 1)).sum();
        assert_eq!(given, 10);
    }

    #[test]
    fn a_smaller_bucket_gives_no_more_at_once_and_as_much_in_the_long_run() {
        let tenth = Duration::from_millis(100);
        for (rate, at_once) in [(1, 1), (5, 1), (10, 1), (19, 1), (20, 2), (1000, 100), (10_000, 1000)] {
            let mut bucket = Bucket::FULL;
            let mut take = |now: u64| -> u64 {
                (0..=rate).map(|_| u64::from(bucket.take_within(tenth, rate, at(now)))).sum()
            };
            assert_eq!(take(1000), at_once, "{rate}");
            let second: u64 = (1001..=2000).map(&mut take).sum();
            assert!(second.abs_diff(rate) <= 1, "{second} of {rate}");
            assert_eq!(take(60_000), at_once, "{rate} after a minute");
        }
    }

    #[test]
    fn debt_begins_behind_the_last_token_and_is_paid_in_time() {
        for (tokens, in_debt) in [(99, false), (100, false), (101, true)] {
            let mut bucket = Bucket::FULL;
            bucket.charge(tokens, 100, at(1000));
            assert_eq!(bucket.is_in_debt(at(1000)), in_debt, "{tokens}");
        }
        let mut bucket = Bucket::FULL;
        bucket.charge(350, 100, at(1000));
        assert_eq!(bucket.paid_at(), at(3500));
        assert!(bucket.is_in_debt(at(3499)) && !bucket.is_in_debt(at(3500)));
        assert!(!bucket.is_full(at(4499)) && bucket.is_full(at(4500)));
    }

    #[test]
    fn no_charge_overflows() {
        let mut bucket = Bucket::FULL;
        bucket.charge(u64::MAX, 1, at(1));
        bucket.charge(u64::MAX, 0, at(1));
        assert!(bucket.is_in_debt(at(u64::MAX / 10_000_000)));
    }
}
