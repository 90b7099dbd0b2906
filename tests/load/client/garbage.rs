//! Handshakes that are none.

use std::time::Duration;

use super::http::{HeadReader, Progress, upgrade};
use super::play::{Drop, End, Next, Play, Turn};

/// Longer than the server waits for a whole head.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is sent, and what may be the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Bytes at random and the end of a head.
    Noise,
    /// A handshake with a few other bytes: it may even still be one.
    Mutated,
    /// Longer than `--max-head`.
    Long,
    /// More lines than `--max-headers`.
    Many,
    /// A version of WebSocket that nobody speaks.
    Version,
    /// A part of a head, and then the end.
    Cut,
}

const KINDS: [Kind; 6] = [Kind::Noise, Kind::Mutated, Kind::Long, Kind::Many, Kind::Version, Kind::Cut];

impl Kind {
    fn bytes(self, turn: &mut Turn<'_>) -> Vec<u8> {
        let server = turn.books.server;
        let valid = upgrade(server, "/rooms/garbage-0");
        let with = |line: &str| valid.replace("\r\n\r\n", &format!("\r\n{line}\r\n\r\n")).into_bytes();
        match self {
            Kind::Noise => {
                let count = turn.books.random(1, 300);
                // A first byte that no method has: it is refused whatever follows.
                let mut bytes = vec![0x16];
                bytes.extend((0..count).map(|_| turn.books.random(0, 255) as u8));
                bytes.extend_from_slice(b"\r\n\r\n");
                bytes
            }
            Kind::Mutated => {
                let mut bytes = valid.into_bytes();
                for _ in 0..turn.books.random(1, 4) {
                    // Neither the method nor the target: a GET of anything else is answered in full.
                    let at = turn.books.random(25, bytes.len() as u64 - 5) as usize;
                    bytes[at] = turn.books.random(0, 255) as u8;
                }
                bytes
            }
            Kind::Long => with(&format!("Long: {}", "x".repeat(9 << 10))),
            Kind::Many => with(&"A: b\r\n".repeat(100)),
            Kind::Version => valid.replace("Version: 13", "Version: 99").into_bytes(),
            Kind::Cut => {
                let cut = turn.books.random(1, valid.len() as u64 - 1) as usize;
                valid.as_bytes()[..cut].to_vec()
            }
        }
    }

    fn allows(self, status: u16) -> bool {
        match self {
            Kind::Noise => status == 400,
            Kind::Mutated => status < 500 || matches!(status, 501 | 505),
            Kind::Long | Kind::Many => status == 431,
            Kind::Version => status == 426,
            Kind::Cut => status == 400 || status == 408,
        }
    }
}

/// One client that never gets it right.
pub struct Garbage {
    pause_ms: u64,
    limited: bool,
    kind: Kind,
    sent: Vec<u8>,
    head: HeadReader,
    answered: bool,
    give_up_at: u64,
    stopping: bool,
}

impl Garbage {
    pub fn new(pause_ms: u64, limited: bool) -> Garbage {
        Garbage {
            pause_ms,
            limited,
            kind: Kind::Noise,
            sent: Vec::new(),
            head: HeadReader::default(),
            answered: false,
            give_up_at: 0,
            stopping: false,
        }
    }
}

impl Play for Garbage {
    fn connected(&mut self, turn: &mut Turn<'_>) {
        self.kind = KINDS[turn.books.random(0, KINDS.len() as u64 - 1) as usize];
        self.sent = self.kind.bytes(turn);
        self.head = HeadReader::default();
        self.answered = false;
        turn.wants.out.extend_from_slice(&self.sent);
        turn.wants.half_close = self.kind == Kind::Cut;
        self.give_up_at = turn.now + PATIENCE.as_nanos() as u64;
        turn.wake_at(self.give_up_at);
    }

    fn received(&mut self, bytes: &mut [u8], turn: &mut Turn<'_>) {
        if self.answered {
            return;
        }
        match self.head.take(bytes) {
            Progress::More => {}
            Progress::Wrong => turn.violation("the answer to garbage is no HTTP"),
            Progress::Whole(head, _) => {
                self.answered = true;
                turn.count(&format!("answered with {}", head.status));
                let is_limit = self.limited && head.status == 429;
                if !self.kind.allows(head.status) && !is_limit {
                    let sent = self.sent.escape_ascii();
                    turn.violation(&format!("{:?} was answered with {}: {sent}", self.kind, head.status));
                }
                // Some are good enough for an answer behind which another request may come.
                if head.header("Connection") != Some("close") {
                    turn.wants.drop = Some(Drop::Reset);
                }
            }
        }
    }

    fn woken(&mut self, turn: &mut Turn<'_>) {
        if self.give_up_at <= turn.now {
            turn.violation(&format!("{:?} was not brought to an end", self.kind));
            turn.wants.drop = Some(Drop::Reset);
        } else {
            turn.wake_at(self.give_up_at);
        }
    }

    fn ended(&mut self, end: End, turn: &mut Turn<'_>) -> Next {
        if !self.answered && end != End::Own {
            turn.count("ended without an answer");
            let must_answer = matches!(self.kind, Kind::Long | Kind::Many | Kind::Version);
            // Refused at once, an answer may be lost to a reset.
            if must_answer && !self.limited && !turn.books.tolerates(0) {
                turn.violation(&format!("{:?} was not answered: {end:?}", self.kind));
            }
        }
        if self.stopping { Next::Done } else { Next::Again(turn.about(self.pause_ms)) }
    }

    fn stop(&mut self, turn: &mut Turn<'_>) {
        self.stopping = true;
        turn.wants.drop = Some(Drop::Close);
    }
}
