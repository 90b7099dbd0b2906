//! How a thread reads from its connections.

use std::ops::Range;

use fanfare::protocol::{
    Connection, Decoded, Event, Input, Kind, Limits, Message, Opcode, Role, State, decode_header,
    push_client_frame,
};
use fanfare::reactor::{Io, Ready};
use fanfare::slab::Key;
use fanfare::time::Time;

use super::Worker;
use super::stopping::QUESTION;
use crate::load::peer::{self, Life, Reader};
use crate::load::traffic::{Receiver, Traffic};

const BROKE: &str = "the connection broke";
const BROKE_PROTOCOL: &str = "the server broke the protocol";

impl Worker<'_> {
    /// Does what a connection is ready for.
    pub(super) fn serve(&mut self, ready: Ready) -> Result<(), String> {
        let key = ready.key;
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        if matches!(peer.life, Life::Connecting) {
            return self.connected(key, ready);
        }
        if ready.writable {
            match peer.flush(&mut self.io, key) {
                Ok(true) => peer.sends.into_iter().for_each(|at| self.traffic.touch(at)),
                Ok(false) => {}
                Err(error) => return self.end(key, (BROKE, &error.to_string())),
            }
        }
        if ready.readable || ready.hung_up { self.receive(key).map(|_| ()) } else { Ok(()) }
    }

    /// Reads once, and gives the bytes that there were.
    pub(super) fn receive(&mut self, key: Key) -> Result<usize, String> {
        let Some(peer) = self.peers.get_mut(key) else { return Ok(0) };
        let received = match self.io.receive(&peer.stream, &mut self.buffer) {
            Ok(0) => return self.end(key, ("ended by the server without a Close", "")).map(|()| 0),
            Ok(received) => received,
            Err(error) if peer::is_later(&error) => return Ok(0),
            Err(error) => return self.end(key, (BROKE, &error.to_string())).map(|()| 0),
        };
        self.arrived = self.io.now();
        let is_open = matches!(peer.life, Life::Open(_));
        let start = if is_open { Some(0) } else { self.upgraded(key, received)? };
        if let Some(start) = start {
            self.read(key, start..received)?;
        }
        Ok(received)
    }

    /// Takes frames in.
    fn read(&mut self, key: Key, range: Range<usize>) -> Result<(), String> {
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        let Life::Open(reader) = &mut peer.life else { return Ok(()) };
        self.out.clear();
        let received = range.len();
        let bytes = &mut self.buffer[range];
        let (arrived, receiver) = (self.arrived, peer.receives.as_mut());
        let (traffic, answers) = (&mut self.traffic, &mut self.out);
        let mut desk = Desk { traffic, receiver, answers, is_answered: false };
        let cause = match reader {
            Reader::Strict(connection) => {
                let start = desk.read_plain(connection, bytes, arrived);
                desk.read(connection, &mut Input::new(&mut bytes[start..]), arrived, &self.limits)
            }
            Reader::Skimming(skimmer) => match skimmer.take(bytes) {
                Ok(skimmed) => {
                    for _ in 0..skimmed.messages {
                        desk.take(None, arrived);
                    }
                    skimmed.closed.then(|| ("closed by the server".to_owned(), String::new()))
                }
                Err(error) => Some((BROKE_PROTOCOL.to_owned(), error.to_string())),
            },
        };
        let is_answered = desk.is_answered;
        peer.note_answer(received, is_answered);
        let sent = if self.out.is_empty() { Ok(()) } else { peer.send(&mut self.io, key, &self.out) };
        match (cause, sent) {
            (Some((kind, detail)), _) => self.end(key, (&kind, &detail)),
            (None, Err(error)) => self.end(key, (BROKE, &error.to_string())),
            (None, Ok(())) => Ok(()),
        }
    }
}

/// Where the frames of one connection are taken in.
struct Desk<'d> {
    traffic: &'d mut Traffic,
    receiver: Option<&'d mut Receiver>,
    /// Frames to send in answer.
    answers: &'d mut Vec<u8>,
    /// Whether our question has been answered.
    is_answered: bool,
}

impl Desk<'_> {
    fn take(&mut self, message: Option<&Message<'_>>, arrived: Time) {
        match &mut self.receiver {
            Some(receiver) => self.traffic.take(receiver, message, arrived.as_nanos()),
            // Who does not care may be in a room where others talk.
            None => self.traffic.tally.received += 1,
        }
    }

    /// Takes in the messages at the front that are one whole frame each, and gives where others begin. It spares
    /// what the connection does for all that such a frame cannot be.
    fn read_plain(&mut self, connection: &Connection, bytes: &[u8], arrived: Time) -> usize {
        let mut start = 0;
        if connection.message_started().is_some() || connection.state() != State::Open {
            return start;
        }
        while let Ok(Decoded::Done { header, size }) = decode_header(&bytes[start..], Role::Client) {
            let payload_bytes = usize::try_from(header.payload_bytes).unwrap_or(usize::MAX);
            let payload = bytes[start + size..].get(..payload_bytes);
            let Some(payload) = payload.filter(|_| header.fin && header.opcode == Opcode::Binary) else {
                break;
            };
            self.take(Some(&Message { kind: Kind::Binary, payload }), arrived);
            start += size + payload_bytes;
        }
        start
    }

    /// Takes everything in, and says why the connection is over, if it is: the kind of cause and what is known
    /// of it.
    fn read(
        &mut self,
        connection: &mut Connection,
        input: &mut Input<'_>,
        arrived: Time,
        limits: &Limits,
    ) -> Option<(String, String)> {
        while let Some(event) = connection.next_event(arrived, input, limits) {
            match event {
                Event::Message(message) => self.take(Some(&message), arrived),
                Event::Ping(payload) => {
                    self.traffic.tally.pings += 1;
                    push_client_frame(self.answers, Opcode::Pong, true, payload, self.traffic.key());
                }
                Event::Close { code, reason, .. } => {
                    let payload = code.map(|code| code.as_u16().to_be_bytes());
                    let payload = payload.as_ref().map_or(&[][..], |payload| payload);
                    push_client_frame(self.answers, Opcode::Close, true, payload, self.traffic.key());
                    let code = code.map(|code| format!("with {}", code.as_u16()));
                    let code = code.unwrap_or_else(|| "without a code".to_owned());
                    return Some((format!("closed by the server {code}"), reason.escape_debug().to_string()));
                }
                Event::Failed(failure) => return Some((BROKE_PROTOCOL.to_owned(), failure.to_string())),
                Event::Pong(payload) => self.is_answered |= payload == QUESTION,
                Event::Request(_)
                | Event::Body { .. }
                | Event::BadRequest(_)
                | Event::Proxied(_)
                | Event::BadProxyHeader(_) => {}
            }
        }
        None
    }
}
