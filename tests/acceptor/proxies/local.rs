//! Who is of this machine, for what needs no key then: not who came through a proxy that is.

use fanfare::config::Config;
use fanfare::protocol::ForwardedHeader;
use fanfare::reactor::PeerAddress;

use super::{OPEN, PROXIED, PUBLIC, World, config, forwarded_for, line, peer, with_headers};

/// Proxies are on this machine and in 10/8.
fn local_proxies() -> Config {
    let trusted = ["127.0.0.0/8", "::1", "10.0.0.0/8", "unix"];
    let trusted_proxy = trusted.map(|proxy| proxy.parse().unwrap()).to_vec();
    Config { connections_per_address: 1000, trusted_proxy, ..config() }
}

/// What needs a key, or to be of this machine.
fn calls(headers: &str) -> [Vec<u8>; 2] {
    let publish = b"POST /rooms/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n";
    let list = b"GET /rooms HTTP/1.1\r\nHost: localhost\r\n\r\n";
    [[&with_headers(publish, headers)[..], b"hi"].concat(), with_headers(list, headers)]
}

/// Those who come so get this for either call, also on one connection.
fn check(
    world: &mut World,
    (listener, from): (usize, PeerAddress),
    before: &[u8],
    headers: &str,
    status: u16,
) {
    let [publish, list] = calls(headers);
    for call in [&publish, &list] {
        let socket = world.knock(listener, from, &[before, call].concat());
        assert_eq!(world.status(socket), status, "{from} {headers:?} {}", before.escape_ascii());
    }
}

/// A proxy of this machine over each of its ways in.
fn ways() -> [(usize, PeerAddress); 3] {
    [(OPEN, PeerAddress::Unix), (OPEN, peer("127.0.0.1")), (OPEN, peer("::1"))]
}

#[test]
fn a_client_that_no_address_of_this_machine_names_is_not_of_it() {
    let mut world = World::new(&local_proxies());
    for way in ways() {
        for clients in [
            "203.0.113.9",
            "fe80::1%eth0",
            "[2001:db8::1%1]:443",
            "unknown",
            "_hidden",
            "unix:",
            "",
            ",",
            "203.0.113.9,",
            "9.9.9.9, unknown",
            "203.0.113.9%eth0",
            "127.0.0.1%lo",
            "localhost",
            "0.0.0.0",
            "10.0.0.4",
            "127.0.0.1, 203.0.113.9",
            "127.0.0.1, 203.0.113.9, 10.0.0.1",
            // The nearest is a proxy of this machine, which does not know for whom it asks.
            "9.9.9.9, unknown, 127.0.0.1",
            "unknown, ::1, 10.0.0.1, 127.0.0.1",
            ", 127.0.0.1",
            "127.0.0.1\r\nX-Forwarded-For: unknown",
        ] {
            check(&mut world, way, b"", &forwarded_for(clients), 403);
        }
        for clients in
            ["127.0.0.1", "::1", "[::1]:80", "::ffff:127.0.0.1", "127.0.0.1, 10.0.0.4", "::1, 127.0.0.1"]
        {
            check(&mut world, way, b"", &forwarded_for(clients), 200);
        }
    }
    world.finish();
}

#[test]
fn the_same_holds_of_the_other_header() {
    let forwarded_header = ForwardedHeader::Forwarded;
    let mut world = World::new(&Config { forwarded_header, ..local_proxies() });
    for way in ways() {
        for (pairs, wanted) in [
            ("for=unknown", 403),
            ("for=_hidden", 403),
            ("for=\"\"", 403),
            ("by=127.0.0.1", 403),
            ("for=\"[fe80::1%eth0]\"", 403),
            ("for=127.0.0.1;for=203.0.113.9", 403),
            ("for=203.0.113.9", 403),
            ("for=127.0.0.1", 200),
            ("for=\"[::1]:80\"", 200),
        ] {
            check(&mut world, way, b"", &format!("Forwarded: {pairs}\r\n"), wanted);
        }
        check(&mut world, way, b"", &forwarded_for("127.0.0.1"), 403);
    }
    world.finish();
}

#[test]
fn a_trusted_proxy_that_says_nothing_is_not_of_this_machine_and_who_is_none_is() {
    let mut world = World::new(&local_proxies());
    for way in ways() {
        check(&mut world, way, b"", "", 403);
    }
    world.finish();
    let mut world = World::new(&Config { trusted_proxy: Vec::new(), ..local_proxies() });
    for way in ways() {
        for headers in [String::new(), forwarded_for("203.0.113.9"), forwarded_for("unknown")] {
            check(&mut world, way, b"", &headers, 200);
        }
    }
    world.finish();
}

#[test]
fn each_request_of_a_kept_connection_is_decided_on_alone() {
    let mut world = World::new(&local_proxies());
    let ok = forwarded_for("127.0.0.1");
    for (clients, wanted) in [("unknown", 403), ("", 403), ("203.0.113.9", 403), ("127.0.0.1, unknown", 403)]
    {
        let kept = world.knock(OPEN, PeerAddress::Unix, &calls(&ok)[1]);
        assert_eq!(world.status(kept), 200);
        world.say(kept, &calls(&forwarded_for(clients))[1]);
        assert_eq!(world.status(kept), wanted, "{clients}");
        world.say(kept, &calls(&ok)[1]);
        assert_eq!(world.status(kept), 200);
        world.say(kept, &calls("")[1]);
        assert_eq!(world.status(kept), 403);
    }
    world.finish();
}

#[test]
fn behind_a_header_before_the_connection_the_client_has_to_be_named_too() {
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for trusted_proxy in [Vec::new(), vec!["10.0.0.0/8".parse().unwrap(), "unix".parse().unwrap()]] {
        let mut world = World::new(&Config { trusted_proxy, ..local_proxies() });
        let at = (PROXIED, PeerAddress::Unix);
        check(&mut world, at, &line("192.0.2.7"), "", 403);
        check(&mut world, at, &line("127.0.0.1"), "", 200);
        for unnamed in [&local[..], b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN a b c\r\n"] {
            check(&mut world, at, unnamed, "", 403);
            check(&mut world, at, unnamed, &forwarded_for("127.0.0.1"), 403);
        }
        // A proxy that the header names is not of this machine either, whether it names somebody or not.
        for headers in [String::new(), forwarded_for("192.0.2.7"), forwarded_for("127.0.0.1")] {
            check(&mut world, at, &line("10.0.0.9"), &headers, 403);
        }
        world.finish();
    }
    let mut world = World::new(&config());
    check(&mut world, (PUBLIC, peer("10.0.0.1")), &line("127.0.0.1"), "", 403);
    world.finish();
}
