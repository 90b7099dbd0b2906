//! The window against a model that remembers everything that was ever appended, and its bounds at one
//! below, exactly at, and one above.

use proptest::prelude::*;

use super::*;
use crate::rooms::{Encoded, Encoding, Sender};

const AGE: Duration = Duration::from_secs(60);
/// More than any test appends.
const NO_LIMITS: HistoryLimits =
    HistoryLimits { bytes_max: usize::MAX, messages_max: u64::MAX, age_max: AGE };

fn at(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}

fn epoch() -> Epoch {
    Epoch::new(7)
}

/// Messages of these sizes, with something before each payload, as a frame has its header.
fn batch(sizes: &[usize], fill: u8) -> Arc<Batch> {
    let mut batch = Batch::with_capacity(sizes.iter().sum::<usize>() + 2 * sizes.len());
    for bytes in sizes {
        batch.push(false, (Sender::Api { exclude: None }, None), *bytes, |out| {
            out.extend_from_slice(b"<>");
            out.resize(out.len() + bytes, fill);
        });
    }
    Arc::new(batch)
}

fn append(log: &mut Log, now: Time, sizes: &[usize], limits: &HistoryLimits) -> usize {
    let mut evicted = Vec::new();
    log.append(now, batch(sizes, 0), limits, &mut evicted);
    evicted.len()
}

/// The offsets that can be read from the start of the window.
fn readable(log: &Log, now: Time, limits: &HistoryLimits) -> Vec<u64> {
    let (extent, mut pieces) = (log.extent(now, limits), Vec::new());
    log.read_after(extent.start, &extent, ReadLimits::NONE, &mut pieces).unwrap();
    let offsets =
        |piece: Piece| piece.offset_before + 1..=piece.offset_before + u64::from(piece.end - piece.first);
    pieces.into_iter().flat_map(offsets).collect()
}

fn held(log: &Log) -> Vec<u64> {
    log.window.iter().map(|held| held.offset_before).collect()
}

#[test]
fn the_bound_of_bytes_counts_what_is_pinned_and_is_inclusive() {
    let one = batch(&[100], 0).pinned_bytes() + HELD_BYTES;
    for (bytes_max, left) in
        [(3 * one - 1, vec![2, 3]), (3 * one, vec![1, 2, 3]), (3 * one + 1, vec![1, 2, 3])]
    {
        let limits = HistoryLimits { bytes_max, ..NO_LIMITS };
        let mut log = Log::new(epoch());
        for _ in 0..3 {
            append(&mut log, at(0), &[100], &limits);
        }
        assert_eq!(readable(&log, at(0), &limits), left, "{bytes_max}");
        assert_eq!(log.bytes(), left.len() * one);
        append(&mut log, at(0), &[100], &limits);
        assert!(log.bytes() <= bytes_max);
    }
}

#[test]
fn the_bound_of_messages_is_inclusive_and_exact_inside_a_batch() {
    for (messages_max, left) in [(6, vec![2, 3, 4, 5, 6, 7]), (7, (1..=7).collect()), (8, (1..=7).collect())]
    {
        let limits = HistoryLimits { messages_max, ..NO_LIMITS };
        let mut log = Log::new(epoch());
        append(&mut log, at(0), &[1, 2, 3], &limits);
        append(&mut log, at(0), &[4, 5, 6, 7], &limits);
        assert_eq!(readable(&log, at(0), &limits), left, "{messages_max}");
        assert_eq!(held(&log), [0, 3], "a batch is held until its last message is out");
    }
    let limits = HistoryLimits { messages_max: 4, ..NO_LIMITS };
    let mut log = Log::new(epoch());
    append(&mut log, at(0), &[1, 2, 3], &limits);
    assert_eq!(append(&mut log, at(0), &[4, 5, 6], &limits), 0);
    assert_eq!(append(&mut log, at(0), &[7], &limits), 1, "1 to 3 are out now");
    assert_eq!((held(&log), readable(&log, at(0), &limits)), (vec![3, 6], vec![4, 5, 6, 7]));
}

#[test]
fn the_bound_of_age_is_exclusive_without_a_publication_too() {
    let moment = Duration::from_nanos(1);
    let mut log = Log::new(epoch());
    append(&mut log, at(0), &[1], &NO_LIMITS);
    append(&mut log, at(10), &[1], &NO_LIMITS);
    let end = at(0) + AGE;
    for (now, left) in
        [(Time::from_nanos(end.as_nanos() - 1), vec![1, 2]), (end, vec![2]), (end + moment, vec![2])]
    {
        assert_eq!(readable(&log, now, &NO_LIMITS), left, "{now:?}");
    }
    assert_eq!(readable(&log, at(70), &NO_LIMITS), [0; 0], "the newest too");
    assert_eq!(log.extent(at(70), &NO_LIMITS), Extent { epoch: epoch(), start: 2, last: 2 });
    assert_eq!(append(&mut log, at(70), &[1], &NO_LIMITS), 2, "and the memory goes with the next one");
}

#[test]
fn the_newest_batch_stays_whatever_its_size() {
    let limits = HistoryLimits { bytes_max: 1, messages_max: 1, age_max: AGE };
    let mut log = Log::new(epoch());
    for number in 1..=3 {
        append(&mut log, at(0), &[1 << 20], &limits);
        assert_eq!(readable(&log, at(0), &limits), [number]);
    }
    append(&mut log, at(0), &[1000; 5], &limits);
    assert_eq!(readable(&log, at(0), &limits), [8], "of several messages the last");
    assert_eq!(held(&log), [3]);
}

#[test]
fn a_clock_that_comes_late_keeps_the_order_of_time() {
    let mut log = Log::new(epoch());
    append(&mut log, at(10), &[1], &NO_LIMITS);
    append(&mut log, at(9), &[1], &NO_LIMITS);
    assert_eq!(readable(&log, at(69), &NO_LIMITS), [1, 2]);
    assert_eq!(readable(&log, at(70), &NO_LIMITS), [0; 0]);
}

#[test]
fn what_is_evicted_as_a_whole_leaves_the_offsets_and_no_memory() {
    let mut log = Log::new(epoch());
    append(&mut log, at(0), &[1, 1], &NO_LIMITS);
    log.keys.remember("key", 2);
    log.evict_all(&mut Vec::new());
    assert_eq!((log.bytes(), log.window.capacity(), log.last_offset()), (0, 0, 2));
    log.add_encoded(0, 1000);
    assert_eq!(log.bytes(), 0, "what is made of it later counts for whoever made it");
    assert_eq!(log.begin(Start::Last(9), &log.extent(at(0), &NO_LIMITS)), Ok(2));
}

#[derive(Clone, Debug)]
enum Step {
    /// Sizes of messages, and how late the clock of the publisher is, in milliseconds.
    Append(Vec<usize>, u64),
    /// Milliseconds.
    Pass(u64),
    Encode(usize),
    EvictAll,
    /// From where, by bytes and messages.
    Read(u64, usize, u64),
    Begin(u64, bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (prop::collection::vec(0usize..300, 1..=5), 0u64..20).prop_map(|(sizes, late)| Step::Append(sizes, late)),
        2 => (0u64..30_000).prop_map(Step::Pass),
        1 => (0usize..20).prop_map(Step::Encode),
        1 => Just(Step::EvictAll),
        4 => (0u64..12, prop_oneof![Just(usize::MAX), 0usize..1000], prop_oneof![Just(u64::MAX), 0u64..8])
            .prop_map(|(back, bytes, messages)| Step::Read(back, bytes, messages)),
        4 => (0u64..12, any::<bool>()).prop_map(|(back, ours)| Step::Begin(back, ours)),
    ]
}

struct Appended {
    before: u64,
    batch: Arc<Batch>,
    time: Time,
}

impl Appended {
    fn last(&self) -> u64 {
        self.before + u64::from(self.batch.len())
    }
}

/// Everything ever appended, and up to where it must not be given out any more.
struct Model {
    all: Vec<Appended>,
    dropped: u64,
    limits: HistoryLimits,
}

impl Model {
    fn last(&self) -> u64 {
        self.all.iter().map(|one| u64::from(one.batch.len())).sum()
    }

    fn live(&self) -> impl Iterator<Item = &Appended> {
        self.all.iter().filter(|one| one.last() > self.dropped)
    }

    fn pinned(&self) -> usize {
        self.live().map(|one| one.batch.pinned_bytes() + HELD_BYTES).sum()
    }

    fn encoded(&self) -> usize {
        self.live().map(|one| one.batch.encoded_bytes()).sum()
    }

    fn start(&self, now: Time) -> u64 {
        let aged =
            self.all.iter().filter(|one| one.time.as_nanos() + AGE.as_nanos() as u64 <= now.as_nanos());
        aged.map(Appended::last).max().unwrap_or(0).max(self.dropped)
    }

    fn append(&mut self, now: Time, batch: Arc<Batch>) {
        let time = self.live().map(|one| one.time).max().unwrap_or(now).max(now);
        self.all.push(Appended { before: self.last(), batch, time });
        if self.last() > self.limits.messages_max {
            self.dropped = self.dropped.max(self.last() - self.limits.messages_max);
        }
        self.dropped = self.dropped.max(self.start(now));
        while self.pinned() - self.encoded() > self.limits.bytes_max && self.live().count() > 1 {
            self.dropped = self.live().map(Appended::last).min().unwrap();
        }
    }

    /// Offset, the batch's number, size of the payload and fill of everything behind `after`.
    fn behind(&self, after: u64) -> Vec<(u64, usize, Vec<u8>)> {
        let mut found = Vec::new();
        for (number, one) in self.all.iter().enumerate() {
            for index in 0..one.batch.len() {
                let offset = one.before + u64::from(index) + 1;
                if offset > after {
                    found.push((offset, number, one.batch.payload(index).to_vec()));
                }
            }
        }
        found
    }

    /// What a read must have given: the next messages without a gap, enough of them and not more.
    fn check_read(&self, after: u64, (bytes, messages): (usize, u64), pieces: &[Piece]) {
        let expected = self.behind(after);
        let mut read = Vec::new();
        for piece in pieces {
            let number = self.all.iter().position(|one| Arc::ptr_eq(&one.batch, &piece.batch)).unwrap();
            assert_eq!(piece.time, self.all[number].time);
            for (behind, index) in (piece.first..piece.end).enumerate() {
                read.push((
                    piece.offset_before + behind as u64 + 1,
                    number,
                    piece.batch.payload(index).to_vec(),
                ));
            }
        }
        assert_eq!(read[..], expected[..read.len()]);
        assert!(read.len() as u64 <= messages);
        let sizes: Vec<usize> =
            pieces.iter().map(|piece| piece.batch.bytes(Encoding::Frames).len()).collect();
        let before_last: usize = sizes.iter().rev().skip(1).sum();
        assert!(pieces.is_empty() || before_last < bytes, "it stops when there is enough");
        if read.len() < expected.len() && (read.len() as u64) < messages {
            assert!(sizes.iter().sum::<usize>() >= bytes, "it goes on while there is not enough");
            let next = &expected[read.len()];
            assert!(read.last().is_none_or(|last| last.1 != next.1), "a batch is read whole");
        }
    }

    fn check_begin(&self, log: &Log, back: u64, ours: bool, now: Time) {
        let extent = log.extent(now, &self.limits);
        let (start, last) = (self.start(now), self.last());
        assert_eq!(log.begin(Start::Live, &extent), Ok(last));
        let kept = last - start;
        assert_eq!(log.begin(Start::Last(back), &extent), Ok(last - back.min(kept)));
        assert_eq!(log.begin(Start::Last(u64::MAX), &extent), Ok(start));
        for offset in [last.saturating_sub(back), start.saturating_sub(1), start, last, last + 1, u64::MAX] {
            let epoch = if ours { epoch() } else { Epoch::new(8) };
            let begun = log.begin(Start::Since(Position { epoch, offset }), &extent);
            let allowed = ours && start <= offset && offset <= last;
            assert_eq!(begun, if allowed { Ok(offset) } else { Err(OutOfWindow(extent)) });
        }
    }
}

fn run(steps: Vec<Step>, limits: HistoryLimits) {
    let mut model = Model { all: Vec::new(), dropped: 0, limits };
    let mut log = Log::new(epoch());
    let mut now = at(1);
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Append(sizes, late) => {
                let clock = Time::from_nanos(now.as_nanos() - late * 1_000_000);
                let (batch, mut evicted) = (batch(&sizes, number as u8), Vec::new());
                let before = model.live().count() + 1;
                log.append(clock, Arc::clone(&batch), &limits, &mut evicted);
                model.append(clock, batch);
                assert_eq!(evicted.len(), before - model.live().count());
                assert!(log.bytes() - model.encoded() <= limits.bytes_max || log.window.len() == 1);
            }
            Step::Pass(milliseconds) => now = now + Duration::from_millis(milliseconds),
            Step::Encode(which) => {
                let Some(one) = model.all.get(which) else { continue };
                let mut events = Encoded::default();
                (0..one.batch.len()).for_each(|_| events.push(|out| out.extend_from_slice(b"data")));
                let added = one.batch.make(Encoding::Events, |_| events);
                log.add_encoded(one.before, added);
            }
            Step::EvictAll => {
                log.evict_all(&mut Vec::new());
                model.dropped = model.last();
            }
            Step::Read(back, bytes, messages) => {
                let after = model.last().saturating_sub(back);
                let (extent, mut pieces) = (log.extent(now, &limits), Vec::new());
                let read = log.read_after(
                    after,
                    &extent,
                    ReadLimits { bytes_max: bytes, messages_max: messages, ..ReadLimits::NONE },
                    &mut pieces,
                );
                assert_eq!(read.is_ok(), after >= model.start(now));
                assert!(read.is_ok() || pieces.is_empty());
                if read.is_ok() {
                    model.check_read(after, (bytes, messages), &pieces);
                }
            }
            Step::Begin(back, ours) => model.check_begin(&log, back, ours, now),
        }
        let expected = Extent { epoch: epoch(), start: model.start(now), last: model.last() };
        assert_eq!(log.extent(now, &limits), expected);
        assert_eq!(log.bytes(), model.pinned(), "what it counts is what it pins");
        assert_eq!(held(&log), model.live().map(|one| one.before).collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_window_agrees_with_a_list_of_everything(
        steps in prop::collection::vec(step(), 1..60),
        bytes_max in prop_oneof![Just(usize::MAX), 1usize..6000],
        messages_max in prop_oneof![Just(u64::MAX), 1u64..12],
    ) {
        run(steps, HistoryLimits { bytes_max, messages_max, age_max: AGE });
    }
}
