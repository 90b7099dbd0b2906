//! Strictly consecutive offsets, the same through every door.

use crate::publishers::{PUBLISHERS, Publishers, identify};
use crate::support::door::Seen;
use crate::support::{Raw, TestServer, config, remembering};

const MESSAGES: u64 = 1500;

/// Counts from Fanfare-From, as frames carry no offset.
fn read_frames(mut raw: Raw, from: u64, count: u64) -> Vec<Seen> {
    let read = |offset| {
        let frame = raw.frame();
        assert!(matches!(frame.first, 0x81 | 0x82), "{frame:?}");
        Seen { offset, text: frame.first == 0x81, payload: frame.payload }
    };
    (from + 1..=from + count).map(read).collect()
}

fn read_events(mut raw: Raw, count: u64) -> Vec<Seen> {
    (0..count).map(|_| Seen::in_event(&raw.block())).collect()
}

#[test]
fn all_doors_on_all_shards_agree_on_every_offset() {
    let server = TestServer::start(remembering(config()));
    let address = server.address();
    // Two of a kind in a row are on both shards.
    let members: Vec<_> = (0..2).map(|_| Raw::join(address, "/rooms/r")).collect();
    let readers: Vec<_> = (0..2).map(|_| Raw::events(address, "/rooms/r/events", "")).collect();
    let first = members[0].1.newest();
    assert!(members.iter().chain(&readers).all(|(_, head)| head.from() == first), "nothing is there yet");
    let orders: Vec<Vec<Seen>> = std::thread::scope(|scope| {
        let mut publishers = Publishers::start(scope, address);
        for number in 0..MESSAGES as usize {
            publishers.permit(number % PUBLISHERS);
        }
        let mut threads = Vec::new();
        for (raw, head) in members {
            let from = head.number("fanfare-from");
            threads.push(scope.spawn(move || read_frames(raw, from, MESSAGES)));
        }
        for (raw, _) in readers {
            threads.push(scope.spawn(move || read_events(raw, MESSAGES)));
        }
        let orders = threads.into_iter().map(|thread| thread.join().expect("it has it all")).collect();
        publishers.stop();
        orders
    });
    let history = Raw::connect(address).history("/rooms/r", &first, 37);
    assert!(history.iter().map(|seen| seen.offset).eq(1..=MESSAGES), "consecutive");
    let mut next = [0; PUBLISHERS];
    for seen in &history {
        let (publisher, count) = identify(seen.text, &seen.payload);
        assert_eq!(count, next[publisher], "a publisher's messages keep their order");
        next[publisher] += 1;
    }
    for order in &orders {
        assert!(*order == history, "one order for everybody");
    }
}
