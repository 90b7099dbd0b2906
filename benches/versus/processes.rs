//! Child processes on a core of their own, ended by their handle.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use core_affinity::CoreId;

use crate::common::Owned;
use crate::common::child::bind;

/// A server is up long before, or never, even where much else runs.
const PATIENCE: Duration = Duration::from_secs(120);
/// What a server that listens says before its address.
const LISTENING: &str = "listening on ";

/// The cores of server and generator.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    pub server: CoreId,
    pub generator: CoreId,
}

impl Cores {
    /// The first two that this process may use; one for both if there is no second.
    pub fn find() -> Option<Cores> {
        let cores = core_affinity::get_core_ids()?;
        Some(Cores { server: *cores.first()?, generator: *cores.get(1).or(cores.first())? })
    }
}

/// A server that listens.
pub struct Running {
    process: Owned,
    pub address: String,
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }
}

/// How a server says that it listens.
pub enum Ready {
    /// It prints [`LISTENING`] and its address.
    Says,
    /// It prints this, and listens where it was told to.
    On { line: &'static str, address: String },
}

/// Starts a server and waits until it listens.
pub fn start(mut command: Command, ready: &Ready, core: CoreId) -> Result<Running, String> {
    let mut child = spawn_on(core, &mut command)?;
    let (sender, lines) = channel();
    // Both are read to their ends: a server must never wait for a reader.
    read_lines(child.stdout.take(), sender.clone());
    read_lines(child.stderr.take(), sender);
    let process = Owned(child);
    let mut said = String::new();
    loop {
        let line = match lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                return Err(format!("{command:?} did not listen within {PATIENCE:?}: {said}"));
            }
            Err(RecvTimeoutError::Disconnected) => return Err(format!("{command:?} ended: {said}")),
        };
        let address = match ready {
            Ready::Says => line.split_once(LISTENING).map(|(_, address)| address.trim().to_owned()),
            Ready::On { line: expected, address } => line.contains(expected).then(|| address.clone()),
        };
        if let Some(address) = address {
            return Ok(Running { process, address });
        }
        said.push_str(&line);
        said.push('\n');
    }
}

/// A program that has ended.
pub struct Finished {
    pub output: String,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

/// Runs a program to its end; one that takes longer than `patience` is ended.
pub fn finish(mut command: Command, core: CoreId, patience: Duration) -> Result<Finished, String> {
    let mut child = spawn_on(core, &mut command)?;
    let (sender, texts) = channel();
    read_all(child.stdout.take(), sender.clone(), true);
    read_all(child.stderr.take(), sender, false);
    let mut process = Owned(child);
    let (mut output, mut said) = (String::new(), String::new());
    for _ in 0..2 {
        match texts.recv_timeout(patience) {
            Ok((true, text)) => output = text,
            Ok((false, text)) => said = text,
            Err(_) => return Err(format!("{command:?} was not done within {patience:?}")),
        }
    }
    let status = process.0.wait().map_err(|error| error.to_string())?;
    let failure = (!status.success()).then(|| format!("{command:?}: {status}: {}", said.trim()));
    Ok(Finished { output, failure })
}

/// Starts it with no input, and its outputs to be read.
fn spawn_on(core: CoreId, command: &mut Command) -> Result<Child, String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    bind(command, Some(core));
    command.spawn().map_err(|error| format!("{command:?}: {error}"))
}

fn read_lines(output: Option<impl Read + Send + 'static>, lines: Sender<String>) {
    let output = BufReader::new(output.expect("it is piped"));
    thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            // Nobody waits for an address any more.
            let _ = lines.send(line);
        }
    });
}

fn read_all(output: Option<impl Read + Send + 'static>, texts: Sender<(bool, String)>, is_output: bool) {
    let mut output = output.expect("it is piped");
    thread::spawn(move || {
        let mut text = String::new();
        let _ = output.read_to_string(&mut text);
        let _ = texts.send((is_output, text));
    });
}
