//! What the operating system does to the shards: short, late, lying and failing calls, each with odds of
//! its own that the seed draws, half of them never.

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::rc::Rc;

use fanfare::reactor::Ready;
use fanfare::slab::Key;

use crate::chance::{Chance, Odds};
use crate::common::sim::{Call, Faults, SocketId, Verdict};
use crate::trace::{NOBODY, Trace};

/// Keys of the past that a stale report may name.
const PAST_KEYS: usize = 64;

/// How often what goes wrong.
#[derive(Clone, Debug)]
pub struct FaultOdds {
    pub short_read: Odds,
    pub short_write: Odds,
    pub blocked_read: Odds,
    pub blocked_write: Odds,
    pub interrupted: Odds,
    pub reset_read: Odds,
    pub reset_write: Odds,
    /// The peer resets while we end our side.
    pub reset_end: Odds,
    pub register: Odds,
    pub set_interest: Odds,
    /// A report of readiness that is not there.
    pub lie: Odds,
    /// A report that comes only with a later wait.
    pub late: Odds,
    /// A report for a key of the past.
    pub stale: Odds,
}

impl FaultOdds {
    pub fn draw(chance: &mut Chance) -> FaultOdds {
        let mut often = |most: usize| if chance.one_in(2) { 0 } else { chance.magnitude(64..=most) as Odds };
        FaultOdds {
            short_read: often(40_000),
            short_write: often(40_000),
            blocked_read: often(20_000),
            blocked_write: often(20_000),
            interrupted: often(8_000),
            reset_read: often(400),
            reset_write: often(400),
            reset_end: often(20_000),
            register: often(8_000),
            set_interest: often(400),
            lie: often(20_000),
            late: often(30_000),
            stale: often(20_000),
        }
    }
}

/// The operating system of one run.
#[derive(Debug)]
pub struct World {
    chance: Chance,
    odds: FaultOdds,
    /// Nothing goes wrong any more.
    pub calm: Rc<Cell<bool>>,
    past: Vec<Key>,
    trace: Rc<RefCell<Trace>>,
}

impl World {
    pub fn new(chance: Chance, odds: FaultOdds, trace: Rc<RefCell<Trace>>) -> World {
        World { chance, odds, calm: Rc::default(), past: Vec::new(), trace }
    }

    fn later(&mut self, blocked: Odds) -> Option<Verdict> {
        if self.chance.odds(blocked) {
            return Some(Verdict::Fail(ErrorKind::WouldBlock));
        }
        self.chance.odds(self.odds.interrupted).then_some(Verdict::Fail(ErrorKind::Interrupted))
    }

    fn decide(&mut self, call: Call) -> Verdict {
        const DEAD: [ErrorKind; 3] = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe, ErrorKind::TimedOut];
        let (short, blocked, reset) = match call {
            Call::Register | Call::SetInterest => {
                let odds = if call == Call::Register { self.odds.register } else { self.odds.set_interest };
                let fails = self.chance.odds(odds);
                return if fails { Verdict::Fail(ErrorKind::OutOfMemory) } else { Verdict::Proceed };
            }
            Call::ShutdownWrite => {
                let reset = self.chance.odds(self.odds.reset_end);
                return if reset { Verdict::Fail(ErrorKind::ConnectionReset) } else { Verdict::Proceed };
            }
            Call::Receive => (self.odds.short_read, self.odds.blocked_read, self.odds.reset_read),
            Call::Send => (self.odds.short_write, self.odds.blocked_write, self.odds.reset_write),
        };
        if self.chance.odds(reset) {
            return Verdict::Fail(*self.chance.pick(&DEAD));
        }
        if let Some(later) = self.later(blocked) {
            return later;
        }
        if self.chance.odds(short) {
            return Verdict::Short(self.chance.magnitude(1..=4096));
        }
        Verdict::Proceed
    }
}

impl Faults for World {
    fn judge(&mut self, call: Call, id: SocketId) -> Verdict {
        let verdict = if self.calm.get() { Verdict::Proceed } else { self.decide(call) };
        let what = match call {
            Call::Register => "register",
            Call::SetInterest => "watch",
            Call::Receive => "receive",
            Call::Send => "send",
            Call::ShutdownWrite => "end",
        };
        let number = match verdict {
            Verdict::Proceed => 0,
            Verdict::Short(bytes) => bytes as u64,
            Verdict::Fail(_) => u64::MAX,
        };
        self.trace.borrow_mut().tell(id.0, what, number, || format!("{verdict:?}"));
        verdict
    }

    fn report(&mut self, watched: &[(SocketId, Key)], ready: &mut Vec<Ready>) {
        if !self.calm.get() {
            let (late, lie) = (self.odds.late, self.odds.lie);
            ready.retain(|_| !self.chance.odds(late));
            if self.chance.odds(lie) && !watched.is_empty() {
                let (_, key) = *self.chance.pick(watched);
                let (readable, writable) = (self.chance.one_in(2), self.chance.one_in(2));
                ready.push(Ready { key, readable, writable, hung_up: false });
            }
            if self.chance.odds(self.odds.stale) && !self.past.is_empty() {
                let key = *self.chance.pick(&self.past);
                if watched.iter().all(|(_, known)| *known != key) {
                    ready.push(Ready { key, readable: true, writable: true, hung_up: true });
                }
            }
            self.chance.shuffle(ready);
            if let Some((_, key)) = watched.last() {
                let place = self.chance.below(PAST_KEYS);
                if place < self.past.len() {
                    self.past[place] = *key;
                } else {
                    self.past.push(*key);
                }
            }
        }
        self.trace.borrow_mut().note(NOBODY, "ready", ready.len() as u64);
    }
}
