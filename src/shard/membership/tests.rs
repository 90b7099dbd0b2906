//! Memberships: the limit, and joining, leaving and being addressed against models.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::rooms::{Batch, HistoryLimits, RoomSettings, Sender};

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

/// A room, and who of its members has been addressed and who is to be.
struct Hall {
    rooms: LocalRooms,
    name: RoomName,
    heads: [u32; 12],
    offset: u64,
    members: BTreeSet<u32>,
    due: BTreeSet<u32>,
    addressed: BTreeSet<u32>,
}

impl Hall {
    fn new() -> Hall {
        let (rooms, name) = (rooms(), RoomName::new("hall").unwrap());
        let mut hall = Hall {
            rooms,
            name,
            heads: [NO_MEMBERSHIP; 12],
            offset: 0,
            members: BTreeSet::new(),
            due: BTreeSet::new(),
            addressed: BTreeSet::new(),
        };
        // One who stays, so that the room does.
        hall.join(0);
        hall
    }

    fn key(&self) -> Key {
        self.rooms.find(&self.name).unwrap()
    }

    fn join(&mut self, connection: u32) {
        let head = &mut self.heads[connection as usize];
        self.rooms.join((connection, head), &self.name, wish(), 1, Time::ZERO).unwrap();
        self.members.insert(connection);
    }

    fn leave(&mut self, connection: u32) {
        let left = self.rooms.leave(&mut self.heads[connection as usize], &self.name);
        assert!(left.is_none_or(|left| left.emptied.is_none()));
        for set in [&mut self.members, &mut self.due, &mut self.addressed] {
            set.remove(&connection);
        }
    }

    /// Nothing arrives while a fan-out has begun.
    fn arrive(&mut self) {
        if !self.addressed.is_empty() {
            return;
        }
        let mut batch = Batch::default();
        batch.push(false, (Sender::Api { exclude: None }, None), 0, |_| {});
        let arrived = Arrived { offset_before: self.offset, batch: Arc::new(batch) };
        self.rooms.arrive(self.key(), arrived).unwrap();
        self.offset += 1;
        self.due.clone_from(&self.members);
    }

    fn address(&mut self, members: usize) {
        let key = self.key();
        let local = self.rooms.get(key).unwrap();
        let to_come = &local.members[local.addressed as usize..local.due as usize];
        let next: Vec<u32> = to_come.iter().take(members).copied().collect();
        for member in &next {
            let connection = self.rooms.membership(*member).unwrap().connection;
            assert!(self.due.remove(&connection), "{connection} is addressed, and was to be");
            self.addressed.insert(connection);
        }
        self.rooms.note_addressed(key, next.len());
        self.rooms.clear_arrived();
        if self.due.is_empty() {
            self.addressed.clear();
        }
    }

    fn check(&self) {
        let local = self.rooms.get(self.key()).unwrap();
        let (addressed, due) = (local.addressed as usize, local.due as usize);
        let of = |members: &[u32]| -> BTreeSet<u32> {
            members.iter().map(|member| self.rooms.membership(*member).unwrap().connection).collect()
        };
        assert_eq!(of(&local.members[..addressed]), self.addressed);
        assert_eq!(of(&local.members[addressed..due]), self.due);
        assert_eq!(of(&local.members), self.members);
        for (position, member) in local.members.iter().enumerate() {
            assert_eq!(self.rooms.membership(*member).unwrap().position as usize, position);
        }
        assert!(self.due.is_empty() || !self.rooms.arrived_in().is_empty());
    }
}

proptest! {
    #[test]
    fn a_fan_out_addresses_each_who_is_due_once_whoever_comes_and_leaves(
        steps in prop::collection::vec((0u8..4, 1u32..12), 1..150)
    ) {
        let mut hall = Hall::new();
        for (action, number) in steps {
            match action {
                0 => hall.join(number),
                1 => hall.leave(number),
                2 => hall.arrive(),
                _ => hall.address(number as usize % 4),
            }
            hall.check();
        }
    }
}
