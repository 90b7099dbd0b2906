//! Leads the threads through a run.

use std::num::NonZeroU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use rustix::thread::set_current_timer_slack;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use fanfare::reactor::{MonotonicClock, PollIo};

use super::LoadError;
use super::course::{Course, Note};
use super::plan::{Kind, Plan};
use super::process::Usage;
use super::progress::Progress;
use super::tally::Tally;
use super::worker::Worker;

/// How often the progress is shown, and patience looked at.
const TICK: Duration = Duration::from_millis(250);
/// Longer than any run.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What a run gave.
#[derive(Debug)]
pub struct Measured {
    /// The sum over all threads.
    pub tally: Tally,
    /// The server's memory before it had any of the connections.
    pub rss_before: Option<u64>,
    /// Whether it was ended before its time.
    pub is_interrupted: bool,
    /// Seconds from the begin of each storm until all were back.
    pub back_s: Vec<f64>,
    /// Why it could not go on, if it could not: this is what came before.
    pub failure: Option<String>,
}

/// Makes a run.
///
/// # Errors
///
/// When it could not be made.
pub fn measure(plan: &Plan) -> Result<Measured, LoadError> {
    let resources = |what| move |error| LoadError::Failed(format!("no {what} for the load: {error}"));
    let clock = MonotonicClock::start();
    let mut pollers = Vec::new();
    for _ in 0..plan.threads() {
        pollers.push(PollIo::new(clock).map_err(resources("poller"))?);
    }
    let flows = if plan.publishers() > 0 { plan.flows as usize } else { 0 };
    let course = Course::new(clock, pollers.iter().map(PollIo::waker).collect(), flows);
    let (notes, heard) = unbounded();
    watch_signals(notes.clone()).map_err(resources("signals"))?;
    let rss_before = plan.pid.and_then(|pid| Usage::of_process(pid).ok()).map(|usage| usage.rss_bytes);
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for (thread, io) in pollers.into_iter().enumerate() {
            let (notes, course) = (notes.clone(), &course);
            let body = move || work(plan, course, notes, io, thread);
            let builder = thread::Builder::new().name(format!("load-{thread}"));
            match builder.spawn_scoped(scope, body) {
                Ok(handle) => threads.push(handle),
                Err(error) => {
                    course.stop();
                    return Err(resources("thread")(error));
                }
            }
        }
        let mut conductor = Conductor::new(plan, &course, heard);
        let conducted = conductor.conduct();
        if conducted.is_err() {
            course.stop();
        }
        let mut tally = Tally::default();
        for thread in threads {
            let ended = thread.join().map_err(|_| LoadError::Failed("a thread panicked".to_owned()))?;
            tally.add(ended.map_err(LoadError::Failed)?);
        }
        tally.settle_ended();
        conducted.map_err(|error| with_causes(error, &tally))?;
        if conductor.spent == plan.threads() && tally.window.is_empty() && tally.errors.sum() == 0 {
            return Err(spent_too_early(plan));
        }
        let Conductor { is_interrupted, back_s, failure, .. } = conductor;
        let failure = failure.map(|error| with_causes(error, &tally).to_string());
        Ok(Measured { tally, rss_before, is_interrupted, back_s, failure })
    })
}

/// A failure, with what became of the connections.
fn with_causes(error: LoadError, tally: &Tally) -> LoadError {
    let refusals = tally.refusals.iter().map(|cause| ("not accepted", cause));
    let causes = refusals.chain(tally.causes.iter().map(|cause| ("ended", cause)));
    match causes.max_by_key(|(_, (_, ended))| ended.count) {
        Some((what, (kind, ended))) => {
            LoadError::Failed(format!("{error}; {} {what}: {}", ended.count, ended.cause(kind)))
        }
        None => error,
    }
}

/// All messages came before anything was measured.
fn spent_too_early(plan: &Plan) -> LoadError {
    let messages = plan.messages.unwrap_or_default();
    let before = humantime::format_duration(plan.warm_up + plan.calm);
    let (before, advice) = match plan.calm {
        Duration::ZERO => (format!("--warm-up {before}"), "--warm-up 0s"),
        _ => (format!("{before} (--warm-up, --duration) in which all members read"), "a shorter --duration"),
    };
    LoadError::Failed(format!(
        "nothing was measured: the --messages {messages} of each sender had all come within the \
         {before}; set {advice}, or more --messages"
    ))
}

/// The body of a thread.
fn work(
    plan: &Plan,
    course: &Course,
    notes: Sender<Note>,
    io: PollIo,
    thread: usize,
) -> Result<Tally, String> {
    if let Some(core) = plan.cores[thread]
        && !core_affinity::set_for_current(core)
    {
        let message = format!("--pin: thread {thread} cannot run on core {}", core.id);
        let _ = notes.send(Note::Failed);
        return Err(message);
    }
    // The kernel ends waits up to 50 us late to end several at once. If it cannot be told not to, they stay so.
    let _ = set_current_timer_slack(NonZeroU64::new(1));
    let result = Worker::new(plan, course, notes.clone(), io, thread).run();
    // Nobody listens any more once the run has failed.
    let _ = notes.send(if result.is_ok() { Note::Done } else { Note::Failed });
    result
}

/// The first signal ends the measurement, the second one the process.
fn watch_signals(notes: Sender<Note>) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new().name("load-signals".to_owned()).spawn(move || {
        for (at, _) in signals.forever().enumerate() {
            if at > 0 || notes.send(Note::Interrupted).is_err() {
                std::process::exit(i32::from(crate::EXIT_FAILED));
            }
        }
    })?;
    Ok(())
}

/// Who leads.
struct Conductor<'p> {
    plan: &'p Plan,
    course: &'p Course,
    notes: Receiver<Note>,
    progress: Progress,
    is_interrupted: bool,
    /// Whether it was said what an interrupted run waits for.
    has_said: bool,
    /// How long each storm took.
    back_s: Vec<f64>,
    /// Why the storms ended before their time.
    failure: Option<LoadError>,
    /// Threads whose connections of the current wave are open, whose members have begun, whose messages are spent, that have ended.
    opened: usize,
    begun: usize,
    spent: usize,
    done: usize,
}

impl<'p> Conductor<'p> {
    fn new(plan: &'p Plan, course: &'p Course, notes: Receiver<Note>) -> Conductor<'p> {
        Conductor {
            plan,
            course,
            notes,
            progress: Progress::new(),
            is_interrupted: false,
            has_said: false,
            back_s: Vec::new(),
            failure: None,
            opened: 0,
            begun: 0,
            spent: 0,
            done: 0,
        }
    }

    fn conduct(&mut self) -> Result<(), LoadError> {
        for wave in 0..self.plan.waves() {
            self.opened = 0;
            self.course.open_wave(wave);
            self.wait("opening", Conductor::opened)?;
        }
        if self.plan.kind.has_rooms() {
            self.course.join();
            self.wait("joining", |conductor| conductor.begun)?;
        }
        if self.is_interrupted {
            return Err(LoadError::Failed("interrupted before anything was measured".to_owned()));
        }
        match self.plan.kind {
            Kind::Storm => self.storms()?,
            _ => self.course.run(self.plan.warm_up, self.plan.calm, self.plan.duration),
        }
        while self.done < self.plan.threads() {
            self.hear(self.phase())?;
            let is_storm = self.plan.kind == Kind::Storm;
            if !is_storm && self.open() == 0 {
                self.course.end();
            }
        }
        self.progress.clear();
        Ok(())
    }

    /// Lets all connections break and come back, again and again.
    fn storms(&mut self) -> Result<(), LoadError> {
        self.course.run(Duration::ZERO, Duration::ZERO, FOREVER);
        for storm in 1..=self.plan.storms {
            self.opened = 0;
            let from = self.course.clock.now();
            self.course.break_all(storm);
            if let Err(error) = self.wait("storm", Conductor::opened) {
                if self.back_s.is_empty() {
                    return Err(error);
                }
                // The storms before are results all the same.
                self.failure = Some(error);
                break;
            }
            if self.is_interrupted {
                break;
            }
            self.back_s.push(self.course.clock.now().since(from).as_secs_f64());
        }
        self.course.end();
        Ok(())
    }

    /// Threads whose connections are open; none as long as one has ended again that comes back.
    fn opened(&self) -> usize {
        let is_whole = self.plan.kind != Kind::Storm || self.open() == u64::from(self.plan.connections);
        if is_whole { self.opened } else { 0 }
    }

    fn phase(&self) -> &'static str {
        let now = self.course.clock.now();
        match () {
            () if now < self.course.from() => "warm-up",
            () if now < self.course.until() => "measuring",
            () => "waiting for the rest",
        }
    }

    /// Waits until all threads are so far.
    fn wait(&mut self, phase: &'static str, how_many: fn(&Self) -> usize) -> Result<(), LoadError> {
        let mut before = self.progress_made();
        let mut patience = self.course.clock.now() + self.plan.timeout;
        while how_many(self) < self.plan.threads() {
            self.hear(phase)?;
            if self.is_interrupted {
                return Ok(());
            }
            let (now, counts) = (self.course.clock.now(), self.progress_made());
            if counts != before {
                (before, patience) = (counts, now + self.plan.timeout);
            }
            if now >= patience {
                return Err(self.out_of_patience(phase));
            }
        }
        Ok(())
    }

    fn open(&self) -> u64 {
        self.course.live.open.load(Ordering::Relaxed)
    }

    fn begun(&self) -> u64 {
        self.course.live.begun.load(Ordering::Relaxed)
    }

    /// What has to grow for patience to last.
    fn progress_made(&self) -> (u64, u64) {
        (self.course.live.gained.load(Ordering::Relaxed), self.begun())
    }

    fn out_of_patience(&self, phase: &str) -> LoadError {
        let (open, begun) = (self.open(), self.begun());
        let timeout = humantime::format_duration(self.plan.timeout);
        let all = self.plan.connections + self.plan.publishers();
        LoadError::Failed(match phase {
            "opening" => {
                format!("{open} of {all} connections are open, and none came for {timeout} (--timeout)")
            }
            "storm" => {
                format!("{open} of {all} connections are back, and none came for {timeout} (--timeout)")
            }
            _ => format!(
                "{begun} of {} members have got a first message, and none more for {timeout} (--timeout); is what a \
                 member sends there passed on to all others?",
                self.plan.connections
            ),
        })
    }

    /// Takes in the next note, or waits for a while.
    fn hear(&mut self, phase: &str) -> Result<(), LoadError> {
        match self.notes.recv_timeout(TICK) {
            Ok(Note::Opened(storm)) => self.opened += usize::from(storm == self.course.storm()),
            Ok(Note::Begun) => self.begun += 1,
            Ok(Note::Done) => self.done += 1,
            // The thread itself says why, when it is joined.
            Ok(Note::Failed) => {
                self.done += 1;
                return Err(LoadError::Failed("a thread failed".to_owned()));
            }
            Ok(Note::Gone) => {}
            Ok(Note::Spent) => {
                self.spent += 1;
                if self.spent == self.plan.threads() {
                    self.course.end();
                }
            }
            Ok(Note::Interrupted) => {
                self.is_interrupted = true;
                self.course.end();
            }
            Err(RecvTimeoutError::Timeout) => {
                if self.is_interrupted && !self.has_said {
                    self.has_said = true;
                    let timeout = humantime::format_duration(self.plan.timeout);
                    self.progress.say(&format!(
                        "interrupted: waiting for messages under way until none has come for {timeout} (--timeout); a \
                         second Ctrl-C ends at once, without results"
                    ));
                }
                self.progress.show(self.plan, self.course, phase);
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(LoadError::Failed("no thread is left".to_owned()));
            }
        }
        Ok(())
    }
}
