//! What came of calls, as JSON.

use super::{ApiError, ApiMethod, ApiResult, HISTORY_ANSWER_BYTES, NodeInfo};
use crate::endpoint::Messages;
use crate::endpoint::client_protocol::{push_json_presence, push_json_publication};
use crate::endpoint::http::{Answer, push_array, push_name, push_plain_member, push_text_member};
use crate::rooms::{Epoch, Extent, Position, RoomName};

/// 200 with `{"result":{…}}` or `{"error":{"code","message"}}`.
pub fn api_answer(result: &Result<ApiResult, ApiError>) -> Answer {
    let mut body = b"{".to_vec();
    push_outcome(&mut body, "result", result);
    body.push(b'}');
    Answer::json(body)
}

/// 200 with `{"replies":[…]}`, of each command `{METHOD:{…}}` or `{"error":{"code","message"}}` in the
/// order of the commands. `carry_out` is called for one behind the other, with the bytes that there are
/// already.
pub fn api_batch_answer<C>(
    commands: impl IntoIterator<Item = (Option<ApiMethod>, C)>,
    mut carry_out: impl FnMut(C, usize) -> Result<ApiResult, ApiError>,
) -> Answer {
    let mut body = b"{\"replies\":".to_vec();
    push_array(&mut body, commands, |out, (method, command)| {
        let result = carry_out(command, out.len());
        out.push(b'{');
        push_outcome(out, method.map_or("", ApiMethod::name), &result);
        out.push(b'}');
    });
    body.push(b'}');
    Answer::json(body)
}

/// Appends a member: the result under its name, or the error.
fn push_outcome(out: &mut Vec<u8>, name: &str, result: &Result<ApiResult, ApiError>) {
    match result {
        Ok(result) => {
            push_name(out, name);
            push_result(out, result);
        }
        Err(ApiError { code, message }) => {
            push_name(out, "error");
            out.push(b'{');
            push_plain_member(out, "code", code.code());
            push_text_member(out, "message", message);
            out.push(b'}');
        }
    }
}

fn push_result(out: &mut Vec<u8>, result: &ApiResult) {
    out.push(b'{');
    match result {
        ApiResult::Published(position) => push_position(out, *position),
        ApiResult::Broadcast(results) => {
            push_name(out, "responses");
            push_array(out, results, |out, result| {
                out.push(b'{');
                let result = result.clone().map(ApiResult::Published);
                push_outcome(out, "result", &result);
                out.push(b'}');
            });
        }
        ApiResult::Presence(present) => {
            push_name(out, "presence");
            push_json_presence(out, present);
        }
        ApiResult::PresenceStats(stats) => {
            push_plain_member(out, "num_clients", stats.clients);
            push_plain_member(out, "num_users", stats.users);
        }
        ApiResult::History { extent, messages, reverse } => push_history(out, extent, messages, *reverse),
        ApiResult::Channels(rooms) => push_channels(out, rooms),
        ApiResult::Info(node) => push_info(out, node),
        ApiResult::Done => {}
    }
    out.push(b'}');
}

fn push_position(out: &mut Vec<u8>, position: Position) {
    push_plain_member(out, "offset", position.offset);
    push_epoch(out, position.epoch);
}

fn push_epoch(out: &mut Vec<u8>, epoch: Epoch) {
    push_text_member(out, "epoch", &epoch.text());
}

/// At least one publication if there is one, and no further one over [`HISTORY_ANSWER_BYTES`].
fn push_history(out: &mut Vec<u8>, extent: &Extent, messages: &Messages, reverse: bool) {
    push_position(out, extent.position());
    push_name(out, "publications");
    let mut rest = messages.iter();
    let mut next = || if reverse { rest.next_back() } else { rest.next() };
    out.push(b'[');
    let start = out.len();
    while out.len() - start < HISTORY_ANSWER_BYTES
        && let Some(told) = next()
    {
        if out.len() > start {
            out.push(b',');
        }
        push_json_publication(out, told);
    }
    out.push(b']');
}

fn push_channels(out: &mut Vec<u8>, rooms: &[(RoomName, usize)]) {
    push_name(out, "channels");
    out.push(b'{');
    for (room, members) in rooms {
        push_name(out, room.as_str());
        out.push(b'{');
        push_plain_member(out, "num_clients", members);
        out.push(b'}');
    }
    out.push(b'}');
}

fn push_info(out: &mut Vec<u8>, node: &NodeInfo) {
    push_name(out, "nodes");
    out.extend_from_slice(b"[{");
    push_text_member(out, "uid", &node.life.to_string());
    push_text_member(out, "name", "fanfare");
    push_text_member(out, "version", env!("CARGO_PKG_VERSION"));
    push_plain_member(out, "num_clients", node.connections);
    push_plain_member(out, "num_channels", node.rooms);
    push_plain_member(out, "uptime", node.uptime_seconds);
    out.extend_from_slice(b"}]");
}

#[cfg(test)]
mod tests;
