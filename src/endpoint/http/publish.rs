//! Publishing to many rooms: the body's form; and what is answered to who published.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::json::{Object, Text, bad_json, given, push_array, push_plain_member, push_text_member};
use super::{Answer, PUBLISH_ROOMS_MAX, bad_request};
use crate::id::ConnectionId;
use crate::protocol::{Kind, Refusal};
use crate::rooms::{Position, RoomName};

/// What `POST /rooms` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishMany {
    /// 1 to [`PUBLISH_ROOMS_MAX`] different rooms, in the order given.
    pub rooms: Vec<RoomName>,
    /// The message.
    pub data: Vec<u8>,
    /// What the message is; text is valid UTF-8.
    pub kind: Kind,
    /// A member that does not receive it.
    pub exclude: Option<ConnectionId>,
}

/// The body as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    #[serde(deserialize_with = "room_names")]
    rooms: Vec<RoomName>,
    #[serde(borrow, default, deserialize_with = "given")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "given_text")]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "given_text")]
    base64: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "client")]
    exclude: Option<ConnectionId>,
}

/// Reads the body of `POST /rooms`:
/// `{"rooms":["a","b"],"data":ANY}` publishes the JSON value as text, byte for byte as it is written
/// there; `"text":"…"` instead of `data` publishes that text, `"base64":"…"` those bytes (RFC 4648 §4,
/// with padding). `"exclude":"CLIENT"` skips one member.
///
/// # Errors
///
/// 400 for what is not this form, with line and column where the parser stopped, and for rooms that
/// are none, too many, twice there or badly named; 413 for a message of more than `message_bytes_max`
/// bytes.
pub fn parse_publish_many(body: &[u8], message_bytes_max: usize) -> Result<PublishMany, Refusal> {
    let Object(Body { rooms, data, text, base64, exclude }) =
        serde_json::from_slice(body).map_err(|error| bad_body(&error))?;
    let check_bytes = |bytes: usize| match bytes <= message_bytes_max {
        true => Ok(()),
        false => Err(Refusal::new(
            413,
            format!("the message has {bytes} bytes; {message_bytes_max} are allowed (--max-message)"),
        )),
    };
    let (data, kind) = match (data, text, base64) {
        (Some(data), None, None) => {
            check_bytes(data.get().len())?;
            (data.get().as_bytes().to_vec(), Kind::Text)
        }
        (None, Some(text), None) => {
            check_bytes(text.len())?;
            (text.into_owned().into_bytes(), Kind::Text)
        }
        (None, None, Some(base64)) => {
            check_bytes(decoded_bytes(&base64))?;
            let decoded = STANDARD.decode(&*base64).map_err(|error| {
                bad_request(format!(
                    "base64: {error}; the standard alphabet with padding is allowed (RFC 4648 §4)"
                ))
            })?;
            (decoded, Kind::Binary)
        }
        (data, text, base64) => {
            let seen =
                usize::from(data.is_some()) + usize::from(text.is_some()) + usize::from(base64.is_some());
            return Err(bad_request(format!(
                "the body has {seen} of data, text and base64; exactly 1 is allowed"
            )));
        }
    };
    Ok(PublishMany { rooms, data, kind, exclude })
}

/// The size of what base64 with padding decodes to.
fn decoded_bytes(base64: &str) -> usize {
    let padding = base64.bytes().rev().take(2).take_while(|byte| *byte == b'=').count();
    (base64.len() / 4 * 3).saturating_sub(padding)
}

fn bad_body(error: &serde_json::Error) -> Refusal {
    let expected = format!(
        "{{\"rooms\":[1 to {PUBLISH_ROOMS_MAX} names],\"data\":any JSON}} is expected, with \"text\" or \"base64\" \
         instead of \"data\", and \"exclude\":\"CLIENT\" if wanted"
    );
    bad_json(error, &expected)
}

fn given_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    given(deserializer).map(|text: Option<Text<'de>>| text.map(|text| text.0))
}

fn client<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ConnectionId>, D::Error> {
    let text = given_text(deserializer)?.unwrap_or_default();
    text.parse().map(Some).map_err(|error| D::Error::custom(format!("exclude is \"{text}\": {error}")))
}

fn room_names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<RoomName>, D::Error> {
    deserializer.deserialize_seq(RoomNames)
}

/// Checks while it reads, so that nothing is kept that is not allowed.
struct RoomNames;

impl<'de> Visitor<'de> for RoomNames {
    type Value = Vec<RoomName>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array of 1 to {PUBLISH_ROOMS_MAX} room names")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Vec<RoomName>, A::Error> {
        let mut rooms = Vec::new();
        let mut seen = HashSet::new();
        while let Some(name) = names.next_element::<String>()? {
            if rooms.len() == PUBLISH_ROOMS_MAX {
                return Err(A::Error::custom(format!("rooms has more than {PUBLISH_ROOMS_MAX} names")));
            }
            let at = rooms.len();
            let room =
                RoomName::new(&name).map_err(|error| A::Error::custom(format!("rooms[{at}]: {error}")))?;
            if !seen.insert(room.clone()) {
                return Err(A::Error::custom(format!("rooms[{at}] is {room} again; once is allowed")));
            }
            rooms.push(room);
        }
        match rooms.is_empty() {
            true => Err(A::Error::custom("rooms has no name")),
            false => Ok(rooms),
        }
    }
}

/// 200 with `{"room","epoch","offset"}`, and `"repeat":true` if an earlier publication with the same
/// `Idempotency-Key` is answered again.
pub fn publish_answer(room: &RoomName, position: Position, repeat: bool) -> Answer {
    let mut body = Vec::new();
    push_result(&mut body, room, position, repeat);
    Answer::json(body).at(position)
}

/// 200 with `{"results":[{"room","epoch","offset"}…]}`, in the order of the request.
pub fn publish_many_answer(results: &[(RoomName, Position)]) -> Answer {
    let mut body = b"{\"results\":".to_vec();
    push_array(&mut body, results, |out, (room, position)| push_result(out, room, *position, false));
    body.push(b'}');
    Answer::json(body)
}

fn push_result(out: &mut Vec<u8>, room: &RoomName, position: Position, repeat: bool) {
    out.push(b'{');
    push_text_member(out, "room", room.as_str());
    push_text_member(out, "epoch", &position.epoch.to_string());
    push_plain_member(out, "offset", position.offset);
    if repeat {
        push_plain_member(out, "repeat", true);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests;
