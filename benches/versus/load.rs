//! The load generator, `fanfare load`, put on a server.

use std::process::Command;
use std::time::Duration;

use crate::cells::{Cell, Work};
use crate::outcome::measured;
use crate::peers::{BINARY, Server};
use crate::processes::{Cores, Finished, Running, finish};
use crate::results::Measured;

/// Connecting, and ending, takes less than this on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(180);
/// The same for the generator, of anything that it waits for.
const PATIENCE_FLAG: &str = "60s";

/// All connections come back so often for each second that a load is to last; 500 take the fast about that long.
const STORMS_PER_S: f64 = 25.0;

/// Idle connections have no messages that could end it; it is long enough to be seen on a busy machine.
const SMOKE_IDLE: &str = "3s";

/// How long one load lasts.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    pub seconds: f64,
    pub warm_up: f64,
    /// It ends before that with so many messages of each sender.
    pub messages: Option<u32>,
}

/// One load on one server that runs.
pub fn run(
    server: &Server,
    running: &Running,
    cell: &Cell,
    length: Length,
    cores: Cores,
) -> Result<Measured, String> {
    let load = command(server, running, cell, length, cores);
    let Finished { output, failure } = finish(load, cores.generator, patience(length))?;
    match failure {
        // It has said nothing, or more than that it failed.
        Some(failure) if output.is_empty() => Err(failure),
        Some(failure) => measured(&output, cell).and(Err(failure)),
        None => measured(&output, cell),
    }
}

fn patience(length: Length) -> Duration {
    PATIENCE + Duration::from_secs_f64(length.seconds + length.warm_up)
}

fn command(server: &Server, running: &Running, cell: &Cell, length: Length, cores: Cores) -> Command {
    let scenario = match cell.work {
        Work::Echo => "echo",
        Work::Fanout => "fanout",
        Work::Storm => "storm",
        Work::Idle => "idle",
    };
    let milliseconds = |seconds: f64| format!("{:.0}ms", seconds * 1e3);
    let (url, publisher) = server.urls(&running.address, cell);
    let mut command = Command::new(BINARY);
    command.args(["load", scenario, "--connections", &cell.connections.to_string()]);
    match cell.work {
        Work::Storm => {
            let storms = if length.messages.is_some() { 1.0 } else { (STORMS_PER_S * length.seconds).ceil() };
            command.args(["--storms", &storms.to_string(), "--opening", &cell.in_flight.to_string()]);
        }
        Work::Idle if length.messages.is_some() => {
            command.args(["--duration", SMOKE_IDLE, "--warm-up", "0s"]);
        }
        Work::Echo | Work::Fanout | Work::Idle => {
            command.args(["--duration", &milliseconds(length.seconds)]);
            command.args(["--warm-up", &milliseconds(length.warm_up)]);
        }
    }
    if matches!(cell.work, Work::Echo | Work::Fanout) {
        command.args(["--size", &cell.size_bytes.to_string(), "--in-flight", &cell.in_flight.to_string()]);
        if let Some(messages) = length.messages {
            command.args(["--messages", &messages.to_string()]);
        }
        if !server.is_checked() {
            command.arg("--no-check");
        }
    }
    if let Some(publisher) = publisher {
        command.args(["--publisher-url", &publisher]);
    }
    command.args([
        "--timeout",
        PATIENCE_FLAG,
        "--threads",
        "1",
        "--pin",
        &cores.generator.id.to_string(),
        "--pid",
        &running.pid().to_string(),
    ]);
    command.args(["--json", "-", &url]);
    command
}
