//! A room's messages in order, and the window of the latest that it still holds.
//!
//! The window is bounded by bytes, messages and age at once. Bytes are those really pinned, so a batch
//! counts whole until its last message is out; the newest batch always stays, whatever its size (a
//! message is bounded by its own limit).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::idempotency::Keys;
use super::{Batch, Encoding, Epoch, Position, Start};
use crate::time::Time;

/// What one room may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Bytes of memory, overhead included but not other encodings.
    pub bytes_max: usize,
    /// Messages.
    pub messages_max: u64,
    /// Time since a message entered.
    pub age_max: Duration,
}

/// Some messages of a batch, read from the window.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Where they lie.
    pub batch: Arc<Batch>,
    /// The first of them.
    pub first: u32,
    /// The one behind the last of them.
    pub end: u32,
    /// The offset before the first of them.
    pub offset_before: u64,
    /// When they entered.
    pub time: Time,
}

impl Piece {
    /// The offset of its last message.
    pub fn last_offset(&self) -> u64 {
        self.offset_before + u64::from(self.end - self.first)
    }

    /// The part of it behind an offset, empty if all is before.
    pub fn behind(&self, offset: u64) -> Piece {
        let skipped = offset.clamp(self.offset_before, self.last_offset()) - self.offset_before;
        let (first, offset_before) = (self.first + skipped as u32, self.offset_before + skipped);
        Piece { first, offset_before, ..self.clone() }
    }

    /// The part of it up to an offset, empty if all is behind.
    pub fn until(&self, offset: u64) -> Piece {
        let kept = offset.clamp(self.offset_before, self.last_offset()) - self.offset_before;
        Piece { end: self.first + kept as u32, ..self.clone() }
    }

    /// Its messages as WebSocket frames, in bytes.
    pub fn frame_bytes(&self) -> usize {
        let start = |index| self.batch.start_of(Encoding::Frames, index);
        start(self.end) - start(self.first)
    }
}

/// How much is read from a window at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Bytes of frames after which no further batch is read.
    pub bytes_max: usize,
    /// Messages, at least one.
    pub messages_max: u64,
    /// Batches, at least one.
    pub batches_max: usize,
}

impl ReadLimits {
    /// All that the window holds, which is bounded by itself.
    pub const NONE: ReadLimits =
        ReadLimits { bytes_max: usize::MAX, messages_max: u64::MAX, batches_max: usize::MAX };
}

/// What the window reaches over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The room's life.
    pub epoch: Epoch,
    /// The offset before the oldest message held.
    pub start: u64,
    /// The offset of the latest message.
    pub last: u64,
}

impl Extent {
    /// The offset of the oldest message held, 0 if there is none.
    pub fn first(&self) -> u64 {
        if self.start < self.last { self.start + 1 } else { 0 }
    }

    /// The position behind the latest message.
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.last }
    }
}

/// What was asked for is not held in full any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfWindow(pub Extent);

#[derive(Debug)]
struct Held {
    batch: Arc<Batch>,
    offset_before: u64,
    time: Time,
    /// What the batch counts for in [`Log::bytes`], and the part of it that are other encodings.
    counted: usize,
    encoded: usize,
}

impl Held {
    fn last_offset(&self) -> u64 {
        self.offset_before + u64::from(self.batch.len())
    }
}

/// What a place in the window costs beside its batch; the list has up to twice as many as it needs.
const HELD_BYTES: usize = 2 * size_of::<Held>();

/// One room's log.
#[derive(Debug)]
pub(super) struct Log {
    epoch: Epoch,
    last_offset: u64,
    window: VecDeque<Held>,
    /// Messages up to this offset are out, by count or bytes.
    trimmed: u64,
    bytes: usize,
    /// The part of `bytes` that are other encodings. It puts no message out of the window: what some read
    /// as events is not what others can read less of.
    encoded_bytes: usize,
    pub(super) keys: Keys,
}

impl Log {
    pub(super) fn new(epoch: Epoch) -> Log {
        Log {
            epoch,
            last_offset: 0,
            window: VecDeque::new(),
            trimmed: 0,
            bytes: 0,
            encoded_bytes: 0,
            keys: Keys::default(),
        }
    }

    pub(super) fn last_offset(&self) -> u64 {
        self.last_offset
    }

    /// Bytes that the window and the remembered keys pin.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.keys.bytes()
    }

    /// The part of [`Log::bytes`] that `bytes_max` is about, and the batches that it is of: the latest one stays,
    /// however large it is.
    pub(super) fn limited(&self) -> (usize, usize) {
        (self.bytes() - self.encoded_bytes, self.window.len())
    }

    /// Adds a batch behind the latest message and takes out what the limits do not allow any more.
    pub(super) fn append(
        &mut self,
        now: Time,
        batch: Arc<Batch>,
        limits: &HistoryLimits,
        evicted: &mut Vec<Arc<Batch>>,
    ) {
        // The shards' clocks are read once per turn: one may come a moment late.
        let time = self.window.back().map_or(now, |latest| latest.time.max(now));
        let counted = batch.pinned_bytes() + HELD_BYTES;
        self.bytes += counted;
        let offset_before = self.last_offset;
        self.last_offset += u64::from(batch.len());
        self.window.push_back(Held { batch, offset_before, time, counted, encoded: 0 });
        self.trim(now, limits, evicted);
    }

    /// Counts what another encoding of a batch has added.
    pub(super) fn add_encoded(&mut self, offset_before: u64, added: usize) {
        let at = self.window.partition_point(|held| held.offset_before < offset_before);
        if let Some(held) = self.window.get_mut(at)
            && held.offset_before == offset_before
        {
            held.counted += added;
            held.encoded += added;
            self.bytes += added;
            self.encoded_bytes += added;
        }
    }

    /// Takes out what the limits do not allow.
    pub(super) fn trim(&mut self, now: Time, limits: &HistoryLimits, evicted: &mut Vec<Arc<Batch>>) {
        self.trimmed = self.trimmed.max(self.last_offset.saturating_sub(limits.messages_max));
        self.trimmed = self.trimmed.max(self.start(now, limits));
        while let Some(oldest) = self.window.front() {
            let (bytes, batches) = self.limited();
            let over = bytes > limits.bytes_max && batches > 1;
            if !over && oldest.last_offset() > self.trimmed {
                break;
            }
            self.evict_oldest(evicted);
        }
    }

    /// Takes out everything, and gives the memory back.
    pub(super) fn evict_all(&mut self, evicted: &mut Vec<Arc<Batch>>) {
        while !self.window.is_empty() {
            self.evict_oldest(evicted);
        }
        self.window = VecDeque::new();
        self.trimmed = self.last_offset;
        self.keys = Keys::default();
    }

    fn evict_oldest(&mut self, evicted: &mut Vec<Arc<Batch>>) {
        let Some(oldest) = self.window.pop_front() else { return };
        self.bytes -= oldest.counted;
        self.encoded_bytes -= oldest.encoded;
        self.trimmed = self.trimmed.max(oldest.last_offset());
        self.keys.forget_until(self.trimmed);
        evicted.push(oldest.batch);
    }

    /// The offset before the oldest message that the limits allow to be read now.
    fn start(&self, now: Time, limits: &HistoryLimits) -> u64 {
        let aged = self.window.partition_point(|held| held.time + limits.age_max <= now);
        let by_age = self.window.get(aged).map_or(self.last_offset, |held| held.offset_before);
        by_age.max(self.trimmed)
    }

    pub(super) fn extent(&self, now: Time, limits: &HistoryLimits) -> Extent {
        Extent { epoch: self.epoch, start: self.start(now, limits), last: self.last_offset }
    }

    /// The offset behind which a member begins that wants to start there.
    pub(super) fn begin(&self, start: Start, extent: &Extent) -> Result<u64, OutOfWindow> {
        match start {
            Start::Live => Ok(extent.last),
            Start::Last(count) => Ok(extent.last.saturating_sub(count).max(extent.start)),
            Start::Since(position) if position.epoch != extent.epoch => Err(OutOfWindow(*extent)),
            Start::Since(Position { offset, .. }) | Start::After(offset) => {
                let held = (extent.start..=extent.last).contains(&offset);
                if held { Ok(offset) } else { Err(OutOfWindow(*extent)) }
            }
        }
    }

    /// Reads what follows the offset `after`, up to the limits, at least one message if there is one.
    pub(super) fn read_after(
        &self,
        after: u64,
        extent: &Extent,
        limits: ReadLimits,
        pieces: &mut Vec<Piece>,
    ) -> Result<(), OutOfWindow> {
        if after < extent.start {
            return Err(OutOfWindow(*extent));
        }
        let (mut bytes_read, mut messages_read) = (0, 0);
        let from = self.window.partition_point(|held| held.last_offset() <= after);
        for held in self.window.range(from..).take(limits.batches_max) {
            if bytes_read >= limits.bytes_max || messages_read >= limits.messages_max {
                break;
            }
            let first = after.saturating_sub(held.offset_before) as u32;
            let left = limits.messages_max - messages_read;
            let end = held.batch.len().min(first.saturating_add(left.min(u64::from(u32::MAX)) as u32));
            bytes_read += held.batch.bytes(Encoding::Frames).len();
            messages_read += u64::from(end - first);
            let offset_before = held.offset_before + u64::from(first);
            pieces.push(Piece { batch: Arc::clone(&held.batch), first, end, offset_before, time: held.time });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
