//! The memory of all rooms together.

use super::*;
use crate::id::ConnectionId;
use crate::slab::Key;

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
fn memory_that_members_pin_is_not_looked_for_again_and_again() {
    let memory_max = 64 << 10;
    let registry = registry(memory_max);
    let routes: Vec<Arc<Room>> =
        (0..200).map(|number| registry.add_route(&name(number), route(0), Time::ZERO).0).collect();
    let client = |number: usize| ConnectionId { shard: ShardId::new(0), key: Key::from_u64(number as u64) };
    for (number, room) in routes.iter().enumerate() {
        room.enter(client(number), None, true, 0, |_| {});
    }
    let pinned = registry.memory_bytes();
    assert!(pinned > memory_max, "{pinned}");
    maintain(&registry, at(1));
    assert!(registry.due() > at(1), "nothing can be taken back");
    publish(&registry, 0, at(1));
    assert!(registry.due() > at(1), "a little more is not worth a look at all rooms");
    (0..20).for_each(|room| publish(&registry, room, at(1)));
    assert_eq!(registry.due(), Time::ZERO);
    maintain(&registry, at(1));
    let left = registry.memory_bytes();
    assert!((pinned..=pinned + memory_max / 16).contains(&left), "histories go, members stay: {left}");
    for (number, room) in routes.iter().enumerate().skip(1) {
        assert!(!room.exit((client(number), None), true, None, 0, |_| {}));
    }
    assert!(registry.due() > at(1));
    (0..50).for_each(|room| publish(&registry, room, at(2)));
    assert_eq!(registry.due(), Time::ZERO, "the limit is kept exactly again");
    maintain(&registry, at(2));
    assert!(registry.memory_bytes() <= memory_max);
}
