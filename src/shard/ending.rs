//! How a connection ends: one cause, and from it the frame, the log line, the counter, what is remembered and
//! the call of the endpoint, all in [`Core::finish`].
//!
//! After our last byte (a Close, an HTTP response, or nothing) the transport ends in order: flush,
//! `shutdown(write)`, read and drop what the peer still sends until its end of stream, a bound on the
//! bytes or a deadline, then close. Closing at once with unread input would make the kernel send a
//! reset that destroys what is still on its way to the peer.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::endpoint::events::push_close;
use crate::endpoint::{CloseCause, CloseKind};
use crate::id::ConnectionId;
use crate::mutant::{Mutant, strikes};
use crate::protocol::{CloseCode, Failure, Persistence, State, push_close_frame};
use crate::reactor::Tick;
use crate::rooms::RoomName;
use crate::slab::Key;

use super::Core;
use super::presence::may_return;
use super::session::{Flag, Session, Slot};
use super::stats::Counter;

/// The code and the reason of a Close.
type Farewell = (CloseCode, Cow<'static, str>);

impl<S> Core<S> {
    /// Ends a connection for this cause. The first cause counts; later ones change nothing.
    pub(super) fn finish<T>(&mut self, key: Key, slot: &mut Slot<T>, cause: CloseCause) {
        if slot.session.is(Flag::Ended) {
            return;
        }
        self.tally.change_state(slot.session.state(), Counter::Closing);
        slot.session.set(Flag::Ended, true);
        self.tally.count_close(&cause);
        let farewell = self.farewell(&slot.session, &cause);
        self.log(key, slot, &cause, farewell.as_ref());
        self.remember(key, slot, &cause, farewell.as_ref().map(|(code, _)| *code));
        if deserves_the_rest(&cause) {
            self.queue_rest(key, &mut slot.session);
        }
        self.leave_rooms(key, &mut slot.session, may_return(&cause));
        self.say_goodbye(slot, &cause, farewell);
        let patience = match cause {
            CloseCause::WriteTimeout { .. } | CloseCause::Shed { .. } => self.settings.close_timeout,
            // What was queued before, or the frame that is half out, deserves the time of any queue.
            _ => self.settings.write_timeout,
        };
        slot.session.deadline = Tick::after(self.now + patience);
        if matches!(cause, CloseCause::HandshakeTimeout { .. }) {
            // It has had its time; nothing that it may still send is waited for.
            slot.session.set(Flag::ReadClosed, true);
        }
        self.arm(key.index(), slot);
        self.mark_dirty(key.index(), &mut slot.session);
        if slot.session.is(Flag::Opened) && !strikes(Mutant::ForgottenClose) {
            self.tell_endpoint(self.connection_id(key), slot.session.endpoint, &cause);
        }
    }

    /// Frees a connection at the end of the turn, whatever still waits to be sent.
    pub(super) fn kill<T>(&mut self, index: u32, slot: &mut Slot<T>) {
        if !slot.session.is(Flag::Dead) {
            slot.session.set(Flag::Dead, true);
            slot.protocol.transport_lost();
            self.dead.push(index);
        }
    }

    /// Puts what its rooms still have for a connection before its Close. A room that has left it behind
    /// takes nothing away from the others.
    fn queue_rest(&mut self, key: Key, session: &mut Session) {
        loop {
            let (first, client) = (session.memberships, self.client(key, session));
            let (mut serving, plan) = self.serving(&mut session.outbound);
            match plan.make(&mut serving, client, first) {
                Ok(()) if plan.is_empty() => return,
                Ok(()) => plan.queue(&mut serving),
                Err(behind) => self.leave_room(key, session, &behind.room),
            }
        }
    }

    /// The code and the reason that a connection is closed with, in its endpoint's own words if it has some.
    fn farewell(&mut self, session: &Session, cause: &CloseCause) -> Option<Farewell> {
        let own = match cause {
            CloseCause::PeerClosed(_) => None,
            _ if !session.is(Flag::Opened) => None,
            _ => self.router.endpoint(session.endpoint).and_then(|endpoint| {
                catch_unwind(AssertUnwindSafe(|| endpoint.close_with(cause))).ok().flatten()
            }),
        };
        let own = own.map(|(code, reason)| (sendable(code), reason));
        own.or_else(|| Some((cause.close_code()?, Cow::Owned(cause.to_string()))))
    }

    fn say_goodbye<T>(&mut self, slot: &mut Slot<T>, cause: &CloseCause, farewell: Option<Farewell>) {
        let session = &mut slot.session;
        if session.is(Flag::Streams) {
            if is_slow_consumer(cause) {
                session.outbound.drop_unstarted(&mut self.arena);
            }
            if let Some((code, reason)) = farewell {
                session
                    .outbound
                    .push_reply(&mut self.arena, 0, |out| push_close(out, code.as_u16(), &reason));
            }
            return;
        }
        match (slot.protocol.state(), cause) {
            (_, CloseCause::PeerGone | CloseCause::TransportFailed(_)) => slot.protocol.transport_lost(),
            (State::Handshaking, _) => {
                let some_bytes_came = slot.protocol.was_asked();
                // Between two requests nothing is asked, and so nothing answered.
                let asked = some_bytes_came || !session.is(Flag::Served);
                // Who has sent nothing at all is not told that it took too long.
                let told = some_bytes_came || !matches!(cause, CloseCause::HandshakeTimeout { .. });
                if let Some(refusal) = cause.refusal().filter(|_| asked && told) {
                    let head_only = slot.protocol.answers_head();
                    session.outbound.push_response(&mut self.arena, 0, |out| {
                        refusal.push_response(out, head_only, Persistence::Close);
                    });
                }
                slot.protocol.refuse();
            }
            (State::Open | State::Closing | State::Closed, _) => {
                let Some(close) = close_frame(cause, farewell) else { return };
                if is_slow_consumer(cause) {
                    session.outbound.drop_unstarted(&mut self.arena);
                }
                session.outbound.push_reply(&mut self.arena, 0, |out| out.extend_from_slice(&close));
                if slot.protocol.state() == State::Open {
                    slot.protocol.close_sent();
                }
            }
        }
    }

    pub(super) fn tell_endpoint(&mut self, id: ConnectionId, endpoint: u16, cause: &CloseCause) {
        let Some(endpoint) = self.router.endpoint(endpoint) else { return };
        if catch_unwind(AssertUnwindSafe(|| endpoint.close(id, cause))).is_err() {
            tracing::error!(connection = %id, "the endpoint panicked while it was told of a close");
        }
    }

    /// The room that a close is about: the one that has left the peer behind, or the only one that it is in.
    fn room_of_close<'a>(&'a self, session: &Session, cause: &'a CloseCause) -> Option<&'a RoomName> {
        match cause {
            CloseCause::OutOfWindow { behind } | CloseCause::WriteTimeout { behind: Some(behind), .. } => {
                Some(&behind.room)
            }
            _ => self.rooms.only_room_of(session.memberships),
        }
    }

    fn log<T>(&self, key: Key, slot: &Slot<T>, cause: &CloseCause, farewell: Option<&Farewell>) {
        let connection = self.connection_id(key);
        let peer = self.peers.address(slot.session.peer);
        let name = cause.kind().name();
        let code = farewell.map(|(code, _)| code.as_u16());
        let room = self.room_of_close(&slot.session, cause).map(RoomName::as_str);
        let queued = slot.session.outbound.pinned_bytes();
        // An endpoint's own reason may hold what a peer said.
        let text = cause.to_string();
        let text = text.escape_debug();
        let section = match cause {
            CloseCause::Failed(Failure::Protocol(error)) => Some(error.section()),
            _ => None,
        };
        match cause.kind() {
            CloseKind::EndpointPanic => {
                tracing::error!(%connection, %peer, cause = name, code, room, "closed: {text}");
            }
            _ if is_slow_consumer(cause) => {
                tracing::info!(%connection, %peer, cause = name, code, room, queued, "closed: {text}");
            }
            _ => tracing::debug!(%connection, %peer, cause = name, code, room, section, "closed: {text}"),
        }
    }
}

/// A code that an endpoint chose, for a Close. 1005, 1006 and 1015 only ever stand for the absence of one
/// (RFC 6455 §7.4.1).
pub(super) fn sendable(code: CloseCode) -> CloseCode {
    if code.may_travel() { code } else { CloseCode::INTERNAL_ERROR }
}

fn is_slow_consumer(cause: &CloseCause) -> bool {
    let kinds = [CloseKind::QueueOverflow, CloseKind::OutOfWindow, CloseKind::WriteTimeout, CloseKind::Shed];
    kinds.contains(&cause.kind())
}

/// Whether what rooms still have for a connection is sent before its end: not to one that cannot or does
/// not want to read on.
fn deserves_the_rest(cause: &CloseCause) -> bool {
    let gone = [CloseKind::PeerClosed, CloseKind::PeerGone, CloseKind::TransportFailed];
    !is_slow_consumer(cause) && !gone.contains(&cause.kind())
}

/// The Close that says why; a peer's own Close is answered with its code and no reason.
fn close_frame(cause: &CloseCause, farewell: Option<Farewell>) -> Option<Vec<u8>> {
    let mut frame = Vec::new();
    match cause {
        CloseCause::PeerClosed(code) => push_close_frame(&mut frame, *code, ""),
        _ => {
            let (code, reason) = farewell?;
            push_close_frame(&mut frame, Some(code), &reason);
        }
    }
    Some(frame)
}
