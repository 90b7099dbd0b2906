//! Where somebody is in a room: its epoch and an offset, and where a new member wants to begin.

use std::fmt;
use std::str::FromStr;

/// One life of a room: random at its creation, so that offsets of another life cannot be mistaken for
/// those of this one. Written as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(u64);

impl Epoch {
    /// The epoch with this number.
    pub fn new(number: u64) -> Epoch {
        Epoch(number)
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
        let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if epoch.len() != 16 || !epoch.bytes().all(hexadecimal) {
            return Err(PositionError);
        }
        let canonical = offset.bytes().all(|byte| byte.is_ascii_digit())
            && !(offset.len() > 1 && offset.starts_with('0'));
        if !canonical {
            return Err(PositionError);
        }
        let epoch = u64::from_str_radix(epoch, 16).map_err(|_| PositionError)?;
        let offset = offset.parse().map_err(|_| PositionError)?;
        Ok(Position { epoch: Epoch(epoch), offset })
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
