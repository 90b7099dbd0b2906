//! The HTTP door to the rooms, as values: a request becomes a [`RoomsCall`], what came of it becomes
//! an [`Answer`] or a [`Refusal`].
//!
//! Nothing here touches a room, a socket or a clock: the shard carries the calls out. `GET` of
//! `/rooms/{room}` with an upgrade is the WebSocket relay's and does not come here.

mod content;
mod cors;
mod history;
mod json;
mod list;
mod parameters;
mod publish;
mod route;
#[cfg(test)]
pub(super) mod tests;

use crate::endpoint::api::ApiMethod;
use crate::id::ConnectionId;
use crate::protocol::{Kind, Refusal};
use crate::rooms::{Identity, Position, RoomName, Start};

pub use crate::rooms::IDEMPOTENCY_KEY_BYTES_MAX;
pub use content::check_payload;
pub use cors::cors_headers;
pub use history::{History, HistoryItem, gone};
pub(super) use json::{
    Form, Object, Text, bad_json, given, push_array, push_base64, push_name, push_plain_member, push_string,
    push_text_member,
};
pub use list::{RoomEntry, list_answer};
pub(super) use parameters::is_idempotency_key;
pub use parameters::{identity_from_query, start_from_query};
pub use publish::{PublishMany, parse_publish_many, publish_answer, publish_many_answer};
pub use route::{PATHS, is_rooms_path, route};

/// Response header: the epoch of the room, 16 hexadecimal digits.
pub const EPOCH_HEADER: &str = "Fanfare-Epoch";

/// Response header: the latest offset of the room, decimal.
pub const OFFSET_HEADER: &str = "Fanfare-Offset";

/// Response header: the offset behind which a stream begins, decimal.
pub const FROM_HEADER: &str = "Fanfare-From";

/// Response header: the client's own id, as `?exclude=` takes it.
pub const CLIENT_HEADER: &str = "Fanfare-Client";

/// How many publications or rooms are answered when `?limit=` does not say.
pub const LIMIT_DEFAULT: usize = 100;

/// The largest `?limit=` of `GET /rooms`.
pub const LIST_LIMIT_MAX: usize = 1000;

/// The largest `?limit=` of `GET /rooms/{room}`.
pub const HISTORY_LIMIT_MAX: usize = 10_000;

/// The most rooms that one `POST /rooms` publishes to.
pub const PUBLISH_ROOMS_MAX: usize = 1000;

/// Characters of a peer's value that are shown in a refusal.
const SHOWN_CHARS_MAX: usize = 64;

/// What an HTTP request asks of the rooms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomsCall {
    /// `POST /rooms/{room}`: the body is the message; see [`check_payload`], [`publish_answer`].
    Publish {
        /// The room.
        room: RoomName,
        /// A member that does not receive it.
        exclude: Option<ConnectionId>,
        /// A repeat with this key gets the first result; 1 to [`IDEMPOTENCY_KEY_BYTES_MAX`] bytes of
        /// visible ASCII.
        idempotency_key: Option<Box<str>>,
        /// What the body is, by its `Content-Type`.
        kind: Kind,
    },
    /// `POST /rooms`: the body is for [`parse_publish_many`], the answer [`publish_many_answer`].
    PublishMany,
    /// `GET /rooms/{room}`: see [`History`] and [`gone`].
    History {
        /// The room.
        room: RoomName,
        /// Only publications behind it; without it, from the oldest that is held.
        since: Option<Position>,
        /// The most publications, 1 to [`HISTORY_LIMIT_MAX`].
        limit: usize,
    },
    /// `GET /rooms`: see [`list_answer`].
    List {
        /// Only rooms behind this one, in the registry's order.
        after: Option<RoomName>,
        /// The most rooms, 1 to [`LIST_LIMIT_MAX`].
        limit: usize,
    },
    /// `POST /api/{method}`: the body is for [`crate::endpoint::api::parse_api`].
    Api(ApiMethod),
    /// `GET /rooms/{room}/events`: see [`super::events`] and [`gone`].
    Events {
        /// The room.
        room: RoomName,
        /// Where the stream begins.
        start: Start,
        /// How the reader wants to be known.
        identity: Option<Identity>,
    },
}

impl RoomsCall {
    /// Whether the request's body is part of the call.
    pub fn wants_body(&self) -> bool {
        matches!(self, RoomsCall::Publish { .. } | RoomsCall::PublishMany | RoomsCall::Api(_))
    }

    /// Whether [`super::authorize`] decides about it: publishing, listing and the server API. Who may join a room may
    /// also read it.
    pub fn needs_key(&self) -> bool {
        self.wants_body() || matches!(self, RoomsCall::List { .. })
    }
}

/// What became of a request to one of the door's paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Routed {
    /// The rooms are asked.
    Call {
        /// For what.
        call: RoomsCall,
        /// What [`cors_headers`] gave; belongs on whatever is answered, refusals too.
        headers: Vec<(&'static str, String)>,
    },
    /// The answer is known already, and whole (OPTIONS).
    Answer(Answer),
}

/// A response, but for what every response has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Header fields besides those every response has.
    pub headers: Vec<(&'static str, String)>,
    /// The value of Content-Type; empty if there is no content (204).
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// 200 with this body. Nobody may store it, as what it says moves on, and no browser may take it for
    /// something else, as there may be in it what peers said.
    pub fn new(content_type: &'static str, body: Vec<u8>) -> Answer {
        let headers =
            vec![("Cache-Control", "no-store".to_owned()), ("X-Content-Type-Options", "nosniff".to_owned())];
        Answer { status: 200, headers, content_type, body }
    }

    /// The same with a JSON body.
    pub fn json(body: Vec<u8>) -> Answer {
        Answer::new("application/json", body)
    }

    /// The same with [`EPOCH_HEADER`] and [`OFFSET_HEADER`].
    fn at(mut self, position: Position) -> Answer {
        self.headers.push((EPOCH_HEADER, position.epoch.to_string()));
        self.headers.push((OFFSET_HEADER, position.offset.to_string()));
        self
    }

    /// The same with these header fields too.
    pub fn with_headers(mut self, headers: Vec<(&'static str, String)>) -> Answer {
        self.headers.extend(headers);
        self
    }
}

/// A 400.
fn bad_request(text: String) -> Refusal {
    Refusal::new(400, text)
}
