//! A client that counts every byte and every message, both ways.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::support::{PATIENCE, frame, upgrade_request};

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub bytes_out: u64,
    pub bytes_in: u64,
    pub messages_out: u64,
    pub messages_in: u64,
}

impl Count {
    pub fn add(&mut self, other: Count) {
        self.bytes_out += other.bytes_out;
        self.bytes_in += other.bytes_in;
        self.messages_out += other.messages_out;
        self.messages_in += other.messages_in;
    }
}

pub struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
    pub count: Count,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        Client { stream, unread: Vec::new(), count: Count::default() }
    }

    pub fn open(address: SocketAddr, target: &str) -> Client {
        let mut client = Client::connect(address);
        client.send(upgrade_request(target).as_bytes());
        assert!(client.head().starts_with("HTTP/1.1 101 "), "{target}");
        client
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server takes it");
        self.count.bytes_out += bytes.len() as u64;
    }

    pub fn send_text(&mut self, payload: &[u8]) {
        self.send(&frame(0x81, payload));
        self.count.messages_out += 1;
    }

    fn fill(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let read = loop {
            match self.stream.read(&mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other.expect("bytes or the end"),
            }
        };
        self.unread.extend_from_slice(&buffer[..read]);
        self.count.bytes_in += read as u64;
        read > 0
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            assert!(self.fill(), "the stream ended in the middle");
        }
        self.unread.drain(..count).collect()
    }

    fn until(&mut self, end: &[u8]) -> String {
        let at = loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                break at + end.len();
            }
            assert!(self.fill(), "the stream ended in the middle");
        };
        String::from_utf8(self.take(at)).expect("text")
    }

    pub fn head(&mut self) -> String {
        self.until(b"\r\n\r\n")
    }

    /// An HTTP response whose length is announced.
    pub fn response(&mut self) -> String {
        let head = self.head().to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        self.take(length.expect("a length").parse().expect("a number"));
        head
    }

    /// Messages of a WebSocket, each of up to 125 bytes.
    pub fn read_messages(&mut self, count: u64) {
        for _ in 0..count {
            let start = self.take(2);
            assert!(matches!(start[0], 0x81 | 0x82) && start[1] <= 125, "a short message: {start:?}");
            self.take(start[1].into());
            self.count.messages_in += 1;
        }
    }

    /// Messages of a stream of events.
    pub fn read_events(&mut self, count: u64) {
        let before = self.count.messages_in;
        while self.count.messages_in - before < count {
            let event = self.until(b"\n\n");
            self.count.messages_in += u64::from(event.contains("data:"));
        }
    }

    /// Closes in order and returns what it has counted.
    pub fn close(mut self) -> Count {
        self.send(&frame(0x88, &1000_u16.to_be_bytes()));
        assert_eq!(self.take(4), [0x88, 2, 3, 232], "nothing but the answer to its Close");
        assert!(!self.fill(), "and the end");
        self.count
    }
}
