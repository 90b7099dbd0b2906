//! A process of members. It is told by its standard input what to do and reports on its standard output:
//! whatever happens to the bench, it ends with it.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{BufRead, ErrorKind, IoSlice, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use fanfare::protocol::{MaskKeys, Opcode, push_client_frame};
use fanfare::reactor::{Io, MonotonicClock, PollIo, PollStream, Wake};
use fanfare::slab::{Key, Slab};

use super::common::connect;

/// The first argument of such a process.
pub const ROLE: &str = "stalled-members-client";
pub const PAYLOAD_BYTES: usize = 1 << 10;
/// FIN and binary, then a length of 16 bits.
const HEADER: [u8; 4] = [0x82, 126, (PAYLOAD_BYTES >> 8) as u8, PAYLOAD_BYTES as u8];
const FRAME_BYTES: usize = HEADER.len() + PAYLOAD_BYTES;
/// Silence after which members that are not done are shown as they are.
const PATIENCE: Duration = Duration::from_secs(20);

/// The message of this number: it begins and ends with it.
pub fn payload(number: u32) -> [u8; PAYLOAD_BYTES] {
    let mut payload = [0x5A; PAYLOAD_BYTES];
    payload[..4].copy_from_slice(&number.to_be_bytes());
    payload[PAYLOAD_BYTES - 4..].copy_from_slice(&number.to_be_bytes());
    payload
}

/// How a member's connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Open,
    Close { code: u16, reason: String },
    Eof,
    Reset,
}

/// What became of a member, as a line of the report.
#[derive(Debug)]
pub struct MemberResult {
    pub port: u16,
    pub stalled: bool,
    /// Messages that it got: each once, in order, none left out.
    pub messages: u32,
    pub end: End,
}

impl MemberResult {
    fn push_line(&self, out: &mut String) {
        let MemberResult { port, stalled, messages, end } = self;
        let end = match end {
            End::Open => "open".to_owned(),
            End::Close { code, reason } => format!("close {code} {reason}"),
            End::Eof => "eof".to_owned(),
            End::Reset => "reset".to_owned(),
        };
        writeln!(out, "result {port} {stalled} {messages} {end}").expect("a string takes all");
    }

    /// What [`MemberResult::push_line`] has written behind the first word.
    pub fn parse(line: &str) -> Option<MemberResult> {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next();
        let (port, stalled, messages, end) = (word()?, word()?, word()?, word()?);
        let end = match end.split_once(' ') {
            None if end == "open" => End::Open,
            None if end == "eof" => End::Eof,
            None => End::Reset,
            Some((_, close)) => {
                let (code, reason) = close.split_once(' ')?;
                End::Close { code: code.parse().ok()?, reason: reason.to_owned() }
            }
        };
        let (port, messages) = (port.parse().ok()?, messages.parse().ok()?);
        Some(MemberResult { port, stalled: stalled == "true", messages, end })
    }
}

/// A member that has joined the room, blocking.
pub fn join(address: &str) -> TcpStream {
    connect(address, "/rooms/one")
}

struct Member {
    /// Watched, unless it is stalled or at its end.
    stream: Option<PollStream>,
    /// The socket of one that is stalled.
    parked: Option<OwnedFd>,
    port: u16,
    stalls: bool,
    partial: Vec<u8>,
    messages: u32,
    end: End,
}

impl Member {
    /// Takes whole frames off the front. Pings are given to `ping`, numbers of messages to `message`.
    fn take(&mut self, received: &[u8], ping: &mut Vec<u8>, message: impl FnMut(u32)) {
        if self.partial.is_empty() {
            let taken = self.parse(received, ping, message);
            self.partial.extend_from_slice(&received[taken..]);
        } else {
            let mut bytes = std::mem::take(&mut self.partial);
            bytes.extend_from_slice(received);
            let taken = self.parse(&bytes, ping, message);
            bytes.drain(..taken);
            self.partial = bytes;
        }
    }

    fn parse(&mut self, bytes: &[u8], ping: &mut Vec<u8>, mut message: impl FnMut(u32)) -> usize {
        let mut at = 0;
        while self.end == End::Open {
            let rest = &bytes[at..];
            if rest.starts_with(&HEADER) && rest.len() >= FRAME_BYTES {
                let payload_of = &rest[HEADER.len()..FRAME_BYTES];
                let port = self.port;
                assert!(payload_of == payload(self.messages), "{port} misses {}", self.messages);
                message(self.messages);
                self.messages += 1;
                at += FRAME_BYTES;
                continue;
            }
            let &[first @ (0x88 | 0x89), length, ref body @ ..] = rest else { break };
            let Some(body) = body.get(..usize::from(length)) else { break };
            if first == 0x89 {
                ping.clear();
                ping.extend_from_slice(body);
                ping.push(b'.');
            } else {
                let (code, reason) = body.split_at_checked(2).expect("a Close of ours says why");
                let code = u16::from_be_bytes([code[0], code[1]]);
                self.end = End::Close { code, reason: String::from_utf8_lossy(reason).into_owned() };
            }
            at += 2 + body.len();
        }
        let rest = &bytes[at..];
        let known = rest.first().is_none_or(|first| matches!(first, 0x82 | 0x88 | 0x89));
        assert!(known || self.end != End::Open, "{} got {:?}", self.port, &rest[..rest.len().min(8)]);
        at
    }
}

struct Crowd {
    io: PollIo,
    members: Slab<Member>,
    keys: Vec<Key>,
    mask_keys: MaskKeys,
    /// Members that read, and how many of them have each message from `seen` on.
    readers: u32,
    arrived: VecDeque<u32>,
    seen: u32,
    stalling: bool,
}

/// Joins so many members, of whom the first `stalled` can be told to stop reading.
pub fn run(arguments: &[String]) {
    let [address, members, stalled] = arguments else { panic!("address, members, stalled") };
    let (members, stalled): (usize, usize) =
        (members.parse().expect("a number"), stalled.parse().expect("a number"));
    raise_descriptor_limit();
    let mut crowd = Crowd::join(address, members, stalled);
    let (sender, commands) = channel();
    let waker = crowd.io.waker();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            let _ = sender.send(line);
            waker.wake();
        }
        // Nobody is left to report to.
        std::process::exit(1);
    });
    println!("done");
    crowd.serve(&commands);
    // Its end would count as a failure while the others are not done; the bench ends it.
    while commands.recv().is_ok() {}
}

fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

impl Crowd {
    fn join(address: &str, count: usize, stalled: usize) -> Crowd {
        let mut io = PollIo::new(MonotonicClock::start()).expect("a poller");
        let mut members: Slab<Member> = Slab::default();
        for index in 0..count {
            let stream = join(address);
            stream.set_nonblocking(true).expect("a socket option");
            let port = stream.local_addr().expect("an address").port();
            let stream = io.register(stream.into(), members.next_key()).expect("it can be watched");
            let stalls = index < stalled;
            if stalls {
                println!("stalls {port}");
            }
            members.insert(Member {
                stream: Some(stream),
                parked: None,
                port,
                stalls,
                partial: Vec::new(),
                messages: 0,
                end: End::Open,
            });
        }
        let keys = members.keys().collect();
        Crowd {
            io,
            members,
            keys,
            mask_keys: MaskKeys::from_os(),
            readers: count as u32,
            arrived: VecDeque::new(),
            seen: 0,
            stalling: false,
        }
    }

    fn serve(&mut self, commands: &Receiver<String>) {
        let (mut ready, mut buffer) = (Vec::new(), vec![0; 256 << 10]);
        let mut wanted = None;
        let mut patience = self.io.now() + PATIENCE;
        loop {
            while let Ok(command) = commands.try_recv() {
                match command.split_once(' ') {
                    None if command == "stall" => self.stall(),
                    None => self.resume(),
                    Some((_, messages)) => wanted = Some(messages.parse().expect("a number")),
                }
                if wanted.is_none() {
                    println!("done");
                }
                patience = self.io.now() + PATIENCE;
            }
            if let Some(wanted) = wanted
                && (self.is_finished(wanted) || self.io.now() >= patience)
            {
                return self.report();
            }
            let deadline = self.io.now() + PATIENCE / 10;
            self.io.wait(&mut ready, Some(deadline)).expect("it can wait");
            for ready in &ready {
                self.receive(ready.key, &mut buffer);
                patience = self.io.now() + PATIENCE;
            }
            self.report_seen();
        }
    }

    fn receive(&mut self, key: Key, buffer: &mut [u8]) {
        let Crowd { io, members, mask_keys, arrived, seen, stalling, .. } = self;
        let Some(member) = members.get_mut(key) else { return };
        let Some(stream) = member.stream.take() else { return };
        let mut ping = Vec::new();
        let counts = !(*stalling && member.stalls);
        match io.receive(&stream, buffer) {
            Ok(0) => member.end = End::Eof,
            Ok(received) => member.take(&buffer[..received], &mut ping, |number| {
                if counts {
                    let at = (number - *seen) as usize;
                    arrived.resize(arrived.len().max(at + 1), 0);
                    arrived[at] += 1;
                }
            }),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => member.end = End::Reset,
        }
        if ping.pop().is_some() {
            let mut pong = Vec::new();
            push_client_frame(&mut pong, Opcode::Pong, true, &ping, mask_keys.next());
            let _ = io.send(&stream, &[IoSlice::new(&pong)]);
        }
        if member.end == End::Open {
            member.stream = Some(stream);
        }
    }

    /// Says which messages all that read have.
    fn report_seen(&mut self) {
        let before = self.seen;
        while self.arrived.front() == Some(&self.readers) {
            self.arrived.pop_front();
            self.seen += 1;
        }
        if self.seen != before {
            println!("seen {}", self.seen);
        }
    }

    /// A duplicate keeps the socket open while nothing watches it.
    fn stall(&mut self) {
        self.stalling = true;
        for key in &self.keys {
            let Some(member) = self.members.get_mut(*key).filter(|member| member.stalls) else { continue };
            let Some(stream) = member.stream.take() else { continue };
            member.parked = Some(stream.as_fd().try_clone_to_owned().expect("a descriptor"));
            self.readers -= 1;
        }
    }

    fn resume(&mut self) {
        for key in &self.keys {
            let Some(member) = self.members.get_mut(*key) else { continue };
            if let Some(socket) = member.parked.take() {
                member.stream = Some(self.io.register(socket, *key).expect("it can be watched"));
            }
        }
    }

    fn is_finished(&self, wanted: u32) -> bool {
        let mut members = self.keys.iter().filter_map(|key| self.members.get(*key));
        members.all(|member| member.messages == wanted || member.end != End::Open)
    }

    fn report(&self) {
        let mut lines = String::new();
        for member in self.keys.iter().filter_map(|key| self.members.get(*key)) {
            let &Member { port, stalls: stalled, messages, ref end, .. } = member;
            MemberResult { port, stalled, messages, end: end.clone() }.push_line(&mut lines);
        }
        lines.push_str("done\n");
        let _ = std::io::stdout().write_all(lines.as_bytes());
    }
}
