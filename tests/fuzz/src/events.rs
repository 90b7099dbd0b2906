//! Runs a [`Connection`] over the pieces of a stream and keeps its events, with how much of the stream had
//! come when each did.

use fanfare::protocol::{CloseCode, Connection, Event, Failure, Input, Kind, Limits, Role, State};
use fanfare::time::Time;

/// An event without borrows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owned {
    Message(Kind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close { code: Option<CloseCode>, reason: String, reply: bool },
    Failed(Failure),
}

impl Owned {
    pub fn new(event: Event<'_>) -> Owned {
        match event {
            Event::Message(message) => {
                assert_eq!(message.text().is_some(), message.kind == Kind::Text, "text is UTF-8");
                Owned::Message(message.kind, message.payload.to_vec())
            }
            Event::Ping(payload) => Owned::Ping(payload.to_vec()),
            Event::Pong(payload) => Owned::Pong(payload.to_vec()),
            Event::Close { code, reason, reply } => Owned::Close { code, reason: reason.to_owned(), reply },
            Event::Failed(failure) => Owned::Failed(failure),
            other => panic!("no event of an open connection: {other:?}"),
        }
    }

    /// Whether the connection is over with it.
    pub fn is_last(&self) -> bool {
        matches!(self, Owned::Close { .. } | Owned::Failed(_))
    }
}

/// An event, and how many bytes of the stream had been given when it came.
pub type At = (usize, Owned);

/// What a connection that was just opened is told.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub role: Role,
    pub limits: Limits,
    /// So many events in, a Close of ours is sent.
    pub close_after: usize,
}

/// Heap bytes that a connection may own beside what has arrived of the message.
const OVERHEAD_BYTES: usize = 1024 + 512;

impl Run {
    /// The events of a stream that comes in these pieces.
    pub fn events(&self, pieces: &[&[u8]]) -> Vec<At> {
        let mut connection = Connection::open(self.role);
        if self.close_after == 0 {
            connection.close_sent();
        }
        let (mut all, mut given) = (Vec::new(), 0);
        for (number, piece) in pieces.iter().enumerate() {
            given += piece.len();
            // The bytes are unmasked in place.
            let mut piece = piece.to_vec();
            let mut input = Input::new(&mut piece);
            let now = Time::from_nanos(number as u64);
            while let Some(event) = connection.next_event(now, &mut input, &self.limits) {
                all.push((given, Owned::new(event)));
                if all.len() == self.close_after && connection.state() == State::Open {
                    connection.close_sent();
                }
            }
            assert_eq!(input.remaining(), 0, "everything is consumed");
            self.check_between_inputs(&connection, now, given);
        }
        let ended = all.last().is_some_and(|(_, event)| event.is_last());
        assert_eq!(connection.state() == State::Closed, ended, "only Close and failure end it");
        all
    }

    fn check_between_inputs(&self, connection: &Connection, now: Time, given: usize) {
        let heap = connection.heap_bytes();
        assert_eq!(heap == 0, connection.message_started().is_none(), "it owns only what is incomplete");
        assert!(connection.message_started().is_none_or(|started| started <= now));
        let arrived = given.min(self.limits.message_bytes_max);
        assert!(heap <= arrived + arrived / 4 + OVERHEAD_BYTES, "{heap} bytes are held of {given}");
    }
}

/// The events without their places.
pub fn only_events(all: &[At]) -> Vec<&Owned> {
    all.iter().map(|(_, event)| event).collect()
}
