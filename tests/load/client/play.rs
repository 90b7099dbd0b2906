//! What a player is told, and what it can ask for.

use std::net::SocketAddr;
use std::time::Duration;

use super::books::Books;
use super::bytewise::Bytewise;
use super::events::Events;
use super::fated::Fated;
use super::fleeting::{HalfClose, Reset, Silent};
use super::garbage::Garbage;
use super::knock::Knock;
use super::member::Player as Member;
use super::post::Post;
use super::slow::SlowReader;
use super::storm::Storm;
use super::subscriber::Subscriber;
use crate::load::cast::Role;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// There was none: connecting failed.
    Unreachable(std::io::ErrorKind),
    /// The server ended its stream.
    Eof,
    /// The connection broke.
    Broken(std::io::ErrorKind),
    /// The player itself ended it.
    Own,
}

/// What a player does after a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Connects again, after so long.
    Again(Duration),
    /// It has left for good.
    Done,
}

/// Whether a player is given what has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    On,
    Off,
}

/// What a player has asked for in one turn.
#[derive(Debug, Default)]
pub struct Wants {
    pub out: Vec<u8>,
    pub wake_at: Option<u64>,
    pub reading: Option<Reading>,
    /// Read so many bytes now, though reading is off.
    pub take: usize,
    /// An end to the direction from here, once all is sent.
    pub half_close: bool,
    /// An end to the connection: with a reset, or as the kernel sees fit.
    pub drop: Option<Drop>,
    /// The shard that serves it; it counts as open from now on.
    pub opened: Option<Option<usize>>,
}

/// How a player ends its connection without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drop {
    Reset,
    Close,
}

/// One turn of a player.
pub struct Turn<'a> {
    /// Now, in nanoseconds of the clock that the processes share.
    pub now: u64,
    /// The player's number in its cast.
    pub player: usize,
    /// Its cast's number.
    pub cast: usize,
    /// Its own address, while it is connected.
    pub local: Option<SocketAddr>,
    /// Bytes that wait to be sent.
    pub queued: usize,
    pub books: &'a mut Books,
    pub wants: &'a mut Wants,
}

impl Turn<'_> {
    pub fn send(&mut self, bytes: &[u8]) {
        self.wants.out.extend_from_slice(bytes);
    }

    pub fn wake_in(&mut self, wait: Duration) {
        self.wake_at(self.now + wait.as_nanos() as u64);
    }

    /// The earliest wake-up that is asked for counts.
    pub fn wake_at(&mut self, time: u64) {
        let earlier = self.wants.wake_at.map_or(time, |known| known.min(time));
        self.wants.wake_at = Some(earlier);
    }

    pub fn count(&mut self, what: &str) {
        self.books.casts[self.cast].count(what);
    }

    /// Something that must not happen.
    pub fn violation(&mut self, text: &str) {
        self.books.complain(self.cast, self.player, text);
    }

    /// From here on the connection counts as open.
    pub fn opened(&mut self, shard: Option<usize>) {
        self.wants.opened = Some(shard);
    }

    /// About so long: between a half and one and a half of it.
    pub fn about(&mut self, milliseconds: u64) -> Duration {
        Duration::from_millis(self.books.random(milliseconds / 2, milliseconds + milliseconds / 2))
    }
}

/// One client. It outlives its connections.
pub trait Play {
    /// A connection is up, or on its way.
    fn connected(&mut self, turn: &mut Turn<'_>);

    /// These bytes have come.
    fn received(&mut self, bytes: &mut [u8], turn: &mut Turn<'_>);

    /// The time it asked for has come.
    fn woken(&mut self, _: &mut Turn<'_>) {}

    /// The connection has ended.
    fn ended(&mut self, end: End, turn: &mut Turn<'_>) -> Next;

    /// It shall leave.
    fn stop(&mut self, turn: &mut Turn<'_>) {
        turn.wants.drop = Some(Drop::Close);
    }

    /// Publishers stop, nobody comes or goes.
    fn quiet(&mut self, _: &mut Turn<'_>) {}

    /// What it still lacks before the run can end.
    fn lacks(&self, _: &Books) -> Option<String> {
        None
    }

    /// Bytes that the kernel may keep for it; `None` for the kernel's own choice.
    fn receive_buffer(&self) -> Option<usize> {
        None
    }
}

/// A player of a role.
pub fn player(role: &Role, player: usize, publisher: u32, books: &mut Books) -> Box<dyn Play> {
    match role {
        Role::Member(member) => Box::new(Member::new(member, player, publisher, books)),
        Role::Events { rooms } => Box::new(Events::new(&rooms.of(player), books)),
        Role::Post { rooms, publish } => Box::new(Post::new(&rooms.of(player), *publish, publisher, books)),
        Role::Slow(slow) => Box::new(SlowReader::new(slow, player)),
        Role::Bytewise { every_ms } => Box::new(Bytewise::new(Duration::from_millis(*every_ms))),
        Role::Reset { rooms, within_ms } => Box::new(Reset::new(&rooms.of(player), *within_ms)),
        Role::HalfClose { rooms, stay_ms, patience_ms } => {
            Box::new(HalfClose::new(&rooms.of(player), *stay_ms, Duration::from_millis(*patience_ms)))
        }
        Role::Garbage { pause_ms, limited } => Box::new(Garbage::new(*pause_ms, *limited)),
        Role::Storm { rooms } => Box::new(Storm::new(&rooms.of(player))),
        Role::Knock { rooms, patience_ms, again_ms } => {
            Box::new(Knock::new(&rooms.of(player), Duration::from_millis(*patience_ms), *again_ms))
        }
        Role::Fated { path, pause_ms } => Box::new(Fated::new(path, *pause_ms)),
        Role::Subscriber { rooms, every_ms } => {
            Box::new(Subscriber::new(rooms, player, Duration::from_millis(*every_ms)))
        }
        Role::Silent { patience_ms } => Box::new(Silent::new(Duration::from_millis(*patience_ms))),
    }
}
