//! Layer 4: a shard joins everything below. It owns its connections and its side of the rooms, and
//! runs them in turns:
//!
//! ```text
//! wait → clock → read (parse, endpoint, effects) → timers → publish → mailbox → fan-out → flush → reap → inspect
//! ```
//!
//! * **read** takes one read from each ready connection into the one receive buffer; replies go to
//!   the scratch, publications to the publish queue. Nothing is written, but for a long message that is sent
//!   back as it is: it leaves from the receive buffer, before that is read into again.
//! * **publish** gives the turn's publications their offsets, hands them to the mailboxes of all
//!   shards with members (this one's too: so its members see the room's order) and wakes those.
//! * **mailbox** is taken from after every return from wait, and while anything is in it the next wait is a poll, so
//!   no wake-up is lost; it comes late in the turn so that what a connection here published leaves in the same turn.
//! * **fan-out** sends what arrived to the members that have nothing else to get, straight from the rooms'
//!   batches, a share of them in each turn, and **flush** to each other connection once: its own queue, then what
//!   its rooms have for it, from the same batches. **reap** frees; nothing is freed before. **inspect** answers who
//!   looks from outside.
//!
//! Reading, timers, the mailbox and the fan-out have budgets; what is left over makes the next wait a poll. While a
//! fan-out goes on over several turns, all other mail waits in the mailbox but new connections, questions of who
//! looks, probes and metrics among them, and the order to shed.

mod api_calls;
mod apply;
mod asks;
mod batch_pool;
mod begun;
mod calls;
mod closes;
mod deliver;
mod departed;
mod distribution;
mod draining;
mod encode;
mod ending;
mod fan_out;
mod forwarded;
mod held;
mod http;
mod in_flight;
mod inspect;
mod local_room;
mod mailbox;
mod membership;
mod open;
mod outbound;
mod peers;
mod persona;
mod presence;
mod publish;
mod rates;
mod read;
mod reload;
mod removal;
mod serve;
mod session;
mod settings;
mod shedding;
mod stats;
mod timers;
mod turn_end;
mod write;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use crate::endpoint::{CloseCause, Effects, Router, RouterPlan};
use crate::flood::Flood;
use crate::id::{ConnectionId, ShardId};
use crate::mutant::{Mutant, strikes};
use crate::reactor::{Io, Ready, Tick, TimerWheel};
use crate::rooms::Registry;
use crate::slab::{Key, Slab};
use crate::time::Time;

pub use closes::{CLOSES_KEPT, Closed};
pub use departed::{Departed, Departures};
pub use distribution::{Distribution, Observed};
pub use draining::DrainOrder;
pub use forwarded::{AddressGate, ProxySettings, TrustedProxy, TrustedProxyError};
pub use held::Held;
pub use inspect::{
    ClosesWanted, ConnectionSeen, ConnectionSort, ConnectionState, Findings, Found, INSPECTED_PER_TURN,
    INSPECTIONS_MAX, Inspection, LISTED_MAX, Pause, Query, ROOMS_SHOWN, RoomSeen, RoomSort,
};
pub use mailbox::{
    Admission, Adopt, Entrance, Mail, Mailbox, Mesh, PresenceChange, Publication, RemovalOrder, RemovedFrom,
    Reply,
};
pub use rates::RateLimits;
pub use reload::{Reload, Taken, Untaken};
pub use settings::Settings;
pub use shedding::ShedOrder;
pub use stats::{Counter, ShardStats};

use closes::Closes;
use departed::Counted;
use draining::Draining;
use fan_out::FanOut;
use inspect::Inspections;
use membership::{LocalRooms, MEMBERSHIP_BYTES};
use outbound::{Outbound, SendArena};
use peers::Peers;
use persona::Personas;
use presence::Lingerers;
use publish::PublishQueue;
use serve::{Plan, Serving};
use session::{Flag, Session, Slot};
use stats::Tally;
use timers::ReadRound;
use turn_end::Arrivals;

/// The one receive buffer of a shard, and so what one connection is read per turn. A message of
/// 64 KiB and its successor fit, so that large messages are mostly unmasked where they arrived.
pub const RECEIVE_BYTES: usize = 128 << 10;
/// Replies or publications of a turn over which they are flushed before reading goes on: they should
/// still be in the cache when they are sent.
const TURN_BYTES_HIGH: usize = 1 << 20;
/// Memory for replies that is kept for the next turn: they are flushed when they have passed that by what one
/// read has brought, so that less would be let go and taken again in each turn.
const SCRATCH_KEPT_BYTES: usize = TURN_BYTES_HIGH + RECEIVE_BYTES;
/// Mail that is taken at a time, and its bytes: what is taken together leaves in fewer sends, however many members
/// there are. (A model takes little: there each turn leaves some for the next.)
const MAIL_WORK_MAX: usize = if cfg!(loom) { 1 } else { 32 << 10 };
const MAIL_BYTES_MAX: usize = 4 << 20;
/// So much for each member of a room is sent without waiting for more where a turn can do no more than that: a longer
/// send costs as much for each byte, and may be more than sockets take.
const SEND_BYTES_ENOUGH: usize = 64 << 10;
/// Members that the fan-out of a turn may send to, and the bytes that it may send: what a hot room may take of the
/// turn, some milliseconds of system calls, before everybody is read from again. (A model has few members: there a
/// fan-out takes several turns.)
pub const FAN_OUT_MEMBERS_PER_TURN: usize = if cfg!(loom) { 1 } else { 1024 };
const FAN_OUT_BYTES_PER_TURN: usize = 4 << 20;
/// Timers looked at per turn.
const TIMERS_PER_TURN: usize = 1024;

/// What a turn leaves to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There will be another turn.
    Running,
    /// This was the last turn: of a drained shard, which has no connection and no mail left, or of an acceptor
    /// that has told the shards to drain.
    Finished,
}

/// What several shards and the acceptor share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// All rooms.
    pub registry: Arc<Registry>,
    /// All paths.
    pub plan: Arc<RouterPlan>,
    /// Limits and deadlines.
    pub settings: Arc<Settings>,
    /// Connections that were admitted and not closed yet, over all shards.
    pub connections: Arc<AtomicUsize>,
    /// Where shards report to the acceptor who has gone.
    pub departures: Departures,
    /// Where they count whom proxies speak for.
    pub addresses: Arc<dyn AddressGate>,
}

/// One shard. `I` is the operating system, or a simulation of it.
pub struct Shard<I: Io> {
    io: I,
    connections: Slab<Slot<I::Stream>>,
    ready: Vec<Ready>,
    round: ReadRound,
    expired: Vec<u32>,
    core: Core<I::Socket>,
}

/// All that handling one connection may touch beside its slot.
struct Core<S> {
    id: ShardId,
    now: Time,
    /// When whoever says something now is next asked for a sign of life.
    quiet_until: Tick,
    /// Between two heartbeats of those with [`Flag::KeepsInterval`].
    kept_interval: Duration,
    /// The same as others write it: the time since 1970.
    unix_time: Duration,
    settings: Arc<Settings>,
    connections: Arc<AtomicUsize>,
    departures: Departures,
    addresses: Arc<dyn AddressGate>,
    router: Router,
    /// Emptied lists, one for each call of an endpoint within another's effects.
    spare_effects: Vec<Effects<'static>>,
    /// How deep the endpoint's asking is in its answers.
    asks_depth: u8,
    /// Those who died and may come back, by the end of their grace.
    lingering: Lingerers,
    /// Spare room for the list of rooms that a message is published to.
    joined: Vec<(Key, Option<Key>)>,
    /// Spare room for what a connection is sent of its rooms.
    plan: Plan,
    fan_out: FanOut,
    arena: SendArena,
    rooms: LocalRooms,
    peers: Peers,
    personas: Personas,
    publications: PublishQueue,
    mailbox: Mailbox<S>,
    timers: TimerWheel,
    tally: Tally,
    /// Connections that were closed because they sent too fast.
    rate_flood: Flood,
    /// Clients behind proxies that were refused.
    refused_flood: Flood,
    /// Slots to flush at the end of the turn, those with [`Flag::Dirty`], each once.
    dirty: Vec<u32>,
    /// Slots to free at the end of the turn.
    dead: Vec<u32>,
    /// Shards that got mail from this one and have not been woken since.
    reached: Vec<bool>,
    /// The publications that are being sent, by the time at which they were read.
    arrivals: Arrivals,
    /// Bytes of answers that have not been taken yet, over all connections of this shard.
    http_bytes: usize,
    /// Connections whose answers are taken, so that the requests they had sent behind can go on.
    resumed: VecDeque<Key>,
    /// Connections that are not read from until the inboxes have drained.
    paused_publishers: Vec<Key>,
    /// Set by [`Mail::Drain`].
    draining: Option<Draining>,
    /// Who is told at the end of the turn that it has ended.
    reports: Vec<Reply<ShardId>>,
    closes: Closes,
    inspections: Inspections,
}

impl<I: Io> Shard<I> {
    /// Bytes of memory that one idle connection takes, slab slot and timer: it owns no heap.
    pub const CONNECTION_BYTES: usize = Slab::<Slot<I::Stream>>::SLOT_BYTES + TimerWheel::LINK_BYTES;
    /// Bytes that each room that it is in adds.
    pub const MEMBERSHIP_BYTES: usize = MEMBERSHIP_BYTES;

    /// A shard without connections.
    pub fn new(io: I, mailbox: Mailbox<I::Socket>, shared: Shared, stats: ShardStats) -> Shard<I> {
        let now = io.now();
        let id = mailbox.shard();
        let core = Core {
            id,
            now,
            quiet_until: Tick::after(now + shared.settings.ping_interval),
            kept_interval: Duration::MAX,
            unix_time: io.unix_time(),
            router: Router::new(shared.plan, id),
            settings: shared.settings,
            connections: shared.connections,
            departures: shared.departures,
            addresses: shared.addresses,
            spare_effects: Vec::new(),
            asks_depth: 0,
            lingering: Lingerers::default(),
            joined: Vec::new(),
            plan: Plan::default(),
            fan_out: FanOut::default(),
            arena: SendArena::new(RECEIVE_BYTES),
            rooms: LocalRooms::new(id, shared.registry),
            peers: Peers::default(),
            personas: Personas::default(),
            publications: PublishQueue::default(),
            reached: vec![false; mailbox.mesh().shards()],
            arrivals: Arrivals::default(),
            mailbox,
            timers: TimerWheel::new(now),
            tally: Tally::new(stats),
            rate_flood: Flood::default(),
            refused_flood: Flood::default(),
            dirty: Vec::new(),
            dead: Vec::new(),
            http_bytes: 0,
            resumed: VecDeque::new(),
            paused_publishers: Vec::new(),
            draining: None,
            reports: Vec::new(),
            closes: Closes::default(),
            inspections: Inspections::default(),
        };
        Shard {
            io,
            connections: Slab::default(),
            ready: Vec::new(),
            round: ReadRound::default(),
            expired: Vec::new(),
            core,
        }
    }

    /// Waits for something to happen, and handles it.
    ///
    /// # Errors
    ///
    /// When the operating system fails the wait itself: the shard cannot go on.
    pub fn turn(&mut self) -> io::Result<Progress> {
        let deadline = self.wait_deadline();
        self.io.wait(&mut self.ready, deadline)?;
        self.core.begin_turn(self.io.now());
        self.core.unix_time = self.io.unix_time();
        self.read_ready();
        self.run_timers();
        self.core.expire_lingering();
        self.tell_of_the_end();
        self.publish();
        self.take_mail();
        self.fan_out();
        self.flush_dirty();
        self.core.rooms.clear_arrived();
        self.core.rooms.registry().maintain(self.core.now);
        self.core.end_floods();
        // Who is told in this very turn, as it came late, has been sent its Close.
        self.enforce_drain_deadline();
        self.reap();
        self.inspect();
        // Who leaves in the mail or in a flush is announced behind the publish phase.
        self.core.wake_reached();
        Ok(self.end_turn())
    }

    /// The seam for a simulation and for tests that look at what the shard asked of it.
    pub fn io_mut(&mut self) -> &mut I {
        &mut self.io
    }

    /// Until when the next turn waits if nothing happens: for a simulation, which knows so whether a thread
    /// would wake.
    pub fn wait_deadline(&self) -> Option<Time> {
        let Core { mailbox, dirty, resumed, publications, inspections, rooms, .. } = &self.core;
        let is_idle = self.expired.is_empty()
            && dirty.is_empty()
            && resumed.is_empty()
            && publications.is_empty()
            && inspections.is_empty()
            && rooms.arrived_in().is_empty()
            && !mailbox.has_mail();
        if !is_idle {
            return Some(Time::ZERO);
        }
        let history = Some(self.core.rooms.registry().due()).filter(|due| *due != Time::NEVER);
        let timer = self.core.timers.next_deadline();
        let Core { draining, rate_flood, refused_flood, .. } = &self.core;
        let floods = rate_flood.over_at().into_iter().chain(refused_flood.over_at()).min();
        let drain = draining.as_ref().map(Draining::due);
        [timer, drain, history, floods, self.core.next_expiry()].into_iter().flatten().min()
    }

    /// Frees what ended in this turn.
    fn reap(&mut self) {
        let Shard { io, connections, core, .. } = self;
        let mut dead = std::mem::take(&mut core.dead);
        for index in dead.drain(..) {
            let Some(mut slot) = connections.remove_at(index) else { continue };
            core.tally.subtract(slot.session.state(), 1);
            core.tally.subtract(Counter::Waiting, u64::from(slot.session.is(Flag::Waiting)));
            slot.session.outbound.clear(&mut core.arena);
            core.http_bytes -= slot.session.http_bytes as usize;
            core.timers.cancel(index);
            io.close(slot.stream);
            core.personas.remove(&mut slot.session);
            core.uncount(&mut slot.session);
            let peer = core.peers.remove(slot.session.peer);
            core.departed(peer, Counted::of(&slot.session));
        }
        core.dead = dead;
    }

    fn end_turn(&mut self) -> Progress {
        self.core.publish_numbers(self.io.now(), self.connections.len());
        let Core { draining, mailbox, publications, .. } = &self.core;
        // A connection may have come just before the order to drain, on the other lane.
        let is_quiet = publications.is_empty() && !mailbox.has_mail();
        let finished = draining.is_some() && self.connections.is_empty() && is_quiet;
        if !finished {
            return Progress::Running;
        }
        assert_eq!(self.core.arena.in_use(), (0, 0), "a drained shard has nothing left to send");
        assert_eq!(self.core.rooms.len(), 0, "a drained shard has no room left");
        Progress::Finished
    }
}

impl<S> Core<S> {
    fn begin_turn(&mut self, now: Time) {
        self.now = now;
        self.quiet_until = Tick::after(now + self.settings.ping_interval);
    }

    fn connection_id(&self, key: Key) -> ConnectionId {
        ConnectionId { shard: self.id, key }
    }

    /// Wakes the other shards that have got mail from this one. It finds its own before it waits.
    fn wake_reached(&mut self) {
        for (shard, was_reached) in self.reached.iter_mut().enumerate() {
            if std::mem::take(was_reached) && shard != self.id.index() && !strikes(Mutant::ForgottenWake) {
                self.mailbox.mesh().wake(ShardId::new(shard));
                self.tally.add(Counter::WakeUps, 1);
            }
        }
    }

    /// What serving a connection touches, and the plan for it.
    fn serving<'a>(&'a mut self, outbound: &'a mut Outbound) -> (Serving<'a>, &'a mut Plan) {
        let Core { rooms, arena, tally, plan, now, .. } = self;
        (Serving { rooms, outbound, arena, tally, now: *now }, plan)
    }

    /// Counts what a connection's answers pin now.
    fn count_http_bytes(&mut self, session: &mut Session, bytes: usize) {
        self.http_bytes -= session.http_bytes as usize;
        session.http_bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.http_bytes += session.http_bytes as usize;
    }

    fn mark_dirty(&mut self, index: u32, session: &mut Session) {
        mark_dirty(&mut self.dirty, index, session);
    }

    /// Silence counts from now, and so does a message that could not go on. The timer may have been armed for the wheel's horizon meanwhile.
    fn reading_resumed<T>(&mut self, index: u32, slot: &mut Slot<T>) {
        self.heard_from(&mut slot.session);
        slot.protocol.restart_clock(self.now);
        self.arm(index, slot);
    }

    /// Puts the next question for a sign of life off, unless its endpoint asks in its own way.
    fn heard_from(&self, session: &mut Session) {
        if !session.is(Flag::OwnHeartbeat) {
            session.quiet_until = self.quiet_until;
        }
    }

    /// Arms the timer of a slot for the earliest thing that it has to do.
    fn arm<T>(&mut self, index: u32, slot: &Slot<T>) {
        let (deadline, _) = slot.next_deadline(&self.settings);
        self.timers.arm(index, deadline);
    }
}

fn mark_dirty(dirty: &mut Vec<u32>, index: u32, session: &mut Session) {
    if !session.is(Flag::Dirty) {
        session.set(Flag::Dirty, true);
        dirty.push(index);
    }
}

/// What handling one event asks of the whole slot, once the event's borrow has ended.
enum Step {
    Continue,
    /// The handshake is accepted; the endpoint may have closed at once.
    Accept(Option<CloseCause>),
    /// A request is answered, and another one may follow.
    Answered,
    /// The body of a request is wanted.
    ReadBody {
        /// Bytes that it may have.
        limit: usize,
    },
    /// A request is answered by a stream that goes on until the connection ends.
    Stream,
    Finish(CloseCause),
}

impl Step {
    fn is_answered(&self) -> bool {
        matches!(self, Step::Answered)
    }
}
