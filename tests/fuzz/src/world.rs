//! A whole server over the simulated operating system of `tests/common`, and the peers that talk to it.
//! Whatever leaves it is decoded by `wire`; at the end everything has to be closed and released.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fanfare::Config;
use fanfare::ConnectionId;
use fanfare::endpoint::client_protocol::{ClientProtocol, ClientProtocolSettings};
use fanfare::endpoint::{
    Accept, Answer, CloseCause, CloseKind, Echo, Effects, Endpoint, OpenRequest, Relay, Removal, Resource,
    RouterPlan,
};
use fanfare::id::ShardId;
use fanfare::protocol::{CloseCode, Message, Refusal};
use fanfare::rooms::RoomName;
use fanfare::shard::{Counter, RECEIVE_BYTES, Settings};

use super::common::Server;
use super::peer::Peer;

/// A server with the paths of the binary.
pub struct World {
    pub server: Server,
    pub config: Config,
    pub peers: Vec<Peer>,
    ledger: Ledger,
}

/// A configuration whose limits inputs of some hundred bytes reach.
pub fn small() -> Config {
    Config {
        max_head: 400,
        max_headers: 8,
        max_message: 300,
        max_fragments: 4,
        max_memberships: 3,
        history_bytes: 4096,
        history_messages: 6,
        history_age: Duration::from_secs(20),
        history_memory: 8192,
        queue_bytes: 4096,
        reply_bytes: 4096,
        http_bytes: 64 << 10,
        mailbox_bytes: 64 << 10,
        linger_bytes: 1000,
        command_rate: 8,
        presence_members: 2,
        ..Config::default()
    }
}

impl World {
    pub fn new(shards: usize, config: Config) -> World {
        assert_eq!(config.validate(), Ok(()));
        let ledger = Ledger::default();
        let Config { member_publish, ping_interval, command_rate, .. } = config;
        let settings = ClientProtocolSettings { member_publish, ping_interval, command_rate };
        let mut plan = RouterPlan::default();
        let book = ledger.clone();
        plan.add_endpoint("/echo", Arc::new(move |_| Box::new(Counted(Echo, book.clone()))));
        let book = ledger.clone();
        plan.add_endpoint(
            "/rooms/{room}",
            Arc::new(move |_| Box::new(Counted(Relay { member_publish }, book.clone()))),
        );
        let book = ledger.clone();
        plan.add_endpoint(
            "/connection/websocket",
            Arc::new(move |_| Box::new(Counted(ClientProtocol::new(settings), book.clone()))),
        );
        let healthz = Resource { content_type: "text/plain", body: b"ok\n".into(), ..Resource::default() };
        plan.add_resource("/healthz", healthz);
        let settings = Settings { fan_out_members_max: 2, ..config.settings() };
        let server = Server::with_rooms(shards, settings, config.mailbox_bytes, plan, config.room_settings());
        World { server, config, peers: Vec::new(), ledger }
    }

    /// A connection on which nothing has been sent.
    pub fn open(&mut self, shard: usize) -> usize {
        let client = self.server.adopt(shard);
        self.peers.push(Peer::new(client));
        self.peers.len() - 1
    }

    /// Whether the server has closed a peer's socket.
    pub fn is_closed(&self, peer: usize) -> bool {
        self.server.is_closed(self.peers[peer].client)
    }

    pub fn send(&mut self, peer: usize, bytes: &[u8]) {
        let peer = &mut self.peers[peer];
        peer.sent.extend_from_slice(bytes);
        self.server.feed(peer.client, bytes);
    }

    /// Takes what has come to everyone and checks it.
    pub fn look(&mut self) {
        for peer in &mut self.peers {
            let output = self.server.take_output(peer.client);
            peer.receive(&output, &self.config);
        }
        let pinned = self.server.counter(Counter::QueuePinnedMax) as usize;
        let bound = self.config.settings().reply_bytes_max() + PINNED_OVERHEAD_BYTES;
        assert!(pinned <= bound, "{pinned} bytes pinned by one queue, {bound} are allowed");
    }

    /// Everybody reads and leaves; the server forgets them and their rooms, and drains.
    pub fn end(mut self) {
        for at in 0..self.peers.len() {
            self.server.socket(self.peers[at].client).room = usize::MAX;
        }
        self.server.settle();
        self.look();
        for at in 0..self.peers.len() {
            self.server.socket(self.peers[at].client).eof = true;
        }
        self.server.settle();
        self.look();
        // Their grace, then the age of histories, is over.
        self.server.advance(self.config.presence_grace + Duration::from_secs(1));
        for _ in 0..3 {
            self.server.advance(self.config.history_age + Duration::from_secs(2));
        }
        self.look();
        for at in 0..self.peers.len() {
            assert!(self.is_closed(at), "who has left is closed: {:?}", self.peers[at]);
        }
        for shard in 0..self.server.shards.len() {
            assert_eq!(self.server.mesh.bytes_in_flight(ShardId::new(shard)), 0, "all mail is taken");
        }
        assert_eq!(self.server.counter(Counter::Memberships), 0);
        assert!(self.server.registry.is_empty(), "rooms that nobody is in are forgotten");
        assert_eq!(self.server.registry.memory_bytes(), 0, "and hold nothing");
        self.release();
    }

    /// The same for a server that was told to drain: it goes when its time is over.
    pub fn finish_draining(mut self) {
        for _ in 0..3 {
            self.server.advance(Duration::from_secs(11));
            self.look();
        }
        self.release();
    }

    fn release(self) {
        assert_eq!(self.server.closes(CloseKind::EndpointPanic), 0);
        let ledger = self.ledger;
        self.server.finish();
        ledger.check();
    }
}

/// What one queue may pin above its limit: the answer with which it passes it, and its block.
const PINNED_OVERHEAD_BYTES: usize = RECEIVE_BYTES;

/// How often each connection was opened and closed at its endpoint.
#[derive(Clone, Debug, Default)]
struct Ledger(Arc<Mutex<BTreeMap<String, (usize, usize)>>>);

impl Ledger {
    fn note(&self, connection: ConnectionId, opens: usize, closes: usize) {
        let mut book = self.0.lock().unwrap();
        let (opened, closed) = book.entry(connection.to_string()).or_default();
        *opened += opens;
        *closed += closes;
    }

    fn check(&self) {
        for (connection, counts) in self.0.lock().unwrap().iter() {
            assert_eq!(*counts, (1, 1), "{connection}: opened once and closed once");
        }
    }
}

/// An endpoint whose opens and closes are counted.
#[derive(Debug)]
struct Counted<E>(E, Ledger);

impl<E: Endpoint> Endpoint for Counted<E> {
    fn open<'m>(
        &mut self,
        connection: ConnectionId,
        request: &OpenRequest<'_>,
        effects: &mut Effects<'m>,
    ) -> Result<Accept, Refusal> {
        let accept = self.0.open(connection, request, effects)?;
        self.1.note(connection, 1, 0);
        Ok(accept)
    }

    fn message<'m>(&mut self, connection: ConnectionId, message: Message<'m>, effects: &mut Effects<'m>) {
        self.0.message(connection, message, effects);
    }

    fn answered<'m>(
        &mut self,
        connection: ConnectionId,
        question: u32,
        answer: Answer<'_>,
        effects: &mut Effects<'m>,
    ) {
        self.0.answered(connection, question, answer, effects);
    }

    fn removed<'m>(
        &mut self,
        connection: ConnectionId,
        room: &RoomName,
        removal: Removal,
        effects: &mut Effects<'m>,
    ) {
        self.0.removed(connection, room, removal, effects);
    }

    fn heartbeat<'m>(&mut self, connection: ConnectionId, effects: &mut Effects<'m>) {
        self.0.heartbeat(connection, effects);
    }

    fn close_with(&self, cause: &CloseCause) -> Option<(CloseCode, std::borrow::Cow<'static, str>)> {
        self.0.close_with(cause)
    }

    fn close(&mut self, connection: ConnectionId, cause: &CloseCause) {
        self.1.note(connection, 0, 1);
        self.0.close(connection, cause);
    }
}
