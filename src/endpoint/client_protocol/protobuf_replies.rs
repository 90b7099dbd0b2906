//! Replies and pushes in Protobuf, each behind its length.
//!
//! Field numbers are those of `client.proto`; fields that have their default are left out, but for
//! a publication's data.

use std::io::Write as _;

use buffa::encoding::{encode_varint, varint_len};
use buffa::types::{
    bytes_encoded_len, put_bool_field, put_bytes_field, put_len_delimited_header, put_string_field,
    put_uint32_field, put_uint64_field, string_encoded_len, uint64_encoded_len,
};

use super::{
    Client, ConnectReply, DisconnectCode, ErrorCode, HistoryReply, Method, Publication, SubscribeReply,
    UnsubscribeCode,
};
use crate::id::ConnectionId;

/// Bytes of a tag: every field that we write has a number below 16.
const TAG_BYTES: usize = 1;

/// The longest text of a [`ConnectionId`]: three digits, a hyphen and 16 digits.
const CLIENT_BYTES_MAX: usize = 20;

pub(super) fn push_publication(out: &mut Vec<u8>, channel: &str, publication: &Publication<'_>) {
    // Sizes first: a payload may be large, and is to be copied only once.
    let body = Body::of(publication);
    let push = field_bytes(string_encoded_len(channel)) + message_bytes(body.bytes);
    let reply = message_bytes(push);
    out.reserve(reply + varint_len(reply as u64));
    encode_varint(reply as u64, out);
    put_len_delimited_header(4, push as u64, out);
    put_string_field(2, channel, out);
    body.put(out, 4);
}

pub(super) fn push_join(out: &mut Vec<u8>, channel: &str, client: &Client<'_>) {
    push_push(out, channel, |out| put_message(out, 5, |out| put_client(out, 1, client)));
}

pub(super) fn push_leave(out: &mut Vec<u8>, channel: &str, client: &Client<'_>) {
    push_push(out, channel, |out| put_message(out, 6, |out| put_client(out, 1, client)));
}

pub(super) fn push_unsubscribe(out: &mut Vec<u8>, channel: &str, code: UnsubscribeCode) {
    push_push(out, channel, |out| {
        put_message(out, 7, |out| {
            put_uint32_field(2, code.code().into(), out);
            put_string_field(3, code.reason(), out);
        });
    });
}

pub(super) fn push_disconnect(out: &mut Vec<u8>, code: DisconnectCode) {
    push_push(out, "", |out| {
        put_message(out, 11, |out| {
            put_uint32_field(1, code.code().into(), out);
            put_string_field(2, code.reason(), out);
        });
    });
}

pub(super) fn push_error(out: &mut Vec<u8>, id: u32, error: ErrorCode, message: &str) {
    push_reply(out, id, 2, |out| {
        put_uint32_field(1, error.code().into(), out);
        put_text(out, 2, message);
        put_flag(out, 3, error.is_temporary());
    });
}

pub(super) fn push_connect_reply(out: &mut Vec<u8>, id: u32, reply: &ConnectReply<'_>) {
    push_reply(out, id, 5, |out| {
        put_bytes_field(1, ClientText::of(reply.client).as_bytes(), out);
        put_text(out, 2, reply.version);
        put_number(out, 7, reply.ping_seconds.into());
        put_flag(out, 8, reply.pong);
    });
}

pub(super) fn push_subscribe_reply<'a>(
    out: &mut Vec<u8>,
    id: u32,
    reply: SubscribeReply<impl IntoIterator<Item = Publication<'a>>>,
) {
    push_reply(out, id, 6, |out| {
        put_flag(out, 3, reply.recoverable);
        put_string_field(6, &reply.epoch.to_string(), out);
        for publication in reply.publications {
            put_publication(out, 7, &publication);
        }
        put_flag(out, 8, reply.recovered);
        put_number(out, 9, reply.offset);
        put_flag(out, 10, reply.positioned);
        put_flag(out, 12, reply.was_recovering);
    });
}

pub(super) fn push_empty_reply(out: &mut Vec<u8>, id: u32, method: Method) {
    let field = match method {
        Method::Unsubscribe => 7,
        Method::Publish => 8,
        Method::Ping => 12,
    };
    push_reply(out, id, field, |_| {});
}

pub(super) fn push_history_reply<'a>(
    out: &mut Vec<u8>,
    id: u32,
    reply: HistoryReply<impl IntoIterator<Item = Publication<'a>>>,
) {
    push_reply(out, id, 11, |out| {
        for publication in reply.publications {
            put_publication(out, 1, &publication);
        }
        put_text(out, 2, &reply.epoch.text());
        put_number(out, 3, reply.offset);
    });
}

pub(super) fn push_presence_reply<'a>(
    out: &mut Vec<u8>,
    id: u32,
    clients: impl IntoIterator<Item = Client<'a>>,
) {
    push_reply(out, id, 9, |out| {
        for client in clients {
            // An entry of a map is a message of key and value.
            put_message(out, 1, |out| {
                put_bytes_field(1, ClientText::of(client.client).as_bytes(), out);
                put_client(out, 2, &client);
            });
        }
    });
}

pub(super) fn push_presence_stats_reply(out: &mut Vec<u8>, id: u32, clients: u32, users: u32) {
    push_reply(out, id, 10, |out| {
        put_number(out, 1, clients.into());
        put_number(out, 2, users.into());
    });
}

/// Appends a reply to command `id` with a message in `field`.
fn push_reply(out: &mut Vec<u8>, id: u32, field: u32, put: impl FnOnce(&mut Vec<u8>)) {
    behind_its_length(out, |out| {
        put_uint32_field(1, id, out);
        put_message(out, field, put);
    });
}

/// Appends a push about `channel`, if it is not empty.
fn push_push(out: &mut Vec<u8>, channel: &str, put: impl FnOnce(&mut Vec<u8>)) {
    behind_its_length(out, |out| {
        put_message(out, 4, |out| {
            put_text(out, 2, channel);
            put(out);
        });
    });
}

fn put_message(out: &mut Vec<u8>, field: u32, put: impl FnOnce(&mut Vec<u8>)) {
    // The tag is the header of an empty message without its length.
    put_len_delimited_header(field, 0, out);
    out.pop();
    behind_its_length(out, put);
}

/// Appends what `put` appends, with its length before it.
fn behind_its_length(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    put(out);
    let end = out.len();
    encode_varint((end - start) as u64, out);
    let length_bytes = out.len() - end;
    out[start..].rotate_right(length_bytes);
}

fn put_text(out: &mut Vec<u8>, field: u32, text: &str) {
    if !text.is_empty() {
        put_string_field(field, text, out);
    }
}

fn put_number(out: &mut Vec<u8>, field: u32, number: u64) {
    if number > 0 {
        put_uint64_field(field, number, out);
    }
}

fn put_flag(out: &mut Vec<u8>, field: u32, flag: bool) {
    if flag {
        put_bool_field(field, true, out);
    }
}

fn put_publication(out: &mut Vec<u8>, field: u32, publication: &Publication<'_>) {
    Body::of(publication).put(out, field);
}

fn put_client(out: &mut Vec<u8>, field: u32, client: &Client<'_>) {
    Info::of(client).put(out, field);
}

/// A publication and its size.
struct Body<'a> {
    publication: &'a Publication<'a>,
    sender: Option<Info<'a>>,
    bytes: usize,
}

impl<'a> Body<'a> {
    fn of(publication: &'a Publication<'a>) -> Body<'a> {
        let sender = publication.sender().map(|sender| Info::of(&sender));
        let offset = match publication.offset {
            0 => 0,
            offset => field_bytes(uint64_encoded_len(offset)),
        };
        let info = sender.as_ref().map_or(0, |sender| message_bytes(sender.bytes));
        let bytes = field_bytes(bytes_encoded_len(publication.payload)) + info + offset;
        Body { publication, sender, bytes }
    }

    fn put(&self, out: &mut Vec<u8>, field: u32) {
        put_len_delimited_header(field, self.bytes as u64, out);
        put_bytes_field(4, self.publication.payload, out);
        if let Some(sender) = &self.sender {
            sender.put(out, 5);
        }
        put_number(out, 6, self.publication.offset);
    }
}

/// Who a client is, and its size.
struct Info<'a> {
    user: &'a str,
    client: ClientText,
    bytes: usize,
}

impl<'a> Info<'a> {
    fn of(client: &Client<'a>) -> Info<'a> {
        let text = ClientText::of(client.client);
        let user = client.user();
        let user_bytes = match user {
            "" => 0,
            user => field_bytes(string_encoded_len(user)),
        };
        let bytes = user_bytes + field_bytes(bytes_encoded_len(text.as_bytes()));
        Info { user, client: text, bytes }
    }

    fn put(&self, out: &mut Vec<u8>, field: u32) {
        put_len_delimited_header(field, self.bytes as u64, out);
        put_text(out, 1, self.user);
        put_bytes_field(2, self.client.as_bytes(), out);
    }
}

/// The size of a field whose value, with its length if it has one, has `bytes` bytes.
fn field_bytes(bytes: usize) -> usize {
    TAG_BYTES + bytes
}

/// The size of a field with a message of `bytes` bytes.
fn message_bytes(bytes: usize) -> usize {
    field_bytes(varint_len(bytes as u64) + bytes)
}

/// The text of a [`ConnectionId`], without the heap.
struct ClientText {
    text: [u8; CLIENT_BYTES_MAX],
    bytes: usize,
}

impl ClientText {
    fn of(client: ConnectionId) -> ClientText {
        let mut text = [0; CLIENT_BYTES_MAX];
        let mut rest = &mut text[..];
        write!(rest, "{client}").expect("three digits, a hyphen and 16 digits fit");
        let bytes = CLIENT_BYTES_MAX - rest.len();
        ClientText { text, bytes }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.text[..self.bytes]
    }
}

#[cfg(test)]
mod tests;
