//! Messages that say where they belong: room, publisher, number and the time they were meant to be sent.
//!
//! They are text without a line end, so that server-sent events carry them as they are.

use std::hash::{DefaultHasher, Hash, Hasher};

/// The fixed part of a message: four hexadecimal numbers.
pub const STAMP_BYTES: usize = 8 + 8 + 16 + 16;

/// What a message says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The room it was published to, see [`room_mark`].
    pub room: u32,
    /// Whose it is; never 0.
    pub publisher: u32,
    /// 1, 2, 3 and so on for each publisher.
    pub sequence: u64,
    /// When it was meant to be sent, in nanoseconds of the clock that the processes share.
    pub intended: u64,
}

/// A room's name as a number: the same in every process.
pub fn room_mark(name: &str) -> u32 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish() as u32
}

/// Appends a message of so many bytes, or of [`STAMP_BYTES`] if that is more.
pub fn push(out: &mut Vec<u8>, stamp: &Stamp, bytes: usize) {
    let start = out.len();
    push_hexadecimal(out, u64::from(stamp.room), 8);
    push_hexadecimal(out, u64::from(stamp.publisher), 8);
    push_hexadecimal(out, stamp.sequence, 16);
    push_hexadecimal(out, stamp.intended, 16);
    out.resize(start + bytes.max(STAMP_BYTES), filling(stamp));
}

/// What a message says, if it is whole and nothing in it has changed.
pub fn parse(payload: &[u8]) -> Option<Stamp> {
    let (stamp, rest) = payload.split_at_checked(STAMP_BYTES)?;
    let number = |from: usize, digits: usize| hexadecimal(&stamp[from..from + digits]);
    let stamp = Stamp {
        room: number(0, 8)? as u32,
        publisher: number(8, 8)? as u32,
        sequence: number(16, 16)?,
        intended: number(32, 16)?,
    };
    let filling = filling(&stamp);
    rest.iter().all(|byte| *byte == filling).then_some(stamp)
}

/// Another letter for every message: bytes of two cannot be mixed unseen.
fn filling(stamp: &Stamp) -> u8 {
    b'a' + (stamp.sequence.wrapping_add(u64::from(stamp.publisher)) % 26) as u8
}

fn push_hexadecimal(out: &mut Vec<u8>, number: u64, digits: u32) {
    for digit in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(number >> (4 * digit) & 0xF) as usize]);
    }
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number: u64, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_what_was_put_into_it_until_a_byte_changes() {
        let stamp = Stamp { room: room_mark("room-3"), publisher: 7, sequence: 1 << 40, intended: 12_345 };
        for bytes in [0, 100, 70_000] {
            let mut payload = Vec::new();
            push(&mut payload, &stamp, bytes);
            assert_eq!(payload.len(), bytes.max(STAMP_BYTES));
            assert_eq!(parse(&payload), Some(stamp));
            *payload.last_mut().unwrap() ^= 1;
            assert_ne!(parse(&payload), Some(stamp), "{bytes}");
        }
        assert_eq!(parse(b"short"), None);
    }
}
