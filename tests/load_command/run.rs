//! Runs of `fanfare load`.

use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::running;

/// What a run said and how it ended.
#[derive(Debug)]
pub struct Run {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// The results.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The results of a run in which nothing was wrong.
    #[track_caller]
    pub fn clean(&self) -> Value {
        let json = self.json();
        assert_eq!((self.status, self.stderr.as_str()), (Some(0), ""), "{json:#}");
        assert_eq!(errors(&json), [0; 5], "{json:#}");
        json
    }

    /// The results of a run in which something was wrong.
    #[track_caller]
    pub fn unclean(&self) -> Value {
        let json = self.json();
        assert_eq!((self.status, self.stderr.as_str()), (Some(1), ""), "{json:#}");
        json
    }

    /// The one line that says why there are no results.
    #[track_caller]
    pub fn complaint(&self, status: i32) -> &str {
        assert_eq!((self.status, self.stdout.as_str()), (Some(status), ""), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        self.stderr.strip_prefix("error: ").unwrap_or_else(|| panic!("{self:?}")).trim_end()
    }
}

pub fn command(arguments: &[&str]) -> Command {
    running::command(env!("CARGO_BIN_EXE_fanfare"), &[&["load"], arguments].concat())
}

pub fn run(arguments: &[&str]) -> Run {
    finished(command(arguments).output().expect("it runs"))
}

/// A run that somebody ends with Ctrl-C once `is_time` returns.
pub fn run_until(arguments: &[&str], is_time: impl FnOnce()) -> Run {
    let mut load = command(arguments);
    let child = load.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    is_time();
    kill_process(Pid::from_child(&child), Signal::INT).expect("a signal");
    let mut run = finished(child.wait_with_output().expect("its end"));
    // If the rest takes a while it says so.
    let is_about_the_rest = |line: &str| line.starts_with("interrupted: waiting for messages under way");
    run.stderr = run.stderr.split_inclusive('\n').filter(|line| !is_about_the_rest(line)).collect();
    run
}

fn finished(output: Output) -> Run {
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Run { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Lost, duplicated, reordered, wrong, closed.
#[track_caller]
pub fn errors(json: &Value) -> [u64; 5] {
    ["lost", "duplicated", "reordered", "wrong", "closed"]
        .map(|kind| number(json, &format!("/errors/{kind}")))
}

#[track_caller]
pub fn number(json: &Value, pointer: &str) -> u64 {
    json.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("{pointer} in {json:#}"))
}

#[track_caller]
pub fn real_number(json: &Value, pointer: &str) -> f64 {
    json.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer} in {json:#}"))
}
