//! Messages that entered a room together: one buffer that everybody shares, and its other encodings,
//! each made at most once.
//!
//! What the bytes mean on a wire is not known here, only where each message begins and ends.

use std::sync::{Arc, OnceLock};

use super::Identity;
use crate::id::ConnectionId;

/// A form in which a message leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// WebSocket frames; made when the messages enter the room.
    Frames,
    /// Server-sent events; made, as those below, when a reader first needs them.
    Events,
    /// Pushes of the client protocol in JSON, in WebSocket frames.
    JsonPushes,
    /// Pushes of the client protocol in Protobuf, in WebSocket frames.
    ProtobufPushes,
}

/// Encodings that are made when they are first needed.
const OTHERS: usize = 3;

impl Encoding {
    /// The place among [`OTHERS`].
    fn other(self) -> Option<usize> {
        match self {
            Encoding::Frames => None,
            Encoding::Events => Some(0),
            Encoding::JsonPushes => Some(1),
            Encoding::ProtobufPushes => Some(2),
        }
    }

    /// Whether a member that reads this can be told that it is not a member any more.
    pub fn tells_removal(self) -> bool {
        matches!(self, Encoding::JsonPushes | Encoding::ProtobufPushes)
    }
}

/// Who a message is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A connection, usually a member.
    Member(ConnectionId),
    /// A back end.
    Api {
        /// A connection that does not get the message.
        exclude: Option<ConnectionId>,
    },
}

impl Sender {
    /// The connection that sent it.
    pub fn member(self) -> Option<ConnectionId> {
        match self {
            Sender::Member(id) => Some(id),
            Sender::Api { .. } => None,
        }
    }
}

/// One message of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Who sent it.
    pub sender: Sender,
    /// What the sender said of itself.
    pub identity: Option<Arc<Identity>>,
    /// Text or binary.
    pub text: bool,
    payload_start: u32,
    end: u32,
}

/// Messages back to back in an encoding of their own.
#[derive(Debug, Default)]
pub struct Encoded {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Encoded {
    /// Adds a message that `encode` appends.
    pub fn push(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        encode(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    fn pinned_bytes(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>()
    }
}

/// What a batch costs beside its buffers: the struct, reference counts, and the allocator's headers.
const OVERHEAD_BYTES: usize = size_of::<Batch>() + 64;
/// A recycled list of messages keeps no more places than this: a burst of tiny ones leaves none behind.
const KEPT_ENTRIES: usize = 64;

/// Consecutive messages of one room. Filled once, then shared.
#[derive(Debug, Default)]
pub struct Batch {
    frames: Vec<u8>,
    entries: Vec<Entry>,
    others: [OnceLock<Box<Encoded>>; OTHERS],
    /// What the senders' names pin; a sender of several messages in a row counts once.
    identity_bytes: usize,
    excludes: bool,
}

impl Batch {
    /// An empty batch with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Batch {
        Batch { frames: Vec::with_capacity(bytes), ..Batch::default() }
    }

    /// Empties it, for another use of its memory.
    pub fn clear(&mut self) {
        self.frames.clear();
        self.entries.clear();
        self.entries.shrink_to(KEPT_ENTRIES);
        for other in &mut self.others {
            other.take();
        }
        self.identity_bytes = 0;
        self.excludes = false;
    }

    /// Adds a message that `encode` appends; the last `payload_bytes` of it are the payload.
    pub fn push(
        &mut self,
        text: bool,
        (sender, identity): (Sender, Option<Arc<Identity>>),
        payload_bytes: usize,
        encode: impl FnOnce(&mut Vec<u8>),
    ) {
        encode(&mut self.frames);
        let end = self.frames.len() as u32;
        let payload_start = end - payload_bytes as u32;
        self.excludes |= matches!(sender, Sender::Api { exclude: Some(_) });
        if let Some(identity) = &identity
            && self.entries.last().is_none_or(|last| last.identity.as_ref() != Some(identity))
        {
            self.identity_bytes += identity.pinned_bytes();
        }
        self.entries.push(Entry { sender, identity, text, payload_start, end });
    }

    /// Bytes of frames that it has room for.
    pub fn capacity(&self) -> usize {
        self.frames.capacity()
    }

    /// How many messages it holds.
    pub fn len(&self) -> u32 {
        self.entries.len() as u32
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a back end has left a connection out of some message.
    pub fn excludes(&self) -> bool {
        self.excludes
    }

    /// The messages, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What the sender of message `index` wrote.
    pub fn payload(&self, index: u32) -> &[u8] {
        let entry = &self.entries[index as usize];
        &self.frames[entry.payload_start as usize..entry.end as usize]
    }

    /// The bytes of an encoding.
    ///
    /// # Panics
    ///
    /// When the encoding has not been made.
    pub fn bytes(&self, encoding: Encoding) -> &[u8] {
        match self.other(encoding) {
            None => &self.frames,
            Some(encoded) => &encoded.bytes,
        }
    }

    /// Where message `index` ends in an encoding; for `index` = [`Batch::len`] and below it, the start of
    /// message `index` is the end of the one before.
    pub fn start_of(&self, encoding: Encoding, index: u32) -> usize {
        let Some(before) = (index as usize).checked_sub(1) else { return 0 };
        match self.other(encoding) {
            None => self.entries[before].end as usize,
            Some(encoded) => encoded.ends[before],
        }
    }

    /// The message that the byte `at` of an encoding belongs to.
    pub fn message_at(&self, encoding: Encoding, at: usize) -> u32 {
        let index = match self.other(encoding) {
            None => self.entries.partition_point(|entry| entry.end as usize <= at),
            Some(encoded) => encoded.ends.partition_point(|end| *end <= at),
        };
        index as u32
    }

    /// Makes an encoding other than frames unless it is there. Returns the memory that was added.
    pub fn make(&self, encoding: Encoding, encode: impl FnOnce(&Batch) -> Encoded) -> usize {
        let Some(other) = encoding.other() else { return 0 };
        let mut added = 0;
        self.others[other].get_or_init(|| {
            let mut encoded = Box::new(encode(self));
            // It is kept: what grew by doubling would pin up to twice its size.
            encoded.bytes.shrink_to_fit();
            encoded.ends.shrink_to_fit();
            added = encoded.pinned_bytes();
            encoded
        });
        added
    }

    /// The part of [`Batch::pinned_bytes`] that are other encodings than frames.
    pub fn encoded_bytes(&self) -> usize {
        self.others.iter().filter_map(OnceLock::get).map(|encoded| encoded.pinned_bytes()).sum()
    }

    fn other(&self, encoding: Encoding) -> Option<&Encoded> {
        let other = &self.others[encoding.other()?];
        Some(other.get().expect("an encoding is made before it is used"))
    }

    /// Bytes of memory that a holder keeps from being freed: capacities and overhead, not lengths.
    pub fn pinned_bytes(&self) -> usize {
        let entries = self.entries.capacity() * size_of::<Entry>();
        self.frames.capacity() + entries + self.identity_bytes + self.encoded_bytes() + OVERHEAD_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const API: Sender = Sender::Api { exclude: None };

    fn batch(payloads: &[&[u8]]) -> Batch {
        let mut batch = Batch::with_capacity(64);
        for payload in payloads {
            batch.push(true, (API, None), payload.len(), |out| {
                out.push(b'<');
                out.extend_from_slice(payload);
            });
        }
        batch
    }

    #[test]
    fn messages_are_found_by_index_and_by_byte() {
        let batch = batch(&[b"one", b"", b"three"]);
        assert_eq!((batch.len(), batch.bytes(Encoding::Frames)), (3, b"<one<<three".as_slice()));
        let starts: Vec<usize> = (0..=3).map(|index| batch.start_of(Encoding::Frames, index)).collect();
        assert_eq!(starts, [0, 4, 5, 11]);
        assert_eq!(
            (batch.payload(0), batch.payload(1), batch.payload(2)),
            (&b"one"[..], &b""[..], &b"three"[..])
        );
        let found: Vec<u32> = (0..11).map(|at| batch.message_at(Encoding::Frames, at)).collect();
        assert_eq!(found, [0, 0, 0, 0, 1, 2, 2, 2, 2, 2, 2]);
    }

    #[test]
    fn another_encoding_is_made_once_and_counted() {
        let batch = batch(&[b"a", b"b"]);
        let before = batch.pinned_bytes();
        let make = |batch: &Batch| {
            let mut encoded = Encoded::default();
            for index in 0..batch.len() {
                encoded.push(|out| out.extend_from_slice(&[b"data:", batch.payload(index)].concat()));
            }
            encoded
        };
        let added = batch.make(Encoding::Events, make);
        assert!(added >= 12);
        assert_eq!(batch.pinned_bytes(), before + added);
        assert_eq!(batch.make(Encoding::Events, |_| unreachable!("it is there")), 0);
        assert_eq!(batch.bytes(Encoding::Events), b"data:adata:b");
        assert_eq!(batch.start_of(Encoding::Events, 1), 6);
        assert_eq!(batch.message_at(Encoding::Events, 6), 1);
    }

    #[test]
    fn names_count_once_for_each_sender_in_a_row() {
        let identity = |name: &str| Some(Arc::new(Identity::new(name).unwrap()));
        let (ann, bob) = (identity("Ann"), identity("Bob"));
        let mut batch = Batch::with_capacity(64);
        let mut grown = Vec::new();
        for from in [None, ann.clone(), ann.clone(), bob, ann] {
            let before = batch.pinned_bytes() - batch.entries.capacity() * size_of::<Entry>();
            batch.push(true, (API, from), 0, |_| {});
            let after = batch.pinned_bytes() - batch.entries.capacity() * size_of::<Entry>();
            grown.push(after - before);
        }
        let each = Identity::new("Ann").unwrap().pinned_bytes();
        assert!(each > 3);
        assert_eq!(grown, [0, each, 0, each, each]);
        batch.clear();
        assert_eq!(batch.identity_bytes, 0);
    }

    #[test]
    fn a_cleared_batch_keeps_its_buffer_and_nothing_else() {
        let mut batch = batch(&[b"payload".as_slice(); 100]);
        batch.push(true, (Sender::Api { exclude: Some("0-1".parse().unwrap()) }, None), 0, |_| {});
        batch.make(Encoding::ProtobufPushes, |_| Encoded::default());
        assert!(batch.excludes());
        let capacity = batch.frames.capacity();
        batch.clear();
        assert!(
            batch.is_empty()
                && !batch.excludes()
                && batch.encoded_bytes() == 0
                && batch.others.iter().all(|other| other.get().is_none())
        );
        assert_eq!(batch.frames.capacity(), capacity);
        assert!(batch.entries.capacity() <= KEPT_ENTRIES);
    }
}
