//! Whom a proxy says that it asks for: `X-Forwarded-For`, or `Forwarded` (RFC 7239).
//!
//! Read from the right. What stands last was written by the nearest proxy, and what stands left of it was there
//! when that came to it, be it of another proxy or of a client that lies. So nothing on the left can change how
//! something right of it is read, quotes and commas neither. Whether a proxy is believed is for the caller.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::fmt;
use std::str::FromStr;

use super::request::Request;

#[cfg(test)]
mod tests;

/// The header in which proxies say whom they ask for. Only one counts: a proxy that writes one of them passes on
/// what a client has written into the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, a list of addresses.
    #[default]
    XForwardedFor,
    /// `Forwarded` of RFC 7239, a list of pairs, of which one is `for`.
    Forwarded,
}

/// Why a text is no [`ForwardedHeader`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected X-Forwarded-For or Forwarded")]
pub struct ForwardedHeaderError;

impl FromStr for ForwardedHeader {
    type Err = ForwardedHeaderError;

    fn from_str(text: &str) -> Result<ForwardedHeader, ForwardedHeaderError> {
        let known = [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded];
        let named = known.into_iter().find(|header| text.eq_ignore_ascii_case(header.name()));
        named.ok_or(ForwardedHeaderError)
    }
}

impl fmt::Display for ForwardedHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ForwardedHeader {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            ForwardedHeader::XForwardedFor => "X-Forwarded-For",
            ForwardedHeader::Forwarded => "Forwarded",
        }
    }

    /// Who is named in a request, the nearest first; `None` stands for one that is no address. The port is 0 where
    /// none is given.
    pub fn addresses<'a>(self, request: &Request<'a>) -> impl Iterator<Item = Option<SocketAddr>> + use<'a> {
        let lines: Vec<&'a [u8]> = request.headers_named(self.name()).collect();
        let elements =
            lines.into_iter().rev().flat_map(|line| FromRight { rest: Some(line), separator: b',' });
        elements.map(move |element| match self {
            ForwardedHeader::XForwardedFor => address(element),
            ForwardedHeader::Forwarded => for_value(element).and_then(address),
        })
    }
}

/// The parts of a list from its right. A separator in a quoted string separates nothing.
struct FromRight<'a> {
    rest: Option<&'a [u8]>,
    separator: u8,
}

impl<'a> Iterator for FromRight<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let mut quoted = false;
        for (at, byte) in rest.iter().enumerate().rev() {
            if *byte == b'"' && !(quoted && is_escaped(rest, at)) {
                quoted = !quoted;
            } else if *byte == self.separator && !quoted {
                self.rest = Some(&rest[..at]);
                return Some(rest[at + 1..].trim_ascii());
            }
        }
        self.rest = None;
        Some(rest.trim_ascii())
    }
}

/// Whether the byte at this place stands behind an odd number of backslashes (RFC 9110 §5.6.4).
fn is_escaped(bytes: &[u8], at: usize) -> bool {
    let backslashes = bytes[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
    backslashes % 2 == 1
}

/// The value of the one `for` of an element, without quotes (RFC 7239 §4).
fn for_value(element: &[u8]) -> Option<&[u8]> {
    let mut found = None;
    for pair in (FromRight { rest: Some(element), separator: b';' }) {
        let Some(at) = pair.iter().position(|byte| *byte == b'=') else { continue };
        if pair[..at].trim_ascii().eq_ignore_ascii_case(b"for") && found.replace(&pair[at + 1..]).is_some() {
            return None;
        }
    }
    found
        .map(<[u8]>::trim_ascii)
        .map(|value| value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
}

/// An address, which may have a port; one of IPv6 that has one stands in brackets (RFC 7239 §6). The zone of one
/// of IPv6 (RFC 4007 §11) says something on the proxy's machine alone, and is left out.
fn address(node: &[u8]) -> Option<SocketAddr> {
    let node = std::str::from_utf8(node).ok()?;
    if let Some(ip) = node.parse().ok().or_else(|| ip_v6(node).map(IpAddr::V6)) {
        return Some(SocketAddr::new(ip, 0));
    }
    let (ip, port) = match node.strip_prefix('[') {
        Some(rest) => {
            let (six, port) = rest.split_once(']')?;
            (IpAddr::V6(ip_v6(six)?), port)
        }
        None => {
            let (four, port) = node.split_at(node.find(':')?);
            (IpAddr::V4(four.parse().ok()?), port)
        }
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => 0,
        None => return None,
        // One that is hidden (RFC 7239 §6.3).
        Some(hidden) if hidden.starts_with('_') => 0,
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??,
    };
    Some(SocketAddr::new(ip, port))
}

fn ip_v6(text: &str) -> Option<Ipv6Addr> {
    let Some((ip, zone)) = text.split_once('%') else { return text.parse().ok() };
    // The characters of RFC 6874 §2.
    let is_zone = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (!zone.is_empty() && zone.bytes().all(is_zone)).then(|| ip.parse().ok())?
}
