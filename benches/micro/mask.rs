//! Unmasking beside copying the same bytes in the cache.

use std::hint::black_box;

use fanfare::protocol::unmask;

use crate::harness::{Bar, Harness, Work, show};

/// Of the speed of a copy.
const GOAL: f64 = 0.8;
const SIZES: [usize; 9] = [16, 64, 125, 256, 1 << 10, 4 << 10, 16 << 10, 32 << 10, 64 << 10];
/// Where the payload begins in a cache line: at its start, and behind a short header.
const STARTS: [usize; 2] = [0, 6];
const LINE_BYTES: usize = 64;
const CALLS: usize = 16;

pub fn run(harness: &mut Harness) {
    println!("\nunmask, beside a copy of the same bytes");
    for bytes in SIZES {
        for start in STARTS {
            let mut buffer = vec![7; bytes + 2 * LINE_BYTES];
            let source = buffer.clone();
            let aligned = buffer.as_ptr().align_offset(LINE_BYTES) + start;
            let from = source.as_ptr().align_offset(LINE_BYTES) + start;
            let source = &source[from..from + bytes];
            let mut copied = buffer.clone();
            let copied_at = copied.as_ptr().align_offset(LINE_BYTES) + start;
            let mut unmasks = || {
                for _ in 0..CALLS {
                    let target = &mut buffer[aligned..aligned + bytes];
                    unmask(black_box(target), black_box([1, 2, 3, 4]), black_box(0));
                }
            };
            let mut copies = || {
                for _ in 0..CALLS {
                    black_box(&mut copied[copied_at..copied_at + bytes]).copy_from_slice(black_box(source));
                }
            };
            let works = [Work { times: CALLS, act: &mut unmasks }, Work { times: CALLS, act: &mut copies }];
            let [unmasking, copying] = harness.compare(works);
            let ratio = copying / unmasking;
            let what = format!("unmask {bytes} B, {start} B into a cache line");
            let rate = bytes as f64 / unmasking;
            show(&what, unmasking, &format!("{rate:.1} GB/s, a copy {copying:.1} ns, ratio {ratio:.2}"));
            let what = format!("{what}: speed over that of a copy");
            harness.bar(Bar { what, seen: ratio, allowed: GOAL, at_least: true, is_count: false });
        }
    }
}
