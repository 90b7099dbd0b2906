//! System calls of the real server, counted by strace while a client does fixed work over loopback.
//!
//! A scenario runs twice, once with twice the rounds: the difference is what the rounds have cost, without
//! starting, connecting and ending.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fanfare::protocol::{Opcode, push_server_frame};
use rustix::process::{Pid, Signal, kill_process};

use crate::common::child::bind;
use crate::common::connect;
use crate::flat::frames;

/// How long the client waits for bytes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Fixed work for the server.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub workers: usize,
    /// Members of a room beside its publisher; 0 for an echo.
    members: usize,
    /// Those who send.
    senders: usize,
    bytes: usize,
    in_flight: usize,
    rounds: usize,
}

const fn echo(name: &'static str, senders: usize, bytes: usize, in_flight: usize) -> Scenario {
    Scenario {
        name,
        workers: 1,
        members: 0,
        senders,
        bytes,
        in_flight,
        rounds: if senders == 1 { 2000 } else { 60 },
    }
}

const fn fanout(name: &'static str, workers: usize, in_flight: usize) -> Scenario {
    Scenario { name, workers, members: 100, senders: 1, bytes: 64, in_flight, rounds: 100 }
}

/// All of them, as the table has them.
pub const ALL: &[Scenario] = &[
    echo("echo 16 B, 1 connection, 1 in flight", 1, 16, 1),
    echo("echo 16 B, 1 connection, 16 in flight", 1, 16, 16),
    echo("echo 1 KiB, 1 connection, 16 in flight", 1, 1 << 10, 16),
    echo("echo 16 B, 100 connections, 1 in flight", 100, 16, 1),
    Scenario { workers: 2, ..echo("echo 16 B, 100 connections on 2 workers, 1 in flight", 100, 16, 1) },
    fanout("fan-out 64 B to 100, 1 in flight", 1, 1),
    fanout("fan-out 64 B to 100, 16 in flight", 1, 16),
    fanout("fan-out 64 B to 100 on 2 workers, 1 in flight", 2, 1),
    fanout("fan-out 64 B to 100 on 2 workers, 16 in flight", 2, 16),
];

/// What a call is for; the table has a row for each.
pub const KINDS: [&str; 4] = ["receive", "send", "wait", "others"];

/// System calls by name.
pub type ByName = BTreeMap<String, f64>;

/// Adds up calls by what they are for.
pub fn by_kind(calls: &ByName) -> [(&'static str, f64); 4] {
    let kind = |name: &str| match name {
        "recvfrom" | "recvmsg" | "recvmmsg" => 0,
        "sendto" | "sendmsg" | "sendmmsg" => 1,
        "epoll_wait" | "epoll_pwait" | "epoll_pwait2" | "poll" | "ppoll" => 2,
        _ => 3,
    };
    let mut sums = [0.0; 4];
    for (name, count) in calls {
        sums[kind(name)] += count;
    }
    [0, 1, 2, 3].map(|at| (KINDS[at], sums[at]))
}

impl Scenario {
    /// Messages or deliveries of a round.
    pub fn per_round(&self) -> usize {
        self.in_flight * if self.members > 0 { self.members } else { self.senders }
    }

    /// What a new bound allows over what was seen. How many waits share the messages of several connections is
    /// a matter of time: a few are allowed, but not one for each message.
    pub fn slack(&self, kind: &str) -> f64 {
        match (self.senders, kind) {
            (2.., "wait") => 10.0,
            (2.., "others") => 40.0,
            _ => 0.5,
        }
    }

    /// System calls per round, by name.
    ///
    /// # Errors
    ///
    /// If strace or the server fails, or a message is lost or wrong.
    pub fn count(&self) -> Result<ByName, Box<dyn Error>> {
        let once = self.total(self.rounds)?;
        let mut twice = self.total(2 * self.rounds)?;
        for (name, calls) in &mut twice {
            *calls = (*calls - once.get(name).copied().unwrap_or_default()) / self.rounds as f64;
        }
        // What a difference of two runs shows of a call now and then.
        twice.retain(|_, calls| calls.abs() >= 0.005);
        Ok(twice)
    }

    /// What one life of the server with so many rounds calls.
    fn total(&self, rounds: usize) -> Result<ByName, Box<dyn Error>> {
        let server = Traced::start(self.workers)?;
        // Nobody goes while calls are counted.
        let _connections = self.play(&server.address, rounds)?;
        server.end()
    }

    /// Does the rounds, and returns all connections.
    ///
    /// # Errors
    ///
    /// If a message is lost or wrong.
    pub fn play(&self, address: &str, rounds: usize) -> Result<Vec<TcpStream>, Box<dyn Error>> {
        let path = if self.members > 0 { "/rooms/a" } else { "/echo" };
        let mut senders = open(address, path, self.senders)?;
        let mut members = open(address, path, self.members)?;
        let input = frames(self.bytes, self.in_flight);
        let mut expected = Vec::new();
        for number in 0..self.in_flight {
            push_server_frame(&mut expected, Opcode::Binary, &vec![number as u8; self.bytes]);
        }
        let mut got = vec![0; expected.len()];
        for _ in 0..rounds {
            for sender in &mut senders {
                sender.write_all(&input)?;
            }
            let listeners = if self.members > 0 { &mut members } else { &mut senders };
            for listener in listeners {
                listener.read_exact(&mut got)?;
                if got != expected {
                    return Err(format!("{}: a connection got other bytes than expected", self.name).into());
                }
            }
        }
        senders.extend(members);
        Ok(senders)
    }
}

fn open(address: &str, path: &str, count: usize) -> Result<Vec<TcpStream>, Box<dyn Error>> {
    let mut streams = Vec::new();
    for _ in 0..count {
        let stream = connect(address, path);
        stream.set_read_timeout(Some(PATIENCE))?;
        streams.push(stream);
    }
    Ok(streams)
}

/// The server under strace, which counts its calls.
struct Traced {
    strace: Child,
    address: String,
    counts: PathBuf,
}

impl Traced {
    fn start(workers: usize) -> Result<Traced, Box<dyn Error>> {
        let counts = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("strace-{}", std::process::id()));
        let mut command = Command::new("strace");
        command
            // Without -I2 it would not hear the signal that ends it.
            .args(["-f", "-c", "-I2", "--summary-columns=calls,name", "-o"])
            .arg(&counts)
            .args([
                env!("CARGO_BIN_EXE_fanfare"),
                "--listen",
                "127.0.0.1:0",
                "--admin",
                "none",
                "--log",
                "info",
            ])
            .args(["--message-rate", "1000000", "--byte-rate", "1TiB", "--handshakes-per-second", "1000000"])
            .args(["--workers", &workers.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        bind(&mut command, None);
        let mut strace = command.spawn()?;
        let mut lines = BufReader::new(strace.stderr.take().expect("it is piped")).lines();
        let mut traced = Traced { strace, address: String::new(), counts };
        let mut said = String::new();
        while traced.address.is_empty() {
            let Some(Ok(line)) = lines.next() else { return Err(format!("strace ended: {said}").into()) };
            match line.split_once("listening on ") {
                Some((_, address)) => traced.address = address.trim().to_owned(),
                None => said.push_str(&line),
            }
        }
        // Nobody may keep the server from writing its log; the thread ends with the server.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(traced)
    }

    /// Ends both, and reads the counts.
    fn end(mut self) -> Result<ByName, Box<dyn Error>> {
        self.stop();
        let counts = fs::read_to_string(&self.counts)?;
        let _ = fs::remove_file(&self.counts);
        let row = |line: &str| {
            let mut words = line.split_whitespace();
            let calls: f64 = words.next()?.parse().ok()?;
            words.next().filter(|name| *name != "total").map(|name| (name.to_owned(), calls))
        };
        let calls: ByName = counts.lines().filter_map(row).collect();
        if calls.is_empty() {
            return Err(format!("strace has counted nothing: {counts}").into());
        }
        Ok(calls)
    }

    /// Strace hands the signal on to the server, lets go of it, and writes what it has counted.
    fn stop(&mut self) {
        if let Ok(None) = self.strace.try_wait() {
            let _ = kill_process(Pid::from_child(&self.strace), Signal::TERM);
            let _ = self.strace.wait();
        }
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        self.stop();
    }
}
