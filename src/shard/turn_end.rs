//! What a shard counts at the end of a turn, and how it says that it has.

use super::Core;
use super::distribution::Distribution;
use super::stats::{Counter, Tally};
use crate::time::Time;

/// How many messages are being sent, by the time of the turn that has read them: few times, as what another
/// shard has published in one turn comes together.
#[derive(Debug, Default)]
pub struct Arrivals(Vec<(Time, u64)>);

impl Arrivals {
    /// Notes messages that members here are to get.
    pub fn note(&mut self, entered: Time, messages: u64) {
        match self.0.last_mut() {
            Some((time, before)) if *time == entered => *before += messages,
            _ => self.0.push((entered, messages)),
        }
    }

    /// Counts how long they took, at the end of the turn that has sent the last of them.
    fn flushed(&mut self, end: Time, tally: &mut Tally) {
        for (entered, messages) in self.0.drain(..) {
            tally.observe(Distribution::FlushLatency, end.since(entered).as_nanos() as u64, messages);
        }
    }
}

impl<S> Core<S> {
    /// Publishes the numbers of a turn that has ended now, with so many connections, and tells those who have
    /// asked for its end.
    pub(super) fn publish_numbers(&mut self, end: Time, connections: usize) {
        let Core { arrivals, rooms, tally, .. } = self;
        if rooms.arrived_in().is_empty() {
            arrivals.flushed(end, tally);
        }
        tally.observe(Distribution::TurnDuration, end.since(self.now).as_nanos() as u64, 1);
        tally.add(Counter::Turns, 1);
        tally.set(Counter::TurnEnd, end.as_nanos());
        tally.set(Counter::Connections, connections as u64);
        tally.set(Counter::Memberships, self.rooms.memberships() as u64);
        tally.set(Counter::Rooms, self.rooms.len() as u64);
        tally.set(Counter::QueueBytes, self.arena.pinned_bytes());
        tally.set(Counter::AnswerBytes, self.http_bytes as u64);
        tally.publish();
        for report in self.reports.drain(..) {
            // Nobody may be waiting any more.
            let _ = report.send(self.id);
        }
    }
}
