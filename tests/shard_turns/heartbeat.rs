//! The heartbeat: who is silent is pinged, who stays silent is closed, who is paused is neither.

use std::time::Duration;

use fanfare::endpoint::CloseKind;
use fanfare::shard::Counter;

use crate::common::server::TICK;
use crate::common::{Client, Frame, Server, binary, ping, pong, settings, text};

const NANOSECOND: Duration = Duration::from_nanos(1);

/// Waits until just before the ping is due, sees none, and then sees one.
fn ping_is_due_after_the_interval(server: &mut Server, client: Client) {
    server.advance(settings().ping_interval - NANOSECOND);
    assert_eq!(server.take_frames(client), []);
    server.advance(TICK);
    assert_eq!(server.take_frames(client), [Frame::ping()]);
}

#[test]
fn a_silent_peer_that_answers_is_pinged_once_per_interval() {
    let mut server = Server::new(1, settings());
    let client = server.connect(0, "/echo");
    for _ in 0..4 {
        ping_is_due_after_the_interval(&mut server, client);
        server.feed(client, &pong(b""));
        server.settle();
    }
    assert_eq!(server.closes(CloseKind::HeartbeatTimeout), 0);
    server.finish();
}

#[test]
fn any_traffic_answers_a_ping_and_puts_the_next_one_off() {
    let half = text("cut");
    for traffic in [text("hi"), ping(b"hi"), half[..1].to_vec()] {
        let mut server = Server::new(1, settings());
        let client = server.connect(0, "/rooms/a");
        ping_is_due_after_the_interval(&mut server, client);
        server.advance(settings().pong_timeout - TICK * 2);
        server.feed(client, &traffic);
        server.settle();
        server.take_output(client);
        server.advance(settings().ping_interval - NANOSECOND);
        assert_eq!(server.take_frames(client), []);
        assert_eq!(server.closes(CloseKind::HeartbeatTimeout), 0);
        server.finish();
    }
}

#[test]
fn a_peer_that_talks_is_not_pinged() {
    let mut server = Server::new(1, settings());
    let client = server.connect(0, "/rooms/a");
    for _ in 0..10 {
        server.advance(settings().ping_interval - TICK * 2);
        server.feed(client, &text("hi"));
        server.settle();
    }
    assert_eq!(server.take_frames(client), []);
    server.finish();
}

#[test]
fn a_peer_that_does_not_answer_is_closed_with_1008() {
    let mut server = Server::new(1, settings());
    let client = server.connect(0, "/echo");
    ping_is_due_after_the_interval(&mut server, client);
    server.advance(settings().pong_timeout - TICK * 2);
    assert_eq!(server.take_frames(client), []);
    server.advance(TICK * 3);
    let (code, reason) = server.take_close(client);
    assert_eq!(code, 1008);
    assert!(reason.contains("--pong-timeout"), "{reason}");
    assert_eq!(server.closes(CloseKind::HeartbeatTimeout), 1);
    server.advance(settings().close_timeout + TICK);
    assert!(server.is_closed(client));
    server.finish();
}

#[test]
fn the_clock_can_jump_from_deadline_to_deadline() {
    let mut server = Server::new(2, settings());
    let clients = [server.connect(0, "/echo"), server.connect(1, "/echo")];
    while server.counter(Counter::Connections) > 0 {
        assert!(server.jump().is_some(), "somebody waits for something");
    }
    let end = settings().ping_interval + settings().pong_timeout + settings().close_timeout;
    let now = server.now().as_nanos();
    assert!((end.as_nanos()..=(end + TICK * 4).as_nanos()).contains(&u128::from(now)), "{now}");
    assert!(clients.iter().all(|client| server.is_closed(*client)));
    server.finish();
}

#[test]
fn a_connection_that_is_paused_for_its_own_replies_is_not_killed_by_the_heartbeat() {
    let mut server = Server::new(1, settings());
    let client = server.connect(0, "/echo");
    server.socket(client).room = 0;
    while server.counter(Counter::ReplyPauses) == 0 {
        server.feed(client, &binary(&[1; 10_000]));
        server.turn(0);
    }
    for _ in 0..30 {
        server.advance(settings().write_timeout - TICK * 2);
        server.socket(client).room = 1;
        server.settle();
    }
    assert_eq!(server.closes(CloseKind::HeartbeatTimeout), 0);
    assert!(!server.is_closed(client));
    server.socket(client).room = usize::MAX;
    server.settle();
    assert!(server.socket(client).interest.readable);
    server.take_frames(client);
    ping_is_due_after_the_interval(&mut server, client);
    server.finish();
}

#[test]
fn a_ping_behind_what_is_waiting_counts_from_when_it_is_sent() {
    let mut server = Server::new(1, settings());
    let member = server.connect(0, "/rooms/a");
    let publisher = server.connect(0, "/rooms/a");
    ping_is_due_after_the_interval(&mut server, member);
    server.feed(member, &pong(b""));
    server.socket(member).room = 10;
    server.feed(publisher, &binary(&[1; 1000]));
    server.settle();
    // It takes a few bytes at a time and says nothing for far longer than a ping may wait.
    for _ in 0..10 {
        server.advance(settings().write_timeout - TICK * 2);
        server.feed(publisher, &pong(b""));
        server.socket(member).room = 10;
        server.settle();
    }
    server.socket(member).room = usize::MAX;
    server.settle();
    server.advance(settings().pong_timeout - TICK * 2);
    assert_eq!(server.closes(CloseKind::HeartbeatTimeout), 0);
    server.advance(TICK * 4);
    assert_eq!(server.closes(CloseKind::HeartbeatTimeout), 1, "it has still said nothing");
    server.finish();
}

/// A publisher on shard 0 that waits for shard 1, which does not turn.
fn paused_publisher() -> (Server, Client, Client) {
    let mut server = Server::with(2, settings(), 64 << 10, Default::default());
    let publisher = server.connect(0, "/rooms/a");
    let member = server.connect(1, "/rooms/a");
    for _ in 0..10 {
        server.feed(publisher, &binary(&[1; 10_000]));
    }
    // The beginning of a message that it cannot go on with while it is not read from.
    server.feed(publisher, &binary(&[2; 100])[..50]);
    server.settle_shards(&[0]);
    assert!(!server.socket(publisher).interest.readable);
    (server, publisher, member)
}

fn advance_shard_0(server: &mut Server, by: Duration) {
    let now = server.now() + by;
    server.net.borrow_mut().now = now;
    server.settle_shards(&[0]);
}

#[test]
fn a_publisher_that_is_paused_for_long_is_pinged_on_time_once_it_is_read_again() {
    // Timers are armed anew at moments that have nothing to do with the pause's end.
    for seconds in (5..150).step_by(5) {
        let (mut server, publisher, _) = paused_publisher();
        for _ in 0..seconds / 5 {
            advance_shard_0(&mut server, Duration::from_secs(5));
            assert_eq!(server.take_output(publisher), b"", "it is not pinged while it is not read");
        }
        server.feed(publisher, &binary(&[2; 100])[50..]);
        server.turn(1);
        server.settle_shards(&[0]);
        assert!(server.socket(publisher).interest.readable);
        assert_eq!(server.closes(CloseKind::HeartbeatTimeout), 0);
        advance_shard_0(&mut server, settings().ping_interval - NANOSECOND);
        assert_eq!(server.take_frames(publisher), []);
        advance_shard_0(&mut server, TICK);
        assert_eq!(server.take_frames(publisher), [Frame::ping()], "after {seconds} s of pause");
        server.settle();
        server.finish();
    }
}

#[test]
fn a_message_is_given_its_time_anew_after_a_pause_of_ours() {
    for (late, seconds) in [(false, 20), (false, 40), (false, 100), (true, 20), (true, 100)] {
        let (mut server, publisher, member) = paused_publisher();
        advance_shard_0(&mut server, Duration::from_secs(seconds));
        server.turn(1);
        server.settle_shards(&[0]);
        advance_shard_0(&mut server, settings().message_timeout - TICK * 2);
        assert_eq!(server.closes(CloseKind::MessageTimeout), 0, "the pause is not the peer's fault");
        if late {
            advance_shard_0(&mut server, TICK * 3);
        }
        assert_eq!(server.closes(CloseKind::MessageTimeout), u64::from(late));
        server.feed(publisher, &binary(&[2; 100])[50..]);
        server.feed(member, &pong(b""));
        server.settle();
        let bytes = if late { 10_000 } else { 100 };
        assert_eq!(server.take_frames(member).last().unwrap().payload.len(), bytes);
        server.finish();
    }
}
