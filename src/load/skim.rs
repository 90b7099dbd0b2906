//! Reads frames without looking into them, masked or not: for servers that send back what they do not
//! understand.

use fanfare::protocol::{Decoded, Opcode, ProtocolError, Role, decode_header};

/// The longest header.
const HEADER_BYTES_MAX: usize = 14;

/// What is known of the frame at the end of what was read.
#[derive(Debug, Default)]
pub struct Skimmer {
    /// Bytes of the payload that are still to come.
    rest: u64,
    /// Whether a message ends with them.
    ends: bool,
    /// A header that was cut.
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: usize,
}

/// What the bytes contained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skimmed {
    /// Data messages that became whole.
    pub messages: u64,
    /// Whether a Close frame began.
    pub closed: bool,
}

impl Skimmer {
    /// Takes bytes in.
    ///
    /// # Errors
    ///
    /// When they are no frames.
    pub fn take(&mut self, mut bytes: &[u8]) -> Result<Skimmed, ProtocolError> {
        let mut skimmed = Skimmed::default();
        loop {
            let taken = usize::try_from(self.rest).unwrap_or(usize::MAX).min(bytes.len());
            bytes = &bytes[taken..];
            self.rest -= taken as u64;
            if self.rest > 0 {
                return Ok(skimmed);
            }
            skimmed.messages += u64::from(std::mem::take(&mut self.ends));
            if bytes.is_empty() || !self.take_header(&mut bytes, &mut skimmed)? {
                return Ok(skimmed);
            }
        }
    }

    /// Takes the next header in; false if it is not whole.
    fn take_header(&mut self, bytes: &mut &[u8], skimmed: &mut Skimmed) -> Result<bool, ProtocolError> {
        let kept = self.header_bytes;
        let added = bytes.len().min(HEADER_BYTES_MAX - kept);
        self.header[kept..kept + added].copy_from_slice(&bytes[..added]);
        let header = &self.header[..kept + added];
        let is_masked = header.get(1).is_some_and(|byte| byte & 0x80 != 0);
        // Only clients mask, so that a masked frame is one that a server reads.
        let role = if is_masked { Role::Server } else { Role::Client };
        match decode_header(header, role)? {
            Decoded::NeedMore(_) => {
                self.header_bytes += added;
                *bytes = &bytes[added..];
                Ok(false)
            }
            Decoded::Done { header, size } => {
                self.header_bytes = 0;
                self.rest = header.payload_bytes;
                self.ends = header.fin && !header.opcode.is_control();
                skimmed.closed |= header.opcode == Opcode::Close;
                *bytes = &bytes[size - kept..];
                Ok(true)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfare::protocol::{push_client_frame, push_server_frame};

    #[test]
    fn frames_are_counted_masked_or_not_however_they_are_cut() {
        let mut bytes = Vec::new();
        for size in [0, 1, 125, 126, 70_000] {
            push_client_frame(&mut bytes, Opcode::Binary, true, &vec![7; size], [1, 2, 3, 4]);
            push_server_frame(&mut bytes, Opcode::Text, &vec![b'a'; size]);
        }
        push_server_frame(&mut bytes, Opcode::Ping, b"ping");
        push_client_frame(&mut bytes, Opcode::Binary, false, b"frag", [0; 4]);
        push_client_frame(&mut bytes, Opcode::Continuation, true, b"ment", [0; 4]);
        for step in [1, 2, 3, 7, 100, bytes.len()] {
            let mut skimmer = Skimmer::default();
            let mut messages = 0;
            for part in bytes.chunks(step) {
                let skimmed = skimmer.take(part).unwrap();
                assert!(!skimmed.closed);
                messages += skimmed.messages;
            }
            assert_eq!(messages, 11, "{step}");
        }
    }

    #[test]
    fn a_close_and_what_is_no_frame_are_seen() {
        let mut skimmer = Skimmer::default();
        assert!(skimmer.take(b"\x88\x02\x03\xe8").unwrap().closed);
        assert!(Skimmer::default().take(b"HTTP/1.1 400").is_err());
    }
}
