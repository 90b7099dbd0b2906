//! Members that fall behind: what they are given once they read again, by policy and by window.

use fanfare::Config;
use fanfare::endpoint::{CloseKind, Endpoint, RouterPlan};
use fanfare::shard::Counter;
use proptest::prelude::*;

use crate::common::endpoints::{Obedient, Record};
use crate::common::{Client, Frame, Server, settings, text};

/// Bytes of a text frame on the wire beside its payload, when that is short.
const HEADER_BYTES: usize = 2;

fn server(shards: usize, config: &Config) -> Server {
    let record = Record::default();
    let make = move |_| Box::new(Obedient::new(record.clone())) as Box<dyn Endpoint>;
    let mut plan = RouterPlan::default();
    plan.add_endpoint("/test", std::sync::Arc::new(make));
    Server::with_rooms(shards, settings(), config.mailbox_bytes, plan, config.room_settings())
}

pub fn with_policy(policy: &str, history_messages: u64) -> Server {
    let lag_policy = vec![policy.parse().unwrap()];
    server(1, &Config { lag_policy, history_messages, ..Config::default() })
}

/// Publishes these numbers, each in a turn of its own.
pub fn burst(server: &mut Server, sender: Client, numbers: std::ops::Range<usize>) {
    for number in numbers {
        server.feed(sender, &text(&format!("m{number}")));
        server.turn(sender.shard);
    }
}

pub fn resume(server: &mut Server, client: Client) {
    server.socket(client).room = usize::MAX;
    server.settle();
}

pub fn skips(server: &Server) -> [u64; 4] {
    [Counter::SkippedOutOfWindow, Counter::SkippedLatest, Counter::SkippedMessages, Counter::CutOutOfWindow]
        .map(|counter| server.counter(counter))
}

#[test]
fn under_skip_a_member_out_of_the_window_goes_on_with_the_newest() {
    for (held, given, counted) in [(9, 1, [1, 0, 9, 0]), (10, 10, [0; 4]), (11, 10, [0; 4])] {
        let mut server = with_policy("skip", held);
        let slow = server.connect(0, "/rooms/a");
        let fast = server.connect(0, "/rooms/a");
        let sender = server.connect(0, "/rooms/a");
        server.socket(slow).room = 0;
        burst(&mut server, sender, 0..10);
        resume(&mut server, slow);
        let got = server.take_texts(slow);
        let expected: Vec<String> = (10 - given..10).map(|number| format!("m{number}")).collect();
        assert_eq!(got, expected, "{held}");
        assert_eq!(skips(&server), counted, "{held}");
        burst(&mut server, sender, 10..13);
        assert_eq!(server.take_texts(slow), ["m10", "m11", "m12"], "it goes on");
        assert_eq!(server.take_texts(fast).len(), 13);
        assert_eq!(server.counter(Counter::Deliveries), 13 + 3 + given as u64);
        assert_eq!(skips(&server), counted);
        server.finish();
    }
}

#[test]
fn under_skip_a_message_that_is_half_out_is_finished_before_the_newest() {
    let mut server = with_policy("skip", 2);
    let slow = server.connect(0, "/rooms/a");
    let sender = server.connect(0, "/rooms/a");
    server.socket(slow).room = HEADER_BYTES + 1;
    burst(&mut server, sender, 0..6);
    resume(&mut server, slow);
    assert_eq!(server.take_texts(slow), ["m0", "m5"]);
    assert_eq!(skips(&server), [1, 0, 4, 0]);
    server.finish();
}

#[test]
fn under_latest_a_member_gets_the_newest_of_a_burst_only() {
    let mut server = with_policy("latest", 100);
    let slow = server.connect(0, "/rooms/a");
    let fast = server.connect(0, "/rooms/a");
    let sender = server.connect(0, "/rooms/a");
    server.socket(slow).room = HEADER_BYTES + 1;
    burst(&mut server, sender, 0..5);
    assert_eq!(server.take_texts(fast).len(), 5, "one that keeps up gets all");
    assert_eq!(skips(&server), [0; 4]);
    resume(&mut server, slow);
    assert_eq!(server.take_texts(slow), ["m0", "m4"], "what was half out, and the newest");
    assert_eq!(skips(&server), [0, 1, 3, 0]);
    let outside = server.connect(0, "/test");
    for number in 5..9 {
        server.feed(outside, &text(&format!("to a m{number}")));
    }
    server.settle();
    assert_eq!(server.take_texts(slow), ["m8"], "of one turn, too");
    assert_eq!(server.take_texts(fast), ["m8"]);
    assert_eq!(server.take_texts(sender), ["m8"]);
    assert_eq!(skips(&server), [0, 1 + 3, 3 + 3 * 3, 0]);
    server.finish();
}

#[test]
fn under_latest_a_message_that_waits_gives_way_to_each_newer_one() {
    let mut server = with_policy("latest", 100);
    let slow = server.connect(0, "/rooms/a");
    let sender = server.connect(0, "/rooms/a");
    server.socket(slow).room = 0;
    burst(&mut server, sender, 0..4);
    // The kernel takes a message's first byte: it is not called back.
    server.socket(slow).room = 1;
    server.turn(0);
    burst(&mut server, sender, 4..7);
    resume(&mut server, slow);
    assert_eq!(server.take_texts(slow), ["m3", "m6"]);
    assert_eq!(skips(&server), [0, 2, 3 + 2, 0]);
    server.finish();
}

#[test]
fn a_member_of_three_rooms_catches_up_in_each_of_them() {
    const ROOMS: [&str; 3] = ["a", "b", "c"];
    let mut server = server(2, &Config { history_bytes: 8 << 20, ..Config::default() });
    let sender = server.connect(1, "/test");
    let slow = server.connect(0, "/test");
    for room in ROOMS {
        server.feed(slow, &text(&format!("own {room}")));
    }
    server.settle();
    server.socket(slow).room = 0;
    let filling = "x".repeat(30_000);
    for number in 0..20 {
        for room in ROOMS {
            server.feed(sender, &text(&format!("to {room} {room} {number} {filling}")));
            server.settle();
        }
    }
    resume(&mut server, slow);
    let got = server.take_texts(slow);
    let served: Vec<(&str, &str)> = got
        .iter()
        .map(|message| message[..5].trim_end_matches(['x', ' ']).split_once(' ').unwrap())
        .collect();
    for room in ROOMS {
        let numbers: Vec<&str> =
            served.iter().filter(|(of, _)| *of == room).map(|(_, number)| *number).collect();
        assert_eq!(numbers, (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
    }
    let changes = served.windows(2).filter(|pair| pair[0].0 != pair[1].0).count();
    assert!(changes >= 2 * 3, "no room waits until another is done: {served:?}");
    server.finish();
}

#[test]
fn what_lies_behind_a_long_run_of_own_messages_is_sent_too() {
    let mut server = server(1, &Config { history_bytes: 8 << 20, ..Config::default() });
    let slow = server.connect(0, "/rooms/a");
    let other = server.connect(0, "/rooms/a");
    server.socket(slow).room = 0;
    burst(&mut server, other, 0..1);
    for _ in 0..8 {
        server.feed(slow, &text(&"own".repeat(30_000)));
        server.settle();
    }
    burst(&mut server, other, 1..2);
    resume(&mut server, slow);
    assert_eq!(server.take_texts(slow), ["m0", "m1"]);
    server.finish();
}

#[test]
fn what_is_read_from_the_window_before_it_arrives_is_not_sent_twice() {
    const MEMBERS: usize = 30;
    let mut server =
        server(2, &Config { history_bytes: 32 << 20, mailbox_bytes: 1 << 30, ..Config::default() });
    let members: Vec<Client> = (0..MEMBERS).map(|_| server.connect(0, "/rooms/a?echo=true")).collect();
    let sender = server.connect(1, "/rooms/a");
    let slow = members[0];
    server.socket(slow).room = 0;
    let message = |number: usize| format!("{number} {}", "x".repeat(50_000));
    for number in 0..12 {
        server.feed(sender, &text(&message(number)));
        server.turn(1);
        if number == 0 {
            server.turn(0);
        }
    }
    // A turn's share of the inbox is less than all, and the window has all: the rest arrives later.
    server.socket(slow).room = usize::MAX;
    server.turn(0);
    let first = server.take_texts(slow);
    assert!(first.len() > server.take_texts(members[1]).len(), "ahead of what has arrived");
    let second = {
        server.settle();
        server.take_texts(slow)
    };
    let got: Vec<String> = first.into_iter().chain(second).collect();
    assert_eq!(got, (0..12).map(message).collect::<Vec<_>>());
    server.finish();
}

#[test]
fn who_comes_back_within_a_turn_gets_nothing_from_before() {
    let mut server = server(1, &Config::default());
    let passing = server.connect(0, "/test");
    let stays = server.connect(0, "/test");
    server.feed(stays, &text("join a"));
    server.feed(passing, &text("join a"));
    server.settle();
    for command in ["all own", "leave a", "join a"] {
        server.feed(passing, &text(command));
    }
    server.settle();
    assert_eq!(server.take_texts(passing), [""; 0]);
    assert_eq!(server.take_texts(stays), ["own"]);
    server.finish();
}

#[test]
fn a_slow_member_of_several_rooms_gets_something_of_each() {
    let lag_policy = vec!["latest".parse().unwrap()];
    let mut server = server(1, &Config { lag_policy, ..Config::default() });
    let sender = server.connect(0, "/test");
    let slow = server.connect(0, "/test");
    for room in ["a", "b", "c"] {
        server.feed(slow, &text(&format!("join {room}")));
    }
    server.settle();
    for number in 10..40 {
        // One message of three.
        server.socket(slow).room = HEADER_BYTES + "a 10".len();
        for room in ["a", "b", "c"] {
            server.feed(sender, &text(&format!("to {room} {room} {number}")));
        }
        server.turn(0);
    }
    let got = String::from_utf8_lossy(&server.take_output(slow)).into_owned();
    for room in ["a ", "b ", "c "] {
        assert!(got.matches(room).count() >= 9, "{room}: {got}");
    }
    server.finish();
}

#[test]
fn a_shutdown_sends_a_lagging_member_all_that_is_held() {
    let mut server = server(2, &Config { history_bytes: 8 << 20, history_messages: 50, ..Config::default() });
    let sender = server.connect(1, "/test");
    let slow = server.connect(0, "/test");
    for room in ["kept", "lost", "also"] {
        server.feed(slow, &text(&format!("own {room}")));
    }
    server.settle();
    server.socket(slow).room = HEADER_BYTES + 1;
    for (room, messages, bytes) in [("kept", 50, 20_000), ("lost", 51, 1), ("also", 3, 1)] {
        for number in 0..messages {
            server.feed(sender, &text(&format!("to {room} {room} {number} {}", "x".repeat(bytes))));
            server.settle();
        }
    }
    let deadline = server.now() + settings().close_timeout;
    server.drain(deadline);
    server.settle();
    resume(&mut server, slow);
    let mut frames = server.take_frames(slow);
    assert_eq!(frames.pop().unwrap().close().unwrap().0, 1001);
    let count = |room: &str| {
        let of = |frame: &&Frame| frame.payload.starts_with(format!("{room} ").as_bytes());
        frames.iter().filter(of).count()
    };
    assert_eq!([count("kept"), count("lost"), count("also")], [50, 0, 3], "what was half out among it");
    server.finish();
}

/// The last offset that a Close names.
fn offset_of(reason: &str) -> usize {
    let (_, place) = reason.rsplit_once(':').unwrap();
    place.split_once(' ').unwrap().0.parse().unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    /// The member, and how long the message is.
    Publish(usize, usize),
    /// The member, and how many bytes the kernel takes.
    Room(usize, usize),
    Turn(usize),
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    let room = prop_oneof![3 => 0usize..100, 1 => Just(100_000), 1 => Just(usize::MAX)];
    let bytes = prop_oneof![8 => 0usize..60, 1 => Just(70_000)];
    prop_oneof![
        6 => (0usize..6, bytes).prop_map(|(member, bytes)| Step::Publish(member, bytes)),
        5 => (0usize..6, room).prop_map(|(member, room)| Step::Room(member, room)),
        5 => (0usize..2).prop_map(Step::Turn),
        1 => Just(Step::Settle),
    ]
}

struct Member {
    client: Client,
    own: bool,
}

/// Everybody in one room, and one who misses nothing.
struct Run {
    server: Server,
    members: Vec<Member>,
    witness: Client,
}

impl Run {
    fn new(policy: &str, members: &[(usize, bool)], history_messages: u64) -> Run {
        let lag_policy = vec![policy.parse().unwrap()];
        let config = Config { lag_policy, history_messages, history_bytes: 64 << 20, ..Config::default() };
        let mut server = server(2, &config);
        let mut connect = |(shard, own): &(usize, bool)| {
            let client = server.connect(*shard, &format!("/rooms/a?echo={own}"));
            Member { client, own: *own }
        };
        let witness = connect(&(0, true)).client;
        let members = members.iter().map(&mut connect).collect();
        server.settle();
        Run { server, members, witness }
    }

    /// Returns the room's messages in order.
    fn go(&mut self, steps: Vec<Step>) -> Vec<String> {
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Publish(member, bytes) => {
                    let member = member % self.members.len();
                    let message = format!("{member} {number} {}", "x".repeat(bytes));
                    self.server.feed(self.members[member].client, &text(&message));
                }
                Step::Room(member, room) => {
                    let client = self.members[member % self.members.len()].client;
                    self.server.socket(client).room = room;
                }
                Step::Turn(shard) => self.server.turn(shard),
                Step::Settle => self.server.settle(),
            }
        }
        for member in &self.members {
            self.server.socket(member.client).room = usize::MAX;
        }
        self.server.settle();
        let order = self.server.take_texts(self.witness);
        self.check_senders(&order);
        order
    }

    /// Each sender's own order stands, and nothing comes twice.
    fn check_senders(&self, got: &[String]) {
        for number in 0..self.members.len() {
            let sent = got.iter().filter_map(|message| message.strip_prefix(&format!("{number} ")));
            let numbers: Vec<usize> =
                sent.map(|message| message.split_once(' ').unwrap().0.parse().unwrap()).collect();
            assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        }
    }

    /// The messages that a member got, and the last offset that its Close names.
    fn got(&mut self, member: usize) -> (Vec<String>, Option<usize>) {
        let mut frames = self.server.take_frames(self.members[member].client);
        let cut = frames.last().and_then(Frame::close).map(|(code, reason)| {
            assert_eq!(code, 1008);
            offset_of(&reason)
        });
        if cut.is_some() {
            frames.pop();
        }
        let text = |frame: Frame| String::from_utf8(frame.payload).unwrap();
        (frames.into_iter().map(text).collect(), cut)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_member_gets_its_messages_once_in_order_up_to_where_its_close_says(
        members in prop::collection::vec((0usize..2, any::<bool>()), 2..6),
        history_messages in prop_oneof![Just(1024), 1u64..12],
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let mut run = Run::new("disconnect", &members, history_messages);
        let order = run.go(steps);
        let mut cuts = 0;
        for number in 0..members.len() {
            let (got, cut) = run.got(number);
            cuts += u64::from(cut.is_some());
            let until = cut.unwrap_or(order.len());
            let own = format!("{number} ");
            let receives = |message: &&String| run.members[number].own || !message.starts_with(&own);
            let expected: Vec<&String> = order[..until].iter().filter(receives).collect();
            prop_assert_eq!(got.iter().collect::<Vec<_>>(), expected);
            prop_assert!(cut.is_none_or(|until| until + (history_messages as usize) < order.len()));
        }
        prop_assert_eq!(run.server.counter(Counter::CutOutOfWindow), cuts);
        prop_assert_eq!(run.server.closes(CloseKind::OutOfWindow), cuts);
        run.server.finish();
    }

    #[test]
    fn who_is_not_cut_goes_on_with_the_newest_and_what_was_left_out_is_counted(
        shards in prop::collection::vec(0usize..2, 2..6),
        history_messages in 1u64..12,
        latest in any::<bool>(),
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let members: Vec<(usize, bool)> = shards.iter().map(|shard| (*shard, true)).collect();
        let policy = if latest { "latest" } else { "skip" };
        let mut run = Run::new(policy, &members, history_messages);
        let witnessed = run.go(steps);
        let mut missing = 0;
        for number in 0..members.len() {
            let (got, cut) = run.got(number);
            prop_assert_eq!((cut, got.last()), (None, witnessed.last()));
            if !latest {
                // Under `latest` nobody sees all, and there is no order to compare with.
                let mut order = witnessed.iter();
                prop_assert!(got.iter().all(|message| order.any(|next| next == message)), "in order, once");
            }
            run.check_senders(&got);
            missing += run.server.counter(Counter::Publications) - got.len() as u64;
        }
        missing += run.server.counter(Counter::Publications) - witnessed.len() as u64;
        prop_assert_eq!(run.server.counter(Counter::SkippedMessages), missing);
        run.server.finish();
    }
}

#[test]
fn under_latest_the_newest_message_is_the_newest_that_the_member_gets() {
    let mut server = with_policy("latest", 100);
    let first = server.connect(0, "/rooms/a");
    let second = server.connect(0, "/rooms/a");
    server.feed(first, &text("of the first"));
    server.feed(second, &text("of the second"));
    server.settle();
    assert_eq!(server.take_texts(second), ["of the first"], "its own came behind");
    assert_eq!(server.take_texts(first), ["of the second"]);
    server.finish();
}

#[test]
fn under_latest_what_a_member_says_itself_does_not_take_the_newest_of_the_others_away() {
    for held in [2, 100] {
        let mut server = with_policy("latest", held);
        let slow = server.connect(0, "/rooms/a");
        let other = server.connect(0, "/rooms/a");
        server.socket(slow).room = 0;
        burst(&mut server, other, 0..3);
        burst(&mut server, slow, 3..4);
        resume(&mut server, slow);
        assert_eq!(server.take_texts(slow), ["m2"], "{held}");
        assert_eq!(skips(&server), [0, 1, 2, 0], "{held}");
        server.finish();
    }
}

#[test]
fn under_latest_a_position_is_honoured_only_where_at_most_the_newest_was_missed() {
    let mut server = with_policy("latest", 100);
    let member = server.connect(0, "/rooms/a?echo=true");
    burst(&mut server, member, 0..5);
    let answer = |server: &mut Server, query: &str| {
        let client = server.adopt(0);
        server.feed(client, &crate::common::request(&format!("/rooms/a?{query}")));
        server.settle();
        String::from_utf8_lossy(&server.take_output(client)).into_owned()
    };
    let last = answer(&mut server, "last=3");
    assert!(last.contains("Fanfare-From: 4\r\n") && last.ends_with("m4"), "{last}");
    let epoch = last.split("Fanfare-Epoch: ").nth(1).unwrap()[..16].to_owned();
    for (offset, status) in [(3, "410"), (4, "101"), (5, "101")] {
        let answer = answer(&mut server, &format!("since={epoch}:{offset}"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{offset}: {answer}");
    }
    server.finish();
}
