//! What a call may ask for, and what is answered where it may not.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use super::requests::{
    WireChannels, WireClose, WireDisconnect, WireHistory, WirePublish, WireUnsubscribe, text,
};
use super::{
    ApiCall, ApiError, DISCONNECT_DEFAULT, HISTORY_LIMIT_MAX, Message, PUBLICATIONS_MAX, Target,
    WHITELIST_MAX,
};
use crate::endpoint::HistoryQuery;
use crate::endpoint::client_protocol::{ErrorCode, recover};
use crate::endpoint::http::{Object, Text, is_idempotency_key};
use crate::id::ConnectionId;
use crate::protocol::{CLOSE_REASON_BYTES_MAX, CloseCode, Kind, shown};
use crate::rooms::{IDEMPOTENCY_KEY_BYTES_MAX, ROOM_NAME_BYTES_MAX, RoomName};

/// Characters of a peer's value that are shown in an error.
const SHOWN_CHARS_MAX: usize = 64;

/// The codes that an application may close with (RFC 6455 §7.4.2).
const CLOSE_CODES: std::ops::RangeInclusive<u32> = 3000..=4999;

type Checked<T> = Result<T, ApiError>;

fn bad<T>(message: impl Into<Cow<'static, str>>) -> Checked<T> {
    Err(ApiError::new(ErrorCode::BadRequest, message))
}

fn not_available<T>(message: impl Into<Cow<'static, str>>) -> Checked<T> {
    Err(ApiError::new(ErrorCode::NotAvailable, message))
}

fn seen(value: &str) -> String {
    shown(value.as_bytes(), SHOWN_CHARS_MAX)
}

pub(super) fn room_name(channel: Option<Text<'_>>) -> Checked<RoomName> {
    match channel {
        None => bad("channel is missing; the name of one is expected"),
        Some(Text(name)) => RoomName::new(&name).or_else(|error| bad(format!("channel: {error}"))),
    }
}

pub(super) fn publish<'b>(wire: WirePublish<'b>) -> Checked<ApiCall<'b>> {
    let mut wire = wire;
    let room = room_name(wire.channel.take())?;
    message(wire).map(|message| ApiCall::Publish(room, message))
}

pub(super) fn broadcast<'b>(wire: WirePublish<'b>) -> Checked<ApiCall<'b>> {
    let mut wire = wire;
    let channels = wire.channels.take().unwrap_or_default();
    let count = channels.items.len() + channels.more;
    if count == 0 {
        return bad(format!("channels has no name; 1 to {PUBLICATIONS_MAX} are expected"));
    }
    if channels.more > 0 {
        let message = format!("channels has {count} names; up to {PUBLICATIONS_MAX} are allowed");
        return Err(ApiError::new(ErrorCode::LimitExceeded, message));
    }
    let message = message(wire)?;
    let rooms = channels.items.into_iter().map(|name| room_name(Some(name))).collect();
    Ok(ApiCall::Broadcast(rooms, message))
}

/// What is published. To ignore what cannot be carried would be to do half of what was asked.
fn message<'b>(wire: WirePublish<'b>) -> Checked<Message<'b>> {
    if wire.skip_history == Some(true) {
        return not_available(
            "skip_history is not offered: members are sent what they get from the room's history",
        );
    }
    if wire.tags.is_some_and(|tags| !tags.is_empty()) {
        return not_available("tags are not offered: a message here is its payload; put them into data");
    }
    if wire.version.is_some_and(|version| version > 0) || !text(wire.version_epoch).is_empty() {
        return not_available("version and version_epoch are not offered; idempotency_key is");
    }
    let key = text(wire.idempotency_key);
    let idempotency_key = (!key.is_empty()).then_some(key);
    if let Some(key) = idempotency_key.as_ref().filter(|key| !is_idempotency_key(key.as_bytes())) {
        return bad(format!(
            "idempotency_key is \"{}\" of {} bytes; 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes of visible ASCII are \
             allowed",
            seen(key),
            key.len()
        ));
    }
    let (payload, kind) = payload(wire.data, &text(wire.b64data))?;
    Ok(Message { payload, kind, idempotency_key })
}

/// With both, `b64data` counts, as in Centrifugo: a library may send an empty `data` with it.
fn payload<'b>(data: Option<&'b RawValue>, base64: &str) -> Checked<(Cow<'b, [u8]>, Kind)> {
    if !base64.is_empty() {
        return match STANDARD.decode(base64) {
            Ok(bytes) => Ok((bytes.into(), Kind::Binary)),
            Err(error) => {
                bad(format!("b64data: {error}; the standard alphabet with padding is allowed (RFC 4648 §4)"))
            }
        };
    }
    match data {
        Some(data) => Ok((data.get().as_bytes().into(), Kind::Text)),
        None => bad("data is missing; any JSON is expected, or bytes in base64 as b64data"),
    }
}

pub(super) fn history<'b>(wire: WireHistory<'b>) -> Checked<ApiCall<'b>> {
    let room = room_name(wire.channel)?;
    let since = wire.since.map(|Object(since)| recover(since.offset.unwrap_or(0), &text(since.epoch)));
    // Negative is all that there are.
    let limit = usize::try_from(wire.limit.unwrap_or(0)).unwrap_or(HISTORY_LIMIT_MAX);
    if limit > HISTORY_LIMIT_MAX {
        let message = format!("limit is {limit}; up to {HISTORY_LIMIT_MAX} are allowed");
        return Err(ApiError::new(ErrorCode::LimitExceeded, message));
    }
    let reverse = wire.reverse.unwrap_or_default();
    Ok(ApiCall::History(room, HistoryQuery { since, limit, reverse }))
}

pub(super) fn channels<'b>(wire: WireChannels<'b>) -> Checked<ApiCall<'b>> {
    let pattern = text(wire.pattern);
    if pattern.is_empty() {
        return Ok(ApiCall::Channels("*".to_owned()));
    }
    if pattern.len() > ROOM_NAME_BYTES_MAX {
        return bad(format!(
            "pattern has {} bytes; as many as a name, {ROOM_NAME_BYTES_MAX}, are allowed",
            pattern.len()
        ));
    }
    match pattern.find(['?', '[', ']', '{', '}', '\\']) {
        Some(_) => not_available(format!(
            "pattern is \"{}\"; only * has a meaning here, for any characters, and ? [ ] {{ }} \\ are not offered",
            seen(&pattern)
        )),
        None => Ok(ApiCall::Channels(pattern.into_owned())),
    }
}

pub(super) fn disconnect<'b>(wire: WireDisconnect<'b>) -> Checked<ApiCall<'b>> {
    let of = target(wire.user, wire.client, wire.session)?;
    let whitelist = wire.whitelist.unwrap_or_default();
    if whitelist.more > 0 {
        let count = whitelist.items.len() + whitelist.more;
        let message = format!("whitelist has {count} ids; up to {WHITELIST_MAX} are allowed");
        return Err(ApiError::new(ErrorCode::LimitExceeded, message));
    }
    let spared = whitelist.items.iter().map(|id| client("whitelist", id)).collect::<Checked<_>>()?;
    let Object(WireClose { code, reason }) =
        wire.disconnect.unwrap_or(Object(WireClose { code: None, reason: None }));
    let (default_code, default_reason) = DISCONNECT_DEFAULT;
    let code = match code.unwrap_or(0) {
        0 => default_code.close_code(),
        code => {
            match u16::try_from(code).ok().and_then(CloseCode::new).filter(|_| CLOSE_CODES.contains(&code)) {
                Some(code) => code,
                None => {
                    let (first, last) = (CLOSE_CODES.start(), CLOSE_CODES.end());
                    return bad(format!("disconnect.code is {code}; {first} to {last} are allowed"));
                }
            }
        }
    };
    let reason = reason.filter(|reason| !reason.is_empty()).unwrap_or_else(|| default_reason.to_owned());
    if reason.len() > CLOSE_REASON_BYTES_MAX {
        return bad(format!(
            "disconnect.reason has {} bytes; {CLOSE_REASON_BYTES_MAX} fit into a Close",
            reason.len()
        ));
    }
    Ok(ApiCall::Disconnect { of, spared, code, reason })
}

pub(super) fn unsubscribe<'b>(wire: WireUnsubscribe<'b>) -> Checked<ApiCall<'b>> {
    if wire.channel.as_ref().is_none_or(|channel| channel.0.is_empty()) {
        return not_available("channel is empty, and to unsubscribe from all is not offered; name one");
    }
    let room = room_name(wire.channel)?;
    target(wire.user, wire.client, wire.session).map(|of| ApiCall::Unsubscribe(room, of))
}

fn target(user: Option<Text<'_>>, id: Option<Text<'_>>, session: Option<Text<'_>>) -> Checked<Target> {
    let (user, id) = (text(user), text(id));
    if !text(session).is_empty() {
        return not_available("session is not offered: connections have none here; client is");
    }
    if user.is_empty() && id.is_empty() {
        return bad(
            "user is empty, which is the name of all that have none; a name is expected, or a client",
        );
    }
    let client = (!id.is_empty()).then(|| client("client", &id)).transpose()?;
    Ok(Target { user: user.into_owned(), client })
}

fn client(field: &str, id: &str) -> Checked<ConnectionId> {
    id.parse().or_else(|error| bad(format!("{field} has \"{}\"; {error}", seen(id))))
}
