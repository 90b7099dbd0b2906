//! Text: how fast it is unmasked and checked, whole and in fragments.

use std::hint::black_box;

use fanfare::protocol::{Connection, Event, Input, Limits, Opcode, Role, push_client_frame};
use fanfare::time::Time;

use super::common::output::say;
use super::{Bar, shortest};

/// What the check of text must not fall below.
const GIGABYTES_MIN: f64 = 1.0;
const BYTES: usize = 64 << 10;

/// A message in so many fragments, which may cut characters.
fn message(payload: &[u8], fragments: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let pieces: Vec<&[u8]> = payload.chunks(payload.len().div_ceil(fragments)).collect();
    for (number, piece) in pieces.iter().enumerate() {
        let opcode = if number == 0 { Opcode::Text } else { Opcode::Continuation };
        push_client_frame(&mut bytes, opcode, number + 1 == pieces.len(), piece, [1, 2, 3, 4]);
    }
    bytes
}

pub fn run(smoke: bool) -> Vec<Bar> {
    let rounds = if smoke { 2 } else { 300 };
    let limits = Limits::default();
    let mut bars = Vec::new();
    say("");
    for (name, text) in [("ASCII", "a line of words. "), ("Greek", "μία γραμμή "), ("emoji", "🎺🎷🥁")]
    {
        let payload: Vec<u8> = text.bytes().cycle().take(BYTES / text.len() * text.len()).collect();
        for fragments in [1, 64] {
            let bytes = message(&payload, fragments);
            let mut copy = bytes.clone();
            let time = shortest(rounds, || {
                copy.copy_from_slice(&bytes);
                let mut connection = Connection::open(Role::Server);
                let mut input = Input::new(black_box(&mut copy));
                let event = connection.next_event(Time::ZERO, &mut input, &limits);
                assert!(matches!(event, Some(Event::Message(_))), "it is text");
            });
            let rate = payload.len() as f64 / time.as_secs_f64() / 1e9;
            say(&format!(
                "{name} in {fragments} fragments: {rate:.1} GB/s, copied in, unmasked, checked and put together"
            ));
            bars.push(Bar {
                what: format!("GB/s of text: {name} in {fragments} fragments"),
                seen: rate,
                allowed: GIGABYTES_MIN,
                at_least: true,
            });
        }
    }
    bars
}
