//! One connection as a state machine: input bytes in, [`Event`]s out (RFC 9112, RFC 6455 §4.2, §5, §7).
//!
//! Sends nothing and reads no clock: the driver does both. A frame that lies whole in the input is
//! unmasked in place and handed out as a view; only what is incomplete at the end of an input is
//! kept, in one box that is freed as soon as nothing is incomplete any more.

use std::ops::Range;

use super::close::{CloseCode, parse_close};
use super::closing::{Cause, Due, State, transition};
use super::error::Failure;
use super::handshake::{HeadScanner, Refusal, Request};
use super::header::Opcode;
use super::limits::Limits;
use super::message::{Kind, Message, Role};
use super::proxy_header::{ProxyHeader, ProxyHeaderError, ProxySource};
use crate::time::Time;
use pending::PendingFrames;
use pending_request::PendingRequest;

mod frames;
mod pending;
mod pending_request;
mod requests;
#[cfg(test)]
mod tests;

/// A window over bytes just read; [`Connection::next_event`] moves it forward.
///
/// The bytes are unmasked in place, so they are of no use to anybody else afterwards.
#[derive(Debug)]
pub struct Input<'b> {
    bytes: &'b mut [u8],
    used: usize,
}

impl<'b> Input<'b> {
    /// A window over all of `bytes`.
    pub fn new(bytes: &'b mut [u8]) -> Input<'b> {
        Input { bytes, used: 0 }
    }

    /// Bytes not consumed yet.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.used
    }

    /// Consumes everything unread.
    pub fn discard_rest(&mut self) {
        self.used = self.bytes.len();
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.used..]
    }

    /// Consumes up to `count` bytes and says where they are.
    fn take(&mut self, count: usize) -> Range<usize> {
        let start = self.used;
        self.used += count.min(self.remaining());
        start..self.used
    }
}

/// What the peer did.
#[derive(Debug)]
pub enum Event<'a> {
    /// A proxy has said who is at the other end, before anything else ([`Connection::accepting_proxied`]).
    Proxied(ProxySource),
    /// The connection does not begin with what a proxy has to say. It is closed; the driver sends a refusal.
    BadProxyHeader(ProxyHeaderError),
    /// One whole and valid request head of HTTP/1.1 or HTTP/1.0, while [`State::Handshaking`]. Before
    /// the next event is asked for, the driver must call one of [`Connection::accept`],
    /// [`Connection::answered`], [`Connection::read_body`] and [`Connection::refuse`].
    Request(Request<'a>),
    /// The body that [`Connection::read_body`] asked for, whole and decoded (RFC 9112 §6). The driver
    /// must call [`Connection::answered`] or [`Connection::refuse`].
    Body {
        /// The request it belongs to, as it was handed out.
        request: Request<'a>,
        /// The data, without any framing.
        body: &'a [u8],
    },
    /// The head or the body of a request broke a rule or a limit. The connection is closed; the driver
    /// sends the refusal.
    BadRequest(Refusal),
    /// A whole data message.
    Message(Message<'a>),
    /// A Ping with its payload; a Pong with the same payload is due (RFC 6455 §5.5.2).
    Ping(&'a [u8]),
    /// A Pong with its payload (RFC 6455 §5.5.3).
    Pong(&'a [u8]),
    /// The peer's Close frame (RFC 6455 §5.5.1). The connection is closed.
    Close {
        /// The status code, if there was one.
        code: Option<CloseCode>,
        /// The reason, empty if there was none.
        reason: &'a str,
        /// Whether the driver must send a Close with the same code.
        reply: bool,
    },
    /// The peer broke a rule or a limit (RFC 6455 §7.1.7). The connection is closed; unless its
    /// Close is sent already, the driver sends one with [`Failure::close_code`].
    Failed(Failure),
}

/// The protocol state of one connection: three words, and a box while something is incomplete.
#[derive(Debug)]
pub struct Connection {
    state: State,
    role: Role,
    /// A request or its body was handed out and nothing was decided yet.
    undecided: bool,
    request: Option<Box<PendingRequest>>,
    frames: Option<Box<PendingFrames>>,
}

/// Where the bytes of an event are.
enum Place {
    Input(Range<usize>),
    Pending,
}

enum Found {
    Data(Kind),
    Control(Opcode),
}

enum Step {
    UsedUp,
    /// Something was consumed that makes no event.
    Silent,
    Found(Found, Place),
    /// A whole request head in the input.
    Head(HeadScanner, Range<usize>),
    /// What the box for requests holds is whole.
    PendingRequest,
    Proxied(ProxySource),
    BadProxyHeader(ProxyHeaderError),
    Refused(Refusal),
    Failed(Failure),
}

impl From<Failure> for Step {
    fn from(failure: Failure) -> Step {
        Step::Failed(failure)
    }
}

impl Connection {
    /// A connection just accepted: we are the server and await a request head.
    pub fn accepting() -> Connection {
        Connection::new(State::Handshaking, Role::Server)
    }

    /// The same from a proxy that says first whom it speaks for, in the PROXY protocol.
    pub fn accepting_proxied() -> Connection {
        let header = PendingRequest::Proxy(ProxyHeader::default());
        Connection { request: Some(Box::new(header)), ..Connection::accepting() }
    }

    /// A connection whose opening handshake was done elsewhere.
    pub fn open(role: Role) -> Connection {
        Connection::new(State::Open, role)
    }

    fn new(state: State, role: Role) -> Connection {
        Connection { state, role, undecided: false, request: None, frames: None }
    }

    /// The next thing the peer did, or `None` once the input is used up.
    ///
    /// `now` is when the bytes arrived. In [`State::Closed`] the input is discarded.
    pub fn next_event<'a>(
        &'a mut self,
        now: Time,
        input: &'a mut Input<'_>,
        limits: &Limits,
    ) -> Option<Event<'a>> {
        self.free_delivered();
        if input.remaining() == 0 && self.state != State::Handshaking {
            // Frames take at least a byte each.
            return None;
        }
        if let Some((kind, range)) = self.whole_message(input, limits) {
            return Some(Event::Message(Message { kind, payload: &input.bytes[range] }));
        }
        loop {
            let step = match self.state {
                State::Handshaking => self.request_step(now, input, limits),
                State::Open | State::Closing => self.frame_step(now, input, limits),
                State::Closed => {
                    input.discard_rest();
                    return None;
                }
            };
            match step {
                Step::UsedUp => return None,
                Step::Silent => {}
                Step::Found(found, place) => return Some(self.deliver(found, place, input)),
                Step::Head(scanner, range) => return Some(self.deliver_head(now, scanner, range, input)),
                Step::PendingRequest => return self.deliver_pending(input),
                Step::Proxied(source) => return Some(Event::Proxied(source)),
                Step::BadProxyHeader(error) => {
                    self.end(Cause::Refused);
                    input.discard_rest();
                    return Some(Event::BadProxyHeader(error));
                }
                Step::Refused(refusal) => {
                    let refusal = if self.answers_head() { refusal.for_head() } else { refusal };
                    self.end(Cause::Refused);
                    input.discard_rest();
                    return Some(Event::BadRequest(refusal));
                }
                Step::Failed(failure) => {
                    self.end(Cause::Failed);
                    input.discard_rest();
                    return Some(Event::Failed(failure));
                }
            }
        }
    }

    /// The next thing the peer did if that is a message which lies whole in the input, in one frame, and nothing before
    /// it is incomplete. `None` says nothing: [`Connection::next_event`] has whatever it is.
    #[inline(always)]
    pub fn next_message<'a>(&mut self, input: &'a mut Input<'_>, limits: &Limits) -> Option<Message<'a>> {
        let (kind, range) = self.whole_message(input, limits)?;
        Some(Message { kind, payload: &input.bytes[range] })
    }

    /// Accepts the request that was handed out; frames are parsed from now on.
    pub fn accept(&mut self) {
        debug_assert!(self.undecided, "no request to accept");
        debug_assert!(!self.has_body(), "an opening handshake has no body");
        self.decide(Cause::Accepted);
    }

    /// Refuses the handshake, whether a request was handed out, or it or its body has not come whole;
    /// nothing further is parsed.
    pub fn refuse(&mut self) {
        debug_assert_eq!(self.state, State::Handshaking, "no handshake to refuse");
        self.decide(Cause::Refused);
    }

    fn decide(&mut self, cause: Cause) {
        self.undecided = false;
        self.end(cause);
    }

    /// Notes that we sent a Close of our own (RFC 6455 §7.1.2).
    ///
    /// From now on data messages, Pings and Pongs of the peer are checked but make no event, and
    /// nothing of them is kept.
    pub fn close_sent(&mut self) {
        self.state = transition(self.state, Cause::CloseSent).next;
        if let Some(frames) = &mut self.frames {
            frames.forget_payload();
        }
    }

    /// Notes that the transport ended or broke.
    pub fn transport_lost(&mut self) {
        self.undecided = false;
        self.end(Cause::TransportLost);
    }

    /// Where the connection is in its life.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether the connection is open and nothing of it is incomplete: then an input that is used up makes no event.
    pub fn is_between_messages(&self) -> bool {
        self.state == State::Open && self.frames.is_none()
    }

    /// Since when what is incomplete is awaited ([`Connection::restart_clock`]): since its first byte arrived, of a
    /// head, a message (its first fragment, whatever control frames came since) or a lone frame; of a body, when the
    /// head before it was whole. `None` if nothing is incomplete, as between two requests.
    pub fn message_started(&self) -> Option<Time> {
        if self.state == State::Closed {
            return None;
        }
        if let Some(request) = &self.request {
            return request.started().filter(|_| !self.undecided);
        }
        self.frames.as_ref().and_then(|frames| frames.started())
    }

    /// Notes that the driver has not read for a while and does again: whatever is incomplete is given its time
    /// anew, as [`Connection::message_started`] then says.
    pub fn restart_clock(&mut self, now: Time) {
        if let Some(request) = &mut self.request {
            request.restart_clock(now);
        }
        if let Some(frames) = &mut self.frames {
            frames.restart_clock(now);
        }
    }

    /// Heap bytes held, 0 when nothing is incomplete. What an event borrows from is held until the
    /// next call of [`Connection::next_event`], or until a request is decided; what
    /// [`Connection::hold_rest`] kept, until it is taken back.
    pub fn heap_bytes(&self) -> usize {
        let request = self.request.as_ref().map_or(0, |request| request.heap_bytes());
        let frames = self.frames.as_ref().map_or(0, |frames| frames.heap_bytes());
        request + frames
    }

    /// Whether something is owed an answer while [`State::Handshaking`]: a request was handed out, or some bytes of
    /// one, or of what a proxy says first, have come.
    pub fn was_asked(&self) -> bool {
        let begun = self.request.as_deref().is_some_and(|request| !request.is_untouched());
        self.undecided || begun
    }

    /// Takes over the bytes of the message of the last event, which must lie in the connection and not in
    /// the input: nobody else wants them any more, so that they need not be copied to be sent on. Empty if
    /// there are none.
    pub fn take_message(&mut self) -> Vec<u8> {
        self.frames.as_mut().map(|frames| frames.take_message()).unwrap_or_default()
    }

    fn end(&mut self, cause: Cause) {
        self.state = transition(self.state, cause).next;
        self.free_all();
    }

    fn free_all(&mut self) {
        self.request = None;
        self.frames = None;
    }

    /// The box for what is incomplete; it is made at the first incomplete byte, hence `now`.
    fn frames_or_new(&mut self, now: Time) -> &mut PendingFrames {
        self.frames.get_or_insert_with(|| Box::new(PendingFrames::new(now)))
    }

    /// Frees what the last event borrowed from.
    fn free_delivered(&mut self) {
        if self.state == State::Closed {
            self.free_all();
        }
        if let Some(frames) = &mut self.frames {
            frames.free_delivered();
            self.free_if_idle();
        }
    }

    fn free_if_idle(&mut self) {
        if self.frames.as_ref().is_some_and(|frames| frames.is_idle()) {
            self.frames = None;
        }
    }

    fn deliver<'a>(&'a mut self, found: Found, place: Place, input: &'a mut Input<'_>) -> Event<'a> {
        let payload: &'a [u8] = match place {
            Place::Input(range) => &input.bytes[range],
            Place::Pending => self.frames.as_ref().map_or(&[], |frames| frames.delivered_bytes()),
        };
        let closed = match found {
            Found::Data(kind) => return Event::Message(Message { kind, payload }),
            Found::Control(Opcode::Ping) => return Event::Ping(payload),
            Found::Control(Opcode::Pong) => return Event::Pong(payload),
            Found::Control(_) => match parse_close(payload) {
                Ok((code, reason)) => {
                    let closing = transition(self.state, Cause::CloseReceived);
                    self.state = closing.next;
                    let reply = closing.due == Due::CloseReply;
                    Event::Close { code, reason, reply }
                }
                Err(error) => {
                    self.state = transition(self.state, Cause::Failed).next;
                    Event::Failed(error.into())
                }
            },
        };
        input.used = input.bytes.len();
        closed
    }
}
