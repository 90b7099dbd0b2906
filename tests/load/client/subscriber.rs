//! Members that come and go on one connection: subscriptions of the client protocol.

use std::time::Duration;

use serde_json::{Value, json};

use super::books::Books;
use super::play::{End, Next, Play, Turn};
use super::websocket::{Came, WebSocket};
use crate::load::cast::Rooms;

/// What the last command was that is not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Connect,
    Subscribe,
    Unsubscribe,
}

/// One of them: it subscribes to a room, unsubscribes, subscribes to the next.
pub struct Subscriber {
    rooms: Rooms,
    player: usize,
    every: Duration,
    socket: WebSocket,
    id: u32,
    asked: Option<Asked>,
    /// The room that it is in, or on its way into or out of.
    room: String,
    moves: usize,
    is_in: bool,
    /// The offset of the last publication of this membership.
    offset: Option<u64>,
    act_at: u64,
    stopping: bool,
}

impl Subscriber {
    pub fn new(rooms: &Rooms, player: usize, every: Duration) -> Subscriber {
        Subscriber {
            rooms: rooms.clone(),
            player,
            every,
            socket: WebSocket::default(),
            id: 0,
            asked: None,
            room: String::new(),
            moves: 0,
            is_in: false,
            offset: None,
            act_at: 0,
            stopping: false,
        }
    }

    fn ask(&mut self, asked: Asked, turn: &mut Turn<'_>) {
        self.id += 1;
        self.asked = Some(asked);
        let (id, channel) = (self.id, &self.room);
        let command = match asked {
            Asked::Connect => json!({ "id": id, "connect": {} }),
            Asked::Subscribe => json!({ "id": id, "subscribe": { "channel": channel } }),
            Asked::Unsubscribe => json!({ "id": id, "unsubscribe": { "channel": channel } }),
        };
        self.socket.text(command.to_string().as_bytes(), turn);
    }

    /// Comes or goes, when it is time and the last time is answered.
    fn act(&mut self, turn: &mut Turn<'_>) {
        if self.asked.is_some() || !self.socket.is_open() || turn.books.quiet {
            return;
        }
        if self.act_at > turn.now {
            return turn.wake_at(self.act_at);
        }
        // What could not be asked in time is not made up for.
        self.act_at = (self.act_at + self.every.as_nanos() as u64).max(turn.now);
        if self.is_in {
            return self.ask(Asked::Unsubscribe, turn);
        }
        self.moves += 1;
        self.room = self.rooms.of(self.player + self.moves);
        self.offset = None;
        self.ask(Asked::Subscribe, turn);
    }

    /// Takes one line of the server's; says what is wrong with it.
    fn take(&mut self, line: &[u8], turn: &mut Turn<'_>) -> Result<(), String> {
        let wrong = || format!("in room {}: {}", self.room, line.escape_ascii());
        let value: Value = serde_json::from_slice(line).map_err(|_| wrong())?;
        if value == json!({}) {
            self.socket.text(b"{}", turn);
            return Ok(());
        }
        if let Some(push) = value.get("push") {
            let offset = push["pub"]["offset"].as_u64();
            let is_next = self.offset.zip(offset).is_none_or(|(before, now)| now == before + 1);
            let is_expected = offset.is_some() && push["channel"] == self.room.as_str() && is_next;
            self.offset = offset;
            return if is_expected { Ok(()) } else { Err(wrong()) };
        }
        let (member, what) = match self.asked {
            Some(Asked::Connect) => ("connect", "connected"),
            Some(Asked::Subscribe) => ("subscribe", "joined"),
            Some(Asked::Unsubscribe) => ("unsubscribe", "left"),
            None => return Err(wrong()),
        };
        if value["id"] != self.id || value.get(member).is_none() {
            return Err(wrong());
        }
        turn.count(what);
        match self.asked.take() {
            Some(Asked::Connect) => {
                turn.opened(None);
                self.act_at = turn.now + turn.books.random(0, self.every.as_nanos() as u64);
            }
            Some(Asked::Subscribe) => self.is_in = true,
            Some(Asked::Unsubscribe) | None => self.is_in = false,
        }
        Ok(())
    }
}

impl Play for Subscriber {
    fn connected(&mut self, turn: &mut Turn<'_>) {
        (self.asked, self.is_in) = (None, false);
        self.socket.shake_hands("/connection/websocket", turn);
    }

    fn received(&mut self, bytes: &mut [u8], turn: &mut Turn<'_>) {
        let (cast, player) = (turn.cast, turn.player);
        let (mut begins, mut lines) = (false, Vec::new());
        self.socket.take(bytes, turn, &mut |came, books| match came {
            Came::Open(_) => begins = true,
            Came::Message(message) => {
                books.casts[cast].received += 1;
                books.casts[cast].received_bytes += message.len() as u64;
                lines.extend(message.split(|byte| *byte == b'\n').map(<[u8]>::to_vec));
            }
            Came::Refused(head) => books.complain(cast, player, &format!("refused with {}", head.status)),
            Came::Wrong(text) => books.complain(cast, player, &format!("the server sent {text}")),
            Came::Close(..) => {}
        });
        if begins {
            self.ask(Asked::Connect, turn);
        }
        for line in lines.iter().filter(|line| !line.is_empty()) {
            if let Err(text) = self.take(line, turn) {
                turn.violation(&text);
            }
        }
        self.act(turn);
    }

    fn woken(&mut self, turn: &mut Turn<'_>) {
        self.act(turn);
    }

    fn ended(&mut self, end: End, turn: &mut Turn<'_>) -> Next {
        let socket = std::mem::take(&mut self.socket);
        match (&socket.closed, end) {
            (_, End::Own) => {}
            (Some((1000, _)), End::Eof) if socket.leaving => turn.count("closed"),
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
        } else {
            turn.wants.drop = Some(super::play::Drop::Close);
        }
    }

    fn lacks(&self, _: &Books) -> Option<String> {
        match self.asked {
            Some(asked) => Some(format!("room {}: {asked:?} is not answered", self.room)),
            None => (!self.socket.is_open()).then(|| "it is not open".to_owned()),
        }
    }
}
