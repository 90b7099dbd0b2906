//! Connections that are torn at every byte: one end each, nothing left, and nobody else notices.

use std::io::ErrorKind;

use fanfare::Config;
use fanfare::endpoint::CloseKind;
use fanfare::protocol::Opcode;
use fanfare::shard::Counter;

use crate::common::{client_frame, ping, request, text};
use crate::peers::{assert_served, everything};
use crate::support::{Raw, TestServer, config, frame, upgrade_request};

/// A handshake, and frames of every kind up to one that is cut.
fn conversation() -> Vec<u8> {
    [
        request("/echo"),
        text("whole"),
        ping(b"ping"),
        client_frame(Opcode::Text, false, b"frag"),
        client_frame(Opcode::Continuation, true, b"ment"),
        client_frame(Opcode::Binary, true, &[7; 300]),
    ]
    .concat()
}

#[test]
fn a_reset_behind_every_byte_that_is_read_ends_that_connection_alone() {
    let mut server = everything(1, &Config::default());
    let neighbour = server.connect(0, "/echo");
    let conversation = conversation();
    for end in 0..=conversation.len() {
        for kind in [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe, ErrorKind::TimedOut] {
            let peer = server.adopt(0);
            server.feed(peer, &conversation[..end]);
            server.settle();
            server.socket(peer).error = Some(kind);
            server.settle();
            assert!(server.is_closed(peer), "{kind} behind {end} bytes");
        }
    }
    let ends = conversation.len() as u64 + 1;
    assert_eq!(server.closes(CloseKind::TransportFailed), 2 * ends);
    assert_eq!(server.closes(CloseKind::WriteTimeout), ends, "the kernel gave up on what it did not take");
    assert_eq!(server.counter(Counter::Connections), 1);
    assert_served(&mut server, neighbour);
    server.finish();
}

#[test]
fn a_reset_behind_every_byte_that_is_sent_ends_that_connection_alone() {
    let mut server = everything(1, &Config::default());
    let neighbour = server.connect(0, "/echo");
    let whole = {
        let peer = server.adopt(0);
        server.feed(peer, &conversation());
        server.settle();
        server.take_output(peer).len()
    };
    for taken in 0..whole {
        let peer = server.adopt(0);
        server.socket(peer).room = taken;
        server.feed(peer, &conversation());
        server.settle();
        assert_eq!(server.socket(peer).output.len(), taken);
        server.socket(peer).error = Some(ErrorKind::ConnectionReset);
        server.settle();
        assert!(server.is_closed(peer), "behind {taken} bytes");
    }
    assert_eq!(server.closes(CloseKind::TransportFailed), whole as u64);
    assert_served(&mut server, neighbour);
    server.finish();
}

#[test]
fn a_reset_of_a_real_socket_behind_every_byte_leaves_nothing_behind() {
    let server = TestServer::start(config());
    let mut neighbour = Raw::open(server.address(), "/echo");
    let conversation = [upgrade_request("/echo").into_bytes(), frame(0x81, b"hello")].concat();
    for end in 0..=conversation.len() {
        let mut peer = Raw::connect(server.address());
        peer.send(&conversation[..end]);
        peer.reset();
        neighbour.round_trip(b"alive");
    }
    // The neighbour and the probe.
    server.until_counter(Counter::Connections, 2);
    neighbour.round_trip(b"alive");
}
