//! Peers that do not let go: every way to hang a closing handshake ends in time, without spinning.

use std::time::Duration;

use fanfare::Config;
use fanfare::endpoint::CloseKind;
use fanfare::shard::{Counter, RECEIVE_BYTES};

use crate::common::server::TICK;
use crate::common::{Client, Server, binary, close, text};
use crate::peers::everything;
use crate::support::{Raw, TestServer, config, frame};

/// What the row allows, over the timeout of two seconds.
const FREED_WITHIN: Duration = Duration::from_secs(5);

/// What is done, in words and in deed.
type Deed = (&'static str, fn(&mut Server, Client));

/// How the conversation ends before the peer hangs on.
const ENDS: [Deed; 2] = [
    ("we close", |server, peer| server.feed(peer, b"\xff\xff")),
    ("it closes", |server, peer| server.feed(peer, &close(1000, "bye"))),
];

/// What it does then, once a second.
const HANGS: [Deed; 5] = [
    ("is silent", |_, _| {}),
    ("answers and keeps the socket", |server, peer| server.feed(peer, &close(1000, ""))),
    ("ends its half", |server, peer| server.socket(peer).eof = true),
    ("sends messages", |server, peer| server.feed(peer, &text("and another thing"))),
    ("floods", |server, peer| server.feed(peer, &binary(&[7; 6 << 20]))),
];

#[test]
fn however_a_peer_hangs_on_its_descriptor_is_free_in_five_seconds() {
    for (ends, end) in ENDS {
        for (hangs, hang) in HANGS {
            let config = Config::default();
            let mut server = everything(1, &config);
            let peer = server.connect(0, "/echo");
            end(&mut server, peer);
            server.settle();
            let closed_at = server.now();
            let (_, shut) = (server.take_close(peer), server.socket(peer).calls.shutdown_write);
            assert_eq!(shut, 1, "{ends}, {hangs}: it is told that nothing more comes");
            let receives = server.socket(peer).calls.receive;
            while !server.is_closed(peer) {
                hang(&mut server, peer);
                server.settle();
                if !server.is_closed(peer) {
                    server.advance(Duration::from_millis(250));
                }
                assert!(server.now().since(closed_at) <= FREED_WITHIN, "{ends}, {hangs}");
            }
            // What a flood may cost: reads up to the bound, and then none.
            let reads = server.socket(peer).calls.receive - receives;
            assert!(reads <= config.linger_bytes / RECEIVE_BYTES + 16, "{ends}, {hangs}: {reads} reads");
            assert_eq!(server.socket(peer).output, b"", "{ends}, {hangs}: nothing is answered");
            assert_eq!(server.counter(Counter::Connections), 0);
            server.finish();
        }
    }
}

#[test]
fn a_shard_waits_and_does_not_spin_while_a_peer_hangs_on() {
    for (hangs, hang) in HANGS {
        let config = Config { linger_bytes: 1 << 20, ..Config::default() };
        let mut server = everything(1, &config);
        let peer = server.connect(0, "/echo");
        ENDS[0].1(&mut server, peer);
        server.settle();
        hang(&mut server, peer);
        server.settle();
        if server.is_closed(peer) {
            continue;
        }
        let (now, before) = (server.now(), server.socket(peer).calls);
        server.turn(0);
        let waits_until = server.shards[0].io_mut().deadline.expect("the transport's end");
        assert!(waits_until > now, "{hangs}: a turn has nothing left for the next");
        assert!(waits_until <= now + config.close_timeout + TICK, "{hangs}");
        assert_eq!(server.socket(peer).calls, before, "{hangs}: and nothing was ready");
        server.finish();
    }
}

#[test]
fn a_peer_that_does_not_take_its_close_is_gone_after_the_time_of_any_queue() {
    let config = Config::default();
    let mut server = everything(1, &config);
    let peer = server.connect(0, "/echo");
    server.socket(peer).room = 0;
    server.feed(peer, b"\xff\xff");
    server.settle();
    let within = config.write_timeout + TICK;
    server.advance(within);
    assert!(server.is_closed(peer), "within {within:?}");
    server.finish();
}

/// Connections of this machine that a server on a port has not closed although their peers have.
#[cfg(target_os = "linux")]
fn close_waits(port: u16) -> usize {
    const CLOSE_WAIT: &str = "08";
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel has TCP");
    let local = format!(":{port:04X}");
    let waits = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next().is_some_and(|address| address.ends_with(&local)) && fields.nth(1) == Some(CLOSE_WAIT)
    };
    table.lines().skip(1).filter(waits).count()
}

#[cfg(target_os = "linux")]
#[test]
fn no_socket_is_left_in_close_wait() {
    const EACH: usize = 50;
    let close_timeout = Duration::from_millis(200);
    let server = TestServer::start(fanfare::Config { close_timeout, ..config() });
    let mut held = Vec::new();
    for number in 0..4 * EACH {
        let mut peer = Raw::open(server.address(), "/echo");
        match number % 4 {
            0 => peer.half_close(),
            1 => {
                peer.send(&frame(0x88, b"\x03\xe8"));
                assert_eq!(peer.expect_close().0, 1000);
            }
            2 => {
                peer.send(b"\xff\xff");
                assert_eq!(peer.expect_close().0, 1002);
            }
            _ => {
                peer.send(&[frame(0x82, &[7; 1000]), frame(0x88, b"")].concat());
                peer.half_close();
            }
        }
        // The peer keeps its socket all the while.
        held.push(peer);
    }
    let mut probe = Raw::open(server.address(), "/echo");
    let left = (0..100_000).find(|_| {
        probe.round_trip(b"probe");
        server.counter(Counter::Connections) == 1
    });
    assert!(left.is_some(), "the probe is what is left in the end");
    assert_eq!(close_waits(server.address().port()), 0);
    assert_eq!(server.closes(CloseKind::PeerGone), EACH as u64);
    drop(held);
}
