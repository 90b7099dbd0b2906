//! This server beside the floor of the machine and beside others.
//!
//! Each server runs in a process of its own on one core, `fanfare load` on another, over loopback. In each round
//! every load is put on every server, one behind the other in an order that changes, so that all of them have seen
//! the same machine: a ratio is taken within a round, and its median over the rounds counts. Written are tables in
//! Markdown, everything in JSON, and a chart.
//!
//! ```text
//! cargo bench --bench versus                                    # everything: a quarter of an hour
//! cargo bench --bench versus -- echo-16b fanout-64b             # some loads, by a part of the name
//! cargo bench --bench versus -- --servers fanfare,bun --rounds 9
//! cargo bench --bench versus -- --list                          # which loads and servers there are
//! cargo bench --bench versus -- --test                          # all at once and small: no figure means anything
//! ```
//!
//! | server | what it is |
//! |---|---|
//! | floor | a bare epoll loop that neither parses nor unmasks (`servers/floor.rs`); fan-out with more than one message in flight: one send for all of them; "a send each": without that; "io_uring": many sends in one call of the kernel |
//! | fanfare | the release binary as it comes, on one worker, its rates raised |
//! | fastwebsockets, tokio-tungstenite | servers on tokio (`servers/`), on one thread, tuned as their documentation allows, with buffers that fit the load |
//! | Node ws, Bun (which has the engine of uWebSockets), gorilla, nchan | scripts in `peers/`, where what they need is installed: `npm install --prefix target/tmp/peers ws bun`, Debian's `golang-go golang-github-gorilla-websocket-dev`, `nginx-core libnginx-mod-nchan`. The report names those that are not |
//!
//! The system's default congestion control is used; bbr paces on loopback, and costs more there. A network namespace
//! of its own has the machine to itself and may have another:
//!
//! ```text
//! cargo bench --bench versus --no-run
//! unshare -rn sh -c 'ip link set lo up && sysctl -q net.ipv4.tcp_congestion_control=reno && cargo bench --bench versus'
//! ```
//!
//! The exit status is 1 if a load failed on a server or the results cannot be written, and 2 if there is nothing to measure
//! as it is asked for; a figure that is not reached only stands in the report.

mod bars;
mod cells;
mod chart;
#[path = "../common/mod.rs"]
mod common;
mod load;
mod names;
mod order;
mod outcome;
mod peers;
mod processes;
mod report;
mod results;
mod rounds;
mod servers;
mod settings;
mod statistics;
mod tables;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use fanfare::server::raise_descriptor_limit;

use common::machine::{self, Machine};
use common::output::{self, ONE_CORE, counted, say};
use load::Length;
use peers::Server;
use processes::Cores;
use report::{About, Absent, Report};
use rounds::Plan;
use settings::Settings;

/// The tables, the figures and the chart.
const FILES: [&str; 3] = ["versus.md", "versus.json", "versus.svg"];
/// How long a load lasts when all run at once: until so much has come, however long that takes.
const SMOKE: Length = Length { seconds: 60.0, warm_up: 0.0, messages: Some(20) };

fn main() -> ExitCode {
    // Of the servers that it starts, too.
    raise_descriptor_limit();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [role, arguments @ ..] = arguments.as_slice()
        && role == servers::ROLE
    {
        return servers::run(arguments);
    }
    let settings = Settings::parse();
    let (servers, absent) = peers::find(&settings);
    if settings.list {
        say(&listed(&servers, &absent));
        return ExitCode::SUCCESS;
    }
    match plan(&settings, servers, &absent) {
        Ok(plan) => measure(&settings, &plan, absent),
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

/// All loads and servers, by the names that choose them.
fn listed(servers: &[Server], absent: &[Absent]) -> String {
    let line = |name: &str, words: &str| format!("\n  {name:16} {}", words.trim_end());
    let loads = cells::all().into_iter().map(|cell| line(cell.name, cell.title));
    let here = servers.iter().map(|server| &server.listed);
    let here = here.map(|listed| line(listed.key, &format!("{} {}", listed.name, listed.version)));
    let absent = absent.iter().map(|absent| line(absent.key, &format!("{}: {}", absent.name, absent.why)));
    format!("loads{}\n--servers{}", loads.collect::<String>(), here.chain(absent).collect::<String>())
}

/// What was asked for, if it can be measured and its results written.
fn plan(settings: &Settings, servers: Vec<Server>, absent: &[Absent]) -> Result<Plan, String> {
    let cells = cells::chosen(&settings.select, settings.smoke)?;
    let servers = peers::chosen(servers, absent, &settings.servers)?;
    if !settings.smoke {
        output::check(&settings.out, &FILES)?;
    }
    let cores = Cores::find().ok_or("the cores that this process may use are not known")?;
    let length = Length { seconds: settings.seconds, warm_up: settings.warm_up, messages: None };
    let length = if settings.smoke { SMOKE } else { length };
    let (rounds, scratch) = (settings.rounds as usize, PathBuf::from(env!("CARGO_TARGET_TMPDIR")));
    Ok(Plan { cells, servers, rounds, length, cores, scratch })
}

fn measure(settings: &Settings, plan: &Plan, absent: Vec<Absent>) -> ExitCode {
    let about = about(settings);
    if about.machine.cores == 1 {
        eprintln!("{ONE_CORE}");
    }
    let (results, failures) = if settings.smoke { plan.all_at_once() } else { plan.one_by_one() };
    let listed = plan.servers.iter().map(|server| server.listed.clone()).collect();
    let report = Report::new(about, listed, absent, results, failures);
    let is_written = if settings.smoke {
        say(&summary(&report));
        true
    } else {
        hand_over(&report, settings)
    };
    if is_written && report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What there is to say where no figure means anything.
fn summary(report: &Report) -> String {
    let (loads, servers) = (counted(report.cells.len(), "load"), counted(report.servers.len(), "server"));
    let absent = report.absent.iter().map(|absent| format!("\n{}: {}", absent.name, absent.why));
    let failures = report.failures.iter().map(|failure| format!("\nFAILS: {failure}"));
    format!("{loads}, {servers}{}", absent.chain(failures).collect::<String>())
}

/// Writes the tables, the figures and the chart, then shows the tables; whether they are written.
fn hand_over(report: &Report, settings: &Settings) -> bool {
    let markdown = report.markdown();
    let json = serde_json::to_string_pretty(report).expect("numbers and texts");
    let [tables, figures, picture] = FILES;
    let files = [(tables, markdown.as_str()), (figures, &json), (picture, &chart::svg(report))];
    let written = output::write(&settings.out, &files);
    say(&markdown);
    match &written {
        Ok(()) => say(&format!("written to {}: {}", settings.out.display(), FILES.join(", "))),
        Err(why) => eprintln!("{why}"),
    }
    match report.misses() {
        1 => eprintln!("1 figure is not reached"),
        misses => eprintln!("{misses} figures are not reached"),
    }
    written.is_ok()
}

fn about(settings: &Settings) -> About {
    About {
        machine: Machine::here(),
        command: machine::command("versus"),
        rounds: settings.rounds as usize,
        seconds: settings.seconds,
    }
}
