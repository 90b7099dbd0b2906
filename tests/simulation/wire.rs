//! The client's side of the wire, written anew: what the server sends is decoded by this and by nothing
//! that the server itself is made of. It is strict: what a server may not send fails the run.
//!
//! RFC 9112 for responses, RFC 6455 for frames, the HTML standard §9.2 for server-sent events.

use std::collections::VecDeque;

/// One whole thing that the server has said.
#[derive(Clone, Debug)]
pub enum Heard {
    Response(Response),
    Frame(Frame),
    Event(Event),
}

#[derive(Clone, Debug, Default)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header that is there at most once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name);
        let value = values.next();
        assert!(values.next().is_none(), "{name} is there twice: {self:?}");
        value.map(|(_, value)| value.as_str())
    }

    pub fn number(&self, name: &str) -> u64 {
        let value = self.header(name).unwrap_or_else(|| panic!("no {name} in {self:?}"));
        value.parse().unwrap_or_else(|_| panic!("{name} is no number in {self:?}"))
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON: {error} in {self:?}"))
    }

    fn ends_the_connection(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    /// Code and reason of a Close; 1005 stands for none.
    pub fn close(&self) -> (u16, String) {
        assert_eq!(self.opcode, CLOSE);
        if self.payload.is_empty() {
            return (1005, String::new());
        }
        let (code, reason) = self.payload.split_at(2);
        let reason = String::from_utf8(reason.to_vec()).expect("the reason of a Close is UTF-8");
        (u16::from_be_bytes([code[0], code[1]]), reason)
    }
}

/// A block of fields of an event stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    pub kind: String,
    pub id: Option<String>,
    pub data: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Responses to requests.
    Http,
    Frames,
    Events,
    /// Nothing more may come.
    Over,
}

/// What one connection has been sent so far.
#[derive(Debug)]
pub struct Ear {
    buffer: Vec<u8>,
    pub mode: Mode,
    /// Whether the answers to the next requests have no body.
    heads_only: VecDeque<bool>,
    event: Event,
    /// The body that may come behind the end: a server that has no place answers before it knows that the
    /// request is HEAD.
    unasked_body: usize,
}

impl Default for Ear {
    fn default() -> Ear {
        Ear {
            buffer: Vec::new(),
            mode: Mode::Http,
            heads_only: VecDeque::new(),
            event: Event::default(),
            unasked_body: 0,
        }
    }
}

impl Ear {
    /// A request is on the way; its answer has no body if it is HEAD.
    pub fn asked(&mut self, head_only: bool) {
        self.heads_only.push_back(head_only);
    }

    /// Whether something is begun and not whole.
    pub fn is_within(&self) -> bool {
        !self.buffer.is_empty() || self.event != Event::default()
    }

    /// Takes in bytes, and gives what is whole.
    pub fn hear(&mut self, bytes: &[u8]) -> Vec<Heard> {
        self.buffer.extend_from_slice(bytes);
        let mut heard = Vec::new();
        let mut at = 0;
        loop {
            let rest = &self.buffer[at..];
            if rest.is_empty() {
                break;
            }
            let used = match self.mode {
                Mode::Http => {
                    let head_only = self.heads_only.front().copied().unwrap_or(false);
                    let taken = take_response(rest, head_only, &mut self.mode, &mut heard);
                    if let (Some(_), Some(Heard::Response(response))) = (taken, heard.last()) {
                        if response.status != 100 {
                            self.heads_only.pop_front();
                        }
                        if head_only && self.mode == Mode::Over && matches!(response.status, 408 | 429 | 503)
                        {
                            self.unasked_body = response.number("content-length") as usize;
                        }
                    }
                    taken
                }
                Mode::Frames => take_frame(rest, &mut self.mode, &mut heard),
                Mode::Events => take_line(rest, &mut self.event, &mut self.mode, &mut heard),
                Mode::Over => {
                    assert!(rest.len() <= self.unasked_body, "behind the end came {}", rest.escape_ascii());
                    self.unasked_body -= rest.len();
                    Some(rest.len())
                }
            };
            let Some(used) = used else { break };
            at += used;
        }
        self.buffer.drain(..at);
        heard
    }
}

/// The most bytes of a head that a server of ours sends.
const HEAD_BYTES_MAX: usize = 4096;

fn take_response(rest: &[u8], head_only: bool, mode: &mut Mode, heard: &mut Vec<Heard>) -> Option<usize> {
    let end = rest.windows(4).position(|window| window == b"\r\n\r\n");
    assert!(end.unwrap_or(rest.len()) <= HEAD_BYTES_MAX, "no end of a head: {}", rest.escape_ascii());
    let end = end?;
    let mut response = parse_head(&rest[..end]);
    let mut used = end + 4;
    if response.status == 100 {
        heard.push(Heard::Response(response));
        return Some(used);
    }
    if response.status == 101 {
        *mode = Mode::Frames;
    } else if response.header("content-type") == Some("text/event-stream") {
        assert_eq!((response.status, response.header("content-length")), (200, None), "{response:?}");
        *mode = if head_only { Mode::Over } else { Mode::Events };
    } else {
        let length = match response.status {
            204 => 0,
            _ => response.number("content-length") as usize,
        };
        let length = if head_only { 0 } else { length };
        if rest.len() < used + length {
            return None;
        }
        response.body = rest[used..used + length].to_vec();
        used += length;
        if response.ends_the_connection() {
            *mode = Mode::Over;
        }
    }
    heard.push(Heard::Response(response));
    Some(used)
}

fn parse_head(head: &[u8]) -> Response {
    let text = std::str::from_utf8(head).expect("a head is UTF-8");
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).map(str::parse);
    let Some(Ok(status)) = status else { panic!("no status line: {first:?}") };
    assert!(first.as_bytes().get(12) == Some(&b' '), "no status line: {first:?}");
    let field = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no header: {line:?}"));
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        assert!(!name.is_empty() && name.bytes().all(token), "no header name: {line:?}");
        assert!(!value.bytes().any(|byte| byte.is_ascii_control()), "no header value: {line:?}");
        (name.to_ascii_lowercase(), value.to_owned())
    };
    Response { status, headers: lines.map(field).collect(), body: Vec::new() }
}

fn take_frame(rest: &[u8], mode: &mut Mode, heard: &mut Vec<Heard>) -> Option<usize> {
    let (first, second) = (rest[0], *rest.get(1)?);
    assert_eq!(first & 0x70, 0, "reserved bits: {first:#x}");
    assert_eq!(first & 0x80, 0x80, "the server does not fragment");
    assert_eq!(second & 0x80, 0, "the server does not mask");
    let opcode = first & 0x0f;
    assert!(matches!(opcode, TEXT | BINARY | CLOSE | PING | PONG), "opcode {opcode}");
    let (start, length) = match second {
        126 => {
            let length = u16::from_be_bytes(rest.get(2..4)?.try_into().expect("two bytes"));
            assert!(length > 125, "a length is as short as it can be");
            (4, usize::from(length))
        }
        127 => {
            let length = u64::from_be_bytes(rest.get(2..10)?.try_into().expect("eight bytes"));
            assert!(length > 0xffff && length < 1 << 40, "a length is as short as it can be: {length}");
            (10, length as usize)
        }
        short => (2, usize::from(short)),
    };
    assert!(opcode < CLOSE || length <= 125, "a control frame of {length} bytes");
    let payload = rest.get(start..start + length)?.to_vec();
    if opcode == TEXT {
        assert!(std::str::from_utf8(&payload).is_ok(), "text is UTF-8");
    }
    let frame = Frame { opcode, payload };
    if opcode == CLOSE {
        assert_ne!(frame.payload.len(), 1, "half a close code");
        let (code, _) = frame.close();
        let travels = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        assert!(travels || frame.payload.is_empty(), "close code {code} may not travel");
        *mode = Mode::Over;
    }
    heard.push(Heard::Frame(frame));
    Some(start + length)
}

/// Takes a line of an event stream.
fn take_line(rest: &[u8], event: &mut Event, mode: &mut Mode, heard: &mut Vec<Heard>) -> Option<usize> {
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(&rest[..end]).expect("an event stream is UTF-8");
    assert!(!line.contains('\r'), "our streams end lines with LF alone: {line:?}");
    if line.is_empty() {
        let event = std::mem::take(event);
        assert!(event.data.is_some() || event.kind == "position", "an empty event: {event:?}");
        if event.kind == "close" {
            *mode = Mode::Over;
        }
        heard.push(Heard::Event(event));
    } else if line != ":" {
        let (field, value) = line.split_once(": ").unwrap_or_else(|| panic!("no field: {line:?}"));
        match field {
            "event" => event.kind = value.to_owned(),
            "id" => event.id = Some(value.to_owned()),
            "data" => match &mut event.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => event.data = Some(value.to_owned()),
            },
            other => panic!("field {other} in an event stream"),
        }
    }
    Some(end + 1)
}

/// A handshake for a target.
pub fn upgrade_request(target: &str) -> Vec<u8> {
    format!(
        "GET {target} HTTP/1.1\r\nHost: sim\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// The answer that the key of [`upgrade_request`] demands (RFC 6455 §1.3).
pub const ACCEPTED_KEY: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Appends a masked frame with this first byte.
pub fn push_frame(out: &mut Vec<u8>, first: u8, payload: &[u8], mask: [u8; 4]) {
    out.push(first);
    match payload.len() {
        short @ 0..=125 => out.push(0x80 | short as u8),
        medium @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend((medium as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend((long as u64).to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// The payload of a Close.
pub fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend(reason.as_bytes());
    payload
}
