//! Publishing: what arrives, at whom, and what the answer says.

use fanfare::Config;
use serde_json::json;

use crate::support::door::Seen;
use crate::support::{Frame, Raw, TestServer, config, frame};

#[test]
fn what_is_published_arrives_as_its_content_type_says() {
    let server = TestServer::start(config());
    let address = server.address();
    let (mut member, _) = Raw::join(address, "/rooms/r");
    let (mut reader, _) = Raw::events(address, "/rooms/r/events", "");
    let mut http = Raw::connect(address);
    let binary = "application/octet-stream";
    let published: [(&str, &[u8], bool); 8] = [
        ("", b"text without a type", true),
        ("text/plain; charset=UTF-8", "gr\u{fc}n".as_bytes(), true),
        ("application/x-www-form-urlencoded", b"a=b&c", true),
        ("", b"", true),
        (binary, b"\x00\xff\xfe", false),
        (binary, b"", false),
        ("image/png", b"\x89PNG", false),
        ("text/plain", b"two\nlines", true),
    ];
    for (at, (kind, payload, text)) in (1..).zip(published) {
        let headers = if kind.is_empty() { String::new() } else { format!("Content-Type: {kind}\r\n") };
        assert_eq!(http.publish("/rooms/r", &headers, payload), at);
        let seen = Seen { offset: at, text, payload: payload.to_vec() };
        let expected = Frame { first: if text { 0x81 } else { 0x82 }, payload: payload.to_vec() };
        assert_eq!(member.frame(), expected, "{kind}");
        assert_eq!(Seen::in_event(&reader.block()), seen, "{kind}");
        let (_, page) = http.ask_json("GET /rooms/r", "", b"");
        assert_eq!(
            Seen::in_history(page["publications"].as_array().unwrap().last().unwrap()),
            seen,
            "{kind}"
        );
    }
    for (headers, body, status) in [
        ("", &b"\xff"[..], 400),
        ("Content-Type: text/plain; charset=latin1\r\n", b"a", 415),
        ("Content-Type: model/mesh\r\n", b"a", 415),
        ("Content-Encoding: gzip\r\n", b"a", 415),
        ("Idempotency-Key: \r\n", b"a", 400),
        ("Idempotency-Key: a b\r\n", b"a", 400),
    ] {
        // Most of these are refused before the body is read, and end the connection.
        let (head, answer) = Raw::connect(address).ask("POST /rooms/r", headers, body);
        assert_eq!(head.status, status, "{headers}: {answer}");
    }
    assert_eq!(http.publish("/rooms/r", "", b"next"), published.len() as u64 + 1, "nothing else entered");
}

#[test]
fn json_stands_in_the_history_as_it_was_published() {
    let server = TestServer::start(config());
    let mut http = Raw::connect(server.address());
    http.publish("/rooms/r", "Content-Type: application/json\r\n", br#"{"b":1, "a":[true]}"#);
    let (_, body) = http.ask("GET /rooms/r", "", b"");
    assert!(body.contains(r#""json":{"b":1, "a":[true]}"#), "{body}");
}

#[test]
fn a_repeat_of_a_key_publishes_nothing_and_gets_the_first_answer() {
    let server = TestServer::start(config());
    // Two connections in a row are on both workers.
    let mut clients = [Raw::connect(server.address()), Raw::connect(server.address())];
    let key = format!("Idempotency-Key: {}\r\n", "k".repeat(128));
    let (head, first) = clients[0].ask_json("POST /rooms/r", &key, b"once");
    assert!(first.get("repeat").is_none());
    for http in &mut clients {
        let (again, repeat) = http.ask_json("POST /rooms/r", &key, b"whatever");
        assert_eq!(again.newest(), head.newest());
        assert_eq!((&repeat["offset"], &repeat["repeat"]), (&first["offset"], &json!(true)));
    }
    let too_long = format!("Idempotency-Key: {}\r\n", "k".repeat(129));
    assert_eq!(clients[0].ask("POST /rooms/r", &too_long, b"a").0.status, 400);
    assert_eq!(clients[1].publish("/rooms/other", &key, b"elsewhere"), 1, "a key is of its room");
    assert_eq!(clients[1].publish("/rooms/r", "Idempotency-Key: other\r\n", b"twice"), 2);
}

#[test]
fn a_member_that_is_excluded_is_spared_and_nobody_else() {
    let server = TestServer::start(config());
    let address = server.address();
    let (mut excluded, head) = Raw::join(address, "/rooms/r?echo=true");
    let (mut other, other_head) = Raw::join(address, "/rooms/r");
    let id = head.header("fanfare-client").expect("an id").to_owned();
    assert_ne!(other_head.header("fanfare-client"), Some(id.as_str()));
    let mut http = Raw::connect(address);
    http.publish(&format!("/rooms/r?exclude={id}"), "", b"not for one");
    let many = json!({"rooms": ["r", "s"], "text": "nor this", "exclude": id}).to_string();
    http.ask_json("POST /rooms", "", many.as_bytes());
    http.publish("/rooms/r", "", b"for all");
    assert_eq!(excluded.frame(), Frame::text("for all"));
    for expected in ["not for one", "nor this", "for all"] {
        assert_eq!(other.frame(), Frame::text(expected));
    }
    // Its position counts what it was spared.
    excluded.send(&frame(0x81, b"from it"));
    assert_eq!(excluded.frame(), Frame::text("from it"));
    let (_, page) = http.ask_json("GET /rooms/r", "", b"");
    assert_eq!((&page["offset"], &page["publications"][3]["sender"]), (&json!(4), &json!(id)));
    assert_eq!(http.ask("POST /rooms/r?exclude=nobody", "", b"a").0.status, 400);
}

#[test]
fn one_request_publishes_to_up_to_1000_rooms() {
    let server = TestServer::start(config());
    let (mut member, _) = Raw::join(server.address(), "/rooms/r999");
    let mut http = Raw::connect(server.address());
    let rooms = |count: usize| (0..count).map(|number| format!("r{number}")).collect::<Vec<_>>();
    for count in [1, 1000] {
        let body = json!({"rooms": rooms(count), "data": {"to": count}}).to_string();
        let (_, answer) = http.ask_json("POST /rooms", "", body.as_bytes());
        let results = answer["results"].as_array().expect("results");
        assert!(results.iter().map(|result| result["room"].as_str().unwrap()).eq(rooms(count)));
    }
    assert_eq!(member.frame(), Frame::text(r#"{"to":1000}"#));
    for (body, status) in [
        (json!({"rooms": rooms(1001), "data": 1}), 400),
        (json!({"rooms": [], "data": 1}), 400),
        (json!({"rooms": ["a", "a"], "data": 1}), 400),
        (json!({"rooms": ["a"], "data": 1, "text": "a"}), 400),
        (json!({"rooms": ["a"]}), 400),
    ] {
        let (head, answer) = http.ask("POST /rooms", "", body.to_string().as_bytes());
        assert_eq!(head.status, status, "{answer}");
    }
    // The list pages through all of them, each once.
    let (mut listed, mut after) = (Vec::new(), String::new());
    loop {
        let (_, page) = http.ask_json(&format!("GET /rooms?limit=300{after}"), "", b"");
        listed.extend(page["rooms"].as_array().unwrap().iter().map(|room| room["room"].to_string()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    listed.sort();
    listed.dedup();
    assert_eq!(listed.len(), 1000);
}

#[test]
fn more_bytes_than_may_be_in_flight_are_refused_before_anything_is_published() {
    let server = TestServer::start(Config { mailbox_bytes: 1 << 20, ..config() });
    let mut http = Raw::connect(server.address());
    let rooms: Vec<String> = (0..100).map(|number| format!("r{number}")).collect();
    let body = json!({"rooms": rooms, "text": "x".repeat(11_000)}).to_string();
    http.send(&crate::support::door::request("POST /rooms", "", body.as_bytes()));
    let (head, message) = http.refusal();
    assert_eq!(head.status, 413);
    assert!(message.contains("--mailbox-bytes") && message.contains("1048576"), "{message}");
    let (_, list) = http.ask_json("GET /rooms", "", b"");
    assert!(list["rooms"].as_array().unwrap().is_empty());
    let body = json!({"rooms": rooms, "text": "x".repeat(10_000)}).to_string();
    http.ask_json("POST /rooms", "", body.as_bytes());
}

#[test]
fn members_readers_and_history_see_the_same_in_the_same_order() {
    let server = TestServer::start(config());
    let address = server.address();
    let (mut member, _) = Raw::join(address, "/rooms/r?echo=true");
    let (mut reader, _) = Raw::events(address, "/rooms/r/events", "");
    let mut http = Raw::connect(address);
    let mut position = String::new();
    for number in 0..100 {
        let payload = format!("message {number}");
        if number % 2 == 0 {
            position = http.ask_json("POST /rooms/r", "", payload.as_bytes()).0.newest();
        } else {
            member.send(&frame(0x82, payload.as_bytes()));
        }
        // One order needs one after the other here.
        let frame = member.frame();
        assert_eq!(frame.payload, payload.as_bytes());
        let seen = Seen { offset: number + 1, text: number % 2 == 0, payload: payload.into_bytes() };
        assert_eq!(Seen::in_event(&reader.block()), seen);
    }
    let all = http.history("/rooms/r", &format!("{}:0", &position[..16]), 7);
    assert_eq!(all.len(), 100);
    for (number, seen) in (0..).zip(&all) {
        let (offset, payload) = (number + 1, format!("message {number}").into_bytes());
        assert_eq!(*seen, Seen { offset, text: number % 2 == 0, payload });
    }
}
