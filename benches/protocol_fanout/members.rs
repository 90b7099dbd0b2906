//! A process of members that read and count, of one kind. It reports on its standard output and ends with
//! the bench.

use std::io::{BufRead, ErrorKind, Read, Write};
use std::net::TcpStream;

use fanfare::protocol::{MaskKeys, Opcode, push_client_frame};
use fanfare::reactor::{Io, MonotonicClock, PollIo, PollStream};
use fanfare::slab::{Key, Slab};

use super::common::connect;

/// The first argument of such a process.
pub const ROLE: &str = "protocol-fanout-members";

/// How members are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `/rooms/{room}`: a message is a frame.
    Raw,
    /// The client protocol, a message is a push.
    Json,
    Protobuf,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Raw, Kind::Json, Kind::Protobuf];

    /// Its name, and that of the room that its members are in.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Raw => "raw",
            Kind::Json => "json",
            Kind::Protobuf => "protobuf",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Kind::Raw => "/rooms/raw",
            Kind::Json => "/connection/websocket",
            Kind::Protobuf => "/connection/websocket?format=protobuf",
        }
    }

    /// Commands that connect and subscribe.
    fn introduction(self) -> Option<(Opcode, &'static [u8])> {
        match self {
            Kind::Raw => None,
            Kind::Json => {
                let lines = b"{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"json\"}}";
                Some((Opcode::Text, lines))
            }
            Kind::Protobuf => {
                Some((Opcode::Binary, b"\x04\x08\x01\x22\x00\x0e\x08\x02\x2a\x0a\x0a\x08protobuf"))
            }
        }
    }
}

/// A member of the room of its kind that gets nothing but messages from here on.
fn join(address: &str, kind: Kind, mask_keys: &mut MaskKeys) -> TcpStream {
    let mut stream = connect(address, kind.path());
    if let Some((opcode, commands)) = kind.introduction() {
        let mut frame = Vec::new();
        push_client_frame(&mut frame, opcode, true, commands, mask_keys.next());
        stream.write_all(&frame).expect("the server reads");
        // Both replies are short.
        for _ in 0..2 {
            let mut header = [0; 2];
            stream.read_exact(&mut header).expect("a reply");
            let mut length = [0; 2];
            if header[1] == 126 {
                stream.read_exact(&mut length).expect("a length");
            }
            let bytes = if header[1] == 126 { u16::from_be_bytes(length) } else { header[1].into() };
            let mut reply = vec![0; bytes.into()];
            stream.read_exact(&mut reply).expect("a reply");
            let refused = reply.windows(5).any(|window| window == b"error");
            assert!(!refused && header[0] != 0x88, "{}", reply.escape_ascii());
        }
    }
    stream
}

/// Where in a stream of frames a member is.
#[derive(Debug, Default)]
struct Reader {
    header: Vec<u8>,
    /// Bytes of the payload that are still to come, if the header is whole.
    rest: Option<usize>,
}

impl Reader {
    /// Takes bytes in, and says how many messages have become whole.
    fn take(&mut self, mut bytes: &[u8]) -> u64 {
        let mut messages = 0;
        while let Some((first, behind)) = bytes.split_first() {
            if let Some(rest) = self.rest {
                let taken = rest.min(bytes.len());
                bytes = &bytes[taken..];
                self.rest = Some(rest - taken).filter(|rest| *rest > 0);
                messages += u64::from(self.rest.is_none());
            } else {
                self.header.push(*first);
                bytes = behind;
                self.rest = payload_bytes(&self.header);
                if self.rest.is_some() {
                    assert!(matches!(self.header[0], 0x81 | 0x82), "no message: {:x?}", self.header);
                    self.header.clear();
                }
            }
        }
        messages
    }
}

/// The length in a whole header; none of our messages is empty, or longer than 64 KiB.
fn payload_bytes(header: &[u8]) -> Option<usize> {
    match header {
        [_, length @ ..=125] => Some(usize::from(*length)),
        [_, 126, high, low] => Some(usize::from(u16::from_be_bytes([*high, *low]))),
        _ => None,
    }
}

/// Joins so many members, says so, and then how many messages all of them have.
pub fn run(arguments: &[String]) {
    let [address, kind, count] = arguments else { panic!("address, kind, count") };
    let kind = Kind::ALL.into_iter().find(|known| known.name() == kind).expect("a kind");
    let count: u64 = count.parse().expect("a number");
    std::thread::spawn(|| {
        // Nobody writes: it ends with the bench.
        let _ = std::io::stdin().lock().read_until(0, &mut Vec::new());
        std::process::exit(0);
    });
    let mut io = PollIo::new(MonotonicClock::start()).expect("a poller");
    let mut mask_keys = MaskKeys::from_os();
    let mut members: Slab<(PollStream, Reader)> = Slab::default();
    for _ in 0..count {
        let stream = join(address, kind, &mut mask_keys);
        stream.set_nonblocking(true).expect("a socket option");
        let stream = io.register(stream.into(), members.next_key()).expect("it can be watched");
        members.insert((stream, Reader::default()));
    }
    println!("joined");
    let (mut total, mut ready, mut buffer) = (0, Vec::new(), vec![0; 256 << 10]);
    loop {
        io.wait(&mut ready, None).expect("it can wait");
        let before = total;
        for ready in &ready {
            total += receive(&mut io, &mut members, ready.key, &mut buffer);
        }
        if total != before && total % count == 0 {
            println!("{}", total / count);
        }
    }
}

fn receive(io: &mut PollIo, members: &mut Slab<(PollStream, Reader)>, key: Key, buffer: &mut [u8]) -> u64 {
    let (stream, reader) = members.get_mut(key).expect("all stay");
    match io.receive(stream, buffer) {
        Ok(0) => panic!("the server has ended a member's connection"),
        Ok(received) => reader.take(&buffer[..received]),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
        Err(error) => panic!("a member's connection failed: {error}"),
    }
}
