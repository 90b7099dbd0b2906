//! A client that is honest, but sends byte by byte: its handshake, then messages that must come back.

use std::collections::VecDeque;
use std::time::Duration;

use super::books::Books;
use super::http::upgrade;
use super::play::{End, Next, Play, Turn};
use super::websocket::{Came, WebSocket};

/// One such client.
pub struct Bytewise {
    every: Duration,
    socket: WebSocket,
    /// What is still to be sent.
    bytes: VecDeque<u8>,
    /// The message that must come back.
    message: String,
    messages: u64,
    send_at: u64,
    stopping: bool,
}

impl Bytewise {
    pub fn new(every: Duration) -> Bytewise {
        Bytewise {
            every,
            socket: WebSocket::default(),
            bytes: VecDeque::new(),
            message: String::new(),
            messages: 0,
            send_at: 0,
            stopping: false,
        }
    }

    fn next_message(&mut self, turn: &mut Turn<'_>) {
        if turn.books.quiet || self.stopping {
            self.message.clear();
            return;
        }
        self.messages += 1;
        self.message = format!("{} byte by byte", self.messages);
        self.socket.text(self.message.as_bytes(), turn);
    }

    fn pace(&mut self, turn: &mut Turn<'_>) {
        // Pongs and the like wait their turn too: they must not land inside of a frame.
        self.bytes.extend(std::mem::take(&mut turn.wants.out));
        if self.send_at <= turn.now
            && let Some(byte) = self.bytes.pop_front()
        {
            turn.send(&[byte]);
            self.send_at = turn.now + self.every.as_nanos() as u64;
        }
        if !self.bytes.is_empty() {
            turn.wake_at(self.send_at);
        }
    }
}

impl Play for Bytewise {
    fn connected(&mut self, turn: &mut Turn<'_>) {
        self.socket.await_handshake();
        self.bytes = upgrade(turn.books.server, "/echo").into_bytes().into();
        self.pace(turn);
    }

    fn received(&mut self, bytes: &mut [u8], turn: &mut Turn<'_>) {
        let (cast, player) = (turn.cast, turn.player);
        let (mut begin, mut wrong) = (false, None);
        let message = std::mem::take(&mut self.message);
        self.socket.take(bytes, turn, &mut |came, books| match came {
            Came::Open(_) => begin = true,
            Came::Message(payload) => {
                begin = true;
                books.casts[cast].received += 1;
                books.casts[cast].received_bytes += payload.len() as u64;
                if payload != message.as_bytes() {
                    wrong =
                        Some(format!("{:?} came back as {:?}", message, payload.escape_ascii().to_string()));
                }
            }
            Came::Refused(head) => books.complain(cast, player, &format!("refused with {}", head.status)),
            Came::Wrong(text) => books.complain(cast, player, &format!("the server sent {text}")),
            Came::Close(..) => {}
        });
        self.message = message;
        if let Some(text) = wrong {
            turn.violation(&text);
        }
        if begin {
            self.next_message(turn);
        }
        self.pace(turn);
    }

    fn woken(&mut self, turn: &mut Turn<'_>) {
        self.pace(turn);
    }

    fn ended(&mut self, end: End, turn: &mut Turn<'_>) -> Next {
        let socket = std::mem::take(&mut self.socket);
        match (&socket.closed, end) {
            (_, End::Own) => {}
            (Some((1000, _)), End::Eof) if socket.leaving => turn.count("left"),
            (Some((code, _)), _) if turn.books.tolerates(*code) => turn.count(&format!("close {code}")),
            (None, _) if turn.books.tolerates(0) => turn.count("ended without a Close"),
            (closed, end) => {
                turn.count("cut");
                turn.violation(&format!("cut: {closed:?}, {end:?}"));
            }
        }
        Next::Done
    }

    fn stop(&mut self, turn: &mut Turn<'_>) {
        self.stopping = true;
        if self.socket.is_open() {
            self.socket.leave(turn);
            self.pace(turn);
        } else {
            turn.wants.drop = Some(super::play::Drop::Close);
        }
    }

    fn lacks(&self, _: &Books) -> Option<String> {
        if !self.socket.is_open() {
            return Some("it is not open".to_owned());
        }
        (!self.message.is_empty()).then(|| format!("{:?} has not come back", self.message))
    }
}
