//! The steps of an open connection: the next header, whether its frame is allowed, its payload (RFC
//! 6455 §5.2–§5.6).
//!
//! Makes no events; `connection.rs` does, of what the steps find.

use std::ops::Range;

use super::super::closing::State;
use super::super::error::{Failure, LimitError, ProtocolError};
use super::super::header::{Decoded, FrameHeader, Opcode, decode_header};
use super::super::limits::Limits;
use super::super::mask::unmask;
use super::super::message::Kind;
use super::pending::{Assembly, Delivered, Frame};
use super::{Connection, Found, Input, Place, Step};
use crate::time::Time;

/// Gives the steps the bytes as they have come.
#[cold]
fn mask_again(payload: &mut [u8], mask: Option<[u8; 4]>) {
    if let Some(key) = mask {
        unmask(payload, key, 0);
    }
}

impl Connection {
    /// The next message, if it is whole in one frame in the input and nothing before it is incomplete: nearly
    /// all are so, and the steps for everything else cost several times as much. `None` leaves everything to
    /// them, errors too.
    #[inline(always)]
    pub(super) fn whole_message(
        &mut self,
        input: &mut Input<'_>,
        limits: &Limits,
    ) -> Option<(Kind, Range<usize>)> {
        if !self.is_between_messages() {
            return None;
        }
        let Ok(Decoded::Done { header, size }) = decode_header(input.rest(), self.role) else { return None };
        let kind = match header.opcode {
            Opcode::Text => Kind::Text,
            Opcode::Binary => Kind::Binary,
            _ => return None,
        };
        let length = usize::try_from(header.payload_bytes).ok()?;
        let start = input.used + size;
        if !header.fin || length > limits.message_bytes_max || length > input.bytes.len() - start {
            return None;
        }
        let range = start..start + length;
        let payload = &mut input.bytes[range.clone()];
        if let Some(key) = header.mask {
            unmask(payload, key, 0);
        }
        if kind == Kind::Text && simdutf8::basic::from_utf8(payload).is_err() {
            mask_again(payload, header.mask);
            return None;
        }
        input.used = range.end;
        Some((kind, range))
    }

    /// Consumes up to the end of a frame, or of the input.
    pub(super) fn frame_step(&mut self, now: Time, input: &mut Input<'_>, limits: &Limits) -> Step {
        let unfinished = self.frames.as_mut().and_then(|frames| frames.frame.take());
        let frame = match unfinished {
            Some(frame) => frame,
            None => match self.next_frame(now, input, limits) {
                Ok(Some(frame)) => frame,
                Ok(None) => return Step::UsedUp,
                Err(failure) => return failure.into(),
            },
        };
        if frame.opcode.is_control() {
            self.control_step(now, frame, input)
        } else {
            self.data_step(now, frame, input, limits)
        }
    }

    /// The next frame whose header is whole and allowed; `None` once the input is used up.
    fn next_frame(
        &mut self,
        now: Time,
        input: &mut Input<'_>,
        limits: &Limits,
    ) -> Result<Option<Frame>, Failure> {
        match self.next_header(now, input)? {
            Some(header) => self.admit(header, limits).map(Some),
            None => Ok(None),
        }
    }

    fn next_header(
        &mut self,
        now: Time,
        input: &mut Input<'_>,
    ) -> Result<Option<FrameHeader>, ProtocolError> {
        let role = self.role;
        if let Some(frames) = &mut self.frames
            && !frames.cut_header().is_empty()
        {
            loop {
                match decode_header(frames.cut_header(), role)? {
                    Decoded::Done { header, .. } => {
                        frames.clear_cut_header();
                        return Ok(Some(header));
                    }
                    Decoded::NeedMore(_) if input.remaining() == 0 => return Ok(None),
                    Decoded::NeedMore(count) => {
                        let range = input.take(count);
                        frames.extend_cut_header(&input.bytes[range]);
                    }
                }
            }
        }
        if input.remaining() == 0 {
            return Ok(None);
        }
        match decode_header(input.rest(), role)? {
            Decoded::Done { header, size } => {
                input.take(size);
                Ok(Some(header))
            }
            Decoded::NeedMore(_) => {
                self.frames_or_new(now).extend_cut_header(input.rest());
                input.discard_rest();
                Ok(None)
            }
        }
    }

    /// What a header needs the connection for: the order of frames (RFC 6455 §5.4), then the limits.
    fn admit(&mut self, header: FrameHeader, limits: &Limits) -> Result<Frame, Failure> {
        let too_big = |bytes| LimitError::MessageTooBig { bytes, limit: limits.message_bytes_max };
        let payload_bytes = usize::try_from(header.payload_bytes);
        if !header.opcode.is_control() {
            let frames = self.frames.as_mut();
            let message = frames.and_then(|frames| frames.message.as_mut());
            match (header.opcode, &message) {
                (Opcode::Continuation, None) => {
                    return Err(ProtocolError::ContinuationWithoutMessage.into());
                }
                (Opcode::Text, Some(_)) => {
                    return Err(ProtocolError::MessageInsideMessage { kind: Kind::Text }.into());
                }
                (Opcode::Binary, Some(_)) => {
                    return Err(ProtocolError::MessageInsideMessage { kind: Kind::Binary }.into());
                }
                _ => {}
            }
            let assembled = message.as_ref().map_or(0, |message| message.length as u64);
            let total = assembled.saturating_add(header.payload_bytes);
            if total > limits.message_bytes_max as u64 {
                return Err(too_big(total).into());
            }
            let fragments = message.as_ref().map_or(0, |message| message.fragments);
            let fragmented = message.is_some() || !header.fin;
            if fragmented && fragments >= limits.fragments_max {
                let limit = limits.fragments_max;
                return Err(LimitError::TooManyFragments { limit }.into());
            }
            if let Some(message) = message {
                message.fragments = message.fragments.saturating_add(1);
            }
        }
        let Ok(payload_bytes) = payload_bytes else {
            return Err(too_big(header.payload_bytes).into());
        };
        Ok(Frame { opcode: header.opcode, fin: header.fin, mask: header.mask, payload_bytes, received: 0 })
    }

    fn data_step(&mut self, now: Time, mut frame: Frame, input: &mut Input<'_>, limits: &Limits) -> Step {
        let (range, mask) = frame.take(input);
        let chunk = &mut input.bytes[range.clone()];
        let keep = self.state == State::Open;
        let kind = match frame.opcode {
            Opcode::Text => Kind::Text,
            _ => Kind::Binary,
        };
        if frame.opcode != Opcode::Continuation && frame.fin && frame.is_whole(chunk.len()) {
            mask.remove(chunk);
            if kind == Kind::Text && simdutf8::basic::from_utf8(chunk).is_err() {
                return Failure::from(ProtocolError::TextNotUtf8).into();
            }
            self.free_if_idle();
            return match keep {
                true => Step::Found(Found::Data(kind), Place::Input(range)),
                false => Step::Silent,
            };
        }
        let frames = self.frames_or_new(now);
        if chunk.is_empty() && frame.missing() > 0 {
            // Not a byte of the payload yet: it may still arrive whole and need no copy.
            frames.frame = Some(frame);
            return Step::UsedUp;
        }
        let message = frames.message.get_or_insert_with(|| Assembly::new(kind));
        let total_max = match frame.fin {
            true => message.length + chunk.len() + frame.missing(),
            false => limits.message_bytes_max,
        };
        if message.push(chunk, mask, total_max, keep).is_err() {
            return Failure::from(ProtocolError::TextNotUtf8).into();
        }
        if frame.missing() > 0 {
            frames.frame = Some(frame);
            return Step::UsedUp;
        }
        if !frame.fin {
            return Step::Silent;
        }
        if message.utf8.finish().is_err() {
            return Failure::from(ProtocolError::TextNotUtf8).into();
        }
        let kind = message.kind;
        frames.delivered = Some(Delivered::Message);
        if keep {
            return Step::Found(Found::Data(kind), Place::Pending);
        }
        self.free_delivered();
        Step::Silent
    }

    fn control_step(&mut self, now: Time, mut frame: Frame, input: &mut Input<'_>) -> Step {
        let range = frame.take_unmasked(input);
        let chunk = &input.bytes[range.clone()];
        let wanted = self.state == State::Open || frame.opcode == Opcode::Close;
        if frame.is_whole(chunk.len()) {
            self.free_if_idle();
            return match wanted {
                true => Step::Found(Found::Control(frame.opcode), Place::Input(range)),
                false => Step::Silent,
            };
        }
        let frames = self.frames_or_new(now);
        frames.push_control(chunk, frame.payload_bytes);
        if frame.missing() > 0 {
            frames.frame = Some(frame);
            return Step::UsedUp;
        }
        frames.delivered = Some(Delivered::Control);
        if wanted {
            return Step::Found(Found::Control(frame.opcode), Place::Pending);
        }
        self.free_delivered();
        Step::Silent
    }
}
