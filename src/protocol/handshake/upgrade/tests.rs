//! Tests of the opening handshake's checks.

use super::*;
use crate::protocol::Limits;
use crate::protocol::handshake::HeadScanner;

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const UPGRADE: &str = "Upgrade: websocket\r\n";
const CONNECTION: &str = "Connection: Upgrade\r\n";
const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";

fn check_head(head: &[u8]) -> Result<Upgrade<'_>, Refusal> {
    let mut scanner = HeadScanner::default();
    scanner.scan(head, &Limits::default()).unwrap();
    Upgrade::check(&Request::parse(head, scanner.header_lines()).unwrap())
}

fn head(method: &str, headers: &[&str]) -> Vec<u8> {
    let headers = headers.concat();
    format!("{method} /chat HTTP/1.1\r\nHost: a\r\n{headers}\r\n").into_bytes()
}

fn with(extra: &[u8]) -> Vec<u8> {
    let mut head = head("GET", &[UPGRADE, CONNECTION, VERSION, KEY]);
    head.truncate(head.len() - 2);
    head.extend(extra);
    head.extend(b"\r\n\r\n");
    head
}

fn refused(head: &[u8]) -> Refusal {
    match check_head(head) {
        Err(refusal) => refusal,
        Ok(_) => panic!("allowed: {}", head.escape_ascii()),
    }
}

#[test]
fn the_sample_key_of_the_rfc() {
    // RFC 6455 §1.3.
    let accept = accept_key("dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(&accept, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[test]
fn the_response_accepts() {
    let head = with(b"Sec-WebSocket-Protocol: chat, superchat");
    let upgrade = check_head(&head).unwrap();
    let mut out = Vec::new();
    upgrade.push_response(&mut out, Some("superchat"), &[("X-A", "1\r\nX-B: 2")]);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
         Sec-WebSocket-Protocol: superchat\r\nX-A: 1X-B: 2\r\n\r\n"
    );
}

#[test]
#[cfg_attr(debug_assertions, should_panic = "not offered")]
fn a_subprotocol_that_was_not_offered_is_our_bug() {
    let head = with(b"Sec-WebSocket-Protocol: chat");
    let mut out = Vec::new();
    let upgrade = check_head(&head).unwrap();
    upgrade.push_response(&mut out, Some("other"), &[]);
    assert!(!out.windows(5).any(|window| window == b"other"));
}

#[test]
fn only_get_upgrades() {
    for method in ["POST", "HEAD", "get", "GETS"] {
        let refusal = refused(&head(method, &[UPGRADE, CONNECTION, VERSION, KEY]));
        assert_eq!(refusal.status, 405);
        assert_eq!(refusal.headers, [("Allow", "GET".to_owned())]);
    }
}

#[test]
fn a_handshake_has_no_body() {
    for (header, part) in
        [("Content-Length: 5", "\"5\""), ("Transfer-Encoding: chunked", "Transfer-Encoding")]
    {
        let refusal = refused(&with(header.as_bytes()));
        assert_eq!(refusal.status, 400);
        assert!(refusal.body.contains(part) && refusal.body.contains("a body is not allowed here"));
    }
    assert!(check_head(&with(b"Content-Length: 0")).is_ok());
}

#[test]
fn http_1_0_does_not_upgrade() {
    for headers in [[UPGRADE, CONNECTION, VERSION, KEY].as_slice(), &[]] {
        let head = String::from_utf8(head("GET", headers)).unwrap().replace("HTTP/1.1", "HTTP/1.0");
        let refusal = refused(head.as_bytes());
        assert_eq!(refusal.status, 400);
        assert!(refusal.body.contains("HTTP/1.0") && refusal.body.contains("needs HTTP/1.1"));
    }
}

#[test]
fn upgrade_must_have_websocket() {
    for line in ["", "Upgrade: h2c\r\n", "Upgrade: websocket2\r\n"] {
        let refusal = refused(&head("GET", &[line, CONNECTION, VERSION, KEY]));
        assert_eq!(refusal.status, 426);
        assert_eq!(refusal.headers, [("Upgrade", "websocket".to_owned())]);
    }
    for line in ["Upgrade: h2c, WEBSOCKET\r\n", "upgrade: WebSocket\r\n"] {
        assert!(check_head(&head("GET", &[line, CONNECTION, VERSION, KEY])).is_ok());
    }
    let refusal = refused(&head("GET", &["Upgrade: websocket, ä\r\n"]));
    assert_eq!(refusal.status, 400);
}

#[test]
fn connection_must_have_upgrade() {
    for line in ["", "Connection: close\r\n", "Connection: upgraded\r\n"] {
        let refusal = refused(&head("GET", &[UPGRADE, line, VERSION, KEY]));
        assert_eq!(refusal.status, 400);
    }
    for line in [
        "Connection: keep-alive, Upgrade\r\n",
        "Connection: keep-alive\r\nConnection: UPGRADE\r\n",
        "Connection: ,,upgrade\r\n",
    ] {
        assert!(check_head(&head("GET", &[UPGRADE, line, VERSION, KEY])).is_ok());
    }
    let refusal = refused(&head("GET", &[UPGRADE, "Connection: upgrade, ä\r\n"]));
    assert_eq!(refusal.status, 400);
}

#[test]
fn the_version_must_be_13_once() {
    for line in [
        "",
        "Sec-WebSocket-Version: 12\r\n",
        "Sec-WebSocket-Version: 14\r\n",
        "Sec-WebSocket-Version: 013\r\n",
        "Sec-WebSocket-Version: 13, 8\r\n",
        "Sec-WebSocket-Version: ä\r\n",
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13\r\n",
    ] {
        let refusal = refused(&head("GET", &[UPGRADE, CONNECTION, line, KEY]));
        assert_eq!(refusal.status, 426, "{line}");
        let version = ("Sec-WebSocket-Version", "13".to_owned());
        assert!(refusal.headers.contains(&version));
    }
}

#[test]
fn the_key_must_be_16_bytes_in_base64_once() {
    for (line, seen) in [
        ("", "missing"),
        (&[KEY, KEY].concat(), "several times"),
        ("Sec-WebSocket-Key:\r\n", "\"\""),
        ("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA\r\n", "AAAA"),
        ("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA\r\n", "AAAA"),
        ("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=\r\n", "AAAA"),
        ("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA=\r\n", "AAA="),
        ("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAAA\r\n", "AAAA"),
        ("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAA===\r\n", "A==="),
        ("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA_-==\r\n", "_-=="),
        ("Sec-WebSocket-Key: AAAAAAAAAA AAAAAAAAAAA==\r\n", "A A"),
        ("Sec-WebSocket-Key: ä\r\n", r"\xc3\xa4"),
    ] {
        let refusal = refused(&head("GET", &[UPGRADE, CONNECTION, VERSION, line]));
        assert_eq!(refusal.status, 400, "{line}");
        assert!(refusal.body.contains(seen), "{}", refusal.body);
    }
    let long = format!("Sec-WebSocket-Key: {}\r\n", "A".repeat(5000));
    let refusal = refused(&head("GET", &[UPGRADE, CONNECTION, VERSION, &long]));
    assert!(refusal.body.len() < 200);
}

#[test]
fn a_key_with_unused_bits_set_is_answered_as_it_was_sent() {
    // The example of RFC 6455 §4.1; encoded anew its bytes would end with "PEA==".
    let line = "Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC==\r\n";
    let head = head("GET", &[UPGRADE, CONNECTION, VERSION, line]);
    let mut out = Vec::new();
    check_head(&head).unwrap().push_response(&mut out, None, &[]);
    let response = String::from_utf8(out).unwrap();
    assert!(response.contains("Sec-WebSocket-Accept: OfS0wDaT5NoxF2gqm7Zj2YtetzM=\r\n"), "{response}");
}

#[test]
fn subprotocols_are_different_tokens() {
    let head = with(b"Sec-WebSocket-Protocol: b ,a\r\nsec-websocket-protocol:\tB");
    let upgrade = check_head(&head).unwrap();
    let names: Vec<_> = upgrade.subprotocols().collect();
    assert_eq!(names, ["b", "a", "B"]);
    let none = with(b"X: y");
    assert_eq!(check_head(&none).unwrap().subprotocols().count(), 0);

    for value in [
        b"".as_slice(),
        b"a,",
        b",a",
        b"a,,b",
        b"a b",
        b"a/b",
        b"\"a\"",
        b"a,\xE4",
        b"a, b, a",
        b"a\r\nSec-WebSocket-Protocol: a",
    ] {
        let refusal = refused(&with(&[b"Sec-WebSocket-Protocol: ", value].concat()));
        assert_eq!(refusal.status, 400, "{}", value.escape_ascii());
        assert!(refusal.body.is_ascii());
    }
}

#[test]
fn extensions_are_split_outside_quoted_strings() {
    let head = with(b"Sec-WebSocket-Extensions: a; x=\"1,\\\"2\" , b;y\r\nSec-WebSocket-Extensions: c,, d");
    let upgrade = check_head(&head).unwrap();
    let offered: Vec<_> = upgrade.extensions().collect();
    assert_eq!(offered, ["a; x=\"1,\\\"2\"", "b;y", "c", "d"]);

    for value in [b"a; x=\"1".as_slice(), b"\xFF", b"a b", b"; x", b"a; x=\"\\\""] {
        let refusal = refused(&with(&[b"Sec-WebSocket-Extensions: ", value].concat()));
        assert_eq!(refusal.status, 400, "{}", value.escape_ascii());
    }
}
