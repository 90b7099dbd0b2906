//! What the kernel holds for one peer.
#![cfg(target_os = "linux")]

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};

use fanfare::Config;
use fanfare::shard::Counter;

use crate::support::{PATIENCE, Raw, TestServer, config, frame};

/// What the kernel may take over its mark: the segment that goes beyond it, on the loopback.
const SEGMENT_BYTES_MAX: usize = 64 << 10;

/// Bytes that wait at the server's end of a connection until the server reads them.
fn waiting(server: SocketAddr, client: &TcpStream) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel has TCP");
    let port = |port: u16| format!(":{port:04X}");
    let (local, remote) = (port(server.port()), port(client.local_addr().expect("an address").port()));
    let queue = table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_it = fields[1].ends_with(&local) && fields[2].ends_with(&remote);
        is_it.then(|| fields[4].split_once(':').expect("two queues").1.to_owned())
    });
    usize::from_str_radix(&queue.expect("its socket is there"), 16).expect("a number")
}

#[test]
fn what_is_sent_while_it_is_not_read_waits_with_its_sender() {
    const MESSAGE: usize = 1 << 20;
    // No rate stops the reading, only what is not taken.
    let no_rates = Config { byte_rate: 1 << 40, message_rate: 1 << 20, write_timeout: PATIENCE, ..config() };
    let receive_buffer = no_rates.receive_buffer;
    let server = TestServer::start(no_rates);
    let mut peer = Raw::open(server.address(), "/echo");
    let mut watch = Raw::open(server.address(), "/echo");
    // Fast and large, so that a kernel that is free to would give it megabytes.
    for _ in 0..30 {
        peer.round_trip(&[7; MESSAGE]);
    }
    let message = frame(0x82, &[7; MESSAGE]);
    let (pauses, mut offered, mut idle) = (server.counter(Counter::ReplyPauses), 0, 0);
    peer.stream.set_nonblocking(true).expect("a socket");
    while idle < 200 || server.counter(Counter::ReplyPauses) == pauses {
        match peer.stream.write(&message[offered % message.len()..]) {
            Ok(count) => (offered, idle) = (offered + count, 0),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                watch.round_trip(b"watch");
                idle += 1;
                assert!(idle < 100_000, "the reading never pauses");
            }
        }
        assert!(offered < 256 << 20, "it is taken without end");
    }
    // The peer's kernel may take its time to send what it was given.
    server.until("bytes in the server's socket", |_| waiting(server.address(), &peer.stream) > 0);
    let (waiting, allowed) =
        (waiting(server.address(), &peer.stream), 2 * receive_buffer + SEGMENT_BYTES_MAX);
    println!("{offered} bytes sent on, {waiting} wait in the server's socket, {allowed} are allowed");
    assert!(waiting <= allowed, "{waiting}, {allowed} are allowed");
}
