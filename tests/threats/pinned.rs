//! What one peer can pin, by the stage that it has reached; run with `--nocapture` it is the table of
//! `SECURITY.md`.

use fanfare::Config;
use fanfare::shard::{Admission, Counter, RECEIVE_BYTES, Shard};

use crate::common::sim::SimIo;
use crate::common::{Client, Server, binary, text};
use crate::counting::asked;
use crate::peers::{SDK, crowd, everything, open_crowd};
use crate::support::header;

/// What there is for any message, answer or head beside its bytes.
const SPARE_BYTES: usize = 4 << 10;
/// A page of history ends behind 256 KiB, with what its last message is over.
const HISTORY_BYTES: usize = 450 << 10;

fn show(what: &str, growth: i64, allowed: usize) {
    println!("| {what} | {} | {allowed} |", growth.max(0));
    assert!(growth <= allowed as i64, "{what}: {growth}, {allowed} are allowed");
}

fn feed(server: &mut Server, peer: Client, bytes: &[u8]) {
    server.feed(peer, bytes);
    server.settle();
}

/// By how much a server grows while a peer does its worst. Another has done so before and is gone, so that
/// what the shard keeps for anybody has grown.
fn pinned(
    what: &str,
    allowed: usize,
    server: &mut Server,
    peer: impl Fn(&mut Server) -> Client,
    worst: impl Fn(&mut Server, Client),
) -> Client {
    for _ in 0..2 {
        let first = peer(server);
        worst(server, first);
        server.socket(first).room = usize::MAX;
        server.settle();
        server.socket(first).eof = true;
        server.settle();
        assert!(server.is_closed(first), "{what}");
    }
    let second = peer(server);
    show(what, asked(|| worst(server, second)).growth, allowed);
    second
}

#[test]
fn a_peer_that_has_said_nothing_owns_its_slot_alone() {
    let mut server = everything(1, &Config::default());
    let first = crowd(&mut server, 100, 256, 256);
    for peer in first {
        server.socket(peer).eof = true;
    }
    server.settle();
    let sockets: Vec<_> = (0..99).map(|_| server.net.borrow_mut().open()).collect();
    // In slots that are there.
    let adopt = || {
        for socket in sockets {
            server.adopt_socket(0, socket, Admission::Welcome);
        }
        server.settle();
    };
    show("accepted, silent", asked(adopt).growth, 0);
    show("its slot", Shard::<SimIo>::CONNECTION_BYTES as i64, 256);
}

#[test]
fn what_has_not_come_whole_is_bounded_by_what_has_come() {
    let Config { max_head, max_message, .. } = Config::default();
    let mut server = everything(1, &Config::default());
    let head = [&b"GET / HTTP/1.1\r\nX: "[..], &vec![b'x'; max_head]].concat();
    let body = format!("POST /rooms/a HTTP/1.1\r\nHost: test\r\nContent-Length: {max_message}\r\n\r\n");
    let body = [body.as_bytes(), &vec![b'x'; max_message - 1]].concat();
    let frame = [header(0x82, max_message as u64), vec![0; max_message - 1]].concat();
    // A buffer may be a quarter larger than what has come.
    let buffer = max_message + max_message / 4 + SPARE_BYTES;
    for (what, allowed, bytes) in [
        ("a head without its last byte", max_head + SPARE_BYTES, &head[..max_head - 1]),
        ("a body without its last byte", buffer, &body[..]),
    ] {
        let peer = |server: &mut Server| crowd(server, 1, bytes.len(), 1 << 10)[0];
        pinned(what, allowed, &mut server, peer, |server, peer| feed(server, peer, bytes));
    }
    let peer = |server: &mut Server| open_crowd(server, "/echo", 1, frame.len(), 1 << 10)[0];
    let worst = |server: &mut Server, peer| feed(server, peer, &frame);
    pinned("a message without its last byte", buffer, &mut server, peer, worst);
    server.finish();
}

/// Sends what is answered, and takes nothing.
fn take_nothing(bytes: &[u8]) -> impl Fn(&mut Server, Client) {
    move |server, peer| {
        server.socket(peer).room = 0;
        feed(server, peer, bytes);
    }
}

#[test]
fn answers_that_are_not_taken_are_bounded_and_stop_the_reading() {
    let config = Config::default();
    let mut server = everything(1, &config);
    let publisher = server.connect(0, "/rooms/full");
    for _ in 0..30 {
        feed(&mut server, publisher, &text(&"h".repeat(20_000)));
    }

    let messages = binary(&[7; 1_000]).repeat(2_000);
    // One read may be answered over the mark at which reading pauses.
    let allowed = config.reply_bytes + 2 * RECEIVE_BYTES;
    let peer = |server: &mut Server| open_crowd(server, "/echo", 1, messages.len(), messages.len())[0];
    let peer = pinned("echoes, none taken", allowed, &mut server, peer, take_nothing(&messages));
    assert!(server.socket(peer).unread() > messages.len() / 2, "it is not read from");

    let asks = b"GET /rooms/full HTTP/1.1\r\nHost: test\r\n\r\n".repeat(50);
    let peer = |server: &mut Server| crowd(server, 1, asks.len(), 50 * HISTORY_BYTES)[0];
    let allowed = HISTORY_BYTES + RECEIVE_BYTES;
    pinned("requests for a history, none taken", allowed, &mut server, peer, take_nothing(&asks));

    let ask = "{\"id\":3,\"history\":{\"channel\":\"full\",\"limit\":300}}\n".repeat(990);
    let asks = text(ask.trim_end());
    let introduced = |server: &mut Server| {
        let peer = open_crowd(server, SDK, 1, asks.len(), 4 << 20)[0];
        feed(
            server,
            peer,
            &text("{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"full\"}}"),
        );
        peer
    };
    let allowed = config.settings().reply_bytes_max();
    pinned("an SDK's histories, none taken", allowed, &mut server, introduced, take_nothing(&asks));
    server.finish();
}

#[test]
fn members_that_never_read_share_what_their_room_holds() {
    const MEMBERS: usize = 200;
    const MESSAGE: usize = 4_000;
    let config = Config::default();
    let shared = config.history_bytes + 4 * RECEIVE_BYTES;
    for (what, spread, allowed) in [
        ("200 members that stall in one message", 0, shared + MESSAGE),
        ("200 members that stall in a message each", 1, shared + MEMBERS * (MESSAGE + 1_024)),
    ] {
        let mut server = everything(1, &config);
        let publisher = server.connect(0, "/rooms/hot");
        let members = open_crowd(&mut server, "/rooms/hot", MEMBERS, 1 << 10, 2 * MESSAGE);
        for (number, member) in members.iter().enumerate() {
            // So many whole messages, and a part of one.
            server.socket(*member).room = number * spread * (MESSAGE + 4) + 1_000;
        }
        let publish = || {
            for _ in 0..MEMBERS + 500 {
                feed(&mut server, publisher, &binary(&[7; MESSAGE]));
                for member in &members {
                    server.socket(*member).output.clear();
                    server.socket(*member).sends.clear();
                }
            }
        };
        show(what, asked(publish).growth, allowed);
        assert_eq!(server.counter(Counter::Memberships), MEMBERS as u64 + 1);
    }
}

#[test]
fn as_many_rooms_as_a_peer_may_be_in_cost_their_names_and_places() {
    let config = Config::default();
    let mut server = everything(1, &config);
    let frame = |name: &str| {
        let subscribe = |number| {
            let channel = format!("{number:n>120}{name}");
            format!("{{\"id\":{},\"subscribe\":{{\"channel\":\"{channel}\"}}}}", number + 2)
        };
        let commands: Vec<String> = (0..config.max_memberships).map(subscribe).collect();
        text(&format!("{{\"id\":1,\"connect\":{{}}}}\n{}", commands.join("\n")))
    };
    let frames = [frame("of first"), frame("of other")];
    let peers = open_crowd(&mut server, SDK, 2, frames[0].len(), 1 << 16);
    // What the shard keeps for anybody has grown with the first.
    feed(&mut server, peers[0], &frames[0]);
    let join = || {
        feed(&mut server, peers[1], &frames[1]);
        assert_eq!(server.counter(Counter::Memberships), 2 * config.max_memberships as u64);
    };
    show("rooms of its own", asked(join).growth, config.max_memberships * (2 << 10));
    server.finish();
}
