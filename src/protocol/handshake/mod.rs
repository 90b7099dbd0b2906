//! HTTP/1.1 up to the opening handshake: reading requests, checking them, answering (RFC 9112, RFC
//! 6455 §4).
//!
//! Decides nothing about paths, origins or rooms.

mod chunked;
mod client;
mod forwarded;
mod framing;
mod request;
mod response;
mod scanner;
mod upgrade;

pub(super) use chunked::ChunkedDecoder;
pub use client::{Accepted, ClientHandshake, HandshakeError};
pub use forwarded::{ForwardedHeader, ForwardedHeaderError};
pub use framing::{BodyLength, body_too_large};
pub use request::Request;
pub use response::{
    Persistence, Refusal, push_continue, push_http_response, push_stream_head, reason_phrase,
};
pub(super) use scanner::HeadScanner;
#[cfg(test)]
pub(super) use scanner::SCANNED;
pub use upgrade::{Upgrade, accept_key};

/// Characters of a peer's bytes that are shown in a refusal.
const SHOWN_CHARS_MAX: usize = 64;

/// Whether `byte` may be in a token (RFC 9110 §5.6.2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is_token_byte(*byte))
}

/// The elements of a comma-separated list, without optional whitespace (RFC 9110 §5.6.1).
fn list_elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// A peer's bytes as a refusal shows them.
fn shown(bytes: &[u8]) -> String {
    super::shown(bytes, SHOWN_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_bytes_are_those_of_the_rfc() {
        let allowed: Vec<u8> = (0..=255).filter(|byte| is_token_byte(*byte)).collect();
        assert_eq!(allowed.len(), 26 + 26 + 10 + 15);
        assert!(!allowed.contains(&b'"') && !allowed.contains(&b',') && !allowed.contains(&b' '));
        assert!(!is_token(b""));
    }
}
