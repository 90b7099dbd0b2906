//! Memberships: the limit, and joining and leaving against a model.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::rooms::{HistoryLimits, RoomSettings};

fn settings() -> RoomSettings {
    let history = HistoryLimits { bytes_max: 1 << 20, messages_max: 10, age_max: Duration::from_secs(1) };
    RoomSettings { history, memory_max: 1 << 30, lag: Vec::new(), presence: Vec::new() }
}

fn wish() -> Wish {
    Wish { own: OwnMessages::Skip, start: Start::Live, encoding: Encoding::Frames, watches: false }
}

fn rooms() -> LocalRooms {
    LocalRooms::new(ShardId::new(0), Arc::new(Registry::new(settings())))
}

fn leave_all(rooms: &mut LocalRooms, first: &mut u32) {
    while let Some(left) = rooms.leave_first(first) {
        if let Some(emptied) = left.emptied {
            rooms.forget(emptied, Time::ZERO);
        }
    }
}

#[test]
fn the_limit_of_memberships_is_inclusive() {
    let mut rooms = rooms();
    let mut first = NO_MEMBERSHIP;
    for (number, ok) in [(1, true), (2, true), (3, true), (4, false)] {
        let name = RoomName::new(&format!("r{number}")).unwrap();
        assert_eq!(rooms.join((0, &mut first), &name, wish(), 3, Time::ZERO).is_ok(), ok, "{number}");
    }
    let again = RoomName::new("r1").unwrap();
    assert!(rooms.join((0, &mut first), &again, wish(), 3, Time::ZERO).is_ok(), "a member already");
    leave_all(&mut rooms, &mut first);
    assert_eq!((rooms.len(), rooms.memberships()), (0, 0));
}

proptest! {
    #[test]
    fn it_agrees_with_a_set_of_pairs(
        steps in prop::collection::vec((0usize..5, 0usize..4, 0u8..4), 1..120)
    ) {
        let mut rooms = rooms();
        let mut heads = [NO_MEMBERSHIP; 5];
        let mut model = BTreeSet::new();
        for (connection, room, action) in steps {
            let name = RoomName::new(&format!("room {room}")).unwrap();
            match action {
                0 => {
                    rooms.join((connection as u32, &mut heads[connection]), &name, wish(), 128, Time::ZERO).unwrap();
                    model.insert((connection, room));
                }
                1 => {
                    let left = rooms.leave(&mut heads[connection], &name);
                    if let Some(emptied) = left.and_then(|left| left.emptied) {
                        rooms.forget(emptied, Time::ZERO);
                    }
                    model.remove(&(connection, room));
                }
                2 => {
                    let mut list: Vec<u32> = rooms.memberships_of(heads[connection]).collect();
                    if let Some(head) = list.get(room).copied() {
                        rooms.begin_with(&mut heads[connection], head);
                        list.rotate_left(room);
                    }
                    prop_assert_eq!(rooms.memberships_of(heads[connection]).collect::<Vec<_>>(), list);
                }
                _ => {
                    leave_all(&mut rooms, &mut heads[connection]);
                    model.retain(|(member, _)| *member != connection);
                }
            }
            prop_assert_eq!(rooms.memberships(), model.len());
            for room in 0..4 {
                let name = RoomName::new(&format!("room {room}")).unwrap();
                let seen: BTreeSet<usize> = rooms.find(&name).map_or(BTreeSet::new(), |key| {
                    rooms.get(key).unwrap().members.iter().map(|member| rooms.membership(*member).unwrap().connection as usize).collect()
                });
                let expected: BTreeSet<usize> =
                    model.iter().filter(|(_, of)| *of == room).map(|(member, _)| *member).collect();
                prop_assert_eq!(seen, expected);
            }
        }
    }
}
