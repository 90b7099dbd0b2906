//! Frame headers: decoding with every rule that the header alone decides, and encoding (RFC 6455
//! §5.1, §5.2, §5.5).
//!
//! Knows nothing of messages: the order of frames and the limits are checked by the connection.

use std::ops::Deref;

use super::error::ProtocolError;
use super::mask::push_masked;
use super::message::{Kind, Role};

#[cfg(test)]
mod tests;

/// Bytes that the header of an unmasked frame has at most: 2, and 8 of a 64-bit length.
pub const SERVER_HEADER_BYTES_MAX: usize = 10;

/// Bytes of the longest control frame that we send: a short header and 125 bytes (RFC 6455 §5.5).
pub const CONTROL_FRAME_BYTES_MAX: usize = 2 + 125;

/// Bytes that the header of any frame has at most: the server's and 4 of the masking key.
pub(super) const HEADER_BYTES_MAX: usize = SERVER_HEADER_BYTES_MAX + 4;

/// The largest payload of a control frame, and of a frame without an extended length, in bytes.
const SHORT_PAYLOAD_BYTES_MAX: u8 = 125;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;
const FIN: u8 = 0x80;
const RSV: u8 = 0x70;
const OPCODE: u8 = 0x0F;
const MASKED: u8 = 0x80;

/// What a frame is (RFC 6455 §5.2). Reserved opcodes have no value here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of the open message.
    Continuation = 0,
    /// A text message or its first fragment.
    Text = 1,
    /// A binary message or its first fragment.
    Binary = 2,
    /// The Close of the closing handshake.
    Close = 8,
    /// A question whether the peer is alive.
    Ping = 9,
    /// The answer to a Ping, or an unasked sign of life.
    Pong = 10,
}

impl Opcode {
    /// Whether this is a control frame: never fragmented, at most 125 bytes (RFC 6455 §5.5).
    pub const fn is_control(self) -> bool {
        self as u8 >= 8
    }

    const fn of_bits(bits: u8) -> Result<Opcode, ProtocolError> {
        match bits {
            0 => Ok(Opcode::Continuation),
            1 => Ok(Opcode::Text),
            2 => Ok(Opcode::Binary),
            8 => Ok(Opcode::Close),
            9 => Ok(Opcode::Ping),
            10 => Ok(Opcode::Pong),
            opcode => Err(ProtocolError::ReservedOpcode { opcode }),
        }
    }
}

impl From<Kind> for Opcode {
    /// The opcode of a message's first frame.
    fn from(kind: Kind) -> Opcode {
        match kind {
            Kind::Text => Opcode::Text,
            Kind::Binary => Opcode::Binary,
        }
    }
}

impl TryFrom<u8> for Opcode {
    type Error = ProtocolError;

    /// # Errors
    ///
    /// [`ProtocolError::ReservedOpcode`] for 3–7, 11 and above.
    fn try_from(opcode: u8) -> Result<Opcode, ProtocolError> {
        Opcode::of_bits(opcode)
    }
}

/// A frame without its payload (RFC 6455 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether this is the last frame of its message.
    pub fin: bool,
    /// RSV1, RSV2 and RSV3, from bit 2 to bit 0; always 0 as long as no extension is negotiated.
    pub rsv: u8,
    /// What the frame is.
    pub opcode: Opcode,
    /// The masking key of a masked frame.
    pub mask: Option<[u8; 4]>,
    /// Announced length of the payload in bytes, at most 2⁶³−1.
    pub payload_bytes: u64,
}

/// What the bytes given to [`decode_header`] contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A whole header.
    Done {
        /// The header.
        header: FrameHeader,
        /// The bytes it takes.
        size: usize,
    },
    /// A part of a header; at least so many further bytes are needed, never more than it has.
    NeedMore(usize),
}

/// Decodes the frame header at the start of `bytes`; `role` is our side.
///
/// # Errors
///
/// As soon as the bytes prove it: reserved bits or opcode, a fragmented control frame (first
/// byte), a wrong masking bit, a control frame too long (second byte), a length with the top bit
/// or not in its shortest form. RFC 6455 §5.1, §5.2, §5.5.
// Always inlined, so that what it finds stays in registers.
#[inline(always)]
pub fn decode_header(bytes: &[u8], role: Role) -> Result<Decoded, ProtocolError> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Ok(Decoded::NeedMore(2));
    };
    let fin = first & FIN != 0;
    let Some(opcode) = OPCODES[usize::from(first)] else { return Err(wrong_opcode(first)) };
    let Some((&second, rest)) = rest.split_first() else {
        return Ok(Decoded::NeedMore(1));
    };
    let masked = second & MASKED != 0;
    match (role, masked) {
        (Role::Server, false) => return Err(ProtocolError::NotMasked),
        (Role::Client, true) => return Err(ProtocolError::Masked),
        _ => {}
    }
    let short = second & !MASKED;
    if opcode.is_control() && short > SHORT_PAYLOAD_BYTES_MAX {
        return Err(ProtocolError::ControlTooLong);
    }
    let (length, rest) = match decode_length(short, rest)? {
        Length::Known(length, rest) => (length, rest),
        Length::NeedMore(bytes) => {
            return Ok(Decoded::NeedMore(bytes + if masked { 4 } else { 0 }));
        }
    };
    let (mask, rest) = match (masked, rest.split_first_chunk::<4>()) {
        (false, _) => (None, rest),
        (true, Some((key, rest))) => (Some(*key), rest),
        (true, None) => return Ok(Decoded::NeedMore(4 - rest.len())),
    };
    let header = FrameHeader { fin, rsv: 0, opcode, mask, payload_bytes: length };
    Ok(Decoded::Done { header, size: bytes.len() - rest.len() })
}

/// The opcode in each first byte that is allowed: one look instead of three questions.
static OPCODES: [Option<Opcode>; 256] = {
    let mut opcodes = [None; 256];
    let mut first = 0;
    while first < opcodes.len() {
        opcodes[first] = match Opcode::of_bits(first as u8 & OPCODE) {
            Ok(opcode) if is_allowed(opcode, first as u8) => Some(opcode),
            _ => None,
        };
        first += 1;
    }
    opcodes
};

/// Whether an opcode may have the other bits of its byte: none that is reserved, and FIN if it is a control frame.
const fn is_allowed(opcode: Opcode, first: u8) -> bool {
    first & RSV == 0 && (first & FIN != 0 || !opcode.is_control())
}

/// What is wrong with a first byte that is not allowed.
#[cold]
fn wrong_opcode(first: u8) -> ProtocolError {
    match Opcode::of_bits(first & OPCODE) {
        _ if first & RSV != 0 => ProtocolError::ReservedBits { bits: (first & RSV) >> 4 },
        Ok(_) => ProtocolError::FragmentedControl,
        Err(error) => error,
    }
}

enum Length<'a> {
    Known(u64, &'a [u8]),
    NeedMore(usize),
}

/// The payload length from its seven bits and the bytes that follow them.
fn decode_length(short: u8, rest: &[u8]) -> Result<Length<'_>, ProtocolError> {
    match short {
        LENGTH_16 => {
            let Some((length, rest)) = rest.split_first_chunk() else {
                return Ok(Length::NeedMore(2 - rest.len()));
            };
            let length = u16::from_be_bytes(*length);
            if length <= u16::from(SHORT_PAYLOAD_BYTES_MAX) {
                return Err(ProtocolError::LengthNotMinimal);
            }
            Ok(Length::Known(u64::from(length), rest))
        }
        LENGTH_64 => {
            let Some((length, rest)) = rest.split_first_chunk() else {
                // What has come may prove it wrong, whatever follows.
                let mut longest = i64::MAX.to_be_bytes();
                longest[..rest.len()].copy_from_slice(rest);
                check_length_64(u64::from_be_bytes(longest))?;
                return Ok(Length::NeedMore(8 - rest.len()));
            };
            let length = u64::from_be_bytes(*length);
            check_length_64(length)?;
            Ok(Length::Known(length, rest))
        }
        _ => Ok(Length::Known(u64::from(short), rest)),
    }
}

fn check_length_64(length: u64) -> Result<(), ProtocolError> {
    if length > i64::MAX as u64 {
        return Err(ProtocolError::LengthTopBit);
    }
    if length <= u64::from(u16::MAX) {
        return Err(ProtocolError::LengthNotMinimal);
    }
    Ok(())
}

/// The bytes of an unmasked frame header; a slice of at most [`SERVER_HEADER_BYTES_MAX`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodedHeader {
    bytes: [u8; SERVER_HEADER_BYTES_MAX],
    size: u8,
}

impl EncodedHeader {
    /// The bytes to send before the payload.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.size)]
    }
}

impl Deref for EncodedHeader {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl AsRef<[u8]> for EncodedHeader {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

/// The header of an unmasked frame with `payload_bytes` bytes of payload (RFC 6455 §5.2).
///
/// A control frame must have `fin` and at most 125 bytes; anything else is a bug of the caller.
pub fn encode_server_header(opcode: Opcode, fin: bool, payload_bytes: usize) -> EncodedHeader {
    debug_assert!(
        !opcode.is_control() || fin && payload_bytes <= usize::from(SHORT_PAYLOAD_BYTES_MAX),
        "{opcode:?} with fin {fin} and {payload_bytes} bytes"
    );
    let mut bytes = [0; SERVER_HEADER_BYTES_MAX];
    bytes[0] = opcode as u8 | if fin { FIN } else { 0 };
    let length = payload_bytes as u64;
    let size = match length {
        0..=125 => {
            bytes[1] = length as u8;
            2
        }
        126..=0xFFFF => {
            bytes[1] = LENGTH_16;
            bytes[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            4
        }
        _ => {
            bytes[1] = LENGTH_64;
            bytes[2..].copy_from_slice(&length.to_be_bytes());
            10
        }
    };
    EncodedHeader { bytes, size }
}

/// Bytes that [`push_server_frame`] appends for a payload of `payload_bytes`.
pub fn server_frame_bytes(payload_bytes: usize) -> usize {
    let header = match payload_bytes {
        0..=125 => 2,
        126..=0xFFFF => 4,
        _ => SERVER_HEADER_BYTES_MAX,
    };
    header + payload_bytes
}

/// Appends one whole unmasked frame with FIN to `out`: what a server sends (RFC 6455 §5.1).
#[inline(always)]
pub fn push_server_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    debug_assert!(!opcode.is_control() || payload.len() <= usize::from(SHORT_PAYLOAD_BYTES_MAX));
    let first = opcode as u8 | FIN;
    match payload.len() {
        length @ 0..=125 => push_parts(out, [first, length as u8], payload),
        length @ 126..=0xFFFF => {
            let [high, low] = (length as u16).to_be_bytes();
            push_parts(out, [first, LENGTH_16, high, low], payload);
        }
        length => push_parts(out, encode_server_header(opcode, true, length).bytes, payload),
    }
}

/// Appends a header of a size that the compiler knows: a call to copy two bytes costs more than all else here.
#[inline(always)]
fn push_parts<const BYTES: usize>(out: &mut Vec<u8>, header: [u8; BYTES], payload: &[u8]) {
    out.reserve(BYTES + payload.len());
    out.extend_from_slice(&header);
    out.extend_from_slice(payload);
}

/// Appends one whole masked frame to `out`: what a client sends (RFC 6455 §5.1, §5.3).
///
/// `key` must be fresh for every frame, see [`MaskKeys`](super::MaskKeys).
pub fn push_client_frame(out: &mut Vec<u8>, opcode: Opcode, fin: bool, payload: &[u8], key: [u8; 4]) {
    let mut header = encode_server_header(opcode, fin, payload.len());
    header.bytes[1] |= MASKED;
    out.reserve(header.len() + key.len() + payload.len());
    out.extend_from_slice(&header);
    out.extend_from_slice(&key);
    push_masked(out, payload, key);
}
