//! Heads: the time for each value that is read, by its length, and for one that comes byte by byte.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use fanfare::endpoint::{Echo, Relay, RouterPlan};
use fanfare::protocol::{Connection, Event, Input, Limits};
use fanfare::time::Time;

use super::common::output::say;
use super::{Bar, shortest};

/// Lengths of a value.
const SIZES: [usize; 4] = [1 << 10, 2 << 10, 4 << 10, 8 << 10];
/// What a doubling may cost: twice, and noise.
const RATIO_MAX: f64 = 2.3;
/// For a whole head of the largest size, byte by byte.
const BYTEWISE_MAX: Duration = Duration::from_millis(1);

fn limits() -> Limits {
    Limits { head_bytes_max: 64 << 10, headers_max: 4096, ..Limits::default() }
}

fn plan() -> RouterPlan {
    let mut plan = RouterPlan::default();
    plan.add_rooms_door();
    plan.add_endpoint("/echo", Arc::new(|_| Box::new(Echo)));
    plan.add_endpoint("/rooms/{room}", Arc::new(|_| Box::new(Relay { member_publish: true })));
    plan.origins.allowed = vec!["https://app.example".parse().expect("an origin")];
    plan
}

/// Parses a head and finds out what it asks for, whatever comes of it.
fn handle(plan: &RouterPlan, limits: &Limits, head: &mut [u8]) {
    let mut connection = Connection::accepting();
    let mut input = Input::new(head);
    if let Some(Event::Request(request)) = connection.next_event(Time::ZERO, &mut input, limits) {
        let _ = black_box(plan.resolve(&request));
    }
}

/// A place in a head for a value, and what it is filled with.
struct Attack {
    name: &'static str,
    head: fn(&str) -> String,
    value: fn(usize) -> String,
}

fn upgrade(line: &str) -> String {
    format!(
        "GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{line}\r\n\r\n"
    )
}

fn post(line: &str) -> String {
    format!("POST /rooms/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n{line}\r\n\r\n")
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// Different tokens with commas between.
fn tokens(bytes: usize) -> String {
    (0..bytes / 6).map(|number| format!("{number:05},")).collect::<String>() + "z"
}

const ATTACKS: &[Attack] = &[
    Attack {
        name: "extensions: an open quoted string of escapes",
        head: extensions,
        value: |n| format!("a; b=\"{}", "\\c".repeat(n / 2)),
    },
    Attack {
        name: "extensions: escapes, closed",
        head: extensions,
        value: |n| format!("a; b=\"{}\"", "\\c".repeat(n / 2)),
    },
    Attack { name: "extensions: elements", head: extensions, value: |n| "a,".repeat(n / 2) + "a" },
    Attack {
        name: "extensions: parameters",
        head: extensions,
        value: |n| "a".to_owned() + &";b=c".repeat(n / 4),
    },
    Attack { name: "extensions: quotes", head: extensions, value: |n| "a;b=".to_owned() + &"\"".repeat(n) },
    Attack { name: "subprotocols: different ones", head: protocols, value: tokens },
    Attack { name: "subprotocols: the same", head: protocols, value: |n| "a,".repeat(n / 2) + "a" },
    Attack {
        name: "subprotocols: spaces inside",
        head: protocols,
        value: |n| format!("a{}b", " ".repeat(n)),
    },
    Attack {
        name: "subprotocols: spaces behind",
        head: protocols,
        value: |n| format!("a,{}b", " ".repeat(n)),
    },
    Attack {
        name: "Connection: elements",
        head: |v| upgrade(&format!("Connection: {v}")),
        value: |n| "x,".repeat(n / 2),
    },
    Attack {
        name: "Upgrade: elements",
        head: |v| upgrade(&format!("Upgrade: {v}")),
        value: |n| "x,".repeat(n / 2),
    },
    Attack {
        name: "Sec-WebSocket-Key",
        head: |v| upgrade(&format!("X: y\r\nSec-WebSocket-Key: {v}")),
        value: |n| "A".repeat(n),
    },
    Attack {
        name: "Origin: a host",
        head: |v| upgrade(&format!("Origin: http://{v}")),
        value: |n| "a".repeat(n),
    },
    Attack {
        name: "Origin: colons",
        head: |v| upgrade(&format!("Origin: http://{v}")),
        value: |n| ":".repeat(n),
    },
    Attack {
        name: "Host: brackets",
        head: |v| format!("GET /echo HTTP/1.1\r\nHost: {v}\r\n\r\n"),
        value: |n| "]".repeat(n),
    },
    Attack {
        name: "Content-Type: quoted",
        head: |v| post(&format!("Content-Type: text/plain; a={v}")),
        value: |n| "\"\\".repeat(n / 2),
    },
    Attack {
        name: "Content-Type: parameters",
        head: |v| post(&format!("Content-Type: text/plain{v}")),
        value: |n| ";a=b".repeat(n / 4),
    },
    Attack {
        name: "Idempotency-Key",
        head: |v| post(&format!("Idempotency-Key: {v}")),
        value: |n| "k".repeat(n),
    },
    Attack {
        name: "Last-Event-ID",
        head: |v| format!("GET /rooms/a/events HTTP/1.1\r\nHost: a\r\nLast-Event-ID: {v}\r\n\r\n"),
        value: |n| "1".repeat(n),
    },
    Attack { name: "query: pairs", head: |v| get(&format!("/rooms/a?{v}")), value: |n| "a=1&".repeat(n / 4) },
    Attack {
        name: "query: escapes",
        head: |v| get(&format!("/rooms/a?since={v}")),
        value: |n| "%41".repeat(n / 3),
    },
    Attack {
        name: "query: plus signs",
        head: |v| get(&format!("/rooms/a?since={v}")),
        value: |n| "+".repeat(n),
    },
    Attack { name: "path: escapes", head: |v| get(&format!("/rooms/{v}")), value: |n| "%41".repeat(n / 3) },
    Attack { name: "path: segments", head: get, value: |n| "/".repeat(n) },
    Attack {
        name: "method",
        head: |v| format!("{v} / HTTP/1.1\r\nHost: a\r\n\r\n"),
        value: |n| "M".repeat(n),
    },
    Attack { name: "headers of no interest", head: upgrade, value: |n| "X: y\r\n".repeat(n / 6) + "X: y" },
];

fn extensions(value: &str) -> String {
    upgrade(&format!("Sec-WebSocket-Extensions: {value}"))
}

fn protocols(value: &str) -> String {
    upgrade(&format!("Sec-WebSocket-Protocol: {value}"))
}

pub fn run(smoke: bool) -> Vec<Bar> {
    let (plan, limits) = (plan(), limits());
    let rounds = if smoke { 2 } else { 300 };
    say(&format!("{:<46} {:>9} {:>9} {:>9} {:>9}  µs for 1, 2, 4, 8 KiB", "a head with", "1", "2", "4", "8"));
    let mut bars = Vec::new();
    for attack in ATTACKS {
        let heads = SIZES.map(|size| (attack.head)(&(attack.value)(size)).into_bytes());
        let mut best = [Duration::MAX; SIZES.len()];
        // All sizes in turn: they see the same machine.
        for _ in 0..rounds {
            for (head, best) in heads.iter().zip(&mut best) {
                let mut copy = head.clone();
                let time = shortest(1, || {
                    copy.copy_from_slice(head);
                    handle(&plan, &limits, black_box(&mut copy));
                });
                *best = time.min(*best);
            }
        }
        let micros = best.map(|time| time.as_secs_f64() * 1e6);
        say(&format!(
            "{:<46} {:>9.2} {:>9.2} {:>9.2} {:>9.2}",
            attack.name, micros[0], micros[1], micros[2], micros[3]
        ));
        // Over all of them: an allocator takes larger pieces in another way from some size on.
        let doublings = SIZES.len() as f64 - 1.0;
        bars.push(Bar {
            what: format!("a doubling of {}", attack.name),
            seen: (micros[SIZES.len() - 1] / micros[0]).powf(1.0 / doublings),
            allowed: RATIO_MAX,
            at_least: false,
        });
    }
    bars.push(bytewise(&plan, rounds));
    bars
}

/// A head of the largest size that is allowed, one byte a read.
fn bytewise(plan: &RouterPlan, rounds: usize) -> Bar {
    let limits = Limits::default();
    let filler = "f".repeat(limits.head_bytes_max - upgrade("X: ").len());
    let head = upgrade(&format!("X: {filler}")).into_bytes();
    assert_eq!(head.len(), limits.head_bytes_max);
    let time = shortest(rounds, || {
        let mut connection = Connection::accepting();
        for byte in &head {
            let mut byte = [*byte];
            let mut input = Input::new(&mut byte);
            if let Some(Event::Request(request)) = connection.next_event(Time::ZERO, &mut input, &limits) {
                assert!(plan.resolve(&request).is_ok(), "it is a handshake");
            }
        }
    });
    say(&format!("a head of {} bytes, byte by byte: {:.0} µs", head.len(), time.as_secs_f64() * 1e6));
    Bar {
        what: "ms for a head of the largest size, byte by byte".to_owned(),
        seen: time.as_secs_f64() * 1e3,
        allowed: BYTEWISE_MAX.as_secs_f64() * 1e3,
        at_least: false,
    }
}
