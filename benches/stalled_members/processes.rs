//! The other processes of the bench; each is ended by its id when it goes out of scope.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use super::client::{MemberResult, ROLE};
use super::common::child::bind;
use super::common::{Owned, start_server};

/// A slow consumer that the server cut, as its log has it.
#[derive(Debug)]
pub struct Cut {
    pub port: u16,
    pub cause: String,
    /// Messages that it had been sent.
    pub messages: u32,
}

impl Cut {
    fn parse(line: &str) -> Option<Cut> {
        let behind = |name: &str| line.split_once(name).map(|(_, rest)| rest);
        let until = |text: &str, end: char| text.split(end).next().unwrap_or_default().to_owned();
        let port = until(behind("peer=127.0.0.1:")?, ' ').parse().ok()?;
        let cause = until(behind("cause=\"")?, '"');
        let (place, _) = line.split_once(" in room one")?;
        let messages = place.rsplit_once(':')?.1.parse().ok()?;
        Some(Cut { port, cause, messages })
    }
}

/// The server.
pub struct ServerProcess {
    process: Owned,
    log: Option<JoinHandle<Vec<Cut>>>,
    pub address: String,
}

impl ServerProcess {
    /// Starts one on a free port with these flags beside.
    pub fn start(flags: &str) -> ServerProcess {
        let (process, address, lines) = start_server(flags.split_whitespace());
        let log = std::thread::spawn(move || {
            lines.map_while(Result::ok).filter_map(|line| Cut::parse(&line)).collect()
        });
        ServerProcess { process, log: Some(log), address }
    }

    pub fn id(&self) -> u32 {
        self.process.0.id()
    }

    pub fn port(&self) -> u16 {
        self.address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("IP:PORT")
    }

    /// Ends it, and says whom it had cut.
    pub fn stop(&mut self) -> Vec<Cut> {
        let _ = self.process.0.kill();
        self.log.take().map(|log| log.join().expect("the log is read")).unwrap_or_default()
    }
}

/// What a process of members reports.
pub enum Event {
    /// All of its members that read have so many messages.
    Seen { process: usize, messages: u32 },
    /// A member on this port is going to stall.
    Stalls { port: u16 },
    /// What became of a member.
    Result(MemberResult),
    /// What it was told is done.
    Done,
    /// It is gone, or says what nobody understands.
    Failed { process: usize },
}

/// A process of members.
pub struct ClientProcess {
    _process: Owned,
    input: ChildStdin,
}

impl ClientProcess {
    pub fn start(
        process: usize,
        address: &str,
        members: usize,
        stalled: usize,
        events: Sender<Event>,
    ) -> ClientProcess {
        let mut command = Command::new(std::env::current_exe().expect("this bench is a file"));
        command.args([ROLE, address, &members.to_string(), &stalled.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        bind(&mut command, None);
        let mut child = command.spawn().expect("a process of members starts");
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok).filter(|line| !line.is_empty()) {
                let event = parse(process, &line).unwrap_or(Event::Failed { process });
                if events.send(event).is_err() {
                    return;
                }
            }
            let _ = events.send(Event::Failed { process });
        });
        ClientProcess { _process: Owned(child), input }
    }

    /// Tells it what to do; it answers [`Event::Done`].
    pub fn tell(&mut self, what: &str) {
        writeln!(self.input, "{what}").expect("it listens");
    }
}

fn parse(process: usize, line: &str) -> Option<Event> {
    match line.split_once(' ') {
        None if line == "done" => Some(Event::Done),
        Some(("seen", messages)) => Some(Event::Seen { process, messages: messages.parse().ok()? }),
        Some(("stalls", port)) => Some(Event::Stalls { port: port.parse().ok()? }),
        Some(("result", result)) => MemberResult::parse(result).map(Event::Result),
        _ => None,
    }
}
