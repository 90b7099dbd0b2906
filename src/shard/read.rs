//! The read phase: readiness becomes bytes, bytes become events, events become effects.

use std::io::ErrorKind;

use crate::endpoint::CloseCause;
use crate::mutant::{Mutant, strikes};
use crate::protocol::{Event, Input, Message, Opcode, push_server_frame};
use crate::reactor::{Io, Ready, Tick};
use crate::slab::Key;

use super::outbound::Place;
use super::session::{Flag, Session, Slot};
use super::stats::Counter;
use super::{Core, Shard, Step, TURN_BYTES_HIGH};

impl<I: Io> Shard<I> {
    pub(super) fn read_ready(&mut self) {
        let Shard { connections, core, .. } = self;
        let until = core.http_bytes + TURN_BYTES_HIGH;
        while core.http_bytes < until
            && let Some(key) = core.resumed.pop_front()
        {
            if let Some(slot) = connections.get_mut(key) {
                core.resume_requests(key, slot);
            }
        }
        for at in 0..self.ready.len() {
            self.stream_ready(self.ready[at]);
            if self.core.arena.scratch_bytes() > TURN_BYTES_HIGH {
                self.flush_dirty();
            }
            if self.core.publications.collected_bytes() > TURN_BYTES_HIGH {
                self.publish();
            }
        }
    }

    fn stream_ready(&mut self, ready: Ready) {
        let Shard { io, connections, core, .. } = self;
        let mut key = ready.key;
        if strikes(Mutant::StaleEvent) {
            key = connections.key_at(key.index()).unwrap_or(key);
        }
        let Some(slot) = connections.get_mut(key) else { return };
        if slot.session.is(Flag::Dead) {
            return;
        }
        if ready.writable && slot.session.is(Flag::Blocked) {
            slot.session.set(Flag::Blocked, false);
            core.mark_dirty(key.index(), &mut slot.session);
        }
        if !slot.session.interest.readable {
            // Nothing is awaited from it, but the kernel reports a dead transport all the same.
            if ready.hung_up {
                core.transport_failed(key, slot, ErrorKind::ConnectionReset);
            }
            return;
        }
        if !ready.readable {
            return;
        }
        let mut buffer = core.arena.take_receive_buffer();
        match io.receive(&slot.stream, &mut buffer) {
            Ok(0) => core.end_of_stream(key, slot),
            Ok(received) => core.bytes_received(key, slot, &mut buffer[..received]),
            Err(error) if is_later(error.kind()) => {}
            Err(error) => core.transport_failed(key, slot, error.kind()),
        }
        if core.arena.return_receive_buffer(buffer) {
            self.flush_lent(key.index());
        }
    }
}

/// Which bytes are parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// All that was received in one read.
    ReceiveBuffer,
    /// Requests that were held back, and what came behind them.
    Held,
}

/// Where the bytes that are parsed lie in memory.
struct Span {
    start: usize,
    bytes: usize,
    source: Source,
}

impl Span {
    /// Where a message lies that was found in these bytes or ended with them, if it may stay there for a
    /// while.
    fn place_of(&self, payload: &[u8]) -> Option<Place> {
        let at = payload.as_ptr().addr().wrapping_sub(self.start);
        match self.source {
            _ if at >= self.bytes => Some(Place::Own),
            Source::ReceiveBuffer => Some(Place::Received(at as u32)),
            Source::Held => None,
        }
    }
}

/// Whether a call on a socket should just be made again when it is ready.
pub(super) fn is_later(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

impl<S> Core<S> {
    fn end_of_stream<T>(&mut self, key: Key, slot: &mut Slot<T>) {
        slot.session.set(Flag::ReadClosed, true);
        self.finish(key, slot, CloseCause::PeerGone);
        self.mark_dirty(key.index(), &mut slot.session);
    }

    pub(super) fn transport_failed<T>(&mut self, key: Key, slot: &mut Slot<T>, kind: ErrorKind) {
        let cause = match kind {
            // Only what it does not take makes the kernel give up so (TCP_USER_TIMEOUT), and first if it had
            // room for all of that.
            ErrorKind::TimedOut if !slot.session.is(Flag::Ended) => self.stalled(&slot.session),
            _ => CloseCause::TransportFailed(kind),
        };
        self.finish(key, slot, cause);
        self.kill(key.index(), slot);
    }

    /// Goes on with the requests of a connection whose answers have been taken.
    fn resume_requests<T>(&mut self, key: Key, slot: &mut Slot<T>) {
        slot.session.set(Flag::HoldsRequests, false);
        self.mark_dirty(key.index(), &mut slot.session);
        if let Some(mut held) = slot.protocol.take_held() {
            let messages = self.parse(key, slot, &mut held, Source::Held);
            self.charge(key, slot, 0, messages);
        }
    }

    fn bytes_received<T>(&mut self, key: Key, slot: &mut Slot<T>, bytes: &mut [u8]) {
        self.tally.add(Counter::BytesIn, bytes.len() as u64);
        self.heard_from(&mut slot.session);
        if slot.session.is(Flag::Ended) {
            slot.lingered = slot.lingered.saturating_add(bytes.len() as u32);
            if slot.lingered as usize > self.settings.linger_bytes_max {
                // Closing now could reset what it has not read yet, our Close among it. Its window
                // closes instead, and the deadline ends the wait.
                slot.session.set(Flag::PausedLinger, true);
                self.mark_dirty(key.index(), &mut slot.session);
            }
        } else if slot.session.is(Flag::PingSent) {
            slot.session.set(Flag::PingSent, false);
            // The timer stands at the pong's deadline, which may be later than the next ping.
            self.arm(key.index(), slot);
        }
        let messages = self.parse(key, slot, bytes, Source::ReceiveBuffer);
        self.charge(key, slot, bytes.len(), messages);
    }

    /// Handles every event in the bytes, and says how many messages and requests they were.
    fn parse<T>(&mut self, key: Key, slot: &mut Slot<T>, bytes: &mut [u8], source: Source) -> u32 {
        let mut messages = 0;
        let span = Span { start: bytes.as_ptr().addr(), bytes: bytes.len(), source };
        let limits = self.settings.limits;
        let introduced_itself = !slot.session.is(Flag::IntroducesItself);
        let mut input = Input::new(bytes);
        loop {
            // Nearly all that comes is whole messages, and they want nothing of what else may come.
            let step = if let Some(message) = slot.protocol.next_message(&mut input, &limits) {
                messages += 1;
                let closed = self.on_message(key, &mut slot.session, message, &span);
                let taken = self.arena.end_offer();
                debug_assert!(!taken, "it lies in the input");
                match closed {
                    None => continue,
                    Some(cause) => Step::Finish(cause),
                }
            } else if slot.protocol.is_between_messages() && input.remaining() == 0 {
                break;
            } else {
                let Some(event) = slot.protocol.next_event(self.now, &mut input, &limits) else { break };
                messages += u32::from(matches!(event, Event::Message(_) | Event::Request(_)));
                let step = self.on_event(key, &mut slot.session, event, &span);
                if self.arena.end_offer() {
                    let message = slot.protocol.take_message();
                    slot.session.outbound.take_over(&mut self.arena, message);
                }
                step
            };
            let answered = step.is_answered();
            self.carry_out(key, slot, step);
            if answered && slot.session.outbound.pinned_reply_bytes() > self.settings.reply_bytes_high {
                // The requests behind it wait until the answers so far are taken.
                slot.protocol.hold_rest(&mut input);
                slot.session.set(Flag::HoldsRequests, true);
                self.mark_dirty(key.index(), &mut slot.session);
                break;
            }
        }
        // Its first ping may be due before the time to introduce itself is over.
        let introduced = !introduced_itself && !slot.session.is(Flag::IntroducesItself);
        if introduced || slot.protocol.message_started().is_some() {
            self.arm(key.index(), slot);
        }
        messages
    }

    #[inline(never)]
    fn on_event(&mut self, key: Key, session: &mut Session, event: Event<'_>, span: &Span) -> Step {
        match event {
            Event::Message(message) => {
                self.on_message(key, session, message, span).map_or(Step::Continue, Step::Finish)
            }
            Event::Ping(payload) => {
                if let Some(cause) = self.charge_ping(session) {
                    return Step::Finish(cause);
                }
                session.outbound.push_pong(&mut self.arena, session.is(Flag::Blocked), |out| {
                    push_server_frame(out, Opcode::Pong, payload);
                });
                self.mark_dirty(key.index(), session);
                Step::Continue
            }
            Event::Pong(_) => self.charge_ping(session).map_or(Step::Continue, Step::Finish),
            Event::Close { code, .. } => Step::Finish(CloseCause::PeerClosed(code)),
            Event::Failed(failure) => Step::Finish(CloseCause::Failed(failure)),
            Event::Request(request) => self.on_request(key, session, &request, None),
            Event::Body { request, body } => self.on_request(key, session, &request, Some(body)),
            Event::BadRequest(refusal) => {
                self.unread(session);
                self.refuse(session, &refusal)
            }
            Event::Proxied(source) => self.proxied(session, source),
            Event::BadProxyHeader(error) => {
                let cause = CloseCause::ProxyHeader(error);
                if let Some(refusal) = cause.refusal() {
                    self.refuse(session, &refusal);
                }
                Step::Finish(cause)
            }
        }
    }

    fn carry_out<T>(&mut self, key: Key, slot: &mut Slot<T>, step: Step) {
        let state = slot.session.state();
        match step {
            Step::Continue => {}
            Step::Accept(closed_at_once) => {
                slot.protocol.accept();
                slot.session.set(Flag::Opened, true);
                self.tally.change_state(state, slot.session.state());
                self.tally.add(Counter::Opened, 1);
                self.arm(key.index(), slot);
                if let Some(cause) = closed_at_once {
                    self.finish(key, slot, cause);
                }
            }
            Step::Answered => {
                slot.protocol.answered();
                slot.session.set(Flag::ReadsBody, false);
                slot.session.set(Flag::Served, true);
                self.tally.change_state(state, slot.session.state());
                slot.session.deadline = Tick::after(self.now + self.settings.http_idle_timeout);
                self.arm(key.index(), slot);
            }
            Step::ReadBody { limit } => {
                slot.protocol.read_body(limit);
                slot.session.set(Flag::ReadsBody, true);
                self.arm(key.index(), slot);
            }
            Step::Stream => {
                // Nothing that it may still send means anything.
                slot.protocol.refuse();
                slot.session.set(Flag::Streams, true);
                self.tally.change_state(state, slot.session.state());
                slot.session.deadline = self.quiet_until;
                self.tally.add(Counter::Opened, 1);
                self.arm(key.index(), slot);
            }
            Step::Finish(cause) => self.finish(key, slot, cause),
        }
    }

    /// Hands a message to its endpoint, which may send it back from where it lies.
    #[inline(always)]
    fn on_message(
        &mut self,
        key: Key,
        session: &mut Session,
        message: Message<'_>,
        span: &Span,
    ) -> Option<CloseCause> {
        self.arena.offer(message.payload, |payload| span.place_of(payload));
        self.tally.add(Counter::MessagesIn, 1);
        let id = self.connection_id(key);
        self.call(key, session, |endpoint, effects| endpoint.message(id, message, effects))
    }
}
