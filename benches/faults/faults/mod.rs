//! The faults, by number.

mod bytewise;
mod churn;
mod crowd;
mod descriptors;
mod drain;
mod flood;
mod garbage;
mod half_close;
mod hot_room;
pub mod panics;
mod pauses;
mod resets;
mod slow;

use crate::finding::Finding;
use crate::rounds::{Fault, Title};
use crate::settings::Size;

use descriptors::Scarce;

/// One line of the list.
pub struct Entry {
    pub title: Title,
    play: Play,
}

enum Play {
    Rounds(Box<dyn Fault>),
    Own(fn(&Title, &Size) -> Finding),
}

impl Entry {
    fn of(fault: impl Fault + 'static) -> Entry {
        Entry { title: fault.title(), play: Play::Rounds(Box::new(fault)) }
    }

    /// Whether it is another size of one that is tried already.
    pub fn is_another_size(&self) -> bool {
        ["F1-1", "F1-50", "F2-1"].contains(&self.title.key)
    }

    pub fn run(&mut self, size: &Size) -> Finding {
        match &mut self.play {
            Play::Rounds(fault) => crate::rounds::run(fault.as_mut(), size),
            Play::Own(run) => run(&self.title, size),
        }
    }
}

/// All of them.
pub fn all() -> Vec<Entry> {
    let own = |title: Title, run| Entry { title, play: Play::Own(run) };
    vec![
        Entry::of(slow::SlowReaders::new("F1", "F1-1", 1, 64)),
        Entry::of(slow::SlowReaders::new("F1", "F1-10", 10, 64)),
        Entry::of(slow::SlowReaders::new("F1", "F1-50", 50, 64)),
        Entry::of(slow::SlowReaders::new("F2", "F2-1", 1, 0)),
        Entry::of(slow::SlowReaders::new("F2", "F2-10", 10, 0)),
        Entry::of(pauses::Pauses),
        Entry::of(half_close::HalfCloses),
        Entry::of(resets::Resets),
        Entry::of(bytewise::Bytewise),
        Entry::of(flood::Flood { limited: false }),
        Entry::of(flood::Flood { limited: true }),
        Entry::of(garbage::Garbage::new(false)),
        Entry::of(garbage::Garbage::new(true)),
        own(crowd::title(), crowd::run),
        Entry::of(descriptors::Exhaustion::new(Scarce::Descriptors)),
        Entry::of(descriptors::Exhaustion::new(Scarce::Connections)),
        own(drain::title(), drain::run),
        Entry::of(panics::Panics),
        Entry::of(hot_room::HotRoom),
        Entry::of(churn::Connections),
        Entry::of(churn::Subscriptions),
    ]
}
