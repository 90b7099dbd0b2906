//! How a connection of the protocol ends: the Close, the line in the log and the counter are of one cause,
//! and the code makes the client come back or stay away as it should.

use std::io::ErrorKind;
use std::time::Duration;

use fanfare::Config;
use fanfare::endpoint::{CloseKind, Scarcity};
use fanfare::flood::QUIET;
use fanfare::protocol::{CloseCode, Opcode};
use fanfare::shard::{RemovalOrder, RemovedFrom, Settings, ShedOrder};
use serde_json::json;

use crate::common::capture::{Line, lines_of};
use crate::common::server::TICK;
use crate::common::{Server, client_frame, close, pong, text};
use crate::sdk::{FRAMINGS, Framing, PATH, Sdk, server};

/// Small queues, so that a test can fill them.
fn config() -> Config {
    Config {
        max_message: 64 << 10,
        queue_bytes: 4 << 10,
        reply_bytes: 4 << 10,
        history_messages: 4,
        command_rate: 1 << 20,
        // Over before the first ping.
        message_timeout: Duration::from_secs(20),
        ..Config::default()
    }
}

fn settings() -> Settings {
    config().settings()
}

fn send(server: &mut Server, sdk: &mut Sdk, command: serde_json::Value) {
    sdk.feed(server, &[command]);
    server.settle();
}

fn remove(server: &mut Server, sdk: &Sdk, code: u16) {
    let client = Some(sdk.id.parse().unwrap());
    let (code, reason) = (CloseCode::new(code).unwrap(), "told to".to_owned());
    server.remove(RemovalOrder {
        user: None,
        client,
        spared: Vec::new(),
        from: RemovedFrom::Server(code, reason),
    });
}

/// Publishes so much that one that takes nothing is out of the window.
fn outrun(server: &mut Server, sdk: &mut Sdk) {
    let mut other = Sdk::connect(server, 0, Framing::Json);
    other.subscribe(server, "r");
    server.socket(sdk.at).room = 0;
    for number in 0..10 {
        other.publish(server, "r", json!(number)).unwrap();
    }
    server.socket(sdk.at).room = usize::MAX;
    server.settle();
    other.inbox(server);
}

/// Asks for more in one read than may wait for it.
fn ask_too_much(server: &mut Server, sdk: &mut Sdk) {
    let present: Vec<Sdk> = (0..60).map(|_| Sdk::connect(server, 0, Framing::Json)).collect();
    for mut member in present {
        member.subscribe(server, "full");
    }
    server.socket(sdk.at).room = 0;
    let ask = json!({"id": 9, "presence": {"channel": "full"}});
    sdk.feed(server, &vec![ask; 256]);
    server.turn(0);
    server.socket(sdk.at).room = usize::MAX;
    server.settle();
}

type End = (&'static str, u16, CloseKind, &'static str, fn(&mut Server, &mut Sdk));

const ENDS: &[End] = &[
    ("shutdown", 3001, CloseKind::Shutdown, "the server is shutting down", |server, _| {
        let deadline = server.now() + settings().close_timeout;
        server.drain(deadline);
        server.settle();
    }),
    ("no pong", 3012, CloseKind::HeartbeatTimeout, "no answer to a ping within 10s", |server, _| {
        server.advance(settings().ping_interval + TICK);
        server.advance(settings().pong_timeout + TICK);
    }),
    ("out of the window", 3008, CloseKind::OutOfWindow, "slow consumer: out of the history", outrun),
    ("shed", 3008, CloseKind::Shed, "slow consumer: over 95 % of memory in use", |server, sdk| {
        server.socket(sdk.at).room = 0;
        send(server, sdk, json!({"id": 9, "ping": {}}));
        let order = ShedOrder { scarcity: Scarcity::Memory, percent: 95, connections: 1, bytes: 1 };
        server.shed(order);
        server.socket(sdk.at).room = usize::MAX;
        server.settle();
    }),
    ("stalled", 3008, CloseKind::WriteTimeout, "slow consumer: it took no byte for 10s", |server, sdk| {
        server.socket(sdk.at).room = 0;
        send(server, sdk, json!({"id": 9, "ping": {}}));
        server.advance(settings().write_timeout + TICK);
        server.socket(sdk.at).room = usize::MAX;
        server.settle();
    }),
    ("too many answers", 3008, CloseKind::QueueOverflow, "slow consumer: over", ask_too_much),
    (
        "half a message",
        3000,
        CloseKind::MessageTimeout,
        "a message was not finished within 20s",
        |server, sdk| {
            server.feed(sdk.at, &text("{\"id\":1}")[..8]);
            server.settle();
            server.advance(settings().message_timeout + TICK);
        },
    ),
    ("too many pongs", 3013, CloseKind::RateExceeded, "over 50 pings and pongs a second", |server, sdk| {
        server.feed(sdk.at, &pong(b"").repeat(51));
        server.settle();
    }),
    ("a back end, for good", 3503, CloseKind::Api, "told to", |server, sdk| remove(server, sdk, 3503)),
    ("a back end", 3000, CloseKind::Api, "told to", |server, sdk| remove(server, sdk, 3000)),
    ("no command", 3501, CloseKind::Endpoint, "command 1 of the frame", |server, sdk| {
        let junk = client_frame(
            if sdk.framing == Framing::Json { Opcode::Text } else { Opcode::Binary },
            true,
            b"?",
        );
        server.feed(sdk.at, &junk);
        server.settle();
    }),
    ("send", 3508, CloseKind::Endpoint, "send is not offered here", |server, sdk| {
        send(server, sdk, json!({"send": {}}));
    }),
    ("connect again", 3501, CloseKind::Endpoint, "connect is the first command", |server, sdk| {
        send(server, sdk, json!({"id": 9, "connect": {}}));
    }),
    ("errors", 3509, CloseKind::Endpoint, "20 commands in a row were refused", |server, sdk| {
        sdk.feed(server, &vec![json!({"id": 9, "rpc": {}}); 20]);
        server.settle();
    }),
    ("not masked", 1002, CloseKind::ProtocolError, "", |server, sdk| {
        server.feed(sdk.at, b"\x81\x00");
        server.settle();
    }),
    ("too big", 1009, CloseKind::LimitExceeded, "", |server, sdk| {
        server.feed(sdk.at, &text(&"x".repeat((64 << 10) + 1)));
        server.settle();
    }),
];

/// The line of the log that says how a connection ended.
fn line_of<'a>(lines: &'a [Line], sdk: &Sdk) -> &'a Line {
    let of_it = |line: &&Line| {
        line.get("message").is_some_and(|text| text.starts_with("closed: "))
            && line.get("connection").is_some_and(|connection| *connection == sdk.id)
    };
    let mut found = lines.iter().filter(of_it);
    let line = found.next().expect("a line");
    assert!(found.next().is_none(), "one line");
    line
}

#[test]
fn frame_log_and_counter_are_of_one_cause() {
    for framing in FRAMINGS {
        for (name, code, kind, reason, end) in ENDS {
            let mut server = server(1, &config());
            let mut sdk = Sdk::connect(&mut server, 0, framing);
            sdk.subscribe(&mut server, "r");
            let before = server.closes(*kind);
            let lines = lines_of(|| end(&mut server, &mut sdk));
            let (seen, said) = sdk.closed(&mut server);
            assert_eq!((seen, server.closes(*kind) - before), (*code, 1), "{name}: {said}");
            assert!(said.starts_with(reason), "{name}: {said}");
            let line = line_of(&lines, &sdk);
            assert_eq!(line["cause"], kind.name(), "{name}");
            assert_eq!(line["code"], code.to_string(), "{name}: {line:?}");
            let logged = line["message"].strip_prefix("closed: ").unwrap();
            assert!(logged.starts_with(&*said.escape_debug().to_string()), "{name}: {line:?}");
            assert_eq!(CloseKind::ALL.iter().map(|kind| server.closes(*kind)).sum::<u64>(), 1, "{name}");
            server.finish();
        }
    }
}

#[test]
fn a_flood_of_those_who_are_too_fast_is_two_lines_of_the_log() {
    let mut server = server(1, &config());
    let lines = lines_of(|| {
        for _ in 0..20 {
            let sdk = Sdk::connect(&mut server, 0, Framing::Json);
            server.feed(sdk.at, &pong(b"").repeat(51));
            server.advance(Duration::from_secs(1));
        }
        server.advance(QUIET + Duration::from_secs(1));
        server.advance(QUIET);
    });
    let loud: Vec<&Line> = lines.iter().filter(|line| line["level"] != "DEBUG").collect();
    let said: Vec<&str> = loud.iter().map(|line| &*line["message"]).collect();
    assert_eq!(
        said,
        [
            "peers send too fast and are closed: over 50 pings and pongs a second (--ping-rate)",
            "closed 20 connections in 19 s that sent too fast",
        ]
    );
    assert_eq!((&*loud[0]["level"], &*loud[1]["level"]), ("WARN", "INFO"));
    assert_eq!(loud[0]["peer"], "unix");
    server.finish();
}

#[test]
fn a_reason_is_none_that_an_sdk_takes_for_json() {
    // The JavaScript SDK reads a reason that is JSON as an object of its own, and an empty one as none.
    for (name, .., end) in ENDS {
        let mut server = server(1, &config());
        let mut sdk = Sdk::connect(&mut server, 0, Framing::Json);
        sdk.subscribe(&mut server, "r");
        end(&mut server, &mut sdk);
        let (_, said) = sdk.closed(&mut server);
        assert!(
            !said.is_empty() && serde_json::from_str::<serde_json::Value>(&said).is_err(),
            "{name}: {said}"
        );
        assert!(said.len() <= 123, "{name}");
        server.finish();
    }
}

#[test]
fn before_connect_a_stale_one_ends_in_the_same_way() {
    let mut server = server(1, &config());
    let mut sdk = Sdk::open_at(&mut server, 0, Framing::Json, PATH);
    let lines = lines_of(|| server.advance(settings().handshake_timeout + TICK));
    let (code, said) = sdk.closed(&mut server);
    assert_eq!((code, server.closes(CloseKind::IntroductionTimeout)), (3502, 1));
    let line = lines.iter().find(|line| line.contains_key("cause")).expect("a line");
    assert_eq!(line["cause"], CloseKind::IntroductionTimeout.name());
    assert_eq!((line["code"].as_str(), &*line["message"]), ("3502", &*format!("closed: {said}")));
    server.finish();
}

#[test]
fn a_peer_that_closes_is_answered_with_its_own_code() {
    for code in [1000, 1001, 4321] {
        let mut server = server(1, &config());
        let mut sdk = Sdk::connect(&mut server, 0, Framing::Json);
        server.feed(sdk.at, &close(code, "bye"));
        server.settle();
        assert_eq!(sdk.closed(&mut server), (code, String::new()));
        assert_eq!(server.closes(CloseKind::PeerClosed), 1);
        server.finish();
    }
}

#[test]
fn a_peer_that_is_gone_is_told_nothing() {
    for kind in [CloseKind::PeerGone, CloseKind::TransportFailed] {
        let mut server = server(1, &config());
        let mut sdk = Sdk::connect(&mut server, 0, Framing::Json);
        sdk.subscribe(&mut server, "r");
        match kind {
            CloseKind::PeerGone => server.socket(sdk.at).eof = true,
            _ => server.socket(sdk.at).error = Some(ErrorKind::ConnectionReset),
        }
        server.settle();
        assert_eq!(server.closes(kind), 1);
        assert!(server.take_output(sdk.at).is_empty());
        assert!(server.is_closed(sdk.at));
        server.finish();
    }
}
