//! Who is at the other end of each connection, in as few bytes as most of them need: an IPv4 address stands in
//! the connection's own slot, an IPv6 address in a table.

use std::collections::TryReserveError;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::reactor::PeerAddress;
use crate::slab::Slab;

/// A [`PeerAddress`] as a connection keeps it.
#[derive(Clone, Copy, Debug)]
pub enum Peer {
    V4(Ipv4Addr, u16),
    /// The number of its address in [`Peers`].
    V6(u32),
    Unix,
}

/// The addresses of a shard's peers.
#[derive(Debug, Default)]
pub struct Peers {
    v6: Slab<(Ipv6Addr, u16)>,
}

impl Peers {
    /// Keeps an address until it is [`Peers::remove`]d.
    ///
    /// # Errors
    ///
    /// When there is no memory for it.
    pub fn try_insert(&mut self, address: PeerAddress) -> Result<Peer, TryReserveError> {
        Ok(match address {
            PeerAddress::V4(ip, port) => Peer::V4(ip, port),
            PeerAddress::Unix => Peer::Unix,
            PeerAddress::V6(ip, port) => {
                self.v6.try_reserve()?;
                Peer::V6(self.v6.insert((ip, port)).index())
            }
        })
    }

    /// The address.
    pub fn address(&self, peer: Peer) -> PeerAddress {
        match peer {
            Peer::V4(ip, port) => PeerAddress::V4(ip, port),
            Peer::Unix => PeerAddress::Unix,
            Peer::V6(number) => {
                let (ip, port) = self.v6.at(number).expect("it is kept until it is removed");
                PeerAddress::V6(*ip, *port)
            }
        }
    }

    /// Forgets an address, and says which it was.
    pub fn remove(&mut self, peer: Peer) -> PeerAddress {
        let address = self.address(peer);
        if let Peer::V6(number) = peer {
            self.v6.remove_at(number);
        }
        address
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn each_kind_of_address_is_kept_as_it_is_until_it_is_removed() {
        let mut peers = Peers::default();
        let v6 = |port| PeerAddress::from(SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], port)));
        let v4 = PeerAddress::from(SocketAddr::from(([192, 0, 2, 7], 80)));
        for _ in 0..3 {
            let all = [v6(1), v4, PeerAddress::Unix, v6(2)];
            let kept = all.map(|address| peers.try_insert(address).unwrap());
            assert_eq!(kept.map(|peer| peers.address(peer)), all);
            assert_eq!(kept.map(|peer| peers.remove(peer)), all);
            assert!(peers.v6.is_empty());
        }
        assert!(size_of::<Peer>() <= 8, "{}", size_of::<Peer>());
    }
}
