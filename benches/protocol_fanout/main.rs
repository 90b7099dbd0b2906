//! What a delivery to a member of the client protocol costs, against one to a raw member.
//!
//! A server on one worker, and a process of members for each kind: raw, the client protocol in JSON, and in
//! Protobuf. A publisher sends to one room at a time, and goes on when all of its members have what it
//! sent. Kinds take turns, several rounds of them; shown are the medians of the server's user and system
//! time per delivery, of deliveries a second, and of the ratio to raw members within a round.
//!
//! ```text
//! cargo bench --bench protocol_fanout
//! ```
//!
//! One message at a time is what the goal is for: each delivery is then a send of its own. In bursts of 16
//! the sends are shared, and what is left to see is that a push has more bytes than a raw frame.
//! `FANOUT_MEMBERS`, `FANOUT_ROUNDS` and `FANOUT_MILLISECONDS` (of each measurement) change the size.

#[path = "../common/mod.rs"]
mod common;
mod members;
mod settings;

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::net::TcpStream;
use std::process::{ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

use fanfare::protocol::{MaskKeys, Opcode, push_client_frame};
use fanfare::reactor::MonotonicClock;
use fanfare::server::raise_descriptor_limit;

use common::child::bind;
use common::output::say;
use common::{Owned, connect, median, numbers, start_server};
use members::{Kind, ROLE};
use settings::Size;

const PAYLOAD_BYTES: [usize; 3] = [16, 128, 1024];
const BURSTS: [usize; 2] = [1, 16];
/// Of the ratio, one message at a time.
const GOAL: f64 = 1.10;
/// Ticks a second in what the kernel shows, on every machine.
const USER_HZ: f64 = 100.0;

fn main() -> ExitCode {
    // Of the processes that this one starts, too.
    raise_descriptor_limit();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some([role, arguments @ ..]) = arguments.get(..)
        && role == ROLE
    {
        members::run(arguments);
        return ExitCode::SUCCESS;
    }
    match Size::of(arguments, numbers::environment) {
        Ok(size) => measure(&size),
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn measure(&Size { members, rounds, slice, smoke }: &Size) {
    let server = Server::start();
    let mut crowds = Kind::ALL.map(|kind| Crowd::join(&server, kind, members));
    say(&format!("{members} members of each kind; medians of {rounds} rounds"));
    say("bytes burst kind       CPU/delivery  deliveries/s  ratio to raw");
    let mut worst: f64 = 0.0;
    for burst in BURSTS {
        for bytes in PAYLOAD_BYTES {
            let shown = compare(&server, &mut crowds, (bytes, burst), rounds, slice);
            if burst == 1 {
                worst = shown.into_iter().fold(worst, f64::max);
            }
        }
    }
    if smoke {
        return;
    }
    let verdict = if worst <= GOAL { "met" } else { "missed" };
    say(&format!(
        "one message at a time: at most {worst:.2} of a raw delivery, the goal of {GOAL:.2} is {verdict}"
    ));
}

/// Measures all kinds in turns and shows the medians; returns the ratios.
fn compare(
    server: &Server,
    crowds: &mut [Crowd],
    (bytes, burst): (usize, usize),
    rounds: usize,
    slice: Duration,
) -> Vec<f64> {
    let mut samples: Vec<Vec<Sample>> = crowds.iter().map(|_| Vec::new()).collect();
    // The first round warms up.
    for round in 0..=rounds {
        let slice = if round == 0 { slice / 10 } else { slice };
        for (crowd, samples) in crowds.iter_mut().zip(&mut samples) {
            let sample = crowd.measure(server, bytes, burst, slice);
            samples.extend((round > 0).then_some(sample));
        }
    }
    let mut ratios = Vec::new();
    for (kind, of_kind) in Kind::ALL.iter().zip(&samples) {
        let cost = median(of_kind.iter().map(Sample::cost));
        let rate = median(of_kind.iter().map(Sample::rate));
        let ratio = median(of_kind.iter().zip(&samples[0]).map(|(own, raw)| own.cost() / raw.cost()));
        say(&format!(
            "{bytes:>5} {burst:>5} {:<9} {:>10.2} us {rate:>13.0} {ratio:>13.2}",
            kind.name(),
            cost * 1e6
        ));
        ratios.push(ratio);
    }
    ratios
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
struct Sample {
    deliveries: f64,
    cpu_seconds: f64,
    seconds: f64,
}

impl Sample {
    /// Seconds of the server's CPU per delivery; a measurement is longer than a tick of the kernel's.
    fn cost(&self) -> f64 {
        self.cpu_seconds.max(1.0 / USER_HZ) / self.deliveries
    }

    fn rate(&self) -> f64 {
        self.deliveries / self.seconds
    }
}

struct Server {
    process: Owned,
    address: String,
}

impl Server {
    fn start() -> Server {
        // Nobody is pinged meanwhile.
        let (process, address, lines) = start_server(["--workers", "1", "--ping-interval", "10m"]);
        // So that it never waits for somebody to read its log.
        std::thread::spawn(move || lines.for_each(drop));
        Server { process, address }
    }

    /// The seconds that it has computed, in user space and in the kernel.
    fn cpu_seconds(&self) -> f64 {
        let process = self.process.0.id();
        nanoseconds(process).map_or_else(|| ticks(process) / USER_HZ, |nanoseconds| nanoseconds / 1e9)
    }
}

/// The nanoseconds that the threads of a process have run, where the kernel says it so finely.
fn nanoseconds(process: u32) -> Option<f64> {
    let mut sum = 0.0;
    for thread in fs::read_dir(format!("/proc/{process}/task")).ok()? {
        let schedule = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        sum += schedule.split(' ').next()?.parse::<f64>().ok()?;
    }
    Some(sum)
}

/// The same in ticks.
fn ticks(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    let (_, fields) = stat.rsplit_once(") ").expect("the name is in parentheses");
    fields.split(' ').skip(11).take(2).map(|field| field.parse::<f64>().expect("a number")).sum()
}

/// The members of one kind, and who publishes to them.
struct Crowd {
    _process: Owned,
    lines: Lines<BufReader<ChildStdout>>,
    members: usize,
    publisher: TcpStream,
    mask_keys: MaskKeys,
    clock: MonotonicClock,
    sent: u64,
}

impl Crowd {
    fn join(server: &Server, kind: Kind, members: usize) -> Crowd {
        let mut command = Command::new(std::env::current_exe().expect("this bench is a file"));
        command.args([ROLE, &server.address, kind.name(), &members.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        bind(&mut command, None);
        let mut child = command.spawn().expect("a process of members starts");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let process = Owned(child);
        let publisher = connect(&server.address, &format!("/rooms/{}", kind.name()));
        let (mask_keys, clock) = (MaskKeys::from_os(), MonotonicClock::start());
        let mut crowd = Crowd { _process: process, lines, members, publisher, mask_keys, clock, sent: 0 };
        assert_eq!(crowd.line(), "joined");
        crowd
    }

    fn line(&mut self) -> String {
        self.lines.next().and_then(Result::ok).expect("the process of members says how far they are")
    }

    /// Publishes for so long, and waits each time until everybody has it.
    fn measure(&mut self, server: &Server, bytes: usize, burst: usize, slice: Duration) -> Sample {
        let payload = format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - "{\"a\":\"\"}".len()));
        let (started, cpu_before, sent_before) = (self.clock.now(), server.cpu_seconds(), self.sent);
        let mut frames = Vec::new();
        while self.clock.now().since(started) < slice {
            frames.clear();
            for _ in 0..burst {
                let key = self.mask_keys.next();
                push_client_frame(&mut frames, Opcode::Text, true, payload.as_bytes(), key);
            }
            self.publisher.write_all(&frames).expect("the server reads");
            self.sent += burst as u64;
            while self.line().parse::<u64>().expect("a number") < self.sent {}
        }
        Sample {
            deliveries: ((self.sent - sent_before) * self.members as u64) as f64,
            cpu_seconds: server.cpu_seconds() - cpu_before,
            seconds: self.clock.now().since(started).as_secs_f64(),
        }
    }
}
