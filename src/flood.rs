//! What may happen very often is logged twice: when it begins, and when it is over.

use std::time::Duration;

use crate::time::Time;

/// A flood is over when nothing has come for so long.
pub const QUIET: Duration = Duration::from_secs(10);

/// Counts events that may come in floods.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flood {
    count: u64,
    began: Time,
    latest: Time,
}

/// A flood that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    /// Events in it.
    pub count: u64,
    /// From its first event to its last.
    pub lasted: Duration,
}

impl Flood {
    /// Counts an event, and says whether it is the first of a flood.
    pub fn note(&mut self, now: Time) -> bool {
        if self.count == 0 {
            self.began = now;
        }
        self.count += 1;
        self.latest = now;
        self.count == 1
    }

    /// The flood that is over by now, once.
    pub fn take_over(&mut self, now: Time) -> Option<Over> {
        self.over_at().filter(|over| *over <= now)?;
        self.cut()
    }

    /// The flood up to now, over or not, once: nothing more will be noted.
    pub fn cut(&mut self) -> Option<Over> {
        let Flood { count, began, latest } = std::mem::take(self);
        (count > 0).then(|| Over { count, lasted: latest.since(began) })
    }

    /// When the flood will be over if nothing more comes.
    pub fn over_at(&self) -> Option<Time> {
        (self.count > 0).then(|| self.latest + QUIET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_begins_once_and_is_over_once_when_it_has_been_quiet() {
        let at = |seconds: u64| Time::ZERO + Duration::from_secs(seconds);
        let mut flood = Flood::default();
        assert_eq!((flood.over_at(), flood.take_over(at(100))), (None, None));
        assert!(flood.note(at(100)));
        assert!(!flood.note(at(109)));
        assert!(!flood.note(at(118)));
        assert_eq!(flood.take_over(at(127)), None);
        assert_eq!(flood.over_at(), Some(at(128)));
        assert_eq!(flood.take_over(at(128)), Some(Over { count: 3, lasted: Duration::from_secs(18) }));
        assert_eq!(flood.take_over(at(999)), None);
        assert!(flood.note(at(999)), "the next one");
        assert_eq!(flood.cut(), Some(Over { count: 1, lasted: Duration::ZERO }), "which is cut short");
        assert_eq!((flood.cut(), flood.over_at()), (None, None));
    }
}
