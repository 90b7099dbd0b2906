//! The messages of one thread: which are due, how they come, and how long they took.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use fanfare::protocol::{MaskKeys, Message};
use fanfare::slab::Key;
use fanfare::time::Time;

use super::account::{Account, Taken};
use super::payload::{Payloads, Seen};
use super::plan::{Pace, Plan};
use super::schedule::Schedule;
use super::tally::Tally;

#[cfg(test)]
mod tests;

/// Bytes that one send is filled up to.
const SEND_BYTES: usize = 256 << 10;
/// What becomes due within this time leaves together: a thread that woke up for each message of a high rate would
/// have no time for anything else.
const BUNCH: Duration = Duration::from_micros(100);

/// What may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nothing yet.
    Waiting,
    /// First messages, by which members know that they have joined.
    Joining,
    /// Everything that is due.
    Running,
    /// What was due before the end.
    Over,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// The time while all read, where some stop later.
    Calm,
    /// What the results are about.
    Main,
}

/// The messages of one sender.
#[derive(Debug)]
pub struct Flow {
    id: u32,
    /// Its connection, while it is open.
    pub sender: Option<Key>,
    /// Messages that were sent, which is the sequence of the last.
    pub sent: u64,
    /// Messages that were sent when the traffic began.
    base: u64,
    /// Messages that may be sent in all, as far as that is known.
    allowed: u64,
    /// The sequence up to which the receiver that sets the pace has them.
    passed: u64,
    /// When messages were meant to be sent that do not say so, by their sequence.
    times: VecDeque<(u64, u64)>,
    is_touched: bool,
}

/// How a connection gets the messages of a flow.
#[derive(Debug)]
pub struct Receiver {
    /// The flow's number.
    pub flow: u32,
    /// Its place in [`Traffic`], if this receiver sets its pace.
    pub paces: Option<u32>,
    /// What came.
    pub account: Account,
    /// Whether the first message may be any.
    pub joins: bool,
    /// Whether nothing is missed if nothing ever comes.
    pub is_optional: bool,
    /// Whether it is to stop reading: what is measured is about the others, before too.
    pub stalls: bool,
}

impl Receiver {
    /// Whether it misses what does not come.
    pub fn misses(&self) -> bool {
        !self.is_optional || self.account.has_begun()
    }
}

/// The messages of one thread.
#[derive(Debug)]
pub struct Traffic {
    payloads: Payloads,
    keys: MaskKeys,
    pace: Pace,
    /// Messages of each flow after which it ends.
    messages_max: u64,
    checked: bool,
    /// Whether each message says when it was meant to be sent.
    timed: bool,
    /// What may be sent.
    pub stage: Stage,
    /// What is being measured now.
    pub measuring: Option<Span>,
    /// From when it is measured while all read, from when otherwise, until when.
    borders: [u64; 3],
    flows: Vec<Flow>,
    /// Their places by their numbers.
    places: HashMap<u32, u32>,
    /// Flows of which something may have become due.
    touched: Vec<u32>,
    schedule: Option<Schedule>,
    /// From when on something that has become due is looked at again.
    look_at: Time,
    /// What was counted.
    pub tally: Tally,
}

impl Traffic {
    /// The messages of one thread of a run.
    pub fn new(plan: &Plan, keys: MaskKeys) -> Traffic {
        let payloads = Payloads::new(plan.size, plan.seed);
        let timed = plan.checked && payloads.are_timed();
        Traffic {
            payloads,
            keys,
            pace: plan.pace,
            messages_max: plan.messages.unwrap_or(u64::MAX),
            checked: plan.checked,
            timed,
            stage: Stage::Waiting,
            measuring: None,
            borders: [u64::MAX; 3],
            flows: Vec::new(),
            places: HashMap::new(),
            touched: Vec::new(),
            schedule: None,
            look_at: Time::ZERO,
            tally: Tally::default(),
        }
    }

    /// A new masking key.
    pub fn key(&mut self) -> [u8; 4] {
        self.keys.next()
    }

    /// Whether a member can begin anywhere in a flow, as its messages say where they are.
    pub fn can_join_anywhere(&self) -> bool {
        self.checked && self.payloads.are_sealed()
    }

    /// Adds a flow that is sent from here, and gives its place.
    pub fn add_flow(&mut self, id: u32) -> u32 {
        let times = VecDeque::new();
        let flow =
            Flow { id, sender: None, sent: 0, base: 0, allowed: 0, passed: 0, times, is_touched: false };
        let at = self.flows.len() as u32;
        self.flows.push(flow);
        self.places.insert(id, at);
        at
    }

    /// The flow at this place.
    pub fn flow_mut(&mut self, at: u32) -> &mut Flow {
        &mut self.flows[at as usize]
    }

    /// The flow at this place.
    pub fn flow(&self, at: u32) -> &Flow {
        &self.flows[at as usize]
    }

    /// The place of the flow of this number.
    pub fn place_of(&self, id: u32) -> Option<u32> {
        self.places.get(&id).copied()
    }

    /// The last sequence of the flow at this place, once nothing more of it is to be sent; 0 without a sender,
    /// of which nobody knows what has left.
    pub fn last_of(&self, at: u32) -> Option<u64> {
        let flow = &self.flows[at as usize];
        match self.stage {
            Stage::Over if flow.sender.is_none() => Some(0),
            Stage::Over if flow.sent >= flow.allowed => Some(flow.sent),
            _ => None,
        }
    }

    /// The numbers of all flows that are sent from here, and the last sequence of each; nothing before all are
    /// known.
    pub fn lasts(&self) -> Option<Vec<(u32, u64)>> {
        let each = (0..).zip(&self.flows);
        each.map(|(at, flow)| Some((flow.id, self.last_of(at)?))).collect()
    }

    /// Lets one more first message be sent in each flow.
    pub fn probe(&mut self) {
        self.stage = Stage::Joining;
        for at in 0..self.flows.len() {
            self.flows[at].allowed += 1;
            self.touch(at as u32);
        }
    }

    /// Begins: `flows_in_all` is what a rate is shared out among.
    pub fn begin(&mut self, begin: Time, flows_in_all: u32) {
        self.stage = Stage::Running;
        if let Pace::Rate(rate) = self.pace {
            let places = self.places.iter().map(|(id, at)| (*id, *at)).collect();
            self.schedule = Some(Schedule::new(rate, flows_in_all, begin.as_nanos(), places));
        }
        for at in 0..self.flows.len() {
            let flow = &mut self.flows[at];
            flow.base = flow.sent;
            flow.passed = flow.passed.max(flow.sent);
            if let Pace::InFlight(count) = self.pace {
                flow.allowed = flow.passed + u64::from(count).min(self.messages_max);
            }
            self.touch(at as u32);
        }
    }

    /// Says from when it is measured while all read, from when otherwise, and until when.
    pub fn measure(&mut self, borders: [Time; 3]) {
        self.borders = borders.map(Time::as_nanos);
    }

    /// What is measured at a time.
    pub fn span_at(&self, time: u64) -> Option<Span> {
        span_at(self.borders, time)
    }

    /// Ends: nothing more becomes due.
    pub fn end(&mut self) {
        self.stage = Stage::Over;
        if let Pace::InFlight(_) = self.pace {
            for flow in &mut self.flows {
                flow.allowed = flow.sent;
            }
        }
    }

    /// Whether as many messages as were asked for have come back.
    pub fn is_spent(&self) -> bool {
        let is_spent =
            |flow: &Flow| flow.sender.is_none() || flow.passed.saturating_sub(flow.base) >= self.messages_max;
        self.messages_max < u64::MAX && self.stage == Stage::Running && self.flows.iter().all(is_spent)
    }

    /// Counts what was due and is not sent any more, and what was under way from senders that have ended; what
    /// was sent is then all that can come.
    pub fn give_up(&mut self) {
        for flow in &mut self.flows {
            self.tally.unsent += flow.allowed.saturating_sub(flow.sent);
            flow.allowed = flow.sent;
            let reached = match flow.sender {
                Some(_) => flow.sent,
                // Nobody knows more of them than the receiver that sets the pace.
                None => flow.passed.min(flow.sent),
            };
            self.tally.errors.unanswered += flow.sent - reached;
            self.tally.reached.push((flow.id, reached));
        }
    }

    /// Lets everything be sent that is due at `now`.
    pub fn follow_schedule(&mut self, now: Time) {
        let Some(schedule) = &mut self.schedule else { return };
        let end = self.borders[2];
        if now < self.look_at && now.as_nanos() < end {
            return;
        }
        let mut first_due = None;
        while let Some((time, at)) = schedule.take_due(now.as_nanos().min(end.saturating_sub(1))) {
            // From when it was due: a wake-up that came late makes none of the next late.
            self.look_at = Time::from_nanos(*first_due.get_or_insert(time)) + BUNCH;
            let flow = &mut self.flows[at as usize];
            if flow.allowed - flow.base < self.messages_max {
                flow.allowed += 1;
                // Where nobody is left to send it, the server has nothing to do with it.
                let window = self.tally.window_of(span_at(self.borders, time));
                window.into_iter().for_each(|window| window.due += u64::from(flow.sender.is_some()));
            }
            if !flow.is_touched {
                flow.is_touched = true;
                self.touched.push(at);
            }
        }
    }

    /// When the next message becomes due by itself.
    pub fn next_due(&self) -> Option<Time> {
        let schedule = self.schedule.as_ref().filter(|_| self.stage == Stage::Running)?;
        schedule.next().map(|time| Time::from_nanos(time).max(self.look_at))
    }

    /// A flow of which something may have become due.
    pub fn pop_touched(&mut self) -> Option<u32> {
        let at = self.touched.pop()?;
        self.flows[at as usize].is_touched = false;
        Some(at)
    }

    /// Looks again at what is due of a flow.
    pub fn touch(&mut self, at: u32) {
        let flow = &mut self.flows[at as usize];
        if !flow.is_touched {
            flow.is_touched = true;
            self.touched.push(at);
        }
    }

    /// Appends the frames of a flow that are due at `now`, as many as one send takes.
    pub fn push_due(&mut self, at: u32, now: Time, out: &mut Vec<u8>) {
        let now = now.as_nanos();
        let flow = &mut self.flows[at as usize];
        let before = flow.sent;
        while flow.sent < flow.allowed && out.len() < SEND_BYTES {
            let intended = match &self.schedule {
                Some(schedule) if self.stage != Stage::Joining => {
                    schedule.time(flow.id, flow.sent - flow.base)
                }
                _ => now,
            };
            flow.sent += 1;
            if !self.timed {
                flow.times.push_back((flow.sent, intended));
            }
            self.payloads.push_frame(out, flow.id, flow.sent, intended, self.keys.next());
        }
        let sent = flow.sent - before;
        self.tally.sent += sent;
        if let Some(window) = self.tally.window_of(self.measuring) {
            window.sent += sent;
        }
    }

    /// Takes a message in that came at `arrived`; none of its bytes are looked at where nothing is checked.
    pub fn take(&mut self, receiver: &mut Receiver, message: Option<&Message<'_>>, arrived: u64) {
        let begins = !receiver.account.has_begun();
        let seen = match message {
            Some(message) => self.payloads.read(message, receiver.flow, receiver.account.next()),
            None => Seen::Plain,
        };
        let (low, mut intended) = match seen {
            Seen::Timed(low, intended) => (Some(low), Some(intended)),
            Seen::Sealed(low) => (Some(low), None),
            Seen::Plain => (None, None),
            Seen::Wrong => return self.take_wrong(receiver),
        };
        let sequence = match low {
            Some(low) => {
                let sequence = receiver.account.whole(low);
                match receiver.account.take(sequence, receiver.joins) {
                    Taken::InTurn | Taken::Ahead(_) => {}
                    Taken::Late => self.tally.errors.reordered += 1,
                    Taken::Again => {
                        self.tally.errors.duplicated += 1;
                        return;
                    }
                }
                sequence
            }
            None => {
                receiver.account.take_unread();
                receiver.account.next() - 1
            }
        };
        self.tally.begun += u64::from(begins && !receiver.is_optional);
        self.tally.received += 1;
        if let Some(at) = receiver.paces {
            let time = self.pass(at, receiver.account.next() - 1, sequence);
            intended = intended.or(time);
        }
        if receiver.stalls {
            return;
        }
        if let Some(window) = self.tally.window_of(self.measuring) {
            window.received += 1;
        }
        let Some(intended) = intended else { return };
        let took = arrived.saturating_sub(intended);
        self.tally.quickest = Some(self.tally.quickest.map_or(took, |quickest| quickest.min(took)));
        // By when it was sent or due, not by when it came: a stall at the end would hide.
        if let Some(window) = self.tally.window_of(self.span_at(intended)) {
            window.latency.record(took);
        }
    }

    /// Counts what a receiver has missed whose connection has ended. What it still waited for is counted when
    /// all threads have ended.
    pub fn settle_ended(&mut self, receiver: &Receiver, is_stalled: bool) {
        self.settle(receiver, None, is_stalled);
        if !is_stalled && receiver.misses() {
            self.tally.ended.push((receiver.flow, receiver.account.next() - 1));
        }
    }

    /// Counts what a receiver has missed, up to the last message if that is known.
    pub fn settle(&mut self, receiver: &Receiver, last: Option<u64>, is_stalled: bool) {
        match is_stalled {
            // What comes behind the last that it has read was never its turn.
            true => self.tally.stalled.missed += receiver.account.missing(None),
            false => self.tally.errors.lost += receiver.account.missing(last),
        }
    }

    fn take_wrong(&mut self, receiver: &mut Receiver) {
        self.tally.errors.wrong += 1;
        if receiver.joins && !receiver.account.has_begun() {
            // It stands for nothing as long as it is not known what should come.
            return;
        }
        receiver.account.take_wrong();
        if let Some(at) = receiver.paces {
            let passed = receiver.account.next() - 1;
            self.pass(at, passed, passed);
        }
    }

    /// Notes how far the receiver that sets the pace is; gives when the message it took was meant to be sent.
    fn pass(&mut self, at: u32, passed: u64, sequence: u64) -> Option<u64> {
        let flow = &mut self.flows[at as usize];
        let mut time = None;
        while let Some((first, intended)) =
            flow.times.front().copied().filter(|(first, _)| *first <= sequence)
        {
            flow.times.pop_front();
            time = (first == sequence).then_some(intended);
        }
        flow.passed = passed;
        if let Some(window) = self.tally.window_of(self.measuring) {
            window.done += 1;
        }
        if let (Stage::Running, Pace::InFlight(count)) = (self.stage, self.pace) {
            // Something wrong or repeated lets nobody send more than was asked for.
            let allowed = passed.min(flow.sent) + u64::from(count);
            flow.allowed = flow.allowed.max(allowed.min(flow.base.saturating_add(self.messages_max)));
            self.touch(at);
        }
        time
    }
}

fn span_at([calm_from, from, until]: [u64; 3], time: u64) -> Option<Span> {
    match time {
        _ if time < calm_from || time >= until => None,
        _ if time < from => Some(Span::Calm),
        _ => Some(Span::Main),
    }
}
