//! The latest closes of a shard, so that "why was I closed?" has an answer afterwards.
//!
//! They are kept by cause: a flood of one does not push out the others. A place is taken when a connection ends,
//! never for a message.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::endpoint::{CloseCause, CloseKind};
use crate::id::ConnectionId;
use crate::protocol::{CLOSE_REASON_BYTES_MAX, CloseCode};
use crate::reactor::PeerAddress;
use crate::rooms::{Identity, RoomName};
use crate::slab::Key;

use super::Core;
use super::session::{Flag, Slot};

/// Closes of one cause that a shard remembers: some 20 KiB, and a minute of two a second.
pub const CLOSES_KEPT: usize = 128;

/// How a connection ended.
#[derive(Clone, Debug)]
pub struct Closed {
    /// When, since 1970-01-01T00:00:00Z.
    pub unix_time: Duration,
    /// Which it was, unless it could not become one.
    pub connection: Option<ConnectionId>,
    /// How others knew it: by its own id, or that of the connection that it came back for.
    pub client: Option<ConnectionId>,
    /// Who it said that it is.
    pub identity: Option<Arc<Identity>>,
    /// Who was at the other end.
    pub peer: PeerAddress,
    /// The place of its endpoint among the paths, if its WebSocket was open.
    pub endpoint: Option<u16>,
    /// Whether it was sent server-sent events.
    pub events: bool,
    /// Why. A reason is cut to what a Close can carry.
    pub cause: CloseCause,
    /// The code of the Close, ours or the peer's.
    pub code: Option<CloseCode>,
    /// The room that the cause is about, or else one that it was behind in, or any that it was in.
    pub room: Option<RoomName>,
    /// Messages that it had not been sent of that room.
    pub behind_messages: u64,
    /// Rooms that it was in.
    pub memberships: usize,
    /// Bytes that waited to be sent to it.
    pub queued_bytes: usize,
}

/// The closes of one cause; the oldest gives way.
#[derive(Debug, Default)]
struct Ring {
    kept: Vec<Closed>,
    /// The oldest, once all places are taken.
    next: usize,
}

impl Ring {
    fn push(&mut self, closed: Closed) {
        if self.kept.len() < CLOSES_KEPT {
            self.kept.push(closed);
            return;
        }
        self.kept[self.next] = closed;
        self.next = (self.next + 1) % CLOSES_KEPT;
    }
}

/// The latest closes of each cause.
#[derive(Debug)]
pub struct Closes {
    rings: Vec<Ring>,
}

impl Default for Closes {
    fn default() -> Closes {
        Closes { rings: CloseKind::ALL.iter().map(|_| Ring::default()).collect() }
    }
}

impl Closes {
    /// Remembers one.
    pub fn push(&mut self, closed: Closed) {
        self.rings[closed.cause.kind() as usize].push(closed);
    }

    /// All that are remembered, of one cause or of all.
    pub fn of(&self, kind: Option<CloseKind>) -> impl Iterator<Item = &Closed> {
        let wanted = move |at: &usize| kind.is_none_or(|kind| kind as usize == *at);
        let rings = self.rings.iter().enumerate().filter(move |(at, _)| wanted(at));
        rings.flat_map(|(_, ring)| &ring.kept)
    }
}

impl<S> Core<S> {
    /// Remembers how a connection ends, before it leaves its rooms.
    pub(super) fn remember<T>(
        &mut self,
        key: Key,
        slot: &Slot<T>,
        cause: &CloseCause,
        code: Option<CloseCode>,
    ) {
        let session = &slot.session;
        let behind = self.rooms.behind(session.memberships);
        let about = cause.room().cloned();
        let room = about.or_else(|| behind.map(|(local, _)| local.room.name().clone()));
        let closed = Closed {
            unix_time: self.unix_time,
            connection: Some(self.connection_id(key)),
            client: Some(self.client(key, session)),
            identity: self.identity(session).cloned(),
            peer: self.peers.address(session.peer),
            endpoint: session.is(Flag::Opened).then_some(session.endpoint),
            events: session.is(Flag::Streams),
            cause: within_bounds(cause),
            code: code.or(cause.close_code()),
            behind_messages: room.as_ref().map_or(0, |name| self.rooms.lag_in(session.memberships, name)),
            room,
            memberships: self.rooms.memberships_of(session.memberships).count(),
            queued_bytes: session.outbound.pinned_bytes(),
        };
        self.closes.push(closed);
    }

    /// Remembers a socket that could not become a connection.
    pub(super) fn remember_given_up(&mut self, peer: PeerAddress, cause: &CloseCause) {
        self.closes.push(Closed {
            unix_time: self.unix_time,
            connection: None,
            client: None,
            identity: None,
            peer,
            endpoint: None,
            events: false,
            cause: cause.clone(),
            code: None,
            room: None,
            behind_messages: 0,
            memberships: 0,
            queued_bytes: 0,
        });
    }
}

/// The same cause, with no more of a reason than a Close carries: an endpoint's own may be of any length.
fn within_bounds(cause: &CloseCause) -> CloseCause {
    let cut = |reason: &str| reason[..reason.floor_char_boundary(CLOSE_REASON_BYTES_MAX)].to_owned();
    match cause {
        CloseCause::Endpoint(code, Cow::Owned(reason)) => {
            CloseCause::Endpoint(*code, Cow::Owned(cut(reason)))
        }
        CloseCause::Api(code, reason) => CloseCause::Api(*code, cut(reason)),
        cause => cause.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(cause: CloseCause, second: u64) -> Closed {
        Closed {
            unix_time: Duration::from_secs(second),
            connection: None,
            client: None,
            identity: None,
            peer: PeerAddress::Unix,
            endpoint: None,
            events: false,
            cause,
            code: None,
            room: None,
            behind_messages: 0,
            memberships: 0,
            queued_bytes: 0,
        }
    }

    fn seconds(closes: &Closes, kind: Option<CloseKind>) -> Vec<u64> {
        let mut seconds: Vec<u64> = closes.of(kind).map(|closed| closed.unix_time.as_secs()).collect();
        seconds.sort_unstable();
        seconds
    }

    #[test]
    fn the_latest_of_each_cause_stay_up_to_the_limit() {
        let kept = CLOSES_KEPT as u64;
        for count in [kept - 1, kept, kept + 1, 3 * kept + 7] {
            let mut closes = Closes::default();
            closes.push(closed(CloseCause::EndpointPanic, 1_000_000));
            for second in 0..count {
                closes.push(closed(CloseCause::PeerGone, second));
            }
            let expected: Vec<u64> = (count.saturating_sub(kept)..count).collect();
            assert_eq!(seconds(&closes, Some(CloseKind::PeerGone)), expected);
            assert_eq!(
                seconds(&closes, Some(CloseKind::EndpointPanic)),
                [1_000_000],
                "a flood leaves the others"
            );
            assert!(seconds(&closes, Some(CloseKind::Shutdown)).is_empty());
            assert_eq!(seconds(&closes, None).len(), expected.len() + 1);
        }
    }

    #[test]
    fn a_long_reason_is_cut_as_in_the_close() {
        let code = CloseCode::NORMAL_CLOSURE;
        for (length, kept) in [(122, 122), (123, 123), (124, 123), (9999, 123)] {
            let reason = "x".repeat(length);
            let api = within_bounds(&CloseCause::Api(code, reason.clone()));
            assert_eq!(api.to_string().len(), kept);
            let endpoint = within_bounds(&CloseCause::Endpoint(code, Cow::Owned(reason)));
            assert_eq!(endpoint.to_string().len(), kept);
        }
        assert_eq!(within_bounds(&CloseCause::PeerGone), CloseCause::PeerGone);
    }

    #[test]
    fn a_place_costs_what_the_limit_says() {
        assert!(size_of::<Closed>() * CLOSES_KEPT <= 24 << 10, "{}", size_of::<Closed>());
    }
}
