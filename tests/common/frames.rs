//! The client's side of the protocol: requests and masked frames out, frames in.

use fanfare::protocol::{CloseCode, Decoded, Opcode, Role, decode_header, parse_close, push_client_frame};

/// One frame of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub opcode: Opcode,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn text(text: &str) -> Frame {
        Frame { opcode: Opcode::Text, payload: text.as_bytes().to_vec() }
    }

    pub fn binary(payload: &[u8]) -> Frame {
        Frame { opcode: Opcode::Binary, payload: payload.to_vec() }
    }

    pub fn pong(payload: &[u8]) -> Frame {
        Frame { opcode: Opcode::Pong, payload: payload.to_vec() }
    }

    pub fn ping() -> Frame {
        Frame { opcode: Opcode::Ping, payload: Vec::new() }
    }

    /// Code and reason of a Close; 1005 stands for none.
    pub fn close(&self) -> Option<(u16, String)> {
        if self.opcode != Opcode::Close {
            return None;
        }
        let (code, reason) = parse_close(&self.payload).expect("a valid Close");
        Some((code.map_or(1005, CloseCode::as_u16), reason.to_owned()))
    }
}

/// A handshake for a path.
pub fn request(path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .into_bytes()
}

pub fn client_frame(opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    push_client_frame(&mut out, opcode, fin, payload, [0x5a, 0x01, 0xc3, 0x77]);
    out
}

pub fn text(text: &str) -> Vec<u8> {
    client_frame(Opcode::Text, true, text.as_bytes())
}

pub fn binary(payload: &[u8]) -> Vec<u8> {
    client_frame(Opcode::Binary, true, payload)
}

pub fn ping(payload: &[u8]) -> Vec<u8> {
    client_frame(Opcode::Ping, true, payload)
}

pub fn pong(payload: &[u8]) -> Vec<u8> {
    client_frame(Opcode::Pong, true, payload)
}

pub fn close(code: u16, reason: &str) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(reason.as_bytes());
    client_frame(Opcode::Close, true, &payload)
}

/// The status of the HTTP response at the start of an output, and what follows its head.
pub fn split_response(output: &[u8]) -> (u16, &[u8]) {
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole response head") + 4;
    let status = std::str::from_utf8(&output[9..12]).ok().and_then(|status| status.parse().ok());
    (status.expect("a status"), &output[end..])
}

/// The whole frames of an output, and what is left of a cut one.
pub fn frames_and_rest(mut output: &[u8]) -> (Vec<Frame>, &[u8]) {
    let mut frames = Vec::new();
    while let Decoded::Done { header, size } = decode_header(output, Role::Client).expect("valid frames") {
        let end = size + header.payload_bytes as usize;
        if output.len() < end {
            break;
        }
        assert!(header.fin, "the server does not fragment");
        frames.push(Frame { opcode: header.opcode, payload: output[size..end].to_vec() });
        output = &output[end..];
    }
    (frames, output)
}

/// The frames of an output, which must be whole.
pub fn frames(output: &[u8]) -> Vec<Frame> {
    let (frames, rest) = frames_and_rest(output);
    assert!(rest.is_empty(), "no frame is cut: {rest:?}");
    frames
}
