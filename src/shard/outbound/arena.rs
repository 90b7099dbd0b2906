//! The storage behind the outbound queues of a shard: nodes, shared buffers and the turn's scratch.
//!
//! Knows neither order nor limits; those are the queue's.

use crate::protocol::FrameBuf;
use crate::slab::NONE;

/// The frame index that means "in this turn's scratch".
pub(super) const SCRATCH: u32 = NONE - 1;
/// What a node adds to what a connection pins.
const NODE_BYTES: usize = size_of::<Node>();

/// Why a node is there: decides what may be dropped and what pauses reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The connection's own: an answer to what it sent.
    Reply,
    /// A room's message.
    Delivery,
    /// An answer to a ping; one that has not begun gives way to a newer one.
    Pong,
    /// A ping of ours.
    Ping,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) frame: u32,
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) next: u32,
    pub(super) purpose: Purpose,
}

#[derive(Debug)]
struct SharedFrame {
    frame: FrameBuf,
    /// Nodes of this shard that refer to it: a plain count, so receivers cost no atomic operation.
    references: u32,
}

/// Names a shared buffer inside one shard's arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameIndex(pub(super) u32);

/// The storage behind all outbound queues of a shard.
#[derive(Debug)]
pub struct SendArena {
    pub(super) nodes: Vec<Node>,
    free_node: u32,
    frames: Vec<Option<SharedFrame>>,
    free_frames: Vec<u32>,
    pub(super) scratch: Vec<u8>,
}

impl Default for SendArena {
    fn default() -> Self {
        SendArena {
            nodes: Vec::new(),
            free_node: NONE,
            frames: Vec::new(),
            free_frames: Vec::new(),
            scratch: Vec::new(),
        }
    }
}

impl SendArena {
    /// Takes a buffer in, held once by the caller until [`SendArena::release`].
    pub fn hold(&mut self, frame: FrameBuf) -> FrameIndex {
        let shared = Some(SharedFrame { frame, references: 1 });
        match self.free_frames.pop() {
            Some(index) => {
                self.frames[index as usize] = shared;
                FrameIndex(index)
            }
            None => {
                self.frames.push(shared);
                FrameIndex(self.frames.len() as u32 - 1)
            }
        }
    }

    /// Gives one hold back; the last one lets go of the buffer.
    pub fn release(&mut self, index: FrameIndex) {
        let slot = &mut self.frames[index.0 as usize];
        let shared = slot.as_mut().expect("a held frame is present");
        shared.references -= 1;
        if shared.references == 0 {
            *slot = None;
            self.free_frames.push(index.0);
        }
    }

    pub(super) fn shared(&self, index: u32) -> &FrameBuf {
        &self.frames[index as usize].as_ref().expect("a node's frame is present").frame
    }

    /// Replies of this turn, in bytes.
    pub fn scratch_bytes(&self) -> usize {
        self.scratch.len()
    }

    /// Forgets this turn's replies; every queue must have been flushed or settled.
    pub fn clear_scratch(&mut self, keep_bytes: usize) {
        self.scratch.clear();
        self.scratch.shrink_to(keep_bytes);
    }

    /// Nodes and buffers in use, for the check that a drained shard holds none.
    pub fn in_use(&self) -> (usize, usize) {
        let mut free = 0;
        let mut at = self.free_node;
        while at != NONE {
            free += 1;
            at = self.nodes[at as usize].next;
        }
        (self.nodes.len() - free, self.frames.len() - self.free_frames.len())
    }

    /// One more node of a shared buffer.
    pub(super) fn add_reference(&mut self, index: FrameIndex) {
        self.frames[index.0 as usize].as_mut().expect("the caller holds the frame").references += 1;
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

    /// Frees a node with its hold, and returns what it pinned.
    pub(super) fn free_node(&mut self, index: u32) -> Node {
        let node = self.nodes[index as usize];
        self.nodes[index as usize].next = self.free_node;
        self.free_node = index;
        if node.frame != SCRATCH {
            self.release(FrameIndex(node.frame));
        }
        node
    }

    pub(super) fn bytes(&self, node: &Node) -> &[u8] {
        let source = if node.frame == SCRATCH { &self.scratch } else { self.shared(node.frame).as_slice() };
        &source[node.start as usize..node.end as usize]
    }

    /// What a node pins. A range pins its whole buffer: a peer must not pin much by small ranges.
    pub(super) fn cost(&self, node: &Node) -> usize {
        let bytes = if node.frame == SCRATCH {
            (node.end - node.start) as usize
        } else {
            self.shared(node.frame).pinned_bytes()
        };
        bytes + NODE_BYTES
    }
}
