//! Clients that do not stay: resets at any point, half-closes, and those that never say a word.

use std::time::Duration;

use super::http::upgrade;
use super::play::{Drop, End, Next, Play, Turn};
use super::websocket::{Came, WebSocket};

/// Connects and resets the connection: at once, in its handshake, as a member, or inside of a frame.
pub struct Reset {
    room: String,
    within_ms: u64,
    socket: WebSocket,
    lives: u64,
    reset_at: u64,
    stopping: bool,
}

impl Reset {
    pub fn new(room: &str, within_ms: u64) -> Reset {
        let (room, socket) = (room.to_owned(), WebSocket::default());
        Reset { room, within_ms, socket, lives: 0, reset_at: 0, stopping: false }
    }
}

impl Play for Reset {
    fn connected(&mut self, turn: &mut Turn<'_>) {
        self.lives += 1;
        self.socket.await_handshake();
        let request = upgrade(turn.books.server, &format!("/rooms/{}?last=10", self.room));
        let begun = match self.lives % 4 {
            0 => 0,
            1 => turn.books.random(1, request.len() as u64 - 1) as usize,
            _ => request.len(),
        };
        turn.send(&request.as_bytes()[..begun]);
        let within = turn.books.random(0, self.within_ms);
        self.reset_at = turn.now + within * 1_000_000;
        turn.wake_at(self.reset_at);
    }

    fn received(&mut self, bytes: &mut [u8], turn: &mut Turn<'_>) {
        let (cast, player) = (turn.cast, turn.player);
        let was_open = self.socket.is_open();
        self.socket.take(bytes, turn, &mut |came, books| match came {
            Came::Wrong(text) => books.complain(cast, player, &format!("the server sent {text}")),
            Came::Message(_) => books.casts[cast].received += 1,
            _ => {}
        });
        if !was_open && self.socket.is_open() && self.lives % 4 == 3 {
            // FIN and text, masked, 100 bytes: of which none will come.
            turn.send(&[0x81, 0x80 | 100, 1, 2, 3, 4, b'h']);
        }
    }

    fn woken(&mut self, turn: &mut Turn<'_>) {
        if self.reset_at <= turn.now {
            turn.count("reset");
            turn.wants.drop = Some(Drop::Reset);
        } else {
            turn.wake_at(self.reset_at);
        }
    }

    fn ended(&mut self, end: End, turn: &mut Turn<'_>) -> Next {
        if end != End::Own {
            turn.count("ended by the server first");
        }
        if self.stopping { Next::Done } else { Next::Again(turn.about(self.within_ms / 4)) }
    }

    fn stop(&mut self, turn: &mut Turn<'_>) {
        self.stopping = true;
        turn.wants.drop = Some(Drop::Reset);
    }
}

/// Joins, ends its own direction, and waits for the server to end the other.
pub struct HalfClose {
    room: String,
    stay_ms: u64,
    patience: Duration,
    socket: WebSocket,
    close_at: Option<u64>,
    half_closed_at: u64,
    give_up_at: Option<u64>,
    stopping: bool,
}

impl HalfClose {
    pub fn new(room: &str, stay_ms: u64, patience: Duration) -> HalfClose {
        let (room, socket) = (room.to_owned(), WebSocket::default());
        HalfClose {
            room,
            stay_ms,
            patience,
            socket,
            close_at: None,
            half_closed_at: 0,
            give_up_at: None,
            stopping: false,
        }
    }
}

impl Play for HalfClose {
    fn connected(&mut self, turn: &mut Turn<'_>) {
        (self.close_at, self.give_up_at) = (None, None);
        self.socket.shake_hands(&format!("/rooms/{}", self.room), turn);
    }

    fn received(&mut self, bytes: &mut [u8], turn: &mut Turn<'_>) {
        let (cast, player) = (turn.cast, turn.player);
        let was_open = self.socket.is_open();
        self.socket.take(bytes, turn, &mut |came, books| match came {
            Came::Refused(head) => books.complain(cast, player, &format!("refused with {}", head.status)),
            Came::Wrong(text) => books.complain(cast, player, &format!("the server sent {text}")),
            Came::Message(_) => books.casts[cast].received += 1,
            Came::Open(_) | Came::Close(..) => {}
        });
        if !was_open && self.socket.is_open() {
            let at = turn.now + turn.about(self.stay_ms).as_nanos() as u64;
            self.close_at = Some(at);
            turn.wake_at(at);
        }
    }

    fn woken(&mut self, turn: &mut Turn<'_>) {
        if self.close_at.is_some_and(|at| at <= turn.now) {
            self.close_at = None;
            turn.count("half-closed");
            turn.wants.half_close = true;
            self.half_closed_at = turn.now;
            let at = turn.now + self.patience.as_nanos() as u64;
            self.give_up_at = Some(at);
        }
        if self.give_up_at.is_some_and(|at| at <= turn.now) {
            turn.violation(&format!("room {}: the server has not ended after a half-close", self.room));
            turn.wants.drop = Some(Drop::Reset);
            return;
        }
        for at in [self.close_at, self.give_up_at].into_iter().flatten() {
            turn.wake_at(at);
        }
    }

    fn ended(&mut self, end: End, turn: &mut Turn<'_>) -> Next {
        match end {
            End::Own => {}
            End::Eof | End::Broken(_) if self.give_up_at.is_some() => {
                turn.count("ended by the server");
                let waited = turn.now - self.half_closed_at;
                turn.books.casts[turn.cast].latency.record_nanoseconds(waited);
            }
            _ if turn.books.tolerates(0) => turn.count("ended without a Close"),
            end => turn.violation(&format!("room {}: cut before its half-close: {end:?}", self.room)),
        }
        if self.stopping { Next::Done } else { Next::Again(turn.about(self.stay_ms)) }
    }

    fn stop(&mut self, turn: &mut Turn<'_>) {
        self.stopping = true;
        turn.wants.drop = Some(Drop::Close);
    }
}

/// Connects and says nothing until the server ends it.
pub struct Silent {
    patience: Duration,
    give_up_at: u64,
    connected_at: u64,
    refused: bool,
    stopping: bool,
}

impl Silent {
    pub fn new(patience: Duration) -> Silent {
        Silent { patience, give_up_at: 0, connected_at: 0, refused: false, stopping: false }
    }
}

impl Play for Silent {
    fn connected(&mut self, turn: &mut Turn<'_>) {
        self.connected_at = turn.now;
        self.refused = false;
        self.give_up_at = turn.now + self.patience.as_nanos() as u64;
        turn.wake_at(self.give_up_at);
    }

    fn received(&mut self, _: &mut [u8], _: &mut Turn<'_>) {
        // It has asked for nothing: it is its address that may not be here.
        self.refused = true;
    }

    fn woken(&mut self, turn: &mut Turn<'_>) {
        if self.give_up_at <= turn.now {
            turn.violation(&format!("the server has waited for longer than {:?}", self.patience));
            turn.wants.drop = Some(Drop::Reset);
        } else {
            turn.wake_at(self.give_up_at);
        }
    }

    fn ended(&mut self, end: End, turn: &mut Turn<'_>) -> Next {
        if end != End::Own && self.refused {
            turn.count("refused");
        } else if end != End::Own {
            turn.count("ended by the server");
            let waited = turn.now - self.connected_at;
            turn.books.casts[turn.cast].latency.record_nanoseconds(waited);
        }
        if self.stopping { Next::Done } else { Next::Again(Duration::ZERO) }
    }

    fn stop(&mut self, turn: &mut Turn<'_>) {
        self.stopping = true;
        turn.wants.drop = Some(Drop::Close);
    }
}
