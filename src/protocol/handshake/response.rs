//! Plain HTTP responses: refusals, pages, and the heads of streams (RFC 9112 §4).
//!
//! Decides nothing about whether a connection persists; the caller says it. The 101 is in
//! `upgrade.rs`.

use std::fmt::Write as _;

use serde_json::Value;

#[cfg(test)]
mod tests;

/// Whether more requests may follow on the same connection (RFC 9112 §9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// They may; HTTP/1.1 says so by saying nothing.
    KeepAlive,
    /// The connection ends after this response.
    Close,
}

/// A request refused: what to answer instead of what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status code.
    pub status: u16,
    /// Header fields besides those every response has.
    pub headers: Vec<(&'static str, String)>,
    /// One sentence: what was seen and what is allowed. Without a line end.
    pub body: String,
    /// More members of the JSON object, each with a comma before it; empty for most.
    detail: String,
    /// The request is known to be HEAD.
    answers_head: bool,
}

impl Refusal {
    /// A refusal without further header fields.
    pub fn new(status: u16, body: impl Into<String>) -> Refusal {
        Refusal { status, headers: Vec::new(), body: body.into(), detail: String::new(), answers_head: false }
    }

    /// The same with one more header field.
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Refusal {
        self.headers.push((name, value.into()));
        self
    }

    /// The same with one more member next to `status` and `message`, for programs to read.
    ///
    /// `name` must be neither of those two nor given before: JSON wants the names of an object to be
    /// unique (RFC 8259 §4).
    pub fn with_detail(mut self, name: &'static str, value: impl Into<Value>) -> Refusal {
        // Writing to a string does not fail.
        let _ = write!(self.detail, ",{}:{}", Value::from(name), value.into());
        self
    }

    /// The same to a HEAD request: it has no content, whoever pushes it (RFC 9110 §9.3.2).
    pub(crate) fn for_head(self) -> Refusal {
        Refusal { answers_head: true, ..self }
    }

    /// Appends the whole response to `out`; its content is one line of JSON (RFC 8259):
    /// `{"error":{"status":400,"message":"..."}}`.
    ///
    /// `head_only` answers a HEAD request, as in [`push_http_response`].
    pub fn push_response(&self, out: &mut Vec<u8>, head_only: bool, persistence: Persistence) {
        let headers: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (status, message, detail) = (self.status, Value::from(self.body.as_str()), &self.detail);
        let body = format!("{{\"error\":{{\"status\":{status},\"message\":{message}{detail}}}}}\n");
        let body = body.as_bytes();
        let head_only = head_only || self.answers_head;
        push_http_response(out, status, &headers, "application/json", body, head_only, persistence);
    }
}

/// Appends a whole HTTP/1.1 response to `out`.
///
/// `head_only` answers a HEAD request: the body's length, but not the body (RFC 9110 §9.3.2). 204 and
/// 304 have no content, so `content_type` and `body` are left out (RFC 9110 §15.3.5, §15.4.5).
/// Control characters in header names and values are dropped, so that no value can begin a header
/// of its own. With an `Upgrade` header the connection option `upgrade` is added, as RFC 9110 §7.8
/// demands.
pub fn push_http_response(
    out: &mut Vec<u8>,
    status: u16,
    headers: &[(&str, &str)],
    content_type: &str,
    body: &[u8],
    head_only: bool,
    persistence: Persistence,
) {
    let has_content = !matches!(status, 204 | 304);
    push_head_start(out, status, headers, persistence);
    if has_content {
        push_header(out, "Content-Type", content_type);
        push_header(out, "Content-Length", &body.len().to_string());
    }
    for (name, value) in headers {
        push_header(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
    if has_content && !head_only {
        out.extend_from_slice(body);
    }
}

/// Appends the head of a response whose content goes on until the connection ends, which is what
/// bounds it (RFC 9112 §6.3, rule 8).
pub fn push_stream_head(out: &mut Vec<u8>, status: u16, headers: &[(&str, &str)], content_type: &str) {
    push_head_start(out, status, headers, Persistence::Close);
    push_header(out, "Content-Type", content_type);
    for (name, value) in headers {
        push_header(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the interim response that asks for the body (RFC 9110 §15.2.1).
pub fn push_continue(out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
}

/// The status line and the connection options (RFC 9110 §7.6.1).
fn push_head_start(out: &mut Vec<u8>, status: u16, headers: &[(&str, &str)], persistence: Persistence) {
    let status_line = format!("HTTP/1.1 {status} {}\r\n", reason_phrase(status));
    out.extend_from_slice(status_line.as_bytes());
    let upgrade = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("upgrade"));
    match (persistence, upgrade) {
        (Persistence::KeepAlive, false) => {}
        (Persistence::KeepAlive, true) => push_header(out, "Connection", "upgrade"),
        (Persistence::Close, false) => push_header(out, "Connection", "close"),
        (Persistence::Close, true) => push_header(out, "Connection", "close, upgrade"),
    }
}

/// Appends one header line without any control characters.
pub(super) fn push_header(out: &mut Vec<u8>, name: &str, value: &str) {
    let clean = |text: &str| -> Vec<u8> {
        let bytes = text.bytes();
        bytes.filter(|byte| !byte.is_ascii_control()).collect()
    };
    out.extend_from_slice(&clean(name));
    out.extend_from_slice(b": ");
    out.extend_from_slice(&clean(value));
    out.extend_from_slice(b"\r\n");
}

/// The reason phrase of a status code (IANA's registry of HTTP status codes); empty if unknown.
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
