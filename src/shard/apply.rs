//! Carries out what an endpoint asked for, in order. Only the connection itself, the publish queue
//! and the rooms are touched; other connections hear of it in the mailbox phase.

use crate::endpoint::{Audience, CloseCause, Effect, Effects, Payload};
use crate::protocol::{CloseCode, Opcode, push_server_frame, server_frame_bytes};
use crate::slab::Key;

use super::membership::Emptied;
use super::publish::publish_elsewhere;
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
                for room in rooms.drain(..) {
                    self.publications.push(&mut self.rooms, room, sender, payload.kind(), payload.data());
                }
                self.joined = rooms;
                None
            }
            Effect::Publish(Audience::Room(name), payload) => {
                let sender = self.connection_id(key);
                if let Some(room) = self.rooms.find(&name) {
                    self.publications.push(&mut self.rooms, room, sender, payload.kind(), payload.data());
                } else if let Some(room) = self.rooms.registry().find(&name) {
                    let Core { mailbox, reached, tally, .. } = self;
                    tally.add(Counter::Publications, 1);
                    let message = (payload.kind(), payload.data());
                    let congested = publish_elsewhere(&room, mailbox.mesh(), sender, message, |shard| {
                        reached[shard.index()] = true;
                    });
                    if congested {
                        self.publications.add_congesting(sender);
                    }
                }
                None
            }
            Effect::Join(name, own) => {
                let limit = self.settings.memberships_max;
                let joined = self.rooms.join(key.index(), &mut session.memberships, &name, own, limit);
                joined.err().map(|_| CloseCause::TooManyMemberships { limit })
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
    fn forget_room(&mut self, emptied: Emptied) {
        let Emptied(room) = &emptied;
        if self.rooms.get(*room).is_some_and(|room| room.pending.is_some()) {
            let Core { publications, rooms, mailbox, reached, tally, .. } = self;
            let published = publications
                .publish_room(rooms, *room, mailbox.mesh(), |shard| reached[shard.index()] = true);
            tally.add(Counter::Publications, published);
        }
        self.rooms.forget(emptied);
    }
}
