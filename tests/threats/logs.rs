//! What peers say in the log: one line each, escaped and short, whatever it is.

use std::net::SocketAddr;

use rustix::process::Signal;

use crate::support::running::Running;
use crate::support::{Raw, frame, text, upgrade_request};

/// Longer lines say more than they need.
const LINE_BYTES_MAX: usize = 700;

/// What terminals, line-based tools and people fall for: escapes, ends of lines, and characters that turn
/// the direction, break lines or are not seen.
const TRICKS: &str = "\u{202e}\u{2028}\u{2029}\u{200b}\u{feff}\u{85}\u{9b}31m";

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Sends a request that is refused or answered, and waits for the end.
fn ask(address: SocketAddr, request: &[u8]) {
    let mut raw = Raw::connect(address);
    raw.send(request);
    raw.half_close();
    raw.rest();
}

/// Heads with much and strange in every place; each is one connection.
fn heads() -> Vec<Vec<u8>> {
    let long = "x".repeat(4 << 10);
    let valid = upgrade_request("/echo");
    let with = |header: &str, value: &[u8]| {
        [&valid.as_bytes()[..valid.len() - 2], header.as_bytes(), b": ", value, b"\r\n\r\n"].concat()
    };
    let tricks = encoded("\u{1b}[2J\r\n20");
    let mut heads = vec![
        upgrade_request(&format!("/{long}")).into_bytes(),
        upgrade_request(&format!("/{tricks}{long}")).into_bytes(),
        upgrade_request(&format!("/rooms/{long}")).into_bytes(),
        upgrade_request(&format!("/rooms/{tricks}")).into_bytes(),
        upgrade_request(&format!("/rooms/a?since={tricks}{long}")).into_bytes(),
        upgrade_request(&format!("/rooms/a?name={}", encoded(TRICKS))).into_bytes(),
        format!("{long} / HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes(),
        b"GET / HTTP/1.1\r\nHost: a\r\nX-API-Key: a-key-that-is-nobodys\r\n\r\n".to_vec(),
    ];
    for header in ["User-Agent", "Origin", "Referer", "X-Forwarded-For", "Sec-WebSocket-Protocol"] {
        heads.push(with(header, long.as_bytes()));
        heads.push(with(header, b"a\r\n2026-01-01T00:00:00Z  INFO all is well"));
        heads.push(with(header, b"\x1b]0;title\x07\x1b[2J"));
        heads.push(with(header, TRICKS.as_bytes()));
    }
    heads
}

/// Sends over a WebSocket, and waits for the end.
fn say(address: SocketAddr, target: &str, frames: &[u8]) {
    let mut raw = Raw::open(address, target);
    raw.send(frames);
    raw.half_close();
    raw.rest();
}

#[test]
fn each_connection_is_one_line_of_the_log_whatever_its_peer_says() {
    let running = Running::start(env!("CARGO_BIN_EXE_fanfare"), &["--log", "trace"]);
    let address = running.address;
    let mut connections = 0;
    for head in heads() {
        ask(address, &head);
        connections += 1;
    }
    for reason in [TRICKS, "\u{1b}[31m\r\n20", &"r".repeat(123)] {
        say(address, "/echo", &frame(0x88, &[b"\x03\xe8", reason.as_bytes()].concat()));
        say(
            address,
            &format!("/rooms/{}", encoded(TRICKS.trim_end_matches("\u{85}\u{9b}31m"))),
            &text(reason),
        );
        let sdk = format!("{{\"id\":1,\"connect\":{{\"data\":{{\"name\":{}}}}}}}", serde_json::json!(reason));
        say(address, "/connection/websocket", &[text(&sdk), text(reason)].concat());
        connections += 3;
    }
    running.signal(Signal::TERM);
    let (status, log) = running.end();
    assert!(status.success(), "{log}");
    let closed = log.lines().filter(|line| line.contains("closed: ")).count();
    assert_eq!(closed, connections, "{log}");
    for line in log.lines() {
        let fit = line.chars().all(|character| {
            !character.is_control()
                && (character == ' ' || character.escape_debug().len() == 1 || "\"'\\".contains(character))
        });
        assert!(line.starts_with("20") && fit, "{line:?}");
        assert!(line.len() <= LINE_BYTES_MAX, "{} bytes: {line}", line.len());
    }
    assert!(!log.contains("nobodys"), "a key is nobody's business");
}

#[test]
fn a_room_of_a_strange_name_is_named_in_one_line() {
    let flags = ["--log", "info", "--history-messages", "1", "--send-buffer", "4KiB"];
    let mut running = Running::start(env!("CARGO_BIN_EXE_fanfare"), &flags);
    let name = "\u{202e}\u{2028}\u{feff}\"quoted\" \\ name";
    let target = format!("/rooms/{}", encoded(name));
    let mut publisher = Raw::open(running.address, &format!("{target}?echo=true"));
    let _stalled = Raw::open(running.address, &target);
    // More than all buffers on the way take.
    for _ in 0..500 {
        publisher.send(&frame(0x82, &[7; 32 << 10]));
        publisher.frame();
    }
    let line = running.wait_for("slow_consumer");
    let shown = name.escape_debug().to_string();
    assert!(line.contains(&shown), "{line:?} has {shown}");
    assert!(line.trim_end().chars().all(|character| !character.is_control() && character != '\u{202e}'));
}
