//! [`Listen`] over TCP and unix sockets.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, Shutdown, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType, bind,
    getsockname, listen, socket_with, sockopt,
};

use super::{AcceptError, Interest, Io, Listen, PeerAddress, PollIo, PollStream};
use crate::slab::Key;

/// Connections that the kernel completes while the acceptor is busy.
const BACKLOG: i32 = 4096;

/// What accepted sockets begin with.
#[derive(Clone, Copy, Debug)]
pub struct SocketOptions {
    /// Bytes that the kernel may hold for one peer that does not read (`SO_SNDBUF`).
    pub send_buffer: usize,
    /// Bytes that the kernel may hold of what a TCP peer has sent and we have not read (`SO_RCVBUF`). A unix
    /// socket has none: what waits there counts for its sender, whose own buffer bounds it.
    pub receive_buffer: usize,
    /// How long a TCP peer may leave unacknowledged what it was sent (`TCP_USER_TIMEOUT`).
    pub user_timeout: Duration,
}

/// A listening socket. A unix socket's path is removed with it.
#[derive(Debug)]
pub struct ListeningSocket {
    /// Dropped first: once the socket is closed, another process may take the path over.
    place: Place,
    socket: OwnedFd,
}

/// Where it listens.
#[derive(Debug)]
enum Place {
    Tcp(SocketAddr),
    Unix(UnixPath),
}

#[derive(Debug)]
struct UnixPath {
    path: PathBuf,
    /// An accepted socket does not inherit it, as it does from a TCP listener.
    send_buffer: usize,
}

impl Drop for UnixPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl ListeningSocket {
    /// Listens on an address; port 0 is any free one, and an IPv6 address takes IPv6 only. Accepted sockets
    /// inherit the options, which saves a call for each of them.
    ///
    /// # Errors
    ///
    /// The operating system's: the address is in use, not ours, or not allowed.
    pub fn tcp(address: SocketAddr, options: SocketOptions) -> io::Result<ListeningSocket> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket =
            socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        if address.is_ipv6() {
            // 0.0.0.0:PORT and [::]:PORT can stand side by side.
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        sockopt::set_tcp_nodelay(&socket, true)?;
        sockopt::set_socket_send_buffer_size(&socket, options.send_buffer)?;
        // Before it listens: a handshake agrees on the scale of the window from this.
        sockopt::set_socket_recv_buffer_size(&socket, options.receive_buffer)?;
        #[cfg(target_os = "linux")]
        {
            let milliseconds = u32::try_from(options.user_timeout.as_millis()).unwrap_or(u32::MAX);
            sockopt::set_tcp_user_timeout(&socket, milliseconds)?;
        }
        bind(&socket, &address)?;
        listen(&socket, BACKLOG)?;
        let bound = SocketAddr::try_from(getsockname(&socket)?).unwrap_or(address);
        Ok(ListeningSocket { socket, place: Place::Tcp(bound) })
    }

    /// Listens on a path, which is made, or taken over from a process that is dead.
    ///
    /// # Errors
    ///
    /// The operating system's: the path is in use or cannot be made.
    pub fn unix(path: &Path, options: SocketOptions) -> io::Result<ListeningSocket> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let address = SocketAddrUnix::new(path)?;
        match bind(&socket, &address) {
            Err(Errno::ADDRINUSE) if is_stale(path) => {
                std::fs::remove_file(path)?;
                bind(&socket, &address)?;
            }
            other => other?,
        }
        let path = UnixPath { path: path.to_owned(), send_buffer: options.send_buffer };
        listen(&socket, BACKLOG)?;
        Ok(ListeningSocket { socket, place: Place::Unix(path) })
    }

    /// The address that it is bound to, with the port that was chosen; none for a unix socket.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match self.place {
            Place::Tcp(address) => Some(address),
            Place::Unix(_) => None,
        }
    }
}

/// Whether a path is a socket that a dead process left behind.
fn is_stale(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket());
    is_socket
        && UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// A listening socket that is watched.
#[derive(Debug)]
pub struct PollListener {
    /// Dropped first, as in [`ListeningSocket`].
    place: Place,
    stream: PollStream,
}

impl Listen for PollIo {
    type Listening = ListeningSocket;
    type Listener = PollListener;
    type Reserve = OwnedFd;

    fn listen(&mut self, listening: ListeningSocket, key: Key) -> io::Result<PollListener> {
        let ListeningSocket { socket, place } = listening;
        Ok(PollListener { stream: self.register(socket, key)?, place })
    }

    fn watch(&mut self, listener: &PollListener, key: Key, waiting: bool) -> io::Result<()> {
        self.set_interest(&listener.stream, key, Interest { readable: waiting, writable: false })
    }

    fn accept(&mut self, listener: &PollListener) -> Result<(OwnedFd, PeerAddress), AcceptError> {
        accept(&listener.stream, &listener.place).map_err(accept_error)
    }

    fn refuse(&mut self, socket: OwnedFd, response: &[u8]) {
        let _ = rustix::net::send(&socket, response, SendFlags::NOSIGNAL);
        let _ = rustix::net::shutdown(&socket, Shutdown::Write);
    }

    fn open_reserve(&mut self) -> io::Result<OwnedFd> {
        std::fs::File::open("/dev/null").map(OwnedFd::from)
    }
}

/// Accepts one connection: its socket, non-blocking and with its options, and the peer's address.
fn accept(listener: impl AsFd, place: &Place) -> rustix::io::Result<(OwnedFd, PeerAddress)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (socket, address) = rustix::net::acceptfrom_with(listener, flags)?;
    if let Place::Unix(unix) = place {
        sockopt::set_socket_send_buffer_size(&socket, unix.send_buffer)?;
    }
    let address = address.and_then(|address: SocketAddrAny| SocketAddr::try_from(address).ok());
    Ok((socket, address.map_or(PeerAddress::Unix, PeerAddress::from)))
}

/// What each error of accept(2) means: those of the network, of a firewall and of the connection itself are
/// over with the connection.
fn accept_error(errno: Errno) -> AcceptError {
    match errno {
        Errno::WOULDBLOCK => AcceptError::NobodyWaits,
        Errno::MFILE | Errno::NFILE => AcceptError::OutOfDescriptors,
        Errno::NOBUFS | Errno::NOMEM => AcceptError::OutOfMemory,
        Errno::BADF | Errno::FAULT | Errno::INVAL | Errno::NOTSOCK => AcceptError::Failed,
        _ => AcceptError::Aborted,
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    use std::io::Write;

    use super::*;

    #[cfg(target_os = "linux")]
    const OPTIONS: SocketOptions = SocketOptions {
        send_buffer: 20 << 10,
        receive_buffer: 24 << 10,
        user_timeout: Duration::from_secs(12),
    };

    #[test]
    #[cfg(target_os = "linux")]
    fn accepted_sockets_have_the_options_of_their_listener() {
        let options = OPTIONS;
        let listening = ListeningSocket::tcp(([127, 0, 0, 1], 0).into(), options).unwrap();
        rustix::io::ioctl_fionbio(&listening.socket, false).unwrap();
        let client = std::net::TcpStream::connect(listening.tcp_address().unwrap()).unwrap();
        let (socket, peer) = accept(&listening.socket, &listening.place).unwrap();
        assert_eq!(peer, PeerAddress::from(client.local_addr().unwrap()));
        assert!(sockopt::tcp_nodelay(&socket).unwrap());
        assert_eq!(sockopt::socket_send_buffer_size(&socket).unwrap(), 2 * options.send_buffer);
        assert_eq!(sockopt::socket_recv_buffer_size(&socket).unwrap(), 2 * options.receive_buffer);
        assert_eq!(sockopt::tcp_user_timeout(&socket).unwrap(), 12_000);
        assert!(rustix::io::fcntl_getfd(&socket).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        assert!(rustix::fs::fcntl_getfl(&socket).unwrap().contains(rustix::fs::OFlags::NONBLOCK));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_the_kernel_holds_for_a_unix_socket_is_bounded_too() {
        let path = std::env::temp_dir().join(format!("fanfare-listen-{}.sock", std::process::id()));
        let options = OPTIONS;
        let listening = ListeningSocket::unix(&path, options).unwrap();
        let mut client = UnixStream::connect(&path).unwrap();
        let (socket, peer) = accept(&listening.socket, &listening.place).unwrap();
        assert_eq!(peer, PeerAddress::Unix);
        assert_eq!(sockopt::socket_send_buffer_size(&socket).unwrap(), 2 * options.send_buffer);
        // What waits to be read counts for who has sent it.
        client.set_nonblocking(true).unwrap();
        let full = client.write_all(&[0; 16 << 20]).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        let waiting = rustix::io::ioctl_fionread(&socket).unwrap() as usize;
        let senders = sockopt::socket_send_buffer_size(&client).unwrap();
        // The last packet may go beyond the mark.
        assert!(waiting > 0 && waiting <= senders + (64 << 10), "{waiting} wait, {senders} are the sender's");
        drop(listening);
        assert!(!path.exists());
    }

    #[test]
    fn what_dies_while_it_waits_is_passed_over_and_what_we_lack_is_not() {
        for errno in [Errno::CONNABORTED, Errno::INTR, Errno::PERM, Errno::HOSTUNREACH, Errno::PROTO] {
            assert_eq!(accept_error(errno), AcceptError::Aborted, "{errno}");
        }
        for errno in [Errno::MFILE, Errno::NFILE] {
            assert_eq!(accept_error(errno), AcceptError::OutOfDescriptors, "{errno}");
        }
        for errno in [Errno::NOBUFS, Errno::NOMEM] {
            assert_eq!(accept_error(errno), AcceptError::OutOfMemory, "{errno}");
        }
        assert_eq!(accept_error(Errno::AGAIN), AcceptError::NobodyWaits);
        assert_eq!(accept_error(Errno::BADF), AcceptError::Failed);
    }
}
