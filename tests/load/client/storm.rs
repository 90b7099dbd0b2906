//! Members that all reset their connections at the same moment: when they are told to stop.

use super::play::{Drop, End, Next, Play, Turn};
use super::websocket::{Came, WebSocket};

/// One of them.
pub struct Storm {
    room: String,
    socket: WebSocket,
    stopping: bool,
}

impl Storm {
    pub fn new(room: &str) -> Storm {
        Storm { room: room.to_owned(), socket: WebSocket::default(), stopping: false }
    }
}

impl Play for Storm {
    fn connected(&mut self, turn: &mut Turn<'_>) {
        self.socket.shake_hands(&format!("/rooms/{}", self.room), turn);
    }

    fn received(&mut self, bytes: &mut [u8], turn: &mut Turn<'_>) {
        let (cast, player) = (turn.cast, turn.player);
        self.socket.take(bytes, turn, &mut |came, books| match came {
            Came::Refused(head) => books.complain(cast, player, &format!("refused with {}", head.status)),
            Came::Wrong(text) => books.complain(cast, player, &format!("the server sent {text}")),
            Came::Message(_) => books.casts[cast].received += 1,
            Came::Open(_) | Came::Close(..) => {}
        });
    }

    fn ended(&mut self, end: End, turn: &mut Turn<'_>) -> Next {
        match end {
            End::Own => turn.count("reset"),
            _ if self.stopping || turn.books.tolerates(0) => turn.count("ended by the server first"),
            end => turn.violation(&format!("room {}: cut before its reset: {end:?}", self.room)),
        }
        Next::Done
    }

    fn stop(&mut self, turn: &mut Turn<'_>) {
        self.stopping = true;
        turn.wants.drop = Some(Drop::Reset);
    }
}
