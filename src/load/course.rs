//! How far a run is, as all of its threads see it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use fanfare::reactor::{MonotonicClock, PollWaker, Wake};
use fanfare::time::Time;

/// Stands for what is not known yet.
const UNKNOWN: u64 = u64::MAX;

/// What a thread tells the one that conducts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// All of its connections up to the current wave are open, after so many storms.
    Opened(u32),
    /// Each of its members has got a first message.
    Begun,
    /// Each of its senders has sent as many messages as were asked for, and they have come back.
    Spent,
    /// None of its connections is left.
    Gone,
    /// It could not go on.
    Failed,
    /// It has ended.
    Done,
    /// Somebody wants to see the results so far.
    Interrupted,
}

/// How far a run is. Times are nanoseconds of the clock that all threads share.
#[derive(Debug)]
pub struct Course {
    /// The clock.
    pub clock: MonotonicClock,
    wakers: Vec<PollWaker>,
    wave: AtomicU32,
    joining: AtomicBool,
    stopped: AtomicBool,
    storm: AtomicU32,
    begin: AtomicU64,
    calm_from: AtomicU64,
    from: AtomicU64,
    until: AtomicU64,
    /// The last sequence of each flow that several threads get.
    lasts: Vec<AtomicU64>,
    /// For the progress line and the patience of the conductor.
    pub live: Live,
}

/// Counts that are shown while it runs.
#[derive(Debug, Default)]
pub struct Live {
    /// Connections that are open.
    pub open: AtomicU64,
    /// Connections that were opened. Where they come back, how often more were open than before since the last
    /// storm: what comes and goes again and again is no progress.
    pub gained: AtomicU64,
    /// Members that have got a first message.
    pub begun: AtomicU64,
    /// Messages that have come.
    pub received: AtomicU64,
    /// Messages and connections that are wrong.
    pub errors: AtomicU64,
}

impl Course {
    /// A run that has not begun.
    pub fn new(clock: MonotonicClock, wakers: Vec<PollWaker>, flows: usize) -> Course {
        let unknown = || AtomicU64::new(UNKNOWN);
        Course {
            clock,
            wakers,
            wave: AtomicU32::new(0),
            joining: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            storm: AtomicU32::new(0),
            begin: unknown(),
            calm_from: unknown(),
            from: unknown(),
            until: unknown(),
            lasts: (0..flows).map(|_| unknown()).collect(),
            live: Live::default(),
        }
    }

    fn wake_all(&self) {
        for waker in &self.wakers {
            waker.wake();
        }
    }

    /// The wave whose connections may be opened.
    pub fn wave(&self) -> u32 {
        self.wave.load(Ordering::Acquire)
    }

    /// Lets the connections of a wave be opened.
    pub fn open_wave(&self, wave: u32) {
        self.wave.store(wave, Ordering::Release);
        self.wake_all();
    }

    /// Whether publishers send first messages.
    pub fn is_joining(&self) -> bool {
        self.joining.load(Ordering::Acquire)
    }

    /// Lets publishers send first messages.
    pub fn join(&self) {
        self.joining.store(true, Ordering::Release);
        self.wake_all();
    }

    /// Begins the traffic: after `warm_up` it is measured while all read for `calm`, then for `duration`.
    pub fn run(&self, warm_up: Duration, calm: Duration, duration: Duration) {
        let begin = self.clock.now();
        let calm_from = begin + warm_up;
        let from = calm_from + calm;
        self.until.store((from + duration).as_nanos(), Ordering::Release);
        self.from.store(from.as_nanos(), Ordering::Release);
        self.calm_from.store(calm_from.as_nanos(), Ordering::Release);
        self.begin.store(begin.as_nanos(), Ordering::Release);
        self.wake_all();
    }

    /// How often all connections were to break so far.
    pub fn storm(&self) -> u32 {
        self.storm.load(Ordering::Acquire)
    }

    /// Lets all connections break for this time.
    pub fn break_all(&self, storm: u32) {
        self.storm.store(storm, Ordering::Release);
        self.wake_all();
    }

    /// When the traffic begins, [`Time::NEVER`] as long as that is not known.
    pub fn begin(&self) -> Time {
        Time::from_nanos(self.begin.load(Ordering::Acquire))
    }

    /// From when it is measured while all read.
    pub fn calm_from(&self) -> Time {
        Time::from_nanos(self.calm_from.load(Ordering::Acquire))
    }

    /// From when it is measured, and some have stopped reading if they are to.
    pub fn from(&self) -> Time {
        Time::from_nanos(self.from.load(Ordering::Acquire))
    }

    /// Until when it is measured; nothing is sent then but what was due before.
    pub fn until(&self) -> Time {
        Time::from_nanos(self.until.load(Ordering::Acquire))
    }

    /// Ends the traffic now, if that is earlier.
    pub fn end(&self) {
        self.until.fetch_min(self.clock.now().as_nanos(), Ordering::AcqRel);
        self.wake_all();
    }

    /// Whether everything is to be dropped.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Lets every thread drop everything.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.wake_all();
    }

    /// The last sequence of a flow, once it is known.
    pub fn last_of(&self, flow: u32) -> Option<u64> {
        let last = self.lasts.get(flow as usize)?.load(Ordering::Acquire);
        (last != UNKNOWN).then_some(last)
    }

    /// Says what the last sequence of a flow is.
    pub fn set_last(&self, flow: u32, last: u64) {
        if let Some(slot) = self.lasts.get(flow as usize)
            && slot.swap(last, Ordering::AcqRel) != last
        {
            self.wake_all();
        }
    }
}
