//! The protocol's own ping and pong: the empty reply and the empty command.

use std::time::Duration;

use fanfare::Config;
use fanfare::endpoint::CloseKind;
use serde_json::{Value, json};

use crate::common::pong;
use crate::common::server::TICK;
use crate::sdk::{FRAMINGS, Framing, PATH, Sdk, server};

const NANOSECOND: Duration = Duration::from_nanos(1);

#[test]
fn pings_come_every_interval_on_busy_connections_too() {
    for framing in FRAMINGS {
        let mut server = server(1, &Config::default());
        let mut sdk = Sdk::connect(&mut server, 0, framing);
        sdk.subscribe(&mut server, "r");
        let mut pings = Vec::new();
        for second in 1..=150 {
            server.advance(Duration::from_secs(1));
            for reply in sdk.send(&mut server, &[json!({"id": 9, "publish": {"channel": "r", "data": 1}})]) {
                if reply == json!({}) {
                    pings.push(second);
                    sdk.feed(&mut server, &[json!({})]);
                }
            }
        }
        // The timer's tick may put each off by a second of ours.
        let gaps: Vec<i32> = pings.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(pings[0] <= 31 && gaps.iter().all(|gap| (30..=31).contains(gap)), "{pings:?}");
        assert!(pings.len() >= 4, "{pings:?}");
        assert_eq!(sdk.close, None);
        server.finish();
    }
}

#[test]
fn who_does_not_answer_a_ping_is_closed_with_3012() {
    let Config { ping_interval, pong_timeout, .. } = Config::default();
    for framing in FRAMINGS {
        let mut server = server(1, &Config::default());
        let mut dead = Sdk::connect(&mut server, 0, framing);
        let mut alive = Sdk::connect(&mut server, 0, framing);
        server.advance(ping_interval - NANOSECOND);
        assert_eq!(dead.inbox(&mut server), [Value::Null; 0], "not before the interval is over");
        server.advance(TICK);
        assert_eq!(dead.inbox(&mut server), [json!({})]);
        assert_eq!(alive.inbox(&mut server), [json!({})]);
        server.advance(pong_timeout - TICK * 2);
        assert_eq!(alive.send(&mut server, &[json!({})]), [Value::Null; 0]);
        assert_eq!(dead.inbox(&mut server), [Value::Null; 0]);
        assert_eq!(dead.close, None, "not before its time is over");
        server.advance(TICK * 3);
        let reason = "no answer to a ping within 10s (--pong-timeout)";
        assert_eq!(dead.closed(&mut server), (3012, reason.to_owned()));
        assert_eq!(alive.inbox(&mut server), [Value::Null; 0]);
        assert_eq!((alive.close, server.closes(CloseKind::HeartbeatTimeout)), (None, 1));
        server.finish();
    }
}

#[test]
fn an_unasked_pong_ends_the_connection() {
    for framing in FRAMINGS {
        let mut server = server(1, &Config::default());
        let mut sdk = Sdk::connect(&mut server, 0, framing);
        server.advance(Config::default().ping_interval + TICK);
        assert_eq!(sdk.inbox(&mut server), [json!({})]);
        assert_eq!(sdk.send(&mut server, &[json!({})]), [Value::Null; 0]);
        sdk.send(&mut server, &[json!({})]);
        let reason = "an empty command is the answer to a ping, and none was sent";
        assert_eq!(sdk.closed(&mut server), (3501, reason.to_owned()));
        server.finish();
    }
}

#[test]
fn late_pongs_are_each_the_answer_to_a_ping() {
    // An SDK answers a ping behind the application's handlers, and sends commands meanwhile.
    let mut server = server(1, &Config::default());
    let mut sdk = Sdk::connect(&mut server, 0, Framing::Json);
    for _ in 0..2 {
        server.advance(Config::default().ping_interval + TICK * 2);
        assert_eq!(
            sdk.send(&mut server, &[json!({"id": 5, "ping": {}})]),
            [json!({}), json!({"id": 5, "ping": {}})]
        );
    }
    assert_eq!(sdk.send(&mut server, &[json!({}), json!({})]), [Value::Null; 0]);
    assert_eq!(sdk.close, None);
    sdk.send(&mut server, &[json!({})]);
    assert_eq!(sdk.closed(&mut server).0, 3501, "and not one more");
    server.finish();
}

#[test]
fn before_connect_nobody_is_pinged() {
    let config = Config { ping_interval: Duration::from_secs(1), ..Config::default() };
    let mut server = server(1, &config);
    let mut sdk = Sdk::open(&mut server, 0, Framing::Json);
    for _ in 0..4 {
        server.advance(Duration::from_secs(1));
    }
    assert_eq!(sdk.inbox(&mut server), [Value::Null; 0]);
    let result = sdk.introduce(&mut server, json!({}));
    assert_eq!(result["ping"], 1);
    server.advance(config.ping_interval - NANOSECOND);
    assert_eq!(sdk.inbox(&mut server), [Value::Null; 0], "the interval begins with connect");
    server.advance(TICK);
    assert_eq!(sdk.inbox(&mut server), [json!({})]);
    server.finish();
}

#[test]
fn an_interval_of_parts_of_a_second_is_rounded_up_for_the_client() {
    for (milliseconds, told) in [(100, 1), (1000, 1), (1001, 2), (2500, 3)] {
        let ping_interval = Duration::from_millis(milliseconds);
        let mut server = server(1, &Config { ping_interval, ..Config::default() });
        let mut sdk = Sdk::open(&mut server, 0, Framing::Json);
        assert_eq!(sdk.introduce(&mut server, json!({}))["ping"], told, "{milliseconds}");
        server.finish();
    }
}

#[test]
fn who_asks_for_it_gets_the_pings_of_websocket_instead() {
    let Config { ping_interval, pong_timeout, .. } = Config::default();
    let mut server = server(1, &Config::default());
    let mut sdk = Sdk::open_at(&mut server, 0, Framing::Json, &format!("{PATH}?cf_ws_frame_ping_pong=true"));
    let result = sdk.introduce(&mut server, json!({}));
    assert_eq!((&result["ping"], &result["pong"]), (&Value::Null, &Value::Null));
    for round in 1..4 {
        server.advance(ping_interval + TICK);
        assert_eq!(sdk.inbox(&mut server), [Value::Null; 0]);
        assert_eq!(sdk.pings, round);
        server.feed(sdk.at, &pong(b""));
        server.settle();
    }
    server.advance(ping_interval + TICK);
    server.advance(pong_timeout + TICK);
    assert_eq!(sdk.closed(&mut server).0, 3012);
    let mut wrong =
        Sdk::open_at(&mut server, 0, Framing::Json, &format!("{PATH}?cf_ws_frame_ping_pong=true"));
    wrong.introduce(&mut server, json!({}));
    wrong.send(&mut server, &[json!({})]);
    assert_eq!(wrong.closed(&mut server).0, 3501, "no empty reply was sent that it could answer");
    server.finish();
}

#[test]
fn the_first_ping_may_come_before_the_time_to_introduce_itself_is_over() {
    let ping_interval = Duration::from_secs(1);
    let config = Config { ping_interval, ..Config::default() };
    assert!(config.handshake_timeout > 2 * ping_interval);
    for framing in FRAMINGS {
        let mut server = server(1, &config);
        let mut sdk = Sdk::connect(&mut server, 0, framing);
        server.advance(ping_interval + TICK);
        assert_eq!(sdk.inbox(&mut server), [json!({})]);
        server.finish();
    }
}
