//! Target `reassembly`: one message in fragments cut anywhere, control frames between them, against the
//! standard library's idea of UTF-8. The bytes of the input are the payload, so that texts grow by mutation.

use fanfare::protocol::{
    InvalidUtf8, Kind, Limits, Opcode, ProtocolError, Role, Utf8Validator, encode_server_header,
    push_client_frame,
};

use super::choices::{Choices, Cuts};
use super::events::{Owned, Run};
use super::frames;
use super::reference::TextCheck;

const PAYLOAD_BYTES_MAX: usize = 1024;

/// Choices: role, kind and what stands between fragments, the masking key, four sizes of fragments, four
/// cuts. Then the payload.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let first = choices.byte();
    let role = if first & 1 == 0 { Role::Server } else { Role::Client };
    let kind = if first & 2 == 0 { Kind::Text } else { Kind::Binary };
    let (with_pings, empty_end) = (first & 4 != 0, first & 8 != 0);
    let key: [u8; 4] = std::array::from_fn(|_| choices.byte());
    let (sizes, cuts) = (Cuts::new(&mut choices), Cuts::new(&mut choices));
    let payload = choices.rest();
    let payload = &payload[..payload.len().min(PAYLOAD_BYTES_MAX)];

    let mut fragments = sizes.pieces(payload);
    if fragments.is_empty() || empty_end {
        fragments.push(&[]);
    }
    let (mut stream, mut expected) = (Vec::new(), Vec::new());
    let (mut text, mut broken) = (TextCheck::default(), false);
    for (number, fragment) in fragments.iter().enumerate() {
        let opcode = if number == 0 { Opcode::from(kind) } else { Opcode::Continuation };
        push_frame(&mut stream, role, opcode, number + 1 == fragments.len(), fragment, key);
        broken |= kind == Kind::Text && !fragment.iter().all(|byte| text.push(*byte));
        if with_pings && number + 1 < fragments.len() && !broken {
            let ping = &fragment[..fragment.len().min(125)];
            push_frame(&mut stream, role, Opcode::Ping, true, ping, key);
            expected.push(Owned::Ping(ping.to_vec()));
        }
    }
    let whole = kind == Kind::Binary || std::str::from_utf8(payload).is_ok();
    assert_eq!(whole, !broken && text.is_whole(), "the reference agrees with itself");
    expected.push(match whole {
        true => Owned::Message(kind, payload.to_vec()),
        false => Owned::Failed(ProtocolError::TextNotUtf8.into()),
    });

    let limits = Limits { message_bytes_max: PAYLOAD_BYTES_MAX, fragments_max: 1 << 11, ..Limits::default() };
    let run = Run { role, limits, close_after: usize::MAX };
    frames::check(&run, &stream, cuts);
    let events: Vec<Owned> = run.events(&[&stream]).into_iter().map(|(_, event)| event).collect();
    assert_eq!(events, expected);
    check_validator(payload, cuts);
}

/// A frame as the peer of `role` sends it.
fn push_frame(out: &mut Vec<u8>, role: Role, opcode: Opcode, fin: bool, payload: &[u8], key: [u8; 4]) {
    match role {
        Role::Server => push_client_frame(out, opcode, fin, payload, key),
        Role::Client => {
            out.extend_from_slice(&encode_server_header(opcode, fin, payload.len()));
            out.extend_from_slice(payload);
        }
    }
}

/// The validator says no in the piece that has the first byte which no text can have there.
fn check_validator(payload: &[u8], cuts: Cuts) {
    let (mut validator, mut text) = (Utf8Validator::default(), TextCheck::default());
    for piece in cuts.pieces(payload) {
        let expected = if piece.iter().all(|byte| text.push(*byte)) { Ok(()) } else { Err(InvalidUtf8) };
        assert_eq!(validator.push(piece), expected);
        if expected.is_err() {
            return;
        }
    }
    assert_eq!(validator.finish().is_ok(), text.is_whole());
}
