//! What was measured, on what and how it was called.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::time::{ClockId, clock_getres};
use serde::Serialize;

use super::output::{ONE_CORE, counted};

/// What the figures of a report depend on.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Machine {
    pub processor: String,
    /// That this process may run on.
    pub cores: usize,
    pub kernel: String,
    /// How often a second the kernel looks what a busy core does.
    pub ticks_per_s: f64,
    pub congestion_control: String,
    pub rustc: String,
    /// Of this server.
    pub version: String,
}

impl Machine {
    pub fn here() -> Machine {
        Machine {
            processor: processor(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: first_line("/proc/sys/kernel/osrelease"),
            ticks_per_s: ticks_per_s(),
            // Of TCP: bbr paces on loopback, and costs more there than others.
            congestion_control: first_line("/proc/sys/net/ipv4/tcp_congestion_control"),
            rustc: output("rustc", &["--version"]).unwrap_or_default(),
            version: version(),
        }
    }

    /// The same as items of a list in Markdown.
    pub fn markdown(&self) -> String {
        let Machine { processor, kernel, congestion_control, rustc, version, .. } = self;
        let cores = counted(self.cores, "core");
        let mut text = format!(
            "* machine: {processor}, {cores} to run on, Linux {kernel}, congestion control {congestion_control}\n\
             * fanfare {version}, {rustc}\n"
        );
        if self.cores == 1 {
            let _ = writeln!(text, "* {ONE_CORE}");
        }
        text
    }
}

/// What somebody writes to run this bench in this way.
pub fn command(bench: &str) -> String {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let separator = if arguments.is_empty() { "" } else { " -- " };
    format!("cargo bench --bench {bench}{separator}{}", arguments.join(" "))
}

/// The version of this server, and the revision of a checkout.
pub fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    match revision(Path::new(env!("CARGO_MANIFEST_DIR"))) {
        Some(revision) => format!("{version} ({revision})"),
        None => version.to_owned(),
    }
}

/// The revision of the checkout that is in this folder itself, and whether its files were changed since; none if there
/// is no checkout, or no git.
pub fn revision(folder: &Path) -> Option<String> {
    let describe = ["--git-dir=.git", "describe", "--always", "--exclude=*", "--dirty=, changed"];
    output("git", &[&["--no-optional-locks", "-C", folder.to_str()?][..], &describe].concat())
}

/// A coarse clock goes on with each tick.
fn ticks_per_s() -> f64 {
    let tick = clock_getres(ClockId::MonotonicCoarse);
    1.0 / (tick.tv_sec as f64 + tick.tv_nsec as f64 / 1e9)
}

/// The processor's name.
fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name"));
    name.map_or("unknown processor".to_owned(), |name| name.trim_start_matches([' ', '\t', ':']).to_owned())
}

fn first_line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}

/// The first line that a program prints; none if it is not there or fails.
pub fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    let line = String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned();
    output.status.success().then_some(line)
}

/// The locked version of a crate.
pub fn locked(name: &str) -> String {
    let lock = include_str!("../../Cargo.lock");
    let entry = format!("name = \"{name}\"\nversion = \"");
    let found = lock.split_once(&entry).and_then(|(_, rest)| rest.split_once('"'));
    found.map_or("unknown", |(version, _)| version).to_owned()
}
