//! Upgrades that are refused: the answer is the last thing, and what stands behind it never counts, though a
//! proxy in between may take it for frames, or for requests.

use fanfare::Config;
use fanfare::endpoint::CloseKind;
use fanfare::shard::{Admission, Counter};

use crate::common::server::TICK;
use crate::common::{Server, client_frame, request, split_response, text};
use crate::peers::{SDK, everything};

/// What is smuggled behind: requests, a WebSocket with frames, and frames alone.
fn smuggled() -> Vec<u8> {
    [
        &b"POST /rooms/a HTTP/1.1\r\nHost: test\r\nContent-Length: 8\r\n\r\nsmuggled"[..],
        &request("/rooms/a"),
        &text("smuggled"),
        &client_frame(fanfare::protocol::Opcode::Close, true, b""),
        b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n",
    ]
    .concat()
}

/// Upgrades that are wrong in one thing each, and the status for it.
fn refused() -> Vec<(Vec<u8>, u16)> {
    let valid = String::from_utf8(request("/rooms/a")).expect("ASCII");
    let replaced = |from: &str, to: &str| {
        assert!(valid.contains(from), "{from}");
        valid.replacen(from, to, 1).into_bytes()
    };
    let with = |line: &str| format!("{}{line}\r\n\r\n", &valid[..valid.len() - 2]).into_bytes();
    vec![
        (replaced("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 1337"), 426),
        (replaced("Sec-WebSocket-Version: 13\r\n", ""), 426),
        (replaced("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), 400),
        (replaced("Connection: Upgrade", "Connection: close"), 400),
        (replaced("GET", "POST"), 405),
        (replaced("/rooms/a HTTP/1.1", "/echo HTTP/1.0"), 400),
        (replaced("/rooms/a", "/nowhere"), 404),
        (replaced("/rooms/a", "/healthz"), 404),
        (replaced("/rooms/a", "/rooms/%00"), 400),
        (replaced("/rooms/a", "/rooms/a?since=0000000000000001:1"), 410),
        (with("Origin: http://evil.example"), 403),
        (with("Content-Length: 8"), 400),
        (with("Transfer-Encoding: chunked"), 400),
        (with("Transfer-Encoding: chunked\r\nContent-Length: 8"), 400),
        (with("Content-Length: +8"), 400),
        (with("Content-Length: 8, 8"), 400),
        (with("Host: other"), 400),
        (with("Folded: a\r\n b"), 400),
        (with(&format!("Long: {}", "x".repeat(8 << 10))), 431),
    ]
}

/// Feeds a refused request with all that is smuggled behind it, in pieces of so many bytes.
fn assert_refused(server: &mut Server, request: &[u8], status: u16, piece: usize) {
    let peer = server.adopt(0);
    let opened = server.counter(Counter::Opened);
    for piece in [request, &smuggled()].concat().chunks(piece) {
        server.feed(peer, piece);
        server.turn(0);
    }
    server.settle();
    let output = server.take_output(peer);
    let shown = format!("{} -> {}", request.escape_ascii(), output.escape_ascii());
    assert_eq!(split_response(&output).0, status, "{shown}");
    let text = String::from_utf8(output).expect("a refusal is UTF-8");
    assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "one answer: {shown}");
    let close = text.lines().any(|line| line.starts_with("Connection: close"));
    assert!(close, "{shown}");
    assert_eq!(server.socket(peer).calls.shutdown_write, 1, "{shown}");
    assert_eq!(server.counter(Counter::Opened), opened, "{shown}");
    server.socket(peer).eof = true;
    server.settle();
    assert!(server.is_closed(peer), "{shown}");
}

#[test]
fn nothing_behind_a_refused_upgrade_is_parsed() {
    let mut server = everything(1, &Config::default());
    let member = server.connect(0, "/rooms/a");
    for (request, status) in refused() {
        for piece in [usize::MAX, 7] {
            assert_refused(&mut server, &request, status, piece);
        }
    }
    assert_eq!(server.counter(Counter::Publications), 0);
    assert_eq!(server.socket(member).output, b"", "nothing reached the room");
    server.finish();
}

#[test]
fn nothing_behind_a_request_that_is_too_late_or_one_too_many_is_parsed() {
    let config = Config::default();
    let mut server = everything(1, &config);
    let member = server.connect(0, "/rooms/a");
    let late = server.adopt(0);
    server.feed(late, &request("/rooms/a")[..40]);
    server.settle();
    server.advance(config.handshake_timeout + TICK);
    assert_eq!(split_response(&server.take_output(late)).0, 408);
    let socket = server.net.borrow_mut().open();
    let extra = server.adopt_socket(0, socket, Admission::Full { limit: 1 });
    server.feed(extra, &[request("/rooms/a"), smuggled()].concat());
    server.settle();
    let output = server.take_output(extra);
    assert_eq!(
        (split_response(&output).0, output.windows(9).filter(|at| at == b"HTTP/1.1 ").count()),
        (503, 1)
    );
    assert_eq!(server.closes(CloseKind::ServerFull), 1);
    assert_eq!((server.counter(Counter::Publications), server.socket(member).output.len()), (0, 0));
    server.finish();
}

#[test]
fn frames_that_come_with_the_handshake_count_once_and_in_order_at_every_split() {
    let frames: Vec<u8> = (0..5).flat_map(|number| text(&number.to_string())).collect();
    let bytes = [request("/rooms/a?echo=true"), frames].concat();
    let mut server = everything(1, &Config::default());
    for at in 0..=bytes.len() {
        let peer = server.adopt(0);
        for piece in [&bytes[..at], &bytes[at..]] {
            server.feed(peer, piece);
            server.settle();
        }
        let output = server.take_output(peer);
        let (status, rest) = split_response(&output);
        let texts: Vec<Vec<u8>> =
            crate::common::frames(rest).into_iter().map(|frame| frame.payload).collect();
        assert_eq!((status, texts.concat()), (101, b"01234".to_vec()), "split at {at}");
        server.socket(peer).eof = true;
        server.settle();
    }
    // The protocol that has to introduce itself gets its commands once, too.
    let connect = [request(SDK), text("{\"id\":1,\"connect\":{}}")].concat();
    let peer = server.adopt(0);
    server.feed(peer, &connect);
    server.settle();
    let output = server.take_output(peer);
    assert_eq!(crate::common::frames(split_response(&output).1).len(), 1);
    server.finish();
}
