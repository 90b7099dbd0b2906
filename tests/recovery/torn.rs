//! Clients that are torn off at any byte and come back where they were: everything once, or a 410.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use fanfare::Config;

use crate::publishers::{PUBLISHERS, Publishers, identify};
use crate::support::door::{Block, Seen, offset_of, request};
use crate::support::{Head, Raw, TestServer, config, remembering, upgrade_request};

/// xorshift64*: the same tears in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Door {
    WebSocket,
    Events,
}

impl Door {
    fn request(self, position: &str) -> Vec<u8> {
        match self {
            Door::WebSocket => upgrade_request(&format!("/rooms/r?since={position}")).into_bytes(),
            // Or the connection would outlive a refusal, and nothing would end the reading.
            Door::Events => {
                let headers = format!("Last-Event-ID: {position}\r\nConnection: close\r\n");
                request("GET /rooms/r/events", &headers, b"")
            }
        }
    }

    /// Takes one whole message or Close off the front of the bytes. What is no message is an id alone.
    fn take(self, bytes: &mut Vec<u8>, next: u64) -> Option<Taken> {
        match self {
            Door::WebSocket => take_frame(bytes, next),
            Door::Events => take_event(bytes),
        }
    }
}

enum Taken {
    Message(Seen),
    Id(u64),
    /// A 1008, with the reason.
    Cut(String),
}

fn take_frame(bytes: &mut Vec<u8>, next: u64) -> Option<Taken> {
    let (first, short) = (*bytes.first()?, *bytes.get(1)?);
    let (head, length) = match short {
        126 => (4, usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]))),
        length => (2, usize::from(length)),
    };
    let payload = bytes.get(head..head + length)?.to_vec();
    bytes.drain(..head + length);
    Some(match first {
        0x88 => {
            assert_eq!(payload[..2], 1008u16.to_be_bytes());
            Taken::Cut(String::from_utf8(payload[2..].to_vec()).expect("a reason"))
        }
        _ => Taken::Message(Seen { offset: next, text: first == 0x81, payload }),
    })
}

fn take_event(bytes: &mut Vec<u8>) -> Option<Taken> {
    let block = Block::take(bytes)?;
    Some(match (block.event.as_str(), &block.data) {
        ("close", _) => {
            assert_eq!(block.json()["code"], 1008);
            Taken::Cut(block.json()["reason"].as_str().expect("a reason").to_owned())
        }
        (_, None) => Taken::Id(block.offset()),
        _ => Taken::Message(Seen::in_event(&block)),
    })
}

/// Somebody who comes back again and again.
struct Member {
    door: Door,
    position: String,
    seen: BTreeMap<u64, Seen>,
    /// The messages that were refused, by their offsets.
    missed: u64,
    refusals: usize,
}

impl Member {
    fn offset(&self) -> u64 {
        offset_of(&self.position)
    }

    /// Takes in whatever came whole of a response.
    fn take_in(&mut self, mut bytes: Vec<u8>) {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return };
        let head: Vec<u8> = bytes.drain(..end + 4).collect();
        let head = Head::parse(std::str::from_utf8(&head).expect("a head is UTF-8"));
        if head.status == 410 {
            let newest = head.newest();
            assert_eq!(newest[..16], self.position[..16], "the room has members all the time");
            assert!(offset_of(&newest) > self.offset(), "refused at {} by {newest}", self.position);
            self.missed += offset_of(&newest) - self.offset();
            self.refusals += 1;
            self.position = newest;
            return;
        }
        assert_eq!(head.status, if self.door == Door::WebSocket { 101 } else { 200 }, "{head:?}");
        assert_eq!(head.from(), self.position);
        while let Some(taken) = self.door.take(&mut bytes, self.offset() + 1) {
            match taken {
                Taken::Id(offset) => assert_eq!(offset, self.offset()),
                Taken::Cut(reason) => {
                    assert!(reason.contains(&format!("at {} in room r", self.position)), "{reason}");
                    assert!(bytes.is_empty(), "nothing follows a Close");
                }
                Taken::Message(message) => {
                    assert_eq!(message.offset, self.offset() + 1, "each once and in order");
                    self.position = format!("{}:{}", &self.position[..16], message.offset);
                    self.seen.insert(message.offset, message);
                }
            }
        }
    }
}

/// Reads up to so many bytes and tears the connection; `before` is called before each read, so that
/// there is something to read.
fn torn(
    server: &TestServer,
    request: &[u8],
    budget: usize,
    reset: bool,
    mut before: impl FnMut(),
) -> Vec<u8> {
    let mut raw = Raw::connect(server.address());
    raw.send(request);
    let mut bytes = vec![0; budget];
    let mut filled = 0;
    while filled < budget {
        before();
        match raw.stream.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // What it did not take of a Close is lost with a reset.
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                break;
            }
        }
    }
    bytes.truncate(filled);
    if reset {
        raw.reset();
    }
    bytes
}

/// Where the room is before anything was published.
fn first_position(server: &TestServer) -> String {
    let (_, head) = Raw::join(server.address(), "/rooms/r");
    assert!(head.newest().ends_with(":0"));
    head.newest()
}

/// A member that is torn off `rounds` times while publishers on all shards go on. Every `bursts`
/// rounds it stays away for as long as it takes to publish `burst` messages.
fn tear(server: &TestServer, door: Door, rounds: usize, (bursts, burst): (usize, usize)) -> Member {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let position = first_position(server);
    let mut member = Member { door, position, seen: BTreeMap::new(), missed: 0, refusals: 0 };
    let mut settled = 0;
    let counts = std::thread::scope(|scope| {
        let mut publishers = Publishers::start(scope, server.address());
        for round in 0..rounds {
            if round % bursts == bursts - 1 {
                (0..burst).for_each(|which| publishers.permit(which));
                publishers.settle(&mut settled);
            }
            let request = door.request(&member.position);
            if round % 8 == 7 {
                // Torn before it has asked.
                let part = random.below(request.len());
                let mut stream = TcpStream::connect(server.address()).expect("a connection");
                stream.write_all(&request[..part]).expect("the server takes it");
                continue;
            }
            let budget = if random.below(4) == 0 { random.below(300) } else { random.below(2500) };
            let reset = random.below(2) == 0;
            let bytes = torn(server, &request, budget, reset, || publishers.permit(random.below(PUBLISHERS)));
            member.take_in(bytes);
        }
        // Then it stays until it has it all; a Close or a 410 on the way is one more round.
        let published = publishers.settle(&mut settled) as u64;
        while member.offset() < published {
            let bytes = torn(server, &door.request(&member.position), 1000, false, || publishers.permit(0));
            member.take_in(bytes);
        }
        publishers.settle(&mut settled);
        publishers.stop()
    });
    check(server, &member, &counts);
    member
}

/// Compares what the member has with what the room and the publishers have.
fn check(server: &TestServer, member: &Member, counts: &[usize]) {
    assert_eq!(member.seen.len() as u64 + member.missed, member.offset(), "everything, or a 410");
    let mut next = vec![0; counts.len()];
    for seen in member.seen.values() {
        let (publisher, count) = identify(seen.text, &seen.payload);
        assert!(count >= next[publisher] && count < counts[publisher], "in order, and never twice");
        if member.missed == 0 {
            assert_eq!(count, next[publisher], "nothing is missing");
        }
        next[publisher] = count + 1;
    }
    let mut raw = Raw::connect(server.address());
    let (_, page) = raw.ask_json("GET /rooms/r?limit=10000", "", b"");
    for item in page["publications"].as_array().expect("publications") {
        let held = Seen::in_history(item);
        if let Some(seen) = member.seen.get(&held.offset) {
            assert_eq!(*seen, held);
        }
    }
    let total: usize = counts.iter().sum();
    assert_eq!(page["offset"], total);
}

/// Far fewer messages than a round that stays away misses.
fn small_window() -> Config {
    Config { history_messages: 32, ..remembering(config()) }
}

#[test]
fn a_member_torn_off_a_thousand_times_has_every_message_once_and_in_order() {
    let server = TestServer::start(remembering(config()));
    let member = tear(&server, Door::WebSocket, 1000, (100, 20));
    assert_eq!((member.refusals, member.missed), (0, 0));
}

#[test]
fn a_reader_of_events_torn_off_a_thousand_times_has_every_message_once_and_in_order() {
    let server = TestServer::start(remembering(config()));
    let member = tear(&server, Door::Events, 1000, (100, 20));
    assert_eq!((member.refusals, member.missed), (0, 0));
}

#[test]
fn a_member_that_the_window_leaves_behind_is_told_and_has_everything_since() {
    let server = TestServer::start(small_window());
    let member = tear(&server, Door::WebSocket, 300, (10, 50));
    assert!(member.refusals >= 10, "{}", member.refusals);
}

#[test]
fn a_reader_of_events_that_the_window_leaves_behind_is_told_and_has_everything_since() {
    let server = TestServer::start(small_window());
    let member = tear(&server, Door::Events, 300, (10, 50));
    assert!(member.refusals >= 10, "{}", member.refusals);
}
