//! Shards over an operating system that costs next to nothing and does the same in every run: sockets take
//! everything at once, what a peer sends is there at once, and the clock moves by a fixed step per turn.
//!
//! For measuring what a shard itself does; the simulation of `tests/common` is the one that can fail.

#![allow(dead_code)] // each bench uses its part

use std::io::{self, ErrorKind, IoSlice};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use fanfare::Config;
use fanfare::endpoint::{Echo, Relay, RouterPlan};
use fanfare::id::ShardId;
use fanfare::protocol::{Opcode, push_client_frame};
use fanfare::reactor::{Interest, Io, PeerAddress, READY_PER_WAIT, Ready, Wake};
use fanfare::rooms::Registry;
use fanfare::server::AddressTable;
use fanfare::shard::{Admission, Adopt, Departures, Entrance, Mail, Mesh, Shard, ShardStats, Shared};
use fanfare::slab::Key;
use fanfare::time::Time;

/// How far the clock moves between two turns.
const STEP: Duration = Duration::from_micros(100);
/// Messages that a room holds: so few that windows are soon as full as they get, and memory is used again.
const WINDOW: u64 = 64;
/// Enough of a response to know its status.
const HEAD_BYTES: usize = 12;
const MASK: [u8; 4] = [0x5a, 0x01, 0xc3, 0x77];

/// Both ends of a connection.
#[derive(Debug)]
struct Peer {
    key: Option<Key>,
    input: Rc<[u8]>,
    read: usize,
    /// The most bytes that one receive gives.
    piece: usize,
    eof: bool,
    closed: bool,
    /// It stands in the list of the fed.
    listed: bool,
    /// Bytes that the shard has sent, and the first of them.
    taken: u64,
    head: [u8; HEAD_BYTES],
}

impl Peer {
    fn has_news(&self) -> bool {
        !self.closed && (self.eof || self.read < self.input.len())
    }
}

/// One shard's sockets and clock. Its methods are not inlined, so that a profile can tell them from the
/// shard's own work.
#[derive(Debug)]
pub struct FlatIo {
    peers: Vec<Peer>,
    /// Peers that may have something to read.
    fed: Vec<u32>,
    now: Time,
    /// How often other readiness was asked for: never, while sockets take everything.
    interest_changes: u64,
}

impl FlatIo {
    fn new() -> FlatIo {
        FlatIo { peers: Vec::new(), fed: Vec::new(), now: Time::ZERO, interest_changes: 0 }
    }

    fn open(&mut self) -> u32 {
        let input: Rc<[u8]> = Rc::from([]);
        self.peers.push(Peer {
            key: None,
            input,
            read: 0,
            piece: usize::MAX,
            eof: false,
            closed: false,
            listed: false,
            taken: 0,
            head: [0; HEAD_BYTES],
        });
        self.peers.len() as u32 - 1
    }

    fn feed(&mut self, peer: u32, input: &Rc<[u8]>) {
        let fed = &mut self.peers[peer as usize];
        assert!(fed.read == fed.input.len(), "what came before has been read");
        fed.input = Rc::clone(input);
        fed.read = 0;
        self.list(peer);
    }

    fn list(&mut self, peer: u32) {
        if !std::mem::replace(&mut self.peers[peer as usize].listed, true) {
            self.fed.push(peer);
        }
    }
}

impl Io for FlatIo {
    type Socket = u32;
    type Stream = u32;

    #[inline(never)]
    fn now(&self) -> Time {
        self.now
    }

    #[inline(never)]
    fn unix_time(&self) -> Duration {
        Duration::from_secs(1_767_225_600) + self.now.since(Time::ZERO)
    }

    #[inline(never)]
    fn register(&mut self, socket: u32, key: Key) -> io::Result<u32> {
        self.peers[socket as usize].key = Some(key);
        Ok(socket)
    }

    #[inline(never)]
    fn set_interest(&mut self, _: &u32, _: Key, _: Interest) -> io::Result<()> {
        self.interest_changes += 1;
        Ok(())
    }

    #[inline(never)]
    fn receive(&mut self, stream: &u32, buffer: &mut [u8]) -> io::Result<usize> {
        let peer = &mut self.peers[*stream as usize];
        let unread = &peer.input[peer.read..];
        let count = unread.len().min(buffer.len()).min(peer.piece);
        if count == 0 {
            return if peer.eof { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        buffer[..count].copy_from_slice(&unread[..count]);
        peer.read += count;
        Ok(count)
    }

    #[inline(never)]
    fn send(&mut self, stream: &u32, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let peer = &mut self.peers[*stream as usize];
        if peer.taken == 0
            && let Some(head) = slices[0].get(..HEAD_BYTES)
        {
            peer.head.copy_from_slice(head);
        }
        let count: usize = slices.iter().map(|slice| slice.len()).sum();
        peer.taken += count as u64;
        Ok(count)
    }

    #[inline(never)]
    fn shutdown_write(&mut self, _: &u32) {}

    #[inline(never)]
    fn close(&mut self, stream: u32) {
        self.peers[stream as usize].closed = true;
    }

    #[inline(never)]
    fn wait(&mut self, ready: &mut Vec<Ready>, _: Option<Time>) -> io::Result<()> {
        self.now = self.now + STEP;
        ready.clear();
        let FlatIo { peers, fed, .. } = self;
        fed.retain(|peer| {
            let peer = &mut peers[*peer as usize];
            peer.listed = peer.has_news();
            peer.listed
        });
        let report = |peer: &u32| {
            let key = peers[*peer as usize].key?;
            Some(Ready { key, readable: true, writable: false, hung_up: false })
        };
        ready.extend(fed.iter().filter_map(report).take(READY_PER_WAIT));
        Ok(())
    }
}

/// Nobody sleeps here.
struct NoWake;

impl Wake for NoWake {
    fn wake(&self) {}
}

/// A connection from the outside.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    shard: usize,
    peer: u32,
}

/// Shards on one thread, with `/echo` and `/rooms/{room}`.
pub struct Flat {
    shards: Vec<Shard<FlatIo>>,
    mesh: Arc<Mesh<u32>>,
}

impl Flat {
    /// Shards whose peers may send as fast as they want.
    pub fn new(shards: usize) -> Flat {
        let config = Config {
            message_rate: u32::MAX,
            byte_rate: 1 << 40,
            history_messages: WINDOW,
            ..Config::default()
        };
        let mut plan = RouterPlan::default();
        plan.add_endpoint("/echo", Arc::new(|_| Box::new(Echo)));
        plan.add_endpoint("/rooms/{room}", Arc::new(|_| Box::new(Relay { member_publish: true })));
        let wakers = (0..shards).map(|_| Box::new(NoWake) as Box<dyn Wake>).collect();
        let (mesh, mailboxes) = Mesh::new(wakers, config.mailbox_bytes);
        let shared = Shared {
            registry: Arc::new(Registry::new(config.room_settings())),
            plan: Arc::new(plan),
            settings: Arc::new(config.settings()),
            connections: Arc::new(AtomicUsize::new(0)),
            departures: Departures::default(),
            addresses: Arc::new(AddressTable::new(config.acceptor_settings(1).addresses, 1)),
        };
        let make = |mailbox| Shard::new(FlatIo::new(), mailbox, shared.clone(), ShardStats::default());
        Flat { shards: mailboxes.into_iter().map(make).collect(), mesh }
    }

    /// A socket that has asked for an upgrade, which two turns will answer.
    pub fn knock(&mut self, shard: usize, path: &str) -> Line {
        let io = self.shards[shard].io_mut();
        let (peer, accepted) = (io.open(), io.now);
        let (entrance, counted, admission) = (Entrance::LOCAL, true, Admission::Welcome);
        let adopt = Adopt {
            socket: peer,
            peer: PeerAddress::Unix,
            entrance,
            counted,
            trusted_proxy: false,
            accepted,
            admission,
        };
        self.mesh.send(ShardId::new(shard), Mail::Adopt(adopt));
        let line = Line { shard, peer };
        self.feed(line, &request(path));
        line
    }

    /// A connection whose upgrade is answered.
    pub fn connect(&mut self, shard: usize, path: &str) -> Line {
        let line = self.knock(shard, path);
        self.turn();
        self.turn();
        assert!(self.is_open(line), "{path} is accepted");
        line
    }

    /// Whether its upgrade was accepted.
    pub fn is_open(&mut self, line: Line) -> bool {
        self.peer(line).head == *b"HTTP/1.1 101"
    }

    /// Makes a peer send these bytes, behind nothing unread.
    pub fn feed(&mut self, line: Line, bytes: &Rc<[u8]>) {
        self.shards[line.shard].io_mut().feed(line.peer, bytes);
    }

    /// Has a receive give at most so many bytes of what this peer sends.
    pub fn cut(&mut self, line: Line, piece: usize) {
        self.peer(line).piece = piece;
    }

    /// Ends a peer's stream.
    pub fn end(&mut self, line: Line) {
        self.peer(line).eof = true;
        self.shards[line.shard].io_mut().list(line.peer);
    }

    /// Whether the shard has closed its side.
    pub fn is_closed(&mut self, line: Line) -> bool {
        self.peer(line).closed
    }

    /// Bytes that were sent to a peer.
    pub fn taken(&mut self, line: Line) -> u64 {
        self.peer(line).taken
    }

    /// One turn of each shard.
    pub fn turn(&mut self) {
        for shard in &mut self.shards {
            shard.turn().expect("the wait does not fail");
        }
    }

    /// How often a shard has asked for other readiness.
    pub fn interest_changes(&mut self) -> u64 {
        self.shards.iter_mut().map(|shard| shard.io_mut().interest_changes).sum()
    }

    fn peer(&mut self, line: Line) -> &mut Peer {
        &mut self.shards[line.shard].io_mut().peers[line.peer as usize]
    }
}

/// Turns over which a shard sends to members who get so many bytes each: 1,024 of them and 4 MiB in one.
pub fn fan_out_turns(members: usize, bytes_each: usize) -> usize {
    members.div_ceil((4_usize << 20).div_ceil(bytes_each).min(1024))
}

/// A request for an upgrade as browsers send it.
pub fn request(path: &str) -> Rc<[u8]> {
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: chat.example:8080\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
         Accept-Encoding: gzip, deflate\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    head.into_bytes().into()
}

/// So many masked frames of binary messages of this size, back to back.
pub fn frames(bytes: usize, count: usize) -> Rc<[u8]> {
    let mut out = Vec::new();
    for number in 0..count {
        push_client_frame(&mut out, Opcode::Binary, true, &vec![number as u8; bytes], MASK);
    }
    out.into()
}
