//! Latency as a histogram that can be added up over processes.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longer is counted as this: ten minutes.
const MICROSECONDS_MAX: u64 = 600_000_000;
/// Two significant digits: a value is known to within 1 %.
const DIGITS: u8 = 2;

/// Latencies in microseconds.
#[derive(Clone, Debug)]
pub struct Latency(Histogram<u64>);

/// The same to be sent: pairs of a value and how often it was seen.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Pairs(Vec<(u64, u64)>);

impl Default for Latency {
    fn default() -> Latency {
        Latency(Histogram::new_with_bounds(1, MICROSECONDS_MAX, DIGITS).expect("the bounds are right"))
    }
}

impl Latency {
    pub fn record_nanoseconds(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds / 1000);
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Milliseconds that this part of all took at most; 0 without any.
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1000.0
    }

    pub fn max_ms(&self) -> f64 {
        self.0.max() as f64 / 1000.0
    }

    pub fn add(&mut self, other: &Latency) {
        self.0.add(&other.0).expect("the bounds are the same");
    }

    pub fn add_pairs(&mut self, pairs: &Pairs) {
        for (value, count) in &pairs.0 {
            self.0.saturating_record_n(*value, *count);
        }
    }

    /// All of it, and begins anew.
    pub fn take_pairs(&mut self) -> Pairs {
        let pairs = self.0.iter_recorded().map(|at| (at.value_iterated_to(), at.count_at_value())).collect();
        self.0.reset();
        Pairs(pairs)
    }

    pub fn clear(&mut self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_adds_up_to_what_was_recorded() {
        let (mut one, mut sum) = (Latency::default(), Latency::default());
        for milliseconds in 1..=1000 {
            one.record_nanoseconds(milliseconds * 1_000_000);
        }
        let pairs = one.take_pairs();
        assert_eq!(one.count(), 0);
        sum.add_pairs(&pairs);
        sum.add_pairs(&pairs);
        assert_eq!(sum.count(), 2000);
        for (quantile, expected) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = sum.quantile_ms(quantile);
            assert!((found / expected - 1.0_f64).abs() < 0.02, "{quantile}: {found}");
        }
    }
}
