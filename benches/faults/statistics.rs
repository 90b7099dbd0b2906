//! Medians, and latencies of a window as numbers.

use serde::Serialize;

use crate::load::latency::Latency;

/// The middle one; of an even count the mean of the two; 0 without any.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        count if count % 2 == 0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}

/// What became of `before`; 1 if there was nothing before.
pub fn ratio(before: f64, now: f64) -> f64 {
    if before > 0.0 { now / before } else { 1.0 }
}

/// Latencies in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Quantiles {
    pub count: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

impl From<&Latency> for Quantiles {
    fn from(latency: &Latency) -> Quantiles {
        Quantiles {
            count: latency.count(),
            p50_ms: latency.quantile_ms(0.5),
            p99_ms: latency.quantile_ms(0.99),
            p999_ms: latency.quantile_ms(0.999),
            max_ms: latency.max_ms(),
        }
    }
}

impl Quantiles {
    /// The median of each over rounds, but of the maximum the highest.
    pub fn of_rounds(rounds: &[Quantiles]) -> Quantiles {
        let middle = |what: fn(&Quantiles) -> f64| median(rounds.iter().map(what));
        Quantiles {
            count: rounds.iter().map(|round| round.count).sum(),
            p50_ms: middle(|round| round.p50_ms),
            p99_ms: middle(|round| round.p99_ms),
            p999_ms: middle(|round| round.p999_ms),
            max_ms: rounds.iter().map(|round| round.max_ms).fold(0.0, f64::max),
        }
    }
}
