//! What one address may have: connections at a time, and new ones a second.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::Duration;

use fanfare::config::Config;
use fanfare::endpoint::CloseKind;
use fanfare::flood::QUIET;
use fanfare::reactor::PeerAddress;
use fanfare::server::{ADDRESSES_SPARE, AcceptorSettings, REFUSALS_MAX};
use fanfare::shard::{Counter, Settings};

use super::{finish, is_closed, refusal};
use crate::common::capture::{self, lines_of};
use crate::common::sim::{Call, PlannedFailure, SocketId};
use crate::common::{Gate, Server, acceptor_settings, settings};

/// Many connections, of which each address may have so many and make so many a second; nobody is exempt.
fn limits(connections: usize, handshakes: u32) -> AcceptorSettings {
    let config = Config {
        connections_per_address: connections,
        handshakes_per_address: handshakes,
        handshakes_per_second: FAST,
        exempt_network: vec!["none".parse().unwrap()],
        ..Config::default()
    };
    config.acceptor_settings(100_000)
}

/// A rate that no test of the number meets.
const FAST: u32 = 1 << 20;

fn peer(address: &str) -> PeerAddress {
    PeerAddress::from(SocketAddr::new(address.parse().expect("an address"), 4711))
}

/// So many peers of an address come and are decided on.
fn come(gate: &mut Gate, server: &mut Server, address: &str, count: usize) -> Vec<SocketId> {
    let sockets: Vec<SocketId> = (0..count).map(|_| gate.dial_from(0, peer(address))).collect();
    while gate.waiting(0) > 0 {
        gate.turn();
    }
    server.settle();
    sockets
}

/// Peers go, and the server has seen it.
fn go(server: &mut Server, sockets: &[SocketId]) {
    for socket in sockets {
        server.net.borrow_mut().sockets[socket.0].eof = true;
    }
    server.settle();
    assert!(sockets.iter().all(|socket| is_closed(server, *socket)));
}

fn refused(server: &Server, sockets: &[SocketId]) -> usize {
    sockets.iter().filter(|socket| !server.net.borrow().sockets[socket.0].output.is_empty()).count()
}

/// So many peers of an address come: how many of them are refused.
fn turned_away(gate: &mut Gate, server: &mut Server, address: &str, count: usize) -> usize {
    let sockets = come(gate, server, address, count);
    refused(server, &sockets)
}

#[test]
fn an_address_has_so_many_connections_and_no_more() {
    for (count, over) in [(2, 0), (3, 0), (4, 1)] {
        let mut server = Server::new(2, settings());
        let mut gate = Gate::new(&server, 1, limits(3, FAST));
        let sockets = come(&mut gate, &mut server, "192.0.2.7", count);
        assert_eq!(refused(&server, &sockets), over, "{count}");
        assert_eq!(server.closes(CloseKind::AddressFull), over as u64);
        assert_eq!(server.connections.load(Ordering::Relaxed), count - over);
        for socket in &sockets[count - over..] {
            let (status, body) = refusal(&server, *socket);
            assert_eq!(status, 429);
            assert!(body.contains("3 connections") && body.contains("--connections-per-address"), "{body}");
            let output = server.net.borrow().sockets[socket.0].output.clone();
            assert!(String::from_utf8(output).unwrap().contains("\r\nRetry-After: 5\r\n"));
        }
        // Others have their own number, and a place that is free again is given once.
        assert_eq!(turned_away(&mut gate, &mut server, "192.0.2.8", 3), 0);
        go(&mut server, &sockets[..1]);
        let free = 3 - (count - over) + 1;
        let more = come(&mut gate, &mut server, "192.0.2.7", 5);
        assert_eq!(refused(&server, &more), 5 - free, "{count}");
        finish(gate, server);
    }
}

#[test]
fn an_address_of_ipv6_is_its_64_and_a_mapped_one_is_ipv4() {
    let mut server = Server::new(1, settings());
    let mut gate = Gate::new(&server, 1, limits(2, FAST));
    let mut came = Vec::new();
    for (address, over) in [
        ("2001:db8:0:1::1", 0),
        ("2001:db8:0:1:ffff::2", 0),
        ("2001:db8:0:1::3", 1),
        ("2001:db8:0:2::1", 0),
        ("192.0.2.7", 0),
        ("::ffff:192.0.2.7", 0),
        ("192.0.2.7", 1),
    ] {
        let sockets = come(&mut gate, &mut server, address, 1);
        assert_eq!(refused(&server, &sockets), over, "{address}");
        came.push(sockets[0]);
    }
    // What they have left is theirs again.
    go(&mut server, &came);
    for address in ["2001:db8:0:1::7", "::ffff:192.0.2.7"] {
        assert_eq!(turned_away(&mut gate, &mut server, address, 3), 1, "{address}");
    }
    finish(gate, server);
}

#[test]
fn an_address_makes_so_many_connections_a_second_and_as_many_at_once() {
    for (count, over) in [(99, 0), (100, 0), (101, 1)] {
        let mut server = Server::new(1, settings());
        let mut gate = Gate::new(&server, 1, limits(1000, 100));
        let sockets = come(&mut gate, &mut server, "192.0.2.7", count);
        assert_eq!(refused(&server, &sockets), over, "{count}");
        assert_eq!(server.closes(CloseKind::HandshakeRate), over as u64);
        if over > 0 {
            let (status, body) = refusal(&server, sockets[100]);
            assert_eq!(status, 429);
            assert!(
                body.contains("100 times a second") && body.contains("--handshakes-per-address"),
                "{body}"
            );
            let output = server.net.borrow().sockets[sockets[100].0].output.clone();
            assert!(String::from_utf8(output).unwrap().contains("\r\nRetry-After: 1\r\n"));
        }
        assert_eq!(turned_away(&mut gate, &mut server, "192.0.2.8", 100), 0, "others may");
        // A tenth of a second gives ten more; it does not matter that the others are there still or have gone.
        go(&mut server, &sockets[..50]);
        server.advance(Duration::from_millis(100));
        let free = 10 + 100 - (count - over);
        assert_eq!(turned_away(&mut gate, &mut server, "192.0.2.7", 20), 20 - free.min(20));
        finish(gate, server);
    }
}

#[test]
fn the_defaults_are_what_the_flags_say_and_leave_this_machine_alone() {
    let patient = Settings { handshake_timeout: Duration::from_secs(60), ..settings() };
    let mut server = Server::new(1, patient);
    let settings = AcceptorSettings { handshakes_per_second: FAST, ..acceptor_settings(100_000) };
    let mut gate = Gate::new(&server, 1, settings);
    for address in ["127.0.0.1", "127.3.2.1", "::1", "::ffff:127.0.0.1"] {
        assert_eq!(turned_away(&mut gate, &mut server, address, 1500), 0, "{address}");
    }
    let unix: Vec<SocketId> = (0..1500).map(|_| gate.dial(0)).collect();
    while gate.waiting(0) > 0 {
        gate.turn();
    }
    server.settle();
    assert_eq!(refused(&server, &unix), 0);
    assert_eq!(gate.acceptor.addresses(), 0, "nothing of them is kept");
    for batch in 0..10 {
        assert_eq!(turned_away(&mut gate, &mut server, "192.0.2.7", 100), 0, "{batch}");
        server.advance(Duration::from_secs(1));
    }
    assert_eq!(turned_away(&mut gate, &mut server, "192.0.2.7", 1), 1);
    assert_eq!(server.closes(CloseKind::AddressFull), 1);
    finish(gate, server);
}

#[test]
fn an_exempt_network_is_exempt_to_its_border() {
    let config = Config {
        connections_per_address: 1,
        exempt_network: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
        ..Config::default()
    };
    let mut server = Server::new(1, settings());
    let mut gate = Gate::new(&server, 1, config.acceptor_settings(1000));
    for (address, over) in [
        ("10.255.255.255", 0),
        ("11.0.0.0", 1),
        ("2001:db8:ffff::1", 0),
        ("2001:db9::1", 1),
        ("127.0.0.1", 1),
    ] {
        assert_eq!(turned_away(&mut gate, &mut server, address, 2), over, "{address}");
    }
    finish(gate, server);
}

#[test]
fn in_a_flood_of_one_address_some_are_refused_in_order_and_the_others_at_once() {
    let mut server = Server::new(2, settings());
    let mut gate = Gate::new(&server, 1, limits(3, FAST));
    let sockets: Vec<SocketId> = (0..200).map(|_| gate.dial_from(0, peer("192.0.2.7"))).collect();
    gate.turn();
    let at_once = 200 - 3 - REFUSALS_MAX;
    assert_eq!(gate.acceptor.stats().refused_at_once(CloseKind::AddressFull), at_once as u64);
    let gone = sockets.iter().filter(|socket| is_closed(&server, **socket)).count();
    assert_eq!(gone, at_once, "before any shard had a turn");
    assert_eq!(server.connections.load(Ordering::Relaxed), 3, "who is refused takes nobody's place");
    server.settle();
    assert_eq!(server.closes(CloseKind::AddressFull), REFUSALS_MAX as u64);
    assert_eq!(server.counter(Counter::Accepted), (3 + REFUSALS_MAX) as u64);
    for socket in &sockets[3..] {
        assert_eq!(refusal(&server, *socket).0, 429);
    }
    // The honest come in between, and once those refused have read why, the next ones are refused in order.
    assert_eq!(turned_away(&mut gate, &mut server, "192.0.2.8", 3), 0);
    server.advance(Duration::from_secs(3));
    come(&mut gate, &mut server, "192.0.2.7", 5);
    assert_eq!(server.closes(CloseKind::AddressFull), REFUSALS_MAX as u64 + 5);
    finish(gate, server);
}

#[test]
fn a_full_server_says_so_to_everybody_and_charges_nobody_for_it() {
    let mut server = Server::new(1, settings());
    let settings = AcceptorSettings { max_connections: 2, ..limits(2, 10) };
    let mut gate = Gate::new(&server, 1, settings);
    let first = come(&mut gate, &mut server, "192.0.2.7", 2);
    let other = come(&mut gate, &mut server, "192.0.2.8", 30);
    assert_eq!(refused(&server, &other), 30);
    assert_eq!(server.closes(CloseKind::ServerFull), 30);
    go(&mut server, &first);
    server.advance(Duration::from_secs(3));
    assert_eq!(turned_away(&mut gate, &mut server, "192.0.2.8", 2), 0);
    finish(gate, server);
}

#[test]
fn a_connection_that_finds_no_memory_gives_its_place_back() {
    let mut server = Server::new(1, settings());
    let mut gate = Gate::new(&server, 1, limits(1, FAST));
    server.net.borrow_mut().failure =
        Some(PlannedFailure::of_the_next(Call::Register, ErrorKind::OutOfMemory));
    let lost = come(&mut gate, &mut server, "192.0.2.7", 1);
    assert!(is_closed(&server, lost[0]));
    assert_eq!(server.closes(CloseKind::NoResources), 1);
    assert_eq!(turned_away(&mut gate, &mut server, "192.0.2.7", 1), 0);
    finish(gate, server);
}

#[test]
fn a_flood_of_addresses_does_not_make_the_table_grow() {
    let mut server = Server::new(1, settings());
    let settings = AcceptorSettings { max_connections: 64, ..limits(10, 100) };
    let mut gate = Gate::new(&server, 1, settings);
    let staying = come(&mut gate, &mut server, "2001:db8::1", 10);
    let mut most = 0;
    for number in 0..20_000u32 {
        let address = SocketAddr::from((Ipv4Addr::from_bits(0x0A00_0000 + number), 1));
        let socket = gate.dial_from(0, PeerAddress::from(address));
        gate.turn();
        server.net.borrow_mut().sockets[socket.0].eof = true;
        server.turn(0);
        server.turn(0);
        most = most.max(gate.acceptor.addresses());
        // No time passes, so that no bucket fills again.
    }
    assert!(most > 10_000, "it remembers as many as it may: {most}");
    assert!(most <= 64 + ADDRESSES_SPARE, "{most}");
    assert_eq!(server.counter(Counter::Accepted), 20_010);
    // The one that stays is counted on.
    server.advance(Duration::from_secs(1));
    assert_eq!(turned_away(&mut gate, &mut server, "2001:db8::2", 1), 1);
    go(&mut server, &staying);
    finish(gate, server);
}

#[test]
fn a_flood_is_two_lines_of_the_log_for_each_reason() {
    capture::install();
    let mut server = Server::new(1, settings());
    let mut gate = Gate::new(&server, 1, limits(3, 10));
    let lines = lines_of(|| {
        for _ in 0..5 {
            come(&mut gate, &mut server, "192.0.2.7", 100);
            come(&mut gate, &mut server, "2001:db8::1", 100);
            server.advance(Duration::from_secs(1));
        }
        let over = server.now() + (QUIET - Duration::from_secs(1));
        assert_eq!(gate.deadline(), Some(over), "it wakes to say so");
        server.advance(QUIET);
        gate.turn();
        gate.turn();
    });
    assert_eq!(gate.deadline(), None);
    let loud = lines.iter().filter(|line| line["level"] != "DEBUG");
    let said: Vec<String> = loud.map(|line| format!("{} {}", line["level"], line["message"])).collect();
    assert_eq!(
        said,
        [
            "WARN connections of 192.0.2.7 are refused: one address may have 3 connections (--connections-per-address)",
            "WARN connections of 192.0.2.7 are refused: one address may connect 10 times a second (--handshakes-per-address)",
            "INFO refused 94 connections in 4 s",
            "INFO refused 900 connections in 4 s",
        ]
    );
    let causes: Vec<&str> = lines.iter().filter_map(|line| line.get("cause")).map(|cause| &**cause).collect();
    assert_eq!(causes[causes.len() - 2..], ["address_full", "handshake_rate"]);
    finish(gate, server);
}
