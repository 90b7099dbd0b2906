//! The name of a room and its rule.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The longest name of a room in bytes of UTF-8: enough for any identifier, and it bounds what a
/// peer can make the registry hold.
pub const ROOM_NAME_BYTES_MAX: usize = 128;

/// A valid room name: 1 to [`ROOM_NAME_BYTES_MAX`] bytes of UTF-8 without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomName(Arc<str>);

/// Why a room name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoomNameError {
    /// It is empty or too long.
    #[error("a room name has 1 to {ROOM_NAME_BYTES_MAX} bytes after percent-decoding; this one has {bytes}")]
    Length {
        /// Its length in bytes.
        bytes: usize,
    },
    /// It has a control character.
    #[error("a room name has no control characters; this one has U+{:04X}", u32::from(*.character))]
    Control {
        /// The first one.
        character: char,
    },
}

impl RoomName {
    /// Checks a name.
    ///
    /// # Errors
    ///
    /// [`RoomNameError`] says which rule it breaks.
    pub fn new(name: &str) -> Result<RoomName, RoomNameError> {
        if name.is_empty() || name.len() > ROOM_NAME_BYTES_MAX {
            return Err(RoomNameError::Length { bytes: name.len() });
        }
        if let Some(character) = name.chars().find(|character| character.is_control()) {
            return Err(RoomNameError::Control { character });
        }
        Ok(RoomName(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for RoomName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_counts_bytes_and_is_inclusive() {
        assert_eq!(RoomName::new(""), Err(RoomNameError::Length { bytes: 0 }));
        assert!(RoomName::new("a").is_ok());
        for (length, ok) in [(127, true), (128, true), (129, false)] {
            assert_eq!(RoomName::new(&"x".repeat(length)).is_ok(), ok, "{length}");
        }
        assert!(RoomName::new(&"é".repeat(64)).is_ok());
        assert_eq!(RoomName::new(&"é".repeat(65)), Err(RoomNameError::Length { bytes: 130 }));
    }

    #[test]
    fn control_characters_are_refused() {
        for name in ["a\0", "\n", "a\u{7f}b", "\u{85}"] {
            assert!(matches!(RoomName::new(name), Err(RoomNameError::Control { .. })), "{name:?}");
        }
        assert!(RoomName::new("a b/ü 🎺").is_ok());
    }

    #[test]
    fn the_error_says_what_was_seen_and_what_is_allowed() {
        assert_eq!(
            RoomName::new("a\u{1b}").unwrap_err().to_string(),
            "a room name has no control characters; this one has U+001B"
        );
    }
}
