//! What does not change with the number of connections, members, rooms and shards, with a verdict for each bar.
//!
//! * `idle`: memory and CPU of 10,000 connections that say nothing, against the real server.
//! * `shards`: two shards against one: throughput over the simulated `Io` on a thread each, as over sockets the
//!   generator would take one of the two cores that a small machine has; CPU against the real server.
//! * `tail`: what a tenth of stalled readers does to the latency of the others, against the real server.
//! * `accept`: handshakes of one core, against the real server.
//! * `linear`: CPU per delivery by members and rooms: against the real server and the floor (`versus`), as the
//!   kernel's part is most of it, and over the simulated `Io` where there are more connections than descriptors.
//!
//! ```text
//! cargo bench --bench scale                  # all, some 15 minutes
//! cargo bench --bench scale -- accept shards --rounds 9 --out DIR
//! cargo bench --bench scale -- --test        # small, to see that it works
//! ```
//!
//! The server runs on one core, its clients on another. A bar that is missed makes the run fail, but with
//! `--test`. The bars and their reasons are in `bars.rs`.

mod accept;
mod bars;
#[path = "../common/mod.rs"]
mod common;
mod drum;
#[path = "../versus/servers/floor.rs"]
mod floor;
mod generator;
#[path = "../versus/servers/handshake.rs"]
mod handshake;
mod holder;
mod idle;
mod knocker;
mod members;
mod process;
mod report;
#[path = "../versus/servers/ring.rs"]
mod ring;
mod settings;
mod shards;
mod tail;

use std::process::ExitCode;

use clap::Parser;
use fanfare::server::raise_descriptor_limit;

use common::machine::{self, Machine};
use common::output::{self, ONE_CORE, say};
use generator::Generator;
use report::{Finding, Report};
use settings::{Settings, Size};

/// The table and the figures.
const FILES: [&str; 2] = ["scale.md", "scale.json"];

type Part = (&'static str, fn(&Size, &Generator) -> Vec<Finding>);

const PARTS: [Part; 5] = [
    ("idle", |size, _| vec![idle::measure(size)]),
    ("shards", |size, generator| vec![shards::simulated(size), shards::real(size, generator)]),
    ("tail", |size, generator| vec![tail::measure(size, generator)]),
    ("accept", |size, _| vec![accept::measure(size)]),
    ("linear", |size, generator| vec![members::real(size, generator), members::simulated(size)]),
];

fn main() -> ExitCode {
    // Of the processes that this one starts, too.
    raise_descriptor_limit();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(holder::ROLE) => holder::run(&arguments[1..]),
        Some(knocker::ROLE) => knocker::run(&arguments[1..]),
        Some(process::FLOOR) => process::serve_floor(&arguments[1..]),
        _ => return measure(&Settings::parse()),
    }
    ExitCode::SUCCESS
}

fn measure(settings: &Settings) -> ExitCode {
    if let Some(unknown) = settings.parts.iter().find(|part| PARTS.iter().all(|(name, _)| name != part)) {
        eprintln!("there is no part {unknown}: expected idle, shards, tail, accept or linear");
        return ExitCode::from(2);
    }
    if let Err(why) = output::check(&settings.out, &FILES) {
        eprintln!("{why}");
        return ExitCode::from(2);
    }
    let machine = Machine::here();
    if machine.cores == 1 {
        eprintln!("{ONE_CORE}");
    }
    let size = Size::of(settings);
    let generator = Generator { program: settings.generator.clone() };
    let mut findings = Vec::new();
    for (name, measure) in PARTS.iter().filter(|(name, _)| settings.runs(name)) {
        eprintln!("{name} …");
        findings.extend(measure(&size, &generator));
    }
    let report = Report { machine, command: machine::command("scale"), rounds: size.rounds, findings };
    let markdown = report.markdown();
    let json = serde_json::to_string_pretty(&report).expect("numbers and texts");
    let [table, figures] = FILES;
    let written = output::write(&settings.out, &[(table, &markdown), (figures, &json)]);
    say(&markdown);
    if let Err(why) = written {
        eprintln!("{why}");
        return ExitCode::FAILURE;
    }
    let missed = report.misses() > 0 && !settings.smoke;
    if missed || report.failures() > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
