//! The `fanfare` binary: settings, logs, the service, exit status; and the commands in place of serving.

#![warn(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod cli;
mod load;
mod logs;
mod service;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::FromArgMatches;

use cli::{Complaints, Loaded, Loader, Task};
use fanfare::{Config, ServerBuilder, StartError};
use load::{LoadArgs, LoadError};
use service::{Environment, HeldReload, Reloading, Signals, Supervisor};

/// Could not start, or was told twice to stop; a load that failed or found something wrong.
const EXIT_FAILED: u8 = 1;
/// The settings are wrong.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    // A server may be told to reload before it has begun. Commands end with their terminal.
    let is_command =
        std::env::args_os().nth(1).is_some_and(|first| !first.as_encoded_bytes().starts_with(b"-"));
    let held = if is_command { None } else { HeldReload::hold().ok() };
    let task = cli::parse([load::command()], std::env::args_os().collect());
    match task {
        Ok(Task::Serve(loader)) => match loader.load() {
            Ok(loaded) => serve(loader, loaded, held),
            Err(complaints) => refuse(&complaints),
        },
        Ok(Task::Check { loader, is_quiet }) => check(&loader, is_quiet),
        Ok(Task::Print(text)) => print(&text),
        Ok(Task::Other(matches)) => match LoadArgs::from_arg_matches(&matches) {
            Ok(args) => make_load(args),
            Err(error) => complain(&cli::one_line(&error), EXIT_USAGE),
        },
        Err(complaints) => refuse(&complaints),
    }
}

/// Serves with these settings, which the loader has made and will make again.
fn serve(loader: Loader, Loaded { config, log, settings, .. }: Loaded, held: Option<HeldReload>) -> ExitCode {
    // No thread is there yet.
    let environment = match Environment::take() {
        Ok(environment) => environment,
        Err(line) => return complain(&format!("error: {line}"), EXIT_USAGE),
    };
    // Until the end: what waits is written when it goes out of scope.
    let logs = match logs::start(&log) {
        Ok(logs) => logs,
        Err(error) => return complain(&format!("error: the thread of the log: {error}"), EXIT_FAILED),
    };
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("(no message)").escape_debug();
        // Past the log's thread, as an abort may follow.
        say(&format!("panic at {place}: {message}"));
    }));
    let reloading = Reloading::new(loader, logs.handle(), log, settings);
    match run(config, environment, reloading, held) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let usage = matches!(error, StartError::Config(_) | StartError::Descriptors { .. });
            complain(&format!("error: {error}"), if usage { EXIT_USAGE } else { EXIT_FAILED })
        }
    }
}

/// Says what it would serve with.
fn check(loader: &Loader, is_quiet: bool) -> ExitCode {
    match cli::check(loader) {
        Ok(_) if is_quiet => ExitCode::SUCCESS,
        Ok(checked) => {
            for note in checked.notes {
                say(&format!("note: {note}"));
            }
            print(checked.text.as_bytes())
        }
        Err(complaints) => refuse(&complaints),
    }
}

/// The settings are wrong.
fn refuse(complaints: &Complaints) -> ExitCode {
    for line in complaints.lines() {
        say(&format!("error: {line}"));
    }
    ExitCode::from(EXIT_USAGE)
}

/// Makes load on a server.
fn make_load(args: LoadArgs) -> ExitCode {
    match load::run(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_FAILED),
        Err(error) => {
            let usage = matches!(error, LoadError::Usage(_));
            complain(&format!("error: {error}"), if usage { EXIT_USAGE } else { EXIT_FAILED })
        }
    }
}

/// Serves until it is told to stop.
fn run(
    config: Config,
    mut environment: Environment,
    reloading: Reloading,
    held: Option<HeldReload>,
) -> Result<(), StartError> {
    let resources = |what| move |error| StartError::Resources { what, error };
    // Before anything is served: no signal can find us unprepared.
    let signals = Signals::catch(held.as_ref()).map_err(resources("the signals"))?;
    let drain_max = config.shutdown_max();
    let sockets = std::mem::take(&mut environment.sockets);
    let server = ServerBuilder::standard(config).passed_sockets(sockets).start()?;
    let supervisor = Supervisor::new(server.handle(), environment, reloading, drain_max);
    std::thread::Builder::new()
        .name("fanfare-service".to_owned())
        .spawn(move || supervisor.run(signals))
        .map_err(resources("the thread for signals"))?;
    server.wait();
    tracing::info!("stopped");
    Ok(())
}

/// Says why it did not start.
fn complain(line: &str, status: u8) -> ExitCode {
    say(line);
    ExitCode::from(status)
}

/// To standard output. A closed pipe is no reason to fail.
fn print(text: &[u8]) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            complain(&format!("error: standard output: {error}"), EXIT_FAILED)
        }
        _ => ExitCode::SUCCESS,
    }
}

/// A line past the log. Nobody may be left to read it.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
