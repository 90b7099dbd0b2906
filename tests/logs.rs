//! The log of the binary as others read it: JSON, lines for a journal, floods.

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::fs::fstat;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::running::{Running, command};
use support::{Raw, frame, upgrade_request};

/// A server whose log is one end of a socket pair.
struct Logged {
    child: Child,
    log: BufReader<UnixStream>,
    lines: Vec<String>,
}

impl Logged {
    fn start(flags: &[&str], environment: impl FnOnce(&mut Command, &UnixStream)) -> Logged {
        let all = [&["--listen", "127.0.0.1:0", "--workers", "1", "--admin", "none"], flags].concat();
        let mut command = command(env!("CARGO_BIN_EXE_fanfare"), &all);
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        ours.set_read_timeout(Some(support::PATIENCE)).expect("a read timeout");
        environment(&mut command, &theirs);
        let child = command.stderr(Stdio::from(OwnedFd::from(theirs))).spawn().expect("it runs");
        Logged { child, log: BufReader::new(ours), lines: Vec::new() }
    }

    /// Where it listens, as its log says it.
    fn address(&mut self) -> SocketAddr {
        loop {
            let line = self.line().expect("it goes on until it listens");
            if let Some((_, address)) = line.split_once("listening on ") {
                let end = address.find(|character: char| !matches!(character, '0'..='9' | '.' | ':'));
                return address[..end.unwrap_or(address.len())].parse().expect("an address");
            }
        }
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        if self.log.read_line(&mut line).expect("a line") == 0 {
            return None;
        }
        self.lines.push(line.trim_end().to_owned());
        self.lines.last().cloned()
    }

    /// Ends it, and gives all that it has logged.
    fn end(mut self) -> (ExitStatus, Vec<String>) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("a signal");
        while self.line().is_some() {}
        (self.child.wait().expect("its end"), std::mem::take(&mut self.lines))
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        // By its handle; it has ended already where a test has gone well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Opens, closes with 1000, and waits for the end.
fn come_and_go(address: SocketAddr, target: &str) {
    let mut raw = Raw::open(address, target);
    raw.send(&frame(0x88, b"\x03\xe8"));
    raw.half_close();
    raw.rest();
}

/// Asks for what is not there.
fn miss(address: SocketAddr) {
    let mut raw = Raw::connect(address);
    raw.send(upgrade_request("/nowhere").as_bytes());
    assert_eq!(raw.refusal().0.status, 404);
}

#[test]
fn json_has_an_object_a_line_with_the_connection_its_room_the_cause_and_the_code() {
    let mut logged = Logged::start(&["--log-format", "json", "--log", "debug"], |_, _| {});
    let address = logged.address();
    come_and_go(address, "/rooms/%22lobby%22%20%E2%80%AE");
    miss(address);
    let (status, lines) = logged.end();
    assert!(status.success());
    let objects: Vec<BTreeMap<String, Value>> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for object in &objects {
        assert!(object["time"].as_str().unwrap().starts_with("20"), "{object:?}");
        assert!(["info", "debug"].contains(&object["level"].as_str().unwrap()), "{object:?}");
        assert!(!object["message"].as_str().unwrap().is_empty());
    }
    let closed: Vec<_> = objects.iter().filter(|object| object.contains_key("cause")).collect();
    assert_eq!(closed.len(), 2, "{lines:?}");
    let [left, refused] = closed[..] else { unreachable!() };
    assert_eq!((&left["cause"], &left["code"]), (&"peer_closed".into(), &1000.into()));
    assert_eq!(left["room"], Value::from("\"lobby\" \u{202e}"));
    assert!(left["connection"].as_str().unwrap().starts_with("0-"), "{left:?}");
    assert!(left["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!(refused["cause"], Value::from("refused"));
    assert!(!refused.contains_key("room") && !refused.contains_key("code"), "{refused:?}");
}

#[test]
fn where_the_journal_does_not_answer_its_stream_gets_lines_with_their_level() {
    if Path::new("/run/systemd/journal/socket").exists() {
        println!("skipped: needs a machine without journald");
        return;
    }
    let mut logged = Logged::start(&["--log", "debug"], |command, stderr| {
        let file = fstat(stderr).expect("its inode");
        command.env("JOURNAL_STREAM", format!("{}:{}", file.st_dev, file.st_ino));
    });
    let address = logged.address();
    come_and_go(address, "/rooms/lobby");
    let (_, lines) = logged.end();
    assert!(lines[0].starts_with("<6>fanfare "), "{lines:?}");
    let closed = lines.iter().find(|line| line.contains("cause=")).expect("a line of the close");
    assert!(closed.starts_with("<7>closed: ") && closed.contains(" room=\"lobby\""), "{closed}");
}

#[test]
fn the_stream_of_another_process_is_no_journal() {
    let mut logged = Logged::start(&[], |command, _| _ = command.env("JOURNAL_STREAM", "1:1"));
    logged.address();
    let (_, lines) = logged.end();
    assert!(lines.iter().all(|line| line.starts_with("20")), "{lines:?}");
}

#[test]
fn a_flood_of_one_kind_is_thinned_out_and_every_line_of_it_is_counted() {
    const REQUESTS: u64 = 200;
    let flags = ["--log", "debug", "--log-rate", "10", "--handshakes-per-address", "100000"];
    let running = Running::start(env!("CARGO_BIN_EXE_fanfare"), &flags);
    for _ in 0..REQUESTS {
        miss(running.address);
    }
    come_and_go(running.address, "/echo");
    running.signal(Signal::TERM);
    let (status, log) = running.end();
    assert!(status.success());
    let refused = |line: &&str| line.contains("cause=\"refused\"");
    let (summaries, lines): (Vec<&str>, Vec<&str>) =
        log.lines().filter(refused).partition(|line| line.contains(" left out "));
    let count = |line: &&str| -> u64 {
        let (_, count) = line.split_once("left_out=").expect("a count");
        count.split(' ').next().and_then(|count| count.parse().ok()).expect("a number")
    };
    let left_out: u64 = summaries.iter().map(count).sum();
    assert!(lines.len() >= 10 && left_out > 0, "{log}");
    assert_eq!(lines.len() as u64 + left_out, REQUESTS, "{log}");
    assert!(log.contains("cause=\"peer_closed\""), "another kind is not touched: {log}");
}
