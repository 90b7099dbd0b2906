//! The lives of a room: remembered without members for a while, then another room of that name.

use std::time::Duration;

use fanfare::Config;
use fanfare::shard::Counter;

use crate::support::door::Seen;
use crate::support::{Frame, Raw, TestServer, config};

#[test]
fn a_room_without_members_is_remembered() {
    let server = TestServer::start(config());
    let (member, head) = Raw::join(server.address(), "/rooms/r");
    let first = head.newest();
    drop(member);
    server.until_counter(Counter::Memberships, 0);
    let mut publisher = Raw::connect(server.address());
    assert_eq!(publisher.publish("/rooms/r", "", b"while nobody was there"), 1);
    let (mut back, head) = Raw::join(server.address(), &format!("/rooms/r?since={first}"));
    assert_eq!(head.from(), first, "the same life");
    assert_eq!(head.number("fanfare-offset"), 1);
    assert_eq!(back.frame(), Frame::text("while nobody was there"));
}

#[test]
fn a_room_that_was_forgotten_begins_another_life() {
    let server = TestServer::start(Config { history_age: Duration::from_millis(200), ..config() });
    let mut http = Raw::connect(server.address());
    let (head, _) = http.ask_json("POST /rooms/r", "", b"old");
    let old = head.newest();
    server.until("the end of the room", |_| {
        let (_, list) = http.ask_json("GET /rooms", "", b"");
        list["rooms"].as_array().expect("rooms").is_empty()
    });
    // Over HTTP nobody makes a room by asking for it.
    let (head, _) = http.ask("GET /rooms/r", "", b"");
    assert_eq!(head.status, 404);
    let (head, body) = http.ask(&format!("GET /rooms/r?since={old}"), "", b"");
    assert_eq!(head.status, 410, "{body}");
    let (head, body) = Raw::join_refused(server.address(), &format!("/rooms/r?since={old}"));
    assert_eq!(head.status, 410, "{body}");
    assert_ne!(head.newest()[..16], old[..16]);
    assert!(body.contains("another life"), "{body}");
    let (mut member, head) = Raw::join(server.address(), &format!("/rooms/r?since={}", head.newest()));
    assert_eq!(head.number("fanfare-from"), 0, "and from the place that was named it goes on");
    assert_eq!(http.publish("/rooms/r", "", b"new"), 1);
    assert_eq!(member.frame(), Frame::text("new"));
    let seen = http.history("/rooms/r", &head.from(), 10);
    assert_eq!(seen, [Seen { offset: 1, text: true, payload: b"new".to_vec() }]);
}
