//! Carries out what endpoints ask of the rooms, and tells them what came of it.

use crate::endpoint::{
    Answer, Ask, AskError, CloseCause, HistoryQuery, Messages, Payload, Removal, Subscribed, Subscription,
};
use crate::id::ConnectionId;
use crate::rooms::{
    Epoch, Extent, LagPolicy, NoList, OutOfWindow, Piece, PresenceLevel, PresenceStats, Present, ReadLimits,
    Room, RoomName, Start,
};
use crate::slab::Key;

use super::Core;
use super::membership::{JoinError, Wish};
use super::session::Session;

/// Bytes of frames that an answer carries at most, but for a single message: escaped or in base64 they
/// still are fewer than a connection's answers may pin.
const ANSWER_BYTES: usize = 128 << 10;
/// Answers that may ask again, each in the answer to the one before.
const ASKS_DEPTH_MAX: u8 = 8;

/// What a room that is not there holds: of a life that no room has.
const NOWHERE: Extent = Extent { epoch: Epoch::NONE, start: 0, last: 0 };

impl<S> Core<S> {
    /// Carries out what was asked, and what the endpoint makes of the answer.
    pub(super) fn ask(
        &mut self,
        key: Key,
        session: &mut Session,
        question: u32,
        ask: Ask<'_>,
    ) -> Option<CloseCause> {
        if self.asks_depth == ASKS_DEPTH_MAX {
            tracing::error!("the endpoint asks again in every answer");
            return Some(CloseCause::EndpointPanic);
        }
        self.asks_depth += 1;
        let closed = self.carry_out_ask(key, session, question, ask);
        self.asks_depth -= 1;
        closed
    }

    fn carry_out_ask(
        &mut self,
        key: Key,
        session: &mut Session,
        question: u32,
        ask: Ask<'_>,
    ) -> Option<CloseCause> {
        let refused = Answer::Refused;
        match ask {
            Ask::Introduce(identity) => {
                let client = self.introduce(key, session, identity);
                self.tell_answer(key, session, question, Answer::Introduced(client))
            }
            Ask::Subscribe(room, wanted) => match self.subscribe(key, session, &room, wanted) {
                Ok(subscribed) => self.tell_answer(key, session, question, Answer::Subscribed(&subscribed)),
                Err(error) => self.tell_answer(key, session, question, refused(error)),
            },
            Ask::Unsubscribe(room) => {
                self.leave_room(key, session, &room);
                self.tell_answer(key, session, question, Answer::Done)
            }
            Ask::Publish(room, payload) => {
                let published = self.publish_as_member(key, session, &room, &payload);
                let answer = published.map_or_else(refused, |()| Answer::Done);
                self.tell_answer(key, session, question, answer)
            }
            Ask::History(room, query) => match self.read_history(key, session, &room, query) {
                Ok((extent, messages)) => {
                    let answer = Answer::History { extent, messages: &messages };
                    self.tell_answer(key, session, question, answer)
                }
                Err(error) => self.tell_answer(key, session, question, refused(error)),
            },
            Ask::Presence(room) => match self.list_present(&room) {
                Ok(present) => self.tell_answer(key, session, question, Answer::Presence(&present)),
                Err(error) => self.tell_answer(key, session, question, refused(error)),
            },
            Ask::PresenceStats(room) => {
                let answer = self.count_present(&room).map_or_else(refused, Answer::PresenceStats);
                self.tell_answer(key, session, question, answer)
            }
            Ask::Nothing => self.tell_answer(key, session, question, Answer::Done),
        }
    }

    /// Tells the endpoint that a connection is not a member of a room any more.
    pub(super) fn tell_removed(
        &mut self,
        key: Key,
        session: &mut Session,
        room: &RoomName,
        removal: Removal,
    ) -> Option<CloseCause> {
        let id = self.connection_id(key);
        self.call(key, session, |endpoint, effects| endpoint.removed(id, room, removal, effects))
    }

    fn tell_answer(
        &mut self,
        key: Key,
        session: &mut Session,
        question: u32,
        answer: Answer<'_>,
    ) -> Option<CloseCause> {
        let id = self.connection_id(key);
        self.call(key, session, |endpoint, effects| endpoint.answered(id, question, answer, effects))
    }

    /// Makes a connection a member, and reads what it begins with.
    fn subscribe(
        &mut self,
        key: Key,
        session: &mut Session,
        name: &RoomName,
        wanted: Subscription,
    ) -> Result<Subscribed, AskError> {
        if self.is_member(session, name) {
            return Err(AskError::AlreadyMember);
        }
        let Subscription { own, recover, encoding, watches } = wanted;
        let start = recover.map_or(Start::Live, |recover| recover.start());
        let wish = Wish { own, start, encoding, watches };
        let joined = match self.try_join(key, session, name, wish) {
            Err(JoinError::OutOfWindow(_)) if recover.is_some() => {
                let live = Wish { start: Start::Live, ..wish };
                self.try_join(key, session, name, live).map(|joined| (joined, Some(false)))
            }
            joined => joined.map(|joined| (joined, recover.map(|_| true))),
        };
        let (joined, recovered) = joined.map_err(|error| match error {
            JoinError::TooManyMemberships => {
                AskError::TooManyMemberships { limit: self.settings.memberships_max }
            }
            JoinError::OutOfWindow(out) => AskError::OutOfWindow(out),
        })?;
        let joined_here = self.rooms.membership(session.memberships).and_then(|own| self.rooms.of(own));
        let policy = joined_here.expect("just joined").policy;
        // One that does not take its answers gets what it missed as it comes to take it.
        let busy = session.outbound.pinned_reply_bytes() > self.settings.reply_bytes_high;
        let pieces = match busy {
            true => Vec::new(),
            // A join puts the membership at the head of the list.
            false => self.rooms.take_begun(session.memberships, ANSWER_BYTES),
        };
        let complete = policy != LagPolicy::Latest;
        let messages = Messages { pieces, reader: Some(self.client(key, session)) };
        Ok(Subscribed { extent: joined.extent, recovered, complete, messages, from: joined.from })
    }

    fn publish_as_member(
        &mut self,
        key: Key,
        session: &Session,
        name: &RoomName,
        payload: &Payload<'_>,
    ) -> Result<(), AskError> {
        let room = self.rooms.find(name).ok_or(AskError::NotMember)?;
        let membership = self.rooms.membership_in(session.memberships, room).ok_or(AskError::NotMember)?;
        let place = (room, self.rooms.membership_key(membership));
        let message = (payload.kind(), payload.data());
        let publisher = self.publisher(key, session);
        self.publications.push(&mut self.rooms, place, publisher, message);
        Ok(())
    }

    fn is_member(&self, session: &Session, name: &RoomName) -> bool {
        let room = self.rooms.find(name);
        room.is_some_and(|room| self.rooms.membership_in(session.memberships, room).is_some())
    }

    /// Reads a part of a room's history for a connection.
    fn read_history(
        &mut self,
        key: Key,
        session: &Session,
        name: &RoomName,
        query: HistoryQuery,
    ) -> Result<(Extent, Messages), AskError> {
        if query.limit > 0 {
            self.check_answers(session)?;
        }
        let reader = Some(self.client(key, session));
        self.read_part(name, query, ANSWER_BYTES, reader)
    }

    /// Refuses what may be long while too much waits to be taken, by this connection or by all of the shard.
    fn check_answers(&self, session: &Session) -> Result<(), AskError> {
        // The other half is for the answer itself: escaped, and in front of small ones that follow.
        let half = self.settings.queue_bytes_max / 2;
        check_waiting(session.outbound.pinned_reply_bytes(), half, "half of --queue-bytes")?;
        self.check_http_bytes()
    }

    /// Refuses what may be long while the answers of this shard that wait to be taken are too many.
    pub(super) fn check_http_bytes(&self) -> Result<(), AskError> {
        check_waiting(self.http_bytes, self.settings.http_bytes_max, "--http-bytes")
    }

    /// Reads a part of a room's history of about so many bytes of frames, for a connection or for nobody in
    /// particular. What was said there in this turn before is in it.
    pub(super) fn read_part(
        &mut self,
        name: &RoomName,
        query: HistoryQuery,
        bytes_max: usize,
        reader: Option<ConnectionId>,
    ) -> Result<(Extent, Messages), AskError> {
        if let Some(room) = self.rooms.find(name) {
            self.publish_pending(room);
        }
        let mut messages = Messages { pieces: Vec::new(), reader };
        let Some(room) = self.rooms.registry().find(name) else {
            // It is in another life than any position that names one.
            return match query.since.and_then(|since| since.epoch) {
                None | Some(Epoch::NONE) => Ok((NOWHERE, messages)),
                Some(_) => Err(AskError::OutOfWindow(OutOfWindow(NOWHERE))),
            };
        };
        if query.limit == 0 {
            return Ok((room.extent(self.now), messages));
        }
        let (extent, pieces) = match query.reverse {
            false => self.read_forward(&room, query, bytes_max)?,
            true => self.read_backward(&room, query, bytes_max)?,
        };
        messages.pieces = pieces;
        Ok((extent, messages))
    }

    fn read_forward(
        &self,
        room: &Room,
        query: HistoryQuery,
        bytes_max: usize,
    ) -> Result<(Extent, Vec<Piece>), AskError> {
        let start = query.since.map_or(Start::Last(u64::MAX), |since| since.start());
        let messages_max = query.limit as u64;
        let limits = ReadLimits { bytes_max, messages_max, ..ReadLimits::NONE };
        let mut pieces = Vec::new();
        let (_, extent) =
            room.read_from(start, self.now, limits, &mut pieces).map_err(AskError::OutOfWindow)?;
        Ok((extent, pieces))
    }

    /// Reads the last messages before a place, or of all.
    fn read_backward(
        &self,
        room: &Room,
        query: HistoryQuery,
        bytes_max: usize,
    ) -> Result<(Extent, Vec<Piece>), AskError> {
        let mut pieces = Vec::new();
        let all = Start::Last(u64::MAX);
        let (_, extent) =
            room.read_from(all, self.now, ReadLimits::NONE, &mut pieces).map_err(AskError::OutOfWindow)?;
        let until = match query.since {
            None => extent.last,
            Some(since) if since.epoch.is_some_and(|epoch| epoch != extent.epoch) => {
                return Err(AskError::OutOfWindow(OutOfWindow(extent)));
            }
            Some(since) => since.offset.saturating_sub(1).min(extent.last),
        };
        let after = until.saturating_sub(query.limit as u64);
        let mut bytes = 0;
        let mut kept: Vec<Piece> = pieces
            .iter()
            .rev()
            .map(|piece| piece.until(until).behind(after))
            .filter(|piece| piece.first < piece.end)
            .take_while(|piece| {
                let before = bytes;
                bytes += piece.frame_bytes();
                before < bytes_max
            })
            .collect();
        kept.reverse();
        Ok((extent, kept))
    }

    pub(super) fn list_present(&self, name: &RoomName) -> Result<Vec<Present>, AskError> {
        let registry = self.rooms.registry();
        let Some(room) = registry.find(name) else {
            return match registry.presence_level(name) {
                PresenceLevel::Full => Ok(Vec::new()),
                level => Err(AskError::NoList(NoList::NotKept { level })),
            };
        };
        room.presence_list(self.settings.presence_members_max).map_err(AskError::NoList)
    }

    pub(super) fn count_present(&self, name: &RoomName) -> Result<PresenceStats, AskError> {
        let registry = self.rooms.registry();
        let Some(room) = registry.find(name) else {
            return match registry.presence_level(name) {
                PresenceLevel::Off => Err(AskError::NotCounted),
                _ => Ok(PresenceStats::default()),
            };
        };
        room.presence_stats().ok_or(AskError::NotCounted)
    }
}

fn check_waiting(waiting: usize, limit: usize, flag: &'static str) -> Result<(), AskError> {
    if waiting > limit { Err(AskError::Busy { waiting, limit, flag }) } else { Ok(()) }
}
