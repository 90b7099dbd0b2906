//! Bodies of requests: their limit, their framing, and when they are asked for.

use std::time::Duration;

use fanfare::Config;
use fanfare::endpoint::CloseKind;

use crate::support::{Frame, Raw, TestServer, config};

const LIMIT: usize = 1000;

fn small() -> TestServer {
    TestServer::start(Config { max_message: LIMIT, ..config() })
}

fn post(headers: &str, body: &[u8]) -> Vec<u8> {
    [format!("POST /rooms/r HTTP/1.1\r\nHost: a\r\n{headers}\r\n").as_bytes(), body].concat()
}

/// A body in chunks of up to so many bytes.
fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let chunk = |chunk: &[u8]| [format!("{:x};ext=1\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
    let mut out: Vec<u8> = body.chunks(size).flat_map(chunk).collect();
    out.extend_from_slice(b"0\r\nTrailer: ignored\r\n\r\n");
    out
}

#[test]
fn a_body_may_have_the_limit_and_not_a_byte_more() {
    let server = small();
    let (mut member, _) = Raw::join(server.address(), "/rooms/r");
    for bytes in [LIMIT - 1, LIMIT, LIMIT + 1] {
        let body = vec![b'x'; bytes];
        let length = format!("Content-Length: {bytes}\r\n");
        let in_chunks = "Transfer-Encoding: chunked\r\n";
        for request in [post(&length, &body), post(in_chunks, &chunked(&body, 300))] {
            let mut http = Raw::connect(server.address());
            http.send(&request);
            if bytes <= LIMIT {
                assert_eq!(http.response().0.status, 200, "{bytes}");
                assert_eq!(member.frame(), Frame { first: 0x81, payload: body.clone() });
                continue;
            }
            let (head, message) = http.refusal();
            assert_eq!(head.status, 413, "{message}");
            assert!(message.contains(&LIMIT.to_string()) && message.contains("--max-message"), "{message}");
        }
    }
}

#[test]
fn a_body_that_is_announced_too_large_is_refused_before_it_comes() {
    let server = small();
    for expect in ["", "Expect: 100-continue\r\n"] {
        let mut http = Raw::connect(server.address());
        http.send(&post(&format!("Content-Length: {}\r\n{expect}", LIMIT + 1), b""));
        // The first thing that comes is the refusal, no 100.
        let (head, message) = http.refusal();
        assert_eq!(head.status, 413);
        assert!(head.has_token("connection", "close"), "what follows would be taken for a request");
        assert!(message.contains("1001 bytes") && message.contains("1000"), "both numbers: {message}");
    }
}

#[test]
fn a_client_that_waits_is_asked_for_its_body() {
    let server = small();
    let mut http = Raw::connect(server.address());
    for framing in ["Content-Length: 4\r\n", "Transfer-Encoding: chunked\r\n"] {
        http.send(&post(&format!("{framing}Expect: 100-continue\r\n"), b""));
        let head = http.head();
        assert_eq!((head.status, head.headers.len()), (100, 0));
        http.send(if framing.starts_with('C') { b"body" } else { b"4\r\nbody\r\n0\r\n\r\n" });
        assert_eq!(http.response().0.status, 200);
    }
    // One who is refused for something else is not asked for it either.
    for (request, status) in [
        (post("Content-Length: 4\r\nExpect: the unexpected\r\n", b""), 417),
        (post("Content-Length: 4\r\nExpect: 100-continue\r\nContent-Type: model/mesh\r\n", b""), 415),
    ] {
        let mut http = Raw::connect(server.address());
        http.send(&request);
        let (head, _) = http.refusal();
        assert_eq!(head.status, status);
        assert!(head.has_token("connection", "close"));
    }
}

#[test]
fn bodies_may_come_byte_by_byte() {
    let server = small();
    let mut http = Raw::connect(server.address());
    for request in
        [post("Content-Length: 4\r\n", b"body"), post("Transfer-Encoding: chunked\r\n", &chunked(b"body", 3))]
    {
        request.iter().for_each(|byte| http.send(&[*byte]));
        assert_eq!(http.response().0.status, 200);
    }
    let (_, page) = http.ask_json("GET /rooms/r", "", b"");
    for item in page["publications"].as_array().unwrap() {
        assert_eq!(item["text"], "body");
    }
}

#[test]
fn a_request_whose_end_can_be_misunderstood_ends_the_connection() {
    let server = small();
    let hidden = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    for headers in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Content-Length: 4\r\nContent-Length: 4\r\n",
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Content-Length: 4, 4\r\n",
        "Content-Length: +4\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x4\r\n",
        "Content-Length: \r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length : 4\r\n",
        " Content-Length: 4\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding:\x0bchunked\r\n",
        "X: a\n\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 4\rX: a\r\n",
    ] {
        let mut http = Raw::connect(server.address());
        http.send(&[&post(headers, b"0\r\n\r\n")[..], hidden.as_bytes()].concat());
        let (head, message) = http.refusal();
        assert_eq!(head.status, 400, "{headers:?}: {message}");
        assert!(head.has_token("connection", "close"), "{headers:?}");
    }
    for body in
        ["4\nbody\r\n0\r\n\r\n", "4\r\nbodyX\r\n0\r\n\r\n", "-4\r\nbody", "4 \r\nbody", "g\r\n", "\r\n"]
    {
        let mut http = Raw::connect(server.address());
        let request = post("Transfer-Encoding: chunked\r\n", body.as_bytes());
        http.send(&[&request[..], hidden.as_bytes()].concat());
        let (head, message) = http.refusal();
        assert_eq!(head.status, 400, "{body:?}: {message}");
        assert!(head.has_token("connection", "close"), "{body:?}");
    }
    let (_, list) = Raw::connect(server.address()).ask_json("GET /rooms", "", b"");
    assert!(list["rooms"].as_array().unwrap().is_empty(), "nothing was published");
}

#[test]
fn a_body_that_does_not_come_in_time_is_told_so() {
    let message_timeout = Duration::from_millis(200);
    let server = TestServer::start(Config { message_timeout, ..config() });
    for framing in ["Content-Length: 10\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut http = Raw::connect(server.address());
        http.send(&post(framing, b"4\r\n"));
        let (head, message) = http.refusal();
        assert_eq!(head.status, 408);
        assert!(message.contains("--message-timeout"), "{message}");
    }
    server.until_closes(CloseKind::MessageTimeout, 2);
}
