//! Servers with everything that the binary has, and crowds that cost only the server memory.

use std::sync::Arc;
use std::time::Duration;

use fanfare::Config;
use fanfare::endpoint::RouterPlan;
use fanfare::endpoint::client_protocol::{ClientProtocol, ClientProtocolSettings};
use fanfare::shard::Admission;
use fanfare::time::Time;

use crate::common::{Client, Server, request, split_response, text};

/// The path of the client protocol.
pub const SDK: &str = "/connection/websocket";

/// Shards with every path of the binary that peers can make work on.
pub fn everything(shards: usize, config: &Config) -> Server {
    let Config { member_publish, ping_interval, command_rate, .. } = *config;
    let settings = ClientProtocolSettings { member_publish, ping_interval, command_rate };
    let mut plan = RouterPlan::default();
    plan.origins.allowed.clone_from(&config.allow_origin);
    plan.add_endpoint(SDK, Arc::new(move |_| Box::new(ClientProtocol::new(settings))));
    Server::with_rooms(shards, config.settings(), config.mailbox_bytes, plan, config.room_settings())
}

/// Accepted sockets with room for so many bytes to and from the server: what is allocated for them later is
/// the server's own.
pub fn crowd(server: &mut Server, count: usize, to_server: usize, from_server: usize) -> Vec<Client> {
    let mut open = |_| {
        let socket = {
            let mut net = server.net.borrow_mut();
            let socket = net.open();
            let ends = &mut net.sockets[socket.0];
            ends.output.reserve(from_server);
            ends.sends.reserve(64);
            ends.feed(&vec![0; to_server]);
            ends.forget_input();
            socket
        };
        server.adopt_socket(0, socket, Admission::Welcome)
    };
    let clients = (0..count).map(&mut open).collect();
    server.settle();
    clients
}

/// The same, with a WebSocket open on a path.
pub fn open_crowd(
    server: &mut Server,
    path: &str,
    count: usize,
    to_server: usize,
    from_server: usize,
) -> Vec<Client> {
    let handshake = request(path);
    let clients = crowd(server, count, to_server.max(handshake.len()), from_server.max(1 << 10));
    for client in &clients {
        server.feed(*client, &handshake);
    }
    server.settle();
    for client in &clients {
        let mut socket = server.socket(*client);
        assert_eq!(split_response(&socket.output), (101, &[][..]), "{path}");
        socket.output.clear();
        socket.sends.clear();
    }
    clients
}

/// Checks that one who behaves is served as ever.
pub fn assert_served(server: &mut Server, client: Client) {
    server.feed(client, &text("alive"));
    server.settle();
    assert_eq!(server.take_texts(client), ["alive"]);
}

/// Moves the clock, and turns until no timer that has expired is left for a later turn.
pub fn advance(server: &mut Server, by: Duration) {
    server.advance(by);
    while server.shards[0].io_mut().deadline == Some(Time::ZERO) {
        server.settle();
    }
}
