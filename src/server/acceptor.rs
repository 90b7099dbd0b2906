//! The acceptor: takes connections in and hands each to the next shard, round robin. It works in turns,
//! like a shard, over the seam of [`Listen`]:
//!
//! ```text
//! told to stop? → wait → clock → other settings? → who has gone → what is in use → accept from each ready listener
//! → wake the shards
//! ```
//!
//! Who has no place is refused by a shard, in order, so that the peer comes to read why; a few at a time, and
//! the others at once, which may lose the answer to a reset.

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::addresses::{AddressLimits, AddressTable};
use super::gauge::{Gauge, MemoryLimit, Usage};
use super::live_settings::LiveSettings;
use super::pressure::Pressure;
use super::refusals::{AcceptorStats, Refusals, Shortage};
use super::throttle::Throttle;
use crate::endpoint::{CloseCause, Scarcity};
use crate::id::ShardId;
use crate::protocol::Persistence;
use crate::reactor::{AcceptError, Listen, PeerAddress, Ready, SocketOptions, Stop};
use crate::shard::{
    AddressGate, Admission, Adopt, Departed, Departures, DrainOrder, Entrance, Mail, Mesh, Progress,
    ProxySettings, ShedOrder,
};
use crate::slab::{Key, Slab};
use crate::time::Time;

/// Accepts between two looks at everything else; the shards are woken once per so many.
pub const ACCEPT_BURST: usize = 256;
/// How long the listeners rest when nothing can be accepted and nothing can be refused.
pub const ACCEPT_REST: Duration = Duration::from_millis(100);
/// In how many seconds, at random, those may come again for whom there was no memory or descriptor: memory that slow
/// consumers have held is free again by then.
const RELIEF_S: RangeInclusive<u32> = 5..=15;
/// Connections that may be refused in order at the same time; the others are refused at once.
pub const REFUSALS_MAX: usize = 32;

/// Whom the acceptor lets in, and how long they may stay after the stop.
#[derive(Clone, Debug)]
pub struct AcceptorSettings {
    /// Connections at a time, over all shards.
    pub max_connections: usize,
    /// What each address may have of them.
    pub addresses: AddressLimits,
    /// Who of them are proxies, and speak for others.
    pub proxies: ProxySettings,
    /// What accepted sockets begin with. At the start the listeners have it already.
    pub sockets: SocketOptions,
    /// From the stop to the Close of the last connection.
    pub drain: Duration,
    /// From there to its end at the latest.
    pub write_timeout: Duration,
    /// New connections a second, over all addresses; a tenth of them at once.
    pub handshakes_per_second: u32,
    /// Memory that there may be in use.
    pub memory_limit: MemoryLimit,
    /// Percent of it, and of the descriptors, from which on nobody is let in and slow consumers have to go.
    pub shed_at_percent: u8,
}

/// What the acceptor shares with the other threads.
#[derive(Debug)]
pub struct AcceptorShared<S> {
    /// Decides what has to be at random.
    pub seed: u64,
    /// How long those who were told last are waited for at most, if [`AcceptorSettings::write_timeout`] is longer.
    pub farewell_max: Duration,
    /// What looks at memory and descriptors; without one nothing is known of them.
    pub gauge: Option<Box<dyn Gauge>>,
    /// The shards' inboxes.
    pub mesh: Arc<Mesh<S>>,
    /// The order to stop.
    pub stop: Stop,
    /// Settings that come in a reload.
    pub news: LiveSettings,
    /// Connections that were admitted and not closed yet: [`crate::shard::Shared::connections`].
    pub connections: Arc<AtomicUsize>,
    /// Where shards report who has gone: [`crate::shard::Shared::departures`].
    pub departures: Departures,
    /// Where all of them count by address: [`crate::shard::Shared::addresses`].
    pub addresses: Arc<AddressTable>,
}

/// The acceptor. It owns the listeners and the round-robin counter, a plain integer. `I` is the operating
/// system, or a simulation of it.
pub struct Acceptor<I: Listen> {
    io: I,
    listeners: Slab<Option<Watched<I::Listener>>>,
    ready: Vec<Ready>,
    shared: AcceptorShared<I::Socket>,
    settings: AcceptorSettings,
    throttle: Throttle,
    pressure: Pressure,
    refusals: Refusals,
    /// Connections that shards have to refuse and have not closed yet.
    refusing: usize,
    next_shard: usize,
    chance: Xoshiro256PlusPlus,
    /// Shards that got a socket in this turn.
    reached: Vec<bool>,
    /// Given up for a moment to refuse a connection when no other descriptor is left.
    reserve: Option<I::Reserve>,
    /// The listeners are not watched until then.
    resting_until: Option<Time>,
}

struct Watched<L> {
    listener: L,
    entrance: Entrance,
}

impl<I: Listen> Acceptor<I> {
    /// An acceptor for these listening sockets, which lets addresses have what the settings say.
    ///
    /// # Errors
    ///
    /// When the operating system has no descriptor or memory left for it.
    pub fn new(
        io: I,
        listening: Vec<(I::Listening, Entrance)>,
        mut shared: AcceptorShared<I::Socket>,
        settings: AcceptorSettings,
    ) -> io::Result<Acceptor<I>> {
        shared.addresses.set_limits(settings.addresses.clone(), settings.max_connections);
        let mut acceptor = Acceptor {
            io,
            listeners: Slab::default(),
            ready: Vec::new(),
            reached: vec![false; shared.mesh.shards()],
            chance: Xoshiro256PlusPlus::seed_from_u64(shared.seed),
            throttle: Throttle::default(),
            pressure: Pressure::new(shared.gauge.take()),
            shared,
            settings,
            refusals: Refusals::default(),
            refusing: 0,
            next_shard: 0,
            reserve: None,
            resting_until: None,
        };
        acceptor.reserve = Some(acceptor.io.open_reserve()?);
        for (listening, entrance) in listening {
            let key = acceptor.listeners.insert(None);
            let listener = acceptor.io.listen(listening, key)?;
            if let Some(watched) = acceptor.listeners.get_mut(key) {
                *watched = Some(Watched { listener, entrance });
            }
        }
        Ok(acceptor)
    }

    /// Waits for connections and takes them in, or once it is told to stop, tells the shards to drain.
    ///
    /// # Errors
    ///
    /// When the operating system fails the wait itself: the acceptor cannot go on.
    pub fn turn(&mut self) -> io::Result<Progress> {
        if self.shared.stop.is_asked() {
            self.drain();
            return Ok(Progress::Finished);
        }
        let deadlines = [self.resting_until, self.refusals.over_at(), self.pressure.look_at()];
        let deadline = deadlines.into_iter().flatten().min();
        self.io.wait(&mut self.ready, deadline)?;
        let now = self.io.now();
        self.take_settings();
        self.end_rest(now);
        self.refusals.end(now);
        self.count_departed(now);
        self.relieve(now);
        for at in 0..self.ready.len() {
            self.accept_burst(self.ready[at].key, now);
        }
        self.wake_reached();
        self.refusals.count_turn();
        Ok(Progress::Running)
    }

    /// What it has counted, to be read from any thread.
    pub fn stats(&self) -> AcceptorStats {
        self.refusals.stats().clone()
    }

    /// What it has seen in use, to be read from any thread.
    pub fn usage(&self) -> Usage {
        self.pressure.usage().clone()
    }

    /// Addresses that it remembers: those with connections, and some that had one a moment ago.
    pub fn addresses(&self) -> usize {
        self.shared.addresses.remembered()
    }

    /// Places that are taken, as of the latest turn: connections that count for their address, and refusals
    /// that are under way.
    pub fn places(&self) -> usize {
        self.shared.addresses.connections() + self.refusing
    }

    /// Connections of the address that has most of them, as of the latest turn.
    pub fn most_of_an_address(&self) -> usize {
        self.shared.addresses.most_connections()
    }

    /// From the stop to the Close of the last connection, as it is set now.
    pub fn drain_time(&self) -> Duration {
        self.settings.drain
    }

    /// The seam for a simulation and for tests that look at what the acceptor asked of it.
    pub fn io_mut(&mut self) -> &mut I {
        &mut self.io
    }

    /// Goes on with the latest settings that have come.
    fn take_settings(&mut self) {
        while let Some((settings, _untaken)) = self.shared.news.take() {
            self.shared.addresses.set_limits(settings.addresses.clone(), settings.max_connections);
            if settings.sockets != self.settings.sockets {
                self.set_socket_options(settings.sockets);
            }
            self.settings = settings;
        }
    }

    fn set_socket_options(&mut self, options: SocketOptions) {
        let Acceptor { io, listeners, .. } = self;
        let keys: Vec<Key> = listeners.keys().collect();
        for key in keys {
            if let Some(Some(watched)) = listeners.get_mut(key)
                && let Err(error) = io.set_options(&mut watched.listener, options)
            {
                tracing::error!(%error, "a listener did not take other socket options");
            }
        }
    }

    fn drain(&mut self) {
        self.refusals.end_all();
        let AcceptorSettings { drain, write_timeout, .. } = self.settings;
        let begin = self.io.now();
        let mesh = &self.shared.mesh;
        for shard in (0..mesh.shards()).map(ShardId::new) {
            let farewell = write_timeout.min(self.shared.farewell_max);
            let (deadline, seed) = (begin + drain + farewell, self.chance.random());
            mesh.send(shard, Mail::Drain(DrainOrder { begin, spread: drain, deadline, seed }));
            mesh.wake(shard);
        }
    }

    fn accept_burst(&mut self, key: Key, now: Time) {
        for _ in 0..ACCEPT_BURST {
            if self.resting_until.is_some() {
                return;
            }
            let Some(Some(watched)) = self.listeners.get(key) else { return };
            match self.io.accept(&watched.listener) {
                Ok((socket, peer)) => {
                    let entrance = watched.entrance;
                    self.admit(socket, (peer, entrance), now);
                }
                Err(AcceptError::NobodyWaits) => return,
                Err(AcceptError::Aborted) => {}
                Err(AcceptError::OutOfDescriptors) => match self.refuse_with_reserve(key, now) {
                    Reserve::Refused => {}
                    Reserve::NobodyWaits => return,
                    Reserve::Lost => self.rest(Shortage::Descriptors, now),
                },
                Err(AcceptError::OutOfMemory) => self.rest(Shortage::Memory, now),
                Err(AcceptError::Failed) => self.rest(Shortage::Listener, now),
            }
        }
    }

    fn count_departed(&mut self, now: Time) {
        while let Some(Departed { peer, admitted }) = self.shared.departures.take() {
            if !admitted {
                self.refusing = self.refusing.saturating_sub(1);
            } else {
                self.shared.addresses.leave(peer, now);
            }
        }
    }

    fn admit(&mut self, socket: I::Socket, (peer, entrance): (PeerAddress, Entrance), now: Time) {
        // Whom a proxy speaks for its shard finds out, and counts.
        let trusted_proxy = self.settings.proxies.trusts(peer);
        let is_proxy = entrance.proxied || trusted_proxy;
        let admission = self.decide((peer, entrance), is_proxy, now);
        match admission.refusal() {
            None => {
                self.shared.connections.fetch_add(1, Ordering::Relaxed);
            }
            Some(cause) => {
                match self.shared.addresses.source(peer) {
                    Some(source) => self.refusals.note(&cause, source, now),
                    None => self.refusals.note(&cause, peer, now),
                }
                // In a storm a refusal costs as little as can be.
                let is_storm = matches!(cause, CloseCause::ServerHandshakeRate { .. });
                if is_storm || self.refusing == REFUSALS_MAX {
                    self.refuse_at_once(socket, &cause);
                    return;
                }
                self.refusing += 1;
            }
        }
        let mesh = &self.shared.mesh;
        let shard = self.next_shard;
        self.next_shard = (shard + 1) % mesh.shards();
        self.reached[shard] = true;
        let counted = admission == Admission::Welcome && !is_proxy;
        let adopt = Adopt { socket, peer, entrance, counted, trusted_proxy, accepted: now, admission };
        mesh.send(ShardId::new(shard), Mail::Adopt(adopt));
    }

    fn decide(&mut self, (peer, entrance): (PeerAddress, Entrance), is_proxy: bool, now: Time) -> Admission {
        let limit = self.settings.max_connections;
        // Only the acceptor adds to them.
        let connections = self.shared.connections.load(Ordering::Relaxed);
        if connections >= limit {
            return Admission::Full { limit };
        }
        // What only this machine can reach only its proxies can.
        if entrance.proxied && !entrance.local && !self.settings.proxies.trusts(peer) {
            return Admission::UntrustedProxy;
        }
        let limit = self.settings.handshakes_per_second;
        if !self.throttle.has_room(limit, now) {
            let retry_after_s = self.throttle.retry_after_s(limit, &mut self.chance, now);
            return Admission::ServerHandshakeRate { limit, retry_after_s };
        }
        let admission = if is_proxy { Admission::Welcome } else { self.shared.addresses.admit(peer, now) };
        if admission != Admission::Welcome {
            return admission;
        }
        self.throttle.admit(limit, now);
        // Slow consumers go for those who come: only for who may come as far as it goes by rates and addresses.
        let Some(scarcity) = self.pressure.scarcity(&self.settings, connections + self.refusing) else {
            return Admission::Welcome;
        };
        if !is_proxy {
            self.shared.addresses.leave(peer, now);
        }
        let (percent, retry_after_s) = (self.settings.shed_at_percent, self.chance.random_range(RELIEF_S));
        Admission::Overloaded { scarcity, percent, retry_after_s }
    }

    /// Looks at what is in use, and has the shards close slow consumers if it is too much.
    fn relieve(&mut self, now: Time) {
        let sockets = self.shared.connections.load(Ordering::Relaxed) + self.refusing;
        for order in self.pressure.look(&self.settings, sockets, now).into_iter().flatten() {
            if order.scarcity == Scarcity::Memory {
                self.refusals.note_shortage(Shortage::MemoryLimit, now);
            }
            let mesh = &self.shared.mesh;
            let (connections, bytes) =
                (order.connections.div_ceil(mesh.shards()), order.bytes.div_ceil(mesh.shards()));
            for shard in (0..mesh.shards()).map(ShardId::new) {
                mesh.send(shard, Mail::Shed(ShedOrder { connections, bytes, ..order }));
                mesh.wake(shard);
            }
        }
    }

    fn wake_reached(&mut self) {
        for (shard, reached) in self.reached.iter_mut().enumerate() {
            if std::mem::take(reached) {
                self.shared.mesh.wake(ShardId::new(shard));
            }
        }
    }

    /// Takes one connection with the reserve descriptor, says why it cannot stay, and closes it, so
    /// that the peer is not left hanging and the listener does not stay ready.
    fn refuse_with_reserve(&mut self, key: Key, now: Time) -> Reserve {
        let Some(Some(watched)) = self.listeners.get(key) else { return Reserve::NobodyWaits };
        if self.reserve.take().is_none() {
            return Reserve::Lost;
        }
        let accepted = self.io.accept(&watched.listener);
        let nobody_waits = matches!(accepted, Err(AcceptError::NobodyWaits));
        if let Ok((socket, _)) = accepted {
            self.refusals.note_shortage(Shortage::Descriptors, now);
            self.refuse_at_once(socket, &CloseCause::OutOfDescriptors);
        }
        self.reserve = self.io.open_reserve().ok();
        match &self.reserve {
            None => Reserve::Lost,
            Some(_) if nobody_waits => Reserve::NobodyWaits,
            Some(_) => Reserve::Refused,
        }
    }

    /// The last resort: no descriptor or slot is left to refuse it in order. The response is small enough
    /// for an empty send buffer; a peer that is quick may lose it to a reset.
    fn refuse_at_once(&mut self, socket: I::Socket, cause: &CloseCause) {
        self.refusals.count_at_once(cause);
        let mut response = Vec::new();
        if let Some(refusal) = cause.refusal() {
            refusal.push_response(&mut response, false, Persistence::Close);
        }
        self.io.refuse(socket, &response);
    }

    /// Stops watching the listeners for a while, rather than spin on what cannot be accepted.
    fn rest(&mut self, shortage: Shortage, now: Time) {
        self.refusals.note_shortage(shortage, now);
        self.resting_until = Some(now + ACCEPT_REST);
        self.watch(false);
    }

    fn end_rest(&mut self, now: Time) {
        if self.resting_until.is_none_or(|until| now < until) {
            return;
        }
        self.resting_until = None;
        if self.reserve.is_none() {
            self.reserve = self.io.open_reserve().ok();
        }
        self.watch(true);
    }

    fn watch(&mut self, waiting: bool) {
        let Acceptor { io, listeners, refusals, .. } = self;
        for key in listeners.keys() {
            if let Some(Some(watched)) = listeners.get(key)
                && let Err(error) = io.watch(&watched.listener, key, waiting)
            {
                tracing::error!(%error, "a listener can no longer be watched");
                refusals.note_lost_listener();
            }
        }
    }
}

/// What the reserve descriptor was good for.
enum Reserve {
    Refused,
    NobodyWaits,
    /// Somebody else has taken the descriptor.
    Lost,
}
