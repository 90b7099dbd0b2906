//! The life of rooms: one order for everybody, kept while young, forgotten without a trace.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::id::ShardId;
use crate::rooms::room::ROOM_BYTES;
use crate::rooms::{Epoch, OutOfWindow, Position, ReadLimits, Sender, Start};
use crate::slab::Slab;

mod memory;
mod reload;

const AGE: Duration = Duration::from_secs(60);

fn registry(memory_max: usize) -> Registry {
    let history = HistoryLimits { bytes_max: 1 << 20, messages_max: 100, age_max: AGE };
    Registry::new(RoomSettings { history, memory_max, lag: Vec::new(), presence: Vec::new() })
}

fn route(shard: usize) -> Route {
    Route { shard: ShardId::new(shard), local_room: Slab::default().insert(()) }
}

fn name(number: usize) -> RoomName {
    RoomName::new(&format!("room {number}")).unwrap()
}

fn batch(bytes: usize) -> Arc<Batch> {
    let mut batch = Batch::with_capacity(bytes);
    batch.push(false, (Sender::Api { exclude: None }, None), bytes, |out| out.resize(bytes, 0));
    Arc::new(batch)
}

fn at(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}

#[test]
fn nobody_can_choose_names_that_meet_in_one_stripe() {
    let stripes = |registry: &Registry| -> Vec<usize> {
        (0..1000).map(|number| registry.stripe_of(&name(number))).collect()
    };
    let (one, other) = (stripes(&registry(1 << 20)), stripes(&registry(1 << 20)));
    // By chance one name in as many as there are stripes keeps its place.
    let kept = one.iter().zip(&other).filter(|(one, other)| one == other).count();
    assert!(kept < 500, "{kept} of 1000 names are where they are in another process");
}

fn publish(registry: &Registry, room: usize, now: Time) {
    registry.publish(&name(room), now, &batch(1000), None, |_, _| {});
}

/// Calls `maintain` when it is due, until it is no more.
fn maintain(registry: &Registry, now: Time) {
    while registry.due() <= now {
        registry.maintain(now);
    }
}

#[test]
fn every_route_sees_the_same_offsets_in_one_order() {
    let registry = registry(1 << 30);
    let (room, _) = registry.add_route(&name(1), route(0), Time::ZERO);
    registry.add_route(&name(1), route(1), Time::ZERO);
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (room, sender) = (Arc::clone(&room), sender.clone());
            scope.spawn(move || {
                for _ in 0..1000 {
                    let published =
                        room.publish(Time::ZERO, batch(1), None, &mut Vec::new(), |last, routes| {
                            for route in routes {
                                sender.send((route.shard, last + 1)).unwrap();
                            }
                        });
                    assert!(matches!(published, Published::Entered(_)));
                }
            });
        }
    });
    drop(sender);
    let seen: Vec<(ShardId, u64)> = receiver.iter().collect();
    for shard in [ShardId::new(0), ShardId::new(1)] {
        let offsets: Vec<u64> =
            seen.iter().filter(|(at, _)| *at == shard).map(|(_, offset)| *offset).collect();
        assert_eq!(offsets, (1..=4000).collect::<Vec<_>>());
    }
    assert_eq!(room.last_offset(), 4000);
}

#[test]
fn a_room_without_members_is_kept_while_it_is_young_and_then_forgotten() {
    let registry = registry(1 << 30);
    let (room, _) = registry.add_route(&name(1), route(0), at(0));
    let epoch = room.epoch();
    maintain(&registry, at(1000));
    assert_eq!(registry.len(), 1, "a room with members stays");
    room.remove_route(ShardId::new(0), at(1000));
    publish(&registry, 1, at(1010));
    for (now, kept) in [(1060, true), (1069, true), (1071, false)] {
        maintain(&registry, at(now));
        assert_eq!(registry.find(&name(1)).is_some(), kept, "{now}");
    }
    assert_eq!((registry.len(), registry.memory_bytes()), (0, 0));
    assert_eq!(registry.due(), Time::NEVER, "nothing is left to look after");
    let (again, last_offset) = registry.add_route(&name(1), route(0), at(1071));
    assert_eq!(last_offset, 0);
    assert_ne!(again.epoch(), epoch, "another life");
}

#[test]
fn many_short_lived_rooms_leave_no_trace() {
    let registry = registry(1 << 30);
    for number in 0..20_000 {
        let (room, _) = registry.add_route(&name(number), route(0), at(0));
        room.remove_route(ShardId::new(0), at(0));
        if number % 2 == 0 {
            publish(&registry, number, at(0));
        }
    }
    assert_eq!(registry.len(), 20_000);
    maintain(&registry, at(61));
    assert_eq!((registry.len(), registry.memory_bytes()), (0, 0));
    assert!(registry.idle.lock().queue.is_empty());
}

#[test]
fn a_key_answers_with_the_first_result_as_long_as_its_message_is_held() {
    let registry = registry(1 << 30);
    let publish = |key, now| registry.publish(&name(1), now, &batch(10), Some(key), |_, _| {});
    let Published::Entered(first) = publish("a", at(0)) else { panic!("the first") };
    assert_eq!(publish("a", at(59)), Published::Repeat(first));
    let Published::Entered(second) = publish("b", at(59)) else { panic!("another key") };
    assert_eq!(second.offset, 2);
    let Published::Entered(third) = publish("a", at(60)) else { panic!("the window's age is over") };
    assert_eq!(third.offset, 3);
    assert_eq!(publish("b", at(60)), Published::Repeat(second));
    assert_eq!(publish("a", at(60)), Published::Repeat(third), "its earlier message does not take it along");
}

#[test]
fn a_list_goes_through_all_rooms_page_by_page() {
    let registry = registry(1 << 30);
    for number in 0..250 {
        publish(&registry, number, at(0));
    }
    for limit in [1, 7, 250, 251] {
        let (mut after, mut seen) = (None, Vec::new());
        loop {
            let (page, more) = registry.list(after.as_ref(), limit, at(0));
            assert!(page.len() == limit || !more);
            after = page.last().map(|room| room.name.clone());
            seen.extend(page.iter().map(|room| room.name.clone()));
            if !more {
                break;
            }
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 250, "{limit}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Room, sizes of messages, number of a key.
    Publish(usize, Vec<usize>, Option<u8>),
    /// Room and shard.
    AddRoute(usize, usize),
    RemoveRoute(usize, usize),
    /// Milliseconds.
    Pass(u64),
    Maintain,
    /// Room, and how far back.
    Begin(usize, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let sizes = prop::collection::vec(0usize..400, 1..=3);
    prop_oneof![
        8 => (0usize..4, sizes, prop::option::of(0u8..3)).prop_map(|(room, sizes, key)| Step::Publish(room, sizes, key)),
        1 => (0usize..4, 0usize..2).prop_map(|(room, shard)| Step::AddRoute(room, shard)),
        2 => (0usize..4, 0usize..2).prop_map(|(room, shard)| Step::RemoveRoute(room, shard)),
        3 => (0u64..40_000).prop_map(Step::Pass),
        3 => Just(Step::Maintain),
        2 => (0usize..4, 0u64..8).prop_map(|(room, back)| Step::Begin(room, back)),
    ]
}

#[derive(Clone)]
struct Entered {
    last: u64,
    time: Time,
    cost: usize,
    key: Option<u8>,
}

/// One life of a room: everything that entered.
#[derive(Clone)]
struct Life {
    epoch: Epoch,
    all: Vec<Entered>,
    dropped: u64,
    routes: BTreeSet<usize>,
    active_at: Time,
}

impl Life {
    fn last(&self) -> u64 {
        self.all.last().map_or(0, |one| one.last)
    }

    fn window_bytes(&self) -> usize {
        self.all.iter().filter(|one| one.last > self.dropped).map(|one| one.cost).sum()
    }

    fn start(&self, now: Time) -> u64 {
        let aged = self.all.iter().filter(|one| now.since(one.time) >= AGE);
        aged.map(|one| one.last).max().unwrap_or(0).max(self.dropped)
    }

    fn trim(&mut self, now: Time, limits: &HistoryLimits) {
        self.dropped = self.start(now).max(self.last().saturating_sub(limits.messages_max));
        while self.window_bytes() > limits.bytes_max {
            let live: Vec<u64> =
                self.all.iter().map(|one| one.last).filter(|last| *last > self.dropped).collect();
            let [oldest, _, ..] = live[..] else { return };
            self.dropped = oldest;
        }
    }
}

struct Model {
    registry: Registry,
    lives: [Option<Life>; 4],
    now: Time,
    /// What a place in a window costs, and a key.
    place_cost: usize,
    key_cost: usize,
}

impl Model {
    fn new(settings: RoomSettings) -> Model {
        let measure = |key| {
            let registry = registry(1 << 30);
            let batch = batch(1);
            registry.publish(&name(0), at(0), &batch, key, |_, _| {});
            registry.find(&name(0)).unwrap().history_bytes() - batch.pinned_bytes()
        };
        let place_cost = measure(None);
        let key_cost = measure(Some("0")) - place_cost;
        let lives = [const { None }; 4];
        Model { registry: Registry::new(settings), lives, now: at(1), place_cost, key_cost }
    }

    fn pinned(&self, room: usize) -> usize {
        let Some(life) = &self.lives[room] else { return 0 };
        let alone = if life.routes.is_empty() { ROOM_BYTES + name(room).as_str().len() } else { 0 };
        life.window_bytes() + alone
    }

    /// The life of a room, which begins if need be.
    fn life(&mut self, room: usize) -> &mut Life {
        let epoch = self.registry.find(&name(room)).unwrap().epoch();
        let new = Life { epoch, all: Vec::new(), dropped: 0, routes: BTreeSet::new(), active_at: self.now };
        self.lives[room].get_or_insert(new)
    }

    fn publish(&mut self, room: usize, sizes: &[usize], key: Option<u8>) {
        let mut batch = Batch::with_capacity(sizes.iter().sum());
        for bytes in sizes {
            batch.push(true, (Sender::Api { exclude: None }, None), *bytes, |out| {
                out.resize(out.len() + bytes, 0)
            });
        }
        let (now, key_cost) = (self.now, self.key_cost);
        let cost = batch.pinned_bytes() + self.place_cost + key.map_or(0, |_| key_cost);
        let text = key.map(|key| key.to_string());
        let mut delivered = None;
        let published =
            self.registry.publish(&name(room), now, &Arc::new(batch), text.as_deref(), |last, routes| {
                delivered = Some((last, routes.iter().map(|route| route.shard.index()).collect()));
            });
        let limits = self.registry.limits.get();
        let life = self.life(room);
        let start = life.start(now);
        let repeat = life.all.iter().find(|one| key.is_some() && one.key == key && one.last > start);
        if let Some(first) = repeat {
            assert_eq!(published, Published::Repeat(Position { epoch: life.epoch, offset: first.last }));
            assert_eq!(delivered, None);
            return;
        }
        assert_eq!(delivered, Some((life.last(), life.routes.clone())));
        let last = life.last() + sizes.len() as u64;
        assert_eq!(published, Published::Entered(Position { epoch: life.epoch, offset: last }));
        life.all.push(Entered { last, time: now, cost, key });
        life.active_at = now;
        life.trim(now, &limits);
    }

    fn add_route(&mut self, room: usize, shard: usize) {
        if self.lives[room].as_ref().is_some_and(|life| life.routes.contains(&shard)) {
            return;
        }
        let (_, last_offset) = self.registry.add_route(&name(room), route(shard), self.now);
        let life = self.life(room);
        assert_eq!(last_offset, life.last());
        life.routes.insert(shard);
    }

    fn remove_route(&mut self, room: usize, shard: usize) {
        let now = self.now;
        let Some(life) = &mut self.lives[room] else { return };
        if !life.routes.remove(&shard) {
            return;
        }
        life.active_at = now;
        let shared = self.registry.find(&name(room)).unwrap();
        shared.remove_route(ShardId::new(shard), now);
    }

    fn begin(&self, room: usize, back: u64) {
        let (Some(life), now) = (&self.lives[room], self.now) else { return };
        let shared = self.registry.find(&name(room)).unwrap();
        let extent = Extent { epoch: life.epoch, start: life.start(now), last: life.last() };
        let offset = extent.last.saturating_sub(back);
        let held = offset >= extent.start;
        let begin = |start| shared.read_from(start, now, ReadLimits::NONE, &mut Vec::new());
        assert_eq!(begin(Start::Live), Ok((extent.last, extent)));
        assert_eq!(begin(Start::Last(back)), Ok((offset.max(extent.start), extent)));
        for (epoch, ours) in [(life.epoch, true), (Epoch::new(1), false)] {
            let begun = begin(Start::Since(Position { epoch, offset }));
            assert_eq!(begun, if held && ours { Ok((offset, extent)) } else { Err(OutOfWindow(extent)) });
        }
        let mut pieces = Vec::new();
        assert_eq!(shared.read_after(offset, now, ReadLimits::NONE, &mut pieces).is_ok(), held);
        let read: u64 = pieces.iter().map(|piece| u64::from(piece.end - piece.first)).sum();
        assert_eq!(read, if held { extent.last - offset } else { 0 });
    }

    /// What has ended must have been idle for its age, or longest of all while there was too much, and
    /// nothing more may have ended than had to.
    fn maintain(&mut self) {
        let before: Vec<usize> = (0..4).map(|room| self.pinned(room)).collect();
        let was_over = before.iter().sum::<usize>() > self.registry.memory_max();
        maintain(&self.registry, self.now);
        let mut for_memory = Vec::new();
        let mut oldest_kept = Time::NEVER;
        for (room, pinned) in before.into_iter().enumerate() {
            let Some(life) = self.lives[room].as_mut() else { continue };
            let idle = self.now.since(life.active_at);
            let left = self.registry.find(&name(room)).map(|room| room.history_bytes());
            let ended = if life.routes.is_empty() { left.is_none() } else { left == Some(0) };
            assert!(left.is_some() || life.routes.is_empty(), "a room with members stays");
            if !ended {
                assert!(idle < AGE + GRID, "{idle:?} is too old");
                oldest_kept = oldest_kept.min(life.active_at);
                continue;
            }
            if idle < AGE && pinned > 0 {
                for_memory.push((life.active_at, pinned));
            }
            life.dropped = life.last();
            if left.is_none() {
                self.lives[room] = None;
            }
        }
        let after = self.registry.memory_bytes();
        assert!(after <= self.registry.memory_max());
        if let Some(latest) = for_memory.iter().map(|(active_at, _)| *active_at).max() {
            assert!(was_over && latest <= oldest_kept);
            let last =
                for_memory.iter().filter(|(active_at, _)| *active_at == latest).map(|(_, bytes)| *bytes);
            assert!(after + last.max().unwrap() > self.registry.memory_max(), "no more than needed");
        }
    }

    fn check(&self) {
        let rooms = self.lives.iter().flatten().count();
        assert_eq!(self.registry.len(), rooms);
        let pinned: usize = (0..4).map(|room| self.pinned(room)).sum();
        assert_eq!(self.registry.memory_bytes(), pinned, "what it counts is what rooms pin");
        for (number, life) in self.lives.iter().enumerate() {
            let found = self.registry.find(&name(number));
            let Some((room, life)) = found.as_ref().zip(life.as_ref()) else {
                assert!(found.is_none() && life.is_none());
                continue;
            };
            let extent = Extent { epoch: life.epoch, start: life.start(self.now), last: life.last() };
            assert_eq!((room.extent(self.now), room.history_bytes()), (extent, life.window_bytes()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rooms_agree_with_lists_of_everything(
        steps in prop::collection::vec(step(), 1..80),
        (bytes_max, messages_max) in (1usize..4000, 1u64..10),
        memory_max in 4000usize..10_000,
    ) {
        let history = HistoryLimits { bytes_max, messages_max, age_max: AGE };
        let mut model = Model::new(RoomSettings { history, memory_max, lag: Vec::new(), presence: Vec::new() });
        for step in steps {
            match step {
                Step::Publish(room, sizes, key) => model.publish(room, &sizes, key),
                Step::AddRoute(room, shard) => model.add_route(room, shard),
                Step::RemoveRoute(room, shard) => model.remove_route(room, shard),
                Step::Pass(milliseconds) => model.now = model.now + Duration::from_millis(milliseconds),
                Step::Maintain => model.maintain(),
                Step::Begin(room, back) => model.begin(room, back),
            }
            model.check();
        }
        for room in 0..4 {
            (0..2).for_each(|shard| model.remove_route(room, shard));
        }
        model.now = model.now + 2 * AGE;
        model.maintain();
        prop_assert_eq!((model.registry.len(), model.registry.memory_bytes()), (0, 0));
    }
}

#[test]
fn a_search_finds_the_rooms_with_members_that_match() {
    let registry = registry(1 << 30);
    let room = |name: &str| RoomName::new(name).unwrap();
    for name in ["chat:1", "chat:2", "chat", "news", "ü*"] {
        registry.add_route(&room(name), route(0), Time::ZERO).0.member_joined(false);
    }
    registry.find(&room("chat:2")).unwrap().member_joined(false);
    registry.publish(&room("chat:3"), Time::ZERO, &batch(1), None, |_, _| {});
    let found = |pattern: &str| {
        let mut found = registry.search(pattern, 100, 100).unwrap();
        found.sort();
        found.iter().map(|(name, members)| format!("{name} {members}")).collect::<Vec<_>>()
    };
    assert_eq!(found("*"), ["chat 1", "chat:1 1", "chat:2 2", "news 1", "ü* 1"]);
    assert_eq!(found("chat:*"), ["chat:1 1", "chat:2 2"]);
    assert_eq!(found("chat*"), ["chat 1", "chat:1 1", "chat:2 2"]);
    assert_eq!(found("*:2"), ["chat:2 2"]);
    assert_eq!(found("c*t"), ["chat 1"]);
    assert_eq!(found("news"), ["news 1"]);
    assert_eq!(found("new"), Vec::<String>::new());
    assert_ne!(registry.life(), self::registry(1 << 30).life());
}

#[test]
fn a_search_is_given_up_at_its_bounds() {
    let registry = registry(1 << 30);
    for number in 0..100 {
        let (room, _) = registry.add_route(&name(number), route(0), Time::ZERO);
        if number % 2 == 0 {
            room.member_joined(false);
        }
    }
    for (limit, ok) in [(49, false), (50, true), (51, true)] {
        let found = registry.search("room*", limit, 100).map(|found| found.len());
        assert_eq!(found, if ok { Ok(50) } else { Err(TooManyRooms::Found { limit }) });
    }
    for (limit, ok) in [(99, false), (100, true), (101, true)] {
        let found = registry.search("room*", 100, limit).map(|found| found.len());
        assert_eq!(found, if ok { Ok(50) } else { Err(TooManyRooms::LookedAt { limit }) });
    }
    assert_eq!(registry.search("other*", 0, 0), Ok(Vec::new()), "what begins otherwise does not count");
}
