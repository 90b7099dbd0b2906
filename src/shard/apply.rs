//! Carries out what an endpoint asked for, in order. Only the connection itself, the publish queue
//! and the rooms are touched; other connections hear of it in the mailbox phase.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::endpoint::{Audience, Behind, CloseCause, Effect, Effects, Endpoint, Payload};
use crate::protocol::{Kind, Opcode};
use crate::rooms::{Batch, Encoding, OutOfWindow, Published, RoomName};
use crate::slab::Key;

use super::ending::sendable;
use super::membership::{Emptied, JoinError, Joined, Wish};
use super::publish::{batch_of_one, hand_out};
use super::session::Session;
use super::stats::Counter;
use super::{Core, mark_dirty};

impl<S> Core<S> {
    /// Calls a connection's endpoint and carries out what it wants. Returns why the connection should
    /// close, if it should.
    #[inline]
    pub(super) fn call<'m>(
        &mut self,
        key: Key,
        session: &mut Session,
        call: impl FnOnce(&mut dyn Endpoint, &mut Effects<'m>),
    ) -> Option<CloseCause> {
        let mut effects = self.take_effects();
        let endpoint = self.router.endpoint(session.endpoint)?;
        if catch_unwind(AssertUnwindSafe(|| call(&mut **endpoint, &mut effects))).is_err() {
            return Some(CloseCause::EndpointPanic);
        }
        match effects.take_lone_message() {
            Some(payload) => {
                self.spare_effects.push(effects.recycle());
                self.reply(key, session, &payload)
            }
            None => self.apply(key, session, effects),
        }
    }

    /// An empty list for an endpoint to fill.
    pub(super) fn take_effects<'m>(&mut self) -> Effects<'m> {
        let mut effects = self.spare_effects.pop().unwrap_or_default();
        effects.set_now(self.now);
        effects
    }

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
        self.spare_effects.push(effects.recycle());
        closed
    }

    fn apply_one(&mut self, key: Key, session: &mut Session, effect: Effect<'_>) -> Option<CloseCause> {
        match effect {
            Effect::Send(payload) => self.reply(key, session, &payload),
            Effect::Publish(Audience::Joined, payload) => {
                let publisher = self.publisher(key, session);
                let mut rooms = std::mem::take(&mut self.joined);
                rooms.extend(self.rooms.rooms_of(session.memberships));
                for place in rooms.drain(..) {
                    let message = (payload.kind(), payload.data());
                    self.publications.push(&mut self.rooms, place, publisher.clone(), message);
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
                let wish = Wish { own, start, encoding: Encoding::Frames, watches: false };
                self.join(key, session, &name, wish).err()
            }
            Effect::Leave(name) => {
                self.leave_room(key, session, &name);
                None
            }
            Effect::Name(identity) => {
                self.set_persona(key, session, Some(Arc::new(identity)), None);
                None
            }
            Effect::Ask(question, ask) => self.ask(key, session, question, ask),
            Effect::Close(code, reason) => Some(CloseCause::Endpoint(sendable(code), reason)),
        }
    }

    /// Publishes to one room: with members here together with what else is said there in this turn, or
    /// else at once.
    fn publish_to(&mut self, key: Key, session: &Session, name: &RoomName, message: (Kind, &[u8])) {
        let publisher = self.publisher(key, session);
        if let Some(room) = self.rooms.find(name) {
            let membership = self.rooms.membership_in(session.memberships, room);
            let membership = membership.and_then(|index| self.rooms.membership_key(index));
            self.publications.push(&mut self.rooms, (room, membership), publisher, message);
            return;
        }
        let (kind, data) = message;
        let batch = batch_of_one(publisher.sender(), kind, data);
        self.publish_at_once(name, &batch, key, None);
    }

    /// Publishes to a room, whoever is in it, and returns where it entered.
    pub(super) fn publish_at_once(
        &mut self,
        name: &RoomName,
        batch: &Arc<Batch>,
        publisher: Key,
        idempotency_key: Option<&str>,
    ) -> Published {
        let Core { rooms, mailbox, reached, now, .. } = self;
        let mut congested = false;
        let published = rooms.registry().publish(name, *now, batch, idempotency_key, |offset, routes| {
            congested = hand_out(mailbox.mesh(), (batch, *now), offset, routes, |shard| {
                reached[shard.index()] = true
            });
        });
        if congested {
            self.publications.add_congesting(publisher);
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

    /// Makes a connection a member of a room; one that is already is present already.
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
        if joined.is_new
            && let Some(room) = self.rooms.room_of(session.memberships)
        {
            self.enter(key, session, &room, wish.encoding);
        }
        if joined.from < joined.extent.last {
            mark_dirty(&mut self.dirty, key.index(), session);
        }
        Ok(joined)
    }

    #[inline]
    fn reply(&mut self, key: Key, session: &mut Session, payload: &Payload<'_>) -> Option<CloseCause> {
        // One answer, however long, does not make a slow consumer.
        let waiting = session.outbound.pinned_reply_bytes();
        session.outbound.push_message(&mut self.arena, Opcode::from(payload.kind()), payload.data());
        mark_dirty(&mut self.dirty, key.index(), session);
        self.tally.add(Counter::Replies, 1);
        let limit = self.settings.reply_bytes_max();
        if waiting > limit { Some(CloseCause::QueueOverflow { limit }) } else { None }
    }

    /// Ends a connection's membership of a room, if it has one.
    pub(super) fn leave_room(&mut self, key: Key, session: &mut Session, name: &RoomName) {
        if let Some(left) = self.rooms.leave(&mut session.memberships, name) {
            self.left(key, session, left);
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
    pub(super) fn publish_pending(&mut self, room: Key) {
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
