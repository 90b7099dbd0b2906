//! The read phase: readiness becomes bytes, bytes become events, events become effects.

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::endpoint::http::{Answer, Routed};
use crate::endpoint::{CloseCause, Effects, Resolved, Resource};
use crate::protocol::{
    Event, Input, Message, Opcode, Persistence, Refusal, Request, push_http_response, push_server_frame,
};
use crate::reactor::{Io, Ready};
use crate::slab::Key;

use super::session::{Session, Slot};
use super::stats::Counter;
use super::{Core, RECEIVE_BYTES, Shard, Step, TURN_BYTES_HIGH};

impl<I: Io> Shard<I> {
    pub(super) fn read_ready(&mut self) {
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
        let Shard { io, connections, core, receive_buffer, .. } = self;
        let key = ready.key;
        let Some(slot) = connections.get_mut(key) else { return };
        if slot.session.dead {
            return;
        }
        if ready.writable && slot.session.blocked {
            slot.session.blocked = false;
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
        match io.receive(&slot.stream, receive_buffer) {
            Ok(0) => core.end_of_stream(key, slot),
            Ok(received) => core.bytes_received(key, slot, &mut receive_buffer[..received]),
            Err(error) if is_later(error.kind()) => {}
            Err(error) => core.transport_failed(key, slot, error.kind()),
        }
    }
}

/// Whether a call on a socket should just be made again when it is ready.
pub(super) fn is_later(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

impl<S> Core<S> {
    fn end_of_stream<T>(&mut self, key: Key, slot: &mut Slot<T>) {
        slot.session.read_closed = true;
        self.finish(key, slot, CloseCause::PeerGone);
        self.mark_dirty(key.index(), &mut slot.session);
    }

    pub(super) fn transport_failed<T>(&mut self, key: Key, slot: &mut Slot<T>, kind: ErrorKind) {
        self.finish(key, slot, CloseCause::TransportFailed(kind));
        self.kill(key.index(), slot);
    }

    fn bytes_received<T>(&mut self, key: Key, slot: &mut Slot<T>, bytes: &mut [u8]) {
        self.tally.add(Counter::BytesIn, bytes.len() as u64);
        slot.session.received_at = self.now;
        if slot.session.ended {
            slot.session.lingered = slot.session.lingered.saturating_add(bytes.len() as u32);
            if slot.session.lingered as usize > self.settings.linger_bytes_max {
                // Closing now could reset what it has not read yet, our Close among it. Its window
                // closes instead, and the deadline ends the wait.
                slot.session.paused_linger = true;
                self.mark_dirty(key.index(), &mut slot.session);
            }
        } else if slot.session.ping_sent {
            slot.session.ping_sent = false;
            // The timer stands at the pong's deadline, which may be later than the next ping.
            self.arm(key.index(), slot);
        }
        let limits = self.settings.limits;
        let mut input = Input::new(bytes);
        while let Some(event) = slot.protocol.next_event(self.now, &mut input, &limits) {
            let step = self.on_event(key, &mut slot.session, event);
            self.carry_out(key, slot, step);
        }
        if slot.protocol.message_started().is_some() {
            self.arm(key.index(), slot);
        }
    }

    fn on_event(&mut self, key: Key, session: &mut Session, event: Event<'_>) -> Step {
        match event {
            Event::Message(message) => self.on_message(key, session, message),
            Event::Ping(payload) => {
                session.outbound.push_pong(&mut self.arena, session.blocked, |out| {
                    push_server_frame(out, Opcode::Pong, payload);
                });
                self.mark_dirty(key.index(), session);
                Step::Continue
            }
            Event::Pong(_) => Step::Continue,
            Event::Close { code, .. } => Step::Finish(CloseCause::PeerClosed(code)),
            Event::Failed(failure) => Step::Finish(CloseCause::Failed(failure)),
            Event::Request(request) => self.on_request(key, session, &request),
            // Nobody asks for a body yet.
            Event::Body { .. } => {
                let body = "no path here takes a body; requests without one are allowed";
                self.refuse(session, &Refusal::new(405, body))
            }
            Event::BadRequest(refusal) => self.refuse(session, &refusal),
        }
    }

    fn carry_out<T>(&mut self, key: Key, slot: &mut Slot<T>, step: Step) {
        match step {
            Step::Continue => {}
            Step::Accept(closed_at_once) => {
                slot.protocol.accept();
                slot.session.opened = true;
                self.tally.add(Counter::Opened, 1);
                self.arm(key.index(), slot);
                if let Some(cause) = closed_at_once {
                    self.finish(key, slot, cause);
                }
            }
            Step::Finish(cause) => self.finish(key, slot, cause),
        }
    }

    fn on_request(&mut self, key: Key, session: &mut Session, request: &Request<'_>) -> Step {
        let plan = self.router.plan();
        match plan.resolve(request) {
            Ok(Resolved::WebSocket { endpoint, open }) => {
                let id = self.connection_id(key);
                let mut effects = std::mem::take(&mut self.effects).recycle();
                let instance = self.router.endpoint(endpoint).expect("the plan made the router");
                let opened = catch_unwind(AssertUnwindSafe(|| instance.open(id, &open, &mut effects)));
                let accept = match opened {
                    Ok(Ok(accept)) => accept,
                    Ok(Err(refusal)) => return self.refuse(session, &refusal),
                    Err(_) => return Step::Finish(CloseCause::EndpointPanic),
                };
                let chosen = accept.subprotocol.as_deref();
                if chosen.is_some_and(|chosen| !open.subprotocols().any(|offered| offered == chosen)) {
                    tracing::error!(path = %open.path().escape_debug(), "the endpoint chose a subprotocol that was not offered");
                    return self.refuse(session, &Refusal::new(500, "internal error".to_owned()));
                }
                session.endpoint = endpoint;
                session.outbound.push_reply(&mut self.arena, RESPONSE_BYTES, |out| {
                    open.upgrade().push_response(out, chosen, &[]);
                });
                self.mark_dirty(key.index(), session);
                Step::Accept(self.apply(key, session, effects))
            }
            Ok(Resolved::Http { resource, head_only }) => self.answer(session, resource, head_only),
            Ok(Resolved::Rooms { routed: Routed::Answer(answer) }) => self.answer_rooms(session, &answer),
            Ok(Resolved::Rooms { routed: Routed::Call { .. } }) => self
                .refuse(session, &Refusal::new(501, "rooms have no HTTP door yet; a WebSocket is allowed")),
            Err(refusal) => self.refuse(session, &refusal),
        }
    }

    fn on_message(&mut self, key: Key, session: &mut Session, message: Message<'_>) -> Step {
        self.tally.add(Counter::MessagesIn, 1);
        let id = self.connection_id(key);
        let mut effects: Effects<'_> = std::mem::take(&mut self.effects).recycle();
        let Some(instance) = self.router.endpoint(session.endpoint) else { return Step::Continue };
        let handled = catch_unwind(AssertUnwindSafe(|| instance.message(id, message, &mut effects)));
        if handled.is_err() {
            return Step::Finish(CloseCause::EndpointPanic);
        }
        match self.apply(key, session, effects) {
            Some(cause) => Step::Finish(cause),
            None => Step::Continue,
        }
    }

    fn refuse(&mut self, session: &mut Session, refusal: &Refusal) -> Step {
        session.outbound.push_reply(&mut self.arena, RESPONSE_BYTES, |out| {
            refusal.push_response(out, false, Persistence::Close);
        });
        Step::Finish(CloseCause::Refused(refusal.status))
    }

    fn answer(&mut self, session: &mut Session, resource: &Resource, head_only: bool) -> Step {
        let headers: Vec<(&str, &str)> =
            resource.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        session.outbound.push_reply(&mut self.arena, RESPONSE_BYTES + resource.body.len(), |out| {
            let (content_type, body) = (resource.content_type, &resource.body);
            push_http_response(out, 200, &headers, content_type, body, head_only, Persistence::Close);
        });
        Step::Finish(CloseCause::HttpAnswered(200))
    }

    fn answer_rooms(&mut self, session: &mut Session, answer: &Answer) -> Step {
        let headers: Vec<(&str, &str)> =
            answer.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        session.outbound.push_reply(&mut self.arena, RESPONSE_BYTES + answer.body.len(), |out| {
            let (kind, body) = (answer.content_type, &answer.body);
            push_http_response(out, answer.status, &headers, kind, body, false, Persistence::Close);
        });
        Step::Finish(CloseCause::HttpAnswered(answer.status))
    }
}

/// About what the head of a response takes.
const RESPONSE_BYTES: usize = 512;
const _: () = assert!(RESPONSE_BYTES < RECEIVE_BYTES);
