//! A simulated kernel for the acceptor: queues of connections that wait, and a number of descriptors.

use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fanfare::config::Config;
use fanfare::reactor::{AcceptError, Interest, Io, Listen, PeerAddress, Ready, SocketOptions, Stop};
use fanfare::server::{
    Acceptor, AcceptorSettings, AcceptorShared, Gauge, Level, LiveSettings, LiveSettingsSender, MemoryLimit,
};
use fanfare::shard::{Entrance, Progress, Untaken};
use fanfare::slab::Key;
use fanfare::time::Time;

use super::server::Server;
use super::sim::{Net, SimIo, SimWaker, SocketId};

/// The settings of a server without flags, but for how many connections it may have.
pub fn acceptor_settings(max_connections: usize) -> AcceptorSettings {
    Config::default().acceptor_settings(max_connections)
}

/// What the kernel keeps for the listeners.
#[derive(Debug)]
pub struct Kernel {
    queues: Vec<Queue>,
    accepted: Vec<SocketId>,
    reserves: usize,
    /// Descriptors that this process may have, beside those of the listeners.
    pub descriptors_max: usize,
    /// Descriptors that it has for other things.
    pub others: usize,
    /// Somebody takes the descriptor of the reserve as soon as it is free.
    pub thief: bool,
    /// What the next accepts fail with, whoever waits.
    pub failing: VecDeque<AcceptError>,
    /// Accepts that work before those.
    pub failing_after: usize,
    /// No listener can be watched in another way from now on.
    pub unwatchable: bool,
    accepts: usize,
}

/// What one listener has.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(SocketId, PeerAddress)>,
    /// The key that it is watched under.
    key: Option<Key>,
    watched: bool,
    /// What it was told in a reload.
    options: Option<SocketOptions>,
}

impl Kernel {
    /// Has a connection wait for a listener.
    pub fn enqueue(&mut self, listener: usize, socket: SocketId, peer: PeerAddress) {
        self.queues[listener].waiting.push_back((socket, peer));
    }

    fn is_out_of_descriptors(&self, net: &Net) -> bool {
        if self.descriptors_max == usize::MAX {
            return false;
        }
        let open = |socket: &&SocketId| net.sockets[socket.0].calls.close == 0;
        let used = self.accepted.iter().filter(open).count() + self.reserves + self.others;
        used >= self.descriptors_max
    }
}

/// The acceptor's view of the [`Kernel`] and the [`Net`].
#[derive(Debug)]
pub struct SimListen {
    io: SimIo,
    net: Rc<RefCell<Net>>,
    kernel: Rc<RefCell<Kernel>>,
    /// What the latest wait was given.
    pub deadline: Option<Time>,
}

/// A listener that is watched. What waits for it when it goes is reset.
#[derive(Debug)]
pub struct SimListener {
    number: usize,
    net: Rc<RefCell<Net>>,
    kernel: Rc<RefCell<Kernel>>,
}

impl Drop for SimListener {
    fn drop(&mut self) {
        for (socket, _) in self.kernel.borrow_mut().queues[self.number].waiting.drain(..) {
            self.net.borrow_mut().sockets[socket.0].calls.close += 1;
        }
    }
}

/// Shows what it is told to; its clones show the same.
#[derive(Clone, Debug, Default)]
pub struct SimGauge(Arc<Mutex<Shown>>);

#[derive(Debug, Default)]
struct Shown {
    memory: Option<Level>,
    descriptors: Option<Level>,
    gives_back: bool,
}

impl SimGauge {
    pub fn set_memory(&self, used: u64, limit: u64) {
        self.0.lock().expect("nobody panics with it").memory = Some(Level { used, limit });
    }

    pub fn set_descriptors(&self, used: u64, limit: u64) {
        self.0.lock().expect("nobody panics with it").descriptors = Some(Level { used, limit });
    }

    /// From now on they cannot be seen.
    pub fn hide_descriptors(&self) {
        self.0.lock().expect("nobody panics with it").descriptors = None;
    }

    /// Whether memory that nobody holds is just given back.
    pub fn set_gives_back(&self, gives_back: bool) {
        self.0.lock().expect("nobody panics with it").gives_back = gives_back;
    }
}

impl Gauge for SimGauge {
    fn memory(&mut self, _: MemoryLimit) -> Option<Level> {
        self.0.lock().expect("nobody panics with it").memory
    }

    fn descriptors(&mut self, _: Time) -> Option<Level> {
        self.0.lock().expect("nobody panics with it").descriptors
    }

    fn give_back(&mut self, _: Time) -> bool {
        self.0.lock().expect("nobody panics with it").gives_back
    }
}

/// A descriptor in reserve.
#[derive(Debug)]
pub struct SimReserve(Rc<RefCell<Kernel>>);

impl Drop for SimReserve {
    fn drop(&mut self) {
        let mut kernel = self.0.borrow_mut();
        kernel.reserves -= 1;
        kernel.others += usize::from(kernel.thief);
    }
}

impl SimListen {
    /// So many listeners, and descriptors without end.
    pub fn new(net: Rc<RefCell<Net>>, waker: SimWaker, listeners: usize) -> SimListen {
        let kernel = Kernel {
            queues: (0..listeners).map(|_| Queue::default()).collect(),
            accepted: Vec::new(),
            reserves: 0,
            descriptors_max: usize::MAX,
            others: 0,
            thief: false,
            failing: VecDeque::new(),
            failing_after: 0,
            unwatchable: false,
            accepts: 0,
        };
        let io = SimIo::new(Rc::clone(&net), waker);
        SimListen { io, net, kernel: Rc::new(RefCell::new(kernel)), deadline: None }
    }

    /// What it sees; its clones are the same.
    pub fn kernel(&self) -> Rc<RefCell<Kernel>> {
        Rc::clone(&self.kernel)
    }
}

impl Listen for SimListen {
    type Listening = usize;
    type Listener = SimListener;
    type Reserve = SimReserve;

    fn listen(&mut self, number: usize, key: Key) -> io::Result<SimListener> {
        let queue = &mut self.kernel.borrow_mut().queues[number];
        (queue.key, queue.watched) = (Some(key), true);
        Ok(SimListener { number, net: Rc::clone(&self.net), kernel: Rc::clone(&self.kernel) })
    }

    fn watch(&mut self, listener: &SimListener, key: Key, waiting: bool) -> io::Result<()> {
        let kernel = &mut *self.kernel.borrow_mut();
        let queue = &mut kernel.queues[listener.number];
        assert_eq!(queue.key, Some(key));
        if kernel.unwatchable {
            return Err(ErrorKind::OutOfMemory.into());
        }
        queue.watched = waiting;
        Ok(())
    }

    fn set_options(&mut self, listener: &mut SimListener, options: SocketOptions) -> io::Result<()> {
        self.kernel.borrow_mut().queues[listener.number].options = Some(options);
        Ok(())
    }

    fn accept(&mut self, listener: &SimListener) -> Result<(SocketId, PeerAddress), AcceptError> {
        let mut kernel = self.kernel.borrow_mut();
        kernel.accepts += 1;
        if kernel.failing_after > 0 {
            kernel.failing_after -= 1;
        } else if let Some(error) = kernel.failing.pop_front() {
            return Err(error);
        }
        let mut net = self.net.borrow_mut();
        if kernel.is_out_of_descriptors(&net) {
            return Err(AcceptError::OutOfDescriptors);
        }
        let queue = &mut kernel.queues[listener.number];
        let (socket, peer) = queue.waiting.pop_front().ok_or(AcceptError::NobodyWaits)?;
        net.activity += 1;
        kernel.accepted.push(socket);
        Ok((socket, peer))
    }

    fn refuse(&mut self, socket: SocketId, response: &[u8]) {
        // It fails only to one that is gone, and ends it all the same.
        let _ = self.io.send(&socket, &[IoSlice::new(response)]);
        self.io.shutdown_write(&socket);
        self.io.close(socket);
    }

    fn open_reserve(&mut self) -> io::Result<SimReserve> {
        let mut kernel = self.kernel.borrow_mut();
        if kernel.is_out_of_descriptors(&self.net.borrow()) {
            return Err(ErrorKind::Other.into());
        }
        kernel.reserves += 1;
        Ok(SimReserve(Rc::clone(&self.kernel)))
    }
}

impl Io for SimListen {
    type Socket = SocketId;
    type Stream = SocketId;

    fn now(&self) -> Time {
        self.io.now()
    }

    fn unix_time(&self) -> Duration {
        self.io.unix_time()
    }

    fn register(&mut self, socket: SocketId, key: Key) -> io::Result<SocketId> {
        self.io.register(socket, key)
    }

    fn set_interest(&mut self, stream: &SocketId, key: Key, interest: Interest) -> io::Result<()> {
        self.io.set_interest(stream, key, interest)
    }

    fn receive(&mut self, stream: &SocketId, buffer: &mut [u8]) -> io::Result<usize> {
        self.io.receive(stream, buffer)
    }

    fn send(&mut self, stream: &SocketId, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.io.send(stream, slices)
    }

    fn shutdown_write(&mut self, stream: &SocketId) {
        self.io.shutdown_write(stream);
    }

    fn close(&mut self, stream: SocketId) {
        self.io.close(stream);
    }

    fn wait(&mut self, ready: &mut Vec<Ready>, deadline: Option<Time>) -> io::Result<()> {
        self.deadline = deadline;
        self.io.wait(ready, deadline)?;
        let kernel = self.kernel.borrow();
        let waits = |queue: &&Queue| queue.watched && !queue.waiting.is_empty();
        let report = |key| Ready { key, readable: true, writable: false, hung_up: false };
        ready.extend(kernel.queues.iter().filter(waits).filter_map(|queue| queue.key).map(report));
        Ok(())
    }
}

/// An acceptor in front of the shards of a [`Server`].
pub struct Gate {
    pub acceptor: Acceptor<SimListen>,
    kernel: Rc<RefCell<Kernel>>,
    net: Rc<RefCell<Net>>,
    stop: Stop,
    waker: SimWaker,
    news: LiveSettingsSender,
}

impl Gate {
    /// So many listeners, all of them for this machine alone, and descriptors without end.
    pub fn new(server: &Server, listeners: usize, settings: AcceptorSettings) -> Gate {
        Gate::with_entrances(server, &vec![Entrance::LOCAL; listeners], settings)
    }

    /// The same with something that looks at memory and descriptors.
    pub fn watched(
        server: &Server,
        listeners: usize,
        settings: AcceptorSettings,
        gauge: Option<SimGauge>,
    ) -> Gate {
        Gate::open(server, &vec![Entrance::LOCAL; listeners], settings, gauge)
    }

    /// The same with listeners of these kinds.
    pub fn with_entrances(server: &Server, entrances: &[Entrance], settings: AcceptorSettings) -> Gate {
        Gate::open(server, entrances, settings, None)
    }

    /// The same with both.
    pub fn open(
        server: &Server,
        entrances: &[Entrance],
        settings: AcceptorSettings,
        gauge: Option<SimGauge>,
    ) -> Gate {
        let (net, waker) = (Rc::clone(&server.net), SimWaker::default());
        let io = SimListen::new(Rc::clone(&net), waker.clone(), entrances.len());
        let kernel = io.kernel();
        let stop = Stop::default();
        let (news, settings_to_come) = LiveSettings::channel();
        let shared = AcceptorShared {
            seed: 7,
            farewell_max: Duration::MAX,
            gauge: gauge.map(|gauge| Box::new(gauge) as Box<dyn Gauge>),
            mesh: Arc::clone(&server.mesh),
            stop: stop.clone(),
            news: settings_to_come,
            connections: Arc::clone(&server.connections),
            departures: server.departures.clone(),
            addresses: Arc::clone(&server.addresses),
        };
        let listening = entrances.iter().copied().enumerate().collect();
        let acceptor = Acceptor::new(io, listening, shared, settings).expect("a descriptor for the reserve");
        Gate { acceptor, kernel, net, stop, waker, news }
    }

    pub fn kernel(&self) -> RefMut<'_, Kernel> {
        self.kernel.borrow_mut()
    }

    /// Connections that wait for one listener.
    pub fn waiting(&self, listener: usize) -> usize {
        self.kernel.borrow().queues[listener].waiting.len()
    }

    /// Whether a wait of the acceptor would find somebody.
    pub fn is_ready(&self) -> bool {
        self.kernel.borrow().queues.iter().any(|queue| queue.watched && !queue.waiting.is_empty())
    }

    /// Calls of accept so far.
    pub fn accepts(&self) -> usize {
        self.kernel.borrow().accepts
    }

    /// A peer at a unix socket connects.
    pub fn dial(&mut self, listener: usize) -> SocketId {
        self.dial_from(listener, PeerAddress::Unix)
    }

    /// A peer of this address connects.
    pub fn dial_from(&mut self, listener: usize, peer: PeerAddress) -> SocketId {
        let socket = self.net.borrow_mut().open();
        self.kernel().enqueue(listener, socket, peer);
        socket
    }

    /// One turn of the acceptor.
    pub fn turn(&mut self) -> Progress {
        self.acceptor.turn().expect("the simulated wait does not fail")
    }

    /// When the acceptor wants to be woken at the latest.
    pub fn deadline(&mut self) -> Option<Time> {
        self.acceptor.io_mut().deadline
    }

    /// Gives it other settings, as a reload does; it takes them in its next turn.
    pub fn reload(&mut self, settings: AcceptorSettings) {
        let (untaken, _) = Untaken::pair();
        self.news.send(settings, untaken);
    }

    /// The socket options that a listener was told in a reload.
    pub fn options(&self, listener: usize) -> Option<SocketOptions> {
        self.kernel.borrow().queues[listener].options
    }

    /// Tells it to stop, as a handle of the server does.
    pub fn stop(&mut self) {
        self.stop.ask(&self.waker);
    }
}
