//! The processes of the bench: where they run, and what the kernel says of them.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use core_affinity::CoreId;

use crate::common::child::bind;
use crate::common::{Owned, start_server_on};
use crate::floor;

/// What servers and clients are kept apart on, where there are two cores.
pub const SERVER_CORE: usize = 0;
pub const CLIENT_CORE: usize = 1;
/// Connections that may wait to be accepted, as many as the kernel allows by default.
const FLOOR_BACKLOG: i32 = 4096;
/// A server answers long before, or never.
const PATIENCE: Duration = Duration::from_secs(30);

/// One of the cores that this process may use, if there are several.
pub fn core(number: usize) -> Option<CoreId> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    (cores.len() > 1).then(|| cores[number % cores.len()])
}

/// A server.
pub struct Server {
    process: Owned,
    pub address: String,
    cut: Arc<AtomicUsize>,
    /// The address of its admin listener, once its log says it.
    admin: Receiver<String>,
}

impl Server {
    /// One with one worker, on its core.
    pub fn start(flags: &[&str]) -> Server {
        Server::start_on(core(SERVER_CORE), flags)
    }

    /// One on a core, or on all.
    pub fn start_on(core: Option<CoreId>, flags: &[&str]) -> Server {
        let (process, address, log) = start_server_on(core, flags.iter().copied());
        let cut = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&cut);
        let (sender, admin) = channel();
        std::thread::spawn(move || read_to_end(log, &count, &sender));
        Server { process, address, cut, admin }
    }

    /// Slow consumers that its log says it has cut.
    pub fn cut(&self) -> usize {
        self.cut.load(Ordering::Relaxed)
    }

    /// Messages that each shard has given to members, by its admin listener, which can be asked once.
    pub fn deliveries_by_shard(&self) -> Vec<f64> {
        self.metrics(DELIVERIES)
    }

    /// Connections whose sockets have not taken all that was sent, by its admin listener, which can be asked once.
    pub fn waiting_connections(&self) -> usize {
        self.metrics(WAITING).iter().sum::<f64>() as usize
    }

    /// A number of each shard.
    fn metrics(&self, name: &str) -> Vec<f64> {
        let address = self.admin.recv_timeout(PATIENCE).expect("the log says where it is");
        let mut stream = TcpStream::connect(&address).expect("the admin listener accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
            .expect("the admin listener reads");
        let mut page = String::new();
        stream.read_to_string(&mut page).expect("the admin listener answers");
        let shards = page.lines().filter_map(|line| line.strip_prefix(name)?.split_once("} "));
        let numbers: Vec<f64> = shards.map(|(_, number)| number.parse().expect("a number")).collect();
        assert!(!numbers.is_empty(), "no {name} in {page}");
        numbers
    }

    pub fn id(&self) -> u32 {
        self.process.0.id()
    }

    pub fn cpu(&self) -> Duration {
        cpu(self.id())
    }

    pub fn url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.address)
    }
}

/// How the lines of /metrics begin that have a number of each shard.
const DELIVERIES: &str = "fanfare_shard_deliveries_total{shard=";
const WAITING: &str = "fanfare_shard_waiting_connections{shard=";

/// The first argument of a process that is the floor.
pub const FLOOR: &str = "floor";

impl Server {
    /// The floor on the server's core, for messages of so many bytes.
    pub fn start_floor(message_bytes: usize) -> Server {
        let mut start = Command::new(std::env::current_exe().expect("this bench is a file"));
        start.args([FLOOR, floor::Mode::Plain.name(), &message_bytes.to_string()]);
        start.stdin(Stdio::null()).stdout(Stdio::piped());
        bind(&mut start, core(SERVER_CORE));
        let mut child = start.spawn().expect("the floor starts");
        let output = child.stdout.take().expect("it is piped");
        let process = Owned(child);
        let said = BufReader::new(output).lines().next();
        let address = said.and_then(Result::ok).expect("the floor says its address");
        Server { process, address, cut: Arc::default(), admin: channel().1 }
    }
}

/// Is the floor on a free port, which is printed, until it is killed.
pub fn serve_floor(arguments: &[String]) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    rustix::net::listen(&listener, FLOOR_BACKLOG).expect("it listens");
    println!("{}", listener.local_addr().expect("it has an address"));
    floor::serve(listener, arguments).expect("the floor serves");
}

/// Somebody has to read it.
fn read_to_end(log: Lines<BufReader<ChildStderr>>, cut: &AtomicUsize, admin: &Sender<String>) {
    for line in log.map_while(Result::ok) {
        if let Some((_, address)) = line.split_once("admin on ") {
            // Not everybody wants to know.
            let _ = admin.send(address.trim().to_owned());
        }
        if line.contains(" closed: ") && line.contains("cause=") {
            cut.fetch_add(1, Ordering::Relaxed);
        }
        if line.contains("ERROR") {
            eprintln!("{line}");
        }
    }
}

/// This bench in another role, on the core of clients. It is told by lines and answers by lines.
pub struct Helper {
    _process: Owned,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Helper {
    pub fn start(arguments: &[&str]) -> Helper {
        let mut start = Command::new(std::env::current_exe().expect("this bench is a file"));
        start.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        bind(&mut start, core(CLIENT_CORE));
        let mut child = start.spawn().expect("a process of clients starts");
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Helper { _process: Owned(child), input, output }
    }

    /// The next line that it says.
    pub fn hear(&mut self) -> String {
        self.output.next().and_then(Result::ok).expect("the process of clients goes on")
    }

    pub fn ask(&mut self, what: &str) -> String {
        writeln!(self.input, "{what}").expect("the process of clients listens");
        self.hear()
    }
}

/// The time that all threads of a process have computed, to the nanosecond.
pub fn cpu(process: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("the process runs");
    let nanoseconds = |task: fs::DirEntry| -> Option<u64> {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse().ok()
    };
    Duration::from_nanos(tasks.filter_map(|task| nanoseconds(task.ok()?)).sum())
}

/// Resident bytes of a process: all, and those that no file is behind.
pub fn resident(process: u32) -> (f64, f64) {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).expect("the process runs");
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a line of the kernel's");
        let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kibibytes * 1024.0
    };
    (bytes("Rss:"), bytes("Anonymous:"))
}
