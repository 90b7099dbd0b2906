//! What processors and memory a measurement took.

use fanfare::time::Time;

use super::process::{ThreadTime, Usage};
use super::tally::Tally;
use super::traffic::Span;

/// Takes the readings of one thread at both ends of what is measured; one thread takes the server's too.
///
/// The thread does it in its own turn: what it counts and what the server has computed then belong to the same
/// time.
#[derive(Debug)]
pub struct Meter {
    pid: Option<u32>,
    /// From when to when it was calm.
    calm: Option<(Time, Time)>,
    started: Option<Reading>,
    stopped: Option<Reading>,
}

#[derive(Debug)]
struct Reading {
    at: Time,
    thread: ThreadTime,
    server: Option<Usage>,
}

impl Meter {
    /// A meter that has the server's readings too, if its process is given.
    pub fn new(pid: Option<u32>) -> Meter {
        Meter { pid, calm: None, started: None, stopped: None }
    }

    fn reading(&self, at: Time) -> Reading {
        // A server that is gone has no reading any more.
        let server = self.pid.and_then(|pid| Usage::of_process(pid).ok());
        Reading { at, thread: ThreadTime::of_this_thread(), server }
    }

    /// Takes the readings as another span begins, or none.
    pub fn turn_to(&mut self, span: Option<Span>, now: Time) {
        match span {
            Some(Span::Calm) => self.calm = Some((now, now)),
            Some(Span::Main) => self.started = Some(self.reading(now)),
            None if self.started.is_some() => self.stopped = Some(self.reading(now)),
            None => {}
        }
        if let Some((_, until)) = &mut self.calm
            && self.stopped.is_none()
        {
            *until = now;
        }
    }

    /// The server's process, if it is gone and a reading is lacking.
    fn server_ended(&self) -> Option<u32> {
        let lacks =
            |reading: &Option<Reading>| reading.as_ref().is_none_or(|reading| reading.server.is_none());
        let lacks_any = lacks(&self.started) || lacks(&self.stopped);
        self.pid.filter(|pid| lacks_any && Usage::of_process(*pid).is_err())
    }

    /// What was used between both.
    pub fn read_into(self, tally: &mut Tally) {
        tally.server_ended = self.server_ended();
        tally.calm_seconds = self.calm.map_or(0.0, |(from, until)| until.since(from).as_secs_f64());
        let (Some(started), Some(stopped)) = (self.started, self.stopped) else { return };
        tally.seconds = stopped.at.since(started.at).as_secs_f64();
        tally.threads.push(stopped.thread.since(started.thread));
        tally.server = started.server.zip(stopped.server);
    }
}
