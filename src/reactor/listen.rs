//! What the acceptor asks of the operating system, as a trait.

use std::io;

use super::{Io, PeerAddress};
use crate::slab::Key;

/// Listening sockets, as the acceptor sees them, beside the readiness and the time of [`Io`]. No call
/// blocks.
pub trait Listen: Io {
    /// A listening socket that nobody watches yet.
    type Listening: Send;
    /// A listening socket that is watched. It is closed when it is dropped.
    type Listener;
    /// Any descriptor, held so that there is one for a moment when no other is left. It is free again when
    /// this is dropped.
    type Reserve;

    /// Starts to watch a listening socket, under `key`, for connections that wait.
    ///
    /// # Errors
    ///
    /// The operating system's, mostly for want of memory; the socket is closed then.
    fn listen(&mut self, listening: Self::Listening, key: Key) -> io::Result<Self::Listener>;

    /// Watches for connections that wait, or lets them wait.
    ///
    /// # Errors
    ///
    /// The operating system's; the listener is of no use then.
    fn watch(&mut self, listener: &Self::Listener, key: Key, waiting: bool) -> io::Result<()>;

    /// Takes in the connection that has waited longest.
    ///
    /// # Errors
    ///
    /// [`AcceptError`] says what to make of it.
    fn accept(&mut self, listener: &Self::Listener) -> Result<(Self::Socket, PeerAddress), AcceptError>;

    /// Sends what the kernel takes at once of a response, and closes the connection: the last resort, where
    /// there is no place to do it in order. The peer may lose the response to a reset.
    fn refuse(&mut self, socket: Self::Socket, response: &[u8]);

    /// Takes a descriptor out of use.
    ///
    /// # Errors
    ///
    /// When none is left.
    fn open_reserve(&mut self) -> io::Result<Self::Reserve>;
}

/// Why no connection was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptError {
    /// Nobody waits.
    NobodyWaits,
    /// This process or the machine has no descriptor left. It is found out before it is looked whether
    /// anybody waits.
    OutOfDescriptors,
    /// The kernel has no memory for another socket.
    OutOfMemory,
    /// The connection died while it waited, or the call was interrupted: the next one may do.
    Aborted,
    /// Anything else: the listener is at fault, and trying again at once would fail again.
    Failed,
}
