//! The client's side of the opening handshake: the request and the check of its answer (RFC 6455
//! §4.1).
//!
//! Opens no connection and follows no redirect.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use super::super::limits::Limits;
use super::list_elements;
use super::response::push_header;
use super::scanner::HeadScanner;
use super::upgrade::accept_key;

#[cfg(test)]
mod tests;

/// The bounds of a server's response head: 8 KiB and 64 header lines, as for requests.
fn limits() -> Limits {
    Limits::default()
}

/// A handshake of ours that the server accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Bytes of the last call that belong to the response head; frames follow.
    pub used: usize,
    /// The subprotocol the server chose, one of those offered.
    pub subprotocol: Option<String>,
}

/// Why the server's answer is no acceptance (RFC 6455 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HandshakeError {
    /// The response head breaks HTTP/1.1 or is longer than 8 KiB or 64 header lines.
    #[error("the response head is malformed or too long; HTTP/1.1 of up to 8192 bytes is allowed")]
    Head,
    /// The server did not switch protocols.
    #[error("the response has status {0}; 101 is the one that accepts")]
    Status(u16),
    /// No `Upgrade: websocket` or no `Connection: upgrade`.
    #[error("the response lacks \"{0}\"; an acceptance must have it")]
    Missing(&'static str),
    /// `Sec-WebSocket-Accept` does not answer our key.
    #[error("Sec-WebSocket-Accept does not answer our key; exactly one that does is allowed")]
    Accept,
    /// The server chose a subprotocol that was not offered, or several.
    #[error("the response has a subprotocol that was not offered; at most one offered is allowed")]
    Subprotocol,
    /// The server chose an extension; none was offered.
    #[error("the response has an extension; none was offered, so none is allowed")]
    Extension,
}

/// An opening handshake of ours: the request to send, and what of the answer has arrived.
#[derive(Clone, Debug)]
pub struct ClientHandshake {
    request: Vec<u8>,
    accept: [u8; 28],
    subprotocols: Vec<String>,
    scanner: HeadScanner,
    head: Vec<u8>,
}

impl ClientHandshake {
    /// A handshake with `host` for `target`; `key` must be 16 random bytes (RFC 6455 §4.1).
    ///
    /// Control characters in the arguments are dropped.
    pub fn new(
        host: &str,
        target: &str,
        key: [u8; 16],
        subprotocols: &[&str],
        extra: &[(&str, &str)],
    ) -> ClientHandshake {
        let key = STANDARD.encode(key);
        let target: String = target.chars().filter(|c| c.is_ascii_graphic()).collect();
        let mut request = format!("GET {target} HTTP/1.1\r\n").into_bytes();
        push_header(&mut request, "Host", host);
        push_header(&mut request, "Upgrade", "websocket");
        push_header(&mut request, "Connection", "Upgrade");
        push_header(&mut request, "Sec-WebSocket-Key", &key);
        push_header(&mut request, "Sec-WebSocket-Version", "13");
        if !subprotocols.is_empty() {
            let list = subprotocols.join(", ");
            push_header(&mut request, "Sec-WebSocket-Protocol", &list);
        }
        for (name, value) in extra {
            push_header(&mut request, name, value);
        }
        request.extend_from_slice(b"\r\n");
        ClientHandshake {
            request,
            accept: accept_key(&key),
            subprotocols: subprotocols.iter().copied().map(str::to_owned).collect(),
            scanner: HeadScanner::default(),
            head: Vec::new(),
        }
    }

    /// The request head to send.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Takes the next bytes of the answer; `None` while the head is incomplete.
    ///
    /// # Errors
    ///
    /// Everything that is no correct acceptance; the handshake is of no use afterwards.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Option<Accepted>, HandshakeError> {
        let found = self.scanner.scan(bytes, &limits());
        let Some(used) = found.map_err(|_| HandshakeError::Head)? else {
            self.head.extend_from_slice(bytes);
            return Ok(None);
        };
        self.head.extend_from_slice(&bytes[..used]);
        let subprotocol = self.check()?;
        Ok(Some(Accepted { used, subprotocol }))
    }

    fn check(&self) -> Result<Option<String>, HandshakeError> {
        let mut headers = vec![httparse::EMPTY_HEADER; self.scanner.header_lines()];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(&self.head);
        let (Ok(httparse::Status::Complete(_)), Some(1), Some(status)) =
            (parsed, response.version, response.code)
        else {
            return Err(HandshakeError::Head);
        };
        if status != 101 {
            return Err(HandshakeError::Status(status));
        }
        let values = |name: &'static str| {
            let headers = response.headers.iter();
            headers.filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
        };
        let has_token = |name, token: &str| {
            let mut elements = values(name).flat_map(list_elements);
            elements.any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
        };
        if !has_token("Upgrade", "websocket") {
            return Err(HandshakeError::Missing("Upgrade: websocket"));
        }
        if !has_token("Connection", "upgrade") {
            return Err(HandshakeError::Missing("Connection: upgrade"));
        }
        if !values("Sec-WebSocket-Accept").eq([self.accept.as_slice()]) {
            return Err(HandshakeError::Accept);
        }
        if values("Sec-WebSocket-Extensions").any(|value| !value.is_empty()) {
            return Err(HandshakeError::Extension);
        }
        let mut chosen = values("Sec-WebSocket-Protocol");
        match (chosen.next(), chosen.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => {
                let mut offered = self.subprotocols.iter();
                let found = offered.find(|name| name.as_bytes() == value);
                found.cloned().map(Some).ok_or(HandshakeError::Subprotocol)
            }
            (Some(_), Some(_)) => Err(HandshakeError::Subprotocol),
        }
    }
}
