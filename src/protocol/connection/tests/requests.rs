//! Tests of requests one after the other, with bodies and without.

use std::time::Duration;

use super::*;
use crate::protocol::BodyLength;

const LIMIT: usize = 100;

/// Feeds `bytes` in one input at `now`; every request is answered, with its body if it has one.
fn serve_at(now: Time, connection: &mut Connection, bytes: &[u8], limits: &Limits) -> Vec<Owned> {
    let mut bytes = bytes.to_vec();
    let mut input = Input::new(&mut bytes);
    let mut events = Vec::new();
    while let Some(event) = connection.next_event(now, &mut input, limits) {
        let has_body = match &event {
            Event::Request(request) => Some(request.body_length() != BodyLength::None),
            Event::Body { .. } => Some(false),
            _ => None,
        };
        events.push(Owned::from(event));
        assert!(!connection.reads_body());
        match has_body {
            Some(true) => connection.read_body(LIMIT),
            Some(false) => connection.answered(),
            None => {}
        }
        assert_eq!(connection.reads_body(), has_body == Some(true));
        let held = connection.heap_bytes() > 0 && connection.state() == State::Handshaking;
        assert_eq!(held, connection.reads_body(), "nothing between two requests");
    }
    assert_eq!(input.remaining(), 0, "None means that the input is used up");
    assert_eq!(connection.heap_bytes() > 0, connection.message_started().is_some());
    events
}

fn serve(connection: &mut Connection, bytes: &[u8]) -> Vec<Owned> {
    serve_at(NOW, connection, bytes, &Limits::default())
}

/// The events of `bytes`, after checking that each single cut and single bytes give the same.
fn events_of(bytes: &[u8]) -> Vec<Owned> {
    let whole = serve(&mut Connection::accepting(), bytes);
    for cut in 0..=bytes.len() {
        let mut connection = Connection::accepting();
        let mut events = serve(&mut connection, &bytes[..cut]);
        events.extend(serve(&mut connection, &bytes[cut..]));
        assert_eq!(events, whole, "cut at {cut}");
    }
    let mut connection = Connection::accepting();
    let events: Vec<_> = bytes.chunks(1).flat_map(|byte| serve(&mut connection, byte)).collect();
    assert_eq!(events, whole, "byte by byte");
    whole
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn chunked(path: &str, chunks: &[u8]) -> Vec<u8> {
    let head = format!("PUT {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    [head.as_bytes(), chunks].concat()
}

fn request(path: &str) -> Owned {
    Owned::Request(path.to_owned())
}

fn body(path: &str, bytes: &[u8]) -> Owned {
    Owned::Body(path.to_owned(), bytes.to_vec())
}

/// A connection that was handed the head of `bytes`, and has decided nothing.
fn asked(bytes: &[u8]) -> Connection {
    let mut connection = Connection::accepting();
    let mut bytes = bytes.to_vec();
    let mut input = Input::new(&mut bytes);
    let event = connection.next_event(NOW, &mut input, &Limits::default());
    assert!(matches!(event, Some(Event::Request(_))));
    connection
}

#[test]
fn requests_follow_each_other_at_every_cut() {
    let bytes = [
        get("/1"),
        post("/2", b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"),
        post("/3", b""),
        chunked("/4", b"3;x\r\nabc\r\n4\r\n\r\n\r\n\r\n0\r\nTrailer: x\r\n\r\n"),
        get("/5"),
        chunked("/6", b"0\r\n\r\n"),
        post("/7", b"z"),
    ];
    let expected = [
        request("/1"),
        request("/2"),
        body("/2", b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"),
        request("/3"),
        request("/4"),
        body("/4", b"abc\r\n\r\n"),
        request("/5"),
        request("/6"),
        body("/6", b""),
        request("/7"),
        body("/7", b"z"),
    ];
    assert_eq!(events_of(&bytes.concat()), expected);
}

#[test]
fn a_websocket_may_open_behind_other_requests() {
    let mut connection = Connection::accepting();
    assert_eq!(serve(&mut connection, &[get("/1"), post("/2", b"x")].concat()).len(), 3);
    let bytes = [HEAD, &frame(Opcode::Text, true, b"hello")].concat();
    let expected = [request("/a"), Owned::Text("hello".to_owned())];
    assert_eq!(feed(&mut connection, &bytes), expected);
    assert_eq!(connection.state(), State::Open);
}

#[test]
fn what_breaks_a_rule_ends_the_requests_before_what_is_behind_it() {
    let behind = get("/never");
    for (bytes, expected) in [
        (chunked("/c", b"x"), 400),
        (chunked("/c", b"1\r\nab"), 400),
        (chunked("/c", b"0\r\n\n"), 400),
        (chunked("/c", b"65\r\n"), 413),
        (chunked("/c", b"1\r\na\r\n64\r\n"), 413),
    ] {
        let events = events_of(&[get("/1"), bytes, behind.clone()].concat());
        assert_eq!(events, [request("/1"), request("/c"), Owned::BadRequest(expected)]);
    }
    let both = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let events = events_of(&[get("/1"), both.into(), behind.clone()].concat());
    assert_eq!(events, [request("/1"), Owned::BadRequest(400)]);
    let events = events_of(&[post("/1", b"a"), b"\r\n".to_vec(), behind].concat());
    assert_eq!(events, [request("/1"), body("/1", b"a"), Owned::BadRequest(400)], "no empty line between");
}

#[test]
fn the_size_of_a_body_is_bounded_inclusively() {
    for size in [LIMIT - 1, LIMIT] {
        let data = vec![b'x'; size];
        assert_eq!(events_of(&post("/", &data)), [request("/"), body("/", &data)]);
    }
    for (size, allowed) in [(LIMIT - 1, true), (LIMIT, true), (LIMIT + 1, false)] {
        let data = vec![b'x'; size];
        let chunks = [format!("{size:x}\r\n").as_bytes(), &data, b"\r\n0\r\n\r\n"].concat();
        let last = if allowed { body("/", &data) } else { Owned::BadRequest(413) };
        assert_eq!(events_of(&chunked("/", &chunks)), [request("/"), last]);
    }
}

#[test]
fn a_body_may_be_refused_before_and_while_it_comes_and_when_it_is_whole() {
    let bytes = post("/", b"hello");
    for size in bytes.len() - 5..=bytes.len() {
        let mut connection = Connection::accepting();
        let mut bytes = [&bytes[..size], b"more"].concat();
        let (bytes, more) = bytes.split_at_mut(size);
        let limits = Limits::default();
        let mut input = Input::new(bytes);
        assert!(matches!(connection.next_event(NOW, &mut input, &limits), Some(Event::Request(_))));
        if size % 2 == 0 {
            connection.read_body(LIMIT);
            let event = connection.next_event(NOW, &mut input, &limits);
            assert!(matches!(event, None | Some(Event::Body { .. })));
        }
        connection.refuse();
        assert_eq!(connection.state(), State::Closed);
        assert_eq!((connection.heap_bytes(), connection.message_started()), (0, None));
        assert!(!connection.reads_body());
        assert!(connection.next_event(NOW, &mut Input::new(more), &limits).is_none());
    }
}

#[test]
fn a_deadline_counts_from_the_first_byte_of_a_head_and_anew_for_a_body() {
    let bytes = post("/", b"abc");
    let (head, data) = bytes.split_at(bytes.len() - 3);
    let mut connection = Connection::accepting();
    let mut at = |seconds: u64, bytes: &[u8]| {
        let now = NOW + Duration::from_secs(seconds);
        serve_at(now, &mut connection, bytes, &Limits::default());
        (connection.message_started(), connection.reads_body())
    };
    let started = |seconds: u64| Some(NOW + Duration::from_secs(seconds));
    assert_eq!(at(1, &get("/")), (None, false));
    assert_eq!(at(2, &head[..1]), (started(2), false));
    assert_eq!(at(3, &head[1..9]), (started(2), false));
    assert_eq!(at(4, &head[9..]), (started(4), true));
    assert_eq!(at(5, &data[..1]), (started(4), true));
    assert_eq!(at(6, &data[1..]), (None, false));
    assert_eq!(at(7, &[head, &data[..2]].concat()), (started(7), true), "a head that is not cut");
    assert_eq!(at(8, &[&data[2..], &head[..3]].concat()), (started(8), false), "the request behind it");
}

#[test]
fn memory_for_a_body_follows_what_arrived() {
    let length = 1 << 20;
    let announced = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    let size = format!("{length:x}\r\n");
    for (head, framing) in [(announced.into_bytes(), ""), (chunked("/", b""), size.as_str())] {
        let mut connection = asked(&head);
        connection.read_body(length);
        assert_eq!(serve(&mut connection, framing.as_bytes()), []);
        assert!(connection.heap_bytes() < 4096);
        let mut arrived = head.len() + framing.len();
        for piece in vec![b'x'; length - 1].chunks(1500) {
            serve(&mut connection, piece);
            arrived += piece.len();
            assert!(connection.heap_bytes() <= arrived + arrived / 4 + 4096, "{arrived} arrived");
        }
        assert!(connection.heap_bytes() <= length + 4096, "capped by the known total");
    }
    let mut connection = asked(&chunked("/", b""));
    connection.read_body(1000);
    let framing = format!("{}0\r\n", "1;abcdefgh\r\nx\r\n".repeat(500));
    assert_eq!(serve(&mut connection, framing.as_bytes()), []);
    assert!(connection.heap_bytes() < 1000 + 1000, "nothing is kept of the framing");
}

#[test]
fn each_byte_of_requests_is_scanned_once() {
    let chunks = "1;a\r\nx\r\n".repeat(50) + "0\r\nt: v\r\n\r\n";
    let bytes = [get("/1"), chunked("/2", chunks.as_bytes()), get("/3")].concat();
    for size in [1, 3, 50, bytes.len()] {
        SCANNED.set(0);
        let mut connection = Connection::accepting();
        let events: Vec<_> = bytes.chunks(size).flat_map(|piece| serve(&mut connection, piece)).collect();
        assert_eq!(events.len(), 4);
        assert_eq!(SCANNED.get(), bytes.len() - 50, "data is not scanned");
    }
}

#[test]
fn held_bytes_come_back_as_they_were() {
    let bytes = [get("/1"), get("/2"), post("/3", b"x"), b"GET /4".to_vec()].concat();
    let limits = Limits::default();
    let mut connection = Connection::accepting();
    assert_eq!(connection.take_held(), None);
    let (mut rest, mut seen) = (bytes, Vec::new());
    loop {
        let mut input = Input::new(&mut rest);
        let Some(event) = connection.next_event(NOW, &mut input, &limits) else { break };
        seen.push(Owned::from(event));
        if matches!(seen.last(), Some(Owned::Request(path)) if path == "/3") {
            connection.read_body(LIMIT);
            seen.extend(connection.next_event(NOW, &mut input, &limits).map(Owned::from));
        }
        connection.answered();
        let left = input.remaining();
        connection.hold_rest(&mut input);
        assert_eq!(input.remaining(), 0);
        assert!(connection.heap_bytes() >= left && connection.heap_bytes() <= left + 512);
        assert_eq!(connection.message_started(), None, "the peer is not awaited");
        rest = connection.take_held().expect("something is left");
        assert_eq!((rest.len(), connection.heap_bytes()), (left, 0));
        assert_eq!(connection.take_held(), None);
    }
    assert_eq!(seen, [request("/1"), request("/2"), request("/3"), body("/3", b"x")]);
    assert!(connection.message_started().is_some(), "the fourth is cut");
}

#[test]
fn nothing_is_held_when_nothing_is_left_or_the_connection_ends() {
    let mut connection = Connection::accepting();
    connection.hold_rest(&mut Input::new(&mut []));
    assert_eq!((connection.heap_bytes(), connection.take_held()), (0, None));
    for end in [Connection::refuse, Connection::transport_lost] {
        let mut connection = Connection::accepting();
        connection.hold_rest(&mut Input::new(&mut b"GET".to_vec()));
        assert!(connection.heap_bytes() > 0);
        end(&mut connection);
        assert_eq!((connection.heap_bytes(), connection.take_held()), (0, None));
    }
}

#[test]
#[cfg_attr(debug_assertions, should_panic = "held bytes")]
fn bytes_that_overtake_the_held_ones_are_our_bug() {
    let mut connection = Connection::accepting();
    connection.hold_rest(&mut Input::new(&mut b"GET".to_vec()));
    assert_eq!(serve(&mut connection, b" / HTTP/1.1"), [Owned::BadRequest(500)]);
}

#[test]
#[cfg_attr(debug_assertions, should_panic = "neither read nor refused")]
fn a_body_that_is_skipped_is_our_bug_and_no_request() {
    asked(&post("/", b"")).answered();
    let mut connection = asked(&post("/", b"GET"));
    connection.answered();
    assert_eq!(connection.state(), State::Closed);
}

#[test]
#[cfg_attr(debug_assertions, should_panic = "refused at once")]
fn a_body_known_to_be_too_large_is_our_bug_and_refused() {
    let mut connection = asked(&post("/", &[b'x'; 6]));
    connection.read_body(5);
    assert_eq!(serve(&mut connection, b"x"), [Owned::BadRequest(413)]);
}

#[test]
#[cfg_attr(debug_assertions, should_panic = "has no body")]
fn a_handshake_with_a_body_is_our_bug() {
    asked(&post("/", b"x")).accept();
}

#[test]
#[cfg_attr(debug_assertions, should_panic = "no request with a body")]
fn asking_for_a_body_that_is_not_there_is_our_bug() {
    let mut connection = asked(&get("/"));
    connection.read_body(5);
    assert_eq!(serve(&mut connection, &get("/2")), [request("/2")]);
}
