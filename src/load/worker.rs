//! A thread that makes load: its connections and their turns.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::Sender;
use rustix::net::sockopt;

use fanfare::protocol::{CloseCode, Connection, Event, Input, Limits, MaskKeys, Opcode, push_client_frame};
use fanfare::reactor::{Io, PollIo, Ready};
use fanfare::slab::{Key, Slab};
use fanfare::time::Time;

use super::account::Account;
use super::course::{Course, Note};
use super::dial;
use super::meter::Meter;
use super::peer::{self, Peer, Reader};
use super::plan::{Part, Plan, Spec};
use super::tally::Tally;
use super::traffic::{Receiver, Stage, Traffic};

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
    opening: u32,
    opened_waves: u32,
    traffic: Traffic,
    meter: Meter,
    buffer: Vec<u8>,
    out: Vec<u8>,
    /// Members that have to get a first message before the traffic begins.
    members: u64,
    has_begun: bool,
    is_spent: bool,
    probe_at: Time,
    arrived: Time,
    /// Receivers that are not known to have everything, from the end on.
    waiting: Option<Vec<Key>>,
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
        let is_member = |spec: &&Spec| matches!(spec.part, Part::Member(_) | Part::Pacer(_));
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
            opening: 0,
            opened_waves: 0,
            traffic: Traffic::new(plan, keys),
            meter: Meter::new(plan.pid.filter(|_| thread == 0)),
            buffer: vec![0; RECEIVE_BYTES],
            out: Vec::new(),
            has_begun: false,
            is_spent: false,
            probe_at: Time::ZERO,
            arrived: Time::ZERO,
            waiting: None,
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
            self.open_more()?;
            self.follow(now);
            self.send_touched();
            self.show();
            if self.is_done(now) {
                break;
            }
            let deadline = self.deadline(now);
            self.io
                .wait(&mut ready, deadline)
                .map_err(|error| format!("cannot wait for sockets: {error}"))?;
            for ready in &ready {
                self.serve(*ready)?;
                self.send_touched();
            }
        }
        Ok(self.finish())
    }

    /// Opens connections, as many at a time as were asked for.
    fn open_more(&mut self) -> Result<(), String> {
        while let Some(spec) = self.to_open.front().copied().filter(|spec| spec.wave <= self.course.wave()) {
            if self.opening >= self.plan.opening {
                return Ok(());
            }
            self.to_open.pop_front();
            self.open(spec)?;
        }
        if self.opening == 0 && self.opened_waves <= self.course.wave() {
            self.opened_waves = self.course.wave() + 1;
            self.note(Note::Opened);
        }
        Ok(())
    }

    fn open(&mut self, spec: Spec) -> Result<(), String> {
        let target = &self.plan.targets[spec.target as usize];
        let source = self.plan.source_of(spec.number);
        let (socket, is_there) =
            dial::open(target.address, source).map_err(|error| dial::explain(target, source, &error))?;
        let (sends, receives) = self.part_of(spec);
        let stream = self.io.register(socket, self.peers.next_key());
        let stream = stream.map_err(|error| dial::explain(target, source, &error))?;
        let key = self.peers.insert(Peer::new(stream, spec, sends, receives));
        self.opening += 1;
        if is_there {
            return self.upgrade(key);
        }
        let peer = self.peers.get_mut(key).expect("it was inserted right here");
        peer.await_connected(&mut self.io, key).map_err(|error| dial::explain(target, source, &error))
    }

    /// What a connection sends and gets.
    fn part_of(&mut self, spec: Spec) -> (Option<u32>, Option<Receiver>) {
        let receiver = |flow, paces, joins, is_optional| {
            Some(Receiver { flow, paces, account: Account::default(), joins, is_optional })
        };
        let joins = self.traffic.can_join_anywhere();
        match spec.part {
            Part::Echo(flow) => {
                let at = self.traffic.add_flow(flow);
                (Some(at), receiver(flow, Some(at), false, false))
            }
            Part::Member(flow) => (None, receiver(flow, None, joins, false)),
            // The publisher comes later and is on the same thread: it finds this place.
            Part::Pacer(flow) => {
                let at = self.traffic.add_flow(flow);
                (None, receiver(flow, Some(at), joins, false))
            }
            Part::Publisher(flow) => (self.traffic.place_of(flow), receiver(flow, None, joins, true)),
        }
    }

    /// Sends the request of the opening handshake.
    fn upgrade(&mut self, key: Key) -> Result<(), String> {
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        let target = &self.plan.targets[peer.spec.target as usize];
        let mut nonce = [0; 16];
        for part in nonce.as_chunks_mut::<4>().0 {
            *part = self.traffic.key();
        }
        let handshake = dial::handshake(target, &self.plan.headers, nonce);
        let io = &mut self.io;
        let sent = peer.flush(io, key).and_then(|_| peer.send(io, key, handshake.request()));
        peer.stage = peer::Stage::Upgrading(Box::new(handshake));
        sent.map_err(|error| dial::explain(target, self.plan.source_of(peer.spec.number), &error))
    }

    fn serve(&mut self, ready: Ready) -> Result<(), String> {
        let key = ready.key;
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        if matches!(peer.stage, peer::Stage::Connecting) {
            if !ready.writable && !ready.hung_up {
                return Ok(());
            }
            return match sockopt::socket_error(&peer.stream) {
                Ok(Ok(())) => self.upgrade(key),
                Ok(Err(error)) | Err(error) => {
                    let target = &self.plan.targets[peer.spec.target as usize];
                    Err(dial::explain(target, self.plan.source_of(peer.spec.number), &error.into()))
                }
            };
        }
        if ready.writable {
            match peer.flush(&mut self.io, key) {
                Ok(true) => peer.sends.into_iter().for_each(|at| self.traffic.touch(at)),
                Ok(false) => {}
                Err(error) => return self.end(key, format!("the connection broke: {error}")),
            }
        }
        if ready.readable || ready.hung_up { self.receive(key) } else { Ok(()) }
    }

    fn receive(&mut self, key: Key) -> Result<(), String> {
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        let received = match self.io.receive(&peer.stream, &mut self.buffer) {
            Ok(0) => return self.end(key, "ended by the server without a Close".to_owned()),
            Ok(received) => received,
            Err(error) if peer::is_later(&error) => return Ok(()),
            Err(error) => return self.end(key, format!("the connection broke: {error}")),
        };
        self.arrived = self.io.now();
        let mut start = 0;
        if let peer::Stage::Upgrading(handshake) = &mut peer.stage {
            let bytes = &self.buffer[..received];
            let target = &self.plan.targets[peer.spec.target as usize];
            let answer = handshake.receive(bytes);
            match answer.map_err(|error| dial::explain_refusal(target, &error, bytes))? {
                Some(accepted) => start = accepted.used,
                None => return Ok(()),
            }
            peer.stage = peer::Stage::Open(Reader::new(self.plan.checked));
            if let Some(at) = peer.sends {
                self.traffic.flow_mut(at).sender = Some(key);
            }
            self.opening -= 1;
            self.course.live.open.fetch_add(1, Ordering::Relaxed);
        }
        self.read(key, start..received)
    }

    /// Takes frames in.
    fn read(&mut self, key: Key, range: Range<usize>) -> Result<(), String> {
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        let (peer::Stage::Open(reader), Some(receiver)) = (&mut peer.stage, &mut peer.receives) else {
            return Ok(());
        };
        self.out.clear();
        let bytes = &mut self.buffer[range];
        let arrived = self.arrived;
        let cause = match reader {
            Reader::Strict(connection) => {
                let mut desk = Desk { traffic: &mut self.traffic, receiver, answers: &mut self.out };
                desk.read(connection, &mut Input::new(bytes), arrived, &self.limits)
            }
            Reader::Skimming(skimmer) => match skimmer.take(bytes) {
                Ok(skimmed) => {
                    for _ in 0..skimmed.messages {
                        self.traffic.take(receiver, None, arrived.as_nanos());
                    }
                    skimmed.closed.then(|| "closed by the server".to_owned())
                }
                Err(error) => Some(format!("the server broke the protocol: {error}")),
            },
        };
        let sent = if self.out.is_empty() { Ok(()) } else { peer.send(&mut self.io, key, &self.out) };
        match (cause, sent) {
            (Some(cause), _) => self.end(key, cause),
            (None, Err(error)) => self.end(key, format!("the connection broke: {error}")),
            (None, Ok(())) => Ok(()),
        }
    }

    /// Notes that the server ended a connection; while it is being opened nothing can go on without it.
    fn end(&mut self, key: Key, cause: String) -> Result<(), String> {
        let Some(peer) = self.peers.remove_at(key.index()) else { return Ok(()) };
        if !matches!(peer.stage, peer::Stage::Open(_)) {
            let target = &self.plan.targets[peer.spec.target as usize];
            return Err(format!("{}: no WebSocket: {cause}", target.url));
        }
        self.io.close(peer.stream);
        self.course.live.open.fetch_sub(1, Ordering::Relaxed);
        let tally = &mut self.traffic.tally;
        tally.errors.closed += 1;
        tally.note_cause(cause);
        if let Some(receiver) = peer.receives {
            tally.errors.lost += receiver.account.missing(None);
        }
        if let Some(at) = peer.sends {
            self.traffic.flow_mut(at).sender = None;
        }
        if self.peers.is_empty() {
            self.note(Note::Gone);
        }
        Ok(())
    }

    /// Sends what has become due.
    fn send_touched(&mut self) {
        while let Some(at) = self.traffic.pop_touched() {
            let Some(key) = self.traffic.flow(at).sender else { continue };
            let Some(peer) = self.peers.get_mut(key) else { continue };
            while peer.can_send() {
                self.out.clear();
                self.traffic.push_due(at, self.io.now(), &mut self.out);
                if self.out.is_empty() {
                    break;
                }
                // What broke is found by the next read.
                if peer.send(&mut self.io, key, &self.out).is_err() {
                    break;
                }
            }
        }
    }

    /// Does what the course of the run says.
    fn follow(&mut self, now: Time) {
        if self.traffic.stage <= Stage::Joining && now >= self.course.begin() {
            self.traffic.begin(self.course.begin(), self.plan.flows);
        }
        match self.traffic.stage {
            Stage::Waiting | Stage::Joining => self.join(now),
            Stage::Running => {
                let (from, until) = (self.course.from(), self.course.until());
                self.traffic.measure(from, until);
                self.traffic.follow_schedule(now);
                if !self.traffic.is_measured && now >= from && now < until {
                    self.traffic.is_measured = true;
                    self.meter.start(now);
                }
                if !self.is_spent && self.traffic.is_spent() {
                    self.is_spent = true;
                    self.note(Note::Spent);
                }
                if now >= until {
                    self.traffic.is_measured = false;
                    self.meter.stop(now);
                    self.traffic.end();
                }
            }
            Stage::Over => {}
        }
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
    fn is_done(&mut self, now: Time) -> bool {
        if self.traffic.stage != Stage::Over {
            return false;
        }
        if let Some(lasts) = self.traffic.lasts() {
            for (flow, last) in lasts {
                self.course.set_last(flow, last);
            }
        }
        let peers = &self.peers;
        let waiting = self.waiting.get_or_insert_with(|| peers.keys().collect());
        while let Some(key) = waiting.last() {
            let receiver = peers.get(*key).and_then(|peer| peer.receives.as_ref());
            let has_all = receiver.is_none_or(|receiver| {
                let last = last_of(self.course, &self.traffic, receiver);
                let is_missed = !receiver.is_optional || receiver.account.has_begun();
                last.is_some_and(|last| !is_missed || receiver.account.next() > last)
            });
            if !has_all {
                return now >= self.course.until().max(self.arrived) + self.plan.timeout;
            }
            waiting.pop();
        }
        self.traffic.lasts().is_some() || now >= self.course.until().max(self.arrived) + self.plan.timeout
    }

    fn deadline(&self, now: Time) -> Option<Time> {
        let course = self.course;
        let borders = match self.traffic.stage {
            Stage::Waiting if !course.is_joining() => [course.begin(), Time::NEVER],
            Stage::Waiting | Stage::Joining => [course.begin(), self.probe_at],
            Stage::Running if self.traffic.is_measured => [course.until(), Time::NEVER],
            Stage::Running => [course.from(), course.until()],
            Stage::Over => [course.until().max(self.arrived) + self.plan.timeout, Time::NEVER],
        };
        let next = borders.into_iter().chain(self.traffic.next_due()).min()?;
        (next < Time::NEVER).then_some(next.max(now))
    }

    /// Says how far it is, for the progress line.
    fn show(&mut self) {
        let tally = &self.traffic.tally;
        let now = [tally.received, tally.errors.sum(), tally.begun];
        let live = &self.course.live;
        for (count, (now, shown)) in
            [&live.received, &live.errors, &live.begun].into_iter().zip(now.into_iter().zip(self.shown))
        {
            if now > shown {
                count.fetch_add(now - shown, Ordering::Relaxed);
            }
        }
        self.shown = now;
    }

    fn note(&self, note: Note) {
        // Nobody listens any more once the run has failed.
        let _ = self.notes.send(note);
    }

    /// Takes leave of the server, and says what was counted.
    fn finish(mut self) -> Tally {
        self.traffic.count_unsent();
        let keys: Vec<Key> = self.peers.keys().collect();
        for key in keys {
            let Some(mut peer) = self.peers.remove_at(key.index()) else { continue };
            if let Some(receiver) = &peer.receives {
                let is_missed = !receiver.is_optional || receiver.account.has_begun();
                let last = last_of(self.course, &self.traffic, receiver).filter(|_| is_missed);
                self.traffic.tally.errors.lost += receiver.account.missing(last);
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
        self.traffic.tally
    }
}

/// The last sequence of the flow that a receiver gets, once it is known.
fn last_of(course: &Course, traffic: &Traffic, receiver: &Receiver) -> Option<u64> {
    match receiver.paces {
        Some(at) => traffic.last_of(at),
        None => course.last_of(receiver.flow),
    }
}

/// Where the frames of one connection are taken in.
struct Desk<'d> {
    traffic: &'d mut Traffic,
    receiver: &'d mut Receiver,
    /// Frames to send in answer.
    answers: &'d mut Vec<u8>,
}

impl Desk<'_> {
    /// Takes everything in, and says why the connection is over, if it is.
    fn read(
        &mut self,
        connection: &mut Connection,
        input: &mut Input<'_>,
        arrived: Time,
        limits: &Limits,
    ) -> Option<String> {
        while let Some(event) = connection.next_event(arrived, input, limits) {
            match event {
                Event::Message(message) => {
                    self.traffic.take(self.receiver, Some(&message), arrived.as_nanos());
                }
                Event::Ping(payload) => {
                    self.traffic.tally.pings += 1;
                    push_client_frame(self.answers, Opcode::Pong, true, payload, self.traffic.key());
                }
                Event::Close { code, reason, .. } => {
                    let payload = code.map(|code| code.as_u16().to_be_bytes());
                    let payload = payload.as_ref().map_or(&[][..], |payload| payload);
                    push_client_frame(self.answers, Opcode::Close, true, payload, self.traffic.key());
                    let code =
                        code.map_or("without a code".to_owned(), |code| format!("with {}", code.as_u16()));
                    return Some(format!("closed by the server {code}: {}", reason.escape_debug()));
                }
                Event::Failed(failure) => return Some(format!("the server broke the protocol: {failure}")),
                Event::Pong(_) | Event::Request(_) | Event::Body { .. } | Event::BadRequest(_) => {}
            }
        }
        None
    }
}
