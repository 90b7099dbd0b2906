//! The log's own thread: takes records from the queue and writes them, and says what was left out.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use tracing::Level;

use fanfare::reactor::MonotonicClock;
use fanfare::time::Time;

use super::journal::Journal;
use super::lines;
use super::record::{Record, Value};
use super::sample::Sampler;

/// How often it is said that the queue is full, at most.
const LOST_EVERY: Duration = Duration::from_secs(1);

/// What goes through the queue.
#[derive(Debug)]
pub enum Entry {
    Record(Record),
    /// A kind of line begins to be left out: a summary has to be planned.
    LeftOut,
    /// Write in another format.
    Become(Sink),
    /// Write all that is known, and say so.
    Flush(Sender<()>),
}

/// Where records go to.
#[derive(Debug)]
pub enum Sink {
    Human {
        colour: bool,
    },
    Json,
    Journal(Journal),
    #[cfg(test)]
    Test(Sender<String>),
}

/// The thread.
pub struct Writer {
    sink: Sink,
    entries: Receiver<Entry>,
    sampler: Arc<Sampler>,
    lost: Arc<AtomicU64>,
    lost_said: Time,
    clock: MonotonicClock,
}

impl Sink {
    /// To journald.
    pub fn journal() -> Sink {
        Sink::Journal(Journal::default())
    }

    fn write(&mut self, record: &Record) {
        match self {
            Sink::Human { colour } => to_stderr(&lines::human(record, *colour)),
            Sink::Json => to_stderr(&lines::json(record)),
            Sink::Journal(journal) => {
                if journal.send(record).is_err() {
                    to_stderr(&lines::with_priority(record));
                }
            }
            #[cfg(test)]
            Sink::Test(lines) => lines.send(lines::human(record, false)).expect("the test reads on"),
        }
    }
}

/// Nobody may be left to read it.
fn to_stderr(line: &str) {
    let _ = std::io::stderr().write_all(line.as_bytes());
}

impl Writer {
    pub fn new(
        sink: Sink,
        entries: Receiver<Entry>,
        sampler: Arc<Sampler>,
        lost: Arc<AtomicU64>,
        clock: MonotonicClock,
    ) -> Writer {
        Writer { sink, entries, sampler, lost, lost_said: Time::ZERO, clock }
    }

    /// Writes until nobody is left who could log.
    pub fn run(mut self) {
        loop {
            let entry = match self.next_at() {
                Some(at) => self.entries.recv_timeout(at.since(self.clock.now())),
                None => self.entries.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match entry {
                Ok(Entry::Record(record)) => self.sink.write(&record),
                Ok(Entry::Become(sink)) => self.sink = sink,
                Ok(Entry::Flush(written)) => {
                    self.say_lost();
                    self.summarize(Time::NEVER);
                    let _ = written.try_send(());
                }
                Ok(Entry::LeftOut) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = self.clock.now();
            if self.lost_said + LOST_EVERY <= now {
                self.say_lost();
            }
            self.summarize(now);
        }
    }

    /// When there is something to say even if nothing comes.
    fn next_at(&self) -> Option<Time> {
        let lost = self.lost.load(Ordering::Relaxed) > 0;
        let lost_at = lost.then(|| self.lost_said + LOST_EVERY);
        self.sampler.next_summary().into_iter().chain(lost_at).min()
    }

    fn say_lost(&mut self) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            self.lost_said = self.clock.now();
            self.sink.write(&Record {
                time: self.clock.unix_time(),
                level: Level::WARN,
                message: format!("left out {lost} lines: the log is taken more slowly than it comes"),
                fields: vec![("left_out", Value::Unsigned(lost))],
            });
        }
    }

    fn summarize(&mut self, until: Time) {
        let (now, time) = (self.clock.now(), self.clock.unix_time());
        for summary in self.sampler.take_summaries(until, now, time) {
            self.sink.write(&summary);
        }
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{bounded, unbounded};
    use tracing::subscriber::with_default;

    use super::super::subscriber::{Collector, LevelCell};
    use super::*;

    /// Waiting longer than this is a failure, never a result.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// A log whose lines a test takes.
    struct Log {
        collector: Collector,
        entries: Sender<Entry>,
        writer: Writer,
        lines: Receiver<String>,
    }

    fn log(rate: u32, places: usize) -> Log {
        let (clock, sampler) = (MonotonicClock::start(), Arc::new(Sampler::new(rate)));
        let (entries, waiting) = bounded(places);
        let (sink, lines) = unbounded();
        let level = Arc::new(LevelCell::new(Level::INFO));
        let collector = Collector::new(clock, level, Arc::clone(&sampler), entries.clone());
        let writer = Writer::new(Sink::Test(sink), waiting, sampler, collector.lost(), clock);
        Log { collector, entries, writer, lines }
    }

    impl Log {
        /// What is written of what `say` logs, once there is a writer.
        fn lines_of(self, say: impl FnOnce()) -> Vec<String> {
            with_default(self.collector, say);
            let thread = std::thread::spawn(move || self.writer.run());
            let (written, until_written) = bounded(1);
            self.entries.send_timeout(Entry::Flush(written), PATIENCE).unwrap();
            until_written.recv_timeout(PATIENCE).unwrap();
            drop(self.entries);
            thread.join().unwrap();
            let behind_time = |line: String| line.split_once("Z ").expect("a time").1.trim().to_owned();
            self.lines.try_iter().map(behind_time).collect()
        }
    }

    #[test]
    fn records_are_written_in_order_with_their_fields() {
        let lines = log(100, 8).lines_of(|| {
            tracing::info!(code = 1001, cause = "shutdown", peer = %"127.0.0.1:80", "closed: {}", "bye");
            tracing::debug!("below the level");
            tracing::warn!("second");
        });
        assert_eq!(lines, ["INFO closed: bye code=1001 cause=\"shutdown\" peer=127.0.0.1:80", "WARN second"]);
    }

    #[test]
    fn what_finds_the_queue_full_is_counted_and_the_count_is_logged() {
        for (said, lost) in [(7, None), (8, None), (9, Some(1)), (20, Some(12))] {
            let lines =
                log(1000, 8).lines_of(|| (0..said).for_each(|number| tracing::info!("line {number}")));
            let written: Vec<&String> = lines.iter().filter(|line| line.starts_with("INFO line ")).collect();
            assert_eq!(written.len(), said.min(8), "{lines:?}");
            let count = lines.iter().find(|line| line.contains("more slowly than it comes"));
            let left_out = lost.map(|lost| format!("left_out={lost}"));
            assert_eq!(count.map(|line| line.rsplit(' ').next().unwrap().to_owned()), left_out, "{lines:?}");
        }
    }

    #[test]
    fn a_flood_is_cut_and_counted_also_when_it_goes_on_to_the_end() {
        let lines = log(5, 64).lines_of(|| {
            for number in 0..50 {
                tracing::info!(cause = "peer_gone", "closed: {number}");
            }
            tracing::info!("another kind");
        });
        // The clock runs on: a token may come back meanwhile.
        let passed = lines.iter().filter(|line| line.starts_with("INFO closed: ")).count();
        assert!((5..50).contains(&passed), "{lines:?}");
        assert!(lines.iter().any(|line| line == "INFO another kind"));
        let summary = lines.last().unwrap();
        assert!(
            summary.starts_with(&format!("INFO left out {} lines of this kind", 50 - passed)),
            "{summary}"
        );
        assert!(summary.contains("(--log-rate): closed: "), "{summary}");
        assert!(summary.ends_with(&format!("left_out={} cause=\"peer_gone\"", 50 - passed)), "{summary}");
    }

    #[test]
    fn a_format_that_is_changed_keeps_the_order() {
        let mut log = log(100, 8);
        let (second, later) = unbounded();
        let entries = log.entries.clone();
        let lines = std::mem::replace(&mut log.lines, unbounded().1);
        log.lines_of(move || {
            tracing::info!("before");
            entries.send(Entry::Become(Sink::Test(second))).unwrap();
            tracing::info!("after");
        });
        let last =
            |lines: Receiver<String>| lines.try_iter().map(|line| line.trim().to_owned()).last().unwrap();
        assert!(last(lines).ends_with("before") && last(later).ends_with("after"));
    }
}
