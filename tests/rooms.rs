//! Rooms over real sockets and any number of workers: everyone, once, in one order.

mod support;

use std::net::{SocketAddr, TcpStream};

use fanfare::Config;
use fanfare::shard::Counter;
use support::{Frame, Raw, TestServer, config, dial, next_data, text};
use tungstenite::{Message, WebSocket};

const WORKERS: [usize; 4] = [1, 2, 4, 8];
const PUBLISHERS: usize = 4;
const MESSAGES: usize = 250;
/// Lengths around every edge of the encoding, of a batch and of a read; the last ones are rare.
const LENGTHS: [usize; 13] = [6, 7, 125, 126, 127, 300, 1000, 4096, 65_535, 65_536, 65_537, 70_000, 20];

/// Nobody is too slow for this server.
fn patient(workers: usize) -> Config {
    Config {
        workers: Some(workers),
        history_bytes: 1 << 30,
        history_messages: 1 << 20,
        history_memory: 1 << 30,
        ..config()
    }
}

/// The message of a publisher: its number and count first, then filling; text and binary in turns.
fn message(publisher: usize, count: usize) -> Message {
    let large = count.is_multiple_of(25);
    let at = if large { 8 + (publisher + count / 25) % 4 } else { count % 8 };
    let mut bytes = format!("{publisher} {count:03} ").into_bytes();
    bytes.resize(LENGTHS[at].max(bytes.len()), b'a' + (count % 26) as u8);
    match count.is_multiple_of(2) {
        true => Message::text(String::from_utf8(bytes).unwrap_or_default()),
        false => Message::binary(bytes),
    }
}

/// Publisher and count of a message, which must be as it was sent.
fn identify(seen: &Message) -> (usize, usize) {
    let start = match seen {
        Message::Text(text) => text.as_bytes(),
        Message::Binary(bytes) => bytes,
        other => panic!("{other:?}"),
    };
    let start = std::str::from_utf8(&start[..5]).expect("text at the start");
    let (publisher, count) = start.split_once(' ').expect("two numbers");
    let who = (publisher.parse().expect("a number"), count.parse().expect("a number"));
    assert!(*seen == message(who.0, who.1), "{who:?} is not as it was sent");
    who
}

/// Reads so many messages and says whose they are.
fn read_all(mut socket: WebSocket<TcpStream>, count: usize) -> Vec<(usize, usize)> {
    (0..count).map(|_| identify(&next_data(&mut socket))).collect()
}

/// A second handle on a client's socket, to write while another thread reads.
fn writer_of(socket: &WebSocket<TcpStream>) -> WebSocket<TcpStream> {
    let stream = socket.get_ref().try_clone().expect("a second handle");
    WebSocket::from_raw_socket(stream, tungstenite::protocol::Role::Client, None)
}

/// Members of a room and what each has read, the publishers first; all see all but their own.
fn broadcast(address: SocketAddr, target: &str, members: usize, own: bool) -> Vec<Vec<(usize, usize)>> {
    let sockets: Vec<_> = (0..members).map(|_| dial(address, target)).collect();
    std::thread::scope(|scope| {
        let mut readers = Vec::new();
        for (number, socket) in sockets.into_iter().enumerate() {
            let publishes = number < PUBLISHERS;
            let others = if publishes && !own { PUBLISHERS - 1 } else { PUBLISHERS };
            if publishes {
                let mut writer = writer_of(&socket);
                scope.spawn(move || {
                    for count in 0..MESSAGES {
                        writer.send(message(number, count)).expect("the server takes it");
                    }
                });
            }
            readers.push(scope.spawn(move || read_all(socket, others * MESSAGES)));
        }
        readers.into_iter().map(|reader| reader.join().expect("a reader")).collect()
    })
}

/// Checks that all saw one order in which each publisher's messages stand in their own.
fn check_order(seen: &[Vec<(usize, usize)>], own: bool) {
    let order = seen.last().expect("members");
    for publisher in 0..PUBLISHERS {
        let counts: Vec<usize> =
            order.iter().filter(|(from, _)| *from == publisher).map(|(_, count)| *count).collect();
        assert_eq!(counts, (0..MESSAGES).collect::<Vec<_>>(), "each once and as they were sent");
    }
    for (number, member) in seen.iter().enumerate() {
        let wanted: Vec<_> = order.iter().filter(|(from, _)| own || *from != number).copied().collect();
        assert!(*member == wanted, "member {number} saw another order");
    }
}

#[test]
fn every_member_gets_every_message_once_in_one_order() {
    for workers in WORKERS {
        let server = TestServer::start(patient(workers));
        let seen = broadcast(server.address(), "/rooms/all", 40, false);
        check_order(&seen, false);
        let published = (PUBLISHERS * MESSAGES) as u64;
        server.until_counter(Counter::Publications, published);
        server.until_counter(Counter::Rooms, 0);
    }
}

#[test]
fn a_sender_that_asks_for_it_gets_its_own_messages_in_their_place() {
    for workers in WORKERS {
        let server = TestServer::start(patient(workers));
        let seen = broadcast(server.address(), "/rooms/all?echo=true", 8, true);
        check_order(&seen, true);
    }
}

#[test]
fn rooms_do_not_hear_each_other() {
    for workers in WORKERS {
        let server = TestServer::start(patient(workers));
        let names = ["a", "b", "A", "a%20", "%C3%A4"];
        let mut rooms: Vec<Vec<Raw>> = names
            .iter()
            .map(|name| {
                (0..3).map(|_| Raw::open(server.address(), &format!("/rooms/{name}?echo=true"))).collect()
            })
            .collect();
        for round in 0..20 {
            for (room, name) in rooms.iter_mut().zip(names) {
                room[round % 3].send(&text(&format!("{name} {round}")));
            }
            for (room, name) in rooms.iter_mut().zip(names) {
                for member in room {
                    assert_eq!(member.frame(), Frame::text(&format!("{name} {round}")));
                }
            }
        }
    }
}

#[test]
fn one_room_may_be_written_in_several_ways() {
    let server = TestServer::start(patient(4));
    let mut plain = Raw::open(server.address(), "/rooms/ab");
    let mut escaped = Raw::open(server.address(), "/rooms/%61%62?echo=false");
    plain.send(&text("from plain"));
    assert_eq!(escaped.frame(), Frame::text("from plain"));
    escaped.send(&text("from escaped"));
    assert_eq!(plain.frame(), Frame::text("from escaped"), "and nothing of its own before it");
}

#[test]
fn joining_and_leaving_while_others_publish_gives_no_gap_and_no_repeat() {
    for workers in WORKERS {
        let server = TestServer::start(patient(workers));
        let address = server.address();
        let target = "/rooms/churn?echo=true";
        let mut constant = Raw::open(address, target);
        std::thread::scope(|scope| {
            let churners: Vec<_> = (0..3).map(|_| scope.spawn(move || churn(address, target))).collect();
            // Each message is awaited, so that the churn goes on for the whole time.
            let mut sent = 0;
            while !churners.iter().all(|churner| churner.is_finished()) {
                let payload = format!("{sent:08}");
                constant.send(&text(&payload));
                assert_eq!(constant.frame(), Frame::text(&payload));
                sent += 1;
            }
            for churner in churners {
                churner.join().expect("a churner saw a gap or a repeat");
            }
        });
        drop(constant);
        server.until_counter(Counter::Memberships, 0);
        server.until_counter(Counter::Rooms, 0);
    }
}

/// Joins, reads a few of the running numbers, and leaves, in one of three ways, many times.
fn churn(address: SocketAddr, target: &str) {
    for round in 0..30 {
        let mut member = Raw::open(address, target);
        let mut last = None;
        for _ in 0..5 {
            let frame = member.frame();
            let number: u32 =
                std::str::from_utf8(&frame.payload).expect("digits").parse().expect("a running number");
            assert!(last.is_none_or(|last| number == last + 1), "{number} after {last:?}");
            last = Some(number);
        }
        match round % 3 {
            0 => member.send(&support::frame(0x88, b"\x03\xe8")),
            1 => member.half_close(),
            _ => member.reset(),
        }
    }
}

#[test]
fn a_room_is_forgotten_with_its_last_member_and_starts_anew() {
    for workers in WORKERS {
        let server = TestServer::start(patient(workers));
        for generation in ["first", "second"] {
            let mut members: Vec<Raw> =
                (0..6).map(|_| Raw::open(server.address(), "/rooms/again?echo=true")).collect();
            members[0].send(&text(generation));
            for member in &mut members {
                assert_eq!(member.frame(), Frame::text(generation));
            }
            server.until_counter(Counter::Memberships, 6);
            drop(members);
            server.until_counter(Counter::Memberships, 0);
            server.until_counter(Counter::Rooms, 0);
        }
    }
}

#[test]
fn empty_messages_and_types_survive_the_room() {
    for workers in WORKERS {
        let server = TestServer::start(patient(workers));
        let mut sender = dial(server.address(), "/rooms/types");
        let mut receiver = dial(server.address(), "/rooms/types");
        let sent =
            [Message::text(""), Message::binary(vec![]), Message::text("ä"), Message::binary(vec![0xFF])];
        for message in &sent {
            sender.send(message.clone()).unwrap();
        }
        for message in sent {
            assert_eq!(next_data(&mut receiver), message);
        }
    }
}
