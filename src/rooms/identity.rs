//! What a connection says of itself to the others. Nobody has verified it.

use std::fmt;

/// The longest name in bytes of UTF-8: enough for any name or identifier, and it bounds what a peer can
/// make every message of its carry.
pub const NAME_BYTES_MAX: usize = 64;

/// A connection's own name: 1 to [`NAME_BYTES_MAX`] bytes of UTF-8 without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    name: Box<str>,
}

/// Why a name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It is empty or too long.
    #[error("a name has 1 to {NAME_BYTES_MAX} bytes; this one has {bytes}")]
    Length {
        /// Its length in bytes.
        bytes: usize,
    },
    /// It has a control character.
    #[error("a name has no control characters; this one has U+{:04X}", u32::from(*.character))]
    Control {
        /// The first one.
        character: char,
    },
}

impl Identity {
    /// Checks a name.
    ///
    /// # Errors
    ///
    /// [`IdentityError`] says which rule it breaks.
    pub fn new(name: &str) -> Result<Identity, IdentityError> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(IdentityError::Length { bytes: name.len() });
        }
        if let Some(character) = name.chars().find(|character| character.is_control()) {
            return Err(IdentityError::Control { character });
        }
        Ok(Identity { name: name.into() })
    }

    /// Bytes of memory that a shared identity takes: itself, its name, its counts and the allocator's headers.
    pub(super) fn pinned_bytes(&self) -> usize {
        size_of::<Identity>() + self.name.len() + 2 * size_of::<usize>() + 32
    }

    /// The name: who the connection says it belongs to. One user may have several connections.
    pub fn user(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_counts_bytes_and_is_inclusive() {
        assert_eq!(Identity::new(""), Err(IdentityError::Length { bytes: 0 }));
        for (length, ok) in [(1, true), (63, true), (64, true), (65, false)] {
            assert_eq!(Identity::new(&"x".repeat(length)).is_ok(), ok, "{length}");
        }
        assert_eq!(Identity::new(&"é".repeat(33)), Err(IdentityError::Length { bytes: 66 }));
    }

    #[test]
    fn control_characters_are_refused() {
        let refused = Identity::new("a\u{1b}").unwrap_err();
        assert_eq!(refused.to_string(), "a name has no control characters; this one has U+001B");
        assert_eq!(Identity::new("Ada Ü 🎺").unwrap().user(), "Ada Ü 🎺");
    }
}
