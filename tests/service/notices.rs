//! What the binary tells, from its start to its end.

use rustix::process::Signal;

use crate::manager::Manager;
use crate::support::running::{self, Running};
use crate::support::{Raw, text};

#[test]
fn it_is_ready_once_then_says_how_much_goes_on() {
    let mut manager = Manager::new();
    let running = manager.start(&[]);
    let first = manager.until("READY=");
    assert_eq!(first, "1");
    assert_eq!(manager.told.last().unwrap(), "STATUS=0 connections, 0 rooms, 0 messages/s in, 0 out");
    assert!(manager.told[..manager.told.len() - 2].iter().all(|line| line == "STATUS=starting"));
    // Who is ready serves.
    let mut members: Vec<Raw> = (0..3).map(|_| Raw::open(running.address, "/rooms/r?echo=true")).collect();
    members[0].send(&text("to all"));
    for member in &mut members {
        member.frame();
    }
    let status = manager.until_one("STATUS=", |status| status.starts_with("3 connections, 1 room, "));
    // What the three got may be spread over two lines.
    assert!(status.ends_with(" out"), "{status}");
    assert!(!manager.was_told("WATCHDOG") && !manager.was_told("STOPPING"));
    assert_eq!(manager.told.iter().filter(|line| *line == "READY=1").count(), 1);
}

#[test]
fn a_shutdown_says_so_asks_for_its_time_and_ends() {
    let mut manager = Manager::new();
    let running = manager.start(&["--drain", "60s", "--close-timeout", "60s"]);
    manager.until("READY=1");
    let stubborn = Raw::open(running.address, "/echo");
    running.signal(Signal::TERM);
    manager.until("STOPPING=1");
    assert!(!manager.was_told("EXTEND_TIMEOUT_USEC"), "not before");
    for _ in 0..2 {
        let told = manager.next();
        assert!(told[0].starts_with("STATUS=draining: 1 connection left, for up to "), "{told:?}");
        assert_eq!(told[1], "EXTEND_TIMEOUT_USEC=5000000");
    }
    drop(stubborn);
    let (status, log) = running.end();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn signs_of_life_come_as_long_as_everything_turns_and_through_the_shutdown() {
    let mut manager = Manager::new();
    let mut command = manager.command(&["--drain", "60s", "--close-timeout", "60s"]);
    command.env("WATCHDOG_USEC", "200000");
    let running = Running::spawn(command);
    manager.until("READY=1");
    for _ in 0..5 {
        manager.until("WATCHDOG=1");
    }
    let stubborn = Raw::open(running.address, "/echo");
    running.signal(Signal::TERM);
    manager.until("STOPPING=1");
    // The acceptor has ended, and so has the worker without a connection.
    for _ in 0..5 {
        manager.until("WATCHDOG=1");
    }
    drop(stubborn);
    assert_eq!(running.end().0.code(), Some(0));
}

#[test]
fn a_watchdog_or_a_manager_that_is_wrong_is_one_line_and_status_2() {
    for (variable, value) in [
        ("NOTIFY_SOCKET", "vsock:2:1"),
        ("NOTIFY_SOCKET", "relative"),
        ("WATCHDOG_USEC", "0"),
        ("WATCHDOG_USEC", "soon"),
    ] {
        let mut command = running::command(env!("CARGO_BIN_EXE_fanfare"), &[]);
        let output = command.env(variable, value).output().expect("it runs");
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
        assert!(said.starts_with(&format!("error: {variable}={value}: ")), "{said}");
    }
}

#[test]
fn a_manager_that_is_gone_is_a_line_in_the_log_and_stops_nothing() {
    let manager = Manager::new();
    let command = manager.command(&[]);
    drop(manager);
    let mut running = Running::spawn(command);
    if !running.start.concat().contains("cannot be told") {
        running.wait_for("cannot be told");
    }
    let mut client = Raw::open(running.address, "/echo");
    client.round_trip(b"hi");
    drop(client);
    running.signal(Signal::TERM);
    assert_eq!(running.end().0.code(), Some(0));
}
