//! A thread that makes load: its connections and their turns.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::Sender;

use fanfare::protocol::{CloseCode, Limits, MaskKeys, Opcode, push_client_frame};
use fanfare::reactor::{Io, PollIo, Ready};
use fanfare::slab::{Key, Slab};
use fanfare::time::Time;

use super::course::{Course, Note};
use super::meter::Meter;
use super::peer::Peer;
use super::plan::{Part, Plan, Spec};
use super::tally::Tally;
use super::traffic::{Receiver, Span, Stage, Traffic};

mod opening;
mod reading;
mod stopping;

/// What one read takes at most.
const RECEIVE_BYTES: usize = 256 << 10;
/// How long a publisher waits before it sends another first message, for members that came behind the last.
const PROBE_EVERY: Duration = Duration::from_millis(250);
/// Frames that one message of the server may have.
const FRAGMENTS_MAX: u32 = 1 << 20;

/// A thread that makes load.
pub struct Worker<'p> {
    plan: &'p Plan,
    course: &'p Course,
    notes: Sender<Note>,
    io: PollIo,
    limits: Limits,
    peers: Slab<Peer>,
    to_open: VecDeque<Spec>,
    /// Connections that are tried again later, and when.
    again: VecDeque<(Time, Spec)>,
    /// Connections that are being opened.
    opening: u32,
    /// Connections that were open at a time at most since the last storm.
    open_max: usize,
    /// Waves whose connections were all open.
    opened_waves: u32,
    /// How often its connections have broken.
    storm: u32,
    traffic: Traffic,
    meter: Meter,
    buffer: Vec<u8>,
    out: Vec<u8>,
    /// Members that have to get a first message before the traffic begins.
    members: u64,
    has_begun: bool,
    is_spent: bool,
    probe_at: Time,
    /// When something came last.
    arrived: Time,
    /// Receivers that are not known to have everything, from the end on.
    waiting: Option<Vec<Key>>,
    /// Members that had stopped and are asked what has become of them, behind that.
    asked: Option<Vec<Key>>,
    /// What the progress line knows already.
    shown: [u64; 3],
}

impl<'p> Worker<'p> {
    /// The thread of this number.
    pub fn new(
        plan: &'p Plan,
        course: &'p Course,
        notes: Sender<Note>,
        io: PollIo,
        thread: usize,
    ) -> Worker<'p> {
        let keys = match plan.seeded {
            true => MaskKeys::seeded(plan.seed.wrapping_add(thread as u64)),
            false => MaskKeys::from_os(),
        };
        let specs = plan.specs_of(thread);
        let is_member =
            |spec: &&Spec| matches!(spec.part, Part::Member(_) | Part::Pacer(_) | Part::Stalling(_));
        let message_bytes_max = plan.size.max(Limits::default().message_bytes_max);
        Worker {
            plan,
            course,
            notes,
            io,
            limits: Limits { message_bytes_max, fragments_max: FRAGMENTS_MAX, ..Limits::default() },
            peers: Slab::default(),
            members: specs.iter().filter(is_member).count() as u64,
            to_open: specs.into(),
            again: VecDeque::new(),
            opening: 0,
            open_max: 0,
            opened_waves: 0,
            storm: 0,
            traffic: Traffic::new(plan, keys),
            meter: Meter::new(plan.pid.filter(|_| thread == 0)),
            buffer: vec![0; RECEIVE_BYTES],
            out: Vec::new(),
            has_begun: false,
            is_spent: false,
            probe_at: Time::ZERO,
            arrived: Time::ZERO,
            waiting: None,
            asked: None,
            shown: [0; 3],
        }
    }

    /// Opens the connections, makes the load, and says what came of it.
    ///
    /// # Errors
    ///
    /// What the run cannot go on without.
    pub fn run(mut self) -> Result<Tally, String> {
        let mut ready: Vec<Ready> = Vec::new();
        while !self.course.is_stopped() {
            let now = self.io.now();
            self.follow(now)?;
            self.open_more(now)?;
            self.send_touched();
            self.show();
            if self.is_done(now)? {
                break;
            }
            let deadline = self.deadline(now);
            let waited = self.io.wait_finely(&mut ready, deadline);
            waited.map_err(|error| format!("cannot wait for sockets: {error}"))?;
            for ready in &ready {
                self.serve(*ready)?;
                self.send_touched();
            }
        }
        self.finish()
    }

    /// Sends what has become due.
    fn send_touched(&mut self) {
        while let Some(at) = self.traffic.pop_touched() {
            let Some(key) = self.traffic.flow(at).sender else { continue };
            let Some(peer) = self.peers.get_mut(key) else { continue };
            while peer.can_send() {
                self.out.clear();
                self.traffic.push_due(at, self.io.now(), &mut self.out);
                // What broke is found by the next read.
                if self.out.is_empty() || peer.send(&mut self.io, key, &self.out).is_err() {
                    break;
                }
            }
        }
    }

    /// Does what the course of the run says.
    fn follow(&mut self, now: Time) -> Result<(), String> {
        let course = self.course;
        if self.traffic.stage <= Stage::Joining && now >= course.begin() {
            self.traffic.begin(course.begin(), self.plan.flows);
        }
        match self.traffic.stage {
            Stage::Waiting | Stage::Joining => self.join(now),
            Stage::Running => {
                self.traffic.measure([course.calm_from(), course.from(), course.until()]);
                self.traffic.follow_schedule(now);
                let span = self.traffic.span_at(now.as_nanos());
                if span != self.traffic.measuring {
                    self.traffic.measuring = span;
                    self.meter.turn_to(span, now);
                    if span == Some(Span::Main) {
                        self.stall()?;
                    }
                }
                if !self.is_spent && self.traffic.is_spent() {
                    self.is_spent = true;
                    self.note(Note::Spent);
                }
                if course.storm() > self.storm {
                    self.break_all();
                }
                if now >= course.until() {
                    self.traffic.end();
                }
            }
            Stage::Over => {}
        }
        Ok(())
    }

    /// Sends first messages until every member is known to have got one.
    fn join(&mut self, now: Time) {
        if self.course.is_joining() && now >= self.probe_at {
            // Without a number a second one would look like the first.
            let again = self.traffic.can_join_anywhere();
            self.probe_at = if again { now + PROBE_EVERY } else { Time::NEVER };
            self.traffic.probe();
        }
        if !self.has_begun && self.traffic.tally.begun >= self.members {
            self.has_begun = true;
            self.note(Note::Begun);
        }
    }

    /// Whether nothing more is to come, or has come for too long.
    fn is_done(&mut self, now: Time) -> Result<bool, String> {
        if self.traffic.stage != Stage::Over {
            return Ok(false);
        }
        // First the others: what is read by those that had stopped would make them wait.
        if self.asked.is_none() && (self.have_all() || now >= self.patience()) {
            self.asked = Some(self.ask_stopped(now)?);
        }
        let patience = self.patience();
        let peers = &self.peers;
        let Some(asked) = &mut self.asked else { return Ok(false) };
        let is_told = |key: &Key| !peers.get(*key).is_some_and(Peer::awaits_answer);
        while asked.last().is_some_and(is_told) {
            asked.pop();
        }
        Ok(asked.is_empty() || now >= patience)
    }

    /// Whether all that read have everything.
    fn have_all(&mut self) -> bool {
        let lasts = self.traffic.lasts();
        for (flow, last) in lasts.iter().flatten() {
            self.course.set_last(*flow, *last);
        }
        let peers = &self.peers;
        let waiting = self.waiting.get_or_insert_with(|| peers.keys().collect());
        let has_all = |key: &Key| {
            let Some(peer) = peers.get(*key).filter(|peer| !peer.has_stopped()) else { return true };
            let Some(receiver) = &peer.receives else { return true };
            let last = last_of(self.course, &self.traffic, receiver);
            last.is_some_and(|last| !receiver.misses() || receiver.account.next() > last)
        };
        while waiting.last().is_some_and(has_all) {
            waiting.pop();
        }
        waiting.is_empty() && lasts.is_some()
    }

    /// Until when something has to come once it is over.
    fn patience(&self) -> Time {
        self.course.until().max(self.arrived) + self.plan.timeout
    }

    fn deadline(&self, now: Time) -> Option<Time> {
        let course = self.course;
        let borders = match self.traffic.stage {
            Stage::Waiting if !course.is_joining() => [course.begin(), Time::NEVER, Time::NEVER],
            Stage::Waiting | Stage::Joining => [course.begin(), self.probe_at, Time::NEVER],
            Stage::Running => [course.calm_from(), course.from(), course.until()],
            Stage::Over => [self.patience(), Time::NEVER, Time::NEVER],
        };
        let coming = borders.into_iter().filter(|border| *border > now);
        let again = self.again.front().map(|(at, _)| *at);
        let next = coming.chain(again).chain(self.traffic.next_due()).min()?;
        (next < Time::NEVER).then_some(next.max(now))
    }

    /// Says how far it is, for the progress line.
    fn show(&mut self) {
        let tally = &self.traffic.tally;
        let live = &self.course.live;
        let now = [tally.received, tally.errors.sum(), tally.begun];
        let counts = [&live.received, &live.errors, &live.begun];
        for (at, count) in counts.into_iter().enumerate() {
            if now[at] > self.shown[at] {
                count.fetch_add(now[at] - self.shown[at], Ordering::Relaxed);
            }
        }
        self.shown = now;
    }

    fn keys(&self) -> Vec<Key> {
        self.peers.keys().collect()
    }

    fn note(&self, note: Note) {
        // Nobody listens any more once the run has failed.
        let _ = self.notes.send(note);
    }

    /// Takes leave of the server, and says what was counted.
    fn finish(mut self) -> Result<Tally, String> {
        self.traffic.give_up();
        for (flow, last) in self.traffic.lasts().into_iter().flatten() {
            self.course.set_last(flow, last);
        }
        for key in self.keys() {
            if self.peers.get(key).is_some_and(|peer| !peer.is_reading()) {
                self.read_rest(key)?;
            }
            let Some(mut peer) = self.peers.remove_at(key.index()) else { continue };
            if let Some(receiver) = &peer.receives {
                let last = last_of(self.course, &self.traffic, receiver).filter(|_| receiver.misses());
                self.traffic.settle(receiver, last, peer.has_stopped());
            }
            if peer.can_send() {
                self.out.clear();
                let code = CloseCode::NORMAL_CLOSURE.as_u16().to_be_bytes();
                push_client_frame(&mut self.out, Opcode::Close, true, &code, self.traffic.key());
                // It may be gone already.
                let _ = peer.send(&mut self.io, key, &self.out);
            }
            self.io.close(peer.stream);
        }
        self.meter.read_into(&mut self.traffic.tally);
        Ok(self.traffic.tally)
    }
}

/// The last sequence of the flow that a receiver gets, once it is known.
fn last_of(course: &Course, traffic: &Traffic, receiver: &Receiver) -> Option<u64> {
    match receiver.paces {
        Some(at) => traffic.last_of(at),
        None => course.last_of(receiver.flow),
    }
}
