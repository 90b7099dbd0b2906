//! The seam between the past and the present, while publishers go on at full speed.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use fanfare::Config;

use crate::publishers::{PUBLISHERS, frame_of, message};
use crate::support::door::{Seen, offset_of};
use crate::support::{Raw, TestServer, config, frame, remembering};

/// Messages of one write.
const BURST: usize = 20;
/// Messages that a joiner reads of the present.
const BEYOND: u64 = 60;

/// Publishes in bursts until it is told to stop.
fn flood(address: SocketAddr, number: usize, stop: &AtomicBool) {
    let mut raw = Raw::open(address, "/rooms/r?echo=true");
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let messages: Vec<_> = (count..count + BURST).map(|count| message(number, count)).collect();
        let frame = |(text, payload): &(bool, Vec<u8>)| frame(if *text { 0x81 } else { 0x82 }, payload);
        raw.send(&messages.iter().flat_map(frame).collect::<Vec<u8>>());
        for (text, payload) in &messages {
            while raw.frame() != frame_of(*text, payload) {}
        }
        count += BURST;
    }
}

/// The same by somebody who is no member, and so is not cut in a room that holds next to nothing.
fn flood_from_outside(address: SocketAddr, number: usize, stop: &AtomicBool) {
    let mut http = Raw::connect(address);
    while !stop.load(Ordering::Relaxed) {
        http.ask_json("POST /rooms/r", "", number.to_string().as_bytes());
    }
}

/// Runs `act` while publishers on all shards flood the room.
fn in_flood<R>(server: &TestServer, act: impl FnOnce() -> R) -> R {
    while_flooded(server, flood, act)
}

fn while_flooded<R>(
    server: &TestServer,
    flood: fn(SocketAddr, usize, &AtomicBool),
    act: impl FnOnce() -> R,
) -> R {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for number in 0..PUBLISHERS {
            let (address, stop) = (server.address(), &stop);
            scope.spawn(move || flood(address, number, stop));
        }
        /// Or a failure would wait for the publishers.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _stop = Stop(&stop);
        // The past is there before anybody asks for it.
        let (mut first, _) = Raw::join(server.address(), "/rooms/r");
        (0..200).for_each(|_| drop(first.frame()));
        act()
    })
}

#[test]
fn a_join_with_a_past_has_no_gap_and_no_repeat_at_the_seam() {
    let server = TestServer::start(remembering(config()));
    let address = server.address();
    let joined: Vec<Vec<Seen>> = in_flood(&server, || {
        let join = |round: u64| {
            let last = round * 7 % 200;
            let (mut member, head) = Raw::join(address, &format!("/rooms/r?last={last}"));
            let (from, newest) = (head.number("fanfare-from"), head.number("fanfare-offset"));
            assert_eq!(newest - from, last);
            let read = |offset| {
                let frame = member.frame();
                Seen { offset, text: frame.first == 0x81, payload: frame.payload }
            };
            (from + 1..=newest + BEYOND).map(read).collect()
        };
        (0..200).map(join).collect()
    });
    let mut http = Raw::connect(address);
    let (head, _) = http.ask_json("GET /rooms/r?limit=1", "", b"");
    let start = format!("{}:0", &head.newest()[..16]);
    let history = http.history("/rooms/r", &start, 10_000);
    assert!(history.iter().map(|seen| seen.offset).eq(1..=offset_of(&head.newest())));
    for seen in joined.iter().flatten() {
        assert!(*seen == history[seen.offset as usize - 1], "offset {}", seen.offset);
    }
}

#[test]
fn a_reader_of_events_with_a_past_has_no_gap_and_no_repeat_at_the_seam() {
    let server = TestServer::start(remembering(config()));
    in_flood(&server, || {
        for round in 0..100 {
            let last = round * 7 % 200;
            let (mut reader, head) =
                Raw::events(server.address(), &format!("/rooms/r/events?last={last}"), "");
            let from = head.number("fanfare-from");
            assert_eq!(head.number("fanfare-offset") - from, last);
            for offset in from + 1..=from + last + BEYOND {
                assert_eq!(reader.block().offset(), offset);
            }
        }
    });
}

#[test]
fn history_without_a_position_is_never_refused_however_fast_the_window_moves() {
    let server = TestServer::start(Config { history_messages: 8, ..config() });
    while_flooded(&server, flood_from_outside, || {
        let mut http = Raw::connect(server.address());
        for _ in 0..3000 {
            let (_, page) = http.ask_json("GET /rooms/r", "", b"");
            let items = page["publications"].as_array().expect("publications");
            let offsets = items.iter().map(|item| item["offset"].as_u64().expect("an offset"));
            let first = page["first"].as_u64().expect("a first offset");
            assert!(offsets.eq(first..=page["offset"].as_u64().expect("an offset")));
        }
    });
}

#[test]
fn a_member_that_wants_all_of_a_full_window_gets_it_although_the_window_moves() {
    let held = 1000;
    let server = TestServer::start(Config { history_messages: held, ..config() });
    while_flooded(&server, flood_from_outside, || {
        for _ in 0..200 {
            let (mut member, head) = Raw::join(server.address(), "/rooms/r?last=100000");
            let newest = head.number("fanfare-offset");
            assert_eq!(newest - head.number("fanfare-from"), newest.min(held));
            for _ in 0..newest.min(held) {
                let frame = member.frame();
                assert!(matches!(frame.first, 0x81 | 0x82), "{}", frame.payload.escape_ascii());
            }
        }
    });
}
