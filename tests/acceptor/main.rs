//! The acceptor on one thread, over a simulated kernel and clock: what it does when everybody comes at
//! once, when the machine runs out of what a connection needs, and when it is told to stop.

#[path = "../common/mod.rs"]
mod common;

mod accepting;
mod addresses;
mod full;
mod pressure;
mod proxies;
mod reload;
mod shortage;
mod throttle;

use common::sim::SocketId;
use common::{Gate, Server};

/// The status and the body of the one HTTP answer that a peer was sent, after which its stream ended.
fn refusal(server: &Server, socket: SocketId) -> (u16, String) {
    let net = server.net.borrow();
    let socket = &net.sockets[socket.0];
    assert_eq!(socket.calls.shutdown_write, 1, "the answer is the end: {socket:?}");
    let text = String::from_utf8(socket.output.clone()).expect("an answer is text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a whole head");
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).expect("a status");
    assert!(head.contains("\r\nConnection: close"), "{head}");
    (status.parse().expect("a number"), body.to_owned())
}

fn is_closed(server: &Server, socket: SocketId) -> bool {
    server.net.borrow().sockets[socket.0].calls.close == 1
}

/// Ends everything, and checks that nothing is left.
fn finish(mut gate: Gate, server: Server) {
    gate.stop();
    gate.turn();
    drop(gate);
    server.finish();
}
