//! The end of a server: everybody is told, what was queued goes out first, nobody is waited for
//! longer than the deadline.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use fanfare::endpoint::CloseKind;
use fanfare::id::ShardId;
use fanfare::protocol::CloseCode;
use fanfare::shard::{Admission, Counter, DrainOrder, Mail, RemovalOrder, RemovedFrom};

use crate::common::sim::{Call, PlannedFailure};
use crate::common::{Server, binary, request, settings, split_response, text};

const DRAIN: Duration = Duration::from_secs(10);

#[test]
fn everybody_is_sent_what_was_queued_and_then_1001() {
    let mut server = Server::new(2, settings());
    let clients: Vec<_> = (0..10).map(|number| server.connect(number % 2, "/rooms/a")).collect();
    for client in &clients[1..] {
        server.socket(*client).room = 5;
    }
    server.feed(clients[0], &text("queued before the end"));
    server.settle();
    let deadline = server.now() + DRAIN;
    server.drain(deadline);
    server.settle();
    assert!(server.finished.is_empty(), "peers are waited for");
    for client in &clients {
        server.socket(*client).room = usize::MAX;
    }
    server.settle();
    for client in &clients[1..] {
        let frames = server.take_frames(*client);
        assert_eq!(frames.len(), 2, "{frames:?}");
        assert_eq!(frames[0].payload, b"queued before the end");
        assert_eq!(frames[1].close().unwrap(), (1001, "the server is shutting down".to_owned()));
    }
    for client in &clients {
        assert_eq!(server.socket(*client).calls.shutdown_write, 1);
        server.socket(*client).eof = true;
    }
    server.settle();
    assert_eq!(server.finished.len(), 2);
    assert_eq!(server.closes(CloseKind::Shutdown), 10);
    server.finish();
}

/// The order to tell everybody of the one shard within [`DRAIN`].
fn drain_slowly(server: &mut Server) {
    let begin = server.now();
    let order = DrainOrder { begin, spread: DRAIN, deadline: begin + 2 * DRAIN, seed: 7 };
    server.mesh.send(ShardId::new(0), Mail::Drain(order));
    server.settle();
}

#[test]
fn they_are_told_one_after_the_other_in_random_order_and_served_until_then() {
    let mut server = Server::new(1, settings());
    let clients: Vec<_> = (0..10).map(|_| server.connect(0, "/rooms/a")).collect();
    let handshaking = server.adopt(0);
    drain_slowly(&mut server);
    assert_eq!(split_response(&server.take_output(handshaking)).0, 503, "it has nothing to lose");
    let (mut untold, mut order) = (clients.clone(), Vec::new());
    for second in 1..=10 {
        assert_eq!(server.closes(CloseKind::Shutdown), second + 1, "and the one that was shaking hands");
        let is_told = |client: &_| server.socket(*client).calls.shutdown_write == 1;
        let told = untold.remove(untold.iter().position(is_told).expect("one more is told"));
        order.push(clients.iter().position(|client| *client == told).unwrap());
        if let [publisher, others @ ..] = &untold[..] {
            server.feed(*publisher, &text(&second.to_string()));
            server.settle();
            for other in others {
                assert_eq!(server.take_texts(*other), [second.to_string()]);
            }
        }
        assert_eq!(server.take_close(told), (1001, "the server is shutting down".to_owned()));
        server.socket(told).eof = true;
        server.advance(Duration::from_secs(1) - Duration::from_nanos(1));
        assert_eq!(server.closes(CloseKind::Shutdown), second + 1, "not before its time");
        server.advance(Duration::from_nanos(1));
    }
    assert!(!order.is_sorted(), "{order:?}");
    server.socket(handshaking).eof = true;
    server.settle();
    assert_eq!(server.finished.len(), 1, "nobody is left to wait for");
    server.finish();
}

#[test]
fn who_leaves_before_its_time_is_not_waited_for() {
    let mut server = Server::new(1, settings());
    let clients: Vec<_> = (0..4).map(|_| server.connect(0, "/echo")).collect();
    drain_slowly(&mut server);
    for client in clients {
        server.socket(client).eof = true;
    }
    server.settle();
    assert!(server.finished.contains(&0));
    assert_eq!((server.closes(CloseKind::Shutdown), server.closes(CloseKind::PeerGone)), (1, 3));
    server.finish();
}

#[test]
fn who_comes_behind_the_order_to_drain_is_told_so() {
    let mut server = Server::new(1, settings());
    let waits = server.connect(0, "/echo");
    let deadline = server.now() + DRAIN;
    server.drain(deadline);
    server.settle();
    let late = server.adopt(0);
    server.feed(late, &request("/echo"));
    server.settle();
    assert_eq!(split_response(&server.take_output(late)).0, 503);
    assert_eq!(server.counter(Counter::Opened), 1);
    assert_eq!(server.closes(CloseKind::Shutdown), 2);
    for client in [waits, late] {
        server.socket(client).eof = true;
    }
    server.finish();
}

#[test]
fn the_deadline_of_a_drain_ends_those_who_do_not_take_their_bytes() {
    let mut server = Server::new(1, settings());
    let stuck = server.connect(0, "/echo");
    server.socket(stuck).room = 0;
    server.feed(stuck, &text("never taken"));
    server.settle();
    let deadline = server.now() + Duration::from_secs(3);
    server.drain(deadline);
    server.settle();
    server.advance(Duration::from_secs(3) - Duration::from_nanos(1));
    assert!(!server.is_closed(stuck));
    assert_eq!(server.shards[0].io_mut().deadline, Some(deadline), "it sleeps until then");
    server.advance(Duration::from_nanos(1));
    assert!(server.is_closed(stuck));
    assert!(server.finished.contains(&0));
    server.finish();
}

#[test]
fn a_shard_that_is_held_up_over_the_whole_drain_still_tells_everybody() {
    let mut server = Server::new(1, settings());
    let clients: Vec<_> = (0..20).map(|_| server.connect(0, "/rooms/a")).collect();
    drain_slowly(&mut server);
    let later = server.now() + 3 * DRAIN;
    server.net.borrow_mut().now = later;
    server.turn(0);
    for client in clients {
        assert_eq!(server.take_close(client), (1001, "the server is shutting down".to_owned()));
        assert!(server.is_closed(client));
    }
    assert_eq!(server.finished.len(), 1);
    server.finish();
}

#[test]
fn a_connection_that_has_not_shaken_hands_is_refused_with_503() {
    let mut server = Server::new(1, settings());
    let silent = server.adopt(0);
    let partial = server.adopt(0);
    server.feed(partial, &request("/echo")[..20]);
    server.settle();
    let deadline = server.now() + DRAIN;
    server.drain(deadline);
    let late = server.adopt(0);
    server.settle();
    for client in [silent, partial, late] {
        let output = server.take_output(client);
        assert_eq!(split_response(&output).0, 503);
        assert!(String::from_utf8_lossy(&output).contains("Retry-After"), "{output:?}");
        server.socket(client).eof = true;
    }
    server.settle();
    assert!(server.finished.contains(&0));
    server.finish();
}

#[test]
fn a_full_server_refuses_with_503() {
    let mut server = Server::new(1, settings());
    let socket = server.net.borrow_mut().open();
    let client = server.adopt_socket(0, socket, Admission::Full { limit: 7 });
    server.feed(client, &request("/echo"));
    server.settle();
    let output = server.take_output(client);
    assert_eq!(split_response(&output).0, 503);
    assert!(String::from_utf8_lossy(&output).contains("all of its 7 connections"));
    assert_eq!(server.closes(CloseKind::ServerFull), 1);
    assert_eq!(server.counter(Counter::Opened), 0);
    server.finish();
}

#[test]
fn a_socket_that_cannot_be_watched_is_not_counted_as_a_connection() {
    let mut server = Server::new(1, settings());
    let socket = server.net.borrow_mut().open();
    server.adopt_socket(0, socket, Admission::Welcome);
    server.net.borrow_mut().failure =
        Some(PlannedFailure::of_the_next(Call::Register, ErrorKind::OutOfMemory));
    server.settle();
    assert_eq!(server.counter(Counter::Connections), 0);
    assert_eq!(server.closes(CloseKind::NoResources), 1);
    let next = server.connect(0, "/echo");
    server.feed(next, &binary(b"works"));
    server.settle();
    assert_eq!(server.take_frames(next)[0].payload, b"works");
    server.finish();
}

#[test]
fn a_shard_ends_with_its_inbox_empty() {
    let mut server = Server::new(1, settings());
    server.drain(server.now());
    let order = Arc::new(RemovalOrder {
        user: Some("nobody".to_owned()),
        client: None,
        spared: Vec::new(),
        from: RemovedFrom::Server(CloseCode::POLICY_VIOLATION, String::new()),
    });
    let more_than_a_turn_takes = 100_000;
    for _ in 0..more_than_a_turn_takes {
        server.mesh.send(ShardId::new(0), Mail::Removal(Arc::clone(&order)));
    }
    for _ in 0..10 {
        server.turn(0);
    }
    assert!(server.finished.contains(&0));
    assert_eq!(Arc::strong_count(&order), 1, "no mail waits any more");
    server.finish();
}
