//! One connection, many requests: order, bounds, and how it ends.

use std::time::Duration;

use fanfare::Config;
use fanfare::endpoint::CloseKind;
use fanfare::shard::Counter;

use crate::support::door::request;
use crate::support::{Raw, TestServer, config};

const ROOMS_ALLOW: &str = "GET, HEAD, POST, OPTIONS";

/// An answer with history without its times: the two clocks behind them are read one after the other, so
/// that they are right to a millisecond, but not always the same.
fn timeless(body: &str) -> String {
    let parts = body.split("\"time\":");
    parts.map(|part| part.trim_start_matches(|character: char| character.is_ascii_digit())).collect()
}

#[test]
fn a_connection_carries_one_request_after_the_other() {
    let server = TestServer::start(config());
    let mut http = Raw::connect(server.address());
    http.publish("/rooms/r", "", b"a");
    let (_, page) = http.ask_json("GET /rooms/r", "", b"");
    assert_eq!(page["publications"][0]["text"], "a");
    // A refusal that leaves no body unread does not end it.
    assert_eq!(http.ask("GET /nowhere", "", b"").0.status, 404);
    let (head, body) = http.ask("GET /healthz", "Connection: close\r\n", b"");
    assert!(head.has_token("connection", "close"));
    assert_eq!(body.trim(), "ok");
    server.until_closes(CloseKind::HttpAnswered, 1);
}

#[test]
fn a_connection_that_served_requests_may_become_a_websocket() {
    let server = TestServer::start(config());
    let mut http = Raw::connect(server.address());
    http.publish("/rooms/r", "", b"a");
    http.shake_hands("/echo");
    http.round_trip(b"echo");
}

#[test]
fn pipelined_requests_that_are_answered_later_cost_no_more_than_one_answer() {
    const REQUESTS: usize = 500;
    let server = TestServer::start(config());
    let mut http = Raw::connect(server.address());
    for number in 0..64 {
        http.publish("/rooms/r", "", format!("{number} {}", "x".repeat(1000)).as_bytes());
    }
    let (_, expected) = http.ask("GET /rooms/r", "", b"");
    let get = request("GET /rooms/r", "", b"");
    let mut requests = Vec::new();
    for number in 0..REQUESTS {
        requests.extend_from_slice(&get);
        // So that the order can be seen.
        requests.extend_from_slice(&request(&format!("GET /rooms/none-{number}"), "", b""));
    }
    http.send(&requests);
    server.until("a pause", |server| server.counter(Counter::ReplyPauses) > 0);
    let bound = Config::default().reply_bytes + 2 * expected.len() + 4096;
    for number in 0..REQUESTS {
        let (head, body) = http.response();
        assert!(head.status == 200 && timeless(&body) == timeless(&expected), "answer {number}");
        let (head, body) = http.response();
        assert!(head.status == 404 && body.contains(&format!("none-{number} ")), "{body}");
    }
    let pinned = server.pinned_max();
    assert!(pinned <= bound, "{pinned} of {bound}");
    assert!(expected.len() * REQUESTS > 4 * bound);
    http.publish("/rooms/r", "", b"and it goes on");
}

#[test]
fn requests_before_half_a_close_are_all_answered() {
    let server = TestServer::start(config());
    let mut http = Raw::connect(server.address());
    let payload = vec![b'x'; 1000];
    let requests: Vec<u8> = (0..300)
        .flat_map(|_| [request("POST /rooms/r", "", &payload), request("GET /rooms/r", "", b"")].concat())
        .collect();
    let mut writer = http.stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::io::Write::write_all(&mut writer, &requests).expect("the server reads on");
            writer.shutdown(std::net::Shutdown::Write).expect("half a close");
        });
        for number in 1..=300 {
            let (head, _) = http.response();
            assert_eq!((head.status, head.number("fanfare-offset")), (200, number));
            let (head, _) = http.response();
            assert_eq!((head.status, head.number("fanfare-offset")), (200, number));
        }
    });
    http.expect_end();
    server.until_closes(CloseKind::PeerGone, 1);
}

#[test]
fn an_upgrade_behind_answers_that_are_not_taken_comes_in_its_place() {
    let ping_interval = Duration::from_millis(100);
    let server = TestServer::start(Config { ping_interval, ..config() });
    let mut http = Raw::connect(server.address());
    for number in 0..200 {
        http.publish("/rooms/r", "", format!("{number} {}", "x".repeat(1000)).as_bytes());
    }
    let (_, expected) = http.ask("GET /rooms/r?limit=200", "", b"");
    let get = request("GET /rooms/r?limit=200", "", b"");
    http.send(&get.repeat(100));
    server.until("a pause", |server| server.counter(Counter::ReplyPauses) > 0);
    http.send(crate::support::upgrade_request("/rooms/r?last=1").as_bytes());
    // Others are pinged meanwhile.
    let mut silent = Raw::open(server.address(), "/echo");
    assert_eq!(silent.frame().first, 0x89);
    for number in 0..100 {
        assert!(timeless(&http.response().1) == timeless(&expected), "answer {number}");
    }
    assert_eq!(http.head().status, 101);
    let message = std::iter::repeat_with(|| http.frame()).find(|frame| frame.first != 0x89).unwrap();
    assert!(message.payload.starts_with(b"199 "));
}

#[test]
fn a_connection_without_a_next_request_ends_in_silence() {
    let http_idle_timeout = Duration::from_millis(200);
    let server = TestServer::start(Config { http_idle_timeout, ..config() });
    let mut http = Raw::connect(server.address());
    assert_eq!(http.ask("GET /healthz", "", b"").0.status, 200);
    http.expect_end();
    server.until_closes(CloseKind::HttpIdle, 1);
}

#[test]
fn a_client_of_http_1_0_is_answered_and_that_is_all() {
    let server = TestServer::start(config());
    let mut http = Raw::connect(server.address());
    http.send(b"POST /rooms/r HTTP/1.0\r\nContent-Length: 1\r\n\r\na");
    let (head, _) = http.response();
    assert_eq!((head.status, head.has_token("connection", "close")), (200, true));
    let mut http = Raw::connect(server.address());
    http.send(b"GET /rooms/r/events?last=1 HTTP/1.0\r\n\r\n");
    assert_eq!(http.head().status, 200);
    http.block();
    assert_eq!(http.block().data.as_deref(), Some("a"));
}

#[test]
fn head_gives_the_headers_of_get_and_no_body() {
    let server = TestServer::start(config());
    let mut http = Raw::connect(server.address());
    http.publish("/rooms/r", "", b"a");
    for path in ["/", "/healthz", "/rooms", "/rooms/r", "/rooms/r?since=x", "/rooms/none", "/nowhere"] {
        let (get, _) = http.ask(&format!("GET {path}"), "", b"");
        http.send(&request(&format!("HEAD {path}"), "", b""));
        let head = http.head();
        assert_eq!((head.status, &head.headers), (get.status, &get.headers), "{path}");
    }
    let (_, get) = Raw::events(server.address(), "/rooms/r/events?last=1", "");
    http.send(&request("HEAD /rooms/r/events?last=1", "", b""));
    let head = http.head();
    assert_eq!((head.status, &head.headers), (200, &get.headers));
    http.expect_end();
    server.until_counter(Counter::Memberships, 0);
}

#[test]
fn each_path_names_the_methods_that_it_has() {
    let server = TestServer::start(config());
    let mut http = Raw::connect(server.address());
    for (line, allow) in [
        ("PUT /rooms", ROOMS_ALLOW),
        ("DELETE /rooms/r", ROOMS_ALLOW),
        ("POST /rooms/r/events", "GET, HEAD, OPTIONS"),
        ("POST /", "GET, HEAD"),
        ("POST /healthz", "GET, HEAD"),
    ] {
        let (head, body) = http.ask(line, "", b"");
        assert_eq!((head.status, head.header("allow")), (405, Some(allow)), "{line}: {body}");
    }
}

#[test]
fn a_browser_is_told_what_its_page_may_do() {
    let allow_origin = vec!["https://app.example".parse().unwrap()];
    let server = TestServer::start(Config { allow_origin, ..config() });
    let mut http = Raw::connect(server.address());
    let ours = "Origin: https://app.example\r\n";
    let theirs = "Origin: https://evil.example\r\n";
    for (path, allow) in
        [("/rooms", ROOMS_ALLOW), ("/rooms/r", ROOMS_ALLOW), ("/rooms/r/events", "GET, HEAD, OPTIONS")]
    {
        let line = format!("OPTIONS {path}");
        let (head, body) = http.ask(&line, "", b"");
        assert_eq!((head.status, head.header("allow"), body.len()), (204, Some(allow), 0));
        let preflight = format!("{ours}Access-Control-Request-Method: POST\r\n");
        let (head, _) = http.ask(&line, &preflight, b"");
        assert_eq!((head.status, head.header("access-control-allow-methods")), (204, Some(allow)));
        assert_eq!(head.header("access-control-allow-origin"), Some("https://app.example"));
        assert!(head.has_token("access-control-allow-headers", "Authorization"));
        let (head, _) = http.ask(&line, &preflight.replace("app", "evil"), b"");
        assert_eq!((head.status, head.header("access-control-allow-origin")), (403, None));
    }
    // What is answered says so too, and a refusal as well.
    for (line, status) in [("POST /rooms/r", 200), ("GET /rooms/r", 200), ("GET /rooms/r?since=x", 400)] {
        let (head, _) = http.ask(line, ours, b"");
        assert_eq!(head.status, status, "{line}");
        assert_eq!(head.header("access-control-allow-origin"), Some("https://app.example"));
        assert!(head.has_token("access-control-expose-headers", "Fanfare-Offset"));
        assert_eq!(head.header("vary"), Some("Origin"));
        let (head, body) = http.ask(line, theirs, b"");
        assert_eq!(head.status, 403, "{line}: {body}");
        assert!(body.contains("--allow-origin"), "{body}");
    }
    let (head, _) = Raw::events(server.address(), "/rooms/r/events", ours);
    drop(head);
    assert_eq!(http.ask("GET /rooms/r/events", theirs, b"").0.status, 403);
}
