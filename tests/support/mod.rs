//! A server in this process and clients for it, over real sockets on the loopback.

#![allow(dead_code)] // each test file uses its part

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::Deref;
use std::time::Duration;

use fanfare::endpoint::CloseKind;
use fanfare::server::{ListenAddress, Pin};
use fanfare::shard::{Counter, ShardStats};
use fanfare::{Config, Server, ServerBuilder};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Message, WebSocket};

pub mod door;
pub mod running;

/// Waiting longer than this is a failure, never a result.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Round trips after which an awaited state is taken to never come.
const ROUND_TRIPS_MAX: usize = 100_000;

/// A configuration for the loopback; when it is stopped, everybody is told at once.
pub fn config() -> Config {
    let listen = vec!["127.0.0.1:0".parse().expect("an address")];
    Config {
        listen,
        workers: Some(2),
        pin: Pin::Off,
        drain: Duration::ZERO,
        // The clients are of this very process: their descriptors count, and they come as fast as they can.
        handshakes_per_second: 1 << 20,
        shed_at_percent: 100,
        ..Config::default()
    }
}

/// The same with rooms that forget nothing in the time of a test.
pub fn remembering(config: Config) -> Config {
    let history_bytes = 1 << 30;
    Config { history_bytes, history_memory: history_bytes, history_messages: 1 << 20, ..config }
}

/// A server that is shut down when it goes out of scope.
pub struct TestServer(Option<Server>);

impl TestServer {
    /// The standard paths.
    pub fn start(config: Config) -> TestServer {
        TestServer::build(ServerBuilder::standard(config))
    }

    pub fn build(builder: ServerBuilder) -> TestServer {
        TestServer(Some(builder.start().expect("the server starts")))
    }

    /// Where it listens first.
    pub fn address(&self) -> SocketAddr {
        match self.addresses()[0] {
            ListenAddress::Tcp(address) => address,
            ListenAddress::Unix(_) | ListenAddress::Passed(_) => panic!("no TCP address"),
        }
    }

    /// The most that one queue has pinned, on whichever shard.
    pub fn pinned_max(&self) -> usize {
        let of_shard = |stats: &ShardStats| stats.get(Counter::QueuePinnedMax);
        self.shard_stats().iter().map(of_shard).max().unwrap_or_default() as usize
    }

    /// Messages that `members` members of the one room have not been given yet, or a little less.
    pub fn undelivered(&self, members: u64) -> u64 {
        let published = self.counter(Counter::Publications);
        (published * members).saturating_sub(self.counter(Counter::Deliveries))
    }

    /// Shuts it down and returns its last numbers.
    pub fn stop(mut self) -> Vec<ShardStats> {
        let server = self.0.take().expect("not stopped yet");
        server.handle().shutdown();
        server.wait()
    }

    /// Makes round trips until `reached` holds.
    pub fn until(&self, what: &str, mut reached: impl FnMut(&Server) -> bool) {
        let mut probe = Raw::open(self.address(), "/echo");
        for _ in 0..ROUND_TRIPS_MAX {
            if reached(self) {
                return;
            }
            probe.round_trip(b"probe");
        }
        panic!("{what} is never reached");
    }

    /// Waits for so many closes of a kind.
    pub fn until_closes(&self, kind: CloseKind, count: u64) {
        self.until(kind.name(), |server| server.closes(kind) == count);
    }

    /// Waits for a counter to have a value.
    pub fn until_counter(&self, counter: Counter, value: u64) {
        self.until(counter.name(), |server| server.counter(counter) == value);
    }
}

impl Deref for TestServer {
    type Target = Server;

    fn deref(&self) -> &Server {
        self.0.as_ref().expect("not stopped yet")
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(server) = self.0.take() {
            server.handle().shutdown();
            server.wait();
        }
    }
}

/// A correct opening handshake for a target.
pub fn upgrade_request(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A response without its body.
#[derive(Debug)]
pub struct Head {
    pub status: u16,
    pub headers: Vec<(String, String)>,
}

impl Head {
    pub fn parse(text: &str) -> Head {
        let mut lines = text.split("\r\n");
        let status_line = lines.next().expect("a status line");
        let status = status_line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        let status = status.and_then(|digits| digits.parse().ok());
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").expect("a header line");
            (name.to_ascii_lowercase(), value.to_owned())
        };
        let headers = lines.filter(|line| !line.is_empty()).map(header).collect();
        Head { status: status.unwrap_or_else(|| panic!("{status_line}")), headers }
    }

    /// The value of a header that is there at most once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is there twice: {self:?}");
        value
    }

    /// Whether a list header has a token.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.header(name).is_some_and(|list| list.split(", ").any(|element| element == token))
    }
}

/// A frame of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// FIN, reserved bits and opcode.
    pub first: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn text(payload: &str) -> Frame {
        Frame { first: 0x81, payload: payload.into() }
    }

    pub fn binary(payload: &[u8]) -> Frame {
        Frame { first: 0x82, payload: payload.into() }
    }

    /// Code and reason of a Close.
    pub fn close(&self) -> (u16, &str) {
        assert_eq!(self.first, 0x88, "a Close: {self:?}");
        let (code, reason) = self.payload.split_at(2);
        let reason = std::str::from_utf8(reason).expect("a reason is UTF-8");
        (u16::from_be_bytes([code[0], code[1]]), reason)
    }
}

const MASK: [u8; 4] = [0xA5, 0x00, 0xFF, 0x3C];

/// A masked frame with this first byte and the shortest length.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = header(first, payload.len() as u64);
    out.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ MASK[at % 4]));
    out
}

/// The header alone of such a frame, with its masking key.
pub fn header(first: u8, length: u64) -> Vec<u8> {
    let mut out = vec![first];
    match length {
        0..=125 => out.push(0x80 | length as u8),
        126..=0xFFFF => {
            out.push(0x80 | 126);
            out.extend((length as u16).to_be_bytes());
        }
        _ => out.extend(long_length(length)),
    }
    out.extend(MASK);
    out
}

/// The second byte and a length in its 64-bit form.
pub fn long_length(length: u64) -> Vec<u8> {
    let mut out = vec![0x80 | 127];
    out.extend(length.to_be_bytes());
    out
}

pub fn text(payload: &str) -> Vec<u8> {
    frame(0x81, payload.as_bytes())
}

/// A client that sends what it is told, byte by byte if need be.
pub struct Raw {
    pub stream: TcpStream,
    unread: Vec<u8>,
}

impl Raw {
    pub fn connect(address: SocketAddr) -> Raw {
        Raw::over(TcpStream::connect(address).expect("a connection"))
    }

    pub fn over(stream: TcpStream) -> Raw {
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a write timeout");
        Raw { stream, unread: Vec::new() }
    }

    /// Connects and shakes hands.
    pub fn open(address: SocketAddr, target: &str) -> Raw {
        let mut raw = Raw::connect(address);
        raw.shake_hands(target);
        raw
    }

    pub fn shake_hands(&mut self, target: &str) {
        self.send(upgrade_request(target).as_bytes());
        let head = self.head();
        assert_eq!(head.status, 101, "{target}");
        assert_eq!(head.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }

    /// Shakes hands; `false` if the server refuses or ends it, in whatever way.
    pub fn is_welcome(&mut self, target: &str) -> bool {
        if self.stream.write_all(upgrade_request(target).as_bytes()).is_err() {
            return false;
        }
        let mut start = [0; 12];
        if self.stream.read_exact(&mut start).is_err() || start != *b"HTTP/1.1 101" {
            return false;
        }
        self.unread.extend_from_slice(&start);
        self.head();
        true
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server takes it");
    }

    /// Says that nothing more comes.
    pub fn half_close(&mut self) {
        // It fails only if the server has ended both directions already.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads once; `false` at the end of the stream.
    fn fill(&mut self) -> bool {
        let mut buffer = vec![0; 64 << 10];
        let count = loop {
            match self.stream.read(&mut buffer) {
                // A socket with a timeout is not restarted after a signal to this process.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other.expect("bytes or the end of the stream"),
            }
        };
        self.unread.extend_from_slice(&buffer[..count]);
        count > 0
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            assert!(self.fill(), "the stream ended inside of something: {:?}", self.unread);
        }
        self.unread.drain(..count).collect()
    }

    /// Everything up to the end of the stream.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.unread)
    }

    pub fn expect_end(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "more came: {}", rest.escape_ascii());
    }

    pub fn head(&mut self) -> Head {
        let end = loop {
            let found = self.unread.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(at) = found {
                break at + 4;
            }
            assert!(self.fill(), "the stream ended in a head: {}", self.unread.escape_ascii());
        };
        Head::parse(&String::from_utf8(self.take(end)).expect("a head is UTF-8"))
    }

    /// A whole response with the body that it announces; one that says so is the last of the stream.
    pub fn response(&mut self) -> (Head, String) {
        let head = self.head();
        let length = head.header("content-length").map_or(0, |length| length.parse().expect("a length"));
        let body = if head.has_token("connection", "close") { self.rest() } else { self.take(length) };
        assert_eq!(body.len(), length);
        (head, String::from_utf8(body).expect("a body is UTF-8"))
    }

    /// A whole refusal, and the sentence in its JSON.
    pub fn refusal(&mut self) -> (Head, String) {
        let (head, body) = self.response();
        assert_eq!(head.header("content-type"), Some("application/json"), "{body}");
        assert!(body.ends_with('\n') && body.lines().count() == 1, "{body}");
        let json: serde_json::Value = serde_json::from_str(&body).expect("a refusal is JSON");
        assert_eq!(json["error"]["status"], head.status, "{body}");
        let message = json["error"]["message"].as_str().expect("a refusal has a message").to_owned();
        (head, message)
    }

    pub fn frame(&mut self) -> Frame {
        let start = self.take(2);
        let length = match start[1] {
            126 => self.take(2).iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
            127 => self.take(8).iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
            short => usize::from(short),
        };
        assert!(start[1] < 128, "a server does not mask");
        Frame { first: start[0], payload: self.take(length) }
    }

    /// The next frame, or `None` at the end of the stream.
    pub fn frame_or_end(&mut self) -> Option<Frame> {
        if self.unread.is_empty() && !self.fill() {
            return None;
        }
        Some(self.frame())
    }

    /// The Close that must come next, and the end of the stream after it.
    pub fn expect_close(&mut self) -> (u16, String) {
        let frame = self.frame();
        let (code, reason) = frame.close();
        self.expect_end();
        (code, reason.to_owned())
    }

    /// Sends a message to an echo and awaits it.
    pub fn round_trip(&mut self, payload: &[u8]) {
        self.send(&frame(0x82, payload));
        assert_eq!(self.frame(), Frame::binary(payload));
    }

    /// Ends it with a reset.
    pub fn reset(self) {
        rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).expect("SO_LINGER");
    }
}

/// A client that we did not write.
pub fn dial(address: SocketAddr, target: &str) -> WebSocket<TcpStream> {
    let stream = Raw::connect(address).stream;
    let limits = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    let url = format!("ws://{address}{target}");
    let (socket, response) =
        tungstenite::client::client_with_config(url.as_str(), stream, Some(limits)).expect("a handshake");
    assert_eq!(response.status().as_u16(), 101);
    socket
}

/// The next data message.
pub fn next_data(socket: &mut WebSocket<TcpStream>) -> Message {
    loop {
        let message = match socket.read() {
            Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::Interrupted => continue,
            other => other.expect("a message"),
        };
        if !matches!(message, Message::Ping(_) | Message::Pong(_)) {
            return message;
        }
    }
}
