//! What is due when, and how long messages took, without a socket or a clock.

use std::time::Duration;

use clap::FromArgMatches;

use fanfare::protocol::{Connection, Event, Input, Limits, Role};

use super::*;
use crate::load::args::LoadArgs;

const SECOND: Time = Time::from_nanos(1_000_000_000);

fn traffic(arguments: &str) -> Traffic {
    let arguments = ["load"].into_iter().chain(arguments.split(' '));
    let matches = crate::load::command().get_matches_from(arguments);
    let plan = Plan::new(LoadArgs::from_arg_matches(&matches).unwrap()).unwrap();
    Traffic::new(&plan, MaskKeys::seeded(1))
}

fn after(begin: Time, milliseconds: u64) -> Time {
    begin + Duration::from_millis(milliseconds)
}

/// A flow that gets its own messages back.
fn echo(traffic: &mut Traffic) -> (u32, Receiver) {
    let at = traffic.add_flow(0);
    traffic.flow_mut(at).sender = Some(fanfare::slab::Slab::<()>::default().next_key());
    let account = Account::default();
    (at, Receiver { flow: 0, paces: Some(at), account, joins: false, is_optional: false, stalls: false })
}

/// Sends what is due at `now` and lets it come back at `arrived`; gives how many messages that were.
fn exchange(traffic: &mut Traffic, at: u32, receiver: &mut Receiver, now: Time, arrived: Time) -> u64 {
    let mut out = Vec::new();
    traffic.push_due(at, now, &mut out);
    take_all(traffic, receiver, &mut out, arrived)
}

/// Lets what was sent come back at `arrived`; gives how many messages that were.
fn take_all(traffic: &mut Traffic, receiver: &mut Receiver, out: &mut [u8], arrived: Time) -> u64 {
    let mut connection = Connection::open(Role::Server);
    let mut input = Input::new(out);
    let mut messages = 0;
    while let Some(event) = connection.next_event(arrived, &mut input, &Limits::default()) {
        let Event::Message(message) = event else { panic!("{event:?}") };
        traffic.take(receiver, Some(&message), arrived.as_nanos());
        messages += 1;
    }
    messages
}

#[test]
fn latency_counts_from_when_a_message_was_due_and_not_from_when_it_was_sent() {
    for size in [7, 8, 16, 100] {
        let mut traffic =
            traffic(&format!("echo ws://127.0.0.1:1/ --connections 1 --rate 100 --size {size}"));
        let (at, mut receiver) = echo(&mut traffic);
        traffic.begin(SECOND, 1);
        traffic.measure([SECOND, SECOND, after(SECOND, 10_000)]);
        traffic.measuring = Some(Span::Main);
        // Nothing could be sent for a second, in which 100 messages were due, and the 101st is due now.
        let late = after(SECOND, 1000);
        traffic.follow_schedule(late);
        assert_eq!(exchange(&mut traffic, at, &mut receiver, late, after(late, 1)), 101, "{size}");
        let latency = &traffic.tally.window.latency;
        assert_eq!(latency.count(), 101);
        let near = |microseconds: f64, expected: f64| (microseconds / expected - 1.0).abs() < 0.002;
        assert!(near(latency.max_us(), 1_001_000.0), "{}", latency.max_us());
        assert!(near(latency.quantile_us(0.5), 501_000.0), "{}", latency.quantile_us(0.5));
        assert_eq!(traffic.tally.errors.sum(), 0);
        assert_eq!(traffic.next_due(), Some(after(SECOND, 1010)));
    }
}

#[test]
fn only_what_was_due_in_the_measured_time_has_a_latency_in_an_open_loop() {
    let mut traffic = traffic("echo ws://127.0.0.1:1/ --connections 1 --rate 10 --size 16");
    let (at, mut receiver) = echo(&mut traffic);
    traffic.begin(SECOND, 1);
    let (calm, from, until) = (after(SECOND, 1000), after(SECOND, 2000), after(SECOND, 3000));
    traffic.measure([calm, from, until]);
    traffic.measuring = Some(Span::Main);
    traffic.follow_schedule(after(SECOND, 60_000));
    // Ten in each second, and none that is due at the end or later.
    assert_eq!(exchange(&mut traffic, at, &mut receiver, until, after(until, 5)), 30);
    assert_eq!((traffic.tally.calm.latency.count(), traffic.tally.window.latency.count()), (10, 10));
    traffic.end();
    assert_eq!((traffic.last_of(at), traffic.lasts()), (Some(30), Some(vec![(0, 30)])));
}

#[test]
fn what_becomes_due_shortly_after_another_waits_and_leaves_with_the_next() {
    let mut traffic = traffic("echo ws://127.0.0.1:1/ --connections 1 --rate 100000 --size 16");
    let (at, mut receiver) = echo(&mut traffic);
    traffic.begin(SECOND, 1);
    traffic.measure([SECOND, SECOND, after(SECOND, 1)]);
    traffic.measuring = Some(Span::Main);
    let later = |microseconds| SECOND + Duration::from_micros(microseconds);
    let mut sent = Vec::new();
    for microseconds in [0, 50, 99, 100, 250, 349] {
        traffic.follow_schedule(later(microseconds));
        sent.push(exchange(&mut traffic, at, &mut receiver, later(microseconds), later(microseconds)));
    }
    // From when the first of a bunch was due, as who is woken late makes nobody later.
    assert_eq!(sent, [1, 0, 0, 10, 15, 9]);
    assert_eq!(traffic.next_due(), Some(later(360)));
    // At the end nothing waits.
    traffic.follow_schedule(later(990));
    traffic.follow_schedule(later(1000));
    assert_eq!(exchange(&mut traffic, at, &mut receiver, later(1000), later(1000)), 65);
    assert_eq!((traffic.tally.window.due, traffic.tally.window.done), (100, 100));
    assert_eq!(traffic.tally.quickest, Some(0));
}

#[test]
fn what_is_due_of_a_sender_that_has_ended_is_not_held_against_the_server() {
    let mut traffic = traffic("echo ws://127.0.0.1:1/ --connections 1 --rate 100 --size 16");
    let (at, _) = echo(&mut traffic);
    traffic.begin(SECOND, 1);
    traffic.measure([SECOND, after(SECOND, 100), after(SECOND, 1000)]);
    traffic.follow_schedule(after(SECOND, 499));
    traffic.flow_mut(at).sender = None;
    traffic.follow_schedule(after(SECOND, 2000));
    let due = (traffic.tally.calm.due, traffic.tally.window.due, traffic.tally.window.done);
    assert_eq!(due, (10, 40, 0));
}

#[test]
fn a_closed_loop_sends_one_for_each_that_comes() {
    let mut traffic = traffic("echo ws://127.0.0.1:1/ --connections 1 --in-flight 3 --size 16 --messages 8");
    let (at, mut receiver) = echo(&mut traffic);
    traffic.begin(SECOND, 1);
    let mut sent = Vec::new();
    while sent.last() != Some(&0) {
        sent.push(exchange(&mut traffic, at, &mut receiver, SECOND, SECOND));
    }
    assert_eq!(sent, [3, 3, 2, 0]);
    assert!(traffic.is_spent());
}

#[test]
fn first_messages_are_not_counted_against_what_is_under_way() {
    let mut traffic = traffic("fanout ws://127.0.0.1:1/ --connections 1 --in-flight 2 --size 16");
    let (at, mut receiver) = echo(&mut traffic);
    receiver.joins = true;
    assert_eq!(exchange(&mut traffic, at, &mut receiver, SECOND, SECOND), 0);
    traffic.probe();
    let mut lost = Vec::new();
    traffic.push_due(at, SECOND, &mut lost);
    traffic.probe();
    assert_eq!(exchange(&mut traffic, at, &mut receiver, SECOND, SECOND), 1);
    assert_eq!((traffic.tally.begun, receiver.account.next()), (1, 3));
    traffic.begin(SECOND, 1);
    assert_eq!(exchange(&mut traffic, at, &mut receiver, SECOND, SECOND), 2);
    traffic.settle(&receiver, Some(4), false);
    assert_eq!(traffic.tally.errors.sum(), 0, "who comes later has missed nothing");
}

#[test]
fn what_is_due_and_not_sent_is_counted_when_it_is_given_up() {
    let mut traffic = traffic("echo ws://127.0.0.1:1/ --connections 1 --rate 100 --size 16");
    let (at, _) = echo(&mut traffic);
    traffic.begin(SECOND, 1);
    traffic.measure([SECOND, SECOND, after(SECOND, 1000)]);
    traffic.follow_schedule(after(SECOND, 2000));
    traffic.end();
    assert_eq!(traffic.last_of(at), None);
    traffic.give_up();
    assert_eq!((traffic.tally.unsent, traffic.last_of(at)), (100, Some(0)));
}

#[test]
fn in_a_closed_loop_latency_counts_where_the_message_was_sent() {
    for size in [7, 16] {
        let mut traffic = traffic(&format!("echo ws://127.0.0.1:1/ --connections 1 --size {size}"));
        let (at, mut receiver) = echo(&mut traffic);
        traffic.begin(SECOND, 1);
        let (from, until) = (after(SECOND, 1000), after(SECOND, 2000));
        traffic.measure([from, from, until]);
        // One is sent before it is measured and comes in it; the next is sent in it and comes behind it.
        traffic.measuring = Some(Span::Main);
        exchange(&mut traffic, at, &mut receiver, after(SECOND, 900), after(SECOND, 1100));
        assert_eq!(traffic.tally.window.latency.count(), 0, "{size}");
        let mut stalled = Vec::new();
        traffic.push_due(at, after(SECOND, 1900), &mut stalled);
        traffic.measuring = None;
        traffic.end();
        take_all(&mut traffic, &mut receiver, &mut stalled, after(SECOND, 5900));
        let latency = &traffic.tally.window.latency;
        assert!(latency.count() == 1 && latency.max_us() >= 4e6, "{size}: {latency:?}");
        assert_eq!(traffic.tally.window.received, 1, "the rate is of what came in it");
    }
}

#[test]
fn what_a_sender_that_ended_had_under_way_or_due_is_counted() {
    let mut traffic = traffic("echo ws://127.0.0.1:1/ --connections 1 --rate 100 --size 16");
    let (at, mut receiver) = echo(&mut traffic);
    traffic.begin(SECOND, 1);
    traffic.measure([SECOND, SECOND, after(SECOND, 1000)]);
    traffic.follow_schedule(after(SECOND, 99));
    assert_eq!(exchange(&mut traffic, at, &mut receiver, after(SECOND, 99), after(SECOND, 99)), 10);
    traffic.follow_schedule(after(SECOND, 149));
    traffic.push_due(at, after(SECOND, 149), &mut Vec::new());
    traffic.flow_mut(at).sender = None;
    traffic.settle_ended(&receiver, false);
    traffic.follow_schedule(after(SECOND, 2000));
    traffic.end();
    traffic.give_up();
    let mut tally = traffic.tally;
    tally.settle_ended();
    assert_eq!((tally.sent, tally.received, tally.unsent), (15, 10, 85));
    assert_eq!((tally.errors.lost, tally.errors.unanswered), (0, 5));
}
