//! The words the rest of the protocol is spoken in: which side we are, what a message is.
//!
//! Parses nothing; RFC 6455 §1.2 and §5.6 for the terms.

/// Which side of the connection we are; the peer is the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// We accepted the connection: the peer masks its frames, we do not (RFC 6455 §5.1).
    Server,
    /// We opened the connection: we mask our frames, the peer does not (RFC 6455 §5.1).
    Client,
}

/// What the payload of a data message is (RFC 6455 §5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// Arbitrary bytes.
    Binary,
}

/// One whole data message: unmasked, put together from its fragments, text validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Text or binary.
    pub kind: Kind,
    /// The payload, borrowed from the input or from the reassembly buffer.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The payload as a string; `None` for a binary message.
    ///
    /// The payload of a received text message is known to be UTF-8, but a `&str` cannot be made
    /// from bytes without `unsafe` or another look, so this validates again (simdutf8, several
    /// gigabytes per second). Call it only where a `&str` is needed.
    pub fn text(&self) -> Option<&'a str> {
        match self.kind {
            Kind::Text => simdutf8::basic::from_utf8(self.payload).ok(),
            Kind::Binary => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_text_is_text() {
        let message = |kind, payload| Message { kind, payload };
        assert_eq!(message(Kind::Text, "grüß".as_bytes()).text(), Some("grüß"));
        assert_eq!(message(Kind::Text, b"\xFF").text(), None);
        assert_eq!(message(Kind::Binary, b"bytes").text(), None);
    }
}
