//! Whole turns of a shard over a simulated operating system: time, and allocations, of which there may be none
//! per message or receiver.

use fanfare::protocol::server_frame_bytes;

use crate::counting::allocations;
use crate::flat::{Flat, Line, fan_out_turns, frames};
use crate::harness::{Bar, Harness, show};
use crate::output::say;

/// The channel between shards allocates a block for so many pieces of mail.
const MAIL_PER_BLOCK: usize = 31;
/// Rounds until memory is used again.
const WARM_UP: usize = 10 * MAIL_PER_BLOCK;
const COUNTED: usize = 4 * MAIL_PER_BLOCK;

pub fn run(harness: &mut Harness) {
    say("\nwhole turns, per message or delivery");
    for (connections, bytes, in_flight) in [
        (1, 16, 1),
        (100, 16, 1),
        (1000, 16, 1),
        (100, 16, 16),
        (100, 1 << 10, 1),
        (100, 1 << 10, 16),
        (10, 64 << 10, 1),
    ] {
        let mut flat = Flat::new(1);
        let lines: Vec<Line> = (0..connections).map(|_| flat.connect(0, "/echo")).collect();
        let what = format!("echo {bytes} B, {connections} connections, {in_flight} in flight");
        measure(harness, &what, (flat, &lines, 1), (bytes, in_flight), connections * in_flight);
    }
    for (members, bytes, in_flight) in [
        (10, 64, 1),
        (100, 64, 1),
        (1000, 64, 1),
        (10_000, 64, 1),
        (1000, 64, 16),
        (1000, 1 << 10, 16),
        (1000, 16 << 10, 1),
        (500, 16 << 10, 7),
    ] {
        let mut flat = Flat::new(1);
        let publisher = flat.connect(0, "/rooms/a");
        (0..members).for_each(|_| {
            flat.connect(0, "/rooms/a");
        });
        let what = format!("fan-out {bytes} B to {members}, {in_flight} in flight");
        let turns = fan_out_turns(members + 1, in_flight * server_frame_bytes(bytes));
        measure(harness, &what, (flat, &[publisher], turns), (bytes, in_flight), members * in_flight);
    }
}

fn measure(
    harness: &mut Harness,
    what: &str,
    (mut flat, senders, turns): (Flat, &[Line], usize),
    (bytes, in_flight): (usize, usize),
    per_round: usize,
) {
    let input = frames(bytes, in_flight);
    let mut round = || {
        senders.iter().for_each(|sender| flat.feed(*sender, &input));
        (0..turns).for_each(|_| flat.turn());
    };
    (0..WARM_UP).for_each(|_| round());
    let count = allocations(|| (0..COUNTED).for_each(|_| round()));
    let taken = harness.time(per_round, round);
    let mail = if senders.len() == 1 && per_round > in_flight { COUNTED / MAIL_PER_BLOCK } else { 0 };
    show(what, taken, &format!("{count} allocations for {} messages", COUNTED * per_round));
    harness.bar(Bar {
        what: format!("{what}: allocations in {COUNTED} rounds"),
        seen: count as f64,
        allowed: mail as f64,
        at_least: false,
        is_count: true,
    });
}
