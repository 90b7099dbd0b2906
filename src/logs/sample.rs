//! What is left out of the log under a flood, and the count of it.
//!
//! A kind of line is a place in the code and, of closes, the cause. Each has a token bucket; what finds it empty
//! is counted and not put into words, but for the first, which the line with the count quotes.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tracing::callsite::Identifier;

use fanfare::rate::Bucket;
use fanfare::time::Time;

use super::record::{Record, Value};

/// How often a flood that goes on is summed up.
pub const SUMMARY_EVERY: Duration = Duration::from_secs(10);

/// Kinds that are told apart: more than the code has places and causes. What comes beyond is one kind together.
const KINDS_MAX: usize = 512;

/// Thins out floods.
#[derive(Debug)]
pub struct Sampler {
    per_second: AtomicU32,
    kinds: Mutex<Vec<Kind>>,
}

/// What becomes of an event.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// It is logged.
    Log,
    /// It is left out, the first since the last summary: one has to be planned.
    LeftOutFirst,
    LeftOut,
}

#[derive(Debug)]
struct Kind {
    place: Identifier,
    cause: Option<Box<str>>,
    bucket: Bucket,
    left_out: Option<LeftOut>,
}

#[derive(Debug)]
struct LeftOut {
    count: u64,
    since: Time,
    first: Record,
}

impl Sampler {
    /// Lets so many lines of a kind pass in a second, and as many at once.
    pub fn new(per_second: u32) -> Sampler {
        Sampler { per_second: AtomicU32::new(per_second), kinds: Mutex::default() }
    }

    /// Changes how many pass.
    pub fn set_rate(&self, per_second: u32) {
        self.per_second.store(per_second, Ordering::Relaxed);
    }

    /// Decides on an event; `record` is asked for where it is the first to be left out.
    pub fn judge(
        &self,
        place: Identifier,
        cause: Option<&str>,
        now: Time,
        record: impl FnOnce() -> Record,
    ) -> Verdict {
        let per_second = self.per_second.load(Ordering::Relaxed).into();
        let mut kinds = self.kinds.lock();
        let known = kinds.iter().position(|kind| kind.place == place && kind.cause.as_deref() == cause);
        let at = known.unwrap_or_else(|| {
            if kinds.len() < KINDS_MAX {
                let cause = cause.map(Into::into);
                kinds.push(Kind { place, cause, bucket: Bucket::FULL, left_out: None });
            }
            kinds.len() - 1
        });
        let kind = &mut kinds[at];
        if kind.bucket.take(per_second, now) {
            return Verdict::Log;
        }
        match &mut kind.left_out {
            Some(left_out) => {
                left_out.count += 1;
                Verdict::LeftOut
            }
            None => {
                kind.left_out = Some(LeftOut { count: 1, since: now, first: record() });
                Verdict::LeftOutFirst
            }
        }
    }

    /// When the next summary is due.
    pub fn next_summary(&self) -> Option<Time> {
        let kinds = self.kinds.lock();
        kinds.iter().filter_map(|kind| Some(kind.left_out.as_ref()?.since + SUMMARY_EVERY)).min()
    }

    /// The summaries of what was left out up to `until` at the latest.
    pub fn take_summaries(&self, until: Time, now: Time, time: Duration) -> Vec<Record> {
        let mut kinds = self.kinds.lock();
        let due = kinds
            .iter_mut()
            .filter_map(|kind| kind.left_out.take_if(|left_out| left_out.since + SUMMARY_EVERY <= until));
        due.map(|left_out| left_out.summary(now, time)).collect()
    }
}

impl LeftOut {
    fn summary(self, now: Time, time: Duration) -> Record {
        let LeftOut { count, since, first } = self;
        let seconds = now.since(since).as_secs_f64().ceil() as u64;
        let message =
            format!("left out {count} lines of this kind in {seconds} s (--log-rate): {}", first.message);
        let mut fields = vec![("left_out", Value::Unsigned(count))];
        fields.extend(first.fields.into_iter().filter(|(name, _)| *name == "cause"));
        Record { time, level: first.level, message, fields }
    }
}

#[cfg(test)]
mod tests {
    use tracing::callsite::Callsite;
    use tracing::{Level, Metadata};

    use super::*;

    struct Place;

    impl Callsite for Place {
        fn set_interest(&self, _: tracing::subscriber::Interest) {}

        fn metadata(&self) -> &Metadata<'_> {
            unreachable!("nobody asks")
        }
    }

    static HERE: (Place, u8) = (Place, 0);
    static THERE: (Place, u8) = (Place, 0);

    fn here() -> Identifier {
        Identifier(&HERE.0)
    }

    fn at(milliseconds: u64) -> Time {
        Time::ZERO + Duration::from_millis(milliseconds)
    }

    fn record(message: &str) -> Record {
        let fields = vec![("peer", Value::Shown("a".into())), ("cause", Value::Text("flood".into()))];
        Record { time: Duration::ZERO, level: Level::WARN, message: message.into(), fields }
    }

    #[test]
    fn as_many_of_a_kind_pass_as_the_rate_says_and_the_rest_are_counted() {
        for rate in [1_u32, 7, 100] {
            let sampler = Sampler::new(rate);
            let verdict = |number| sampler.judge(here(), None, at(5), || record(&format!("line {number}")));
            assert!((1..=rate).all(|number| verdict(number) == Verdict::Log), "up to {rate}");
            assert_eq!(sampler.next_summary(), None);
            assert_eq!(verdict(rate + 1), Verdict::LeftOutFirst);
            assert_eq!(verdict(rate + 2), Verdict::LeftOut);
            let due = sampler.next_summary().unwrap();
            assert_eq!(due, at(10_005));
            assert_eq!(sampler.take_summaries(at(10_004), at(10_004), Duration::ZERO), []);
            let summaries = sampler.take_summaries(due, due, Duration::from_secs(9));
            let message = format!("left out 2 lines of this kind in 10 s (--log-rate): line {}", rate + 1);
            let fields = vec![("left_out", Value::Unsigned(2)), ("cause", Value::Text("flood".into()))];
            let expected = Record { time: Duration::from_secs(9), level: Level::WARN, message, fields };
            assert_eq!(summaries, [expected]);
            assert_eq!(
                (sampler.next_summary(), verdict(0)),
                (None, Verdict::LeftOutFirst),
                "the next period"
            );
        }
    }

    #[test]
    fn a_flood_of_one_kind_takes_nothing_from_the_others() {
        let sampler = Sampler::new(2);
        let judge = |place, cause| sampler.judge(place, cause, at(0), || record("line"));
        while judge(here(), Some("flood")) == Verdict::Log {}
        assert_eq!(judge(here(), Some("rare")), Verdict::Log, "another cause");
        assert_eq!(judge(here(), None), Verdict::Log, "no cause");
        assert_eq!(judge(Identifier(&THERE.0), Some("flood")), Verdict::Log, "another place");
        assert_eq!(judge(here(), Some("flood")), Verdict::LeftOut);
    }

    #[test]
    fn what_comes_beyond_the_kinds_that_are_told_apart_is_one_kind() {
        let sampler = Sampler::new(1);
        let judge = |cause: usize| sampler.judge(here(), Some(&cause.to_string()), at(0), || record("line"));
        assert!((0..KINDS_MAX).all(|cause| judge(cause) == Verdict::Log));
        assert_eq!(judge(KINDS_MAX), Verdict::LeftOutFirst);
        assert_eq!(sampler.kinds.lock().len(), KINDS_MAX);
    }

    #[test]
    fn a_rate_that_is_raised_counts_at_once() {
        let sampler = Sampler::new(1);
        let judge = |now| sampler.judge(here(), None, now, || record("line"));
        assert_eq!(judge(at(0)), Verdict::Log);
        sampler.set_rate(1000);
        assert_eq!(judge(at(1)), Verdict::Log);
    }
}
