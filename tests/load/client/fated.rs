//! Clients of an endpoint that panics at what they send: each must be told so, and nobody else.

use std::time::Duration;

use super::play::{Drop, End, Next, Play, Turn};
use super::websocket::{Came, WebSocket};

/// How long the server may take to say it.
const PATIENCE: Duration = Duration::from_secs(30);
/// The close code for a fault of the server's (RFC 6455 §7.4.1).
const INTERNAL_ERROR: u16 = 1011;

/// One of them.
pub struct Fated {
    path: String,
    pause_ms: u64,
    socket: WebSocket,
    send_at: Option<u64>,
    give_up_at: u64,
    stopping: bool,
}

impl Fated {
    pub fn new(path: &str, pause_ms: u64) -> Fated {
        let (path, socket) = (path.to_owned(), WebSocket::default());
        Fated { path, pause_ms, socket, send_at: None, give_up_at: 0, stopping: false }
    }
}

impl Play for Fated {
    fn connected(&mut self, turn: &mut Turn<'_>) {
        self.socket.shake_hands(&self.path, turn);
        self.give_up_at = turn.now + PATIENCE.as_nanos() as u64;
        turn.wake_at(self.give_up_at);
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
            let at = turn.now + turn.about(self.pause_ms).as_nanos() as u64;
            self.send_at = Some(at);
            turn.wake_at(at);
        }
    }

    fn woken(&mut self, turn: &mut Turn<'_>) {
        if self.send_at.is_some_and(|at| at <= turn.now) {
            self.send_at = None;
            turn.count("sent what it panics at");
            self.socket.text(b"panic", turn);
        }
        if self.give_up_at <= turn.now {
            turn.violation("the endpoint has panicked and the connection is still open");
            turn.wants.drop = Some(Drop::Reset);
            return;
        }
        for at in self.send_at.into_iter().chain([self.give_up_at]) {
            turn.wake_at(at);
        }
    }

    fn ended(&mut self, end: End, turn: &mut Turn<'_>) -> Next {
        let socket = std::mem::take(&mut self.socket);
        self.send_at = None;
        match (socket.closed, end) {
            (_, End::Own) => {}
            (Some((INTERNAL_ERROR, _)), _) => turn.count("closed with 1011"),
            (None, _) if turn.books.tolerates(0) => turn.count("ended without a Close"),
            (closed, end) => turn.violation(&format!("closed with {closed:?} and not with 1011: {end:?}")),
        }
        if self.stopping { Next::Done } else { Next::Again(turn.about(self.pause_ms)) }
    }

    fn stop(&mut self, turn: &mut Turn<'_>) {
        self.stopping = true;
        turn.wants.drop = Some(Drop::Close);
    }
}
