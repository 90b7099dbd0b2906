//! What the acceptor asks of the operating system, as a trait.

use std::io;
use std::time::Duration;

use super::{Io, PeerAddress};
use crate::slab::Key;

/// What accepted sockets begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Bytes that the kernel may hold for one peer that does not read (`SO_SNDBUF`).
    pub send_buffer: usize,
    /// Bytes that the kernel may hold of what a TCP peer has sent and we have not read (`SO_RCVBUF`). A unix
    /// socket has none: what waits there counts for its sender, whose own buffer bounds it.
    pub receive_buffer: usize,
    /// How long a TCP peer may leave unacknowledged what it was sent (`TCP_USER_TIMEOUT`).
    pub user_timeout: Duration,
}

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

    /// Has the sockets that connect from now on begin with other options.
    ///
    /// # Errors
    ///
    /// The operating system's; some of the options may be in force then.
    fn set_options(&mut self, listener: &mut Self::Listener, options: SocketOptions) -> io::Result<()>;

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
