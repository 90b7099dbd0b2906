//! Tests of the connection: order, errors, splits, heads.

use super::super::error::{LimitError, ProtocolError};
use super::super::header::{encode_server_header, push_client_frame, push_server_frame};
use super::*;
use crate::protocol::handshake::SCANNED;

mod bounds;
mod proxied;
mod requests;

const KEY: [u8; 4] = [1, 2, 3, 0xF4];
const NOW: Time = Time::from_nanos(7);

/// An event without borrows.
#[derive(Clone, Debug, PartialEq)]
enum Owned {
    Request(String),
    Body(String, Vec<u8>),
    BadRequest(u16),
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String, bool),
    Failed(Failure),
    Proxied(ProxySource),
    BadProxyHeader(ProxyHeaderError),
}

impl Owned {
    fn from(event: Event<'_>) -> Owned {
        match event {
            Event::Request(request) => Owned::Request(request.path().to_owned()),
            Event::Body { request, body } => Owned::Body(request.path().to_owned(), body.to_vec()),
            Event::BadRequest(refusal) => Owned::BadRequest(refusal.status),
            Event::Message(message) => match message.kind {
                Kind::Text => Owned::Text(message.text().unwrap().to_owned()),
                Kind::Binary => Owned::Binary(message.payload.to_vec()),
            },
            Event::Ping(payload) => Owned::Ping(payload.to_vec()),
            Event::Pong(payload) => Owned::Pong(payload.to_vec()),
            Event::Close { code, reason, reply } => {
                Owned::Close(code.map(CloseCode::as_u16), reason.to_owned(), reply)
            }
            Event::Failed(failure) => Owned::Failed(failure),
            Event::Proxied(source) => Owned::Proxied(source),
            Event::BadProxyHeader(error) => Owned::BadProxyHeader(error),
        }
    }
}

/// Feeds `bytes` in one input at `now`; accepts every request.
fn feed_at(now: Time, connection: &mut Connection, bytes: &[u8], limits: &Limits) -> Vec<Owned> {
    let mut bytes = bytes.to_vec();
    let mut input = Input::new(&mut bytes);
    let mut events = Vec::new();
    while let Some(event) = connection.next_event(now, &mut input, limits) {
        events.push(Owned::from(event));
        if matches!(events.last(), Some(Owned::Request(_))) {
            connection.accept();
        }
    }
    assert_eq!(input.remaining(), 0, "None means that the input is used up");
    events
}

fn feed(connection: &mut Connection, bytes: &[u8]) -> Vec<Owned> {
    feed_at(NOW, connection, bytes, &Limits::default())
}

/// The events of `bytes`, after checking that each single cut and single bytes give the same.
fn events_of(start: fn() -> Connection, bytes: &[u8], limits: &Limits) -> Vec<Owned> {
    let whole = feed_at(NOW, &mut start(), bytes, limits);
    for cut in 0..=bytes.len() {
        let mut connection = start();
        let mut events = feed_at(NOW, &mut connection, &bytes[..cut], limits);
        events.extend(feed_at(NOW, &mut connection, &bytes[cut..], limits));
        assert_eq!(events, whole, "cut at {cut}");
    }
    let mut connection = start();
    let single = bytes.chunks(1);
    let events: Vec<_> = single.flat_map(|byte| feed_at(NOW, &mut connection, byte, limits)).collect();
    assert_eq!(events, whole, "byte by byte");
    whole
}

fn server() -> Connection {
    Connection::open(Role::Server)
}

fn frame(opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    push_client_frame(&mut out, opcode, fin, payload, KEY);
    out
}

fn frames(frames: &[(Opcode, bool, &[u8])]) -> Vec<u8> {
    let all = frames.iter();
    all.flat_map(|(opcode, fin, payload)| frame(*opcode, *fin, payload)).collect()
}

/// A client's binary frame header that announces `length` bytes in the 64-bit form.
fn announced(first: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first, 0x80 | 127];
    bytes.extend(length.to_be_bytes());
    bytes.extend(KEY);
    bytes
}

fn failed(error: impl Into<Failure>) -> Owned {
    Owned::Failed(error.into())
}

#[test]
fn the_connection_is_small() {
    assert!(size_of::<Connection>() <= 24);
}

#[test]
fn messages_and_controls_come_out_in_order_at_every_cut() {
    let bytes = frames(&[
        (Opcode::Text, true, "grüß €".as_bytes()),
        (Opcode::Binary, false, b"one "),
        (Opcode::Ping, true, b"?"),
        (Opcode::Continuation, false, b""),
        (Opcode::Pong, true, b""),
        (Opcode::Continuation, true, b"two"),
        (Opcode::Binary, true, &[7; 200]),
        (Opcode::Text, false, b"\xE2"),
        (Opcode::Continuation, true, b"\x82\xAC"),
        (Opcode::Text, true, b""),
        (Opcode::Close, true, b"\x03\xE9bye"),
    ]);
    let expected = [
        Owned::Text("grüß €".to_owned()),
        Owned::Ping(b"?".to_vec()),
        Owned::Pong(Vec::new()),
        Owned::Binary(b"one two".to_vec()),
        Owned::Binary(vec![7; 200]),
        Owned::Text("€".to_owned()),
        Owned::Text(String::new()),
        Owned::Close(Some(1001), "bye".to_owned(), true),
    ];
    assert_eq!(events_of(server, &bytes, &Limits::default()), expected);
}

#[test]
fn the_client_role_reads_unmasked_frames() {
    let mut bytes = Vec::new();
    push_server_frame(&mut bytes, Opcode::Text, b"Hello");
    bytes.extend_from_slice(&encode_server_header(Opcode::Binary, false, 1));
    bytes.push(1);
    bytes.extend_from_slice(&encode_server_header(Opcode::Continuation, true, 1));
    bytes.push(2);
    let expected = [Owned::Text("Hello".to_owned()), Owned::Binary(vec![1, 2])];
    let client = || Connection::open(Role::Client);
    assert_eq!(events_of(client, &bytes, &Limits::default()), expected);
    let masked = frame(Opcode::Text, true, b"x");
    let events = events_of(client, &masked, &Limits::default());
    assert_eq!(events, [failed(ProtocolError::Masked)]);
}

#[test]
fn every_pair_of_first_bytes_is_survived_by_every_connection() {
    for start in [Connection::accepting, server, || Connection::open(Role::Client)] {
        for first in 0..=255 {
            for second in 0..=255 {
                let mut connection = start();
                feed(&mut connection, &[first, second]);
                feed(&mut connection, &[0; 20]);
            }
        }
    }
}

#[test]
fn the_order_of_frames_has_two_errors() {
    let limits = Limits::default();
    let alone = frame(Opcode::Continuation, true, b"x");
    let error = ProtocolError::ContinuationWithoutMessage;
    assert_eq!(events_of(server, &alone, &limits), [failed(error)]);
    for (opcode, kind) in [(Opcode::Text, Kind::Text), (Opcode::Binary, Kind::Binary)] {
        let bytes = frames(&[(Opcode::Binary, false, b"a"), (opcode, true, b"b")]);
        let error = ProtocolError::MessageInsideMessage { kind };
        assert_eq!(events_of(server, &bytes, &limits), [failed(error)]);
    }
    let complete = frames(&[(Opcode::Text, true, b"a"), (Opcode::Continuation, true, b"b")]);
    let error = ProtocolError::ContinuationWithoutMessage;
    let expected = [Owned::Text("a".to_owned()), failed(error)];
    assert_eq!(events_of(server, &complete, &limits), expected);
}

#[test]
fn header_rules_win_over_order_over_limits_over_utf8() {
    let limits = Limits { message_bytes_max: 3, ..Limits::default() };
    let open = frame(Opcode::Binary, false, b"a");
    let with = |rest: Vec<u8>| [open.clone(), rest].concat();
    let reserved = with(announced(0xC1, 1 << 40));
    let error = ProtocolError::ReservedBits { bits: 4 };
    assert_eq!(events_of(server, &reserved, &limits), [failed(error)]);
    let order = with(announced(0x81, 1 << 40));
    let error = ProtocolError::MessageInsideMessage { kind: Kind::Text };
    assert_eq!(events_of(server, &order, &limits), [failed(error)]);
    let limit = frame(Opcode::Text, true, b"\xFF\xFF\xFF\xFF");
    let error = LimitError::MessageTooBig { bytes: 4, limit: 3 };
    assert_eq!(events_of(server, &limit, &limits), [failed(error)]);
    let utf8 = frame(Opcode::Text, true, b"\xFF\xFF\xFF");
    let error = ProtocolError::TextNotUtf8;
    assert_eq!(events_of(server, &utf8, &limits), [failed(error)]);
}

#[test]
fn bad_utf8_fails_at_its_first_byte_inside_a_frame() {
    for (text, at) in [
        (b"\xED\xA0..............".as_slice(), 1),
        (b"abc\xC0.............", 3),
        (b"ab\xF4\x90............", 3),
        (b"\xE0\x80..............", 1),
        (b"\xE2\x82(.............", 2),
    ] {
        let bytes = frame(Opcode::Text, true, text);
        let header = bytes.len() - text.len();
        let mut connection = server();
        assert_eq!(feed(&mut connection, &bytes[..header + at]), []);
        let events = feed(&mut connection, &bytes[header + at..=header + at]);
        assert_eq!(events, [failed(ProtocolError::TextNotUtf8)]);
        assert_eq!(connection.heap_bytes(), 0);
        events_of(server, &bytes, &Limits::default());
    }
    let incomplete = frames(&[(Opcode::Text, false, b"a"), (Opcode::Continuation, true, b"\xE2\x82")]);
    let events = events_of(server, &incomplete, &Limits::default());
    assert_eq!(events, [failed(ProtocolError::TextNotUtf8)]);
}

#[test]
fn after_our_close_only_the_peers_close_counts() {
    let mut connection = server();
    let open = frame(Opcode::Text, false, &[b'x'; 5000]);
    assert_eq!(feed(&mut connection, &open), []);
    connection.close_sent();
    assert_eq!(connection.state(), State::Closing);
    assert!(connection.heap_bytes() < 1000, "the payload is freed");
    let bytes = frames(&[
        (Opcode::Ping, true, b"p"),
        (Opcode::Continuation, true, &[b'x'; 5000]),
        (Opcode::Binary, true, b"b"),
        (Opcode::Pong, true, b"p"),
    ]);
    for byte in bytes.chunks(1) {
        assert_eq!(feed(&mut connection, byte), []);
        assert!(connection.heap_bytes() < 1000);
    }
    assert_eq!(connection.heap_bytes(), 0);
    let events = feed(&mut connection, &frame(Opcode::Close, true, b"\x03\xE8"));
    assert_eq!(events, [Owned::Close(Some(1000), String::new(), false)]);
    assert_eq!(connection.state(), State::Closed);
}

#[test]
fn errors_while_closing_end_it() {
    let closing = || {
        let mut connection = server();
        connection.close_sent();
        connection
    };
    for (bytes, failure) in [
        (vec![0x83], Failure::from(ProtocolError::ReservedOpcode { opcode: 3 })),
        (frame(Opcode::Text, true, b"\xFF"), ProtocolError::TextNotUtf8.into()),
        (frame(Opcode::Close, true, b"\x03"), ProtocolError::CloseTruncated.into()),
    ] {
        let events = events_of(closing, &bytes, &Limits::default());
        assert_eq!(events, [Owned::Failed(failure)]);
    }
}

#[test]
fn nothing_is_parsed_after_the_end() {
    let ping = frame(Opcode::Ping, true, b"");
    for end in [frame(Opcode::Close, true, b""), frame(Opcode::Close, true, b"\x03\xED"), vec![0xFF]] {
        let bytes = [ping.clone(), end, ping.clone(), ping.clone()].concat();
        let events = events_of(server, &bytes, &Limits::default());
        assert_eq!(events.len(), 2, "the ping before it is there");
    }
    let mut connection = server();
    feed(&mut connection, &frame(Opcode::Text, false, b"a"));
    connection.transport_lost();
    assert_eq!(connection.state(), State::Closed);
    assert_eq!(connection.heap_bytes(), 0);
    assert_eq!(feed(&mut connection, &ping), []);
}

const HEAD: &[u8] = b"GET /a HTTP/1.1\r\nHost: b\r\n\r\n";

#[test]
fn frames_behind_the_head_wait_for_the_decision() {
    let mut bytes = HEAD.to_vec();
    bytes.extend(frame(Opcode::Text, true, b"first"));
    bytes.extend(frame(Opcode::Text, true, b"second"));
    let expected =
        [Owned::Request("/a".to_owned()), Owned::Text("first".to_owned()), Owned::Text("second".to_owned())];
    let events = events_of(Connection::accepting, &bytes, &Limits::default());
    assert_eq!(events, expected);

    for cut in 0..HEAD.len() {
        let (left, right) = bytes.split_at_mut(cut);
        let mut connection = Connection::accepting();
        let limits = Limits::default();
        let mut input = Input::new(left);
        assert!(connection.next_event(NOW, &mut input, &limits).is_none());
        let mut input = Input::new(right);
        let event = connection.next_event(NOW, &mut input, &limits);
        assert!(matches!(event, Some(Event::Request(_))));
        assert_eq!(connection.message_started(), None, "the head is whole");
        connection.refuse();
        assert_eq!(connection.state(), State::Closed);
        assert_eq!(connection.heap_bytes(), 0);
        assert!(connection.next_event(NOW, &mut input, &limits).is_none());
        assert_eq!(input.remaining(), 0);
    }
}

#[test]
fn a_handshake_can_be_refused_at_any_byte_of_its_head() {
    for size in 0..=HEAD.len() {
        let mut connection = Connection::accepting();
        let mut bytes = HEAD[..size].to_vec();
        let mut input = Input::new(&mut bytes);
        let event = connection.next_event(NOW, &mut input, &Limits::default());
        assert_eq!(event.is_some(), size == HEAD.len());
        connection.refuse();
        assert_eq!(connection.state(), State::Closed);
        assert_eq!((connection.heap_bytes(), connection.message_started()), (0, None));
    }
}

#[test]
fn each_byte_of_a_head_is_scanned_once_and_memory_follows() {
    SCANNED.set(0);
    let filler = format!("X: {}\r\n\r\n", "y".repeat(7000));
    let head = [&HEAD[..HEAD.len() - 2], filler.as_bytes()].concat();
    let mut connection = Connection::accepting();
    for (index, byte) in head.iter().enumerate() {
        let events = feed(&mut connection, &[*byte]);
        assert_eq!(events.is_empty(), index + 1 < head.len());
        assert!(connection.heap_bytes() <= index + index / 4 + 4096);
    }
    assert_eq!(SCANNED.get(), head.len());
    assert_eq!(connection.state(), State::Open);
    assert_eq!(connection.heap_bytes(), 0);
}

#[test]
fn an_http_1_0_request_is_handed_out() {
    let events = events_of(Connection::accepting, b"GET /healthz HTTP/1.0\r\n\r\n", &Limits::default());
    assert_eq!(events, [Owned::Request("/healthz".to_owned())]);
}

#[test]
fn a_bad_head_ends_the_connection() {
    for bytes in [
        b"\0".as_slice(),
        b"GET / HTTP/1.1\n",
        b"GET / HTTP/1.2\r\nHost: a\r\n\r\nGET",
        b"GET / HTTP/1.1\r\n\r\n\x81\x80",
    ] {
        let events = events_of(Connection::accepting, bytes, &Limits::default());
        assert_eq!(events, [Owned::BadRequest(400)]);
    }
    let limits = Limits { head_bytes_max: HEAD.len() - 1, ..Limits::default() };
    let events = events_of(Connection::accepting, HEAD, &limits);
    assert_eq!(events, [Owned::BadRequest(431)]);
}
