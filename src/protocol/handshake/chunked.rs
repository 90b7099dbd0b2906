//! The chunked transfer coding, decoded byte by byte (RFC 9112 §7.1).
//!
//! Keeps nothing of the framing and no data: what belongs to the body goes to the caller in slices of
//! the input. Looks at each byte once, however the body is cut.

use super::super::limits::Limits;
use super::framing::body_too_large;
use super::response::Refusal;
#[cfg(test)]
use super::scanner::SCANNED;
use super::{is_token_byte, shown};

#[cfg(test)]
mod tests;

/// Digits of a chunk-size: 4 GiB, more than any limit, and no overflow where a `usize` has 32 bits.
const SIZE_DIGITS_MAX: u32 = 8;

/// Bytes of the extensions of one chunk. Nobody here understands one; the signatures that some clients
/// put there have about 90.
const EXTENSION_BYTES_MAX: usize = 256;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Size,
    /// Whitespace behind the size, which a `;` must follow.
    BeforeExtension,
    Extension,
    SizeEnd,
    Data,
    DataEnd,
    DataLineFeed,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerEnd,
    BodyEnd,
}

impl Place {
    /// Whether the bytes here are neither data nor needed to find it.
    fn is_ballast(self) -> bool {
        use Place::{BeforeExtension, Extension, TrailerName, TrailerValue};
        matches!(self, BeforeExtension | Extension | TrailerName | TrailerValue)
    }
}

/// A resumable decoder of one chunked body of limited size.
#[derive(Clone, Debug)]
pub struct ChunkedDecoder {
    place: Place,
    digits: u32,
    /// What the size says so far, then how much of the data is missing.
    missing: usize,
    /// Extension bytes of this chunk.
    extension_bytes: usize,
    /// Bytes of all extensions and trailers, without line ends.
    ballast_bytes: usize,
    /// Data announced by all chunks so far.
    decoded: usize,
    limit: usize,
}

impl ChunkedDecoder {
    /// A decoder at the first byte of a body that may have up to `limit` bytes of data.
    pub fn new(limit: usize) -> ChunkedDecoder {
        ChunkedDecoder {
            place: Place::default(),
            digits: 0,
            missing: 0,
            extension_bytes: 0,
            ballast_bytes: 0,
            decoded: 0,
            limit,
        }
    }

    /// Looks at the next bytes and hands out the data among them. Returns how many of them belong to
    /// the body once it is whole, its trailers included; those are dropped (RFC 9112 §7.1.2).
    ///
    /// # Errors
    ///
    /// At the first byte that proves it: 400 for malformed chunks, 413 behind a chunk-size with which
    /// the data is too large, 431 for extensions and trailers that together are longer than a head may
    /// be.
    pub fn decode(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        mut data: impl FnMut(&[u8]),
    ) -> Result<Option<usize>, Refusal> {
        let mut used = 0;
        while let Some(&byte) = bytes.get(used) {
            if self.place == Place::Data {
                let count = self.missing.min(bytes.len() - used);
                data(&bytes[used..used + count]);
                self.missing -= count;
                used += count;
                if self.missing == 0 {
                    self.place = Place::DataEnd;
                }
                continue;
            }
            #[cfg(test)]
            SCANNED.set(SCANNED.get() + 1);
            used += 1;
            if self.step(byte)? {
                return Ok(Some(used));
            }
            self.count_ballast(limits)?;
        }
        Ok(None)
    }

    /// Takes one byte that is no data; `true` if it ends the body.
    fn step(&mut self, byte: u8) -> Result<bool, Refusal> {
        self.place = match (self.place, byte) {
            (Place::Size, _) => self.size_step(byte)?,
            (Place::BeforeExtension, b' ' | b'\t') => Place::BeforeExtension,
            (Place::BeforeExtension | Place::Extension, b';') => Place::Extension,
            (Place::Extension, b'\r') => Place::SizeEnd,
            (Place::Extension, b'\t' | 0x20..=0x7E | 0x80..) => Place::Extension,
            (Place::BeforeExtension | Place::Extension, _) => return Err(bad_extension(byte)),
            (Place::SizeEnd, b'\n') => self.chunk_begins()?,

            (Place::DataEnd, b'\r') => Place::DataLineFeed,
            (Place::DataLineFeed, b'\n') => Place::Size,
            (Place::Data | Place::DataEnd | Place::DataLineFeed, _) => return Err(bad_data_end(byte)),

            (Place::TrailerStart, b'\r') => Place::BodyEnd,
            (Place::TrailerStart | Place::TrailerName, _) if is_token_byte(byte) => Place::TrailerName,
            (Place::TrailerName, b':') => Place::TrailerValue,
            (Place::TrailerValue, b'\r') => Place::TrailerEnd,
            (Place::TrailerValue, b'\t' | 0x20..=0x7E | 0x80..) => Place::TrailerValue,
            (Place::TrailerEnd, b'\n') => Place::TrailerStart,
            (Place::BodyEnd, b'\n') => return Ok(true),
            (Place::TrailerStart | Place::TrailerName | Place::TrailerValue, _) => {
                return Err(bad_trailer(byte));
            }
            (Place::SizeEnd | Place::TrailerEnd | Place::BodyEnd, _) => return Err(bad_line_end()),
        };
        Ok(false)
    }

    fn size_step(&mut self, byte: u8) -> Result<Place, Refusal> {
        match (char::from(byte).to_digit(16), byte) {
            (Some(_), _) if self.digits == SIZE_DIGITS_MAX => Err(long_size()),
            (Some(digit), _) => {
                self.digits += 1;
                self.missing = self.missing << 4 | digit as usize;
                Ok(Place::Size)
            }
            (None, b';') if self.digits > 0 => Ok(Place::Extension),
            (None, b' ' | b'\t') if self.digits > 0 => Ok(Place::BeforeExtension),
            (None, b'\r') if self.digits > 0 => Ok(Place::SizeEnd),
            (None, _) => Err(bad_size(byte)),
        }
    }

    /// The line of the size is whole.
    fn chunk_begins(&mut self) -> Result<Place, Refusal> {
        self.digits = 0;
        self.extension_bytes = 0;
        if self.missing == 0 {
            return Ok(Place::TrailerStart);
        }
        if self.missing > self.limit - self.decoded {
            return Err(body_too_large(None, self.limit));
        }
        self.decoded += self.missing;
        Ok(Place::Data)
    }

    fn count_ballast(&mut self, limits: &Limits) -> Result<(), Refusal> {
        if !self.place.is_ballast() {
            return Ok(());
        }
        if matches!(self.place, Place::BeforeExtension | Place::Extension) {
            self.extension_bytes += 1;
            if self.extension_bytes > EXTENSION_BYTES_MAX {
                return Err(long_extension());
            }
        }
        self.ballast_bytes += 1;
        if self.ballast_bytes > limits.head_bytes_max {
            return Err(too_much_ballast(limits));
        }
        Ok(())
    }
}

fn long_size() -> Refusal {
    let body = format!("a chunk-size of the body has more than {SIZE_DIGITS_MAX} digits; 1 to 8 are allowed");
    Refusal::new(400, body)
}

fn bad_size(byte: u8) -> Refusal {
    let body = format!(
        "a chunk-size of the body has the byte '{}'; 1 to 8 hexadecimal digits and CR LF are allowed",
        shown(&[byte])
    );
    Refusal::new(400, body)
}

fn bad_extension(byte: u8) -> Refusal {
    let body = format!(
        "an extension of a chunk has the byte '{}'; ';' with visible characters behind it, then CR LF, is \
         allowed",
        shown(&[byte])
    );
    Refusal::new(400, body)
}

fn long_extension() -> Refusal {
    let body = format!(
        "the extensions of a chunk are longer than {EXTENSION_BYTES_MAX} bytes; up to that many are allowed"
    );
    Refusal::new(400, body)
}

fn bad_data_end(byte: u8) -> Refusal {
    let body = format!(
        "behind the data of a chunk comes the byte '{}'; only CR LF is allowed where the chunk-size ends it",
        shown(&[byte])
    );
    Refusal::new(400, body)
}

fn bad_trailer(byte: u8) -> Refusal {
    let body = format!(
        "a trailer of the body has the byte '{}'; lines of name, ':' and value that end with CR LF are allowed",
        shown(&[byte])
    );
    Refusal::new(400, body)
}

fn bad_line_end() -> Refusal {
    Refusal::new(400, "a chunked body has a CR without an LF after it; lines must end with CR LF")
}

fn too_much_ballast(limits: &Limits) -> Refusal {
    let limit = limits.head_bytes_max;
    let body = format!(
        "chunk extensions and trailers of the body are longer than {limit} bytes; up to {limit} are allowed \
         (--max-head)"
    );
    Refusal::new(431, body)
}
