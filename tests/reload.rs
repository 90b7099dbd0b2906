//! A server that takes other settings while it runs, over real sockets.

mod support;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use fanfare::config::SETTINGS;
use fanfare::endpoint::{CloseKind, Relay};
use fanfare::server::{Change, ListenAddress, Pin, ReloadError};
use fanfare::shard::Counter;
use fanfare::{Config, ReloadReport, ServerBuilder};
use support::{Raw, TestServer, config, frame, text};

/// Changes as they are shown.
fn shown(changes: &[Change]) -> Vec<String> {
    changes.iter().map(Change::to_string).collect()
}

/// Reloads, which has to go well.
fn reload(server: &TestServer, config: Config) -> ReloadReport {
    let report = server.handle().reload(config).expect("it is valid");
    assert!(report.taken, "every thread is alive");
    report
}

#[test]
fn it_is_in_force_when_it_returns_and_nobody_is_lost() {
    let server = TestServer::start(config());
    let mut clients: Vec<Raw> = (0..20).map(|_| Raw::open(server.address(), "/echo")).collect();
    for limit in [10, 1000, 20, 500] {
        reload(&server, Config { max_message: limit, ..config() });
        for client in &mut clients {
            client.round_trip(&vec![b'm'; limit - 1]);
            client.round_trip(&vec![b'm'; limit]);
        }
        let mut over = Raw::open(server.address(), "/echo");
        over.send(&frame(0x82, &vec![b'm'; limit + 1]));
        assert_eq!(over.expect_close().0, 1009);
    }
    for client in &mut clients {
        client.round_trip(b"the turn of the Close is over");
    }
    assert_eq!(server.closes(CloseKind::LimitExceeded), 4, "and nobody else");
    for client in &mut clients {
        client.send(&frame(0x82, &[b'm'; 501]));
        assert_eq!(client.expect_close().0, 1009);
    }
}

#[test]
fn a_room_loses_nothing_while_everything_is_reloaded() {
    const MESSAGES: usize = 2000;
    let server = TestServer::start(config());
    let mut members: Vec<Raw> = (0..4).map(|_| Raw::open(server.address(), "/rooms/a")).collect();
    let mut sender = Raw::open(server.address(), "/rooms/a");
    let done = AtomicBool::new(false);
    let reloads = std::thread::scope(|scope| {
        let reloads = scope.spawn(|| {
            let mut reloads = 0;
            while !done.load(Ordering::Relaxed) {
                let odd = reloads % 2 == 1;
                let policy = if odd { "skip" } else { "disconnect" };
                reload(
                    &server,
                    Config {
                        max_message: if odd { 1 << 20 } else { 100 },
                        mailbox_bytes: if odd { 64 << 10 } else { 16 << 20 },
                        lag_policy: vec![policy.parse().unwrap()],
                        message_rate: 1 << 20,
                        ..config()
                    },
                );
                reloads += 1;
            }
            reloads
        });
        for number in 0..MESSAGES {
            sender.send(&text(&format!("message {number}")));
            for member in &mut members {
                assert_eq!(member.frame().payload, format!("message {number}").as_bytes());
            }
        }
        done.store(true, Ordering::Relaxed);
        reloads.join().expect("no reload fails")
    });
    assert!(reloads > 0);
    assert_eq!(server.counter(Counter::SkippedMessages), 0);
    assert_eq!(server.counter(Counter::Connections), 5);
}

#[test]
fn it_says_what_has_changed_and_what_needs_a_restart() {
    let server = TestServer::start(config());
    let nothing = reload(&server, config());
    assert_eq!((nothing.changed, nothing.needs_restart), (Vec::new(), Vec::new()));
    let other = Config {
        max_message: 4 << 10,
        lag_policy: vec!["skip".parse().unwrap()],
        listen: vec!["127.0.0.1:1".parse().unwrap()],
        workers: Some(7),
        ..config()
    };
    let report = reload(&server, other.clone());
    let restart = ["--listen: 127.0.0.1:0 → 127.0.0.1:1", "--workers: 2 → 7"];
    assert_eq!(shown(&report.changed), ["--max-message: 1MiB → 4KiB", "--lag-policy: disconnect → skip"]);
    assert_eq!(shown(&report.needs_restart), restart);
    // What waits for a restart goes on to be said, and the rest is in force.
    let again = reload(&server, other);
    assert_eq!(
        (again.changed, shown(&again.needs_restart)),
        (Vec::new(), restart.map(String::from).to_vec())
    );
    let back = reload(&server, config());
    assert_eq!(shown(&back.changed), ["--max-message: 4KiB → 1MiB", "--lag-policy: skip → disconnect"]);
    assert_eq!(back.needs_restart, Vec::new());
    let pinned = reload(&server, Config { pin: Pin::Auto, ..config() });
    assert_eq!(shown(&pinned.needs_restart), ["--pin: off → auto"]);
    assert_eq!(server.shard_stats().len(), 2);
}

#[test]
fn what_is_not_valid_changes_nothing() {
    let server = TestServer::start(Config { max_message: 100, ..config() });
    let mut client = Raw::open(server.address(), "/echo");
    let missing: PathBuf = std::env::temp_dir().join("fanfare-reload-no-such-file");
    let more = Config { max_message: 1000, ..config() };
    for (wrong, says) in [
        (Config { max_head: 0, ..more.clone() }, "--max-head 0 bytes: 256 to 1048576 bytes is allowed"),
        (Config { listen: Vec::new(), ..more.clone() }, "--listen (none)"),
        (Config { api_key_file: Some(missing), ..more.clone() }, "--api-key-file"),
        (Config { max_connections: Some(1 << 30), ..more.clone() }, "--max-connections 1073741824: "),
    ] {
        let error = server.handle().reload(wrong).expect_err(says);
        assert!(matches!(error, ReloadError::Refused(_)));
        let line = error.to_string();
        assert!(line.contains(says) && !line.contains('\n'), "{line}");
        client.round_trip(&[b'm'; 100]);
    }
    client.send(&frame(0x82, &[b'm'; 101]));
    assert_eq!(client.expect_close().0, 1009, "the limit is as it was");
    let report = reload(&server, more);
    assert_eq!(shown(&report.changed), ["--max-message: 100 → 1000"]);
}

#[test]
fn keys_are_read_again_though_the_file_has_the_same_name() {
    let path = std::env::temp_dir().join(format!("fanfare-reload-keys-{}", std::process::id()));
    let (old, new) = ("0123456789abcdef-old", "0123456789abcdef-new");
    std::fs::write(&path, old).unwrap();
    let with_keys = || Config { api_key_file: Some(path.clone()), ..config() };
    let server = TestServer::start(with_keys());
    let publish = |key: &str| {
        let mut raw = Raw::connect(server.address());
        raw.send(
            format!(
                "POST /rooms/a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\nContent-Length: 1\r\n\r\nm"
            )
            .as_bytes(),
        );
        raw.response().0.status
    };
    assert_eq!((publish(old), publish(new)), (200, 401));
    std::fs::write(&path, new).unwrap();
    assert_eq!((publish(old), publish(new)), (200, 401), "not before the reload");
    let report = reload(&server, with_keys());
    assert_eq!(shown(&report.changed), ["--api-key-file: 1 key → 1 key, not the same"]);
    assert_eq!((publish(old), publish(new)), (401, 200));
    std::fs::write(&path, "short").unwrap();
    let error = server.handle().reload(with_keys()).unwrap_err().to_string();
    assert!(error.contains("line 1") && !error.contains("short"), "{error}");
    assert_eq!(publish(new), 200);
    let open = reload(&server, config());
    assert_eq!(shown(&open.changed), [format!("--api-key-file: {} → none", path.display())]);
    assert_eq!(publish("anything"), 200, "on the loopback");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn places_are_those_of_the_reload_and_who_has_one_keeps_it() {
    let with_places = |count| Config { max_connections: Some(count), ..config() };
    let server = TestServer::start(with_places(4));
    let mut clients: Vec<Raw> = (0..4).map(|_| Raw::open(server.address(), "/echo")).collect();
    reload(&server, with_places(2));
    let (head, body) = Raw::connect(server.address()).refusal();
    assert!(head.status == 503 && body.contains("2 connections"), "{body}");
    reload(&server, with_places(5));
    clients.push(Raw::open(server.address(), "/echo"));
    assert_eq!(Raw::connect(server.address()).refusal().0.status, 503);
    for client in &mut clients {
        client.round_trip(b"still here");
    }
}

#[test]
fn an_address_has_what_the_reload_gives_it() {
    let limited = |count, exempt: &str| Config {
        connections_per_address: count,
        exempt_network: vec![exempt.parse().unwrap()],
        ..config()
    };
    let server = TestServer::start(limited(1, "127.0.0.0/8"));
    let mut clients: Vec<Raw> = (0..3).map(|_| Raw::open(server.address(), "/echo")).collect();
    reload(&server, limited(1, "none"));
    clients.push(Raw::open(server.address(), "/echo"));
    assert_eq!(Raw::connect(server.address()).refusal().0.status, 429);
    reload(&server, limited(2, "none"));
    clients.push(Raw::open(server.address(), "/echo"));
    assert_eq!(Raw::connect(server.address()).refusal().0.status, 429);
    for client in &mut clients {
        client.round_trip(b"still here");
    }
}

#[test]
fn members_may_publish_or_not_by_the_reload_where_the_path_is_ours() {
    let builder =
        ServerBuilder::standard(config()).endpoint("/read/{room}", |_| Relay { member_publish: false });
    let server = TestServer::build(builder);
    let mut member = Raw::open(server.address(), "/rooms/a?echo=true");
    member.send(&text("one"));
    assert_eq!(member.frame().payload, b"one");
    reload(&server, Config { member_publish: false, ..config() });
    member.send(&text("two"));
    assert_eq!(member.expect_close().0, 1008);
    reload(&server, config());
    let mut member = Raw::open(server.address(), "/rooms/a?echo=true");
    member.send(&text("three"));
    assert_eq!(member.frame().payload, b"three");
    let mut reader = Raw::open(server.address(), "/read/a");
    reader.send(&text("four"));
    assert_eq!(reader.expect_close().0, 1008, "an embedder's own setting stays");
}

#[test]
fn a_server_that_stops_takes_no_other_settings() {
    let server = TestServer::start(config());
    let handle = server.handle();
    handle.shutdown();
    assert!(matches!(handle.reload(config()), Err(ReloadError::Stopping)));
    drop(server);
    let error = handle.reload(config()).unwrap_err().to_string();
    assert_eq!(error, "the server is shutting down and takes no other settings");
}

#[test]
fn the_readme_names_what_needs_a_restart() {
    let readme = include_str!("../README.md");
    let (_, chapter) = readme.split_once("### Reloading").expect("the chapter");
    let sentence = chapter.lines().find(|line| line.contains("need a restart")).expect("the sentence");
    let named: Vec<&str> = sentence.split('`').filter(|part| part.starts_with("--")).collect();
    let restarts = SETTINGS.iter().filter(|setting| setting.needs_restart());
    assert_eq!(named, restarts.map(|setting| setting.flag).collect::<Vec<_>>());
}

#[test]
fn the_admin_listener_goes_with_it_and_shows_it() {
    let with = |max_connections, max_head| {
        let admin = vec!["127.0.0.1:0".parse().unwrap()];
        Config { admin, max_connections: Some(max_connections), max_head, ..config() }
    };
    let server = TestServer::start(with(5, 8 << 10));
    let ListenAddress::Tcp(admin) = server.admin_addresses()[0] else { panic!("a TCP address") };
    let metrics = |padding: usize| {
        let mut raw = Raw::connect(admin);
        let padding = "p".repeat(padding);
        let headers = format!("Host: 127.0.0.1\r\nConnection: close\r\nPadding: {padding}");
        raw.send(format!("GET /metrics HTTP/1.1\r\n{headers}\r\n\r\n").as_bytes());
        let (head, body) = raw.response();
        let limit = body.lines().find(|line| line.starts_with("fanfare_connections_limit "));
        (head.status, limit.map(str::to_owned))
    };
    let shown_limit = |limit: usize| (200, Some(format!("fanfare_connections_limit {limit}")));
    assert_eq!(metrics(300), shown_limit(5));
    reload(&server, with(7, 256));
    assert_eq!(metrics(300), (431, None));
    assert_eq!(metrics(3), shown_limit(7));
    let report = reload(&server, Config { admin: Vec::new(), ..with(6, 8 << 10) });
    assert_eq!(shown(&report.needs_restart), ["--admin: 127.0.0.1:0 → none"]);
    assert_eq!(metrics(300), shown_limit(6), "it is still there");
}

#[test]
fn a_listener_stays_where_it_is() {
    let server = TestServer::start(config());
    let elsewhere = vec!["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()];
    let report = reload(&server, Config { listen: elsewhere, max_head: 4 << 10, ..config() });
    assert_eq!(report.needs_restart.len(), 1);
    assert!(matches!(server.addresses(), [ListenAddress::Tcp(_)]));
    Raw::open(server.address(), "/echo").round_trip(b"here");
}
