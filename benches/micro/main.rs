//! The pure parts, each alone: unmasking, headers, frames, UTF-8, the handshake, a room's log, and whole turns
//! of a shard over a simulated operating system, with their allocations.
//!
//! ```text
//! cargo bench --bench micro
//! ```
//!
//! Times are medians of rounds, of the time that this thread computes. It fails if a bar is not met; with
//! `--test` everything runs once, and only the bars that are counts are judged.

#[path = "../common/arguments.rs"]
mod arguments;
#[path = "../../tests/counting/mod.rs"]
mod counting;
#[path = "../common/flat.rs"]
mod flat;
mod harness;
mod log;
mod mask;
#[allow(dead_code)] // of it, what is said
#[path = "../common/output.rs"]
mod output;
mod protocol;
mod turns;

use std::process::ExitCode;

use harness::Harness;

fn main() -> ExitCode {
    let smoke = match arguments::is_smoke(std::env::args().skip(1), "all parts always run") {
        Ok(smoke) => smoke,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    let mut harness = Harness { smoke, bars: Vec::new() };
    mask::run(&mut harness);
    protocol::run(&mut harness);
    log::run(&mut harness);
    turns::run(&mut harness);
    if harness.verdict() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
