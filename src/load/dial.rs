//! Opening one connection: the socket, and the request that makes it a WebSocket.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};

use fanfare::protocol::{ClientHandshake, HandshakeError};

use super::args::Header;
use super::target::Target;

/// Characters of a refusal that are shown.
const SHOWN_CHARS_MAX: usize = 300;

/// A socket on its way to `address`, not blocking, and whether it is there already.
///
/// # Errors
///
/// The operating system's.
pub fn open(address: SocketAddr, source: Option<IpAddr>) -> io::Result<(OwnedFd, bool)> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    if let Some(source) = source {
        bind(&socket, &SocketAddr::new(source, 0))?;
    }
    match connect(&socket, &address) {
        Ok(()) => Ok((socket, true)),
        Err(Errno::INPROGRESS) => Ok((socket, false)),
        Err(error) => Err(error.into()),
    }
}

/// Why a connection could not be made, and what may help.
pub fn explain(target: &Target, source: Option<IpAddr>, error: &io::Error) -> String {
    let from = source.map(|source| format!(" from {source}")).unwrap_or_default();
    let advice = match Errno::from_io_error(error) {
        Some(Errno::CONNREFUSED) => "; is the server running there?",
        Some(Errno::ADDRNOTAVAIL) if source.is_some() => {
            "; the address is not of this machine, or has no port left: more --source addresses have more \
             (127.0.0.0/24), and a port is free again a minute after its connection"
        }
        Some(Errno::ADDRNOTAVAIL) | Some(Errno::ADDRINUSE) => {
            "; no port is left for another connection to this server: --source 127.0.0.0/24 has more, and a port \
             is free again a minute after its connection"
        }
        Some(Errno::MFILE | Errno::NFILE) => "; more descriptors are needed (ulimit -n)",
        _ => "",
    };
    format!("{}: cannot connect{from} to {}: {error}{advice}", target.url, target.address)
}

/// The opening handshake with a target.
pub fn handshake(target: &Target, headers: &[Header], key: [u8; 16]) -> ClientHandshake {
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|header| (header.name.as_str(), header.value.as_str())).collect();
    ClientHandshake::new(target.authority(), target.path(), key, &[], &headers)
}

/// Why the server did not accept: the kind of cause, and what it says itself in `answer`.
pub fn refusal(error: &HandshakeError, answer: &[u8]) -> (String, String) {
    let kind = match error {
        HandshakeError::Status(status) => format!("refused with HTTP status {status}"),
        _ => format!("no WebSocket: {error}"),
    };
    let body = answer.windows(4).position(|end| end == b"\r\n\r\n").map_or(&[][..], |at| &answer[at + 4..]);
    let says = String::from_utf8_lossy(body)
        .trim()
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .take(SHOWN_CHARS_MAX)
        .collect();
    (kind, says)
}

/// Whether the same server may accept later: it says itself that it has no room now.
pub fn may_mend(error: &HandshakeError) -> bool {
    matches!(error, HandshakeError::Status(429 | 503))
}

/// The same where nothing can go on without this connection.
pub fn explain_refusal(target: &Target, error: &HandshakeError, says: &str) -> String {
    let says = if says.is_empty() { String::new() } else { format!("; it says: {says}") };
    format!("{}: no WebSocket: {error}{says}", target.url)
}
