//! Shards over an operating system that costs next to nothing, each on a thread of its own: sockets take everything
//! at once, and publishers say the next message as soon as the last one is read. So all that is measured is the
//! shards', and no generator takes a core from them. A shard that finds nothing to do sleeps until it is woken.

use std::io::{self, ErrorKind, IoSlice};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::thread::Thread;
use std::time::Duration;

use core_affinity::CoreId;
use fanfare::Config;
use fanfare::endpoint::{Relay, RouterPlan};
use fanfare::id::ShardId;
use fanfare::protocol::{Opcode, push_client_frame};
use fanfare::reactor::{Interest, Io, MonotonicClock, PeerAddress, READY_PER_WAIT, Ready, Wake};
use fanfare::rooms::Registry;
use fanfare::server::AddressTable;
use fanfare::shard::{
    Admission, Adopt, Counter, Departures, Entrance, Mail, Mailbox, Mesh, Shard, ShardStats, Shared,
};
use fanfare::slab::Key;
use fanfare::time::Time;
use rustix::time::{ClockId, clock_gettime};

use crate::holder::request;

/// How far the clock of a shard moves with a turn: so little that no heartbeat comes into a measurement.
const STEP: Duration = Duration::from_micros(1);
const PAYLOAD: [u8; 64] = [7; 64];
const MASK: [u8; 4] = [0x5a, 0x01, 0xc3, 0x77];

/// What is run.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    pub shards: usize,
    pub rooms: usize,
    /// Of each room, spread evenly over the shards.
    pub members: usize,
    /// Of the members of each room, those who publish.
    pub publishers: usize,
    /// Messages of each publisher.
    pub messages: usize,
}

impl Scene {
    fn deliveries_of_a_shard(&self) -> u64 {
        let members = self.rooms * self.members / self.shards;
        (members * self.publishers * self.messages) as u64
    }
}

/// What it took.
#[derive(Clone, Debug)]
pub struct Took {
    /// Nanoseconds that the threads of the shards have computed for each delivery.
    pub cpu_per_delivery: f64,
    /// Deliveries a second.
    pub rate: f64,
    pub sends_per_delivery: f64,
    /// How long a shard slept or was off its core, on the average.
    pub asleep: Duration,
}

/// Runs a scene to its end.
pub fn run(scene: Scene) -> Took {
    let config = Config { message_rate: u32::MAX, byte_rate: 1 << 40, ..Config::default() };
    let mut plan = RouterPlan::default();
    plan.add_endpoint("/rooms/{room}", Arc::new(|_| Box::new(Relay { member_publish: true })));
    let wakers: Vec<Sleeper> = (0..scene.shards).map(|_| Sleeper::default()).collect();
    let boxed = wakers.iter().map(|waker| Box::new(waker.clone()) as Box<dyn Wake>).collect();
    let (mesh, mailboxes) = Mesh::new(boxed, config.mailbox_bytes);
    let shared = Shared {
        registry: Arc::new(Registry::new(config.room_settings())),
        plan: Arc::new(plan),
        settings: Arc::new(config.settings()),
        connections: Arc::new(AtomicUsize::new(0)),
        departures: Departures::default(),
        addresses: Arc::new(AddressTable::new(config.acceptor_settings(1).addresses, 1)),
    };
    let stats: Vec<ShardStats> = (0..scene.shards).map(|_| ShardStats::default()).collect();
    let all_are_open = Barrier::new(scene.shards);
    let results: Vec<Worked> = std::thread::scope(|scope| {
        let start = |(number, (mailbox, (waker, stats))): (usize, (_, (&Sleeper, &ShardStats)))| {
            let (shared, mesh, all_are_open) = (shared.clone(), Arc::clone(&mesh), &all_are_open);
            let (waker, stats) = (waker.clone(), stats.clone());
            scope.spawn(move || {
                let pinned = core_affinity::get_core_ids().unwrap_or_default();
                core_affinity::set_for_current(CoreId {
                    id: pinned.get(number).map_or(number, |core| core.id),
                });
                let mut worker = Worker::new(scene, mailbox, waker, shared, stats);
                worker.open(&mesh);
                all_are_open.wait();
                worker.work()
            })
        };
        let threads: Vec<_> =
            mailboxes.into_iter().zip(wakers.iter().zip(&stats)).enumerate().map(start).collect();
        threads.into_iter().map(|thread| thread.join().expect("a shard works")).collect()
    });
    let deliveries: u64 = stats.iter().map(|stats| stats.get(Counter::Deliveries)).sum();
    let lasted = results.iter().map(|worked| worked.lasted).max().unwrap_or_default();
    let cpu: Duration = results.iter().map(|worked| worked.cpu).sum();
    let idle: Duration = results.iter().map(|worked| lasted.saturating_sub(worked.cpu)).sum();
    Took {
        cpu_per_delivery: cpu.as_nanos() as f64 / deliveries as f64,
        rate: deliveries as f64 / lasted.as_secs_f64(),
        sends_per_delivery: results.iter().map(|worked| worked.sends).sum::<u64>() as f64 / deliveries as f64,
        asleep: idle / scene.shards as u32,
    }
}

struct Worked {
    cpu: Duration,
    lasted: Duration,
    sends: u64,
}

/// One shard on its thread.
struct Worker {
    scene: Scene,
    number: ShardId,
    shard: Shard<DrumIo>,
    stats: ShardStats,
    publishers: Vec<u32>,
}

impl Worker {
    fn new(scene: Scene, mailbox: Mailbox<u32>, waker: Sleeper, shared: Shared, stats: ShardStats) -> Worker {
        let number = mailbox.shard();
        waker.0.thread.set(std::thread::current()).expect("one shard a thread");
        let shard = Shard::new(DrumIo::new(waker), mailbox, shared, stats.clone());
        Worker { scene, number, shard, stats, publishers: Vec::new() }
    }

    /// Opens this shard's part of the connections.
    fn open(&mut self, mesh: &Mesh<u32>) {
        let Scene { shards, rooms, members, publishers, .. } = self.scene;
        for room in 0..rooms {
            let request: Rc<[u8]> = request("drum", &format!("/rooms/{room}?echo=true")).into_bytes().into();
            for member in (0..members).filter(|member| member % shards == self.number.index()) {
                let socket = self.shard.io_mut().open(&request);
                if member < publishers {
                    self.publishers.push(socket);
                }
                let accepted = self.shard.io_mut().now;
                let (peer, entrance, counted) = (PeerAddress::Unix, Entrance::LOCAL, true);
                let admission = Admission::Welcome;
                let adopt =
                    Adopt { socket, peer, entrance, counted, trusted_proxy: false, accepted, admission };
                mesh.send(self.number, Mail::Adopt(adopt));
            }
            let opened = self.shard.io_mut().peers.len() as u64;
            while self.stats.get(Counter::Memberships) < opened {
                self.shard.turn().expect("the wait does not fail");
            }
        }
    }

    /// Has the publishers speak, and turns until everybody has heard everything.
    fn work(&mut self) -> Worked {
        let mut frame = Vec::new();
        push_client_frame(&mut frame, Opcode::Binary, true, &PAYLOAD, MASK);
        let frame: Rc<[u8]> = frame.into();
        let wanted = self.scene.deliveries_of_a_shard();
        let sends_before = self.stats.get(Counter::Sends);
        let clock = MonotonicClock::start();
        let cpu_before = thread_time();
        for publisher in &self.publishers {
            self.shard.io_mut().speak(*publisher, &frame, self.scene.messages);
        }
        while self.stats.get(Counter::Deliveries) < wanted {
            self.shard.turn().expect("the wait does not fail");
        }
        let (cpu, lasted) = (thread_time() - cpu_before, clock.now().since(Time::ZERO));
        Worked { cpu, lasted, sends: self.stats.get(Counter::Sends) - sends_before }
    }
}

/// The time that this thread has computed.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Where a shard sleeps.
#[derive(Clone, Debug, Default)]
struct Sleeper(Arc<Bed>);

#[derive(Debug, Default)]
struct Bed {
    woken: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Wake for Sleeper {
    fn wake(&self) {
        if !self.0.woken.swap(true, Ordering::SeqCst)
            && let Some(thread) = self.0.thread.get()
        {
            thread.unpark();
        }
    }
}

#[derive(Debug)]
struct Peer {
    key: Option<Key>,
    is_read: bool,
    listed: bool,
    input: Rc<[u8]>,
    /// How often it still says that.
    left: usize,
    taken: u64,
}

/// One shard's sockets and clock.
#[derive(Debug)]
struct DrumIo {
    waker: Sleeper,
    peers: Vec<Peer>,
    /// Those that may have something to say.
    speaking: Vec<u32>,
    now: Time,
}

impl DrumIo {
    fn new(waker: Sleeper) -> DrumIo {
        DrumIo { waker, peers: Vec::new(), speaking: Vec::new(), now: Time::ZERO }
    }

    fn open(&mut self, request: &Rc<[u8]>) -> u32 {
        let input = Rc::clone(request);
        self.peers.push(Peer { key: None, is_read: true, listed: true, input, left: 1, taken: 0 });
        let peer = self.peers.len() as u32 - 1;
        self.speaking.push(peer);
        peer
    }

    fn speak(&mut self, peer: u32, frame: &Rc<[u8]>, times: usize) {
        let speaking = &mut self.peers[peer as usize];
        (speaking.input, speaking.left) = (Rc::clone(frame), times);
        self.list(peer);
    }

    fn list(&mut self, peer: u32) {
        if !std::mem::replace(&mut self.peers[peer as usize].listed, true) {
            self.speaking.push(peer);
        }
    }
}

impl Io for DrumIo {
    type Socket = u32;
    type Stream = u32;

    fn now(&self) -> Time {
        self.now
    }

    fn unix_time(&self) -> Duration {
        self.now.since(Time::ZERO)
    }

    fn register(&mut self, socket: u32, key: Key) -> io::Result<u32> {
        self.peers[socket as usize].key = Some(key);
        Ok(socket)
    }

    fn set_interest(&mut self, stream: &u32, _: Key, interest: Interest) -> io::Result<()> {
        self.peers[*stream as usize].is_read = interest.readable;
        self.list(*stream);
        Ok(())
    }

    fn receive(&mut self, stream: &u32, buffer: &mut [u8]) -> io::Result<usize> {
        let peer = &mut self.peers[*stream as usize];
        if peer.left == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        peer.left -= 1;
        buffer[..peer.input.len()].copy_from_slice(&peer.input);
        Ok(peer.input.len())
    }

    fn send(&mut self, stream: &u32, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let count: usize = slices.iter().map(|slice| slice.len()).sum();
        self.peers[*stream as usize].taken += count as u64;
        Ok(count)
    }

    fn shutdown_write(&mut self, _: &u32) {}

    fn close(&mut self, _: u32) {
        unreachable!("nobody leaves before the end");
    }

    fn wait(&mut self, ready: &mut Vec<Ready>, deadline: Option<Time>) -> io::Result<()> {
        self.now = self.now + STEP;
        ready.clear();
        let DrumIo { peers, speaking, now, .. } = self;
        speaking.retain(|peer| {
            let peer = &mut peers[*peer as usize];
            peer.listed = peer.left > 0 && peer.is_read;
            peer.listed
        });
        let report = |peer: &u32| {
            let key = peers[*peer as usize].key?;
            Some(Ready { key, readable: true, writable: false, hung_up: false })
        };
        ready.extend(speaking.iter().filter_map(report).take(READY_PER_WAIT));
        let turn_at = speaking.len().min(READY_PER_WAIT);
        speaking.rotate_left(turn_at);
        let polls = deadline.is_some_and(|deadline| deadline <= *now);
        while !self.waker.0.woken.swap(false, Ordering::SeqCst) && ready.is_empty() && !polls {
            std::thread::park();
        }
        Ok(())
    }
}
