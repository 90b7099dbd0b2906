//! What a turn of a fan-out costs at most, whatever is published and whoever reads it.

use std::sync::Arc;

use fanfare::Config;
use fanfare::endpoint::{RouterPlan, Scarcity};
use fanfare::id::ShardId;
use fanfare::shard::{Counter, Mail, Settings, ShedOrder};
use fanfare::time::Time;

use crate::common::endpoints::{Obedient, Record};
use crate::common::{Client, Server, binary, settings, text};

/// What the fan-out of a turn sends; for the last member it may be more.
const TURN_BYTES: u64 = 4 << 20;

/// A room on the first shard, read as event streams.
struct Streams {
    server: Server,
    readers: Vec<Client>,
}

impl Streams {
    fn new(readers: usize) -> Streams {
        let mut server = Server::with(2, settings(), 16 << 20, RouterPlan::default());
        let readers = (0..readers).map(|_| events_reader(&mut server)).collect();
        Streams { server, readers }
    }

    /// Goes on until nothing is left to do; returns the most bytes of a turn.
    fn finish_fan_outs(&mut self) -> u64 {
        let mut most = 0;
        while self.server.shards[0].wait_deadline() == Some(Time::ZERO) {
            let before = self.server.counter(Counter::BytesOut);
            self.server.turn(0);
            most = most.max(self.server.counter(Counter::BytesOut) - before);
        }
        most
    }

    /// The messages that each reader has got, and the bytes.
    fn check_received(&mut self, messages: usize) -> u64 {
        let mut bytes = 0;
        for reader in self.readers.clone() {
            let output = String::from_utf8(self.server.take_output(reader)).expect("events are text");
            assert_eq!(output.lines().filter(|line| line.starts_with("data:")).count(), messages);
            bytes = output.len() as u64;
        }
        bytes
    }
}

fn events_reader(server: &mut Server) -> Client {
    let reader = server.adopt(0);
    server.feed(reader, b"GET /rooms/hall/events HTTP/1.1\r\nHost: test\r\n\r\n");
    server.settle();
    server.take_output(reader);
    reader
}

#[test]
fn the_bytes_of_a_turn_are_those_of_the_encoding_that_is_sent() {
    const MESSAGES: usize = 1400;
    let mut hall = Streams::new(300);
    let publisher = hall.server.connect(1, "/rooms/hall");
    // Less than 3 KiB as frames, in one publication.
    hall.server.feed(publisher, &(0..MESSAGES).flat_map(|_| text("")).collect::<Vec<u8>>());
    hall.server.turn(1);
    let most = hall.finish_fan_outs();
    let each = hall.check_received(MESSAGES);
    assert!(
        each > 10 * 3 * MESSAGES as u64 && most < TURN_BYTES + each,
        "{most} bytes in a turn, {each} each"
    );
    hall.server.finish();
}

#[test]
fn many_short_publications_are_taken_some_at_a_time_and_leave_in_few_sends() {
    const PUBLICATIONS: usize = 10_000;
    let mut hall = Streams::new(64);
    let one = "POST /rooms/hall HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\nx";
    let publisher = hall.server.adopt(1);
    hall.server.feed(publisher, one.repeat(PUBLICATIONS).as_bytes());
    hall.server.settle_shards(&[1]);
    assert!(hall.server.mesh.mail_waiting(ShardId::new(0)) >= PUBLICATIONS);
    let most = hall.finish_fan_outs();
    let sends = hall.server.socket(hall.readers[0]).sends.len();
    hall.check_received(PUBLICATIONS);
    assert!(most < TURN_BYTES + (64 << 10), "{most} bytes in a turn");
    assert!(sends < 50, "{sends} sends for each reader");
    hall.server.settle();
    hall.server.finish();
}

#[test]
fn much_of_several_rooms_is_planned_a_send_at_a_time() {
    const EACH: usize = 50;
    let record = Record::default();
    let mut plan = RouterPlan::default();
    plan.add_endpoint("/test", Arc::new(move |_| Box::new(Obedient::new(record.clone()))));
    let mut server = Server::with(2, settings(), 1 << 20, plan);
    let (member, speaker) = (server.connect(0, "/test"), server.connect(1, "/test"));
    let rooms = ["a", "b", "c"];
    rooms.iter().for_each(|room| server.feed(member, &text(&format!("join {room}"))));
    server.settle();
    server.take_output(member);
    for number in 0..EACH {
        for room in rooms {
            server.feed(speaker, &text(&format!("to {room} {room}{number}")));
            server.turn(1);
        }
    }
    server.settle();
    assert_eq!(server.socket(member).sends.len() - 1, 3, "150 publications, 64 in a send");
    let heard = server.take_texts(member);
    for room in rooms {
        let of_room: Vec<&String> = heard.iter().filter(|text| text.starts_with(room)).collect();
        assert!(
            of_room
                .into_iter()
                .eq((0..EACH).map(|number| format!("{room}{number}")).collect::<Vec<_>>().iter())
        );
    }
    server.finish();
}

#[test]
fn of_a_room_of_the_latest_the_bytes_of_a_turn_are_those_that_are_sent() {
    const MESSAGE_BYTES: usize = 3000;
    let config = Config { lag_policy: vec!["latest".parse().expect("a policy")], ..Config::default() };
    let rooms = config.room_settings();
    let mut server = Server::with_rooms(2, settings(), 1 << 20, RouterPlan::default(), rooms);
    let members: Vec<Client> = (0..1000).map(|_| server.connect(0, "/rooms/news")).collect();
    let speaker = server.connect(1, "/rooms/news");
    // Each two are one batch.
    for number in 0..20 {
        server.feed(speaker, &binary(&[number; MESSAGE_BYTES]));
        if number % 2 == 1 {
            server.turn(1);
        }
    }
    server.turn(0);
    assert!(server.shards[0].wait_deadline() != Some(Time::ZERO), "3 MB are less than a turn's share");
    for member in members {
        let frames = server.take_frames(member);
        assert!(frames.iter().map(|frame| frame.payload[0]).eq([19]));
    }
    server.finish();
}

#[test]
fn a_room_that_was_not_reached_is_not_put_behind() {
    const SHARE: usize = 3;
    let mut server = Server::new(2, Settings { fan_out_members_max: SHARE, ..settings() });
    // The first room's members are just what a turn sends to.
    let rooms = [("a", SHARE), ("b", 1), ("c", 5 * SHARE), ("d", 5 * SHARE)];
    let mut only_one_of_b = None;
    for (room, members) in rooms {
        for _ in 0..members {
            let member = server.connect(0, &format!("/rooms/{room}"));
            only_one_of_b = only_one_of_b.or((room == "b").then_some(member));
        }
    }
    for (room, _) in rooms {
        let speaker = server.connect(1, &format!("/rooms/{room}"));
        server.feed(speaker, &text("news"));
        server.turn(1);
    }
    server.turn(0);
    server.turn(0);
    assert_eq!(server.take_texts(only_one_of_b.expect("it has joined")), ["news"]);
    server.settle();
    server.finish();
}

#[test]
fn slow_consumers_are_shed_within_a_fan_out() {
    let mut server = Server::new(2, Settings { fan_out_members_max: 1, ..settings() });
    let slow = server.connect(0, "/rooms/other");
    let members: Vec<Client> = (0..20).map(|_| server.connect(0, "/rooms/hall")).collect();
    let (other, speaker) = (server.connect(1, "/rooms/other"), server.connect(1, "/rooms/hall"));
    server.socket(slow).room = 0;
    server.feed(other, &text("what it does not take"));
    server.settle();
    server.feed(speaker, &text("long"));
    server.turn(1);
    server.turn(0);
    let order = ShedOrder { scarcity: Scarcity::Memory, percent: 90, connections: 10, bytes: 1 << 20 };
    server.mesh.send(ShardId::new(0), Mail::Shed(order));
    server.turn(0);
    assert_eq!(server.counter(Counter::Closing), 1);
    assert!(server.shards[0].wait_deadline() == Some(Time::ZERO), "the fan-out goes on");
    server.socket(slow).room = usize::MAX;
    server.settle();
    for member in members {
        assert_eq!(server.take_texts(member), ["long"]);
    }
    server.finish();
}

#[test]
fn members_of_many_rooms_are_charged_what_they_are_sent_of_all() {
    const ROOMS: usize = 40;
    let message = [b'm'; 4 << 10];
    let record = Record::default();
    let mut plan = RouterPlan::default();
    plan.add_endpoint("/test", Arc::new(move |_| Box::new(Obedient::new(record.clone()))));
    let mut server = Server::with(2, settings(), 1 << 20, plan);
    let members: Vec<Client> = (0..100).map(|_| server.connect(0, "/test")).collect();
    for (member, room) in members.iter().flat_map(|member| (0..ROOMS).map(move |room| (member, room))) {
        server.feed(*member, &text(&format!("join r{room}")));
    }
    server.settle();
    members.iter().for_each(|member| drop(server.take_output(*member)));
    for room in 0..ROOMS {
        let speaker = server.connect(1, &format!("/rooms/r{room}"));
        server.feed(speaker, &binary(&message));
        server.turn(1);
    }
    let mut most = 0;
    while server.shards[0].wait_deadline() == Some(Time::ZERO) {
        let before = server.counter(Counter::BytesOut);
        server.turn(0);
        most = most.max(server.counter(Counter::BytesOut) - before);
    }
    assert!(most < TURN_BYTES + (ROOMS * (message.len() + 10)) as u64, "{most} bytes in a turn");
    for member in members {
        assert_eq!(server.take_frames(member).len(), ROOMS);
    }
    server.finish();
}
