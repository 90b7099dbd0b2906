//! Carries out what an endpoint asked for, in order. Only the connection itself, the publish queue
//! and the rooms are touched; other connections hear of it in the mailbox phase.

use std::sync::Arc;

use crate::endpoint::{Audience, Behind, CloseCause, Effect, Effects, Payload};
use crate::id::ConnectionId;
use crate::protocol::{CloseCode, Kind, Opcode, push_server_frame, server_frame_bytes};
use crate::rooms::{Batch, Encoding, OutOfWindow, Published, RoomName, Sender};
use crate::slab::Key;

use super::membership::{Emptied, JoinError, Joined, Wish};
use super::publish::{batch_of_one, hand_out};
use super::session::Session;
use super::stats::Counter;
use super::{Core, mark_dirty};

impl<S> Core<S> {
    /// Applies the effects and returns why the connection should close, if it should. What follows
    /// a close is dropped.
    pub(super) fn apply(
        &mut self,
        key: Key,
        session: &mut Session,
        mut effects: Effects<'_>,
    ) -> Option<CloseCause> {
        let mut closed = None;
        for effect in effects.drain() {
            closed = self.apply_one(key, session, effect);
            if closed.is_some() {
                break;
            }
        }
        self.effects = effects.recycle();
        closed
    }

    fn apply_one(&mut self, key: Key, session: &mut Session, effect: Effect<'_>) -> Option<CloseCause> {
        match effect {
            Effect::Send(payload) => self.reply(key, session, &payload),
            Effect::Publish(Audience::Joined, payload) => {
                let sender = self.connection_id(key);
                let mut rooms = std::mem::take(&mut self.joined);
                rooms.extend(self.rooms.rooms_of(session.memberships));
                for place in rooms.drain(..) {
                    let message = (payload.kind(), payload.data());
                    self.publications.push(&mut self.rooms, place, sender, message);
                }
                self.joined = rooms;
                None
            }
            Effect::Publish(Audience::Room(name), payload) => {
                let message = (payload.kind(), payload.data());
                self.publish_to(key, session, &name, message);
                None
            }
            Effect::Join(name, own, start) => {
                let wish = Wish { own, start, encoding: Encoding::Frames };
                self.join(key, session, &name, wish).err()
            }
            Effect::Leave(name) => {
                if let Some(emptied) = self.rooms.leave(&mut session.memberships, &name) {
                    self.forget_room(emptied);
                }
                None
            }
            Effect::Close(code, reason) => {
                // 1005, 1006 and 1015 only ever stand for the absence of a Close (RFC 6455 §7.4.1).
                let code = if code.may_travel() { code } else { CloseCode::INTERNAL_ERROR };
                Some(CloseCause::Endpoint(code, reason))
            }
        }
    }

    /// Publishes to one room: with members here together with what else is said there in this turn, or
    /// else at once.
    fn publish_to(&mut self, key: Key, session: &Session, name: &RoomName, message: (Kind, &[u8])) {
        let sender = self.connection_id(key);
        if let Some(room) = self.rooms.find(name) {
            let membership = self.rooms.membership_in(session.memberships, room);
            let membership = membership.and_then(|index| self.rooms.membership_key(index));
            self.publications.push(&mut self.rooms, (room, membership), sender, message);
            return;
        }
        let (kind, data) = message;
        let batch = batch_of_one(Sender::Member(sender), kind, data);
        self.publish_at_once(name, &batch, sender, None);
    }

    /// Publishes to a room, whoever is in it, and returns where it entered.
    pub(super) fn publish_at_once(
        &mut self,
        name: &RoomName,
        batch: &Arc<Batch>,
        sender: ConnectionId,
        idempotency_key: Option<&str>,
    ) -> Published {
        let Core { rooms, mailbox, reached, now, .. } = self;
        let mut congested = false;
        let published = rooms.registry().publish(name, *now, batch, idempotency_key, |offset, routes| {
            congested =
                hand_out(mailbox.mesh(), batch, offset, routes, |shard| reached[shard.index()] = true);
        });
        if congested {
            self.publications.add_congesting(sender);
        }
        if matches!(published, Published::Entered(_)) {
            self.tally.add(Counter::Publications, u64::from(batch.len()));
        }
        published
    }

    /// Makes a connection a member of a room, or says why it has to be closed.
    fn join(
        &mut self,
        key: Key,
        session: &mut Session,
        name: &RoomName,
        wish: Wish,
    ) -> Result<Joined, CloseCause> {
        self.try_join(key, session, name, wish).map_err(|error| match error {
            JoinError::TooManyMemberships => {
                CloseCause::TooManyMemberships { limit: self.settings.memberships_max }
            }
            JoinError::OutOfWindow(OutOfWindow(extent)) => {
                let behind = Behind { room: name.clone(), position: extent.position() };
                CloseCause::OutOfWindow { behind }
            }
        })
    }

    /// Makes a connection a member of a room.
    pub(super) fn try_join(
        &mut self,
        key: Key,
        session: &mut Session,
        name: &RoomName,
        wish: Wish,
    ) -> Result<Joined, JoinError> {
        // What was said in this turn before the join has its offset before it.
        if let Some(room) = self.rooms.find(name) {
            self.publish_pending(room);
        }
        let limit = self.settings.memberships_max;
        let joining = (key.index(), &mut session.memberships);
        let joined = self.rooms.join(joining, name, wish, limit, self.now)?;
        if joined.from < joined.extent.last {
            mark_dirty(&mut self.dirty, key.index(), session);
        }
        Ok(joined)
    }

    fn reply(&mut self, key: Key, session: &mut Session, payload: &Payload<'_>) -> Option<CloseCause> {
        let data = payload.data();
        session.outbound.push_reply(&mut self.arena, server_frame_bytes(data.len()), |out| {
            push_server_frame(out, Opcode::from(payload.kind()), data);
        });
        mark_dirty(&mut self.dirty, key.index(), session);
        let limit = self.settings.reply_bytes_max();
        (session.outbound.pinned_reply_bytes() > limit).then_some(CloseCause::QueueOverflow { limit })
    }

    /// Ends all memberships of a connection.
    pub(super) fn leave_rooms(&mut self, session: &mut Session) {
        while let Some(emptied) = self.rooms.leave_first(&mut session.memberships) {
            if let Some(emptied) = emptied {
                self.forget_room(emptied);
            }
        }
    }

    /// Forgets a room without members here. What it published in this turn goes out first, as other
    /// shards may have members, and the order must stand.
    pub(super) fn forget_room(&mut self, emptied: Emptied) {
        let Emptied(room) = emptied;
        self.publish_pending(room);
        self.rooms.forget(emptied, self.now);
    }

    /// Publishes what was said in a room in this turn so far.
    fn publish_pending(&mut self, room: Key) {
        if self.rooms.get(room).is_none_or(|room| room.pending.is_none()) {
            return;
        }
        let Core { publications, rooms, mailbox, reached, tally, now, .. } = self;
        let mesh = mailbox.mesh();
        let published =
            publications.publish_room(rooms, room, mesh, *now, |shard| reached[shard.index()] = true);
        tally.add(Counter::Publications, published);
    }
}
