//! How a run ends: nothing goes wrong any more, everybody reads, and within a bound of turns all that was
//! under way has come, everybody has left, and nothing is left behind.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fanfare::endpoint::CloseKind;
use fanfare::id::ShardId;
use fanfare::server::ACCEPT_REST;
use fanfare::shard::{Counter, Progress};

use crate::client::Deed;
use crate::common::listener::Gate;
use crate::plan::Drain;
use crate::reloads::RELOAD;
use crate::trace::NOBODY;
use crate::world::{LISTENERS, Line, World};

/// Rounds, each a turn of every shard that wants one, in which what is under way has to come.
const ROUNDS_MAX: usize = 20_000;
/// Deadlines that may pass until nobody waits for anything.
const JUMPS_MAX: usize = 2_000;

/// Causes that nothing here brings about: no endpoint panics or wants more rooms than it may have, and who
/// takes no answers is not read from long before they are too many.
const NEVER: [CloseKind; 3] =
    [CloseKind::EndpointPanic, CloseKind::TooManyMemberships, CloseKind::QueueOverflow];
/// Numbers that are 0 at the end.
const LEVELS: [Counter; 11] = [
    Counter::Connections,
    Counter::Handshaking,
    Counter::BetweenRequests,
    Counter::OpenWebSockets,
    Counter::OpenStreams,
    Counter::Closing,
    Counter::Waiting,
    Counter::Memberships,
    Counter::Rooms,
    Counter::QueueBytes,
    Counter::AnswerBytes,
];
/// Numbers that are no sum.
const HIGHEST: [Counter; 2] = [Counter::QueuePinnedMax, Counter::TurnEnd];
/// What clients note that they have met, and the world itself.
const SEEN_BY_CLIENTS: [&str; 12] = [
    "a client known as before",
    "a join or leave told",
    "a recovery of the protocol",
    "a publication repeated under its key",
    "a position refused to a member",
    "a position refused to a stream",
    "a position refused to a back end",
    "a return to a position",
    "a return of a stream",
    "a gap told",
    "a Close with a position",
    RELOAD,
];

impl World {
    /// In the middle of the storm: everything that is under way comes, and then it goes on.
    pub fn breathe(&mut self) {
        self.calm_down();
        self.rest();
        self.calm.set(false);
        self.ledger.calm.store(false, Ordering::Relaxed);
        self.make_room(self.plan.send_room);
    }

    /// What the kernel takes for those who read, of which all is read.
    fn make_room(&mut self, bytes: usize) {
        for line in self.lines.iter().filter(|line| line.is_live()) {
            let mut socket = self.server.socket(line.at);
            socket.room = bytes.saturating_sub(socket.output.len());
        }
    }

    /// From the storm to the end.
    pub fn end(&mut self) {
        self.calm_down();
        match self.plan.drain {
            Drain::InTheStorm => {}
            Drain::Early => {
                self.settle();
                self.drain();
            }
            Drain::Last => {
                self.rest();
                self.everybody_leaves();
                self.run_out();
                self.check_nothing_left();
                self.drain();
            }
        }
        self.run_out();
        self.check_finished();
        self.truth.conclude();
        self.ledger.conclude();
    }

    fn rest(&mut self) {
        self.settle();
        // Whoever waited for the acceptor to look again is let in, and who was too fast is read from again.
        self.move_clock(ACCEPT_REST);
        self.accept();
        self.settle();
        for _ in 0..JUMPS_MAX {
            if !self.is_something_unread() {
                return self.check_rest();
            }
            let now = self.server.now();
            let next = self.next_deadline().expect("something is to be read some time");
            self.move_clock(next - now);
            self.settle();
        }
        panic!("after {JUMPS_MAX} deadlines something is still not read");
    }

    /// Whether the shards have not read all that was said to them.
    fn is_something_unread(&self) -> bool {
        self.lines.iter().filter(|line| line.is_live()).any(|line| {
            let socket = self.server.socket(line.at);
            let open = socket.error.is_none() && socket.calls.close + socket.calls.shutdown_write == 0;
            open && (!line.outgoing.is_empty() || socket.unread() > 0)
        })
    }

    /// What the run has met: all that the shards count, why connections were closed, and what clients saw.
    pub fn met(&self) -> BTreeMap<&'static str, u64> {
        let mut met: BTreeMap<&'static str, u64> = SEEN_BY_CLIENTS.iter().map(|what| (*what, 0)).collect();
        met.extend(&self.truth.met);
        let sums = |counter: &&Counter| !LEVELS.contains(counter) && !HIGHEST.contains(counter);
        let counters = Counter::ALL.iter().filter(sums);
        met.extend(counters.map(|counter| (counter.name(), self.server.counter(*counter))));
        let closes = CloseKind::ALL.iter().filter(|kind| !NEVER.contains(kind));
        met.extend(closes.map(|kind| (kind.name(), self.server.closes(*kind) + self.refused_at_once[kind])));
        met
    }

    fn calm_down(&mut self) {
        self.trace.borrow_mut().note(NOBODY, "calm", self.step as u64);
        self.end_reloads();
        self.calm.set(true);
        // However little the kernels hold, they hold it again and again.
        self.make_room(usize::MAX);
        self.ledger.calm.store(self.is_everybody_told(), Ordering::Relaxed);
        if let Some(gate) = &self.gate {
            let mut kernel = gate.kernel();
            (kernel.descriptors_max, kernel.thief) = (usize::MAX, false);
            kernel.failing.clear();
        }
        self.gauge.set_memory(0, 100);
        self.gauge.set_descriptors(0, 100);
        for shard in &mut self.server.shards {
            shard.io_mut().lag = Duration::ZERO;
        }
    }

    /// Delivers, turns and reads until nothing moves, while time stands still.
    fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut moved = 0;
            for at in 0..self.lines.len() {
                if self.lines[at].is_live() {
                    moved += self.deliver(at, usize::MAX) + self.listen(at, usize::MAX);
                }
            }
            let mut turned = self.gate.as_ref().is_some_and(Gate::is_ready);
            if turned {
                self.accept();
            }
            for shard in 0..self.plan.shards {
                if self.is_runnable(shard) {
                    turned = true;
                    self.turn(shard);
                }
            }
            if !turned && moved == 0 {
                return;
            }
        }
        panic!("after {ROUNDS_MAX} rounds something still moves");
    }

    /// Everything that was said has arrived.
    fn check_rest(&mut self) {
        let in_flight = |shard| self.server.mesh.bytes_in_flight(ShardId::new(shard));
        let left: Vec<usize> = (0..self.plan.shards).map(in_flight).collect();
        assert!(left.iter().all(|bytes| *bytes == 0), "at rest {left:?} bytes are in flight");
        self.check_members();
        for at in 0..self.lines.len() {
            if self.lines[at].is_live() {
                self.with_actor(at, |actor, hand| {
                    actor.rest(hand);
                    Deed::GoOn
                });
            }
        }
    }

    /// Rooms have the members that know of it, and no others but those that nobody knows about.
    fn check_members(&self) {
        let is_open = |line: &&Line| self.server.socket(line.at).calls.close == 0;
        let strange = |line: &&Line| !line.is_live() || line.half_closed || line.actor.name() == "hostile";
        let (strangers, known): (Vec<&Line>, Vec<&Line>) =
            self.lines.iter().filter(is_open).partition(strange);
        for name in &self.plan.rooms {
            let members = self.server.registry.find(name).map_or(0, |room| room.members());
            let in_it = |line: &&&Line| line.actor.rooms().contains(&name.as_str());
            let knowing = known.iter().filter(in_it).count();
            let right = knowing == members || (knowing < members && !strangers.is_empty());
            assert!(right, "{name} has {members} members, and {knowing} know that they are");
        }
    }

    fn everybody_leaves(&mut self) {
        for at in 0..self.lines.len() {
            if self.lines[at].is_live() && !self.lines[at].half_closed {
                self.with_actor(at, |actor, hand| actor.leave(hand));
            }
        }
    }

    /// Whether whoever is closed now comes to read why.
    fn is_everybody_told(&self) -> bool {
        self.calm.get()
    }

    pub fn drain(&mut self) {
        self.trace.borrow_mut().note(NOBODY, "drain", 0);
        self.draining = true;
        self.ledger.calm.store(self.is_everybody_told(), Ordering::Relaxed);
        self.truth.drain_ordered();
        let mut gate = self.gate.take().expect("it has not stopped before");
        for kind in CloseKind::ALL {
            self.refused_at_once.insert(*kind, gate.acceptor.stats().refused_at_once(*kind));
        }
        self.left_waiting = (0..LISTENERS).map(|listener| gate.waiting(listener)).sum();
        gate.stop();
        assert_eq!(gate.turn(), Progress::Finished, "the acceptor stops in one turn");
    }

    /// Lets one deadline after the other pass, until nobody waits for any.
    fn run_out(&mut self) {
        for _ in 0..JUMPS_MAX {
            self.settle();
            let now = self.server.now();
            let resting =
                self.gate.as_ref().is_some_and(|gate| (0..LISTENERS).any(|at| gate.waiting(at) > 0));
            let rested = resting.then_some(now + ACCEPT_REST);
            let Some(next) = [self.next_deadline(), rested].into_iter().flatten().min() else { return };
            assert!(next > now, "a shard that has nothing to do waits for the past");
            self.move_clock(next - now);
            self.accept();
        }
        panic!("after {JUMPS_MAX} deadlines somebody still waits for one");
    }

    /// Nobody is there, and no room is remembered.
    fn check_nothing_left(&mut self) {
        self.accept();
        let places = self.gate.as_ref().map(|gate| gate.acceptor.places());
        assert_eq!(places, Some(0), "places that are still taken");
        let server = &self.server;
        assert_eq!(server.connections.load(Ordering::Relaxed), 0, "connections that are counted");
        for counter in LEVELS {
            assert_eq!(server.counter(counter), 0, "{}", counter.name());
        }
        assert!(server.registry.is_empty(), "rooms are remembered");
        assert_eq!(server.registry.memory_bytes(), 0, "bytes of rooms");
        assert!(server.registry.returning().is_empty(), "somebody is awaited");
        self.check_closes();
    }

    /// Every socket that was taken over has ended, once, for one cause.
    fn check_closes(&self) {
        let closes: u64 = CloseKind::ALL.iter().map(|kind| self.server.closes(*kind)).sum();
        let taken_over = self.server.counter(Counter::Accepted);
        assert_eq!(closes, taken_over, "closes and sockets taken over");
        if self.gate.is_none() {
            let refused: u64 = self.refused_at_once.values().sum();
            let all = taken_over + refused + self.left_waiting as u64;
            assert_eq!(all, self.lines.len() as u64, "taken over, refused, left to wait, and all that came");
        }
        for (number, socket) in self.server.net.borrow().sockets.iter().enumerate() {
            assert_eq!(socket.calls.close, 1, "closes of the socket of line {number}");
        }
    }

    /// All shards have ended; each has checked its own queues and rooms then.
    fn check_finished(&self) {
        assert_eq!(self.server.finished.len(), self.plan.shards, "shards that have finished");
        assert_eq!(self.server.connections.load(Ordering::Relaxed), 0, "connections that are counted");
        self.check_closes();
        let (missed, skipped) = (self.truth.missed, self.server.counter(Counter::SkippedMessages));
        assert!(missed <= skipped, "{missed} messages were missed, and {skipped} are counted");
    }
}
