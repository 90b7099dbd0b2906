//! A room's log: publishing into a full window, and reading from it.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use fanfare::Config;
use fanfare::protocol::{Opcode, push_server_frame};
use fanfare::rooms::{Batch, ReadLimits, Registry, RoomName, Sender};
use fanfare::time::Time;

use crate::harness::{Harness, show};
use crate::output::say;

/// Of a batch, and in it.
const MESSAGES: u64 = 16;
const BYTES: usize = 64;
const BATCHES: u64 = 64;

pub fn run(harness: &mut Harness) {
    say("\na room's log");
    let config = Config { history_messages: BATCHES * MESSAGES, ..Config::default() };
    let registry = Registry::new(config.room_settings());
    let name = RoomName::new("a").expect("a valid name");
    let batch = Arc::new(batch());
    registry.publish(&name, Time::ZERO, &batch, None, |_, _| {});
    let room = registry.find(&name).expect("it was published to");
    let (mut now, mut evicted) = (Time::ZERO, Vec::new());
    let mut publish = || {
        now = now + Duration::from_micros(1);
        let batch = Arc::clone(black_box(&batch));
        black_box(room.publish(now, batch, None, &mut evicted, |offset, routes| {
            black_box((offset, routes));
        }));
        evicted.clear();
    };
    (0..2 * BATCHES).for_each(|_| publish());
    let taken = harness.time(1, &mut publish);
    show(&format!("publish a batch of {MESSAGES} messages into a full window"), taken, "");

    let mut pieces = Vec::new();
    for (behind, batches_max) in [(MESSAGES, 1), (BATCHES * MESSAGES, 16)] {
        let limits = ReadLimits { bytes_max: 256 << 10, messages_max: u64::MAX, batches_max };
        let from = room.last_offset() - behind;
        let taken = harness.time(1, || {
            pieces.clear();
            room.read_after(black_box(from), now, limits, &mut pieces).expect("it is held");
            assert_eq!(black_box(&pieces).len(), batches_max);
        });
        show(&format!("read {batches_max} batches from {behind} messages behind"), taken, "");
    }
}

fn batch() -> Batch {
    let mut batch = Batch::with_capacity(4 << 10);
    for _ in 0..MESSAGES {
        batch.push(false, (Sender::Api { exclude: None }, None), BYTES, |out| {
            push_server_frame(out, Opcode::Binary, &[1; BYTES]);
        });
    }
    batch
}
