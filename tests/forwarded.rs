//! Clients behind proxies, over real sockets: the PROXY protocol and headers, limits and the log by the client.

mod support;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use fanfare::Config;
use fanfare::endpoint::CloseKind;
use fanfare::server::ListenAddress;
use support::running::Running;
use support::{PATIENCE, Raw, TestServer, config, upgrade_request};

/// An address may have one connection, and nobody is exempt.
fn one_each() -> Config {
    Config { connections_per_address: 1, exempt_network: vec!["none".parse().unwrap()], ..config() }
}

fn upgrade(header: &str) -> String {
    let request = upgrade_request("/echo");
    let head = request.strip_suffix("\r\n").unwrap();
    format!("{head}{header}\r\n")
}

/// Connects, says who is there, and gives the status of the handshake.
fn open(address: SocketAddr, before: &[u8], header: &str) -> (Raw, u16) {
    let mut raw = Raw::connect(address);
    raw.send(&[before, upgrade(header).as_bytes()].concat());
    let status = raw.head().status;
    (raw, status)
}

fn version_2(client: [u8; 4]) -> Vec<u8> {
    let addresses = [&client[..], &[127, 0, 0, 1], &[18, 103, 1, 187]].concat();
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c"[..], &addresses].concat()
}

fn tcp(server: &TestServer, at: usize) -> SocketAddr {
    match &server.addresses()[at] {
        ListenAddress::Tcp(address) => *address,
        other => panic!("{other} is no TCP address"),
    }
}

#[test]
fn behind_proxy_headers_each_client_has_its_own_number() {
    let listen_proxy = vec!["127.0.0.1:0".parse().unwrap()];
    // Whoever comes straight is of this machine here, and is not counted.
    let exempt_network = Config::default().exempt_network;
    let server = TestServer::start(Config { listen_proxy, exempt_network, ..one_each() });
    let proxied = tcp(&server, 1);
    let (mut ann, status) = open(proxied, b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 443\r\n", "");
    assert_eq!(status, 101);
    let (mut bob, status) = open(proxied, &version_2([192, 0, 2, 8]), "");
    assert_eq!(status, 101);
    for raw in [&mut ann, &mut bob] {
        raw.round_trip(b"as without a proxy");
    }
    let (_, status) = open(proxied, &version_2([192, 0, 2, 7]), "");
    assert_eq!(status, 429);
    server.until_closes(CloseKind::AddressFull, 1);
    drop(ann);
    // Ann, and who has looked at the number before.
    server.until_closes(CloseKind::PeerGone, 2);
    let (mut again, status) = open(proxied, &version_2([192, 0, 2, 7]), "");
    assert_eq!(status, 101);
    // In a packet of its own, and a request behind it in others.
    let mut slow = Raw::connect(proxied);
    for part in [&b"PROXY TCP6 2001:db8::1 "[..], b"::1 1 2\r", b"\n"] {
        slow.send(part);
        again.round_trip(b"in between");
    }
    slow.shake_hands("/echo");
    slow.round_trip(b"slow");
    let mut stranger = Raw::connect(proxied);
    stranger.send(upgrade("").as_bytes());
    let (head, message) = stranger.refusal();
    assert_eq!(head.status, 400);
    assert!(message.contains("--listen-proxy"), "{message}");
    server.until_closes(CloseKind::ProxyHeader, 1);
}

#[test]
fn behind_trusted_proxies_each_client_has_its_own_number_and_nobody_else_lies() {
    let trusted_proxy = vec!["127.0.0.1".parse().unwrap()];
    let server = TestServer::start(Config { trusted_proxy, ..one_each() });
    let (_ann, status) = open(server.address(), b"", "X-Forwarded-For: 198.51.100.1, 192.0.2.7\r\n");
    assert_eq!(status, 101);
    let (_bob, status) = open(server.address(), b"", "X-Forwarded-For: 192.0.2.8\r\n");
    assert_eq!(status, 101);
    for lie in ["", "192.0.2.8, ", "203.0.113.9, 10.0.0.1, "] {
        let (_, status) = open(server.address(), b"", &format!("X-Forwarded-For: {lie}192.0.2.7\r\n"));
        assert_eq!(status, 429, "{lie}");
    }
    drop(server);
    let server = TestServer::start(one_each());
    let (_first, status) = open(server.address(), b"", "X-Forwarded-For: 192.0.2.7\r\n");
    assert_eq!(status, 101);
    let (_, status) = open(server.address(), b"", "X-Forwarded-For: 192.0.2.8\r\n");
    assert_eq!(status, 429, "nobody is believed by default");
}

#[test]
fn a_proxy_at_a_unix_socket_is_believed_if_it_is_named() {
    let path = std::env::temp_dir().join(format!("fanfare-forwarded-{}.sock", std::process::id()));
    let listen: Vec<ListenAddress> = vec!["127.0.0.1:0".parse().unwrap(), ListenAddress::Unix(path.clone())];
    for (trusted_proxy, statuses) in [(vec!["unix".parse().unwrap()], [101, 429]), (Vec::new(), [101, 101])] {
        let server = TestServer::start(Config { listen: listen.clone(), trusted_proxy, ..one_each() });
        let opened = statuses.map(|wanted| {
            let mut stream = UnixStream::connect(&path).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(upgrade("X-Forwarded-For: 192.0.2.7\r\n").as_bytes()).unwrap();
            let mut start = [0; 12];
            stream.read_exact(&mut start).unwrap();
            assert_eq!(start, *format!("HTTP/1.1 {wanted}").as_bytes());
            stream
        });
        drop((server, opened));
    }
}

#[test]
fn the_binary_logs_clients_and_listens_for_proxies() {
    let socket = Path::new();
    let unix = format!("unix:{}", socket.0.display());
    let flags = [
        "--listen-proxy",
        &unix,
        "--trusted-proxy",
        "127.0.0.1",
        "--forwarded-header",
        "forwarded",
        "--log",
        "debug",
    ];
    let mut running = Running::start(env!("CARGO_BIN_EXE_fanfare"), &flags);
    assert!(
        running.start.iter().any(|line| line.contains(&format!("{unix} for proxies"))),
        "{:?}",
        running.start
    );
    let (mut raw, status) =
        open(running.address, b"", "X-Forwarded-For: 192.0.2.8\r\nForwarded: for=192.0.2.7\r\n");
    assert_eq!(status, 101);
    raw.half_close();
    raw.rest();
    let line = running.wait_for("peer_gone");
    assert!(line.contains("192.0.2.7") && !line.contains("192.0.2.8"), "{line}");
    let mut stream = UnixStream::connect(&socket.0).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(&[&version_2([192, 0, 2, 9]), request.as_bytes()].concat()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nok\n"), "{answer}");
    assert!(running.wait_for("http_answered").contains("192.0.2.9:4711"));
}

/// A path that is removed at the end, whoever has made a socket there.
struct Path(PathBuf);

impl Path {
    fn new() -> Path {
        Path(std::env::temp_dir().join(format!("fanfare-proxied-{}.sock", std::process::id())))
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
