//! One room, many members, several publishers at once: every other member gets each message exactly
//! once, and all see one order.
//!
//! The suite runs a small room. The full size, with the server in a process of its own:
//!
//! ```text
//! FANOUT_MEMBERS=1000 FANOUT_MESSAGES=100000 cargo test --release --test fanout_order -- --nocapture
//! ```

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fanfare::protocol::{MaskKeys, Opcode, push_client_frame};
use fanfare::reactor::{Io, MonotonicClock, PollIo, PollStream, Ready};
use fanfare::slab::{Key, Slab};

const PUBLISHERS: usize = 10;
/// Messages on their way at a time; far below what a queue may hold.
const WINDOW: usize = 500;
/// A message of ours as the server sends it: two bytes of header, publisher and number.
const FRAME_BYTES: usize = 2 + PAYLOAD_BYTES;
const PAYLOAD_BYTES: usize = 8;
/// Silence after which the run has failed.
const PATIENCE: Duration = Duration::from_secs(30);

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

/// The server in a process of its own, ended by its id.
struct ServerProcess {
    child: Child,
    address: String,
}

impl ServerProcess {
    fn start(workers: usize) -> ServerProcess {
        let mut child = Command::new(env!("CARGO_BIN_EXE_fanfare"))
            .args(["--listen", "127.0.0.1:0", "--admin", "none", "--workers", &workers.to_string()])
            // Publishers that send as fast as the members take it are the point.
            .args(["--message-rate", "1000000"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let mut log = String::new();
        let address = loop {
            let mut bytes = [0; 256];
            let read = match stderr.read(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other.unwrap(),
            };
            assert!(read > 0, "the server ended: {log}");
            log.push_str(&String::from_utf8_lossy(&bytes[..read]));
            if let Some((_, rest)) = log.split_once("listening on ")
                && let Some((address, _)) = rest.split_once('\n')
            {
                break address.trim().to_owned();
            }
        };
        // Somebody has to take the rest of the log.
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        ServerProcess { child, address }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A member: what it has seen, as a count per publisher and a running hash of the order.
struct Member {
    stream: PollStream,
    publisher: Option<usize>,
    partial: Vec<u8>,
    next_number: [u32; PUBLISHERS],
    order: Hash,
    seen: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hash(u64);

impl Hash {
    const START: Hash = Hash(0xcbf2_9ce4_8422_2325);

    /// FNV-1a over one message.
    fn add(&mut self, publisher: usize, number: u32) {
        self.0 = (self.0 ^ (publisher as u64) << 32 ^ u64::from(number)).wrapping_mul(0x0000_0100_0000_01b3);
    }
}

impl Member {
    /// Takes whole frames off the front, with a decoder of its own.
    fn take_frames(&mut self, received: &[u8], mut each: impl FnMut(usize, u32)) {
        self.partial.extend_from_slice(received);
        let whole = self.partial.len() / FRAME_BYTES * FRAME_BYTES;
        for frame in self.partial[..whole].chunks_exact(FRAME_BYTES) {
            assert_eq!(frame[..2], [0x82, PAYLOAD_BYTES as u8], "a whole unmasked binary frame");
            let publisher = u32::from_be_bytes(frame[2..6].try_into().unwrap()) as usize;
            let number = u32::from_be_bytes(frame[6..].try_into().unwrap());
            assert_ne!(self.publisher, Some(publisher), "nobody gets its own messages");
            assert_eq!(number, self.next_number[publisher], "each message of {publisher} once and in order");
            self.next_number[publisher] += 1;
            self.order.add(publisher, number);
            self.seen += 1;
            each(publisher, number);
        }
        self.partial.drain(..whole);
    }
}

fn join(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let request = format!(
        "GET /rooms/one HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", head.escape_ascii());
    stream.set_nonblocking(true).unwrap();
    stream
}

struct Crowd {
    io: PollIo,
    members: Slab<Member>,
    keys: Vec<Key>,
    mask_keys: MaskKeys,
    /// What member 0, who does not publish, has seen.
    reference: Vec<(usize, u32)>,
    sent: [u32; PUBLISHERS],
}

impl Crowd {
    /// The last members are the publishers, so the reference is none.
    fn join(address: &str, members: usize) -> Crowd {
        let mut io = PollIo::new(MonotonicClock::start()).unwrap();
        let mut slab: Slab<Member> = Slab::default();
        for index in 0..members {
            let socket = OwnedFd::from(join(address));
            let stream = io.register(socket, slab.next_key()).unwrap();
            slab.insert(Member {
                stream,
                publisher: (members - index).checked_sub(1).filter(|publisher| *publisher < PUBLISHERS),
                partial: Vec::new(),
                next_number: [0; PUBLISHERS],
                order: Hash::START,
                seen: 0,
            });
        }
        let keys = slab.keys().collect();
        let (mask_keys, sent) = (MaskKeys::from_os(), [0; PUBLISHERS]);
        Crowd { io, members: slab, keys, mask_keys, reference: Vec::new(), sent }
    }

    /// Every publisher keeps its share of the window on its way.
    fn publish(&mut self, messages: usize) {
        let (share, each) = (WINDOW / PUBLISHERS, messages / PUBLISHERS);
        for publisher in 0..PUBLISHERS {
            let key = self.keys[self.keys.len() - 1 - publisher];
            let seen = self.members.get(self.keys[0]).unwrap().next_number[publisher] as usize;
            let mut bytes = Vec::new();
            while (self.sent[publisher] as usize) < each.min(seen + share) {
                let mut payload = [0; PAYLOAD_BYTES];
                payload[..4].copy_from_slice(&(publisher as u32).to_be_bytes());
                payload[4..].copy_from_slice(&self.sent[publisher].to_be_bytes());
                push_client_frame(&mut bytes, Opcode::Binary, true, &payload, self.mask_keys.next());
                self.sent[publisher] += 1;
            }
            if !bytes.is_empty() {
                let member = self.members.get(key).unwrap();
                let sent = self.io.send(&member.stream, &[IoSlice::new(&bytes)]).unwrap();
                assert_eq!(sent, bytes.len(), "the window fits into a socket's buffer");
            }
        }
    }

    fn receive(&mut self, ready: &[Ready], buffer: &mut [u8]) -> usize {
        let mut received_now = 0;
        for ready in ready {
            let member = self.members.get_mut(ready.key).unwrap();
            let received = self.io.receive(&member.stream, buffer).unwrap();
            assert!(received > 0, "the server closed a member");
            let reference = (ready.key == self.keys[0]).then_some(&mut self.reference);
            let mut reference = reference;
            member.take_frames(&buffer[..received], |publisher, number| {
                received_now += 1;
                if let Some(reference) = &mut reference {
                    reference.push((publisher, number));
                }
            });
        }
        received_now
    }

    fn run(&mut self, messages: usize) {
        let others = self.keys.len() - PUBLISHERS;
        let mut wanted = others * messages + PUBLISHERS * (messages - messages / PUBLISHERS);
        let mut ready = Vec::new();
        let mut buffer = vec![0; 256 << 10];
        while wanted > 0 {
            self.publish(messages);
            let deadline = self.io.now() + PATIENCE;
            self.io.wait(&mut ready, Some(deadline)).unwrap();
            assert!(!ready.is_empty(), "{wanted} deliveries are missing");
            wanted -= self.receive(&ready, &mut buffer);
        }
    }

    fn check_order(&self) {
        for key in &self.keys {
            let member = self.members.get(*key).unwrap();
            assert!(member.partial.is_empty());
            let mut expected = Hash::START;
            for (publisher, number) in &self.reference {
                if member.publisher != Some(*publisher) {
                    expected.add(*publisher, *number);
                }
            }
            assert_eq!(member.order, expected, "one order for everybody");
        }
    }
}

#[test]
fn all_members_see_every_message_of_the_others_once_and_in_one_order() {
    let members = setting("FANOUT_MEMBERS", 100).max(PUBLISHERS + 1);
    let messages = setting("FANOUT_MESSAGES", 5_000) / PUBLISHERS * PUBLISHERS;
    let server = ServerProcess::start(setting("FANOUT_WORKERS", 2));
    let mut crowd = Crowd::join(&server.address, members);
    crowd.run(messages);
    crowd.check_order();
    let deliveries: usize = crowd.keys.iter().map(|key| crowd.members.get(*key).unwrap().seen).sum();
    println!("{members} members, {messages} messages, {deliveries} deliveries: each once, one order");
}
