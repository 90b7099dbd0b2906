//! Unmasking beside copying the same bytes in the cache.

use std::hint::black_box;

use fanfare::protocol::unmask;

use crate::harness::{Bar, Harness, Work, show};
use crate::output::say;

/// Of the speed of a copy.
const GOAL: f64 = 0.8;
const SIZES: [usize; 9] = [16, 64, 125, 256, 1 << 10, 4 << 10, 16 << 10, 32 << 10, 64 << 10];
/// Where the payload begins in a cache line: at its start, and behind a short header.
const STARTS: [usize; 2] = [0, 6];
const LINE_BYTES: usize = 64;
/// Payloads take turns: one alone would wait for its own bytes to be written before they are read again, which a
/// copy never does. All of them stay in the nearest cache.
const PAYLOADS_MAX: usize = 64;
const CACHED_BYTES: usize = 16 << 10;

pub fn run(harness: &mut Harness) {
    say("\nunmask, beside a copy of the same bytes");
    for bytes in SIZES {
        for start in STARTS {
            let stride = bytes.next_multiple_of(LINE_BYTES) + LINE_BYTES;
            let payloads = (CACHED_BYTES / stride).clamp(1, PAYLOADS_MAX);
            let mut buffer = vec![7; payloads * stride + LINE_BYTES];
            let (mut copied, source) = (buffer.clone(), buffer.clone());
            let begin = |buffer: &[u8]| buffer.as_ptr().align_offset(LINE_BYTES) + start;
            let (first, copied_first, from) = (begin(&buffer), begin(&copied), begin(&source));
            let source = &source[from..from + bytes];
            let mut unmasks = || {
                for number in 0..payloads {
                    let at = first + number * stride;
                    unmask(black_box(&mut buffer[at..at + bytes]), black_box([1, 2, 3, 4]), black_box(0));
                }
            };
            let mut copies = || {
                for number in 0..payloads {
                    let at = copied_first + number * stride;
                    black_box(&mut copied[at..at + bytes]).copy_from_slice(black_box(source));
                }
            };
            let works =
                [Work { times: payloads, act: &mut unmasks }, Work { times: payloads, act: &mut copies }];
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
