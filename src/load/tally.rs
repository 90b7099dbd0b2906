//! What a thread has counted, and the sum of all of them.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::latency::Latency;
use super::process::{ThreadTime, Usage};
use super::traffic::Span;

/// Causes that are told apart.
const CAUSES_MAX: usize = 16;

/// Messages and connections that are wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Errors {
    /// Messages that did not come.
    pub lost: u64,
    /// Messages that came again.
    pub duplicated: u64,
    /// Messages that came behind a later one.
    pub reordered: u64,
    /// Messages that nobody sent so.
    pub wrong: u64,
    /// Connections that the server ended.
    pub closed: u64,
    /// Connections that the server did not accept.
    pub refused: u64,
    /// Messages that were sent and did not come because such a connection had ended, at each receiver.
    pub unanswered: u64,
}

impl Errors {
    /// All of them.
    pub fn sum(&self) -> u64 {
        let connections = self.closed + self.refused;
        self.lost + self.duplicated + self.reordered + self.wrong + connections + self.unanswered
    }

    fn add(&mut self, other: &Errors) {
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.wrong += other.wrong;
        self.closed += other.closed;
        self.refused += other.refused;
        self.unanswered += other.unanswered;
    }
}

/// What is measured in a time.
#[derive(Debug, Default)]
pub struct Window {
    /// Messages that were sent.
    pub sent: u64,
    /// Messages that came, each at each receiver.
    pub received: u64,
    /// Messages that were due in an open loop, of senders that were there.
    pub due: u64,
    /// Messages that came to the receivers that set the pace, one for each flow.
    pub done: u64,
    /// How long they took.
    pub latency: Latency,
}

impl Window {
    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.sent == 0 && self.received == 0
    }

    fn add(&mut self, other: &Window) {
        self.sent += other.sent;
        self.received += other.received;
        self.due += other.due;
        self.done += other.done;
        self.latency.add(&other.latency);
    }
}

/// What became of the members that stopped reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stalled {
    /// How many there were.
    pub members: u64,
    /// Connections that the server ended.
    pub cut: u64,
    /// Messages that were left out between others.
    pub missed: u64,
}

/// Connections that ended, or were not accepted, for causes of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// How many there are.
    pub count: u64,
    /// What was said of the first.
    detail: String,
    /// Whether something else was said of others.
    differ: bool,
}

impl Ended {
    fn add(&mut self, other: &Ended) {
        if self.count == 0 {
            self.detail.clone_from(&other.detail);
        }
        self.count += other.count;
        self.differ |= other.differ || self.detail != other.detail;
    }

    /// The cause in words.
    pub fn cause(&self, kind: &str) -> String {
        match (self.detail.as_str(), self.differ) {
            ("", _) => kind.to_owned(),
            (detail, false) => format!("{kind}: {detail}"),
            (detail, true) => format!("{kind}, such as: {detail}"),
        }
    }
}

/// What a thread has counted.
#[derive(Debug, Default)]
pub struct Tally {
    /// What was measured.
    pub window: Window,
    /// How long that was, in seconds.
    pub seconds: f64,
    /// What was measured before that, while all read.
    pub calm: Window,
    /// How long that was, in seconds.
    pub calm_seconds: f64,
    /// Of the members that stopped reading.
    pub stalled: Stalled,
    /// Over the whole run.
    pub errors: Errors,
    /// Why connections ended.
    pub causes: BTreeMap<String, Ended>,
    /// Why the server did not accept others.
    pub refusals: BTreeMap<String, Ended>,
    /// Messages that were sent, over the whole run.
    pub sent: u64,
    /// Messages that came, over the whole run.
    pub received: u64,
    /// Nanoseconds that the quickest of them took.
    pub quickest: Option<u64>,
    /// Members that have got a first message.
    pub begun: u64,
    /// Messages that were due and never sent.
    pub unsent: u64,
    /// The flow that each receiver got whose connection ended, and how far it came.
    pub ended: Vec<(u32, u64)>,
    /// Each flow, and the sequence up to which its messages are known to have been on their way to everybody.
    pub reached: Vec<(u32, u64)>,
    /// Opening handshakes that were accepted.
    pub handshakes: u64,
    /// Pings of the server that were answered.
    pub pings: u64,
    /// The processor time of each thread.
    pub threads: Vec<ThreadTime>,
    /// What the server had used at both ends, if its process is known.
    pub server: Option<(Usage, Usage)>,
    /// The number of that process, if it ended before all of it was known.
    pub server_ended: Option<u32>,
}

impl Tally {
    /// The window of a span.
    pub fn window_of(&mut self, span: Option<Span>) -> Option<&mut Window> {
        match span? {
            Span::Calm => Some(&mut self.calm),
            Span::Main => Some(&mut self.window),
        }
    }

    /// Notes why a connection ended: a kind of cause, and what was said of this one.
    pub fn note_cause(&mut self, kind: &str, detail: &str) {
        note(&mut self.causes, kind, detail);
    }

    /// Notes a connection that the server did not accept, and why.
    pub fn note_refusal(&mut self, kind: &str, detail: &str) {
        self.errors.refused += 1;
        note(&mut self.refusals, kind, detail);
    }

    /// Counts what receivers whose connections ended still waited for, once all threads are in.
    pub fn settle_ended(&mut self) {
        let reached: HashMap<u32, u64> = self.reached.drain(..).collect();
        for (flow, got) in self.ended.drain(..) {
            self.errors.unanswered += reached.get(&flow).map_or(0, |reached| reached.saturating_sub(got));
        }
    }

    /// Takes another thread's in.
    pub fn add(&mut self, other: Tally) {
        self.window.add(&other.window);
        self.seconds = self.seconds.max(other.seconds);
        self.calm.add(&other.calm);
        self.calm_seconds = self.calm_seconds.max(other.calm_seconds);
        self.stalled.members += other.stalled.members;
        self.stalled.cut += other.stalled.cut;
        self.stalled.missed += other.stalled.missed;
        self.errors.add(&other.errors);
        for (kind, ended) in other.causes {
            self.causes.entry(kind).or_default().add(&ended);
        }
        for (kind, refused) in other.refusals {
            self.refusals.entry(kind).or_default().add(&refused);
        }
        self.sent += other.sent;
        self.received += other.received;
        self.quickest = self.quickest.into_iter().chain(other.quickest).min();
        self.begun += other.begun;
        self.unsent += other.unsent;
        self.ended.extend(other.ended);
        self.reached.extend(other.reached);
        self.handshakes += other.handshakes;
        self.pings += other.pings;
        self.threads.extend(other.threads);
        self.server = self.server.take().or(other.server);
        self.server_ended = self.server_ended.or(other.server_ended);
    }
}

fn note(causes: &mut BTreeMap<String, Ended>, kind: &str, detail: &str) {
    let is_full = causes.len() >= CAUSES_MAX && !causes.contains_key(kind);
    let kind = if is_full { "other causes" } else { kind };
    let ended = causes.entry(kind.to_owned()).or_default();
    ended.add(&Ended { count: 1, detail: detail.to_owned(), differ: false });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_receivers_waited_for_is_known_once_all_threads_are_in() {
        let mut tally = Tally { ended: vec![(0, 7), (1, 20)], ..Tally::default() };
        tally.add(Tally { ended: vec![(0, 2)], reached: vec![(0, 10), (1, 19)], ..Tally::default() });
        tally.settle_ended();
        assert_eq!((tally.errors.unanswered, tally.errors.sum()), (11, 11));
    }

    #[test]
    fn causes_of_a_kind_are_one_with_an_example() {
        let (mut tally, mut other) = (Tally::default(), Tally::default());
        tally.note_cause("closed with 1008", "at 1");
        tally.note_cause("hung up", "");
        tally.note_cause("hung up", "");
        other.note_cause("closed with 1008", "at 2");
        other.note_cause("closed with 1001", "bye");
        tally.add(other);
        let shown: Vec<_> =
            tally.causes.iter().map(|(kind, ended)| (ended.cause(kind), ended.count)).collect();
        let expected = [("closed with 1001: bye", 1), ("closed with 1008, such as: at 1", 2), ("hung up", 2)];
        assert_eq!(shown, expected.map(|(cause, count)| (cause.to_owned(), count)));
        for number in 0..100 {
            tally.note_cause(&format!("kind {number}"), "");
        }
        assert_eq!(tally.causes.len(), CAUSES_MAX + 1);
        assert_eq!(tally.causes.values().map(|ended| ended.count).sum::<u64>(), 105);
    }
}
