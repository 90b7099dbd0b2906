//! HTTP/1.1 once more, slowly: the requests of a stream, each with the byte at which it is decided (RFC 9112
//! §2 to §7, RFC 9110 §5.6.2). Shares no code with the server's parsers.

use fanfare::protocol::{BodyLength, Limits};

/// What may be in an extension of one chunk.
const EXTENSION_BYTES_MAX: usize = 256;

/// A request head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub method: String,
    pub path: String,
    pub query: String,
    pub host: String,
    pub http_1_0: bool,
    /// In order, names in small letters.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: BodyLength,
}

impl Head {
    /// The values of a header.
    pub fn values<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'h [u8]> {
        self.headers.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_slice())
    }

    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.values(name).any(|value| {
            String::from_utf8_lossy(value).split(',').any(|part| trim(part).eq_ignore_ascii_case(token))
        })
    }
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r', '\x0c'])
}

/// What was found, and how many bytes it took; or the status of a refusal, and the byte at which it is due.
/// `None` if more bytes are needed.
pub type Found<T> = Option<Result<(usize, T), (usize, u16)>>;

pub fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".as_bytes().contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

/// A head at the start of `bytes`.
pub fn head(bytes: &[u8], limits: &Limits) -> Found<Head> {
    let (mut lines, mut line, mut cr) = (Vec::new(), Vec::new(), false);
    for (index, &byte) in bytes.iter().enumerate() {
        let at = index + 1;
        match (cr, byte) {
            (true, b'\n') if line.is_empty() && !lines.is_empty() => {
                return Some(parse(&lines).map(|head| (at, head)).map_err(|status| (at, status)));
            }
            (true, b'\n') => {
                lines.push(std::mem::take(&mut line));
                cr = false;
            }
            (true, _) => return Some(Err((at, 400))),
            (false, b'\r') if index > 0 => cr = true,
            (false, _) => {
                let first = line.is_empty();
                let allowed = match (lines.is_empty(), first) {
                    (true, true) => is_token(&char::from(byte).to_string()),
                    (true, false) => (0x20..0x7F).contains(&byte),
                    (false, true) => byte > 0x20 && byte != 0x7F,
                    (false, false) => byte == b'\t' || byte >= 0x20 && byte != 0x7F,
                };
                if !allowed {
                    return Some(Err((at, 400)));
                }
                if !lines.is_empty() && first && lines.len() > limits.headers_max {
                    return Some(Err((at, 431)));
                }
                line.push(byte);
            }
        }
        if at >= limits.head_bytes_max {
            return Some(Err((at, 431)));
        }
    }
    None
}

/// The head in these lines, or a status.
fn parse(lines: &[Vec<u8>]) -> Result<Head, u16> {
    let start = std::str::from_utf8(&lines[0]).map_err(|_| 400_u16)?;
    let parts: Vec<&str> = start.split(' ').collect();
    let &[method, target, version] = parts.as_slice() else { return Err(400) };
    let http_1_0 = match version {
        "HTTP/1.1" => false,
        "HTTP/1.0" => true,
        _ => return Err(400),
    };
    if !is_token(method) {
        return Err(400);
    }
    let headers: Vec<(String, Vec<u8>)> =
        lines[1..].iter().map(|line| header(line)).collect::<Result<_, _>>()?;
    let (authority, path, query) = split_target(target)?;
    let mut head = Head {
        method: method.to_owned(),
        path,
        query,
        host: String::new(),
        http_1_0,
        headers,
        body: BodyLength::None,
    };
    let hosts: Vec<&[u8]> = head.values("host").collect();
    let host = match hosts.as_slice() {
        [] if http_1_0 => String::new(),
        [host] if is_host(host) => String::from_utf8_lossy(host).into_owned(),
        _ => return Err(400),
    };
    head.host = authority.unwrap_or(host);
    head.body = body_length(&head)?;
    Ok(head)
}

fn header(line: &[u8]) -> Result<(String, Vec<u8>), u16> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or(400_u16)?;
    let name = std::str::from_utf8(&line[..colon]).map_err(|_| 400_u16)?;
    if !is_token(name) {
        return Err(400);
    }
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let value = &line[colon + 1..];
    let start = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    Ok((name.to_ascii_lowercase(), value[start..end].to_vec()))
}

fn is_host(bytes: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte);
    !bytes.is_empty() && bytes.iter().all(allowed)
}

type Target = (Option<String>, String, String);

fn split_target(target: &str) -> Result<Target, u16> {
    if target.contains('#') || target.is_empty() {
        return Err(400);
    }
    let (authority, rest) = if target.starts_with('/') {
        (None, target)
    } else {
        let (scheme, rest) = target.split_once("://").ok_or(400_u16)?;
        if !["http", "https", "ws", "wss"].contains(&scheme.to_ascii_lowercase().as_str()) {
            return Err(400);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let authority = &rest[..end];
        if !is_host(authority.as_bytes()) || authority.starts_with(':') {
            return Err(400);
        }
        (Some(authority.to_owned()), &rest[end..])
    };
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path = if path.is_empty() { "/" } else { path };
    Ok((authority, path.to_owned(), query.to_owned()))
}

fn body_length(head: &Head) -> Result<BodyLength, u16> {
    let encodings: Vec<&[u8]> = head.values("transfer-encoding").collect();
    let lengths: Vec<&[u8]> = head.values("content-length").collect();
    match (encodings.as_slice(), lengths.as_slice()) {
        ([], []) => Ok(BodyLength::None),
        ([], [length]) => {
            let digits = !length.is_empty() && length.len() < 20 && length.iter().all(u8::is_ascii_digit);
            let number =
                std::str::from_utf8(length).ok().filter(|_| digits).and_then(|text| text.parse().ok());
            match number {
                None => Err(400),
                Some(0) => Ok(BodyLength::None),
                Some(length) => Ok(BodyLength::Length(length)),
            }
        }
        ([encoding], []) if encoding.eq_ignore_ascii_case(b"chunked") && !head.http_1_0 => {
            Ok(BodyLength::Chunked)
        }
        _ => Err(400),
    }
}

/// A body at the start of `bytes`, of at most `limit` bytes of data.
pub fn body(bytes: &[u8], length: BodyLength, limit: usize, limits: &Limits) -> Found<Vec<u8>> {
    match length {
        BodyLength::None => Some(Ok((0, Vec::new()))),
        BodyLength::Length(length) => {
            let size = usize::try_from(length).ok().filter(|size| *size <= bytes.len())?;
            Some(Ok((size, bytes[..size].to_vec())))
        }
        BodyLength::Chunked => Chunks { bytes, at: 0, ballast: 0, data: Vec::new() }.decode(limit, limits),
    }
}

struct Chunks<'b> {
    bytes: &'b [u8],
    at: usize,
    /// Bytes of extensions and trailers.
    ballast: usize,
    data: Vec<u8>,
}

/// Why decoding ends early: a status, or nothing more to read.
type Stop = Option<u16>;

impl Chunks<'_> {
    fn decode(mut self, limit: usize, limits: &Limits) -> Found<Vec<u8>> {
        match self.chunks(limit, limits) {
            Ok(()) => Some(Ok((self.at, self.data))),
            Err(Some(status)) => Some(Err((self.at, status))),
            Err(None) => None,
        }
    }

    fn next(&mut self) -> Result<u8, Stop> {
        let byte = *self.bytes.get(self.at).ok_or(None)?;
        self.at += 1;
        Ok(byte)
    }

    fn expect(&mut self, byte: u8) -> Result<(), Stop> {
        if self.next()? == byte { Ok(()) } else { Err(Some(400)) }
    }

    fn count(&mut self, limits: &Limits) -> Result<(), Stop> {
        self.ballast += 1;
        if self.ballast > limits.head_bytes_max { Err(Some(431)) } else { Ok(()) }
    }

    fn chunks(&mut self, limit: usize, limits: &Limits) -> Result<(), Stop> {
        loop {
            let size = self.size_line(limits)?;
            if size == 0 {
                return self.trailers(limits);
            }
            if self.data.len() + size > limit {
                return Err(Some(413));
            }
            for _ in 0..size {
                let byte = self.next()?;
                self.data.push(byte);
            }
            self.expect(b'\r')?;
            self.expect(b'\n')?;
        }
    }

    fn size_line(&mut self, limits: &Limits) -> Result<usize, Stop> {
        let mut digits = String::new();
        let mut byte = self.next()?;
        while byte.is_ascii_hexdigit() {
            if digits.len() == 8 {
                return Err(Some(400));
            }
            digits.push(char::from(byte));
            byte = self.next()?;
        }
        let size = usize::from_str_radix(&digits, 16).map_err(|_| Some(400))?;
        let (mut extension, mut begun) = (0, false);
        while byte != b'\r' || !begun && extension > 0 {
            let allowed = match (begun, byte) {
                (_, b';') => true,
                (false, _) => matches!(byte, b' ' | b'\t'),
                (true, _) => byte == b'\t' || byte >= 0x20 && byte != 0x7F,
            };
            if !allowed {
                return Err(Some(400));
            }
            begun |= byte == b';';
            extension += 1;
            if extension > EXTENSION_BYTES_MAX {
                return Err(Some(400));
            }
            self.count(limits)?;
            byte = self.next()?;
        }
        self.expect(b'\n')?;
        Ok(size)
    }

    fn trailers(&mut self, limits: &Limits) -> Result<(), Stop> {
        loop {
            let mut byte = self.next()?;
            if byte == b'\r' {
                return self.expect(b'\n');
            }
            let (mut name, mut colon) = (0, false);
            while !colon || byte != b'\r' {
                let allowed = match colon {
                    false => byte == b':' && name > 0 || is_token(&char::from(byte).to_string()),
                    true => byte == b'\t' || byte >= 0x20 && byte != 0x7F,
                };
                if !allowed {
                    return Err(Some(400));
                }
                name += 1;
                colon |= byte == b':';
                self.count(limits)?;
                byte = self.next()?;
            }
            self.expect(b'\n')?;
        }
    }
}
