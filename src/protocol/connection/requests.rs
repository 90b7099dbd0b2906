//! The steps of a connection that still speaks HTTP/1.1: one request after the other, with or without
//! a body, until one of them opens a WebSocket (RFC 9112 §9.3, RFC 6455 §4.2).
//!
//! Looks into no request; whoever is asked by [`Event::Request`] decides what it becomes.

use std::ops::Range;

use super::super::closing::{Cause, State, transition};
use super::super::handshake::{BodyLength, HeadScanner, Refusal, Request};
use super::super::limits::Limits;
use super::super::proxy_header::ProxyHeader;
use super::pending_request::{PendingBody, PendingHead, PendingRequest};
use super::{Connection, Event, Input, Step};
use crate::time::Time;

impl Connection {
    /// Notes that the request or the body that was handed out is answered, or will be; the head of the
    /// next request may follow, in the same input too (RFC 9112 §9.3.2).
    ///
    /// A request with a body is answered when its body was handed out: bytes nobody has read would be
    /// taken for the next head. It is refused instead if nobody wants the body.
    pub fn answered(&mut self) {
        debug_assert!(self.undecided, "no request to answer");
        let unread = self.has_body() && !self.has_read_body();
        debug_assert!(!unread, "the body of the request is neither read nor refused");
        if !self.undecided {
            return;
        }
        if unread {
            self.refuse();
            return;
        }
        self.undecided = false;
        self.request = None;
    }

    /// Asks for the body of the request that was handed out, as an [`Event::Body`].
    ///
    /// A body of more than `limit_bytes` bytes of data becomes an [`Event::BadRequest`] with 413. If its
    /// length is announced and larger, the caller refuses the request itself, by
    /// [`body_too_large`](crate::protocol::body_too_large): that answer can leave before the body comes.
    pub fn read_body(&mut self, limit_bytes: usize) {
        debug_assert!(
            self.undecided && self.has_body() && !self.has_read_body(),
            "no request with a body to read"
        );
        if self.undecided
            && let Some(request) = &mut self.request
            && let PendingRequest::Head(head) = &mut **request
        {
            if let BodyLength::Length(length) = head.body_length {
                debug_assert!(length <= limit_bytes as u64, "{length} bytes are to be refused at once");
            }
            **request = PendingRequest::Body(PendingBody::new(head, limit_bytes));
        }
        self.undecided = false;
    }

    /// Whether the body of a request is incomplete; [`Connection::message_started`] is then when its
    /// head was whole.
    pub fn reads_body(&self) -> bool {
        !self.undecided && self.has_read_body()
    }

    /// Whether the request whose body is awaited is HEAD: its answer has no content (RFC 9110 §9.3.2).
    pub fn answers_head(&self) -> bool {
        match self.request.as_deref() {
            Some(PendingRequest::Body(body)) => body.head.starts_with(b"HEAD "),
            _ => false,
        }
    }

    /// Keeps the rest of the input for [`Connection::take_held`], because its requests cannot be
    /// answered yet; the input is used up.
    ///
    /// For between two requests, behind [`Connection::answered`]. Until the bytes are taken back no
    /// other input may be parsed, or the order would be lost; so they are no more than one input has.
    pub fn hold_rest(&mut self, input: &mut Input<'_>) {
        let idle = self.state == State::Handshaking && !self.undecided && self.request.is_none();
        debug_assert!(idle, "something else is still incomplete");
        if idle && input.remaining() > 0 {
            self.request = Some(Box::new(PendingRequest::Held(input.rest().to_vec())));
            input.discard_rest();
        }
    }

    /// Gives back what [`Connection::hold_rest`] kept, to be parsed before anything else.
    pub fn take_held(&mut self) -> Option<Vec<u8>> {
        let held = self.request.take_if(|request| matches!(**request, PendingRequest::Held(_)));
        match held.map(|request| *request) {
            Some(PendingRequest::Held(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// Whether the request that was handed out has a body, read or not.
    pub(super) fn has_body(&self) -> bool {
        match self.request.as_deref() {
            Some(PendingRequest::Head(head)) => head.body_length != BodyLength::None,
            Some(PendingRequest::Body(_)) => true,
            Some(PendingRequest::Proxy(_) | PendingRequest::Held(_)) | None => false,
        }
    }

    fn has_read_body(&self) -> bool {
        matches!(self.request.as_deref(), Some(PendingRequest::Body(_)))
    }

    /// Consumes up to the end of a head or a body, or of the input.
    pub(super) fn request_step(&mut self, now: Time, input: &mut Input<'_>, limits: &Limits) -> Step {
        debug_assert!(!self.undecided, "a request was neither accepted, answered nor refused");
        if self.undecided || input.remaining() == 0 {
            return Step::UsedUp;
        }
        match self.request.as_deref_mut() {
            None => self.first_bytes_step(now, input, limits),
            Some(PendingRequest::Proxy(header)) => {
                let step = proxy_step(header, input, limits);
                if matches!(step, Step::Proxied(_)) {
                    self.request = None;
                }
                step
            }
            Some(PendingRequest::Head(head)) => head_step(head, now, input, limits),
            Some(PendingRequest::Body(body)) => body_step(body, input, limits),
            Some(PendingRequest::Held(_)) => {
                debug_assert!(false, "held bytes must be taken back first");
                Step::Refused(Refusal::new(500, "internal error"))
            }
        }
    }

    /// A head that lies whole in the input is not kept.
    fn first_bytes_step(&mut self, now: Time, input: &mut Input<'_>, limits: &Limits) -> Step {
        let mut scanner = HeadScanner::default();
        match scanner.scan(input.rest(), limits) {
            Err(refusal) => Step::Refused(refusal),
            Ok(Some(size)) => {
                let range = input.take(size);
                Step::Head(scanner, range)
            }
            Ok(None) => {
                let mut head = PendingHead::new(now, scanner);
                head.append(input.rest(), limits);
                self.request = Some(Box::new(PendingRequest::Head(head)));
                input.discard_rest();
                Step::UsedUp
            }
        }
    }

    /// The event of a whole head in the input. If a body follows, the head is kept for its event.
    pub(super) fn deliver_head<'a>(
        &'a mut self,
        now: Time,
        scanner: HeadScanner,
        range: Range<usize>,
        input: &'a mut Input<'_>,
    ) -> Event<'a> {
        let head: &'a [u8] = &input.bytes[range];
        match Request::parse(head, scanner.header_lines()) {
            Ok(request) => {
                let body_length = request.body_length();
                if body_length != BodyLength::None {
                    let kept = PendingHead { started: now, scanner, bytes: head.to_vec(), body_length };
                    self.request = Some(Box::new(PendingRequest::Head(kept)));
                }
                self.undecided = true;
                Event::Request(request)
            }
            Err(refusal) => {
                self.end(Cause::Refused);
                input.used = input.bytes.len();
                Event::BadRequest(refusal)
            }
        }
    }

    /// The event of what is whole in the box: a head, or a body with its head.
    pub(super) fn deliver_pending<'a>(&'a mut self, input: &mut Input<'_>) -> Option<Event<'a>> {
        let parsed = match self.request.as_deref_mut()? {
            PendingRequest::Head(PendingHead { bytes, scanner, body_length, .. }) => {
                Request::parse(bytes, scanner.header_lines()).map(|request| {
                    *body_length = request.body_length();
                    Event::Request(request)
                })
            }
            PendingRequest::Body(PendingBody { head, header_lines, bytes, .. }) => {
                Request::parse(head, *header_lines).map(|request| Event::Body { request, body: bytes })
            }
            PendingRequest::Proxy(_) | PendingRequest::Held(_) => return None,
        };
        match parsed {
            Ok(event) => {
                self.undecided = true;
                Some(event)
            }
            Err(refusal) => {
                self.state = transition(self.state, Cause::Refused).next;
                input.discard_rest();
                Some(Event::BadRequest(refusal))
            }
        }
    }
}

fn proxy_step(header: &mut ProxyHeader, input: &mut Input<'_>, limits: &Limits) -> Step {
    match header.receive(input.rest(), limits.head_bytes_max) {
        Err(error) => Step::BadProxyHeader(error),
        Ok(Some((size, source))) => {
            input.take(size);
            Step::Proxied(source)
        }
        Ok(None) => {
            input.discard_rest();
            Step::UsedUp
        }
    }
}

fn head_step(head: &mut PendingHead, now: Time, input: &mut Input<'_>, limits: &Limits) -> Step {
    match head.scanner.scan(input.rest(), limits) {
        Err(refusal) => Step::Refused(refusal),
        Ok(Some(size)) => {
            let range = input.take(size);
            head.append(&input.bytes[range], limits);
            // A body begins now.
            head.started = now;
            Step::PendingRequest
        }
        Ok(None) => {
            head.append(input.rest(), limits);
            input.discard_rest();
            Step::UsedUp
        }
    }
}

fn body_step(body: &mut PendingBody, input: &mut Input<'_>, limits: &Limits) -> Step {
    match body.receive(input.rest(), limits) {
        Err(refusal) => Step::Refused(refusal),
        Ok(Some(size)) => {
            input.take(size);
            Step::PendingRequest
        }
        Ok(None) => {
            input.discard_rest();
            Step::UsedUp
        }
    }
}
