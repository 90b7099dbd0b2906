//! Connections that begin with what a proxy says.

use super::super::super::proxy_header::{ProxyHeaderError, ProxySource};
use super::*;

const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n";
const GET: &[u8] =
    b"GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn client() -> Owned {
    Owned::Proxied(ProxySource::Client(([192, 0, 2, 7], 4711).into()))
}

#[test]
fn whom_a_proxy_names_comes_first_and_the_rest_is_as_without_it() {
    let mut ping = Vec::new();
    push_client_frame(&mut ping, Opcode::Ping, true, b"a", KEY);
    let bytes = [LINE, GET, &ping].concat();
    let events = events_of(Connection::accepting_proxied, &bytes, &Limits::default());
    assert_eq!(events, [client(), Owned::Request("/echo".to_owned()), Owned::Ping(b"a".to_vec())]);
}

#[test]
fn a_header_is_kept_while_it_is_incomplete_and_counts_as_asked() {
    let mut connection = Connection::accepting_proxied();
    assert!(!connection.was_asked(), "nothing has come");
    assert_eq!(feed(&mut connection, &LINE[..10]), []);
    assert!(connection.was_asked() && connection.heap_bytes() > 0);
    assert_eq!(connection.message_started(), None, "it has no time of its own");
    assert_eq!(feed(&mut connection, &LINE[10..]), [client()]);
    assert!(!connection.was_asked());
    assert_eq!((connection.heap_bytes(), connection.state()), (0, State::Handshaking));
}

#[test]
fn a_request_is_asked_until_it_is_answered() {
    let mut connection = Connection::accepting();
    let mut get = GET.to_vec();
    let mut input = Input::new(&mut get);
    assert!(matches!(connection.next_event(NOW, &mut input, &Limits::default()), Some(Event::Request(_))));
    assert!(connection.was_asked());
    connection.answered();
    assert!(!connection.was_asked());
}

#[test]
fn another_beginning_ends_it_and_nothing_behind_is_read() {
    let events = events_of(Connection::accepting_proxied, GET, &Limits::default());
    assert_eq!(events, [Owned::BadProxyHeader(ProxyHeaderError::Missing)]);
    let mut connection = Connection::accepting_proxied();
    feed(&mut connection, b"x");
    assert_eq!((connection.state(), connection.heap_bytes()), (State::Closed, 0));
    assert_eq!(feed(&mut connection, LINE), []);
}

#[test]
fn only_one_header_is_read_and_only_where_one_is_due() {
    for (start, bytes, events) in [
        (
            Connection::accepting_proxied as fn() -> Connection,
            [LINE, LINE, GET].concat(),
            vec![client(), Owned::BadRequest(400)],
        ),
        (Connection::accepting, [LINE, GET].concat(), vec![Owned::BadRequest(400)]),
    ] {
        assert_eq!(feed(&mut start(), &bytes), events);
    }
}
