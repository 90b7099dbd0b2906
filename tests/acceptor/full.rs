//! The server has all the connections it may have.

use std::sync::atomic::Ordering;
use std::time::Duration;

use fanfare::endpoint::CloseKind;
use fanfare::server::REFUSALS_MAX;
use fanfare::shard::Counter;

use super::{finish, is_closed, refusal};
use crate::common::{Gate, Server, acceptor_settings, settings};

const LIMIT: usize = 3;

#[test]
fn over_the_limit_some_are_refused_in_order_by_the_shards_and_the_others_at_once() {
    let mut server = Server::new(2, settings());
    let mut gate = Gate::new(&server, 1, acceptor_settings(LIMIT));
    let sockets: Vec<_> = (0..LIMIT + REFUSALS_MAX + 7).map(|_| gate.dial(0)).collect();
    gate.turn();
    let at_once = &sockets[LIMIT + REFUSALS_MAX..];
    assert!(at_once.iter().all(|socket| is_closed(&server, *socket)), "no shard has had a turn yet");
    assert_eq!(server.connections.load(Ordering::Relaxed), LIMIT, "who is refused is no connection");
    assert_eq!(gate.acceptor.stats().refused_at_once(CloseKind::ServerFull), 7);
    server.settle();
    for socket in &sockets[LIMIT..] {
        let (status, body) = refusal(&server, *socket);
        assert_eq!(status, 503);
        assert!(body.contains("all of its 3 connections") && body.contains("--max-connections"), "{body}");
    }
    assert_eq!(server.closes(CloseKind::ServerFull), REFUSALS_MAX as u64);
    assert_eq!(server.counter(Counter::Accepted), (LIMIT + REFUSALS_MAX) as u64);
    // Those refused in order may read why; then their places are free for the next refusals.
    server.advance(Duration::from_secs(3));
    assert!(sockets[LIMIT..].iter().all(|socket| is_closed(&server, *socket)));
    assert!(sockets[..LIMIT].iter().all(|socket| !is_closed(&server, *socket)));
    assert_eq!(server.connections.load(Ordering::Relaxed), LIMIT);
    finish(gate, server);
}

#[test]
fn the_limit_is_exact_and_a_place_that_is_free_again_is_given_once() {
    for taken in [LIMIT - 1, LIMIT, LIMIT + 1] {
        let mut server = Server::new(1, settings());
        let mut gate = Gate::new(&server, 1, acceptor_settings(LIMIT));
        let sockets: Vec<_> = (0..taken).map(|_| gate.dial(0)).collect();
        gate.turn();
        server.settle();
        assert_eq!(server.closes(CloseKind::ServerFull), taken.saturating_sub(LIMIT) as u64, "{taken}");
        server.net.borrow_mut().sockets[sockets[0].0].eof = true;
        server.advance(Duration::from_secs(3));
        let again: Vec<_> = (0..2).map(|_| gate.dial(0)).collect();
        gate.turn();
        server.settle();
        let refused = again.iter().filter(|socket| is_refused(&server, **socket)).count();
        assert_eq!(refused, 1 - (LIMIT - LIMIT.min(taken)), "{taken}");
        finish(gate, server);
    }
}

fn is_refused(server: &Server, socket: crate::common::sim::SocketId) -> bool {
    server.net.borrow().sockets[socket.0].calls.shutdown_write == 1
}
