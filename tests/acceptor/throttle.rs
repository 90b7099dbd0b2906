//! How fast new connections are let in, all addresses together.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use fanfare::endpoint::CloseKind;
use fanfare::reactor::PeerAddress;
use fanfare::server::AcceptorSettings;
use fanfare::shard::{Counter, Settings};
use fanfare::time::Time;

use super::{finish, is_closed, refusal};
use crate::common::capture::{self, lines_of};
use crate::common::sim::SocketId;
use crate::common::{Gate, Server, acceptor_settings, settings};

fn rate(handshakes_per_second: u32) -> AcceptorSettings {
    AcceptorSettings { handshakes_per_second, ..acceptor_settings(100_000) }
}

/// So many come, each from an address of its own, and are decided on.
fn come(gate: &mut Gate, count: usize) -> Vec<SocketId> {
    let address = |number: usize| SocketAddr::from((Ipv4Addr::from_bits(0x0A00_0000 + number as u32), 1));
    let dial = |number| gate.dial_from(0, PeerAddress::from(address(number)));
    let sockets = (0..count).map(dial).collect();
    while gate.waiting(0) > 0 {
        gate.turn();
    }
    sockets
}

/// Those who are refused are so before any shard has seen them.
fn refused(server: &Server, sockets: &[SocketId]) -> Vec<SocketId> {
    sockets.iter().copied().filter(|socket| is_closed(server, *socket)).collect()
}

fn retry_after_s(server: &Server, socket: SocketId) -> u64 {
    let output = String::from_utf8(server.net.borrow().sockets[socket.0].output.clone()).unwrap();
    let value = output.lines().find_map(|line| line.strip_prefix("Retry-After: "));
    value.expect("it may come again").parse().expect("whole seconds")
}

#[test]
fn a_tenth_of_the_rate_is_let_in_at_once_and_then_one_after_the_other() {
    for (count, over) in [(9, 0), (10, 0), (11, 1)] {
        let mut server = Server::new(2, settings());
        let mut gate = Gate::new(&server, 1, rate(100));
        let sockets = come(&mut gate, count);
        let refused_now = refused(&server, &sockets);
        assert_eq!(refused_now.len(), over, "{count}");
        let at_once = gate.acceptor.stats().refused_at_once(CloseKind::ServerHandshakeRate);
        assert_eq!(at_once, over as u64, "no shard has to do anything for it");
        for socket in refused_now {
            let (status, body) = refusal(&server, socket);
            assert_eq!(status, 503);
            let parts = ["100 new connections a second", "--handshakes-per-second"];
            assert!(parts.iter().all(|part| body.contains(part)), "{body}");
            assert!((1..=2).contains(&retry_after_s(&server, socket)));
        }
        server.advance(Duration::from_millis(20));
        let free = 2 + 10 - (count - over);
        let more = come(&mut gate, 5);
        assert_eq!(refused(&server, &more).len(), 5 - free, "{count}");
        server.settle();
        assert_eq!(server.counter(Counter::Accepted), (count - over + free) as u64);
        finish(gate, server);
    }
}

#[test]
fn unix_sockets_and_exempt_networks_count_too() {
    let mut server = Server::new(1, settings());
    let mut gate = Gate::new(&server, 2, rate(10));
    let first = gate.dial_from(0, PeerAddress::from(SocketAddr::from(([127, 0, 0, 1], 1))));
    gate.turn();
    let second = gate.dial(1);
    gate.turn();
    assert_eq!(refused(&server, &[first, second]), [second]);
    server.settle();
    finish(gate, server);
}

#[test]
fn who_is_turned_away_is_not_charged_for_it_by_its_address() {
    let mut server = Server::new(1, settings());
    let mut limits = rate(10);
    limits.addresses.handshakes = 2;
    let mut gate = Gate::new(&server, 1, limits);
    let peer = PeerAddress::from(SocketAddr::from(([192, 0, 2, 7], 1)));
    let dial = |gate: &mut Gate| {
        let socket = gate.dial_from(0, peer);
        gate.turn();
        socket
    };
    let sockets: Vec<_> = (0..20).map(|_| dial(&mut gate)).collect();
    assert_eq!(refused(&server, &sockets).len(), 19, "the rate of all lets one in");
    server.advance(Duration::from_millis(100));
    let again = dial(&mut gate);
    assert_eq!(refused(&server, &[again]), [], "its second in this second");
    server.settle();
    assert_eq!(server.closes(CloseKind::HandshakeRate), 0);
    finish(gate, server);
}

#[test]
fn who_is_too_fast_for_its_address_takes_nobody_s_turn() {
    let mut server = Server::new(1, settings());
    let mut limits = rate(100);
    limits.addresses.handshakes = 1;
    let mut gate = Gate::new(&server, 1, limits);
    let flood = PeerAddress::from(SocketAddr::from(([192, 0, 2, 7], 1)));
    for _ in 0..50 {
        gate.dial_from(0, flood);
    }
    while gate.waiting(0) > 0 {
        gate.turn();
    }
    let others = come(&mut gate, 9);
    assert_eq!(refused(&server, &others), [], "one of the flood and nine others");
    server.settle();
    finish(gate, server);
}

/// Ten thousand come at once, and each comes back when it is told to.
#[test]
fn everybody_comes_in_at_the_rate_and_never_more_than_it() {
    const COUNT: usize = 10_000;
    const RATE: usize = 1000;
    let patient = Settings { handshake_timeout: Duration::from_secs(3600), ..settings() };
    let server = Server::new(1, patient);
    let mut gate = Gate::new(&server, 1, rate(RATE as u32));
    let mut coming: BTreeMap<Time, usize> = BTreeMap::from([(server.now(), COUNT)]);
    let mut admitted: Vec<Time> = Vec::new();
    let mut knocks = 0;
    while let Some((now, count)) = coming.pop_first() {
        server.net.borrow_mut().now = now;
        // Unix sockets: no address of theirs counts. The shard need not hear of them before the end.
        let sockets: Vec<SocketId> = (0..count).map(|_| gate.dial(0)).collect();
        while gate.waiting(0) > 0 {
            gate.turn();
        }
        knocks += count;
        let refused = refused(&server, &sockets);
        admitted.extend(vec![now; count - refused.len()]);
        for (number, socket) in refused.into_iter().enumerate() {
            // Clients have clocks of their own.
            let own = Duration::from_millis(number as u64 * 7919 % 1000);
            let back = now + Duration::from_secs(retry_after_s(&server, socket)) + own;
            *coming.entry(back).or_default() += 1;
        }
    }
    assert_eq!(admitted.len(), COUNT);
    for (at, start) in admitted.iter().enumerate() {
        let end = admitted.partition_point(|time| *time < *start + Duration::from_secs(1));
        assert!(end - at <= RATE + RATE / 10 + 1, "{} within a second", end - at);
    }
    let took = admitted[COUNT - 1].since(admitted[0]);
    assert!(took <= Duration::from_secs(2 * (COUNT / RATE) as u64), "all are in after {took:?}");
    assert!(knocks <= 4 * COUNT, "{knocks} knocks of {COUNT} are no storm");
    finish(gate, server);
}

#[test]
fn a_storm_is_two_lines_of_the_log() {
    capture::install();
    for is_stopped in [false, true] {
        let mut server = Server::new(1, settings());
        let mut gate = Gate::new(&server, 1, rate(10));
        let lines = lines_of(|| {
            come(&mut gate, 300);
            if is_stopped {
                // In the midst of it.
                gate.stop();
            } else {
                server.advance(fanfare::flood::QUIET);
            }
            gate.turn();
        });
        let loud = lines.iter().filter(|line| line["level"] != "DEBUG");
        let said: Vec<String> = loud.map(|line| format!("{} {}", line["level"], line["message"])).collect();
        assert_eq!(
            said,
            [
                "WARN the server admits 10 new connections a second (--handshakes-per-second): more are refused",
                "INFO refused 299 connections in 0 s",
            ],
            "{is_stopped}"
        );
        finish(gate, server);
    }
}
