//! What arrived in a turn, to many members at once: one send each, whatever the others' sockets do.

use std::io::ErrorKind;
use std::sync::Arc;

use fanfare::endpoint::{CloseKind, RouterPlan};
use fanfare::id::ShardId;
use fanfare::shard::{Counter, Settings};
use fanfare::time::Time;

use crate::common::endpoints::{Obedient, Record};
use crate::common::sim::{Call, PlannedFailure};
use crate::common::{Client, Frame, Server, binary, request, settings, split_response, text};

/// A room with members and a publisher on each of two shards; what both say in one round arrives on the first
/// shard in one turn, as two publications.
struct Hall {
    server: Server,
    members: Vec<Client>,
    publishers: [Client; 2],
}

impl Hall {
    fn new(members: usize) -> Hall {
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
    fn check_counters(&self, deliveries: u64) {
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

/// Members that a turn sends to in the tests of what takes several.
const SHARE: usize = 3;

impl Hall {
    fn with_share(members: usize) -> Hall {
        let mut hall = Hall::new(0);
        hall.server = Server::new(2, Settings { fan_out_members_max: SHARE, ..settings() });
        hall.members = (0..members).map(|_| hall.server.connect(0, "/rooms/hall")).collect();
        hall.publishers = [0, 1].map(|shard| hall.server.connect(shard, "/rooms/hall"));
        hall
    }

    /// The second shard's publisher says something, and the first shard has it in its inbox.
    fn say_there(&mut self, what: &str) {
        self.server.feed(self.publishers[1], &text(what));
        self.server.turn(1);
    }

    fn members_served(&self) -> usize {
        self.members.iter().filter(|member| !self.server.socket(**member).output.is_empty()).count()
    }
}

#[test]
fn what_waits_for_a_room_leaves_together_until_it_is_enough_for_one_send() {
    for (bytes, sends) in [
        // Copied together; a slice each; and more than there are slices for.
        ([100; 7].as_slice(), &[7 * 102][..]),
        (&[20_000; 4], &[4 * 20_004]),
        (&[15_000; 5], &[5 * 15_004]),
        // 64 KiB is enough for 64 members, who are sent 4 MiB.
        (&[65_531, 100], &[65_535 + 102]),
        (&[65_532, 100], &[65_536, 102]),
        (&[65_533, 100], &[65_537, 102]),
        (&[40_000; 3], &[2 * 40_004, 40_004]),
        // As a plan for each member: too many to be a slice each, and too long to be copied.
        (&[13_000, 13_000, 13_000, 13_000, 300_000], &[4 * 13_004 + 300_010]),
    ] {
        let mut hall = Hall::new(63);
        for (number, bytes) in bytes.iter().enumerate() {
            hall.server.feed(hall.publishers[1], &binary(&vec![number as u8; *bytes]));
            hall.server.settle_shards(&[1]);
        }
        hall.server.settle();
        for member in hall.members.clone() {
            assert_eq!(hall.server.socket(member).sends[1..], *sends, "for {bytes:?}");
            let frames = hall.server.take_frames(member);
            let expected = bytes.iter().enumerate().map(|(at, bytes)| Frame::binary(&vec![at as u8; *bytes]));
            assert!(frames.into_iter().eq(expected), "{bytes:?}");
        }
        hall.server.finish();
    }
}

#[test]
fn a_turn_sends_to_its_share_of_the_members_and_the_next_goes_on() {
    // With the publisher there is one member more.
    for (members, turns) in [(SHARE - 1, 1), (SHARE, 2), (SHARE + 1, 2), (3 * SHARE - 1, 3)] {
        let mut hall = Hall::with_share(members);
        hall.say_there("long");
        for turn in 1..=turns {
            assert!(hall.server.shards[0].wait_deadline() == Some(Time::ZERO), "there is more to do");
            hall.server.turn(0);
            assert_eq!(hall.members_served(), members.min(turn * SHARE), "in turn {turn}");
        }
        assert!(hall.server.shards[0].wait_deadline() != Some(Time::ZERO), "{members} members are served");
        for member in hall.members.clone() {
            assert_eq!(hall.server.take_texts(member), ["long"]);
        }
        assert_eq!(hall.server.take_texts(hall.publishers[0]), ["long"]);
        hall.check_counters(members as u64 + 1);
        hall.server.finish();
    }
}

#[test]
fn a_long_message_goes_to_as_many_members_as_the_bytes_of_a_turn_allow() {
    const MESSAGE_BYTES: usize = 1 << 20;
    let mut hall = Hall::new(12);
    let message = vec![5; MESSAGE_BYTES];
    hall.server.feed(hall.publishers[1], &binary(&message));
    hall.server.settle_shards(&[1]);
    for turn in 1..=3 {
        hall.server.turn(0);
        assert_eq!(hall.members_served(), 4 * turn, "4 MiB in each turn");
    }
    hall.server.settle();
    for member in hall.members.clone() {
        assert_eq!(hall.server.take_frames(member), [Frame::binary(&message)]);
    }
    hall.server.finish();
}

#[test]
fn whoever_leaves_in_the_middle_of_a_fan_out_moves_nobody() {
    for (leaver, turns) in (0..9).flat_map(|leaver| [(leaver, 1), (leaver, 2)]) {
        let mut hall = Hall::with_share(9);
        hall.say_there("one");
        (0..turns).for_each(|_| hall.server.turn(0));
        hall.server.socket(hall.members[leaver]).error = Some(ErrorKind::ConnectionReset);
        hall.server.settle();
        for (number, member) in hall.members.clone().into_iter().enumerate().filter(|(n, _)| *n != leaver) {
            assert_eq!(hall.server.take_texts(member), ["one"], "member {number}, {leaver} has left");
        }
        assert_eq!(hall.server.take_texts(hall.publishers[0]), ["one"]);
        hall.server.finish();
    }
}

#[test]
fn whoever_comes_or_speaks_in_the_middle_of_a_fan_out_gets_all_that_is_due_in_order() {
    for speaker in 0..8 {
        let mut hall = Hall::with_share(8);
        let late = hall.server.adopt(0);
        hall.server.turn(0);
        hall.say_there("first");
        hall.say_there("second");
        hall.server.turn(0);
        hall.server.feed(late, &request("/rooms/hall"));
        hall.server.turn(0);
        hall.server.feed(hall.members[speaker], &text("third"));
        hall.server.settle();
        for (number, member) in hall.members.clone().into_iter().enumerate() {
            let heard = &["first", "second", "third"][..if number == speaker { 2 } else { 3 }];
            assert_eq!(hall.server.take_texts(member), heard, "member {number}");
        }
        assert_eq!(hall.server.take_texts(hall.publishers[0]), ["first", "second", "third"]);
        let output = hall.server.take_output(late);
        let (status, rest) = split_response(&output);
        assert_eq!(status, 101);
        assert!(rest.ends_with(b"third"), "who comes late hears what is said then");
        hall.server.finish();
    }
}

#[test]
fn whoever_comes_in_the_middle_of_a_fan_out_does_not_prolong_it() {
    let mut hall = Hall::with_share(3 * SHARE - 1);
    let late: Vec<Client> = (0..3 * SHARE).map(|_| hall.server.adopt(0)).collect();
    hall.server.turn(0);
    hall.say_there("long");
    hall.server.turn(0);
    late.iter().for_each(|late| hall.server.feed(*late, &request("/rooms/hall")));
    hall.server.turn(0);
    assert!(hall.server.shards[0].wait_deadline() == Some(Time::ZERO), "a third is still to be sent to");
    hall.server.turn(0);
    assert!(hall.server.shards[0].wait_deadline() != Some(Time::ZERO), "all have been sent to");
    hall.server.settle();
    for member in hall.members.clone() {
        assert_eq!(hall.server.take_texts(member), ["long"]);
    }
    hall.server.finish();
}

#[test]
fn a_room_keeps_up_with_who_speaks_in_each_turn_of_its_fan_outs() {
    const TURNS: usize = 300;
    let mut hall = Hall::new(0);
    let settings = Settings { fan_out_members_max: 10, ..settings() };
    hall.server = Server::new(1, settings);
    hall.members = (0..600).map(|_| hall.server.connect(0, "/rooms/hall")).collect();
    let speaker = hall.server.connect(0, "/rooms/hall");
    for number in 0..TURNS {
        hall.server.feed(speaker, &text(&format!("{number:03}")));
        hall.server.turn(0);
        let waiting = hall.server.mesh.mail_waiting(ShardId::new(0));
        assert!(waiting <= 61, "{waiting} publications wait: more than came in the turns of one fan-out");
    }
    hall.server.settle();
    let expected: Vec<String> = (0..TURNS).map(|number| format!("{number:03}")).collect();
    for member in hall.members.clone() {
        assert_eq!(hall.server.take_texts(member), expected);
    }
    hall.server.finish();
}

#[test]
fn who_has_had_it_together_with_something_else_takes_no_share() {
    let record = Record::default();
    let mut plan = RouterPlan::default();
    plan.add_endpoint("/test", Arc::new(move |_| Box::new(Obedient::new(record.clone()))));
    let mut server = Server::with(1, Settings { fan_out_members_max: SHARE, ..settings() }, 1 << 20, plan);
    let rooms = ["a", "b", "c", "d", "e"];
    let members: Vec<Client> = (0..2 * SHARE).map(|_| server.connect(0, "/test")).collect();
    for (client, room) in members.iter().flat_map(|client| rooms.map(|room| (client, room))) {
        server.feed(*client, &text(&format!("join {room}")));
    }
    let publisher = server.connect(0, "/test");
    server.settle();
    members.iter().for_each(|client| drop(server.take_output(*client)));
    rooms.iter().for_each(|room| server.feed(publisher, &text(&format!("to {room} of {room}"))));
    for _ in 0..3 {
        assert!(server.shards[0].wait_deadline() == Some(Time::ZERO) || server.shards[0].io_mut().is_ready());
        server.turn(0);
    }
    assert!(
        server.shards[0].wait_deadline() != Some(Time::ZERO),
        "two turns send all, one finds that they have"
    );
    for client in members {
        let mut texts = server.take_texts(client);
        texts.sort_unstable();
        assert_eq!(texts, rooms.map(|room| format!("of {room}")));
        assert_eq!(server.socket(client).sends.len(), 2, "the handshake's and this");
    }
    server.finish();
}

#[test]
fn others_are_answered_within_a_fan_out_and_its_room_goes_on_in_order() {
    let mut hall = Hall::with_share(30);
    let echo = hall.server.connect(0, "/echo");
    for number in 0..5 {
        hall.say_there(&number.to_string());
    }
    let mut turns = 0;
    while hall.server.shards[0].wait_deadline() == Some(Time::ZERO) {
        hall.server.feed(echo, &text("alive"));
        hall.server.turn(0);
        assert_eq!(hall.server.take_texts(echo), ["alive"], "answered in every turn");
        turns += 1;
    }
    assert!(turns >= 30 / SHARE, "{turns} turns");
    for member in hall.members.clone() {
        assert_eq!(hall.server.take_texts(member), ["0", "1", "2", "3", "4"]);
    }
    hall.server.finish();
}
