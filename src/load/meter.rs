//! What processors and memory a measurement took.

use fanfare::time::Time;

use super::process::{ThreadTime, Usage};
use super::tally::Tally;

/// Takes the readings of one thread at both ends of what is measured; one thread takes the server's too.
///
/// The thread does it in its own turn: what it counts and what the server has computed then belong to the same
/// time.
#[derive(Debug)]
pub struct Meter {
    pid: Option<u32>,
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
        Meter { pid, started: None, stopped: None }
    }

    fn reading(&self, at: Time) -> Reading {
        // A server that is gone has no reading any more.
        let server = self.pid.and_then(|pid| Usage::of_process(pid).ok());
        Reading { at, thread: ThreadTime::of_this_thread(), server }
    }

    /// Takes the reading at the start.
    pub fn start(&mut self, now: Time) {
        self.started = Some(self.reading(now));
    }

    /// Takes the reading at the end.
    pub fn stop(&mut self, now: Time) {
        self.stopped = Some(self.reading(now));
    }

    /// What was used between both.
    pub fn read_into(self, tally: &mut Tally) {
        let (Some(started), Some(stopped)) = (self.started, self.stopped) else { return };
        tally.seconds = stopped.at.since(started.at).as_secs_f64();
        tally.threads.push(stopped.thread.since(started.thread));
        tally.server = started.server.zip(stopped.server);
    }
}
