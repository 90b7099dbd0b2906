//! The `fanfare` binary: settings, logs, signals, exit status; and the commands in place of serving.

#![warn(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod cli;
mod load;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::FromArgMatches;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};

use cli::{Complaints, Loaded, Loader, Task};
use fanfare::{Config, ServerBuilder, ServerHandle, StartError};
use load::{LoadArgs, LoadError};

/// Could not start, or was told twice to stop; a load that failed or found something wrong.
const EXIT_FAILED: u8 = 1;
/// The settings are wrong.
const EXIT_USAGE: u8 = 2;

/// Lines that may wait for a slow reader of the log; what comes then is dropped, not waited for.
const LOG_LINES_MAX: usize = 8192;

fn main() -> ExitCode {
    let task = cli::parse([load::command()], std::env::args_os().collect());
    match task {
        Ok(Task::Serve(loader)) => match loader.load() {
            Ok(loaded) => serve(loaded),
            Err(complaints) => refuse(&complaints),
        },
        Ok(Task::Check { loader, is_quiet }) => check(&loader, is_quiet),
        Ok(Task::Print(text)) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Ok(Task::Other(matches)) => match LoadArgs::from_arg_matches(&matches) {
            Ok(args) => make_load(args),
            Err(error) => complain(&cli::one_line(&error), EXIT_USAGE),
        },
        Err(complaints) => refuse(&complaints),
    }
}

/// Serves with these settings.
fn serve(Loaded { config, log, .. }: Loaded) -> ExitCode {
    let _log_until_the_end = start_log(log.level);
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("(no message)").escape_debug();
        // Past the log's thread, as an abort may follow.
        say(&format!("panic at {place}: {message}"));
    }));
    match run(config) {
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
            print(checked.text.as_bytes());
            ExitCode::SUCCESS
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
fn run(config: Config) -> Result<(), StartError> {
    let resources = |what| move |error| StartError::Resources { what, error };
    // Registered before anything is served: no signal can find us unprepared.
    let signals = Signals::new([SIGTERM, SIGINT]).map_err(resources("the signals"))?;
    let server = ServerBuilder::standard(config).start()?;
    let handle = server.handle();
    std::thread::Builder::new()
        .name("fanfare-signals".to_owned())
        .spawn(move || watch_signals(signals, &handle))
        .map_err(resources("the thread for signals"))?;
    server.wait();
    tracing::info!("stopped");
    Ok(())
}

/// Logs to standard error from a thread of its own: a reader that is slow or gone stops no worker.
fn start_log(level: tracing::Level) -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LOG_LINES_MAX)
        .lossy(true)
        .thread_name("fanfare-log")
        .finish(std::io::stderr());
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(writer)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .log_internal_errors(false)
        .init();
    guard
}

/// The first signal starts the shutdown, the second one ends the process.
fn watch_signals(mut signals: Signals, handle: &ServerHandle) {
    let mut stopping = false;
    for signal in signals.forever() {
        let name = signal_hook::low_level::signal_name(signal).unwrap_or("signal");
        if stopping {
            say(&format!("{name} again: stopping at once"));
            std::process::exit(i32::from(EXIT_FAILED));
        }
        stopping = true;
        tracing::info!("{name}: shutting down");
        handle.shutdown();
    }
}

/// Says why it did not start.
fn complain(line: &str, status: u8) -> ExitCode {
    say(line);
    ExitCode::from(status)
}

/// To standard output. A closed pipe is no reason to fail.
fn print(text: &[u8]) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text).and_then(|()| out.flush());
}

/// A line past the log. Nobody may be left to read it.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
