//! What a connection holds while a request is incomplete or its body is wanted (RFC 9112 §3, §6).
//!
//! Decides nothing about what may follow what; that is in `requests.rs`.

use super::super::handshake::{BodyLength, ChunkedDecoder, HeadScanner, Refusal, body_too_large};
use super::super::limits::Limits;
use super::super::proxy_header::ProxyHeader;
use super::pending::append;
use crate::time::Time;

/// Everything that is kept between two inputs during the handshake, one thing at a time.
#[derive(Debug)]
pub(super) enum PendingRequest {
    /// What a proxy has to say before the first of them.
    Proxy(ProxyHeader),
    /// A head that is incomplete, or whole and undecided.
    Head(PendingHead),
    /// A body that is incomplete, or whole and undecided.
    Body(PendingBody),
    /// Bytes that are not parsed yet.
    Held(Vec<u8>),
}

impl PendingRequest {
    /// When it began, as far as it is the peer who is awaited.
    pub(super) fn started(&self) -> Option<Time> {
        match self {
            PendingRequest::Head(head) => Some(head.started),
            PendingRequest::Body(body) => Some(body.started),
            PendingRequest::Proxy(_) | PendingRequest::Held(_) => None,
        }
    }

    /// Whether nothing of it has come yet.
    pub(super) fn is_untouched(&self) -> bool {
        matches!(self, PendingRequest::Proxy(header) if header.is_untouched())
    }

    pub(super) fn restart_clock(&mut self, now: Time) {
        match self {
            PendingRequest::Head(head) => head.started = now,
            PendingRequest::Body(body) => body.started = now,
            PendingRequest::Proxy(_) | PendingRequest::Held(_) => {}
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let buffers = match self {
            PendingRequest::Proxy(header) => header.heap_bytes(),
            PendingRequest::Head(head) => head.bytes.capacity(),
            PendingRequest::Body(body) => body.head.capacity() + body.bytes.capacity(),
            PendingRequest::Held(bytes) => bytes.capacity(),
        };
        size_of::<PendingRequest>() + buffers
    }
}

/// A request head.
#[derive(Debug)]
pub(super) struct PendingHead {
    /// When its first byte arrived; once it is whole, when its last one did.
    pub(super) started: Time,
    pub(super) scanner: HeadScanner,
    pub(super) bytes: Vec<u8>,
    /// What follows it, known once it is whole.
    pub(super) body_length: BodyLength,
}

impl PendingHead {
    pub(super) fn new(started: Time, scanner: HeadScanner) -> PendingHead {
        PendingHead { started, scanner, bytes: Vec::new(), body_length: BodyLength::None }
    }

    pub(super) fn append(&mut self, bytes: &[u8], limits: &Limits) {
        append(&mut self.bytes, bytes, limits.head_bytes_max);
    }
}

/// How the end of a body is found.
#[derive(Debug)]
enum Framing {
    /// So many bytes are missing.
    Length(u64),
    Chunked(ChunkedDecoder),
}

/// A body that is wanted, and the head it belongs to.
#[derive(Debug)]
pub(super) struct PendingBody {
    started: Time,
    pub(super) head: Vec<u8>,
    pub(super) header_lines: usize,
    /// The data, decoded.
    pub(super) bytes: Vec<u8>,
    framing: Framing,
    limit: usize,
}

impl PendingBody {
    /// The empty body behind a whole head, which is emptied.
    pub(super) fn new(head: &mut PendingHead, limit: usize) -> PendingBody {
        let framing = match head.body_length {
            BodyLength::None => Framing::Length(0),
            BodyLength::Length(length) => Framing::Length(length),
            BodyLength::Chunked => Framing::Chunked(ChunkedDecoder::new(limit)),
        };
        PendingBody {
            started: head.started,
            head: std::mem::take(&mut head.bytes),
            header_lines: head.scanner.header_lines(),
            bytes: Vec::new(),
            framing,
            limit,
        }
    }

    /// Takes the next bytes. Returns how many of them belong to the body once it is whole.
    pub(super) fn receive(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<usize>, Refusal> {
        let PendingBody { bytes: body, framing, limit, .. } = self;
        match framing {
            Framing::Chunked(decoder) => decoder.decode(bytes, limits, |data| append(body, data, *limit)),
            Framing::Length(missing) => {
                let total = *missing + body.len() as u64;
                let Some(total) = usize::try_from(total).ok().filter(|total| total <= limit) else {
                    return Err(body_too_large(Some(total), *limit));
                };
                let count = (total - body.len()).min(bytes.len());
                append(body, &bytes[..count], total);
                *missing -= count as u64;
                Ok((*missing == 0).then_some(count))
            }
        }
    }
}
