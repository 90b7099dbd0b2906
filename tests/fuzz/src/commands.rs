//! What the targets `commands_json` and `commands_protobuf` share: a client of the client protocol says what
//! the input has, in a room where three others listen.

use std::collections::VecDeque;

use fanfare::endpoint::client_protocol::{COMMANDS_PER_MESSAGE_MAX, Command, Framing, Request, decode};
use fanfare::protocol::Opcode;
use serde_json::Value;

use super::common::{client_frame, request};
use super::replies::{Said, said};
use super::wire::Frame;
use super::world::World;

/// The room in which the others listen.
pub const ROOM: &str = "r";

/// One run: the frames of a client, and what has to come of them.
pub struct Session {
    world: World,
    client: usize,
    framing: Framing,
    raw: usize,
    listeners: [(usize, Framing); 2],
    /// Ids of commands that are not answered yet, with what they publish to [`ROOM`].
    awaited: VecDeque<(u32, Option<Vec<u8>>)>,
    /// What was acknowledged.
    published: Vec<Vec<u8>>,
}

impl Session {
    /// A client that has introduced itself, unless `silent`.
    pub fn new(mut world: World, framing: Framing, silent: bool) -> Session {
        let raw = open(&mut world, &format!("/rooms/{ROOM}"));
        let mut listeners = [(0, Framing::Json), (0, Framing::Protobuf)];
        for (at, framing) in &mut listeners {
            *at = open(&mut world, path(*framing));
            let hello = [connect(*framing), subscribe(*framing)].concat();
            say(&mut world, *at, *framing, &hello);
        }
        let client = open(&mut world, path(framing));
        if !silent {
            say(&mut world, client, framing, &connect(framing));
        }
        world.server.settle();
        world.look();
        for (at, framing) in listeners {
            assert_eq!(replies(&world, at, framing).len(), 2, "connect and subscribe are answered");
        }
        let mut session = Session {
            world,
            client,
            framing,
            raw,
            listeners,
            awaited: VecDeque::new(),
            published: Vec::new(),
        };
        if !silent {
            session.awaited.push_back((1, None));
        }
        session.answered();
        session
    }

    /// One frame, and what comes of it.
    pub fn frame(&mut self, bytes: &[u8]) {
        if self.world.peers[self.client].is_over() {
            return;
        }
        for command in check_decoded(self.framing, bytes) {
            if command.id == 0 {
                continue;
            }
            let payload = match &command.request {
                Request::Publish { channel, data } if channel == ROOM => Some(data.bytes.to_vec()),
                _ => None,
            };
            self.awaited.push_back((command.id, payload));
        }
        say(&mut self.world, self.client, self.framing, bytes);
        self.world.server.settle();
        self.world.look();
        self.answered();
    }

    /// Each command was answered once, in order, unless the connection has ended.
    fn answered(&mut self) {
        let peer = &mut self.world.peers[self.client];
        for frame in std::mem::take(&mut peer.frames) {
            if let Some((code, reason)) = frame.close() {
                assert!(matches!(code, 3000..=3999 | 1001 | 1007..=1009), "{code} {reason}");
                assert!(!reason.is_empty(), "a client is told why");
            }
            for said in said(self.framing, &frame) {
                let Said::Reply { id, error, .. } = said else { continue };
                let awaited = self.awaited.pop_front();
                assert_eq!(awaited.as_ref().map(|(id, _)| *id), Some(id), "answers come in order");
                self.published.extend(awaited.and_then(|(_, payload)| payload.filter(|_| error.is_none())));
            }
        }
        assert!(peer.is_over() || self.awaited.is_empty(), "no answer to {:?}", self.awaited);
    }

    /// Everybody in the room has got what was published, in whatever form it stands with them.
    pub fn end(mut self) {
        self.world.server.advance(self.world.config.ping_interval);
        self.world.look();
        let raw: Vec<&Frame> = self.world.peers[self.raw].messages().collect();
        let raw: Vec<&[u8]> = raw.iter().map(|frame| frame.payload.as_slice()).collect();
        let over = self.world.peers[self.client].is_over();
        assert!(raw.len() >= self.published.len() && (over || raw.len() == self.published.len()));
        assert!(self.published.iter().zip(&raw).all(|(sent, got)| sent == got), "in order, byte for byte");
        for (at, framing) in self.listeners {
            let got: Vec<(u64, Said)> = publications(&self.world, at, framing);
            assert_eq!(got.len(), raw.len());
            for ((number, (offset, said)), payload) in (1..).zip(&got).zip(&raw) {
                assert_eq!(*offset, number, "offsets are consecutive");
                said.check_payload(payload);
            }
        }
        self.world.end();
    }
}

fn publications(world: &World, at: usize, framing: Framing) -> Vec<(u64, Said)> {
    let all = world.peers[at].frames.iter().flat_map(|frame| said(framing, frame));
    let offset = |said: Said| match said {
        Said::Publication { offset, .. } => Some((offset, said)),
        _ => None,
    };
    all.filter_map(offset).collect()
}

fn replies(world: &World, at: usize, framing: Framing) -> Vec<Said> {
    let all = world.peers[at].frames.iter().flat_map(|frame| said(framing, frame));
    all.filter(|said| matches!(said, Said::Reply { error: None, .. })).collect()
}

fn path(framing: Framing) -> &'static str {
    match framing {
        Framing::Json => "/connection/websocket",
        Framing::Protobuf => "/connection/websocket?format=protobuf",
    }
}

fn connect(framing: Framing) -> Vec<u8> {
    match framing {
        Framing::Json => b"{\"id\":1,\"connect\":{}}\n".to_vec(),
        Framing::Protobuf => vec![4, 0x08, 1, 0x22, 0],
    }
}

fn subscribe(framing: Framing) -> Vec<u8> {
    match framing {
        Framing::Json => format!("{{\"id\":2,\"subscribe\":{{\"channel\":\"{ROOM}\"}}}}").into_bytes(),
        Framing::Protobuf => [&[7, 0x08, 2, 0x2a, 3, 0x0a, 1], ROOM.as_bytes()].concat(),
    }
}

/// A WebSocket that is open.
fn open(world: &mut World, path: &str) -> usize {
    let peer = world.open(0);
    world.send(peer, &request(path));
    world.server.settle();
    world.look();
    assert_eq!(world.peers[peer].responses.last().map(|response| response.status), Some(101), "{path}");
    peer
}

fn say(world: &mut World, peer: usize, framing: Framing, bytes: &[u8]) {
    let opcode = match framing {
        Framing::Json => Opcode::Text,
        Framing::Protobuf => Opcode::Binary,
    };
    world.send(peer, &client_frame(opcode, true, bytes));
}

/// The commands that the decoder finds in a frame.
fn check_decoded(framing: Framing, bytes: &[u8]) -> Vec<Command<'_>> {
    let mut commands = Vec::new();
    for (number, found) in (1..).zip(decode(framing, bytes)) {
        assert_eq!(number, commands.len() + 1, "nothing comes behind an error");
        match found {
            Ok(command) => {
                let without = matches!(command.request, Request::Pong | Request::Send);
                assert!(command.id > 0 || without, "{command:?}");
                commands.push(command);
            }
            Err(error) => {
                assert_eq!(error.command, number);
                assert!(error.to_string().len() < 1000, "{error}");
            }
        }
    }
    assert!(commands.len() <= COMMANDS_PER_MESSAGE_MAX);
    commands
}

/// A value of a JSON object.
pub fn member<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    value.get(name).filter(|value| !value.is_null())
}
