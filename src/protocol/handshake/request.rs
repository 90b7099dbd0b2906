//! A whole request head: parsed by httparse, then held to the rules that any request must keep
//! (RFC 9112 §3, RFC 9110 §7.2).
//!
//! Whether it asks for a WebSocket is for `upgrade.rs`.

use std::fmt;

use httparse::Header;

use super::framing;
use super::framing::BodyLength;
use super::response::Refusal;
use super::{list_elements, shown};

#[cfg(test)]
mod tests;

/// A request head that keeps the general rules of HTTP/1.1 or HTTP/1.0, borrowed from the bytes it
/// came in.
#[derive(Clone)]
pub struct Request<'a> {
    method: &'a str,
    path: &'a str,
    query: &'a str,
    host: &'a str,
    http_1_0: bool,
    body: BodyLength,
    headers: Vec<Header<'a>>,
}

impl fmt::Debug for Request<'_> {
    /// Shows no header values: they may hold credentials.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Request");
        shown.field("method", &self.method);
        shown.field("path", &self.path);
        shown.field("host", &self.host);
        shown.finish_non_exhaustive()
    }
}

impl<'a> Request<'a> {
    /// Parses a head the scanner found whole, with `header_lines` lines after the request line.
    ///
    /// # Errors
    ///
    /// 400 for a malformed line, a version other than HTTP/1.1 and HTTP/1.0, a target that is neither
    /// in origin nor in absolute form, a `Host` that is not there exactly once (HTTP/1.0 may leave it
    /// out), or a body whose end is not clear (RFC 9112 §6.3).
    pub(crate) fn parse(head: &'a [u8], header_lines: usize) -> Result<Request<'a>, Refusal> {
        let mut headers = vec![httparse::EMPTY_HEADER; header_lines];
        let mut parsed = httparse::Request::new(&mut headers);
        let complete = parsed.parse(head).map_err(malformed)?;
        let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(bad_request_line());
        };
        if complete.is_partial() {
            return Err(bad_request_line());
        }
        let Target { authority, path, query } = split_target(target)?;
        let parsed_lines = parsed.headers.len();
        headers.truncate(parsed_lines);
        let mut request = Request {
            method,
            path,
            query,
            host: "",
            http_1_0: version == 0,
            body: BodyLength::None,
            headers,
        };
        let host = request.check_host()?;
        // The target's own authority wins over Host (RFC 9112 §3.2.2).
        request.host = authority.unwrap_or(host);
        request.body = framing::body_length(&request)?;
        Ok(request)
    }

    /// The method, in the case it came in; methods are case-sensitive (RFC 9110 §9.1).
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// The target's path, before its `?`, not decoded; begins with `/`.
    pub fn path(&self) -> &'a str {
        self.path
    }

    /// The target after its `?`, not decoded; empty if there is none.
    pub fn query(&self) -> &'a str {
        self.query
    }

    /// The value of the first header with this name, in any case.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers_named(name).next()
    }

    /// The values of all headers with this name, in any case, in order.
    pub fn headers_named<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + 's {
        let named = move |header: &&Header<'a>| header.name.eq_ignore_ascii_case(name);
        self.headers.iter().filter(named).map(|header| header.value)
    }

    /// The authority of a target in absolute form, else the value of `Host`: not empty, and only
    /// characters of a host and port. Empty if an HTTP/1.0 request has neither.
    pub fn host(&self) -> &'a str {
        self.host
    }

    /// Whether the version is HTTP/1.0, which has no `Upgrade`.
    pub(super) fn is_http_1_0(&self) -> bool {
        self.http_1_0
    }

    /// The value of `Origin`, whatever bytes it has (RFC 6454 §7).
    pub fn origin(&self) -> Option<&'a [u8]> {
        self.header("Origin")
    }

    /// Whether an `Upgrade` header has the token `websocket`, in any case. HTTP/1.0 has no such header
    /// (RFC 9110 §7.8).
    pub fn is_upgrade(&self) -> bool {
        !self.http_1_0 && self.has_token("Upgrade", "websocket")
    }

    /// What follows the head, whatever the method; checked when the head was parsed (RFC 9112 §6.3).
    pub fn body_length(&self) -> BodyLength {
        self.body
    }

    /// Whether the client awaits [`push_continue`](crate::protocol::push_continue) before it sends the
    /// body (RFC 9110 §10.1.1). HTTP/1.0 has no such thing and is ignored.
    ///
    /// # Errors
    ///
    /// 417 for any other expectation, and for several in one header.
    pub fn expects_continue(&self) -> Result<bool, Refusal> {
        if self.http_1_0 {
            return Ok(false);
        }
        let unknown = |value: &&[u8]| !value.eq_ignore_ascii_case(b"100-continue");
        if let Some(value) = self.headers_named("Expect").find(unknown) {
            let body = format!("Expect is \"{}\"; only 100-continue is allowed", shown(value));
            return Err(Refusal::new(417, body));
        }
        Ok(self.header("Expect").is_some())
    }

    /// Whether the connection may serve more requests: HTTP/1.1 without the connection option `close`
    /// (RFC 9112 §9.3). HTTP/1.0 never does, whatever it asks for.
    pub fn keeps_alive(&self) -> bool {
        !self.http_1_0 && !self.has_token("Connection", "close")
    }

    /// Whether `token` is in the lists of the headers `name`, in any case.
    pub(super) fn has_token(&self, name: &str, token: &str) -> bool {
        self.headers_named(name)
            .flat_map(list_elements)
            .any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
    }

    fn check_host(&self) -> Result<&'a str, Refusal> {
        let mut hosts = self.headers_named("Host");
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host,
            // The health checks of some load balancers speak HTTP/1.0, which did not have it.
            (None, _) if self.http_1_0 => return Ok(""),
            _ => {
                let seen = self.headers_named("Host").count();
                let body = format!("the request has {seen} Host headers; exactly 1 is allowed");
                return Err(Refusal::new(400, body));
            }
        };
        match std::str::from_utf8(host) {
            Ok(text) if is_host(text) => Ok(text),
            _ => {
                let body = format!(
                    "the Host header is \"{}\"; a host name or address, with or without a port, \
                     is allowed",
                    shown(host)
                );
                Err(Refusal::new(400, body))
            }
        }
    }
}

/// Whether `text` is not empty and has only characters of a host and port.
fn is_host(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

/// What a request target names.
struct Target<'a> {
    /// Only in absolute form.
    authority: Option<&'a str>,
    path: &'a str,
    query: &'a str,
}

/// The parts of a target in origin or absolute form (RFC 9112 §3.2.1, §3.2.2).
fn split_target(target: &str) -> Result<Target<'_>, Refusal> {
    let visible = target.bytes().all(|byte| byte.is_ascii_graphic());
    let origin_form = target.starts_with('/').then_some((None, target));
    let parts = origin_form.or_else(|| split_absolute(target));
    let Some((authority, rest)) = parts.filter(|_| visible && !target.contains('#')) else {
        let body = format!(
            "the request target is \"{}\"; a path that begins with '/', or http://host/path, in \
             visible ASCII and without '#', is allowed",
            shown(target.as_bytes())
        );
        return Err(Refusal::new(400, body));
    };
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path = if path.is_empty() { "/" } else { path };
    Ok(Target { authority, path, query })
}

/// The authority of a target in absolute form, and what follows it.
fn split_absolute(target: &str) -> Option<(Option<&str>, &str)> {
    let (scheme, rest) = target.split_once("://")?;
    if !["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return None;
    }
    let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    // A port alone names no host (RFC 9110 §4.2.1); user information is no part of a host (§4.2.4).
    (is_host(authority) && !authority.starts_with(':')).then_some((Some(authority), rest))
}

fn malformed(error: httparse::Error) -> Refusal {
    match error {
        // Also HTTP/1.2 and later minor versions: none exists, and httparse knows none.
        httparse::Error::Version => Refusal::new(
            400,
            "the request line has an unknown version; HTTP/1.1 is allowed, and HTTP/1.0 without WebSocket",
        ),
        httparse::Error::HeaderName => Refusal::new(
            400,
            "a header line has a malformed name; a token directly followed by ':' is allowed",
        ),
        httparse::Error::HeaderValue => Refusal::new(
            400,
            "a header line has a malformed value; visible characters, spaces and HTAB are allowed",
        ),
        _ => bad_request_line(),
    }
}

fn bad_request_line() -> Refusal {
    Refusal::new(400, "the request line is malformed; METHOD /target HTTP/1.1 with single spaces is allowed")
}
