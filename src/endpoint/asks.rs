//! What an endpoint asks of the rooms, and what it is answered ([`super::Endpoint::answered`]).

use super::{OwnMessages, Payload};
use crate::id::ConnectionId;
use crate::rooms::{
    Encoding, Entry, Epoch, Extent, Identity, NoList, OutOfWindow, Piece, Position, PresenceStats, Present,
    RoomName, Sender, Start,
};

/// A question to the rooms. It is carried out in its place among the effects, and answered at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask<'m> {
    /// Become known to the others, by a name or without one. Answered with [`Answer::Introduced`].
    Introduce(Option<Identity>),
    /// Become a member of a room. Answered with [`Answer::Subscribed`] or [`Answer::Refused`].
    Subscribe(RoomName, Subscription),
    /// Stop being a member of a room, whether it is one or not. Answered with [`Answer::Done`].
    Unsubscribe(RoomName),
    /// Publish to a room that it is a member of. Answered with [`Answer::Done`] or [`Answer::Refused`].
    Publish(RoomName, Payload<'m>),
    /// Read a room's history. Answered with [`Answer::History`] or [`Answer::Refused`].
    History(RoomName, HistoryQuery),
    /// List who is in a room. Answered with [`Answer::Presence`] or [`Answer::Refused`].
    Presence(RoomName),
    /// Count who is in a room. Answered with [`Answer::PresenceStats`] or [`Answer::Refused`].
    PresenceStats(RoomName),
    /// Nothing but to be answered in its place among the effects, with [`Answer::Done`].
    Nothing,
}

/// How a connection wants to be a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Whether it gets what it sends itself.
    pub own: OwnMessages,
    /// Where it left off, if it was a member before; else it begins with what comes.
    pub recover: Option<Recover>,
    /// How messages are sent to it.
    pub encoding: Encoding,
    /// Whether it is told who joins and leaves.
    pub watches: bool,
}

/// Where a member left off. If the room does not hold all since, it begins with what comes, and is told so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recover {
    /// The life of the room, if it knows.
    pub epoch: Option<Epoch>,
    /// The offset of the last message that it has.
    pub offset: u64,
}

impl Recover {
    /// The same as where a member begins.
    pub fn start(self) -> Start {
        match self.epoch {
            Some(epoch) => Start::Since(Position { epoch, offset: self.offset }),
            None => Start::After(self.offset),
        }
    }
}

/// Which part of a history is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryQuery {
    /// The place where it begins: behind it, or in reverse before it.
    pub since: Option<Recover>,
    /// Messages at most; none asks only for the position.
    pub limit: usize,
    /// The newest first.
    pub reverse: bool,
}

/// One message of a room.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Its place in the room.
    pub offset: u64,
    /// Who sent it, and whether it is text.
    pub entry: &'a Entry,
    /// What the sender wrote.
    pub payload: &'a [u8],
}

/// Consecutive messages of a room.
#[derive(Clone, Debug, Default)]
pub struct Messages {
    /// Where they lie.
    pub pieces: Vec<Piece>,
    /// Whose they are to be: what a back end spares it is left out.
    pub reader: Option<ConnectionId>,
}

impl Messages {
    /// The messages, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Told<'_>> {
        let reader = self.reader;
        self.pieces.iter().flat_map(move |piece| {
            (piece.first..piece.end).filter_map(move |index| {
                let entry = &piece.batch.entries()[index as usize];
                let exclude = if let Sender::Api { exclude } = entry.sender { exclude } else { None };
                let spared = exclude.is_some() && exclude == reader;
                let offset = piece.offset_before + 1 + u64::from(index - piece.first);
                (!spared).then(|| Told { offset, entry, payload: piece.batch.payload(index) })
            })
        })
    }
}

/// What came of a question.
#[derive(Clone, Debug)]
pub enum Answer<'a> {
    /// The others know it by this id: its own, or that of the connection that it comes back for.
    Introduced(ConnectionId),
    /// It is a member.
    Subscribed(&'a Subscribed),
    /// It is done.
    Done,
    /// A part of the history.
    History {
        /// What the room holds.
        extent: Extent,
        /// The messages, in offset order.
        messages: &'a Messages,
    },
    /// Who is there, by client id.
    Presence(&'a [Present]),
    /// How many are there.
    PresenceStats(PresenceStats),
    /// It was not done.
    Refused(AskError),
}

/// Where a member begins.
#[derive(Clone, Debug)]
pub struct Subscribed {
    /// What the room holds.
    pub extent: Extent,
    /// Whether all since it left off follows, if it wanted that.
    pub recovered: Option<bool>,
    /// Whether it gets every message from here on, or may be skipped over some.
    pub complete: bool,
    /// The first of the messages that it gets; the others follow in its encoding.
    pub messages: Messages,
    /// The offset before the first message that it gets, here or later.
    pub from: u64,
}

/// Why a question was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// It is a member already.
    #[error("this connection is in the room already")]
    AlreadyMember,
    /// It has all the memberships that it may have.
    #[error("a connection may be in {limit} rooms (--max-memberships)")]
    TooManyMemberships {
        /// How many it may have.
        limit: usize,
    },
    /// It may not publish where it is no member.
    #[error("only members of the room may publish here; subscribe first")]
    NotMember,
    /// Something since the position is not held any more, or is of another life of the room.
    #[error("the room does not hold what follows this position any more; it is at {}", .0.0.position())]
    OutOfWindow(OutOfWindow),
    /// Nobody counts who is in this room.
    #[error("nobody counts who is in this room (--presence)")]
    NotCounted,
    /// There is no list of who is in this room.
    #[error(transparent)]
    NoList(NoList),
    /// So many answers wait already to be taken by others.
    #[error("{waiting} bytes of answers wait to be taken; up to {limit} are allowed ({flag}); try again")]
    Busy {
        /// Bytes that wait.
        waiting: usize,
        /// Bytes that may wait.
        limit: usize,
        /// The flag that decides.
        flag: &'static str,
    },
}

/// Why a connection is not a member of a room any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// The room's window has left it behind, and it can come back.
    OutOfWindow,
    /// A back end has removed it.
    Api,
}
