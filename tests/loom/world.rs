//! Whole shards on threads of the model checker, over the simulated sockets of the other tests: only
//! waiting is different, it waits.

use std::cell::{RefCell, RefMut};
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fanfare::config::Config;
use fanfare::endpoint::{Relay, RouterPlan};
use fanfare::reactor::{AcceptError, Interest, Io, Listen, PeerAddress, Ready, SocketOptions, Stop};
use fanfare::rooms::Registry;
use fanfare::server::{Acceptor, AcceptorShared, AddressTable, LiveSettings};
use fanfare::shard::{
    AddressGate, Admission, Adopt, Departures, DrainOrder, Entrance, Mail, Mesh, Progress, Shard, ShardStats,
    Shared,
};
use fanfare::slab::Key;
use fanfare::time::Time;

use crate::common::endpoints::Mourner;
use crate::common::frames::{Frame, frames, request, split_response};
use crate::common::listener::{Kernel, SimListen, SimListener, SimReserve, acceptor_settings};
use crate::common::settings;
use crate::common::sim::{Net, SimIo, SimWaker, Socket, SocketId};
use crate::poller::Poller;
use crate::shard;

/// Nobody waits for the end of a drain: peers close when they are told to.
const DEADLINE: Time = Time::NEVER;

/// A simulated operating system whose wait blocks until there is something.
pub struct Waiting<I> {
    net: Rc<RefCell<Net>>,
    sockets: I,
    poller: Poller,
}

impl<I: Io<Socket = SocketId, Stream = SocketId>> Io for Waiting<I> {
    type Socket = SocketId;
    type Stream = SocketId;

    fn now(&self) -> Time {
        self.sockets.now()
    }

    fn unix_time(&self) -> Duration {
        self.sockets.unix_time()
    }

    fn register(&mut self, socket: SocketId, key: Key) -> io::Result<SocketId> {
        self.sockets.register(socket, key)
    }

    fn set_interest(&mut self, stream: &SocketId, key: Key, interest: Interest) -> io::Result<()> {
        self.sockets.set_interest(stream, key, interest)
    }

    fn receive(&mut self, stream: &SocketId, buffer: &mut [u8]) -> io::Result<usize> {
        self.sockets.receive(stream, buffer)
    }

    fn send(&mut self, stream: &SocketId, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.sockets.send(stream, slices)
    }

    fn shutdown_write(&mut self, stream: &SocketId) {
        self.sockets.shutdown_write(stream);
        // The peer closes too.
        self.net.borrow_mut().sockets[stream.0].eof = true;
    }

    fn close(&mut self, stream: SocketId) {
        self.sockets.close(stream);
    }

    /// Time stands still: a deadline that has not passed never does.
    fn wait(&mut self, ready: &mut Vec<Ready>, deadline: Option<Time>) -> io::Result<()> {
        self.sockets.wait(ready, deadline)?;
        let is_due = deadline.is_some_and(|deadline| deadline <= self.now());
        if self.poller.wait(is_due || !ready.is_empty()).readable {
            // What it is has come since; the next wait reports it.
            self.poller.read();
        }
        Ok(())
    }
}

impl Listen for Waiting<SimListen> {
    type Listening = usize;
    type Listener = SimListener;
    type Reserve = SimReserve;

    fn listen(&mut self, listening: usize, key: Key) -> io::Result<SimListener> {
        self.sockets.listen(listening, key)
    }

    fn watch(&mut self, listener: &SimListener, key: Key, waiting: bool) -> io::Result<()> {
        self.sockets.watch(listener, key, waiting)
    }

    fn set_options(&mut self, listener: &mut SimListener, options: SocketOptions) -> io::Result<()> {
        self.sockets.set_options(listener, options)
    }

    fn accept(&mut self, listener: &SimListener) -> Result<(SocketId, PeerAddress), AcceptError> {
        self.sockets.accept(listener)
    }

    fn refuse(&mut self, socket: SocketId, response: &[u8]) {
        self.sockets.refuse(socket, response);
    }

    fn open_reserve(&mut self) -> io::Result<SimReserve> {
        self.sockets.open_reserve()
    }
}

/// Where peers connect to, and where the order to stop is given.
pub struct Door {
    pub stop: Stop,
    pub poller: Poller,
    kernel: Rc<RefCell<Kernel>>,
}

/// Shards and their sockets. Its clones are the same.
#[derive(Clone)]
pub struct World {
    net: Rc<RefCell<Net>>,
    pub mesh: Arc<Mesh<SocketId>>,
    connections: Arc<AtomicUsize>,
    departures: Departures,
    addresses: Arc<AddressTable>,
}

/// A shard that stands still.
pub type Resting = Shard<Waiting<SimIo>>;

impl World {
    /// Shards with rooms under `/rooms/{room}` and a [`Mourner`] under `/mourner`.
    pub fn new(shards: usize, mailbox_bytes: usize) -> (World, Vec<Resting>) {
        let pollers: Vec<Poller> = (0..shards).map(|_| Poller::new()).collect();
        let (mesh, mailboxes) = Mesh::new(pollers.iter().map(Poller::waker).collect(), mailbox_bytes);
        let (net, connections, departures) = (Rc::default(), Arc::default(), Departures::default());
        let addresses = Arc::new(AddressTable::new(acceptor_settings(1).addresses, 1));
        let mut plan = RouterPlan::default();
        plan.add_endpoint("/rooms/{room}", Arc::new(|_| Box::new(Relay { member_publish: true })));
        plan.add_endpoint("/mourner", Arc::new(|_| Box::new(Mourner)));
        let shared = Shared {
            registry: Arc::new(Registry::new(Config::default().room_settings())),
            plan: Arc::new(plan),
            settings: Arc::new(settings()),
            connections: Arc::clone(&connections),
            departures: departures.clone(),
            addresses: Arc::clone(&addresses) as Arc<dyn AddressGate>,
        };
        let make = |(mailbox, poller)| {
            let sockets = SimIo::new(Rc::clone(&net), SimWaker::default());
            let io = Waiting { net: Rc::clone(&net), sockets, poller };
            Shard::new(io, mailbox, shared.clone(), ShardStats::default())
        };
        let shards = mailboxes.into_iter().zip(pollers).map(make).collect();
        (World { net, mesh, connections, departures, addresses }, shards)
    }

    pub fn socket(&self, id: SocketId) -> RefMut<'_, Socket> {
        RefMut::map(self.net.borrow_mut(), |net| &mut net.sockets[id.0])
    }

    /// An acceptor in front of the shards, with one listener.
    pub fn acceptor(&self) -> (Door, Acceptor<Waiting<SimListen>>) {
        let (stop, poller) = (Stop::default(), Poller::new());
        let sockets = SimListen::new(Rc::clone(&self.net), SimWaker::default(), 1);
        let kernel = sockets.kernel();
        let shared = AcceptorShared {
            seed: 7,
            farewell_max: Duration::MAX,
            gauge: None,
            mesh: Arc::clone(&self.mesh),
            stop: stop.clone(),
            news: LiveSettings::default(),
            connections: Arc::clone(&self.connections),
            departures: self.departures.clone(),
            addresses: Arc::clone(&self.addresses),
        };
        let io = Waiting { net: Rc::clone(&self.net), sockets, poller: poller.clone() };
        let acceptor = Acceptor::new(io, vec![(0, Entrance::LOCAL)], shared, acceptor_settings(usize::MAX))
            .expect("there are descriptors");
        (Door { stop, poller, kernel }, acceptor)
    }

    /// A peer connects and asks for a path.
    pub fn dial(&self, door: &Door, path: &str) -> SocketId {
        let socket = self.peer(path);
        door.kernel.borrow_mut().enqueue(0, socket, PeerAddress::Unix);
        door.poller.feed();
        socket
    }

    fn peer(&self, path: &str) -> SocketId {
        let socket = self.net.borrow_mut().open();
        self.socket(socket).feed(&request(path));
        socket
    }

    /// A connection on its way to a shard that has asked for a path.
    pub fn open(&self, to: usize, path: &str) -> SocketId {
        let socket = self.peer(path);
        self.connections.fetch_add(1, Ordering::Relaxed);
        let (peer, entrance, counted) = (PeerAddress::Unix, Entrance::LOCAL, true);
        let (accepted, admission) = (Time::ZERO, Admission::Welcome);
        let adopt = Adopt { socket, peer, entrance, counted, trusted_proxy: false, accepted, admission };
        self.mesh.send(shard(to), Mail::Adopt(adopt));
        self.mesh.wake(shard(to));
        socket
    }

    /// A connection of a resting shard that is a member of a room.
    pub fn join(&self, (number, resting): (usize, &mut Resting), path: &str) -> SocketId {
        let socket = self.open(number, path);
        while self.socket(socket).output.is_empty() {
            take_turn(resting);
        }
        socket
    }

    /// Tells a shard to end, as the acceptor does.
    pub fn drain(&self, number: usize) {
        self.mesh.send(shard(number), Mail::Drain(DrainOrder::at_once(DEADLINE)));
        self.mesh.wake(shard(number));
    }

    /// Whether a connection's handshake was accepted.
    pub fn is_open(&self, socket: SocketId) -> bool {
        self.socket(socket).output.starts_with(b"HTTP/1.1 101 ")
    }

    /// The frames that a connection was sent behind its handshake.
    pub fn frames(&self, socket: SocketId) -> Vec<Frame> {
        let output = &self.socket(socket).output;
        let (status, frames_bytes) = split_response(output);
        assert_eq!(status, 101);
        frames(frames_bytes)
    }

    /// All shards have ended: nothing is left of anybody.
    #[track_caller]
    pub fn assert_ended(&self) {
        for socket in &self.net.borrow().sockets {
            assert_eq!(socket.calls.close, 1, "every socket is closed, once");
        }
        assert_eq!(self.connections.load(Ordering::Relaxed), 0);
        for number in 0..self.mesh.shards() {
            assert_eq!(self.mesh.bytes_in_flight(shard(number)), 0, "no mail is left");
        }
    }
}

pub fn take_turn(shard: &mut Resting) -> Progress {
    shard.turn().expect("the simulated wait does not fail")
}

/// Runs a shard until it has ended.
pub fn run_to_the_end(mut shard: Resting) {
    while take_turn(&mut shard) == Progress::Running {}
}
