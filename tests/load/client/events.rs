//! Honest readers of a room as server-sent events.

use super::books::Books;
use super::http::{HeadReader, Progress};
use super::play::{End, Next, Play, Turn};
use crate::load::checker::Checker;

/// One reader of an event stream.
pub struct Events {
    room: usize,
    head: Option<HeadReader>,
    /// A line that is not whole.
    line: Vec<u8>,
    event: Event,
    checker: Option<Checker>,
    broken: bool,
    stopping: bool,
}

/// The fields of an event so far.
#[derive(Debug, Default)]
struct Event {
    kind: String,
    id: String,
    data: Vec<u8>,
}

impl Events {
    pub fn new(room: &str, books: &mut Books) -> Events {
        Events {
            room: books.room(room),
            head: None,
            line: Vec::new(),
            event: Event::default(),
            checker: None,
            broken: false,
            stopping: false,
        }
    }

    fn take_line(&mut self, line: &[u8], turn: &mut Turn<'_>) {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return self.take_event(&event, turn);
        }
        let text = String::from_utf8_lossy(line);
        match text.split_once(": ") {
            Some(("event", kind)) => kind.clone_into(&mut self.event.kind),
            Some(("id", id)) => id.clone_into(&mut self.event.id),
            Some(("data", data)) => self.event.data.extend_from_slice(data.as_bytes()),
            _ => {}
        }
    }

    fn take_event(&mut self, event: &Event, turn: &mut Turn<'_>) {
        let place = event.id.split_once(':').and_then(|(epoch, offset)| Some((epoch, offset.parse().ok()?)));
        match (event.kind.as_str(), place) {
            ("position", Some((epoch, offset))) => {
                turn.books.rooms[self.room].enter(epoch);
                self.checker = Some(Checker::behind(offset));
                turn.opened(None);
            }
            ("", Some((_, offset))) => self.take_message(&event.data, offset, turn),
            ("close", _) => turn.violation(&format!("closed: {}", event.data.escape_ascii())),
            (kind, _) => turn.violation(&format!("an event {kind:?} with id {:?}", event.id)),
        }
    }

    fn take_message(&mut self, data: &[u8], offset: u64, turn: &mut Turn<'_>) {
        let books = &mut *turn.books;
        let tally = &mut books.casts[turn.cast];
        tally.received += 1;
        tally.received_bytes += data.len() as u64;
        let Some(checker) = self.checker.as_mut().filter(|_| !self.broken) else { return };
        let room = &mut books.rooms[self.room];
        let wrong = match checker.take(room, data) {
            Ok(_) if checker.offset != offset => format!("offset {offset} comes as {}", checker.offset),
            Ok(stamp) => {
                tally.latency.record_nanoseconds(turn.now.saturating_sub(stamp.intended));
                return;
            }
            Err(violation) => violation.to_string(),
        };
        self.broken = true;
        let text = format!("room {}: {wrong}", room.name);
        turn.violation(&text);
    }

    fn take(&mut self, bytes: &[u8], turn: &mut Turn<'_>) {
        for byte in bytes {
            if *byte != b'\n' {
                self.line.push(*byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            self.take_line(&line, turn);
        }
    }
}

impl Play for Events {
    fn connected(&mut self, turn: &mut Turn<'_>) {
        let (room, server) = (&turn.books.rooms[self.room].name, turn.books.server);
        let request = format!(
            "GET /rooms/{room}/events HTTP/1.1\r\nHost: {server}\r\nAccept: text/event-stream\r\n\r\n"
        );
        turn.send(request.as_bytes());
        self.head = Some(HeadReader::default());
    }

    fn received(&mut self, bytes: &mut [u8], turn: &mut Turn<'_>) {
        let mut from = 0;
        if let Some(reader) = &mut self.head {
            match reader.take(bytes) {
                Progress::More => return,
                Progress::Whole(head, used) if head.status == 200 => from = used,
                other => return turn.violation(&format!("a stream begins with {other:?}")),
            }
            self.head = None;
        }
        self.take(&bytes[from..], turn);
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
        turn.wants.drop = Some(super::play::Drop::Close);
    }

    fn lacks(&self, books: &Books) -> Option<String> {
        let room = &books.rooms[self.room].name;
        let Some(checker) = &self.checker else {
            return Some(format!("room {room}: its stream has not begun"));
        };
        let goal = books.goals.as_ref().and_then(|goals| goals.get(&self.room)).filter(|_| !self.broken)?;
        (checker.offset != *goal)
            .then(|| format!("room {room}: it is at offset {} of {goal}", checker.offset))
    }
}
