//! Other settings for the acceptor, while there are connections.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fanfare::config::Config;
use fanfare::endpoint::CloseKind;
use fanfare::reactor::PeerAddress;

use super::{finish, is_closed};
use crate::common::sim::SocketId;
use crate::common::{Gate, Server, acceptor_settings, settings};

/// So many connect from an address: who they are, and how many of them are refused.
fn come(gate: &mut Gate, server: &mut Server, address: &str, count: usize) -> (Vec<SocketId>, usize) {
    let peer = PeerAddress::from(SocketAddr::new(address.parse().expect("an address"), 4711));
    let sockets: Vec<SocketId> = (0..count).map(|_| gate.dial_from(0, peer)).collect();
    while gate.waiting(0) > 0 {
        gate.turn();
    }
    server.settle();
    let refused =
        sockets.iter().filter(|socket| !server.net.borrow().sockets[socket.0].output.is_empty()).count();
    (sockets, refused)
}

#[test]
fn the_number_of_connections_is_that_of_the_reload_and_nobody_has_to_go() {
    let mut server = Server::new(2, settings());
    let mut gate = Gate::new(&server, 1, acceptor_settings(5));
    let (sockets, refused) = come(&mut gate, &mut server, "192.0.2.7", 6);
    assert_eq!(refused, 1);
    gate.reload(acceptor_settings(3));
    assert_eq!(come(&mut gate, &mut server, "192.0.2.7", 1).1, 1);
    assert!(sockets[..5].iter().all(|socket| !is_closed(&server, *socket)));
    assert_eq!(server.connections.load(Ordering::Relaxed), 5);
    for socket in &sockets[..2] {
        server.net.borrow_mut().sockets[socket.0].eof = true;
    }
    server.settle();
    assert_eq!(come(&mut gate, &mut server, "192.0.2.7", 1).1, 1, "three are left, as many as may be");
    gate.reload(acceptor_settings(4));
    assert_eq!(come(&mut gate, &mut server, "192.0.2.7", 2).1, 1);
    // Of several the last one holds.
    gate.reload(acceptor_settings(1));
    gate.reload(acceptor_settings(6));
    assert_eq!(come(&mut gate, &mut server, "192.0.2.7", 3).1, 1);
    finish(gate, server);
}

#[test]
fn what_an_address_may_have_is_that_of_the_reload_and_networks_become_exempt_and_not() {
    let limited = |connections_per_address, exempt: &str| {
        let exempt_network = vec![exempt.parse().unwrap()];
        Config { connections_per_address, exempt_network, ..Config::default() }.acceptor_settings(1000)
    };
    let mut server = Server::new(2, settings());
    let mut gate = Gate::new(&server, 1, limited(2, "none"));
    let mut came = Vec::new();
    for (exempt, limit, count, expected) in [
        ("none", 2, 3, 1),
        ("192.0.2.0/24", 2, 5, 0),
        ("none", 2, 1, 1),
        ("none", 4, 3, 1),
        ("192.0.2.7", 1, 2, 0),
        ("192.0.2.6", 4, 1, 1),
    ] {
        gate.reload(limited(limit, exempt));
        let (sockets, refused) = come(&mut gate, &mut server, "192.0.2.7", count);
        assert_eq!(refused, expected, "{exempt} {limit}");
        came.extend(sockets);
    }
    assert_eq!(server.closes(CloseKind::AddressFull), 4);
    // All go, and none of them is counted for ever.
    for socket in &came {
        server.net.borrow_mut().sockets[socket.0].eof = true;
    }
    server.advance(Duration::from_secs(5));
    gate.turn();
    assert_eq!((gate.acceptor.places(), gate.acceptor.addresses()), (0, 0));
    assert_eq!(come(&mut gate, &mut server, "192.0.2.7", 5).1, 1);
    finish(gate, server);
}

#[test]
fn listeners_are_told_of_other_buffers_and_deadlines_and_of_nothing_else() {
    let mut server = Server::new(1, settings());
    let mut gate = Gate::new(&server, 2, acceptor_settings(10));
    gate.reload(acceptor_settings(20));
    gate.turn();
    assert_eq!((gate.options(0), gate.options(1)), (None, None));
    let changed =
        Config { send_buffer: 64 << 10, write_timeout: Duration::from_secs(20), ..Config::default() };
    gate.reload(changed.acceptor_settings(20));
    gate.turn();
    for listener in [0, 1] {
        let options = gate.options(listener).expect("it was told");
        assert_eq!((options.send_buffer, options.receive_buffer), (64 << 10, 128 << 10));
        assert_eq!(options.user_timeout, Duration::from_secs(22));
    }
    server.settle();
    finish(gate, server);
}

#[test]
fn a_drain_is_as_long_as_the_reload_says() {
    let mut server = Server::new(1, settings());
    let mut gate = Gate::new(&server, 1, acceptor_settings(10));
    let (sockets, _) = come(&mut gate, &mut server, "192.0.2.7", 2);
    for socket in sockets {
        server.feed(crate::common::Client { socket, shard: 0 }, &crate::common::request("/echo"));
    }
    server.settle();
    let drain = Duration::from_secs(1);
    gate.reload(Config { drain, ..Config::default() }.acceptor_settings(10));
    gate.turn();
    gate.stop();
    gate.turn();
    server.settle();
    // One is told at the beginning, and the other when half of the time is over.
    assert_eq!(server.closes(CloseKind::Shutdown), 1);
    server.advance(drain / 2 - Duration::from_nanos(1));
    assert_eq!(server.closes(CloseKind::Shutdown), 1);
    server.advance(Duration::from_nanos(1));
    assert_eq!(server.closes(CloseKind::Shutdown), 2);
    // They answer nothing.
    while server.finished.is_empty() {
        server.jump();
    }
}
