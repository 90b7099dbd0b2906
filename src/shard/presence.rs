//! Who is in a room, as the shard tells the room and its members: at joins and leaves, and when one that
//! died has not come back in time.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::endpoint::CloseCause;
use crate::id::ConnectionId;
use crate::protocol::CloseCode;
use crate::reactor::Io;
use crate::rooms::{Batch, Encoding, Identity, Room, Route, Sender};
use crate::time::Time;

use super::encode::encode_presence;
use super::mailbox::{Mail, PresenceChange};
use super::membership::{Left, NO_MEMBERSHIP};
use super::session::Session;
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
    pub(super) fn introduce(&mut self, session: &mut Session, identity: Option<Identity>) -> ConnectionId {
        session.introduces_itself = false;
        session.returns = true;
        session.heartbeat_at = self.now;
        if let Some(identity) = identity {
            let returning = self.rooms.registry().returning();
            if let Some(client) = returning.take(&identity, self.now) {
                session.client = client;
            }
            session.identity = Some(Arc::new(identity));
        }
        session.client
    }

    /// Lists a connection that has joined a room.
    pub(super) fn enter(&mut self, session: &Session, room: &Room, encoding: Encoding) {
        let (client, identity) = (session.client, session.identity.clone());
        let told_max = self.settings.presence_members_max;
        let (told, listed) = (identity.clone(), is_listed(session, encoding));
        room.enter(client, identity, listed, told_max, |routes| self.announce(routes, true, client, told));
    }

    /// Ends what a connection was in a room that it is not a member of any more.
    pub(super) fn left(&mut self, session: &Session, left: Left) {
        self.exit(session, &left, None);
        if let Some(emptied) = left.emptied {
            self.forget_room(emptied);
        }
    }

    /// Ends all memberships of a connection. One that may come back stays listed for a while.
    pub(super) fn leave_rooms(&mut self, session: &mut Session, may_return: bool) {
        let until = if may_return { self.await_return(session) } else { None };
        let mut rooms = Vec::new();
        while let Some(left) = self.rooms.leave_first(&mut session.memberships) {
            if self.exit(session, &left, until) {
                rooms.push(Arc::clone(&left.room));
            }
            if let Some(emptied) = left.emptied {
                self.forget_room(emptied);
            }
        }
        if let (Some(until), Some(identity)) = (until, &session.identity) {
            let (client, identity) = (session.client, Arc::clone(identity));
            self.lingering.places += rooms.len();
            self.lingering.queue.push_back(Lingering { until, client, identity, rooms });
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
                room.expire(client, now, told_max, |routes| self.announce(routes, false, client, told));
            }
        }
    }

    /// Until when the client id of one that dies waits for it: it has a name, and is in some room.
    fn await_return(&self, session: &Session) -> Option<Time> {
        let identity = session.identity.as_ref()?;
        let grace = self.settings.presence_grace;
        let full = self.lingering.places >= LINGERING_MAX;
        if !session.returns || grace.is_zero() || session.memberships == NO_MEMBERSHIP || full {
            return None;
        }
        let until = self.now + grace;
        let noted = self.rooms.registry().returning().note(identity, session.client, until);
        noted.then_some(until)
    }

    /// Takes a connection off a room's list, or leaves it there until it may be back; says whether it is
    /// left there.
    fn exit(&mut self, session: &Session, left: &Left, until: Option<Time>) -> bool {
        let (client, identity) = (session.client, session.identity.clone());
        let told_max = self.settings.presence_members_max;
        let (leaving, listed) = ((client, session.identity.as_deref()), is_listed(session, left.encoding));
        let announce = |routes: &[Route]| self.announce(routes, false, client, identity);
        left.room.exit(leaving, listed, until, told_max, announce)
    }

    /// Sends a change to all shards with members of the room; called under the room's lock.
    fn announce(
        &mut self,
        routes: &[Route],
        joined: bool,
        client: ConnectionId,
        identity: Option<Arc<Identity>>,
    ) {
        let mut batch = Batch::default();
        batch.push(true, (Sender::Member(client), identity), 0, |_| {});
        let batch = Arc::new(batch);
        for route in routes {
            let (local_room, batch) = (route.local_room, Arc::clone(&batch));
            let change = PresenceChange { local_room, joined, batch };
            self.mailbox.mesh().send(route.shard, Mail::Presence(change));
            self.reached[route.shard.index()] = true;
        }
    }
}

impl<I: Io> Shard<I> {
    /// Tells the members of a room that want to hear it who has joined or left. Returns how many that are.
    pub(super) fn tell_presence(&mut self, change: &PresenceChange) -> usize {
        let Shard { connections, core, .. } = self;
        let PresenceChange { local_room, joined, batch } = change;
        let Some(local) = core.rooms.get(*local_room).filter(|local| local.watchers > 0) else { return 0 };
        let limit = core.settings.reply_bytes_max();
        let (mut told, mut overflowing) = (0, Vec::new());
        for member in &local.members {
            let Some(membership) = core.rooms.membership(member.membership) else { continue };
            let encoding = membership.encoding;
            if !membership.watches || !encode_presence(&local.room, batch, encoding, *joined) {
                continue;
            }
            let Some(slot) = connections.at_mut(member.connection) else { continue };
            slot.session.outbound.push_notice(&mut core.arena, batch, encoding);
            mark_dirty(&mut core.dirty, member.connection, &mut slot.session);
            told += 1;
            if slot.session.outbound.pinned_reply_bytes() > limit {
                overflowing.push(member.connection);
            }
        }
        for index in overflowing {
            let Some(key) = connections.key_at(index) else { continue };
            let Some(slot) = connections.at_mut(index) else { continue };
            core.finish(key, slot, CloseCause::QueueOverflow { limit });
        }
        told
    }
}

/// Whether a member is listed, or only counted: one that says nothing of itself, at a door that shows
/// nobody, is nobody to the others, and so costs the room no memory.
fn is_listed(session: &Session, encoding: Encoding) -> bool {
    session.identity.is_some() || encoding.tells_removal()
}

/// Whether the peer of a connection that ends so may be back in a moment: it did not say goodbye.
pub fn may_return(cause: &CloseCause) -> bool {
    match cause {
        CloseCause::PeerClosed(code) => *code == Some(CloseCode::GOING_AWAY),
        CloseCause::Endpoint(..) | CloseCause::Api(..) | CloseCause::Failed(_) => false,
        _ => true,
    }
}
