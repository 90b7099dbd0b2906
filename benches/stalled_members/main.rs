//! What members that stop reading cost the server and the others.
//!
//! One room of many members in other processes, warmed up until its window is full. Everybody reads a steady
//! flow of messages for a while, as a control; then some of them read nothing for as long under the same flow,
//! and read on. Shown is what the server's own memory grew by over its peak in the control, and the kernel's
//! over what it was. The run fails unless everybody else got each message once and in order, and each that had
//! stopped is in step again without a gap or was cut with a stated cause, and the server's memory grew by no
//! more than the window and [`ALLOWANCE_BYTES`].
//!
//! ```text
//! cargo bench --bench stalled_members
//! ```
//!
//! `STALLED_MEMBERS`, `STALLED_STALLED` (else a tenth of them), `STALLED_SECONDS` and `STALLED_RATE` (messages a
//! second, at most) change the size; `STALLED_FLAGS` are further flags of the server, such as
//! `--send-buffer 4MiB`. A rate that the machine cannot keep is not kept: messages wait until the members that
//! read have those before.

mod client;
#[path = "../common/mod.rs"]
mod common;
mod measure;
mod processes;
mod settings;

use std::io::Write;
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use fanfare::Config;
use fanfare::protocol::{MaskKeys, Opcode, push_client_frame};
use fanfare::reactor::MonotonicClock;
use fanfare::time::Time;

use client::{End, MemberResult, PAYLOAD_BYTES, payload};
use common::output::say;
use common::{numbers, server_flags};
use measure::{Kernel, Sockets, cpu_time, kernel, user_memory};
use processes::{ClientProcess, Cut, Event, ServerProcess};
use settings::Size;

/// Beside the window: allocators have arenas, and a member that is cut has a Close to be told. (More than
/// half of what 1,000 that are cut at once add are their lines of the log, all of which the bench asks for.)
const ALLOWANCE_BYTES: usize = 64 << 10;
/// Messages that fill the window by count, and then some.
const WARM_UP_MESSAGES: u32 = 1_200;
/// Messages that a member that reads may be behind; far below what the window holds.
const AHEAD: u32 = 64;
/// Messages behind the stall, so that to be in step is more than to have what was there.
const LAST_MESSAGES: u32 = 64;
/// Silence after which the run has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// Looking at every socket of the machine takes longer.
const SOCKETS_EVERY: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some([role, arguments @ ..]) = arguments.get(..)
        && role == client::ROLE
    {
        client::run(arguments);
        return ExitCode::SUCCESS;
    }
    let checked = Size::of(arguments, numbers::environment).and_then(|size| {
        let flags = server_flags::all(size.flags.split_whitespace());
        server_flags::check("STALLED_FLAGS", &size.flags, flags)?;
        Ok(size)
    });
    match checked {
        Ok(size) => measure(&size),
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn measure(size: &Size) {
    let mut run = Run::start(size);
    let phase = run.stall(size);
    let results = run.finish();
    let outcome = Outcome::of(&results, &run.server.stop(), run.sent);
    show(size, &phase, &outcome, run.sent);
    outcome.check(size);
    let allowed = Config::default().history_bytes + ALLOWANCE_BYTES;
    let growth = phase.user_growth();
    assert!(size.smoke || growth <= allowed, "the server grew by {growth} bytes, {allowed} are allowed");
}

/// What was measured while members were stalled.
#[derive(Default)]
struct Phase {
    messages: u32,
    took: Duration,
    /// Behind the warm-up, and at most in the control and while members were stalled.
    user_before: usize,
    user_control_peak: usize,
    user_peak: usize,
    kernel_before: Kernel,
    kernel_peak: Kernel,
    /// What one stalled member's socket held at most at our end, and all of them on the average.
    socket_peak: usize,
    socket_mean_peak: usize,
    /// The same at their end.
    client_mean_peak: usize,
    cpu: Duration,
}

struct Run {
    server: ServerProcess,
    crowd: Vec<ClientProcess>,
    events: Receiver<Event>,
    clock: MonotonicClock,
    publisher: TcpStream,
    mask_keys: MaskKeys,
    sent: u32,
    /// Messages that all reading members of each process have.
    seen: Vec<u32>,
    /// The ports of the members that are going to stall.
    stalled_ports: Vec<u16>,
    results: Vec<MemberResult>,
    waiting_for: usize,
}

impl Run {
    /// Has everybody in the room, and the room's window full.
    fn start(size: &Size) -> Run {
        let server = ServerProcess::start(&size.flags);
        let (sender, events) = channel();
        let processes = size.processes();
        let share = |of: usize, index: usize| of / processes + usize::from(index < of % processes);
        let crowd: Vec<ClientProcess> = (0..processes)
            .map(|index| {
                let (members, stalled) = (share(size.members, index), share(size.stalled, index));
                ClientProcess::start(index, &server.address, members, stalled, sender.clone())
            })
            .collect();
        let publisher = client::join(&server.address);
        let mut run = Run {
            server,
            seen: vec![0; crowd.len()],
            waiting_for: crowd.len(),
            crowd,
            events,
            clock: MonotonicClock::start(),
            publisher,
            mask_keys: MaskKeys::from_os(),
            sent: 0,
            stalled_ports: Vec::new(),
            results: Vec::new(),
        };
        run.await_all("the members join");
        run.publish_steadily(size.rate, |run| run.sent < WARM_UP_MESSAGES);
        run.until_seen(0, "the end of the warm-up");
        run
    }

    /// Has everybody read the flow, and returns the server's highest memory meanwhile. One turn publishes one
    /// message and another many in a batch: buffers of changing sizes leave holes in the allocator's heap, some
    /// hundred KiB of them, whoever reads.
    fn control(&mut self, size: &Size) -> usize {
        let mut peak = 0;
        self.flow(size, |run| peak = peak.max(user_memory(run.server.id())));
        self.until_seen(0, "the end of the control");
        peak.max(self.settled_memory())
    }

    /// Lets members stall, and read on.
    fn stall(&mut self, size: &Size) -> Phase {
        let mut phase = Phase { user_before: self.settled_memory(), ..Phase::default() };
        phase.user_control_peak = self.control(size);
        phase.kernel_before = kernel();
        let cpu_before = cpu_time(self.server.id());
        self.tell("stall");
        self.await_all("the members stop reading");
        let (begun, sent_before) = (self.clock.now(), self.sent);
        let mut sockets_at = begun + SOCKETS_EVERY / 5;
        self.flow(size, |run| {
            phase.sample(run.server.id());
            let now = run.clock.now();
            if now >= sockets_at {
                phase.sample_sockets(&Sockets::of(run.server.port(), &run.stalled_ports));
                sockets_at = now + SOCKETS_EVERY;
            }
        });
        phase.took = self.clock.now().since(begun);
        phase.messages = self.sent - sent_before;
        phase.sample_sockets(&Sockets::of(self.server.port(), &self.stalled_ports));
        self.tell("resume");
        self.await_all("the members read on");
        for _ in 0..LAST_MESSAGES {
            self.publish();
            self.until_seen(AHEAD, "those that read");
            phase.sample(self.server.id());
        }
        phase.cpu = cpu_time(self.server.id()) - cpu_before;
        phase
    }

    /// What became of every member.
    fn finish(&mut self) -> Vec<MemberResult> {
        self.tell(&format!("finish {}", self.sent));
        self.await_all("the members end");
        std::mem::take(&mut self.results)
    }

    fn publish(&mut self) {
        let mut frame = Vec::with_capacity(PAYLOAD_BYTES + 16);
        push_client_frame(&mut frame, Opcode::Binary, true, &payload(self.sent), self.mask_keys.next());
        self.publisher.write_all(&frame).expect("the server takes the messages");
        self.sent += 1;
    }

    /// Publishes for as long as the run says, and calls `sample` now and then.
    fn flow(&mut self, size: &Size, mut sample: impl FnMut(&Run)) {
        let mut sample_at = self.clock.now();
        let until = sample_at + Duration::from_secs(size.seconds);
        self.publish_steadily(size.rate, |run| {
            let now = run.clock.now();
            if now >= sample_at {
                sample(run);
                sample_at = now + SAMPLE_EVERY;
            }
            now < until
        });
    }

    /// Publishes at a rate, or as fast as the members that read take it, while `go_on` says so.
    fn publish_steadily(&mut self, rate: u32, mut go_on: impl FnMut(&Run) -> bool) {
        let interval = Duration::from_secs(1) / rate;
        let mut publish_at = self.clock.now();
        let mut patience = publish_at + PATIENCE;
        while go_on(self) {
            let now = self.clock.now();
            assert!(now < patience, "nothing for {PATIENCE:?}: {:?} of {}", self.seen, self.sent);
            let may_publish = self.sent - self.least_seen() < AHEAD;
            if may_publish && now >= publish_at {
                self.publish();
                // What could not be sent in time is not made up for.
                publish_at = (publish_at + interval).max(now);
                patience = now + PATIENCE;
                continue;
            }
            let next = if may_publish { publish_at } else { now + SAMPLE_EVERY };
            self.handle_event(next.since(now).min(SAMPLE_EVERY));
        }
    }

    fn least_seen(&self) -> u32 {
        self.seen.iter().copied().min().unwrap_or_default()
    }

    /// Waits until the members that read are at most so many messages behind.
    fn until_seen(&mut self, behind: u32, what: &str) {
        let mut patience = self.clock.now() + PATIENCE;
        while self.sent - self.least_seen() > behind {
            let now = self.clock.now();
            assert!(now < patience, "{what}: nothing for {PATIENCE:?}, {:?} of {}", self.seen, self.sent);
            if self.handle_event(patience.since(now)) {
                patience = now + PATIENCE;
            }
        }
    }

    /// Tells every process of members the same; each answers once.
    fn tell(&mut self, what: &str) {
        for process in &mut self.crowd {
            process.tell(what);
        }
        self.waiting_for = self.crowd.len();
    }

    fn await_all(&mut self, what: &str) {
        let mut patience = self.clock.now() + PATIENCE;
        while self.waiting_for > 0 {
            let now = self.clock.now();
            assert!(now < patience, "{what}: nothing for {PATIENCE:?}");
            if self.handle_event(patience.since(now)) {
                patience = now + PATIENCE;
            }
        }
    }

    /// Takes one report, if one comes in time.
    fn handle_event(&mut self, timeout: Duration) -> bool {
        match self.events.recv_timeout(timeout) {
            Ok(Event::Seen { process, messages }) => self.seen[process] = messages,
            Ok(Event::Stalls { port }) => self.stalled_ports.push(port),
            Ok(Event::Result(result)) => self.results.push(result),
            Ok(Event::Done) => self.waiting_for = self.waiting_for.saturating_sub(1),
            Ok(Event::Failed { process }) => panic!("client process {process} failed"),
            Err(RecvTimeoutError::Timeout) => return false,
            Err(RecvTimeoutError::Disconnected) => panic!("the client processes are gone"),
        }
        true
    }

    /// The server's memory once it no longer changes.
    fn settled_memory(&mut self) -> usize {
        let give_up: Time = self.clock.now() + Duration::from_secs(5);
        let (mut last, mut same) = (user_memory(self.server.id()), 0);
        while same < 5 && self.clock.now() < give_up {
            self.handle_event(SAMPLE_EVERY);
            let now = user_memory(self.server.id());
            same = if now == last { same + 1 } else { 0 };
            last = now;
        }
        last
    }
}

impl Phase {
    /// What the stalled members added to the server's own memory.
    fn user_growth(&self) -> usize {
        self.user_peak.saturating_sub(self.user_control_peak)
    }

    fn sample(&mut self, server: u32) {
        self.user_peak = self.user_peak.max(user_memory(server));
        let kernel = kernel();
        if kernel.tcp_bytes > self.kernel_peak.tcp_bytes {
            self.kernel_peak = kernel;
        }
    }

    fn sample_sockets(&mut self, sockets: &Sockets) {
        self.socket_peak = self.socket_peak.max(sockets.ours_max);
        self.socket_mean_peak = self.socket_mean_peak.max(sockets.ours_mean);
        self.client_mean_peak = self.client_mean_peak.max(sockets.theirs_mean);
    }
}

/// What became of the members.
#[derive(Default)]
struct Outcome {
    healthy_whole: usize,
    in_step: usize,
    /// Cut, by cause: those that read the Close, and those that were cut before they read on, for whom the
    /// server's log has the cause.
    told: Vec<(String, usize)>,
    logged: Vec<(String, usize)>,
    wrong: Vec<String>,
}

impl Outcome {
    fn of(results: &[MemberResult], cuts: &[Cut], sent: u32) -> Outcome {
        let mut outcome = Outcome::default();
        for result in results {
            let logged = cuts.iter().find(|cut| cut.port == result.port);
            let whole = result.end == End::Open && result.messages == sent;
            match (&result.end, logged) {
                _ if whole && !result.stalled => outcome.healthy_whole += 1,
                _ if whole => outcome.in_step += 1,
                (End::Close { code: 1008, reason }, Some(cut))
                    if result.stalled && reason.ends_with(&format!(":{} in room one", result.messages)) =>
                {
                    count(&mut outcome.told, &cut.cause);
                }
                // What the kernel still had for it may be lost with the Close, but nothing before that.
                (End::Eof | End::Reset, Some(cut)) if result.stalled && result.messages <= cut.messages => {
                    count(&mut outcome.logged, &cut.cause);
                }
                (_, logged) => outcome.wrong.push(format!("{result:?}, log {logged:?}")),
            }
        }
        outcome
    }

    fn check(&self, size: &Size) {
        assert!(self.wrong.is_empty(), "{} of {sent}", self.wrong.len(), sent = self.wrong.join("\n"));
        assert_eq!(self.healthy_whole, size.members - size.stalled, "members that read miss nothing");
        let cut: usize = self.told.iter().chain(&self.logged).map(|(_, count)| count).sum();
        assert_eq!(self.in_step + cut, size.stalled, "the others are in step or were cut with a cause");
    }
}

fn count(counts: &mut Vec<(String, usize)>, cause: &str) {
    match counts.iter_mut().find(|(known, _)| known == cause) {
        Some((_, count)) => *count += 1,
        None => counts.push((cause.to_owned(), 1)),
    }
}

fn show(size: &Size, phase: &Phase, outcome: &Outcome, sent: u32) {
    let kib = |bytes: usize| format!("{:.0} KiB", bytes as f64 / 1024.0);
    let counts = |counts: &[(String, usize)]| {
        let each: Vec<String> = counts.iter().map(|(cause, count)| format!("{count} {cause}")).collect();
        if each.is_empty() { "0".to_owned() } else { each.join(", ") }
    };
    let rate = f64::from(phase.messages) / phase.took.as_secs_f64();
    let readers = size.members - size.stalled;
    let kernel = phase.kernel_peak.tcp_bytes.saturating_sub(phase.kernel_before.tcp_bytes);
    for (what, value) in [
        (
            "members, of them stalled",
            format!("{}, {} for {:.1} s", size.members, size.stalled, phase.took.as_secs_f64()),
        ),
        ("messages of 1 KiB", format!("{sent}, {} while stalled", phase.messages)),
        (
            "rate asked, achieved",
            format!("{}/s, {rate:.1}/s ({:.0} deliveries/s)", size.rate, rate * readers as f64),
        ),
        ("the room's window", kib(Config::default().history_bytes)),
        (
            "user memory before, all read",
            format!("{}, peak {}", kib(phase.user_before), kib(phase.user_control_peak)),
        ),
        ("  some stalled", format!("peak {}", kib(phase.user_peak))),
        ("  growth by the stalled", kib(phase.user_growth())),
        (
            "kernel TCP memory before, peak",
            format!("{}, {}", kib(phase.kernel_before.tcp_bytes), kib(phase.kernel_peak.tcp_bytes)),
        ),
        ("  growth per stalled, both ends", kib(kernel / size.stalled.max(1))),
        (
            "bytes in a stalled one's socket",
            format!("mean {}, most {}", kib(phase.socket_mean_peak), kib(phase.socket_peak)),
        ),
        ("  in its own, unread", format!("mean {}", kib(phase.client_mean_peak))),
        ("readers that got all, in order", format!("{} of {readers}", outcome.healthy_whole)),
        ("stalled: in step again", outcome.in_step.to_string()),
        ("  cut, Close 1008 read", counts(&outcome.told)),
        ("  cut, cause in the log", counts(&outcome.logged)),
        ("  neither", outcome.wrong.len().to_string()),
        ("server CPU", format!("{:.1} s", phase.cpu.as_secs_f64())),
    ] {
        say(&format!("{what:<32} {value}"));
    }
}
