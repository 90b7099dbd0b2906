//! What is run, how large and how long.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use fanfare::reactor::MonotonicClock;

/// What does not change with the number of connections, members, rooms and shards.
#[derive(Clone, Debug, Parser)]
#[command(name = "scale")]
pub struct Settings {
    /// Parts to run: idle, shards, tail, accept, linear; all without any
    pub parts: Vec<String>,
    /// Rounds, whose medians count
    #[arg(long, default_value_t = 5, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Milliseconds of each window under load
    #[arg(long, default_value_t = 3_000, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u64).range(100..))]
    pub window_ms: u64,
    /// The program whose `load fanout` makes the load
    #[arg(long, default_value = env!("CARGO_BIN_EXE_fanfare"))]
    pub generator: String,
    /// Folder for the table and the figures, scale.md and scale.json
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    pub out: PathBuf,
    /// Small, to see that all of it works; no figure means anything
    #[arg(long = "test")]
    pub smoke: bool,
    /// What cargo says
    #[arg(long, hide = true)]
    pub bench: bool,
}

impl Settings {
    pub fn runs(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }
}

/// How large and how long a run is.
#[derive(Debug)]
pub struct Size {
    pub rounds: usize,
    /// Servers of the part that waits longest.
    pub idle_rounds: usize,
    pub window_ms: u64,
    /// Messages of each publisher on the shards.
    pub messages: usize,
    /// About how many deliveries a simulated scene has.
    pub deliveries: usize,
    /// For more than a turn of the timer wheel, in which each timer is looked at.
    pub wheel: Duration,
    pub settle: Duration,
    /// For longer than the deadline of a handshake.
    pub handshakes: Duration,
    pub clock: MonotonicClock,
    smoke: bool,
}

/// By how much everything is smaller where only whether it works is of interest.
const SHRUNK: usize = 50;

impl Size {
    pub fn of(settings: &Settings) -> Size {
        let clock = MonotonicClock::start();
        if settings.smoke {
            return Size {
                rounds: 1,
                idle_rounds: 1,
                window_ms: 200,
                messages: 100,
                deliveries: 20_000,
                wheel: Duration::from_millis(200),
                settle: Duration::from_millis(100),
                handshakes: Duration::from_millis(100),
                clock,
                smoke: true,
            };
        }
        Size {
            rounds: settings.rounds as usize,
            idle_rounds: settings.rounds.min(2) as usize,
            window_ms: settings.window_ms,
            messages: 10_000,
            deliveries: 2_000_000,
            wheel: Duration::from_secs(70),
            settle: Duration::from_secs(1),
            handshakes: fanfare::Config::default().handshake_timeout + Duration::from_secs(1),
            clock,
            smoke: false,
        }
    }

    /// So many, or few.
    pub fn count(&self, full: usize) -> usize {
        if self.smoke { (full / SHRUNK).max(18) } else { full }
    }

    /// So many rooms of so many members, or few.
    pub fn shrunk(&self, (rooms, members): (usize, usize)) -> (usize, usize) {
        match (self.smoke, rooms) {
            (false, _) => (rooms, members),
            (true, 1) => (1, (members / SHRUNK).max(10)),
            (true, _) => ((rooms / SHRUNK).max(2), members),
        }
    }

    /// Lets time pass.
    #[allow(clippy::disallowed_methods)] // a bench measures what happens meanwhile
    pub fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}
