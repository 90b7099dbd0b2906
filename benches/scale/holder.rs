//! A process that holds connections: it opens them, answers pings and says nothing, or does not even read.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use polling::{Event, Events, PollMode, Poller};

use crate::process::Helper;

pub const ROLE: &str = "hold";
/// Sockets of one process: below usual descriptor limits.
pub const SOCKETS_PER_PROCESS: usize = 5_000;
/// Reads its sockets and answers pings.
pub const AWAKE: &str = "awake";
/// Reads nothing, ever.
pub const STALLED: &str = "stalled";

const PING: [u8; 2] = [0x89, 0];
const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];
const RESPONSE_BYTES_MAX: usize = 4096;

/// Processes that hold `count` connections to a path, in which `{}` becomes the number of one of `rooms`.
pub fn hold(address: &str, path: &str, rooms: usize, count: usize, mode: &str) -> Vec<Helper> {
    let processes = count.div_ceil(SOCKETS_PER_PROCESS).max(1);
    let share = |index: usize| count / processes + usize::from(index < count % processes);
    let start = |index: usize| {
        let (rooms, share) = (rooms.to_string(), share(index).to_string());
        Helper::start(&[ROLE, address, path, &rooms, &share, mode])
    };
    let mut all: Vec<Helper> = (0..processes).map(start).collect();
    for process in &mut all {
        assert_eq!(process.hear(), "open");
    }
    all
}

/// The process itself.
pub fn run(arguments: &[String]) {
    let [address, path, rooms, count, mode] = arguments else { panic!("who holds what?") };
    let number = |text: &str| -> usize { text.parse().expect("a number") };
    let (rooms, count) = (number(rooms), number(count));
    let path = |at: usize| path.replace("{}", &(at % rooms).to_string());
    let sockets: Vec<TcpStream> = (0..count).map(|at| open(address, &path(at))).collect();
    println!("open");
    // Whoever started this process has ended when its input does.
    std::thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    if mode == STALLED {
        loop {
            std::thread::park();
        }
    }
    answer_pings(&sockets).expect("the poller works");
}

/// A WebSocket whose upgrade was accepted.
pub fn open(address: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the server accepts");
    stream.write_all(request(address, path).as_bytes()).expect("the server reads");
    let mut head = [0; RESPONSE_BYTES_MAX];
    let mut filled = 0;
    while !head[..filled].ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut head[filled..]).expect("the server answers");
        assert!(count > 0, "closed after {}", head[..filled].escape_ascii());
        filled += count;
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", head[..filled].escape_ascii());
    stream
}

pub fn request(address: &str, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

#[allow(unsafe_code)]
fn answer_pings(sockets: &[TcpStream]) -> io::Result<()> {
    let poller = Poller::new()?;
    for (at, socket) in sockets.iter().enumerate() {
        // SAFETY: the sockets outlive the poller, which is a local of this function.
        unsafe { poller.add_with_mode(socket, Event::readable(at), PollMode::Level)? };
    }
    let mut events = Events::new();
    loop {
        events.clear();
        poller.wait(&mut events, None)?;
        for event in events.iter() {
            let mut socket = &sockets[event.key];
            let mut bytes = [0; 64];
            let count = socket.read(&mut bytes)?;
            assert!(count > 0, "the server has closed an idle connection");
            for frame in bytes[..count].chunks(PING.len()) {
                assert_eq!(frame, PING, "an idle connection hears of nothing but pings");
                socket.write_all(&PONG)?;
            }
        }
    }
}
