//! Close frames: status codes, reading and writing (RFC 6455 §5.5.1, §7.4; IANA's registry of
//! WebSocket close code numbers).
//!
//! Who may send a Close and when is not here but in the state machine of `closing.rs`.

use std::fmt;

use super::error::ProtocolError;
use super::header::{Opcode, push_server_frame};

/// Bytes that the reason of a Close frame may have: 125 of a control frame less 2 of the code.
pub const CLOSE_REASON_BYTES_MAX: usize = 123;

/// A status code of a closed connection (RFC 6455 §7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL_CLOSURE: CloseCode = CloseCode(1000);
    /// 1001: the server goes down or the page was left.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: CloseCode = CloseCode(1002);
    /// 1003: the kind of data cannot be accepted.
    pub const UNSUPPORTED_DATA: CloseCode = CloseCode(1003);
    /// 1005: no code was present; must not travel.
    pub const NO_STATUS_RCVD: CloseCode = CloseCode(1005);
    /// 1006: the connection was lost without a Close; must not travel.
    pub const ABNORMAL_CLOSURE: CloseCode = CloseCode(1006);
    /// 1007: the payload does not fit its kind, for example text that is not UTF-8.
    pub const INVALID_FRAME_PAYLOAD_DATA: CloseCode = CloseCode(1007);
    /// 1008: a policy was violated.
    pub const POLICY_VIOLATION: CloseCode = CloseCode(1008);
    /// 1009: a message is too big to process.
    pub const MESSAGE_TOO_BIG: CloseCode = CloseCode(1009);
    /// 1010: the client misses an extension.
    pub const MANDATORY_EXTENSION: CloseCode = CloseCode(1010);
    /// 1011: the server met an unexpected condition.
    pub const INTERNAL_ERROR: CloseCode = CloseCode(1011);
    /// 1012: the service restarts.
    pub const SERVICE_RESTART: CloseCode = CloseCode(1012);
    /// 1013: the service is overloaded.
    pub const TRY_AGAIN_LATER: CloseCode = CloseCode(1013);
    /// 1014: a gateway got an invalid response upstream.
    pub const BAD_GATEWAY: CloseCode = CloseCode(1014);
    /// 1015: the TLS handshake failed; must not travel.
    pub const TLS_HANDSHAKE: CloseCode = CloseCode(1015);

    /// The code, if it may travel in a Close frame: 1000–1003, 1007–1014, 3000–4999 (§7.4.2).
    pub const fn new(code: u16) -> Option<CloseCode> {
        let code = CloseCode(code);
        if code.may_travel() { Some(code) } else { None }
    }

    /// The number.
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// Whether the code may be in a Close frame; 1005, 1006 and 1015 only describe what happened.
    pub const fn may_travel(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }

    fn name(self) -> &'static str {
        match self.0 {
            1000 => "Normal Closure",
            1001 => "Going Away",
            1002 => "Protocol error",
            1003 => "Unsupported Data",
            1005 => "No Status Rcvd",
            1006 => "Abnormal Closure",
            1007 => "Invalid frame payload data",
            1008 => "Policy Violation",
            1009 => "Message Too Big",
            1010 => "Mandatory Ext.",
            1011 => "Internal Error",
            1012 => "Service Restart",
            1013 => "Try Again Later",
            1014 => "Bad Gateway",
            1015 => "TLS handshake",
            4000.. => "private use",
            _ => "registered",
        }
    }
}

impl fmt::Display for CloseCode {
    /// The number and IANA's name, for example `1008 (Policy Violation)`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.0, self.name())
    }
}

/// Reads the payload of a Close frame: the status code, if there is one, and the reason.
///
/// # Errors
///
/// A payload of one byte or a code that must not travel (1002), a reason that is not UTF-8 (1007);
/// RFC 6455 §5.5.1.
pub fn parse_close(payload: &[u8]) -> Result<(Option<CloseCode>, &str), ProtocolError> {
    if payload.is_empty() {
        return Ok((None, ""));
    }
    let Some((code, reason)) = payload.split_first_chunk() else {
        return Err(ProtocolError::CloseTruncated);
    };
    let code = u16::from_be_bytes(*code);
    let Some(known) = CloseCode::new(code) else {
        return Err(ProtocolError::CloseCodeNotAllowed { code });
    };
    let Ok(reason) = simdutf8::basic::from_utf8(reason) else {
        return Err(ProtocolError::CloseReasonNotUtf8);
    };
    Ok((Some(known), reason))
}

/// Appends a Close frame of the server (unmasked) to `out`.
///
/// The reason is cut to [`CLOSE_REASON_BYTES_MAX`] bytes at a character boundary. Without a code
/// there is no reason either (RFC 6455 §5.5.1). A code that must not travel is a bug of the caller
/// and becomes an empty payload.
pub fn push_close_frame(out: &mut Vec<u8>, code: Option<CloseCode>, reason: &str) {
    debug_assert!(code.is_none_or(CloseCode::may_travel), "{code:?} travels");
    let Some(code) = code.filter(|code| code.may_travel()) else {
        push_server_frame(out, Opcode::Close, &[]);
        return;
    };
    let reason = &reason.as_bytes()[..reason.floor_char_boundary(CLOSE_REASON_BYTES_MAX)];
    let mut payload = [0; 2 + CLOSE_REASON_BYTES_MAX];
    payload[..2].copy_from_slice(&code.as_u16().to_be_bytes());
    payload[2..2 + reason.len()].copy_from_slice(reason);
    push_server_frame(out, Opcode::Close, &payload[..2 + reason.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_allowed_codes_travel() {
        for code in 0..=u16::MAX {
            let allowed = (1000..=1003).contains(&code)
                || (1007..=1014).contains(&code)
                || (3000..=4999).contains(&code);
            assert_eq!(CloseCode::new(code).map(CloseCode::as_u16).is_some(), allowed);
            let payload = code.to_be_bytes();
            let expected = if allowed {
                Ok((Some(CloseCode(code)), ""))
            } else {
                Err(ProtocolError::CloseCodeNotAllowed { code })
            };
            assert_eq!(parse_close(&payload), expected);
        }
    }

    #[test]
    fn payloads_around_the_code() {
        assert_eq!(parse_close(b""), Ok((None, "")));
        assert_eq!(parse_close(b"\x03"), Err(ProtocolError::CloseTruncated));
        let normal = Some(CloseCode::NORMAL_CLOSURE);
        assert_eq!(parse_close(b"\x03\xE8"), Ok((normal, "")));
        assert_eq!(parse_close(b"\x03\xE8bye"), Ok((normal, "bye")));
        let bad = parse_close(b"\x03\xE8\xFF").map_err(ProtocolError::close_code);
        assert_eq!(bad, Err(CloseCode::INVALID_FRAME_PAYLOAD_DATA));
        // The code is looked at first.
        let bad = parse_close(b"\x03\xED\xFF").map_err(ProtocolError::close_code);
        assert_eq!(bad, Err(CloseCode::PROTOCOL_ERROR));
    }

    #[test]
    fn a_reason_is_cut_at_a_character() {
        for length in [0, 1, 122, 123, 124, 500] {
            let mut out = Vec::new();
            push_close_frame(&mut out, Some(CloseCode::GOING_AWAY), &"x".repeat(length));
            assert_eq!(out.len(), 2 + 2 + length.min(123));
            assert_eq!(usize::from(out[1]), out.len() - 2);
        }
        let mut out = Vec::new();
        push_close_frame(&mut out, Some(CloseCode::GOING_AWAY), &"€".repeat(42));
        assert_eq!(parse_close(&out[2..]), Ok((Some(CloseCode::GOING_AWAY), "€".repeat(41).as_str())));
        let text = format!("xx{}", "€".repeat(41));
        out.clear();
        push_close_frame(&mut out, Some(CloseCode::GOING_AWAY), &text);
        assert_eq!(out.len(), 2 + 2 + 2 + 40 * 3);
    }

    #[test]
    fn without_a_code_the_payload_is_empty() {
        let mut out = vec![1];
        push_close_frame(&mut out, None, "nobody reads this");
        assert_eq!(out, [1, 0x88, 0]);
    }

    #[test]
    #[cfg_attr(debug_assertions, should_panic = "travels")]
    fn a_code_that_must_not_travel_is_our_bug() {
        let mut out = Vec::new();
        push_close_frame(&mut out, Some(CloseCode::ABNORMAL_CLOSURE), "");
        assert_eq!(out, [0x88, 0]);
    }

    /// As IANA's registry of WebSocket close code numbers has them.
    #[test]
    fn codes_are_shown_with_their_names() {
        for (code, shown) in [
            (CloseCode::NORMAL_CLOSURE, "1000 (Normal Closure)"),
            (CloseCode::GOING_AWAY, "1001 (Going Away)"),
            (CloseCode::PROTOCOL_ERROR, "1002 (Protocol error)"),
            (CloseCode::UNSUPPORTED_DATA, "1003 (Unsupported Data)"),
            (CloseCode::NO_STATUS_RCVD, "1005 (No Status Rcvd)"),
            (CloseCode::ABNORMAL_CLOSURE, "1006 (Abnormal Closure)"),
            (CloseCode::INVALID_FRAME_PAYLOAD_DATA, "1007 (Invalid frame payload data)"),
            (CloseCode::POLICY_VIOLATION, "1008 (Policy Violation)"),
            (CloseCode::MESSAGE_TOO_BIG, "1009 (Message Too Big)"),
            (CloseCode::MANDATORY_EXTENSION, "1010 (Mandatory Ext.)"),
            (CloseCode::INTERNAL_ERROR, "1011 (Internal Error)"),
            (CloseCode::SERVICE_RESTART, "1012 (Service Restart)"),
            (CloseCode::TRY_AGAIN_LATER, "1013 (Try Again Later)"),
            (CloseCode::BAD_GATEWAY, "1014 (Bad Gateway)"),
            (CloseCode::TLS_HANDSHAKE, "1015 (TLS handshake)"),
        ] {
            assert_eq!(code.to_string(), shown);
        }
        assert_eq!(CloseCode(3999).to_string(), "3999 (registered)");
        assert_eq!(CloseCode(4000).to_string(), "4000 (private use)");
    }
}
