//! Readers that are too slow, or read nothing at all, until the server cuts them.

use std::time::Duration;

use fanfare::protocol::{Opcode, push_client_frame};

use super::play::{End, Next, Play, Reading, Turn};
use super::websocket::{Came, WebSocket};
use crate::load::cast::Slow;

/// What its kernel may keep for it: as little as it takes.
const RECEIVE_BUFFER: usize = 4 << 10;
/// How long it reads at full speed to see whether it has been cut.
const LOOK: Duration = Duration::from_secs(2);
/// How often it reads its share.
const SIP: Duration = Duration::from_millis(500);

/// One slow reader.
pub struct SlowReader {
    slow: Slow,
    room: String,
    socket: WebSocket,
    looks: u32,
    look_at: u64,
    looking_until: Option<u64>,
    stopping: bool,
}

impl SlowReader {
    pub fn new(slow: &Slow, player: usize) -> SlowReader {
        SlowReader {
            slow: slow.clone(),
            room: slow.rooms.of(player),
            socket: WebSocket::default(),
            looks: 0,
            look_at: 0,
            looking_until: None,
            stopping: false,
        }
    }

    fn rest(&mut self, turn: &mut Turn<'_>) {
        turn.wants.reading = Some(Reading::Off);
        self.looking_until = None;
        self.look_at = turn.now + turn.about(self.slow.look_ms).as_nanos() as u64;
        turn.wake_at(self.look_at);
        if self.slow.bytes_per_second > 0 {
            turn.wake_in(SIP);
        }
    }

    /// A Close or the end may be behind what was not read; if the server's end is gone altogether, only
    /// something sent to it shows that.
    fn look(&mut self, turn: &mut Turn<'_>) {
        turn.wants.reading = Some(Reading::On);
        let until = turn.now + LOOK.as_nanos() as u64;
        self.looking_until = Some(until);
        turn.wake_at(until);
        let key = turn.books.keys.next();
        push_client_frame(&mut turn.wants.out, Opcode::Ping, true, b"?", key);
    }
}

impl Play for SlowReader {
    fn connected(&mut self, turn: &mut Turn<'_>) {
        self.looks = 0;
        self.look_at = u64::MAX;
        self.looking_until = None;
        self.socket.shake_hands(&format!("/rooms/{}", self.room), turn);
    }

    fn received(&mut self, bytes: &mut [u8], turn: &mut Turn<'_>) {
        let was_open = self.socket.is_open();
        let (cast, player, count) = (turn.cast, turn.player, bytes.len());
        self.socket.take(bytes, turn, &mut |came, books| match came {
            Came::Refused(head) => books.complain(cast, player, &format!("refused with {}", head.status)),
            Came::Wrong(text) => books.complain(cast, player, &format!("the server sent {text}")),
            Came::Message(_) => books.casts[cast].received += 1,
            Came::Open(_) | Came::Close(..) => {}
        });
        turn.books.casts[turn.cast].received_bytes += count as u64;
        if !was_open && self.socket.is_open() {
            self.rest(turn);
        }
    }

    fn woken(&mut self, turn: &mut Turn<'_>) {
        if !self.socket.is_open() {
            return;
        }
        match self.looking_until {
            Some(until) if until > turn.now => turn.wake_at(until),
            Some(_) => {
                self.looks += 1;
                turn.count("looked, and was not cut yet");
                if self.looks >= self.slow.looks_max {
                    turn.violation(&format!("room {}: it reads too little and is not cut", self.room));
                    self.looks = 0;
                }
                self.rest(turn);
            }
            None if self.look_at <= turn.now => self.look(turn),
            None => {
                turn.wants.take = (self.slow.bytes_per_second / 2) as usize;
                turn.wake_at(self.look_at);
                if self.slow.bytes_per_second > 0 {
                    turn.wake_in(SIP);
                }
            }
        }
    }

    fn ended(&mut self, end: End, turn: &mut Turn<'_>) -> Next {
        let socket = std::mem::take(&mut self.socket);
        let was_open = self.look_at != u64::MAX;
        let is_cut = matches!(socket.closed, Some((1008, _))) || socket.closed.is_none() && was_open;
        if is_cut && end != End::Own && !turn.books.tolerates(0) {
            turn.books.cut.extend(turn.local);
        }
        match (&socket.closed, end) {
            (_, End::Own) => {}
            (Some((1008, reason)), _) => {
                turn.count("cut with 1008");
                if !reason.starts_with("slow consumer") && !reason.starts_with("no answer to a ping") {
                    turn.violation(&format!("cut with 1008 for another reason: {reason}"));
                }
            }
            (Some((code, _)), _) if turn.books.tolerates(*code) => turn.count(&format!("close {code}")),
            (Some((code, reason)), _) => turn.violation(&format!("cut with {code}: {reason}")),
            (None, _) if turn.books.tolerates(0) => turn.count("ended without a Close"),
            (None, End::Eof | End::Broken(_)) if was_open => {
                turn.count("cut, the Close not read");
            }
            (None, end) => turn.violation(&format!("ended before it was open: {end:?}")),
        }
        if self.stopping { Next::Done } else { Next::Again(turn.about(200)) }
    }

    fn stop(&mut self, turn: &mut Turn<'_>) {
        self.stopping = true;
        turn.wants.drop = Some(super::play::Drop::Close);
    }

    fn receive_buffer(&self) -> Option<usize> {
        Some(RECEIVE_BUFFER)
    }
}
