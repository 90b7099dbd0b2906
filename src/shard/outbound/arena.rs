//! The storage behind the outbound queues of a shard: nodes, buffers, and the turn's scratch and copies.
//!
//! Knows neither order nor limits; those are the queue's.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::mutant::{Mutant, strikes};
use crate::rooms::{Batch, Encoding};
use crate::slab::NONE;

use super::loan::Loans;

/// The buffer index that means "in this turn's scratch".
pub(super) const SCRATCH: u32 = NONE - 1;
/// The buffer index that means "in the receive buffer, until it is read into again".
pub(super) const RECEIVED: u32 = NONE - 2;

/// Whether a buffer index means bytes that stay for a while only.
pub(super) fn is_passing(buffer: u32) -> bool {
    buffer >= RECEIVED
}

/// What a node adds to what a connection pins.
const NODE_BYTES: usize = size_of::<Node>();

/// Why a node is there: decides what may be dropped and what pauses reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The connection's own: an answer to what it sent.
    Reply,
    /// The same to an HTTP request: what stands before it in the queue is not for a WebSocket or a stream.
    Response,
    /// A room's message.
    Delivery,
    /// An answer to a ping; one that has not begun gives way to a newer one.
    Pong,
    /// A ping of ours.
    Ping,
}

impl Purpose {
    /// Whether the connection has caused it itself.
    pub(super) fn is_own(self) -> bool {
        matches!(self, Purpose::Reply | Purpose::Response)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) buffer: u32,
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) next: u32,
    /// What it was counted for when it was queued: a batch pins more once others read it in their encoding.
    pub(super) cost: u32,
    pub(super) purpose: Purpose,
    /// The next node is the rest of the same frame.
    pub(super) goes_on: bool,
}

/// What an allocation costs beside its bytes: the vector's words and the allocator's header.
const OWN_OVERHEAD_BYTES: usize = 40;

/// A buffer that one node refers to.
#[derive(Debug)]
pub(super) enum Buffer {
    /// The connection's own bytes.
    Own(Vec<u8>),
    /// A part of a message, shared with those that are half out in it since the same turn.
    Copy(Arc<[u8]>),
    /// A room's messages, shared with everybody.
    Batch(Arc<Batch>, Encoding),
}

impl Buffer {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Buffer::Own(bytes) => bytes,
            Buffer::Copy(bytes) => bytes,
            Buffer::Batch(batch, encoding) => batch.bytes(*encoding),
        }
    }

    fn pinned_bytes(&self) -> usize {
        match self {
            Buffer::Own(bytes) => bytes.capacity() + OWN_OVERHEAD_BYTES,
            Buffer::Copy(bytes) => bytes.len() + OWN_OVERHEAD_BYTES,
            Buffer::Batch(batch, _) => batch.pinned_bytes(),
        }
    }
}

/// The storage behind all outbound queues of a shard.
#[derive(Debug)]
pub struct SendArena {
    pub(super) nodes: Vec<Node>,
    free_node: u32,
    buffers: Vec<Option<Buffer>>,
    free_buffers: Vec<u32>,
    pub(super) scratch: Vec<u8>,
    /// The one receive buffer of a shard. It lies here for the replies that are what was received.
    pub(super) received: Box<[u8]>,
    pub(super) loans: Loans,
    /// What all queues pin.
    pub(super) pinned_bytes: u64,
    copies: HashMap<CopyKey, TurnCopy>,
}

/// The address of a batch, which encoding of it, and where the copy begins there.
type CopyKey = (usize, Encoding, usize);

/// A copy that others of the same turn may share.
#[derive(Debug)]
struct TurnCopy {
    bytes: Arc<[u8]>,
    /// Keeps its address from naming another batch.
    _source: Arc<Batch>,
}

impl Default for SendArena {
    fn default() -> Self {
        SendArena {
            nodes: Vec::new(),
            free_node: NONE,
            buffers: Vec::new(),
            free_buffers: Vec::new(),
            scratch: Vec::new(),
            received: Box::default(),
            loans: Loans::default(),
            pinned_bytes: 0,
            copies: HashMap::new(),
        }
    }
}

impl SendArena {
    /// An arena with the receive buffer of its shard.
    pub fn new(receive_bytes: usize) -> SendArena {
        SendArena { received: vec![0; receive_bytes].into_boxed_slice(), ..SendArena::default() }
    }

    /// Takes a buffer in, until [`SendArena::release`].
    pub(super) fn hold(&mut self, buffer: Buffer) -> u32 {
        match self.free_buffers.pop() {
            Some(index) => {
                self.buffers[index as usize] = Some(buffer);
                index
            }
            None => {
                self.buffers.push(Some(buffer));
                self.buffers.len() as u32 - 1
            }
        }
    }

    /// A copy of a range that lies within one message: every such range of the same start is the same.
    pub(super) fn copy(&mut self, batch: &Arc<Batch>, encoding: Encoding, range: Range<usize>) -> Arc<[u8]> {
        let key = (Arc::as_ptr(batch).addr(), encoding, range.start);
        let copy = self.copies.entry(key).or_insert_with(|| TurnCopy {
            bytes: batch.bytes(encoding)[range].into(),
            _source: Arc::clone(batch),
        });
        Arc::clone(&copy.bytes)
    }

    /// Gives a buffer that was held empty its bytes.
    pub(super) fn fill(&mut self, index: u32, bytes: Vec<u8>) {
        debug_assert!(self.buffer(index).bytes().is_empty(), "a buffer is filled once");
        self.buffers[index as usize] = Some(Buffer::Own(bytes));
    }

    /// Lets go of a buffer.
    pub(super) fn release(&mut self, index: u32) {
        let held = self.buffers[index as usize].take();
        debug_assert!(held.is_some(), "a buffer is released once");
        self.free_buffers.push(index);
    }

    pub(super) fn buffer(&self, index: u32) -> &Buffer {
        self.buffers[index as usize].as_ref().expect("a node's buffer is present")
    }

    /// Replies of this turn, in bytes.
    pub fn scratch_bytes(&self) -> usize {
        self.scratch.len()
    }

    /// Forgets this turn's replies, and shares its copies no further; every queue must have been flushed or
    /// settled.
    pub fn end_flush(&mut self, keep_bytes: usize) {
        self.scratch.clear();
        self.scratch.shrink_to(keep_bytes);
        self.copies = HashMap::new();
    }

    /// Bytes that all queues keep from being freed.
    pub fn pinned_bytes(&self) -> u64 {
        self.pinned_bytes
    }

    /// Nodes and buffers in use, for the check that a drained shard holds none.
    pub fn in_use(&self) -> (usize, usize) {
        let mut free = 0;
        let mut at = self.free_node;
        while at != NONE {
            free += 1;
            at = self.nodes[at as usize].next;
        }
        (self.nodes.len() - free, self.buffers.len() - self.free_buffers.len())
    }

    pub(super) fn new_node(&mut self, node: Node) -> u32 {
        if self.free_node == NONE {
            self.nodes.push(node);
            return self.nodes.len() as u32 - 1;
        }
        let index = self.free_node;
        self.free_node = self.nodes[index as usize].next;
        self.nodes[index as usize] = node;
        index
    }

    /// Frees a node with its buffer, and returns what it was.
    pub(super) fn free_node(&mut self, index: u32) -> Node {
        let node = self.nodes[index as usize];
        self.nodes[index as usize].next = self.free_node;
        self.free_node = index;
        if !is_passing(node.buffer) && !strikes(Mutant::LeakedBuffer) {
            self.release(node.buffer);
        }
        node
    }

    pub(super) fn bytes(&self, node: &Node) -> &[u8] {
        let source = match node.buffer {
            SCRATCH => &self.scratch,
            RECEIVED => &self.received[..],
            buffer => self.buffer(buffer).bytes(),
        };
        &source[node.start as usize..node.end as usize]
    }

    /// A node and what it pins. A range pins its whole buffer: a peer must not pin much by small ranges.
    pub(super) fn node(&self, buffer: u32, range: Range<u32>, purpose: Purpose) -> Node {
        let bytes = if is_passing(buffer) { range.len() } else { self.buffer(buffer).pinned_bytes() };
        let cost = u32::try_from(bytes + NODE_BYTES).unwrap_or(u32::MAX);
        Node { buffer, start: range.start, end: range.end, next: NONE, cost, purpose, goes_on: false }
    }
}
