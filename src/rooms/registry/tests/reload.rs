//! Other settings while rooms live.

use super::*;
use crate::id::ConnectionId;
use crate::rooms::Present;
use crate::slab::Key;

fn settings(messages_max: u64, age_max: Duration, memory_max: usize) -> RoomSettings {
    let history = HistoryLimits { bytes_max: 1 << 20, messages_max, age_max };
    RoomSettings { history, memory_max, lag: Vec::new(), presence: Vec::new() }
}

fn with_presence(level: &str) -> RoomSettings {
    RoomSettings { presence: vec![level.parse().expect("a level")], ..settings(100, AGE, 1 << 30) }
}

fn present(number: u64) -> Present {
    let client = ConnectionId { shard: ShardId::new(0), key: Key::from_u64(1 << 32 | number) };
    Present { client, identity: None }
}

#[test]
fn a_window_is_cut_with_the_next_message_and_grows_from_then_on() {
    let registry = Registry::new(settings(10, AGE, 1 << 30));
    let (room, _) = registry.add_route(&name(0), route(0), at(0));
    let say = |count: usize| (0..count).for_each(|_| publish(&registry, 0, at(1)));
    let held = || {
        let extent = room.extent(at(1));
        extent.last - extent.start
    };
    say(20);
    assert_eq!(held(), 10);
    registry.reload(settings(4, AGE, 1 << 30));
    assert_eq!(held(), 10, "what is there can still be read");
    say(1);
    assert_eq!(held(), 4);
    registry.reload(settings(6, AGE, 1 << 30));
    for expected in [5, 6, 6] {
        say(1);
        assert_eq!(held(), expected);
    }
}

#[test]
fn a_shorter_age_is_kept_at_once_and_a_longer_one_is_waited_for() {
    for (age, gone_at) in [(10, 11), (60, 61), (100, 101)] {
        let registry = Registry::new(settings(100, AGE, 1 << 30));
        publish(&registry, 0, at(0));
        maintain(&registry, at(5));
        registry.reload(settings(100, Duration::from_secs(age), 1 << 30));
        maintain(&registry, at(6));
        maintain(&registry, at(gone_at - 2));
        assert_eq!(registry.len(), 1, "{age}");
        assert!(registry.due() <= at(gone_at), "{age}");
        maintain(&registry, at(gone_at));
        assert_eq!(registry.len(), 0, "{age}");
    }
}

#[test]
fn less_memory_for_all_rooms_is_kept_at_once() {
    let registry = registry(1 << 30);
    for number in 0..10 {
        publish(&registry, number, at(number as u64));
    }
    let all = registry.memory_bytes();
    maintain(&registry, at(20));
    registry.reload(settings(100, AGE, all));
    maintain(&registry, at(20));
    assert_eq!(registry.memory_bytes(), all, "as much as there is may be");
    registry.reload(settings(100, AGE, all / 2));
    assert!(registry.due() <= at(20));
    maintain(&registry, at(20));
    assert!(registry.memory_bytes() <= all / 2);
    assert!(
        registry.find(&name(0)).is_none() && registry.find(&name(9)).is_some(),
        "idle longest goes first"
    );
    registry.reload(settings(100, AGE, 1 << 30));
    publish(&registry, 0, at(21));
    maintain(&registry, at(21));
    assert!(registry.find(&name(0)).is_some());
}

#[test]
fn lag_policies_and_presence_levels_of_new_rooms_are_those_of_the_reload() {
    let registry = registry(1 << 30);
    assert_eq!(registry.rules().lag_policy(&name(0)), LagPolicy::Disconnect);
    let lag = vec!["room 1=latest".parse().expect("a policy"), "skip".parse().expect("a policy")];
    registry.reload(RoomSettings { lag, ..with_presence("count") });
    assert_eq!(registry.rules().lag_policy(&name(0)), LagPolicy::Skip);
    assert_eq!(registry.rules().lag_policy(&name(1)), LagPolicy::Latest);
    assert_eq!(registry.presence_level(&name(0)), PresenceLevel::Count);
}

#[test]
fn a_room_takes_its_presence_level_when_nobody_is_there() {
    let registry = Registry::new(with_presence("full"));
    let (room, _) = registry.add_route(&name(0), route(0), at(0));
    let enter = |number| room.enter(present(number).client, None, true, 100, |_| {});
    let exit = |number| room.exit((present(number).client, None), true, None, 100, |_| {});
    enter(1);
    registry.reload(with_presence("off"));
    registry.add_route(&name(0), route(1), at(0));
    enter(2);
    assert_eq!(
        room.presence_list(10).expect("a list").len(),
        2,
        "who is there stays listed, with who comes to them"
    );
    exit(1);
    exit(2);
    room.remove_route(ShardId::new(0), at(1));
    registry.add_route(&name(0), route(0), at(1));
    assert!(room.presence_stats().is_some(), "one shard has had members all along");
    room.remove_route(ShardId::new(0), at(1));
    room.remove_route(ShardId::new(1), at(1));
    registry.add_route(&name(0), route(0), at(1));
    enter(3);
    assert_eq!(room.presence_stats(), None);
    exit(3);
    room.remove_route(ShardId::new(0), at(1));
    registry.reload(with_presence("full"));
    registry.add_route(&name(0), route(0), at(1));
    enter(4);
    assert_eq!(room.presence_list(10).expect("a list").len(), 1);
}

#[test]
fn who_lingers_keeps_the_level_that_it_is_listed_at() {
    let registry = Registry::new(with_presence("full"));
    let (room, _) = registry.add_route(&name(0), route(0), at(0));
    room.enter(present(1).client, None, true, 100, |_| {});
    assert!(room.exit((present(1).client, None), true, Some(at(10)), 100, |_| {}));
    room.remove_route(ShardId::new(0), at(1));
    registry.reload(with_presence("count"));
    registry.add_route(&name(0), route(0), at(2));
    assert_eq!(room.presence_list(10).expect("a list").len(), 1);
    room.expire(present(1).client, at(10), 100, |_| {});
    assert_eq!(room.presence_list(10).expect("a list").len(), 0);
}
