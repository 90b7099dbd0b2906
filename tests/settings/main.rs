//! What the binary is told: flags, environment and file, what comes of them, and what is generated from them.

#[path = "../support/mod.rs"]
mod support;

mod faults;
mod generated;
mod secrets;
mod sources;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::running;

/// The binary with nothing of this process's environment.
fn command(arguments: &[&str]) -> Command {
    running::command(env!("CARGO_BIN_EXE_fanfare"), arguments)
}

/// How a run has ended.
#[derive(Debug)]
struct Ended {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(mut command: Command) -> Ended {
    let output = command.output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ended { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// What a run without fault has printed.
#[track_caller]
fn printed(command: Command) -> String {
    let ended = run(command);
    assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
    ended.stdout
}

/// The line of a listing for a setting: its value and its source.
#[track_caller]
fn listed<'l>(listing: &'l str, name: &str) -> (&'l str, &'l str) {
    let assignment = |line: &'l str| line.strip_prefix(name)?.strip_prefix(" = ");
    let line = listing.lines().find_map(assignment).unwrap_or_else(|| panic!("no {name} in {listing}"));
    let (value, source) = line.split_once(" # ").expect("a source");
    (value.trim(), source)
}

/// A folder of one test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Scratch(path)
    }

    /// Writes a file; gives its path.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
