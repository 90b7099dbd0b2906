//! How fast payloads are unmasked, beside copying the same bytes: `cargo bench --bench unmask`.
//!
//! Rounds of both are interleaved; the figures are medians. The buffers fit into the cache, so the
//! ratio shows the arithmetic and not the memory bus.

use std::hint::black_box;
use std::time::{Duration, Instant};

use fanfare::protocol::unmask;

const ROUNDS: usize = 15;
/// Bytes handled per round and size.
const ROUND_BYTES: usize = 256 << 20;
/// With `--test`, as `cargo test --benches` runs it, once is enough.
const SMOKE_BYTES: usize = 1 << 20;

fn main() {
    let smoke = std::env::args().any(|argument| argument == "--test");
    let (rounds, round_bytes) = if smoke { (1, SMOKE_BYTES) } else { (ROUNDS, ROUND_BYTES) };
    println!("{:>8} {:>14} {:>14} {:>7}", "bytes", "unmask GB/s", "copy GB/s", "ratio");
    for bytes in [16, 64, 125, 1 << 10, 16 << 10, 64 << 10] {
        let (mut unmasked, mut copied) = (Vec::new(), Vec::new());
        let mut buffer = vec![7; bytes];
        let source = vec![9; bytes];
        for _ in 0..rounds {
            unmasked.push(time(round_bytes / bytes, || unmask(black_box(&mut buffer), [1, 2, 3, 4], 0)));
            copied.push(time(round_bytes / bytes, || {
                black_box(&mut buffer).copy_from_slice(black_box(&source))
            }));
        }
        let total = (round_bytes / bytes * bytes) as f64;
        let rate = |times: &mut Vec<Duration>| {
            times.sort_unstable();
            total / times[times.len() / 2].as_secs_f64() / 1e9
        };
        let (unmask, copy) = (rate(&mut unmasked), rate(&mut copied));
        println!("{bytes:>8} {unmask:>14.1} {copy:>14.1} {:>7.2}", unmask / copy);
    }
}

#[allow(clippy::disallowed_methods)] // timing belongs in benches
fn time(repeat: usize, mut work: impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..repeat {
        work();
    }
    start.elapsed()
}
