//! The log of the binary: what the server says through `tracing`, as lines for people, as JSON, or as fields of
//! the journal.
//!
//! A worker never waits for it. It hands over a record through a bounded queue, and a thread of the log's own
//! writes; what finds no place is counted, and the count is logged. A flood of one kind of line (one place in
//! the code and one cause of a close) is thinned out before it is put into words, and counted too.

mod journal;
mod lines;
mod record;
mod sample;
mod subscriber;
mod writer;

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use tracing::Level;

use fanfare::reactor::MonotonicClock;

use sample::Sampler;
use subscriber::{Collector, LevelCell};
use writer::{Entry, Sink, Writer};

/// Records that may wait for a slow reader of the log: some seconds of a busy log, and a few MB at most.
const RECORDS_MAX: usize = 8192;

/// How long the end of the process waits for the log to be taken.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// What is logged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// `--log`: the least level that is logged. Default info.
    pub level: Level,
    /// `--log-format`: what a record looks like. Default auto.
    pub format: LogFormat,
    /// `--log-rate`: lines of one kind in a second, and as many at once. Default 100: more than anybody reads, and
    /// three floods at a time stay below what journald takes of one service (10,000 in 30 s).
    pub rate: u32,
}

/// How a record is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Fields of the journal where standard error is the journal, else lines for people.
    #[default]
    Auto,
    /// A line for people, in colour on a terminal.
    Human,
    /// A line with one JSON object.
    Json,
    /// Fields of the journal, sent to journald.
    Journal,
}

impl Default for LogSettings {
    fn default() -> LogSettings {
        LogSettings { level: Level::INFO, format: LogFormat::Auto, rate: 100 }
    }
}

/// The running log. When it goes out of scope, what waits is written, for a second at most.
#[derive(Debug)]
pub struct Logs(LogHandle);

/// Changes the log while it runs.
#[derive(Clone, Debug)]
pub struct LogHandle {
    level: Arc<LevelCell>,
    sampler: Arc<Sampler>,
    entries: Sender<Entry>,
}

/// Starts the log of this process.
///
/// # Errors
///
/// Says what the operating system said when its thread could not be had.
pub fn start(settings: &LogSettings) -> std::io::Result<Logs> {
    let clock = MonotonicClock::start();
    let sampler = Arc::new(Sampler::new(settings.rate));
    let level = Arc::new(LevelCell::new(settings.level));
    let (entries, waiting) = bounded(RECORDS_MAX);
    let collector = Collector::new(clock, Arc::clone(&level), Arc::clone(&sampler), entries.clone());
    let writer = Writer::new(sink(settings.format), waiting, Arc::clone(&sampler), collector.lost(), clock);
    std::thread::Builder::new().name("fanfare-log".to_owned()).spawn(move || writer.run())?;
    // Only a second log in one process finds the place taken; then the first one goes on.
    let _ = tracing::subscriber::set_global_default(collector);
    Ok(Logs(LogHandle { level, sampler, entries }))
}

fn sink(format: LogFormat) -> Sink {
    let stderr = std::io::stderr();
    match format {
        LogFormat::Human => Sink::Human { colour: stderr.is_terminal() },
        LogFormat::Json => Sink::Json,
        LogFormat::Journal => Sink::journal(),
        LogFormat::Auto if journal::has_standard_error() => Sink::journal(),
        LogFormat::Auto => Sink::Human { colour: stderr.is_terminal() },
    }
}

impl Logs {
    /// What changes it.
    pub fn handle(&self) -> LogHandle {
        self.0.clone()
    }
}

impl LogHandle {
    /// Logs in another way from now on; what waits to be written already keeps its place.
    pub fn apply(&self, settings: &LogSettings) {
        self.sampler.set_rate(settings.rate);
        let _ = self.entries.send_timeout(Entry::Become(sink(settings.format)), END_PATIENCE);
        self.level.set(settings.level);
    }

    /// Waits until what is logged is written, for a second or two at most.
    pub fn flush(&self) {
        let (written, until_written) = bounded(1);
        if self.entries.send_timeout(Entry::Flush(written), END_PATIENCE).is_ok() {
            let _ = until_written.recv_timeout(END_PATIENCE);
        }
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.0.flush();
    }
}
