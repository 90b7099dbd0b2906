//! The `fanfare` binary: flags, logs, signals, exit status.

#![warn(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod cli;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use fanfare::{ServerBuilder, ServerHandle, StartError};

/// Could not start, or was told twice to stop.
const EXIT_FAILED: u8 = 1;
/// The flags are wrong.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => return complain(&cli::one_line(&error), EXIT_USAGE),
        Err(help) => {
            // A closed pipe is no reason to fail.
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    let (config, level) = cli.into_config();
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("(no message)");
        tracing::error!(place, "panic: {}", message.escape_debug());
    }));
    // Registered before anything is served: no signal can find us unprepared.
    let signals = match Signals::new([SIGTERM, SIGINT]) {
        Ok(signals) => signals,
        Err(error) => return complain(&format!("error: signals: {error}"), EXIT_FAILED),
    };
    let server = match ServerBuilder::standard(config).start() {
        Ok(server) => server,
        Err(error @ StartError::Config(_)) => return complain(&format!("error: {error}"), EXIT_USAGE),
        Err(error) => return complain(&format!("error: {error}"), EXIT_FAILED),
    };
    let handle = server.handle();
    let watcher = std::thread::Builder::new()
        .name("fanfare-signals".to_owned())
        .spawn(move || watch_signals(signals, &handle));
    if let Err(error) = watcher {
        return complain(&format!("error: the thread for signals: {error}"), EXIT_FAILED);
    }
    server.wait();
    tracing::info!("stopped");
    ExitCode::SUCCESS
}

/// The first signal starts the shutdown, the second one ends the process.
fn watch_signals(mut signals: Signals, handle: &ServerHandle) {
    let mut stopping = false;
    for signal in signals.forever() {
        let name = signal_hook::low_level::signal_name(signal).unwrap_or("signal");
        if stopping {
            tracing::warn!("{name} again: stopping at once");
            std::process::exit(i32::from(EXIT_FAILED));
        }
        stopping = true;
        tracing::info!("{name}: shutting down");
        handle.shutdown();
    }
}

/// The only output beside the log.
#[allow(clippy::print_stderr)]
fn complain(line: &str, status: u8) -> ExitCode {
    eprintln!("{line}");
    ExitCode::from(status)
}
