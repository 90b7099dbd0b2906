//! The server process and what its log says.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, SocketAddrV4};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};

use super::child;
use super::clients::Launcher;

/// Alarming lines and cuts that are kept; more are only counted.
const ALARMS_MAX: usize = 100;
const CUTS_MAX: usize = 200_000;
/// Causes that a client which reads too little may be cut for.
const SLOW_CAUSES: [&str; 4] =
    ["slow_consumer_history", "slow_consumer_stalled", "slow_consumer_queue", "heartbeat_timeout"];

/// What the log has said.
#[derive(Debug, Default)]
pub struct LogBook {
    /// Ends of connections, by cause.
    pub causes: BTreeMap<String, u64>,
    /// Slow consumers that were cut and not asked for yet: by address, why, as often as it was.
    pub cuts: HashMap<SocketAddr, Vec<String>>,
    /// Warnings, errors and panics.
    pub alarms: Vec<String>,
    pub errors: u64,
    pub warnings: u64,
}

impl LogBook {
    /// Takes a line.
    pub fn take(&mut self, line: &str) {
        if let Some(cause) = between(line, "cause=\"", "\"") {
            match self.causes.get_mut(cause) {
                Some(count) => *count += 1,
                None => {
                    self.causes.insert(cause.to_owned(), 1);
                }
            }
            let peer = between(line, " peer=", " ").and_then(|peer| peer.parse().ok());
            if let Some(peer) = peer.filter(|_| SLOW_CAUSES.contains(&cause) && self.cuts.len() < CUTS_MAX) {
                self.cuts.entry(peer).or_default().push(cause.to_owned());
            }
        }
        let is_error = line.contains(" ERROR ") || line.contains("panic");
        let is_warning = line.contains(" WARN ");
        self.errors += u64::from(is_error);
        self.warnings += u64::from(is_warning);
        if (is_error || is_warning) && self.alarms.len() < ALARMS_MAX {
            self.alarms.push(line.to_owned());
        }
    }

    /// Why a slow consumer was cut, once for each time that it was.
    pub fn take_cut(&mut self, address: &SocketAddr) -> Option<String> {
        let causes = self.cuts.get_mut(address)?;
        let cause = causes.pop();
        if causes.is_empty() {
            self.cuts.remove(address);
        }
        cause
    }
}

fn between<'a>(line: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(start)?;
    Some(rest.split(end).next().unwrap_or(rest))
}

/// A running server.
pub struct ServerProcess {
    child: Child,
    log: Arc<Mutex<LogBook>>,
    reader: Option<JoinHandle<()>>,
    pub address: SocketAddrV4,
}

impl ServerProcess {
    /// All flags of one with these beside, but for its address.
    pub fn flags<'a>(flags: impl IntoIterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
        ["--admin", "none", "--log", "debug", "--log-rate", "1000000"].into_iter().chain(flags)
    }

    /// Starts one on this address with these flags beside, and a log of every end of a connection. It ends with
    /// the thread that has started it.
    pub fn start<'a>(
        launcher: &Launcher,
        listen: &str,
        flags: impl IntoIterator<Item = &'a str>,
    ) -> ServerProcess {
        let mut command = Command::new(&launcher.program);
        command
            .args(&launcher.arguments)
            .args(Self::flags(flags))
            .args(["--listen", listen])
            // Crowds come as fast as they can, and may have all descriptors; those that are left are told at once.
            .env("FANFARE_HANDSHAKES_PER_SECOND", "1000000")
            .env("FANFARE_SHED_AT_PERCENT", "100")
            .env("FANFARE_DRAIN", "0s")
            .process_group(0)
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        child::bind(&mut command, None);
        let mut child = command.spawn().expect("the server starts");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let mut said = String::new();
        let address = loop {
            let Some(Ok(line)) = lines.next() else { panic!("the server ended: {said}") };
            if let Some((_, address)) = line.split_once("listening on ") {
                break address.trim().parse().expect("an IPv4 address");
            }
            said.push_str(&line);
        };
        let log = Arc::new(Mutex::new(LogBook::default()));
        let book = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                book.lock().expect("no reader panics").take(&line);
            }
        });
        ServerProcess { child, log, reader: Some(reader), address }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> MutexGuard<'_, LogBook> {
        self.log.lock().expect("no reader panics")
    }

    pub fn signal(&self, signal: Signal) {
        // It fails only if the process is gone, which its end shows.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)) | Err(_))
    }

    /// Waits for its end, which somebody has asked it for; gives its exit code, `None` for a signal. What it
    /// has said to the last is in its log then.
    pub fn wait(&mut self) -> Option<i32> {
        let code = self.child.wait().ok().and_then(|status| status.code());
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        code
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        self.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_says_who_was_cut_and_why() {
        let mut book = LogBook::default();
        for line in [
            "2026-11-22T20:15:11Z DEBUG closed: the peer closed with 1000 (Normal Closure) \
             connection=0-100000000 peer=127.0.0.2:4040 cause=\"peer_closed\" code=1000",
            "2026-11-22T20:15:12Z  INFO closed: slow consumer: out of the history (--history-bytes) at \
             00000000000000ab:7 in room a connection=1-100000001 peer=127.0.0.3:5050 \
             cause=\"slow_consumer_history\" code=1008 queued=0",
            "2026-11-22T20:15:13Z  WARN out of descriptors: new connections are refused until some are free",
            "panic at src/a.rs:1:1: oh",
        ] {
            book.take(line);
        }
        assert_eq!(book.causes.values().sum::<u64>(), 2);
        let cut = "127.0.0.3:5050".parse().unwrap();
        assert_eq!(book.take_cut(&cut).as_deref(), Some("slow_consumer_history"));
        assert_eq!((book.take_cut(&cut), book.cuts.len()), (None, 0));
        assert_eq!((book.errors, book.warnings, book.alarms.len()), (1, 1, 2));
    }
}
