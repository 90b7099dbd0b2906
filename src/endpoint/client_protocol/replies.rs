//! Replies and pushes, appended to a buffer in either framing.

use super::{
    Client, ConnectReply, DisconnectCode, ErrorCode, Framing, HistoryReply, Method, Publication,
    SubscribeReply, UnsubscribeCode, json_replies as json, protobuf_replies as protobuf,
};
use crate::endpoint::Told;
use crate::rooms::Present;

/// Appends a publication as an object in JSON, as it stands in the answer to `history`.
pub(in crate::endpoint) fn push_json_publication(out: &mut Vec<u8>, told: Told<'_>) {
    json::push_publication_object(out, &told.into());
}

/// Appends who is in a channel as an object in JSON, as it stands in the answer to `presence`.
pub(in crate::endpoint) fn push_json_presence(out: &mut Vec<u8>, present: &[Present]) {
    json::push_clients(out, present.iter().map(Client::from));
}

/// Appends a publication for the members of `channel`.
pub fn push_publication(out: &mut Vec<u8>, framing: Framing, channel: &str, publication: &Publication<'_>) {
    match framing {
        Framing::Json => json::push_publication(out, channel, publication),
        Framing::Protobuf => protobuf::push_publication(out, channel, publication),
    }
}

/// Appends that a client joined `channel`.
pub fn push_join(out: &mut Vec<u8>, framing: Framing, channel: &str, client: &Client<'_>) {
    match framing {
        Framing::Json => json::push_client_event(out, channel, "join", client),
        Framing::Protobuf => protobuf::push_join(out, channel, client),
    }
}

/// Appends that a client left `channel`.
pub fn push_leave(out: &mut Vec<u8>, framing: Framing, channel: &str, client: &Client<'_>) {
    match framing {
        Framing::Json => json::push_client_event(out, channel, "leave", client),
        Framing::Protobuf => protobuf::push_leave(out, channel, client),
    }
}

/// Appends that the server ended the subscription to `channel`.
pub fn push_unsubscribe(out: &mut Vec<u8>, framing: Framing, channel: &str, code: UnsubscribeCode) {
    match framing {
        Framing::Json => json::push_unsubscribe(out, channel, code),
        Framing::Protobuf => protobuf::push_unsubscribe(out, channel, code),
    }
}

/// Appends that the connection is being closed. Over WebSocket the Close frame says it; this is for
/// transports that have none.
pub fn push_disconnect(out: &mut Vec<u8>, framing: Framing, code: DisconnectCode) {
    match framing {
        Framing::Json => json::push_disconnect(out, code),
        Framing::Protobuf => protobuf::push_disconnect(out, code),
    }
}

/// Appends the server's ping: the empty reply.
pub fn push_ping(out: &mut Vec<u8>, framing: Framing) {
    out.extend_from_slice(match framing {
        Framing::Json => b"{}",
        Framing::Protobuf => &[0],
    });
}

/// Appends the refusal of command `id`, in the protocol's own words.
pub fn push_error(out: &mut Vec<u8>, framing: Framing, id: u32, error: ErrorCode) {
    push_error_saying(out, framing, id, error, error.message());
}

/// Appends the refusal of command `id` in words that help whoever wrote the client; not empty, as the
/// Python SDK reads them without asking.
pub fn push_error_saying(out: &mut Vec<u8>, framing: Framing, id: u32, error: ErrorCode, message: &str) {
    match framing {
        Framing::Json => json::push_error(out, id, error, message),
        Framing::Protobuf => protobuf::push_error(out, id, error, message),
    }
}

/// Appends the answer to `connect`.
pub fn push_connect_reply(out: &mut Vec<u8>, framing: Framing, id: u32, reply: &ConnectReply<'_>) {
    match framing {
        Framing::Json => json::push_connect_reply(out, id, reply),
        Framing::Protobuf => protobuf::push_connect_reply(out, id, reply),
    }
}

/// Appends the answer to `subscribe`.
pub fn push_subscribe_reply<'a>(
    out: &mut Vec<u8>,
    framing: Framing,
    id: u32,
    reply: SubscribeReply<impl IntoIterator<Item = Publication<'a>>>,
) {
    match framing {
        Framing::Json => json::push_subscribe_reply(out, id, reply),
        Framing::Protobuf => protobuf::push_subscribe_reply(out, id, reply),
    }
}

/// Appends the answer to a command whose result has nothing in it.
pub fn push_empty_reply(out: &mut Vec<u8>, framing: Framing, id: u32, method: Method) {
    match framing {
        Framing::Json => json::push_empty_reply(out, id, method),
        Framing::Protobuf => protobuf::push_empty_reply(out, id, method),
    }
}

/// Appends the answer to `history`.
pub fn push_history_reply<'a>(
    out: &mut Vec<u8>,
    framing: Framing,
    id: u32,
    reply: HistoryReply<impl IntoIterator<Item = Publication<'a>>>,
) {
    match framing {
        Framing::Json => json::push_history_reply(out, id, reply),
        Framing::Protobuf => protobuf::push_history_reply(out, id, reply),
    }
}

/// Appends the answer to `presence`: every client once.
pub fn push_presence_reply<'a>(
    out: &mut Vec<u8>,
    framing: Framing,
    id: u32,
    clients: impl IntoIterator<Item = Client<'a>>,
) {
    match framing {
        Framing::Json => json::push_presence_reply(out, id, clients),
        Framing::Protobuf => protobuf::push_presence_reply(out, id, clients),
    }
}

/// Appends the answer to `presence_stats`: how many connections, and how many different users.
pub fn push_presence_stats_reply(out: &mut Vec<u8>, framing: Framing, id: u32, clients: u32, users: u32) {
    match framing {
        Framing::Json => json::push_presence_stats_reply(out, id, clients, users),
        Framing::Protobuf => protobuf::push_presence_stats_reply(out, id, clients, users),
    }
}
