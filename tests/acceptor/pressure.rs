//! Memory or descriptors are nearly used up: nobody else is let in, and slow consumers go.

use std::net::SocketAddr;
use std::time::Duration;

use fanfare::config::Config;
use fanfare::endpoint::CloseKind;
use fanfare::reactor::PeerAddress;
use fanfare::server::AcceptorSettings;
use fanfare::shard::Counter;

use super::{finish, is_closed, refusal};
use crate::common::capture::{self, lines_of};
use crate::common::sim::SocketId;
use crate::common::{Client, Gate, Server, SimGauge, acceptor_settings, request, settings, text};

const LOOK: Duration = Duration::from_secs(1);
const CLOSE_LOOK: Duration = Duration::from_millis(250);

fn watched(server: &Server) -> (Gate, SimGauge) {
    let gauge = SimGauge::default();
    (Gate::watched(server, 1, acceptor_settings(1000), Some(gauge.clone())), gauge)
}

fn come(gate: &mut Gate, server: &mut Server, count: usize) -> Vec<SocketId> {
    let sockets = (0..count).map(|_| gate.dial(0)).collect();
    while gate.waiting(0) > 0 {
        gate.turn();
    }
    server.settle();
    sockets
}

fn check_refusal(server: &Server, socket: SocketId, what: &str) {
    let (status, body) = refusal(server, socket);
    assert_eq!(status, 503);
    assert!(
        body.contains(&format!("over 95 % of its {what}")) && body.contains("--shed-at-percent"),
        "{body}"
    );
    let output = String::from_utf8(server.net.borrow().sockets[socket.0].output.clone()).unwrap();
    let value =
        output.lines().find_map(|line| line.strip_prefix("Retry-After: ")).expect("when to come again");
    assert!((5..=15).contains(&value.parse().unwrap()), "{value}");
}

#[test]
fn descriptors_are_used_to_95_percent_and_no_further() {
    // 38 of 40, of which 10 are no connections.
    for (count, over) in [(27, 0), (28, 0), (29, 1)] {
        let mut server = Server::new(2, settings());
        let (mut gate, gauge) = watched(&server);
        gauge.set_descriptors(10, 40);
        let sockets = come(&mut gate, &mut server, count);
        assert_eq!(server.closes(CloseKind::Overloaded), over as u64, "{count}");
        for socket in &sockets[count - over..] {
            check_refusal(&server, *socket, "descriptors");
        }
        // A place that is free again is given once.
        server.net.borrow_mut().sockets[sockets[0].0].eof = true;
        server.advance(Duration::from_secs(3));
        gauge.set_descriptors(10 + (count - over - 1) as u64, 40);
        let free = 28 - (count - over) + 1;
        come(&mut gate, &mut server, free + 1);
        assert_eq!(server.closes(CloseKind::Overloaded), over as u64 + 1, "{count}");
        let level = gate.acceptor.usage().descriptors().unwrap();
        assert_eq!((level.used, level.limit), (10 + (count - over - 1) as u64, 40));
        finish(gate, server);
    }
}

#[test]
fn memory_is_used_to_95_percent_and_then_nobody_is_let_in_until_some_is_free() {
    for (used, over) in [(949, 0), (950, 0), (951, 1)] {
        let mut server = Server::new(1, settings());
        let (mut gate, gauge) = watched(&server);
        gauge.set_memory(used, 1000);
        let socket = come(&mut gate, &mut server, 1)[0];
        assert_eq!(server.closes(CloseKind::Overloaded), over, "{used}");
        if over > 0 {
            check_refusal(&server, socket, "memory");
        }
        let wait = if over > 0 { CLOSE_LOOK } else { LOOK };
        assert_eq!(gate.deadline(), Some(server.now()), "the first look is at once");
        gate.turn();
        assert_eq!(gate.deadline(), Some(server.now() + wait), "{used}");
        gauge.set_memory(900, 1000);
        server.advance(wait);
        let again = come(&mut gate, &mut server, 1)[0];
        assert!(!is_closed(&server, again) && server.closes(CloseKind::Overloaded) == over);
        finish(gate, server);
    }
}

#[test]
fn memory_counts_once_what_nobody_holds_was_given_back() {
    let mut server = Server::new(1, settings());
    let (mut gate, gauge) = watched(&server);
    gauge.set_memory(960, 1000);
    gauge.set_gives_back(true);
    come(&mut gate, &mut server, 1);
    assert_eq!(server.closes(CloseKind::Overloaded), 0, "it may be free in truth");
    gate.turn();
    assert_eq!(gate.deadline(), Some(server.now() + CLOSE_LOOK));
    gauge.set_gives_back(false);
    server.advance(CLOSE_LOOK);
    come(&mut gate, &mut server, 1);
    assert_eq!(server.closes(CloseKind::Overloaded), 1, "it is not");
    // While the next try is made it stays so.
    gauge.set_gives_back(true);
    server.advance(CLOSE_LOOK);
    come(&mut gate, &mut server, 1);
    assert_eq!(server.closes(CloseKind::Overloaded), 2);
    gauge.set_memory(950, 1000);
    server.advance(CLOSE_LOOK);
    come(&mut gate, &mut server, 1);
    assert_eq!(server.closes(CloseKind::Overloaded), 2, "now there is some");
    finish(gate, server);
}

#[test]
fn another_percentage_is_another_limit() {
    let mut server = Server::new(1, settings());
    let gauge = SimGauge::default();
    gauge.set_memory(1000, 1000);
    gauge.set_descriptors(10, 12);
    let settings = AcceptorSettings { shed_at_percent: 100, ..acceptor_settings(1000) };
    let mut gate = Gate::watched(&server, 1, settings, Some(gauge));
    come(&mut gate, &mut server, 3);
    assert_eq!(server.closes(CloseKind::Overloaded), 1, "the third finds no descriptor");
    finish(gate, server);
}

/// Members of a room, on two shards, of whom these take nothing.
fn members(server: &mut Server, gate: &mut Gate, count: usize, stalled: &[usize]) -> Vec<Client> {
    let clients: Vec<Client> =
        (0..count).map(|number| Client { socket: gate.dial(0), shard: number % 2 }).collect();
    for client in &clients {
        server.feed(*client, &request("/rooms/a"));
    }
    gate.turn();
    server.settle();
    for at in stalled {
        server.socket(clients[*at]).room = 0;
    }
    server.feed(clients[0], &text("to all"));
    server.settle();
    clients
}

#[test]
fn without_memory_slow_consumers_go_until_there_is_some_again() {
    let mut server = Server::new(2, settings());
    let (mut gate, gauge) = watched(&server);
    gauge.set_memory(0, 1 << 30);
    members(&mut server, &mut gate, 20, &[1, 2, 3, 4, 5, 6]);
    // A little too much: on each shard one is enough.
    gauge.set_memory((1 << 30) / 100 * 95 + 1000, 1 << 30);
    server.advance(LOOK);
    for (look, shed) in [(1, 2), (2, 4)] {
        gate.turn();
        server.settle();
        assert_eq!(server.closes(CloseKind::Shed), shed, "look {look}");
        gate.turn();
        server.advance(CLOSE_LOOK);
    }
    gauge.set_memory(1 << 20, 1 << 30);
    gate.turn();
    server.settle();
    assert_eq!(server.closes(CloseKind::Shed), 4, "the others may stay");
    assert_eq!(server.counter(Counter::Opened), 20);
    finish(gate, server);
}

#[test]
fn without_descriptors_as_many_slow_consumers_go_as_others_would_come() {
    let mut server = Server::new(2, settings());
    let (mut gate, gauge) = watched(&server);
    gauge.set_descriptors(0, 20);
    members(&mut server, &mut gate, 19, &[1, 2, 3, 4, 5, 6]);
    server.advance(LOOK);
    gauge.set_descriptors(19, 20);
    come(&mut gate, &mut server, 4);
    assert_eq!(server.closes(CloseKind::Overloaded), 4);
    assert_eq!(server.closes(CloseKind::Shed), 0);
    server.advance(LOOK);
    gate.turn();
    server.settle();
    assert_eq!(server.closes(CloseKind::Shed), 4, "two on each shard");
    server.advance(Duration::from_secs(3));
    gauge.set_descriptors(15, 20);
    come(&mut gate, &mut server, 5);
    assert_eq!(server.closes(CloseKind::Overloaded), 5, "their four places are given");
    finish(gate, server);
}

#[test]
fn who_is_over_the_limit_of_its_address_makes_nobody_go() {
    let mut server = Server::new(2, settings());
    let gauge = SimGauge::default();
    gauge.set_descriptors(0, 20);
    let config = Config {
        connections_per_address: 1000,
        handshakes_per_address: 3,
        exempt_network: vec!["none".parse().unwrap()],
        ..Config::default()
    };
    let mut gate = Gate::watched(&server, 1, config.acceptor_settings(1000), Some(gauge.clone()));
    members(&mut server, &mut gate, 19, &[1, 2, 3, 4, 5, 6]);
    server.advance(LOOK);
    gauge.set_descriptors(19, 20);
    let peer = PeerAddress::from(SocketAddr::from(([192, 0, 2, 1], 4711)));
    for _ in 0..20 {
        gate.dial_from(0, peer);
        gate.turn();
        server.settle();
    }
    assert_eq!(server.closes(CloseKind::Overloaded), 3, "as many as may come from there at once");
    assert_eq!(server.closes(CloseKind::HandshakeRate), 17);
    server.advance(LOOK);
    gate.turn();
    server.settle();
    assert_eq!(server.closes(CloseKind::Shed), 4, "for the three, two on each shard");
    let places = gate.acceptor.most_of_an_address();
    assert_eq!(places, 0, "who was not let in has no share of its address");
    finish(gate, server);
}

#[test]
fn for_want_of_descriptors_64_slow_consumers_go_at_a_time_at_most() {
    for (come_count, shed) in [(62, 62), (64, 64), (66, 64)] {
        let mut server = Server::new(2, settings());
        let (mut gate, gauge) = watched(&server);
        gauge.set_descriptors(0, 200);
        let stalled: Vec<usize> = (1..141).collect();
        members(&mut server, &mut gate, 190, &stalled);
        server.advance(LOOK);
        gauge.set_descriptors(190, 200);
        come(&mut gate, &mut server, come_count);
        server.advance(LOOK);
        gate.turn();
        server.settle();
        assert_eq!(server.closes(CloseKind::Shed), shed, "{come_count}");
        finish(gate, server);
    }
}

#[test]
fn descriptors_that_cannot_be_seen_now_are_as_they_were_beside_those_of_connections() {
    let mut server = Server::new(2, settings());
    let (mut gate, gauge) = watched(&server);
    gauge.set_descriptors(10, 40);
    let sockets = come(&mut gate, &mut server, 28);
    gauge.set_descriptors(38, 40);
    server.advance(LOOK);
    gate.turn();
    gauge.hide_descriptors();
    // All go, and all come again.
    for socket in &sockets {
        server.net.borrow_mut().sockets[socket.0].eof = true;
    }
    server.advance(LOOK);
    gate.turn();
    come(&mut gate, &mut server, 28);
    assert_eq!(server.closes(CloseKind::Overloaded), 0);
    come(&mut gate, &mut server, 1);
    assert_eq!(server.closes(CloseKind::Overloaded), 1);
    finish(gate, server);
}

#[test]
fn memory_that_is_used_up_is_two_lines_of_the_log_and_who_goes_another_each() {
    capture::install();
    let mut server = Server::new(1, settings());
    let (mut gate, gauge) = watched(&server);
    gauge.set_memory(96, 100);
    let lines = lines_of(|| {
        for _ in 0..8 {
            gate.turn();
            server.advance(CLOSE_LOOK);
        }
        gauge.set_memory(50, 100);
        server.advance(fanfare::flood::QUIET);
        gate.turn();
    });
    let loud = lines.iter().filter(|line| line["level"] != "DEBUG");
    let said: Vec<String> = loud.map(|line| format!("{} {}", line["level"], line["message"])).collect();
    let what = "memory is nearly used up (--memory-limit, --shed-at-percent)";
    assert_eq!(
        said,
        [
            format!("WARN {what}: new connections are refused or wait until that is over"),
            format!("INFO {what}: over after 8 failures in 1 s"),
        ]
    );
    finish(gate, server);
}
