//! What operators see of a running server beside its counters: connections, rooms, closes, and the live page's
//! samples.

mod support;

use std::net::SocketAddr;
use std::sync::{Mutex, mpsc};

use fanfare::endpoint::http::Answer;
use fanfare::server::ListenAddress;
use fanfare::shard::LISTED_MAX;
use fanfare::{Config, ServerBuilder};
use serde_json::{Value, json};
use support::{Frame, Raw, TestServer, config, frame, text, upgrade_request};

/// Answers after which an awaited state is taken to never come.
const ANSWERS_MAX: usize = 10_000;

fn with_admin() -> Config {
    Config { admin: vec!["127.0.0.1:0".parse().unwrap()], ..config() }
}

fn admin(server: &TestServer) -> SocketAddr {
    match &server.admin_addresses()[0] {
        ListenAddress::Tcp(address) => *address,
        other => panic!("no TCP address: {other}"),
    }
}

/// The status and the JSON of an answer of the admin listener.
fn get(server: &TestServer, path: &str) -> (u16, Value) {
    let mut raw = Raw::connect(admin(server));
    raw.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
    let (head, body) = raw.response();
    assert_eq!(head.header("content-type"), Some("application/json"), "{body}");
    (head.status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
}

fn ok(server: &TestServer, path: &str) -> Value {
    let (status, body) = get(server, path);
    assert_eq!(status, 200, "{body}");
    assert_eq!((&body["missing_workers"], &body["partial_workers"]), (&json!([]), &json!([])), "{body}");
    body
}

/// The sentence of a 400.
fn refusal(server: &TestServer, path: &str) -> String {
    let (status, body) = get(server, path);
    assert_eq!(status, 400, "{body}");
    body["error"]["message"].as_str().unwrap().to_owned()
}

/// The request of the live page for its socket.
fn live_request() -> String {
    upgrade_request("/live").replace("Host: a", "Host: localhost")
}

fn local(raw: &Raw) -> String {
    raw.stream.local_addr().unwrap().to_string()
}

#[test]
fn the_one_that_lags_is_first_with_its_address_and_its_room() {
    let server = TestServer::start(with_admin());
    let slow = Raw::open(server.address(), "/rooms/busy");
    let mut healthy = Raw::open(server.address(), "/rooms/busy");
    let _other = Raw::open(server.address(), "/rooms/quiet");
    let mut publisher = Raw::open(server.address(), "/rooms/busy");
    let payload = vec![b'x'; 60_000];
    let lagging = (0..ANSWERS_MAX).find_map(|_| {
        publisher.send(&frame(0x82, &payload));
        assert_eq!(healthy.frame(), Frame::binary(&payload));
        let body = ok(&server, "/debug/connections?sort=lag");
        (body["connections"][0]["lag_messages"] != 0).then_some(body)
    });
    let body = lagging.expect("its sockets are full at some time");
    assert_eq!(body["looked_at"], 4);
    let first = &body["connections"][0];
    assert_eq!(first["address"], local(&slow));
    assert_eq!(first["rooms"][0]["room"], "busy");
    assert_eq!((&first["state"], &first["path"]), (&json!("websocket"), &json!("/rooms/{room}")));
    assert!(first["stalled_ms"].is_u64(), "{first}");
    let members = ok(&server, "/debug/connections?room=quiet");
    assert_eq!((&members["looked_at"], members["connections"].as_array().unwrap().len()), (&json!(1), 1));
    let one = ok(&server, "/debug/connections?room=busy&sort=queue&limit=1");
    assert_eq!((&one["looked_at"], one["connections"].as_array().unwrap().len()), (&json!(3), 1));
}

#[test]
fn rooms_show_members_traffic_and_history() {
    let server = TestServer::start(with_admin());
    let _members: Vec<Raw> = (0..3).map(|_| Raw::open(server.address(), "/rooms/crowd")).collect();
    let mut publisher = Raw::open(server.address(), "/rooms/busy");
    let mut hears = Raw::open(server.address(), "/rooms/busy");
    for number in 0..20 {
        publisher.send(&text(&format!("m{number}")));
        hears.frame();
    }
    let body = ok(&server, "/debug/rooms");
    assert_eq!(body["looked_at"], 2);
    let busy = &body["rooms"][0];
    assert_eq!((&busy["room"], &busy["members"], &busy["offset"]), (&json!("busy"), &json!(2), &json!(20)));
    assert_eq!((&busy["history_messages"], &busy["lag_policy"]), (&json!(20), &json!("disconnect")));
    assert!(busy["messages_per_second"].as_f64().unwrap() > 0.0, "{busy}");
    let by_members = ok(&server, "/debug/rooms?sort=members&limit=1");
    assert_eq!(by_members["rooms"].as_array().unwrap().len(), 1);
    let crowd = &by_members["rooms"][0];
    assert_eq!((&crowd["room"], &crowd["members"]), (&json!("crowd"), &json!(3)));
}

#[test]
fn why_was_i_closed_has_an_answer() {
    let server = TestServer::start(with_admin());
    let mut leaves = Raw::open(server.address(), "/rooms/a?name=ada");
    leaves.send(&frame(0x88, &[&4321_u16.to_be_bytes()[..], b"bye"].concat()));
    let (leaver, code) = (local(&leaves), leaves.expect_close().0);
    let mut breaks = Raw::open(server.address(), "/echo");
    breaks.send(b"\x81\x00");
    assert_eq!(breaks.expect_close().0, 1002);
    let mut lost = Raw::connect(server.address());
    lost.send(b"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(lost.response().0.status, 404);
    let body = ok(&server, "/debug/closes?cause=peer_closed");
    let closed = &body["closes"][0];
    assert_eq!((&closed["address"], &closed["code"]), (&json!(leaver), &json!(code)));
    assert_eq!((&closed["room"], &closed["memberships"]), (&json!("a"), &json!(1)));
    assert_eq!((&closed["path"], &closed["user"]), (&json!("/rooms/{room}"), &json!("ada")));
    assert!(closed["unix_ms"].as_u64().unwrap() > 0 && closed["seconds_ago"].as_f64().is_some());
    assert_eq!(ok(&server, "/debug/closes?room=a")["closes"].as_array().unwrap().len(), 1);
    let all = ok(&server, "/debug/closes?address=127.0.0.1");
    let causes: Vec<&str> =
        all["closes"].as_array().unwrap().iter().map(|closed| closed["cause"].as_str().unwrap()).collect();
    assert!(causes.contains(&"protocol_error") && causes.contains(&"peer_closed"), "{causes:?}");
    assert_eq!(ok(&server, "/debug/closes?address=192.0.2.1")["closes"], json!([]));
    let broken = ok(&server, "/debug/closes?cause=protocol_error&limit=1");
    let text = broken["closes"][0]["text"].as_str().unwrap();
    assert!(text.contains("mask"), "the sentence of the Close: {text}");
}

#[test]
fn what_a_query_may_not_say_is_a_400_that_says_what_it_may() {
    let server = TestServer::start(with_admin());
    for (path, parts) in [
        ("/debug/connections?sort=lga", &["sort=lga", "lag, queue, stalled, rooms"][..]),
        ("/debug/rooms?sort=lag", &["sort=lag", "messages, bytes, members, history"]),
        ("/debug/closes?cause=gone", &["cause=gone", "peer_gone", "slow_consumer_queue"]),
        ("/debug/closes?address=127.0.0.1:80", &["address=127.0.0.1:80", "without a port"]),
        ("/debug/connections?rooom=a", &["rooom", "room, sort, limit"]),
        ("/debug/connections?room=", &["room", "1 to 128 bytes"]),
        ("/debug/rooms?limit=0", &["limit=0", "1 to 1000"]),
        ("/debug/rooms?limit=+1", &["limit= 1", "1 to 1000"]),
        ("/debug/rooms?limit=1%32", &[]),
    ] {
        if parts.is_empty() {
            ok(&server, path);
            continue;
        }
        let why = refusal(&server, path);
        assert!(parts.iter().all(|part| why.contains(part)), "{path}: {why}");
    }
    for (limit, status) in [(LISTED_MAX - 1, 200), (LISTED_MAX, 200), (LISTED_MAX + 1, 400)] {
        for path in ["connections", "rooms", "closes"] {
            assert_eq!(get(&server, &format!("/debug/{path}?limit={limit}")).0, status);
        }
    }
}

#[test]
fn a_shard_that_does_not_turn_is_named_and_the_others_answer() {
    let (stuck, hears) = mpsc::channel::<()>();
    let (go_on, waits) = mpsc::channel::<()>();
    let waits = Mutex::new(waits);
    let builder = ServerBuilder::standard(with_admin()).dynamic_resource("/stuck", move |_| {
        stuck.send(()).unwrap();
        waits.lock().unwrap().recv().unwrap();
        Ok(Answer::new("text/plain", b"free\n".into()))
    });
    let server = TestServer::build(builder);
    // The two shards get one each.
    let mut raw = Raw::connect(server.address());
    let _other = Raw::open(server.address(), "/echo");
    raw.send(b"GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n");
    hears.recv().unwrap();
    let (status, body) = get(&server, "/debug/connections");
    assert_eq!((status, body["missing_workers"].as_array().unwrap().len()), (200, 1), "{body}");
    assert_eq!((&body["looked_at"], &body["connections"][0]["path"]), (&json!(1), &json!("/echo")));
    go_on.send(()).unwrap();
    assert_eq!(raw.response().1, "free\n");
    assert_eq!(ok(&server, "/debug/connections")["looked_at"], 2);
}

#[test]
fn a_sample_has_the_numbers_of_now_and_nothing_else_is_understood() {
    let server = TestServer::start(with_admin());
    let mut member = Raw::open(server.address(), "/rooms/a");
    let mut other = Raw::open(server.address(), "/rooms/a");
    for number in 0..5 {
        member.send(&text(&format!("m{number}")));
        other.frame();
    }
    // Counters are published at the end of the turn that the message went out in.
    ok(&server, "/debug/connections");
    let mut page = Raw::connect(admin(&server));
    page.send(live_request().as_bytes());
    assert_eq!(page.head().status, 101);
    page.send(&text("sample"));
    let sample: Value = serde_json::from_slice(&page.frame().payload).unwrap();
    let sum = |name: &str| {
        let of = |worker: &Value| worker[name].as_u64().unwrap();
        sample["workers"].as_array().unwrap().iter().map(of).sum::<u64>()
    };
    assert_eq!(sample["workers"].as_array().unwrap().len(), 2);
    assert_eq!((sum("connections"), sum("messages_in"), sum("messages_out")), (2, 5, 5));
    assert_eq!((&sample["rooms"][0]["room"], &sample["rooms"][0]["offset"]), (&json!("a"), &json!(5)));
    assert_eq!((&sample["slow"], &sample["missing_workers"]), (&json!([]), &json!([])));
    let latency: u64 =
        sample["latency_us"].as_array().unwrap().iter().map(|bucket| bucket[1].as_u64().unwrap()).sum();
    assert!(latency >= 5, "each publication is counted: {latency}");
    assert_eq!(sample["version"], env!("CARGO_PKG_VERSION"));
    assert!(sample["uptime_ms"].is_u64());
    page.send(&text("more"));
    let (code, why) = page.expect_close();
    assert!(code == 1008 && why.contains("sample"), "{code} {why}");
}

#[test]
fn the_page_is_on_the_admin_listener_and_its_socket_is_for_it_alone() {
    let server = TestServer::start(with_admin());
    for (path, content_type) in
        [("/", "text/html"), ("/page/live.js", "text/javascript"), ("/page/live.css", "text/css")]
    {
        let mut raw = Raw::connect(admin(&server));
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        let (head, body) = raw.response();
        assert_eq!(head.status, 200, "{path}");
        assert!(head.header("content-type").is_some_and(|found| found.starts_with(content_type)), "{path}");
        assert!(
            head.header("content-security-policy")
                .is_some_and(|policy| policy.contains("default-src 'none'"))
        );
        assert!(!body.is_empty());
    }
    let mut elsewhere = Raw::connect(admin(&server));
    let request = live_request().replace("\r\n\r\n", "\r\nOrigin: https://evil.example\r\n\r\n");
    elsewhere.send(request.as_bytes());
    let (head, why) = elsewhere.refusal();
    assert_eq!(head.status, 403, "{why}");
    assert!(!Raw::connect(server.address()).is_welcome("/live"));
}
