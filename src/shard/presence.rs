//! Who is in a room, as the shard tells the room and its members: at joins and leaves, and when one that
//! died has not come back in time.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::endpoint::CloseCause;
use crate::id::ConnectionId;
use crate::protocol::CloseCode;
use crate::reactor::Io;
use crate::rooms::{Batch, Encoding, Identity, Room, Route, Sender};
use crate::slab::Key;
use crate::time::Time;

use super::encode::encode_presence;
use super::mailbox::{Mail, PresenceChange};
use super::membership::{Left, NO_MEMBERSHIP};
use super::session::{Flag, Session};
use super::stats::Counter;
use super::{Core, Shard, mark_dirty};

/// Places in rooms that those who died may keep on a shard: some thousand clients in all their rooms. Over it
/// one that dies has left at once, so that dying and coming back often costs no more memory than this.
const LINGERING_MAX: usize = 64 << 10;

/// Those who died and may come back, by the end of their grace.
#[derive(Debug, Default)]
pub struct Lingerers {
    queue: VecDeque<Lingering>,
    /// Rooms of all of them.
    places: usize,
}

/// One that died and is still listed in its rooms.
#[derive(Debug)]
pub struct Lingering {
    until: Time,
    client: ConnectionId,
    identity: Arc<Identity>,
    rooms: Vec<Arc<Room>>,
}

impl<S> Core<S> {
    /// Gives a connection of a client that comes back by itself a name, and with it the client id of one of
    /// that name that it comes back for.
    pub(super) fn introduce(
        &mut self,
        key: Key,
        session: &mut Session,
        identity: Option<Identity>,
    ) -> ConnectionId {
        session.set(Flag::IntroducesItself, false);
        session.set(Flag::Returns, true);
        session.quiet_until = self.heartbeat_due(session);
        if let Some(identity) = identity {
            let client = self.rooms.registry().returning().take(&identity, self.now);
            self.set_persona(key, session, Some(Arc::new(identity)), client);
        }
        self.client(key, session)
    }

    /// Lists a connection that has joined a room.
    pub(super) fn enter(&mut self, key: Key, session: &Session, room: &Room, encoding: Encoding) {
        let (client, identity) = (self.client(key, session), self.identity(session).cloned());
        let told_max = self.settings.presence_members_max;
        let (told, listed) = (identity.clone(), is_listed(identity.as_deref(), encoding));
        let told = (told, Some(key));
        room.enter(client, identity, listed, told_max, |routes| self.announce(routes, true, client, told));
    }

    /// Ends what a connection was in a room that it is not a member of any more.
    pub(super) fn left(&mut self, key: Key, session: &Session, left: Left) {
        self.exit(key, session, &left, None);
        if let Some(emptied) = left.emptied {
            self.forget_room(emptied);
        }
    }

    /// Ends all memberships of a connection. One that may come back stays listed for a while.
    pub(super) fn leave_rooms(&mut self, key: Key, session: &mut Session, may_return: bool) {
        let until = if may_return { self.await_return(key, session) } else { None };
        let mut rooms = Vec::new();
        while let Some(left) = self.rooms.leave_first(&mut session.memberships) {
            if self.exit(key, session, &left, until) {
                rooms.push(Arc::clone(&left.room));
            }
            if let Some(emptied) = left.emptied {
                self.forget_room(emptied);
            }
        }
        if let (Some(until), Some(identity)) = (until, self.identity(session).cloned()) {
            let client = self.client(key, session);
            self.lingering.places += rooms.len();
            // After a reload a later one may have a shorter grace.
            let place = self.lingering.queue.partition_point(|other| other.until <= until);
            self.lingering.queue.insert(place, Lingering { until, client, identity, rooms });
        }
    }

    /// When somebody that lingers is next to be looked after.
    pub(super) fn next_expiry(&self) -> Option<Time> {
        self.lingering.queue.front().map(|first| first.until)
    }

    /// Ends the presence of those that have not come back in time.
    pub(super) fn expire_lingering(&mut self) {
        let told_max = self.settings.presence_members_max;
        while let Some(lingering) = self.lingering.queue.pop_front_if(|first| first.until <= self.now) {
            let Lingering { until, client, identity, rooms } = lingering;
            self.lingering.places -= rooms.len();
            self.rooms.registry().returning().forget(&identity, client, until);
            for room in rooms {
                let (now, told) = (self.now, Some(Arc::clone(&identity)));
                room.expire(client, now, told_max, |routes| {
                    self.announce(routes, false, client, (told, None))
                });
            }
        }
    }

    /// Until when the client id of one that dies waits for it: it has a name, and is in some room.
    fn await_return(&self, key: Key, session: &Session) -> Option<Time> {
        let identity = self.identity(session)?;
        let grace = self.settings.presence_grace;
        let full = self.lingering.places >= LINGERING_MAX;
        if !session.is(Flag::Returns) || grace.is_zero() || session.memberships == NO_MEMBERSHIP || full {
            return None;
        }
        let until = self.now + grace;
        let noted = self.rooms.registry().returning().note(identity, self.client(key, session), until);
        noted.then_some(until)
    }

    /// Takes a connection off a room's list, or leaves it there until it may be back; says whether it is
    /// left there.
    fn exit(&mut self, key: Key, session: &Session, left: &Left, until: Option<Time>) -> bool {
        let (client, identity) = (self.client(key, session), self.identity(session).cloned());
        let (told_max, told) = (self.settings.presence_members_max, (identity.clone(), Some(key)));
        let listed = is_listed(identity.as_deref(), left.encoding);
        let announce = |routes: &[Route]| self.announce(routes, false, client, told);
        left.room.exit((client, identity.as_deref()), listed, until, told_max, announce)
    }

    /// Sends a change to all shards with members of the room; called under the room's lock. A connection here that
    /// has caused it is not read from while it has filled an inbox, as if it had published.
    fn announce(
        &mut self,
        routes: &[Route],
        joined: bool,
        client: ConnectionId,
        (identity, cause): (Option<Arc<Identity>>, Option<Key>),
    ) {
        let mut batch = Batch::default();
        batch.push(true, (Sender::Member(client), identity), 0, |_| {});
        let batch = Arc::new(batch);
        for route in routes {
            let (local_room, batch) = (route.local_room, Arc::clone(&batch));
            let change = PresenceChange { local_room, joined, batch };
            self.mailbox.mesh().send(route.shard, Mail::Presence(change));
            self.reached[route.shard.index()] = true;
            if self.mailbox.mesh().is_over_limit(route.shard) {
                cause.into_iter().for_each(|connection| self.publications.add_congesting(connection));
            }
        }
    }
}

impl<I: Io> Shard<I> {
    /// Tells the members of a room that want to hear it who has joined or left. Returns at how many it has looked.
    pub(super) fn tell_presence(&mut self, change: &PresenceChange) -> usize {
        let Shard { connections, core, .. } = self;
        let PresenceChange { local_room, joined, batch } = change;
        let Some(local) = core.rooms.get(*local_room).filter(|local| local.watchers > 0) else { return 0 };
        let limit = core.settings.reply_bytes_max();
        let (mut told, mut overflowing) = (0, Vec::new());
        for member in &local.members {
            let Some(membership) = core.rooms.membership(*member) else { continue };
            let connection = membership.connection;
            let encoding = membership.encoding;
            if !membership.watches || !encode_presence(&local.room, batch, encoding, *joined) {
                continue;
            }
            let Some(slot) = connections.at_mut(connection) else { continue };
            slot.session.outbound.push_notice(&mut core.arena, batch, encoding);
            mark_dirty(&mut core.dirty, connection, &mut slot.session);
            told += 1;
            if slot.session.outbound.pinned_reply_bytes() > limit {
                overflowing.push(connection);
            }
        }
        let looked_at = local.members.len();
        core.tally.add(Counter::Notices, told as u64);
        for index in overflowing {
            let Some(key) = connections.key_at(index) else { continue };
            let Some(slot) = connections.at_mut(index) else { continue };
            core.finish(key, slot, CloseCause::QueueOverflow { limit });
        }
        looked_at
    }
}

/// Whether a member is listed, or only counted: one that says nothing of itself, at a door that shows
/// nobody, is nobody to the others, and so costs the room no memory.
fn is_listed(identity: Option<&Identity>, encoding: Encoding) -> bool {
    identity.is_some() || encoding.tells_removal()
}

/// Whether the peer of a connection that ends so may be back in a moment: it did not say goodbye.
pub fn may_return(cause: &CloseCause) -> bool {
    match cause {
        CloseCause::PeerClosed(code) => *code == Some(CloseCode::GOING_AWAY),
        CloseCause::Endpoint(..) | CloseCause::Api(..) | CloseCause::Failed(_) => false,
        _ => true,
    }
}
