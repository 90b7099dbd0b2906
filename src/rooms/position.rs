//! Where somebody is in a room: its epoch and an offset, and where a new member wants to begin.

use std::fmt;
use std::str::FromStr;

/// One life of a room: random at its creation, so that offsets of another life cannot be mistaken for
/// those of this one. Written as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(u64);

impl Epoch {
    /// No room's life.
    pub const NONE: Epoch = Epoch(0);

    /// The epoch with this number, 0 being [`Epoch::NONE`].
    pub fn new(number: u64) -> Epoch {
        Epoch(number)
    }
}

impl Epoch {
    /// As others write it: empty if it is no room's, which stands for whichever life there is.
    pub fn text(self) -> String {
        if self == Epoch::NONE { String::new() } else { self.to_string() }
    }
}

impl FromStr for Epoch {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Epoch, PositionError> {
        let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 16 || !text.bytes().all(hexadecimal) {
            return Err(PositionError);
        }
        u64::from_str_radix(text, 16).map(Epoch).map_err(|_| PositionError)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A place in a room: just behind the message with this offset; 0 is before the first. Written
/// `EPOCH:OFFSET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The life of the room that the offset counts in.
    pub epoch: Epoch,
    /// The offset of the last message before the place.
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.offset)
    }
}

/// A text that is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position is EPOCH:OFFSET, 16 hexadecimal digits, a colon and a decimal number")]
pub struct PositionError;

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Position, PositionError> {
        let (epoch, offset) = text.split_once(':').ok_or(PositionError)?;
        let epoch = epoch.parse()?;
        let canonical = offset.bytes().all(|byte| byte.is_ascii_digit())
            && !(offset.len() > 1 && offset.starts_with('0'));
        if !canonical {
            return Err(PositionError);
        }
        let offset = offset.parse().map_err(|_| PositionError)?;
        Ok(Position { epoch, offset })
    }
}

/// Where a member begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With what enters the room from now on.
    #[default]
    Live,
    /// With the last so many messages that the room still holds.
    Last(u64),
    /// Behind this position; refused when anything since is not held any more.
    Since(Position),
    /// The same behind this offset, of whatever life of the room.
    After(u64),
}

impl Start {
    /// The place behind which it begins, in a room that is at `now`; that itself if it names none.
    pub fn wanted(self, now: Position) -> Position {
        match self {
            Start::Since(wanted) => wanted,
            Start::After(offset) => Position { offset, ..now },
            Start::Live | Start::Last(_) => now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_written_and_read_in_one_form() {
        let position = Position { epoch: Epoch(0xab), offset: 12 };
        assert_eq!(position.to_string(), "00000000000000ab:12");
        assert_eq!("00000000000000ab:12".parse(), Ok(position));
        assert_eq!("00000000000000ab:0".parse(), Ok(Position { offset: 0, ..position }));
        for wrong in [
            "",
            ":",
            "12",
            "ab:12",
            "00000000000000AB:1",
            "00000000000000ab:",
            "00000000000000ab:+1",
            "00000000000000ab:01",
            "00000000000000ab:1 ",
            "00000000000000ab:18446744073709551616",
            "000000000000000ab:1",
            "00000000000000äb:1",
        ] {
            assert_eq!(wrong.parse::<Position>(), Err(PositionError), "{wrong}");
        }
    }
}
