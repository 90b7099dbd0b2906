//! What leaves the server, read by decoders of our own: HTTP responses, server-sent events, unmasked frames.

use serde_json::Value;

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// In order, names in small letters.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header, which is there at most once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is there twice: {self:?}");
        value
    }

    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|options| options.split(", ").any(|option| option == "close"))
    }
}

/// A response at the start of `bytes` and its size, or `None` if it is not whole. `without_body`: it answers
/// HEAD. A stream of events is taken to have no body; it goes on behind it.
pub fn response(bytes: &[u8], without_body: bool) -> Option<(usize, Response)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).expect("a head is UTF-8");
    let mut lines = head.split("\r\n");
    let status_line = lines.next().expect("a first line");
    let rest = status_line.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("{status_line}"));
    let (status, phrase) = rest.split_once(' ').expect("a space behind the status");
    let status: u16 = status.parse().expect("a status");
    assert!((100..600).contains(&status) && !phrase.is_empty(), "{status_line}");
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no header: {line:?}"));
        assert!(super::http_reference::is_token(name), "no name: {line:?}");
        assert!(!value.bytes().any(|byte| byte.is_ascii_control()), "{line:?}");
        (name.to_ascii_lowercase(), value.to_owned())
    };
    let mut response = Response { status, headers: lines.map(header).collect(), body: Vec::new() };
    let start = end + 4;
    let streams = response.header("content-type") == Some("text/event-stream");
    let bodiless = without_body || matches!(status, 100 | 101 | 204 | 304);
    let length = match response.header("content-length") {
        Some(length) => length.parse().expect("a length"),
        None => {
            assert!(streams || matches!(status, 100 | 101 | 204 | 304), "no length: {response:?}");
            0
        }
    };
    if bodiless {
        return Some((start, response));
    }
    response.body = bytes.get(start..start + length)?.to_vec();
    check_body(&response);
    Some((start + length, response))
}

/// JSON is JSON, and a refusal says what is wrong.
fn check_body(response: &Response) {
    if response.header("content-type") != Some("application/json") {
        return;
    }
    let value: Value = serde_json::from_slice(&response.body).expect("JSON");
    if response.status >= 400 {
        assert_eq!(value["error"]["status"], response.status, "{value}");
        assert!(value["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{value}");
    }
}

/// A frame of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    /// Code and reason of a Close; 1005 stands for none.
    pub fn close(&self) -> Option<(u16, &str)> {
        if self.opcode != 8 {
            return None;
        }
        let [high, low, reason @ ..] = self.payload.as_slice() else { return Some((1005, "")) };
        Some((
            u16::from(*high) * 256 + u16::from(*low),
            std::str::from_utf8(reason).expect("a reason is UTF-8"),
        ))
    }
}

/// The frame at the start of `bytes` and its size, or `None` if it is not whole. Panics at what no server may
/// send without extensions: masks, reserved bits, fragments of ours, lengths that are too long, bad text.
pub fn frame(bytes: &[u8]) -> Option<(usize, Frame)> {
    let [first, second, ..] = *bytes else { return None };
    let opcode = first & 15;
    assert_eq!(first & 0xF0, 0x80, "one whole message in each frame: {first:#x}");
    assert!(matches!(opcode, 1 | 2 | 8 | 9 | 10), "opcode {opcode}");
    let number = |range: std::ops::Range<usize>| {
        let bytes = bytes.get(range)?;
        Some(bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)))
    };
    let (start, length, least) = match second {
        126 => (4, number(2..4)?, 126),
        127 => (10, number(2..10)?, 1 << 16),
        0..=125 => (2, u64::from(second), 0),
        128.. => panic!("a server does not mask"),
    };
    assert!(length >= least, "the shortest form of {length}");
    assert!(opcode < 8 || length <= 125, "a control frame of {length} bytes");
    let payload = bytes.get(start..start + length as usize)?.to_vec();
    assert!(opcode != 1 || std::str::from_utf8(&payload).is_ok(), "text is UTF-8");
    let frame = Frame { opcode, payload };
    if let Some((code, reason)) = frame.close() {
        assert!(matches!(code, 1000..=1003 | 1005 | 1007..=1014 | 3000..=4999), "{code} must not travel");
        assert!(frame.payload.len() != 1 && reason.len() <= 123);
    }
    Some((start + length as usize, frame))
}
