//! Clients that ask to be let in where there may be no room: a refusal in order is all they ask for.

use std::time::Duration;

use super::play::{Drop, End, Next, Play, Turn};
use super::websocket::{Came, WebSocket};

/// One of them.
pub struct Knock {
    room: String,
    patience: Duration,
    again_ms: u64,
    socket: WebSocket,
    give_up_at: Option<u64>,
    refused: bool,
    stopping: bool,
}

impl Knock {
    pub fn new(room: &str, patience: Duration, again_ms: u64) -> Knock {
        Knock {
            room: room.to_owned(),
            patience,
            again_ms,
            socket: WebSocket::default(),
            give_up_at: None,
            refused: false,
            stopping: false,
        }
    }
}

impl Play for Knock {
    fn connected(&mut self, turn: &mut Turn<'_>) {
        self.refused = false;
        turn.count("knocked");
        self.socket.shake_hands(&format!("/rooms/{}", self.room), turn);
        let at = turn.now + self.patience.as_nanos() as u64;
        self.give_up_at = Some(at);
        turn.wake_at(at);
    }

    fn received(&mut self, bytes: &mut [u8], turn: &mut Turn<'_>) {
        let (cast, player) = (turn.cast, turn.player);
        let (mut let_in, mut refused) = (false, false);
        self.socket.take(bytes, turn, &mut |came, books| match came {
            Came::Open(_) => let_in = true,
            Came::Refused(head) => {
                refused = true;
                books.casts[cast].count(&format!("refused with {}", head.status));
                if !matches!(head.status, 429 | 503) {
                    books.complain(cast, player, &format!("refused with {}", head.status));
                }
            }
            Came::Wrong(text) => books.complain(cast, player, &format!("the server sent {text}")),
            Came::Message(_) => books.casts[cast].received += 1,
            Came::Close(..) => {}
        });
        if let_in {
            self.give_up_at = None;
            turn.count("let in");
        }
        self.refused |= refused;
    }

    fn woken(&mut self, turn: &mut Turn<'_>) {
        let Some(at) = self.give_up_at else { return };
        if at > turn.now {
            return turn.wake_at(at);
        }
        turn.violation(&format!("neither let in nor refused within {:?}", self.patience));
        turn.wants.drop = Some(Drop::Reset);
    }

    fn ended(&mut self, end: End, turn: &mut Turn<'_>) -> Next {
        let was_let_in = self.give_up_at.take().is_none();
        match end {
            End::Own => {}
            End::Unreachable(kind) => turn.violation(&format!("it cannot connect: {kind}")),
            _ if self.refused => {}
            _ if was_let_in && turn.books.tolerates(0) => turn.count("ended without a Close"),
            end if was_let_in => turn.violation(&format!("cut: {:?}, {end:?}", self.socket.closed)),
            // A refusal that has no descriptor left for its words, or lost them to a reset.
            _ => turn.count("ended without an answer"),
        }
        if self.stopping { Next::Done } else { Next::Again(turn.about(self.again_ms)) }
    }

    fn stop(&mut self, turn: &mut Turn<'_>) {
        self.stopping = true;
        turn.wants.drop = Some(Drop::Close);
    }
}
