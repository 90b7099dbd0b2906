//! One connection: its socket, its protocol, and what it is for.

use std::io::{self, ErrorKind, IoSlice};

use fanfare::protocol::{ClientHandshake, Connection, Role};
use fanfare::reactor::{Interest, Io, PollIo, PollStream};
use fanfare::slab::Key;
use fanfare::time::Time;

use super::plan::Spec;
use super::skim::Skimmer;
use super::traffic::Receiver;

/// Where a connection is in its life.
#[derive(Debug)]
pub enum Life {
    /// The socket is not there yet.
    Connecting,
    /// The request is sent.
    Upgrading(Box<ClientHandshake>),
    /// Frames are read.
    Open(Reader),
}

/// How frames are read.
#[derive(Debug)]
pub enum Reader {
    /// By every rule.
    Strict(Connection),
    /// By their headers alone.
    Skimming(Skimmer),
}

impl Reader {
    /// One for a connection that has just been accepted.
    pub fn new(checked: bool) -> Reader {
        if checked {
            Reader::Strict(Connection::open(Role::Client))
        } else {
            Reader::Skimming(Skimmer::default())
        }
    }
}

/// One connection.
#[derive(Debug)]
pub struct Peer {
    /// The socket.
    pub stream: PollStream,
    /// What it was opened for.
    pub spec: Spec,
    /// When it was begun to be opened.
    pub since: Time,
    /// Where it is in its life.
    pub life: Life,
    /// The flow that it sends, if any.
    pub sends: Option<u32>,
    /// The flow that it gets, if any.
    pub receives: Option<Receiver>,
    /// What the kernel has not taken yet.
    unsent: Vec<u8>,
    interest: Interest,
    has_stopped: bool,
    /// Bytes within which it waits for the answer to its Ping; none if it does not wait.
    awaited: usize,
}

impl Peer {
    /// A connection whose socket is not there yet.
    pub fn new(
        stream: PollStream,
        spec: Spec,
        since: Time,
        sends: Option<u32>,
        receives: Option<Receiver>,
    ) -> Peer {
        let interest = Interest { readable: true, writable: false };
        let life = Life::Connecting;
        let (unsent, has_stopped, awaited) = (Vec::new(), false, 0);
        Peer { stream, spec, since, life, sends, receives, unsent, interest, has_stopped, awaited }
    }

    /// Whether it has stopped reading at some time.
    pub fn has_stopped(&self) -> bool {
        self.has_stopped
    }

    /// Whether it reads, as far as is known here.
    pub fn is_reading(&self) -> bool {
        self.interest.readable
    }

    /// Stops reading.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn stop(&mut self, io: &mut PollIo, key: Key) -> io::Result<()> {
        self.has_stopped = true;
        self.watch(io, key, Interest { readable: false, ..self.interest })
    }

    /// Reads again, and waits for the answer to a Ping within the next `bytes`.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn ask(&mut self, io: &mut PollIo, key: Key, bytes: usize) -> io::Result<()> {
        self.awaited = bytes;
        self.watch(io, key, Interest { readable: true, ..self.interest })
    }

    /// Whether it waits for the answer to its Ping.
    pub fn awaits_answer(&self) -> bool {
        self.awaited > 0
    }

    /// Notes that so many bytes have come, and whether the answer was among them.
    pub fn note_answer(&mut self, bytes: usize, is_answered: bool) {
        self.awaited = if is_answered { 0 } else { self.awaited.saturating_sub(bytes) };
    }

    /// Whether messages can be sent now.
    pub fn can_send(&self) -> bool {
        matches!(self.life, Life::Open(_)) && self.unsent.is_empty()
    }

    /// Asks to be told when the socket is there.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn await_connected(&mut self, io: &mut PollIo, key: Key) -> io::Result<()> {
        self.watch_writable(io, key, true)
    }

    /// Sends bytes behind those that wait.
    ///
    /// # Errors
    ///
    /// The operating system's; the connection is over.
    pub fn send(&mut self, io: &mut PollIo, key: Key, bytes: &[u8]) -> io::Result<()> {
        let taken = if self.unsent.is_empty() { send_some(io, &self.stream, bytes)? } else { 0 };
        if taken < bytes.len() {
            self.unsent.extend_from_slice(&bytes[taken..]);
            self.watch_writable(io, key, true)?;
        }
        Ok(())
    }

    /// Sends what waits; true if nothing is left of it.
    ///
    /// # Errors
    ///
    /// The operating system's; the connection is over.
    pub fn flush(&mut self, io: &mut PollIo, key: Key) -> io::Result<bool> {
        if !self.unsent.is_empty() {
            let taken = send_some(io, &self.stream, &self.unsent)?;
            self.unsent.drain(..taken);
        }
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
            self.watch_writable(io, key, false)?;
            return Ok(true);
        }
        Ok(false)
    }

    fn watch_writable(&mut self, io: &mut PollIo, key: Key, writable: bool) -> io::Result<()> {
        self.watch(io, key, Interest { writable, ..self.interest })
    }

    fn watch(&mut self, io: &mut PollIo, key: Key, interest: Interest) -> io::Result<()> {
        if self.interest == interest {
            return Ok(());
        }
        self.interest = interest;
        io.set_interest(&self.stream, key, interest)
    }
}

/// Whether an error only means "later".
pub fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn send_some(io: &mut PollIo, stream: &PollStream, bytes: &[u8]) -> io::Result<usize> {
    match io.send(stream, &[IoSlice::new(bytes)]) {
        Err(error) if is_later(&error) => Ok(0),
        result => result,
    }
}
