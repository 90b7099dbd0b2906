//! The HTTP door, and the headers that say where in a room one is.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{Head, Raw, upgrade_request};

/// A part of an event stream: an event, a position alone, or a comment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// The type of the event; empty for `message`.
    pub event: String,
    pub id: Option<String>,
    /// Absent if it is no event.
    pub data: Option<String>,
}

impl Block {
    /// Takes the first whole one off the front of the bytes. A comment is one for itself, as it needs no
    /// blank line.
    pub fn take(bytes: &mut Vec<u8>) -> Option<Block> {
        let end: &[u8] = if bytes.first() == Some(&b':') { b"\n" } else { b"\n\n" };
        let at = bytes.windows(end.len()).position(|window| window == end)?;
        let lines: Vec<u8> = bytes.drain(..at + end.len()).collect();
        Some(Block::parse(std::str::from_utf8(&lines).expect("events are UTF-8")))
    }

    /// Where a stream begins.
    pub fn position(position: String) -> Block {
        Block { event: "position".to_owned(), id: Some(position), data: None }
    }

    fn parse(lines: &str) -> Block {
        let mut block = Block::default();
        for line in lines.lines() {
            let (field, value) = line.split_once(": ").unwrap_or((line, ""));
            match field {
                "event" => block.event = value.to_owned(),
                "id" => block.id = Some(value.to_owned()),
                "data" => {
                    block.data = Some(block.data.take().map_or(String::new(), |data| data + "\n") + value)
                }
                "" | ":" => {}
                other => panic!("an unknown field {other:?} in {lines:?}"),
            }
        }
        block
    }

    /// The offset in its id.
    pub fn offset(&self) -> u64 {
        offset_of(self.id.as_deref().expect("an id"))
    }

    /// Its data as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(self.data.as_deref().expect("data")).expect("JSON")
    }
}

/// The offset of a position.
pub fn offset_of(position: &str) -> u64 {
    position.split_once(':').and_then(|(_, offset)| offset.parse().ok()).expect("EPOCH:OFFSET")
}

/// A message as every door gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub offset: u64,
    pub text: bool,
    pub payload: Vec<u8>,
}

impl Seen {
    /// The message of an event, which must be one.
    pub fn in_event(block: &Block) -> Seen {
        let data = block.data.as_deref().expect("data");
        let payload = match block.event.as_str() {
            "" => data.as_bytes().to_vec(),
            "binary" => STANDARD.decode(data).expect("base64"),
            other => panic!("no message but {other}: {data}"),
        };
        Seen { offset: block.offset(), text: block.event.is_empty(), payload }
    }

    /// A publication in an answer with history; as text no JSON is expected.
    pub fn in_history(item: &Value) -> Seen {
        let offset = item["offset"].as_u64().expect("an offset");
        let text = item["text"].as_str().map(|text| text.as_bytes().to_vec());
        let base64 = || STANDARD.decode(item["base64"].as_str().expect("text or base64")).expect("base64");
        Seen { offset, text: text.is_some(), payload: text.unwrap_or_else(base64) }
    }
}

impl Head {
    /// The value of a header that must be there and a number.
    pub fn number(&self, name: &str) -> u64 {
        self.header(name).and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name}: {self:?}"))
    }

    /// The latest position of the room.
    pub fn newest(&self) -> String {
        let epoch = self.header("fanfare-epoch").expect("an epoch");
        assert_eq!(epoch.len(), 16, "{epoch}");
        format!("{epoch}:{}", self.number("fanfare-offset"))
    }

    /// The position behind which a stream begins.
    pub fn from(&self) -> String {
        let epoch = self.header("fanfare-epoch").expect("an epoch");
        format!("{epoch}:{}", self.number("fanfare-from"))
    }
}

/// A request with a body of this length, if it has one; `headers` end in CRLF each.
pub fn request(line: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = match body.len() {
        0 => String::new(),
        bytes => format!("Content-Length: {bytes}\r\n"),
    };
    let head = format!("{line} HTTP/1.1\r\nHost: a\r\n{length}{headers}\r\n");
    [head.as_bytes(), body].concat()
}

impl Raw {
    /// Opens a WebSocket and says what its head said.
    pub fn join(address: SocketAddr, target: &str) -> (Raw, Head) {
        let mut raw = Raw::connect(address);
        raw.send(upgrade_request(target).as_bytes());
        let head = raw.head();
        assert_eq!(head.status, 101, "{target}: {head:?}");
        (raw, head)
    }

    /// The refusal of an upgrade.
    pub fn join_refused(address: SocketAddr, target: &str) -> (Head, String) {
        let mut raw = Raw::connect(address);
        raw.send(upgrade_request(target).as_bytes());
        raw.refusal()
    }

    /// Opens a stream of events, and reads the id that comes first.
    pub fn events(address: SocketAddr, target: &str, headers: &str) -> (Raw, Head) {
        let mut raw = Raw::connect(address);
        raw.send(&request(&format!("GET {target}"), headers, b""));
        let head = raw.head();
        assert_eq!(head.status, 200, "{target}: {head:?}");
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        assert_eq!(raw.block(), Block::position(head.from()));
        (raw, head)
    }

    /// The next block of an event stream.
    pub fn block(&mut self) -> Block {
        loop {
            if let Some(block) = Block::take(&mut self.unread) {
                return block;
            }
            assert!(self.fill(), "the stream ended in an event: {}", self.unread.escape_ascii());
        }
    }

    /// Sends a request and reads the whole response.
    pub fn ask(&mut self, line: &str, headers: &str, body: &[u8]) -> (Head, String) {
        self.send(&request(line, headers, body));
        self.response()
    }

    /// The same, answered with 200 and JSON.
    pub fn ask_json(&mut self, line: &str, headers: &str, body: &[u8]) -> (Head, Value) {
        let (head, body) = self.ask(line, headers, body);
        assert_eq!(
            (head.status, head.header("content-type")),
            (200, Some("application/json")),
            "{line}: {body}"
        );
        let json = serde_json::from_str(&body).expect("JSON");
        (head, json)
    }

    /// Publishes over HTTP, and says where it stands in the room.
    pub fn publish(&mut self, target: &str, headers: &str, body: &[u8]) -> u64 {
        let (head, json) = self.ask_json(&format!("POST {target}"), headers, body);
        let offset = json["offset"].as_u64().expect("an offset");
        assert_eq!(head.number("fanfare-offset"), offset);
        offset
    }

    /// All that the room holds behind `since`, page by page.
    pub fn history(&mut self, room: &str, since: &str, limit: usize) -> Vec<Seen> {
        let mut seen: Vec<Seen> = Vec::new();
        let mut since = since.to_owned();
        loop {
            let (head, page) = self.ask_json(&format!("GET {room}?since={since}&limit={limit}"), "", b"");
            let items = page["publications"].as_array().expect("publications");
            assert!(items.len() <= limit);
            seen.extend(items.iter().map(Seen::in_history));
            if page["more"] == false {
                return seen;
            }
            assert!(!items.is_empty(), "there is more, but nothing came");
            let epoch = head.header("fanfare-epoch").expect("an epoch");
            since = format!("{epoch}:{}", seen.last().map_or(0, |seen| seen.offset));
        }
    }
}
