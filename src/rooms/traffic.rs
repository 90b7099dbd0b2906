//! How much enters a room: an estimate over the latest ten seconds that costs a publication a few additions.

use std::time::Duration;

use crate::time::Time;

/// What a [`Traffic`] is the mean of: long enough for a steady number, short enough to see a change.
pub const TRAFFIC_SPAN: Duration = Duration::from_secs(10);

/// What enters a room in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Traffic {
    /// Messages a second.
    pub messages: f64,
    /// Bytes a second, as WebSocket frames.
    pub bytes: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Amount {
    messages: u64,
    bytes: u64,
}

/// Counts in spans: the one that runs, and the one before it.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// When the one that runs began.
    began: Time,
    current: Amount,
    before: Amount,
}

impl Meter {
    /// Counts what has entered.
    pub(super) fn add(&mut self, now: Time, messages: u32, bytes: usize) {
        if now.since(self.began) >= TRAFFIC_SPAN {
            let (before, current, elapsed) = self.spans(now);
            let began = now.as_nanos() - elapsed.as_nanos() as u64;
            *self = Meter { began: Time::from_nanos(began), current, before };
        }
        self.current.messages += u64::from(messages);
        self.current.bytes += bytes as u64;
    }

    /// The mean over the latest [`TRAFFIC_SPAN`]. What entered in the span before counts as spread evenly over it.
    pub(super) fn traffic(&self, now: Time) -> Traffic {
        let (before, current, elapsed) = self.spans(now);
        let span = TRAFFIC_SPAN.as_secs_f64();
        let still = 1.0 - elapsed.as_secs_f64() / span;
        let mean = |before: u64, current: u64| (before as f64 * still + current as f64) / span;
        Traffic {
            messages: mean(before.messages, current.messages),
            bytes: mean(before.bytes, current.bytes),
        }
    }

    /// The span before and the one that runs as they are now, and how long that one has run.
    fn spans(&self, now: Time) -> (Amount, Amount, Duration) {
        let elapsed = now.since(self.began);
        if elapsed < TRAFFIC_SPAN {
            return (self.before, self.current, elapsed);
        }
        match elapsed - TRAFFIC_SPAN {
            elapsed if elapsed < TRAFFIC_SPAN => (self.current, Amount::default(), elapsed),
            _ => (Amount::default(), Amount::default(), Duration::ZERO),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Time {
        Time::ZERO + Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_steady_stream_shows_its_rate() {
        let mut meter = Meter::default();
        for tick in 0..400 {
            meter.add(at(tick * 100), 3, 600);
        }
        for now in [39_900, 39_999] {
            let Traffic { messages, bytes } = meter.traffic(at(now));
            assert!((29.0..=31.0).contains(&messages), "{messages}");
            assert!((5_800.0..=6_200.0).contains(&bytes), "{bytes}");
        }
    }

    #[test]
    fn a_burst_fades_and_is_gone_after_two_spans() {
        let mut meter = Meter::default();
        meter.add(at(0), 100, 1000);
        let rate = |meter: &Meter, now| meter.traffic(at(now)).messages;
        assert_eq!(rate(&meter, 0), 10.0);
        assert_eq!(rate(&meter, 9_999), 10.0);
        assert_eq!(rate(&meter, 15_000), 5.0);
        assert!(rate(&meter, 19_999) > 0.0);
        assert_eq!(rate(&meter, 20_000), 0.0);
        assert_eq!(rate(&meter, 1_000_000), 0.0);
    }

    #[test]
    fn spans_follow_each_other_without_a_gap() {
        let mut meter = Meter::default();
        meter.add(at(0), 50, 0);
        meter.add(at(12_000), 20, 0);
        assert_eq!(meter.traffic(at(12_000)).messages, (50.0 * 0.8 + 20.0) / 10.0);
        meter.add(at(25_000), 10, 0);
        assert_eq!(meter.traffic(at(25_000)).messages, (20.0 * 0.5 + 10.0) / 10.0);
        meter.add(at(60_000), 10, 0);
        assert_eq!(meter.traffic(at(60_000)).messages, 1.0, "what was long ago is forgotten");
    }

    #[test]
    fn a_clock_that_is_a_moment_late_counts() {
        let mut meter = Meter::default();
        meter.add(at(30_000), 1, 0);
        meter.add(at(29_000), 1, 0);
        assert_eq!(meter.traffic(at(29_500)).messages, 0.2);
    }
}
