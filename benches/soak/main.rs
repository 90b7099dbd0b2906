//! The soak: the real server with every worker under a mix of honest, fleeting, slow and hostile clients, for
//! as long and as large as is asked for, with a verdict and a report.
//!
//! ```text
//! cargo bench --bench soak -- --duration 60s --connections 2000
//! ```
//!
//! The exit status is 0 for a clean run only. SIGINT and SIGTERM end a run early and in order; the report is
//! written all the same.

#[path = "../../tests/load/mod.rs"]
mod load;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Parser;
use load::report::{About, html};
use load::soak::{Plan, Soak};
use load::{Launcher, Setup};
use signal_hook::consts::{SIGINT, SIGTERM};

/// The first argument of a client process.
const CLIENT: &str = "soak-client";
/// Connections of one process: below the descriptor limits of common machines.
const PROCESS_CONNECTIONS: usize = 6_000;
/// What `cargo bench -- --test` runs.
const SMOKE: (usize, Duration) = (300, Duration::from_secs(4));

/// A soak of the server.
#[derive(Debug, Parser)]
struct Arguments {
    /// How long it stays with everybody in, such as 60s, 30m or 8h
    #[arg(long, env = "SOAK_DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Connections, about; a fifth of them comes and goes or misbehaves
    #[arg(long, env = "SOAK_CONNECTIONS", default_value_t = 2000)]
    connections: usize,
    /// Messages a second in each room of about 40 members
    #[arg(long, env = "SOAK_RATE", default_value_t = 1.0)]
    rate: f64,
    /// Seconds that those who come and go stay, about
    #[arg(long, env = "SOAK_STAY", default_value_t = 5.0)]
    stay: f64,
    /// Client processes [default: one for 6,000 connections, at least 2]
    #[arg(long, env = "SOAK_PROCESSES")]
    processes: Option<usize>,
    /// Connections begun in a second at most
    #[arg(long, env = "SOAK_CONNECTS", default_value_t = 2000)]
    connects_per_second: u32,
    /// Time before memory is judged [default: a sixth, and until the rooms' windows are full]
    #[arg(long, env = "SOAK_WARM_UP", value_parser = humantime::parse_duration)]
    warm_up: Option<Duration>,
    /// Further flags of the server, in one argument
    #[arg(long, env = "SOAK_FLAGS", default_value = "", allow_hyphen_values = true)]
    flags: String,
    /// Where the report is written [default: soak.html in the target folder]
    #[arg(long, env = "SOAK_REPORT")]
    report: Option<PathBuf>,
    /// Repeats the choices of the clients; their timing stays its own
    #[arg(long, env = "SOAK_SEED", default_value_t = 1)]
    seed: u64,
    /// Small and short, to see that it works
    #[arg(long)]
    test: bool,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|role| role == CLIENT) {
        load::client::run();
        return ExitCode::SUCCESS;
    }
    let mut arguments = Arguments::parse();
    if arguments.test {
        (arguments.connections, arguments.duration) = SMOKE;
    }
    let (plan, setup) = (plan(&arguments), setup(&arguments));
    for signal in [SIGINT, SIGTERM] {
        // A second one ends it at once.
        let _ = signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&setup.stop));
        let _ = signal_hook::flag::register(signal, Arc::clone(&setup.stop));
    }
    let soak = load::soak::run(&plan, &setup, &mut |line| println!("{line}"));
    show(&soak);
    let path = arguments.report.clone().unwrap_or_else(default_report);
    if let Err(error) = std::fs::write(&path, html(&soak, &plan, &about(&arguments, &plan))) {
        println!("the report could not be written to {}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    println!("report: {}\nverdict: {}", path.display(), soak.verdict);
    if soak.verdict.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn plan(arguments: &Arguments) -> Plan {
    let mut plan = Plan::new(arguments.connections, arguments.duration);
    (plan.mix.rate, plan.mix.stay) = (arguments.rate, arguments.stay);
    plan.warm_up = arguments.warm_up.unwrap_or(plan.warm_up);
    plan
}

fn setup(arguments: &Arguments) -> Setup {
    let processes = arguments.processes.unwrap_or(arguments.connections.div_ceil(PROCESS_CONNECTIONS).max(2));
    Setup {
        processes,
        flags: arguments.flags.split_whitespace().map(str::to_owned).collect(),
        connects_per_second: arguments.connects_per_second,
        seed: arguments.seed,
        stop: Arc::new(AtomicBool::new(false)),
        ..Setup::new(Launcher::this_program(&[CLIENT]))
    }
}

/// Beside the profile's folder that this program was built into.
fn default_report() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let target = program.ancestors().nth(3).unwrap_or(Path::new("."));
    target.join("soak.html")
}

fn show(soak: &Soak) {
    for check in &soak.verdict.checks {
        let judged = match check.judged {
            load::verdict::Judged::Passed => "passed",
            load::verdict::Judged::Failed => "FAILED",
            load::verdict::Judged::Shown => "shown",
        };
        println!("{judged:<10} {}: {}", check.name, check.detail);
    }
    let latency = &soak.outcome.latency;
    println!(
        "latency    p50 {:.1} ms, p99 {:.1} ms, max {:.0} ms",
        latency.quantile_ms(0.5),
        latency.quantile_ms(0.99),
        latency.max_ms()
    );
    for complaint in &soak.outcome.complaints {
        println!("violation: {complaint}");
    }
}

fn about(arguments: &Arguments, plan: &Plan) -> About {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let kernel = read("/proc/sys/kernel/osrelease");
    let build = if cfg!(debug_assertions) { "debug build" } else { "release build" };
    #[allow(clippy::disallowed_methods)] // a date for people
    let now = std::time::SystemTime::now();
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let flags = [plan.flags().join(" "), arguments.flags.clone()].join(" ");
    About {
        command: format!("cargo bench --bench soak -- {}", words.join(" ")),
        flags: flags.trim().to_owned(),
        machine: format!("{cores} cores shared by server and clients, Linux {kernel}, {build}"),
        date: humantime::format_rfc3339_seconds(now).to_string().replace('T', " ").replace('Z', " UTC"),
    }
}
