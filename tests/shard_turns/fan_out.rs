//! What arrived in a turn, to many members at once: one send each, whatever the others' sockets do.

use fanfare::endpoint::CloseKind;
use fanfare::shard::Counter;

use crate::common::endpoints::{Obedient, Record};
use crate::common::sim::{Call, PlannedFailure};
use crate::common::{Client, Frame, Server, binary, settings, split_response, text};

/// A room with members and a publisher on each of two shards; what both say in one round arrives on the first
/// shard in one turn, as two publications.
pub struct Hall {
    pub server: Server,
    pub members: Vec<Client>,
    pub publishers: [Client; 2],
}

impl Hall {
    pub fn new(members: usize) -> Hall {
        let mut server = Server::new(2, settings());
        let members = (0..members).map(|_| server.connect(0, "/rooms/hall")).collect();
        let publishers = [0, 1].map(|shard| server.connect(shard, "/rooms/hall"));
        Hall { server, members, publishers }
    }

    /// The second shard's publisher is heard first.
    fn say(&mut self, here: &[u8], there: &[u8]) {
        self.server.feed(self.publishers[0], here);
        self.server.feed(self.publishers[1], there);
        self.server.turn(1);
        self.server.turn(0);
    }

    /// The counters of what was sent are those of the kernel, and of whole messages.
    pub fn check_counters(&self, deliveries: u64) {
        let net = self.server.net.borrow();
        let sends: usize = net.sockets.iter().map(|socket| socket.sends.len()).sum();
        let bytes: usize = net.sockets.iter().flat_map(|socket| &socket.sends).sum();
        assert_eq!(self.server.counter(Counter::Sends), sends as u64);
        assert_eq!(self.server.counter(Counter::BytesOut), bytes as u64);
        assert_eq!(self.server.counter(Counter::Deliveries), deliveries);
    }
}

#[test]
fn what_several_shards_say_in_a_turn_is_one_send_for_each_member() {
    let mut hall = Hall::new(50);
    hall.say(&text("from here"), &text("from there"));
    hall.server.settle();
    for member in &hall.members {
        assert_eq!(hall.server.socket(*member).calls.send, 2, "the handshake's and this");
        assert_eq!(hall.server.take_texts(*member), ["from there", "from here"]);
    }
    assert_eq!(hall.server.take_texts(hall.publishers[0]), ["from there"]);
    assert_eq!(hall.server.take_texts(hall.publishers[1]), ["from here"]);
    hall.check_counters(50 * 2 + 2);
    hall.server.finish();
}

#[test]
fn much_of_several_shards_is_one_send_too() {
    let mut hall = Hall::new(3);
    let (here, there) = ([1; 40_000], [2; 30_000]);
    hall.say(&binary(&here), &binary(&there));
    hall.server.settle();
    for member in hall.members.clone() {
        assert_eq!(hall.server.socket(member).calls.send, 2);
        assert_eq!(hall.server.take_frames(member), [Frame::binary(&there), Frame::binary(&here)]);
    }
    hall.server.finish();
}

#[test]
fn what_would_be_long_when_joined_is_not_copied_together_however_short_it_is_as_frames() {
    const JOINED_BYTES_MAX: usize = 32 << 10;
    // As events, where each line takes 7 bytes, the two of them take just so much, or some more.
    for (lines, slices) in [(2300, 1), (2400, 2)] {
        let mut hall = Hall::new(1);
        let reader = hall.server.adopt(0);
        hall.server.feed(reader, b"GET /rooms/hall/events HTTP/1.1\r\nHost: test\r\n\r\n");
        hall.server.settle();
        hall.server.take_output(reader);
        let many = text(&"\n".repeat(lines));
        hall.say(&many, &many);
        let events = hall.server.take_output(reader);
        assert_eq!(events.len() <= JOINED_BYTES_MAX, slices == 1, "{} bytes", events.len());
        assert_eq!(hall.server.socket(reader).slices, slices);
        assert_eq!(hall.server.socket(hall.members[0]).slices, 1, "frames of {lines} bytes are joined");
        let events = String::from_utf8(events).expect("text");
        let data = events.lines().filter(|line| line.starts_with("data:")).count();
        assert_eq!(data, 2 * (lines + 1));
        hall.server.settle();
        hall.server.finish();
    }
}

#[test]
fn a_socket_that_takes_a_part_goes_on_exactly_there_and_holds_nobody_up() {
    let (here, there) = ("h".repeat(20), "t".repeat(200));
    let bytes = 2 + here.len() + 4 + there.len();
    for cut in 0..=bytes {
        let mut hall = Hall::new(3);
        let slow = hall.members[1];
        hall.server.socket(slow).room = cut;
        hall.say(&text(&here), &text(&there));
        assert_eq!(hall.server.socket(slow).output.len(), cut);
        for member in [hall.members[0], hall.members[2]] {
            assert_eq!(hall.server.take_texts(member), [there.as_str(), &here]);
        }
        // A message that has begun to go out counts as given.
        let begun = u64::from(cut > 0) + u64::from(cut > 4 + there.len());
        hall.check_counters(2 * 2 + 1 + begun);
        assert_eq!(hall.server.socket(slow).interest.writable, cut < bytes);
        // What follows comes behind, and nothing is said twice.
        hall.say(&text("next here"), &text("next there"));
        hall.server.socket(slow).room = usize::MAX;
        hall.server.settle();
        assert_eq!(hall.server.take_texts(slow), [&there, &here, "next there", "next here"], "cut at {cut}");
        hall.check_counters(3 * 4 + 4);
        hall.server.finish();
    }
}

#[test]
fn sockets_that_fail_together_end_alone() {
    let mut hall = Hall::new(6);
    for member in [1, 4] {
        let broken = hall.members[member];
        hall.server.socket(broken).error = Some(std::io::ErrorKind::ConnectionReset);
    }
    // Their next receive would find out, too: nothing is reported of them before.
    hall.server.net.borrow_mut().failure =
        Some(PlannedFailure::of_the_next(Call::Send, std::io::ErrorKind::BrokenPipe));
    for member in [1, 4] {
        let broken = hall.members[member];
        hall.server.socket(broken).interest.readable = false;
    }
    hall.say(&text("from here"), &text("from there"));
    hall.server.settle();
    // The first send of all failed as planned, those of two others by their sockets.
    assert_eq!(hall.server.closes(CloseKind::TransportFailed), 3);
    for member in [2, 3, 5] {
        assert_eq!(hall.server.take_texts(hall.members[member]), ["from there", "from here"]);
    }
    for member in [0, 1, 4] {
        assert!(hall.server.is_closed(hall.members[member]));
        assert!(hall.server.take_output(hall.members[member]).is_empty());
    }
    hall.check_counters(3 * 2 + 2);
    hall.server.finish();
}

#[test]
fn members_that_read_other_encodings_are_sent_theirs() {
    let mut hall = Hall::new(4);
    let reader = hall.server.adopt(0);
    hall.server.feed(reader, b"GET /rooms/hall/events HTTP/1.1\r\nHost: test\r\n\r\n");
    hall.server.settle();
    let output = hall.server.take_output(reader);
    assert_eq!(split_response(&output).0, 200);
    let sends = hall.server.socket(reader).calls.send;
    hall.say(&text("from here"), &text("from there"));
    hall.server.settle();
    assert_eq!(hall.server.socket(reader).calls.send, sends + 1);
    let events = String::from_utf8(hall.server.take_output(reader)).expect("text");
    let data: Vec<&str> = events.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(data, ["from there", "from here"]);
    for member in hall.members.clone() {
        assert_eq!(hall.server.take_texts(member), ["from there", "from here"]);
    }
    hall.server.finish();
}

#[test]
fn a_member_of_several_rooms_is_sent_to_once_a_turn_whichever_of_them_speak() {
    let record = Record::default();
    let mut server = Server::with_endpoint(settings(), move || Obedient::new(record.clone()));
    let member = server.connect(0, "/test");
    let others: Vec<Client> = (0..3).map(|_| server.connect(0, "/test")).collect();
    for (other, room) in others.iter().zip(["a", "b", "c"]) {
        server.feed(member, &text(&format!("join {room}")));
        server.feed(*other, &text(&format!("join {room}")));
    }
    server.settle();
    let mut sends = server.socket(member).calls.send;
    for speaking in [&["a"][..], &["b"], &["c"], &["a", "c"], &["a", "b", "c"]] {
        let speaker = server.connect(0, "/test");
        for room in speaking {
            server.feed(speaker, &text(&format!("to {room} news of {room}")));
        }
        server.settle();
        sends += 1;
        assert_eq!(server.socket(member).calls.send, sends);
        let mut heard = server.take_texts(member);
        heard.sort_unstable();
        let expected: Vec<String> = speaking.iter().map(|room| format!("news of {room}")).collect();
        assert_eq!(heard, expected);
    }
    server.finish();
}

#[test]
fn a_member_of_several_rooms_that_is_cut_goes_on_where_it_was() {
    let record = Record::default();
    let news = "n".repeat(10);
    for cut in 0..=2 + news.len() {
        let record = record.clone();
        let mut server = Server::with_endpoint(settings(), move || Obedient::new(record.clone()));
        let (member, speaker) = (server.connect(0, "/test"), server.connect(0, "/test"));
        for room in ["a", "b"] {
            server.feed(member, &text(&format!("join {room}")));
        }
        server.settle();
        server.socket(member).room = cut;
        for room in ["a", "b", "a"] {
            server.feed(speaker, &text(&format!("to {room} {news}")));
            server.turn(0);
        }
        assert_eq!(server.socket(member).output.len(), cut);
        server.socket(member).room = usize::MAX;
        server.settle();
        assert_eq!(server.take_texts(member), [news.as_str(); 3], "cut at {cut}");
        server.finish();
    }
}
