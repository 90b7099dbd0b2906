//! [`Listen`] over TCP and unix sockets.

use std::cell::Cell;
use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::io::{Errno, FdFlags};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType,
    bind, getsockname, listen, socket_with, sockopt,
};

use super::{AcceptError, Interest, Io, Listen, PeerAddress, PollIo, PollStream, SocketOptions};
use crate::slab::Key;

/// Connections that the kernel completes while the acceptor is busy.
const BACKLOG: i32 = 4096;

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
    PassedTcp(PassedTcp),
    PassedUnix(PassedUnix),
}

/// A TCP listener that another process has opened.
#[derive(Debug)]
struct PassedTcp {
    address: SocketAddr,
    options: SocketOptions,
    /// Whoever waits may have come before the listener had our options. When nobody does, that is over.
    is_before_options: Cell<bool>,
}

/// A unix listener that another process has opened, and whose path is that one's.
#[derive(Debug)]
struct PassedUnix {
    path: PathBuf,
    send_buffer: usize,
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
        // Before it listens: a handshake agrees on the scale of the window from this.
        set_tcp_options(&socket, options)?;
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

    /// Takes a socket over that listens already, with how many may wait there.
    ///
    /// # Errors
    ///
    /// It is no socket, does not listen, or is neither TCP nor unix.
    pub fn passed(socket: OwnedFd, options: SocketOptions) -> io::Result<ListeningSocket> {
        let is_stream = sockopt::socket_type(&socket)? == SocketType::STREAM;
        if !is_stream || !sockopt::socket_acceptconn(&socket)? {
            return Err(io::Error::other("the passed socket is no stream socket that listens"));
        }
        rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        let address = getsockname(&socket)?;
        let place = match address.address_family() {
            AddressFamily::INET | AddressFamily::INET6 => {
                set_tcp_options(&socket, options)?;
                let address = SocketAddr::try_from(address)?;
                Place::PassedTcp(PassedTcp { address, options, is_before_options: Cell::new(true) })
            }
            AddressFamily::UNIX => {
                let path = unix_path(&SocketAddrUnix::try_from(address)?);
                Place::PassedUnix(PassedUnix { path, send_buffer: options.send_buffer })
            }
            _ => return Err(io::Error::other("the passed socket is neither TCP nor unix")),
        };
        Ok(ListeningSocket { socket, place })
    }

    /// The address that it is bound to, with the port that was chosen; none for a unix socket.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match &self.place {
            Place::Tcp(address) | Place::PassedTcp(PassedTcp { address, .. }) => Some(*address),
            Place::Unix(_) | Place::PassedUnix(_) => None,
        }
    }

    /// The path of a unix socket, an abstract name as `@name`.
    pub fn unix_path(&self) -> Option<PathBuf> {
        match &self.place {
            Place::Unix(UnixPath { path, .. }) | Place::PassedUnix(PassedUnix { path, .. }) => {
                Some(path.clone())
            }
            Place::Tcp(_) | Place::PassedTcp(_) => None,
        }
    }
}

/// What a TCP listener hands down to those that it accepts, or such a one itself.
fn set_tcp_options(socket: impl AsFd, options: SocketOptions) -> rustix::io::Result<()> {
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_socket_send_buffer_size(&socket, options.send_buffer)?;
    sockopt::set_socket_recv_buffer_size(&socket, options.receive_buffer)?;
    #[cfg(target_os = "linux")]
    {
        let milliseconds = u32::try_from(options.user_timeout.as_millis()).unwrap_or(u32::MAX);
        sockopt::set_tcp_user_timeout(&socket, milliseconds)?;
    }
    Ok(())
}

fn unix_path(address: &SocketAddrUnix) -> PathBuf {
    #[cfg(target_os = "linux")]
    if let Some(name) = address.abstract_name() {
        return OsStr::from_bytes(&[b"@", name].concat()).into();
    }
    OsStr::from_bytes(address.path_bytes().unwrap_or_default()).into()
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

/// A request head as it is by default at most.
const UNREAD_BYTES: usize = 8 << 10;

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

    fn set_options(&mut self, listener: &mut PollListener, options: SocketOptions) -> io::Result<()> {
        match &mut listener.place {
            Place::Tcp(_) => set_tcp_options(&listener.stream, options)?,
            Place::PassedTcp(passed) => {
                passed.options = options;
                set_tcp_options(&listener.stream, options)?;
            }
            Place::Unix(UnixPath { send_buffer, .. }) | Place::PassedUnix(PassedUnix { send_buffer, .. }) => {
                *send_buffer = options.send_buffer;
            }
        }
        Ok(())
    }

    fn accept(&mut self, listener: &PollListener) -> Result<(OwnedFd, PeerAddress), AcceptError> {
        accept(&listener.stream, &listener.place).map_err(accept_error)
    }

    fn refuse(&mut self, socket: OwnedFd, response: &[u8]) {
        let _ = rustix::net::send(&socket, response, SendFlags::NOSIGNAL);
        let _ = rustix::net::shutdown(&socket, Shutdown::Write);
        // A request that is there already, and that nobody has read, would make the close a reset, which may
        // overtake the response.
        let _ = rustix::net::recv(&socket, &mut [0; UNREAD_BYTES], RecvFlags::DONTWAIT);
    }

    fn open_reserve(&mut self) -> io::Result<OwnedFd> {
        std::fs::File::open("/dev/null").map(OwnedFd::from)
    }
}

/// Accepts one connection: its socket, non-blocking and with its options, and the peer's address.
fn accept(listener: impl AsFd, place: &Place) -> rustix::io::Result<(OwnedFd, PeerAddress)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let accepted = rustix::net::acceptfrom_with(listener, flags);
    if let (Place::PassedTcp(passed), Err(Errno::WOULDBLOCK)) = (place, &accepted) {
        passed.is_before_options.set(false);
    }
    let (socket, address) = accepted?;
    match place {
        Place::Unix(UnixPath { send_buffer, .. }) | Place::PassedUnix(PassedUnix { send_buffer, .. }) => {
            sockopt::set_socket_send_buffer_size(&socket, *send_buffer)?;
        }
        Place::PassedTcp(passed) if passed.is_before_options.get() => {
            set_tcp_options(&socket, passed.options)?;
        }
        Place::PassedTcp(_) | Place::Tcp(_) => {}
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
    #[cfg(target_os = "linux")]
    use std::time::Duration;

    use super::*;

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
    fn who_connects_after_a_change_of_options_begins_with_those() {
        let options = SocketOptions {
            send_buffer: 2 * OPTIONS.send_buffer,
            receive_buffer: 2 * OPTIONS.receive_buffer,
            user_timeout: Duration::from_secs(7),
        };
        let own = ListeningSocket::tcp(([127, 0, 0, 1], 0).into(), OPTIONS).unwrap();
        let passed = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let passed = ListeningSocket::passed(passed.into(), OPTIONS).unwrap();
        let mut io = PollIo::new(crate::reactor::MonotonicClock::start()).unwrap();
        let mut keys = crate::slab::Slab::default();
        for listening in [own, passed] {
            let address = listening.tcp_address().unwrap();
            let mut listener = io.listen(listening, keys.insert(())).unwrap();
            io.set_options(&mut listener, options).unwrap();
            let _client = std::net::TcpStream::connect(address).unwrap();
            let (socket, _) = io.accept(&listener).unwrap();
            assert_eq!(sockopt::socket_send_buffer_size(&socket).unwrap(), 2 * options.send_buffer);
            assert_eq!(sockopt::socket_recv_buffer_size(&socket).unwrap(), 2 * options.receive_buffer);
            assert_eq!(sockopt::tcp_user_timeout(&socket).unwrap(), 7_000);
        }
        let path = std::env::temp_dir().join(format!("fanfare-options-{}.sock", std::process::id()));
        let unix = ListeningSocket::unix(&path, OPTIONS).unwrap();
        let mut listener = io.listen(unix, keys.insert(())).unwrap();
        io.set_options(&mut listener, options).unwrap();
        let _client = UnixStream::connect(&path).unwrap();
        let (socket, _) = io.accept(&listener).unwrap();
        assert_eq!(sockopt::socket_send_buffer_size(&socket).unwrap(), 2 * options.send_buffer);
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
    #[cfg(target_os = "linux")]
    fn passed_tcp_sockets_have_the_options_whether_they_came_before_them_or_behind() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let before = std::net::TcpStream::connect(address).unwrap();
        let listening = ListeningSocket::passed(listener.into(), OPTIONS).unwrap();
        assert_eq!(listening.tcp_address(), Some(address));
        assert!(rustix::io::fcntl_getfd(&listening.socket).unwrap().contains(FdFlags::CLOEXEC));
        let (first, peer) = accept(&listening.socket, &listening.place).unwrap();
        assert_eq!(peer, PeerAddress::from(before.local_addr().unwrap()));
        let nobody = accept(&listening.socket, &listening.place).unwrap_err();
        assert_eq!(nobody, Errno::WOULDBLOCK, "it does not block");
        let Place::PassedTcp(passed) = &listening.place else { panic!("it was passed") };
        assert!(!passed.is_before_options.get());
        let _behind = std::net::TcpStream::connect(address).unwrap();
        let (second, _) = accept(&listening.socket, &listening.place).unwrap();
        for socket in [&first, &second] {
            assert!(sockopt::tcp_nodelay(socket).unwrap());
            assert_eq!(sockopt::socket_send_buffer_size(socket).unwrap(), 2 * OPTIONS.send_buffer);
            assert_eq!(sockopt::socket_recv_buffer_size(socket).unwrap(), 2 * OPTIONS.receive_buffer);
            assert_eq!(sockopt::tcp_user_timeout(socket).unwrap(), 12_000);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_passed_unix_socket_bounds_its_buffers_and_leaves_the_path_to_its_owner() {
        let path = std::env::temp_dir().join(format!("fanfare-passed-{}.sock", std::process::id()));
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let listening = ListeningSocket::passed(listener.into(), OPTIONS).unwrap();
        assert_eq!(listening.unix_path(), Some(path.clone()));
        let _client = UnixStream::connect(&path).unwrap();
        let (socket, peer) = accept(&listening.socket, &listening.place).unwrap();
        assert_eq!(peer, PeerAddress::Unix);
        assert_eq!(sockopt::socket_send_buffer_size(&socket).unwrap(), 2 * OPTIONS.send_buffer);
        drop(listening);
        std::fs::remove_file(&path).expect("it is still there");
    }

    #[test]
    fn what_does_not_listen_is_not_taken_over() {
        let (stream, _other) = UnixStream::pair().unwrap();
        let datagrams = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        for (socket, why) in [
            (OwnedFd::from(stream), "that listens"),
            (OwnedFd::from(datagrams), "that listens"),
            (OwnedFd::from(file), "ocket"),
        ] {
            let error = ListeningSocket::passed(socket, OPTIONS).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
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
