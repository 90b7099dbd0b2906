//! What connections and messages cost the allocator, to the byte: an idle connection owns no heap,
//! and a message allocates nothing per receiver.
//!
//! The simulated sockets record into memory that they have reserved before, so what is counted is the
//! shards' own.

mod common;
mod counting;

use std::sync::Arc;

use fanfare::Config;
use fanfare::endpoint::RouterPlan;
use fanfare::endpoint::client_protocol::{ClientProtocol, ClientProtocolSettings};
use fanfare::rooms::Identity;
use fanfare::shard::{Admission, Counter, Shard};

use common::sim::SimIo;
use common::{Client, Server, binary, request, settings, text};
use counting::{allocations, live_bytes};

/// The channel between shards allocates a block per 31 pieces of mail, and is as full as before after
/// any multiple of them.
const MAIL_PER_BLOCK: usize = 31;
const ROOMS: usize = 33;
const CONNECTIONS: usize = ROOMS * MAIL_PER_BLOCK;

/// Shards whose rooms hold so few messages that their windows are as full as they get after a warm-up.
fn server(shards: usize) -> Server {
    server_with_presence(shards, "full")
}

/// The same, with the client protocol too.
fn server_with_presence(shards: usize, level: &str) -> Server {
    let presence = vec![level.parse().unwrap()];
    let config = Config { history_messages: 8, presence, ..Config::default() };
    let Config { member_publish, ping_interval, command_rate, .. } = config;
    let protocol = ClientProtocolSettings { member_publish, ping_interval, command_rate };
    let mut plan = RouterPlan::default();
    plan.add_endpoint("/connection/websocket", Arc::new(move |_| Box::new(ClientProtocol::new(protocol))));
    Server::with_rooms(shards, settings(), config.mailbox_bytes, plan, config.room_settings())
}

/// Opens `count` sockets with room for what they will record, so that they allocate nothing later.
fn sockets(server: &mut Server, count: usize) -> Vec<Client> {
    let mut net = server.net.borrow_mut();
    let open = |_| {
        let socket = net.open();
        net.sockets[socket.0].output.reserve(8 << 10);
        net.sockets[socket.0].sends.reserve(64);
        net.sockets[socket.0].feed(&[0; 1 << 10]);
        net.sockets[socket.0].forget_input();
        Client { socket, shard: 0 }
    };
    (0..count).map(open).collect()
}

/// Opens connections, spread over the rooms.
fn open(server: &mut Server, clients: &[Client]) {
    for (number, client) in clients.iter().enumerate() {
        server.adopt_socket(0, client.socket, Admission::Welcome);
        server.feed(*client, &request(&format!("/rooms/{}?echo=true", number % ROOMS)));
    }
    server.settle();
    for client in clients {
        assert!(server.socket(*client).output.starts_with(b"HTTP/1.1 101"));
    }
    clear(server);
}

fn clear(server: &mut Server) {
    for socket in &mut server.net.borrow_mut().sockets {
        socket.output.clear();
        socket.sends.clear();
    }
}

/// Each says something to its room and hears everybody there.
fn open_and_talk(server: &mut Server, clients: &[Client]) {
    open(server, clients);
    for client in clients {
        server.feed(*client, &text("x"));
    }
    server.settle();
    for client in clients {
        assert_eq!(server.socket(*client).output.len(), CONNECTIONS / ROOMS * 3);
    }
    clear(server);
}

fn close_all(server: &mut Server, clients: &[Client]) {
    for client in clients {
        server.socket(*client).eof = true;
    }
    server.settle();
    assert!(clients.iter().all(|client| server.is_closed(*client)));
}

#[test]
fn a_thousand_idle_connections_own_no_heap_beside_their_slots() {
    let mut server = server(1);
    let clients = sockets(&mut server, ROOMS + 4 * CONNECTIONS);
    // They keep the rooms, whose lists of members are not a connection's own.
    let (keepers, clients) = clients.split_at(ROOMS);
    let cold = live_bytes();
    open(&mut server, keepers);
    let (warm_up, clients) = clients.split_at(CONNECTIONS);
    open_and_talk(&mut server, warm_up);
    let grown = live_bytes() - cold;
    close_all(&mut server, warm_up);
    // Only now do windows let go of what can be used again.
    let (second, clients) = clients.split_at(CONNECTIONS);
    open_and_talk(&mut server, second);
    close_all(&mut server, second);
    let (measured, control) = clients.split_at(CONNECTIONS);
    let closed = live_bytes();
    open_and_talk(&mut server, measured);
    assert_eq!(live_bytes() - closed, 0, "{CONNECTIONS} idle connections in slots that were there");
    assert!(grown >= (CONNECTIONS * Shard::<SimIo>::CONNECTION_BYTES) as i64, "the slots are counted");
    close_all(&mut server, measured);
    assert_eq!(live_bytes(), closed);
    open_and_talk(&mut server, control);
    let (idle, message) = (live_bytes(), text("x"));
    let with_message = live_bytes();
    server.feed(control[0], &message[..3]);
    server.settle();
    assert!(live_bytes() > with_message, "half a message does own heap, and the count sees it");
    server.feed(control[0], &message[3..]);
    server.settle();
    drop(message);
    assert_eq!(live_bytes(), idle, "which is given back at its end");
    close_all(&mut server, control);
    server.finish();
    // Not earlier: what is printed under test is kept on the heap, and would count.
    println!("the first {CONNECTIONS} connections grew the process by {grown} bytes");
    println!("a connection is {} bytes", Shard::<SimIo>::CONNECTION_BYTES);
}

/// What is measured of a server with ten thousand of them has to stay below 200 bytes each, and the allocator and
/// the kernel's pages want something of that.
#[test]
fn an_idle_member_takes_at_most_184_bytes() {
    type Real = Shard<fanfare::reactor::PollIo>;
    let (connection, membership) = (Real::CONNECTION_BYTES, Real::MEMBERSHIP_BYTES);
    println!("a connection takes {connection} bytes, and a membership {membership}");
    assert!(connection <= 144, "{connection}");
    assert!(membership <= 40, "{membership}");
}

#[test]
fn an_echo_of_small_messages_allocates_nothing() {
    let mut server = server(1);
    let client = server.connect(0, "/echo");
    let mut burst = text("a small message");
    burst.extend(binary(&[7; 100]));
    let batch = burst.repeat(8);
    let round = |server: &mut Server| {
        server.feed(client, &batch);
        server.turn(0);
        let mut socket = server.socket(client);
        assert_eq!(socket.output.len(), batch.len() - 16 * 4);
        socket.output.clear();
        socket.sends.clear();
    };
    for _ in 0..100 {
        round(&mut server);
    }
    let count = allocations(|| (0..1000).for_each(|_| round(&mut server)));
    assert_eq!(count, 0, "for 16,000 messages");
    let count = allocations(|| {
        server.feed(client, &batch[..batch.len() - 1]);
        server.turn(0);
    });
    assert!(count > 0, "a message that is cut does allocate, and the count sees it");
    server.finish();
}

#[test]
fn an_echo_of_whole_messages_of_any_size_allocates_nothing() {
    for (bytes, in_flight) in [(16, 1), (1 << 10, 16), (16 << 10, 4), (64 << 10, 1)] {
        let mut server = server(1);
        let client = server.connect(0, "/echo");
        let messages = binary(&vec![7; bytes]).repeat(in_flight);
        let round = |server: &mut Server| {
            server.feed(client, &messages);
            server.turn(0);
            let mut socket = server.socket(client);
            assert_eq!(socket.output.len(), messages.len() - 4 * in_flight);
            socket.output.clear();
            socket.sends.clear();
        };
        (0..20).for_each(|_| round(&mut server));
        let count = allocations(|| (0..100).for_each(|_| round(&mut server)));
        assert_eq!(count, 0, "for 100 times {in_flight} messages of {bytes} B");
        server.finish();
    }
}

#[test]
fn a_turn_with_more_replies_than_are_flushed_at_once_allocates_nothing() {
    let mut server = server(1);
    let clients: Vec<Client> = (0..100).map(|_| server.connect(0, "/echo")).collect();
    let messages = binary(&[7; 1 << 10]).repeat(16);
    let round = |server: &mut Server| {
        clients.iter().for_each(|client| server.feed(*client, &messages));
        server.turn(0);
        for client in &clients {
            assert_eq!(server.socket(*client).output.len(), messages.len() - 4 * 16);
        }
        clear(server);
    };
    (0..5).for_each(|_| round(&mut server));
    let count = allocations(|| (0..10).for_each(|_| round(&mut server)));
    assert_eq!(count, 0, "for 10 turns of {} bytes each", 100 * messages.len());
    server.finish();
}

/// Allocations for `messages` relayed one per turn to so many members.
fn relay_allocations(shards: usize, members: usize, messages: usize) -> u64 {
    let mut server = server(shards);
    let sender = server.connect(0, "/rooms/a");
    let members: Vec<Client> =
        (0..members).map(|number| server.connect(number % shards, "/rooms/a")).collect();
    let message = text("a small message");
    let round = |server: &mut Server| {
        server.feed(sender, &message);
        (0..shards).for_each(|shard| server.turn(shard));
        for member in &members {
            let mut socket = server.socket(*member);
            assert_eq!(socket.output.len(), message.len() - 4);
            socket.output.clear();
            socket.sends.clear();
        }
    };
    let warm_up = 10 * MAIL_PER_BLOCK;
    (0..warm_up).for_each(|_| round(&mut server));
    let count = allocations(|| (0..messages).for_each(|_| round(&mut server)));
    assert_eq!(server.counter(Counter::Publications) as usize, messages + warm_up);
    server.finish();
    count
}

#[test]
fn a_relay_allocates_a_block_of_the_channel_now_and_then_and_nothing_per_receiver() {
    let messages = 20 * MAIL_PER_BLOCK;
    for shards in [1, 2] {
        let few = relay_allocations(shards, 10, messages);
        let many = relay_allocations(shards, 1000, messages);
        println!("{few} allocations for {messages} messages to {shards} shards");
        assert_eq!(few, many, "10 members or 1000");
        assert!(few <= (shards * messages / MAIL_PER_BLOCK) as u64, "one block per {MAIL_PER_BLOCK}: {few}");
    }
}

/// Opens connections of the client protocol, spread over the rooms, with names of so many bytes or without
/// one. Each publishes once and hears everybody there.
fn open_sdks(server: &mut Server, clients: &[Client], name_bytes: usize) {
    for client in clients {
        server.adopt_socket(0, client.socket, Admission::Welcome);
        server.feed(*client, &request("/connection/websocket"));
    }
    server.settle();
    let name = "n".repeat(name_bytes);
    feed_all(server, clients, |room| {
        format!(
            "{{\"id\":1,\"connect\":{{\"data\":{{\"name\":\"{name}\"}}}}}}\n\
             {{\"id\":2,\"subscribe\":{{\"channel\":\"{room}\",\"flag\":1}}}}"
        )
    });
    feed_all(server, clients, |room| {
        format!("{{\"id\":3,\"publish\":{{\"channel\":\"{room}\",\"data\":1}}}}")
    });
    for client in clients {
        let socket = server.socket(*client);
        let pushes = socket.output.windows(6).filter(|window| window == b"\"pub\":").count();
        assert_eq!(pushes, CONNECTIONS / ROOMS);
    }
    clear(server);
}

/// Sends each connection's room a frame of commands.
fn feed_all(server: &mut Server, clients: &[Client], commands: impl Fn(usize) -> String) {
    clear(server);
    for (number, client) in clients.iter().enumerate() {
        server.feed(*client, &text(&commands(number % ROOMS)));
    }
    server.settle();
}

/// Bytes that so many idle members with names of so many bytes own beside what is there for their slots, and
/// what the rooms count for them.
fn idle_sdk_bytes(level: &str, name_bytes: usize) -> (i64, i64) {
    let mut server = server_with_presence(1, level);
    let clients = sockets(&mut server, ROOMS + 3 * CONNECTIONS);
    let (keepers, clients) = clients.split_at(ROOMS);
    open(&mut server, keepers);
    // From here on all offsets have three digits, so that windows are as full each time.
    (0..10).for_each(|_| refill_windows(&mut server, keepers));
    // Slots, the endpoint's own among them, lists of members, windows and spare room grow to what they need.
    let (warm_up, measured) = clients.split_at(2 * CONNECTIONS);
    for warm_up in warm_up.chunks(CONNECTIONS) {
        open_sdks(&mut server, warm_up, name_bytes);
        refill_windows(&mut server, keepers);
        leave_all(&mut server, warm_up);
    }
    let (before, counted_before) = (live_bytes(), server.registry.memory_bytes());
    open_sdks(&mut server, measured, name_bytes);
    refill_windows(&mut server, keepers);
    let owned = live_bytes() - before;
    let counted = server.registry.memory_bytes() as i64 - counted_before as i64;
    leave_all(&mut server, measured);
    assert_eq!(live_bytes(), before, "and gives back");
    server.finish();
    (owned, counted)
}

/// Fills the rooms' windows with messages of nobody: a message keeps the name of its sender. Twice, as its
/// batch then waits to be used again.
fn refill_windows(server: &mut Server, keepers: &[Client]) {
    for _ in 0..2 {
        for keeper in keepers {
            server.feed(*keeper, &text("x").repeat(8));
        }
        server.settle();
        clear(server);
    }
}

/// Says goodbye, so that nobody waits for who comes back.
fn leave_all(server: &mut Server, clients: &[Client]) {
    for client in clients {
        server.feed(*client, &common::close(1000, ""));
        server.socket(*client).eof = true;
    }
    server.settle();
    assert!(clients.iter().all(|client| server.is_closed(*client)));
    clear(server);
}

#[test]
fn an_idle_member_of_the_client_protocol_owns_its_name_and_its_places_in_lists() {
    let identity = (size_of::<Identity>() + 2 * size_of::<usize>()) as i64;
    let connections = CONNECTIONS as i64;
    // Where nobody is listed: without a name nothing at all, with one the name.
    assert_eq!(idle_sdk_bytes("off", 0).0, 0);
    assert_eq!(idle_sdk_bytes("off", 20).0, connections * (identity + 20));
    // Where all are listed, their places in the rooms' lists too, which the rooms count.
    for name_bytes in [0, 20] {
        let (owned, counted) = idle_sdk_bytes("full", name_bytes);
        assert!(owned > 0 && owned <= counted, "{owned} bytes, {counted} counted");
        println!(
            "{} bytes each with a name of {name_bytes}, {} counted",
            owned / connections,
            counted / connections
        );
    }
}

/// Allocations for `messages` relayed one per turn to so many members of the client protocol, every other
/// one in Protobuf framing.
fn push_allocations(shards: usize, members: usize, messages: usize) -> u64 {
    let mut server = server(shards);
    let sender = server.connect(0, "/rooms/a");
    let members: Vec<Client> = (0..members).map(|number| sdk_member(&mut server, number, shards)).collect();
    server.settle();
    clear(&mut server);
    let message = text("{\"a\":\"small message\"}");
    let round = |server: &mut Server| {
        server.feed(sender, &message);
        (0..shards).for_each(|shard| server.turn(shard));
        for member in &members {
            let mut socket = server.socket(*member);
            assert_eq!((socket.output.is_empty(), socket.sends.len()), (false, 1));
            socket.output.clear();
            socket.sends.clear();
        }
    };
    let warm_up = 10 * MAIL_PER_BLOCK;
    (0..warm_up).for_each(|_| round(&mut server));
    let count = allocations(|| (0..messages).for_each(|_| round(&mut server)));
    assert_eq!(server.counter(Counter::Publications) as usize, messages + warm_up);
    server.finish();
    count
}

/// A member of room a.
fn sdk_member(server: &mut Server, number: usize, shards: usize) -> Client {
    let shard = number % shards;
    if (number / shards).is_multiple_of(2) {
        let member = server.connect(shard, "/connection/websocket");
        server.feed(member, &text("{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"a\"}}"));
        return member;
    }
    let member = server.connect(shard, "/connection/websocket?format=protobuf");
    // Command 1 connects, command 2 subscribes to a; each behind its length.
    server.feed(member, &binary(b"\x04\x08\x01\x22\x00\x07\x08\x02\x2a\x03\x0a\x01a"));
    member
}

#[test]
fn pushes_are_encoded_once_and_allocate_nothing_per_receiver() {
    let messages = 20 * MAIL_PER_BLOCK;
    for shards in [1, 2] {
        let few = push_allocations(shards, 4 * shards, messages);
        let many = push_allocations(shards, 1000, messages);
        println!("{few} allocations for {messages} messages to {shards} shards");
        assert_eq!(few, many, "a few members or 1000");
    }
}
