//! Who is at the other end of a socket, small enough to keep with every connection.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The address of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerAddress {
    /// An IPv4 address and port.
    V4(Ipv4Addr, u16),
    /// An IPv6 address and port.
    V6(Ipv6Addr, u16),
    /// A process at a unix socket.
    Unix,
}

impl PeerAddress {
    /// The address without its port; none at a unix socket.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            PeerAddress::V4(ip, _) => Some(ip.into()),
            PeerAddress::V6(ip, _) => Some(ip.into()),
            PeerAddress::Unix => None,
        }
    }

    /// Whether it is of this machine.
    pub fn is_local(self) -> bool {
        self.ip().is_none_or(|ip| ip.is_loopback())
    }
}

impl From<SocketAddr> for PeerAddress {
    /// An IPv4 address that was mapped into IPv6 by a dual-stack listener is given as IPv4.
    fn from(address: SocketAddr) -> PeerAddress {
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => PeerAddress::V4(ip, address.port()),
            IpAddr::V6(ip) => PeerAddress::V6(ip, address.port()),
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A proxy may not say the port.
            PeerAddress::V4(ip, 0) => ip.fmt(f),
            PeerAddress::V6(ip, 0) => ip.fmt(f),
            PeerAddress::V4(ip, port) => write!(f, "{ip}:{port}"),
            PeerAddress::V6(ip, port) => write!(f, "[{ip}]:{port}"),
            PeerAddress::Unix => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_addresses_are_shown_as_ipv4() {
        let mapped: SocketAddr = "[::ffff:127.0.0.1]:80".parse().unwrap();
        assert_eq!(PeerAddress::from(mapped).to_string(), "127.0.0.1:80");
        let six: SocketAddr = "[::1]:80".parse().unwrap();
        assert_eq!(PeerAddress::from(six).to_string(), "[::1]:80");
    }

    #[test]
    fn a_port_that_is_not_known_is_not_shown() {
        for (address, shown) in [("192.0.2.7:0", "192.0.2.7"), ("[2001:db8::1]:0", "2001:db8::1")] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(PeerAddress::from(address).to_string(), shown);
        }
    }

    #[test]
    fn local_is_the_loopback_and_a_unix_socket() {
        for (address, local) in [
            ("127.3.2.1:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("10.0.0.1:1", false),
            ("[2001:db8::1]:1", false),
        ] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(PeerAddress::from(address).is_local(), local, "{address}");
        }
        assert!(PeerAddress::Unix.is_local());
    }

    #[test]
    fn it_stays_small() {
        assert!(size_of::<PeerAddress>() <= 20);
    }
}
