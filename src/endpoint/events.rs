//! A room as server-sent events (HTML standard §9.2): what is appended to a stream, never read back.
//!
//! A message is an event of the default type `message` if it is text and of the type `binary`, in
//! base64, if it is not. `gap` and `close` are ours.

use super::http::{push_base64, push_string};
use crate::rooms::{Epoch, Position};

/// The value of Content-Type of a stream; it is always UTF-8.
pub const EVENTS_CONTENT_TYPE: &str = "text/event-stream";

/// Header fields of a stream besides its Content-Type: no cache keeps it, and nginx does not hold it
/// back.
pub const EVENTS_HEAD: [(&str, &str); 2] = [("Cache-Control", "no-store"), ("X-Accel-Buffering", "no")];

/// Appends a message, with `id: EPOCH:OFFSET`.
///
/// Text goes line by line, as the format has no other way: CRLF, LF and CR all end a line there, so
/// the client sees each of them as LF. Empty text arrives as an empty event. Text that is no UTF-8 is
/// sent as binary.
pub fn push_event(out: &mut Vec<u8>, epoch: Epoch, offset: u64, text: bool, payload: &[u8]) {
    push_id(out, Position { epoch, offset });
    match simdutf8::basic::from_utf8(payload).ok().filter(|_| text) {
        Some(text) => push_lines(out, text.as_bytes()),
        None => {
            out.extend_from_slice(b"event: binary\ndata: ");
            push_base64(out, payload);
            out.push(b'\n');
        }
    }
    out.push(b'\n');
}

/// Appends an id without a message. The client makes no event of it, but its next `Last-Event-ID` is
/// this position, also when nothing was published before the connection broke (HTML standard
/// §9.2.6, dispatch with an empty data buffer). The type is for clients that dispatch it all the same
/// (httpx-sse does): they can tell it from an empty message.
pub fn push_position(out: &mut Vec<u8>, position: Position) {
    out.extend_from_slice(b"event: position\n");
    push_id(out, position);
    out.push(b'\n');
}

/// Appends `event: gap` with `{"from","to"}`: the messages with these offsets, both inclusive, are not
/// coming. It has no id.
pub fn push_gap(out: &mut Vec<u8>, from: u64, to: u64) {
    let event = format!("event: gap\ndata: {{\"from\":{from},\"to\":{to}}}\n\n");
    out.extend_from_slice(event.as_bytes());
}

/// Appends a comment, which tells proxies that the stream lives. No empty line follows: there are
/// clients (httpx-sse is one) that would dispatch an empty message with the last id again.
pub fn push_heartbeat(out: &mut Vec<u8>) {
    out.extend_from_slice(b":\n");
}

/// Appends `event: close` with `{"code","reason"}`: what the Close frame of a WebSocket would say
/// (RFC 6455 §7.4). The stream ends after it.
pub fn push_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    out.extend_from_slice(format!("event: close\ndata: {{\"code\":{code},\"reason\":").as_bytes());
    push_string(out, reason);
    out.extend_from_slice(b"}\n\n");
}

fn push_id(out: &mut Vec<u8>, position: Position) {
    out.extend_from_slice(format!("id: {position}\n").as_bytes());
}

/// Appends a `data` field for each line. One space behind the colon is the format's own, so a line
/// that begins with a space keeps it.
fn push_lines(out: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text;
    loop {
        let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
        out.push(b'\n');
        let Some(end) = end else { return };
        let ending = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = &rest[end + ending..];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    struct Dispatched {
        kind: String,
        data: String,
        last_event_id: String,
    }

    /// Reads a stream to its end as HTML standard §9.2.6 says; the events, and the last event id.
    fn read(stream: &[u8]) -> (Vec<Dispatched>, String) {
        let text = str::from_utf8(stream).unwrap();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n").replace('\r', "\n");
        let (mut events, mut last_event_id) = (Vec::new(), String::new());
        let (mut id, mut kind, mut data) = (String::new(), String::new(), String::new());
        // What follows the last line end is an incomplete line, discarded.
        let Some((whole, _)) = text.rsplit_once('\n') else { return (events, last_event_id) };
        for line in whole.split('\n') {
            if line.is_empty() {
                last_event_id.clone_from(&id);
                if data.is_empty() {
                    kind.clear();
                    continue;
                }
                let data = std::mem::take(&mut data);
                let kind = std::mem::take(&mut kind);
                events.push(Dispatched {
                    kind: if kind.is_empty() { "message".to_owned() } else { kind },
                    data: data.strip_suffix('\n').unwrap_or(&data).to_owned(),
                    last_event_id: last_event_id.clone(),
                });
                continue;
            }
            if line.starts_with(':') {
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut kind),
                "data" => {
                    data.push_str(value);
                    data.push('\n');
                }
                "id" if !value.contains('\0') => value.clone_into(&mut id),
                _ => {}
            }
        }
        (events, last_event_id)
    }

    fn pushed(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn text(payload: &str) -> String {
        pushed(|out| push_event(out, Epoch::new(0xab), 7, true, payload.as_bytes()))
    }

    fn dispatched(kind: &str, data: &str, last_event_id: &str) -> Dispatched {
        Dispatched { kind: kind.into(), data: data.into(), last_event_id: last_event_id.into() }
    }

    #[test]
    fn text_is_one_data_field_for_each_line() {
        let id = "id: 00000000000000ab:7\n";
        for (payload, fields) in [
            ("a", "data: a\n"),
            ("", "data: \n"),
            (" a", "data:  a\n"),
            ("a\nb", "data: a\ndata: b\n"),
            ("a\r\nb", "data: a\ndata: b\n"),
            ("a\rb", "data: a\ndata: b\n"),
            ("a\n\rb", "data: a\ndata: \ndata: b\n"),
            ("\n", "data: \ndata: \n"),
            ("a\r\n", "data: a\ndata: \n"),
            ("a\u{2028}b\u{85}c", "data: a\u{2028}b\u{85}c\n"),
        ] {
            assert_eq!(text(payload), format!("{id}{fields}\n"), "{payload:?}");
        }
    }

    #[test]
    fn the_standards_reader_sees_the_message_and_its_id() {
        for (payload, data) in
            [("", ""), ("\n", "\n"), (" :x", " :x"), ("id: 1\r\n\r\nevent: x", "id: 1\n\nevent: x")]
        {
            let expected = dispatched("message", data, "00000000000000ab:7");
            assert_eq!(read(text(payload).as_bytes()), (vec![expected], "00000000000000ab:7".to_owned()));
        }
    }

    #[test]
    fn bytes_are_a_binary_event_in_base64() {
        let binary = pushed(|out| push_event(out, Epoch::new(0xab), 7, false, b"\xff\xfe"));
        assert_eq!(binary, "id: 00000000000000ab:7\nevent: binary\ndata: //4=\n\n");
        let empty = pushed(|out| push_event(out, Epoch::new(0xab), 7, false, b""));
        assert_eq!(read(empty.as_bytes()).0, [dispatched("binary", "", "00000000000000ab:7")]);
        let no_text = pushed(|out| push_event(out, Epoch::new(0xab), 7, true, b"\xff\xfe"));
        assert_eq!(no_text, binary);
    }

    #[test]
    fn a_position_is_remembered_without_an_event() {
        let position = Position { epoch: Epoch::new(0xab), offset: 0 };
        let stream = pushed(|out| push_position(out, position));
        assert_eq!(read(stream.as_bytes()), (Vec::new(), "00000000000000ab:0".to_owned()));
    }

    #[test]
    fn what_is_no_message_cannot_be_taken_for_an_empty_one() {
        let position = Position { epoch: Epoch::new(0xab), offset: 0 };
        let stream = pushed(|out| push_position(out, position));
        assert_eq!(stream, "event: position\nid: 00000000000000ab:0\n\n");
        assert_eq!(pushed(push_heartbeat), ":\n");
    }

    #[test]
    fn our_own_events_keep_the_last_id() {
        let stream = pushed(|out| {
            push_event(out, Epoch::new(0xab), 7, true, b"a");
            push_heartbeat(out);
            push_gap(out, 8, 12);
            push_heartbeat(out);
            push_close(out, 1001, "go \"on\"\n");
        });
        let (events, last) = read(stream.as_bytes());
        let id = "00000000000000ab:7";
        assert_eq!(
            events,
            [
                dispatched("message", "a", id),
                dispatched("gap", r#"{"from":8,"to":12}"#, id),
                dispatched("close", r#"{"code":1001,"reason":"go \"on\"\n"}"#, id),
            ]
        );
        assert_eq!(last, id);
    }

    proptest! {
        #[test]
        fn every_text_arrives_with_its_line_ends_as_lf(
            payloads in proptest::collection::vec("[a: \r\n\u{feff}é\0]{0,12}|\\PC{0,12}", 1..6),
        ) {
            let mut stream = Vec::new();
            for (at, payload) in payloads.iter().enumerate() {
                push_event(&mut stream, Epoch::new(1), at as u64, true, payload.as_bytes());
                push_heartbeat(&mut stream);
            }
            let (events, _) = read(&stream);
            let expected: Vec<Dispatched> = payloads
                .iter()
                .enumerate()
                .map(|(at, payload)| {
                    let data = payload.replace("\r\n", "\n").replace('\r', "\n");
                    dispatched("message", &data, &format!("0000000000000001:{at}"))
                })
                .collect();
            prop_assert_eq!(events, expected);
        }
    }
}
