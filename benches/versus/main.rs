//! This server beside the floor of the machine and beside others.
//!
//! Each server runs in a process of its own on one core, `fanfare load` on another, over loopback. In each round
//! every load is put on every server, one behind the other in an order that changes, so that all of them have seen
//! the same machine: a ratio is taken within a round, and its median over the rounds counts. Written are a table in
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
//! The exit status is 1 if a load failed on a server; a figure that is not reached only stands in the report.

mod bars;
mod cells;
mod chart;
#[path = "../common/mod.rs"]
mod common;
mod load;
mod machine;
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

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use fanfare::server::raise_descriptor_limit;

use cells::Cell;
use load::Length;
use processes::Cores;
use report::{About, Report};
use rounds::Plan;
use settings::Settings;

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
    let cells = chosen(&settings);
    let (servers, absent) = peers::find(&settings);
    if settings.list || cells.is_empty() {
        cells::all().iter().for_each(|cell| println!("{:16} {}", cell.name, cell.title));
        servers.iter().for_each(|server| println!("{} {}", server.listed.name, server.listed.version));
        absent.iter().for_each(|absent| println!("{}: {}", absent.name, absent.why));
        return if settings.list { ExitCode::SUCCESS } else { ExitCode::from(2) };
    }
    let Some(cores) = Cores::find() else {
        eprintln!("the cores that this process may use are not known");
        return ExitCode::FAILURE;
    };
    let length = Length { seconds: settings.seconds, warm_up: settings.warm_up, messages: None };
    let length = if settings.smoke { SMOKE } else { length };
    let (rounds, scratch) = (settings.rounds as usize, PathBuf::from(env!("CARGO_TARGET_TMPDIR")));
    let plan = Plan { cells, servers, rounds, length, cores, scratch };
    let (results, failures) = if settings.smoke { plan.all_at_once() } else { plan.one_by_one() };
    let listed = plan.servers.iter().map(|server| server.listed.clone()).collect();
    let report = Report::new(about(&settings), listed, absent, results, failures);
    if settings.smoke {
        println!("{} loads, {} servers", report.cells.len(), report.servers.len());
        report.absent.iter().for_each(|absent| println!("{}: {}", absent.name, absent.why));
        report.failures.iter().for_each(|failure| println!("FAILS: {failure}"));
    } else {
        println!("{}", report.markdown());
        match write(&report, &settings.out) {
            Ok(()) => println!("written to {}: versus.md, versus.json, versus.svg", settings.out.display()),
            Err(error) => eprintln!("--out {}: {error}", settings.out.display()),
        }
        eprintln!("{} figures are not reached", report.misses());
    }
    if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The loads that were asked for.
fn chosen(settings: &Settings) -> Vec<Cell> {
    let is_chosen = |cell: &Cell| match settings.select.as_slice() {
        [] => !settings.smoke || cells::SMOKE.contains(&cell.name),
        select => select.iter().any(|asked| cell.is_meant(asked)),
    };
    let small = |cell: Cell| if settings.smoke { cell.small() } else { cell };
    cells::all().into_iter().filter(is_chosen).map(small).collect()
}

fn about(settings: &Settings) -> About {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let separator = if arguments.is_empty() { "" } else { " -- " };
    About {
        processor: machine::processor(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        kernel: machine::kernel(),
        congestion_control: machine::congestion_control(),
        rustc: machine::output("rustc", &["--version"]).unwrap_or_default(),
        command: format!("cargo bench --bench versus{separator}{}", arguments.join(" ")),
        rounds: settings.rounds as usize,
        seconds: settings.seconds,
    }
}

/// The table, the figures and the chart.
fn write(report: &Report, folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("versus.md"), report.markdown())?;
    let json = serde_json::to_string_pretty(report).map_err(std::io::Error::other)?;
    std::fs::write(folder.join("versus.json"), json)?;
    std::fs::write(folder.join("versus.svg"), chart::svg(report))
}
