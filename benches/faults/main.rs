//! Fault tests: what a fault does to those who behave.
//!
//! A server, a crowd of honest members in rooms of 50 that check every message, and a fault that comes and goes
//! while the crowd goes on: windows without the fault and with it take turns in one run, so that both have seen
//! the same machine. Shown are the honest members' latencies, from the time at which a message was meant to be
//! sent, without the fault and with it, the ratio of the 99th percentiles, what was lost, and why connections
//! ended. Those who play a fault have client processes of their own at a lower priority: on two cores they would
//! else take the time of those whose latency is measured.
//!
//! ```text
//! cargo bench --bench faults                      # all of them: about 20 minutes
//! cargo bench --bench faults -- F1 F7-none garbage # some: all of a number, one by its key, by a part of the name
//! cargo bench --bench faults -- --list            # what there is
//! cargo bench --bench faults -- --test            # all at once and small, some seconds: no figure means anything
//! ```
//!
//! | argument | environment | what it sets |
//! |---|---|---|
//! | names | `FAULTS_SELECT` (with commas) | which faults; what `--list` shows means that one alone |
//! | `--members` | `FAULTS_N` | honest members; the numbers of those who play a fault follow |
//! | `--rounds` | `FAULTS_ROUNDS` | pairs of windows |
//! | `--seconds`, `--baseline-seconds` | `FAULTS_SECONDS`, `FAULTS_BASELINE_SECONDS` | how long the windows are |
//! | `--rate` | `FAULTS_RATE` | messages a second in each room, and so deliveries a second to each member |
//! | `--flood-rate` | `FAULTS_FLOOD_RATE` | connections a second of floods; `--seconds` times rounds times this is how many requests F8 makes |
//! | `--crowd` | `FAULTS_CROWD` | connections of F9, which a process's descriptors limit |
//! | `--flags` | `FAULTS_FLAGS` | further flags of the server |
//! | `--out` | `FAULTS_OUT` | folder for `faults.md` and `faults.json` |
//! | `--strict-latency` | `FAULTS_STRICT_LATENCY` | a missed figure is a failure too |
//!
//! The exit status is 1 if the server did something wrong: a message that an honest member lacks or has twice,
//! an honest client that was cut, a cut without its cause, descriptors, sockets or memory that do not come back.
//! A latency, a ratio or CPU time over its goal is shown in the verdict, and is a failure with
//! `--strict-latency`. It is 2, before anything is started, for a setting that means nothing. F13, each system call and allocation failing once, is `cargo test --test failures`.

mod bars;
#[allow(dead_code, unused_imports)] // it is the binary's, of which this is a part
#[path = "../../src/cli/mod.rs"]
mod cli;
#[path = "../common/mod.rs"]
mod common;
mod crowd;
mod faults;
mod finding;
mod http;
mod judge;
#[path = "../../tests/load/mod.rs"]
mod load;
#[allow(dead_code, unused_imports)] // likewise
#[path = "../../src/logs/mod.rs"]
mod logs;
mod machine;
mod names;
mod report;
mod rounds;
mod settings;
mod stage;
mod statistics;

use std::process::ExitCode;

use clap::Parser;

use common::output::{self, say};
use common::server_flags;
use faults::Entry;
use finding::Finding;
use load::conductor::server::ServerProcess;
use report::Report;
use settings::{Settings, Size};

/// The table and the figures.
const FILES: [&str; 2] = ["faults.md", "faults.json"];

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("client") => {
            load::client::run();
            return ExitCode::SUCCESS;
        }
        Some(faults::panics::SERVER) => {
            faults::panics::serve();
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let settings = Settings::parse();
    if settings.list {
        for Entry { title, .. } in faults::all() {
            say(&format!("{:8} {}", title.key, title.name));
        }
        return ExitCode::SUCCESS;
    }
    let size = settings.size();
    let checked = check(&settings, &size).and_then(|()| chosen(&settings));
    match checked {
        Ok(chosen) => measure(&settings, &size, chosen),
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

/// Sees that the server takes its flags, and that the results can be written.
fn check(settings: &Settings, size: &Size) -> Result<(), String> {
    let mut flags = size.server_flags();
    size.ask_for_flags(&mut flags);
    let asked = size.flags.join(" ");
    server_flags::check(
        "--flags (or FAULTS_FLAGS)",
        &asked,
        ServerProcess::flags(flags.iter().map(String::as_str)),
    )?;
    if settings.smoke { Ok(()) } else { output::check(&settings.out, &FILES) }
}

fn measure(settings: &Settings, size: &Size, chosen: Vec<Entry>) -> ExitCode {
    let findings = if settings.smoke { all_at_once(chosen, size) } else { one_by_one(chosen, size) };
    let report = Report::new(machine::cores(), (size.members, size.rounds), findings);
    let is_written = if settings.smoke {
        show_failures(&report);
        true
    } else {
        hand_over(&report, settings)
    };
    if !is_written || report.fails(settings.strict_latency && !settings.smoke) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Writes the table and the figures, then shows the table; whether they are written.
fn hand_over(report: &Report, settings: &Settings) -> bool {
    let markdown = report.markdown();
    let json = serde_json::to_string_pretty(report).expect("numbers and texts");
    let [table, figures] = FILES;
    let written = output::write(&settings.out, &[(table, &markdown), (figures, &json)]);
    say(&markdown);
    match &written {
        Ok(()) => say(&format!("written to {}: {}", settings.out.display(), FILES.join(", "))),
        Err(why) => eprintln!("{why}"),
    }
    written.is_ok()
}

/// Those that were asked for.
fn chosen(settings: &Settings) -> Result<Vec<Entry>, String> {
    let all = faults::all();
    if settings.select.is_empty() {
        let is_chosen = |entry: &Entry| !(settings.smoke && entry.is_another_size());
        return Ok(all.into_iter().filter(is_chosen).collect());
    }
    let titles: Vec<_> = all.iter().map(|entry| &entry.title).collect();
    let places = names::all_meant(&settings.select, &titles)?;
    let numbered = all.into_iter().enumerate();
    Ok(numbered.filter(|(at, _)| places.contains(at)).map(|(_, entry)| entry).collect())
}

fn one_by_one(chosen: Vec<Entry>, size: &Size) -> Vec<Finding> {
    let count = chosen.len();
    let run = |(at, mut entry): (usize, Entry)| {
        eprintln!("{} of {count}: {} {}", at + 1, entry.title.key, entry.title.name);
        entry.run(size)
    };
    chosen.into_iter().enumerate().map(run).collect()
}

/// Each with a server of its own: mostly they wait.
fn all_at_once(chosen: Vec<Entry>, size: &Size) -> Vec<Finding> {
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            chosen.into_iter().map(|mut entry| scope.spawn(move || entry.run(size))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a fault test does not panic")).collect()
    })
}

fn show_failures(report: &Report) {
    for finding in &report.findings {
        let wrong: Vec<String> = finding
            .bars
            .missed(bars::Kind::Correctness)
            .map(|bar| format!("{}: {}, allowed {}", bar.name, bar.seen, bar.allowed))
            .chain(finding.complaints.iter().cloned())
            .collect();
        let verdict = if wrong.is_empty() { "ok".to_owned() } else { format!("FAILS: {}", wrong.join("; ")) };
        say(&format!("{} {}: {verdict} ({:.1} s)", finding.key, finding.name, finding.seconds));
    }
}
