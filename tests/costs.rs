//! What a message costs in calls of the operating system, exactly: an echo a receive and a send, however many
//! messages are in flight; a publication a receive, and a send for each member. Nothing else but one wait per
//! turn.
//!
//! `tests/idle_memory.rs` counts allocations, `cargo bench --bench cost` instructions and the system calls of
//! the real server.

mod common;

use common::endpoints::Obedient;
use common::sim::Calls;
use common::{Client, Server, binary, settings};
use fanfare::protocol::server_frame_bytes;

const ROUNDS: usize = 10;

/// What the connections have called since, and how often the shards have waited.
struct Spent {
    calls: Vec<Calls>,
    waits: usize,
}

fn calls(server: &Server, clients: &[Client]) -> Vec<Calls> {
    clients.iter().map(|client| server.socket(*client).calls).collect()
}

fn waits(server: &mut Server) -> usize {
    server.shards.iter_mut().map(|shard| shard.io_mut().waits).sum()
}

/// Rounds in which each sender sends and each shard has one turn, after which each listener has got everything.
fn play(
    server: &mut Server,
    senders: &[Client],
    listeners: &[Client],
    (bytes, in_flight): (usize, usize),
) -> Spent {
    let input = binary(&vec![7; bytes]).repeat(in_flight);
    let all = [senders, listeners].concat();
    let (before, waited) = (calls(server, &all), waits(server));
    for _ in 0..ROUNDS {
        senders.iter().for_each(|sender| server.feed(*sender, &input));
        (0..server.shards.len()).for_each(|shard| server.turn(shard));
        for listener in listeners {
            let got = server.take_output(*listener).len();
            assert_eq!(got, in_flight * server_frame_bytes(bytes), "everything comes in the turn");
        }
    }
    let calls = calls(server, &all).into_iter().zip(before).map(|(after, before)| Calls {
        receive: after.receive - before.receive,
        send: after.send - before.send,
        set_interest: after.set_interest - before.set_interest,
        shutdown_write: after.shutdown_write - before.shutdown_write,
        close: after.close - before.close,
    });
    Spent { calls: calls.collect(), waits: waits(server) - waited }
}

fn each_round(receive: usize, send: usize) -> Calls {
    Calls { receive: receive * ROUNDS, send: send * ROUNDS, ..Calls::default() }
}

#[test]
fn an_echo_is_one_receive_and_one_send_however_many_are_in_flight() {
    for connections in [1, 50] {
        for (bytes, in_flight) in [(16, 1), (16, 2), (16, 16), (16, 500), (1 << 10, 16), (64 << 10, 1)] {
            let mut server = Server::new(1, settings());
            let clients: Vec<Client> = (0..connections).map(|_| server.connect(0, "/echo")).collect();
            let spent = play(&mut server, &clients, &clients, (bytes, in_flight));
            let what = format!("{in_flight} echoes of {bytes} B on {connections} connections");
            assert!(spent.calls.iter().all(|calls| *calls == each_round(1, 1)), "{what}: {:?}", spent.calls);
            assert_eq!(spent.waits, ROUNDS, "{what}");
            server.finish();
        }
    }
}

#[test]
fn a_publication_is_one_receive_and_one_send_for_each_member_and_turn() {
    for shards in [1, 2] {
        for (bytes, in_flight) in [(64, 1), (64, 16), (1 << 10, 16), (16 << 10, 4)] {
            let mut server = Server::new(shards, settings());
            let publisher = server.connect(0, "/rooms/a");
            let members: Vec<Client> = (0..60).map(|at| server.connect(at % shards, "/rooms/a")).collect();
            let spent = play(&mut server, &[publisher], &members, (bytes, in_flight));
            let what = format!("{in_flight} publications of {bytes} B on {shards} shards");
            assert_eq!(spent.calls[0], each_round(1, 0), "{what}: the publisher");
            let members = &spent.calls[1..];
            assert!(members.iter().all(|calls| *calls == each_round(0, 1)), "{what}: {members:?}");
            assert_eq!(spent.waits, shards * ROUNDS, "{what}");
            server.finish();
        }
    }
}

#[test]
fn a_member_of_many_rooms_is_sent_all_of_a_turn_at_once() {
    let mut server = Server::with_endpoint(settings(), Obedient::default);
    let publishers: Vec<Client> = (0..5).map(|room| server.connect(0, &format!("/rooms/{room}"))).collect();
    let member = server.connect(0, "/test");
    (0..5).for_each(|room| server.feed(member, &common::text(&format!("join {room}"))));
    server.settle();
    let before = server.socket(member).calls;
    for publisher in &publishers {
        server.feed(*publisher, &binary(&[7; 16]));
    }
    server.turn(0);
    let after = server.socket(member).calls;
    assert_eq!(server.take_frames(member).len(), publishers.len());
    assert_eq!(after, Calls { send: before.send + 1, ..before });
    server.finish();
}
