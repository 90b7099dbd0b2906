//! The mailbox phase: new connections, publications for this shard's members, and the order to drain.

use std::io::ErrorKind;
use std::sync::Arc;

use crate::endpoint::CloseCause;
use crate::protocol::Connection;
use crate::reactor::{Io, PeerAddress};
use crate::rooms::Batch;

use super::batch_pool::frame_bytes;
use super::departed::Counted;
use super::mailbox::{Adopt, Entrance, Mail, Publication};
use super::membership::{Arrived, LocalRoom};
use super::session::{Flag, Session, Slot};
use super::stats::Counter;
use super::{Core, FAN_OUT_BYTES_PER_TURN, MAIL_BYTES_MAX, MAIL_WORK_MAX, SEND_BYTES_ENOUGH, Shard};

/// Joinings and leavings that are taken in at a time: who hears of them and reads has them sent before there are so
/// many that it seems slow.
const CHANGES_MAX: usize = 512;

/// What was taken out of the mailbox at a time, to be sent together.
#[derive(Default)]
struct Load {
    /// Pieces of mail, and connections that some were about. Members that a publication is for are no work yet.
    work: usize,
    /// Of the publications.
    bytes: usize,
    /// Joinings and leavings.
    changes: usize,
    /// The members of a room are sent enough at a time.
    is_enough: bool,
}

impl Load {
    fn note(&mut self, batch: &Batch, local: &LocalRoom) {
        self.bytes += frame_bytes(batch);
        let each = local.arrived_bytes_at_most();
        self.is_enough |= each >= SEND_BYTES_ENOUGH && local.members.len() * each >= FAN_OUT_BYTES_PER_TURN;
    }

    fn leaves_room(&self) -> bool {
        let has_room = self.work < MAIL_WORK_MAX && self.bytes < MAIL_BYTES_MAX;
        has_room && self.changes < CHANGES_MAX && !self.is_enough
    }
}

impl<I: Io> Shard<I> {
    pub(super) fn take_mail(&mut self) {
        let is_within_fan_out = !self.core.rooms.arrived_in().is_empty();
        let mut taken = Load::default();
        while taken.leaves_room() {
            let mailbox = &self.core.mailbox;
            let mail = if is_within_fan_out { mailbox.take_urgent() } else { mailbox.take() };
            let Some(mail) = mail else { break };
            taken.work += 1;
            match mail {
                Mail::Publication(publication) => {
                    if let Some(local) = self.core.arrive(&publication) {
                        taken.note(&publication.batch, local);
                    }
                }
                Mail::Presence(change) => {
                    taken.work += self.tell_presence(&change);
                    taken.changes += 1;
                }
                Mail::Removal(order) => taken.work += self.remove_ordered(&order),
                Mail::Adopt(adopt) => self.adopt(adopt),
                Mail::Inspect(inspection) => {
                    self.core.inspections.take_up(*inspection, self.core.id, self.core.now);
                }
                Mail::Reload(reload) => self.reload(&reload),
                Mail::Shed(order) => taken.work += self.shed(order),
                Mail::Drain(order) => self.drain(order),
                Mail::Report(to) => self.core.reports.push(to),
            }
        }
        if taken.work > 0 {
            self.core.mailbox.wake_waiters();
        }
    }

    fn adopt(&mut self, adopt: Adopt<I::Socket>) {
        let Shard { io, connections, core, .. } = self;
        core.tally.add(Counter::Accepted, 1);
        let key = connections.next_key();
        let refusal = adopt.admission.refusal();
        let from = (adopt.peer, Counted { admitted: refusal.is_none(), at_accept: adopt.counted });
        let stream = match io.register(adopt.socket, key) {
            Ok(stream) => stream,
            Err(error) => return core.give_up(from, error.kind()),
        };
        let reserved = connections.try_reserve().and_then(|()| core.timers.try_reserve(key.index()));
        let Ok(peer) = reserved.and_then(|()| core.peers.try_insert(adopt.peer)) else {
            io.close(stream);
            return core.give_up(from, ErrorKind::OutOfMemory);
        };
        let deadline = adopt.accepted + core.settings.handshake_timeout;
        let Entrance { local, proxied } = adopt.entrance;
        let mut session = Session::new(peer, deadline);
        session.set(Flag::Trusted, local);
        session.set(Flag::Admitted, refusal.is_none());
        session.set(Flag::CountedAtAccept, adopt.counted);
        session.set(Flag::TrustedProxy, adopt.trusted_proxy);
        let protocol = if proxied { Connection::accepting_proxied() } else { Connection::accepting() };
        let slot = Slot { stream, lingered: 0, protocol, session };
        let inserted = connections.insert(slot);
        debug_assert_eq!(inserted, key);
        let Some(slot) = connections.get_mut(key) else { return };
        core.tally.add(slot.session.state(), 1);
        core.arm(key.index(), slot);
        if let Some(cause) = refusal {
            core.finish(key, slot, cause);
        } else if core.draining.is_some() {
            core.finish(key, slot, CloseCause::Shutdown);
        }
    }
}

impl<S> Core<S> {
    /// Takes in a publication for a room, if that has members here.
    fn arrive(&mut self, publication: &Publication) -> Option<&LocalRoom> {
        let batch = Arc::clone(&publication.batch);
        let messages = u64::from(batch.len());
        let arrived = Arrived { offset_before: publication.offset_before, batch };
        let local = self.rooms.arrive(publication.local_room, arrived)?;
        self.arrivals.note(publication.entered, messages);
        Some(local)
    }

    /// Counts and logs the end of a socket that could not become a connection. It is closed already: what
    /// would have to be said to it needs the memory that is missing.
    fn give_up(&mut self, (peer, counted): (PeerAddress, Counted), error: ErrorKind) {
        self.departed(peer, counted);
        let cause = CloseCause::NoResources(error);
        self.tally.count_close(&cause);
        self.remember_given_up(peer, &cause);
        tracing::warn!(%peer, cause = cause.kind().name(), "closed: {cause}");
    }
}
