//! What `tracing` calls, on the thread of whoever has something to say: level, flood, and into the queue.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crossbeam_channel::{Sender, TrySendError};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber, callsite, span};

use fanfare::reactor::MonotonicClock;

use super::record::Record;
use super::sample::{Sampler, Verdict};
use super::writer::Entry;

const LEVELS: [Level; 5] = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];

/// The least level that is logged; it may change.
#[derive(Debug)]
pub struct LevelCell(AtomicU8);

impl LevelCell {
    pub fn new(level: Level) -> LevelCell {
        LevelCell(AtomicU8::new(place(level)))
    }

    /// From now on, everywhere.
    pub fn set(&self, level: Level) {
        if self.0.swap(place(level), Ordering::Relaxed) != place(level) {
            callsite::rebuild_interest_cache();
        }
    }

    fn get(&self) -> Level {
        LEVELS[usize::from(self.0.load(Ordering::Relaxed))]
    }
}

fn place(level: Level) -> u8 {
    LEVELS.iter().position(|known| *known == level).unwrap_or_default() as u8
}

/// Takes events in. Spans are none of ours.
pub struct Collector {
    clock: MonotonicClock,
    level: Arc<LevelCell>,
    sampler: Arc<Sampler>,
    entries: Sender<Entry>,
    lost: Arc<AtomicU64>,
}

impl Collector {
    pub fn new(
        clock: MonotonicClock,
        level: Arc<LevelCell>,
        sampler: Arc<Sampler>,
        entries: Sender<Entry>,
    ) -> Collector {
        Collector { clock, level, sampler, entries, lost: Arc::default() }
    }

    /// The count of records that found the queue full.
    pub fn lost(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.lost)
    }
}

impl Subscriber for Collector {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.level.get()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level.get().into())
    }

    fn event(&self, event: &Event<'_>) {
        let mut cause = Cause(None);
        event.record(&mut cause);
        let record = || Record::of(event, self.clock.unix_time());
        let place = event.metadata().callsite();
        let entry = match self.sampler.judge(place, cause.0.as_deref(), self.clock.now(), record) {
            Verdict::Log => Entry::Record(record()),
            Verdict::LeftOutFirst => Entry::LeftOut,
            Verdict::LeftOut => return,
        };
        if let Err(TrySendError::Full(Entry::Record(_))) = self.entries.try_send(entry) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Looks for the cause of a close alone. Only names of a closed set are logged as text under this name.
struct Cause(Option<String>);

impl Visit for Cause {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "cause" {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}
