//! The list of rooms as JSON.

use super::Answer;
use super::json::{push_array, push_name, push_plain_member, push_string, push_text_member};
use crate::rooms::{Epoch, RoomName};

/// A room in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomEntry {
    /// Its name.
    pub name: RoomName,
    /// Connections that are in it, on all shards.
    pub members: usize,
    /// Its present life.
    pub epoch: Epoch,
    /// Its latest offset.
    pub offset: u64,
    /// Bytes that its history pins, overhead included.
    pub bytes: usize,
    /// Messages that it holds.
    pub messages: u64,
}

/// 200 with `{"rooms":[{"room","members","epoch","offset","messages","bytes"}],"next"}`. The order is
/// the registry's, not the alphabet's; `next` is a name for `?after=`, or null on the last page.
pub fn list_answer(rooms: &[RoomEntry], next: Option<&RoomName>) -> Answer {
    let mut body = b"{".to_vec();
    push_name(&mut body, "rooms");
    push_array(&mut body, rooms, |out, room| {
        out.push(b'{');
        push_text_member(out, "room", room.name.as_str());
        push_plain_member(out, "members", room.members);
        push_text_member(out, "epoch", &room.epoch.to_string());
        push_plain_member(out, "offset", room.offset);
        push_plain_member(out, "messages", room.messages);
        push_plain_member(out, "bytes", room.bytes);
        out.push(b'}');
    });
    push_name(&mut body, "next");
    match next {
        Some(next) => push_string(&mut body, next.as_str()),
        None => body.extend_from_slice(b"null"),
    }
    body.push(b'}');
    Answer::json(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> RoomEntry {
        RoomEntry {
            name: RoomName::new(name).unwrap(),
            members: 2,
            epoch: Epoch::new(0xab),
            offset: 9,
            bytes: 700,
            messages: 7,
        }
    }

    fn text(rooms: &[RoomEntry], next: Option<&str>) -> String {
        let next = next.map(|name| RoomName::new(name).unwrap());
        let answer = list_answer(rooms, next.as_ref());
        assert_eq!((answer.status, answer.content_type), (200, "application/json"));
        String::from_utf8(answer.body).unwrap()
    }

    #[test]
    fn each_room_has_its_numbers() {
        assert_eq!(
            text(&[entry("a\"")], None),
            r#"{"rooms":[{"room":"a\"","members":2,"epoch":"00000000000000ab","offset":9,"messages":7,"bytes":700}],"next":null}"#
        );
        assert_eq!(text(&[], None), r#"{"rooms":[],"next":null}"#);
    }

    #[test]
    fn a_page_names_where_the_next_goes_on() {
        let whole = text(&[entry("a"), entry("b")], Some("b\\"));
        let value: serde_json::Value = serde_json::from_str(&whole).unwrap();
        assert_eq!(value["rooms"].as_array().map(Vec::len), Some(2));
        assert_eq!(value["next"], "b\\");
    }
}
