//! The opening handshake over real sockets: what is refused and how, what is accepted, deadlines.

mod support;

use std::sync::mpsc;
use std::time::Duration;

use fanfare::endpoint::{Accept, CloseCause, CloseKind, Effects, Endpoint, OpenRequest, OwnMessages};
use fanfare::protocol::{Message, Refusal};
use fanfare::rooms::{RoomName, Start};
use fanfare::{Config, ConnectionId, ServerBuilder};
use support::{Frame, Head, PATIENCE, Raw, TestServer, config, text, upgrade_request};

/// What a refusal says: status and parts of its message.
type Expected<'a> = (u16, &'a [&'a str]);

/// Sends a request with bytes behind it, and checks the refusal's form.
fn refusal(server: &TestServer, request: &[u8]) -> (Head, String) {
    let mut raw = Raw::connect(server.address());
    let behind = [upgrade_request("/echo").into_bytes(), text("never")].concat();
    raw.send(&[request, &behind].concat());
    let (head, body) = raw.refusal();
    let shown = format!("{} -> {head:?} {body}", request.escape_ascii());
    // An ordinary request that was understood may be followed by another.
    let ordinary = head.status != 400 && !request.windows(18).any(|at| at == b"Upgrade: websocket");
    assert!(ordinary || head.has_token("connection", "close"), "{shown}");
    assert!(!body.is_empty() && !body.contains(char::is_control), "one line: {shown}");
    (head, body)
}

fn check_refusals(server: &TestServer, cases: &[(Vec<u8>, Expected<'_>)]) {
    for (request, (status, parts)) in cases {
        let (head, body) = refusal(server, request);
        let shown = format!("{} -> {head:?} {body}", request.escape_ascii());
        assert_eq!(head.status, *status, "{shown}");
        for part in *parts {
            assert!(body.contains(part), "lacks {part}: {shown}");
        }
    }
}

/// The status of the answer, and the end of the connection.
fn status(server: &TestServer, request: &[u8]) -> u16 {
    let mut raw = Raw::connect(server.address());
    raw.send(request);
    raw.half_close();
    let head = raw.head();
    raw.rest();
    head.status
}

fn with(header: &[u8]) -> Vec<u8> {
    with_at("/echo", header)
}

fn with_at(target: &str, header: &[u8]) -> Vec<u8> {
    let valid = upgrade_request(target).into_bytes();
    [&valid[..valid.len() - 2], header, b"\r\n\r\n"].concat()
}

fn replaced(from: &str, to: &str) -> Vec<u8> {
    let valid = upgrade_request("/echo");
    assert!(valid.contains(from), "{from}");
    valid.replacen(from, to, 1).into_bytes()
}

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[test]
fn what_is_no_websocket_handshake_is_refused_with_a_reason() {
    let server = TestServer::start(config());
    check_refusals(
        &server,
        &[
            (replaced("GET", "POST"), (405, &["POST", "GET"])),
            (replaced("GET", "get"), (405, &["get", "GET"])),
            (replaced("Upgrade: websocket\r\n", ""), (426, &["Upgrade: websocket"])),
            (replaced("Upgrade: websocket", "Upgrade: h2c"), (426, &["Upgrade: websocket"])),
            (replaced("Connection: Upgrade\r\n", ""), (400, &["Connection", "upgrade"])),
            (replaced("Connection: Upgrade", "Connection: keep-alive"), (400, &["Connection", "upgrade"])),
            (replaced("Version: 13", "Version: 12"), (426, &["12", "13"])),
            (replaced("Version: 13", "Version: 013"), (426, &["013", "13"])),
            (replaced("Sec-WebSocket-Version: 13\r\n", ""), (426, &["missing", "13"])),
            (with(b"Sec-WebSocket-Version: 13"), (426, &["several", "13"])),
            (replaced(KEY, ""), (400, &["Sec-WebSocket-Key", "missing"])),
            (with(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), (400, &["several", "16 bytes"])),
            (replaced("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ=="), (400, &["dGhlIHNhbXBsZQ==", "16"])),
            (replaced("dGhlIHNhbXBsZSBub25jZQ==", "!!!!!!!!!!!!!!!!!!!!!!=="), (400, &["!!!!", "base64"])),
            (with(b"Sec-WebSocket-Protocol: a b"), (400, &["a b", "tokens"])),
            (with(b"Sec-WebSocket-Protocol: v1, v1"), (400, &["v1", "once"])),
            (with(b"Sec-WebSocket-Protocol: v1\r\nSec-WebSocket-Protocol: v1"), (400, &["v1", "once"])),
            (with(b"Sec-WebSocket-Extensions: a;b=\"c"), (400, &["Extensions", "a;b="])),
            (with(b"Content-Length: 5"), (400, &["Content-Length", "5", "body"])),
            (with(b"Content-Length: 0\r\nContent-Length: 0"), (400, &["several", "body"])),
            (with(b"Transfer-Encoding: chunked"), (400, &["Transfer-Encoding", "body"])),
        ],
    );
}

#[test]
fn what_is_no_proper_http_1_1_is_refused_with_a_reason() {
    let server = TestServer::start(config());
    check_refusals(
        &server,
        &[
            (replaced("HTTP/1.1", "HTTP/1.0"), (400, &["HTTP/1.0", "needs HTTP/1.1"])),
            (replaced("HTTP/1.1", "HTTP/1.2"), (400, &["version", "HTTP/1.1"])),
            (replaced("HTTP/1.1", "HTTP/2.0"), (400, &["HTTP/1.1"])),
            (replaced("GET /echo HTTP", "GET  /echo HTTP"), (400, &["request line"])),
            (replaced("/echo", "*"), (400, &["*", "'/'"])),
            (replaced("/echo", "a:80"), (400, &["a:80", "'/'"])),
            (replaced("/echo", "ftp://a/echo"), (400, &["ftp://a/echo", "http://host/path"])),
            (replaced("/echo", "http:///echo"), (400, &["http:///echo", "http://host/path"])),
            (replaced("/echo", "http://u@a/echo"), (400, &["http://u@a/echo", "http://host/path"])),
            (replaced("/echo", "/echo#x"), (400, &["/echo#x", "'#'"])),
            (replaced("Host: a\r\n", ""), (400, &["0 Host", "exactly 1"])),
            (with(b"Host: a"), (400, &["2 Host", "exactly 1"])),
            (replaced("Host: a", "Host:"), (400, &["Host", "allowed"])),
            (replaced("Host: a", "Host: a/b"), (400, &["a/b", "allowed"])),
            (with(b"X: a\r\n b"), (400, &["whitespace", "folded"])),
            (with(b"X: a\r\n\tb"), (400, &["whitespace", "folded"])),
            (with(b"X: a\nY: b"), (400, &["bare LF", "CR LF"])),
            (with(b"X: a\rY: b"), (400, &["CR without an LF", "CR LF"])),
            (with(b"X: a\0b"), (400, &["\\x00", "HTAB"])),
            (with(b"X: a\x1bb"), (400, &["\\x1b", "HTAB"])),
            (with(b"X : a"), (400, &["name", "token"])),
            (with(b": a"), (400, &["name", "token"])),
            (replaced("/echo", "/ec\0ho"), (400, &["\\x00", "visible ASCII"])),
            (replaced("/echo", "/ec\u{e9}ho"), (400, &["\\xc3", "visible ASCII"])),
            (b" GET / HTTP/1.1\r\n\r\n".to_vec(), (400, &["first byte", "GET"])),
            (b"\r\nGET / HTTP/1.1\r\n\r\n".to_vec(), (400, &["\\r", "GET"])),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), (400, &["TLS", "0x16"])),
        ],
    );
}

#[test]
fn a_refusal_names_the_way_out_in_its_headers() {
    let server = TestServer::start(config());
    let (head, _) = refusal(&server, &replaced("GET", "POST"));
    assert_eq!(head.header("allow"), Some("GET"));
    let (head, _) = refusal(&server, &replaced("Version: 13", "Version: 8"));
    assert_eq!(head.header("sec-websocket-version"), Some("13"));
    assert!(head.has_token("connection", "upgrade"), "RFC 9110 §7.8 wants it beside Upgrade");
    assert_eq!(head.header("upgrade"), Some("websocket"));
    let (head, body) = refusal(&server, b"POST / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((head.status, head.header("allow")), (405, Some("GET, HEAD")));
    assert!(body.contains("POST") && body.contains("GET and HEAD"), "{body}");
}

#[test]
fn bytes_that_are_no_ascii_are_refused_in_headers_that_are_understood_and_ignored_in_others() {
    let server = TestServer::start(config());
    for (header, status) in [
        ("Connection", 400),
        ("Upgrade", 400),
        ("Sec-WebSocket-Protocol", 400),
        ("Sec-WebSocket-Extensions", 400),
        ("Content-Length", 400),
        ("Transfer-Encoding", 400),
        ("Host", 400),
        ("Sec-WebSocket-Key", 400),
        ("Sec-WebSocket-Version", 426),
        ("Origin", 403),
    ] {
        for bytes in [&b"\xff"[..], b"\x80", "ä".as_bytes()] {
            let value = [format!("{header}: a").as_bytes(), bytes].concat();
            // In the place of a header that must be there once.
            let request = match header {
                "Host" | "Sec-WebSocket-Key" | "Sec-WebSocket-Version" => {
                    let valid = upgrade_request("/echo");
                    let lines = valid.split_inclusive("\r\n");
                    let kept = lines.filter(|line| !line.starts_with(header));
                    let kept: String = kept.take_while(|line| *line != "\r\n").collect();
                    [kept.as_bytes(), &value, b"\r\n\r\n"].concat()
                }
                _ => with(&value),
            };
            let (head, body) = refusal(&server, &request);
            assert_eq!(head.status, status, "{header}: {body}");
            let shown = body.contains("\\x");
            assert!(body.is_ascii() && shown, "escaped: {body}");
        }
    }
    for header in ["Cookie", "User-Agent", "X-Anything"] {
        let value = [format!("{header}: ").as_bytes(), b"\xff\x80\xc3\xa4"].concat();
        assert_eq!(status(&server, &with(&value)), 101, "{header}");
    }
}

#[test]
fn lists_may_be_split_over_headers_and_written_in_any_case() {
    let server = TestServer::start(config());
    for request in [
        with(b"Upgrade: h2c"),
        with(b"Connection: keep-alive"),
        replaced("Connection: Upgrade", "Connection: keep-alive , upgrade"),
        replaced("Upgrade: websocket", "uPGRADE: WebSocket"),
        with(b"Sec-WebSocket-Protocol: v1, v2\r\nSec-WebSocket-Protocol: v3"),
        with(b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"),
        with(b"Content-Length: 0"),
    ] {
        assert_eq!(status(&server, &request), 101, "{}", request.escape_ascii());
    }
}

#[test]
fn a_target_in_absolute_form_decides_path_and_host() {
    let server = TestServer::start(config());
    for (target, origin, expected) in [
        ("http://a/echo", "http://a", 101),
        ("WS://b:80/rooms/x?echo=true", "http://b", 101),
        ("http://b/echo", "http://a", 403),
        ("http://a", "http://a", 404),
    ] {
        let request = with_at(target, format!("Origin: {origin}").as_bytes());
        assert_eq!(status(&server, &request), expected, "{target} {origin}");
    }
}

#[test]
fn the_limits_of_the_head_are_inclusive() {
    let server = TestServer::start(Config { max_head: 512, max_headers: 8, ..config() });
    for (bytes, expected) in [(511, 101), (512, 101), (513, 431)] {
        let spare = bytes - with(b"X: ").len();
        let request = with(&[b"X: ".as_slice(), &vec![b'x'; spare]].concat());
        assert_eq!(request.len(), bytes);
        assert_eq!(status(&server, &request), expected, "{bytes}");
    }
    let (_, body) = refusal(&server, &vec![b'G'; 513]);
    assert!(body.contains("512") && body.contains("--max-head"), "{body}");
    for (count, expected) in [(7, 101), (8, 101), (9, 431)] {
        let more = vec![b"X: x".to_vec(); count - 5].join(&b"\r\n"[..]);
        assert_eq!(status(&server, &with(&more)), expected, "{count}");
    }
    let (_, body) = refusal(&server, &with(&vec![b"X: x".to_vec(); 4].join(&b"\r\n"[..])));
    assert!(body.contains('8') && body.contains("--max-headers"), "{body}");
}

#[test]
fn pages_of_other_hosts_are_refused_unless_they_are_listed() {
    let closed = TestServer::start(config());
    let allow = ["https://good.example", "null"].map(|rule| rule.parse().unwrap()).to_vec();
    let listed = TestServer::start(Config { allow_origin: allow, ..config() });
    let any = TestServer::start(Config { allow_origin: vec!["*".parse().unwrap()], ..config() });
    for (origin, expected) in [
        (None, [101, 101, 101]),
        (Some("http://a"), [101, 101, 101]),
        (Some("http://a:81"), [403, 403, 101]),
        (Some("http://other"), [403, 403, 101]),
        (Some("https://good.example"), [403, 101, 101]),
        (Some("http://good.example"), [403, 403, 101]),
        (Some("null"), [403, 101, 101]),
        (Some("http://a\r\nOrigin: http://a"), [400, 400, 400]),
    ] {
        let request = match origin {
            Some(origin) => with(format!("Origin: {origin}").as_bytes()),
            None => upgrade_request("/echo").into_bytes(),
        };
        let seen = [&closed, &listed, &any].map(|server| status(server, &request));
        assert_eq!(seen, expected, "{origin:?}");
    }
    let (_, body) = refusal(&closed, &with(b"Origin: http://other"));
    assert!(body.contains("http://other") && body.contains("--allow-origin"), "{body}");
}

#[test]
fn a_room_name_is_checked_after_decoding() {
    let server = TestServer::start(config());
    let rooms = |name: &str| upgrade_request(&format!("/rooms/{name}")).into_bytes();
    for name in
        ["a", &"x".repeat(128), &"%61".repeat(128), &"%C3%A9".repeat(64), "a%2Fb", "%F0%9F%8E%BA", "+"]
    {
        assert_eq!(status(&server, &rooms(name)), 101, "{name}");
    }
    check_refusals(
        &server,
        &[
            (rooms(&"x".repeat(129)), (400, &["129", "128"])),
            (rooms(&"%61".repeat(129)), (400, &["129", "128"])),
            (rooms(&"%C3%A9".repeat(65)), (400, &["130", "128"])),
            (rooms("%00"), (400, &["U+0000", "control"])),
            (rooms("a%1B"), (400, &["U+001B", "control"])),
            (rooms("a%C2%85"), (400, &["U+0085", "control"])),
            (rooms("%"), (400, &["room", "hexadecimal"])),
            (rooms("%2"), (400, &["room", "hexadecimal"])),
            (rooms("%zz"), (400, &["room", "hexadecimal"])),
            (rooms("%FF"), (400, &["room", "UTF-8"])),
            (rooms("a?echo=maybe"), (400, &["maybe", "echo=true"])),
            (rooms("a?echo="), (400, &["echo=true"])),
            (rooms("a?echo=%zz"), (400, &["echo", "hexadecimal"])),
            (rooms(""), (404, &["/rooms/", "/rooms/{room}"])),
            (rooms("a/b"), (404, &["/rooms/a/b", "/rooms/{room}"])),
        ],
    );
    for target in ["a?echo=true", "a?echo=false", "a?other=maybe"] {
        assert_eq!(status(&server, &rooms(target)), 101, "{target}");
    }
}

#[test]
fn an_unknown_path_is_told_which_paths_there_are() {
    let server = TestServer::start(config());
    let paths = ["/", "/healthz", "/echo", "/rooms/{room}"];
    for target in ["/nowhere", "/echo/", "/Echo", "/%65cho"] {
        let (head, body) = refusal(&server, upgrade_request(target).as_bytes());
        assert_eq!(head.status, 404);
        assert!(body.contains(target) && paths.iter().all(|path| body.contains(path)), "{body}");
    }
    let (head, body) = refusal(&server, upgrade_request("/healthz").as_bytes());
    assert_eq!(head.status, 404);
    assert!(body.contains("no WebSocket path") && body.contains("/echo"), "{body}");
}

#[test]
fn the_page_and_the_health_check_are_served_to_get_and_head() {
    let server = TestServer::start(config());
    let ask = |method: &str, path: &str| {
        let mut raw = Raw::connect(server.address());
        raw.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes());
        let head = raw.head();
        (head, String::from_utf8(raw.rest()).unwrap())
    };
    let (head, body) = ask("GET", "/healthz");
    assert_eq!((head.status, body.as_str()), (200, "ok\n"));
    let (head, page) = ask("GET", "/");
    assert_eq!(head.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(head.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    assert!(page.contains("<html"), "{page}");
    for (path, length) in [("/", page.len()), ("/healthz", 3)] {
        let (head, body) = ask("HEAD", path);
        assert_eq!((head.status, body.as_str()), (200, ""));
        assert_eq!(head.header("content-length"), Some(length.to_string().as_str()));
        assert!(head.has_token("connection", "close"));
    }
}

#[test]
fn a_health_check_may_speak_http_1_0_without_host() {
    let server = TestServer::start(config());
    for headers in ["", "Upgrade: websocket\r\n"] {
        let mut raw = Raw::connect(server.address());
        raw.send(format!("GET /healthz HTTP/1.0\r\n{headers}\r\n").as_bytes());
        let (head, body) = raw.response();
        assert_eq!((head.status, body.as_str()), (200, "ok\n"));
        assert!(head.has_token("connection", "close"));
    }
}

/// Chooses "v2" if it is offered, "v10" for "v9", and says what was offered.
struct Chooser;

impl Endpoint for Chooser {
    fn open<'m>(
        &mut self,
        _: ConnectionId,
        request: &OpenRequest<'_>,
        effects: &mut Effects<'m>,
    ) -> Result<Accept, Refusal> {
        let offered: Vec<&str> = request.subprotocols().collect();
        effects.send(offered.join(" "));
        let chosen = offered.iter().find_map(|name| match *name {
            "v2" => Some("v2"),
            "v9" => Some("v10"),
            _ => None,
        });
        Ok(Accept { subprotocol: chosen.map(str::to_owned), ..Accept::default() })
    }

    fn message<'m>(&mut self, _: ConnectionId, _: Message<'m>, _: &mut Effects<'m>) {}
}

#[test]
fn an_endpoint_chooses_a_subprotocol_of_those_offered() {
    let server = TestServer::build(ServerBuilder::new(config()).endpoint("/choose", |_| Chooser));
    for (header, chosen, offered) in [
        ("Sec-WebSocket-Protocol: v1, v2", Some("v2"), "v1 v2"),
        ("Sec-WebSocket-Protocol: v1", None, "v1"),
        ("X: x", None, ""),
    ] {
        let mut raw = Raw::connect(server.address());
        raw.send(&with_at("/choose", header.as_bytes()));
        let head = raw.head();
        assert_eq!((head.status, head.header("sec-websocket-protocol")), (101, chosen));
        assert_eq!(raw.frame(), Frame::text(offered), "sent by open, after the 101");
    }
}

#[test]
fn an_endpoint_that_chooses_what_was_not_offered_is_refused_with_500() {
    let server = TestServer::build(ServerBuilder::new(config()).endpoint("/choose", |_| Chooser));
    let mut raw = Raw::connect(server.address());
    raw.send(&with_at("/choose", b"Sec-WebSocket-Protocol: v9"));
    assert_eq!(raw.head().status, 500);
}

/// Joins a room from a position that nobody can hold, or chooses what was not offered, and notes what it is told.
struct Doomed(mpsc::Sender<CloseKind>);

impl Endpoint for Doomed {
    fn open<'m>(
        &mut self,
        _: ConnectionId,
        request: &OpenRequest<'_>,
        effects: &mut Effects<'m>,
    ) -> Result<Accept, Refusal> {
        if request.path() == "/doomed/choice" {
            return Ok(Accept { subprotocol: Some("never offered".to_owned()), ..Accept::default() });
        }
        let position = "0123456789abcdef:7".parse().expect("a position in another life");
        effects.join_from(RoomName::new("r").expect("a name"), OwnMessages::Skip, Start::Since(position));
        Ok(Accept::default())
    }

    fn message<'m>(&mut self, _: ConnectionId, _: Message<'m>, _: &mut Effects<'m>) {}

    fn close(&mut self, _: ConnectionId, cause: &CloseCause) {
        self.0.send(cause.kind()).expect("the test listens");
    }
}

#[test]
fn an_endpoint_hears_the_end_of_what_it_accepted_and_is_refused() {
    let (told, heard) = mpsc::channel();
    let builder = ServerBuilder::standard(config()).endpoint("/doomed/{how}", move |_| Doomed(told.clone()));
    let server = TestServer::build(builder);
    for (path, status) in [("/doomed/choice", 500), ("/doomed/position", 410)] {
        let (head, _) = Raw::join_refused(server.address(), path);
        assert_eq!(head.status, status);
        assert_eq!(heard.recv_timeout(PATIENCE), Ok(CloseKind::Refused));
    }
    server.until_closes(CloseKind::Refused, 2);
    assert_eq!(heard.try_recv(), Err(mpsc::TryRecvError::Empty), "once each");
}

#[test]
fn frames_behind_the_head_in_the_same_segment_are_handled_once_and_in_order() {
    let server = TestServer::start(config());
    let mut raw = Raw::connect(server.address());
    let frames: Vec<u8> = ["one", "two", "three"].map(text).concat();
    raw.send(&[upgrade_request("/echo").as_bytes(), &frames].concat());
    assert_eq!(raw.head().status, 101);
    for expected in ["one", "two", "three"] {
        assert_eq!(raw.frame(), Frame::text(expected));
    }
    raw.half_close();
    raw.expect_end();
}

#[test]
fn a_handshake_and_a_message_may_come_byte_by_byte() {
    let server = TestServer::start(config());
    let mut raw = Raw::connect(server.address());
    for byte in [upgrade_request("/echo").as_bytes(), &text("slowly")].concat() {
        raw.send(&[byte]);
    }
    assert_eq!(raw.head().status, 101);
    assert_eq!(raw.frame(), Frame::text("slowly"));
}

#[test]
fn a_peer_that_does_not_finish_its_request_is_closed_at_the_deadline() {
    let timeout = Duration::from_millis(500);
    let server = TestServer::start(Config { handshake_timeout: timeout, ..config() });
    let mut silent = Raw::connect(server.address());
    let mut partial = Raw::connect(server.address());
    partial.send(b"GET /echo HTTP/1.1\r\nHos");
    silent.expect_end();
    let (head, body) = partial.refusal();
    assert_eq!(head.status, 408);
    assert!(head.has_token("connection", "close"));
    assert!(body.contains("--handshake-timeout"), "{body}");
    server.until_closes(CloseKind::HandshakeTimeout, 2);
}
