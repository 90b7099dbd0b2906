//! How a connection ends: one cause, one call of `close`, one counter, one Close that agrees, and a
//! transport that is flushed, shut down, drained and closed once.

use std::io::ErrorKind;
use std::time::Duration;

use fanfare::endpoint::{CloseCause, CloseKind, Resource, RouterPlan, Scarcity};
use fanfare::protocol::{CloseCode, Limits, Opcode};
use fanfare::shard::{Counter, RemovalOrder, RemovedFrom, Settings, ShedOrder};

use crate::common::endpoints::{Obedient, Record};
use crate::common::server::TICK;
use crate::common::{
    Client, Server, client_frame, close, frames, ping, request, settings, split_response, text,
};

fn obedient(settings: Settings) -> (Server, Record) {
    let record = Record::default();
    let shared = record.clone();
    (Server::with_endpoint(settings, move || Obedient::new(shared.clone())), record)
}

/// Lets the transport end: the peer reads all, and ends its stream.
fn leave(server: &mut Server, client: Client) {
    server.socket(client).room = usize::MAX;
    server.settle();
    server.socket(client).eof = true;
    server.settle();
    assert!(server.is_closed(client));
}

type End = (&'static str, CloseKind, fn(&mut Server, Client));

fn feed(server: &mut Server, client: Client, bytes: &[u8]) {
    server.feed(client, bytes);
    server.settle();
}

const ENDS: &[End] = &[
    ("peer close", CloseKind::PeerClosed, |s, c| feed(s, c, &close(4321, "bye"))),
    ("end of stream", CloseKind::PeerGone, |s, c| {
        s.socket(c).eof = true;
        s.settle();
    }),
    ("reset", CloseKind::TransportFailed, |s, c| {
        s.socket(c).error = Some(ErrorKind::ConnectionReset);
        s.settle();
    }),
    ("reset in a send", CloseKind::TransportFailed, |s, c| {
        s.socket(c).room = 1;
        feed(s, c, &text("echo cut"));
        s.socket(c).interest.readable = false;
        s.socket(c).error = Some(ErrorKind::BrokenPipe);
        s.settle();
    }),
    ("not masked", CloseKind::ProtocolError, |s, c| feed(s, c, b"\x81\x00")),
    ("not UTF-8", CloseKind::ProtocolError, |s, c| {
        feed(s, c, &client_frame(Opcode::Text, true, b"\xff"));
    }),
    ("too big", CloseKind::LimitExceeded, |s, c| feed(s, c, &text(&"x".repeat(1001)))),
    ("too many fragments", CloseKind::LimitExceeded, |s, c| {
        feed(s, c, &client_frame(Opcode::Text, false, b""));
        for _ in 0..4 {
            feed(s, c, &client_frame(Opcode::Continuation, false, b""));
        }
    }),
    ("message timeout", CloseKind::MessageTimeout, |s, c| {
        feed(s, c, &text("cut")[..2]);
        s.advance(Duration::from_secs(20));
        feed(s, c, &text("cut")[2..3]);
        s.advance(Duration::from_secs(11));
    }),
    ("heartbeat", CloseKind::HeartbeatTimeout, |s, c| {
        s.advance(Duration::from_secs(31));
        s.advance(Duration::from_secs(11));
        assert!(!s.is_closed(c));
    }),
    ("slow consumer: queue", CloseKind::QueueOverflow, |s, c| {
        s.socket(c).room = 0;
        feed(s, c, &text("echoes 400"));
    }),
    ("slow consumer: history", CloseKind::OutOfWindow, |s, c| {
        feed(s, c, &text("own a"));
        s.socket(c).room = 0;
        for _ in 0..=1024 {
            feed(s, c, &text("all x"));
        }
        s.socket(c).room = usize::MAX;
        s.settle();
    }),
    ("slow consumer: stalled", CloseKind::WriteTimeout, |s, c| {
        s.socket(c).room = 0;
        feed(s, c, &text("echo stalled"));
        s.advance(Duration::from_secs(10) + TICK);
    }),
    ("slow consumer: shed", CloseKind::Shed, |s, c| {
        s.socket(c).room = 0;
        feed(s, c, &text("echo shed"));
        s.shed(ShedOrder { scarcity: Scarcity::Memory, percent: 95, connections: 1, bytes: 1 });
    }),
    ("memberships", CloseKind::TooManyMemberships, |s, c| feed(s, c, &text("joins 129"))),
    ("rate", CloseKind::RateExceeded, |s, c| feed(s, c, &ping(b"").repeat(51))),
    ("endpoint", CloseKind::Endpoint, |s, c| feed(s, c, &text("close 4002 done"))),
    ("back end", CloseKind::Api, |s, _| {
        let (code, reason) = (CloseCode::new(4001).unwrap(), "go away".to_owned());
        s.remove(RemovalOrder {
            user: Some(String::new()),
            client: None,
            spared: Vec::new(),
            from: RemovedFrom::Server(code, reason),
        });
    }),
    ("panic", CloseKind::EndpointPanic, |s, c| feed(s, c, &text("panic"))),
    ("shutdown", CloseKind::Shutdown, |s, _| {
        let deadline = s.now() + Duration::from_secs(10);
        s.drain(deadline);
        s.settle();
    }),
];

#[test]
fn every_end_is_told_once_and_counter_cause_and_close_frame_agree() {
    let limits = Limits { message_bytes_max: 1000, fragments_max: 4, ..Limits::default() };
    let settings = Settings { limits, queue_bytes_max: 8 << 10, ..settings() };
    for path in ["/test", "/test?panic-close"] {
        for (name, kind, end) in ENDS {
            let (mut server, record) = obedient(settings.clone());
            let client = server.connect(0, path);
            end(&mut server, client);
            leave(&mut server, client);
            let causes = record.take_closes();
            assert_eq!(causes.len(), 1, "{name}");
            assert_eq!(causes[0].kind(), *kind, "{name}");
            for other in CloseKind::ALL {
                assert_eq!(server.closes(*other), u64::from(other == kind), "{name}: {other:?}");
            }
            let code = causes[0].close_code().map(|code| code.as_u16());
            if *kind != CloseKind::TransportFailed {
                let output = server.take_output(client);
                let closes: Vec<_> = frames(&output).iter().filter_map(|frame| frame.close()).collect();
                let codes: Vec<u16> = closes.iter().map(|(code, _)| *code).collect();
                assert_eq!(codes, Vec::from_iter(code), "{name}");
                if let [(_, reason)] = &closes[..] {
                    let peer = *kind == CloseKind::PeerClosed;
                    assert_eq!(*reason, if peer { String::new() } else { causes[0].to_string() }, "{name}");
                }
            }
            server.finish();
            assert_eq!(record.take(), [], "{name}: nothing is told afterwards");
        }
    }
}

#[test]
fn a_peer_that_the_kernel_gave_up_on_is_a_slow_consumer_too() {
    let (mut server, record) = obedient(settings());
    let client = server.connect(0, "/test");
    server.socket(client).error = Some(ErrorKind::TimedOut);
    server.settle();
    assert!(server.is_closed(client), "its transport is gone");
    let causes = record.take_closes();
    assert_eq!(causes.iter().map(|cause| cause.kind()).collect::<Vec<_>>(), [CloseKind::WriteTimeout]);
    assert_eq!(server.closes(CloseKind::WriteTimeout), 1);
    assert_eq!(server.closes(CloseKind::TransportFailed), 0);
}

#[test]
fn every_kind_of_end_of_an_open_connection_is_in_the_table() {
    let elsewhere = [
        // Only where a connection has to introduce itself: see the client protocol's tests.
        CloseKind::IntroductionTimeout,
        CloseKind::Refused,
        CloseKind::HttpAnswered,
        CloseKind::HttpIdle,
        CloseKind::HandshakeTimeout,
        CloseKind::NoResources,
        CloseKind::ServerFull,
        // Those of the acceptor.
        CloseKind::AddressFull,
        CloseKind::HandshakeRate,
        CloseKind::ServerHandshakeRate,
        CloseKind::Overloaded,
        CloseKind::OutOfDescriptors,
        CloseKind::UntrustedProxy,
        // Where proxies come, see those tests.
        CloseKind::ProxyHeader,
    ];
    for kind in CloseKind::ALL {
        let listed = ENDS.iter().any(|(_, listed, _)| listed == kind);
        assert_ne!(listed, elsewhere.contains(kind), "{kind:?}");
    }
}

#[test]
fn what_is_refused_is_never_told_to_the_endpoint() {
    let record = Record::default();
    let shared = record.clone();
    let mut plan = RouterPlan::default();
    plan.add_endpoint("/test", std::sync::Arc::new(move |_| Box::new(Obedient::new(shared.clone()))));
    let page = Resource { content_type: "text/plain", body: b"page"[..].into(), ..Resource::default() };
    plan.add_resource("/page", page);
    let mut server = Server::with(1, settings(), 16 << 20, plan);
    for (bytes, status, kind) in [
        (request("/test?refuse"), 403, CloseKind::Refused),
        (request("/test?panic"), 500, CloseKind::EndpointPanic),
        (request("/nowhere"), 404, CloseKind::Refused),
        (b"nonsense\r\n\r\n".to_vec(), 400, CloseKind::Refused),
        (
            b"GET /page HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".to_vec(),
            200,
            CloseKind::HttpAnswered,
        ),
    ] {
        let before = server.closes(kind);
        let client = server.adopt(0);
        server.feed(client, &bytes);
        server.feed(client, &text("panic"));
        server.settle();
        assert_eq!(split_response(&server.take_output(client)).0, status);
        assert_eq!(server.closes(kind), before + 1);
        leave(&mut server, client);
    }
    assert_eq!(record.take(), []);
    let survivor = server.connect(0, "/test");
    feed(&mut server, survivor, &text("echo alive"));
    assert_eq!(server.take_texts(survivor), ["alive"]);
    server.finish();
}

#[test]
fn an_endpoint_that_panics_leaves_the_other_connections_alone() {
    let (mut server, record) = obedient(settings());
    let [victim, other] = [server.connect(0, "/test?panic-close"), server.connect(0, "/test")];
    server.feed(victim, &text("echo before"));
    server.feed(victim, &text("panic"));
    server.feed(victim, &text("echo after"));
    server.feed(other, &text("echo mine"));
    server.settle();
    let frames = server.take_frames(victim);
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[0].payload, b"before");
    assert_eq!(frames[1].close(), Some((1011, "internal error".to_owned())));
    assert_eq!(server.take_texts(other), ["mine"]);
    leave(&mut server, victim);
    leave(&mut server, other);
    assert_eq!(record.take_closes(), [CloseCause::EndpointPanic, CloseCause::PeerGone]);
    server.finish();
}

#[test]
fn valid_messages_before_a_protocol_error_are_answered_before_the_close() {
    let (mut server, _) = obedient(settings());
    let client = server.connect(0, "/test");
    let mut bytes = text("echo first");
    bytes.extend(ping(b"second"));
    bytes.extend(b"\xf1\x80 nothing of this counts");
    bytes.extend(text("echo never"));
    feed(&mut server, client, &bytes);
    let frames = server.take_frames(client);
    assert_eq!(frames.len(), 3, "{frames:?}");
    assert_eq!(frames[0].payload, b"first");
    assert_eq!(frames[1].payload, b"second");
    assert_eq!(frames[2].close().unwrap().0, 1002);
    server.finish();
}

#[test]
fn a_close_of_the_peer_is_answered_with_its_code_and_without_one_with_none() {
    let (mut server, record) = obedient(settings());
    let (coded, bare) = (server.connect(0, "/test"), server.connect(0, "/test"));
    feed(&mut server, coded, &close(1000, "all said"));
    feed(&mut server, bare, &client_frame(Opcode::Close, true, b""));
    assert_eq!(server.take_close(coded), (1000, String::new()));
    assert_eq!(server.take_close(bare), (1005, String::new()));
    for client in [coded, bare] {
        assert_eq!(server.socket(client).calls.shutdown_write, 1);
        assert!(!server.is_closed(client), "its end of stream is waited for");
        leave(&mut server, client);
    }
    assert_eq!(record.take_closes().len(), 2);
    server.finish();
}

#[test]
fn the_stream_is_shut_down_only_after_the_last_byte_of_our_close() {
    let (mut server, record) = obedient(settings());
    let client = server.connect(0, "/test");
    let close_bytes = 2 + 2 + "done".len();
    server.socket(client).room = 0;
    feed(&mut server, client, &text("close 4000 done"));
    for _ in 0..close_bytes {
        assert_eq!(server.socket(client).calls.shutdown_write, 0);
        server.socket(client).room = 1;
        server.settle();
    }
    assert_eq!(server.socket(client).calls.shutdown_write, 1);
    // What the peer says after our Close is checked and dropped.
    feed(&mut server, client, &text("echo too late"));
    feed(&mut server, client, &close(4000, ""));
    assert_eq!(server.take_close(client), (4000, "done".to_owned()));
    assert!(!server.is_closed(client));
    server.advance(settings().close_timeout - TICK);
    assert!(!server.is_closed(client));
    server.advance(TICK * 2);
    assert!(server.is_closed(client), "it had its two seconds");
    assert_eq!(record.take_closes().len(), 1);
    server.finish();
}

#[test]
fn an_endpoint_may_close_at_once_when_it_accepts() {
    let (mut server, record) = obedient(settings());
    let client = server.adopt(0);
    server.feed(client, &request("/test?close"));
    server.feed(client, &text("echo too late"));
    server.settle();
    let output = server.take_output(client);
    let (status, rest) = split_response(&output);
    assert_eq!(status, 101);
    let frames = frames(rest);
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0].close(), Some((4000, "told to close at once".to_owned())));
    leave(&mut server, client);
    assert_eq!(record.take_closes().len(), 1);
    server.finish();
}

#[test]
fn a_peer_that_ends_its_stream_still_gets_what_was_queued_for_it() {
    let (mut server, _) = obedient(settings());
    let client = server.connect(0, "/test");
    server.socket(client).room = 3;
    server.feed(client, &text("echo to the last byte"));
    server.socket(client).eof = true;
    server.settle();
    assert!(!server.is_closed(client));
    server.socket(client).room = usize::MAX;
    server.settle();
    assert_eq!(server.take_texts(client), ["to the last byte"]);
    assert!(server.is_closed(client));
    assert_eq!(server.counter(Counter::Connections), 0);
    server.finish();
}

#[test]
fn a_head_request_that_is_refused_for_its_body_gets_no_content() {
    let head = b"HEAD /rooms/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (body, status) in [(&b"x"[..], 400), (b"5\r\n", 408)] {
        let mut server = Server::new(1, settings());
        let client = server.adopt(0);
        feed(&mut server, client, &[head, body].concat());
        server.advance(settings().message_timeout + TICK);
        let output = server.take_output(client);
        assert_eq!(split_response(&output), (status, &[][..]), "{}", output.escape_ascii());
        assert!(output.windows(17).any(|window| window == b"Connection: close"));
        server.finish();
    }
}
