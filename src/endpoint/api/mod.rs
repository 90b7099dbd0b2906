//! The server API that Centrifugo's server libraries call, as values: the body of `POST /api/{method}`
//! becomes [`ApiCall`]s, what came of each an [`ApiResult`] or an [`ApiError`], and those an answer.
//!
//! The schema is `api.proto` of centrifugal/centrifugo, as JSON. A channel of it is a room of ours. As
//! there, what a call is refused for is an answer with status 200, `{"error":{"code","message"}}`, and a
//! body that is not the schema's a 400; fields that we do not know are ignored, as libraries may send
//! newer ones. What we know and do not have is refused rather than half done ([`ErrorCode::NotAvailable`]).
//!
//! Nothing here touches a room: the shard carries the calls out.

mod answers;
mod checks;
mod method;
mod requests;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::endpoint::client_protocol::{DisconnectCode, ErrorCode};
use crate::endpoint::{AskError, HistoryQuery, Messages};
use crate::id::ConnectionId;
use crate::protocol::{CloseCode, Kind, Refusal};
use crate::rooms::{Epoch, Extent, Position, PresenceStats, Present, RoomName};

pub use answers::{api_answer, api_batch_answer};
pub use method::ApiMethod;
pub use requests::{check_api_publications, parse_api};

/// The most commands of one `batch`.
pub const BATCH_COMMANDS_MAX: usize = 1000;

/// The most channels that one request publishes to, over all of its commands: each may be a new room.
pub const PUBLICATIONS_MAX: usize = crate::endpoint::http::PUBLISH_ROOMS_MAX;

/// The most channels of one answer to `channels`.
pub const CHANNELS_MAX: usize = crate::endpoint::http::LIST_LIMIT_MAX;

/// The most rooms whose names `channels` compares with its pattern: a worker does nothing else meanwhile.
pub const CHANNELS_LOOKED_AT_MAX: usize = 100_000;

/// The most publications of one answer to `history`.
pub const HISTORY_LIMIT_MAX: usize = crate::endpoint::http::HISTORY_LIMIT_MAX;

/// Bytes over which an answer to `history` ends: who gets fewer publications than there are reads on from
/// the last.
pub const HISTORY_ANSWER_BYTES: usize = 256 << 10;

/// Bytes of answers over which the commands of a `batch` that can have long ones are refused.
pub const BATCH_ANSWER_BYTES: usize = 1 << 20;

/// The most client ids of the `whitelist` of `disconnect`.
pub const WHITELIST_MAX: usize = 1000;

/// What `disconnect` closes with if it does not say: the client stays away.
pub const DISCONNECT_DEFAULT: (DisconnectCode, &str) = (DisconnectCode::ForceNoReconnect, "force disconnect");

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiCall<'b> {
    /// Publish to a room. Gives [`ApiResult::Published`].
    Publish(RoomName, Message<'b>),
    /// Publish the same to many rooms, 1 to [`PUBLICATIONS_MAX`]; of one whose name is wrong, why. Gives
    /// [`ApiResult::Broadcast`].
    Broadcast(Vec<Result<RoomName, ApiError>>, Message<'b>),
    /// List who is in a room. Gives [`ApiResult::Presence`].
    Presence(RoomName),
    /// Count who is in a room. Gives [`ApiResult::PresenceStats`].
    PresenceStats(RoomName),
    /// Read a part of a room's history. Gives [`ApiResult::History`].
    History(RoomName, HistoryQuery),
    /// List the rooms with members whose names match a pattern, in which `*` stands for any characters.
    /// Gives [`ApiResult::Channels`].
    Channels(String),
    /// Tell about the server. Gives [`ApiResult::Info`].
    Info,
    /// End connections. Gives [`ApiResult::Done`].
    Disconnect {
        /// Whose.
        of: Target,
        /// Those that stay, up to [`WHITELIST_MAX`].
        spared: Vec<ConnectionId>,
        /// The code of the Close, 3000 to 4999.
        code: CloseCode,
        /// Its reason, which fits into the frame.
        reason: String,
    },
    /// End memberships of a room. Gives [`ApiResult::Done`].
    Unsubscribe(RoomName, Target),
}

impl ApiCall<'_> {
    /// To how many rooms it publishes.
    pub fn publications(&self) -> usize {
        match self {
            ApiCall::Publish(..) => 1,
            ApiCall::Broadcast(rooms, _) => rooms.len(),
            _ => 0,
        }
    }

    /// Whether its answer can be long.
    pub fn reads(&self) -> bool {
        match self {
            ApiCall::History(_, query) => query.limit > 0,
            call => matches!(call, ApiCall::Presence(_) | ApiCall::Channels(_)),
        }
    }
}

/// What is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'b> {
    /// `data`, byte for byte as it was written, or what `b64data` stands for.
    pub payload: Cow<'b, [u8]>,
    /// Text if it is `data`, binary if it is `b64data`.
    pub kind: Kind,
    /// A repeat with this key gets the first result, in each room for itself.
    pub idempotency_key: Option<Cow<'b, str>>,
}

/// Whose connections a call is about: those of a user, and of them the one with this id if one is given; with
/// an empty user the one with this id, whatever its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The name that the connection says; empty, and only with a client, for one that says none.
    pub user: String,
    /// The client's id.
    pub client: Option<ConnectionId>,
}

/// What came of a call.
#[derive(Clone, Debug)]
pub enum ApiResult {
    /// It is in the room, there.
    Published(Position),
    /// The same room by room, in the order asked for.
    Broadcast(Vec<Result<Position, ApiError>>),
    /// Who is there.
    Presence(Vec<Present>),
    /// How many are there.
    PresenceStats(PresenceStats),
    /// A part of the history.
    History {
        /// What the room holds.
        extent: Extent,
        /// The messages, oldest first.
        messages: Messages,
        /// Whether the newest is answered first.
        reverse: bool,
    },
    /// Rooms and their members.
    Channels(Vec<(RoomName, usize)>),
    /// The server.
    Info(NodeInfo),
    /// It is done, or on its way to where it is done.
    Done,
}

/// What is known of the server. Of its users it knows no number: their names are counted by room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its life: another after each start.
    pub life: Epoch,
    /// Connections of any kind, those of HTTP clients too.
    pub connections: usize,
    /// Rooms with members or a history.
    pub rooms: usize,
    /// Seconds since it was started.
    pub uptime_seconds: u64,
}

/// Why a call was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The number, one of those that Centrifugo's libraries know.
    pub code: ErrorCode,
    /// What was seen and what is allowed.
    pub message: Cow<'static, str>,
}

impl ApiError {
    /// An error that says more than its number.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> ApiError {
        ApiError { code, message: message.into() }
    }

    /// The refusal of a whole request that has no place for an error of its own: 413 with the number as
    /// `code`.
    pub fn into_refusal(self) -> Refusal {
        Refusal::new(413, self.message).with_detail("code", self.code.code())
    }
}

impl From<AskError> for ApiError {
    fn from(error: AskError) -> ApiError {
        ApiError::new(error.code(), error.to_string())
    }
}

/// What the body of a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiRequest<'b> {
    /// One call, or why it cannot be one.
    One(Result<ApiCall<'b>, ApiError>),
    /// Calls to be carried out one behind the other.
    Batch(Vec<ApiCommand<'b>>),
}

/// A command of a batch: its method, if it names one, and its call, or why it cannot be one.
pub type ApiCommand<'b> = (Option<ApiMethod>, Result<ApiCall<'b>, ApiError>);
