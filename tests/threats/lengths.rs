//! Lengths that lie: judged from the header alone, and never allocated for.

use fanfare::Config;
use fanfare::endpoint::CloseKind;
use fanfare::protocol::Opcode;
use fanfare::shard::CLOSES_KEPT;

use crate::common::server::TICK;
use crate::common::{Client, Server, client_frame, request};
use crate::counting::asked;
use crate::peers::{advance, assert_served, crowd, everything, open_crowd};
use crate::support::{header, long_length};

/// Bytes that a lie may cost at once, and a peer that has told one.
const LIE_BYTES_MAX: usize = 4 << 10;
/// Lengths at which counters of some width end, and the Close that each gets.
const LENGTHS: [(u64, u16); 8] = [
    (126, 1002),
    ((1 << 31) - 1, 1009),
    (1 << 31, 1009),
    ((1 << 32) - 1, 1009),
    (1 << 32, 1009),
    ((1 << 63) - 1, 1009),
    (1 << 63, 1002),
    (u64::MAX, 1002),
];

/// A header with a length of 64 bits.
fn long_header(first: u8, length: u64) -> Vec<u8> {
    [&[first][..], &long_length(length), &[1, 2, 3, 4]].concat()
}

/// Feeds the last piece, and checks that it is closed with this code in the turn that reads it, by one
/// receive and without a large allocation.
fn assert_closed_at_once(server: &mut Server, client: Client, last: &[u8], code: u16) {
    server.socket(client).output.clear();
    let receives = server.socket(client).calls.receive;
    server.feed(client, last);
    let asked = asked(|| server.turn(0));
    assert!(asked.largest <= LIE_BYTES_MAX, "{asked:?} for {}", last.escape_ascii());
    assert_eq!(server.socket(client).calls.receive, receives + 1, "nothing more is waited for");
    assert_eq!(server.take_close(client).0, code, "{}", last.escape_ascii());
    assert_eq!(server.socket(client).calls.shutdown_write, 1);
}

#[test]
fn a_length_that_lies_is_closed_from_its_header_and_allocates_nothing() {
    let mut server = everything(1, &Config::default());
    let lies = LENGTHS.len() * 6;
    // What a shard needs for its first Close, it keeps, and what it remembers of the latest ones.
    for head in [long_header(0x82, 1 << 40), long_header(0x82, 126)] {
        for _ in 0..CLOSES_KEPT {
            let warm_up = server.connect(0, "/rooms/a");
            server.feed(warm_up, &head);
            server.socket(warm_up).eof = true;
            server.settle();
        }
    }
    let mut peers = open_crowd(&mut server, "/rooms/a", lies, 1 << 10, 1 << 10).into_iter();
    let mut peer = || peers.next().expect("enough peers");
    for (length, code) in LENGTHS {
        for first in [0x81, 0x82, 0x01, 0x02] {
            assert_closed_at_once(&mut server, peer(), &long_header(first, length), code);
        }
        // What has been assembled and what is announced overflow together, or the limit at least.
        for continuation in [0x00, 0x80] {
            let peer = peer();
            server.feed(peer, &client_frame(Opcode::Binary, false, b"four"));
            server.turn(0);
            assert_closed_at_once(&mut server, peer, &long_header(continuation, length), code);
        }
    }
    assert!(peers.next().is_none());
    server.finish();
}

#[test]
fn a_length_in_a_longer_form_than_it_needs_is_closed() {
    let mut server = everything(1, &Config::default());
    for (bytes, code) in [
        ([&[0x82, 0x80 | 126, 0, 125][..], &[0; 4]].concat(), 1002),
        (long_header(0x82, 0), 1002),
        (long_header(0x82, 65_535), 1002),
        (long_header(0x89, 5), 1002),
    ] {
        let peer = server.connect(0, "/echo");
        assert_closed_at_once(&mut server, peer, &bytes, code);
    }
    server.finish();
}

/// A way to announce much, and the least of it: a byte.
struct Announcement {
    what: &'static str,
    /// Of an open WebSocket; else of a new connection.
    open: bool,
    bytes: Vec<u8>,
}

fn announcements(max: usize) -> Vec<Announcement> {
    let post =
        |framing: &str| format!("POST /rooms/a HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n").into_bytes();
    let with = |mut head: Vec<u8>, rest: &[u8]| {
        head.extend(rest);
        head
    };
    vec![
        Announcement { what: "a frame", open: true, bytes: with(header(0x82, max as u64), b"x") },
        Announcement { what: "a fragment", open: true, bytes: with(header(0x01, max as u64), b"x") },
        Announcement {
            what: "a body",
            open: false,
            bytes: with(post(&format!("Content-Length: {max}")), b"x"),
        },
        Announcement {
            what: "a chunk",
            open: false,
            bytes: with(post("Transfer-Encoding: chunked"), format!("{max:x}\r\nx").as_bytes()),
        },
        Announcement { what: "a head", open: false, bytes: request("/echo")[..1].to_vec() },
    ]
}

#[test]
fn ten_thousand_peers_that_announce_much_pin_at_most_4_kib_each() {
    const EACH: usize = 2_000;
    let config = Config::default();
    let announcements = announcements(config.max_message);
    assert_eq!(announcements.len() * EACH, 10_000);
    let mut server = everything(1, &config);
    let neighbour = server.connect(0, "/echo");
    for Announcement { what, open, bytes } in &announcements {
        let peers = match open {
            true => open_crowd(&mut server, "/rooms/a", EACH, 1 << 10, 1 << 10),
            false => crowd(&mut server, EACH, 1 << 10, 1 << 10),
        };
        let asked = asked(|| {
            for peer in &peers {
                server.feed(*peer, bytes);
            }
            server.settle();
        });
        for peer in &peers {
            let socket = server.socket(*peer);
            assert_eq!((socket.unread(), socket.output.len()), (0, 0), "{what}: it is read, and waited for");
        }
        println!("{what} of which one byte has come pins {} bytes", asked.growth / EACH as i64);
        assert!(asked.growth > 0, "{what}: the count sees it");
        assert!(asked.peak_growth <= (EACH * LIE_BYTES_MAX) as i64, "{what}: {asked:?}");
    }
    assert_served(&mut server, neighbour);
    // Those whose head never ends go at the handshake's deadline, the others at the message's.
    advance(&mut server, config.handshake_timeout + TICK);
    assert_eq!(server.closes(CloseKind::HandshakeTimeout), EACH as u64);
    advance(&mut server, config.message_timeout);
    assert_eq!(server.closes(CloseKind::MessageTimeout), 4 * EACH as u64);
}
