//! Who is at the other end of each connection, in as few bytes as most of them need: an IPv4 address stands in
//! the connection's own slot, an IPv6 address in a table, and whoever a proxy speaks for in another beside the proxy.

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
    /// The number in [`Peers`] of somebody whom a proxy has named.
    Named(u32),
    Unix,
}

#[derive(Debug)]
struct Named {
    client: PeerAddress,
    proxy: PeerAddress,
}

/// The addresses of a shard's peers.
#[derive(Debug, Default)]
pub struct Peers {
    v6: Slab<(Ipv6Addr, u16)>,
    named: Slab<Named>,
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

    /// Keeps whom a proxy speaks for, beside the proxy; instead of whom it spoke for before.
    ///
    /// # Errors
    ///
    /// When there is no memory for it; nothing is changed then.
    pub fn try_name(&mut self, peer: &mut Peer, client: PeerAddress) -> Result<(), TryReserveError> {
        let proxy = self.proxy(*peer);
        let renamed = if client == proxy {
            self.try_insert(proxy)?
        } else {
            self.named.try_reserve()?;
            Peer::Named(self.named.insert(Named { client, proxy }).index())
        };
        self.remove(std::mem::replace(peer, renamed));
        Ok(())
    }

    /// Who is there, as far as is known.
    pub fn address(&self, peer: Peer) -> PeerAddress {
        match peer {
            Peer::V4(ip, port) => PeerAddress::V4(ip, port),
            Peer::Unix => PeerAddress::Unix,
            Peer::V6(number) => {
                let (ip, port) = self.v6.at(number).expect("it is kept until it is removed");
                PeerAddress::V6(*ip, *port)
            }
            Peer::Named(number) => self.named_at(number).client,
        }
    }

    /// The nearest that is known: of somebody whom a proxy has named, the proxy.
    pub fn proxy(&self, peer: Peer) -> PeerAddress {
        match peer {
            Peer::Named(number) => self.named_at(number).proxy,
            other => self.address(other),
        }
    }

    fn named_at(&self, number: u32) -> &Named {
        self.named.at(number).expect("it is kept until it is removed")
    }

    /// Forgets an address, and says which it was.
    pub fn remove(&mut self, peer: Peer) -> PeerAddress {
        let address = self.address(peer);
        match peer {
            Peer::V6(number) => drop(self.v6.remove_at(number)),
            Peer::Named(number) => drop(self.named.remove_at(number)),
            Peer::V4(..) | Peer::Unix => {}
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

    #[test]
    fn a_proxy_is_kept_beside_each_client_that_it_names_and_none_is_left_behind() {
        let mut peers = Peers::default();
        let v6 = PeerAddress::from(SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 1)));
        let clients = [PeerAddress::from(SocketAddr::from(([192, 0, 2, 7], 0))), v6];
        for proxy in [PeerAddress::Unix, v6, PeerAddress::from(SocketAddr::from(([10, 0, 0, 1], 80)))] {
            let mut peer = peers.try_insert(proxy).unwrap();
            for client in [clients[0], clients[1], proxy, clients[0]] {
                peers.try_name(&mut peer, client).unwrap();
                assert_eq!((peers.address(peer), peers.proxy(peer)), (client, proxy));
            }
            assert_eq!(peers.remove(peer), clients[0]);
            assert!(peers.v6.is_empty() && peers.named.is_empty());
        }
    }
}
