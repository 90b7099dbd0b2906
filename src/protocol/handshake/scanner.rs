//! Finds the end of a head and refuses, byte by byte, what no head may contain (RFC 9112 §2.2, §5).
//!
//! Looks at each byte once, however the head is cut, and keeps none. Names and values are not
//! understood here; that is for `request.rs`.

use super::super::limits::Limits;
use super::response::Refusal;
use super::{is_token_byte, shown};

#[cfg(test)]
thread_local! {
    /// Bytes looked at on this thread, to prove that scanning is linear.
    pub(crate) static SCANNED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// The first byte of a TLS record with a handshake in it (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 0x16;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Start,
    StartLine,
    StartLineEnd,
    LineStart,
    Line,
    LineEnd,
    HeadEnd,
}

/// A resumable search for the empty line that ends a head.
#[derive(Clone, Debug, Default)]
pub struct HeadScanner {
    place: Place,
    scanned: usize,
    header_lines: usize,
}

impl HeadScanner {
    /// Looks at the next bytes. Returns how many of them belong to the head once it is whole.
    ///
    /// # Errors
    ///
    /// At the first byte that proves it: 400 for a byte that must not be there, 431 for a head or
    /// a number of header lines beyond the limit.
    pub fn scan(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<usize>, Refusal> {
        for (index, &byte) in bytes.iter().enumerate() {
            #[cfg(test)]
            SCANNED.set(SCANNED.get() + 1);
            if self.scanned >= limits.head_bytes_max {
                return Err(head_too_long(limits));
            }
            self.scanned += 1;
            if self.step(byte, limits)? {
                return Ok(Some(index + 1));
            }
            if self.scanned >= limits.head_bytes_max {
                return Err(head_too_long(limits));
            }
        }
        Ok(None)
    }

    /// Header lines seen so far, without the start line.
    pub fn header_lines(&self) -> usize {
        self.header_lines
    }

    /// Takes one byte; `true` if it ends the head.
    fn step(&mut self, byte: u8, limits: &Limits) -> Result<bool, Refusal> {
        self.place = match (self.place, byte) {
            (Place::Start, TLS_HANDSHAKE) => return Err(tls()),
            (Place::Start, _) if is_token_byte(byte) => Place::StartLine,
            (Place::Start, _) => return Err(bad_first_byte(byte)),

            (Place::StartLine, b'\r') => Place::StartLineEnd,
            (Place::StartLine, 0x20..=0x7E) => Place::StartLine,
            (Place::Line, b'\r') => Place::LineEnd,
            (Place::Line, b'\t' | 0x20..=0x7E | 0x80..) => Place::Line,
            (Place::StartLine | Place::Line, b'\n') => return Err(bare_line_feed()),

            (Place::StartLineEnd | Place::LineEnd, b'\n') => Place::LineStart,
            (Place::HeadEnd, b'\n') => return Ok(true),
            (Place::StartLineEnd | Place::LineEnd | Place::HeadEnd, _) => {
                return Err(bare_carriage_return());
            }

            (Place::LineStart, b'\r') => Place::HeadEnd,
            (Place::LineStart, b'\n') => return Err(bare_line_feed()),
            (Place::LineStart, b' ' | b'\t') => return Err(folded_line()),
            (Place::LineStart, 0x21..=0x7E | 0x80..) => {
                if self.header_lines >= limits.headers_max {
                    return Err(too_many_headers(limits));
                }
                self.header_lines += 1;
                Place::Line
            }
            (Place::StartLine, _) => return Err(bad_start_line_byte(byte)),
            (Place::LineStart | Place::Line, _) => return Err(bad_header_byte(byte)),
        };
        Ok(false)
    }
}

fn head_too_long(limits: &Limits) -> Refusal {
    let limit = limits.head_bytes_max;
    let body =
        format!("the request head is longer than {limit} bytes; up to {limit} are allowed (--max-head)");
    Refusal::new(431, body)
}

fn too_many_headers(limits: &Limits) -> Refusal {
    let limit = limits.headers_max;
    let body =
        format!("the request has more than {limit} header lines; up to {limit} are allowed (--max-headers)");
    Refusal::new(431, body)
}

fn tls() -> Refusal {
    Refusal::new(400, "the first byte is 0x16, which begins TLS; TLS is not spoken here, only plain HTTP/1.1")
}

fn bad_first_byte(byte: u8) -> Refusal {
    let body =
        format!("the first byte is '{}'; a request begins with its method, for example GET", shown(&[byte]));
    Refusal::new(400, body)
}

fn bare_line_feed() -> Refusal {
    Refusal::new(400, "a line of the head ends with a bare LF; lines must end with CR LF")
}

fn bare_carriage_return() -> Refusal {
    Refusal::new(400, "the head has a CR without an LF after it; lines must end with CR LF")
}

fn folded_line() -> Refusal {
    Refusal::new(400, "a header line begins with whitespace; folded header lines are not allowed")
}

fn bad_start_line_byte(byte: u8) -> Refusal {
    let body = format!(
        "the request line has the byte '{}'; only visible ASCII and spaces are allowed",
        shown(&[byte])
    );
    Refusal::new(400, body)
}

fn bad_header_byte(byte: u8) -> Refusal {
    let body =
        format!("a header line has the control byte '{}'; HTAB is the only one allowed", shown(&[byte]));
    Refusal::new(400, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"GET / HTTP/1.1\r\nA: 1\r\nB: \x80\t2\r\n\r\n";

    fn scan(bytes: &[u8], limits: &Limits) -> Result<Option<usize>, Refusal> {
        HeadScanner::default().scan(bytes, limits)
    }

    /// The refusal, and the index of the byte at which it came.
    fn refused(bytes: &[u8]) -> (usize, Refusal) {
        let mut scanner = HeadScanner::default();
        for (index, byte) in bytes.iter().enumerate() {
            if let Err(refusal) = scanner.scan(&[*byte], &Limits::default()) {
                return (index, refusal);
            }
        }
        panic!("not refused: {}", bytes.escape_ascii());
    }

    #[test]
    fn the_end_is_found_at_every_split_and_each_byte_is_scanned_once() {
        let limits = Limits::default();
        let mut bytes = HEAD.to_vec();
        bytes.extend(b"\x81\x80");
        assert_eq!(scan(&bytes, &limits), Ok(Some(HEAD.len())));
        for cut in 0..HEAD.len() {
            SCANNED.set(0);
            let mut scanner = HeadScanner::default();
            assert_eq!(scanner.scan(&HEAD[..cut], &limits), Ok(None));
            let rest = scanner.scan(&HEAD[cut..], &limits);
            assert_eq!(rest, Ok(Some(HEAD.len() - cut)));
            assert_eq!(scanner.header_lines(), 2);
            assert_eq!(SCANNED.get(), HEAD.len());
        }
    }

    #[test]
    fn the_head_is_bounded_inclusively() {
        for (limit, allowed) in [(HEAD.len() - 1, false), (HEAD.len(), true), (HEAD.len() + 1, true)] {
            let limits = Limits { head_bytes_max: limit, ..Limits::default() };
            match scan(HEAD, &limits) {
                Ok(size) => assert!(allowed && size == Some(HEAD.len())),
                Err(refusal) => {
                    assert!(!allowed);
                    assert_eq!(refusal.status, 431);
                    assert!(refusal.body.contains(&limit.to_string()));
                    assert!(refusal.body.contains("--max-head"));
                }
            }
        }
    }

    #[test]
    fn an_endless_head_is_refused_at_the_limit() {
        let limits = Limits::default();
        let mut scanner = HeadScanner::default();
        let endless = vec![b'A'; limits.head_bytes_max];
        assert_eq!(scanner.scan(&endless[1..], &limits), Ok(None));
        assert_eq!(scanner.scan(b"A", &limits).map_err(|r| r.status), Err(431));
    }

    #[test]
    fn header_lines_are_counted_inclusively() {
        for (limit, allowed) in [(1, false), (2, true), (3, true)] {
            let limits = Limits { headers_max: limit, ..Limits::default() };
            match scan(HEAD, &limits) {
                Ok(_) => assert!(allowed),
                Err(refusal) => {
                    assert!(!allowed);
                    assert_eq!(refusal.status, 431);
                    assert!(refusal.body.contains("--max-headers"));
                }
            }
        }
    }

    #[test]
    fn a_first_byte_that_begins_no_method_is_refused() {
        for byte in 0..=255 {
            let result = scan(&[byte], &Limits::default());
            assert_eq!(result.is_ok(), is_token_byte(byte), "{byte:x}");
        }
        let (_, refusal) = refused(b"\x16\x03\x01");
        assert!(refusal.body.contains("TLS"));
        assert_eq!(refused(b"\r\nGET").0, 0);
    }

    #[test]
    fn each_forbidden_byte_is_refused_where_it_is() {
        let line = b"GET / HTTP/1.1\r\nA: 1";
        for byte in (0..0x20).chain([0x7F]) {
            let mut bytes = line.to_vec();
            bytes.push(byte);
            let result = scan(&bytes, &Limits::default());
            let allowed = byte == b'\t' || byte == b'\r';
            assert_eq!(result.is_ok(), allowed, "{byte:x} in a header line");

            let result = scan(&[b'G', byte], &Limits::default());
            assert_eq!(result.is_ok(), byte == b'\r', "{byte:x} in the start line");
        }
        for byte in 0x80..=0xFF {
            assert!(scan(&[b'G', byte], &Limits::default()).is_err());
        }
    }

    #[test]
    fn lines_end_with_cr_lf_and_nothing_else() {
        for (bytes, at) in [
            (b"GET / HTTP/1.1\nA: 1".as_slice(), 14),
            (b"GET / HTTP/1.1\rA: 1", 15),
            (b"GET / HTTP/1.1\r\r\n", 15),
            (b"G\r\nA: 1\n", 7),
            (b"G\r\nA: 1\rB", 8),
            (b"G\r\n\n", 3),
            (b"G\r\n\rX", 4),
            (b"G\r\n folded", 3),
            (b"G\r\nA: 1\r\n\tfolded", 9),
        ] {
            let (index, refusal) = refused(bytes);
            assert_eq!(index, at, "{}", bytes.escape_ascii());
            assert_eq!(refusal.status, 400);
        }
    }
}
