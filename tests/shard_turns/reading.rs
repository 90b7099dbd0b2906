//! What arrives: pipelines, splits, readiness that no longer holds.

use std::io::ErrorKind;

use fanfare::endpoint::CloseKind;
use fanfare::protocol::Opcode;
use fanfare::reactor::Ready;
use fanfare::shard::Counter;

use crate::common::{
    Client, Frame, Server, binary, client_frame, close, frames, ping, request, settings, split_response, text,
};

#[test]
fn sixteen_pipelined_messages_cost_one_receive_and_one_send() {
    let mut server = Server::new(1, settings());
    let client = server.connect(0, "/echo");
    let before = server.socket(client).calls;
    for number in 0..16 {
        server.feed(client, &text(&format!("message {number}")));
    }
    server.turn(0);
    let after = server.socket(client).calls;
    assert_eq!(after.receive - before.receive, 1);
    assert_eq!(after.send - before.send, 1);
    assert_eq!(after.set_interest, before.set_interest);
    let expected: Vec<String> = (0..16).map(|number| format!("message {number}")).collect();
    assert_eq!(server.take_texts(client), expected);
    server.finish();
}

/// Everything that a peer can send in one life, ended by its Close.
fn conversation() -> Vec<u8> {
    let mut bytes = request("/echo");
    bytes.extend(text("grüße"));
    bytes.extend(binary(&[7; 300]));
    bytes.extend(ping(b"one"));
    bytes.extend(client_frame(Opcode::Text, false, "frag€".as_bytes()));
    bytes.extend(ping(b"two"));
    bytes.extend(client_frame(Opcode::Continuation, false, b""));
    bytes.extend(client_frame(Opcode::Continuation, true, b"mented"));
    bytes.extend(text(""));
    bytes.extend(close(4001, "bye"));
    bytes
}

fn answer(server: &mut Server, pieces: &[&[u8]]) -> Vec<u8> {
    let client = server.adopt(0);
    for piece in pieces {
        server.feed(client, piece);
        server.settle();
    }
    let output = server.take_output(client);
    server.socket(client).eof = true;
    server.settle();
    assert!(server.is_closed(client));
    output
}

/// An answer without the id of its connection.
fn without_id(mut answer: Vec<u8>) -> Vec<u8> {
    let name = b"Fanfare-Client: ";
    let at = answer.windows(name.len()).position(|window| window == name).expect("the id");
    let length = answer[at..].iter().position(|byte| *byte == b'\n').expect("a line");
    answer.drain(at..=at + length);
    answer
}

#[test]
fn the_same_input_gives_the_same_output_at_every_split() {
    let mut server = Server::new(1, settings());
    let bytes = conversation();
    let whole = answer(&mut server, &[&bytes]);
    let (status, rest) = split_response(&whole);
    assert_eq!(status, 101);
    assert_eq!(
        frames(rest),
        [
            Frame::text("grüße"),
            Frame { opcode: Opcode::Binary, payload: vec![7; 300] },
            Frame::pong(b"one"),
            Frame::pong(b"two"),
            Frame::text("frag€mented"),
            Frame::text(""),
            Frame { opcode: Opcode::Close, payload: 4001u16.to_be_bytes().to_vec() },
        ]
    );
    let whole = without_id(whole.clone());
    for at in 1..bytes.len() {
        let (first, second) = bytes.split_at(at);
        let answer = answer(&mut server, &[first, second]);
        assert_eq!(without_id(answer), whole, "split at {at}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(without_id(answer(&mut server, &single)), whole, "byte by byte");
    let opened = server.counter(Counter::Opened);
    assert_eq!(opened, bytes.len() as u64 + 1);
    assert_eq!(server.closes(CloseKind::PeerClosed), opened);
    server.finish();
}

#[test]
fn a_read_that_gives_less_than_there_is_goes_on_in_the_next_turn() {
    let mut server = Server::new(1, settings());
    let client = server.connect(0, "/echo");
    server.socket(client).read_max = 3;
    server.feed(client, &text("0123456789"));
    server.settle();
    assert_eq!(server.take_texts(client), ["0123456789"]);
    server.finish();
}

#[test]
fn later_is_no_error() {
    for kind in [ErrorKind::WouldBlock, ErrorKind::Interrupted] {
        let mut server = Server::new(1, settings());
        let client = server.connect(0, "/echo");
        server.socket(client).error = Some(kind);
        server.turn(0);
        server.turn(0);
        server.socket(client).error = None;
        server.feed(client, &text("still here"));
        server.settle();
        assert_eq!(server.take_texts(client), ["still here"]);
        server.finish();
    }
}

fn inject(server: &mut Server, of: Client, ready: impl Fn(Ready) -> Ready) {
    let key = server.socket(of).key.expect("it was registered");
    let stale = ready(Ready { key, readable: false, writable: false, hung_up: false });
    server.shards[0].io_mut().injected.push(stale);
}

#[test]
fn readiness_for_a_slot_that_was_reused_is_ignored() {
    let mut server = Server::new(1, settings());
    let first = server.connect(0, "/echo");
    server.socket(first).eof = true;
    server.settle();
    assert!(server.is_closed(first));
    let second = server.connect(0, "/echo");
    let keys = [first, second].map(|client| server.socket(client).key.expect("registered"));
    assert_eq!(keys[0].index(), keys[1].index(), "the slot is used again");
    let before = server.socket(second).calls;
    inject(&mut server, first, |ready| Ready { readable: true, writable: true, hung_up: true, ..ready });
    server.turn(0);
    assert_eq!(server.socket(second).calls, before);
    inject(&mut server, second, |ready| Ready { readable: true, ..ready });
    server.turn(0);
    assert_eq!(server.socket(second).calls.receive, before.receive + 1, "its own key does reach it");
    server.finish();
}

#[test]
fn a_hang_up_while_reading_is_paused_closes_at_once() {
    let mut server = Server::new(1, settings());
    let client = server.connect(0, "/echo");
    server.socket(client).room = 0;
    while server.counter(Counter::ReplyPauses) == 0 {
        server.feed(client, &binary(&[1; 10_000]));
        server.turn(0);
    }
    let receives = server.socket(client).calls.receive;
    server.socket(client).hung_up = true;
    server.turn(0);
    assert!(server.is_closed(client));
    assert_eq!(server.socket(client).calls.receive, receives, "it is not read for it");
    assert_eq!(server.closes(CloseKind::TransportFailed), 1);
    server.finish();
}
