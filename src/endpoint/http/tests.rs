//! What the tests of the door share.

use crate::protocol::Request;

/// The request that `head` is: a request line and headers without the last line end, `Host: localhost`
/// unless it has one.
pub(in crate::endpoint) fn request(head: &str) -> Request<'static> {
    let has_host = head.lines().any(|line| line.starts_with("Host: "));
    let host = if has_host { "" } else { "Host: localhost\r\n" };
    let whole: &'static str = format!("{head}\r\n{host}\r\n").leak();
    let header_lines = whole.trim_end().lines().count() - 1;
    Request::parse(whole.as_bytes(), header_lines).unwrap()
}
