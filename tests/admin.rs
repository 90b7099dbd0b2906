//! The admin listener: who can look at a server, what the probes say, and that it costs the server nothing.

mod support;

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;

use fanfare::endpoint::http::Answer;
use fanfare::protocol::Refusal;
use fanfare::server::{ADMIN_CONNECTIONS_MAX, AdminAddress, ListenAddress};
use fanfare::{Config, ConfigError, ServerBuilder, StartError};
use std::io::{Read, Write};
use support::{Raw, TestServer, config};

fn with_admin() -> Config {
    Config { admin: vec!["127.0.0.1:0".parse().unwrap()], ..config() }
}

fn admin(server: &TestServer) -> SocketAddr {
    match &server.admin_addresses()[0] {
        ListenAddress::Tcp(address) => *address,
        other => panic!("no TCP address: {other}"),
    }
}

fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut raw = Raw::connect(address);
    raw.send(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes());
    let (head, body) = raw.response();
    (head.status, body)
}

#[test]
fn the_probes_are_on_the_admin_listener_and_nowhere_else() {
    let server = TestServer::start(with_admin());
    assert_eq!(get(admin(&server), "/livez"), (200, "live\n".to_owned()));
    assert_eq!(get(admin(&server), "/readyz"), (200, "ready\n".to_owned()));
    assert_eq!(get(server.address(), "/readyz").0, 404);
    assert_eq!(get(admin(&server), "/rooms").0, 404, "it has none of the server's own paths");
    let mut upgrade = Raw::connect(admin(&server));
    assert!(!upgrade.is_welcome("/echo"));
}

#[test]
fn without_an_address_there_is_no_admin_listener() {
    for admin in [vec![], vec![AdminAddress::None]] {
        let server = TestServer::start(Config { admin, ..config() });
        assert!(server.admin_addresses().is_empty());
    }
    let admin = vec![AdminAddress::None, "127.0.0.1:0".parse().unwrap()];
    let error = ServerBuilder::standard(Config { admin, ..config() }).start().unwrap_err();
    assert!(matches!(error, StartError::Config(ConfigError { flag: "--admin", .. })), "{error}");
}

#[test]
fn an_admin_address_in_use_is_a_line_that_names_the_flag() {
    let first = TestServer::start(with_admin());
    let taken = AdminAddress::At(ListenAddress::Tcp(admin(&first)));
    let error = ServerBuilder::standard(Config { admin: vec![taken], ..config() }).start().unwrap_err();
    assert!(error.to_string().starts_with(&format!("--admin {}: ", admin(&first))), "{error}");
}

#[test]
fn it_listens_on_a_unix_socket_too() {
    let path = std::env::temp_dir().join(format!("fanfare-admin-{}", std::process::id()));
    let config = Config { admin: vec![AdminAddress::At(ListenAddress::Unix(path.clone()))], ..config() };
    let server = TestServer::start(config);
    let mut socket = UnixStream::connect(&path).unwrap();
    socket.write_all(b"GET /readyz HTTP/1.1\r\nHost: any.example\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\nready\n"), "{answer}");
    server.stop();
    assert!(!path.exists());
}

#[test]
fn a_page_of_another_name_reads_nothing_of_a_loopback_listener() {
    let server = TestServer::start(with_admin());
    let mut raw = Raw::connect(admin(&server));
    raw.send(b"GET /readyz HTTP/1.1\r\nHost: evil.example:9002\r\n\r\n");
    let (head, why) = raw.refusal();
    assert_eq!(head.status, 421);
    assert!(why.contains("evil.example:9002") && why.contains("localhost"), "{why}");
}

#[test]
fn a_full_server_can_be_looked_at_and_a_full_admin_listener_refuses() {
    let server = TestServer::start(Config { max_connections: Some(1), ..with_admin() });
    let mut only = Raw::open(server.address(), "/echo");
    assert!(!Raw::connect(server.address()).is_welcome("/echo"));
    let address = admin(&server);
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let mut lookers = Vec::new();
    for _ in 0..ADMIN_CONNECTIONS_MAX {
        let mut raw = Raw::connect(address);
        raw.send(request.as_bytes());
        assert_eq!(raw.response().0.status, 200, "one of {}", ADMIN_CONNECTIONS_MAX);
        lookers.push(raw);
    }
    let (head, why) = Raw::connect(address).refusal();
    assert_eq!(head.status, 503);
    assert!(why.contains(&ADMIN_CONNECTIONS_MAX.to_string()), "{why}");
    only.round_trip(b"still here");
}

#[test]
fn a_shutdown_is_seen_at_once_while_it_goes_on() {
    let server = TestServer::start(with_admin());
    let address = admin(&server);
    let mut leaving = Raw::open(server.address(), "/echo");
    server.handle().shutdown();
    let (status, body) = get(address, "/readyz");
    assert!(status == 503 && body.contains("shutting down"), "{body}");
    assert_eq!(get(address, "/livez").0, 200, "to be shut down is no reason to be killed");
    assert_eq!(leaving.expect_close().0, 1001);
    drop(leaving);
    server.stop();
}

#[test]
fn a_shard_that_does_not_turn_is_named_and_one_that_turns_again_is_ready() {
    let (stuck, hears) = mpsc::channel::<()>();
    let (go_on, waits) = mpsc::channel::<()>();
    let waits = std::sync::Mutex::new(waits);
    let config = Config { workers: Some(1), ..with_admin() };
    let builder = ServerBuilder::standard(config).dynamic_resource("/stuck", move |_| {
        stuck.send(()).unwrap();
        waits.lock().unwrap().recv().unwrap();
        Ok(Answer::new("text/plain", b"free\n".into()))
    });
    let server = TestServer::build(builder);
    let mut raw = Raw::connect(server.address());
    raw.send(b"GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n");
    hears.recv().unwrap();
    let (status, body) = get(admin(&server), "/readyz");
    assert!(status == 503 && body.contains("worker 0 has not turned"), "{body}");
    assert_eq!(get(admin(&server), "/livez").0, 200, "it may only be busy");
    go_on.send(()).unwrap();
    assert_eq!(raw.response().1, "free\n");
    assert_eq!(get(admin(&server), "/readyz").0, 200);
}

#[test]
fn a_dynamic_resource_that_panics_or_refuses_ends_no_worker() {
    let builder = ServerBuilder::new(config())
        .dynamic_resource("/panics", |_| panic!("a fault of the resource"))
        .dynamic_resource("/refuses", |_| Err(Refusal::new(503, "not now".to_owned())))
        .dynamic_resource("/counts", |asked| {
            let to = asked.query("to")?.unwrap_or_default();
            Ok(Answer::json(format!("[{to}]").into_bytes()))
        });
    let server = TestServer::build(builder);
    assert_eq!(get(server.address(), "/panics").0, 500);
    let mut raw = Raw::connect(server.address());
    for _ in 0..2 {
        raw.send(b"GET /refuses HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(raw.refusal().1, "not now");
        raw.send(b"HEAD /counts?to=3 HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = raw.head();
        assert_eq!(
            (head.header("content-length"), head.header("cache-control")),
            (Some("3"), Some("no-store"))
        );
        raw.send(b"GET /counts?to=%zz HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(raw.refusal().0.status, 400);
    }
    raw.send(b"POST /counts HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(raw.refusal().0.status, 405);
}
