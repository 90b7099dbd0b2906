//! Sockets that were opened before the server, in this process and by whoever starts the binary.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};

use fanfare::server::{ListenAddress, PassedSockets};
use fanfare::{Config, ServerBuilder};
use rustix::process::Signal;

use crate::support::running::{self, Running};
use crate::support::{Raw, TestServer, config, text};

const BINARY: &str = env!("CARGO_BIN_EXE_fanfare");

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = listener.local_addr().expect("its address");
    (listener, address)
}

fn named(names: &[&str]) -> Config {
    let listen = names.iter().map(|name| ListenAddress::Passed((*name).to_owned())).collect();
    Config { listen, ..config() }
}

#[test]
fn every_socket_of_a_name_is_served_and_those_that_wait_already_too() {
    let path = std::env::temp_dir().join(format!("fanfare-passed-{}", std::process::id()));
    let ((first, one), (second, two)) = (listener(), listener());
    let unix = UnixListener::bind(&path).expect("a path");
    let mut early = Raw::connect(one);
    early.send(crate::support::upgrade_request("/echo").as_bytes());
    let mut passed = PassedSockets::default();
    passed.add("ws", OwnedFd::from(first));
    passed.add("local", OwnedFd::from(unix));
    passed.add("ws", OwnedFd::from(second));
    let builder = ServerBuilder::standard(named(&["ws", "local"])).passed_sockets(passed);
    let server = TestServer::build(builder);
    let tcp = ListenAddress::Tcp;
    assert_eq!(server.addresses(), [tcp(one), tcp(two), ListenAddress::Unix(path.clone())]);
    assert_eq!(early.head().status, 101);
    early.round_trip(b"it has waited");
    Raw::open(two, "/echo").round_trip(b"hi");
    drop(UnixStream::connect(&path).expect("it is served"));
    server.stop();
    std::fs::remove_file(&path).expect("the path is its owner's");
}

#[test]
fn a_name_that_was_not_passed_or_no_listener_is_an_error_of_one_line() {
    let start = |passed| ServerBuilder::standard(named(&["ws"])).passed_sockets(passed).start();
    let none = start(PassedSockets::default()).expect_err("nothing is passed").to_string();
    assert_eq!(none, "--listen fd:ws: no socket of this name; none was passed");
    let mut passed = PassedSockets::default();
    passed.add("http", OwnedFd::from(listener().0));
    let other = start(passed).expect_err("another one is passed").to_string();
    assert_eq!(other, "--listen fd:ws: no socket of this name; passed are: http");
    let mut passed = PassedSockets::default();
    passed.add("ws", OwnedFd::from(UnixStream::pair().expect("a pair").0));
    let error = start(passed).expect_err("it does not listen").to_string();
    assert!(error.starts_with("--listen fd:ws: ") && error.lines().count() == 1, "{error}");
}

/// A command whose standard input becomes descriptor 3, and its standard output descriptor 4.
fn activated(names: &str, sockets: [&TcpListener; 2], arguments: &[&str]) -> Command {
    let script = "exec 3<&0 4>&1 0</dev/null 1>/dev/null; LISTEN_PID=$$ exec \"$0\" \"$@\"";
    let mut command = running::command("/bin/sh", &[&["-c", script, BINARY], arguments].concat());
    let [first, second] = sockets.map(|socket| OwnedFd::from(socket.try_clone().expect("a descriptor")));
    command.env("LISTEN_FDS", "2").env("LISTEN_FDNAMES", names);
    command.stdin(Stdio::from(first)).stdout(Stdio::from(second));
    command
}

#[test]
fn connections_wait_while_the_process_is_killed_and_started_anew() {
    let ((ws, address), (other, _)) = (listener(), listener());
    let arguments = ["--listen", "fd:ws", "--admin", "none", "--workers", "2"];
    let mut first = Running::spawn(activated("ws:other", [&ws, &other], &arguments));
    assert_eq!(first.address, address);
    let start = first.start.concat();
    assert!(start.contains("passed socket \"other\" is closed"), "{start}");
    Raw::open(address, "/echo").round_trip(b"the first");
    first.child.kill().expect("a signal");
    first.child.wait().expect("its end");
    let mut waiting: Vec<Raw> = (0..20).map(|_| Raw::connect(address)).collect();
    for raw in &mut waiting {
        raw.send(crate::support::upgrade_request("/rooms/r?echo=true").as_bytes());
    }
    let second = Running::spawn(activated("ws:other", [&ws, &other], &arguments));
    for raw in &mut waiting {
        assert_eq!(raw.head().status, 101);
    }
    waiting[0].send(&text("all are there"));
    for raw in &mut waiting {
        assert_eq!(raw.frame(), crate::support::Frame::text("all are there"));
    }
    drop(waiting);
    second.signal(Signal::TERM);
    let (status, log) = second.end();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn the_admin_listener_may_be_passed_too() {
    let ((ws, address), (admin, admin_address)) = (listener(), listener());
    let arguments = ["--listen", "fd:ws", "--admin", "fd:admin", "--workers", "2"];
    let running = Running::spawn(activated("ws:admin", [&ws, &admin], &arguments));
    assert_eq!(running.address, address);
    let start = running.start.concat();
    assert!(start.contains(&format!("admin on {admin_address}")) && !start.contains("is closed"), "{start}");
    let mut probe = Raw::connect(admin_address);
    probe.send(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    assert_eq!(probe.head().status, 200);
}

#[test]
fn descriptors_without_names_are_unknown_and_wrong_ones_are_one_line_and_status_2() {
    let ((one, address), (two, _)) = (listener(), listener());
    let mut unnamed = activated("", [&one, &two], &["--listen", "fd:unknown", "--admin", "none"]);
    unnamed.env_remove("LISTEN_FDNAMES");
    let running = Running::spawn(unnamed);
    Raw::open(address, "/echo").round_trip(b"hi");
    drop(running);
    for (names, count, parts) in [
        ("a:b:c", "2", &["LISTEN_FDNAMES", "3 names"][..]),
        ("", "3", &["LISTEN_FDS=3", "5 is not open"]),
        ("", "x", &["LISTEN_FDS=x"]),
    ] {
        let mut command = activated(names, [&one, &two], &["--listen", "fd:a", "--admin", "none"]);
        let output = command.env("LISTEN_FDS", count).stderr(Stdio::piped()).output().expect("it runs");
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
        for part in parts {
            assert!(said.starts_with("error: ") && said.contains(part), "{said} lacks {part}");
        }
    }
}
