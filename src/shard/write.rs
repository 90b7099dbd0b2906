//! The flush phase: each dirty connection is sent what waits for it, once.

use std::io::{ErrorKind, IoSlice};

use crate::endpoint::{Behind, CloseCause, Removal};
use crate::reactor::{Io, Tick};
use crate::rooms::LagPolicy;
use crate::slab::Key;

use super::outbound::{Outbound, SLICES_PER_SEND};
use super::read::is_later;
use super::session::{Flag, Session, Slot};
use super::stats::{Counter, Tally};
use super::{Core, Shard, TURN_BYTES_HIGH, mark_dirty};

impl<I: Io> Shard<I> {
    pub(super) fn flush_dirty(&mut self) {
        let mut dirty = std::mem::take(&mut self.core.dirty);
        for index in dirty.drain(..) {
            self.flush_marked(index, TURN_BYTES_HIGH);
        }
        // A connection that failed in its flush may have marked itself again.
        dirty.append(&mut self.core.dirty);
        self.core.dirty = dirty;
        self.core.plan.clear();
        self.core.arena.end_flush(super::SCRATCH_KEPT_BYTES);
    }

    /// Sends to one connection before the end of the turn, as its replies refer to the receive buffer. One that
    /// catches up has its share in the flush phase.
    pub(super) fn flush_lent(&mut self, index: u32) {
        // Mostly its entry is the last one; else it stays, and so does the mark, and the flush phase comes by.
        if self.core.dirty.last() == Some(&index) {
            self.core.dirty.pop();
            self.flush_marked(index, 0);
        } else {
            self.flush(index, 0);
        }
    }

    /// Sends to one connection that is no longer in the list, in the short way if nothing stands against it.
    fn flush_marked(&mut self, index: u32, share_bytes: usize) {
        let Shard { io, connections, core, .. } = self;
        let Some(slot) = connections.at_mut(index) else { return };
        slot.session.set(Flag::Dirty, false);
        if slot.session.awaits_replies_only()
            && let Some(bytes) = slot.session.outbound.lone_replies(&core.arena)
        {
            let bytes_waiting = bytes.len();
            match give(io, &slot.stream, &[IoSlice::new(bytes)]) {
                Ok(sent) if sent == bytes_waiting => {
                    core.count_send(sent);
                    let session = &mut slot.session;
                    session.outbound.lone_replies_sent(&mut core.arena);
                    debug_assert_eq!(session.outbound.pinned_bytes(), 0, "nothing is left to settle");
                    debug_assert_eq!(session.wanted_interest(), session.interest, "nothing else is wanted");
                }
                cut => self.end_cut_short(index, cut),
            }
            return;
        }
        self.flush(index, share_bytes);
    }

    /// Ends the flush of a connection of whose replies the kernel did not take all in the short way.
    #[cold]
    fn end_cut_short(&mut self, index: u32, sent: Result<usize, SendError>) {
        let Shard { io, connections, core, .. } = self;
        let Some(key) = connections.key_at(index) else { return };
        let Some(slot) = connections.at_mut(index) else { return };
        let session = &mut slot.session;
        let sent = sent.map(|sent| {
            core.count_send(sent);
            session.outbound.advance(&mut core.arena, sent);
            core.block(session, sent);
        });
        core.end_flush(io, key, slot, false, sent);
    }

    /// Sends to one connection, unless it is blocked.
    #[inline(never)]
    fn flush(&mut self, index: u32, share_bytes: usize) {
        let Shard { io, connections, core, .. } = self;
        let Some(key) = connections.key_at(index) else { return };
        let Some(slot) = connections.at_mut(index) else { return };
        let was_waiting = slot.session.is(Flag::Waiting);
        let sent = match slot.session.is(Flag::Dead) || slot.session.is(Flag::Blocked) {
            true => Ok(()),
            false => send_all(io, key, slot, core, share_bytes),
        };
        core.end_flush(io, key, slot, was_waiting, sent);
    }
}

/// Why sending to a connection ends it.
pub(super) enum SendError {
    Transport(ErrorKind),
    OutOfWindow(Behind),
}

/// Sends until nothing waits, the kernel takes no more, or one that catches up has had more than its share.
fn send_all<I: Io>(
    io: &mut I,
    key: Key,
    slot: &mut Slot<I::Stream>,
    core: &mut Core<I::Socket>,
    share_bytes: usize,
) -> Result<(), SendError> {
    let session = &mut slot.session;
    let client = core.client(key, session);
    let mut caught_up = 0;
    loop {
        let (mut serving, plan) = core.serving(&mut session.outbound);
        plan.make_some(&mut serving, client, session.memberships, SLICES_PER_SEND)
            .map_err(SendError::OutOfWindow)?;
        session.outbound.promote_control(&mut core.arena);
        let few = offer::<I, FEW_SLICES>(io, &slot.stream, &session.outbound, core)?;
        let offer = match few {
            Some(offer) => offer,
            None => offer::<I, SLICES_PER_SEND>(io, &slot.stream, &session.outbound, core)?
                .expect("so many slices are enough"),
        };
        let Offer { slices, own_bytes, bytes, sent } = offer;
        core.count_send(sent);
        session.outbound.advance(&mut core.arena, sent.min(own_bytes));
        if sent >= own_bytes {
            let (mut serving, plan) = core.serving(&mut session.outbound);
            if let Some(next) = plan.advance(&mut serving, sent - own_bytes) {
                core.rooms.begin_with(&mut session.memberships, next);
            }
        }
        if sent < bytes {
            core.block(session, sent);
            return Ok(());
        }
        // A window may hold more than one read of it, even where all of that was spared the member.
        let is_catching_up = core.plan.reads_window();
        let (all_seen, all_fit) = (!is_catching_up && !core.plan.is_full(), slices < SLICES_PER_SEND);
        if all_seen && (slices == 0 || (all_fit && session.outbound.is_empty())) {
            session.set(Flag::Waiting, false);
            return Ok(());
        }
        caught_up += if is_catching_up { sent } else { 0 };
        if caught_up > share_bytes {
            mark_dirty(&mut core.dirty, key.index(), session);
            return Ok(());
        }
    }
}

/// Slices that are enough for most sends: a list of [`SLICES_PER_SEND`] costs more than all else about these.
const FEW_SLICES: usize = 4;

/// What the kernel was given, and what it took.
struct Offer {
    slices: usize,
    /// Bytes of the connection's own queue, which come first, and of everything.
    own_bytes: usize,
    bytes: usize,
    sent: usize,
}

/// Sends what waits and what is planned, as far as `SLICES` go; `None` if more of them are needed.
fn offer<I: Io, const SLICES: usize>(
    io: &mut I,
    stream: &I::Stream,
    outbound: &Outbound,
    core: &Core<I::Socket>,
) -> Result<Option<Offer>, SendError> {
    let mut slices = [IoSlice::new(&[]); SLICES];
    let own = outbound.gather(&core.arena, &mut slices);
    let filled = core.plan.gather(&core.rooms, &mut slices, own);
    if filled == SLICES && SLICES < SLICES_PER_SEND {
        return Ok(None);
    }
    let bytes_of = |slices: &[IoSlice<'_>]| slices.iter().map(|slice| slice.len()).sum();
    let (own_bytes, bytes) = (bytes_of(&slices[..own]), bytes_of(&slices[..filled]));
    let sent = match filled {
        0 => 0,
        _ => give(io, stream, &slices[..filled])?,
    };
    Ok(Some(Offer { slices: filled, own_bytes, bytes, sent }))
}

/// Sends once, and says how many bytes the kernel took, 0 if it takes none now.
fn give<I: Io>(io: &mut I, stream: &I::Stream, slices: &[IoSlice<'_>]) -> Result<usize, SendError> {
    match io.send(stream, slices) {
        Ok(sent) => Ok(sent),
        Err(error) if is_later(error.kind()) => Ok(0),
        Err(error) => Err(SendError::Transport(error.kind())),
    }
}

impl<S> Core<S> {
    fn count_send(&mut self, sent: usize) {
        self.tally.add(Counter::Sends, u64::from(sent > 0));
        self.tally.add(Counter::BytesOut, sent as u64);
    }

    /// Notes that the kernel took only `sent` bytes and takes no more.
    pub(super) fn block(&self, session: &mut Session, sent: usize) {
        if sent > 0 || !session.is(Flag::Waiting) {
            session.stalled_at = Tick::after(self.now + self.settings.write_timeout);
        }
        session.set(Flag::Waiting, true);
        session.set(Flag::Blocked, true);
    }

    /// Ends the flush of a connection with what came of its sends.
    pub(super) fn end_flush<I: Io<Socket = S>>(
        &mut self,
        io: &mut I,
        key: Key,
        slot: &mut Slot<I::Stream>,
        was_waiting: bool,
        sent: Result<(), SendError>,
    ) {
        match sent {
            Ok(()) => {}
            Err(SendError::Transport(kind)) => self.transport_failed(key, slot, kind),
            Err(SendError::OutOfWindow(behind)) => self.left_behind(key, slot, behind),
        }
        let session = &mut slot.session;
        let is_waiting = session.is(Flag::Waiting);
        if is_waiting != was_waiting {
            let change = if is_waiting { Tally::add } else { Tally::subtract };
            change(&mut self.tally, Counter::Waiting, 1);
        }
        if session.is(Flag::Dead) {
            session.outbound.clear(&mut self.arena);
            return;
        }
        session.outbound.settle(&mut self.arena);
        let answers = session.outbound.pinned_reply_bytes();
        self.count_http_bytes(session, answers);
        self.tally.raise(Counter::QueuePinnedMax, session.outbound.pinned_bytes() as u64);
        if was_waiting && !slot.session.is(Flag::Waiting) {
            self.caught_up(key.index(), slot);
        }
        self.after_flush(io, key, slot);
        let wanted = slot.session.wanted_interest();
        if wanted != slot.session.interest && !slot.session.is(Flag::Dead) {
            slot.session.interest = wanted;
            if let Err(error) = io.set_interest(&slot.stream, key, wanted) {
                self.transport_failed(key, slot, error.kind());
            }
        }
    }

    /// A room's window has left a member behind. Where the member can be told that it has to come back to
    /// the room, and the policy is not to disconnect, only its membership ends.
    fn left_behind<T>(&mut self, key: Key, slot: &mut Slot<T>, behind: Behind) {
        let session = &mut slot.session;
        let room = self.rooms.find(&behind.room).and_then(|room| self.rooms.get(room));
        if room.is_none_or(|local| local.policy == LagPolicy::Disconnect) {
            self.tally.add(Counter::CutOutOfWindow, 1);
            self.finish(key, slot, CloseCause::OutOfWindow { behind });
            return;
        }
        self.tally.add(Counter::RemovedOutOfWindow, 1);
        self.leave_room(key, session, &behind.room);
        let closed = self.tell_removed(key, session, &behind.room, Removal::OutOfWindow);
        self.mark_dirty(key.index(), session);
        if let Some(cause) = closed {
            self.finish(key, slot, cause);
        }
    }

    /// All that waited is sent: the heartbeat counts again. A ping that went out with the rest gets
    /// its whole time.
    fn caught_up<T>(&mut self, index: u32, slot: &mut Slot<T>) {
        let between_requests = slot.session.is(Flag::Served)
            && !slot.session.is(Flag::Opened)
            && !slot.session.is(Flag::Streams);
        if between_requests && !slot.session.is(Flag::Ended) {
            slot.session.deadline = Tick::after(self.now + self.settings.http_idle_timeout);
        }
        if slot.session.is(Flag::PingSent) && !slot.session.is(Flag::Ended) {
            slot.session.deadline = Tick::after(self.now + self.settings.pong_timeout);
        }
        self.arm(index, slot);
    }

    /// Acts on what a flush has reached: reading pauses or resumes, an ended connection goes on to
    /// the end of its transport, deadlines are set.
    fn after_flush<I: Io<Socket = S>>(&mut self, io: &mut I, key: Key, slot: &mut Slot<I::Stream>) {
        let index = key.index();
        let high = self.settings.reply_bytes_high;
        let session = &mut slot.session;
        let replies = session.outbound.pinned_reply_bytes();
        if !session.is(Flag::PausedReplies) && replies > high {
            session.set(Flag::PausedReplies, true);
            self.tally.add(Counter::ReplyPauses, 1);
        } else if session.is(Flag::PausedReplies) && replies <= high / 2 {
            session.set(Flag::PausedReplies, false);
            self.reading_resumed(index, slot);
        }
        let session = &mut slot.session;
        if session.is(Flag::HoldsRequests) && !session.is(Flag::PausedReplies) && !session.is(Flag::Ended) {
            self.resumed.push_back(key);
        }
        if session.is(Flag::Ended) && session.outbound.is_empty() {
            if !session.is(Flag::WriteClosed) {
                session.set(Flag::WriteClosed, true);
                session.set(Flag::PausedLinger, false);
                slot.lingered = 0;
                io.shutdown_write(&slot.stream);
                let closed_by = Tick::after(self.now + self.settings.close_timeout);
                session.deadline = session.deadline.min(closed_by);
                self.arm(index, slot);
            }
            if slot.session.is(Flag::ReadClosed) {
                self.kill(index, slot);
            }
        } else if slot.session.is(Flag::Waiting) {
            self.arm(index, slot);
        }
    }
}
