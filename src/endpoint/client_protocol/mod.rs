//! The Centrifugo client protocol (version 2) as values and functions: a frame's bytes in, commands out;
//! replies and pushes in, bytes out. It knows no room, no member and no connection's state.
//!
//! The schema is `client.proto` of the protocol. Replies and pushes carry what the JavaScript and Python
//! SDKs read without asking whether it is there; what is empty is left out elsewhere, as the reference
//! server does.
//!
//! # Framing
//!
//! In [`Framing::Json`] a frame is text and its commands stand on a line each. In [`Framing::Protobuf`] a
//! frame is binary and each command has its length before it, as a varint. [`decode`] reads both. Each
//! reply and push is made to be a frame of its own; more of them may stand in one frame, in JSON with a
//! line feed between, in Protobuf one behind the other.
//!
//! # Payloads
//!
//! In Protobuf framing `data` of a publication is the payload's bytes, whatever they are. In JSON framing
//! it is
//!
//! * the payload as it was published, if it is JSON that every common parser can read. Line feeds and
//!   carriage returns between its values become spaces, as a line feed would end the reply;
//! * the payload as a string, with `"tags":{"form":"text"}`, if it is other text;
//! * the payload as a string in base64 (RFC 4648 §4), with `"tags":{"form":"base64"}`, if it is binary.
//!
//! SDKs hand the tags to the application, in JavaScript as `ctx.tags`, in Python as `ctx.pub.tags`.
//! Without tags, `data` is what was published. JSON that is nested more than 60 deep, has a number beyond a
//! double or half a surrogate pair goes as `text`, so that one member cannot break the others' parsers.

mod checks;
mod codes;
mod decode;
mod endpoint;
mod json_commands;
mod json_replies;
mod model;
mod protobuf_commands;
mod protobuf_replies;
mod replies;
mod state;
#[cfg(test)]
mod tests;

use crate::protocol::Kind;

pub(in crate::endpoint) use checks::recover;
pub use codes::{DisconnectCode, ErrorCode, UnsubscribeCode};
pub use decode::{COMMANDS_PER_MESSAGE_MAX, Commands, DecodeError, Problem, decode};
pub use endpoint::{ClientProtocol, ClientProtocolSettings, ERRORS_IN_A_ROW_MAX, HISTORY_LIMIT_MAX};
pub use model::{
    Client, Command, Connect, ConnectReply, Data, FLAG_CHANNEL_COMPACTION, FLAG_REJECT_UNRECOVERED, History,
    HistoryReply, Method, Publication, Request, SDK_NAMES, StreamPosition, Subscribe, SubscribeReply,
};
pub use replies::{
    push_connect_reply, push_disconnect, push_empty_reply, push_error, push_error_saying, push_history_reply,
    push_join, push_leave, push_ping, push_presence_reply, push_presence_stats_reply, push_publication,
    push_subscribe_reply, push_unsubscribe,
};
pub(in crate::endpoint) use replies::{push_json_presence, push_json_publication};

/// How messages stand in frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// One JSON object per line, in text frames.
    Json,
    /// Protobuf messages with their lengths, in binary frames.
    Protobuf,
}

impl Framing {
    /// What the frames are.
    pub fn kind(self) -> Kind {
        match self {
            Framing::Json => Kind::Text,
            Framing::Protobuf => Kind::Binary,
        }
    }
}
