//! The soak: the real server with every worker under a mix of honest, fleeting, slow and hostile clients, for
//! as long and as large as is asked for, with a verdict and a report.
//!
//! ```text
//! cargo bench --bench soak -- --duration 60s --connections 2000
//! ```
//!
//! The exit status is 0 for a clean run only. SIGINT and SIGTERM end a run early and in order; the report is
//! written all the same.

#[path = "../common/mod.rs"]
mod common;
#[path = "../../tests/load/mod.rs"]
mod load;
mod settings;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;
use common::output::{self, say};
use common::server_flags;
use load::conductor::server::ServerProcess;
use load::report::{About, html};
use load::soak::{Plan, Soak};
use load::{Launcher, Setup};
use settings::Settings;
use signal_hook::consts::{SIGINT, SIGTERM};

/// The first argument of a client process.
const CLIENT: &str = "soak-client";

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|role| role == CLIENT) {
        load::client::run();
        return ExitCode::SUCCESS;
    }
    let checked = Settings::parse().settled().and_then(|settings| {
        let (plan, report) = (plan(&settings), settings.report.clone().unwrap_or_else(default_report));
        check(&settings, &plan, &report)?;
        Ok((settings, plan, report))
    });
    match checked {
        Ok((settings, plan, report)) => soak(&settings, &plan, &report),
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

/// Sees that the server takes its flags, and that the report can be written.
fn check(settings: &Settings, plan: &Plan, report: &Path) -> Result<(), String> {
    let flags = plan.flags();
    let all = flags.iter().map(String::as_str).chain(settings.flags.split_whitespace());
    server_flags::check("--flags (or SOAK_FLAGS)", &settings.flags, ServerProcess::flags(all))?;
    output::check_file("--report (or SOAK_REPORT)", report)
}

fn soak(settings: &Settings, plan: &Plan, report: &Path) -> ExitCode {
    let setup = setup(settings);
    for signal in [SIGINT, SIGTERM] {
        // A second one ends it at once.
        let _ = signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&setup.stop));
        let _ = signal_hook::flag::register(signal, Arc::clone(&setup.stop));
    }
    let soak = load::soak::run(plan, &setup, &mut say);
    show(&soak);
    if let Err(error) = std::fs::write(report, html(&soak, plan, &about(settings, plan))) {
        eprintln!("the report could not be written to {}: {error}", report.display());
        return ExitCode::FAILURE;
    }
    say(&format!("report: {}\nverdict: {}", report.display(), soak.verdict));
    if soak.verdict.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn plan(settings: &Settings) -> Plan {
    let mut plan = Plan::new(settings.connections, settings.duration);
    (plan.mix.rate, plan.mix.stay) = (settings.rate, settings.stay);
    plan.warm_up = settings.warm_up.unwrap_or(plan.warm_up);
    plan
}

fn setup(settings: &Settings) -> Setup {
    Setup {
        processes: settings.processes(),
        flags: settings.flags.split_whitespace().map(str::to_owned).collect(),
        connects_per_second: settings.connects_per_second,
        seed: settings.seed,
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
        say(&format!("{judged:<10} {}: {}", check.name, check.detail));
    }
    let latency = &soak.outcome.latency;
    say(&format!(
        "latency    p50 {:.1} ms, p99 {:.1} ms, max {:.0} ms",
        latency.quantile_ms(0.5),
        latency.quantile_ms(0.99),
        latency.max_ms()
    ));
    for complaint in &soak.outcome.complaints {
        say(&format!("violation: {complaint}"));
    }
}

fn about(settings: &Settings, plan: &Plan) -> About {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let kernel = read("/proc/sys/kernel/osrelease");
    let build = if cfg!(debug_assertions) { "debug build" } else { "release build" };
    #[allow(clippy::disallowed_methods)] // a date for people
    let now = std::time::SystemTime::now();
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let flags = [plan.flags().join(" "), settings.flags.clone()].join(" ");
    About {
        command: format!("cargo bench --bench soak -- {}", words.join(" ")),
        flags: flags.trim().to_owned(),
        machine: format!("{cores} cores shared by server and clients, Linux {kernel}, {build}"),
        date: humantime::format_rfc3339_seconds(now).to_string().replace('T', " ").replace('Z', " UTC"),
    }
}
