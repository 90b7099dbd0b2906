//! A server goes and another comes in its place, with a crowd of clients: they are told one after the other, the
//! new server lets no more of them in than it admits, and they hear all that either server holds for them.
//! `RESTART_CLIENTS` says how many they are.

#[path = "../support/mod.rs"]
mod support;

mod crowd;

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use fanfare::time::Time;
use rustix::process::Signal;

use crowd::Crowd;
use support::Raw;
use support::running::{Running, command};

/// Messages to each of the two servers.
const MESSAGES: u64 = 20;

fn start(flags: &[&str]) -> Running {
    let flags = [&["--workers", "2", "--admin", "none"], flags].concat();
    Running::spawn(command(env!("CARGO_BIN_EXE_fanfare"), &flags))
}

/// Publishes over one connection, which stays.
struct Publisher {
    door: Raw,
    published: u64,
}

impl Publisher {
    fn new(address: SocketAddr) -> Publisher {
        Publisher { door: Raw::connect(address), published: 0 }
    }

    /// So many in all; returns when they are in the room.
    fn publish_up_to(&mut self, count: u64) {
        while self.published < count {
            self.published += 1;
            let body = self.published.to_string();
            let length = body.len();
            let request =
                format!("POST /rooms/r HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}");
            self.door.send(request.as_bytes());
            let (head, answer) = self.door.response();
            assert_eq!(head.status, 200, "{answer}");
        }
    }
}

/// How much of `all` belongs to the time from `start` on, at `all` in `whole`.
fn share(all: usize, whole: Duration, start: Time, now: Time) -> usize {
    (all as f64 * now.since(start).as_secs_f64() / whole.as_secs_f64()) as usize
}

#[test]
fn a_restart_under_a_crowd_is_no_storm_and_nobody_misses_what_a_server_holds() {
    fanfare::server::raise_descriptor_limit();
    let count = std::env::var("RESTART_CLIENTS").map_or(120, |text| text.parse().expect("a number"));
    let rate = (count / 4).max(150);
    let drain = Duration::from_millis((count as u64 / 2).max(400));
    let drain_ms = format!("{}ms", drain.as_millis());
    let old = ["--listen", "127.0.0.1:0", "--handshakes-per-second", "1000000", "--drain", &drain_ms];
    let mut old = start(&old);
    let mut crowd = Crowd::new(old.address, count);
    crowd.until("everybody is there", |crowd| crowd.open() == count);
    let mut publisher = Publisher::new(old.address);
    publisher.publish_up_to(MESSAGES);
    crowd.held = MESSAGES;

    let stopped = crowd.now();
    old.signal(Signal::TERM);
    old.wait_for("shutting down");
    let is_free = (0..100_000).any(|_| TcpStream::connect(old.address).is_err());
    assert!(is_free, "nobody listens any more");
    let started = crowd.now();
    crowd.met.let_in = 0;
    let rate_text = rate.to_string();
    let new = start(&["--listen", &old.address.to_string(), "--handshakes-per-second", &rate_text]);
    let mut publisher = Publisher::new(new.address);
    publisher.publish_up_to(1);
    // Each is told, then comes with a position of the old server's, and then for all that the new one holds.
    crowd.until("everybody is back", |crowd| {
        let (now, met) = (crowd.now(), crowd.met);
        let may_be_told = share(count, drain, stopped, now) + 2;
        assert!(met.told <= may_be_told, "{} are told, {may_be_told} may be by now", met.told);
        let may_be_in = share(rate, Duration::from_secs(1), started, now) + rate / 10 + 1;
        assert!(met.let_in < may_be_in, "{} are let in, {may_be_in} may be by now", met.let_in + 1);
        let back = met.let_in - met.gone;
        publisher.publish_up_to(1 + (MESSAGES - 2) * back as u64 / count as u64);
        back == count
    });
    publisher.publish_up_to(MESSAGES);
    crowd.until("everybody has heard everything", |crowd| crowd.have_heard(MESSAGES));
    let met = crowd.met;
    assert_eq!((met.told, met.gone, crowd.open()), (count, count, count), "{met:?}");
    let (status, log) = old.end();
    assert!(status.success() && log.contains("stopped"), "{status}: {log}");
    println!("{count} clients: {met:?}, all back after {:?}", crowd.now().since(started));
    drop(new);
}
