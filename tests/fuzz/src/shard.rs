//! Target `shard`: one or two shards, some peers, and an input that says who does what and when: what is sent,
//! how much a socket takes, how time goes by, which shard has its turn. Two honest members see every message
//! of room `a`; whatever the others get has to agree with that.

use std::io::ErrorKind;
use std::time::Duration;

use fanfare::Config;
use fanfare::endpoint::client_protocol::Framing;
use fanfare::protocol::{Opcode, push_client_frame};

use super::choices::Choices;
use super::common::request;
use super::order;
use super::peer::Speaks;
use super::world::{World, small};

const STEPS_MAX: usize = 300;
const PEERS_MAX: usize = 10;
/// Those who come first: members of room `a` that read everything and answer pings.
pub const HONEST: usize = 2;

/// Where peers go; the last one sends no handshake.
const PATHS: [&str; 8] = [
    "/rooms/a?echo=true",
    "/rooms/a",
    "/rooms/a?echo=true&last=3&name=Ada",
    "/rooms/b",
    "/echo",
    "/connection/websocket",
    "/connection/websocket?format=protobuf",
    "",
];

/// What is asked over HTTP.
const REQUESTS: [&str; 12] = [
    "POST /rooms/a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "POST /rooms/a HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: 3\r\n\r\n\0\x01\x02",
    "GET /rooms/a?limit=3 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /rooms/a/events HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /rooms/a/events?last=2&name=Ada HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /rooms HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /rooms HTTP/1.1\r\nHost: a\r\nContent-Length: 31\r\n\r\n{\"rooms\":[\"a\",\"b\"],\"data\":[1]}\n",
    "POST /api/unsubscribe HTTP/1.1\r\nHost: a\r\nContent-Length: 28\r\n\r\n{\"channel\":\"b\",\"user\":\"Ada\"}",
    "POST /api/disconnect HTTP/1.1\r\nHost: a\r\nContent-Length: 14\r\n\r\n{\"user\":\"Ada\"}",
    "POST /api/presence HTTP/1.1\r\nHost: a\r\nContent-Length: 15\r\n\r\n{\"channel\":\"a\"}",
    "POST /rooms/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
];

/// What clients of the client protocol say.
const COMMANDS: [&str; 10] = [
    "{\"id\":1,\"connect\":{}}",
    "{\"id\":1,\"connect\":{\"data\":{\"name\":\"Ada\"}}}",
    "{\"id\":2,\"subscribe\":{\"channel\":\"a\",\"join_leave\":true}}",
    "{\"id\":3,\"subscribe\":{\"channel\":\"b\"}}",
    "{\"id\":4,\"publish\":{\"channel\":\"a\",\"data\":{\"n\":1}}}",
    "{\"id\":5,\"history\":{\"channel\":\"a\",\"limit\":5}}",
    "{\"id\":6,\"presence\":{\"channel\":\"a\"}}",
    "{\"id\":7,\"unsubscribe\":{\"channel\":\"a\"}}",
    "{}",
    "{\"id\":8,\"publish\":{\"channel\":\"a\",\"data\":\"x\"}}\n{\"id\":9,\"presence_stats\":{\"channel\":\"a\"}}",
];

/// Choices: shards and limits. Then steps, each with its operands.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let first = choices.byte();
    let shards = 1 + usize::from(first & 1);
    let rates = Config { message_rate: 10, ping_rate: 3, rate_grace: Duration::from_secs(1), ..small() };
    let config = if first & 2 == 0 { rates } else { Config::default() };
    let mut world = World::new(shards, config);
    for honest in 0..HONEST {
        open(&mut world, honest % shards, PATHS[0]);
        world.server.settle();
    }
    let mut drained = false;
    for _ in 0..STEPS_MAX {
        if choices.is_empty() {
            break;
        }
        drained |= step(&mut world, &mut choices, drained);
        look(&mut world);
    }
    for peer in 0..world.peers.len() {
        let client = world.peers[peer].client;
        world.server.socket(client).room = usize::MAX;
        world.server.socket(client).read_max = usize::MAX;
    }
    world.server.settle();
    look(&mut world);
    order::check(&world);
    if drained { world.finish_draining() } else { world.end() }
}

fn open(world: &mut World, shard: usize, path: &str) {
    let peer = world.open(shard);
    world.peers[peer].framing = match path {
        "/connection/websocket" => Some(Framing::Json),
        "/connection/websocket?format=protobuf" => Some(Framing::Protobuf),
        _ => None,
    };
    if !path.is_empty() {
        world.send(peer, &request(path));
    }
}

/// Everything that has come is checked, and the honest answer their pings.
fn look(world: &mut World) {
    let before: Vec<usize> = (0..HONEST).map(|at| world.peers[at].frames.len()).collect();
    world.look();
    for (at, before) in before.into_iter().enumerate() {
        let pings = world.peers[at].frames[before..].iter().filter(|frame| frame.opcode == 9);
        let pongs: Vec<Vec<u8>> = pings.map(|ping| client_frame(0x8A, &ping.payload)).collect();
        world.send(at, &pongs.concat());
    }
}

/// A masked frame with this first byte, which may be wrong.
fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    push_client_frame(&mut out, Opcode::Binary, true, payload, [0x5a, 0x01, 0xc3, 0x77]);
    out[0] = first;
    out
}

/// One step; `true` if it was the order to drain, behind which nobody is accepted any more.
fn step(world: &mut World, choices: &mut Choices<'_>, drained: bool) -> bool {
    let what = choices.byte();
    let shards = world.server.shards.len();
    // The honest only listen.
    let others = world.peers.len() - HONEST;
    let peer = HONEST + usize::from(what >> 4) % others.max(1);
    let operand = choices.byte();
    let number = usize::from(operand);
    if matches!(what & 15, 0) || others == 0 {
        if world.peers.len() < PEERS_MAX && !drained {
            open(world, usize::from(what >> 7) % shards, PATHS[number % PATHS.len()]);
        }
        return false;
    }
    let client = world.peers[peer].client;
    match what & 15 {
        1 => world.send(peer, choices.bytes(number)),
        2 => world.send(peer, &client_frame(0x81, choices.bytes(number))),
        3 => {
            let first = choices.byte();
            world.send(peer, &client_frame(first, choices.bytes(number)));
        }
        4 => world.send(peer, REQUESTS[number % REQUESTS.len()].as_bytes()),
        5 => world.send(peer, &client_frame(0x81, COMMANDS[number % COMMANDS.len()].as_bytes())),
        6 => world.server.turn(number % shards),
        7 => world.server.settle(),
        8 => world.server.advance(Duration::from_millis(number as u64 * 40)),
        9 => {
            world.server.jump();
        }
        10 => world.server.socket(client).room = if operand == 255 { usize::MAX } else { number },
        11 => world.server.socket(client).read_max = number + 1,
        12 => world.server.socket(client).eof = true,
        13 => world.server.socket(client).hung_up = true,
        14 => {
            let kinds = [ErrorKind::ConnectionReset, ErrorKind::TimedOut, ErrorKind::BrokenPipe];
            world.server.socket(client).error = Some(kinds[number % kinds.len()]);
        }
        _ => {
            let now = world.server.now();
            world.server.drain(now + Duration::from_millis(number as u64 * 40));
            return true;
        }
    }
    false
}

/// Whether a peer is still spoken to.
pub fn is_open(world: &World, peer: usize) -> bool {
    matches!(world.peers[peer].speaks, Speaks::Frames | Speaks::Events)
}
