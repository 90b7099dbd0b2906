//! A small server that keeps to the protocol and lies about messages: it drops, repeats, swaps and changes them.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::{Arc, Barrier, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use fanfare::protocol::{
    Connection, Event, Input, Limits, Opcode, Role, accept_key, push_client_frame, push_server_frame,
};
use fanfare::reactor::MonotonicClock;
use fanfare::time::Time;

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of a Pong to "alive?": a header, a mask and that.
const PONG_BYTES: usize = 2 + 4 + 6;

/// What is done to the messages of a connection, by their number in it, from 0 on.
pub type Lie = fn(number: u64, message: &[u8]) -> Deed;

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It is sent as it is.
    Pass,
    /// These are sent in its place.
    Instead(Vec<Vec<u8>>),
    /// It is sent behind the next one.
    Hold,
    /// It is sent before the next one, and not yet.
    Delay,
    /// It is sent behind a Ping.
    Ping,
    /// It is sent as text.
    Text,
    /// It is sent in a frame that is masked, which a server must not do.
    Masked,
    /// The connection is closed with 1008 in its place.
    Close,
    /// The connection ends without a word in its place.
    Hangup,
}

/// Who gets what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Its sender: the lie is told to everybody.
    Sender,
    /// All others; the lie is told to who came at this place, from 0 on, the others hear the truth.
    Others(usize),
}

/// A running server.
pub struct Liar {
    pub address: SocketAddr,
    got: Arc<Got>,
}

/// Messages that were got.
#[derive(Default)]
struct Got {
    count: Mutex<u64>,
    grown: Condvar,
}

impl Got {
    fn lock(&self) -> MutexGuard<'_, u64> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self) {
        *self.lock() += 1;
        self.grown.notify_all();
    }
}

/// Frames that are sent before and behind the next message.
#[derive(Default)]
struct Kept {
    before: Vec<u8>,
    behind: Vec<u8>,
}

#[derive(Default)]
struct Room {
    members: Vec<(u64, TcpStream)>,
    kept: Kept,
    number: u64,
}

impl Liar {
    /// A server that answers handshakes right.
    pub fn start(to: To, lie: Lie) -> Liar {
        let got = Arc::new(Got::default());
        let counted = Arc::clone(&got);
        let room = Arc::new(Mutex::new(Room::default()));
        let address = listen(move |id, stream| {
            let Some((stream, answer)) = read_handshake(stream) else { return };
            match to {
                To::Sender => echo(stream, &answer, lie, &counted),
                To::Others(place) => {
                    relay((id, stream), &answer, (place, lie), Opcode::Pong, &counted, &room);
                }
            }
        });
        Liar { address, got }
    }

    /// A server that passes everything on, and closes with 1008 who sends a Ping.
    pub fn cutting() -> Liar {
        let room = Arc::new(Mutex::new(Room::default()));
        let address = listen(move |id, stream| {
            let Some((stream, answer)) = read_handshake(stream) else { return };
            let truth: Lie = |_, _| Deed::Pass;
            relay((id, stream), &answer, (0, truth), Opcode::Close, &Got::default(), &room);
        });
        Liar { address, got: Arc::default() }
    }

    /// A server that answers each request with these bytes and waits for the end.
    pub fn refusing(answer: &'static [u8]) -> Liar {
        let address = listen(move |_, mut stream| {
            let Some(_) = read_head(&mut stream) else { return };
            let _ = stream.write_all(answer);
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read(&mut [0]);
        });
        Liar { address, got: Arc::default() }
    }

    /// An echo that refuses these requests with 503.
    pub fn flaky(refused: Range<u64>) -> Liar {
        let got = Arc::new(Got::default());
        let counted = Arc::clone(&got);
        let address = listen(move |id, stream| {
            let Some((mut stream, answer)) = read_handshake(stream) else { return };
            if refused.contains(&id) {
                let _ = stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\nfull (--places)\n");
                return;
            }
            echo(stream, &answer, |_, _| Deed::Pass, &counted);
        });
        Liar { address, got }
    }

    /// An echo of so many connections, behind which nobody listens any more.
    pub fn mortal(connections: usize) -> Liar {
        let address = listen_for(connections, |_, stream| {
            let Some((stream, answer)) = read_handshake(stream) else { return };
            echo(stream, &answer, |_, _| Deed::Pass, &Got::default());
        });
        Liar { address, got: Arc::default() }
    }

    /// An echo of two connections: the first one's first message comes back when the other has ended. For how
    /// long it was kept comes from the channel.
    pub fn late() -> (Liar, mpsc::Receiver<Duration>) {
        let (kept, told) = mpsc::channel();
        let other_has_ended = Barrier::new(2);
        let address = listen(move |id, stream| {
            let Some((stream, answer)) = read_handshake(stream) else { return };
            let own = stream.try_clone().expect("a descriptor");
            let keep = |number, _: &[u8]| {
                if (id, number) == (0, 0) {
                    let clock = MonotonicClock::start();
                    other_has_ended.wait();
                    // Who answers has seen the end of the measured time, too.
                    let mut ping = Vec::new();
                    push_server_frame(&mut ping, Opcode::Ping, b"alive?");
                    (&own).write_all(&ping).expect("the load waits");
                    (&own).read_exact(&mut [0; PONG_BYTES]).expect("a Pong");
                    kept.send(clock.now() - Time::ZERO).expect("the test waits for it");
                }
                Deed::Pass
            };
            echo(stream, &answer, keep, &Got::default());
            if id == 1 {
                other_has_ended.wait();
            }
        });
        (Liar { address, got: Arc::default() }, told)
    }

    /// A server that accepts and closes at once.
    pub fn curt() -> Liar {
        let address = listen(move |_, stream| {
            let Some((mut stream, answer)) = read_handshake(stream) else { return };
            let mut bytes = answer.into_bytes();
            push_server_frame(&mut bytes, Opcode::Close, b"\x03\xe9gone");
            let _ = stream.write_all(&bytes);
            // The peer's own Close, and its end.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        Liar { address, got: Arc::default() }
    }

    /// A server that accepts and never reads again.
    pub fn deaf() -> Liar {
        let address = listen(move |_, stream| {
            let Some((mut stream, answer)) = read_handshake(stream) else { return };
            let _ = stream.write_all(answer.as_bytes());
            loop {
                thread::park();
            }
        });
        Liar { address, got: Arc::default() }
    }

    pub fn url(&self) -> String {
        format!("ws://{}/anything?a=b", self.address)
    }

    /// Messages and Pongs that it has got.
    pub fn got(&self) -> u64 {
        *self.got.lock()
    }

    /// Waits until it has got so many.
    pub fn wait_for(&self, messages: u64) {
        let few = |count: &mut u64| *count < messages;
        let (count, waited) = self
            .got
            .grown
            .wait_timeout_while(self.got.lock(), PATIENCE, few)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "only {count} messages have come");
    }
}

fn listen(serve: impl Fn(u64, TcpStream) + Send + Sync + 'static) -> SocketAddr {
    listen_for(usize::MAX, serve)
}

fn listen_for(connections: usize, serve: impl Fn(u64, TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for (id, stream) in (0..).zip(listener.incoming().take(connections)) {
            let (stream, serve) = (stream.expect("a connection"), Arc::clone(&serve));
            thread::spawn(move || serve(id, stream));
        }
    });
    address
}

fn read_head(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    Some(head)
}

/// The request's stream, and the answer that accepts.
fn read_handshake(mut stream: TcpStream) -> Option<(TcpStream, String)> {
    stream.set_nodelay(true).expect("a socket option");
    let head = String::from_utf8(read_head(&mut stream)?).expect("a head is ASCII");
    assert!(head.starts_with("GET /anything?a=b HTTP/1.1\r\n"), "{head}");
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
    let accept = String::from_utf8(accept_key(key).to_vec()).expect("base64");
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    Some((stream, answer))
}

/// Hands over what each data message and Ping has, until the peer leaves or it is told to end.
fn read_messages(stream: &TcpStream, got: &Got, mut take: impl FnMut(Opcode, &[u8]) -> bool) {
    let mut connection = Connection::open(Role::Server);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let Ok(read @ 1..) = (&*stream).read(&mut buffer) else { return };
        let mut input = Input::new(&mut buffer[..read]);
        while let Some(event) = connection.next_event(Time::ZERO, &mut input, &Limits::default()) {
            match event {
                Event::Message(message) => {
                    got.add();
                    if !take(Opcode::Binary, message.payload) {
                        return;
                    }
                }
                Event::Ping(payload) => {
                    if !take(Opcode::Ping, payload) {
                        return;
                    }
                }
                Event::Pong(payload) => {
                    assert_eq!(payload, b"alive?");
                    got.add();
                }
                Event::Close { .. } => return,
                event => panic!("the load sends nothing else: {event:?}"),
            }
        }
    }
}

/// Appends what is sent for a message; false if the connection ends behind it.
fn push(out: &mut Vec<u8>, kept: &mut Kept, deed: Deed, message: &[u8]) -> bool {
    match deed {
        Deed::Hold => {
            push_server_frame(&mut kept.behind, Opcode::Binary, message);
            return true;
        }
        Deed::Delay => {
            push_server_frame(&mut kept.before, Opcode::Binary, message);
            return true;
        }
        _ => out.append(&mut kept.before),
    }
    match deed {
        Deed::Hold | Deed::Delay => unreachable!("done above"),
        Deed::Pass => push_server_frame(out, Opcode::Binary, message),
        Deed::Instead(messages) => {
            messages.iter().for_each(|message| push_server_frame(out, Opcode::Binary, message));
        }
        Deed::Ping => {
            push_server_frame(out, Opcode::Ping, b"alive?");
            push_server_frame(out, Opcode::Binary, message);
        }
        Deed::Text => push_server_frame(out, Opcode::Text, &vec![b'a'; message.len()]),
        Deed::Masked => push_client_frame(out, Opcode::Binary, true, message, [1, 2, 3, 4]),
        Deed::Close => {
            push_server_frame(out, Opcode::Close, b"\x03\xf0told to");
            return false;
        }
        Deed::Hangup => return false,
    }
    out.append(&mut kept.behind);
    true
}

fn echo(stream: TcpStream, answer: &str, lie: impl Fn(u64, &[u8]) -> Deed, got: &Got) {
    let _ = (&stream).write_all(answer.as_bytes());
    let mut kept = Kept::default();
    let mut number = 0;
    read_messages(&stream, got, |opcode, message| {
        assert_eq!(opcode, Opcode::Binary, "only who has stopped reading asks");
        let mut out = Vec::new();
        let goes_on = push(&mut out, &mut kept, lie(number, message), message);
        number += 1;
        (&stream).write_all(&out).is_ok() && goes_on
    });
    let _ = stream.shutdown(Shutdown::Both);
}

fn relay(
    (id, stream): (u64, TcpStream),
    answer: &str,
    (told, lie): (usize, Lie),
    on_ping: Opcode,
    got: &Got,
    room: &Mutex<Room>,
) {
    let lock = || room.lock().unwrap_or_else(PoisonError::into_inner);
    {
        // Who is told to be in is in.
        let mut room = lock();
        let _ = (&stream).write_all(answer.as_bytes());
        room.members.push((id, stream.try_clone().expect("a descriptor")));
    }
    read_messages(&stream, got, |opcode, message| {
        let mut room = lock();
        if opcode == Opcode::Ping {
            let mut answer = Vec::new();
            let payload = if on_ping == Opcode::Close { b"\x03\xf0told to" } else { message };
            push_server_frame(&mut answer, on_ping, payload);
            let _ = (&stream).write_all(&answer);
            return on_ping == Opcode::Pong;
        }
        let Room { members, kept, number } = &mut *room;
        let mut lied = Vec::new();
        let goes_on = push(&mut lied, kept, lie(*number, message), message);
        *number += 1;
        let mut true_one = Vec::new();
        push_server_frame(&mut true_one, Opcode::Binary, message);
        for (place, (member, stream)) in members.iter_mut().enumerate() {
            if *member != id {
                let bytes = if place == told { &lied } else { &true_one };
                let _ = stream.write_all(bytes);
            }
            if place == told && !goes_on {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        true
    });
    let _ = stream.shutdown(Shutdown::Both);
}
