//! Tests of the responses' form.

use super::*;
use Persistence::{Close, KeepAlive};

fn text(refusal: &Refusal) -> String {
    let mut out = Vec::new();
    refusal.push_response(&mut out, false, Close);
    String::from_utf8(out).unwrap()
}

/// The JSON of a refusal's response.
fn json(refusal: &Refusal) -> Value {
    let text = text(refusal);
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(body.ends_with('\n') && body.lines().count() == 1, "{body}");
    serde_json::from_str(body).unwrap()
}

fn response(status: u16, headers: &[(&str, &str)], persistence: Persistence) -> String {
    let mut out = Vec::new();
    push_http_response(&mut out, status, headers, "text/plain", b"x", false, persistence);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_refusal_is_one_line_of_json() {
    let refusal = Refusal::new(405, "only GET").with_header("Allow", "GET");
    let body = "{\"error\":{\"status\":405,\"message\":\"only GET\"}}\n";
    let length = body.len();
    assert_eq!(
        text(&refusal),
        format!(
            "HTTP/1.1 405 Method Not Allowed\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\
             Allow: GET\r\n\r\n{body}"
        )
    );
}

#[test]
fn whatever_a_message_holds_stays_inside_its_string() {
    for message in ["a\"},\"status\":200", "\\", "line\r\nline\0\x1b\x7f", "gr\u{fc}\u{df} \u{2028}", ""] {
        let seen = json(&Refusal::new(400, message));
        assert_eq!(seen["error"]["message"], message);
        assert_eq!(seen["error"]["status"], 400);
        assert_eq!(seen["error"].as_object().unwrap().len(), 2);
    }
}

#[test]
fn details_stand_next_to_the_message() {
    let refusal = Refusal::new(409, "too old").with_detail("epoch", "a\"b").with_detail("offset", u64::MAX);
    let expected = serde_json::json!({
        "error": { "status": 409, "message": "too old", "epoch": "a\"b", "offset": u64::MAX }
    });
    assert_eq!(json(&refusal), expected);
}

#[test]
fn a_refusal_of_head_has_no_body_and_may_leave_the_connection_open() {
    let refusal = Refusal::new(404, "nothing");
    let (mut whole, mut head) = (Vec::new(), Vec::new());
    refusal.push_response(&mut whole, false, KeepAlive);
    refusal.push_response(&mut head, true, KeepAlive);
    assert!(whole.starts_with(&head) && head.ends_with(b"\r\n\r\n") && whole.len() > head.len());
    assert!(!String::from_utf8(head).unwrap().contains("Connection"));
}

#[test]
fn a_header_value_cannot_begin_a_header() {
    let refusal = Refusal::new(400, "no").with_header("X", "a\r\nSet-Cookie: b\0\x7F");
    let text = text(&refusal);
    assert!(text.contains("X: aSet-Cookie: b\r\n\r\n"));
    assert!(!text.contains("\nSet-Cookie"));
}

#[test]
fn the_connection_options_say_what_follows() {
    let upgrade: &[(&str, &str)] = &[("Upgrade", "websocket")];
    for (headers, persistence, expected) in [
        (&[][..], Close, Some("Connection: close\r\n")),
        (&[], KeepAlive, None),
        (upgrade, Close, Some("Connection: close, upgrade\r\n")),
        (upgrade, KeepAlive, Some("Connection: upgrade\r\n")),
    ] {
        let text = response(426, headers, persistence);
        let found = text.split_inclusive("\r\n").find(|line| line.starts_with("Connection"));
        assert_eq!(found, expected);
    }
}

#[test]
fn a_response_to_head_has_the_length_but_no_body() {
    let (mut whole, mut head) = (Vec::new(), Vec::new());
    push_http_response(&mut whole, 200, &[], "text/html", b"<p>", false, Close);
    push_http_response(&mut head, 200, &[], "text/html", b"<p>", true, Close);
    assert_eq!(whole.strip_suffix(b"<p>"), Some(head.as_slice()));
    assert!(head.ends_with(b"Content-Length: 3\r\n\r\n"));
}

#[test]
fn statuses_without_content_have_none() {
    for status in [204, 304] {
        let text = response(status, &[("ETag", "a")], KeepAlive);
        let line = format!("HTTP/1.1 {status} {}\r\n", reason_phrase(status));
        assert_eq!(text, format!("{line}ETag: a\r\n\r\n"));
    }
}

#[test]
fn a_stream_is_bounded_by_its_connection() {
    let mut out = Vec::new();
    push_stream_head(&mut out, 200, &[("Cache-Control", "no-store")], "text/event-stream");
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/event-stream\r\n\
         Cache-Control: no-store\r\n\r\n"
    );
}

#[test]
fn the_interim_response_is_a_head_alone() {
    let mut out = Vec::new();
    push_continue(&mut out);
    assert_eq!(out, format!("HTTP/1.1 100 {}\r\n\r\n", reason_phrase(100)).into_bytes());
}

#[test]
fn an_unknown_status_still_makes_a_valid_status_line() {
    assert!(response(599, &[], Close).starts_with("HTTP/1.1 599 \r\n"));
}

/// As IANA's registry of HTTP status codes has them.
#[test]
fn statuses_have_their_phrases() {
    for (status, phrase) in [
        (101, "Switching Protocols"),
        (200, "OK"),
        (201, "Created"),
        (202, "Accepted"),
        (204, "No Content"),
        (206, "Partial Content"),
        (301, "Moved Permanently"),
        (302, "Found"),
        (304, "Not Modified"),
        (307, "Temporary Redirect"),
        (308, "Permanent Redirect"),
        (400, "Bad Request"),
        (401, "Unauthorized"),
        (403, "Forbidden"),
        (404, "Not Found"),
        (408, "Request Timeout"),
        (409, "Conflict"),
        (410, "Gone"),
        (413, "Content Too Large"),
        (414, "URI Too Long"),
        (415, "Unsupported Media Type"),
        (417, "Expectation Failed"),
        (421, "Misdirected Request"),
        (422, "Unprocessable Content"),
        (426, "Upgrade Required"),
        (429, "Too Many Requests"),
        (431, "Request Header Fields Too Large"),
        (500, "Internal Server Error"),
        (501, "Not Implemented"),
        (502, "Bad Gateway"),
        (503, "Service Unavailable"),
        (504, "Gateway Timeout"),
        (505, "HTTP Version Not Supported"),
        (299, ""),
    ] {
        let line = format!("HTTP/1.1 {status} {phrase}\r\n");
        assert!(response(status, &[], Close).starts_with(&line), "{line}");
    }
}
