//! `connect`: the first command, once, in time, and who it makes of a connection.

use fanfare::Config;
use fanfare::endpoint::CloseKind;
use serde_json::{Value, json};

use crate::common::server::TICK;
use crate::common::{binary, text};
use crate::sdk::{FRAMINGS, Framing, PATH, Sdk, server};

#[test]
fn a_connection_is_told_its_id_and_how_often_it_is_pinged() {
    for framing in FRAMINGS {
        let mut server = server(2, &Config::default());
        let mut one = Sdk::open(&mut server, 0, framing);
        let result = one.introduce(&mut server, json!({"name": "js"}));
        let version = format!("fanfare {}", env!("CARGO_PKG_VERSION"));
        assert_eq!(result, json!({"client": one.id, "version": version, "ping": 30, "pong": true}));
        let other = Sdk::connect(&mut server, 1, framing);
        assert!(one.id.starts_with("0-") && other.id.starts_with("1-") && one.id != other.id);
        server.finish();
    }
}

#[test]
fn the_first_command_is_connect_and_no_other_is() {
    for framing in FRAMINGS {
        for command in [
            json!({"id": 1, "subscribe": {"channel": "r"}}),
            json!({"id": 1, "ping": {}}),
            json!({"id": 1, "rpc": {}}),
            json!({}),
        ] {
            let mut server = server(1, &Config::default());
            let mut sdk = Sdk::open(&mut server, 0, framing);
            assert_eq!(sdk.send(&mut server, std::slice::from_ref(&command)), [Value::Null; 0], "{command}");
            assert_eq!(sdk.closed(&mut server), (3501, "the first command has to be connect".to_owned()));
            server.finish();
        }
    }
}

#[test]
fn a_second_connect_ends_the_connection_whatever_stands_before_it() {
    let mut server = server(1, &Config::default());
    let mut sdk = Sdk::open(&mut server, 0, Framing::Json);
    let connect = |id: u32| json!({"id": id, "connect": {}});
    let replies = sdk.send(&mut server, &[connect(1), connect(2), json!({"id": 3, "ping": {}})]);
    assert_eq!(replies.len(), 1, "the first is answered, and nothing behind the second: {replies:?}");
    assert_eq!(replies[0]["id"], 1);
    assert_eq!(sdk.closed(&mut server).0, 3501);
    server.finish();
}

#[test]
fn who_does_not_connect_in_time_is_stale() {
    let limit = Config::default().handshake_timeout;
    let mut server = server(1, &Config::default());
    let mut silent = Sdk::open(&mut server, 0, Framing::Json);
    let mut late = Sdk::open(&mut server, 0, Framing::Protobuf);
    server.advance(limit - TICK * 2);
    late.introduce(&mut server, json!({}));
    server.advance(TICK * 3);
    let reason = "it did not introduce itself within 5s (--handshake-timeout)";
    assert_eq!(silent.closed(&mut server), (3502, reason.to_owned()));
    assert_eq!(late.inbox(&mut server), [Value::Null; 0]);
    assert_eq!((late.close, server.closes(CloseKind::IntroductionTimeout)), (None, 1));
    server.finish();
}

#[test]
fn a_connect_that_is_refused_does_not_introduce() {
    let mut server = server(1, &Config::default());
    let mut sdk = Sdk::open(&mut server, 0, Framing::Json);
    assert_eq!(sdk.ask(&mut server, "connect", json!({"data": {"name": "a\u{7}"}})), Err(107));
    server.advance(Config::default().handshake_timeout + TICK);
    assert_eq!(sdk.closed(&mut server).0, 3502);
    server.finish();
}

#[test]
fn a_token_is_refused_for_good() {
    for framing in FRAMINGS {
        let mut server = server(1, &Config::default());
        let mut sdk = Sdk::open(&mut server, 0, framing);
        sdk.send(&mut server, &[json!({"id": 1, "connect": {"token": "ey"}})]);
        let reason = "this server does not know tokens; connect without one";
        assert_eq!(sdk.closed(&mut server), (3500, reason.to_owned()));
        server.finish();
    }
}

#[test]
fn a_name_is_taken_from_data_or_from_the_client() {
    let mut server = server(1, &Config::default());
    let mut watcher = Sdk::connect(&mut server, 0, Framing::Json);
    for (params, user) in [
        (json!({}), Some("")),
        (json!({"name": "js"}), Some("")),
        (json!({"name": "shop"}), Some("shop")),
        (json!({"name": "js", "data": {"name": "Ann"}}), Some("Ann")),
        (json!({"name": "shop", "data": {"name": "Ann"}}), Some("Ann")),
        (json!({"name": "shop", "data": {"name": 1}}), Some("shop")),
        (json!({"data": {"name": "x".repeat(64)}}), Some(&*"x".repeat(64))),
        (json!({"data": {"name": "x".repeat(65)}}), None),
        (json!({"data": {"name": "a\nb"}}), None),
    ] {
        let mut sdk = Sdk::open(&mut server, 0, Framing::Json);
        let result = sdk.ask(&mut server, "connect", params.clone());
        let Some(user) = user else {
            assert_eq!(result, Err(107), "{params}");
            continue;
        };
        let client = result.expect("it may connect")["client"].clone();
        sdk.subscribe(&mut server, "r");
        let present = watcher.ask(&mut server, "presence", json!({"channel": "r"})).unwrap();
        let client = client.as_str().unwrap();
        assert_eq!(present["presence"][client], json!({"user": user, "client": client}), "{params}");
        sdk.ask(&mut server, "unsubscribe", json!({"channel": "r"})).unwrap();
    }
    server.finish();
}

#[test]
fn a_frame_of_the_other_kind_or_of_no_commands_ends_the_connection() {
    for (framing, bytes, reason) in [
        (Framing::Json, binary(b"{}"), "text frames are expected in this framing"),
        (Framing::Protobuf, text("{}"), "binary frames are expected in this framing"),
        (
            Framing::Json,
            text(""),
            "command 1 of the frame: the frame is empty; at least one command is expected",
        ),
        (Framing::Json, text("{"), "command 1 of the frame: column 1: EOF"),
        (Framing::Protobuf, binary(&[5, 8]), "command 1 of the frame: from byte 1 of the frame"),
        (Framing::Json, text("{\"id\":1}"), "command 1 of the frame: it has 0 requests"),
        (Framing::Json, text("{\"ping\":{}}"), "command 1 of the frame: it has no id"),
    ] {
        let mut server = server(1, &Config::default());
        let mut sdk = Sdk::connect(&mut server, 0, framing);
        server.feed(sdk.at, &bytes);
        server.settle();
        let (code, said) = sdk.closed(&mut server);
        assert_eq!(code, 3501);
        assert!(said.starts_with(reason), "{said}");
        assert_eq!(sdk.inbox(&mut server), [Value::Null; 0]);
        server.finish();
    }
}

#[test]
fn the_framing_is_chosen_by_the_query_too() {
    let mut server = server(1, &Config::default());
    for (query, framing) in [
        ("format=protobuf", Framing::Protobuf),
        ("cf_protocol=protobuf", Framing::Protobuf),
        ("format=json", Framing::Json),
        ("cf_protocol=json", Framing::Json),
        ("", Framing::Json),
    ] {
        let mut sdk = Sdk::open_at(&mut server, 0, framing, &format!("{PATH}?{query}"));
        sdk.introduce(&mut server, json!({}));
    }
    server.finish();
}
