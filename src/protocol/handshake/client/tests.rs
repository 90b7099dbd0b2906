//! Tests of the client's handshake, most of them against our own server side.

use super::*;
use crate::protocol::{Request, Upgrade};

fn handshake(subprotocols: &[&str]) -> ClientHandshake {
    ClientHandshake::new("a:80", "/chat?x", *b"the sample nonce", subprotocols, &[])
}

fn response(extra: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\
         Connection: keep-alive, upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n{extra}\r\n"
    )
}

fn refused(response: &str) -> HandshakeError {
    handshake(&["chat"]).receive(response.as_bytes()).unwrap_err()
}

#[test]
fn our_server_accepts_our_request_at_every_split() {
    let mut client = handshake(&["a", "b"]);
    let head = client.request().to_vec();
    let mut scanner = HeadScanner::default();
    assert_eq!(scanner.scan(&head, &limits()), Ok(Some(head.len())));
    let request = Request::parse(&head, scanner.header_lines()).unwrap();
    assert_eq!((request.path(), request.query()), ("/chat", "x"));
    let upgrade = Upgrade::check(&request).unwrap();
    let mut answer = Vec::new();
    upgrade.push_response(&mut answer, Some("b"), &[]);
    let size = answer.len();
    answer.extend(b"\x81\x00");

    let accepted = |used| Accepted { used, subprotocol: Some("b".to_owned()) };
    assert_eq!(client.clone().receive(&answer), Ok(Some(accepted(size))));
    for cut in 0..size {
        let mut client = client.clone();
        assert_eq!(client.receive(&answer[..cut]), Ok(None));
        let rest = client.receive(&answer[cut..]);
        assert_eq!(rest, Ok(Some(accepted(size - cut))));
    }
    assert_eq!(client.receive(b""), Ok(None));
}

#[test]
fn anything_but_an_acceptance_is_refused() {
    assert!(handshake(&[]).receive(response("").as_bytes()).is_ok());
    let cases = [
        (response("").replace("101", "200"), HandshakeError::Status(200)),
        (response("").replace("WebSocket", "h2c"), HandshakeError::Missing("Upgrade: websocket")),
        (response("").replace("upgrade", "close"), HandshakeError::Missing("Connection: upgrade")),
        (response("").replace("s3pP", "AAAA"), HandshakeError::Accept),
        (response("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), HandshakeError::Accept),
        (response("Sec-WebSocket-Extensions: x\r\n"), HandshakeError::Extension),
        (response("Sec-WebSocket-Protocol: other\r\n"), HandshakeError::Subprotocol),
        (
            response("Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat\r\n"),
            HandshakeError::Subprotocol,
        ),
        (response("").replace("HTTP/1.1", "HTTP/1.0"), HandshakeError::Head),
        (response("").replace("\r\n", "\n"), HandshakeError::Head),
        (format!("HTTP/1.1 {}", "x".repeat(8192)), HandshakeError::Head),
    ];
    for (response, error) in cases {
        assert_eq!(refused(&response), error);
    }
}

#[test]
fn arguments_cannot_begin_a_header() {
    let evil = "x\r\nEvil: 1";
    let client = ClientHandshake::new(evil, evil, [0; 16], &[evil], &[("A", evil)]);
    let request = String::from_utf8(client.request().to_vec()).unwrap();
    assert!(!request.contains("\nEvil"));
    assert_eq!(request.matches("\r\n\r\n").count(), 1);
}
