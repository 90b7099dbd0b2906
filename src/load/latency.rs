//! Latencies as a histogram.

use hdrhistogram::Histogram;

/// Longer is counted as this: ten minutes.
const NANOSECONDS_MAX: u64 = 600_000_000_000;
/// Three significant digits: a value is known to within 0.1 %.
const DIGITS: u8 = 3;

/// Latencies, recorded in nanoseconds and shown in microseconds.
#[derive(Clone, Debug)]
pub struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Latency {
        Latency(Histogram::new_with_bounds(1, NANOSECONDS_MAX, DIGITS).expect("the bounds are right"))
    }
}

impl Latency {
    /// Notes one.
    pub fn record(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Microseconds that this part of all took at most; 0 without any.
    pub fn quantile_us(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// The longest in microseconds; 0 without any.
    pub fn max_us(&self) -> f64 {
        self.0.max() as f64 / 1000.0
    }

    /// Takes all of another in.
    pub fn add(&mut self, other: &Latency) {
        self.0.add(&other.0).expect("the bounds are the same");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_known_to_three_digits() {
        let mut latency = Latency::default();
        let mut other = Latency::default();
        for microseconds in 1..=1000 {
            let half = if microseconds % 2 == 0 { &mut latency } else { &mut other };
            half.record(microseconds * 1000);
        }
        latency.add(&other);
        assert_eq!(latency.count(), 1000);
        for (quantile, expected) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0)] {
            let found = latency.quantile_us(quantile);
            assert!((found / expected - 1.0_f64).abs() < 0.0011, "{quantile}: {found}");
        }
        assert!((latency.max_us() - 1000.0).abs() < 1.1);
        latency.record(u64::MAX);
        assert!(latency.max_us() >= 599e6);
    }
}
