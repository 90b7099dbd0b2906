//! A reply that is the very message it answers, and long, is not copied: it is sent from where that lies.
//!
//! That is the receive buffer, if the message came in one read: then the connection is flushed before the
//! buffer is read into again, and what the kernel does not take is copied as it is out of the scratch. Or it
//! is the buffer that the message was put together in, which the queue takes over.

use crate::protocol::{Opcode, encode_server_header, push_server_frame, server_frame_bytes};

use super::arena::{Buffer, Node, Purpose, RECEIVED};
use super::{Outbound, SendArena};

/// Shorter messages are copied, which costs less than a node and a slice of their own.
pub(super) const LOAN_BYTES_MIN: usize = 8 << 10;

/// Where a message lies while it is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// From this byte of the receive buffer on.
    Received(u32),
    /// In a buffer of its own, which can be taken over.
    Own,
}

/// The messages that may be lent, and what is.
#[derive(Debug, Default)]
pub(super) struct Loans {
    /// The address and the length of the message that is handled, and its place.
    offered: Option<(usize, usize, Place)>,
    /// The node that waits for the bytes of the message.
    taken: Option<u32>,
    /// Nodes refer to the receive buffer.
    refer_to_received: bool,
}

impl SendArena {
    /// Offers the message that is handled next to its replies, if it is long and `place_of` knows a place of it.
    pub fn offer(&mut self, payload: &[u8], place_of: impl FnOnce(&[u8]) -> Option<Place>) {
        if payload.len() >= LOAN_BYTES_MIN
            && let Some(place) = place_of(payload)
        {
            self.loans.offered = Some((payload.as_ptr().addr(), payload.len(), place));
        }
    }

    /// Ends the offer: the message has been handled. Says whether its bytes have to be handed over with
    /// [`Outbound::take_over`].
    pub fn end_offer(&mut self) -> bool {
        self.loans.offered = None;
        self.loans.taken.is_some()
    }

    /// Takes the receive buffer out, to be read into and looked at.
    pub fn take_receive_buffer(&mut self) -> Box<[u8]> {
        debug_assert!(!self.loans.refer_to_received, "what is lent is flushed before");
        std::mem::take(&mut self.received)
    }

    /// Gives the receive buffer back, as [`Place::Received`] refers to it. Says whether replies do.
    pub fn return_receive_buffer(&mut self, buffer: Box<[u8]>) -> bool {
        self.received = buffer;
        std::mem::take(&mut self.loans.refer_to_received)
    }

    /// Where the message lies that is being handled, if `data` is all of it.
    fn place_of(&self, data: &[u8]) -> Option<Place> {
        // What is borrowed at the same address and is as long is the same.
        let (address, bytes, place) = self.loans.offered?;
        (address == data.as_ptr().addr() && bytes == data.len()).then_some(place)
    }
}

impl Outbound {
    /// Queues a message as a reply.
    pub fn push_message(&mut self, arena: &mut SendArena, opcode: Opcode, payload: &[u8]) {
        if payload.len() < LOAN_BYTES_MIN {
            // Nearly all are so: straight into the scratch, which so few bytes always go to.
            return self.push_reply(arena, 0, |out| push_server_frame(out, opcode, payload));
        }
        match arena.place_of(payload) {
            Some(place) => self.push_loan(arena, opcode, payload.len(), place),
            None => self.push_reply(arena, server_frame_bytes(payload.len()), |out| {
                push_server_frame(out, opcode, payload);
            }),
        }
    }

    fn push_loan(&mut self, arena: &mut SendArena, opcode: Opcode, bytes: usize, place: Place) {
        let start = arena.scratch.len() as u32;
        arena.scratch.extend_from_slice(&encode_server_header(opcode, true, bytes));
        let end = arena.scratch.len() as u32;
        self.push_scratch(arena, start, end, Purpose::Reply);
        arena.nodes[self.tail as usize].goes_on = true;
        let payload = match place {
            Place::Received(at) => {
                arena.loans.refer_to_received = true;
                arena.node(RECEIVED, at..at + bytes as u32, Purpose::Reply)
            }
            Place::Own => {
                let buffer = arena.hold(Buffer::Own(Vec::new()));
                let node = arena.node(buffer, 0..bytes as u32, Purpose::Reply);
                Node { cost: node.cost.saturating_add(bytes as u32), ..node }
            }
        };
        self.append(arena, payload);
        if place == Place::Own {
            // It can be taken over once; another reply is a copy.
            arena.loans.offered = None;
            arena.loans.taken = Some(self.tail);
        }
    }

    /// Takes over the bytes of the message that a reply refers to, before anything is sent.
    pub fn take_over(&mut self, arena: &mut SendArena, bytes: Vec<u8>) {
        let Some(index) = arena.loans.taken.take() else { return };
        let node = arena.nodes[index as usize];
        debug_assert_eq!(bytes.len(), (node.end - node.start) as usize, "all of the message");
        arena.fill(node.buffer, bytes);
        let filled = arena.node(node.buffer, node.start..node.end, node.purpose);
        arena.nodes[index as usize].cost = filled.cost;
        self.account(arena, node.purpose, i64::from(filled.cost) - i64::from(node.cost));
    }
}
