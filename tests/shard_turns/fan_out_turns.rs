//! A fan-out over several turns: what one of them sends, who comes and leaves in between, and how others fare.

use std::io::ErrorKind;
use std::sync::Arc;

use fanfare::endpoint::RouterPlan;
use fanfare::id::ShardId;
use fanfare::shard::{Mail, Settings};
use fanfare::time::Time;

use crate::common::endpoints::{Obedient, Record};
use crate::common::{Client, Frame, Server, binary, request, settings, split_response, text};
use crate::fan_out::Hall;

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
        // 64 KiB, 256 bytes of them for each message, is enough for 64 members, who are sent 4 MiB.
        (&[65_275, 100], &[65_279 + 102]),
        (&[65_276, 100], &[65_280, 102]),
        (&[65_277, 100], &[65_281, 102]),
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
        let (probe, answers) = crossbeam_channel::unbounded();
        hall.server.mesh.send(ShardId::new(0), Mail::Report(probe));
        hall.server.turn(0);
        assert_eq!(hall.server.take_texts(echo), ["alive"], "answered in every turn");
        assert_eq!(answers.try_recv(), Ok(ShardId::new(0)), "and so are probes");
        turns += 1;
    }
    assert!(turns >= 30 / SHARE, "{turns} turns");
    for member in hall.members.clone() {
        assert_eq!(hall.server.take_texts(member), ["0", "1", "2", "3", "4"]);
    }
    hall.server.finish();
}

#[test]
fn a_turn_looks_at_its_share_of_those_whose_sockets_take_nothing() {
    const LOOKS_MAX: usize = 16 * SHARE;
    // The publisher who listens stands behind them.
    for (blocked, turns) in
        [(LOOKS_MAX - 1, 1), (LOOKS_MAX, 2), (LOOKS_MAX + 1, 2), (2 * LOOKS_MAX - 1, 2), (2 * LOOKS_MAX, 3)]
    {
        let mut hall = Hall::with_share(blocked);
        for member in hall.members.clone() {
            hall.server.socket(member).room = 0;
        }
        hall.say_there("before");
        hall.server.settle();
        assert_eq!(hall.server.take_texts(hall.publishers[0]), ["before"]);
        hall.say_there("news");
        for turn in 1..=turns {
            assert!(hall.server.shards[0].wait_deadline() == Some(Time::ZERO), "there is more to do");
            hall.server.turn(0);
            let heard = if turn == turns { &["news"][..] } else { &[] };
            assert_eq!(
                hall.server.take_texts(hall.publishers[0]),
                heard,
                "turn {turn}, {blocked} are blocked"
            );
        }
        for member in hall.members.clone() {
            hall.server.socket(member).room = usize::MAX;
        }
        hall.server.settle();
        for member in hall.members.clone() {
            assert_eq!(hall.server.take_texts(member), ["before", "news"]);
        }
        hall.server.finish();
    }
}

#[test]
fn a_small_room_waits_for_one_fan_out_of_a_large_one_and_not_for_the_next() {
    const TURNS: usize = 100;
    // With the publisher who listens.
    let mut hall = Hall::with_share(TURNS * SHARE - 1);
    let (small, speaker) = (hall.server.connect(0, "/rooms/small"), hall.server.connect(1, "/rooms/small"));
    let long = vec![7; 64 << 10];
    hall.say_there("to all");
    hall.server.turn(0);
    hall.say_there("to all again");
    hall.server.feed(speaker, &binary(&long));
    hall.server.settle_shards(&[1]);
    for turn in 2..=TURNS + 2 {
        hall.server.turn(0);
        let is_served = hall.server.socket(small).sends.len() > 1;
        assert_eq!(is_served, turn == TURNS + 2, "in turn {turn}, the second of the second fan-out");
    }
    assert_eq!(hall.server.take_frames(small), [Frame::binary(&long)]);
    hall.server.settle();
    for member in hall.members.clone() {
        assert_eq!(hall.server.take_texts(member), ["to all", "to all again"]);
    }
    hall.server.finish();
}
