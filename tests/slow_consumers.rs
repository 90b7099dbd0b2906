//! Peers that take nothing, little or late: they are cut or paused, and nobody else notices.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use fanfare::Config;
use fanfare::endpoint::CloseKind;
use fanfare::shard::Counter;
use support::{Frame, PATIENCE, Raw, TestServer, config, frame, remembering, text};

/// Messages that are more than every buffer between us can take.
const MESSAGES_MAX: u32 = 20_000;
const MESSAGE_BYTES: usize = 16 << 10;

fn numbered(number: u32) -> Vec<u8> {
    let mut payload = vec![0x42; MESSAGE_BYTES];
    payload[..4].copy_from_slice(&number.to_be_bytes());
    payload
}

/// Publishes until `done`, awaiting each message at its sender and at a healthy member.
fn publish_until(server: &TestServer, what: &str, mut done: impl FnMut() -> bool) -> u32 {
    let mut publisher = Raw::open(server.address(), "/rooms/r?echo=true");
    let mut healthy = Raw::open(server.address(), "/rooms/r");
    for number in 0..MESSAGES_MAX {
        if done() {
            return number;
        }
        let payload = numbered(number);
        publisher.send(&frame(0x82, &payload));
        assert_eq!(publisher.frame(), Frame::binary(&payload));
        assert_eq!(healthy.frame(), Frame::binary(&payload));
    }
    panic!("{what} is never reached");
}

/// More messages than fit into the window of the test below.
const BEHIND: u64 = 40;

#[test]
fn a_member_that_the_window_has_left_behind_is_cut_when_it_reads_on() {
    let history_bytes = 256 << 10;
    // Long enough for the late reader below, however slow this machine is.
    let (close_timeout, write_timeout) = (PATIENCE, PATIENCE);
    let server = TestServer::start(Config { history_bytes, close_timeout, write_timeout, ..config() });
    let mut lazy = Raw::open(server.address(), "/rooms/r");
    let sent = publish_until(&server, "a stall", || server.undelivered(3) > BEHIND);
    let pinned = server.pinned_max();
    assert!(pinned <= 2 * MESSAGE_BYTES, "it owns the frame that is half out, and no more: {pinned}");
    // What was on its way stays whole, then the Close says why.
    let mut received = 0;
    let close = loop {
        let frame = lazy.frame();
        if frame.first == 0x88 {
            break frame;
        }
        assert_eq!(frame, Frame::binary(&numbered(received)));
        received += 1;
    };
    assert!(received < sent, "{received} of {sent}");
    let (code, reason) = close.close();
    assert_eq!(code, 1008);
    let place = format!(":{received} in room r");
    assert!(reason.contains("--history-bytes") && reason.ends_with(&place), "{reason}");
    lazy.expect_end();
    server.until_closes(CloseKind::OutOfWindow, 1);
}

#[test]
fn a_member_that_falls_behind_within_the_window_gets_all_of_it_later() {
    let server = TestServer::start(Config { write_timeout: PATIENCE, ..remembering(config()) });
    let mut lazy = Raw::open(server.address(), "/rooms/r");
    let sent = publish_until(&server, "a stall", || server.undelivered(3) > BEHIND);
    for number in 0..sent {
        assert_eq!(lazy.frame(), Frame::binary(&numbered(number)));
    }
}

#[test]
fn a_member_that_takes_nothing_in_time_is_cut_although_the_window_has_it_all() {
    let write_timeout = Duration::from_millis(300);
    let server = TestServer::start(Config { write_timeout, ..remembering(config()) });
    let mut lazy = Raw::open(server.address(), "/rooms/r");
    publish_until(&server, "a stall", || server.undelivered(3) > BEHIND);
    server.until("the cut", |server| {
        server.closes(CloseKind::WriteTimeout) + server.closes(CloseKind::TransportFailed) == 1
    });
    assert_eq!(server.closes(CloseKind::WriteTimeout), 1, "not the kernel's timeout is the cause");
    assert_eq!(server.counter(Counter::CutStalled), 1);
    let mut end = Vec::new();
    // A reset is an end too: what it did not take may be lost.
    if let Err(error) = lazy.stream.read_to_end(&mut end) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

#[test]
fn an_echo_that_is_not_read_stops_the_reading_and_later_comes_whole() {
    let write_timeout = PATIENCE;
    let server = TestServer::start(Config { write_timeout, ..config() });
    let mut client = Raw::open(server.address(), "/echo");
    let mut watch = Raw::open(server.address(), "/echo");
    let total = 48 << 20;
    let bytes: Vec<u8> = (0..total / MESSAGE_BYTES as u32).flat_map(|n| frame(0x82, &numbered(n))).collect();
    // Offer everything until nothing more is taken for many round trips of another client.
    client.stream.set_nonblocking(true).unwrap();
    let (mut offered, mut idle) = (0, 0);
    while idle < 200 || server.counter(Counter::ReplyPauses) == 0 {
        match client.stream.write(&bytes[offered..]) {
            Ok(count) => (offered, idle) = (offered + count, 0),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                watch.round_trip(b"watch");
                idle += 1;
                assert!(idle < 100_000, "the reading never pauses");
            }
        }
        assert!(offered < bytes.len(), "the server takes without end");
    }
    client.stream.set_nonblocking(false).unwrap();
    assert!(server.counter(Counter::BytesIn) < u64::from(total));
    // One read of messages can be answered beyond the limit at which reading pauses.
    let pinned = server.pinned_max();
    assert!(pinned <= (64 << 10) + 2 * (128 << 10) + MESSAGE_BYTES, "{pinned}");
    // Now it reads, and the rest is sent meanwhile.
    let mut writer = client.stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| writer.write_all(&bytes[offered..]).expect("the server reads on"));
        for number in 0..total / MESSAGE_BYTES as u32 {
            assert!(client.frame() == Frame::binary(&numbered(number)), "message {number}");
        }
    });
}

#[test]
fn a_client_that_stops_sending_still_gets_its_echoes() {
    let server = TestServer::start(config());
    for messages in [1, 40, 400] {
        let mut client = Raw::open(server.address(), "/echo");
        let mut writer = client.stream.try_clone().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for number in 0..messages {
                    writer.write_all(&frame(0x82, &numbered(number))).expect("the server reads on");
                }
                writer.shutdown(std::net::Shutdown::Write).expect("half a close");
            });
            for number in 0..messages {
                assert!(client.frame() == Frame::binary(&numbered(number)), "message {number}");
            }
        });
        client.expect_end();
    }
    server.until_closes(CloseKind::PeerGone, 3);
}

#[test]
fn what_a_leaving_publisher_sent_last_arrives() {
    let server = TestServer::start(config());
    let mut member = Raw::open(server.address(), "/rooms/r");
    for round in 0..20 {
        let mut publisher = Raw::open(server.address(), "/rooms/r");
        let last = format!("last of {round}");
        publisher.send(&text(&last));
        match round % 2 {
            0 => publisher.send(&frame(0x88, b"\x03\xe8")),
            _ => publisher.half_close(),
        }
        assert_eq!(member.frame(), Frame::text(&last));
    }
}

#[test]
fn a_client_that_resets_in_a_broadcast_harms_nobody() {
    let server = TestServer::start(config());
    for round in 0..5 {
        let lazy: Vec<Raw> = (0..8).map(|_| Raw::open(server.address(), "/rooms/r")).collect();
        let mut lazy = lazy.into_iter();
        let mut messages = 0;
        publish_until(&server, "the last reset", || {
            messages += 1;
            if messages % 10 == 0
                && let Some(member) = lazy.next()
            {
                member.reset();
            }
            lazy.len() == 0
        });
        server.until_closes(CloseKind::TransportFailed, 8 * (round + 1));
    }
    server.until_counter(Counter::Memberships, 0);
}

#[test]
fn a_peer_that_ignores_its_close_is_dropped_after_the_close_timeout() {
    let close_timeout = Duration::from_millis(200);
    let server = TestServer::start(Config { close_timeout, ..config() });
    let mut stubborn = Raw::open(server.address(), "/echo");
    stubborn.send(b"\xff\xff");
    assert_eq!(stubborn.expect_close().0, 1002);
    // The probe is the one connection that is left.
    server.until_counter(Counter::Connections, 1);
}

#[test]
fn a_peer_that_sends_on_after_its_close_is_dropped_all_the_same() {
    let (close_timeout, linger_bytes) = (Duration::from_millis(300), 1 << 20);
    let server = TestServer::start(Config { close_timeout, linger_bytes, ..config() });
    let mut flood = Raw::open(server.address(), "/echo");
    flood.send(b"\xff\xff");
    assert_eq!(flood.expect_close().0, 1002);
    let chunk = vec![0; 64 << 10];
    // Its writes block once the server reads no more, and fail when the server closes.
    while flood.stream.write_all(&chunk).is_ok() {}
    server.until_counter(Counter::Connections, 1);
}

#[test]
fn a_silent_peer_is_pinged_and_dropped_if_it_does_not_answer() {
    let (ping_interval, pong_timeout) = (Duration::from_millis(200), Duration::from_millis(200));
    let server = TestServer::start(Config { ping_interval, pong_timeout, ..config() });
    let mut silent = Raw::open(server.address(), "/echo");
    assert_eq!(silent.frame(), Frame { first: 0x89, payload: Vec::new() });
    let (code, reason) = silent.expect_close();
    assert_eq!(code, 1008);
    assert!(reason.contains("--pong-timeout"), "{reason}");
    server.until_closes(CloseKind::HeartbeatTimeout, 1);
}

#[test]
fn a_peer_that_answers_pings_may_be_silent() {
    let (ping_interval, pong_timeout) = (Duration::from_millis(100), PATIENCE);
    let server = TestServer::start(Config { ping_interval, pong_timeout, ..config() });
    let mut answering = Raw::open(server.address(), "/echo");
    for _ in 0..3 {
        assert_eq!(answering.frame(), Frame { first: 0x89, payload: Vec::new() });
        answering.send(&frame(0x8A, b""));
    }
}
