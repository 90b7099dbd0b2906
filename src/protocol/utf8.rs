//! UTF-8 validation of a text that arrives in pieces (RFC 6455 §5.6 and §8.1, RFC 3629 §4).
//!
//! Remembers at most the three bytes of an unfinished code point, never the text itself.

use thiserror::Error;

/// The bytes are not UTF-8, whatever may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the text is not valid UTF-8")]
pub struct InvalidUtf8;

/// Validates UTF-8 piece by piece, however the pieces are cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Utf8Validator {
    /// The bytes of a code point that is not complete yet; each can still lead to a valid one.
    partial: [u8; 3],
    partial_bytes: u8,
}

impl Utf8Validator {
    /// Takes the next piece of the text.
    ///
    /// # Errors
    ///
    /// [`InvalidUtf8`] as soon as a byte is seen that no valid text can have in its place: also
    /// `ED A0` (surrogates), `F4 90` (beyond U+10FFFF), `E0 80` and `C0` (overlong). The validator
    /// is of no use afterwards.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), InvalidUtf8> {
        let rest = self.complete_partial(bytes)?;
        let Err(error) = simdutf8::compat::from_utf8(rest) else {
            return Ok(());
        };
        if error.error_len().is_some() {
            return Err(InvalidUtf8);
        }
        for &byte in &rest[error.valid_up_to()..] {
            self.step(byte)?;
        }
        Ok(())
    }

    /// Says whether the text may end here.
    ///
    /// # Errors
    ///
    /// [`InvalidUtf8`] if the last code point is incomplete.
    pub fn finish(&self) -> Result<(), InvalidUtf8> {
        match self.partial_bytes {
            0 => Ok(()),
            _ => Err(InvalidUtf8),
        }
    }

    /// Feeds `bytes` to the unfinished code point until it is complete; returns what is left.
    fn complete_partial<'a>(&mut self, mut bytes: &'a [u8]) -> Result<&'a [u8], InvalidUtf8> {
        while self.partial_bytes > 0 {
            let Some((&byte, rest)) = bytes.split_first() else {
                break;
            };
            self.step(byte)?;
            bytes = rest;
        }
        Ok(bytes)
    }

    /// Adds one byte to the unfinished code point (RFC 3629 §4, the ABNF's table).
    fn step(&mut self, byte: u8) -> Result<(), InvalidUtf8> {
        let [lead, ..] = self.partial;
        let allowed = match (self.partial_bytes, lead) {
            (0, _) => 0xC2..=0xF4,
            (1, 0xE0) => 0xA0..=0xBF,
            (1, 0xED) => 0x80..=0x9F,
            (1, 0xF0) => 0x90..=0xBF,
            (1, 0xF4) => 0x80..=0x8F,
            _ => 0x80..=0xBF,
        };
        if !allowed.contains(&byte) {
            return Err(InvalidUtf8);
        }
        let size = match if self.partial_bytes == 0 { byte } else { lead } {
            ..0xE0 => 2,
            0xE0..0xF0 => 3,
            _ => 4,
        };
        let place = self.partial.get_mut(usize::from(self.partial_bytes));
        match place {
            Some(place) if self.partial_bytes + 1 < size => {
                *place = byte;
                self.partial_bytes += 1;
            }
            _ => self.partial_bytes = 0,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Index of the first byte at which a byte-by-byte validation fails.
    fn fails_at(bytes: &[u8]) -> Option<usize> {
        let mut validator = Utf8Validator::default();
        bytes.iter().position(|byte| validator.push(&[*byte]).is_err())
    }

    #[test]
    fn the_state_is_at_most_eight_bytes() {
        assert!(size_of::<Utf8Validator>() <= 8);
    }

    #[test]
    fn every_code_point_passes_at_every_split_and_every_prefix_is_incomplete() {
        let step = if cfg!(miri) { 997 } else { 1 };
        for character in (0..=u32::from(char::MAX)).step_by(step) {
            let Some(character) = char::from_u32(character) else {
                continue;
            };
            let mut buffer = [0; 4];
            let bytes = character.encode_utf8(&mut buffer).as_bytes();
            for cut in 0..=bytes.len() {
                let mut validator = Utf8Validator::default();
                assert_eq!(validator.push(&bytes[..cut]), Ok(()));
                let complete = cut == 0 || cut == bytes.len();
                assert_eq!(validator.finish().is_ok(), complete, "{character:?} {cut}");
                assert_eq!(validator.push(&bytes[cut..]), Ok(()));
                assert_eq!(validator.finish(), Ok(()));
            }
        }
    }

    #[test]
    fn every_surrogate_fails_at_its_second_byte() {
        for unit in 0xD800..=0xDFFF_u32 {
            let last = 0x80 | (unit & 0x3F) as u8;
            let middle = 0x80 | ((unit >> 6) & 0x3F) as u8;
            assert_eq!(fails_at(&[0xED, middle, last]), Some(1));
        }
    }

    #[test]
    fn the_first_impossible_byte_fails() {
        let cases: [(&[u8], usize); 14] = [
            (b"\x80", 0),
            (b"\xC0\x80", 0),
            (b"\xC1\xBF", 0),
            (b"\xC2\x41", 1),
            (b"\xE0\x80\x80", 1),
            (b"\xE0\x9F\xBF", 1),
            (b"\xE2\x82\x41", 2),
            (b"\xED\xA0\x80", 1),
            (b"\xF0\x80\x80\x80", 1),
            (b"\xF0\x8F\xBF\xBF", 1),
            (b"\xF4\x90\x80\x80", 1),
            (b"\xF5\x80\x80\x80", 0),
            (b"\xFF", 0),
            (b"\xF4\x8F\xBF\xC0", 3),
        ];
        for (bytes, at) in cases {
            assert_eq!(fails_at(bytes), Some(at), "{bytes:x?}");
            for cut in 0..bytes.len() {
                let mut validator = Utf8Validator::default();
                let left = validator.push(&bytes[..cut]);
                assert_eq!(left.is_err(), cut > at, "{bytes:x?} cut at {cut}");
                let right = left.and_then(|()| validator.push(&bytes[cut..]));
                assert_eq!(right, Err(InvalidUtf8));
            }
        }
    }

    #[test]
    fn an_impossible_byte_fails_behind_a_long_text_too() {
        for length in 0..200 {
            let mut text = vec![b'x'; length];
            text.extend(b"\xED\xA0");
            assert_eq!(Utf8Validator::default().push(&text), Err(InvalidUtf8));
            text.pop();
            let mut validator = Utf8Validator::default();
            assert_eq!(validator.push(&text), Ok(()));
            assert_eq!(validator.finish(), Err(InvalidUtf8));
            assert_eq!(validator.push(b"\x9F\xBF"), Ok(()));
            assert_eq!(validator.finish(), Ok(()));
        }
    }
}
