//! Floods of fragments: one contiguous buffer, bounded in bytes, in frames and in time.

use std::time::Duration;

use fanfare::Config;
use fanfare::endpoint::CloseKind;
use fanfare::protocol::Opcode;

use crate::common::server::TICK;
use crate::common::{Client, Server, client_frame, ping};
use crate::counting::{Asked, asked};
use crate::peers::{everything, open_crowd};

/// What a message under reassembly may pin: a quarter more than has arrived, and what is there for any.
fn allowed(payload: usize) -> i64 {
    (payload + payload / 4 + (4 << 10)) as i64
}

/// A server, and one member of a room whose socket can take so many bytes at once.
fn member(config: &Config, to_server: usize) -> (Server, Client) {
    let mut server = everything(1, config);
    let member = open_crowd(&mut server, "/rooms/a", 1, to_server, 1 << 10)[0];
    (server, member)
}

/// Feeds fragments, and returns what the whole of it asked for.
fn feed(server: &mut Server, client: Client, bytes: &[u8]) -> Asked {
    asked(|| {
        server.feed(client, bytes);
        server.settle();
    })
}

#[test]
fn a_message_of_empty_or_tiny_fragments_ends_at_the_limit_of_fragments() {
    let limit = Config::default().max_fragments as usize;
    for payload in [&b""[..], b"x"] {
        let (mut server, member) = member(&Config::default(), 1 << 10);
        let mut pinned = 0;
        for number in 0..limit {
            let opcode = if number == 0 { Opcode::Text } else { Opcode::Continuation };
            pinned += feed(&mut server, member, &client_frame(opcode, false, payload)).growth;
            assert!(pinned <= allowed((number + 1) * payload.len()), "{pinned} after {number}");
        }
        assert_eq!(server.socket(member).output, b"", "{limit} are allowed");
        feed(&mut server, member, &client_frame(Opcode::Continuation, false, payload));
        let (code, reason) = server.take_close(member);
        assert_eq!((code, reason.contains("--max-fragments")), (1008, true), "{reason}");
        server.finish();
    }
}

#[test]
fn one_hundred_thousand_fragments_of_a_byte_cost_what_their_payload_does() {
    const FRAGMENTS: usize = 131_072;
    const PIECE: usize = 4_096;
    let config = Config { max_fragments: 1 << 20, ..Config::default() };
    let piece = client_frame(Opcode::Continuation, false, b"x").repeat(PIECE);
    let (mut server, member) = member(&config, piece.len());
    let mut pinned = feed(&mut server, member, &client_frame(Opcode::Binary, false, b"")).growth;
    for number in 1..=FRAGMENTS / PIECE {
        let asked = feed(&mut server, member, &piece);
        assert!(pinned + asked.peak_growth <= allowed(number * PIECE), "{asked:?} at {number}");
        pinned += asked.growth;
    }
    println!("{FRAGMENTS} fragments of a byte pin {pinned} bytes");
    let end = feed(&mut server, member, &client_frame(Opcode::Continuation, true, b""));
    assert!(server.counter(fanfare::shard::Counter::MessagesIn) == 1, "the message is whole: {end:?}");
    server.finish();
}

#[test]
fn fragments_of_16_mib_are_copied_into_one_buffer() {
    const FRAGMENT: usize = 16 << 20;
    let config = Config { max_message: 64 << 20, ..Config::default() };
    let (mut server, member) = member(&config, FRAGMENT + 14);
    let mut pinned = 0;
    for number in 1..=3 {
        let opcode = if number == 1 { Opcode::Binary } else { Opcode::Continuation };
        let bytes = client_frame(opcode, false, &vec![7; FRAGMENT]);
        let asked = feed(&mut server, member, &bytes);
        assert!(pinned + asked.peak_growth <= allowed(number * FRAGMENT), "{asked:?} at {number}");
        assert!(asked.growth > 0);
        pinned += asked.growth;
    }
    server.socket(member).eof = true;
    let freed = asked(|| server.settle());
    assert!(freed.growth <= -(3 * FRAGMENT as i64), "{freed:?}");
    server.finish();
}

#[test]
fn a_message_that_is_never_finished_ends_in_time_whatever_else_is_sent() {
    let config = Config::default();
    for trickles in [false, true] {
        let (mut server, member) = member(&config, 1 << 10);
        server.feed(member, &client_frame(Opcode::Text, false, b"once upon a time"));
        server.settle();
        for _ in 0..config.message_timeout.as_secs() - 1 {
            server.advance(Duration::from_secs(1));
            // Signs of life, and of the message itself.
            server.feed(member, &ping(b""));
            if trickles {
                server.feed(member, &client_frame(Opcode::Continuation, false, b"."));
            }
            server.settle();
        }
        assert_eq!(server.closes(CloseKind::MessageTimeout), 0);
        server.advance(Duration::from_secs(1) + TICK);
        assert_eq!(server.closes(CloseKind::MessageTimeout), 1);
        let (code, reason) = server.take_close(member);
        assert_eq!((code, reason.contains("--message-timeout")), (1008, true), "{reason}");
        server.finish();
    }
}
