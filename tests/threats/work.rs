//! Work that peers cause: no thread for a connection or a message, and no key can be tried out for long.

use fanfare::Config;
use fanfare::endpoint::CloseKind;
use fanfare::reactor::MonotonicClock;
use fanfare::time::Time;

use crate::support::door::request;
use crate::support::running::Running;
use crate::support::{PATIENCE, Raw, TestServer, config, frame};

/// The names of a process's threads.
#[cfg(target_os = "linux")]
fn threads(running: &Running) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", running.child.id())).expect("it runs");
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).expect("it lives");
    let mut names: Vec<String> = tasks.map(|task| name(task.expect("a thread"))).collect();
    names.sort_unstable();
    names
}

/// The same, once the thread that is started last is there, and each has its own name: at first it has that of the
/// thread that has started it.
#[cfg(target_os = "linux")]
fn threads_of_the_start(running: &Running) -> Vec<String> {
    let clock = MonotonicClock::start();
    loop {
        let names = threads(running);
        let unnamed = names.iter().filter(|name| name.trim_end() == "fanfare").count();
        if unnamed == 1 && names.iter().any(|name| name.starts_with("fanfare-service")) {
            return names;
        }
        assert!(clock.now() < Time::ZERO + PATIENCE, "{names:?}");
        std::thread::yield_now();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn as_many_threads_serve_hundreds_as_served_nobody() {
    const CONNECTIONS: usize = 200;
    let running = Running::start(env!("CARGO_BIN_EXE_fanfare"), &[]);
    let before = threads_of_the_start(&running);
    let mut clients: Vec<Raw> = (0..CONNECTIONS).map(|_| Raw::open(running.address, "/echo")).collect();
    for client in &mut clients {
        client.send(&frame(0x82, b"work").repeat(50));
    }
    assert_eq!(threads(&running), before, "while they work");
    for client in &mut clients {
        for _ in 0..50 {
            client.frame();
        }
    }
    let mut http = Raw::connect(running.address);
    for _ in 0..50 {
        http.publish("/rooms/r", "", b"work");
    }
    assert_eq!(threads(&running), before, "{CONNECTIONS} connections, {} messages", CONNECTIONS * 50);
}

#[test]
fn one_wrong_key_ends_the_connection() {
    let path = std::env::temp_dir().join(format!("fanfare-threats-{}-keys", std::process::id()));
    std::fs::write(&path, "the-only-key-of-this-server\n").unwrap();
    let server = TestServer::start(Config { api_key_file: Some(path.clone()), ..config() });
    std::fs::remove_file(path).unwrap();
    let guarded = ["GET /rooms", "HEAD /rooms", "POST /rooms", "POST /rooms/r", "POST /api/info"];
    for line in guarded {
        for key in
            ["", "X-API-Key: a-key-of-somebody-else\r\n", "Authorization: Bearer guess-number-0001\r\n"]
        {
            let mut guesser = Raw::connect(server.address());
            // The next guess is on its way already.
            guesser.send(&request(line, key, b"").repeat(10));
            let head = guesser.head();
            assert_eq!((head.status, head.has_token("connection", "close")), (401, true), "{line} {key}");
            let rest = String::from_utf8(guesser.rest()).expect("UTF-8");
            assert!(!rest.contains("HTTP/1.1"), "one answer: {rest}");
        }
    }
    server.until_closes(CloseKind::Refused, guarded.len() as u64 * 3);
    let mut owner = Raw::connect(server.address());
    for _ in 0..3 {
        owner.ask_json("GET /rooms", "X-API-Key: the-only-key-of-this-server\r\n", b"");
    }
}
