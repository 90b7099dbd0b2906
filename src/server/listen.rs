//! Addresses to listen on: TCP over IPv4 and IPv6, and unix sockets.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::net::{
    AddressFamily, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType, bind, getsockname, listen,
    socket_with, sockopt,
};

use super::StartError;
use crate::config::Config;

/// Connections that the kernel completes while the acceptor is busy.
const BACKLOG: i32 = 4096;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// IP address and port; port 0 is any free one. An IPv6 address takes IPv6 only.
    Tcp(SocketAddr),
    /// The path of a unix socket, made at the start and removed at the end.
    Unix(PathBuf),
}

/// Why a text is no [`ListenAddress`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected IP:PORT, [IPv6]:PORT or unix:PATH")]
pub struct ListenAddressError;

impl FromStr for ListenAddress {
    type Err = ListenAddressError;

    fn from_str(text: &str) -> Result<ListenAddress, ListenAddressError> {
        match text.strip_prefix("unix:") {
            Some("") => Err(ListenAddressError),
            Some(path) => Ok(ListenAddress::Unix(path.into())),
            None => text.parse().map(ListenAddress::Tcp).map_err(|_| ListenAddressError),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => address.fmt(f),
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display().to_string().escape_debug()),
        }
    }
}

/// Where a listener really is.
pub type BoundAddress = ListenAddress;

impl ListenAddress {
    /// Whether only this machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            ListenAddress::Tcp(address) => address.ip().to_canonical().is_loopback(),
            ListenAddress::Unix(_) => true,
        }
    }
}

/// An open listener. A unix socket's path is removed with it.
#[derive(Debug)]
pub struct Listener {
    socket: Option<OwnedFd>,
    address: BoundAddress,
}

impl Listener {
    /// Where it is.
    pub fn address(&self) -> &BoundAddress {
        &self.address
    }

    /// Takes the socket out, to be watched.
    pub fn take_socket(&mut self) -> Option<OwnedFd> {
        self.socket.take()
    }

    fn open(address: &ListenAddress, config: &Config) -> io::Result<Listener> {
        match address {
            ListenAddress::Tcp(tcp) => Listener::open_tcp(*tcp, config),
            ListenAddress::Unix(path) => Listener::open_unix(path),
        }
    }

    /// Accepted sockets inherit the options, which saves a call for each of them.
    fn open_tcp(address: SocketAddr, config: &Config) -> io::Result<Listener> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket =
            socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        if address.is_ipv6() {
            // 0.0.0.0:PORT and [::]:PORT can stand side by side.
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        sockopt::set_tcp_nodelay(&socket, true)?;
        sockopt::set_socket_send_buffer_size(&socket, config.send_buffer)?;
        #[cfg(target_os = "linux")]
        {
            sockopt::set_tcp_user_timeout(&socket, user_timeout_milliseconds(config))?;
        }
        bind(&socket, &address)?;
        listen(&socket, BACKLOG)?;
        let bound = match SocketAddr::try_from(getsockname(&socket)?) {
            Ok(bound) => bound,
            Err(_) => address,
        };
        Ok(Listener { socket: Some(socket), address: ListenAddress::Tcp(bound) })
    }

    fn open_unix(path: &Path) -> io::Result<Listener> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let address = SocketAddrUnix::new(path)?;
        match bind(&socket, &address) {
            Err(rustix::io::Errno::ADDRINUSE) if is_stale(path) => {
                std::fs::remove_file(path)?;
                bind(&socket, &address)?;
            }
            other => other?,
        }
        listen(&socket, BACKLOG)?;
        Ok(Listener { socket: Some(socket), address: ListenAddress::Unix(path.to_owned()) })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let ListenAddress::Unix(path) = &self.address {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// For what only the kernel knows of. Later than our own deadline with the time of its Close, or the
/// kernel could cut a slow consumer first, without the Close and with a cause that misleads.
#[cfg(target_os = "linux")]
fn user_timeout_milliseconds(config: &Config) -> u32 {
    let timeout = config.write_timeout + config.close_timeout;
    u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX)
}

/// Whether a path is a socket that a dead process left behind.
fn is_stale(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket());
    is_socket
        && UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Opens every listener of a configuration.
pub fn open_all(config: &Config) -> Result<Vec<Listener>, StartError> {
    let open = |address: &ListenAddress| {
        Listener::open(address, config)
            .map_err(|error| StartError::Listen { address: address.clone(), error })
    };
    config.listen.iter().map(open).collect()
}

/// Accepts one connection: its socket, non-blocking, and the peer's address if it has one. A unix socket
/// does not inherit the bound on what the kernel holds for it.
pub fn accept(
    listener: impl std::os::fd::AsFd,
    send_buffer: usize,
) -> rustix::io::Result<(OwnedFd, Option<SocketAddr>)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (socket, address) = rustix::net::acceptfrom_with(listener, flags)?;
    let address = address.and_then(|address: SocketAddrAny| SocketAddr::try_from(address).ok());
    if address.is_none() {
        sockopt::set_socket_send_buffer_size(&socket, send_buffer)?;
    }
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn accepted_sockets_have_the_options_of_their_listener() {
        let config = Config { listen: vec!["127.0.0.1:0".parse().unwrap()], ..Config::default() };
        let listeners = open_all(&config).unwrap();
        let ListenAddress::Tcp(address) = listeners[0].address() else { panic!("TCP") };
        let listener = listeners[0].socket.as_ref().unwrap();
        rustix::io::ioctl_fionbio(listener, false).unwrap();
        let _client = std::net::TcpStream::connect(address).unwrap();
        let (socket, peer) = accept(listener, config.send_buffer).unwrap();
        assert_eq!(peer.map(|peer| peer.ip()), Some(address.ip()));
        assert!(sockopt::tcp_nodelay(&socket).unwrap());
        assert_eq!(sockopt::socket_send_buffer_size(&socket).unwrap(), 2 * config.send_buffer);
        assert_eq!(sockopt::tcp_user_timeout(&socket).unwrap(), 12_000, "10 s and 2 s for the Close");
        assert!(rustix::io::fcntl_getfd(&socket).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        assert!(rustix::fs::fcntl_getfl(&socket).unwrap().contains(rustix::fs::OFlags::NONBLOCK));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_the_kernel_holds_for_a_unix_socket_is_bounded_too() {
        let path = std::env::temp_dir().join(format!("fanfare-listen-{}.sock", std::process::id()));
        let send_buffer = 20 << 10;
        let listen = vec![ListenAddress::Unix(path.clone())];
        let listeners = open_all(&Config { listen, send_buffer, ..Config::default() }).unwrap();
        let _client = UnixStream::connect(&path).unwrap();
        let (socket, peer) = accept(listeners[0].socket.as_ref().unwrap(), send_buffer).unwrap();
        assert_eq!(peer, None);
        assert_eq!(sockopt::socket_send_buffer_size(&socket).unwrap(), 2 * send_buffer);
    }

    #[test]
    fn addresses_are_read_and_shown() {
        for text in ["127.0.0.1:9001", "[::1]:80", "unix:/run/fanfare.sock", "0.0.0.0:0"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        for wrong in ["", "9001", ":9001", "localhost:9001", "unix:", "1.2.3.4", "::1:80"] {
            assert_eq!(wrong.parse::<ListenAddress>(), Err(ListenAddressError), "{wrong}");
        }
    }
}
