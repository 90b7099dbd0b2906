//! Publishers over HTTP, each message when the one before is acknowledged.

use super::books::Books;
use super::http::{Head, HeadReader, Progress};
use super::play::{End, Next, Play, Turn};
use crate::load::cast::Publish;
use crate::load::payload::{self, Stamp};

/// One publisher over HTTP.
pub struct Post {
    room: usize,
    publish: Publish,
    publisher: u32,
    mark: u32,
    sequence: u64,
    next_at: u64,
    /// When what is not acknowledged yet was meant to be sent.
    waiting: Option<u64>,
    head: HeadReader,
    answer: Option<(Head, Vec<u8>)>,
    stopping: bool,
}

impl Post {
    pub fn new(room: &str, publish: Publish, publisher: u32, books: &mut Books) -> Post {
        Post {
            room: books.room(room),
            publish,
            publisher,
            mark: payload::room_mark(room),
            sequence: 0,
            next_at: 0,
            waiting: None,
            head: HeadReader::default(),
            answer: None,
            stopping: false,
        }
    }

    fn interval(&self) -> u64 {
        (1e9 / self.publish.rate.max(1e-3)) as u64
    }

    fn post(&mut self, turn: &mut Turn<'_>) {
        if self.waiting.is_some() || turn.books.quiet || self.stopping {
            return;
        }
        if self.next_at > turn.now {
            return turn.wake_at(self.next_at);
        }
        self.sequence += 1;
        let intended = self.next_at;
        let stamp = Stamp { room: self.mark, publisher: self.publisher, sequence: self.sequence, intended };
        let mut body = Vec::new();
        payload::push(&mut body, &stamp, self.publish.bytes);
        let (room, server) = (&turn.books.rooms[self.room].name, turn.books.server);
        let request = format!(
            "POST /rooms/{room} HTTP/1.1\r\nHost: {server}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        turn.send(request.as_bytes());
        turn.send(&body);
        turn.books.casts[turn.cast].sent += 1;
        self.waiting = Some(intended);
        self.next_at = (self.next_at + self.interval()).max(turn.now.saturating_sub(self.interval()));
    }

    /// Takes a whole answer: the message is in the room where it says.
    fn acknowledged(&mut self, head: &Head, body: &[u8], turn: &mut Turn<'_>) {
        let Some(intended) = self.waiting.take() else {
            return turn.violation("an answer that nobody has asked for");
        };
        let tally = &mut turn.books.casts[turn.cast];
        tally.received += 1;
        tally.received_bytes += body.len() as u64;
        tally.latency.record_nanoseconds(turn.now.saturating_sub(intended));
        let answer: Option<serde_json::Value> = serde_json::from_slice(body).ok();
        let answer = answer.filter(|_| head.status == 200);
        let place =
            answer.as_ref().and_then(|json| Some((json["epoch"].as_str()?, json["offset"].as_u64()?)));
        let Some((epoch, offset)) = place else {
            return turn.violation(&format!("answered with {}: {}", head.status, body.escape_ascii()));
        };
        let room = &mut turn.books.rooms[self.room];
        room.enter(epoch);
        if let Err((publisher, sequence)) = room.note(offset, self.publisher, self.sequence) {
            let text = format!(
                "room {}: message {} is said to be at offset {offset}, members have message {sequence} of \
                 publisher {publisher} there",
                room.name, self.sequence
            );
            turn.violation(&text);
        }
    }

    /// What is whole of the answers.
    fn take(&mut self, mut bytes: &[u8], turn: &mut Turn<'_>) {
        while !bytes.is_empty() {
            let Some((head, body)) = &mut self.answer else {
                match self.head.take(bytes) {
                    Progress::More => return,
                    Progress::Wrong => return turn.violation("the answer is no HTTP"),
                    Progress::Whole(head, used) => {
                        self.answer = Some((head, Vec::new()));
                        bytes = &bytes[used..];
                        continue;
                    }
                }
            };
            let length = head.number("Content-Length").unwrap_or_default() as usize;
            let (part, rest) = bytes.split_at(bytes.len().min(length - body.len()));
            body.extend_from_slice(part);
            bytes = rest;
            if body.len() == length
                && let Some((head, body)) = self.answer.take()
            {
                self.acknowledged(&head, &body, turn);
            }
        }
    }
}

impl Play for Post {
    fn connected(&mut self, turn: &mut Turn<'_>) {
        turn.opened(None);
        self.next_at = turn.now + turn.books.random(0, self.interval());
        self.post(turn);
    }

    fn received(&mut self, bytes: &mut [u8], turn: &mut Turn<'_>) {
        self.take(bytes, turn);
        if self.stopping && self.waiting.is_none() {
            turn.wants.drop = Some(super::play::Drop::Close);
            return;
        }
        self.post(turn);
    }

    fn woken(&mut self, turn: &mut Turn<'_>) {
        self.post(turn);
    }

    fn ended(&mut self, end: End, turn: &mut Turn<'_>) -> Next {
        match end {
            End::Own => {}
            _ if turn.books.tolerates(0) => turn.count("ended"),
            end => {
                turn.count("cut");
                turn.violation(&format!("cut: {end:?}"));
            }
        }
        Next::Done
    }

    fn stop(&mut self, turn: &mut Turn<'_>) {
        self.stopping = true;
        if self.waiting.is_none() {
            turn.wants.drop = Some(super::play::Drop::Close);
        }
    }

    fn lacks(&self, books: &Books) -> Option<String> {
        let room = &books.rooms[self.room].name;
        self.waiting.map(|_| format!("room {room}: message {} is not acknowledged", self.sequence))
    }
}
