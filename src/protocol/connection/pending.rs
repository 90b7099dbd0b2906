//! What an open connection holds while something is incomplete: a cut frame header, a cut control
//! frame, a message under reassembly (RFC 6455 §5.4).
//!
//! Decides nothing about the order of frames or limits; that is the connection's.

use std::ops::Range;

use super::super::header::{HEADER_BYTES_MAX, Opcode};
use super::super::mask::{push_unmasked, unmask};
use super::super::message::Kind;
use super::super::utf8::{InvalidUtf8, Utf8Validator};
use super::Input;
use crate::time::Time;

/// Heap bytes by which a buffer may exceed what arrived, besides a quarter of it.
const SPARE_BYTES: usize = 1024;

/// Which part of [`PendingFrames`] the last event borrowed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivered {
    Message,
    Control,
}

/// Everything incomplete between two inputs of an open connection.
#[derive(Debug)]
pub(super) struct PendingFrames {
    /// When the first incomplete byte arrived, or reading last resumed since; the box lives no longer than what began then.
    started: Time,
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: u8,
    /// The frame whose payload is still arriving.
    pub(super) frame: Option<Frame>,
    /// The open message.
    pub(super) message: Option<Assembly>,
    /// The payload of a control frame that is still arriving.
    control: Vec<u8>,
    pub(super) delivered: Option<Delivered>,
}

impl PendingFrames {
    pub(super) fn new(started: Time) -> PendingFrames {
        PendingFrames {
            started,
            header: [0; HEADER_BYTES_MAX],
            header_bytes: 0,
            frame: None,
            message: None,
            control: Vec::new(),
            delivered: None,
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let message = self.message.as_ref();
        let message = message.map_or(0, |message| message.bytes.capacity());
        size_of::<PendingFrames>() + self.control.capacity() + message
    }

    /// The bytes of the event that was completed here.
    pub(super) fn delivered_bytes(&self) -> &[u8] {
        match (self.delivered, &self.message) {
            (Some(Delivered::Message), Some(message)) => &message.bytes,
            (Some(Delivered::Control), _) => &self.control,
            _ => &[],
        }
    }

    /// Takes the bytes out of which the last event's message is, if it was put together here.
    pub(super) fn take_message(&mut self) -> Vec<u8> {
        match (self.delivered, &mut self.message) {
            (Some(Delivered::Message), Some(message)) => std::mem::take(&mut message.bytes),
            _ => Vec::new(),
        }
    }

    pub(super) fn started(&self) -> Option<Time> {
        let complete = match self.delivered {
            None => false,
            Some(Delivered::Message) => true,
            Some(Delivered::Control) => self.message.is_none(),
        };
        (!complete).then_some(self.started)
    }

    pub(super) fn restart_clock(&mut self, now: Time) {
        self.started = now;
    }

    pub(super) fn cut_header(&self) -> &[u8] {
        &self.header[..usize::from(self.header_bytes)]
    }

    /// Adds to the cut header; never called with more than the header has.
    pub(super) fn extend_cut_header(&mut self, bytes: &[u8]) {
        let free = &mut self.header[usize::from(self.header_bytes)..];
        for (place, byte) in free.iter_mut().zip(bytes) {
            *place = *byte;
            self.header_bytes += 1;
        }
    }

    pub(super) fn clear_cut_header(&mut self) {
        self.header_bytes = 0;
    }

    pub(super) fn push_control(&mut self, bytes: &[u8], total: usize) {
        if self.control.is_empty() && !bytes.is_empty() {
            self.control.reserve_exact(total);
        }
        self.control.extend_from_slice(bytes);
    }

    pub(super) fn free_delivered(&mut self) {
        match self.delivered.take() {
            None => {}
            Some(Delivered::Message) => self.message = None,
            Some(Delivered::Control) => self.control = Vec::new(),
        }
    }

    /// Whether nothing is incomplete, so that the box can go.
    pub(super) fn is_idle(&self) -> bool {
        self.header_bytes == 0 && self.frame.is_none() && self.message.is_none() && self.control.is_empty()
    }

    /// Frees the payload of the open message; only its order, length and UTF-8 still count.
    pub(super) fn forget_payload(&mut self) {
        if let Some(message) = &mut self.message {
            message.bytes = Vec::new();
        }
    }
}

/// A frame whose header is checked, and how much of its payload has arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) opcode: Opcode,
    pub(super) fin: bool,
    pub(super) mask: Option<[u8; 4]>,
    pub(super) payload_bytes: usize,
    pub(super) received: usize,
}

impl Frame {
    pub(super) fn missing(&self) -> usize {
        self.payload_bytes - self.received
    }

    /// Takes what the input has of the payload, still masked.
    pub(super) fn take(&mut self, input: &mut Input<'_>) -> (Range<usize>, Mask) {
        let range = input.take(self.missing());
        let mask = Mask { key: self.mask, offset: self.received };
        self.received += range.len();
        (range, mask)
    }

    /// Takes what the input has of the payload, and unmasks it there.
    pub(super) fn take_unmasked(&mut self, input: &mut Input<'_>) -> Range<usize> {
        let (range, mask) = self.take(input);
        mask.remove(&mut input.bytes[range.clone()]);
        range
    }

    /// Whether a piece of so many bytes, the one just taken, is the whole payload.
    pub(super) fn is_whole(&self, bytes: usize) -> bool {
        bytes == self.payload_bytes
    }
}

/// How a piece of a payload is masked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mask {
    key: Option<[u8; 4]>,
    /// Bytes of the payload before the piece.
    offset: usize,
}

impl Mask {
    /// Unmasks the piece where it is.
    pub(super) fn remove(self, piece: &mut [u8]) {
        if let Some(key) = self.key {
            unmask(piece, key, self.offset);
        }
    }
}

/// A message under reassembly.
#[derive(Debug)]
pub(super) struct Assembly {
    pub(super) kind: Kind,
    /// Frames so far, the one being received included.
    pub(super) fragments: u32,
    /// Payload bytes so far; more than `bytes` has once our Close is sent.
    pub(super) length: usize,
    pub(super) utf8: Utf8Validator,
    bytes: Vec<u8>,
}

impl Assembly {
    /// An empty message at its first frame.
    pub(super) fn new(kind: Kind) -> Assembly {
        Assembly { kind, fragments: 1, length: 0, utf8: Utf8Validator::default(), bytes: Vec::new() }
    }

    /// Adds what arrived, which is masked so. `total_max` is what the whole message can reach, as far as is
    /// known; `keep` is false when nobody will want the payload.
    pub(super) fn push(
        &mut self,
        piece: &mut [u8],
        mask: Mask,
        total_max: usize,
        keep: bool,
    ) -> Result<(), InvalidUtf8> {
        self.length += piece.len();
        let plain = if keep {
            let start = self.bytes.len();
            reserve(&mut self.bytes, piece.len(), total_max);
            match mask.key {
                Some(key) => push_unmasked(&mut self.bytes, piece, key, mask.offset),
                None => self.bytes.extend_from_slice(piece),
            }
            &self.bytes[start..]
        } else {
            mask.remove(piece);
            piece
        };
        if self.kind == Kind::Text {
            self.utf8.push(plain)?;
        }
        Ok(())
    }
}

/// Appends with a capacity that follows what has arrived, see [`reserve`].
pub(super) fn append(buffer: &mut Vec<u8>, bytes: &[u8], total_max: usize) {
    reserve(buffer, bytes.len(), total_max);
    buffer.extend_from_slice(bytes);
}

/// Makes room for what has arrived, never for what was announced: at most a quarter and [`SPARE_BYTES`]
/// more, and no more than `total_max`.
fn reserve(buffer: &mut Vec<u8>, arrived: usize, total_max: usize) {
    let needed = buffer.len() + arrived;
    if needed > buffer.capacity() {
        let roomy = needed.saturating_add(needed / 4 + SPARE_BYTES);
        buffer.reserve_exact(roomy.min(total_max).max(needed) - buffer.len());
    }
}
