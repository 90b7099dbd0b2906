//! The binary as a process of its own, and its log.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// A command that runs the binary at this path with nothing of this process's environment.
pub fn command(binary: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

/// A running binary that listens on a port of its own.
pub struct Running {
    pub child: Child,
    pub stderr: BufReader<ChildStderr>,
    pub address: SocketAddr,
    /// The log up to the last line of the start.
    pub start: Vec<String>,
}

impl Running {
    /// When it is told to stop, it tells everybody at once, unless the arguments say otherwise.
    pub fn start(binary: &str, arguments: &[&str]) -> Running {
        let arguments =
            [&["--listen", "127.0.0.1:0", "--admin", "none", "--workers", "2"], arguments].concat();
        let mut command = command(binary, &arguments);
        command.env("FANFARE_DRAIN", "0s");
        Running::spawn(command)
    }

    pub fn spawn(mut command: Command) -> Running {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it runs");
        let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut start = Vec::new();
        while start.last().is_none_or(|line: &String| !line.contains("limits: ")) {
            let mut line = String::new();
            assert!(stderr.read_line(&mut line).expect("a log line") > 0, "it ended: {start:?}");
            start.push(line);
        }
        let listening = start.iter().find_map(|line| line.split_once("listening on "));
        let address = listening.expect("an address").1.trim().parse().expect("an address");
        Running { child, stderr, address, start }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a signal");
    }

    /// Waits for the line of the log that says this.
    pub fn wait_for(&mut self, part: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.stderr.read_line(&mut line).expect("a log line") > 0, "it ended without {part}");
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Waits for its end; gives the status and the rest of its log.
    pub fn end(mut self) -> (ExitStatus, String) {
        let mut log = String::new();
        self.stderr.read_to_string(&mut log).expect("the log is UTF-8");
        (self.child.wait().expect("its end"), log)
    }

    /// The lowest number that a new descriptor would get.
    #[cfg(target_os = "linux")]
    pub fn next_descriptor(&self) -> u64 {
        let listed = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("its descriptors");
        let number =
            |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
        let open: Vec<u64> = listed.filter_map(number).collect();
        (0..).find(|number| !open.contains(number)).expect("one is free")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // By its handle; it has ended already where a test has gone well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
