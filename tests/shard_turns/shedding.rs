//! Slow consumers that have to go, as the server has nearly used up its memory or its descriptors.

use std::time::Duration;

use fanfare::endpoint::{CloseKind, Scarcity};
use fanfare::shard::ShedOrder;

use crate::common::server::TICK;
use crate::common::{Client, Server, settings, split_response, text};

fn order(connections: usize, bytes: usize) -> ShedOrder {
    ShedOrder { scarcity: Scarcity::Memory, percent: 95, connections, bytes }
}

/// Clients that take nothing, for whom so many bytes of answers wait each.
fn stalled(server: &mut Server, answers: &[usize]) -> Vec<Client> {
    let stall = |bytes: &usize| {
        let client = server.connect(0, "/echo");
        server.socket(client).room = 0;
        server.feed(client, &text(&"x".repeat(*bytes)));
        server.settle();
        client
    };
    answers.iter().map(stall).collect()
}

/// Which of them have been told to go, once they take their bytes.
fn told(server: &mut Server, clients: &[Client]) -> Vec<usize> {
    for client in clients {
        server.socket(*client).room = usize::MAX;
    }
    server.settle();
    let ended = |at: &usize| server.socket(clients[*at]).calls.shutdown_write == 1;
    (0..clients.len()).filter(ended).collect()
}

#[test]
fn the_longest_queues_go_first_as_many_as_are_ordered() {
    for (connections, gone) in [(0, &[][..]), (1, &[2]), (2, &[0, 2]), (3, &[0, 2, 3]), (9, &[0, 1, 2, 3])] {
        let mut server = Server::new(1, settings());
        let clients = stalled(&mut server, &[30_000, 1_000, 50_000, 10_000]);
        let healthy = server.connect(0, "/echo");
        server.shed(order(connections, usize::MAX));
        assert_eq!(server.closes(CloseKind::Shed), gone.len() as u64, "{connections}");
        assert_eq!(told(&mut server, &clients), gone, "{connections}");
        server.feed(healthy, &text("never slow"));
        server.settle();
        assert_eq!(server.take_texts(healthy), ["never slow"]);
        server.finish();
    }
}

#[test]
fn no_more_go_than_the_bytes_ask_for() {
    // What the kernel holds for each counts, too: about 128 KiB.
    let one = 50_000 + (128 << 10);
    for (bytes, gone) in [(0, 0), (1, 1), (one, 1), (one + 2_000, 2), (2 * one, 3), (usize::MAX, 4)] {
        let mut server = Server::new(1, settings());
        stalled(&mut server, &[30_000, 1_000, 50_000, 10_000]);
        server.shed(order(usize::MAX, bytes));
        assert_eq!(server.closes(CloseKind::Shed), gone, "{bytes}");
        server.finish();
    }
}

#[test]
fn who_is_furthest_behind_in_its_rooms_goes_first_and_is_told_where_it_was() {
    let mut server = Server::new(1, settings());
    let members: Vec<Client> = (0..4).map(|_| server.connect(0, "/rooms/a")).collect();
    for (number, member) in members[1..].iter().enumerate() {
        server.socket(*member).room = 0;
        for _ in 0..=number {
            server.feed(members[0], &text("to all"));
            server.settle();
        }
    }
    // The first of them has stalled before all six, the others before five and three.
    server.shed(order(1, usize::MAX));
    server.shed(order(1, usize::MAX));
    assert_eq!(told(&mut server, &members[1..]), [0, 1]);
    let (code, reason) = server.take_close(members[1]);
    assert_eq!(code, 1013);
    assert!(
        reason.starts_with("slow consumer: over 95 % of memory in use (--shed-at-percent) at "),
        "{reason}"
    );
    assert!(reason.ends_with(":0 in room a"), "{reason}");
    assert!(server.take_close(members[2]).1.ends_with(":1 in room a"));
    assert_eq!(server.take_texts(members[3]).len(), 6, "the last is served");
    server.finish();
}

#[test]
fn what_waits_for_it_is_dropped_and_it_is_cut_if_it_takes_not_even_that() {
    let mut server = Server::new(1, settings());
    let clients = stalled(&mut server, &[1_000]);
    let held = |server: &Server| server.shards[0].held().map(|held| held.replies).sum::<usize>();
    assert!(held(&server) >= 1_000);
    server.shed(order(1, 1));
    assert!(held(&server) < 300, "the Close is left");
    server.advance(Duration::from_secs(2) + TICK);
    assert!(server.is_closed(clients[0]));
    assert_eq!(server.closes(CloseKind::Shed), 1);
    server.finish();
}

#[test]
fn streams_of_events_go_too_and_who_has_no_handshake_does_not() {
    let mut server = Server::new(1, settings());
    let stream = server.adopt(0);
    server.feed(stream, b"GET /rooms/a/events HTTP/1.1\r\nHost: test\r\n\r\n");
    let silent = server.adopt(0);
    server.settle();
    assert_eq!(split_response(&server.take_output(stream)).0, 200);
    server.socket(stream).room = 0;
    let publisher = server.connect(0, "/rooms/a");
    server.feed(publisher, &text("to all"));
    server.settle();
    server.shed(order(usize::MAX, usize::MAX));
    assert_eq!(server.closes(CloseKind::Shed), 1);
    server.socket(stream).room = usize::MAX;
    server.settle();
    let output = String::from_utf8(server.take_output(stream)).unwrap();
    assert!(output.contains("event: close") && output.contains("1013"), "{output}");
    assert!(!server.is_closed(silent) && server.socket(silent).calls.shutdown_write == 0);
    server.finish();
}
