//! The client's side of one WebSocket: handshake, frames, the closing handshake.

use fanfare::protocol::{Connection, Event, Input, Limits, Opcode, Role, push_client_frame};
use fanfare::time::Time;

use super::books::Books;
use super::http::{ACCEPT, Head, HeadReader, Progress, upgrade};
use super::play::Turn;

/// Far more than anybody publishes here.
const LIMITS: Limits =
    Limits { head_bytes_max: 0, headers_max: 0, message_bytes_max: 16 << 20, fragments_max: 1 << 20 };

/// What came out of some bytes.
#[derive(Debug)]
pub enum Came<'a> {
    /// The handshake was accepted.
    Open(&'a Head),
    /// It was answered otherwise.
    Refused(&'a Head),
    Message(&'a [u8]),
    /// The server's Close, of its own or as an answer.
    Close(u16, &'a str),
    /// What no server may send.
    Wrong(String),
}

enum Phase {
    Handshake(HeadReader),
    Open(Connection),
    /// Refused, closed or broken: nothing more is read.
    Over,
}

/// One WebSocket.
pub struct WebSocket {
    phase: Phase,
    /// We have sent a Close of our own.
    pub leaving: bool,
    /// The server's Close.
    pub closed: Option<(u16, String)>,
}

impl Default for WebSocket {
    fn default() -> WebSocket {
        WebSocket { phase: Phase::Over, leaving: false, closed: None }
    }
}

impl WebSocket {
    /// Begins a connection.
    pub fn shake_hands(&mut self, target: &str, turn: &mut Turn<'_>) {
        self.await_handshake();
        let request = upgrade(turn.books.server, target);
        turn.send(request.as_bytes());
    }

    /// The same, if somebody else sends the request.
    pub fn await_handshake(&mut self) {
        *self = WebSocket { phase: Phase::Handshake(HeadReader::default()), ..WebSocket::default() };
    }

    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_)) && !self.leaving
    }

    pub fn is_shaking_hands(&self) -> bool {
        matches!(self.phase, Phase::Handshake(_))
    }

    /// Sends a message.
    pub fn text(&mut self, payload: &[u8], turn: &mut Turn<'_>) {
        let key = turn.books.keys.next();
        push_client_frame(&mut turn.wants.out, Opcode::Text, true, payload, key);
        turn.books.casts[turn.cast].sent += 1;
    }

    /// Begins the closing handshake.
    pub fn leave(&mut self, turn: &mut Turn<'_>) {
        if !std::mem::replace(&mut self.leaving, true) {
            push_close(1000, turn);
        }
    }

    /// Takes what has come. Pings and the server's Close are answered here.
    pub fn take(
        &mut self,
        bytes: &mut [u8],
        turn: &mut Turn<'_>,
        came: &mut dyn FnMut(Came<'_>, &mut Books),
    ) {
        let mut from = 0;
        if let Phase::Handshake(reader) = &mut self.phase {
            match reader.take(bytes) {
                Progress::More => return,
                Progress::Wrong => {
                    self.phase = Phase::Over;
                    return came(Came::Wrong("what is no answer to a handshake".to_owned()), turn.books);
                }
                Progress::Whole(head, _) if head.status != 101 => {
                    self.phase = Phase::Over;
                    return came(Came::Refused(&head), turn.books);
                }
                Progress::Whole(head, used) => {
                    from = used;
                    self.phase = Phase::Open(Connection::open(Role::Client));
                    if head.header("Sec-WebSocket-Accept") != Some(ACCEPT) {
                        came(Came::Wrong("a wrong Sec-WebSocket-Accept".to_owned()), turn.books);
                    }
                    turn.opened(shard_of(&head));
                    came(Came::Open(&head), turn.books);
                }
            }
        }
        self.take_frames(&mut bytes[from..], turn, came);
    }

    fn take_frames(
        &mut self,
        bytes: &mut [u8],
        turn: &mut Turn<'_>,
        came: &mut dyn FnMut(Came<'_>, &mut Books),
    ) {
        let Phase::Open(connection) = &mut self.phase else { return };
        let now = Time::from_nanos(turn.now);
        let mut input = Input::new(bytes);
        let mut is_over = false;
        while let Some(event) = connection.next_event(now, &mut input, &LIMITS) {
            match event {
                Event::Message(message) => came(Came::Message(message.payload), turn.books),
                Event::Ping(payload) => {
                    let key = turn.books.keys.next();
                    push_client_frame(&mut turn.wants.out, Opcode::Pong, true, payload, key);
                }
                Event::Pong(_) => {}
                Event::Close { code, reason, .. } => {
                    let code = code.map_or(1005, |code| code.as_u16());
                    self.closed = Some((code, reason.to_owned()));
                    is_over = true;
                    came(Came::Close(code, reason), turn.books);
                }
                Event::Failed(failure) => {
                    is_over = true;
                    came(Came::Wrong(failure.to_string()), turn.books);
                }
                _ => unreachable!("the handshake is done"),
            }
        }
        if is_over {
            self.phase = Phase::Over;
            if let Some((code, _)) = self.closed.clone().filter(|_| !self.leaving) {
                push_close(code, turn);
            }
        }
    }
}

fn push_close(code: u16, turn: &mut Turn<'_>) {
    let key = turn.books.keys.next();
    push_client_frame(&mut turn.wants.out, Opcode::Close, true, &code.to_be_bytes(), key);
}

/// The shard that serves a connection, from the id that the server gives it.
pub fn shard_of(head: &Head) -> Option<usize> {
    head.header("Fanfare-Client")?.split_once('-')?.0.parse().ok()
}
