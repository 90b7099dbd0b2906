//! Networks of addresses, as settings name them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

/// A network of IPv4 or IPv6; an address alone is a network of one. IPv4 that is written as IPv6 is IPv4, as it
/// is of peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

/// Why a text is no [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a network such as 10.0.0.0/8 or fd00::/8, or an address")]
pub struct NetworkError;

impl Network {
    /// Whether an address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Network, NetworkError> {
        let network = text.parse::<IpNet>().ok();
        let network = network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        network.map(canonical).map(Network).ok_or(NetworkError)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn canonical(network: IpNet) -> IpNet {
    let mapped_bits = Ipv6Addr::BITS as u8 - Ipv4Addr::BITS as u8;
    let IpNet::V6(six) = network else { return network };
    let four = six.addr().to_ipv4_mapped().zip(six.prefix_len().checked_sub(mapped_bits));
    four.and_then(|(address, bits)| Ipv4Net::new(address, bits).ok()).map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_and_shown_and_anything_else_says_what_is_expected() {
        for (text, shown) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("::1", "::1/128"),
            ("fd00::/8", "fd00::/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.0.0.0/95", "::ffff:10.0.0.0/95"),
        ] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), shown);
        }
        for wrong in ["", "localhost", "10.0.0.0/33", "10.0.0/8", "::1/129", "10.0.0.0/", "*"] {
            assert_eq!(wrong.parse::<Network>(), Err(NetworkError), "{wrong}");
        }
    }

    #[test]
    fn a_network_ends_at_its_border() {
        let network: Network = "10.1.0.0/16".parse().unwrap();
        for (address, inside) in
            [("10.0.255.255", false), ("10.1.0.0", true), ("10.1.255.255", true), ("10.2.0.0", false)]
        {
            assert_eq!(network.contains(address.parse().unwrap()), inside, "{address}");
        }
        assert!(!network.contains("::1".parse().unwrap()));
    }
}
