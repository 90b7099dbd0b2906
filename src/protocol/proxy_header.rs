//! The header that a proxy puts before a connection, in either version of the PROXY protocol (HAProxy's
//! `proxy-protocol.txt`, 2020-03-05): who is at the other end of it.
//!
//! Says what is there. Whether a header is expected is for the connection, whether it is believed for others.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

#[cfg(test)]
mod tests;

/// What the line of version 1 begins with (§2.1).
const LINE_START: &[u8] = b"PROXY ";
/// A line of version 1 with its CRLF (§2.1).
const LINE_BYTES_MAX: usize = 107;
/// What version 2 begins with (§2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, the command, the family and the length of the rest (§2.2).
const FIXED_BYTES: usize = 16;

/// Who a PROXY header says is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxySource {
    /// The proxy itself (`LOCAL`), or somebody without an address of IP (`UNKNOWN`, unix sockets): the transport's
    /// own peer stands for them.
    Proxy,
    /// This client.
    Client(SocketAddr),
}

/// Why a connection does not begin with a PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProxyHeaderError {
    /// It begins with something else.
    #[error(
        "a PROXY header of version 1 or 2 is expected here (--listen-proxy); the connection begins without one"
    )]
    Missing,
    /// The line of version 1 does not end.
    #[error("the PROXY line has more than {LINE_BYTES_MAX} bytes; {LINE_BYTES_MAX} are allowed")]
    LineTooLong,
    /// The line of version 1 has other parts than it may have.
    #[error(
        "the PROXY line is malformed; TCP4 or TCP6 with two addresses and two ports is allowed, or UNKNOWN"
    )]
    Line,
    /// The version or the command of version 2.
    #[error("the PROXY header has version and command {0:#04x}; 0x20 and 0x21 are allowed")]
    Command(u8),
    /// The address family and the transport of version 2.
    #[error(
        "the PROXY header has family and transport {0:#04x}; 0x00, 0x11, 0x12, 0x21, 0x22, 0x31 and 0x32 are allowed"
    )]
    Family(u8),
    /// The length of version 2 has no room for the addresses.
    #[error("the PROXY header announces {bytes} bytes; its addresses take {needed}")]
    TooShort {
        /// Bytes announced.
        bytes: usize,
        /// Bytes of the addresses of its family.
        needed: usize,
    },
    /// The header is longer than a request head may be.
    #[error("the PROXY header has {bytes} bytes; {limit} are allowed (--max-head)")]
    TooLong {
        /// All of its bytes.
        bytes: usize,
        /// How many it may have.
        limit: usize,
    },
}

/// Reads one header, however it is split. What follows the addresses is passed over and not kept.
#[derive(Debug, Default)]
pub(super) struct ProxyHeader {
    /// The first bytes, with the addresses.
    kept: Vec<u8>,
    received: usize,
}

impl ProxyHeader {
    /// Takes the next bytes. Once the header is whole, says how many of them belong to it, and who it names.
    pub(super) fn receive(
        &mut self,
        bytes: &[u8],
        bytes_max: usize,
    ) -> Result<Option<(usize, ProxySource)>, ProxyHeaderError> {
        for (at, byte) in bytes.iter().enumerate() {
            if let Some(source) = self.push(*byte, bytes_max)? {
                return Ok(Some((at + 1, source)));
            }
        }
        Ok(None)
    }

    /// Whether none of it has come.
    pub(super) fn is_untouched(&self) -> bool {
        self.received == 0
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.kept.capacity()
    }

    fn push(&mut self, byte: u8, bytes_max: usize) -> Result<Option<ProxySource>, ProxyHeaderError> {
        self.received += 1;
        if self.kept.len() < LINE_BYTES_MAX {
            self.kept.push(byte);
        }
        if begins(&self.kept, LINE_START) {
            self.line_step(byte)
        } else if begins(&self.kept, SIGNATURE) {
            self.binary_step(bytes_max)
        } else {
            Err(ProxyHeaderError::Missing)
        }
    }

    fn line_step(&self, byte: u8) -> Result<Option<ProxySource>, ProxyHeaderError> {
        if self.kept.len() < LINE_START.len() {
            return Ok(None);
        }
        if byte == b'\n' {
            return parse_line(&self.kept).map(Some).ok_or(ProxyHeaderError::Line);
        }
        if self.kept.len() == LINE_BYTES_MAX { Err(ProxyHeaderError::LineTooLong) } else { Ok(None) }
    }

    fn binary_step(&self, bytes_max: usize) -> Result<Option<ProxySource>, ProxyHeaderError> {
        let Some(fixed) = self.kept.first_chunk::<FIXED_BYTES>() else { return Ok(None) };
        let [.., command, family, high, low] = *fixed;
        let rest = usize::from(u16::from_be_bytes([high, low]));
        if self.received == FIXED_BYTES {
            check_fixed(command, family, rest)?;
            let bytes = FIXED_BYTES + rest;
            if bytes > bytes_max {
                return Err(ProxyHeaderError::TooLong { bytes, limit: bytes_max });
            }
        }
        if self.received < FIXED_BYTES + rest {
            return Ok(None);
        }
        let addresses = &self.kept[FIXED_BYTES..];
        let client = if command == PROXY { client(family, addresses) } else { None };
        Ok(Some(client.map_or(ProxySource::Proxy, ProxySource::Client)))
    }
}

/// Whether one of the two begins with the other.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    let common = bytes.len().min(with.len());
    bytes[..common] == with[..common]
}

/// Version 2 and the connection is the proxy's own (§2.2).
const LOCAL: u8 = 0x20;
/// Version 2 and the connection is somebody's.
const PROXY: u8 = 0x21;

/// Bytes of both addresses with their ports, of a family that there is (§2.2).
fn address_bytes(family: u8) -> Option<usize> {
    match family {
        0x00 => Some(0),
        0x11 | 0x12 => Some(12),
        0x21 | 0x22 => Some(36),
        0x31 | 0x32 => Some(216),
        _ => None,
    }
}

fn check_fixed(command: u8, family: u8, bytes: usize) -> Result<(), ProxyHeaderError> {
    match command {
        // All the rest of it is to be ignored, even the family.
        LOCAL => return Ok(()),
        PROXY => {}
        _ => return Err(ProxyHeaderError::Command(command)),
    }
    let needed = address_bytes(family).ok_or(ProxyHeaderError::Family(family))?;
    if bytes < needed { Err(ProxyHeaderError::TooShort { bytes, needed }) } else { Ok(()) }
}

/// The source among the addresses, if the family is one of IP.
fn client(family: u8, addresses: &[u8]) -> Option<SocketAddr> {
    let port = |at: usize| addresses.get(at..)?.first_chunk().copied().map(u16::from_be_bytes);
    match family {
        0x11 | 0x12 => {
            let four = *addresses.first_chunk::<4>()?;
            Some(SocketAddr::new(Ipv4Addr::from(four).into(), port(8)?))
        }
        0x21 | 0x22 => {
            let six = *addresses.first_chunk::<16>()?;
            Some(SocketAddr::new(Ipv6Addr::from(six).into(), port(32)?))
        }
        _ => None,
    }
}

/// What a whole line says (§2.1).
fn parse_line(line: &[u8]) -> Option<ProxySource> {
    let text = line.strip_prefix(LINE_START)?.strip_suffix(b"\r\n")?;
    if text == b"UNKNOWN" || text.starts_with(b"UNKNOWN ") {
        return Some(ProxySource::Proxy);
    }
    let mut parts = std::str::from_utf8(text).ok()?.split(' ');
    let parse: fn(&str) -> Option<IpAddr> = match parts.next()? {
        "TCP4" => |text| text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => |text| text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => return None,
    };
    let (source, _) = (parse(parts.next()?)?, parse(parts.next()?)?);
    let (port, _) = (parse_port(parts.next()?)?, parse_port(parts.next()?)?);
    parts.next().is_none().then_some(ProxySource::Client(SocketAddr::new(source, port)))
}

fn parse_port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let padded = text.len() > 1 && text.starts_with('0');
    text.parse().ok().filter(|_| digits && !padded)
}
