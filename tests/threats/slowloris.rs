//! Peers that are slow to ask: the deadline runs from the accept, over the whole request.

use std::time::Duration;

use fanfare::Config;
use fanfare::endpoint::CloseKind;
use fanfare::reactor::READY_PER_WAIT;

use crate::common::server::TICK;
use crate::common::{Client, Server, request, split_response};
use crate::peers::{SDK, advance, assert_served, crowd, everything};

const NANOSECOND: Duration = Duration::from_nanos(1);

/// Turns from the request of a newcomer to its answer.
fn turns_to_be_welcome(server: &mut Server) -> usize {
    let newcomer = server.adopt(0);
    server.feed(newcomer, &request("/echo"));
    for turns in 1..100 {
        server.turn(0);
        if !server.socket(newcomer).output.is_empty() {
            assert_eq!(split_response(&server.take_output(newcomer)).0, 101);
            server.socket(newcomer).eof = true;
            server.turn(0);
            return turns;
        }
    }
    panic!("a newcomer is not answered");
}

#[test]
fn ten_thousand_peers_that_never_finish_a_head_are_gone_in_time_and_hinder_no_newcomer() {
    const PEERS: usize = 10_000;
    let config = Config::default();
    let mut server = everything(1, &config);
    let neighbour = server.connect(0, "/echo");
    let alone = turns_to_be_welcome(&mut server);
    let head = request("/echo");
    let peers: Vec<Client> = crowd(&mut server, PEERS, 256, 256);
    for (number, peer) in peers.iter().enumerate() {
        match number % 3 {
            0 => {}
            1 => server.feed(*peer, &head[..1]),
            _ => server.feed(*peer, &head[..head.len() - 1]),
        }
    }
    server.settle();
    let step = config.handshake_timeout / 5;
    for byte in 1..5 {
        advance(&mut server, step);
        for peer in peers.iter().skip(1).step_by(3) {
            server.feed(*peer, &head[byte..=byte]);
        }
        // The third who have just sent a byte came before, and a turn reads so many of them.
        let turns = turns_to_be_welcome(&mut server);
        assert!(turns <= alone + PEERS.div_ceil(3).div_ceil(READY_PER_WAIT), "{turns} in a crowd of {PEERS}");
    }
    assert_eq!(server.closes(CloseKind::HandshakeTimeout), 0, "not before its time");
    let now = server.now() + step + TICK;
    server.net.borrow_mut().now = now;
    // In the very turns in which all of them are closed, too.
    let mut busy_turns = 0;
    while server.closes(CloseKind::HandshakeTimeout) < PEERS as u64 {
        assert_eq!(turns_to_be_welcome(&mut server), alone, "while they are closed");
        busy_turns += 1;
        assert!(busy_turns < 100);
    }
    server.settle();
    assert!(
        peers.iter().all(|peer| server.is_closed(*peer)),
        "a silent one needs no word, others had theirs"
    );
    for (number, peer) in peers.iter().enumerate() {
        let output = server.take_output(*peer);
        match number % 3 {
            0 => assert_eq!(output, b""),
            _ => assert_eq!(split_response(&output).0, 408),
        }
    }
    assert_served(&mut server, neighbour);
}

#[test]
fn each_later_stage_has_a_deadline_of_its_own() {
    let config = Config::default();
    let get = b"GET /rooms/a HTTP/1.1\r\nHost: test\r\n\r\n".to_vec();
    let post = b"POST /rooms/a HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\n".to_vec();
    for (stage, bytes, trickle, limit, kind) in [
        (
            "a second head",
            [&get[..], b"G"].concat(),
            b"E",
            config.handshake_timeout,
            CloseKind::HandshakeTimeout,
        ),
        ("a body", post, b"b", config.message_timeout, CloseKind::MessageTimeout),
        ("between requests", get, b"", config.http_idle_timeout, CloseKind::HttpIdle),
        ("an SDK's connect", request(SDK), b"", config.handshake_timeout, CloseKind::IntroductionTimeout),
    ] as [(&str, Vec<u8>, &[u8], Duration, CloseKind); 4]
    {
        let mut server = everything(1, &config);
        let peer = server.adopt(0);
        server.feed(peer, &bytes);
        server.settle();
        server.advance(limit / 2);
        server.feed(peer, trickle);
        server.settle();
        server.advance(limit / 2 - NANOSECOND);
        assert_eq!(server.closes(kind), 0, "{stage}");
        server.advance(TICK);
        assert_eq!(server.closes(kind), 1, "{stage}");
        server.finish();
    }
}
