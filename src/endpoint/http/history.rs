//! The history of a room as JSON, and the refusal of what it does not hold any more.

use super::json::{Form, push_array, push_base64, push_name, push_plain_member, push_text_member};
use super::{Answer, EPOCH_HEADER, OFFSET_HEADER};
use crate::id::ConnectionId;
use crate::protocol::Refusal;
use crate::rooms::{Epoch, Position, RoomName};

/// One publication of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryItem<'a> {
    /// Its offset in the room's epoch.
    pub offset: u64,
    /// When it entered the room, milliseconds since 1970-01-01T00:00:00Z.
    pub time_unix_ms: u64,
    /// Whether it is text, else binary.
    pub text: bool,
    /// The bytes; valid UTF-8 if it is text.
    pub payload: &'a [u8],
    /// The connection that published it, if one did.
    pub sender: Option<ConnectionId>,
    /// The name that it gave itself.
    pub name: Option<&'a str>,
}

/// A part of a room's history, to be answered to `GET /rooms/{room}`.
#[derive(Clone, Copy, Debug)]
pub struct History<'a> {
    /// The room.
    pub room: &'a RoomName,
    /// Its present life.
    pub epoch: Epoch,
    /// Its latest offset.
    pub offset: u64,
    /// The oldest offset that it still holds; 0 if it holds none.
    pub first: u64,
    /// Whether it holds more behind the last of `items`.
    pub more: bool,
    /// The publications, in offset order.
    pub items: &'a [HistoryItem<'a>],
}

impl History<'_> {
    /// 200 with `{"room","epoch","offset","first","more","publications":[…]}`.
    ///
    /// A publication is `{"offset","time","sender","name"}` and exactly one of `json`, `text` and `base64`,
    /// which tells what it is: text that is JSON stands there as it was published, other text as a
    /// string, binary in base64 (RFC 4648 §4). `sender` and its `name` are left out if there was none. JSON that
    /// common parsers stumble over (nested more than 60 deep, numbers beyond a double, half surrogate
    /// pairs) is given as `text`.
    pub fn answer(&self) -> Answer {
        let payloads: usize = self.items.iter().map(|item| item.payload.len() + ITEM_BYTES).sum();
        let mut body = Vec::with_capacity(ITEM_BYTES + self.room.as_str().len() + payloads);
        body.push(b'{');
        push_text_member(&mut body, "room", self.room.as_str());
        push_text_member(&mut body, "epoch", &self.epoch.to_string());
        push_plain_member(&mut body, "offset", self.offset);
        push_plain_member(&mut body, "first", self.first);
        push_plain_member(&mut body, "more", self.more);
        push_name(&mut body, "publications");
        push_array(&mut body, self.items, push_item);
        body.push(b'}');
        Answer::json(body).at(Position { epoch: self.epoch, offset: self.offset })
    }
}

/// About what an item takes beside its payload.
const ITEM_BYTES: usize = 96;

fn push_item(out: &mut Vec<u8>, item: &HistoryItem<'_>) {
    out.push(b'{');
    push_plain_member(out, "offset", item.offset);
    push_plain_member(out, "time", item.time_unix_ms);
    if let Some(sender) = item.sender {
        push_text_member(out, "sender", &sender.to_string());
    }
    if let Some(name) = item.name {
        push_text_member(out, "name", name);
    }
    match Form::of(item.text, item.payload) {
        Form::Json(text) => {
            push_name(out, "json");
            out.extend_from_slice(text.as_bytes());
        }
        Form::Text(text) => push_text_member(out, "text", text),
        Form::Base64(bytes) => {
            push_name(out, "base64");
            out.push(b'"');
            push_base64(out, bytes);
            out.push(b'"');
        }
    }
    out.push(b'}');
}

/// 410 for a position behind which something is not held any more, or that is of another life of the
/// room, or not reached yet. `now` is where the room is, `first` the oldest offset that it holds, 0 if
/// none. [`EPOCH_HEADER`] and [`OFFSET_HEADER`] say `now` too.
pub fn gone(room: &RoomName, wanted: Position, now: Position, first: u64) -> Refusal {
    let held = match first {
        0 => "holds no messages".to_owned(),
        first => format!(
            "holds messages {first} to {}, all of them behind {}",
            now.offset,
            Position { offset: first.saturating_sub(1), ..now }
        ),
    };
    let why = match wanted.epoch == now.epoch {
        false => "is of another life of the room",
        true if wanted.offset > now.offset => "is not reached yet",
        true => "is too old",
    };
    let body = format!("position {wanted} {why}; room \"{room}\" {held}; go on from {now}");
    Refusal::new(410, body)
        .with_header(EPOCH_HEADER, now.epoch.to_string())
        .with_header(OFFSET_HEADER, now.offset.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const EPOCH: &str = "00000000000000ab";

    fn text(offset: u64, payload: &[u8]) -> HistoryItem<'_> {
        HistoryItem { offset, time_unix_ms: 1_700_000_000_123, text: true, payload, sender: None, name: None }
    }

    fn answer(items: &[HistoryItem<'_>]) -> Answer {
        let room = RoomName::new("a\"b").unwrap();
        let epoch = Epoch::new(0xab);
        History { room: &room, epoch, offset: 9, first: 3, more: true, items }.answer()
    }

    fn publication(item: HistoryItem<'_>) -> Value {
        let body: Value = serde_json::from_slice(&answer(&[item]).body).unwrap();
        body["publications"][0].clone()
    }

    #[test]
    fn the_whole_is_an_object_with_the_rooms_position() {
        let answer = answer(&[]);
        assert_eq!((answer.status, answer.content_type), (200, "application/json"));
        let expected = format!(
            r#"{{"room":"a\"b","epoch":"{EPOCH}","offset":9,"first":3,"more":true,"publications":[]}}"#
        );
        assert_eq!(str::from_utf8(&answer.body), Ok(expected.as_str()));
        assert!(answer.headers.contains(&("Fanfare-Epoch", EPOCH.to_owned())));
        assert!(answer.headers.contains(&("Fanfare-Offset", "9".to_owned())));
        assert!(answer.headers.contains(&("Cache-Control", "no-store".to_owned())));
    }

    #[test]
    fn the_member_tells_what_a_payload_is() {
        let item = |text, payload| HistoryItem { text, ..self::text(4, payload) };
        for (item, name, value) in [
            (item(true, b"{\"a\":[1]}"), "json", json!({"a": [1]})),
            (item(true, b"\"hello\""), "json", json!("hello")),
            (item(true, b"hello"), "text", json!("hello")),
            (item(true, b""), "text", json!("")),
            (item(true, b"1e999"), "text", json!("1e999")),
            (item(false, b"{}"), "base64", json!("e30=")),
            (item(false, b""), "base64", json!("")),
        ] {
            assert_eq!(publication(item), json!({"offset": 4, "time": 1_700_000_000_123_u64, name: value}));
        }
    }

    #[test]
    fn json_stands_as_it_was_published() {
        let payload = "{ \"b\" : 1.0,\r\n\"a\":\"\\u00fc\" }";
        let answer = answer(&[text(1, payload.as_bytes())]);
        let body = String::from_utf8(answer.body).unwrap();
        assert!(body.contains(&format!("\"json\":{payload}}}")), "{body}");
    }

    #[test]
    fn the_sender_is_named_if_there_was_one() {
        let sent = HistoryItem { sender: Some("1-2f".parse().unwrap()), ..text(1, b"x") };
        assert_eq!(publication(sent)["sender"], json!("1-2f"));
        assert_eq!(publication(text(1, b"x")).get("sender"), None);
    }

    #[test]
    fn items_keep_their_order() {
        let body: Value =
            serde_json::from_slice(&answer(&[text(3, b"x"), text(4, b"1"), text(6, b"{")]).body).unwrap();
        let offsets: Vec<&Value> =
            body["publications"].as_array().unwrap().iter().map(|item| &item["offset"]).collect();
        assert_eq!(offsets, [3, 4, 6]);
    }

    #[test]
    fn the_deepest_spliced_payload_leaves_the_whole_within_64_levels() {
        let payload = format!("{}{}", "[".repeat(60), "]".repeat(60));
        let body = String::from_utf8(answer(&[text(1, payload.as_bytes())]).body).unwrap();
        let (mut depth, mut deepest) = (0, 0);
        for character in body.chars() {
            match character {
                '[' | '{' => depth += 1,
                ']' | '}' => depth -= 1,
                _ => {}
            }
            deepest = deepest.max(depth);
        }
        assert!(body.contains("\"json\":") && deepest == 63, "{deepest}");
    }

    #[test]
    fn gone_says_what_was_asked_what_is_held_and_where_to_go_on() {
        let room = RoomName::new("a").unwrap();
        let at = |epoch, offset| Position { epoch: Epoch::new(epoch), offset };
        let refusal = gone(&room, at(0xab, 1), at(0xab, 9), 3);
        assert_eq!(refusal.status, 410);
        assert_eq!(
            refusal.body,
            format!(
                "position {EPOCH}:1 is too old; room \"a\" holds messages 3 to 9, all of them behind \
                 {EPOCH}:2; go on from {EPOCH}:9"
            )
        );
        let headers = [("Fanfare-Epoch", EPOCH.to_owned()), ("Fanfare-Offset", "9".to_owned())];
        assert_eq!(refusal.headers, headers);
        let other = gone(&room, at(1, 1), at(0xab, 9), 0).body;
        assert!(other.contains("another life") && other.contains("holds no messages"), "{other}");
        assert!(gone(&room, at(0xab, 10), at(0xab, 9), 3).body.contains("not reached yet"));
    }
}
