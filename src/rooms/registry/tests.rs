//! The life of rooms: one order for everybody, kept while young, forgotten without a trace.

use super::*;
use crate::rooms::Sender;
use crate::slab::Slab;

const AGE: Duration = Duration::from_secs(60);

fn registry(memory_max: usize) -> Registry {
    let history = HistoryLimits { bytes_max: 1 << 20, messages_max: 100, age_max: AGE };
    Registry::new(RoomSettings { history, memory_max, lag: Vec::new() })
}

fn route(shard: usize) -> Route {
    Route { shard: ShardId::new(shard), local_room: Slab::default().insert(()) }
}

fn name(number: usize) -> RoomName {
    RoomName::new(&format!("room {number}")).unwrap()
}

fn batch(bytes: usize) -> Arc<Batch> {
    let mut batch = Batch::with_capacity(bytes);
    batch.push(false, Sender::Api { exclude: None }, bytes, |out| out.resize(bytes, 0));
    Arc::new(batch)
}

fn at(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
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
                    published.unwrap();
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
    registry.remove_route(&room, ShardId::new(0), at(1000));
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
        registry.remove_route(&room, ShardId::new(0), at(0));
        if number % 2 == 0 {
            publish(&registry, number, at(0));
        }
    }
    assert_eq!(registry.len(), 20_000);
    maintain(&registry, at(61));
    assert_eq!((registry.len(), registry.memory_bytes()), (0, 0));
    assert!(registry.idle.lock().is_empty());
}

#[test]
fn over_the_memory_of_all_rooms_those_idle_longest_go_first() {
    let one = {
        let registry = registry(1 << 30);
        publish(&registry, 0, at(0));
        registry.memory_bytes()
    };
    let registry = registry(3 * one);
    for number in 0..3 {
        publish(&registry, number, at(number as u64));
    }
    let (member, _) = registry.add_route(&name(1), route(0), at(3));
    maintain(&registry, at(3));
    assert_eq!(registry.len(), 3, "up to the limit all stay");
    // Room 0 was created first, but spoken in last.
    publish(&registry, 0, at(4));
    maintain(&registry, at(5));
    let extent = member.extent(at(5));
    assert_eq!((extent.start, extent.last), (1, 1), "the window of room 1 went; it has a member and stays");
    assert!(registry.find(&name(2)).is_some() && registry.find(&name(0)).is_some());
    publish(&registry, 3, at(6));
    maintain(&registry, at(7));
    assert!(registry.find(&name(2)).is_none(), "then room 2");
    assert!(registry.find(&name(0)).is_some());
    assert!(registry.memory_bytes() <= 3 * one);
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
