//! How many connections each address has, and how fast it makes them.
//!
//! One table serves all threads, under a short lock: the acceptor asks it for who comes straight, and a shard
//! for whom a proxy speaks, so that nobody has one share by each way. It forgets an address that has no connection
//! once its bucket is full again. A flood of addresses cannot make it grow: over a bound it forgets all addresses
//! without a connection, and those with one are no more than there are connections.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

use crate::network::Network;
use crate::rate::Bucket;
use crate::reactor::PeerAddress;
use crate::shard::{AddressGate, Admission};
use crate::sync::Mutex;
use crate::time::Time;

/// Addresses beyond one for each connection that the table remembers at most.
pub const ADDRESSES_SPARE: usize = 16 << 10;
/// The table is not looked through for what it can forget while it is smaller.
const SWEEP_MIN: usize = 1024;
/// After so long a larger one is, though it has not grown.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// An IPv6 site has a whole /64 for itself at least (RFC 4291 §2.5.4, RFC 6177).
const IPV6_PREFIX_BITS: u32 = 64;

/// A network whose addresses are not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExemptNetwork {
    /// Stands alone: there is no such network.
    None,
    /// This one.
    Network(Network),
}

/// Why a text is no [`ExemptNetwork`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a network such as 10.0.0.0/8 or fd00::/8, an address, or none")]
pub struct ExemptNetworkError;

impl FromStr for ExemptNetwork {
    type Err = ExemptNetworkError;

    fn from_str(text: &str) -> Result<ExemptNetwork, ExemptNetworkError> {
        if text == "none" {
            return Ok(ExemptNetwork::None);
        }
        text.parse().map(ExemptNetwork::Network).map_err(|_| ExemptNetworkError)
    }
}

impl fmt::Display for ExemptNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExemptNetwork::None => f.write_str("none"),
            ExemptNetwork::Network(network) => network.fmt(f),
        }
    }
}

/// What one address may have.
#[derive(Clone, Debug)]
pub struct AddressLimits {
    /// Connections at a time.
    pub connections: usize,
    /// New connections a second, and as many at once.
    pub handshakes: u32,
    /// Addresses that may have more.
    pub exempt: Vec<ExemptNetwork>,
}

/// What counts as one address: one of IPv4, or a /64 of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// An address of IPv4.
    V4(Ipv4Addr),
    /// The network's half of an address of IPv6.
    V6([u8; 8]),
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Source {
        match address {
            IpAddr::V4(four) => Source::V4(four),
            IpAddr::V6(six) => Source::V6(*six.octets().first_chunk().expect("an address has 16 bytes")),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::V4(four) => four.fmt(f),
            Source::V6(half) => {
                let address = Ipv6Addr::from_bits(u128::from(u64::from_be_bytes(*half)) << IPV6_PREFIX_BITS);
                write!(f, "{address}/{IPV6_PREFIX_BITS}")
            }
        }
    }
}

/// The addresses that have connections, or made some a moment ago, for all threads of a server.
#[derive(Debug)]
pub struct AddressTable(Mutex<Addresses>);

impl AddressTable {
    /// An empty table for so many connections.
    pub fn new(limits: AddressLimits, max_connections: usize) -> AddressTable {
        AddressTable(Mutex::new(Addresses::new(limits, max_connections)))
    }

    /// Takes other limits. Who has more already keeps what it has.
    pub fn set_limits(&self, limits: AddressLimits, max_connections: usize) {
        self.0.lock().set_limits(limits, max_connections);
    }

    /// What a peer is counted as, if it is counted.
    pub fn source(&self, peer: PeerAddress) -> Option<Source> {
        self.0.lock().source(peer)
    }

    /// Connections that count for an address.
    pub fn connections(&self) -> usize {
        self.0.lock().connections()
    }

    /// Connections of the address that has most of them.
    pub fn most_connections(&self) -> usize {
        self.0.lock().most_connections()
    }

    /// Addresses that are remembered.
    pub fn remembered(&self) -> usize {
        self.0.lock().len()
    }
}

/// Who has no address, or one that is exempt, is welcome.
impl AddressGate for AddressTable {
    fn admit(&self, peer: PeerAddress, now: Time) -> Admission {
        if peer.ip().is_none() { Admission::Welcome } else { self.0.lock().come(peer, now) }
    }

    fn leave(&self, peer: PeerAddress, now: Time) {
        if peer.ip().is_some() {
            self.0.lock().go(peer, now);
        }
    }
}

/// What stands under the lock.
#[derive(Debug)]
struct Addresses {
    limits: AddressLimits,
    /// The hash has a key of this process: peers choose their addresses.
    known: HashMap<Source, Known>,
    entries_max: usize,
    /// It is looked through when it has so many entries.
    sweep_at: usize,
    swept: Time,
    /// Connections of those who were exempt as they came, so that networks can become exempt or not while there
    /// are some.
    exempt: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Known {
    connections: usize,
    handshakes: Bucket,
}

impl Addresses {
    /// An empty table for so many connections.
    fn new(limits: AddressLimits, max_connections: usize) -> Addresses {
        Addresses {
            limits,
            known: HashMap::new(),
            entries_max: max_connections.saturating_add(ADDRESSES_SPARE),
            sweep_at: SWEEP_MIN,
            swept: Time::ZERO,
            exempt: HashMap::new(),
        }
    }

    /// Takes other limits. Who has more already keeps what it has.
    fn set_limits(&mut self, limits: AddressLimits, max_connections: usize) {
        self.limits = limits;
        self.entries_max = max_connections.saturating_add(ADDRESSES_SPARE);
        self.sweep_at = self.sweep_at.min(self.entries_max);
    }

    /// Counts a connection of a peer, or says why it may not have it.
    fn come(&mut self, peer: PeerAddress, now: Time) -> Admission {
        let Some(address) = peer.ip() else { return Admission::Welcome };
        match self.source(peer) {
            Some(source) => self.admit(source, now),
            None => {
                *self.exempt.entry(address).or_default() += 1;
                Admission::Welcome
            }
        }
    }

    /// Counts that a connection of a peer is over. Of an address with connections of both kinds those that came
    /// while it was exempt go first, so that in the end none of either is left.
    fn go(&mut self, peer: PeerAddress, now: Time) {
        let Some(address) = peer.ip() else { return };
        match self.exempt.get_mut(&address) {
            None => self.leave(Source::from(address), now),
            Some(1) => {
                self.exempt.remove(&address);
            }
            Some(connections) => *connections -= 1,
        }
    }

    /// What a peer is counted as, if it is counted.
    fn source(&self, peer: PeerAddress) -> Option<Source> {
        let address = peer.ip()?;
        let holds = |exempt: &ExemptNetwork| match exempt {
            ExemptNetwork::None => false,
            ExemptNetwork::Network(network) => network.contains(address),
        };
        (!self.limits.exempt.iter().any(holds)).then(|| Source::from(address))
    }

    /// Counts a connection of an address, or says why it may not have it.
    fn admit(&mut self, source: Source, now: Time) -> Admission {
        self.make_room(now);
        let fresh = Known { connections: 0, handshakes: Bucket::FULL };
        let known = self.known.entry(source).or_insert(fresh);
        let AddressLimits { connections, handshakes, .. } = self.limits;
        if !known.handshakes.take(handshakes.into(), now) {
            return Admission::HandshakeRate { limit: handshakes };
        }
        if known.connections >= connections {
            return Admission::AddressFull { limit: connections };
        }
        known.connections += 1;
        Admission::Welcome
    }

    /// Counts that a connection of an address is over.
    fn leave(&mut self, source: Source, now: Time) {
        let Some(known) = self.known.get_mut(&source) else { return };
        known.connections = known.connections.saturating_sub(1);
        if known.is_forgettable(now) {
            self.known.remove(&source);
        }
    }

    /// Connections that count for an address.
    fn connections(&self) -> usize {
        self.known.values().map(|known| known.connections).sum()
    }

    /// Connections of the address that has most of them.
    fn most_connections(&self) -> usize {
        self.known.values().map(|known| known.connections).max().unwrap_or(0)
    }

    /// Addresses that are remembered.
    fn len(&self) -> usize {
        self.known.len()
    }

    /// Forgets what can be forgotten whenever the table has doubled since, so that it costs each newcomer
    /// only a few looks.
    fn make_room(&mut self, now: Time) {
        let is_due = now.since(self.swept) >= SWEEP_INTERVAL && self.known.len() >= SWEEP_MIN;
        if self.known.len() < self.sweep_at && !is_due {
            return;
        }
        self.swept = now;
        self.known.retain(|_, known| !known.is_forgettable(now));
        if self.known.len() > self.entries_max - ADDRESSES_SPARE / 2 {
            // More come than a second forgets: how fast each of them makes connections does not matter then.
            self.known.retain(|_, known| known.connections > 0);
        }
        self.sweep_at = (2 * self.known.len()).clamp(SWEEP_MIN, self.entries_max);
        self.known.shrink_to(self.sweep_at);
    }
}

impl Known {
    fn is_forgettable(&self, now: Time) -> bool {
        self.connections == 0 && self.handshakes.is_full(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(connections: usize, handshakes: u32, exempt: &[&str], max_connections: usize) -> Addresses {
        let exempt = exempt.iter().map(|network| network.parse().unwrap()).collect();
        Addresses::new(AddressLimits { connections, handshakes, exempt }, max_connections)
    }

    fn peer(address: &str) -> PeerAddress {
        PeerAddress::from(std::net::SocketAddr::new(address.parse().unwrap(), 4711))
    }

    fn at(milliseconds: u64) -> Time {
        Time::ZERO + Duration::from_millis(milliseconds)
    }

    #[test]
    fn exempt_is_a_network_or_nobody() {
        for (text, shown) in [("none", "none"), ("10.0.0.0/8", "10.0.0.0/8"), ("192.0.2.7", "192.0.2.7/32")] {
            assert_eq!(text.parse::<ExemptNetwork>().unwrap().to_string(), shown);
        }
        for wrong in ["", "None", "localhost", "10.0.0.0/33"] {
            assert_eq!(wrong.parse::<ExemptNetwork>(), Err(ExemptNetworkError), "{wrong}");
        }
    }

    #[test]
    fn an_address_is_one_of_ipv4_or_a_64_of_ipv6_and_mapped_ones_are_ipv4() {
        let table = table(1, 1, &[], 10);
        let shown = |address| table.source(peer(address)).unwrap().to_string();
        assert_eq!(shown("192.0.2.7"), "192.0.2.7");
        assert_eq!(shown("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(shown("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(table.source(peer("2001:db8:1:2::")), table.source(peer("2001:db8:1:2:ffff::1")));
        assert_ne!(table.source(peer("2001:db8:1:2::")), table.source(peer("2001:db8:1:3::")));
        assert_eq!(table.source(PeerAddress::Unix), None);
    }

    #[test]
    fn exempt_networks_end_at_their_borders() {
        let table = table(1, 1, &["10.1.0.0/16", "2001:db8::/33", "127.0.0.1"], 10);
        for (address, exempt) in [
            ("10.0.255.255", false),
            ("10.1.0.0", true),
            ("::ffff:10.1.255.255", true),
            ("10.2.0.0", false),
            ("2001:db8::1", true),
            ("2001:db8:7fff:ffff::", true),
            ("2001:db8:8000::", false),
            ("127.0.0.1", true),
            ("127.0.0.2", false),
        ] {
            assert_eq!(table.source(peer(address)).is_none(), exempt, "{address}");
        }
        let none = super::tests::table(1, 1, &["none"], 10);
        assert!(none.source(peer("127.0.0.1")).is_some());
    }

    #[test]
    fn a_network_becomes_exempt_and_not_while_it_has_connections_and_none_is_counted_for_ever() {
        let limits = |exempt: &[&str]| {
            let exempt = exempt.iter().map(|network| network.parse().unwrap()).collect();
            AddressLimits { connections: 2, handshakes: 100, exempt }
        };
        let (none, some) = (limits(&["none"]), limits(&["192.0.2.0/24", "2001:db8::5"]));
        for (exempt, sibling) in [("192.0.2.7", None), ("2001:db8::5", Some("2001:db8::6"))] {
            for first_exempt in [false, true] {
                let mut table = Addresses::new(none.clone(), 100);
                let set = |table: &mut Addresses, is_exempt: bool| {
                    table.set_limits(if is_exempt { some.clone() } else { none.clone() }, 100);
                };
                set(&mut table, first_exempt);
                for _ in 0..2 {
                    assert_eq!(table.come(peer(exempt), at(0)), Admission::Welcome);
                }
                set(&mut table, !first_exempt);
                for _ in 0..2 {
                    assert_eq!(
                        table.come(peer(exempt), at(0)),
                        Admission::Welcome,
                        "{exempt} {first_exempt}"
                    );
                }
                assert_eq!(table.connections(), 2);
                set(&mut table, false);
                for one in [Some(exempt), sibling].into_iter().flatten() {
                    assert_eq!(table.come(peer(one), at(0)), Admission::AddressFull { limit: 2 }, "{one}");
                }
                for left in (0..4).rev() {
                    table.go(peer(exempt), at(5000));
                    assert_eq!(table.connections(), left.min(2), "{exempt} {first_exempt}");
                }
                assert!(table.known.is_empty() && table.exempt.is_empty());
            }
        }
    }

    #[test]
    fn other_limits_are_for_who_comes_next() {
        let mut table = table(3, 100, &["none"], 100);
        for _ in 0..3 {
            assert_eq!(table.come(peer("192.0.2.7"), at(0)), Admission::Welcome);
        }
        let limits = |connections, handshakes| AddressLimits { connections, handshakes, exempt: Vec::new() };
        table.set_limits(limits(2, 100), 10);
        assert_eq!(table.connections(), 3, "nobody has to go");
        assert_eq!(table.come(peer("192.0.2.7"), at(0)), Admission::AddressFull { limit: 2 });
        table.set_limits(limits(4, 100), 10);
        assert_eq!(table.come(peer("192.0.2.7"), at(0)), Admission::Welcome);
        table.set_limits(limits(100, 1), 10);
        assert_eq!(table.come(peer("192.0.2.8"), at(0)), Admission::Welcome);
        assert_eq!(table.come(peer("192.0.2.8"), at(0)), Admission::HandshakeRate { limit: 1 });
    }

    #[test]
    fn who_has_gone_and_was_slow_is_forgotten_at_once_and_who_was_quick_later() {
        let mut table = table(10, 10, &[], 100);
        let source = table.source(peer("192.0.2.7")).unwrap();
        assert_eq!(table.admit(source, at(0)), Admission::Welcome);
        assert_eq!(table.admit(source, at(0)), Admission::Welcome);
        table.leave(source, at(100));
        assert_eq!(table.len(), 1, "one is left");
        table.leave(source, at(199));
        assert_eq!(table.len(), 1, "its bucket misses a token");
        assert_eq!(table.admit(source, at(200)), Admission::Welcome);
        table.leave(source, at(300));
        assert_eq!(table.len(), 0);
        table.leave(source, at(300));
    }

    #[test]
    fn what_can_be_forgotten_is_when_the_table_has_doubled() {
        let mut table = table(10, 10, &[], 1_000_000);
        for number in 0..100_000u32 {
            let source = Source::V4(Ipv4Addr::from_bits(number));
            // A thousand new ones a second, each gone at once.
            let now = at(u64::from(number));
            table.admit(source, now);
            table.leave(source, now);
            assert!(table.len() <= SWEEP_MIN, "{number}: {}", table.len());
        }
    }

    #[test]
    fn a_flood_of_addresses_at_once_is_bounded_and_keeps_those_that_have_connections() {
        let most = 5000;
        let mut table = table(1, 10, &[], most);
        let staying: Vec<Source> = (0..most as u32).map(|at| Source::V4(Ipv4Addr::from_bits(at))).collect();
        for source in &staying {
            assert_eq!(table.admit(*source, at(0)), Admission::Welcome);
        }
        for number in 0..200_000u64 {
            let source = Source::V6((1 << 40 | number).to_be_bytes());
            assert_eq!(table.admit(source, at(0)), Admission::Welcome);
            table.leave(source, at(0));
            assert!(table.len() <= most + ADDRESSES_SPARE);
        }
        assert!(table.known.capacity() <= 4 * (most + ADDRESSES_SPARE));
        for source in &staying {
            assert_eq!(table.admit(*source, at(1000)), Admission::AddressFull { limit: 1 });
        }
        for source in staying {
            table.leave(source, at(5000));
        }
        table.admit(Source::V4(Ipv4Addr::LOCALHOST), at(70_000));
        assert_eq!(table.len(), 1, "all is forgotten, although nothing has grown");
        assert!(table.known.capacity() <= 4 * SWEEP_MIN);
    }
}
