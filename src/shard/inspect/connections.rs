//! The connections that rank highest, and what is said of one.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::id::ConnectionId;
use crate::reactor::{Io, PeerAddress, Tick};
use crate::rooms::{Identity, RoomName};
use crate::slab::Key;

use super::{Budget, ConnectionSort, Top};
use crate::shard::membership::LocalRooms;
use crate::shard::session::{Flag, Session, Slot};
use crate::shard::{Core, Shard};

/// Rooms of a connection that are shown: those that it is furthest behind in.
pub const ROOMS_SHOWN: usize = 8;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// It has not finished its first request.
    Handshake,
    /// It has been answered HTTP requests.
    Http,
    /// Its WebSocket is open.
    WebSocket,
    /// It is sent server-sent events.
    Events,
    /// Its cause of close is known, and its transport is ending.
    Closing,
}

/// Why a connection is not read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// It does not take the answers to it.
    Replies,
    /// The inbox of a shard that it publishes to is full.
    Publisher,
    /// It sends faster than it may.
    Rate,
    /// Requests wait until the answers to those before are taken.
    Requests,
}

/// A room of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomSeen {
    /// Its name.
    pub room: RoomName,
    /// The offset up to which the connection has been served.
    pub offset: u64,
    /// Messages behind that.
    pub lag_messages: u64,
}

/// What is said of a connection.
#[derive(Clone, Debug)]
pub struct ConnectionSeen {
    /// Which it is.
    pub connection: ConnectionId,
    /// How others know it: by its own id, or that of the connection that it came back for.
    pub client: ConnectionId,
    /// Who it says that it is.
    pub identity: Option<Arc<Identity>>,
    /// Who is at the other end.
    pub peer: PeerAddress,
    /// What it is doing.
    pub state: ConnectionState,
    /// The place of its endpoint among the paths, if its WebSocket is or was open.
    pub endpoint: Option<u16>,
    /// Why it is not read from.
    pub pauses: Vec<Pause>,
    /// Bytes of its outbound queue, overhead included.
    pub queued_bytes: usize,
    /// The part of them that are replies to it alone.
    pub reply_bytes: usize,
    /// How long it has taken none of the bytes that wait for it, to within a tick; `None` if none wait.
    pub stalled: Option<Duration>,
    /// Whether a ping is unanswered.
    pub ping_unanswered: bool,
    /// How long it has sent nothing, to within a tick, where that is watched.
    pub silent: Option<Duration>,
    /// Messages that it has not been sent, of the room that it is furthest behind in or of the room that was asked for.
    pub lag_messages: u64,
    /// Rooms that it is in.
    pub memberships: usize,
    /// The first [`ROOMS_SHOWN`] of them by lag, or the room that was asked for.
    pub rooms: Vec<RoomSeen>,
}

impl LocalRooms {
    /// The same of the room of this name, for the connection whose memberships begin with `first`.
    pub fn lag_in(&self, first: u32, name: &RoomName) -> u64 {
        let membership = self.find(name).and_then(|room| self.membership_in(first, room));
        membership.and_then(|index| self.membership(index)).map_or(0, |membership| self.lag(membership))
    }
}

impl<I: Io> Shard<I> {
    /// Looks at all connections, by slot.
    pub(super) fn look_at_connections(
        &self,
        sort: ConnectionSort,
        (next, top): (&mut Option<u32>, &mut Top<Key>),
        budget: &mut Budget,
    ) -> bool {
        let slots = self.connections.slots();
        let mut at = next.unwrap_or(0);
        while at < slots {
            if budget.left == 0 {
                *next = Some(at);
                return false;
            }
            match self.connections.key_at(at) {
                Some(key) => self.rank(key, sort, None, top, budget),
                None => budget.left -= 1,
            }
            at += 1;
        }
        true
    }

    /// Looks at the members of a room from the last to the first: of those who leave meanwhile, the last takes the
    /// place, which is looked at twice then, but never none.
    pub(super) fn look_at_members(
        &self,
        room: &RoomName,
        sort: ConnectionSort,
        (next, top): (&mut Option<u32>, &mut Top<Key>),
        budget: &mut Budget,
    ) -> bool {
        let Some(local) = self.core.rooms.find(room).and_then(|key| self.core.rooms.get(key)) else {
            return true;
        };
        let end = next.map_or(local.members.len(), |next| local.members.len().min(next as usize));
        for at in (0..end).rev() {
            if budget.left == 0 {
                *next = Some(at as u32 + 1);
                return false;
            }
            let member = local.members[at];
            let membership = self.core.rooms.membership(member);
            if let Some(key) = membership.and_then(|found| self.connections.key_at(found.connection)) {
                self.rank(key, sort, Some(member), top, budget);
            }
        }
        true
    }

    /// Ranks one; if that is asked for, by its lag in one room.
    fn rank(
        &self,
        key: Key,
        sort: ConnectionSort,
        membership: Option<u32>,
        top: &mut Top<Key>,
        budget: &mut Budget,
    ) {
        let Some(slot) = self.connections.get(key) else { return };
        let (session, rooms) = (&slot.session, &self.core.rooms);
        let of = |index: u32| rooms.membership(index);
        let mut parts = 0;
        let all = rooms.memberships_of(session.memberships).inspect(|_| parts += 1);
        let rank = match (sort, membership) {
            (ConnectionSort::Lag, Some(index)) => of(index).map_or(0, |membership| rooms.lag(membership)),
            (ConnectionSort::Lag, None) => {
                all.filter_map(of).map(|membership| rooms.lag(membership)).max().unwrap_or(0)
            }
            (ConnectionSort::Queue, _) => session.outbound.pinned_bytes() as u64,
            (ConnectionSort::Stalled, _) => {
                self.core.stalled_for(session).map_or(0, |stalled| stalled.as_nanos() as u64)
            }
            (ConnectionSort::Rooms, _) => all.count() as u64,
        };
        budget.spend(parts);
        top.offer(rank, key);
    }

    /// What is said of those that rank highest and are still there.
    pub(super) fn seen(&self, room: Option<&RoomName>, top: Top<Key>) -> Vec<(u64, ConnectionSeen)> {
        let mut listed = HashSet::new();
        let sorted = top.into_sorted().into_iter().filter(|(_, key)| listed.insert(*key));
        let seen = sorted
            .filter_map(|(rank, key)| Some((rank, self.core.seen(key, self.connections.get(key)?, room))));
        seen.collect()
    }
}

impl<S> Core<S> {
    /// How long a connection has taken nothing of what waits for it.
    fn stalled_for(&self, session: &Session) -> Option<Duration> {
        let waits = session.is(Flag::Waiting) && session.stalled_at != Tick::NEVER;
        let left = session.stalled_at.time().since(self.now);
        waits.then(|| self.settings.write_timeout.saturating_sub(left))
    }

    /// How long a connection has sent nothing.
    fn silent_for(&self, session: &Session) -> Option<Duration> {
        let watched = session.is(Flag::Opened)
            && !session.is(Flag::OwnHeartbeat)
            && !session.is(Flag::Ended)
            && session.quiet_until != Tick::NEVER;
        let until = session.quiet_until.time();
        // The tick is at or after the time that is meant.
        let left = until.since(self.now);
        let over = self.now.since(until);
        watched.then(|| (self.settings.ping_interval + over).saturating_sub(left))
    }

    fn seen<T>(&self, key: Key, slot: &Slot<T>, room: Option<&RoomName>) -> ConnectionSeen {
        let session = &slot.session;
        let mut rooms: Vec<RoomSeen> = self
            .rooms
            .memberships_of(session.memberships)
            .filter_map(|index| {
                let membership = self.rooms.membership(index)?;
                let room = self.rooms.of(membership)?.room.name().clone();
                let (offset, lag_messages) = (membership.cursor, self.rooms.lag(membership));
                Some(RoomSeen { room, offset, lag_messages })
            })
            .collect();
        let memberships = rooms.len();
        rooms.retain(|seen| room.is_none_or(|room| seen.room == *room));
        rooms.sort_by_key(|seen| Reverse(seen.lag_messages));
        rooms.truncate(ROOMS_SHOWN);
        ConnectionSeen {
            connection: self.connection_id(key),
            client: self.client(key, session),
            identity: self.identity(session).cloned(),
            peer: self.peers.address(session.peer),
            state: state(session),
            endpoint: session.is(Flag::Opened).then_some(session.endpoint),
            pauses: pauses(session),
            queued_bytes: session.outbound.pinned_bytes(),
            reply_bytes: session.outbound.pinned_reply_bytes(),
            stalled: self.stalled_for(session),
            ping_unanswered: session.is(Flag::PingSent),
            silent: self.silent_for(session),
            lag_messages: rooms.first().map_or(0, |seen| seen.lag_messages),
            memberships,
            rooms,
        }
    }
}

fn state(session: &Session) -> ConnectionState {
    match session {
        session if session.is(Flag::Ended) => ConnectionState::Closing,
        session if session.is(Flag::Streams) => ConnectionState::Events,
        session if session.is(Flag::Opened) => ConnectionState::WebSocket,
        session if session.is(Flag::Served) => ConnectionState::Http,
        _ => ConnectionState::Handshake,
    }
}

fn pauses(session: &Session) -> Vec<Pause> {
    let all = [
        (Flag::PausedReplies, Pause::Replies),
        (Flag::PausedPublisher, Pause::Publisher),
        (Flag::PausedRate, Pause::Rate),
        (Flag::HoldsRequests, Pause::Requests),
    ];
    all.into_iter().filter(|(flag, _)| session.is(*flag)).map(|(_, pause)| pause).collect()
}
