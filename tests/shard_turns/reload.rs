//! Other settings in the middle of everything: what is there stays, and what comes next is measured anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fanfare::Config;
use fanfare::endpoint::{
    Accept, CloseKind, Effects, Endpoint, EndpointSettings, OpenRequest, Relay, RouterPlan,
};
use fanfare::protocol::{Message, Opcode, Refusal};
use fanfare::shard::Counter;
use fanfare::{ConnectionId, ShardId};
use proptest::prelude::*;

use crate::common::server::TICK;
use crate::common::{Client, Frame, Server, client_frame, pong, settings, split_response, text};

const NANOSECOND: Duration = Duration::from_nanos(1);

fn start(shards: usize, config: &Config) -> Server {
    let plan = RouterPlan::default();
    Server::with_rooms(shards, config.settings(), config.mailbox_bytes, plan, config.room_settings())
}

fn with_max_message(max_message: usize) -> Config {
    Config { max_message, ..Config::default() }
}

#[test]
fn the_next_message_has_the_new_limit_on_connections_that_were_there() {
    for (before, after) in [(100, 50), (50, 100)] {
        for (bytes, ok) in [(after - 1, true), (after, true), (after + 1, false)] {
            let mut server = start(2, &with_max_message(before));
            let clients = [0, 1].map(|shard| server.connect(shard, "/echo"));
            server.reload(&with_max_message(after));
            server.settle();
            for client in clients {
                server.feed(client, &text(&"m".repeat(bytes)));
                server.settle();
                match ok {
                    true => assert_eq!(server.take_texts(client), ["m".repeat(bytes)]),
                    false => assert_eq!(server.take_close(client).0, 1009, "{before} {after}"),
                }
            }
            server.finish();
        }
    }
}

#[test]
fn a_frame_that_has_begun_arrives_whole_and_a_fragment_after_the_reload_counts_anew() {
    let mut server = start(1, &with_max_message(100));
    let (whole, cut) = (server.connect(0, "/echo"), server.connect(0, "/echo"));
    let frame = text(&"m".repeat(100));
    server.feed(whole, &frame[..50]);
    server.feed(cut, &client_frame(Opcode::Text, false, &[b'm'; 40]));
    server.settle();
    server.reload(&with_max_message(50));
    server.settle();
    server.feed(whole, &frame[50..]);
    server.feed(cut, &client_frame(Opcode::Continuation, true, &[b'm'; 40]));
    server.settle();
    assert_eq!(server.take_texts(whole), ["m".repeat(100)]);
    assert_eq!(server.take_close(cut).0, 1009);
    server.finish();
}

#[test]
fn a_deadline_that_runs_ends_as_it_began_and_the_next_one_is_new() {
    let with_timeout =
        |seconds| Config { handshake_timeout: Duration::from_secs(seconds), ..Config::default() };
    for (before, after) in [(5, 2), (5, 20)] {
        let mut server = start(1, &with_timeout(before));
        let old = server.adopt(0);
        server.settle();
        server.reload(&with_timeout(after));
        server.settle();
        let new = server.adopt(0);
        server.settle();
        let mut ends = [(before, old), (after, new)];
        ends.sort_by_key(|(seconds, _)| *seconds);
        let mut passed = Duration::ZERO;
        for (seconds, client) in ends {
            let end = Duration::from_secs(seconds);
            server.advance(end - NANOSECOND - passed);
            assert!(!server.is_closed(client), "{before} {after}");
            server.advance(TICK);
            assert!(server.is_closed(client), "{before} {after}");
            passed = end - NANOSECOND + TICK;
        }
        server.finish();
    }
}

#[test]
fn a_silent_peer_is_pinged_as_it_was_to_be_and_then_at_the_new_interval() {
    let with_interval = |seconds| Config { ping_interval: Duration::from_secs(seconds), ..Config::default() };
    for (before, after) in [(30, 5), (30, 90)] {
        let mut server = start(1, &with_interval(before));
        let client = server.connect(0, "/rooms/a");
        server.reload(&with_interval(after));
        server.settle();
        for seconds in [before, after, after] {
            server.advance(Duration::from_secs(seconds) - NANOSECOND);
            assert_eq!(server.take_frames(client), [], "{before} {after}");
            server.advance(TICK);
            assert_eq!(server.take_frames(client), [Frame::ping()], "{before} {after}");
            server.feed(client, &pong(b""));
            server.settle();
        }
        server.finish();
    }
}

#[test]
fn rates_count_anew_and_a_debt_is_paid_as_it_was_made() {
    let with_rate = |message_rate| Config { message_rate, ..Config::default() };
    let mut server = start(1, &with_rate(100));
    let (quick, slow) = (server.connect(0, "/echo"), server.connect(0, "/echo"));
    server.advance(Duration::from_secs(1));
    server.feed(slow, &text("m").repeat(150));
    server.settle();
    assert!(!server.socket(slow).interest.readable);
    server.reload(&with_rate(10));
    server.settle();
    server.advance(Duration::from_millis(500) + TICK);
    assert!(server.socket(slow).interest.readable, "half a second's worth too much was half a second");
    for (count, readable) in [(10, true), (11, false)] {
        server.advance(Duration::from_secs(2));
        server.feed(quick, &text("m").repeat(count));
        server.settle();
        assert_eq!(server.socket(quick).interest.readable, readable, "{count}");
    }
    server.finish();
}

/// A member that takes nothing, and ten messages that wait for it.
fn behind(config: &Config) -> (Server, Client) {
    let mut server = start(1, config);
    let [slow, sender] = [(); 2].map(|()| server.connect(0, "/rooms/a"));
    server.socket(slow).room = 0;
    for number in 0..10 {
        server.feed(sender, &text(&format!("m{number}")));
        server.turn(0);
    }
    (server, slow)
}

fn with_policy(policy: &str, history_messages: u64) -> Config {
    let lag_policy = vec![policy.parse().unwrap()];
    Config { lag_policy, history_messages, ..Config::default() }
}

#[test]
fn who_has_fallen_behind_is_dealt_with_by_the_new_policy() {
    let all: Vec<String> = (0..10).map(|number| format!("m{number}")).collect();
    for (before, after, got) in [
        ("disconnect", "latest", Some(&all[9..])),
        ("latest", "disconnect", Some(&all[..])),
        ("skip", "disconnect", Some(&all[..])),
    ] {
        let (mut server, slow) = behind(&with_policy(before, 100));
        server.reload(&with_policy(after, 100));
        server.settle();
        server.socket(slow).room = usize::MAX;
        server.settle();
        assert_eq!(Some(&server.take_texts(slow)[..]), got, "{before} {after}");
        server.finish();
    }
    for (after, closed) in [("skip", 0), ("disconnect", 1)] {
        let (mut server, slow) = behind(&with_policy(if closed == 0 { "disconnect" } else { "skip" }, 3));
        server.reload(&with_policy(after, 3));
        server.settle();
        server.socket(slow).room = usize::MAX;
        server.settle();
        assert_eq!(server.closes(CloseKind::OutOfWindow), closed, "{after}");
        server.finish();
    }
}

#[test]
fn a_policy_does_not_change_what_a_turn_has_begun_to_send() {
    // Under one policy all that came in a turn is sent from the batches, under the other only the newest.
    for (before, after) in [("disconnect", "latest"), ("latest", "disconnect")] {
        let mut server = start(1, &with_policy(before, 100));
        let [slow, sender] = [(); 2].map(|()| server.connect(0, "/rooms/a"));
        for round in 0..40 {
            let policy = if round % 2 == 0 { after } else { before };
            server.reload(&with_policy(policy, 100));
            server.feed(sender, &text("one message").repeat(3));
            server.socket(slow).room = round;
            server.settle();
            server.socket(slow).room = usize::MAX;
            server.settle();
        }
        // Each frame is whole.
        let frames = server.take_frames(slow);
        assert!(frames.len() >= 40, "{}", frames.len());
        assert!(frames.iter().all(|frame| frame.payload == b"one message"));
        assert_eq!(server.closes(CloseKind::OutOfWindow), 0);
        server.finish();
    }
}

#[test]
fn origins_are_those_of_the_reload_for_the_next_request_on_a_connection_too() {
    let from = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: own\r\nOrigin: https://a.example\r\n\r\n").into_bytes()
    };
    let allow_origin = vec!["https://a.example".parse().unwrap()];
    let allowed = Config { allow_origin, ..Config::default() };
    let mut server = start(1, &Config::default());
    let client = server.adopt(0);
    for (config, status) in [(&Config::default(), 403), (&allowed, 404), (&Config::default(), 403)] {
        server.reload(config);
        server.settle();
        server.feed(client, &from("/rooms/a"));
        server.settle();
        assert_eq!(split_response(&server.take_output(client)).0, status);
    }
    server.finish();
}

/// Counts reloads, and panics in them if it is told to.
struct Told {
    reloads: Arc<AtomicUsize>,
    panics: bool,
}

impl Endpoint for Told {
    fn open<'m>(
        &mut self,
        _: ConnectionId,
        _: &OpenRequest<'_>,
        _: &mut Effects<'m>,
    ) -> Result<Accept, Refusal> {
        Ok(Accept::default())
    }

    fn message<'m>(&mut self, _: ConnectionId, message: Message<'m>, effects: &mut Effects<'m>) {
        effects.send(message);
    }

    fn reload(&mut self, settings: &EndpointSettings) {
        assert_eq!(settings.command_rate, 7);
        self.reloads.fetch_add(1, Ordering::Relaxed);
        assert!(!self.panics, "on purpose");
    }
}

#[test]
fn every_instance_of_every_endpoint_is_told_and_a_panic_there_ends_nothing() {
    let reloads = Arc::new(AtomicUsize::new(0));
    let mut plan = RouterPlan::default();
    for (path, panics) in [("/told", false), ("/panics", true), ("/told-too", false)] {
        let reloads = Arc::clone(&reloads);
        let make =
            move |_: ShardId| Box::new(Told { reloads: Arc::clone(&reloads), panics }) as Box<dyn Endpoint>;
        plan.add_endpoint(path, Arc::new(make));
    }
    let mut server = Server::with(2, settings(), Config::default().mailbox_bytes, plan);
    let client = server.connect(1, "/panics");
    server.reload(&Config { command_rate: 7, max_message: 3, ..Config::default() });
    server.settle();
    assert_eq!(reloads.load(Ordering::Relaxed), 6);
    server.feed(client, &text("abc"));
    server.settle();
    assert_eq!(server.take_texts(client), ["abc"]);
    server.feed(client, &text("abcd"));
    server.settle();
    assert_eq!(server.take_close(client).0, 1009, "the rest of the reload has been taken");
    server.finish();
}

#[test]
fn an_endpoint_with_settings_of_its_own_keeps_them() {
    let mut plan = RouterPlan::default();
    plan.add_endpoint("/read/{room}", Arc::new(|_| Box::new(Relay { member_publish: false })));
    let mut server = Server::with(1, settings(), Config::default().mailbox_bytes, plan);
    let client = server.connect(0, "/read/a");
    server.reload(&Config::default());
    server.feed(client, &text("m"));
    server.settle();
    assert_eq!(server.take_close(client).0, 1008);
    server.finish();
}

#[test]
fn publishers_that_wait_for_an_inbox_go_on_when_it_may_hold_more() {
    let with_mailbox = |mailbox_bytes| Config { mailbox_bytes, ..Config::default() };
    let mut server = start(2, &with_mailbox(64 << 10));
    let member = server.connect(1, "/rooms/a");
    let sender = server.connect(0, "/rooms/a");
    server.feed(sender, &text(&"m".repeat(100 << 10)));
    server.turn(0);
    server.turn(0);
    assert!(!server.socket(sender).interest.readable, "the other shard does not turn");
    server.reload(&with_mailbox(16 << 20));
    server.turn(0);
    server.turn(0);
    assert!(server.socket(sender).interest.readable);
    assert_eq!(server.counter(Counter::PublisherPauses), 1);
    server.reload(&with_mailbox(64 << 10));
    server.turn(0);
    server.feed(sender, &text("next"));
    server.turn(0);
    assert_eq!(server.counter(Counter::PublisherPauses), 2, "it is full again by the smaller bound");
    server.settle();
    assert_eq!(server.take_frames(member).len(), 2);
    assert!(server.socket(sender).interest.readable);
    server.finish();
}

/// The smallest or the largest value that is allowed of each of many settings, and defaults between.
fn any_config() -> impl Strategy<Value = Config> {
    let pick = |low: usize, high: usize| prop_oneof![Just(low), Just(high)];
    let limits = (pick(1, 1 << 20), pick(1, 1024), pick(256, 8 << 10), pick(8, 64), pick(1, 128));
    let queues =
        (pick(4 << 10, 1 << 20), pick(4 << 10, 64 << 10), pick(64 << 10, 64 << 20), pick(0, 1 << 20));
    let rooms =
        (pick(4 << 10, 1 << 20), pick(1, 1024), pick(100, 300_000), prop::sample::select(&POLICIES[..]));
    let rates = (pick(1, 20_000), pick(64 << 10, 64 << 20), pick(1, 50), pick(64 << 10, 16 << 20));
    let deadlines = (pick(100, 30_000), pick(100, 10_000), pick(100, 5000));
    (limits, queues, rooms, rates, deadlines).prop_map(|(limits, queues, rooms, rates, deadlines)| {
        let milliseconds = |value: usize| Duration::from_millis(value as u64);
        Config {
            max_message: limits.0,
            max_fragments: limits.1 as u32,
            max_head: limits.2,
            max_headers: limits.3,
            max_memberships: limits.4,
            queue_bytes: queues.0,
            reply_bytes: queues.1,
            http_bytes: queues.2,
            linger_bytes: queues.3,
            history_bytes: rooms.0,
            history_messages: rooms.1 as u64,
            history_age: milliseconds(rooms.2),
            lag_policy: vec![rooms.3.parse().unwrap()],
            message_rate: rates.0 as u32,
            byte_rate: rates.1,
            ping_rate: rates.2 as u32,
            mailbox_bytes: rates.3,
            ping_interval: milliseconds(deadlines.0),
            message_timeout: milliseconds(deadlines.1),
            handshake_timeout: milliseconds(deadlines.2),
            ..Config::default()
        }
    })
}

const POLICIES: [&str; 3] = ["disconnect", "skip", "latest"];

/// What a client does next.
#[derive(Clone, Debug)]
enum Step {
    Send(usize, usize),
    Fragment(usize, bool),
    /// A part of a frame of this size.
    Cut(usize, usize),
    Request(usize),
    Room(usize, usize),
    Pass(u64),
    Turn(usize),
    Reload(Box<Config>),
}

fn any_step() -> impl Strategy<Value = Step> {
    let client = 0..6usize;
    let bytes = prop_oneof![0..200usize, 1000..9000usize, Just(70 << 10)];
    prop_oneof![
        4 => (client.clone(), bytes.clone()).prop_map(|(client, bytes)| Step::Send(client, bytes)),
        2 => (client.clone(), any::<bool>()).prop_map(|(client, fin)| Step::Fragment(client, fin)),
        2 => (client.clone(), bytes).prop_map(|(client, bytes)| Step::Cut(client, bytes)),
        1 => client.clone().prop_map(Step::Request),
        2 => (client, prop_oneof![Just(0), 1..5000usize, Just(usize::MAX)])
            .prop_map(|(client, room)| Step::Room(client, room)),
        2 => (0..40_000u64).prop_map(Step::Pass),
        3 => (0..2usize).prop_map(Step::Turn),
        3 => any_config().prop_map(|config| Step::Reload(Box::new(config))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// The shards' own assertions hold through it, and the end finds nothing left.
    #[test]
    fn nothing_breaks_whatever_is_reloaded_in_the_middle_of_whatever(
        steps in prop::collection::vec(any_step(), 1..60)
    ) {
        let mut server = start(2, &Config::default());
        let paths = ["/echo", "/rooms/a", "/rooms/a?last=3", "/rooms/b"];
        let mut clients: Vec<Client> = (0..4).map(|at| server.connect(at % 2, paths[at])).collect();
        clients.extend([server.adopt(0), server.adopt(1)]);
        for step in steps {
            match step {
                Step::Send(client, bytes) => server.feed(clients[client], &text(&"m".repeat(bytes))),
                Step::Fragment(client, fin) => {
                    server.feed(clients[client], &client_frame(Opcode::Text, fin, b"part"));
                }
                Step::Cut(client, bytes) => {
                    let frame = text(&"m".repeat(bytes));
                    server.feed(clients[client], &frame[..frame.len() / 2]);
                }
                Step::Request(client) => {
                    let request = b"POST /rooms/a HTTP/1.1\r\nHost: a\r\nContent-Length: 300\r\n\r\nbegun";
                    server.feed(clients[client], request);
                }
                Step::Room(client, room) => server.socket(clients[client]).room = room,
                Step::Pass(milliseconds) => server.advance(Duration::from_millis(milliseconds)),
                Step::Turn(shard) => server.turn(shard),
                Step::Reload(config) => server.reload(&config),
            }
        }
        for client in &clients {
            server.socket(*client).room = usize::MAX;
        }
        server.finish();
    }
}
