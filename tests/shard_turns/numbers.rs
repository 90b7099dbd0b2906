//! What a shard counts: states, memory, distributions, and that all of it is there when a turn has ended.

use std::time::Duration;

use fanfare::id::ShardId;
use fanfare::shard::{Counter, Distribution, Mail, Observed};

use crate::common::{Client, Server, binary, close, request, settings, text};

const STATES: [Counter; 5] = [
    Counter::Handshaking,
    Counter::BetweenRequests,
    Counter::OpenWebSockets,
    Counter::OpenStreams,
    Counter::Closing,
];

fn states(server: &Server) -> [u64; 5] {
    let states = STATES.map(|state| server.counter(state));
    assert_eq!(states.iter().sum::<u64>(), server.counter(Counter::Connections), "each is in one state");
    states
}

fn seen(server: &Server, shard: usize, distribution: Distribution) -> Observed {
    server.stats[shard].distribution(distribution)
}

/// The bounds of the buckets that have something, and how much.
fn filled(server: &Server, shard: usize, distribution: Distribution) -> Vec<(u64, u64)> {
    let bounds = distribution.bounds().iter().copied().chain([u64::MAX]);
    let buckets = seen(server, shard, distribution).buckets;
    bounds.zip(buckets).filter(|(_, count)| *count > 0).collect()
}

#[test]
fn a_connection_is_counted_in_the_state_that_it_is_in_until_it_is_gone() {
    let mut server = Server::new(1, settings());
    let asker = server.adopt(0);
    let reader = server.adopt(0);
    let member = server.adopt(0);
    server.settle();
    assert_eq!(states(&server), [3, 0, 0, 0, 0]);
    server.feed(asker, b"GET /rooms/a HTTP/1.1\r\nHost: a\r\n\r\n");
    server.feed(reader, b"GET /rooms/a/events HTTP/1.1\r\nHost: a\r\n\r\n");
    server.feed(member, &request("/rooms/a"));
    server.settle();
    assert_eq!(states(&server), [0, 1, 1, 1, 0]);
    server.feed(asker, &request("/echo"));
    server.settle();
    assert_eq!(states(&server), [0, 0, 2, 1, 0], "a request may be an upgrade later");
    server.feed(member, &close(1000, ""));
    server.settle();
    assert_eq!(states(&server), [0, 0, 1, 1, 1], "its end of stream is waited for");
    for client in [member, reader, asker] {
        server.socket(client).eof = true;
    }
    server.settle();
    assert_eq!(states(&server), [0; 5]);
    server.finish();
}

#[test]
fn who_takes_nothing_is_counted_with_what_waits_until_it_takes_it_or_is_gone() {
    let mut server = Server::new(1, settings());
    let slow: Vec<Client> = (0..2).map(|_| server.connect(0, "/echo")).collect();
    let levels = |server: &Server| {
        let pinned = server.counter(Counter::QueueBytes);
        (server.counter(Counter::Waiting), pinned > 0, server.counter(Counter::Replies))
    };
    assert_eq!(levels(&server), (0, false, 0));
    for client in &slow {
        server.socket(*client).room = 3;
        server.feed(*client, &binary(&[7; 100]));
    }
    server.settle();
    assert_eq!(levels(&server), (2, true, 2));
    server.socket(slow[0]).room = usize::MAX;
    server.settle();
    assert_eq!(levels(&server), (1, true, 2));
    server.socket(slow[1]).error = Some(std::io::ErrorKind::ConnectionReset);
    server.settle();
    assert_eq!(levels(&server), (0, false, 2));
    server.finish();
}

#[test]
fn a_publication_takes_as_long_as_from_the_turn_that_read_it_to_the_turn_that_sent_it() {
    let mut server = Server::new(2, settings());
    let member = server.connect(0, "/rooms/a");
    let publisher = server.connect(1, "/rooms/a");
    server.feed(publisher, &[text("one"), text("two")].concat());
    server.turn(1);
    let waited = Duration::from_micros(300);
    let later = server.now() + waited;
    server.net.borrow_mut().now = later;
    server.turn(0);
    assert_eq!(server.take_texts(member), ["one", "two"]);
    assert_eq!(
        filled(&server, 0, Distribution::FlushLatency),
        [(500_000, 2)],
        "both messages, on this shard"
    );
    assert_eq!(seen(&server, 0, Distribution::FlushLatency).sum, 2 * waited.as_nanos() as u64);
    assert_eq!(filled(&server, 1, Distribution::FlushLatency), [(10_000, 2)], "its own shard was at once");
    server.finish();
}

#[test]
fn members_lag_by_what_they_have_not_got_when_they_are_served() {
    let mut server = Server::new(1, settings());
    let slow = server.connect(0, "/rooms/a");
    let _quick: Vec<Client> = (0..3).map(|_| server.connect(0, "/rooms/a")).collect();
    let sender = server.connect(0, "/rooms/a?echo=true");
    server.feed(sender, &text("before"));
    server.settle();
    assert_eq!(filled(&server, 0, Distribution::Lag), [(1, 5)]);
    server.socket(slow).room = 0;
    for _ in 0..10 {
        server.feed(sender, &text("while one is slow"));
        server.turn(0);
    }
    server.feed(sender, &[text("two"), text("at once")].concat());
    server.turn(0);
    // The slow one was given the first of them, which its socket did not take.
    assert_eq!(filled(&server, 0, Distribution::Lag), [(1, 5 + 10 * 4 + 1), (2, 4)]);
    server.socket(slow).room = usize::MAX;
    server.settle();
    assert_eq!(filled(&server, 0, Distribution::Lag), [(1, 46), (2, 4), (16, 1)]);
    assert_eq!(seen(&server, 0, Distribution::Lag).sum, 46 + 2 * 4 + 12);
    server.finish();
}

#[test]
fn every_turn_is_in_the_distribution_of_turns_and_says_when_it_has_ended() {
    let mut server = Server::new(1, settings());
    for step in 1..=5 {
        let now = server.now() + Duration::from_secs(1);
        server.net.borrow_mut().now = now;
        server.turn(0);
        assert_eq!(seen(&server, 0, Distribution::TurnDuration).count(), step);
        assert_eq!(server.stats[0].get(Counter::TurnEnd), now.as_nanos());
    }
    assert_eq!(
        filled(&server, 0, Distribution::TurnDuration),
        [(10_000, 5)],
        "this clock stands still in a turn"
    );
    server.finish();
}

#[test]
fn a_report_comes_when_the_numbers_of_the_turn_are_published() {
    let mut server = Server::new(2, settings());
    let echo = server.connect(1, "/echo");
    server.feed(echo, &text("hi"));
    let (reply, answers) = crossbeam_channel::unbounded();
    for shard in 0..2 {
        server.mesh.send(ShardId::new(shard), Mail::Report(reply.clone()));
        assert_eq!(server.mesh.mail_waiting(ShardId::new(shard)), 1);
    }
    drop(reply);
    assert!(answers.is_empty());
    server.turn(1);
    assert_eq!(answers.try_recv().map(ShardId::index), Ok(1));
    assert_eq!(server.stats[1].get(Counter::MessagesIn), 1);
    assert_eq!(server.mesh.mail_waiting(ShardId::new(1)), 0);
    assert!(answers.is_empty(), "the other has not turned");
    drop(answers);
    server.turn(0);
    server.finish();
}

#[test]
fn wake_ups_are_counted_where_they_are_given() {
    let mut server = Server::new(3, settings());
    let publisher = server.connect(0, "/rooms/a");
    let _members: Vec<Client> = (1..3).map(|shard| server.connect(shard, "/rooms/a")).collect();
    server.feed(publisher, &[text("several"), text("in one turn")].concat());
    server.settle();
    let wake_ups: Vec<u64> = server.stats.iter().map(|stats| stats.get(Counter::WakeUps)).collect();
    assert_eq!(wake_ups, [2, 0, 0]);
    server.finish();
}
