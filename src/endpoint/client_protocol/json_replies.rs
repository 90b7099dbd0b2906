//! Replies and pushes in JSON: text is put together, payloads are spliced in, nothing is parsed into a
//! tree. No line feed is ever written, as it would end the reply.

use std::fmt;
use std::io::Write as _;

use super::{
    Client, ConnectReply, DisconnectCode, ErrorCode, HistoryReply, Method, Publication, SubscribeReply,
    UnsubscribeCode,
};
use crate::endpoint::http::{Form, push_base64, push_string};
use crate::rooms::Epoch;

/// About what a publication takes beside its payload.
const PUBLICATION_BYTES: usize = 160;

pub(super) fn push_publication(out: &mut Vec<u8>, channel: &str, publication: &Publication<'_>) {
    out.reserve(publication.payload.len() + channel.len() + PUBLICATION_BYTES);
    begin_push(out, channel);
    out.extend_from_slice(b",\"pub\":");
    push_publication_object(out, publication);
    out.extend_from_slice(b"}}");
}

/// Appends a push of `event` with the client's info: `join` or `leave`.
pub(super) fn push_client_event(out: &mut Vec<u8>, channel: &str, event: &str, client: &Client<'_>) {
    begin_push(out, channel);
    push_display(out, format_args!(",\"{event}\":{{\"info\":"));
    push_client(out, client);
    out.extend_from_slice(b"}}}");
}

pub(super) fn push_unsubscribe(out: &mut Vec<u8>, channel: &str, code: UnsubscribeCode) {
    begin_push(out, channel);
    push_display(out, format_args!(",\"unsubscribe\":{{\"code\":{},\"reason\":", code.code()));
    push_string(out, code.reason());
    out.extend_from_slice(b"}}}");
}

pub(super) fn push_disconnect(out: &mut Vec<u8>, code: DisconnectCode) {
    push_display(out, format_args!("{{\"push\":{{\"disconnect\":{{\"code\":{},\"reason\":", code.code()));
    push_string(out, code.reason());
    out.extend_from_slice(b"}}}");
}

pub(super) fn push_error(out: &mut Vec<u8>, id: u32, error: ErrorCode, message: &str) {
    push_display(out, format_args!("{{\"id\":{id},\"error\":{{\"code\":{},\"message\":", error.code()));
    push_string(out, message);
    push_flag(out, "temporary", error.is_temporary());
    out.extend_from_slice(b"}}");
}

pub(super) fn push_connect_reply(out: &mut Vec<u8>, id: u32, reply: &ConnectReply<'_>) {
    push_display(
        out,
        format_args!("{{\"id\":{id},\"connect\":{{\"client\":\"{}\",\"version\":", reply.client),
    );
    push_string(out, reply.version);
    if reply.ping_seconds > 0 {
        push_display(out, format_args!(",\"ping\":{}", reply.ping_seconds));
    }
    push_flag(out, "pong", reply.pong);
    out.extend_from_slice(b"}}");
}

pub(super) fn push_subscribe_reply<'a>(
    out: &mut Vec<u8>,
    id: u32,
    reply: SubscribeReply<impl IntoIterator<Item = Publication<'a>>>,
) {
    push_display(out, format_args!("{{\"id\":{id},\"subscribe\":{{"));
    push_position(out, reply.epoch, reply.offset);
    push_flag(out, "recoverable", reply.recoverable);
    push_flag(out, "positioned", reply.positioned);
    push_flag(out, "recovered", reply.recovered);
    push_flag(out, "was_recovering", reply.was_recovering);
    out.extend_from_slice(b",\"publications\":");
    push_publications(out, reply.publications);
    out.extend_from_slice(b"}}");
}

pub(super) fn push_empty_reply(out: &mut Vec<u8>, id: u32, method: Method) {
    let method = match method {
        Method::Unsubscribe => "unsubscribe",
        Method::Publish => "publish",
        Method::Ping => "ping",
    };
    push_display(out, format_args!("{{\"id\":{id},\"{method}\":{{}}}}"));
}

pub(super) fn push_history_reply<'a>(
    out: &mut Vec<u8>,
    id: u32,
    reply: HistoryReply<impl IntoIterator<Item = Publication<'a>>>,
) {
    push_display(out, format_args!("{{\"id\":{id},\"history\":{{"));
    push_position(out, reply.epoch, reply.offset);
    out.extend_from_slice(b",\"publications\":");
    push_publications(out, reply.publications);
    out.extend_from_slice(b"}}");
}

pub(super) fn push_presence_reply<'a>(
    out: &mut Vec<u8>,
    id: u32,
    clients: impl IntoIterator<Item = Client<'a>>,
) {
    push_display(out, format_args!("{{\"id\":{id},\"presence\":{{\"presence\":"));
    push_clients(out, clients);
    out.extend_from_slice(b"}}");
}

/// Appends an object with the clients' infos by client id.
pub(super) fn push_clients<'a>(out: &mut Vec<u8>, clients: impl IntoIterator<Item = Client<'a>>) {
    out.push(b'{');
    for (at, client) in clients.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_display(out, format_args!("\"{}\":", client.client));
        push_client(out, &client);
    }
    out.push(b'}');
}

pub(super) fn push_presence_stats_reply(out: &mut Vec<u8>, id: u32, clients: u32, users: u32) {
    push_display(
        out,
        format_args!(
            "{{\"id\":{id},\"presence_stats\":{{\"num_clients\":{clients},\"num_users\":{users}}}}}"
        ),
    );
}

fn begin_push(out: &mut Vec<u8>, channel: &str) {
    out.extend_from_slice(b"{\"push\":{\"channel\":");
    push_string(out, channel);
}

fn push_publications<'a>(out: &mut Vec<u8>, publications: impl IntoIterator<Item = Publication<'a>>) {
    out.push(b'[');
    for (at, publication) in publications.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_publication_object(out, &publication);
    }
    out.push(b']');
}

pub(super) fn push_publication_object(out: &mut Vec<u8>, publication: &Publication<'_>) {
    out.extend_from_slice(b"{\"data\":");
    let form = push_payload(out, publication.text, publication.payload);
    if let Some(sender) = publication.sender() {
        out.extend_from_slice(b",\"info\":");
        push_client(out, &sender);
    }
    push_display(out, format_args!(",\"offset\":{}", publication.offset));
    if let Some(form) = form {
        push_display(out, format_args!(",\"tags\":{{\"form\":\"{form}\"}}"));
    }
    out.push(b'}');
}

/// Appends a payload and says what its tag is; none if it stands as it was published.
fn push_payload(out: &mut Vec<u8>, text: bool, payload: &[u8]) -> Option<&'static str> {
    match Form::of(text, payload) {
        Form::Json(json) => {
            let start = out.len();
            out.extend_from_slice(json.as_bytes());
            // In strings they are escaped, so all that are there stand between values.
            for byte in &mut out[start..] {
                if matches!(byte, b'\n' | b'\r') {
                    *byte = b' ';
                }
            }
            None
        }
        Form::Text(text) => {
            push_string(out, text);
            Some("text")
        }
        Form::Base64(bytes) => {
            out.push(b'"');
            push_base64(out, bytes);
            out.push(b'"');
            Some("base64")
        }
    }
}

fn push_client(out: &mut Vec<u8>, client: &Client<'_>) {
    out.extend_from_slice(b"{\"user\":");
    push_string(out, client.user());
    push_display(out, format_args!(",\"client\":\"{}\"}}", client.client));
}

/// Appends the members `epoch` and `offset`, the first of their object.
fn push_position(out: &mut Vec<u8>, epoch: Epoch, offset: u64) {
    push_display(out, format_args!("\"epoch\":\"{}\",\"offset\":{offset}", epoch.text()));
}

/// Appends a member that is there only if it is true.
fn push_flag(out: &mut Vec<u8>, name: &str, flag: bool) {
    if flag {
        push_display(out, format_args!(",\"{name}\":true"));
    }
}

/// Appends what needs no escaping.
fn push_display(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a Vec takes every write");
}

#[cfg(test)]
mod tests;
