//! The member's own account of a room: nothing missing, repeated or out of order, and the same for all.

use std::collections::VecDeque;
use std::fmt;

use super::payload::{self, Stamp};

/// Offsets of a room that a process remembers, far more than members can be apart.
const SLOTS_MAX: usize = 1 << 13;

/// What a message must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It was not published so.
    Unreadable,
    /// It belongs into another room.
    Stray,
    /// Messages of its publisher are missing before it.
    Gap { last: u64 },
    /// It was there already.
    Repeat,
    /// It comes behind a later one.
    Disorder { last: u64 },
    /// Somebody else got another message at this offset.
    Disagreement { publisher: u32, sequence: u64 },
}

/// A message that is wrong, or was not expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    pub fault: Fault,
    pub publisher: u32,
    pub sequence: u64,
    /// Where the member was.
    pub offset: u64,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { fault, publisher, sequence, offset } = self;
        let what = format!("message {sequence} of publisher {publisher}");
        match fault {
            Fault::Unreadable => write!(f, "offset {offset}: not what anybody published"),
            Fault::Stray => write!(f, "offset {offset}: {what} belongs into another room"),
            Fault::Gap { last } => write!(f, "offset {offset}: gap, {what} comes behind {last}"),
            Fault::Repeat => write!(f, "offset {offset}: repeat, {what} was there before"),
            Fault::Disorder { last } => {
                write!(f, "offset {offset}: out of order, {what} comes behind {last}")
            }
            Fault::Disagreement { publisher, sequence } => {
                let others = format!("message {sequence} of publisher {publisher}");
                write!(f, "offset {offset}: others have {others} there, this one {what}")
            }
        }
    }
}

/// What is at each offset of a room, as the members of one process have seen it.
#[derive(Debug)]
pub struct RoomLog {
    pub name: String,
    mark: u32,
    epoch: String,
    /// The offset of the first slot.
    first: u64,
    slots: VecDeque<Option<(u32, u64)>>,
}

impl RoomLog {
    pub fn new(name: &str) -> RoomLog {
        let mark = payload::room_mark(name);
        RoomLog { name: name.to_owned(), mark, epoch: String::new(), first: 1, slots: VecDeque::new() }
    }

    /// The latest offset that anybody has seen, 0 without any.
    pub fn last(&self) -> u64 {
        self.first + self.slots.len() as u64 - 1
    }

    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Forgets everything if the room has begun another life.
    pub fn enter(&mut self, epoch: &str) {
        if self.epoch != epoch {
            *self = RoomLog { epoch: epoch.to_owned(), ..RoomLog::new(&self.name) };
        }
    }

    /// Notes what is at an offset; gives what others have seen there instead.
    pub fn note(&mut self, offset: u64, publisher: u32, sequence: u64) -> Result<(), (u32, u64)> {
        if self.slots.is_empty() || offset > self.last() + SLOTS_MAX as u64 {
            self.slots.clear();
            self.first = offset;
        }
        // Too long ago to be known.
        let Some(at) = offset.checked_sub(self.first) else { return Ok(()) };
        let at = at as usize;
        if at >= self.slots.len() {
            self.slots.resize(at + 1, None);
        }
        let slot = self.slots[at].get_or_insert((publisher, sequence));
        let known = *slot;
        while self.slots.len() > SLOTS_MAX {
            self.slots.pop_front();
            self.first += 1;
        }
        if known == (publisher, sequence) { Ok(()) } else { Err(known) }
    }
}

/// Where one member is in its room, across all of its connections.
#[derive(Clone, Debug, Default)]
pub struct Checker {
    /// The offset of the last message before the next one.
    pub offset: u64,
    /// The last message of each publisher.
    heard: Vec<(u32, u64)>,
}

impl Checker {
    /// A member that begins behind this offset.
    pub fn behind(offset: u64) -> Checker {
        Checker { offset, heard: Vec::new() }
    }

    /// The last message of a publisher that it has got.
    pub fn last_of(&self, publisher: u32) -> u64 {
        self.heard.iter().find(|(known, _)| *known == publisher).map_or(0, |(_, last)| *last)
    }

    /// Takes the next message of its room.
    pub fn take(&mut self, room: &mut RoomLog, message: &[u8]) -> Result<Stamp, Violation> {
        self.offset += 1;
        let offset = self.offset;
        let wrong = |fault, publisher, sequence| Violation { fault, publisher, sequence, offset };
        let Some(stamp) = payload::parse(message) else { return Err(wrong(Fault::Unreadable, 0, 0)) };
        let Stamp { publisher, sequence, .. } = stamp;
        if stamp.room != room.mark {
            return Err(wrong(Fault::Stray, publisher, sequence));
        }
        match self.heard.iter_mut().find(|(known, _)| *known == publisher) {
            None => self.heard.push((publisher, sequence)),
            Some((_, last)) => {
                let before = *last;
                match sequence {
                    _ if sequence == before + 1 => *last = sequence,
                    _ if sequence > before => {
                        return Err(wrong(Fault::Gap { last: before }, publisher, sequence));
                    }
                    _ if sequence == before => return Err(wrong(Fault::Repeat, publisher, sequence)),
                    _ => return Err(wrong(Fault::Disorder { last: before }, publisher, sequence)),
                }
            }
        }
        match room.note(offset, publisher, sequence) {
            Ok(()) => Ok(stamp),
            Err((others, seen)) => {
                let fault = Fault::Disagreement { publisher: others, sequence: seen };
                Err(wrong(fault, publisher, sequence))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(room: &str, publisher: u32, sequence: u64) -> Vec<u8> {
        let stamp = Stamp { room: payload::room_mark(room), publisher, sequence, intended: 0 };
        let mut out = Vec::new();
        payload::push(&mut out, &stamp, 100);
        out
    }

    /// What a member says of messages `1..` of two publishers that arrive so.
    fn check(messages: &[(u32, u64)]) -> Result<(), Fault> {
        let mut room = RoomLog::new("a");
        let mut checker = Checker::default();
        for (publisher, sequence) in messages {
            let taken = checker.take(&mut room, &message("a", *publisher, *sequence));
            taken.map_err(|violation| violation.fault)?;
        }
        assert_eq!((checker.offset, room.last()), (messages.len() as u64, messages.len() as u64));
        Ok(())
    }

    #[test]
    fn what_is_whole_and_in_order_is_right() {
        assert_eq!(check(&[(1, 1), (1, 2), (2, 1), (1, 3), (2, 2)]), Ok(()));
        // Who joins late begins in the middle.
        assert_eq!(check(&[(1, 71), (1, 72), (2, 9), (1, 73)]), Ok(()));
    }

    #[test]
    fn a_gap_a_repeat_and_a_swap_are_seen() {
        assert_eq!(check(&[(1, 1), (2, 1), (1, 3)]), Err(Fault::Gap { last: 1 }));
        assert_eq!(check(&[(1, 1), (2, 1), (1, 1)]), Err(Fault::Repeat));
        assert_eq!(check(&[(1, 1), (1, 2), (2, 1), (1, 1)]), Err(Fault::Disorder { last: 2 }));
        // A swap shows first as the gap before what came too early.
        assert_eq!(check(&[(1, 1), (1, 3), (1, 2)]), Err(Fault::Gap { last: 1 }));
    }

    #[test]
    fn a_swap_between_publishers_is_seen_by_the_second_member() {
        let mut room = RoomLog::new("a");
        let (mut one, mut other) = (Checker::default(), Checker::default());
        for (publisher, sequence) in [(1, 1), (2, 1)] {
            one.take(&mut room, &message("a", publisher, sequence)).unwrap();
        }
        let violation = other.take(&mut room, &message("a", 2, 1)).unwrap_err();
        assert_eq!(violation.fault, Fault::Disagreement { publisher: 1, sequence: 1 });
        assert_eq!(violation.offset, 1);
    }

    #[test]
    fn what_was_lost_for_one_alone_is_seen_by_its_offset() {
        let mut room = RoomLog::new("a");
        let mut whole = Checker::default();
        for sequence in 1..=3 {
            whole.take(&mut room, &message("a", 1, sequence)).unwrap();
        }
        // It begins behind 1 and is given 3: its publisher says nothing, as it has heard none before.
        let violation = Checker::behind(1).take(&mut room, &message("a", 1, 3)).unwrap_err();
        assert_eq!(violation.fault, Fault::Disagreement { publisher: 1, sequence: 2 });
    }

    #[test]
    fn foreign_and_broken_messages_are_seen() {
        let mut room = RoomLog::new("a");
        let mut checker = Checker::default();
        let stray = checker.take(&mut room, &message("b", 1, 1)).unwrap_err();
        assert_eq!(stray.fault, Fault::Stray);
        let mut broken = message("a", 1, 1);
        broken[60] ^= 1;
        assert_eq!(checker.take(&mut room, &broken).unwrap_err().fault, Fault::Unreadable);
        let cut = &message("a", 1, 1)[..40];
        assert_eq!(checker.take(&mut room, cut).unwrap_err().fault, Fault::Unreadable);
    }

    #[test]
    fn a_room_remembers_a_bounded_part_and_forgets_another_life() {
        let mut room = RoomLog::new("a");
        room.enter("one");
        for offset in 1..=3 * SLOTS_MAX as u64 {
            assert_eq!(room.note(offset, 1, offset), Ok(()));
        }
        assert_eq!(room.slots.len(), SLOTS_MAX);
        assert_eq!(room.note(1, 9, 9), Ok(()), "too long ago");
        let last = room.last();
        assert_eq!(room.note(last, 9, 9), Err((1, last)));
        // A jump, as for a room that nobody here was in for long.
        assert_eq!(room.note(1 << 40, 1, 1 << 40), Ok(()));
        assert_eq!((room.last(), room.slots.len()), (1 << 40, 1));
        room.enter("two");
        assert_eq!((room.last(), room.note(1, 9, 9)), (0, Ok(())));
    }
}
