//! Who comes is taken in, shard by shard, until the stop.

use std::sync::atomic::Ordering;
use std::time::Duration;

use fanfare::endpoint::CloseKind;
use fanfare::reactor::AcceptError;
use fanfare::server::ACCEPT_BURST;
use fanfare::shard::{Counter, Progress};

use super::{finish, is_closed};
use crate::common::{Client, Gate, Server, acceptor_settings, request, settings, split_response};

#[test]
fn connections_go_to_the_shards_in_turn_whichever_listener_they_come_over() {
    let mut server = Server::new(3, settings());
    let mut gate = Gate::new(&server, 2, acceptor_settings(100));
    for listener in [0, 1, 0, 0, 1, 0, 1] {
        gate.dial(listener);
    }
    gate.turn();
    server.settle();
    let accepted: Vec<u64> = server.stats.iter().map(|stats| stats.get(Counter::Accepted)).collect();
    assert_eq!(accepted, [3, 2, 2]);
    for _ in 0..2 {
        gate.dial(1);
        gate.turn();
    }
    server.settle();
    let accepted: Vec<u64> = server.stats.iter().map(|stats| stats.get(Counter::Accepted)).collect();
    assert_eq!(accepted, [3, 3, 3], "the next turn goes on where the last one ended");
    finish(gate, server);
}

#[test]
fn a_turn_takes_so_many_from_each_listener_and_the_next_turn_the_rest() {
    let mut server = Server::new(1, settings());
    let mut gate = Gate::new(&server, 2, acceptor_settings(10_000));
    for _ in 0..ACCEPT_BURST + 1 {
        gate.dial(0);
        gate.dial(1);
    }
    gate.turn();
    assert_eq!((gate.waiting(0), gate.waiting(1)), (1, 1));
    assert!(server.wakers[0].is_set(), "the shard hears of them after the turn");
    gate.turn();
    assert_eq!((gate.waiting(0), gate.waiting(1)), (0, 0));
    server.settle();
    assert_eq!(server.counter(Counter::Connections), 2 * (ACCEPT_BURST as u64 + 1));
    finish(gate, server);
}

#[test]
fn a_turn_without_anybody_wakes_nobody() {
    let mut server = Server::new(2, settings());
    let mut gate = Gate::new(&server, 1, acceptor_settings(10));
    server.settle();
    assert_eq!(gate.turn(), Progress::Running);
    assert_eq!(gate.deadline(), None);
    assert!(server.wakers.iter().all(|waker| !waker.is_set()));
    gate.dial(0);
    gate.turn();
    let woken: Vec<bool> = server.wakers.iter().map(|waker| waker.is_set()).collect();
    assert_eq!(woken, [true, false], "only who got one is woken");
    finish(gate, server);
}

#[test]
fn connections_that_died_while_they_waited_are_passed_over() {
    let mut server = Server::new(1, settings());
    let mut gate = Gate::new(&server, 1, acceptor_settings(10));
    gate.dial(0);
    gate.dial(0);
    gate.kernel().failing.extend([AcceptError::Aborted; 5]);
    gate.turn();
    assert_eq!(gate.waiting(0), 0, "they cost those behind them nothing");
    assert_eq!(gate.deadline(), None);
    // So many of them that they are a burst of their own end the turn, not the server.
    gate.dial(0);
    gate.kernel().failing.extend([AcceptError::Aborted; ACCEPT_BURST]);
    gate.turn();
    assert_eq!(gate.waiting(0), 1);
    gate.turn();
    assert_eq!(gate.waiting(0), 0);
    server.settle();
    assert_eq!(server.counter(Counter::Accepted), 3);
    finish(gate, server);
}

#[test]
fn the_handshake_of_one_that_waited_is_served() {
    let mut server = Server::new(1, settings());
    let mut gate = Gate::new(&server, 1, acceptor_settings(10));
    let client = Client { socket: gate.dial(0), shard: 0 };
    server.feed(client, &request("/echo"));
    gate.turn();
    server.settle();
    assert_eq!(split_response(&server.take_output(client)).0, 101);
    finish(gate, server);
}

#[test]
fn a_stop_drains_who_was_taken_in_and_leaves_who_waits_to_the_kernel() {
    let mut server = Server::new(2, settings());
    let mut gate = Gate::new(&server, 1, acceptor_settings(100));
    let inside: Vec<_> = (0..3).map(|_| gate.dial(0)).collect();
    gate.turn();
    let outside: Vec<_> = (0..3).map(|_| gate.dial(0)).collect();
    gate.stop();
    assert_eq!(gate.turn(), Progress::Finished);
    assert_eq!(gate.waiting(0), 3, "nobody is taken in to be sent away");
    drop(gate);
    assert!(outside.iter().all(|socket| is_closed(&server, *socket)));
    server.settle();
    // A peer that has sent nothing gets its 503, and is waited for only so long.
    server.advance(Duration::from_secs(60));
    assert!(inside.iter().all(|socket| is_closed(&server, *socket)));
    assert_eq!(server.connections.load(Ordering::Relaxed), 0);
    assert_eq!(server.finished.len(), 2);
}

#[test]
fn a_stop_gives_the_drain_to_tell_them_and_the_last_the_time_of_any_queue() {
    let mut server = Server::new(2, settings());
    let mut gate = Gate::new(&server, 1, acceptor_settings(100));
    let clients: Vec<Client> =
        (0..8).map(|number| Client { socket: gate.dial(0), shard: number % 2 }).collect();
    for client in &clients {
        server.feed(*client, &request("/echo"));
    }
    gate.turn();
    server.settle();
    // They would have to take a Close.
    for client in &clients {
        server.socket(*client).room = 0;
    }
    gate.stop();
    gate.turn();
    drop(gate);
    server.settle();
    for second in 0..10 {
        // Four of a shard in ten seconds: one at 0, 2.5, 5 and 7.5 s.
        let told = 2 * (1 + second * 10 / 25);
        assert_eq!(server.closes(CloseKind::Shutdown), told, "after {second} s");
        server.advance(Duration::from_secs(1));
    }
    assert_eq!(server.closes(CloseKind::Shutdown), 8);
    assert!(server.finished.is_empty(), "the last are waited for");
    server.advance(Duration::from_secs(10));
    assert!(clients.iter().all(|client| is_closed(&server, client.socket)));
    assert_eq!(server.finished.len(), 2);
}

#[test]
fn a_stop_is_heard_in_a_rest() {
    let mut server = Server::new(1, settings());
    let mut gate = Gate::new(&server, 1, acceptor_settings(100));
    gate.dial(0);
    gate.kernel().failing.push_back(AcceptError::OutOfMemory);
    gate.turn();
    gate.stop();
    assert_eq!(gate.turn(), Progress::Finished);
    drop(gate);
    server.settle();
    assert_eq!(server.finished.len(), 1);
}
