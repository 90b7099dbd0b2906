//! What one turn may take: a burst is divided over turns, so everybody else is served in between, and
//! nothing of it is lost.

use std::sync::Arc;

use fanfare::endpoint::CloseKind;
use fanfare::id::ShardId;
use fanfare::protocol::CloseCode;
use fanfare::shard::{Counter, Mail, RemovalOrder, RemovedFrom};

use crate::common::{Client, Frame, Server, binary, request, settings, split_response, text};

fn delivered(server: &Server, members: &[Client]) -> usize {
    members.iter().map(|member| server.socket(*member).output.len()).sum()
}

#[test]
fn many_bytes_for_a_room_are_divided_over_turns_and_others_are_answered_in_between() {
    let mut server = Server::with(2, settings(), 1 << 30, Default::default());
    let members: Vec<Client> = (0..200).map(|_| server.connect(1, "/rooms/a")).collect();
    let publisher = server.connect(0, "/rooms/a");
    let echo = server.connect(1, "/echo");
    // Twelve megabytes to deliver for each read of the publisher.
    let message = vec![7; 32 << 10];
    for _ in 0..12 {
        server.feed(publisher, &binary(&message));
    }
    server.settle_shards(&[0]);
    let everything = members.len() * 12 * (message.len() + 4);
    let mut turns = 0;
    while delivered(&server, &members) < everything {
        let before = delivered(&server, &members);
        server.feed(echo, &text("alive"));
        server.turn(1);
        assert_eq!(server.take_texts(echo), ["alive"], "answered in every turn");
        // What one member is sent, less than 256 KiB, may go over the budget of 4 MiB.
        let in_one_turn = delivered(&server, &members) - before;
        assert!(in_one_turn <= (4 << 20) + (256 << 10), "{in_one_turn}");
        turns += 1;
    }
    assert!(turns > 3, "{turns} turns for {everything} bytes");
    server.settle();
    for member in &members {
        assert_eq!(server.take_frames(*member), vec![Frame::binary(&message); 12]);
    }
    server.finish();
}

#[test]
fn a_new_connection_does_not_wait_behind_what_others_have_published() {
    let mut server = Server::with(2, settings(), 1 << 30, Default::default());
    let members: Vec<Client> = (0..200).map(|_| server.connect(1, "/rooms/a")).collect();
    let publisher = server.connect(0, "/rooms/a");
    for _ in 0..12 {
        server.feed(publisher, &binary(&vec![7; 32 << 10]));
    }
    server.settle_shards(&[0]);
    let late = server.adopt(1);
    server.feed(late, &request("/echo"));
    server.turn(1);
    server.turn(1);
    assert_eq!(split_response(&server.take_output(late)).0, 101);
    assert!(delivered(&server, &members) < 200 * 12 * (32 << 10), "the rest still waits");
    server.settle();
    server.finish();
}

#[test]
fn many_small_publications_for_a_room_leave_together() {
    let mut server = Server::with(2, settings(), 1 << 30, Default::default());
    let members: Vec<Client> = (0..1000).map(|_| server.connect(1, "/rooms/a")).collect();
    let publisher = server.connect(0, "/rooms/a");
    for number in 0..50 {
        server.feed(publisher, &text(&format!("{number:02}")));
        server.settle_shards(&[0]);
    }
    let before = server.counter(Counter::Deliveries);
    server.turn(1);
    assert_eq!(server.counter(Counter::Deliveries) - before, 50_000);
    assert!(members.iter().all(|member| server.socket(*member).sends[1..] == [50 * 4]));
    server.finish();
}

#[test]
fn mail_for_many_rooms_is_taken_until_it_is_4_mib() {
    const MESSAGE_BYTES: usize = 100 << 10;
    let mut server = Server::with(2, settings(), 1 << 30, Default::default());
    let mut publishers = Vec::new();
    for room in 0..50 {
        let path = format!("/rooms/{room}");
        server.connect(1, &path);
        publishers.push(server.connect(0, &path));
    }
    let message = binary(&vec![7; MESSAGE_BYTES]);
    publishers.into_iter().for_each(|publisher| server.feed(publisher, &message));
    server.settle_shards(&[0]);
    server.turn(1);
    assert_eq!(server.counter(Counter::Deliveries), 41, "40 of them have less than 4 MiB");
    server.turn(1);
    assert_eq!(server.counter(Counter::Deliveries), 50);
    server.settle();
    server.finish();
}

#[test]
fn many_timers_are_divided_over_turns() {
    let mut server = Server::new(1, settings());
    let clients: Vec<Client> = (0..1500).map(|_| server.connect(0, "/echo")).collect();
    let later = server.now() + settings().ping_interval * 2;
    server.net.borrow_mut().now = later;
    let pinged = |server: &Server| clients.iter().filter(|c| !server.socket(**c).output.is_empty()).count();
    server.turn(0);
    assert_eq!(pinged(&server), 1024);
    server.turn(0);
    assert_eq!(pinged(&server), 1500);
    server.finish();
}

#[test]
fn orders_to_remove_are_divided_over_turns_by_the_connections_they_look_at() {
    const CONNECTIONS: usize = 100;
    const ORDERS: usize = 1000;
    let mut server = Server::new(1, settings());
    for _ in 0..CONNECTIONS {
        server.connect(0, "/rooms/a");
    }
    let order = |user: &str| {
        let (user, code) = (Some(user.to_owned()), CloseCode::new(4000).unwrap());
        let order = RemovalOrder {
            user,
            client: None,
            spared: Vec::new(),
            from: RemovedFrom::Server(code, String::new()),
        };
        Mail::Removal(Arc::new(order))
    };
    for _ in 1..ORDERS {
        server.mesh.send(ShardId::new(0), order("nobody here"));
    }
    server.mesh.send(ShardId::new(0), order(""));
    let mut turns = 0;
    while server.closes(CloseKind::Api) == 0 {
        server.turn(0);
        turns += 1;
    }
    // A turn may look at 32,768 connections.
    assert_eq!(turns, (ORDERS * CONNECTIONS).div_ceil(32 << 10));
    assert_eq!(server.closes(CloseKind::Api), CONNECTIONS as u64);
}
