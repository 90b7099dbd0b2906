//! Clients on one thread that come back as the server tells them to, and know what they have heard.

use std::collections::BTreeSet;
use std::io::{ErrorKind, IoSlice};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use fanfare::reactor::{Io, MonotonicClock, PollIo, PollStream, Ready};
use fanfare::slab::{Key, Slab};
use fanfare::time::Time;

use crate::support::{Head, frame, upgrade_request};

/// Between two knocks at a door that nobody is behind.
const AGAIN: Duration = Duration::from_millis(20);
/// Waiting longer than this for something is a failure.
const PATIENCE: Duration = Duration::from_secs(240);

/// What a crowd has met.
#[derive(Clone, Copy, Debug, Default)]
pub struct Met {
    /// Handshakes that the server took up: with 101, or with 410 for a position of another server's.
    pub let_in: usize,
    /// Those of 410.
    pub gone: usize,
    /// Connections that were refused with 503, and those that ended without a word.
    pub refused: usize,
    pub unanswered: usize,
    /// Closes 1001.
    pub told: usize,
}

/// Everybody in one room.
pub struct Crowd {
    io: PollIo,
    address: SocketAddr,
    clients: Vec<Client>,
    /// Whose each watched connection is.
    watched: Slab<usize>,
    /// Who connects when.
    coming: BTreeSet<(Time, usize)>,
    buffer: Vec<u8>,
    open: usize,
    /// Messages that the server has taken so far: nobody is to miss one of them.
    pub held: u64,
    pub met: Met,
}

#[derive(Default)]
struct Client {
    line: Option<Line>,
    /// Where it is in the room, once it has been there.
    epoch: Option<String>,
    offset: u64,
}

struct Line {
    stream: PollStream,
    key: Key,
    unread: Vec<u8>,
    open: bool,
}

impl Crowd {
    /// So many, who come now.
    pub fn new(address: SocketAddr, count: usize) -> Crowd {
        let io = PollIo::new(MonotonicClock::start()).expect("a poller");
        let coming = (0..count).map(|number| (Time::ZERO, number)).collect();
        let clients = (0..count).map(|_| Client::default()).collect();
        let (watched, buffer) = (Slab::default(), vec![0; 64 << 10]);
        Crowd { io, address, clients, watched, coming, buffer, open: 0, held: 0, met: Met::default() }
    }

    pub fn now(&self) -> Time {
        self.io.now()
    }

    /// How many are in the room.
    pub fn open(&self) -> usize {
        self.open
    }

    /// Whether everybody has heard so many messages of this server.
    pub fn have_heard(&self, count: u64) -> bool {
        self.clients.iter().all(|client| client.offset == count)
    }

    /// Lets them do what they do until this is so.
    pub fn until(&mut self, what: &str, mut reached: impl FnMut(&mut Crowd) -> bool) {
        let (end, mut ready) = (self.now() + PATIENCE, Vec::new());
        while !reached(self) {
            assert!(self.now() < end, "{what}: {} are open, {:?}", self.open, self.met);
            while let Some((_, number)) = self.coming.first().copied().filter(|(at, _)| *at <= self.now()) {
                self.coming.pop_first();
                self.connect(number);
            }
            let next = self.coming.first().map_or(end, |(at, _)| *at);
            self.io.wait(&mut ready, Some(next)).expect("a wait");
            for report in ready.drain(..) {
                self.hear(report);
            }
        }
    }

    fn connect(&mut self, number: usize) {
        let Ok(stream) = TcpStream::connect(self.address) else {
            self.coming.insert((self.now() + AGAIN, number));
            return;
        };
        stream.set_nonblocking(true).expect("a socket option");
        let client = &mut self.clients[number];
        // Who has been told that its position is gone takes all that there is.
        let target = match &client.epoch {
            Some(epoch) => format!("/rooms/r?since={epoch}:{}", client.offset),
            None => "/rooms/r?last=1000".to_owned(),
        };
        let key = self.watched.insert(number);
        let stream = self.io.register(OwnedFd::from(stream), key).expect("it is watched");
        // Whoever has refused it already may have gone: that shows when it is read.
        let _ = self.io.send(&stream, &[IoSlice::new(upgrade_request(&target).as_bytes())]);
        client.line = Some(Line { stream, key, unread: Vec::new(), open: false });
    }

    fn hear(&mut self, ready: Ready) {
        let Some(number) = self.watched.get(ready.key).copied() else { return };
        let line = self.clients[number].line.as_mut().expect("it is watched");
        match self.io.receive(&line.stream, &mut self.buffer) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Ok(count) if count > 0 => {
                line.unread.extend_from_slice(&self.buffer[..count]);
                if line.open || self.answered(number) {
                    self.read_frames(number);
                }
            }
            ended => {
                assert!(!line.open, "client {number} is cut without a Close: {ended:?}");
                self.met.unanswered += 1;
                self.leave(number, Duration::from_secs(1) + own_delay(number));
            }
        }
    }

    /// Whether its handshake is answered and accepted.
    fn answered(&mut self, number: usize) -> bool {
        let Client { line, epoch, offset } = &mut self.clients[number];
        let line = line.as_mut().expect("it is watched");
        let Some(end) = line.unread.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
        let head: Vec<u8> = line.unread.drain(..end + 4).collect();
        let head = Head::parse(std::str::from_utf8(&head).expect("a head is UTF-8"));
        let text = |name| head.header(name).unwrap_or_else(|| panic!("{name}: {head:?}"));
        match head.status {
            101 => {
                line.open = true;
                if epoch.is_none() {
                    assert_eq!(text("fanfare-from"), "0", "all that the room has had is there");
                }
                (*epoch, *offset) =
                    (Some(text("fanfare-epoch").to_owned()), text("fanfare-from").parse().unwrap());
                self.met.let_in += 1;
                self.open += 1;
                return true;
            }
            410 => {
                (*epoch, *offset) = (None, 0);
                self.met.let_in += 1;
                self.met.gone += 1;
                self.leave(number, Duration::ZERO);
            }
            503 => {
                let seconds: u64 = text("retry-after").parse().expect("whole seconds");
                assert!((1..=120).contains(&seconds), "{seconds}");
                self.met.refused += 1;
                self.leave(number, Duration::from_secs(seconds) + own_delay(number));
            }
            _ => panic!("client {number}: {head:?}"),
        }
        false
    }

    /// Each message must be the next one.
    fn read_frames(&mut self, number: usize) {
        loop {
            let client = &mut self.clients[number];
            let line = client.line.as_mut().expect("it is open");
            let [first, length, ..] = line.unread[..] else { return };
            assert!(length < 126, "messages here are short");
            let end = 2 + usize::from(length);
            if line.unread.len() < end {
                return;
            }
            let payload: Vec<u8> = line.unread.drain(..end).skip(2).collect();
            match first {
                0x81 => {
                    client.offset += 1;
                    assert_eq!(payload, client.offset.to_string().as_bytes(), "client {number}");
                }
                0x89 => {
                    let _ = self.io.send(&line.stream, &[IoSlice::new(&frame(0x8A, &payload))]);
                }
                0x88 => {
                    assert_eq!(payload[..2], 1001u16.to_be_bytes(), "{}", payload.escape_ascii());
                    let _ = self.io.send(&line.stream, &[IoSlice::new(&frame(0x88, &payload[..2]))]);
                    assert_eq!(client.offset, self.held, "client {number} leaves before it has heard all");
                    self.met.told += 1;
                    self.open -= 1;
                    return self.leave(number, Duration::ZERO);
                }
                _ => panic!("client {number}: a frame that begins with {first:#x}"),
            }
        }
    }

    /// Closes a connection; its client comes again.
    fn leave(&mut self, number: usize, after: Duration) {
        let line = self.clients[number].line.take().expect("it is watched");
        self.io.close(line.stream);
        self.watched.remove_at(line.key.index());
        self.coming.insert((self.now() + after, number));
    }
}

/// Up to a second of a client's own: `Retry-After` is in whole seconds, so all who were refused at once and obey it
/// to the same fraction of a second would be at the door together again.
fn own_delay(number: usize) -> Duration {
    Duration::from_millis(number as u64 * 7919 % 1000)
}
