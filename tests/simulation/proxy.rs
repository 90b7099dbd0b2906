//! What proxies say of whom they speak for, before a connection and in its requests; and who lies.

use std::net::{IpAddr, SocketAddr};

use fanfare::reactor::PeerAddress;
use fanfare::shard::Entrance;

use crate::chance::Chance;

/// Where the acceptor listens.
pub const ENTRANCES: [Entrance; 4] = [
    Entrance::LOCAL,
    Entrance::LOCAL,
    Entrance { local: true, proxied: true },
    Entrance { local: false, proxied: true },
];
/// The proxies that are believed.
pub const TRUSTED: &str = "10.0.0.0/8";

/// What a client has to be so that its connection is what it takes it for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// It asks for what only this machine may.
    Local,
    /// It may come from anywhere.
    Anywhere,
    /// It lies.
    Hostile,
}

/// A peer of one of a few addresses, or of this machine.
pub fn from_somewhere(chance: &mut Chance) -> PeerAddress {
    let (host, port) = (chance.below(3) as u8 + 1, chance.below(60_000) as u16);
    match chance.below(3) {
        0 => PeerAddress::Unix,
        1 => PeerAddress::V4([192, 0, 2, host].into(), port),
        // The same /64 whatever the rest is.
        _ => PeerAddress::V6([0x2001, 0xdb8, 0, host.into(), 0, 0, 0, port].into(), port),
    }
}

fn a_proxy(chance: &mut Chance) -> PeerAddress {
    PeerAddress::V4([10, 0, 0, chance.below(3) as u8].into(), 80)
}

/// Over which listener a client comes, from where, and what stands before all that it says.
pub fn arrival(client: Client, chance: &mut Chance) -> (usize, PeerAddress, Vec<u8>) {
    let listener = match (chance.below(8), client) {
        (0..=2, _) => 0,
        (3..=5, _) => 1,
        (7, Client::Anywhere | Client::Hostile) => 3,
        _ => 2,
    };
    let Entrance { local, proxied } = ENTRANCES[listener];
    let from = match client {
        Client::Hostile if chance.one_in(2) => a_proxy(chance),
        Client::Anywhere if !local => a_proxy(chance),
        _ => from_somewhere(chance),
    };
    if !proxied || (client == Client::Hostile && chance.one_in(4)) {
        return (listener, from, Vec::new());
    }
    let named = match client {
        Client::Local => PeerAddress::V4([127, 0, 0, 1].into(), 4711),
        _ if chance.one_in(4) => a_proxy(chance),
        _ => from_somewhere(chance),
    };
    (listener, from, header(named, chance))
}

/// A header of either version that names somebody; a unix socket is the proxy itself.
fn header(named: PeerAddress, chance: &mut Chance) -> Vec<u8> {
    let old = chance.one_in(2);
    let address = match named {
        PeerAddress::V4(ip, port) => SocketAddr::new(ip.into(), port),
        PeerAddress::V6(ip, port) => SocketAddr::new(ip.into(), port),
        PeerAddress::Unix if old => return b"PROXY UNKNOWN\r\n".to_vec(),
        PeerAddress::Unix => return binary(0x20, 0x00, &[]),
    };
    let (ip, port) = (address.ip(), address.port());
    let word = if ip.is_ipv4() { "TCP4" } else { "TCP6" };
    if old {
        return format!("PROXY {word} {ip} {ip} {port} 80\r\n").into_bytes();
    }
    let (family, octets) = match ip {
        IpAddr::V4(four) => (0x11, four.octets().to_vec()),
        IpAddr::V6(six) => (0x21, six.octets().to_vec()),
    };
    let extra = chance.magnitude(0..=300);
    let extra = chance.bytes(extra);
    binary(0x21, family, &[&octets[..], &octets, &port.to_be_bytes(), &[0, 80], &extra].concat())
}

fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = (rest.len() as u16).to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &length, rest].concat()
}

/// A line for a request that names somebody, true or not.
pub fn forwarded(chance: &mut Chance) -> Vec<u8> {
    let named = match chance.below(4) {
        0 => "unknown".to_owned(),
        1 => format!("203.0.113.9, {}, {}", from_somewhere(chance), a_proxy(chance)),
        _ => from_somewhere(chance).to_string(),
    };
    format!("X-Forwarded-For: {named}\r\n").into_bytes()
}
