//! As much of HTTP as the players need: a request, and the head of an answer.

use std::net::SocketAddr;

/// The key that all handshakes have, and its answer.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// Longer answers are not the server's.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// An opening handshake.
pub fn upgrade(server: SocketAddr, target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// The head of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    text: String,
}

impl Head {
    /// The value of a header; names are compared as they are written by the server.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.text.split("\r\n");
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.parse().ok()
    }
}

/// Collects a head that may come in parts.
#[derive(Debug, Default)]
pub struct HeadReader(Vec<u8>);

/// What there is of a head.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    More,
    /// The head, and how many of the last bytes belong to it.
    Whole(Head, usize),
    Wrong,
}

impl HeadReader {
    pub fn take(&mut self, bytes: &[u8]) -> Progress {
        let before = self.0.len();
        self.0.extend_from_slice(bytes);
        let from = before.saturating_sub(3);
        let Some(at) = self.0[from..].windows(4).position(|end| end == b"\r\n\r\n") else {
            return if self.0.len() > HEAD_BYTES_MAX { Progress::Wrong } else { Progress::More };
        };
        let end = from + at + 4;
        let text = String::from_utf8_lossy(&self.0[..end]).into_owned();
        self.0 = Vec::new();
        let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        match status {
            Some(status) => Progress::Whole(Head { status, text }, end - before),
            None => Progress::Wrong,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_in_any_two_parts_is_the_same() {
        let whole = b"HTTP/1.1 101 Switching Protocols\r\nFanfare-Offset: 12\r\n\r\n\x81\x00";
        for cut in 0..whole.len() - 2 {
            let mut reader = HeadReader::default();
            assert_eq!(reader.take(&whole[..cut]), Progress::More, "{cut}");
            let Progress::Whole(head, used) = reader.take(&whole[cut..]) else { panic!("{cut}") };
            assert_eq!((head.status, head.number("Fanfare-Offset")), (101, Some(12)));
            assert_eq!(cut + used, whole.len() - 2);
        }
        assert_eq!(HeadReader::default().take(b"SSH-2.0\r\n\r\n"), Progress::Wrong);
    }
}
