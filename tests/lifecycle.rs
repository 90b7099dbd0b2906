//! A server from its start to its end: limits of connections, listeners, shutdown, balance, panics.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use fanfare::endpoint::{Accept, CloseCause, CloseKind, Effects, Endpoint, OpenRequest};
use fanfare::protocol::{Message, Refusal};
use fanfare::server::ListenAddress;
use fanfare::shard::Counter;
use fanfare::{Config, ConnectionId, ServerBuilder, StartError};
use support::{Frame, PATIENCE, Raw, TestServer, config, frame, remembering, text, upgrade_request};

#[test]
fn connections_over_the_limit_are_told_so_and_a_place_that_is_free_again_is_given() {
    let server = TestServer::start(Config { max_connections: Some(3), ..config() });
    let mut open: Vec<Raw> = (0..3).map(|_| Raw::open(server.address(), "/echo")).collect();
    for _ in 0..2 {
        let mut extra = Raw::connect(server.address());
        let (head, body) = extra.refusal();
        assert_eq!((head.status, head.header("retry-after")), (503, Some("5")));
        assert!(head.has_token("connection", "close"));
        assert!(body.contains('3') && body.contains("--max-connections"), "{body}");
    }
    for member in &mut open {
        member.round_trip(b"still here");
    }
    open.pop();
    // The place is free when the server has seen the end of the stream; the rest are round trips.
    let again = (0..10_000).find_map(|_| {
        let mut raw = Raw::connect(server.address());
        raw.is_welcome("/echo").then_some(raw)
    });
    again.expect("the place is given again").round_trip(b"welcome");
}

#[test]
fn one_address_has_its_share_of_the_connections_and_others_keep_theirs() {
    let nobody_is_exempt = vec!["none".parse().unwrap()];
    let server = TestServer::start(Config {
        connections_per_address: 3,
        handshakes_per_address: 1 << 20,
        exempt_network: nobody_is_exempt,
        ..config()
    });
    let mut open: Vec<Raw> = (0..3).map(|_| Raw::open(server.address(), "/echo")).collect();
    // More than are refused in order at the same time; the others are refused at once.
    let mut extras: Vec<Raw> = (0..100).map(|_| Raw::connect(server.address())).collect();
    for extra in &mut extras {
        let (head, body) = extra.refusal();
        assert_eq!((head.status, head.header("retry-after")), (429, Some("5")));
        assert!(body.contains("--connections-per-address"), "{body}");
        open[0].round_trip(b"still here");
    }
    let counted = (0..10_000).any(|_| {
        open[0].round_trip(b"counting");
        server.closes(CloseKind::AddressFull) == 100
    });
    assert!(counted, "by the shards and by the acceptor");
    open.pop();
    let again = (0..10_000).find_map(|_| {
        let mut raw = Raw::connect(server.address());
        raw.is_welcome("/echo").then_some(raw)
    });
    again.expect("the place is given again").round_trip(b"welcome");
}

#[test]
fn a_flood_over_the_limit_leaves_the_open_connections_alone() {
    let server = TestServer::start(Config { max_connections: Some(1), ..config() });
    let mut only = Raw::open(server.address(), "/echo");
    // More than are refused in order at the same time; the others are refused at once.
    let mut extras: Vec<Raw> = (0..100).map(|_| Raw::connect(server.address())).collect();
    for extra in &mut extras {
        assert_eq!(extra.refusal().0.status, 503);
        only.round_trip(b"alone");
    }
}

#[test]
fn connections_are_spread_evenly_over_the_workers() {
    for workers in [1, 2, 4, 8] {
        let server = TestServer::start(Config { workers: Some(workers), ..config() });
        let mut open: Vec<Raw> = (0..workers * 5).map(|_| Raw::open(server.address(), "/echo")).collect();
        // The turn of the answer comes after the one of the handshake, whose numbers are out then.
        for member in &mut open {
            member.round_trip(b"turn");
        }
        for stats in server.shard_stats() {
            assert_eq!(stats.get(Counter::Opened), 5);
        }
        drop(open);
        let after: u64 = server.stop().iter().map(|stats| stats.get(Counter::Connections)).sum();
        assert_eq!(after, 0);
    }
}

/// A directory that is removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("fanfare-{}-{name}", std::process::id()));
        std::fs::create_dir(&path).expect("a new directory");
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn unix_echo(path: &PathBuf) {
    let mut stream = UnixStream::connect(path).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
    stream.write_all(upgrade_request("/echo").as_bytes()).expect("a request");
    stream.write_all(&text("unix")).expect("a message");
    stream.shutdown(std::net::Shutdown::Write).expect("half a close");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the answer");
    assert!(answer.starts_with(b"HTTP/1.1 101 ") && answer.ends_with(b"\x81\x04unix"));
}

#[test]
fn a_unix_socket_serves_takes_over_a_stale_path_and_is_removed_at_the_end() {
    let directory = Directory::new("unix");
    let path = directory.0.join("socket");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a dead process leaves its path behind");
    let listen = vec![ListenAddress::Unix(path.clone())];
    let server = TestServer::start(Config { listen: listen.clone(), ..config() });
    unix_echo(&path);
    let second = ServerBuilder::standard(Config { listen, ..config() }).start();
    let error = second.expect_err("the path is in use").to_string();
    assert!(error.starts_with("--listen unix:") && error.lines().count() == 1, "{error}");
    unix_echo(&path);
    server.stop();
    assert!(!path.exists());
}

#[test]
fn a_path_that_is_no_socket_is_not_taken_over() {
    let directory = Directory::new("file");
    let path = directory.0.join("precious");
    std::fs::write(&path, "data").unwrap();
    let listen = vec![ListenAddress::Unix(path.clone())];
    let started = ServerBuilder::standard(Config { listen, ..config() }).start();
    assert!(matches!(started, Err(StartError::Listen { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), b"data");
}

#[test]
fn several_listeners_serve_the_same_rooms() {
    let directory = Directory::new("several");
    let path = directory.0.join("socket");
    let mut listen: Vec<ListenAddress> =
        ["127.0.0.1:0", "[::1]:0", "127.0.0.1:0"].map(|address| address.parse().unwrap()).into();
    listen.push(ListenAddress::Unix(path.clone()));
    let server = TestServer::start(Config { listen, ..config() });
    let mut members: Vec<Raw> = Vec::new();
    for address in server.addresses() {
        match address {
            ListenAddress::Tcp(address) => members.push(Raw::open(*address, "/rooms/r?echo=true")),
            ListenAddress::Unix(path) => unix_echo(path),
            ListenAddress::Passed(name) => panic!("{name} has an address now"),
        }
    }
    members[0].send(&text("to all"));
    assert_eq!(members.len(), 3);
    for member in &mut members {
        assert_eq!(member.frame(), Frame::text("to all"));
    }
}

#[test]
fn an_address_in_use_is_an_error_of_one_line_and_leaves_nothing_behind() {
    let server = TestServer::start(config());
    let address = server.address();
    let directory = Directory::new("in-use");
    let path = directory.0.join("socket");
    let listen = vec![ListenAddress::Unix(path.clone()), ListenAddress::Tcp(address)];
    let started = ServerBuilder::standard(Config { listen, ..config() }).start();
    let error = started.expect_err("the address is in use").to_string();
    assert!(error.contains(&format!("--listen {address}")) && error.lines().count() == 1, "{error}");
    assert!(!path.exists());
    Raw::open(address, "/echo").round_trip(b"undisturbed");
}

#[test]
fn a_shutdown_sends_what_was_queued_then_the_close_to_everyone() {
    for workers in [1, 2, 4, 8] {
        // The writers do not stop, and the readers are many: neither is what ends a connection here.
        let times = Config { close_timeout: PATIENCE, write_timeout: PATIENCE, ..config() };
        let patient = Config { linger_bytes: 1 << 30, ..remembering(times) };
        let server = TestServer::start(Config { workers: Some(workers), ..patient });
        let address = server.address();
        let members: Vec<Raw> = (0..workers * 4).map(|_| Raw::open(address, "/rooms/r?echo=true")).collect();
        let count = members.len();
        let handle = server.handle();
        let orders: Vec<Vec<(u8, u32)>> = std::thread::scope(|scope| {
            for (number, member) in members.iter().take(4).enumerate() {
                let writer = member.stream.try_clone().unwrap();
                scope.spawn(move || write_to_the_end(writer, number as u8));
            }
            let handle = &handle;
            let readers: Vec<_> = members
                .into_iter()
                .enumerate()
                .map(|(number, member)| {
                    let midway = move || (number == 0).then(|| handle.shutdown());
                    scope.spawn(move || read_to_shutdown(member, midway))
                })
                .collect();
            readers.into_iter().map(|reader| reader.join().unwrap()).collect()
        });
        let longest = orders.iter().max_by_key(|order| order.len()).unwrap();
        for order in &orders {
            assert!(longest.starts_with(order), "everybody has the start of one order");
        }
        let closes: u64 = server.stop().iter().map(|stats| stats.closes(CloseKind::Shutdown)).sum();
        assert_eq!(closes as usize, count);
        assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    }
}

/// Sends numbered messages until the server takes no more, or a bound that keeps a failure short.
fn write_to_the_end(mut writer: TcpStream, number: u8) {
    for count in 0..100_000u32 {
        let mut payload = vec![number; 5 + count as usize % 3000];
        payload[1..5].copy_from_slice(&count.to_be_bytes());
        if writer.write_all(&frame(0x82, &payload)).is_err() {
            return;
        }
    }
    panic!("the server goes on");
}

/// Who sent and with which count, of every whole message up to the Close 1001. Calls `midway` after
/// 200 messages.
fn read_to_shutdown(mut member: Raw, midway: impl Fn() -> Option<()>) -> Vec<(u8, u32)> {
    let mut order = Vec::new();
    loop {
        let Frame { first, payload } = member.frame();
        if first == 0x88 {
            assert_eq!(payload[..2], 1001u16.to_be_bytes());
            // Its writer ends by this too.
            let _ = member.stream.shutdown(std::net::Shutdown::Both);
            return order;
        }
        let count = u32::from_be_bytes(payload[1..5].try_into().expect("4 bytes"));
        assert_eq!((first, payload.len()), (0x82, 5 + count as usize % 3000));
        assert!(payload[5..].iter().all(|byte| *byte == payload[0]));
        order.push((payload[0], count));
        if order.len() == 200 {
            midway();
        }
    }
}

#[test]
fn a_shutdown_answers_those_who_are_still_shaking_hands_and_all_echoes_that_wait() {
    let server = TestServer::start(config());
    let mut echo = Raw::open(server.address(), "/echo");
    let mut half = Raw::connect(server.address());
    half.send(b"GET /echo HT");
    let messages: Vec<u8> = (0..=255).flat_map(|number| frame(0x82, &[number; 100])).collect();
    echo.send(&messages);
    assert_eq!(echo.frame(), Frame::binary(&[0; 100]));
    server.handle().shutdown();
    let (head, body) = half.refusal();
    assert_eq!(head.status, 503);
    assert!(body.contains("shutting down"), "{body}");
    // What was read before is answered, in order and whole.
    let close = (1..=256u16).find_map(|number| {
        let frame = echo.frame();
        if frame.first == 0x82 {
            assert_eq!(frame, Frame::binary(&[number as u8; 100]));
            return None;
        }
        Some(frame)
    });
    assert_eq!(close.unwrap().close(), (1001, "the server is shutting down"));
    echo.expect_end();
}

#[test]
fn a_peer_that_sends_on_in_a_shutdown_still_gets_what_was_queued() {
    let linger_bytes = 1 << 20;
    // One worker tells both of the shutdown in one turn.
    let one_worker = Config { workers: Some(1), ..config() };
    let server = TestServer::start(Config { linger_bytes, ..remembering(one_worker) });
    let mut late = Raw::open(server.address(), "/rooms/r");
    let mut publisher = Raw::open(server.address(), "/rooms/r?echo=true");
    let payload = vec![7; 64 << 10];
    let mut published = 0;
    while server.undelivered(2) < 64 {
        publisher.send(&frame(0x82, &payload));
        assert!(publisher.frame() == Frame::binary(&payload));
        published += 1;
    }
    server.handle().shutdown();
    assert_eq!(publisher.expect_close().0, 1001);
    // More than is read and dropped after an end, before it takes anything of what waits for it.
    late.send(&vec![0; linger_bytes + (64 << 10)]);
    for number in 0..published {
        assert!(late.frame() == Frame::binary(&payload), "message {number}");
    }
    assert_eq!(late.expect_close().0, 1001);
}

#[test]
fn a_shutdown_tells_one_after_the_other_and_serves_those_who_are_not_told_yet() {
    // One worker tells the first at once, and the second when half of the time is over.
    let server = TestServer::start(Config { workers: Some(1), drain: 4 * PATIENCE, ..config() });
    let mut clients: Vec<Raw> = (0..2).map(|_| Raw::open(server.address(), "/echo")).collect();
    let handle = server.handle();
    assert!(!handle.is_draining());
    handle.shutdown();
    assert!(handle.is_draining());
    let told = (0..10_000).find_map(|_| {
        clients.iter_mut().position(|client| {
            client.send(&text("still here"));
            client.frame() != Frame::text("still here")
        })
    });
    clients.remove(told.expect("the first is told at once"));
    let other = &mut clients[0];
    other.round_trip(b"served");
    other.round_trip(b"with what the turn before has counted");
    assert_eq!(server.closes(CloseKind::Shutdown), 1);
    let refused = (0..10_000).any(|_| TcpStream::connect(server.address()).is_err());
    assert!(refused, "nobody is let in any more");
    // It need not wait for its time, and nor does the server.
    other.send(&frame(0x88, b"\x03\xe8"));
    assert_eq!(other.expect_close().0, 1000);
    let left: u64 = server.stop().iter().map(|stats| stats.closes(CloseKind::PeerClosed)).sum();
    assert_eq!(left, 1);
}

#[test]
fn a_server_without_connections_stops_at_once() {
    let server = TestServer::start(config());
    assert_eq!(server.stop().len(), 2);
}

/// Panics where it is told to.
struct Fragile;

impl Endpoint for Fragile {
    fn open<'m>(
        &mut self,
        _: ConnectionId,
        request: &OpenRequest<'_>,
        _: &mut Effects<'m>,
    ) -> Result<Accept, Refusal> {
        assert!(request.query("panic")?.is_none(), "told to");
        Ok(Accept::default())
    }

    fn message<'m>(&mut self, _: ConnectionId, message: Message<'m>, effects: &mut Effects<'m>) {
        assert!(message.text() != Some("panic"), "told to");
        effects.send(message);
    }

    fn close(&mut self, _: ConnectionId, cause: &CloseCause) {
        assert!(cause.kind() != CloseKind::PeerClosed, "told to");
    }
}

#[test]
fn an_endpoint_that_panics_loses_that_connection_only() {
    let one_worker = Config { workers: Some(1), ..config() };
    let builder = ServerBuilder::standard(one_worker).endpoint("/fragile", |_| Fragile);
    let server = TestServer::build(builder);
    let mut neighbour = Raw::open(server.address(), "/fragile");
    for _ in 0..3 {
        let mut in_open = Raw::connect(server.address());
        in_open.send(upgrade_request("/fragile?panic").as_bytes());
        let (head, body) = in_open.refusal();
        assert_eq!((head.status, body.as_str()), (500, "internal error"));

        let mut in_message = Raw::open(server.address(), "/fragile");
        in_message.send(&[text("fine"), text("panic"), text("never")].concat());
        assert_eq!(in_message.frame(), Frame::text("fine"));
        assert_eq!(in_message.expect_close(), (1011, "internal error".to_owned()));

        let mut in_close = Raw::open(server.address(), "/fragile");
        in_close.send(&frame(0x88, b"\x03\xe8"));
        assert_eq!(in_close.expect_close().0, 1000);
        neighbour.round_trip(b"alive");
    }
    server.until_closes(CloseKind::EndpointPanic, 6);
}
