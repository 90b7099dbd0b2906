//! Plain HTTP responses: refusals and the few pages a WebSocket server has (RFC 9112 §4).
//!
//! One response per connection: each says `Connection: close`. The 101 is in `upgrade.rs`.

/// A request refused: what to answer before the connection ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status code.
    pub status: u16,
    /// Header fields besides those every response has.
    pub headers: Vec<(&'static str, String)>,
    /// One sentence: what was seen and what is allowed. Without a line end.
    pub body: String,
}

impl Refusal {
    /// A refusal without further header fields.
    pub fn new(status: u16, body: impl Into<String>) -> Refusal {
        Refusal { status, headers: Vec::new(), body: body.into() }
    }

    /// The same with one more header field.
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Refusal {
        self.headers.push((name, value.into()));
        self
    }

    /// Appends the whole response to `out`: the body as one line of plain text.
    pub fn push_response(&self, out: &mut Vec<u8>) {
        let headers: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let body = format!("{}\n", self.body);
        let content_type = "text/plain; charset=utf-8";
        push_http_response(out, self.status, &headers, content_type, body.as_bytes(), false);
    }
}

/// Appends a whole HTTP/1.1 response to `out`; the connection ends after it.
///
/// `head_only` answers a HEAD request: the body's length, but not the body (RFC 9110 §9.3.2).
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
) {
    let upgrade = |(name, _): &(&str, &str)| name.eq_ignore_ascii_case("upgrade");
    let connection = match headers.iter().any(upgrade) {
        true => "close, upgrade",
        false => "close",
    };
    let status_line = format!("HTTP/1.1 {status} {}\r\n", reason_phrase(status));
    out.extend_from_slice(status_line.as_bytes());
    push_header(out, "Connection", connection);
    push_header(out, "Content-Type", content_type);
    push_header(out, "Content-Length", &body.len().to_string());
    for (name, value) in headers {
        push_header(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
    if !head_only {
        out.extend_from_slice(body);
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
        101 => "Switching Protocols",
        200 => "OK",
        204 => "No Content",
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
        421 => "Misdirected Request",
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

#[cfg(test)]
mod tests {
    use super::*;

    fn text(refusal: &Refusal) -> String {
        let mut out = Vec::new();
        refusal.push_response(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_refusal_is_one_line_of_plain_text() {
        let refusal = Refusal::new(405, "only GET").with_header("Allow", "GET");
        assert_eq!(
            text(&refusal),
            "HTTP/1.1 405 Method Not Allowed\r\nConnection: close\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Length: 9\r\n\
             Allow: GET\r\n\r\nonly GET\n"
        );
    }

    #[test]
    fn a_header_value_cannot_begin_a_header() {
        let refusal = Refusal::new(400, "no").with_header("X", "a\r\nSet-Cookie: b\0\x7F");
        let text = text(&refusal);
        assert!(text.contains("X: aSet-Cookie: b\r\n\r\n"));
        assert!(!text.contains("\nSet-Cookie"));
    }

    #[test]
    fn upgrade_is_named_as_a_connection_option() {
        let text = text(&Refusal::new(426, "no").with_header("Upgrade", "websocket"));
        assert!(text.contains("Connection: close, upgrade\r\n"));
    }

    #[test]
    fn a_response_to_head_has_the_length_but_no_body() {
        let (mut whole, mut head) = (Vec::new(), Vec::new());
        push_http_response(&mut whole, 200, &[], "text/html", b"<p>", false);
        push_http_response(&mut head, 200, &[], "text/html", b"<p>", true);
        assert_eq!(whole.strip_suffix(b"<p>"), Some(head.as_slice()));
        assert!(head.ends_with(b"Content-Length: 3\r\n\r\n"));
    }

    #[test]
    fn an_unknown_status_still_makes_a_valid_status_line() {
        let mut out = Vec::new();
        push_http_response(&mut out, 599, &[], "text/plain", b"", false);
        assert!(out.starts_with(b"HTTP/1.1 599 \r\n"));
    }
}
