//! The binary itself when its memory or its descriptors are nearly used up: nobody else is let in, slow consumers
//! go, and everybody else is served as before.

mod support;

use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;

use support::running::Running;
use support::{Frame, Raw, frame, upgrade_request};

const BINARY: &str = env!("CARGO_BIN_EXE_fanfare");
const MESSAGE_BYTES: usize = 1 << 20;
/// Of them some are more than the memory limit below, however little the process itself takes.
const MESSAGES: u8 = 100;

/// Publishes a message to a room over a connection that stays.
fn publish(door: &mut Raw, room: &str, body: &[u8]) {
    let length = body.len();
    door.send(
        format!("POST /rooms/{room} HTTP/1.1\r\nHost: a\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n")
            .as_bytes(),
    );
    door.send(body);
    let (head, answer) = door.response();
    assert_eq!(head.status, 200, "{answer}");
}

/// Connects until the answer is a refusal, and gives its message.
fn until_refused(running: &Running) -> String {
    let refused = (0..100_000).find_map(|_| {
        let mut raw = Raw::connect(running.address);
        raw.send(upgrade_request("/echo").as_bytes());
        let (status, retry_after_s, message) = match raw.head() {
            head if head.status == 101 => return None,
            head => (head.status, head.header("retry-after").map(str::to_owned), raw.rest()),
        };
        let seconds: u64 = retry_after_s.expect("when to come again").parse().expect("whole seconds");
        assert!(status == 503 && (5..=15).contains(&seconds), "{status}, {seconds} s");
        Some(String::from_utf8(message).expect("text"))
    });
    refused.expect("nobody is let in some time")
}

#[test]
fn over_the_memory_limit_nobody_is_let_in_and_slow_consumers_go() {
    let flags = [
        "--memory-limit",
        "96MiB",
        "--history-memory",
        "1GiB",
        "--history-bytes",
        "200MiB",
        "--handshakes-per-second",
        "1000000",
        "--write-timeout",
        "1h",
        "--log",
        "info",
    ];
    let mut running = Running::start(BINARY, &flags);
    let mut healthy = Raw::open(running.address, "/rooms/quiet?echo=true");
    // It takes nothing of what its room has for it.
    let slow = Raw::open(running.address, "/rooms/loud");
    let mut door = Raw::connect(running.address);
    for number in 0..MESSAGES {
        publish(&mut door, "loud", &vec![number; MESSAGE_BYTES]);
    }
    let message = until_refused(&running);
    assert!(
        message.contains("over 95 % of its memory") && message.contains("--shed-at-percent"),
        "{message}"
    );
    let line = running.wait_for("slow_consumer_shed");
    let peer = slow.stream.local_addr().expect("an address").to_string();
    assert!(line.contains(&peer) && line.contains("1013"), "{line}");
    // Whoever reads is served, and the back end too.
    healthy.send(&frame(0x81, b"still here"));
    assert_eq!(healthy.frame(), Frame::text("still here"));
    publish(&mut door, "quiet", b"published");
    assert_eq!(healthy.frame(), Frame::binary(b"published"));
}

/// A file with settings, which is removed at the end.
struct Settings(PathBuf);

impl Settings {
    fn write(&self, text: &str) {
        std::fs::write(&self.0, text).expect("a file");
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn memory_that_nobody_holds_any_longer_lets_people_in_again() {
    // Small enough for the allocator to keep what is freed of them, and more than the limit.
    const BYTES: usize = 64 << 10;
    const COUNT: usize = 1024;
    let settings = std::env::temp_dir().join(format!("fanfare-shedding-{}.toml", std::process::id()));
    let settings = Settings(settings);
    settings.write("history-memory = \"1GiB\"\nhistory-bytes = \"128MiB\"\n");
    let file = settings.0.to_str().expect("UTF-8");
    let (limit, fast) = (["--memory-limit", "64MiB"], ["--handshakes-per-second", "1000000"]);
    let room = ["--history-messages", "10000"];
    let flags = [&["--config", file, "--log", "info"][..], &limit, &fast, &room].concat();
    let mut running = Running::start(BINARY, &flags);
    let mut door = Raw::connect(running.address);
    let mut members = Vec::new();
    for number in 0..COUNT {
        publish(&mut door, "held", &[number as u8; BYTES]);
        // What lives on lies between what does not.
        if number % 32 == 0 && number < COUNT / 2 {
            members.push(Raw::open(running.address, "/rooms/small"));
        }
    }
    until_refused(&running);
    // Histories that have no place go with the next message.
    settings.write("history-memory = \"128MiB\"\nhistory-bytes = \"64KiB\"\n");
    running.signal(Signal::HUP);
    running.wait_for("reload: --history-memory");
    publish(&mut door, "held", b"the last");
    let again = (0..100_000).find_map(|_| {
        let mut raw = Raw::connect(running.address);
        raw.is_welcome("/echo").then_some(raw)
    });
    again.expect("there is memory again").round_trip(b"welcome");
    // Who was there all the time is served.
    publish(&mut door, "small", b"still here");
    for member in &mut members {
        assert_eq!(member.frame(), Frame::binary(b"still here"));
    }
}

#[test]
fn at_95_percent_of_the_descriptors_nobody_is_let_in_until_somebody_leaves() {
    const DESCRIPTORS: usize = 4_000;
    fanfare::server::raise_descriptor_limit();
    let limited = format!("ulimit -n {DESCRIPTORS} && exec \"$0\" \"$@\"");
    let flags = ["--listen", "127.0.0.1:0", "--admin", "none", "--workers", "2", "--drain", "0s"];
    let mut command = Command::new("sh");
    command.args(["-c", &limited, BINARY]).args(flags).args(["--handshakes-per-second", "1000000"]);
    command.env_clear().stdin(std::process::Stdio::null());
    let running = Running::spawn(command);
    let mut open: Vec<Raw> = Vec::new();
    let refusal = loop {
        let mut raw = Raw::connect(running.address);
        raw.send(upgrade_request("/echo").as_bytes());
        match raw.head() {
            head if head.status == 101 => open.push(raw),
            head => break (head, raw),
        }
        assert!(open.len() < DESCRIPTORS, "nobody is refused");
    };
    let (head, mut raw) = refusal;
    let message = String::from_utf8(raw.rest()).expect("text");
    assert_eq!(head.status, 503, "{message}");
    assert!(message.contains("over 95 % of its descriptors"), "{message}");
    let allowed = DESCRIPTORS / 100 * 95;
    assert!(open.len() < allowed && open.len() + 64 > allowed, "{} of {allowed}", open.len());
    open[0].round_trip(b"served");
    open.pop();
    // The place is free when the server has seen the end of the stream.
    let again = (0..10_000).find_map(|_| {
        let mut raw = Raw::connect(running.address);
        raw.is_welcome("/echo").then_some(raw)
    });
    again.expect("the place is given again").round_trip(b"welcome");
}
