//! Deadlines of the handshake, of a message and of progress in writing: each to within a tick.

use std::time::Duration;

use fanfare::endpoint::CloseKind;

use fanfare::reactor::{READY_PER_WAIT, Ready};

use crate::common::server::TICK;
use crate::common::{Client, Server, request, settings, split_response, text};

const NANOSECOND: Duration = Duration::from_nanos(1);

#[test]
fn a_connection_that_sends_nothing_is_closed_without_a_word_at_the_handshake_deadline() {
    let mut server = Server::new(1, settings());
    let client = server.adopt(0);
    server.advance(settings().handshake_timeout - NANOSECOND);
    assert!(!server.is_closed(client));
    server.advance(TICK);
    assert!(server.is_closed(client));
    assert_eq!(server.socket(client).output, b"");
    assert_eq!(server.closes(CloseKind::HandshakeTimeout), 1);
    server.finish();
}

#[test]
fn a_head_that_does_not_end_is_answered_with_408_at_the_handshake_deadline() {
    let mut server = Server::new(1, settings());
    let client = server.adopt(0);
    server.feed(client, b"GET / HT");
    server.advance(settings().handshake_timeout - NANOSECOND);
    assert_eq!(server.socket(client).output, b"");
    server.advance(TICK);
    assert_eq!(split_response(&server.take_output(client)).0, 408);
    assert_eq!(server.socket(client).calls.shutdown_write, 1);
    assert!(server.is_closed(client));
    server.finish();
}

#[test]
fn a_trickle_of_bytes_does_not_extend_the_handshake_deadline() {
    let mut server = Server::new(1, settings());
    let client = server.adopt(0);
    let head = request("/echo");
    let step = settings().handshake_timeout / 10;
    for byte in &head[..9] {
        server.feed(client, &[*byte]);
        server.advance(step);
        assert!(!server.is_closed(client));
    }
    server.advance(step + TICK);
    assert!(server.is_closed(client));
    server.finish();
}

#[test]
fn the_handshake_deadline_runs_from_the_accept_not_from_the_adoption() {
    let mut server = Server::new(1, settings());
    let client = server.adopt(0);
    // The shard finds the socket in its inbox only now.
    let late = server.now() + (settings().handshake_timeout - NANOSECOND);
    server.net.borrow_mut().now = late;
    server.settle();
    assert!(!server.is_closed(client));
    server.advance(TICK * 2);
    assert!(server.is_closed(client));
    server.finish();
}

#[test]
fn nobody_is_judged_before_what_had_arrived_is_read() {
    let mut server = Server::new(1, settings());
    let busy: Vec<Client> = (0..READY_PER_WAIT).map(|_| server.connect(0, "/echo")).collect();
    // Their timers are for their heartbeats from now on.
    server.advance(settings().handshake_timeout + TICK);
    let prompt: Vec<Client> = (0..100).map(|_| server.adopt(0)).collect();
    let silent = server.adopt(0);
    server.settle();
    // All have sent in time, while the shard had no processor; one wait cannot report them all.
    for client in &busy {
        server.feed(*client, &text("busy"));
    }
    for client in &prompt {
        server.feed(*client, &request("/echo"));
    }
    let late = server.now() + settings().handshake_timeout + TICK;
    server.net.borrow_mut().now = late;
    server.settle();
    for client in &prompt {
        assert_eq!(split_response(&server.take_output(*client)).0, 101);
    }
    assert!(server.is_closed(silent), "but who has sent nothing has had its time");
    server.finish();
}

#[test]
fn a_crowd_that_never_stops_sending_keeps_no_deadline_away() {
    let mut server = Server::new(1, settings());
    let crowd: Vec<Client> = (0..READY_PER_WAIT + 500).map(|_| server.connect(0, "/echo")).collect();
    let silent = server.adopt(0);
    server.settle();
    let late = server.now() + settings().handshake_timeout + TICK;
    server.net.borrow_mut().now = late;
    for _ in 0..4 {
        for client in &crowd {
            server.feed(*client, &text("more"));
        }
        server.turn(0);
    }
    assert!(server.is_closed(silent));
    server.settle();
    server.finish();
}

#[test]
fn a_message_that_is_not_finished_in_time_is_closed_with_1008_however_it_trickles() {
    let mut server = Server::new(1, settings());
    let client = server.connect(0, "/echo");
    let frame = text(&"t".repeat(100));
    server.feed(client, &frame[..1]);
    server.settle();
    for byte in &frame[1..30] {
        server.advance(Duration::from_secs(1));
        server.feed(client, &[*byte]);
        server.settle();
    }
    server.advance(Duration::from_secs(1) - NANOSECOND);
    assert_eq!(server.socket(client).output, b"", "no ping either: it is not silent");
    server.advance(TICK);
    let (code, reason) = server.take_close(client);
    assert_eq!(code, 1008);
    assert!(reason.contains("--message-timeout"), "{reason}");
    assert_eq!(server.closes(CloseKind::MessageTimeout), 1);
    server.finish();
}

#[test]
fn each_message_has_its_own_deadline() {
    let mut server = Server::new(1, settings());
    let client = server.connect(0, "/echo");
    let frame = text("hello");
    for _ in 0..4 {
        server.feed(client, &frame[..3]);
        server.settle();
        server.advance(settings().message_timeout - TICK * 2);
        server.feed(client, &frame[3..]);
        server.settle();
        assert!(server.take_frames(client).iter().any(|frame| frame.payload == b"hello"));
    }
    server.finish();
}

#[test]
fn a_peer_whose_socket_has_room_again_is_not_cut_for_the_time_before() {
    let mut server = Server::new(1, settings());
    let client = server.connect(0, "/echo");
    server.socket(client).room = 3;
    server.feed(client, &text("half out"));
    server.settle();
    // The peer has taken everything in time, while the shard had no processor.
    server.socket(client).room = usize::MAX;
    server.advance(settings().write_timeout + TICK);
    assert_eq!(server.closes(CloseKind::WriteTimeout), 0);
    let payloads: Vec<Vec<u8>> = server.take_frames(client).into_iter().map(|frame| frame.payload).collect();
    assert!(payloads.contains(&b"half out".to_vec()), "{payloads:?}");
    server.finish();
}

#[test]
fn a_false_report_of_room_gives_a_stalled_peer_no_more_time() {
    let mut server = Server::new(1, settings());
    let client = server.connect(0, "/echo");
    server.socket(client).room = 3;
    server.feed(client, &text("half out"));
    server.settle();
    server.advance(settings().write_timeout - NANOSECOND);
    let key = server.socket(client).key.expect("it is registered");
    let writable = Ready { key, readable: false, writable: true, hung_up: false };
    server.shards[0].io_mut().injected.push(writable);
    server.settle();
    assert_eq!(server.closes(CloseKind::WriteTimeout), 0);
    server.advance(TICK);
    assert_eq!(server.closes(CloseKind::WriteTimeout), 1);
}

#[test]
fn a_peer_that_takes_no_byte_is_closed_as_a_slow_consumer_after_the_frame_that_is_half_out() {
    let mut server = Server::new(1, settings());
    let client = server.connect(0, "/echo");
    server.socket(client).room = 3;
    server.feed(client, &text("half out"));
    server.feed(client, &text("dropped or not"));
    server.settle();
    server.advance(settings().write_timeout - NANOSECOND);
    assert_eq!(server.closes(CloseKind::WriteTimeout), 0);
    server.advance(TICK);
    assert_eq!(server.closes(CloseKind::WriteTimeout), 1);
    assert!(!server.is_closed(client), "it has a moment to take the Close");
    server.socket(client).room = usize::MAX;
    server.settle();
    let frames = server.take_frames(client);
    assert_eq!(frames[0].payload, b"half out");
    let (code, reason) = frames.last().and_then(|frame| frame.close()).unwrap();
    assert_eq!(code, 1008);
    assert!(reason.contains("slow consumer") && reason.contains("--write-timeout"), "{reason}");
    server.finish();
}

#[test]
fn a_stalled_peer_that_does_not_take_the_close_either_is_gone_after_the_close_timeout() {
    let mut server = Server::new(1, settings());
    let client = server.connect(0, "/echo");
    server.socket(client).room = 0;
    server.feed(client, &text("never taken"));
    server.settle();
    server.advance(settings().write_timeout + TICK);
    assert_eq!(server.closes(CloseKind::WriteTimeout), 1);
    server.advance(settings().close_timeout - TICK);
    assert!(!server.is_closed(client));
    server.advance(TICK * 2);
    assert!(server.is_closed(client));
    assert_eq!(server.socket(client).output, b"");
    server.finish();
}

#[test]
fn a_byte_now_and_then_is_progress() {
    let mut server = Server::new(1, settings());
    let client = server.connect(0, "/rooms/a");
    let sender = server.connect(0, "/rooms/a");
    server.socket(client).room = 0;
    server.feed(sender, &text("slowly"));
    server.settle();
    for _ in 0..7 {
        server.advance(settings().write_timeout - TICK * 2);
        server.feed(client, &text(""));
        server.feed(sender, &text(""));
        server.socket(client).room = 1;
        server.settle();
    }
    assert_eq!(server.closes(CloseKind::WriteTimeout), 0);
    assert!(!server.is_closed(client));
    server.finish();
}
