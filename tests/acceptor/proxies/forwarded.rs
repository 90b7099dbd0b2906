//! What proxies say in each request: who is believed, and of a chain who counts.

use fanfare::config::Config;
use fanfare::protocol::ForwardedHeader;
use fanfare::reactor::PeerAddress;

use super::{OPEN, PROXIED, World, config, forwarded_for, get, line, peer, upgrade, with_headers};
use crate::common::capture::{self, lines_of};

#[test]
fn only_a_trusted_proxy_is_believed() {
    // Behind a lie nobody is anybody else, nor takes what others have.
    let mut world = World::new(&config());
    for (at, wanted) in [(0, 101), (1, 101), (2, 101), (3, 429), (4, 429)] {
        let lie = format!("X-Forwarded-For: 198.51.100.{at}\r\nForwarded: for=198.51.100.{at}\r\n");
        assert_eq!(world.open(peer("192.0.2.7"), &lie), wanted, "{at}");
        let lie = forwarded_for("10.0.0.1");
        assert_eq!(world.open(peer("11.0.0.1"), &lie), wanted, "{at}");
    }
    for at in 0..3 {
        assert_eq!(world.open(peer(&format!("198.51.100.{at}")), ""), 101);
    }
    world.finish();
}

#[test]
fn of_a_chain_the_right_most_that_is_not_trusted_counts() {
    for (chain, client) in [
        ("192.0.2.7", "192.0.2.7"),
        ("198.51.100.1, 192.0.2.7", "192.0.2.7"),
        ("198.51.100.1, 192.0.2.7, 10.0.0.2", "192.0.2.7"),
        ("192.0.2.7, 10.0.0.3,10.0.0.2", "192.0.2.7"),
        ("10.9.9.9, 192.0.2.7, 10.0.0.2", "192.0.2.7"),
        // All of them are proxies: the farthest.
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        // Whoever wrote this knows no more.
        ("192.0.2.7, unknown, 10.0.0.2", "10.0.0.2"),
        ("\r\nX-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 192.0.2.7, 10.0.0.2", "192.0.2.7"),
    ] {
        let mut world = World::new(&config());
        for _ in 0..3 {
            assert_eq!(world.open(peer("10.0.0.1"), &forwarded_for(chain)), 101, "{chain}");
        }
        assert_eq!(world.open(peer("10.0.0.1"), &forwarded_for(client)), 429, "{chain}");
        assert_eq!(world.open(peer("10.0.0.1"), &forwarded_for("198.51.100.9")), 101);
        world.finish();
    }
}

#[test]
fn a_chain_may_begin_in_the_header_before_the_connection() {
    let mut world = World::new(&config());
    let behind = |world: &mut World, edge: &str, headers: &str| {
        let bytes = [line(edge), upgrade(headers)].concat();
        let socket = world.knock(PROXIED, PeerAddress::Unix, &bytes);
        world.status(socket)
    };
    for _ in 0..3 {
        assert_eq!(behind(&mut world, "10.0.0.9", &forwarded_for("192.0.2.7")), 101);
    }
    assert_eq!(behind(&mut world, "10.0.0.9", &forwarded_for("192.0.2.7")), 429);
    // The one that it names is not trusted: what that says is nothing.
    for (at, wanted) in [(0, 101), (1, 101), (2, 101), (3, 429)] {
        let lie = forwarded_for(&format!("198.51.100.{at}"));
        assert_eq!(behind(&mut world, "192.0.2.99", &lie), wanted, "{at}");
    }
    world.finish();
}

#[test]
fn the_one_header_that_is_set_counts_and_the_other_is_the_clients() {
    let both = "Forwarded: for=\"[2001:db8::7]:80\"\r\nX-Forwarded-For: 192.0.2.7\r\n";
    for (header, client, other) in [
        (ForwardedHeader::XForwardedFor, "192.0.2.7", "2001:db8::1"),
        (ForwardedHeader::Forwarded, "2001:db8::1", "192.0.2.7"),
    ] {
        let mut world = World::new(&Config { forwarded_header: header, ..config() });
        for _ in 0..3 {
            assert_eq!(world.open(peer("10.0.0.1"), both), 101);
        }
        assert_eq!(world.open(peer(client), ""), 429, "{header}");
        assert_eq!(world.open(peer(other), ""), 101, "{header}");
        world.finish();
    }
}

#[test]
fn a_connection_that_is_kept_for_several_counts_for_whom_it_asked_last() {
    let mut world = World::new(&Config { connections_per_address: 1, ..config() });
    let kept = world.knock(OPEN, peer("10.0.0.1"), &get(&forwarded_for("192.0.2.7")));
    assert_eq!(world.status(kept), 404);
    assert_eq!(world.open(peer("192.0.2.7"), ""), 429);
    for client in ["192.0.2.8", "192.0.2.8, 10.0.0.4", "192.0.2.8"] {
        world.say(kept, &get(&forwarded_for(client)));
        assert_eq!(world.status(kept), 404);
    }
    assert_eq!(world.open(peer("192.0.2.7"), ""), 101, "its place is free again");
    assert_eq!(world.open(peer("192.0.2.8"), ""), 429);
    assert_eq!(world.server.addresses.connections(), 2);
    world.say(kept, &get(""));
    assert_eq!(world.status(kept), 404);
    assert_eq!(world.server.addresses.connections(), 1, "it is the proxy's own now");
    // Somebody who has all that one may have is refused on it, and told so.
    world.say(kept, &get(&forwarded_for("192.0.2.7")));
    let (status, text) = world.answer(kept);
    assert_eq!(status, 429);
    assert!(text.contains("--connections-per-address") && text.contains("\r\nConnection: close"), "{text}");
    world.finish();
}

#[test]
fn a_malformed_request_is_the_proxys_and_a_bad_body_the_clients() {
    capture::install();
    let mut world = World::new(&config());
    let post = with_headers(
        b"POST /rooms/r HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        &forwarded_for("127.0.0.1"),
    );
    let named = get(&forwarded_for("192.0.2.7"));
    let malformed = b"GET / HTTP/1.1\r\nHost : a\r\n\r\n";
    for (from, first, second, shown) in [
        (peer("10.0.0.1"), &named, &malformed[..], "10.0.0.1:4711"),
        (PeerAddress::Unix, &named, &malformed[..], "unix"),
        (PeerAddress::Unix, &get(""), &malformed[..], "unix"),
        (PeerAddress::Unix, &post, &b"no size\r\n"[..], "127.0.0.1"),
        (PeerAddress::Unix, &[&post[..], b"0\r\n\r\n"].concat(), &malformed[..], "unix"),
    ] {
        let lines = lines_of(|| {
            let kept = world.knock(OPEN, from, first);
            world.status(kept);
            world.say(kept, second);
            assert_eq!(world.status(kept), 400);
            let is_proxys = !shown.starts_with("127");
            assert_eq!(world.server.addresses.connections(), usize::from(!is_proxys), "{shown}");
            world.go(kept);
        });
        let close = lines.iter().find(|line| line["message"].starts_with("closed")).expect("a close");
        assert_eq!((&close["peer"][..], &close["cause"][..]), (shown, "refused"));
    }
    world.finish();
}

#[test]
fn the_same_client_on_a_kept_connection_is_no_new_one() {
    let mut world = World::new(&Config { handshakes_per_address: 2, ..config() });
    let kept = world.knock(OPEN, peer("10.0.0.1"), &get(&forwarded_for("192.0.2.7:1")));
    for port in 1..20 {
        assert_eq!(world.status(kept), 404);
        world.say(kept, &get(&forwarded_for(&format!("192.0.2.7:{port}"))));
    }
    assert_eq!(world.status(kept), 404);
    for (client, wanted) in [("192.0.2.8", 404), ("192.0.2.7", 404), ("192.0.2.8", 404), ("192.0.2.7", 429)] {
        world.say(kept, &get(&forwarded_for(client)));
        assert_eq!(world.status(kept), wanted, "each change is one");
    }
    world.finish();
}
