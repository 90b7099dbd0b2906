//! Whose fault it is: what a peer broke, what it exceeded, and the Close status code for each.
//!
//! Small `Copy` values; every sentence fits into the reason of a Close frame (RFC 6455 §5.5.1).
//! Refused opening handshakes are not here, they are [`Refusal`](super::Refusal)s.

use thiserror::Error;

use super::CloseCode;
use super::message::Kind;

/// The peer broke RFC 6455.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// A reserved bit is set although no extension was negotiated (§5.2).
    #[error("a frame has the reserved bits {bits:03b} set; without an extension they must be 000")]
    ReservedBits {
        /// RSV1, RSV2 and RSV3, from bit 2 to bit 0.
        bits: u8,
    },
    /// The opcode has no meaning (§5.2).
    #[error("a frame has the reserved opcode {opcode:#x}; allowed are 0x0-0x2 and 0x8-0xa")]
    ReservedOpcode {
        /// The four bits seen.
        opcode: u8,
    },
    /// A control frame without FIN (§5.5).
    #[error("a control frame is fragmented; control frames must have FIN set")]
    FragmentedControl,
    /// A control frame announced an extended payload length (§5.5).
    #[error("a control frame has more than 125 bytes of payload; 125 are allowed")]
    ControlTooLong,
    /// A client's frame without a mask (§5.1).
    #[error("a frame of the client is not masked; a client must mask every frame")]
    NotMasked,
    /// A server's frame with a mask (§5.1).
    #[error("a frame of the server is masked; a server must not mask")]
    Masked,
    /// A payload length that a shorter form could carry (§5.2).
    #[error("a payload length is not in its shortest form; only the shortest form is allowed")]
    LengthNotMinimal,
    /// A 64-bit payload length with the most significant bit set (§5.2).
    #[error("a 64-bit payload length has its top bit set; lengths up to 2^63-1 are allowed")]
    LengthTopBit,
    /// A continuation frame while no message is open (§5.4).
    #[error("a continuation frame came while no message is open; begin with text or binary")]
    ContinuationWithoutMessage,
    /// A new data message inside an open fragmented one (§5.4).
    #[error("a new {} message began inside an unfinished one; only continuations may follow",
        match .kind { Kind::Text => "text", Kind::Binary => "binary" })]
    MessageInsideMessage {
        /// What the new message would have been.
        kind: Kind,
    },
    /// A text message that is not UTF-8 (§8.1).
    #[error("a text message is not valid UTF-8; text must be UTF-8")]
    TextNotUtf8,
    /// A Close frame with a payload of one byte (§5.5.1).
    #[error("a Close frame has 1 byte of payload; allowed are none, or a status code of 2 bytes")]
    CloseTruncated,
    /// A Close frame with a status code that must not travel (§7.4).
    #[error("a Close frame has status code {code}; allowed: 1000-1003, 1007-1014, 3000-4999")]
    CloseCodeNotAllowed {
        /// The code seen.
        code: u16,
    },
    /// A Close frame whose reason is not UTF-8 (§5.5.1).
    #[error("the reason of a Close frame is not valid UTF-8; it must be UTF-8")]
    CloseReasonNotUtf8,
}

impl ProtocolError {
    /// The status code to close with: 1007 for text that is not UTF-8, else 1002 (§7.4.1).
    pub fn close_code(self) -> CloseCode {
        match self {
            ProtocolError::TextNotUtf8 | ProtocolError::CloseReasonNotUtf8 => {
                CloseCode::INVALID_FRAME_PAYLOAD_DATA
            }
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }

    /// The section that was broken, for example `"RFC 6455 §5.4"`.
    pub fn section(self) -> &'static str {
        match self {
            ProtocolError::NotMasked | ProtocolError::Masked => "RFC 6455 §5.1",
            ProtocolError::ReservedBits { .. }
            | ProtocolError::ReservedOpcode { .. }
            | ProtocolError::LengthNotMinimal
            | ProtocolError::LengthTopBit => "RFC 6455 §5.2",
            ProtocolError::ContinuationWithoutMessage | ProtocolError::MessageInsideMessage { .. } => {
                "RFC 6455 §5.4"
            }
            ProtocolError::FragmentedControl | ProtocolError::ControlTooLong => "RFC 6455 §5.5",
            ProtocolError::CloseTruncated | ProtocolError::CloseReasonNotUtf8 => "RFC 6455 §5.5.1",
            ProtocolError::CloseCodeNotAllowed { .. } => "RFC 6455 §7.4",
            ProtocolError::TextNotUtf8 => "RFC 6455 §8.1",
        }
    }
}

/// The peer kept to the RFC but exceeded one of our [`Limits`](super::Limits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LimitError {
    /// A message is longer than `--max-message`.
    #[error("a message has at least {bytes} bytes; {limit} are allowed (--max-message)")]
    MessageTooBig {
        /// Payload bytes received and announced so far.
        bytes: u64,
        /// Payload bytes allowed.
        limit: usize,
    },
    /// A message has more frames than `--max-fragments`.
    #[error("a message has more than {limit} fragments; {limit} are allowed (--max-fragments)")]
    TooManyFragments {
        /// Frames allowed.
        limit: u32,
    },
}

impl LimitError {
    /// The status code to close with: 1009 for a message too big, 1008 for the rest (§7.4.1).
    pub fn close_code(self) -> CloseCode {
        match self {
            LimitError::MessageTooBig { .. } => CloseCode::MESSAGE_TOO_BIG,
            LimitError::TooManyFragments { .. } => CloseCode::POLICY_VIOLATION,
        }
    }
}

/// Why a WebSocket connection failed (RFC 6455 §7.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// The peer broke the protocol.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The peer exceeded a limit of ours.
    #[error(transparent)]
    Limit(#[from] LimitError),
}

impl Failure {
    /// The status code to close with.
    pub fn close_code(self) -> CloseCode {
        match self {
            Failure::Protocol(error) => error.close_code(),
            Failure::Limit(error) => error.close_code(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::CLOSE_REASON_BYTES_MAX;

    const PROTOCOL_ERRORS: [ProtocolError; 15] = [
        ProtocolError::ReservedBits { bits: 7 },
        ProtocolError::ReservedOpcode { opcode: 15 },
        ProtocolError::FragmentedControl,
        ProtocolError::ControlTooLong,
        ProtocolError::NotMasked,
        ProtocolError::Masked,
        ProtocolError::LengthNotMinimal,
        ProtocolError::LengthTopBit,
        ProtocolError::ContinuationWithoutMessage,
        ProtocolError::MessageInsideMessage { kind: Kind::Text },
        ProtocolError::MessageInsideMessage { kind: Kind::Binary },
        ProtocolError::TextNotUtf8,
        ProtocolError::CloseTruncated,
        ProtocolError::CloseCodeNotAllowed { code: u16::MAX },
        ProtocolError::CloseReasonNotUtf8,
    ];
    const LIMIT_ERRORS: [LimitError; 2] = [
        LimitError::MessageTooBig { bytes: u64::MAX, limit: usize::MAX },
        LimitError::TooManyFragments { limit: u32::MAX },
    ];

    #[test]
    fn every_sentence_fits_into_a_close_frame() {
        let protocol = PROTOCOL_ERRORS.map(Failure::from);
        let limit = LIMIT_ERRORS.map(Failure::from);
        for failure in protocol.iter().chain(&limit) {
            let sentence = failure.to_string();
            assert!(!sentence.is_empty());
            assert!(sentence.len() <= CLOSE_REASON_BYTES_MAX, "{} bytes: {sentence}", sentence.len());
            assert!(failure.close_code().may_travel());
        }
    }

    #[test]
    fn sections_and_codes() {
        for error in PROTOCOL_ERRORS {
            assert!(error.section().starts_with("RFC 6455 §"));
            let utf8 = error.to_string().contains("UTF-8");
            let code = if utf8 { 1007 } else { 1002 };
            assert_eq!(error.close_code().as_u16(), code, "{error}");
        }
        assert_eq!(LIMIT_ERRORS[0].close_code().as_u16(), 1009);
        assert_eq!(LIMIT_ERRORS[1].close_code().as_u16(), 1008);
    }

    #[test]
    fn limit_sentences_name_the_numbers_and_the_flag() {
        let sentence = LimitError::MessageTooBig { bytes: 1001, limit: 1000 }.to_string();
        for part in ["1001", "1000", "--max-message"] {
            assert!(sentence.contains(part), "{sentence}");
        }
        let sentence = LimitError::TooManyFragments { limit: 77 }.to_string();
        assert!(sentence.contains("77") && sentence.contains("--max-fragments"));
    }

    #[test]
    fn errors_are_small() {
        assert!(size_of::<Failure>() <= 32);
        assert!(size_of::<ProtocolError>() <= 4);
    }
}
