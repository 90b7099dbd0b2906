//! What is run, how large and how long.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::common::numbers::flag;

/// Above all of these a run is a slip of the pen.
const MEMBERS_MAX: usize = 1_000_000;
const ROUNDS_MAX: usize = 1_000;
const SECONDS_MAX: u64 = 86_400;
const RATE_MAX: f64 = 10_000.0;
const FLOOD_RATE_MAX: u32 = 1_000_000;

/// Fault tests: what a fault does to those who behave, beside the same run without it.
#[derive(Clone, Debug, Parser)]
#[command(name = "faults")]
pub struct Settings {
    /// Faults to run, by key, by number where no key is the same, or by a part of the name: F1-10, F1, "reset"; all
    /// without any
    #[arg(env = "FAULTS_SELECT", value_delimiter = ',')]
    pub select: Vec<String>,
    /// Honest members; the numbers of those who play a fault follow
    #[arg(long, env = "FAULTS_N", default_value_t = 5_000, allow_negative_numbers = true)]
    #[arg(value_parser = flag("FAULTS_N", 10..=MEMBERS_MAX))]
    pub members: usize,
    /// Pairs of a window without the fault and one with it
    #[arg(long, env = "FAULTS_ROUNDS", default_value_t = 3, allow_negative_numbers = true)]
    #[arg(value_parser = flag("FAULTS_ROUNDS", 1..=ROUNDS_MAX))]
    pub rounds: usize,
    /// Seconds of a window with the fault; never less than it takes to see the fault out
    #[arg(long, env = "FAULTS_SECONDS", default_value_t = 8, allow_negative_numbers = true)]
    #[arg(value_parser = flag("FAULTS_SECONDS", 1..=SECONDS_MAX))]
    pub seconds: u64,
    /// Seconds of a window without the fault
    #[arg(long, env = "FAULTS_BASELINE_SECONDS", default_value_t = 5, allow_negative_numbers = true)]
    #[arg(value_parser = flag("FAULTS_BASELINE_SECONDS", 1..=SECONDS_MAX))]
    pub baseline_seconds: u64,
    /// Messages a second in each room of 50 members
    #[arg(long, env = "FAULTS_RATE", default_value_t = 1.0, allow_negative_numbers = true)]
    #[arg(value_parser = flag("FAULTS_RATE", 0.01..=RATE_MAX))]
    pub rate: f64,
    /// Connections a second of the faults that are floods, for 5,000 members
    #[arg(long, env = "FAULTS_FLOOD_RATE", default_value_t = 2_000, allow_negative_numbers = true)]
    #[arg(value_parser = flag("FAULTS_FLOOD_RATE", 1..=FLOOD_RATE_MAX))]
    pub flood_rate: u32,
    /// Connections of F9
    #[arg(long, env = "FAULTS_CROWD", default_value_t = 19_800, allow_negative_numbers = true)]
    #[arg(value_parser = flag("FAULTS_CROWD", 10..=MEMBERS_MAX))]
    pub crowd: usize,
    /// Further flags of the server with their values: --NAME VALUE and so on
    #[arg(long, env = "FAULTS_FLAGS", default_value = "", allow_hyphen_values = true, value_parser = pairs)]
    pub flags: String,
    /// Folder for the table and the figures, faults.md and faults.json
    #[arg(long, env = "FAULTS_OUT", default_value = env!("CARGO_TARGET_TMPDIR"))]
    pub out: PathBuf,
    /// A latency, a CPU time or another figure over its goal is a failure too
    #[arg(long, env = "FAULTS_STRICT_LATENCY")]
    pub strict_latency: bool,
    /// Show what there is
    #[arg(long)]
    pub list: bool,
    /// All of them at once and small, to see that they work
    #[arg(long = "test")]
    pub smoke: bool,
    /// What cargo says
    #[arg(long, hide = true)]
    pub bench: bool,
}

impl Settings {
    pub fn size(&self) -> Size {
        if self.smoke {
            return Size::smoke();
        }
        Size {
            members: self.members,
            rounds: self.rounds,
            baseline: Duration::from_secs(self.baseline_seconds),
            window: Duration::from_secs(self.seconds),
            warm_up: Duration::from_secs(2),
            rate: self.rate,
            flood_rate: self.flood_rate,
            crowd: self.crowd,
            deadlines: Deadlines::DEFAULT,
            send_buffer: 128 << 10,
            flags: self.flags.split_whitespace().map(str::to_owned).collect(),
            smoke: false,
        }
    }
}

/// Flags with their values, as some of them take the place of others.
fn pairs(text: &str) -> Result<String, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let is_pair = |pair: &[&str]| matches!(pair, [name, _] if name.starts_with("--") && !name.contains('='));
    if words.chunks(2).all(is_pair) {
        return Ok(text.to_owned());
    }
    Err("expected --NAME VALUE and so on (in the environment FAULTS_FLAGS)".to_owned())
}

/// Deadlines of the server that faults wait for.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    pub write_timeout: Duration,
    pub handshake_timeout: Duration,
    pub drain: Duration,
}

impl Deadlines {
    /// The server's own.
    pub const DEFAULT: Deadlines = Deadlines {
        write_timeout: Duration::from_secs(10),
        handshake_timeout: Duration::from_secs(5),
        drain: Duration::from_secs(10),
    };
    const SMOKE: Deadlines = Deadlines {
        // Far longer than a client process waits for its turn when all run at once.
        write_timeout: Duration::from_secs(3),
        handshake_timeout: Duration::from_millis(700),
        drain: Duration::from_secs(1),
    };
}

/// How large and how long a run is.
#[derive(Clone, Debug)]
pub struct Size {
    pub members: usize,
    pub rounds: usize,
    pub baseline: Duration,
    pub window: Duration,
    pub warm_up: Duration,
    pub rate: f64,
    pub flood_rate: u32,
    pub crowd: usize,
    pub deadlines: Deadlines,
    /// What the server's kernel may hold for one connection.
    pub send_buffer: usize,
    pub flags: Vec<String>,
    /// Everything runs at once: no figure means anything.
    pub smoke: bool,
}

impl Size {
    fn smoke() -> Size {
        Size {
            members: 50,
            rounds: 1,
            baseline: Duration::from_millis(300),
            window: Duration::from_millis(1_000),
            warm_up: Duration::from_millis(100),
            rate: 5.0,
            // As members are 50.
            flood_rate: 30_000,
            crowd: 100,
            deadlines: Deadlines::SMOKE,
            send_buffer: 16 << 10,
            flags: Vec::new(),
            smoke: true,
        }
    }

    /// So many in proportion to the members, where 5,000 members have `of_5000`.
    pub fn share(&self, of_5000: usize) -> usize {
        (of_5000 * self.members / 5_000).max(1)
    }

    /// Connections a second of a flood.
    pub fn flood_rate(&self) -> u32 {
        (u64::from(self.flood_rate) * self.members as u64 / 5_000).max(1) as u32
    }

    /// Flags of the server that every run has.
    pub fn server_flags(&self) -> Vec<String> {
        let Deadlines { write_timeout, handshake_timeout, drain } = self.deadlines;
        let mut flags = Vec::new();
        for (name, value) in [
            ("--write-timeout", write_timeout),
            ("--handshake-timeout", handshake_timeout),
            ("--drain", drain),
        ] {
            set_flag(&mut flags, name, &format!("{}ms", value.as_millis()));
        }
        set_flag(&mut flags, "--send-buffer", &self.send_buffer.to_string());
        flags
    }

    /// Flags that were asked for take the place of all others.
    pub fn ask_for_flags(&self, flags: &mut Vec<String>) {
        for pair in self.flags.chunks(2) {
            set_flag(flags, &pair[0], pair.get(1).map_or("", String::as_str));
        }
    }
}

/// A flag may be given once only.
pub fn set_flag(flags: &mut Vec<String>, name: &str, value: &str) {
    match flags.iter().position(|known| known == name) {
        Some(at) => value.clone_into(&mut flags[at + 1]),
        None => flags.extend([name.to_owned(), value.to_owned()]),
    }
}
