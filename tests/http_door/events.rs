//! Streams of events: alive, slow, and at their end.

use std::time::Duration;

use fanfare::Config;
use fanfare::endpoint::CloseKind;
use fanfare::shard::Counter;

use crate::support::door::{Block, offset_of, request};
use crate::support::{Frame, PATIENCE, Raw, TestServer, config, remembering};

#[test]
fn a_stream_begins_with_where_it_is_and_says_what_caches_must_know() {
    let server = TestServer::start(config());
    let mut http = Raw::connect(server.address());
    http.publish("/rooms/r", "", b"one");
    // Behind another request on the same connection, too.
    http.send(&request("GET /rooms/r/events?last=1", "", b""));
    let head = http.head();
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(head.header("cache-control"), Some("no-store"));
    assert_eq!(head.header("x-accel-buffering"), Some("no"));
    assert_eq!((head.number("fanfare-from"), head.number("fanfare-offset")), (0, 1));
    assert_eq!(http.block(), Block::position(head.from()));
    let one = Block { id: Some(head.newest()), data: Some("one".to_owned()), event: String::new() };
    assert_eq!(http.block(), one);
}

#[test]
fn a_quiet_stream_has_a_comment_after_each_ping_interval() {
    let ping_interval = Duration::from_millis(200);
    // It is far shorter than what an idle connection would be given.
    let server = TestServer::start(Config { ping_interval, ..config() });
    let (mut reader, _) = Raw::events(server.address(), "/rooms/r/events", "");
    for _ in 0..3 {
        assert_eq!(reader.block(), Block::default());
    }
    assert_eq!(server.counter(Counter::Memberships), 1);
    drop(reader);
    server.until_counter(Counter::Memberships, 0);
}

#[test]
fn a_stream_that_was_slow_is_kept_alive_all_the_same() {
    let ping_interval = Duration::from_millis(200);
    let server =
        TestServer::start(Config { ping_interval, write_timeout: PATIENCE, ..remembering(config()) });
    let mut reader = Raw::connect(server.address());
    // It waits for no next request, although there was one before.
    reader.ask("GET /healthz", "", b"");
    reader.send(&request("GET /rooms/r/events", "", b""));
    assert_eq!(reader.head().status, 200);
    reader.block();
    let published = Others::connect(&server).leave_behind(&server);
    while reader.block().id.is_none_or(|id| offset_of(&id) < published) {}
    for _ in 0..2 {
        assert_eq!(reader.block(), Block::default());
    }
}

#[test]
fn a_shutdown_ends_every_stream_behind_its_last_event() {
    let server = TestServer::start(config());
    let mut readers: Vec<Raw> =
        (0..4).map(|_| Raw::events(server.address(), "/rooms/r/events", "").0).collect();
    let mut http = Raw::connect(server.address());
    for _ in 0..10 {
        http.publish("/rooms/r", "", b"a");
    }
    server.handle().shutdown();
    for reader in &mut readers {
        for offset in 1..=10 {
            assert_eq!(reader.block().offset(), offset);
        }
        let close = reader.block();
        assert_eq!((close.event.as_str(), &close.id), ("close", &None));
        assert_eq!(close.json()["code"], 1001);
        assert_eq!(close.json()["reason"], "the server is shutting down");
        reader.expect_end();
    }
    let closes: u64 = server.stop().iter().map(|stats| stats.closes(CloseKind::Shutdown)).sum();
    assert!(closes >= 4);
}

/// More messages than the window below holds.
const BEHIND: u64 = 40;
const MESSAGE_BYTES: usize = 16 << 10;

/// A window of few messages, and as much time as a late reader may need.
fn short_memory(policy: &str) -> TestServer {
    TestServer::start(Config {
        history_bytes: 512 << 10,
        lag_policy: vec![policy.parse().unwrap()],
        write_timeout: PATIENCE,
        close_timeout: PATIENCE,
        ..config()
    })
}

/// Who publishes, and a member on the shard of the slow reader that gets everything.
struct Others {
    http: Raw,
    healthy: Raw,
}

impl Others {
    /// Connections are spread round robin over the two workers, and the reader's is the first.
    fn connect(server: &TestServer) -> Others {
        let http = Raw::connect(server.address());
        Others { http, healthy: Raw::open(server.address(), "/rooms/r") }
    }

    /// Publishes until the reader, who reads nothing, is left behind; says how much that was.
    fn leave_behind(&mut self, server: &TestServer) -> u64 {
        let payload = "x".repeat(MESSAGE_BYTES);
        for _ in 0..20_000 {
            let published = self.publish(&payload);
            // What the reader has been told that it will not get is none of it.
            if server.undelivered(2) > BEHIND + server.counter(Counter::SkippedMessages) {
                return published;
            }
        }
        panic!("the reader is never left behind");
    }

    fn publish(&mut self, payload: &str) -> u64 {
        let published = self.http.publish("/rooms/r", "", payload.as_bytes());
        let frame = std::iter::repeat_with(|| self.healthy.frame()).find(|frame| frame.first != 0x89);
        assert!(frame == Some(Frame::text(payload)), "a ping or the message");
        published
    }
}

#[test]
fn a_slow_reader_is_told_where_it_was_cut() {
    let server = short_memory("disconnect");
    let (mut reader, head) = Raw::events(server.address(), "/rooms/r/events", "");
    let mut others = Others::connect(&server);
    let published = others.leave_behind(&server);
    let mut last = head.from();
    let close = loop {
        let block = reader.block();
        let Some(id) = block.id.clone() else { break block };
        assert_eq!(offset_of(&id), offset_of(&last) + 1);
        last = id;
    };
    assert!(offset_of(&last) < published);
    assert_eq!((close.event.as_str(), &close.json()["code"]), ("close", &1008.into()));
    let reason = close.json()["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains(&format!("at {last} in room r")), "{reason}");
    reader.expect_end();
    server.until_closes(CloseKind::OutOfWindow, 1);
    // It learns the rest of the truth when it comes back.
    others.http.send(&request("GET /rooms/r/events", &format!("Last-Event-ID: {last}\r\n"), b""));
    assert_eq!(others.http.refusal().0.status, 410);
}

#[test]
fn a_slow_reader_of_a_room_that_skips_is_told_of_each_gap_once() {
    let server = short_memory("skip");
    let (mut reader, _) = Raw::events(server.address(), "/rooms/r/events", "");
    let mut others = Others::connect(&server);
    let mut gaps = 0;
    let mut next = 1;
    for _ in 0..3 {
        let published = others.leave_behind(&server);
        while next <= published {
            let block = reader.block();
            if block.event != "gap" {
                assert_eq!(block.offset(), next);
                next += 1;
                continue;
            }
            assert_eq!(block.id, None, "its place is still that of the last message");
            assert_eq!(block.json()["from"], next);
            next = block.json()["to"].as_u64().unwrap() + 1;
            assert!(next <= published, "the newest is never skipped");
            gaps += 1;
        }
    }
    assert!(gaps >= 3);
    assert_eq!(server.counter(Counter::SkippedOutOfWindow), gaps);
    assert_eq!(others.publish("again"), next);
    assert_eq!(reader.block().data.as_deref(), Some("again"));
}
