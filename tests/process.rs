//! The binary itself: its flags, exit status, signals, logs, and running out of descriptors.

mod support;

use std::fs::File;
use std::io::BufReader;
use std::os::fd::OwnedFd;
use std::process::{ChildStderr, Command};

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use support::running::{self, Running};
use support::{Raw, TestServer, config, upgrade_request};

fn command(arguments: &[&str]) -> Command {
    running::command(env!("CARGO_BIN_EXE_fanfare"), arguments)
}

/// Exit code, standard output and standard error of a run that ends by itself.
fn run(mut command: Command) -> (Option<i32>, String, String) {
    let output = command.output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn check_complaint(command: Command, code: i32, parts: &[&str]) {
    let shown = format!("{command:?}");
    let (status, stdout, stderr) = run(command);
    assert_eq!((status, stdout.as_str()), (Some(code), ""), "{shown}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{shown}: {stderr}");
    assert!(stderr.starts_with("error: "), "{shown}: {stderr}");
    for part in parts {
        assert!(stderr.contains(part), "{shown} lacks {part}: {stderr}");
    }
}

#[test]
fn bad_flags_are_one_line_and_status_2() {
    for (arguments, parts) in [
        (&["--colour"][..], &["--colour"][..]),
        (&["--max-message", "lots"], &["--max-message", "lots", "64KiB"]),
        (&["--max-message", "0"], &["--max-message", "0 bytes", "1 to"]),
        (&["--workers", "0"], &["--workers", "0", "1 to 256"]),
        (&["--workers", "-1"], &["--workers", "-1"]),
        (&["--max-message", "-5"], &["--max-message", "-5", "64KiB"]),
        (&["--write-timeout", "10ms"], &["--write-timeout", "10ms", "100ms to 24h"]),
        (&["--drain", "soon"], &["--drain", "soon"]),
        (&["--listen", "nowhere"], &["--listen", "nowhere", "IP:PORT"]),
        (&["--listen-proxy", "0.0.0.0:0"], &["--listen-proxy", "0.0.0.0:0", "--trusted-proxy"]),
        (&["--trusted-proxy", "home"], &["--trusted-proxy", "home", "10.0.0.0/8", "unix"]),
        (&["--forwarded-header", "Via"], &["--forwarded-header", "Via", "X-Forwarded-For"]),
        (&["--allow-origin", "example.com"], &["--allow-origin", "example.com"]),
        (&["--pin", "x"], &["--pin", "x"]),
        (&["--admin", "127.0.0.1:9001"], &["--admin", "127.0.0.1:9001", "--listen"]),
        (&["--listen", "fd:a", "--admin", "fd:a"], &["--admin", "fd:a", "--listen"]),
        (&["--log", "loud"], &["--log", "loud"]),
        (&["stray"], &["stray"]),
    ] {
        check_complaint(command(arguments), 2, parts);
    }
}

#[test]
fn what_cannot_be_printed_is_a_failure() {
    for arguments in [&["check"][..], &["man"], &["example"], &["completions", "bash"], &["--help"]] {
        let mut command = command(arguments);
        command.stdout(File::options().write(true).open("/dev/full").expect("it opens"));
        check_complaint(command, 1, &["standard output"]);
    }
}

#[test]
fn an_empty_variable_in_the_environment_counts_as_unset() {
    let mut command = command(&["--listen", "127.0.0.1:0", "--admin", "none"]);
    command.env("FANFARE_ALLOW_ORIGIN", "").env("FANFARE_WORKERS", "");
    let running = Running::spawn(command);
    Raw::open(running.address, "/echo").round_trip(b"hi");
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let flags = ["--log", "debug", "--log-rate", "100000"];
    let mut running = Running::start(env!("CARGO_BIN_EXE_fanfare"), &flags);
    // More lines than a pipe holds, and nobody takes one.
    for _ in 0..600 {
        let mut refused = Raw::connect(running.address);
        refused.send(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(refused.refusal().0.status, 404);
    }
    // The reader goes away: every line from now on fails to be written.
    let nothing = OwnedFd::from(File::open("/dev/null").expect("it opens"));
    running.stderr = BufReader::new(ChildStderr::from(nothing));
    for _ in 0..20 {
        let mut client = Raw::open(running.address, "/echo");
        client.round_trip(b"still here");
        client.send(&support::frame(0x88, b"\x03\xe8"));
        assert_eq!(client.expect_close().0, 1000);
    }
    let mut last = Raw::open(running.address, "/echo");
    running.signal(Signal::TERM);
    assert_eq!(last.expect_close().0, 1001);
    drop(last);
    assert!(running.child.wait().expect("its end").success());
}

#[test]
fn bad_values_in_the_environment_are_one_line_and_status_2() {
    for (variable, value) in [
        ("FANFARE_MAX_MESSAGE", "lots"),
        ("FANFARE_WORKERS", "257"),
        ("FANFARE_LISTEN", "nowhere"),
        ("FANFARE_LOG", "loud"),
        ("FANFARE_PING_INTERVAL", "0s"),
    ] {
        let mut command = command(&[]);
        command.env(variable, value);
        let flag = variable.trim_start_matches("FANFARE").replace('_', "-").to_lowercase();
        check_complaint(command, 2, &[&format!("-{flag}")]);
    }
}

#[test]
fn what_cannot_be_started_is_one_line_and_status_1() {
    let other = TestServer::start(config());
    let address = other.address().to_string();
    check_complaint(command(&["--listen", &address, "--admin", "none"]), 1, &["--listen", &address]);
    let many = command(&["--listen", "127.0.0.1:0", "--admin", "none", "--max-connections", "1000000000"]);
    check_complaint(many, 2, &["--max-connections 1000000000", "ulimit -n"]);
}

#[test]
fn help_and_version_go_to_standard_output() {
    let (status, stdout, stderr) = run(command(&["--help"]));
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    for flag in ["--listen", "--max-message", "--drain", "FANFARE_LOG", "Exit status"] {
        assert!(stdout.contains(flag), "{flag}");
    }
    let (status, stdout, stderr) = run(command(&["--version"]));
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    assert_eq!(stdout, format!("fanfare {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_first_lines_name_version_addresses_workers_and_limits() {
    let running = Running::start(
        env!("CARGO_BIN_EXE_fanfare"),
        &["--listen", "[::1]:0", "--max-connections", "77", "--pin", "off"],
    );
    let start = running.start.concat();
    let version = format!("fanfare {}", env!("CARGO_PKG_VERSION"));
    for part in
        [&version, "on 127.0.0.1:", "on [::1]:", "2 workers", "--pin off", "77 connections", "1048576"]
    {
        assert!(start.contains(part), "{part}: {start}");
    }
}

#[test]
fn a_memory_limit_that_histories_alone_may_use_up_is_a_line_of_the_log() {
    for (limit, warned) in [("270MiB", false), ("269MiB", true)] {
        let flags = ["--memory-limit", limit, "--history-memory", "256MiB"];
        let running = Running::start(env!("CARGO_BIN_EXE_fanfare"), &flags);
        running.signal(Signal::TERM);
        let log = running.end().1;
        assert_eq!(
            log.contains("--history-memory 268435456 may use up the memory"),
            warned,
            "{limit}: {log}"
        );
    }
}

#[test]
fn a_signal_closes_everyone_with_1001_and_ends_with_status_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let running = Running::start(env!("CARGO_BIN_EXE_fanfare"), &[]);
        let mut clients: Vec<Raw> = (0..5).map(|_| Raw::open(running.address, "/echo")).collect();
        clients[0].round_trip(b"before");
        running.signal(signal);
        for client in &mut clients {
            assert_eq!(client.expect_close(), (1001, "the server is shutting down".to_owned()));
        }
        drop(clients);
        let (status, log) = running.end();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains("shutting down") && log.contains("stopped"), "{log}");
    }
}

#[test]
fn the_admin_listener_goes_behind_the_others_without_a_word_and_is_named_at_the_start() {
    let running = Running::spawn(command(&["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]));
    assert!(running.start.iter().any(|line| line.contains("admin on 127.0.0.1:")), "{:?}", running.start);
    running.signal(Signal::TERM);
    let (status, log) = running.end();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(log.matches("shutting down: ").count(), 1, "{log}");
}

#[test]
fn a_second_signal_ends_it_at_once_with_status_1() {
    let mut running =
        Running::start(env!("CARGO_BIN_EXE_fanfare"), &["--drain", "60s", "--close-timeout", "60s"]);
    let mut stubborn = Raw::open(running.address, "/echo");
    running.signal(Signal::TERM);
    // It has been told and does not leave.
    assert_eq!(stubborn.expect_close().0, 1001);
    running.signal(Signal::INT);
    let line = running.wait_for("stopping at once");
    assert!(line.contains("WARN"), "through the log: {line}");
    let (status, _) = running.end();
    assert_eq!(status.code(), Some(1));
    drop(stubborn);
}

#[test]
fn the_bytes_of_a_peer_break_no_log_line() {
    let mut running =
        Running::start(env!("CARGO_BIN_EXE_fanfare"), &["--log", "trace", "--allow-origin", "http://good"]);
    let valid = upgrade_request("/echo");
    for request in [
        valid.replace("/echo", "/\u{1b}[31m"),
        valid.replace("/echo", "/%1b%0d%0aroot:/ä"),
        valid.replace("/echo", "/rooms/%1B%0D%0A"),
        valid.replace("Host: a", "Host: a\r\nOrigin: http://\u{e4}evil"),
        valid.replace("Host: a", "Host: a\r\nOrigin: \u{1b}[2J"),
    ] {
        let mut raw = Raw::connect(running.address);
        raw.send(request.as_bytes());
        assert_ne!(raw.head().status, 101);
        raw.rest();
        let line = running.wait_for("cause=\"refused\"");
        assert!(line.contains(&raw.stream.local_addr().unwrap().to_string()), "the peer is named: {line}");
    }
    let mut raw = Raw::open(running.address, "/echo");
    raw.send(&support::frame(0x88, "\u{3}\u{0}bad".as_bytes()));
    raw.rest();
    drop(raw);
    running.signal(Signal::TERM);
    let (_, log) = running.end();
    assert!(log.contains("cause=\"protocol_error\""), "{log}");
    for line in log.lines() {
        // Time first, and nothing in it that a terminal obeys.
        assert!(line.starts_with("20") && line.chars().all(|c| !c.is_control()), "{line:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn without_descriptors_new_connections_are_refused_and_old_ones_live_on() {
    let mut running = Running::start(env!("CARGO_BIN_EXE_fanfare"), &[]);
    let mut old: Vec<Raw> = (0..10).map(|_| Raw::open(running.address, "/echo")).collect();
    // Accept itself fails from now on; what is open stays open.
    let pid = Pid::from_child(&running.child);
    let limit = Some(running.next_descriptor());
    let before = prlimit(Some(pid), Resource::Nofile, Rlimit { current: limit, maximum: limit }).unwrap();
    assert!(before.current > limit);
    for round in 0..20 {
        let mut extra = Raw::connect(running.address);
        let (head, body) = extra.refusal();
        assert_eq!((head.status, head.header("retry-after")), (503, Some("5")), "{round}: {body}");
        old[round % 10].round_trip(b"alive");
    }
    running.wait_for("out of descriptors");
    // A descriptor for each that leaves; it is free when the server has seen that.
    old.truncate(8);
    let again = (0..10_000).find_map(|_| {
        let mut raw = Raw::connect(running.address);
        raw.is_welcome("/echo").then_some(raw)
    });
    again.expect("descriptors are free again").round_trip(b"welcome");
    for client in &mut old {
        client.round_trip(b"alive");
    }
    running.signal(Signal::TERM);
    for client in &mut old {
        assert_eq!(client.expect_close().0, 1001);
    }
}
