//! `fanfare load`: makes load on a WebSocket server, checks every message, and says what it cost.
//!
//! Built on the crate's own client role and poller. A [`Plan`] says which connections there are; each
//! [`worker`] is a thread with its own poller, connections and [`traffic`]; the [`conductor`] leads them through
//! the [`course`]: connections open in waves, members get a first message, the load runs, what is still under
//! way comes in. A [`traffic::Flow`] is the messages of one sender, and every receiver keeps an [`account`] of
//! it.

mod account;
mod args;
mod conductor;
mod course;
mod dial;
mod latency;
mod meter;
mod payload;
mod peer;
mod plan;
mod process;
mod progress;
mod report;
mod schedule;
mod skim;
mod table;
mod tally;
mod target;
mod traffic;
mod worker;

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use thiserror::Error;

pub use args::LoadArgs;
use plan::Plan;
use report::Report;

/// Why there are no results.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The flags do not fit each other or this machine.
    #[error("{0}")]
    Usage(String),
    /// The run failed.
    #[error("{0}")]
    Failed(String),
}

/// The command line of a load.
pub fn command() -> clap::Command {
    // Without a scenario the complaint is a line like all others.
    LoadArgs::augment_args(clap::Command::new("load")).arg_required_else_help(false)
}

/// Where the JSON goes.
enum Json {
    Nowhere,
    StandardOutput,
    File(File, PathBuf),
}

/// Makes the load and shows the results; true if every message was right.
///
/// # Errors
///
/// When there are none.
pub fn run(args: LoadArgs) -> Result<bool, LoadError> {
    // Opened before anything is loaded, so that no result is lost at the end.
    let json = open_json(args.json())?;
    let plan = Plan::new(args)?;
    let mut report = Report::new(&plan, conductor::measure(&plan)?);
    show(&report, json)?;
    match report.failure.take() {
        Some(failure) => Err(LoadError::Failed(failure)),
        None => Ok(report.is_clean()),
    }
}

/// Writes the results where they were asked for.
fn show(report: &Report, json: Json) -> Result<(), LoadError> {
    let text = serde_json::to_string(report).map_err(|error| LoadError::Failed(error.to_string()))?;
    let shown = match &json {
        Json::StandardOutput => format!("{text}\n"),
        _ => table::Table(report).to_string(),
    };
    let mut out = std::io::stdout().lock();
    let written = out.write_all(shown.as_bytes()).and_then(|()| out.flush());
    // First: one of the two may have room.
    if let Json::File(mut file, path) = json {
        writeln!(file, "{text}").map_err(|error| no_json(&path, &error))?;
    }
    match written {
        // A reader that has gone away is no reason to fail.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(LoadError::Failed(format!("the results cannot be written to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

fn open_json(path: Option<&Path>) -> Result<Json, LoadError> {
    match path {
        None => Ok(Json::Nowhere),
        Some(path) if path == Path::new("-") => Ok(Json::StandardOutput),
        Some(path) => {
            let file = File::create(path).map_err(|error| no_json(path, &error))?;
            Ok(Json::File(file, path.to_owned()))
        }
    }
}

fn no_json(path: &Path, error: &std::io::Error) -> LoadError {
    LoadError::Failed(format!("--json {}: {error}", path.display()))
}
