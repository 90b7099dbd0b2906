//! Serves a connection's memberships: each is a cursor, and what lies behind it is sent straight from
//! the room's batches. A member that keeps up is served from what has arrived, one that fell
//! behind from the room's window; neither owns a queue. What the kernel did not take of a message that
//! it has begun to take goes into the connection's own queue.

use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

use crate::endpoint::events::push_gap;
use crate::endpoint::{Behind, OwnMessages};
use crate::id::ConnectionId;
use crate::mutant::{Mutant, strikes};
use crate::rooms::{
    Batch, Encoding, Entry, LagPolicy, OutOfWindow, Piece, Position, ReadLimits, Room, Sender, Start,
};
use crate::time::Time;

use super::distribution::Distribution;
use super::encode::encode;
use super::membership::{Arrived, LocalRoom, LocalRooms, Membership};
use super::outbound::{Outbound, SLICES_PER_SEND, SendArena};
use super::stats::{Counter, Tally};

/// What one read of a room's window brings at most: a short lock, and so few batches that several rooms
/// find place in one send.
const WINDOW_READ: ReadLimits =
    ReadLimits { bytes_max: 256 << 10, messages_max: u64::MAX, batches_max: SLICES_PER_SEND / 4 };

/// A range of a batch that is to be sent to one member, or that it is to be spared.
#[derive(Debug)]
struct Part {
    membership: u32,
    encoding: Encoding,
    source: Source,
    /// The bytes of the encoding; empty if the member gets none of these messages.
    bytes: Range<usize>,
    /// The messages of the batch.
    messages: Range<u32>,
    /// The cursor once all is sent.
    offset_after: u64,
}

#[derive(Clone, Copy, Debug)]
enum Source {
    /// Of the room with this number, the arrived publication with this number.
    Arrived(u32, u32),
    /// The piece read from a window with this number.
    Window(u32),
}

/// What a connection is sent next of its rooms.
#[derive(Debug, Default)]
pub struct Plan {
    parts: Vec<Part>,
    window: Vec<Piece>,
    /// With so many parts it ends, and something may be left out.
    parts_max: usize,
}

/// What planning touches beside the plan.
pub struct Serving<'a> {
    pub rooms: &'a mut LocalRooms,
    pub outbound: &'a mut Outbound,
    pub arena: &'a mut SendArena,
    pub tally: &'a mut Tally,
    pub now: Time,
}

impl Plan {
    /// Plans all that is to be sent next to a connection whose list of memberships starts at `first`. Notices of
    /// gaps go into its own queue.
    ///
    /// # Errors
    ///
    /// [`Behind`] if the connection has to be closed.
    pub fn make(&mut self, serving: &mut Serving<'_>, id: ConnectionId, first: u32) -> Result<(), Behind> {
        self.make_some(serving, id, first, usize::MAX)
    }

    /// The same, but no more than about so many parts: what is made anew for each send must not be long.
    ///
    /// # Errors
    ///
    /// As [`Plan::make`].
    pub fn make_some(
        &mut self,
        serving: &mut Serving<'_>,
        id: ConnectionId,
        first: u32,
        parts_max: usize,
    ) -> Result<(), Behind> {
        self.clear();
        self.parts_max = parts_max;
        let mut at = first;
        while let Some(membership) = serving.rooms.membership(at).filter(|_| !self.is_full()) {
            let next = membership.next;
            self.plan_membership(serving, id, at)?;
            at = next;
        }
        Ok(())
    }

    /// Lets go of everything that it refers to.
    pub fn clear(&mut self) {
        self.parts.clear();
        self.window.clear();
    }

    /// Whether a room's window was read, which may hold more.
    pub fn reads_window(&self) -> bool {
        !self.window.is_empty()
    }

    /// Whether there may be more to send than it has.
    pub fn is_full(&self) -> bool {
        self.parts.len() >= self.parts_max
    }

    /// Whether there is nothing to send or to pass over.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Fills `slices` from `filled` on, and says how many are filled then.
    pub fn gather<'a>(&'a self, rooms: &'a LocalRooms, slices: &mut [IoSlice<'a>], filled: usize) -> usize {
        let free = slices.get_mut(filled..).unwrap_or_default();
        let bytes = |part: &'a Part| &self.batch(rooms, part).bytes(part.encoding)[part.bytes.clone()];
        let parts = self.parts.iter().filter(|part| !part.bytes.is_empty());
        let mut used = 0;
        for (slice, part) in free.iter_mut().zip(parts) {
            *slice = IoSlice::new(bytes(part));
            used += 1;
        }
        filled + used
    }

    /// Moves the cursors over the first `sent` bytes of the plan. A message that is half out goes into
    /// the connection's own queue. Returns the membership whose turn it is then, if not all was sent.
    pub fn advance(&self, serving: &mut Serving<'_>, sent: usize) -> Option<u32> {
        let mut sent = sent;
        let mut served = None;
        for part in &self.parts {
            if sent < part.bytes.len() {
                self.advance_within(serving, part, sent);
                let had_its_turn = sent > 0 || served == Some(part.membership);
                let membership = serving.rooms.membership(part.membership)?;
                return Some(if had_its_turn { membership.next } else { part.membership });
            }
            sent -= part.bytes.len();
            if !part.bytes.is_empty() {
                serving.tally.add(Counter::Deliveries, part.messages.len() as u64);
                served = Some(part.membership);
            }
            if !strikes(Mutant::RepeatedDelivery) {
                set_cursor(serving.rooms, part.membership, part.offset_after);
            }
        }
        None
    }

    /// Puts all of the plan into the connection's own queue.
    pub fn queue(&self, serving: &mut Serving<'_>) {
        for part in &self.parts {
            if !part.bytes.is_empty() {
                serving.tally.add(Counter::Deliveries, part.messages.len() as u64);
                let batch = self.batch(serving.rooms, part);
                serving.outbound.push_messages(serving.arena, (batch, part.encoding), part.bytes.clone());
            }
            set_cursor(serving.rooms, part.membership, part.offset_after);
        }
    }

    fn batch<'a>(&'a self, rooms: &'a LocalRooms, part: &Part) -> &'a Arc<Batch> {
        match part.source {
            Source::Window(at) => &self.window[at as usize].batch,
            Source::Arrived(room, at) => {
                let local = rooms.at(room).expect("a planned room has a member");
                &local.arrived[at as usize].batch
            }
        }
    }

    fn advance_within(&self, serving: &mut Serving<'_>, part: &Part, sent: usize) {
        let batch = self.batch(serving.rooms, part);
        let at = part.bytes.start + sent;
        let cut = batch.message_at(part.encoding, at);
        let begun = batch.start_of(part.encoding, cut) < at;
        if begun {
            let message = batch.start_of(part.encoding, cut)..batch.start_of(part.encoding, cut + 1);
            serving.outbound.push_begun(serving.arena, (batch, part.encoding), message, at);
        }
        let until = cut + u32::from(begun);
        serving.tally.add(Counter::Deliveries, u64::from(until - part.messages.start));
        let cursor = part.offset_after - u64::from(part.messages.end - until);
        set_cursor(serving.rooms, part.membership, cursor);
    }

    fn plan_membership(
        &mut self,
        serving: &mut Serving<'_>,
        id: ConnectionId,
        index: u32,
    ) -> Result<(), Behind> {
        let Some(membership) = serving.rooms.membership(index) else { return Ok(()) };
        let Some(local) = serving.rooms.of(membership) else { return Ok(()) };
        if membership.cursor >= local.seen {
            return Ok(());
        }
        serving.tally.observe(Distribution::Lag, local.seen - membership.cursor, 1);
        if local.policy == LagPolicy::Latest {
            let before_newest = before_newest(local, membership, id, serving.now);
            if membership.cursor < before_newest {
                skip(serving, (index, id), before_newest, Counter::SkippedLatest);
            }
        }
        if self.plan_arrived(serving.rooms, id, index) {
            return Ok(());
        }
        self.plan_window(serving, id, index)
    }

    /// Plans what has arrived, if that is all that the member has not got.
    fn plan_arrived(&mut self, rooms: &LocalRooms, id: ConnectionId, index: u32) -> bool {
        let Some(membership) = rooms.membership(index) else { return true };
        let Some(local) = rooms.of(membership) else { return true };
        let cursor = membership.cursor;
        if local.arrived.first().is_none_or(|first| cursor < first.offset_before) {
            return false;
        }
        let from = local.arrived.partition_point(|arrived| arrived.last_offset() <= cursor);
        for (at, arrived) in local.arrived.iter().enumerate().skip(from) {
            if self.is_full() {
                break;
            }
            encode(&local.room, &arrived.batch, membership.encoding, arrived.offset_before);
            let first = cursor.saturating_sub(arrived.offset_before) as u32;
            let source = Source::Arrived(membership.room, at as u32);
            let messages = first..arrived.batch.len();
            self.add((membership, index, id), source, &arrived.batch, messages, arrived.last_offset());
        }
        true
    }

    /// Plans what a member that fell behind has not got, from the room's window.
    fn plan_window(&mut self, serving: &mut Serving<'_>, id: ConnectionId, index: u32) -> Result<(), Behind> {
        let from = self.window.len();
        let mut pieces = std::mem::take(&mut self.window);
        let read = read_window(serving, (index, id), &mut pieces);
        let (Some(membership), Ok(Some(room))) = (serving.rooms.membership(index), &read) else {
            self.window = pieces;
            return read.map(|_| ());
        };
        for (at, piece) in pieces.iter().enumerate().skip(from) {
            let offset_before = piece.offset_before - u64::from(piece.first);
            encode(room, &piece.batch, membership.encoding, offset_before);
            let offset_after = piece.offset_before + u64::from(piece.end - piece.first);
            let source = Source::Window(at as u32);
            self.add((membership, index, id), source, &piece.batch, piece.first..piece.end, offset_after);
        }
        self.window = pieces;
        Ok(())
    }

    /// Plans some messages of a batch for a member, in as few parts as what it is spared allows.
    fn add(
        &mut self,
        (membership, index, id): (&Membership, u32, ConnectionId),
        source: Source,
        batch: &Batch,
        messages: Range<u32>,
        offset_after: u64,
    ) {
        let encoding = membership.encoding;
        let part = |messages: Range<u32>, spared: bool, offset_after| {
            let start = batch.start_of(encoding, messages.start);
            let end = if spared { start } else { batch.start_of(encoding, messages.end) };
            Part { membership: index, encoding, source, bytes: start..end, messages, offset_after }
        };
        let offset_before = offset_after - messages.len() as u64;
        let some_own = membership.own == OwnMessages::Skip && membership.may_own_behind(offset_before);
        if !some_own && !batch.excludes() {
            self.parts.push(part(messages, strikes(Mutant::LostDelivery), offset_after));
            return;
        }
        let entries = &batch.entries()[messages.start as usize..messages.end as usize];
        let mut first = messages.start;
        for run in entries.chunk_by(|a, b| is_spared(membership, id, a) == is_spared(membership, id, b)) {
            let end = first + run.len() as u32;
            let offset = offset_after - u64::from(messages.end - end);
            self.parts.push(part(first..end, is_spared(membership, id, &run[0]), offset));
            first = end;
        }
    }
}

/// The offset before the newest message that a member gets; before the newest of all if the room holds none
/// for it.
fn before_newest(local: &LocalRoom, membership: &Membership, id: ConnectionId, now: Time) -> u64 {
    let last_of = |entries: &[Entry]| entries.iter().rposition(|entry| !is_spared(membership, id, entry));
    let cursor = membership.cursor;
    let missed = local.arrived.iter().rev().take_while(|arrived| arrived.last_offset() > cursor);
    let newest = |arrived: &Arrived| Some(arrived.offset_before + last_of(arrived.batch.entries())? as u64);
    let mut found = missed.flat_map(newest).next();
    let all_arrived = local.arrived.first().is_some_and(|first| cursor >= first.offset_before);
    if found.is_none() && !all_arrived && membership.may_own_behind(local.seen - 1) {
        // What came last is its own: the newest that it gets came earlier.
        let held = held_behind(&local.room, cursor, now);
        found = held.iter().rev().find_map(|piece| {
            let entries = &piece.batch.entries()[piece.first as usize..piece.end as usize];
            Some(piece.offset_before + last_of(entries)? as u64)
        });
    }
    found.unwrap_or(local.seen - 1).max(cursor)
}

/// What a room's window has of the messages behind an offset.
fn held_behind(room: &Room, offset: u64, now: Time) -> Vec<Piece> {
    let mut pieces = Vec::new();
    if room.read_after(offset, now, ReadLimits::NONE, &mut pieces).is_err() {
        // All that it has is behind it.
        let all = room.read_from(Start::Last(u64::MAX), now, ReadLimits::NONE, &mut pieces);
        debug_assert!(all.is_ok(), "what is held can be read");
    }
    pieces
}

/// Whether a member does not get a message: its own, or one that a back end has spared it.
fn is_spared(membership: &Membership, id: ConnectionId, entry: &Entry) -> bool {
    match entry.sender {
        Sender::Member(sender) => sender == id && membership.own == OwnMessages::Skip,
        Sender::Api { exclude } => exclude == Some(id),
    }
}

/// Reads the window behind a member's cursor. Where the window has left it behind, the room's policy
/// decides.
fn read_window(
    serving: &mut Serving<'_>,
    (index, id): (u32, ConnectionId),
    pieces: &mut Vec<Piece>,
) -> Result<Option<Arc<Room>>, Behind> {
    loop {
        let Some(membership) = serving.rooms.membership(index) else { return Ok(None) };
        let Some(local) = serving.rooms.of(membership) else { return Ok(None) };
        let (room, policy, cursor) = (Arc::clone(&local.room), local.policy, membership.cursor);
        if serving.rooms.begun.read(index, cursor, WINDOW_READ.batches_max, pieces) {
            return Ok(Some(room));
        }
        let Err(OutOfWindow(extent)) = room.read_after(cursor, serving.now, WINDOW_READ, pieces) else {
            return Ok(Some(room));
        };
        if policy == LagPolicy::Disconnect || membership.encoding.tells_removal() {
            let offset = cursor + u64::from(strikes(Mutant::WrongPosition));
            let position = Position { epoch: extent.epoch, offset };
            return Err(Behind { room: room.name().clone(), position });
        }
        let newest = extent.last.saturating_sub(1).max(extent.start);
        skip(serving, (index, id), newest, Counter::SkippedOutOfWindow);
    }
}

/// Moves a member's cursor over messages that it will not get, and says so where the door can.
fn skip(serving: &mut Serving<'_>, (index, id): (u32, ConnectionId), to: u64, counter: Counter) {
    let Some(membership) = serving.rooms.membership(index) else { return };
    let from = membership.cursor;
    let local = serving.rooms.of(membership);
    let spared = local.map_or(0, |local| spared_between(local, membership, id, to, serving.now));
    let encoding = membership.encoding;
    set_cursor(serving.rooms, index, to);
    let missed = (to - from).saturating_sub(spared);
    serving.tally.add(counter, u64::from(missed > 0));
    serving.tally.add(Counter::SkippedMessages, missed);
    if encoding == Encoding::Events {
        serving.outbound.push_reply(serving.arena, 0, |out| push_gap(out, from + 1, to));
    }
}

/// How many of the messages from a member's cursor up to an offset it would not have got in any case, as far as
/// the room holds them. Only a member that has published there itself has a look to pay for.
fn spared_between(local: &LocalRoom, membership: &Membership, id: ConnectionId, to: u64, now: Time) -> u64 {
    let cursor = membership.cursor;
    if membership.own != OwnMessages::Skip || !membership.may_own_behind(cursor) {
        return 0;
    }
    let spared = |offset_before: u64, entries: &[Entry]| {
        let offsets = offset_before + 1..;
        let between = offsets.zip(entries).filter(|(offset, _)| (cursor + 1..=to).contains(offset));
        between.filter(|(_, entry)| is_spared(membership, id, entry)).count() as u64
    };
    if local.arrived.first().is_some_and(|first| cursor >= first.offset_before) {
        let arrived = local.arrived.iter();
        return arrived.map(|arrived| spared(arrived.offset_before, arrived.batch.entries())).sum();
    }
    let held = held_behind(&local.room, cursor, now);
    let entries = |piece: &Piece| piece.first as usize..piece.end as usize;
    held.iter().map(|piece| spared(piece.offset_before, &piece.batch.entries()[entries(piece)])).sum()
}

/// Moves a member's cursor.
pub fn set_cursor(rooms: &mut LocalRooms, membership: u32, cursor: u64) {
    if let Some(membership) = rooms.membership_mut(membership) {
        membership.cursor = cursor;
    }
}
