//! One run: shards on one thread, lines to their clients, and a generator that decides whose turn it is.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fanfare::endpoint::{CloseCause, CloseKind};
use fanfare::shard::Counter;
use fanfare::time::Time;

use crate::chance::Chance;
use crate::client::{Actor, Deed, End, Hand};
use crate::common::listener::{Gate, SimGauge};
use crate::common::server::{Client, Server};
use crate::faults;
use crate::ledger::Ledger;
use crate::plan::{Drain, Plan};
use crate::proxy::ENTRANCES;
use crate::trace::{NOBODY, Trace};
use crate::truth::Truth;

/// What a kernel holds that nobody has read, of what a client sends.
pub const UNREAD_MAX: usize = 64 << 10;

/// Where the acceptor listens.
pub const LISTENERS: usize = ENTRANCES.len();

/// A connection, seen from the client.
pub struct Line {
    pub at: Client,
    pub actor: Box<dyn Actor>,
    /// Said, and not on its way yet.
    pub outgoing: Vec<u8>,
    /// It reads nothing until this step.
    stalled_until: usize,
    pub half_closed: bool,
    /// It neither reads nor sends nor says goodbye.
    pub vanished: bool,
    /// Since when something waits for it that nobody acknowledges.
    unread_since: Option<Time>,
    pub over: bool,
}

impl Line {
    pub fn new(at: Client, actor: Box<dyn Actor>) -> Line {
        Line {
            at,
            actor,
            outgoing: Vec::new(),
            stalled_until: 0,
            half_closed: false,
            vanished: false,
            unread_since: None,
            over: false,
        }
    }

    /// Whether its client does something.
    pub fn is_live(&self) -> bool {
        !self.over && !self.vanished
    }
}

pub struct World {
    pub plan: Plan,
    pub chance: Chance,
    pub server: Server,
    /// The acceptor, until it has stopped.
    pub gate: Option<Gate>,
    /// What the acceptor is shown of memory and descriptors.
    pub gauge: SimGauge,
    /// Whom it had refused then, and how many it had not looked at.
    pub refused_at_once: BTreeMap<CloseKind, u64>,
    pub left_waiting: usize,
    pub draining: bool,
    /// The settings are others than the plan's.
    pub reloaded: bool,
    pub lines: Vec<Line>,
    pub truth: Truth,
    pub ledger: Ledger,
    pub trace: Rc<RefCell<Trace>>,
    pub calm: Rc<Cell<bool>>,
    pub step: usize,
    /// Until which step a shard gets no turn.
    frozen_until: Vec<usize>,
    /// When each shard wants to be called again at the latest, as it said behind its latest turn.
    deadlines: Vec<Option<Time>>,
    /// Who comes back when there is place.
    pub returning: Vec<Box<dyn Actor>>,
    /// Messages that have entered rooms, and members: when they change, the rooms are looked at.
    entered: u64,
}

impl World {
    pub fn new(plan: Plan, trace: Rc<RefCell<Trace>>) -> World {
        let mut chance = Chance::new(plan.seed ^ 0x5eed);
        let ledger = Ledger::default();
        let config = &plan.config;
        let settings = plan.settings(config);
        let router = ledger.router_plan(config);
        let server =
            Server::assemble(plan.shards, settings, plan.mailbox_bytes, router, config.room_settings());
        let most = config.max_connections.unwrap_or(usize::MAX);
        let gauge = SimGauge::default();
        let settings = config.acceptor_settings(most);
        let gate = Gate::open(&server, &ENTRANCES, settings, Some(gauge.clone()));
        let os = faults::World::new(chance.fork(), plan.faults.clone(), Rc::clone(&trace));
        let calm = Rc::clone(&os.calm);
        server.net.borrow_mut().faults = Some(Box::new(os));
        let truth = Truth::new(Arc::clone(&server.registry), &plan);
        World {
            frozen_until: vec![0; plan.shards],
            deadlines: vec![Some(Time::ZERO); plan.shards],
            plan,
            chance,
            server,
            gate: Some(gate),
            gauge,
            refused_at_once: BTreeMap::new(),
            left_waiting: 0,
            draining: false,
            reloaded: false,
            lines: Vec::new(),
            truth,
            ledger,
            trace,
            calm,
            step: 0,
            returning: Vec::new(),
            entered: 0,
        }
    }

    /// Everything at random, for as many steps as the plan has.
    pub fn storm(&mut self) {
        while self.step < self.plan.steps {
            self.step += 1;
            if !self.draining && self.chance.odds(self.plan.habits.rest) {
                self.breathe();
            }
            if self.plan.reload > 0 && self.chance.odds(self.plan.reload) {
                self.some_reload();
            }
            // Some steps are left for what comes of it.
            if self.plan.drain == Drain::InTheStorm && self.step == self.plan.steps * 9 / 10 {
                self.drain();
            }
            match self.chance.below(20) {
                0..=8 => self.some_turn(),
                9..=16 => self.some_line(),
                17 => self.arrivals(),
                18 => self.some_accepts(),
                _ => self.time_passes(),
            }
        }
    }

    fn some_turn(&mut self) {
        let shard = self.chance.below(self.plan.shards);
        if self.chance.odds(self.plan.habits.freeze) {
            self.frozen_until[shard] = self.step + self.chance.magnitude(5..=200);
        }
        if self.frozen_until[shard] > self.step {
            return;
        }
        let lag = if self.chance.one_in(8) { self.chance.magnitude(0..=50) } else { 0 };
        self.server.shards[shard].io_mut().lag = Duration::from_millis(lag as u64);
        let spurious = self.chance.one_in(16);
        if spurious || self.is_runnable(shard) {
            self.turn(shard);
        }
    }

    /// Whether a thread that waits as the shard does would go on.
    pub fn is_runnable(&mut self, shard: usize) -> bool {
        let now = self.server.now();
        !self.server.finished.contains(&shard)
            && (self.server.wakers[shard].is_set()
                || self.deadlines[shard].is_some_and(|deadline| deadline <= now)
                || self.server.shards[shard].io_mut().is_ready())
    }

    /// When the next shard has to be called, if nothing else happens.
    pub fn next_deadline(&self) -> Option<Time> {
        let waits = |shard: &usize| !self.server.finished.contains(shard);
        (0..self.plan.shards).filter(waits).filter_map(|shard| self.deadlines[shard]).min()
    }

    pub fn turn(&mut self, shard: usize) {
        self.trace.borrow_mut().note(NOBODY, "turn", shard as u64);
        self.server.turn(shard);
        self.deadlines[shard] = self.server.shards[shard].wait_deadline();
        let entered = self.server.counter(Counter::Publications) + self.server.counter(Counter::Opened);
        if entered != self.entered {
            self.entered = entered;
            self.truth.poll(self.server.now());
        }
        self.check_bounds(shard);
    }

    fn some_line(&mut self) {
        let live: Vec<usize> = (0..self.lines.len()).filter(|at| self.lines[*at].is_live()).collect();
        if live.is_empty() {
            return self.arrivals();
        }
        let at = *self.chance.pick(&live);
        self.misfortune(at);
        if self.chance.one_in(2) {
            let most = if self.chance.one_in(3) { self.chance.magnitude(1..=2000) } else { usize::MAX };
            self.deliver(at, most);
        }
        if self.lines[at].stalled_until <= self.step && !self.lines[at].vanished {
            let tiny = self.chance.odds(self.plan.habits.tiny_reads);
            let most = if tiny { self.chance.within(1..=20) } else { usize::MAX };
            self.listen(at, most);
        }
        let line = &self.lines[at];
        if line.is_live() && !line.half_closed && self.chance.odds(self.plan.habits.talk) {
            self.with_actor(at, |actor, hand| actor.act(hand));
        }
        let line = &self.lines[at];
        if line.is_live() && !line.half_closed && self.chance.odds(self.plan.habits.leave) {
            self.with_actor(at, |actor, hand| actor.leave(hand));
        }
    }

    fn misfortune(&mut self, at: usize) {
        let habits = self.plan.habits.clone();
        if self.chance.odds(habits.stall) {
            self.lines[at].stalled_until = self.step + self.chance.magnitude(10..=400);
        }
        if self.chance.odds(habits.half_close) {
            self.half_close(at);
        }
        if self.chance.odds(habits.vanish) {
            self.lines[at].vanished = true;
        }
        if self.chance.odds(habits.reset) {
            let mut socket = self.server.socket(self.lines[at].at);
            socket.error = Some(ErrorKind::ConnectionReset);
            socket.hung_up = true;
        }
    }

    pub fn half_close(&mut self, at: usize) {
        self.deliver(at, usize::MAX);
        let line = &mut self.lines[at];
        // What could not be sent before the end of the stream is never sent.
        line.outgoing.clear();
        line.half_closed = true;
        self.server.socket(line.at).eof = true;
        self.trace.borrow_mut().note(at, "half close", 0);
    }

    /// What a client has said goes on its way. Returns how many bytes do.
    pub fn deliver(&mut self, at: usize, most: usize) -> usize {
        let line = &mut self.lines[at];
        if line.outgoing.is_empty() || line.vanished {
            return 0;
        }
        let mut socket = self.server.socket(line.at);
        let count = line.outgoing.len().min(most).min(UNREAD_MAX.saturating_sub(socket.unread()));
        if socket.calls.close > 0 || socket.error.is_some() {
            line.outgoing.clear();
            return 0;
        }
        socket.feed(&line.outgoing[..count]);
        drop(socket);
        line.outgoing.drain(..count);
        self.trace.borrow_mut().note(at, "deliver", count as u64);
        count
    }

    /// A client reads what has come. Returns how many bytes that are.
    pub fn listen(&mut self, at: usize, most: usize) -> usize {
        let mut socket = self.server.socket(self.lines[at].at);
        let broken = socket.error.is_some();
        let count = socket.output.len().min(most);
        // What a broken connection had on its way comes in part, or not at all.
        let count = if broken && count > 0 { self.chance.within(0..=count) } else { count };
        let bytes: Vec<u8> = socket.output.drain(..count).collect();
        socket.room = socket.room.saturating_add(count);
        let ended =
            broken || (socket.output.is_empty() && socket.calls.shutdown_write + socket.calls.close > 0);
        drop(socket);
        if !bytes.is_empty() {
            let order_is_random = self.lines[at].actor.name() == "http";
            self.trace.borrow_mut().bytes(at, "hear", &bytes, order_is_random);
            self.with_actor(at, |actor, hand| {
                actor.hear(&bytes, hand);
                Deed::GoOn
            });
        }
        if ended && !self.lines[at].over {
            self.ended(at, if broken { End::Broken } else { End::Finished });
        }
        count
    }

    fn ended(&mut self, at: usize, end: End) {
        self.trace.borrow_mut().tell(at, "end", end as u64, || format!("{end:?}"));
        self.check_cause(at);
        self.lines[at].over = true;
        let mut again = None;
        self.with_actor(at, |actor, hand| {
            again = actor.end(end, hand);
            Deed::GoOn
        });
        self.returning.extend(again);
        let line = &mut self.lines[at];
        line.outgoing.clear();
        let mut socket = self.server.socket(line.at);
        if socket.calls.close == 0 {
            socket.eof = true;
        }
    }

    /// A transport that did not fail is not said to have failed, and who keeps to the protocol is not said to
    /// have broken it.
    fn check_cause(&self, at: usize) {
        let line = &self.lines[at];
        let Some(connection) = line.actor.connection() else { return };
        let broken = self.server.socket(line.at).error.is_some();
        match self.ledger.cause_of(connection) {
            Some(CloseCause::TransportFailed(kind)) => {
                assert!(broken, "the transport has not failed: {kind}")
            }
            Some(CloseCause::Failed(failure)) => assert!(line.actor.is_doomed(), "{failure}"),
            _ => {}
        }
    }

    /// Lets an actor do something, and does what it decides.
    pub fn with_actor(&mut self, at: usize, act: impl FnOnce(&mut dyn Actor, &mut Hand<'_>) -> Deed) {
        let line = &mut self.lines[at];
        self.trace.borrow_mut().at = at;
        let mut hand = Hand {
            chance: &mut self.chance,
            truth: &mut self.truth,
            plan: &self.plan,
            ledger: &self.ledger,
            out: &mut line.outgoing,
            half_closed: line.half_closed,
        };
        let deed = act(&mut *line.actor, &mut hand);
        if line.half_closed {
            line.outgoing.clear();
        } else if deed == Deed::HalfClose {
            self.half_close(at);
        }
    }

    fn time_passes(&mut self) {
        let by = if self.chance.odds(self.plan.habits.far_jump) {
            Duration::from_secs(self.chance.magnitude(60..=100_000) as u64)
        } else if self.chance.odds(self.plan.habits.jump) {
            Duration::from_millis(self.chance.magnitude(50..=20_000) as u64)
        } else {
            Duration::from_micros(self.chance.magnitude(1..=20_000) as u64)
        };
        self.move_clock(by);
    }

    pub fn move_clock(&mut self, by: Duration) {
        let mut net = self.server.net.borrow_mut();
        net.now = net.now + by;
        self.truth.now = net.now;
        drop(net);
        self.trace.borrow_mut().note(NOBODY, "time", by.as_nanos() as u64);
        self.give_up_on_vanished();
    }

    /// The kernel does so with what nobody acknowledges for long (TCP_USER_TIMEOUT).
    fn give_up_on_vanished(&mut self) {
        let now = self.server.now();
        let patience = self.plan.config.write_timeout + self.plan.config.close_timeout;
        for line in self.lines.iter_mut().filter(|line| line.vanished) {
            let mut socket = self.server.socket(line.at);
            if socket.calls.close > 0 || socket.output.is_empty() {
                continue;
            }
            if *line.unread_since.get_or_insert(now) + patience <= now {
                socket.error = socket.error.or(Some(ErrorKind::TimedOut));
            }
        }
    }
}
