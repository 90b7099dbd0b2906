//! What a shard asks of the operating system, as a trait.

use std::io::{self, IoSlice};
use std::time::Duration;

use crate::slab::Key;
use crate::time::Time;

/// What a stream is watched for. Readiness is level-triggered: it is reported again while it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Report bytes to read, and the peer's end of stream.
    pub readable: bool,
    /// Report room in the send buffer.
    pub writable: bool,
}

/// One report of readiness: a hint, never a promise of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The stream's key, as registered. It may be stale.
    pub key: Key,
    /// A receive may give bytes, end of stream or an error.
    pub readable: bool,
    /// A send may take bytes.
    pub writable: bool,
    /// Both directions are gone; reported even without any interest.
    pub hung_up: bool,
}

/// A wait that reports at least so many streams may have left others for the next one, where those come first.
pub const READY_PER_WAIT: usize = 1024;

/// Sockets, readiness and time, as one shard sees them. No call blocks but [`Io::wait`].
pub trait Io {
    /// A connected socket on its way from the acceptor to its shard.
    type Socket: Send;
    /// A socket that this shard watches.
    type Stream;

    /// The monotonic time now. A shard asks when a turn begins and when it has ended.
    fn now(&self) -> Time;

    /// The time since 1970-01-01T00:00:00Z, for what others read; it may jump.
    fn unix_time(&self) -> Duration;

    /// Starts to watch a socket for readability under `key`.
    ///
    /// # Errors
    ///
    /// The operating system's, mostly for want of memory; the socket is closed then.
    fn register(&mut self, socket: Self::Socket, key: Key) -> io::Result<Self::Stream>;

    /// Changes what a stream is watched for.
    ///
    /// # Errors
    ///
    /// The operating system's; the stream is of no use then.
    fn set_interest(&mut self, stream: &Self::Stream, key: Key, interest: Interest) -> io::Result<()>;

    /// Reads what has arrived; 0 is the peer's end of stream.
    ///
    /// # Errors
    ///
    /// `WouldBlock` and `Interrupted` mean "later"; all others end the connection.
    fn receive(&mut self, stream: &Self::Stream, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes from the slices in order, and says how many bytes the kernel took.
    ///
    /// # Errors
    ///
    /// `WouldBlock` and `Interrupted` mean "later"; all others end the connection.
    fn send(&mut self, stream: &Self::Stream, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Sends the same to many streams, each of which stands there once. Tells `cut`, in any order, of which of them the
    /// kernel did not take everything: its place, and what [`Io::send`] would have said.
    fn send_each<'a>(
        &mut self,
        slices: &[IoSlice<'_>],
        streams: impl Iterator<Item = &'a Self::Stream>,
        mut cut: impl FnMut(usize, io::Result<usize>),
    ) where
        Self::Stream: 'a,
    {
        let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        for (at, stream) in streams.enumerate() {
            match self.send(stream, slices) {
                Ok(sent) if sent == bytes => {}
                sent => cut(at, sent),
            }
        }
    }

    /// Tells the peer that nothing more will be sent. Errors only say that it is gone already.
    fn shutdown_write(&mut self, stream: &Self::Stream);

    /// Stops watching the stream and closes it.
    fn close(&mut self, stream: Self::Stream);

    /// Waits for readiness, a wake-up or the deadline, and fills `ready` anew. A deadline that has
    /// passed makes it a poll. What it leaves out for want of room ([`READY_PER_WAIT`]) is the first of the
    /// next one.
    ///
    /// # Errors
    ///
    /// Only for a fault of our own; the shard cannot go on then.
    fn wait(&mut self, ready: &mut Vec<Ready>, deadline: Option<Time>) -> io::Result<()>;
}

/// Ends another thread's [`Io::wait`], the current one or the next. Wake-ups before it coalesce, and one
/// that comes as a wait returns may end no other: whoever is woken looks for everything after every wait.
pub trait Wake: Send + Sync {
    /// Wakes it.
    fn wake(&self);
}
