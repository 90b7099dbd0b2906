//! What proxies say before each connection, in the PROXY protocol.

use std::time::Duration;

use fanfare::config::Config;
use fanfare::endpoint::CloseKind;
use fanfare::reactor::PeerAddress;
use fanfare::server::REFUSALS_MAX;

use super::{OPEN, PROXIED, PUBLIC, SocketId, World, binary, config, line, peer, upgrade};

#[test]
fn whom_a_proxy_header_names_has_so_many_connections_and_no_more() {
    for (count, over) in [(2, 0), (3, 0), (4, 1)] {
        let mut world = World::new(&config());
        let came: Vec<(SocketId, u16)> = (0..count)
            .map(|at| match at % 2 {
                0 => world.open_behind(&line("192.0.2.7")),
                _ => world.open_behind(&binary([192, 0, 2, 7])),
            })
            .collect();
        let refused = came.iter().filter(|(_, status)| *status == 429).count();
        assert_eq!((refused, came.iter().filter(|(_, status)| *status == 101).count()), (over, count - over));
        assert_eq!(world.closes(CloseKind::AddressFull), over as u64);
        assert_eq!(world.gate.acceptor.most_of_an_address(), count - over);
        // Others have their own number, though they come by the same proxy.
        assert_eq!(world.open_behind(&line("192.0.2.8")).1, 101);
        world.go(came[0].0);
        let free = 3 - (count - over) + 1;
        let again = (0..5).filter(|_| world.open_behind(&line("192.0.2.7")).1 == 101).count();
        assert_eq!(again, free);
        world.finish();
    }
}

#[test]
fn whom_a_proxy_header_names_comes_so_often_a_second() {
    for (count, over) in [(99, 0), (100, 0), (101, 1)] {
        let config = Config { connections_per_address: 1000, handshakes_per_address: 100, ..config() };
        let mut world = World::new(&config);
        let refused = (0..count).filter(|_| world.open_behind(&line("192.0.2.7")).1 == 429).count();
        assert_eq!((refused, world.closes(CloseKind::HandshakeRate)), (over, over as u64));
        world.server.advance(Duration::from_secs(1));
        assert_eq!(world.open_behind(&line("192.0.2.7")).1, 101);
        world.finish();
    }
}

#[test]
fn who_is_refused_is_told_why_before_a_request_is_read() {
    let mut world = World::new(&config());
    for _ in 0..3 {
        world.open_behind(&line("192.0.2.7"));
    }
    let late = world.knock(PROXIED, PeerAddress::Unix, &line("192.0.2.7"));
    let (status, text) = world.answer(late);
    assert_eq!(status, 429);
    assert!(text.contains("3 connections") && text.contains("--connections-per-address"), "{text}");
    assert!(text.contains("\r\nRetry-After: 5\r\n"), "{text}");
    world.finish();
}

#[test]
fn a_header_may_come_byte_by_byte_and_be_alone() {
    let mut world = World::new(&config());
    for header in [line("192.0.2.7"), binary([192, 0, 2, 7])] {
        let socket = world.knock(PROXIED, PeerAddress::Unix, b"");
        for byte in &header {
            world.say(socket, &[*byte]);
            assert_eq!(world.status(socket), 0);
        }
        world.say(socket, &upgrade(""));
        assert_eq!(world.status(socket), 101);
    }
    assert_eq!(world.gate.acceptor.most_of_an_address(), 2);
    world.finish();
}

#[test]
fn without_the_header_nothing_is_served_where_it_is_due() {
    let mut world = World::new(&config());
    for (bytes, why) in [
        (upgrade(""), "begins without one"),
        (b"PROXY TCP4 nonsense\r\n".to_vec(), "malformed"),
        (
            [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11"[..], &8177u16.to_be_bytes()].concat(),
            "8193 bytes; 8192 are allowed (--max-head)",
        ),
    ] {
        let socket = world.knock(PROXIED, PeerAddress::Unix, &bytes);
        let (status, text) = world.answer(socket);
        assert_eq!(status, 400);
        assert!(text.contains(why), "{text}");
    }
    let fits = [&b"\r\n\r\n\0\r\nQUIT\n\x20\x00"[..], &8176u16.to_be_bytes(), &vec![0; 8176]].concat();
    assert_eq!(world.open_behind(&fits).1, 101);
    assert_eq!(world.closes(CloseKind::ProxyHeader), 3);
    // And where it is not due it is no request.
    let socket = world.knock(OPEN, PeerAddress::Unix, &[line("192.0.2.7"), upgrade("")].concat());
    assert_eq!(world.status(socket), 400);
    assert_eq!(world.closes(CloseKind::Refused), 1);
    world.finish();
}

#[test]
fn the_header_has_the_time_of_a_handshake() {
    let mut world = World::new(&config());
    let silent = world.knock(PROXIED, PeerAddress::Unix, b"");
    let slow = world.knock(PROXIED, PeerAddress::Unix, b"PROXY ");
    let later = world.knock(PROXIED, PeerAddress::Unix, &line("192.0.2.7"));
    world.server.advance(Duration::from_millis(4900));
    assert_eq!(world.closes(CloseKind::HandshakeTimeout), 0);
    world.server.advance(Duration::from_millis(200));
    assert_eq!(world.closes(CloseKind::HandshakeTimeout), 3);
    assert_eq!([silent, slow, later].map(|socket| world.status(socket)), [0, 408, 0]);
    world.server.advance(Duration::from_secs(1));
    assert_eq!(world.gate.acceptor.most_of_an_address(), 0, "its place is free again");
    world.finish();
}

#[test]
fn an_address_that_others_can_reach_is_for_trusted_proxies_alone() {
    let mut world = World::new(&config());
    let header = [line("192.0.2.7"), upgrade("")].concat();
    let stranger = world.knock(PUBLIC, peer("192.0.2.9"), &header);
    let (status, text) = world.answer(stranger);
    assert_eq!(status, 403);
    assert!(text.contains("--trusted-proxy"), "{text}");
    assert_eq!(world.closes(CloseKind::UntrustedProxy), 1);
    let proxy = world.knock(PUBLIC, peer("10.255.0.1"), &header);
    assert_eq!(world.status(proxy), 101);
    // A flood of them is refused as every flood is.
    let flood: Vec<SocketId> = (0..100).map(|_| world.gate.dial_from(PUBLIC, peer("192.0.2.9"))).collect();
    world.settle();
    assert_eq!(flood.into_iter().filter(|socket| world.status(*socket) == 403).count(), 100);
    let at_once = world.gate.acceptor.stats().refused_at_once(CloseKind::UntrustedProxy);
    assert_eq!(at_once + world.closes(CloseKind::UntrustedProxy), 101);
    assert!(at_once >= 100 - REFUSALS_MAX as u64);
    world.finish();
}
