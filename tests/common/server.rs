//! Shards on one thread, and the clients that talk to them.

use std::cell::{RefCell, RefMut};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fanfare::config::Config;
use fanfare::endpoint::{CloseKind, Echo, Endpoint, Relay, RouterPlan};
use fanfare::id::ShardId;
use fanfare::reactor::{PeerAddress, Wake};
use fanfare::rooms::{Registry, RoomSettings};
use fanfare::server::{AcceptorSettings, AddressTable};
use fanfare::shard::{
    AddressGate, Admission, Adopt, Counter, Departures, DrainOrder, Entrance, Mail, Mesh, Progress, Reload,
    RemovalOrder, Settings, Shard, ShardStats, Shared, ShedOrder, Untaken,
};
use fanfare::time::Time;

use super::acceptor_settings;
use super::frames::{Frame, frames, request, split_response};
use super::sim::{Net, SimIo, SimWaker, Socket, SocketId};

/// The timer's tick: a deadline is kept to within one.
pub const TICK: Duration = Duration::from_nanos(1 << 26);

/// The settings of a server without flags.
pub fn settings() -> Settings {
    Config::default().settings()
}

/// A connection from the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    pub socket: SocketId,
    pub shard: usize,
}

/// Shards that share a mesh, and their net.
pub struct Server {
    pub net: Rc<RefCell<Net>>,
    pub mesh: Arc<Mesh<SocketId>>,
    pub shards: Vec<Shard<SimIo>>,
    pub stats: Vec<ShardStats>,
    pub connections: Arc<AtomicUsize>,
    pub departures: Departures,
    pub addresses: Arc<AddressTable>,
    pub registry: Arc<Registry>,
    pub plan: Arc<RouterPlan>,
    pub wakers: Vec<SimWaker>,
    /// Shards that have finished; they are not turned again.
    pub finished: BTreeSet<usize>,
}

impl Server {
    /// Echo under `/echo`, Relay under `/rooms/{room}`.
    pub fn new(shards: usize, settings: Settings) -> Server {
        Server::with(shards, settings, Config::default().mailbox_bytes, RouterPlan::default())
    }

    /// One shard with one more endpoint, under `/test`.
    pub fn with_endpoint<E: Endpoint + 'static>(
        settings: Settings,
        make: impl Fn() -> E + Send + Sync + 'static,
    ) -> Server {
        let mut plan = RouterPlan::default();
        plan.add_endpoint("/test", Arc::new(move |_| Box::new(make())));
        Server::with(1, settings, Config::default().mailbox_bytes, plan)
    }

    /// Adds `/echo` and `/rooms/{room}` to the plan.
    pub fn with(shards: usize, settings: Settings, mailbox_bytes: usize, plan: RouterPlan) -> Server {
        Server::with_rooms(shards, settings, mailbox_bytes, plan, Config::default().room_settings())
    }

    /// The same with other histories.
    pub fn with_rooms(
        shards: usize,
        settings: Settings,
        mailbox_bytes: usize,
        mut plan: RouterPlan,
        rooms: RoomSettings,
    ) -> Server {
        plan.add_rooms_door();
        plan.add_endpoint("/echo", Arc::new(|_| Box::new(Echo)));
        plan.add_endpoint("/rooms/{room}", Arc::new(|_| Box::new(Relay { member_publish: true })));
        Server::assemble(shards, settings, mailbox_bytes, plan, rooms)
    }

    /// With nothing but what the plan has.
    pub fn assemble(
        shards: usize,
        settings: Settings,
        mailbox_bytes: usize,
        plan: RouterPlan,
        rooms: RoomSettings,
    ) -> Server {
        let net = Rc::new(RefCell::new(Net::default()));
        let wakers: Vec<SimWaker> = (0..shards).map(|_| SimWaker::default()).collect();
        let boxed = wakers.iter().map(|waker| Box::new(waker.clone()) as Box<dyn Wake>).collect();
        let (mesh, mailboxes) = Mesh::new(boxed, mailbox_bytes);
        let connections = Arc::new(AtomicUsize::new(0));
        let registry = Arc::new(Registry::new(rooms));
        // An acceptor in front says what an address may have.
        let AcceptorSettings { addresses, max_connections, .. } = acceptor_settings(1 << 20);
        let addresses = Arc::new(AddressTable::new(addresses, max_connections));
        let shared = Shared {
            registry: Arc::clone(&registry),
            plan: Arc::new(plan),
            settings: Arc::new(settings),
            connections: Arc::clone(&connections),
            departures: Departures::default(),
            addresses: Arc::clone(&addresses) as Arc<dyn AddressGate>,
        };
        let (departures, plan) = (shared.departures.clone(), Arc::clone(&shared.plan));
        let stats: Vec<ShardStats> = (0..shards).map(|_| ShardStats::default()).collect();
        let make = |(mailbox, (waker, stats)): (_, (&SimWaker, &ShardStats))| {
            let io = SimIo::new(Rc::clone(&net), waker.clone());
            Shard::new(io, mailbox, shared.clone(), stats.clone())
        };
        let shards = mailboxes.into_iter().zip(wakers.iter().zip(&stats)).map(make).collect();
        Server {
            net,
            mesh,
            shards,
            stats,
            connections,
            departures,
            addresses,
            registry,
            plan,
            wakers,
            finished: BTreeSet::new(),
        }
    }

    /// A connection that was accepted now and has sent nothing.
    pub fn adopt(&mut self, shard: usize) -> Client {
        let socket = self.net.borrow_mut().open();
        self.adopt_socket(shard, socket, Admission::Welcome)
    }

    pub fn adopt_socket(&mut self, shard: usize, socket: SocketId, admission: Admission) -> Client {
        let admitted = admission == Admission::Welcome;
        self.connections.fetch_add(usize::from(admitted), Ordering::Relaxed);
        let accepted = self.net.borrow().now;
        let (peer, entrance, counted) = (PeerAddress::Unix, Entrance::LOCAL, admitted);
        self.adopt_as(
            shard,
            Adopt { socket, peer, entrance, counted, trusted_proxy: false, accepted, admission },
        )
    }

    /// A connection from a proxy that says first whom it speaks for.
    pub fn adopt_proxied(&mut self, shard: usize) -> Client {
        let socket = self.net.borrow_mut().open();
        self.connections.fetch_add(1, Ordering::Relaxed);
        let (accepted, entrance) = (self.now(), Entrance { proxied: true, ..Entrance::LOCAL });
        let (peer, counted, admission) = (PeerAddress::Unix, false, Admission::Welcome);
        self.adopt_as(
            shard,
            Adopt { socket, peer, entrance, counted, trusted_proxy: false, accepted, admission },
        )
    }

    fn adopt_as(&mut self, shard: usize, adopt: Adopt<SocketId>) -> Client {
        let socket = adopt.socket;
        self.mesh.send(ShardId::new(shard), Mail::Adopt(adopt));
        self.mesh.wake(ShardId::new(shard));
        Client { socket, shard }
    }

    /// A connection whose handshake is accepted and whose response is taken.
    pub fn connect(&mut self, shard: usize, path: &str) -> Client {
        let client = self.adopt(shard);
        self.feed(client, &request(path));
        self.turn(shard);
        self.turn(shard);
        let output = self.take_output(client);
        assert_eq!(split_response(&output), (101, &[][..]));
        client
    }

    /// One turn of one shard.
    pub fn turn(&mut self, shard: usize) {
        if self.finished.contains(&shard) {
            return;
        }
        if self.shards[shard].turn().expect("the simulated wait does not fail") == Progress::Finished {
            self.finished.insert(shard);
        }
    }

    /// Turns these shards round-robin until nothing moves any more.
    pub fn settle_shards(&mut self, shards: &[usize]) {
        let mut quiet = 0;
        for _ in 0..100_000 {
            let before = self.net.borrow().activity;
            for shard in shards {
                self.turn(*shard);
            }
            let in_flight = shards.iter().any(|shard| {
                !self.finished.contains(shard) && self.mesh.bytes_in_flight(ShardId::new(*shard)) > 0
            });
            let woken =
                shards.iter().any(|shard| !self.finished.contains(shard) && self.wakers[*shard].is_set());
            let goes_on = shards.iter().any(|shard| {
                !self.finished.contains(shard) && self.shards[*shard].wait_deadline() == Some(Time::ZERO)
            });
            let moved = self.net.borrow().activity != before || in_flight || woken || goes_on;
            quiet = if moved { 0 } else { quiet + 1 };
            if quiet == 2 {
                return;
            }
        }
        panic!("the shards do not come to rest");
    }

    /// Turns all shards round-robin until nothing moves any more.
    pub fn settle(&mut self) {
        let all: Vec<usize> = (0..self.shards.len()).collect();
        self.settle_shards(&all);
    }

    pub fn now(&self) -> Time {
        self.net.borrow().now
    }

    /// Moves the clock and lets everything happen that is due then, at most once per timer.
    pub fn advance(&mut self, by: Duration) {
        let now = self.now() + by;
        self.net.borrow_mut().now = now;
        self.settle();
    }

    /// Goes to the next deadline that a shard waits for, if there is one.
    pub fn jump(&mut self) -> Option<Time> {
        self.settle();
        let next = self.shards.iter_mut().filter_map(|shard| shard.io_mut().deadline).min()?;
        let now = self.now().max(next);
        self.net.borrow_mut().now = now;
        self.settle();
        Some(now)
    }

    pub fn socket(&self, client: Client) -> RefMut<'_, Socket> {
        RefMut::map(self.net.borrow_mut(), |net| &mut net.sockets[client.socket.0])
    }

    pub fn feed(&mut self, client: Client, bytes: &[u8]) {
        self.socket(client).feed(bytes);
    }

    /// What the kernel took since the last call.
    pub fn take_output(&mut self, client: Client) -> Vec<u8> {
        std::mem::take(&mut self.socket(client).output)
    }

    /// The same as frames, which must be whole.
    pub fn take_frames(&mut self, client: Client) -> Vec<Frame> {
        frames(&self.take_output(client))
    }

    /// The payloads of the messages that came since the last call, and nothing else.
    pub fn take_texts(&mut self, client: Client) -> Vec<String> {
        let text = |frame: Frame| {
            assert!(!frame.opcode.is_control(), "{frame:?}");
            String::from_utf8(frame.payload).expect("text")
        };
        self.take_frames(client).into_iter().map(text).collect()
    }

    /// The one Close that came since the last call, which is the last frame.
    pub fn take_close(&mut self, client: Client) -> (u16, String) {
        let frames = self.take_frames(client);
        frames.last().and_then(Frame::close).unwrap_or_else(|| panic!("a Close ends {frames:?}"))
    }

    pub fn is_closed(&self, client: Client) -> bool {
        self.socket(client).calls.close == 1
    }

    pub fn counter(&self, counter: Counter) -> u64 {
        self.stats.iter().map(|stats| stats.get(counter)).sum()
    }

    pub fn closes(&self, kind: CloseKind) -> u64 {
        self.stats.iter().map(|stats| stats.closes(kind)).sum()
    }

    /// The order to drain, to every shard.
    pub fn drain(&mut self, deadline: Time) {
        for shard in 0..self.shards.len() {
            self.mesh.send(ShardId::new(shard), Mail::Drain(DrainOrder::at_once(deadline)));
            self.mesh.wake(ShardId::new(shard));
        }
    }

    /// Other settings to all threads, as a reload hands them out; each shard takes them in its next turn.
    pub fn reload(&mut self, config: &Config) {
        self.reload_with(config, config.settings(), config.mailbox_bytes);
    }

    /// The same with some that a configuration does not allow.
    pub fn reload_with(&mut self, config: &Config, settings: Settings, mailbox_bytes: usize) {
        self.registry.reload(config.room_settings());
        self.mesh.set_bytes_max(mailbox_bytes);
        let mut plan = RouterPlan::clone(&self.plan);
        plan.origins.allowed.clone_from(&config.allow_origin);
        let reload = Arc::new(Reload {
            settings: Arc::new(settings),
            plan: Arc::new(plan),
            endpoints: config.endpoint_settings(),
            untaken: Untaken::pair().0,
        });
        for shard in 0..self.shards.len() {
            self.mesh.send(ShardId::new(shard), Mail::Reload(Arc::clone(&reload)));
            self.mesh.wake(ShardId::new(shard));
        }
    }

    /// The order to close slow consumers, to every shard.
    pub fn shed(&mut self, order: ShedOrder) {
        for shard in 0..self.shards.len() {
            self.mesh.send(ShardId::new(shard), Mail::Shed(order));
            self.mesh.wake(ShardId::new(shard));
        }
        self.settle();
    }

    /// A back end's order to end connections or memberships, to every shard.
    pub fn remove(&mut self, order: RemovalOrder) {
        let order = Arc::new(order);
        for shard in 0..self.shards.len() {
            self.mesh.send(ShardId::new(shard), Mail::Removal(Arc::clone(&order)));
            self.mesh.wake(ShardId::new(shard));
        }
        self.settle();
    }

    /// Drains at once, and checks that every socket was closed exactly once and nothing is left:
    /// a shard that finishes has checked its own arena and rooms.
    pub fn finish(mut self) {
        let now = self.now();
        self.drain(now);
        for _ in 0..4 {
            self.settle();
        }
        assert_eq!(self.finished.len(), self.shards.len(), "every shard has finished");
        for socket in &self.net.borrow().sockets {
            assert_eq!(socket.calls.close, 1, "{socket:?}");
        }
        assert_eq!(self.connections.load(Ordering::Relaxed), 0);
    }
}
