//! One room: its log, and where it goes by shard.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::live_limits::LiveLimits;
use super::log::Log;
use super::presence::{Entered, Presence};
use super::registry::RoomSummary;
use super::traffic::Meter;
use super::{
    Batch, Encoding, Epoch, Extent, Identity, LagPolicy, NoList, OutOfWindow, Piece, Position, PresenceLevel,
    PresenceStats, Present, ReadLimits, RoomName, Start,
};
use crate::id::{ConnectionId, ShardId};
use crate::slab::Key;
use crate::sync::Mutex;
use crate::time::Time;

/// Where a room's messages go on one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The shard that has members of the room.
    pub shard: ShardId,
    /// The shard's own entry for the room.
    pub local_room: Key,
}

/// What became of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// It entered; this is its position, of several messages that of the last.
    Entered(Position),
    /// Its key had been used: this is the position of the message that entered then.
    Repeat(Position),
}

#[derive(Debug)]
struct State {
    log: Log,
    /// The shards with members, one route each.
    routes: Vec<Route>,
    presence: Presence,
    traffic: Meter,
    /// The latest publication, or the leaving of the last member.
    active_at: Time,
    /// What the room counts for in the memory of all rooms.
    counted: usize,
    forgotten: bool,
}

/// What a room without members costs beside its window: its own memory, its places in the registry,
/// and the allocator's headers.
pub(super) const ROOM_BYTES: usize = size_of::<Room>() + 192;

/// A room.
#[derive(Debug)]
pub struct Room {
    name: RoomName,
    epoch: Epoch,
    /// The limits of all rooms.
    limits: Arc<LiveLimits>,
    members: AtomicUsize,
    /// Members that want to hear who joins and leaves.
    watchers: AtomicUsize,
    /// The memory of all rooms.
    memory: Arc<AtomicUsize>,
    state: Mutex<State>,
}

impl Room {
    pub(super) fn new(
        name: RoomName,
        level: PresenceLevel,
        limits: Arc<LiveLimits>,
        memory: Arc<AtomicUsize>,
        now: Time,
    ) -> Room {
        let epoch = Epoch::new(rand::random_range(1..=u64::MAX));
        let log = Log::new(epoch);
        let (routes, presence, traffic) = (Vec::new(), Presence::new(level), Meter::default());
        let state = State { log, routes, presence, traffic, active_at: now, counted: 0, forgotten: false };
        let (members, watchers) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let state = Mutex::new(state);
        let room = Room { name, epoch, limits, members, watchers, memory, state };
        room.settle(&mut room.state.lock());
        room
    }

    /// The room's name.
    pub fn name(&self) -> &RoomName {
        &self.name
    }

    /// Its life, other than that of any room of this name before.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Members on all shards.
    pub fn members(&self) -> usize {
        self.members.load(Ordering::Relaxed)
    }

    /// Counts a member that joined a shard's side of the room.
    pub fn member_joined(&self, watches: bool) {
        self.members.fetch_add(1, Ordering::Relaxed);
        self.watchers.fetch_add(usize::from(watches), Ordering::Relaxed);
    }

    /// Counts a member that left.
    pub fn member_left(&self, watches: bool) {
        self.members.fetch_sub(1, Ordering::Relaxed);
        self.watchers.fetch_sub(usize::from(watches), Ordering::Relaxed);
    }

    /// Lists a member as present, or, if it is not `listed`, counts it. What `announce` hands to the routes'
    /// mailboxes stands in every one of them in the order of the changes; it is called if somebody is to be
    /// told, and must not block. In a room of more than `told_max` nobody is told.
    pub fn enter(
        &self,
        client: ConnectionId,
        identity: Option<Arc<Identity>>,
        listed: bool,
        told_max: usize,
        announce: impl FnOnce(&[Route]),
    ) {
        let mut state = self.state.lock();
        let entered = state.presence.enter(Present { client, identity }, listed);
        if entered == Entered::New && self.tells(&state, told_max) {
            announce(&state.routes);
        }
        self.settle(&mut state);
    }

    /// Takes a member off the list, or, if it may come back, keeps it there until then. Says whether it
    /// is kept.
    pub fn exit(
        &self,
        (client, identity): (ConnectionId, Option<&Identity>),
        listed: bool,
        until: Option<Time>,
        told_max: usize,
        announce: impl FnOnce(&[Route]),
    ) -> bool {
        let mut state = self.state.lock();
        if let Some(until) = until
            && state.presence.linger(client, until)
        {
            return true;
        }
        let tells = self.tells(&state, told_max);
        if state.presence.leave(client, identity, listed).is_some() && tells {
            announce(&state.routes);
        }
        self.settle(&mut state);
        false
    }

    /// Takes a member off the list that has not come back in time.
    pub fn expire(&self, client: ConnectionId, now: Time, told_max: usize, announce: impl FnOnce(&[Route])) {
        let mut state = self.state.lock();
        let tells = self.tells(&state, told_max);
        if state.presence.expire(client, now).is_some() && tells {
            announce(&state.routes);
        }
        self.settle(&mut state);
    }

    /// How many are present, where that is counted.
    pub fn presence_stats(&self) -> Option<PresenceStats> {
        self.state.lock().presence.stats()
    }

    /// Who is present, by client id.
    ///
    /// # Errors
    ///
    /// [`NoList`] if none is kept, or if that are more than `limit`.
    pub fn presence_list(&self, limit: usize) -> Result<Vec<Present>, NoList> {
        self.state.lock().presence.list(limit)
    }

    fn tells(&self, state: &State, told_max: usize) -> bool {
        self.watchers.load(Ordering::Relaxed) > 0
            && state.presence.stats().is_some_and(|stats| stats.clients <= told_max)
    }

    /// The offset of the latest message, 0 before the first.
    pub fn last_offset(&self) -> u64 {
        self.state.lock().log.last_offset()
    }

    /// What the window reaches over now.
    pub fn extent(&self, now: Time) -> Extent {
        self.state.lock().log.extent(now, &self.limits.get())
    }

    /// What a list of rooms says of it, with the policy that holds for it.
    pub fn summary(&self, now: Time, policy: LagPolicy) -> RoomSummary {
        let state = self.state.lock();
        RoomSummary {
            name: self.name.clone(),
            members: self.members(),
            shards: state.routes.len(),
            policy,
            extent: state.log.extent(now, &self.limits.get()),
            bytes: state.log.bytes(),
            traffic: state.traffic.traffic(now),
        }
    }

    /// Bytes that the window pins.
    pub fn history_bytes(&self) -> usize {
        self.state.lock().log.bytes()
    }

    /// The part of them that the limit of a room is about, without other encodings, and of how many batches.
    /// One batch may be over the limit.
    pub fn limited_bytes(&self) -> (usize, usize) {
        self.state.lock().log.limited()
    }

    /// Publishes a batch under the room's lock: what `deliver` hands to the routes' mailboxes there
    /// stands in offset order in every one of them. `deliver` is given the offset before the batch and
    /// the routes, and must not block. What leaves the window is put into `evicted`, so that its memory
    /// can be used again.
    ///
    /// With a `key` that stands for a message still held, nothing happens but that its position is
    /// returned.
    ///
    /// # Panics
    ///
    /// When the room has been forgotten: the caller has a route to it, or keeps the registry from it.
    pub fn publish(
        &self,
        now: Time,
        batch: Arc<Batch>,
        key: Option<&str>,
        evicted: &mut Vec<Arc<Batch>>,
        deliver: impl FnOnce(u64, &[Route]),
    ) -> Published {
        let mut state = self.state.lock();
        assert!(!state.forgotten, "nobody would ever see what enters a forgotten room");
        let limits = self.limits.get();
        let Extent { epoch, start, last } = state.log.extent(now, &limits);
        if let Some(key) = key
            && let Some(offset) = state.log.keys.offset_of(key)
            && offset > start
        {
            return Published::Repeat(Position { epoch, offset });
        }
        deliver(last, &state.routes);
        let offset = last + u64::from(batch.len());
        if let Some(key) = key {
            state.log.keys.remember(key, offset);
        }
        state.traffic.add(now, batch.len(), batch.bytes(Encoding::Frames).len());
        state.log.append(now, batch, &limits, evicted);
        state.active_at = state.active_at.max(now);
        self.settle(&mut state);
        Published::Entered(Position { epoch, offset })
    }

    /// Reads what follows an offset, up to the limits, at least one message if there is one.
    ///
    /// # Errors
    ///
    /// [`OutOfWindow`] if what follows is not held any more.
    pub fn read_after(
        &self,
        offset: u64,
        now: Time,
        limits: ReadLimits,
        pieces: &mut Vec<Piece>,
    ) -> Result<Extent, OutOfWindow> {
        let state = self.state.lock();
        let extent = state.log.extent(now, &self.limits.get());
        state.log.read_after(offset, &extent, limits, pieces)?;
        Ok(extent)
    }

    /// Reads from where a member begins that wants to start there, in one step, so that what it begins with
    /// is still held. Returns the offset before its first message.
    ///
    /// # Errors
    ///
    /// [`OutOfWindow`] if something since then is not held, or the position is of another epoch.
    pub fn read_from(
        &self,
        start: Start,
        now: Time,
        limits: ReadLimits,
        pieces: &mut Vec<Piece>,
    ) -> Result<(u64, Extent), OutOfWindow> {
        let state = self.state.lock();
        let extent = state.log.extent(now, &self.limits.get());
        let after = state.log.begin(start, &extent)?;
        state.log.read_after(after, &extent, limits, pieces)?;
        Ok((after, extent))
    }

    /// Counts what another encoding of the batch behind this offset has added to the window.
    pub fn add_encoded(&self, offset_before: u64, added: usize) {
        let mut state = self.state.lock();
        state.log.add_encoded(offset_before, added);
        self.settle(&mut state);
    }

    /// What it counts for in the memory of all rooms.
    pub(super) fn counted_bytes(&self) -> usize {
        self.state.lock().counted
    }

    /// Adds a shard's route. With the first one the room takes the level that it is to have now: who is there
    /// already is counted by the old one until all have gone.
    pub(super) fn add_route(&self, route: Route, level: impl FnOnce() -> PresenceLevel) -> u64 {
        let mut state = self.state.lock();
        if state.routes.is_empty() && state.presence.is_empty() {
            state.presence = Presence::new(level());
        }
        state.routes.push(route);
        self.settle(&mut state);
        state.log.last_offset()
    }

    /// Takes a shard's route out. A room without routes is kept while its history is young.
    pub fn remove_route(&self, shard: ShardId, now: Time) {
        let mut state = self.state.lock();
        state.routes.retain(|route| route.shard != shard);
        if state.routes.is_empty() {
            // A room without members counts as owning nothing for them.
            state.routes = Vec::new();
        }
        state.active_at = state.active_at.max(now);
        self.settle(&mut state);
    }

    /// Ends what has been idle since `since`: the window goes, and without members the room too. Says
    /// when the room was last active if that is later, and so nothing was done.
    pub(super) fn end_idle(&self, since: Time) -> Ended {
        let mut evicted = Vec::new();
        let mut state = self.state.lock();
        if state.active_at > since {
            return Ended::Active(state.active_at);
        }
        state.log.evict_all(&mut evicted);
        state.forgotten = state.routes.is_empty();
        if state.forgotten {
            // Who lingers there would come back to another life of the room.
            state.presence = Presence::new(state.presence.level());
        }
        self.settle(&mut state);
        if state.forgotten { Ended::Forgotten } else { Ended::History }
    }

    /// Brings the memory of all rooms up to what this one pins now.
    fn settle(&self, state: &mut State) {
        let alone = state.routes.is_empty() && !state.forgotten;
        let pinned = state.log.bytes()
            + state.presence.bytes()
            + if alone { ROOM_BYTES + self.name.as_str().len() } else { 0 };
        if pinned >= state.counted {
            self.memory.fetch_add(pinned - state.counted, Ordering::Relaxed);
        } else {
            self.memory.fetch_sub(state.counted - pinned, Ordering::Relaxed);
        }
        state.counted = pinned;
    }
}

/// What [`Room::end_idle`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Nothing: it was active then.
    Active(Time),
    /// The window went; the room has members.
    History,
    /// The room is not used again.
    Forgotten,
}
