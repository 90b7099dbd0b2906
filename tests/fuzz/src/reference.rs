//! RFC 6455 once more, slowly: the events of a whole stream, each with the byte at which it is decided.
//!
//! Shares no code with the server's but the names of what can happen.

use fanfare::protocol::{CloseCode, Failure, Kind, LimitError, ProtocolError, Role};

use super::events::{At, Owned, Run};

/// A frame whose header may be had.
struct Frame {
    opcode: u8,
    fin: bool,
    key: [u8; 4],
    length: u64,
    /// Bytes of the header.
    header: usize,
}

/// A message that is not whole.
struct Open {
    kind: Kind,
    frames: u32,
    payload: Vec<u8>,
    text: TextCheck,
}

/// Whether bytes are a text, as the standard library has it.
#[derive(Debug, Default)]
pub struct TextCheck {
    /// The bytes of a character that is not whole.
    character: Vec<u8>,
}

impl TextCheck {
    /// Takes a byte; `false` if no text can go on with it.
    pub fn push(&mut self, byte: u8) -> bool {
        self.character.push(byte);
        match std::str::from_utf8(&self.character) {
            Ok(_) => self.character.clear(),
            Err(error) => return error.error_len().is_none(),
        }
        true
    }

    /// Whether the text may end here.
    pub fn is_whole(&self) -> bool {
        self.character.is_empty()
    }
}

/// Why a stream goes no further: an event, or that there is no more of it.
enum Stop {
    Failed(usize, Failure),
    Closed(usize, Owned),
    Ended,
}

impl Stop {
    fn broke(at: usize, error: ProtocolError) -> Stop {
        Stop::Failed(at, Failure::Protocol(error))
    }
}

/// What [`Run::events`] has to give for `bytes`, if they come one at a time.
pub fn events(run: &Run, bytes: &[u8]) -> Vec<At> {
    let (mut all, mut open, mut at) = (Vec::new(), None, 0);
    loop {
        match frame(run, bytes, &mut at, &mut open, all.len() >= run.close_after) {
            Ok(None) => {}
            Ok(Some(event)) => all.push((at, event)),
            Err(Stop::Ended) => return all,
            Err(Stop::Closed(at, event)) => {
                all.push((at, event));
                return all;
            }
            Err(Stop::Failed(at, failure)) => {
                all.push((at, Owned::Failed(failure)));
                return all;
            }
        }
    }
}

/// One frame, from `at` on, which is moved behind it.
fn frame(
    run: &Run,
    bytes: &[u8],
    at: &mut usize,
    open: &mut Option<Open>,
    closing: bool,
) -> Result<Option<Owned>, Stop> {
    let frame = header(run.role, &bytes[*at..]).map_err(|stop| stop_from(*at, stop))?;
    *at += frame.header;
    if frame.opcode < 8 {
        admit(run, &frame, open).map_err(|failure| Stop::Failed(*at, failure))?;
    }
    let mut control = Vec::new();
    for number in 0..frame.length {
        let Some(byte) = bytes.get(*at) else { return Err(Stop::Ended) };
        let byte = byte ^ frame.key[(number % 4) as usize];
        *at += 1;
        match open.as_mut().filter(|_| frame.opcode < 8) {
            None => control.push(byte),
            Some(message) => {
                message.payload.push(byte);
                if message.kind == Kind::Text && !message.text.push(byte) {
                    return Err(Stop::broke(*at, ProtocolError::TextNotUtf8));
                }
            }
        }
    }
    match frame.opcode {
        8 => return Err(close(*at, &control, closing)),
        9 => return Ok((!closing).then_some(Owned::Ping(control))),
        10 => return Ok((!closing).then_some(Owned::Pong(control))),
        _ if !frame.fin => return Ok(None),
        _ => {}
    }
    let Some(Open { kind, payload, text, .. }) = open.take() else { unreachable!("it was admitted") };
    if !text.is_whole() {
        return Err(Stop::broke(*at, ProtocolError::TextNotUtf8));
    }
    Ok((!closing).then_some(Owned::Message(kind, payload)))
}

fn stop_from(start: usize, stop: Stop) -> Stop {
    match stop {
        Stop::Failed(at, failure) => Stop::Failed(start + at, failure),
        other => other,
    }
}

fn header(role: Role, bytes: &[u8]) -> Result<Frame, Stop> {
    let byte = |at: usize| bytes.get(at).copied().ok_or(Stop::Ended);
    let first = byte(0)?;
    let (fin, bits, opcode) = (first >= 0x80, first / 16 % 8, first % 16);
    if bits != 0 {
        return Err(Stop::broke(1, ProtocolError::ReservedBits { bits }));
    }
    if !matches!(opcode, 0..=2 | 8..=10) {
        return Err(Stop::broke(1, ProtocolError::ReservedOpcode { opcode }));
    }
    if opcode >= 8 && !fin {
        return Err(Stop::broke(1, ProtocolError::FragmentedControl));
    }
    let second = byte(1)?;
    let (masked, short) = (second >= 0x80, second % 128);
    match (role, masked) {
        (Role::Server, false) => return Err(Stop::broke(2, ProtocolError::NotMasked)),
        (Role::Client, true) => return Err(Stop::broke(2, ProtocolError::Masked)),
        _ => {}
    }
    if opcode >= 8 && short > 125 {
        return Err(Stop::broke(2, ProtocolError::ControlTooLong));
    }
    let (mut length, mut header) = (u64::from(short), 2);
    if short == 126 {
        length = u64::from(byte(2)?) * 256 + u64::from(byte(3)?);
        header = 4;
        if length <= 125 {
            return Err(Stop::broke(4, ProtocolError::LengthNotMinimal));
        }
    } else if short == 127 {
        length = 0;
        for at in 2..10 {
            length = length << 8 | u64::from(byte(at)?);
            if at == 2 && length >= 0x80 {
                return Err(Stop::broke(3, ProtocolError::LengthTopBit));
            }
            // Whatever the last two bytes are, a shorter form could carry it.
            if at == 7 && length == 0 {
                return Err(Stop::broke(8, ProtocolError::LengthNotMinimal));
            }
        }
        header = 10;
    }
    let mut key = [0; 4];
    if masked {
        for place in &mut key {
            *place = byte(header)?;
            header += 1;
        }
    }
    Ok(Frame { opcode, fin, key, length, header })
}

/// What the order of frames and the limits say to a data frame; it belongs to `open` then.
fn admit(run: &Run, frame: &Frame, open: &mut Option<Open>) -> Result<(), Failure> {
    let kind = if frame.opcode == 1 { Kind::Text } else { Kind::Binary };
    match (frame.opcode, &open) {
        (0, None) => return Err(ProtocolError::ContinuationWithoutMessage.into()),
        (1 | 2, Some(_)) => return Err(ProtocolError::MessageInsideMessage { kind }.into()),
        _ => {}
    }
    let alone = open.is_none() && frame.fin;
    let text = TextCheck::default();
    let message = open.get_or_insert(Open { kind, frames: 0, payload: Vec::new(), text });
    let bytes = (message.payload.len() as u64).saturating_add(frame.length);
    if bytes > run.limits.message_bytes_max as u64 {
        let limit = run.limits.message_bytes_max;
        return Err(LimitError::MessageTooBig { bytes, limit }.into());
    }
    message.frames += 1;
    if !alone && message.frames > run.limits.fragments_max {
        return Err(LimitError::TooManyFragments { limit: run.limits.fragments_max }.into());
    }
    Ok(())
}

fn close(at: usize, payload: &[u8], closing: bool) -> Stop {
    let (code, reason) = match payload {
        [] => (None, ""),
        [_] => return Stop::broke(at, ProtocolError::CloseTruncated),
        [high, low, reason @ ..] => {
            let code = u16::from(*high) * 256 + u16::from(*low);
            let registered = (1000..=1003).contains(&code) || (1007..=1014).contains(&code);
            if !registered && !(3000..=4999).contains(&code) {
                return Stop::broke(at, ProtocolError::CloseCodeNotAllowed { code });
            }
            let Ok(reason) = std::str::from_utf8(reason) else {
                return Stop::broke(at, ProtocolError::CloseReasonNotUtf8);
            };
            (CloseCode::new(code), reason)
        }
    };
    Stop::Closed(at, Owned::Close { code, reason: reason.to_owned(), reply: !closing })
}
