//! Other proxies are trusted, while there are connections and while some come.

use fanfare::config::Config;
use fanfare::protocol::ForwardedHeader;
use fanfare::reactor::PeerAddress;

use super::{OPEN, PROXIED, World, config, forwarded_for, get, line, peer};
use crate::common::sim::SocketId;

#[test]
fn who_is_trusted_is_that_of_the_reload_for_who_connects_next() {
    let trusting = config();
    let other =
        Config { trusted_proxy: Vec::new(), forwarded_header: ForwardedHeader::Forwarded, ..config() };
    let mut world = World::new(&trusting);
    let ask = |world: &mut World, kept: SocketId, client: &str| {
        let named = format!("{}Forwarded: for=198.51.100.9\r\n", forwarded_for(client));
        world.say(kept, &get(&named));
        assert_eq!(world.status(kept), 404);
    };
    let kept = world.knock(OPEN, peer("10.0.0.1"), &get(&forwarded_for("192.0.2.7")));
    assert_eq!(world.status(kept), 404);
    world.gate.reload(other.acceptor_settings(100_000));
    world.server.reload(&other);
    for wanted in [101, 101, 101, 429] {
        assert_eq!(world.open(peer("10.0.0.1"), &forwarded_for("192.0.2.7")), wanted, "it is anybody now");
    }
    // The one that was believed is, and of the header that counts now.
    ask(&mut world, kept, "192.0.2.7");
    for wanted in [101, 101, 429] {
        assert_eq!(world.open(peer("198.51.100.9"), ""), wanted);
    }
    world.gate.reload(trusting.acceptor_settings(100_000));
    world.server.reload(&trusting);
    assert_eq!(world.open(peer("10.0.0.1"), &forwarded_for("192.0.2.8")), 101);
    ask(&mut world, kept, "192.0.2.8");
    assert_eq!(world.gate.acceptor.most_of_an_address(), 3, "what is there stays counted as it was");
    world.finish();
}

/// Some of an address and of a proxy of this machine come, are asked for others, and go; while the acceptor goes by one
/// configuration and the shards by the other.
fn between(world: &mut World, from: PeerAddress, is_believed: bool, is_proxied: bool) {
    let listener = if is_proxied { PROXIED } else { OPEN };
    let before = if is_proxied { line("10.0.0.1") } else { Vec::new() };
    let mut came = Vec::new();
    for client in ["192.0.2.7", "unknown", "2001:db8::7"] {
        let request = [before.clone(), get(&forwarded_for(client))].concat();
        came.push(world.knock(listener, from, &request));
    }
    for socket in &came {
        assert_eq!(world.status(*socket), 404);
    }
    let counted = if is_believed { 2 } else { 3 };
    assert_eq!(world.server.addresses.connections(), counted, "{from} {is_believed} {is_proxied}");
    for (socket, client) in came.iter().zip(["192.0.2.8", "192.0.2.9", "unknown"]) {
        world.say(*socket, &get(&forwarded_for(client)));
        assert_eq!(world.status(*socket), 404);
    }
    for socket in came {
        world.go(socket);
    }
    // The acceptor hears of them with the next turn.
    world.gate.turn();
    assert_eq!(world.server.addresses.connections(), 0, "{from} {is_believed} {is_proxied}");
}

#[test]
fn who_comes_while_a_reload_is_half_done_is_counted_once_and_not_for_good() {
    let trusting = config();
    let other = Config { trusted_proxy: Vec::new(), ..config() };
    for (acceptor, shards) in [(&trusting, &other), (&other, &trusting)] {
        let is_believed = !acceptor.trusted_proxy.is_empty();
        // Each of them may be the first to have heard of it.
        for is_acceptor_first in [true, false] {
            let (old, new) = if is_acceptor_first { (shards, acceptor) } else { (acceptor, shards) };
            let mut world = World::new(old);
            if is_acceptor_first {
                world.gate.reload(new.acceptor_settings(100_000));
                world.gate.turn();
            } else {
                world.server.reload(new);
                world.server.settle();
            }
            between(&mut world, peer("10.0.0.1"), is_believed, false);
            // Whom a header names the shard alone decides on.
            between(&mut world, PeerAddress::Unix, !shards.trusted_proxy.is_empty(), true);
            // And one that is on its way while the other hears of it.
            let socket = world.gate.dial_from(OPEN, peer("10.0.0.1"));
            world.gate.turn();
            world.gate.reload(new.acceptor_settings(100_000));
            world.server.reload(new);
            world.settle();
            world.say(socket, &get(&forwarded_for("192.0.2.7")));
            assert_eq!(world.status(socket), 404);
            assert_eq!(world.server.addresses.connections(), 1);
            world.go(socket);
            world.gate.turn();
            assert_eq!(world.server.addresses.connections(), 0);
            world.finish();
        }
    }
}
