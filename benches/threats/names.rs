//! Names of rooms that are made to collide in the hash functions that others use, beside random ones.

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Duration;

use fanfare::Config;
use fanfare::rooms::{Batch, Registry, RoomName, Sender};
use fanfare::time::Time;

use super::common::output::say;
use super::{Bar, computed};

/// What crafted names may cost over random ones of the same length.
const RATIO_MAX: f64 = 2.0;
const NAMES: usize = 100_000;
/// "Aa" and "BB" are the same in every polynomial hash of base 31; so are all words of so many of them.
const PAIRS: usize = 17;

/// Which crafted name: one bit a pair, behind a prefix that all share.
fn crafted(number: usize) -> RoomName {
    let pairs: String = (0..PAIRS).map(|bit| if number >> bit & 1 == 0 { "Aa" } else { "BB" }).collect();
    name(&pairs)
}

/// A name that nobody has chosen, of the same length.
fn random(number: usize) -> RoomName {
    let mut state = number as u64 ^ 0x9E37_79B9_7F4A_7C15;
    let letters: String = (0..2 * PAIRS)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'a' + (state >> 33) as u8 % 26)
        })
        .collect();
    name(&letters)
}

fn name(end: &str) -> RoomName {
    RoomName::new(&format!("{}{end}", "p".repeat(90))).expect("a valid name")
}

/// Publishes to each room once and finds each again, as shards do.
fn time(names: &[RoomName]) -> Duration {
    let registry = Registry::new(Config { history_memory: 1 << 30, ..Config::default() }.room_settings());
    let mut local: HashMap<RoomName, usize> = HashMap::new();
    let mut batch = Batch::default();
    batch.push(false, (Sender::Api { exclude: None }, None), 1, |out| out.push(1));
    let batch = std::sync::Arc::new(batch);
    let start = computed();
    for (number, name) in names.iter().enumerate() {
        registry.publish(name, Time::ZERO, &batch, None, |_, _| {});
        local.insert(name.clone(), number);
    }
    for name in names {
        black_box((registry.find(name), local.get(name)));
    }
    computed() - start
}

pub fn run(smoke: bool) -> Vec<Bar> {
    let (names, rounds) = if smoke { (1_000, 1) } else { (NAMES, 5) };
    let sets = [crafted, random].map(|make: fn(usize) -> RoomName| (0..names).map(make).collect::<Vec<_>>());
    let mut best = [Duration::MAX; 2];
    for _ in 0..rounds {
        for (best, set) in best.iter_mut().zip(&sets) {
            *best = (*best).min(time(set));
        }
    }
    let [crafted, random] = best.map(|time| time.as_secs_f64() * 1e3);
    say(&format!("\n{names} rooms: {crafted:.0} ms by crafted names, {random:.0} ms by random ones"));
    vec![Bar {
        what: format!("{names} crafted names over random ones"),
        seen: crafted / random,
        allowed: RATIO_MAX,
        at_least: false,
    }]
}
