//! Who is really there: what proxies say of whom they speak for, who is believed, and what that one may have.

use std::net::SocketAddr;
use std::time::Duration;

use fanfare::config::Config;
use fanfare::endpoint::CloseKind;
use fanfare::flood::QUIET;
use fanfare::reactor::PeerAddress;
use fanfare::shard::{AddressGate, Departed, Entrance};

mod forwarded;
mod header;
mod local;
mod reload;

use super::{finish, is_closed};
use crate::common::capture::{self, Line, lines_of};
use crate::common::sim::SocketId;
use crate::common::{Gate, Server, request};

/// The listener for everybody.
const OPEN: usize = 0;
/// One for proxies, which only this machine can reach.
const PROXIED: usize = 1;
/// One for proxies, which anybody can reach.
const PUBLIC: usize = 2;
const ENTRANCES: [Entrance; 3] =
    [Entrance::LOCAL, Entrance { local: true, proxied: true }, Entrance { local: false, proxied: true }];

/// A rate that no test of the number meets.
const FAST: u32 = 1 << 20;

fn peer(address: &str) -> PeerAddress {
    PeerAddress::from(SocketAddr::new(address.parse().expect("an address"), 4711))
}

/// An address may have three connections; proxies are in 10/8 and at unix sockets.
fn config() -> Config {
    Config {
        connections_per_address: 3,
        handshakes_per_address: FAST,
        exempt_network: vec!["none".parse().unwrap()],
        trusted_proxy: vec!["10.0.0.0/8".parse().unwrap(), "unix".parse().unwrap()],
        ..Config::default()
    }
}

struct World {
    server: Server,
    gate: Gate,
}

impl World {
    fn new(config: &Config) -> World {
        let server = Server::new(2, config.settings());
        let gate = Gate::with_entrances(&server, &ENTRANCES, config.acceptor_settings(100_000));
        World { server, gate }
    }

    /// Somebody connects and sends something.
    fn knock(&mut self, listener: usize, from: PeerAddress, bytes: &[u8]) -> SocketId {
        let socket = self.gate.dial_from(listener, from);
        self.server.net.borrow_mut().sockets[socket.0].feed(bytes);
        self.settle();
        socket
    }

    fn settle(&mut self) {
        while self.gate.waiting(OPEN) + self.gate.waiting(PROXIED) + self.gate.waiting(PUBLIC) > 0 {
            self.gate.turn();
        }
        self.server.settle();
    }

    /// More of somebody who is there.
    fn say(&mut self, socket: SocketId, bytes: &[u8]) {
        self.server.net.borrow_mut().sockets[socket.0].feed(bytes);
        self.server.settle();
    }

    /// The status of the first answer that has come since the last call, and all of the text; 0 if none has.
    fn answer(&mut self, socket: SocketId) -> (u16, String) {
        let output = std::mem::take(&mut self.server.net.borrow_mut().sockets[socket.0].output);
        let text = String::from_utf8_lossy(&output).into_owned();
        let status = text.strip_prefix("HTTP/1.1 ").map_or(0, |rest| rest[..3].parse().expect("a status"));
        (status, text)
    }

    fn status(&mut self, socket: SocketId) -> u16 {
        self.answer(socket).0
    }

    /// The status that a peer gets for opening a WebSocket with these header lines.
    fn open(&mut self, from: PeerAddress, headers: &str) -> u16 {
        let socket = self.knock(OPEN, from, &upgrade(headers));
        self.status(socket)
    }

    /// The same behind a PROXY header.
    fn open_behind(&mut self, header: &[u8]) -> (SocketId, u16) {
        let socket = self.knock(PROXIED, PeerAddress::Unix, &[header, &upgrade("")].concat());
        let status = self.status(socket);
        (socket, status)
    }

    fn go(&mut self, socket: SocketId) {
        self.server.net.borrow_mut().sockets[socket.0].eof = true;
        self.server.settle();
        assert!(is_closed(&self.server, socket));
    }

    fn closes(&self, kind: CloseKind) -> u64 {
        self.server.closes(kind)
    }

    /// Ends everything. Nobody counts for an address then.
    fn finish(self) {
        let (addresses, departures) = (self.server.addresses.clone(), self.server.departures.clone());
        let now = self.server.now();
        finish(self.gate, self.server);
        // What the acceptor would have heard if it had gone on.
        while let Some(Departed { peer, admitted }) = departures.take() {
            if admitted {
                addresses.leave(peer, now);
            }
        }
        assert_eq!(addresses.connections(), 0);
    }
}

/// An opening handshake with more header lines.
fn upgrade(headers: &str) -> Vec<u8> {
    with_headers(&request("/echo"), headers)
}

fn with_headers(request: &[u8], headers: &str) -> Vec<u8> {
    let head = request.strip_suffix(b"\r\n").expect("a head");
    [head, headers.as_bytes(), b"\r\n"].concat()
}

fn get(headers: &str) -> Vec<u8> {
    with_headers(b"GET /rooms/r HTTP/1.1\r\nHost: a\r\n\r\n", headers)
}

/// A header of version 1.
fn line(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 10.0.0.1 4711 443\r\n").into_bytes()
}

/// A header of version 2, with something that is passed over.
fn binary(client: [u8; 4]) -> Vec<u8> {
    let tlv = [0x04, 0, 3, 1, 2, 3];
    let addresses = [&client[..], &[10, 0, 0, 1], &[18, 103, 1, 187], &tlv].concat();
    let start = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0";
    [start, &[addresses.len() as u8][..], &addresses].concat()
}

fn forwarded_for(clients: &str) -> String {
    format!("X-Forwarded-For: {clients}\r\n")
}

#[test]
fn an_address_has_one_number_by_whichever_way_it_comes() {
    let mut world = World::new(&config());
    let by_way = |world: &mut World, way: usize| match way {
        0 => world.open(peer("192.0.2.7"), ""),
        1 => world.open_behind(&line("192.0.2.7")).1,
        2 => world.open(peer("10.0.0.1"), &forwarded_for("192.0.2.7")),
        _ => world.open(PeerAddress::Unix, &forwarded_for("[::ffff:192.0.2.7]:80")),
    };
    for way in [0, 1, 2] {
        assert_eq!(by_way(&mut world, way), 101, "{way}");
    }
    for way in 0..4 {
        assert_eq!(by_way(&mut world, way), 429, "{way}");
    }
    assert_eq!(world.closes(CloseKind::AddressFull), 4);
    world.finish();
}

#[test]
fn a_proxy_of_its_own_counts_for_nobody() {
    let mut world = World::new(&config());
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for header in [&local[..], b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN a b c\r\n"] {
        for _ in 0..10 {
            assert_eq!(world.open_behind(header).1, 101, "{}", header.escape_ascii());
        }
    }
    for _ in 0..10 {
        assert_eq!(world.open(peer("10.0.0.1"), ""), 101, "a trusted proxy that names nobody");
        assert_eq!(world.open(peer("10.0.0.1"), &forwarded_for("unknown")), 101);
    }
    assert_eq!(world.gate.acceptor.addresses(), 0);
    world.finish();
}

/// The lines of closes, and those that are not for debugging.
fn said(lines: &[Line]) -> (Vec<String>, Vec<String>) {
    let closes = lines.iter().filter(|line| line["message"].starts_with("closed"));
    let loud = lines.iter().filter(|line| line["level"] != "DEBUG");
    let peer = |line: &Line| format!("{} {}", line["peer"], line["cause"]);
    let shown = |line: &Line| {
        let peer = line.get("peer").map_or(String::new(), |peer| format!("{peer} "));
        format!("{} {peer}{}", line["level"], line["message"])
    };
    (closes.map(peer).collect(), loud.map(shown).collect())
}

#[test]
fn the_log_names_the_client_and_a_flood_of_them_is_two_lines() {
    capture::install();
    let mut world = World::new(&Config { connections_per_address: 1, ..config() });
    let lines = lines_of(|| {
        for bytes in [
            [line("192.0.2.7"), upgrade("")].concat(),
            [line("192.0.2.7"), upgrade("")].concat(),
            [line("10.0.0.9"), upgrade(&forwarded_for("2001:db8::7"))].concat(),
        ] {
            let socket = world.knock(PROXIED, PeerAddress::Unix, &bytes);
            world.go(socket);
            world.knock(PROXIED, PeerAddress::Unix, &[line("192.0.2.7"), upgrade("")].concat());
        }
        world.server.advance(QUIET + Duration::from_secs(1));
        world.server.advance(QUIET + Duration::from_secs(1));
    });
    let (closes, loud) = said(&lines);
    let wanted = ["192.0.2.7:4711 peer_gone", "192.0.2.7:4711 address_full", "2001:db8::7 peer_gone"];
    for close in wanted {
        assert!(closes.iter().any(|seen| seen == close), "{close} in {closes:?}");
    }
    let full = "one address may have 1 connections (--connections-per-address)";
    assert!(
        loud.contains(&format!("WARN 192.0.2.7:4711 clients behind a proxy are refused: {full}")),
        "{loud:?}"
    );
    let over = loud.iter().filter(|line| line.starts_with("INFO refused ")).count();
    assert_eq!(loud.len(), 2 * over, "{loud:?}");
    world.finish();
}
