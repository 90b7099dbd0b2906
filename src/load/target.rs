//! Where connections go and where they come from: URLs and source addresses.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use ipnet::IpNet;
use thiserror::Error;

/// What stands for the number of a room in a URL.
pub const ROOM: &str = "{room}";
/// Addresses that one list of sources may have.
const SOURCES_MAX: usize = 65_536;
const PORT_DEFAULT: u16 = 80;

/// A URL of a WebSocket over plain TCP (RFC 6455 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// As it goes into the `Host` header.
    authority: String,
    /// Name or address, without brackets.
    host: String,
    port: u16,
    /// Path and query, as they were given.
    target: String,
}

/// Why a text is no URL to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UrlError {
    /// It begins with something else than `ws://`.
    #[error("expected ws://HOST[:PORT]/PATH[?QUERY], without TLS")]
    Scheme,
    /// There is no host, or something that is none.
    #[error("the host is {0:?}; expected a name, an IPv4 address or an [IPv6 address]")]
    Host(String),
    /// The port is no number, or out of range.
    #[error("the port is {0:?}; expected 1 to 65535")]
    Port(String),
    /// It has a fragment, which a WebSocket's URL must not (RFC 6455 §3).
    #[error("a #fragment is not allowed in the URL of a WebSocket; write %23 for a # in a path")]
    Fragment,
    /// It has a character that must be percent-encoded.
    #[error("the character {0:?} is not allowed in a URL; percent-encode it")]
    Character(char),
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Url, UrlError> {
        let scheme = text.get(..5).filter(|scheme| scheme.eq_ignore_ascii_case("ws://"));
        let rest = &text[scheme.ok_or(UrlError::Scheme)?.len()..];
        if let Some(character) = rest.chars().find(|character| !character.is_ascii_graphic()) {
            return Err(UrlError::Character(character));
        }
        if rest.contains('#') {
            return Err(UrlError::Fragment);
        }
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let (host, port) = split_port(authority)?;
        Ok(Url { authority: authority.to_owned(), host: host.to_owned(), port, target })
    }
}

/// Host and port of an authority.
fn split_port(authority: &str) -> Result<(&str, u16), UrlError> {
    let no_host = |host: &str| UrlError::Host(host.to_owned());
    let (host, port) = match authority.strip_prefix('[') {
        Some(six) => {
            let (host, port) = six.split_once(']').ok_or_else(|| no_host(authority))?;
            host.parse::<Ipv6Addr>().map_err(|_| no_host(host))?;
            (host, port)
        }
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            if host.is_empty() || !host.bytes().all(plain) {
                return Err(no_host(if host.is_empty() { authority } else { host }));
            }
            (host, port)
        }
    };
    if port.is_empty() {
        return Ok((host, PORT_DEFAULT));
    }
    let digits = port.strip_prefix(':').unwrap_or(port);
    let number = digits.parse().ok().filter(|number| *number > 0 && !digits.starts_with('+'));
    number.map(|number| (host, number)).ok_or_else(|| UrlError::Port(digits.to_owned()))
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ws://{}{}", self.authority, self.target)
    }
}

impl Url {
    /// Whether each room has a URL of its own.
    pub fn names_a_room(&self) -> bool {
        self.target.contains(ROOM)
    }

    /// The URL of the room of this number.
    pub fn of_room(&self, room: u32) -> Url {
        Url { target: self.target.replace(ROOM, &room.to_string()), ..self.clone() }
    }

    /// The first IPv4 address that the host has, or else its first: `localhost` often has two, and most servers
    /// listen on one of them.
    ///
    /// # Errors
    ///
    /// When its name is not known.
    pub fn resolve(&self) -> Result<Target, String> {
        let found = (self.host.as_str(), self.port).to_socket_addrs();
        let found =
            found.map_err(|error| format!("{self}: the host {} has no address: {error}", self.host))?;
        let addresses: Vec<SocketAddr> = found.collect();
        let four = addresses.iter().find(|address| address.is_ipv4());
        let address =
            *four.or(addresses.first()).ok_or_else(|| format!("{self}: the host has no address"))?;
        Ok(Target { url: self.clone(), address })
    }
}

/// A URL and the address behind it.
#[derive(Clone, Debug)]
pub struct Target {
    /// For messages.
    pub url: Url,
    /// Where to connect to.
    pub address: SocketAddr,
}

impl Target {
    /// What goes into the `Host` header.
    pub fn authority(&self) -> &str {
        &self.url.authority
    }

    /// Path and query.
    pub fn path(&self) -> &str {
        &self.url.target
    }
}

/// The local addresses that connections come from, in turns.
#[derive(Clone, Debug, Default)]
pub struct Sources(Vec<IpAddr>);

/// Why a text is no list of source addresses.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SourceError {
    /// A part is neither an address nor a network.
    #[error("expected addresses or networks such as 127.0.0.2,127.1.0.0/24")]
    Unreadable,
    /// The networks are too large.
    #[error("expected at most {SOURCES_MAX} addresses in all")]
    TooMany,
}

impl FromStr for Sources {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Sources, SourceError> {
        let mut addresses = Vec::new();
        for part in text.split(',').map(str::trim) {
            let network = part.parse::<IpNet>().or_else(|_| part.parse::<IpAddr>().map(IpNet::from));
            let network = network.map_err(|_| SourceError::Unreadable)?;
            addresses.extend(network.hosts().take(SOURCES_MAX + 1));
            if addresses.len() > SOURCES_MAX {
                return Err(SourceError::TooMany);
            }
        }
        Ok(Sources(addresses))
    }
}

impl Sources {
    /// The address that the connection of this number comes from; the kernel's choice without a list.
    pub fn of(&self, connection: u32) -> Option<IpAddr> {
        let count = self.0.len();
        (count > 0).then(|| self.0[connection as usize % count])
    }

    /// One that is not of the same family as `address`, so that nothing can be reached from there.
    pub fn misfit(&self, address: SocketAddr) -> Option<IpAddr> {
        self.0.iter().copied().find(|source| source.is_ipv4() != address.is_ipv4())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_put_together() {
        for (text, authority, host, port, target) in [
            ("ws://127.0.0.1:9001/echo", "127.0.0.1:9001", "127.0.0.1", 9001, "/echo"),
            ("ws://a-b.example/rooms/x?echo=true", "a-b.example", "a-b.example", 80, "/rooms/x?echo=true"),
            ("WS://[::1]:80/", "[::1]:80", "::1", 80, "/"),
            ("ws://[::1]", "[::1]", "::1", 80, "/"),
            ("ws://a?b=c", "a", "a", 80, "/?b=c"),
        ] {
            let url: Url = text.parse().unwrap();
            let expected = Url {
                authority: authority.to_owned(),
                host: host.to_owned(),
                port,
                target: target.to_owned(),
            };
            assert_eq!(url, expected, "{text}");
            assert_eq!(url.to_string().parse(), Ok(url));
        }
    }

    #[test]
    fn what_is_no_url_says_why() {
        for (text, expected) in [
            ("http://a/", "expected ws://"),
            ("wss://a/", "without TLS"),
            ("a", "expected ws://"),
            ("ä", "expected ws://"),
            ("ws://", "the host is \"\""),
            ("ws://user@a/", "the host is \"user@a\""),
            ("ws://[1.2.3.4]/", "the host is \"1.2.3.4\""),
            ("ws://[::1/", "the host is"),
            ("ws://::1/", "the host is"),
            ("ws://a:/", "the port is \"\""),
            ("ws://a:0/", "the port is \"0\""),
            ("ws://a:65536/", "1 to 65535"),
            ("ws://a:+1/", "the port is \"+1\""),
            ("ws://[::1]x/", "the port is \"x\""),
            ("ws://a/#b", "%23"),
            ("ws://a/b c", "' '"),
            ("ws://a/ü", "'ü'"),
        ] {
            let error = text.parse::<Url>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn rooms_have_urls_of_their_own() {
        let url: Url = "ws://a/rooms/r{room}?echo=true".parse().unwrap();
        assert!(url.names_a_room());
        assert_eq!(url.of_room(12).to_string(), "ws://a/rooms/r12?echo=true");
        assert!(!"ws://a/rooms/x".parse::<Url>().unwrap().names_a_room());
    }

    #[test]
    fn sources_take_turns() {
        let sources: Sources = "127.0.0.9,127.1.0.0/30".parse().unwrap();
        let taken: Vec<String> = (0..4).filter_map(|at| Some(sources.of(at)?.to_string())).collect();
        assert_eq!(taken, ["127.0.0.9", "127.1.0.1", "127.1.0.2", "127.0.0.9"]);
        assert_eq!(Sources::default().of(3), None);
        assert_eq!("127.0.0.0/8".parse::<Sources>().unwrap_err(), SourceError::TooMany);
        for text in ["", "x", "127.0.0.1/33", "127.0.0.1,"] {
            assert_eq!(text.parse::<Sources>().unwrap_err(), SourceError::Unreadable, "{text}");
        }
        let six: SocketAddr = "[::1]:80".parse().unwrap();
        assert_eq!(sources.misfit(six).map(|source| source.to_string()).as_deref(), Some("127.0.0.9"));
        assert_eq!(sources.misfit("127.0.0.1:80".parse().unwrap()), None);
    }
}
