//! The checks of a client's opening handshake and the 101 that accepts it (RFC 6455 §4.2).
//!
//! Chooses no subprotocol and looks at no path or origin; the caller does.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha1::{Digest as _, Sha1};

use super::framing::BodyLength;
use super::request::Request;
use super::response::{Refusal, push_header};
use super::{is_token, list_elements, shown};

#[cfg(test)]
mod tests;

/// What the key is concatenated with (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Characters of a `Sec-WebSocket-Key`: 16 bytes in base64.
const KEY_CHARS: usize = 24;

/// Decodes keys. The last character before the padding has four bits that no byte uses; the example
/// of RFC 6455 §4.1 has them set.
const KEY_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// A request that is a correct opening handshake.
#[derive(Clone, Debug)]
pub struct Upgrade<'a> {
    accept: [u8; 28],
    subprotocols: Vec<&'a str>,
    extensions: Vec<&'a str>,
}

impl<'a> Upgrade<'a> {
    /// Checks a request against RFC 6455 §4.2.1.
    ///
    /// # Errors
    ///
    /// 405 for a method other than GET, 426 for a missing `Upgrade: websocket` or another
    /// `Sec-WebSocket-Version` than 13, 400 for everything else.
    pub fn check(request: &Request<'a>) -> Result<Upgrade<'a>, Refusal> {
        if request.method() != "GET" {
            let body = format!(
                "the method is {}; a WebSocket handshake must be GET",
                shown(request.method().as_bytes())
            );
            return Err(Refusal::new(405, body).with_header("Allow", "GET"));
        }
        if request.is_http_1_0() {
            return Err(Refusal::new(400, "the request is HTTP/1.0; a WebSocket handshake needs HTTP/1.1"));
        }
        check_body(request)?;
        check_upgrade(request)?;
        check_version(request)?;
        let key = check_key(request)?;
        Ok(Upgrade {
            accept: accept_key(key),
            subprotocols: subprotocols(request)?,
            extensions: extensions(request)?,
        })
    }

    /// The offered subprotocols, in the client's order of preference; all different.
    pub fn subprotocols(&self) -> impl Iterator<Item = &'a str> {
        self.subprotocols.iter().copied()
    }

    /// The offered extensions with their parameters, as they came (RFC 6455 §9.1). None is
    /// accepted yet.
    pub fn extensions(&self) -> impl Iterator<Item = &'a str> {
        self.extensions.iter().copied()
    }

    /// Appends the 101 response to `out` (RFC 6455 §4.2.2).
    ///
    /// `subprotocol` must be one of the offered; anything else is a bug of the caller and left
    /// out. Control characters in `extra` are dropped.
    pub fn push_response(&self, out: &mut Vec<u8>, subprotocol: Option<&str>, extra: &[(&str, &str)]) {
        out.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\n\
              Upgrade: websocket\r\n\
              Connection: Upgrade\r\n\
              Sec-WebSocket-Accept: ",
        );
        out.extend_from_slice(&self.accept);
        out.extend_from_slice(b"\r\n");
        if let Some(chosen) = subprotocol {
            let offered = self.subprotocols.contains(&chosen);
            debug_assert!(offered, "the subprotocol {chosen} was not offered");
            if offered {
                push_header(out, "Sec-WebSocket-Protocol", chosen);
            }
        }
        for (name, value) in extra {
            push_header(out, name, value);
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// The `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`: base64(SHA-1(key + GUID)), 28 ASCII
/// characters (RFC 6455 §4.2.2).
pub fn accept_key(key: &str) -> [u8; 28] {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut accept = [0; 28];
    let written = STANDARD.encode_slice(digest, &mut accept);
    debug_assert_eq!(written, Ok(28), "20 bytes are 28 characters in base64");
    accept
}

/// What follows the head are frames, which a body would be taken for.
fn check_body(request: &Request<'_>) -> Result<(), Refusal> {
    let body = match request.body_length() {
        BodyLength::None => return Ok(()),
        BodyLength::Length(length) => {
            format!("the request has Content-Length \"{length}\"; a body is not allowed here")
        }
        BodyLength::Chunked => {
            "the request has a Transfer-Encoding header; a body is not allowed here".to_owned()
        }
    };
    Err(Refusal::new(400, body))
}

fn check_upgrade(request: &Request<'_>) -> Result<(), Refusal> {
    ascii_only(request, "Upgrade")?;
    ascii_only(request, "Connection")?;
    if !request.is_upgrade() {
        let refusal =
            Refusal::new(426, "this path speaks WebSocket; the request must have \"Upgrade: websocket\"");
        return Err(refusal.with_header("Upgrade", "websocket"));
    }
    if !request.has_token("Connection", "upgrade") {
        return Err(Refusal::new(
            400,
            "no Connection header has the token \"upgrade\"; a WebSocket handshake must have it",
        ));
    }
    Ok(())
}

fn check_version(request: &Request<'_>) -> Result<(), Refusal> {
    let mut versions = request.headers_named("Sec-WebSocket-Version");
    let seen = match (versions.next(), versions.next()) {
        (Some(b"13"), None) => return Ok(()),
        (None, _) => "missing".to_owned(),
        (Some(version), None) => format!("\"{}\"", shown(version)),
        (Some(_), Some(_)) => "there several times".to_owned(),
    };
    let body = format!("Sec-WebSocket-Version is {seen}; exactly one header with 13 is allowed");
    let refusal = Refusal::new(426, body).with_header("Upgrade", "websocket");
    Err(refusal.with_header("Sec-WebSocket-Version", "13"))
}

fn check_key<'a>(request: &Request<'a>) -> Result<&'a str, Refusal> {
    let mut keys = request.headers_named("Sec-WebSocket-Key");
    let seen = match (keys.next(), keys.next()) {
        (Some(key), None) => match std::str::from_utf8(key) {
            Ok(text) if is_key(text) => return Ok(text),
            _ => format!("\"{}\"", shown(key)),
        },
        (None, _) => "missing".to_owned(),
        (Some(_), Some(_)) => "there several times".to_owned(),
    };
    let body = format!("Sec-WebSocket-Key is {seen}; one header with 16 bytes in base64 is allowed");
    Err(Refusal::new(400, body))
}

fn is_key(text: &str) -> bool {
    // The length is checked first, so that a long value costs no decoding.
    text.len() == KEY_CHARS && KEY_BASE64.decode(text).is_ok_and(|bytes| bytes.len() == 16)
}

fn subprotocols<'a>(request: &Request<'a>) -> Result<Vec<&'a str>, Refusal> {
    let mut offered = Vec::new();
    for element in request.headers_named("Sec-WebSocket-Protocol").flat_map(list_elements) {
        match std::str::from_utf8(element) {
            Ok(name) if is_token(element) => offered.push(name),
            _ => {
                let body = format!(
                    "Sec-WebSocket-Protocol has the element \"{}\"; a list of tokens is allowed",
                    shown(element)
                );
                return Err(Refusal::new(400, body));
            }
        }
    }
    // Sorted, because comparing each with each would let one head cost millions of comparisons.
    let mut sorted = offered.clone();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        let body = format!(
            "Sec-WebSocket-Protocol has \"{}\" several times; each may be offered once",
            shown(pair[0].as_bytes())
        );
        return Err(Refusal::new(400, body));
    }
    Ok(offered)
}

fn extensions<'a>(request: &Request<'a>) -> Result<Vec<&'a str>, Refusal> {
    ascii_only(request, "Sec-WebSocket-Extensions")?;
    let mut offered = Vec::new();
    for value in request.headers_named("Sec-WebSocket-Extensions") {
        let parsed = std::str::from_utf8(value).ok().and_then(split_extensions);
        let Some(elements) = parsed else {
            let body = format!(
                "Sec-WebSocket-Extensions is \"{}\"; a list of tokens with parameters is allowed",
                shown(value)
            );
            return Err(Refusal::new(400, body));
        };
        offered.extend(elements);
    }
    Ok(offered)
}

/// The elements of an extension list, split at commas outside quoted strings; `None` if a quoted
/// string does not end or an element does not begin with a token. Empty elements are skipped, as
/// RFC 9110 §5.6.1 has it.
pub(super) fn split_extensions(value: &str) -> Option<Vec<&str>> {
    let (mut quoted, mut escaped) = (false, false);
    let outside = |character: char| {
        match (quoted, escaped, character) {
            (true, true, _) => escaped = false,
            (true, false, '\\') => escaped = true,
            (_, _, '"') => quoted = !quoted,
            _ => {}
        }
        character == ',' && !quoted
    };
    let elements = value.split(outside).map(str::trim_ascii);
    let elements: Vec<&str> = elements.filter(|element| !element.is_empty()).collect();
    let named = |element: &&str| {
        let name = element.split(';').next().unwrap_or("");
        is_token(name.trim_ascii().as_bytes())
    };
    (!quoted && elements.iter().all(named)).then_some(elements)
}

fn ascii_only(request: &Request<'_>, name: &str) -> Result<(), Refusal> {
    match request.headers_named(name).find(|value| !value.is_ascii()) {
        None => Ok(()),
        Some(value) => {
            let body = format!("{name} is \"{}\"; only ASCII is allowed", shown(value));
            Err(Refusal::new(400, body))
        }
    }
}
