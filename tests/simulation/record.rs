//! What one member has got, against what there was for it.

use std::collections::BTreeSet;

use fanfare::rooms::LagPolicy;

use crate::truth::{Content, Entry, RoomLog, Truth};

/// What one member has got of one life of a room.
#[derive(Clone, Debug)]
pub struct Record {
    pub room: String,
    pub epoch: String,
    pub client: String,
    /// Whether it gets what it sends itself.
    pub own: bool,
    pub policy: LagPolicy,
    pub from: u64,
    pub seen: Vec<Content>,
}

impl Record {
    fn is_spared(&self, entry: &Entry) -> bool {
        let client = Some(self.client.as_str());
        (!self.own && entry.sender.as_deref() == client) || entry.spared.as_deref() == client
    }

    /// The offsets up to which it may have been served, given all that it has seen: consecutive from where
    /// it began, but for what it is spared and for what the policy lets it miss.
    pub fn positions(&self, truth: &Truth) -> Vec<u64> {
        let Some(log) = truth.log(&self.room, &self.epoch) else {
            // It has come and gone within the turn that the room lived for.
            assert!(truth.lacks_an_end(&self.room, &self.epoch), "nobody knows the room of {self:?}");
            return vec![self.from + self.seen.len() as u64];
        };
        assert!(self.from <= log.last(), "it begins at {} and the room is at {}", self.from, log.last());
        let last = log.last() + u64::from(truth.lacks_an_end(&self.room, &self.epoch));
        let mut positions = BTreeSet::from([self.from]);
        for (at, content) in self.seen.iter().enumerate() {
            let mut next = BTreeSet::new();
            for position in &positions {
                self.follow((log, last.max(*position + last - log.last())), *position, content, &mut next);
            }
            assert!(
                !next.is_empty(),
                "message {at} of {} for {} is {content:?}, which does not follow {positions:?} in {}: {:?}",
                self.seen.len(),
                self.client,
                self.room,
                positions.iter().map(|position| log.entry(*position + 1)).collect::<Vec<_>>(),
            );
            if self.policy != LagPolicy::Disconnect {
                // The earliest leaves most for what follows.
                next = next.first().copied().into_iter().collect();
            }
            positions = next;
        }
        positions.into_iter().collect()
    }

    fn follow(
        &self,
        (log, last): (&RoomLog, u64),
        position: u64,
        content: &Content,
        next: &mut BTreeSet<u64>,
    ) {
        for offset in position + 1..=last {
            let (here, may_pass) = match log.entry(offset) {
                None => (true, true),
                Some(entry) => {
                    let spared = self.is_spared(entry);
                    (!spared && entry.content == *content, spared)
                }
            };
            if here {
                next.insert(offset);
            }
            if !may_pass && (self.policy == LagPolicy::Disconnect || here) {
                return;
            }
        }
    }

    /// How many messages for it came between those that it has seen.
    pub fn missed(&self, truth: &Truth) -> u64 {
        let (Some(position), Some(log)) = (self.positions(truth).pop(), truth.log(&self.room, &self.epoch))
        else {
            return 0;
        };
        let for_it = |offset: &u64| log.entry(*offset).is_some_and(|entry| !self.is_spared(entry));
        let count = (self.from + 1..=position).filter(for_it).count();
        count.saturating_sub(self.seen.len()) as u64
    }

    /// Whether nothing of the offsets behind `from` up to `until` was for it.
    pub fn nothing_between(&self, truth: &Truth, from: u64, until: u64) -> bool {
        let Some(log) = truth.log(&self.room, &self.epoch) else { return true };
        (from + 1..=until).all(|offset| log.entry(offset).is_none_or(|entry| self.is_spared(entry)))
    }

    /// It has been sent all that the room held for it when the order to drain was given. Its cursor may still
    /// have stood before messages that it is spared.
    pub fn is_drained(&self, truth: &Truth) -> bool {
        let drained = |at: u64| truth.is_drained(&self.room, &self.epoch, at);
        let positions = self.positions(truth);
        let had_all = |at: &u64| drained(*at) || drained(self.spared_until(truth, *at));
        self.policy != LagPolicy::Disconnect || positions.iter().any(had_all)
    }

    /// Where it is, and what its room has.
    pub fn shown(&self, truth: &Truth) -> String {
        let extent = truth.extent(&self.room, truth.now);
        let log = truth.log(&self.room, &self.epoch);
        format!("at {:?} of {log:?}, held {extent:?}", self.positions(truth))
    }

    /// The offset behind which the next message stands that is for it, or that nobody knows.
    fn spared_until(&self, truth: &Truth, at: u64) -> u64 {
        let Some(log) = truth.log(&self.room, &self.epoch) else { return at };
        (at..log.last()).find(|offset| !self.is_spared_at(log, offset + 1)).unwrap_or(log.last().max(at))
    }

    /// It has been sent all up to an offset.
    pub fn assert_complete(&self, truth: &Truth, until: u64, why: &str) {
        let positions = self.positions(truth);
        let complete = match self.policy {
            LagPolicy::Disconnect => {
                positions.iter().any(|position| self.nothing_between(truth, *position, until))
            }
            LagPolicy::Skip | LagPolicy::Latest => self.has_newest(truth, until),
        };
        assert!(
            complete,
            "{why}: {} is at {positions:?} of {}, and something up to {until} is for it: {self:?}",
            self.client, self.room
        );
    }

    /// Whether the last that it has seen is the newest message for it that is held; where the policy is to
    /// skip, only if no message that it is spared came behind that.
    fn has_newest(&self, truth: &Truth, until: u64) -> bool {
        let Some(log) = truth.log(&self.room, &self.epoch).filter(|log| until == log.last()) else {
            return true;
        };
        let mut newest = until;
        while self.policy == LagPolicy::Latest && newest > self.from && self.is_spared_at(log, newest) {
            newest -= 1;
        }
        if newest <= self.from || !truth.holds(&self.room, &self.epoch, newest - 1) {
            return true;
        }
        let newest = log.entry(newest).filter(|newest| !self.is_spared(newest));
        newest.is_none_or(|newest| self.seen.last() == Some(&newest.content))
    }

    fn is_spared_at(&self, log: &RoomLog, offset: u64) -> bool {
        log.entry(offset).is_some_and(|entry| self.is_spared(entry))
    }
}
