//! Where one may begin, to the message: `last` and `since` on each side of every edge.

use fanfare::Config;

use crate::support::door::{Seen, offset_of};
use crate::support::{Raw, TestServer, config};

const PUBLISHED: u64 = 25;
const HELD: u64 = 10;
const OLDEST: u64 = PUBLISHED - HELD + 1;

/// A room that holds the last [`HELD`] messages of [`PUBLISHED`], and its epoch.
fn room() -> (TestServer, String) {
    let server = TestServer::start(Config { history_messages: HELD, ..config() });
    let mut http = Raw::connect(server.address());
    for offset in 1..=PUBLISHED {
        assert_eq!(http.publish("/rooms/r", "", format!("message {offset}").as_bytes()), offset);
    }
    let (head, page) = http.ask_json("GET /rooms/r", "", b"");
    assert_eq!(
        (&page["first"], &page["offset"], &page["more"]),
        (&OLDEST.into(), &PUBLISHED.into(), &false.into())
    );
    (server, head.header("fanfare-epoch").expect("an epoch").to_owned())
}

fn seen_from(from: u64) -> Vec<Seen> {
    let message = |offset| Seen { offset, text: true, payload: format!("message {offset}").into_bytes() };
    (from + 1..=PUBLISHED).map(message).collect()
}

/// Joins by this query and reads up to the newest message and no further.
fn check_start(server: &TestServer, query: &str, from: u64) {
    let (mut member, head) = Raw::join(server.address(), &format!("/rooms/r?echo=true&{query}"));
    assert_eq!((head.number("fanfare-from"), head.number("fanfare-offset")), (from, PUBLISHED), "{query}");
    for seen in seen_from(from) {
        assert_eq!(member.frame().payload, seen.payload, "{query}");
    }
    // A ping tells that nothing else stood before it.
    member.send(&crate::support::frame(0x89, b"end"));
    assert_eq!(member.frame().first, 0x8A, "{query}");
    let (mut reader, head) = Raw::events(server.address(), &format!("/rooms/r/events?{query}"), "");
    assert_eq!((head.number("fanfare-from"), head.number("fanfare-offset")), (from, PUBLISHED), "{query}");
    for seen in seen_from(from) {
        assert_eq!(Seen::in_event(&reader.block()), seen, "{query}");
    }
}

#[test]
fn last_gives_so_many_messages_or_all_that_are_held() {
    let (server, _) = room();
    for last in [0, 1, HELD - 1, HELD, HELD + 1, u64::MAX] {
        check_start(&server, &format!("last={last}"), PUBLISHED - last.min(HELD));
    }
}

#[test]
fn since_is_honoured_as_long_as_nothing_is_missing() {
    let (server, epoch) = room();
    let mut http = Raw::connect(server.address());
    for offset in [PUBLISHED, PUBLISHED - 1, OLDEST, OLDEST - 1] {
        let since = format!("{epoch}:{offset}");
        check_start(&server, &format!("since={since}"), offset);
        let by_header = format!("Last-Event-ID: {since}\r\n");
        let (_, head) = Raw::events(server.address(), "/rooms/r/events", &by_header);
        assert_eq!(head.from(), since);
        assert_eq!(http.history("/rooms/r", &since, 3), seen_from(offset));
    }
}

#[test]
fn since_is_refused_when_something_is_missing() {
    let (server, epoch) = room();
    let other = "0123456789abcdef";
    let mut http = Raw::connect(server.address());
    for (epoch, offset, why) in [
        (epoch.as_str(), OLDEST - 2, "too old"),
        (&epoch, 0, "too old"),
        (&epoch, PUBLISHED + 1, "not reached yet"),
        (&epoch, u64::MAX, "not reached yet"),
        (other, PUBLISHED, "another life"),
        (other, 0, "another life"),
    ] {
        let since = format!("{epoch}:{offset}");
        http.send(&crate::support::door::request(
            "GET /rooms/r/events",
            &format!("Last-Event-ID: {since}\r\n"),
            b"",
        ));
        let by_header = http.refusal();
        http.send(&crate::support::door::request(&format!("GET /rooms/r?since={since}"), "", b""));
        let by_history = http.refusal();
        let by_upgrade = Raw::join_refused(server.address(), &format!("/rooms/r?since={since}"));
        for (head, body) in [by_header, by_history, by_upgrade] {
            assert_eq!((head.status, offset_of(&head.newest())), (410, PUBLISHED), "{since}: {body}");
            assert!(body.contains(&since) && body.contains(why), "{body}");
            assert!(body.contains(&format!("go on from {}", head.newest())), "{body}");
        }
    }
}

#[test]
fn what_is_no_start_is_a_bad_request() {
    let (server, epoch) = room();
    let mut http = Raw::connect(server.address());
    for query in [
        "since=",
        "since=25",
        "since=:25",
        "since=xyz:25",
        &format!("since={epoch}:"),
        &format!("since={epoch}:+5"),
        &format!("since={epoch}:25&last=1"),
        "last=",
        "last=-1",
        "last=x",
        "last=18446744073709551616",
    ] {
        let (head, body) = Raw::join_refused(server.address(), &format!("/rooms/r?{query}"));
        assert_eq!(head.status, 400, "{query}: {body}");
        let (head, body) = http.ask(&format!("GET /rooms/r/events?{query}"), "", b"");
        assert_eq!(head.status, 400, "{query}: {body}");
    }
    let (head, _) = http.ask("GET /rooms/r/events", "Last-Event-ID: 25\r\n", b"");
    assert_eq!(head.status, 400);
    let (head, _) = http.ask("GET /rooms/r?since=25", "", b"");
    assert_eq!(head.status, 400);
    assert!(http.history("/rooms/r", &format!("{epoch}:{PUBLISHED}"), 1).is_empty(), "it goes on");
}

#[test]
fn a_room_that_was_empty_has_nothing_of_the_past() {
    let server = TestServer::start(config());
    for target in ["/rooms/new", "/rooms/new?last=10"] {
        let (_, head) = Raw::join(server.address(), target);
        assert_eq!((head.number("fanfare-from"), head.number("fanfare-offset")), (0, 0));
    }
}
