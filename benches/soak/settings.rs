//! What is run, how large and how long.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::common::numbers::flag;

/// Connections of one process: below the descriptor limits of common machines.
const PROCESS_CONNECTIONS: usize = 6_000;
/// Of each role there is one at least.
const CONNECTIONS_MIN: usize = 20;
/// A second, and a month.
const DURATIONS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(31 * 86_400)];
/// Each has addresses of its own, by its number in one byte.
const PROCESSES_MAX: usize = 250;
/// Above all of these a run is a slip of the pen.
const CONNECTIONS_MAX: usize = 1_000_000;
const CONNECTS_MAX: u32 = 1_000_000;
const RATE_MAX: f64 = 10_000.0;
const STAY_MAX: f64 = 86_400.0;
/// What `cargo bench -- --test` runs.
const SMOKE: (usize, Duration) = (300, Duration::from_secs(4));

/// A soak of the server.
#[derive(Debug, Parser)]
#[command(name = "soak")]
pub struct Settings {
    /// How long it stays with everybody in, such as 60s, 30m or 8h
    #[arg(long, env = "SOAK_DURATION", default_value = "60s", allow_hyphen_values = true, value_parser = duration)]
    pub duration: Duration,
    /// Connections, about; a fifth of them comes and goes or misbehaves
    #[arg(long, env = "SOAK_CONNECTIONS", default_value_t = 2000, allow_negative_numbers = true)]
    #[arg(value_parser = flag("SOAK_CONNECTIONS", CONNECTIONS_MIN..=CONNECTIONS_MAX))]
    pub connections: usize,
    /// Messages a second in each room of about 40 members
    #[arg(long, env = "SOAK_RATE", default_value_t = 1.0, allow_negative_numbers = true)]
    #[arg(value_parser = flag("SOAK_RATE", 0.01..=RATE_MAX))]
    pub rate: f64,
    /// Seconds that those who come and go stay, about
    #[arg(long, env = "SOAK_STAY", default_value_t = 5.0, allow_negative_numbers = true)]
    #[arg(value_parser = flag("SOAK_STAY", 0.01..=STAY_MAX))]
    pub stay: f64,
    /// Client processes [default: one for 6,000 connections, at least 2]
    #[arg(long, env = "SOAK_PROCESSES", allow_negative_numbers = true)]
    #[arg(value_parser = flag("SOAK_PROCESSES", 1..=PROCESSES_MAX))]
    pub processes: Option<usize>,
    /// Connections begun in a second at most
    #[arg(long, env = "SOAK_CONNECTS", default_value_t = 2000, allow_negative_numbers = true)]
    #[arg(value_parser = flag("SOAK_CONNECTS", 1..=CONNECTS_MAX))]
    pub connects_per_second: u32,
    /// Time before memory is judged [default: a sixth, and until the rooms' windows are full]
    #[arg(long, env = "SOAK_WARM_UP", allow_hyphen_values = true, value_parser = warm_up)]
    pub warm_up: Option<Duration>,
    /// Further flags of the server, in one argument
    #[arg(long, env = "SOAK_FLAGS", default_value = "", allow_hyphen_values = true)]
    pub flags: String,
    /// Where the report is written [default: soak.html in the target folder]
    #[arg(long, env = "SOAK_REPORT")]
    pub report: Option<PathBuf>,
    /// Repeats the choices of the clients; their timing stays its own
    #[arg(long, env = "SOAK_SEED", default_value_t = 1)]
    pub seed: u64,
    /// Small and short, to see that it works
    #[arg(long)]
    pub test: bool,
    /// Given by cargo
    #[arg(long, hide = true)]
    pub bench: bool,
}

impl Settings {
    /// With what follows from some of them for others.
    ///
    /// # Errors
    ///
    /// If some of them do not go together.
    pub fn settled(mut self) -> Result<Settings, String> {
        if self.test {
            (self.connections, self.duration) = SMOKE;
        }
        let duration = self.duration;
        if let Some(warm_up) = self.warm_up.filter(|warm_up| *warm_up >= duration) {
            return Err(format!(
                "--warm-up (or SOAK_WARM_UP) {warm_up:?}: expected less than --duration, {duration:?}"
            ));
        }
        Ok(self)
    }

    /// Client processes.
    pub fn processes(&self) -> usize {
        self.processes.unwrap_or(self.connections.div_ceil(PROCESS_CONNECTIONS).max(2))
    }
}

fn warm_up(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "expected a time such as 0s, 10s or 5m (in the environment SOAK_WARM_UP)".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let [least, most] = DURATIONS;
    match humantime::parse_duration(text) {
        Ok(duration) if (least..=most).contains(&duration) => Ok(duration),
        _ => Err("expected a time from 1s to 31d such as 60s, 30m or 8h (in the environment SOAK_DURATION)"
            .to_owned()),
    }
}
