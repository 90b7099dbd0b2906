//! What waits to be sent to one connection: a FIFO of byte ranges with a lane for control frames.
//!
//! Only what is nobody else's waits here: replies, control frames, and the frame of a room that is half
//! out. What a room has for its members stays in the room; see `serve.rs`.
//!
//! The lists of all connections of a shard run through one [`SendArena`], and an idle connection owns
//! nothing here.
//!
//! Replies (echo, pong) of the current turn lie contiguous in the arena's scratch; what the kernel
//! does not take by the end of the turn is copied out of it once ([`Outbound::settle`]). Connections that
//! stop reading in the same turn mostly do so in the same few messages: they share the copies of these.

use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

use crate::mutant::{Mutant, strikes};
use crate::protocol::{CONTROL_FRAME_BYTES_MAX, Opcode, push_server_frame};
use crate::rooms::{Batch, Encoding};
use crate::slab::NONE;
use arena::{Buffer, Node, Purpose, SCRATCH, is_passing};

pub use arena::SendArena;
pub use loan::Place;

mod arena;
mod loan;
#[cfg(test)]
mod tests;

/// Slices that one send carries at most.
pub const SLICES_PER_SEND: usize = 64;
/// Longer replies get a buffer of their own, so a short write never copies them a second time.
const SCRATCH_REPLY_BYTES_MAX: usize = 256 << 10;
/// A rest of a message shares its batch, of which many stalled members often hold the same, unless that is
/// so many times its size; and a large one does in any case.
const PINNED_PER_REST: usize = 8;
const REST_COPY_BYTES_MAX: usize = 4096;
/// A copy begins at a multiple of this in its message, so that others in the same message find it.
const REST_COPY_ALIGN_BYTES: usize = 1024;
/// Pongs that one connection gets in one turn without a wait; of more, only the newest counts.
const PONGS_PER_TURN: u8 = 16;

/// The queue of one connection. All methods take the arena that it runs through.
#[derive(Debug)]
pub struct Outbound {
    head: u32,
    tail: u32,
    /// Bytes of the head node that are sent already.
    head_sent: u32,
    /// Whether some of the head node is sent: nothing may come before its end.
    head_begun: bool,
    /// Bytes pinned by all nodes, and by those that are replies.
    pinned: u32,
    pinned_replies: u32,
    /// The newest pong that waits for a blocked connection.
    pending_pong: u32,
    pongs_this_turn: u8,
    ping_pending: bool,
}

impl Default for Outbound {
    fn default() -> Self {
        Outbound {
            head: NONE,
            tail: NONE,
            head_sent: 0,
            head_begun: false,
            pinned: 0,
            pinned_replies: 0,
            pending_pong: NONE,
            pongs_this_turn: 0,
            ping_pending: false,
        }
    }
}

impl Outbound {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.head == NONE && self.pending_pong == NONE && !self.ping_pending
    }

    /// Bytes of memory that the queue keeps from being freed, with overhead.
    pub fn pinned_bytes(&self) -> usize {
        self.pinned as usize
    }

    /// The part of [`Outbound::pinned_bytes`] that are the connection's own replies.
    pub fn pinned_reply_bytes(&self) -> usize {
        self.pinned_replies as usize
    }

    /// Queues a reply that `encode` appends.
    pub fn push_reply(&mut self, arena: &mut SendArena, bytes: usize, encode: impl FnOnce(&mut Vec<u8>)) {
        self.push_encoded(arena, Purpose::Reply, bytes, encode);
    }

    /// Queues a response to an HTTP request, or its head: nothing overtakes it, and no frame or event makes
    /// sense without it.
    pub fn push_response(&mut self, arena: &mut SendArena, bytes: usize, encode: impl FnOnce(&mut Vec<u8>)) {
        self.push_encoded(arena, Purpose::Response, bytes, encode);
    }

    fn push_encoded(
        &mut self,
        arena: &mut SendArena,
        purpose: Purpose,
        bytes: usize,
        encode: impl FnOnce(&mut Vec<u8>),
    ) {
        if bytes > SCRATCH_REPLY_BYTES_MAX {
            let mut own = Vec::with_capacity(bytes);
            encode(&mut own);
            self.push_own(arena, own, purpose);
            return;
        }
        let start = arena.scratch.len() as u32;
        encode(&mut arena.scratch);
        let end = arena.scratch.len() as u32;
        self.push_scratch(arena, start, end, purpose);
    }

    /// Queues a pong. `blocked` says that the kernel takes nothing now: then only the newest is kept.
    pub fn push_pong(&mut self, arena: &mut SendArena, blocked: bool, encode: impl FnOnce(&mut Vec<u8>)) {
        if !blocked && self.pongs_this_turn < PONGS_PER_TURN {
            self.pongs_this_turn += 1;
            // It may still wait since the connection was blocked, and would come behind this one.
            self.drop_pong(arena);
            let start = arena.scratch.len() as u32;
            encode(&mut arena.scratch);
            let end = arena.scratch.len() as u32;
            self.push_scratch(arena, start, end, Purpose::Pong);
            return;
        }
        let mut frame = Vec::with_capacity(CONTROL_FRAME_BYTES_MAX);
        encode(&mut frame);
        if self.pending_pong != NONE {
            arena.release(self.pending_pong);
        }
        self.pending_pong = arena.hold(Buffer::Own(frame));
    }

    /// Queues a ping of ours: at most one waits, ahead of the data.
    pub fn push_ping(&mut self) {
        self.ping_pending = true;
    }

    /// Queues a range of a room's messages: the conversation ends, and these still come before its Close.
    pub fn push_messages(
        &mut self,
        arena: &mut SendArena,
        (batch, encoding): (&Arc<Batch>, Encoding),
        range: Range<usize>,
    ) {
        let range = range.start as u32..range.end as u32;
        self.push_buffer(arena, Buffer::Batch(Arc::clone(batch), encoding), range, Purpose::Delivery);
    }

    /// Queues what others are told at the same time, too, but is no message of a room's order.
    pub fn push_notice(&mut self, arena: &mut SendArena, batch: &Arc<Batch>, encoding: Encoding) {
        let range = 0..batch.bytes(encoding).len() as u32;
        self.push_buffer(arena, Buffer::Batch(Arc::clone(batch), encoding), range, Purpose::Reply);
    }

    /// Takes over a room's `message` whose bytes before `at` are out, when nothing else waits. A small rest
    /// is copied rather than let it pin a large buffer, once for all that share it.
    pub fn push_begun(
        &mut self,
        arena: &mut SendArena,
        (batch, encoding): (&Arc<Batch>, Encoding),
        message: Range<usize>,
        at: usize,
    ) {
        debug_assert!(self.head == NONE, "a room's messages come after what is the connection's own");
        let rest_bytes = message.end - at;
        if rest_bytes <= REST_COPY_BYTES_MAX && rest_bytes * PINNED_PER_REST < batch.pinned_bytes() {
            let before = (at - message.start) % REST_COPY_ALIGN_BYTES;
            let copy = arena.copy(batch, encoding, at - before..message.end);
            let (start, end) = (before as u32, copy.len() as u32);
            self.push_buffer(arena, Buffer::Copy(copy), start..end, Purpose::Delivery);
        } else {
            self.push_messages(arena, (batch, encoding), at..message.end);
        }
        self.head_begun = true;
    }

    /// Drops all that has not begun to be sent. A frame whose first bytes are out stays whole, and
    /// responses to HTTP requests stay.
    pub fn drop_unstarted(&mut self, arena: &mut SendArena) {
        let keep = self.fixed(arena);
        self.drop_behind(arena, keep);
    }

    /// Drops all that stands behind the node `keep`, or everything if that is [`NONE`].
    fn drop_behind(&mut self, arena: &mut SendArena, keep: u32) {
        self.drop_pong(arena);
        self.ping_pending = false;
        let mut at = if keep == NONE { self.head } else { arena.nodes[keep as usize].next };
        while at != NONE {
            let next = arena.nodes[at as usize].next;
            self.account_freed(arena, at);
            at = next;
        }
        if keep == NONE {
            self.head = NONE;
        } else {
            arena.nodes[keep as usize].next = NONE;
        }
        self.tail = keep;
    }

    /// Drops everything: the transport is gone.
    pub fn clear(&mut self, arena: &mut SendArena) {
        self.head_sent = 0;
        self.head_begun = false;
        self.drop_behind(arena, NONE);
        debug_assert_eq!((self.pinned, self.pinned_replies), (0, 0), "what is counted is freed");
    }

    /// Puts the control frames that wait where the next send finds them: behind the frame that is
    /// half out, responses to HTTP requests and the pongs before it, ahead of everything else.
    pub fn promote_control(&mut self, arena: &mut SendArena) {
        if self.pending_pong != NONE {
            let buffer = self.pending_pong;
            self.pending_pong = NONE;
            let end = arena.buffer(buffer).bytes().len() as u32;
            // The hold moves from `pending_pong` to the node.
            let node = arena.node(buffer, 0..end, Purpose::Pong);
            let after = self.last_pong(arena).unwrap_or(self.fixed(arena));
            self.insert_after(arena, after, node);
        }
        if self.ping_pending {
            self.ping_pending = false;
            let start = arena.scratch.len() as u32;
            push_server_frame(&mut arena.scratch, Opcode::Ping, &[]);
            let end = arena.scratch.len() as u32;
            let node = arena.node(SCRATCH, start..end, Purpose::Ping);
            let after = self.fixed(arena);
            self.insert_after(arena, after, node);
        }
    }

    /// Fills `slices` with what is to be sent next, and says how many it filled.
    pub fn gather<'a>(&self, arena: &'a SendArena, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut at = self.head;
        let mut skip = self.head_sent as usize;
        while at != NONE && filled < slices.len() {
            let node = &arena.nodes[at as usize];
            slices[filled] = IoSlice::new(&arena.bytes(node)[skip..]);
            skip = 0;
            filled += 1;
            at = node.next;
        }
        filled
    }

    /// What is to be sent, if that is one piece of this turn's replies.
    pub fn lone_replies<'a>(&self, arena: &'a SendArena) -> Option<&'a [u8]> {
        if self.head != self.tail || self.pending_pong != NONE || self.ping_pending {
            return None;
        }
        let node = arena.nodes.get(self.head as usize).filter(|node| node.buffer == SCRATCH)?;
        arena.scratch.get((node.start + self.head_sent) as usize..node.end as usize)
    }

    /// Notes that [`Outbound::lone_replies`] are sent.
    pub fn lone_replies_sent(&mut self, arena: &mut SendArena) {
        self.account_freed(arena, self.head);
        (self.head, self.tail) = (NONE, NONE);
        (self.head_sent, self.head_begun) = (0, false);
        self.pongs_this_turn = 0;
    }

    /// Takes `sent` bytes off the front.
    pub fn advance(&mut self, arena: &mut SendArena, sent: usize) {
        let mut sent = sent;
        while sent > 0 {
            let node = arena.nodes[self.head as usize];
            let left = (node.end - node.start - self.head_sent) as usize;
            if sent < left {
                self.head_sent += sent as u32;
                self.head_begun = true;
                return;
            }
            sent -= left;
            self.head_sent = 0;
            self.head_begun = node.goes_on;
            self.account_freed(arena, self.head);
            self.head = node.next;
        }
        if self.head == NONE {
            self.tail = NONE;
        }
    }

    /// Copies what still lies in the scratch or the receive buffer into buffers of its own, so those can be
    /// reused, and keeps only the newest of the pongs that have not begun.
    pub fn settle(&mut self, arena: &mut SendArena) {
        self.pongs_this_turn = 0;
        self.drop_superseded_pongs(arena);
        let mut at = self.head;
        while at != NONE {
            let node = arena.nodes[at as usize];
            if is_passing(node.buffer) {
                let sent = if at == self.head { std::mem::take(&mut self.head_sent) } else { 0 };
                let bytes = arena.bytes(&node)[sent as usize..].to_vec();
                let end = bytes.len() as u32;
                let buffer = arena.hold(Buffer::Own(bytes));
                let settled = arena.node(buffer, 0..end, node.purpose);
                let settled = Node { next: node.next, goes_on: node.goes_on, ..settled };
                arena.nodes[at as usize] = settled;
                self.account(arena, node.purpose, i64::from(settled.cost) - i64::from(node.cost));
            }
            at = node.next;
        }
    }

    fn push_own(&mut self, arena: &mut SendArena, bytes: Vec<u8>, purpose: Purpose) {
        let end = bytes.len() as u32;
        self.push_buffer(arena, Buffer::Own(bytes), 0..end, purpose);
    }

    fn push_buffer(&mut self, arena: &mut SendArena, buffer: Buffer, range: Range<u32>, purpose: Purpose) {
        let buffer = arena.hold(buffer);
        let node = arena.node(buffer, range, purpose);
        self.append(arena, node);
    }

    fn push_scratch(&mut self, arena: &mut SendArena, start: u32, end: u32, purpose: Purpose) {
        if self.tail != NONE && purpose.is_own() {
            let tail = &mut arena.nodes[self.tail as usize];
            if tail.buffer == SCRATCH && tail.end == start && tail.purpose == purpose {
                tail.end = end;
                tail.cost += end - start;
                self.account(arena, purpose, i64::from(end - start));
                return;
            }
        }
        let node = arena.node(SCRATCH, start..end, purpose);
        self.append(arena, node);
    }

    #[inline]
    fn append(&mut self, arena: &mut SendArena, node: Node) {
        self.account(arena, node.purpose, i64::from(node.cost));
        let index = arena.new_node(node);
        if self.tail == NONE {
            self.head = index;
        } else {
            arena.nodes[self.tail as usize].next = index;
        }
        self.tail = index;
    }

    /// The node that nothing may come before the end of, or [`NONE`]: the one that has begun, or the last
    /// response to an HTTP request.
    fn fixed(&self, arena: &SendArena) -> u32 {
        let begun = self.head_begun && !strikes(Mutant::ControlInFrame);
        let mut fixed = if begun { self.head } else { NONE };
        let mut at = self.head;
        while at != NONE {
            let node = &arena.nodes[at as usize];
            if node.purpose == Purpose::Response {
                fixed = at;
            }
            if at == fixed && node.goes_on {
                fixed = node.next;
            }
            at = node.next;
        }
        fixed
    }

    /// The last pong in the list: a newer one must not overtake it.
    fn last_pong(&self, arena: &SendArena) -> Option<u32> {
        let mut last = None;
        let mut at = self.head;
        while at != NONE {
            let node = &arena.nodes[at as usize];
            if node.purpose == Purpose::Pong {
                last = Some(at);
            }
            at = node.next;
        }
        last
    }

    /// Inserts a node behind the node `after`, or first if that is [`NONE`].
    fn insert_after(&mut self, arena: &mut SendArena, after: u32, node: Node) {
        self.account(arena, node.purpose, i64::from(node.cost));
        let next = if after == NONE { self.head } else { arena.nodes[after as usize].next };
        let index = arena.new_node(Node { next, ..node });
        if after == NONE {
            self.head = index;
        } else {
            arena.nodes[after as usize].next = index;
        }
        if next == NONE {
            self.tail = index;
        }
    }

    /// Of the pongs that have not begun, only the last one matters (RFC 6455 §5.5.3).
    fn drop_superseded_pongs(&mut self, arena: &mut SendArena) {
        let mut previous = NONE;
        let mut older = NONE;
        let mut before_older = NONE;
        let mut at = self.head;
        while at != NONE {
            let node = arena.nodes[at as usize];
            let begun = at == self.head && self.head_begun;
            if node.purpose == Purpose::Pong && !begun {
                if older != NONE {
                    self.cut(arena, before_older, older);
                    if previous == older {
                        previous = before_older;
                    }
                }
                (before_older, older) = (previous, at);
            }
            previous = at;
            at = node.next;
        }
        if self.pending_pong != NONE && older != NONE {
            self.cut(arena, before_older, older);
        }
    }

    /// Takes the node `at`, which follows `previous`, out of the list.
    fn cut(&mut self, arena: &mut SendArena, previous: u32, at: u32) {
        let next = arena.nodes[at as usize].next;
        if previous == NONE {
            self.head = next;
        } else {
            arena.nodes[previous as usize].next = next;
        }
        if self.tail == at {
            self.tail = previous;
        }
        self.account_freed(arena, at);
    }

    fn drop_pong(&mut self, arena: &mut SendArena) {
        if self.pending_pong != NONE {
            arena.release(self.pending_pong);
            self.pending_pong = NONE;
        }
    }

    fn account_freed(&mut self, arena: &mut SendArena, index: u32) {
        let node = arena.free_node(index);
        self.account(arena, node.purpose, -i64::from(node.cost));
    }

    fn account(&mut self, arena: &mut SendArena, purpose: Purpose, change: i64) {
        debug_assert!(i64::from(self.pinned) + change >= 0, "no more is freed than was counted");
        self.pinned = (i64::from(self.pinned) + change) as u32;
        arena.pinned_bytes = arena.pinned_bytes.wrapping_add_signed(change);
        if purpose.is_own() {
            self.pinned_replies = (i64::from(self.pinned_replies) + change) as u32;
        }
    }
}
