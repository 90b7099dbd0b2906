//! Headers, frames, UTF-8 and the opening handshake.

use std::hint::black_box;

use fanfare::protocol::{
    Connection, Event, Input, Limits, Opcode, Role, Upgrade, Utf8Validator, decode_header, push_client_frame,
    push_server_frame,
};
use fanfare::time::Time;

use crate::flat::request;
use crate::harness::{Bar, Harness, Work, show};
use crate::output::say;

/// Nanoseconds for a header.
const HEADER_GOAL: f64 = 5.0;
const CALLS: usize = 64;

pub fn run(harness: &mut Harness) {
    say("\nprotocol");
    headers(harness);
    encoding(harness);
    utf8(harness);
    handshake(harness);
}

fn headers(harness: &mut Harness) {
    for (name, bytes) in [("7", 16), ("16", 1 << 10), ("64", 1 << 16)] {
        let mut frame = Vec::new();
        push_client_frame(&mut frame, Opcode::Binary, true, &vec![1; bytes], [1, 2, 3, 4]);
        let taken = harness.time(CALLS, || {
            for _ in 0..CALLS {
                let _ = black_box(decode_header(black_box(&frame), Role::Server));
            }
        });
        let what = format!("decode a header, length in {name} bits");
        show(&what, taken, "");
        harness.bar(Bar {
            what: what + ", ns",
            seen: taken,
            allowed: HEADER_GOAL,
            at_least: false,
            is_count: false,
        });
    }
}

fn encoding(harness: &mut Harness) {
    for bytes in [16, 1 << 10, 64 << 10] {
        let payload = vec![1; bytes];
        let mut out = Vec::with_capacity(bytes + 16);
        let mut copy = vec![0; bytes];
        let mut encodes = || {
            out.clear();
            push_server_frame(&mut out, Opcode::Binary, black_box(&payload));
            black_box(&out);
        };
        let mut copies = || black_box(&mut copy).copy_from_slice(black_box(&payload));
        let works = [Work { times: 1, act: &mut encodes }, Work { times: 1, act: &mut copies }];
        let [encoding, copying] = harness.compare(works);
        show(&format!("encode a frame of {bytes} B"), encoding, &format!("a copy {copying:.1} ns"));
    }
}

fn utf8(harness: &mut Harness) {
    for (name, text) in [("ASCII", "fan-out "), ("German", "Grüße zu"), ("Japanese", "こんにちは")] {
        for bytes in [16, 1 << 10, 64 << 10] {
            let text = text.repeat(bytes / text.len() + 1);
            let text = &text.as_bytes()[..text.floor_char_boundary(bytes)];
            let mut ours = || {
                let mut validator = Utf8Validator::default();
                let valid = validator.push(black_box(text)).is_ok() && validator.finish().is_ok();
                assert!(black_box(valid), "it is UTF-8");
            };
            let mut standard = || assert!(black_box(std::str::from_utf8(black_box(text))).is_ok());
            let works = [Work { times: 1, act: &mut ours }, Work { times: 1, act: &mut standard }];
            let [validating, standard] = harness.compare(works);
            let rate = text.len() as f64 / validating;
            let more = format!("{rate:.1} GB/s, the standard library's {standard:.1} ns");
            show(&format!("validate {bytes} B of UTF-8, {name}"), validating, &more);
        }
    }
}

/// From the bytes of a request's head to those of the response.
fn handshake(harness: &mut Harness) {
    let head = request("/echo");
    let (limits, mut out) = (Limits::default(), Vec::new());
    let mut bytes = head.to_vec();
    let taken = harness.time(1, || {
        out.clear();
        bytes.copy_from_slice(&head);
        let mut connection = Connection::accepting();
        let mut input = Input::new(black_box(&mut bytes));
        let Some(Event::Request(request)) = connection.next_event(Time::ZERO, &mut input, &limits) else {
            panic!("a whole head is a request");
        };
        let Ok(upgrade) = Upgrade::check(&request) else {
            panic!("it asks for an upgrade");
        };
        upgrade.push_response(&mut out, None, &[]);
        black_box(&out);
    });
    show(
        "opening handshake: the head to the response",
        taken,
        &format!("{} B to {} B", head.len(), out.len()),
    );
}
