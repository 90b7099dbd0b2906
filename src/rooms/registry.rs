//! All rooms by name, and the memory that they hold together.
//!
//! Every room stands once in a queue by the time since which it is known to have been idle; that time
//! is brought up to date only when the room comes to its head, so that a publication costs the queue
//! nothing. From the head leave the rooms that have been idle for the history's age, and, while all
//! windows together pin more than they may, those that have been idle longest.

use std::cmp::Reverse;
use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BinaryHeap};
use std::hash::BuildHasher;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::live_limits::LiveLimits;
use super::room::{Ended, Published, Room, Route};
use super::rule::{chosen, matches};
use super::{
    Batch, Epoch, Extent, HistoryLimits, LagPolicy, LagRule, PresenceLevel, PresenceRule, Returning,
    RoomName, Traffic,
};
use crate::sync::Mutex;
use crate::time::Time;

/// Joins of different rooms rarely meet on one of so many locks. (A model has one, as it has to take the
/// same steps in every run, and the choice is random.)
const STRIPES: usize = if cfg!(loom) { 1 } else { 64 };
/// Rooms that one call of [`Registry::maintain`] looks at: it runs in a shard's turn.
const ROOMS_PER_CALL: usize = 1024;
/// What is due is looked after once in this time, not room by room.
const GRID: Duration = Duration::from_secs(1);

type Stripe = Mutex<BTreeMap<RoomName, Arc<Room>>>;

/// What rooms hold.
#[derive(Clone, Debug)]
pub struct RoomSettings {
    /// What each room may hold.
    pub history: HistoryLimits,
    /// Bytes that all windows may pin together, and rooms without members.
    pub memory_max: usize,
    /// What happens to members that fall behind, by room.
    pub lag: Vec<LagRule>,
    /// What is kept of who is there, by room.
    pub presence: Vec<PresenceRule>,
}

/// What is said room by room.
#[derive(Debug, PartialEq, Eq)]
pub struct RoomRules {
    lag: Vec<LagRule>,
    presence: Vec<PresenceRule>,
}

impl RoomRules {
    /// What happens to members of a room of this name that fall behind.
    pub fn lag_policy(&self, name: &RoomName) -> LagPolicy {
        chosen(&self.lag, name)
    }

    /// What a room of this name keeps of who is in it, if it gets its first member now.
    pub fn presence_level(&self, name: &RoomName) -> PresenceLevel {
        chosen(&self.presence, name)
    }
}

/// What a list of rooms says of one.
#[derive(Clone, Debug)]
pub struct RoomSummary {
    /// Its name.
    pub name: RoomName,
    /// Members on all shards.
    pub members: usize,
    /// Shards with members.
    pub shards: usize,
    /// What happens to members that fall behind.
    pub policy: LagPolicy,
    /// What its window reaches over.
    pub extent: Extent,
    /// Bytes that the window pins.
    pub bytes: usize,
    /// What enters it.
    pub traffic: Traffic,
}

/// Why a search was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooManyRooms {
    /// Too many were found.
    #[error("more than {limit} rooms with members match, the most that are listed")]
    Found {
        /// The most that may be.
        limit: usize,
    },
    /// Too many would have to be looked at.
    #[error("more than {limit} rooms begin as the pattern does, the most that are looked at")]
    LookedAt {
        /// The most that are.
        limit: usize,
    },
}

/// A room in the queue of the idle.
#[derive(Debug)]
struct Idle {
    since: Time,
    /// Of rooms that have been idle since the same time the one that was put here first is looked at first.
    number: u64,
    room: Arc<Room>,
}

impl Idle {
    fn place(&self) -> (Time, u64) {
        (self.since, self.number)
    }
}

impl PartialEq for Idle {
    fn eq(&self, other: &Idle) -> bool {
        self.place() == other.place()
    }
}

impl Eq for Idle {}

impl PartialOrd for Idle {
    fn partial_cmp(&self, other: &Idle) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Idle {
    fn cmp(&self, other: &Idle) -> std::cmp::Ordering {
        self.place().cmp(&other.place())
    }
}

/// The queue of the idle.
#[derive(Debug, Default)]
struct IdleRooms {
    queue: BinaryHeap<Reverse<Idle>>,
    next_number: u64,
    /// Rooms that were looked at one behind the other and gave nothing.
    fruitless: usize,
}

impl IdleRooms {
    fn push(&mut self, since: Time, room: Arc<Room>) {
        self.queue.push(Reverse(Idle { since, number: self.next_number, room }));
        self.next_number += 1;
    }
}

/// Names to rooms, shared by all shards.
#[derive(Debug)]
pub struct Registry {
    life: Epoch,
    /// Chooses the stripe. Keyed at random, as peers choose the names.
    hasher: RandomState,
    stripes: Box<[Stripe]>,
    limits: Arc<LiveLimits>,
    memory_max: AtomicUsize,
    rules: Mutex<Arc<RoomRules>>,
    memory: Arc<AtomicUsize>,
    /// Memory up to which the rooms are not looked at again, because a look at all of them could not take back
    /// enough: what pins it is the presence of members. 0 while it could.
    unyielding: AtomicUsize,
    returning: Returning,
    idle: Mutex<IdleRooms>,
    /// When [`Registry::maintain`] next has something to do, in nanoseconds.
    due: AtomicU64,
}

impl Registry {
    /// No room yet.
    pub fn new(settings: RoomSettings) -> Registry {
        let RoomSettings { history, memory_max, lag, presence } = settings;
        Registry {
            life: Epoch::new(rand::random_range(1..=u64::MAX)),
            hasher: RandomState::new(),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            limits: Arc::new(LiveLimits::new(history)),
            memory_max: AtomicUsize::new(memory_max),
            rules: Mutex::new(Arc::new(RoomRules { lag, presence })),
            memory: Arc::default(),
            unyielding: AtomicUsize::new(0),
            returning: Returning::default(),
            idle: Mutex::default(),
            due: AtomicU64::new(Time::NEVER.as_nanos()),
        }
    }

    /// Takes other settings. The limits are at once those of all rooms, of which one that holds more is cut
    /// with its next message, and all together by [`Registry::maintain`]. A room takes its presence level when
    /// it next gets a first member; its lag policy is for who asks for the rules ([`Registry::rules`]).
    pub fn reload(&self, settings: RoomSettings) {
        let RoomSettings { history, memory_max, lag, presence } = settings;
        *self.rules.lock() = Arc::new(RoomRules { lag, presence });
        // What is due when was reckoned with the old age, under this lock.
        let _idle = self.idle.lock();
        self.limits.set(history);
        self.memory_max.store(memory_max, Ordering::Relaxed);
        self.unyielding.store(0, Ordering::Relaxed);
        self.due.store(0, Ordering::Relaxed);
    }

    /// Adds a shard's route to the room of this name, which is created if need be. Also returns the
    /// offset from which on the route receives.
    pub fn add_route(&self, name: &RoomName, route: Route, now: Time) -> (Arc<Room>, u64) {
        // Nobody forgets a room while its stripe is locked.
        self.with_room(name, now, |room| {
            let last_offset = room.add_route(route, || self.presence_level(name));
            (Arc::clone(room), last_offset)
        })
    }

    /// Publishes to the room of this name, which is created if need be; see [`Room::publish`].
    pub fn publish(
        &self,
        name: &RoomName,
        now: Time,
        batch: &Arc<Batch>,
        key: Option<&str>,
        deliver: impl FnOnce(u64, &[Route]),
    ) -> Published {
        let mut evicted = Vec::new();
        self.with_room(name, now, |room| {
            // It is not forgotten while its stripe is locked.
            room.publish(now, Arc::clone(batch), key, &mut evicted, deliver)
        })
    }

    /// The room of this name, if there is one.
    pub fn find(&self, name: &RoomName) -> Option<Arc<Room>> {
        self.stripe(name).lock().get(name).cloned()
    }

    /// What a room of this name keeps of who is in it, if it gets its first member now.
    pub fn presence_level(&self, name: &RoomName) -> PresenceLevel {
        self.rules().presence_level(name)
    }

    /// What is said room by room now. One lock is behind it for all rooms: what is asked often is asked of a
    /// copy.
    pub fn rules(&self) -> Arc<RoomRules> {
        Arc::clone(&self.rules.lock())
    }

    /// Who has died and may come back.
    pub fn returning(&self) -> &Returning {
        &self.returning
    }

    /// What tells it from any other registry, and so a server from the one before.
    pub fn life(&self) -> Epoch {
        self.life
    }

    /// How many rooms there are.
    pub fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.lock().len()).sum()
    }

    /// Whether there is no room.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that all windows pin, and rooms without members.
    pub fn memory_bytes(&self) -> usize {
        self.memory.load(Ordering::Relaxed)
    }

    /// Up to `limit` rooms behind the one named `after`, in an order that stands as long as the registry,
    /// and whether there are more.
    pub fn list(&self, after: Option<&RoomName>, limit: usize, now: Time) -> (Vec<RoomSummary>, bool) {
        let mut found = Vec::new();
        let first = after.map_or(0, |name| self.stripe_of(name));
        for (at, stripe) in self.stripes.iter().enumerate().skip(first) {
            let behind = match after {
                Some(name) if at == first => Bound::Excluded(name),
                _ => Bound::Unbounded,
            };
            let rooms = stripe.lock();
            let wanted = limit + 1 - found.len();
            let behind = rooms.range::<RoomName, _>((behind, Bound::Unbounded));
            found.extend(behind.take(wanted).map(|(_, room)| Arc::clone(room)));
            if found.len() > limit {
                break;
            }
        }
        let more = found.len() > limit;
        let rules = self.rules();
        let summary = |room: &Arc<Room>| room.summary(now, rules.lag_policy(room.name()));
        (found.iter().take(limit).map(summary).collect(), more)
    }

    /// How many parts all rooms are divided into, for [`Registry::of_part`].
    pub fn parts(&self) -> usize {
        self.stripes.len()
    }

    /// Up to `limit` rooms of one part behind the one named `after`, by name.
    pub fn of_part(&self, part: usize, after: Option<&RoomName>, limit: usize) -> Vec<Arc<Room>> {
        let behind = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rooms = self.stripes[part].lock();
        rooms
            .range::<RoomName, _>((behind, Bound::Unbounded))
            .take(limit)
            .map(|(_, room)| room.clone())
            .collect()
    }

    /// The rooms with members whose names match a pattern, in which `*` stands for any characters, and how
    /// many members each has.
    ///
    /// # Errors
    ///
    /// [`TooManyRooms`] if they are more than `found_max`, or more than `looked_at_max` rooms, with or
    /// without members, begin with what the pattern has before its first `*`.
    pub fn search(
        &self,
        pattern: &str,
        found_max: usize,
        looked_at_max: usize,
    ) -> Result<Vec<(RoomName, usize)>, TooManyRooms> {
        let prefix = pattern.split('*').next().unwrap_or_default();
        let (mut found, mut looked_at) = (Vec::new(), 0);
        for stripe in &self.stripes {
            let rooms = stripe.lock();
            let behind = rooms.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
            for (name, room) in behind.take_while(|(name, _)| name.as_str().starts_with(prefix)) {
                looked_at += 1;
                if looked_at > looked_at_max {
                    return Err(TooManyRooms::LookedAt { limit: looked_at_max });
                }
                let members = room.members();
                if members == 0 || !matches(pattern, name.as_str()) {
                    continue;
                }
                if found.len() == found_max {
                    return Err(TooManyRooms::Found { limit: found_max });
                }
                found.push((name.clone(), members));
            }
        }
        Ok(found)
    }

    /// When [`Registry::maintain`] should be called at the latest.
    pub fn due(&self) -> Time {
        let enough = self.memory_bytes() <= self.memory_max();
        let until = if enough { 0 } else { self.worth_a_look() };
        if until < self.unyielding.load(Ordering::Relaxed) {
            // Somebody has left. Another shard may set it at the same time, which costs one more look.
            self.unyielding.store(until, Ordering::Relaxed);
        }
        if self.is_over_memory() { Time::ZERO } else { Time::from_nanos(self.due.load(Ordering::Relaxed)) }
    }

    /// Ends the history that is too old, and, while all rooms together hold too much, that of the rooms
    /// that have been idle longest. Does a bounded part of it; [`Registry::due`] says when to come back.
    pub fn maintain(&self, now: Time) {
        if self.due() > now {
            return;
        }
        // Another shard is at it.
        let Some(mut idle) = self.idle.try_lock() else { return };
        let age_max = self.limits.get().age_max;
        for _ in 0..ROOMS_PER_CALL {
            let Some(Reverse(oldest)) = idle.queue.peek() else { break };
            let since = oldest.since;
            if since + age_max > now && !self.is_over_memory() {
                break;
            }
            let Some(Reverse(Idle { room, .. })) = idle.queue.pop() else { break };
            let before = room.counted_bytes();
            match self.end_idle(&room, since) {
                Ended::Forgotten => idle.fruitless = 0,
                Ended::Active(since) => idle.push(since, room),
                Ended::History => {
                    idle.fruitless = if room.counted_bytes() < before { 0 } else { idle.fruitless + 1 };
                    idle.push(now, room);
                }
            }
            if idle.fruitless > idle.queue.len() {
                idle.fruitless = 0;
                self.unyielding.store(self.worth_a_look(), Ordering::Relaxed);
            }
        }
        let next = idle.queue.peek().map_or(Time::NEVER, |Reverse(oldest)| self.due_of(oldest.since));
        self.due.store(next.as_nanos(), Ordering::Relaxed);
    }

    fn end_idle(&self, room: &Arc<Room>, since: Time) -> Ended {
        let mut rooms = self.stripe(room.name()).lock();
        let ended = room.end_idle(since);
        if ended == Ended::Forgotten {
            rooms.remove(room.name());
        }
        ended
    }

    /// The memory from which on looking at all rooms once more costs little beside what has grown since.
    fn worth_a_look(&self) -> usize {
        self.memory_bytes() + self.memory_max() / 16
    }

    fn is_over_memory(&self) -> bool {
        self.memory_bytes() > self.memory_max().max(self.unyielding.load(Ordering::Relaxed))
    }

    /// The end of a room's young history, a little later so that many are seen to at once.
    fn due_of(&self, since: Time) -> Time {
        let grid = GRID.as_nanos() as u64;
        let exact = (since + self.limits.get().age_max).as_nanos();
        Time::from_nanos(exact.checked_next_multiple_of(grid).unwrap_or(u64::MAX))
    }

    /// Calls `act` with the room of this name, created if need be, while it cannot be forgotten.
    fn with_room<R>(&self, name: &RoomName, now: Time, act: impl FnOnce(&Arc<Room>) -> R) -> R {
        let mut created = None;
        let result = {
            let mut rooms = self.stripe(name).lock();
            let room = rooms.entry(name.clone()).or_insert_with(|| {
                let (limits, memory) = (Arc::clone(&self.limits), Arc::clone(&self.memory));
                let level = self.presence_level(name);
                let room = Arc::new(Room::new(name.clone(), level, limits, memory, now));
                created = Some(Arc::clone(&room));
                room
            });
            act(room)
        };
        if let Some(room) = created {
            let mut idle = self.idle.lock();
            idle.push(now, room);
            self.due.fetch_min(self.due_of(now).as_nanos(), Ordering::Relaxed);
        }
        result
    }

    fn memory_max(&self) -> usize {
        self.memory_max.load(Ordering::Relaxed)
    }

    fn stripe(&self, name: &RoomName) -> &Stripe {
        &self.stripes[self.stripe_of(name)]
    }

    fn stripe_of(&self, name: &RoomName) -> usize {
        self.hasher.hash_one(name) as usize % self.stripes.len()
    }
}

#[cfg(test)]
mod tests;
