//! Addresses to listen on: TCP over IPv4 and IPv6, unix sockets, and sockets that were passed.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::str::FromStr;

use super::{PassedSockets, StartError};
use crate::config::Config;
use crate::reactor::{ListeningSocket, SocketOptions};
use crate::shard::Entrance;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// IP address and port; port 0 is any free one. An IPv6 address takes IPv6 only.
    Tcp(SocketAddr),
    /// The path of a unix socket, made at the start and removed at the end.
    Unix(PathBuf),
    /// The sockets that were passed under this name ([`PassedSockets`]); a server that runs knows where they are.
    Passed(String),
}

/// Names that systemd gives are no longer.
const NAME_BYTES_MAX: usize = 255;

/// Why a text is no [`ListenAddress`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected IP:PORT, [IPv6]:PORT, unix:PATH or fd:NAME")]
pub struct ListenAddressError;

impl FromStr for ListenAddress {
    type Err = ListenAddressError;

    fn from_str(text: &str) -> Result<ListenAddress, ListenAddressError> {
        if let Some(name) = text.strip_prefix("fd:") {
            let is_name = (1..=NAME_BYTES_MAX).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
            return is_name.then(|| ListenAddress::Passed(name.to_owned())).ok_or(ListenAddressError);
        }
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
            ListenAddress::Passed(name) => write!(f, "fd:{name}"),
        }
    }
}

/// Where the admin listener is, if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// Nowhere.
    None,
    /// There.
    At(ListenAddress),
}

/// Why a text is no [`AdminAddress`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected IP:PORT, [IPv6]:PORT, unix:PATH, fd:NAME or none")]
pub struct AdminAddressError;

impl FromStr for AdminAddress {
    type Err = AdminAddressError;

    fn from_str(text: &str) -> Result<AdminAddress, AdminAddressError> {
        match text {
            "none" => Ok(AdminAddress::None),
            _ => text.parse().map(AdminAddress::At).map_err(|_| AdminAddressError),
        }
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdminAddress::None => f.write_str("none"),
            AdminAddress::At(address) => address.fmt(f),
        }
    }
}

/// Where a listener really is.
pub type BoundAddress = ListenAddress;

impl ListenAddress {
    /// Whether only this machine can reach it. Of what was passed nobody can tell by its name.
    pub fn is_local(&self) -> bool {
        match self {
            ListenAddress::Tcp(address) => address.ip().to_canonical().is_loopback(),
            ListenAddress::Unix(_) => true,
            ListenAddress::Passed(_) => false,
        }
    }
}

/// An open listener: its socket, and where it is.
#[derive(Debug)]
pub struct Listener {
    pub socket: ListeningSocket,
    pub address: BoundAddress,
    /// Proxies come over it, which say whom they speak for before anything else.
    pub proxied: bool,
}

impl Listener {
    /// Opens an address, or takes the sockets that were passed for it.
    fn open(
        address: &ListenAddress,
        options: SocketOptions,
        passed: &mut PassedSockets,
    ) -> io::Result<Vec<Listener>> {
        let sockets = match address {
            ListenAddress::Tcp(tcp) => vec![ListeningSocket::tcp(*tcp, options)?],
            ListenAddress::Unix(path) => vec![ListeningSocket::unix(path, options)?],
            ListenAddress::Passed(name) => {
                let known = passed.names();
                let sockets: Vec<OwnedFd> = passed.take(name);
                if sockets.is_empty() {
                    return Err(io::Error::other(format!("no socket of this name; {known}")));
                }
                let listening = sockets.into_iter().map(|socket| ListeningSocket::passed(socket, options));
                listening.collect::<io::Result<_>>()?
            }
        };
        Ok(sockets.into_iter().map(Listener::new).collect())
    }

    fn new(socket: ListeningSocket) -> Listener {
        let address = match socket.tcp_address() {
            Some(address) => ListenAddress::Tcp(address),
            None => ListenAddress::Unix(socket.unix_path().unwrap_or_default()),
        };
        Listener { socket, address, proxied: false }
    }

    /// The socket, and what its connections depend on.
    pub fn into_entrance(self) -> (ListeningSocket, Entrance) {
        let Listener { socket, address, proxied } = self;
        (socket, Entrance { local: address.is_local(), proxied })
    }
}

/// Opens every listener that this flag names, and takes what was passed for it.
pub fn open_all(
    flag: &'static str,
    addresses: &[ListenAddress],
    config: &Config,
    passed: &mut PassedSockets,
) -> Result<Vec<Listener>, StartError> {
    let mut listeners = Vec::new();
    for address in addresses {
        let opened = Listener::open(address, config.socket_options(), passed)
            .map_err(|error| StartError::Listen { flag, address: address.clone(), error })?;
        listeners.extend(opened);
    }
    Ok(listeners)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown() {
        for text in ["127.0.0.1:9001", "[::1]:80", "unix:/run/fanfare.sock", "0.0.0.0:0", "fd:ws"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        for wrong in
            ["", "9001", ":9001", "localhost:9001", "unix:", "1.2.3.4", "::1:80", "fd:", "fd:a:b", "fd:a b"]
        {
            assert_eq!(wrong.parse::<ListenAddress>(), Err(ListenAddressError), "{wrong}");
        }
        for text in ["none", "127.0.0.1:9002", "unix:/run/fanfare/admin", "fd:admin"] {
            assert_eq!(text.parse::<AdminAddress>().unwrap().to_string(), text);
        }
        assert_eq!("None".parse::<AdminAddress>(), Err(AdminAddressError));
    }
}
