//! Limits, each at one below, at it, and one above.

use std::time::Duration;

use fanfare::Config;
use fanfare::endpoint::CloseKind;
use fanfare::endpoint::client_protocol::{COMMANDS_PER_MESSAGE_MAX, ERRORS_IN_A_ROW_MAX};
use fanfare::shard::Counter;
use serde_json::{Value, json};

use crate::sdk::{FRAMINGS, Framing, Sdk, server};

fn codes(replies: &[Value]) -> Vec<u64> {
    replies.iter().map(|reply| reply["error"]["code"].as_u64().unwrap_or(0)).collect()
}

#[test]
fn over_max_memberships_a_subscribe_is_106() {
    for framing in FRAMINGS {
        let mut server = server(1, &Config { max_memberships: 3, ..Config::default() });
        let mut sdk = Sdk::connect(&mut server, 0, framing);
        for (room, result) in [("a", None), ("b", None), ("c", None), ("d", Some(106)), ("a", Some(105))] {
            let answer = sdk.ask(&mut server, "subscribe", json!({"channel": room}));
            assert_eq!(answer.err(), result, "{room}");
        }
        assert_eq!((server.counter(Counter::Memberships), server.counter(Counter::Rooms)), (3, 3));
        sdk.ask(&mut server, "unsubscribe", json!({"channel": "b"})).unwrap();
        sdk.subscribe(&mut server, "d");
        assert_eq!((sdk.close.as_ref(), server.counter(Counter::Memberships)), (None, 3));
        server.finish();
    }
}

#[test]
fn the_twentieth_error_in_a_row_is_the_last() {
    let max = usize::from(ERRORS_IN_A_ROW_MAX);
    assert_eq!(max, 20);
    let refused = json!({"id": 1, "rpc": {}});
    let asked_and_refused = json!({"id": 1, "publish": {"channel": "nowhere", "data": 1}});
    for framing in FRAMINGS {
        for command in [&refused, &asked_and_refused] {
            for in_one_frame in [false, true] {
                let mut server = server(1, &Config::default());
                let mut sdk = Sdk::connect(&mut server, 0, framing);
                let errors = vec![command.clone(); max - 1];
                let replies = match in_one_frame {
                    true => sdk.send(&mut server, &errors),
                    false => errors
                        .iter()
                        .flat_map(|error| sdk.send(&mut server, std::slice::from_ref(error)))
                        .collect(),
                };
                assert_eq!((replies.len(), &sdk.close), (max - 1, &None));
                let last = sdk.send(&mut server, &[command.clone(), json!({"id": 2, "ping": {}})]);
                assert_eq!(last.len(), 1, "the last is answered, and nothing behind it");
                let reason = "20 commands in a row were refused";
                assert_eq!(sdk.closed(&mut server), (3509, reason.to_owned()));
                assert_eq!(server.closes(CloseKind::Endpoint), 1);
                server.finish();
            }
        }
    }
}

#[test]
fn a_success_ends_a_row_of_errors() {
    for success in [
        json!({"id": 3, "ping": {}}),
        json!({"id": 3, "publish": {"channel": "r", "data": 1}}),
        json!({"id": 3, "presence_stats": {"channel": "r"}}),
        json!({"id": 3, "unsubscribe": {"channel": "other"}}),
    ] {
        let mut server = server(1, &Config::default());
        let mut sdk = Sdk::connect(&mut server, 0, Framing::Json);
        sdk.subscribe(&mut server, "r");
        for _ in 0..3 {
            for _ in 0..19 {
                assert_eq!(sdk.ask(&mut server, "rpc", json!({})), Err(108));
            }
            sdk.send(&mut server, std::slice::from_ref(&success));
        }
        assert_eq!(sdk.close, None, "{success}");
        server.finish();
    }
}

#[test]
fn errors_between_successes_of_one_frame_are_not_in_a_row() {
    for framing in FRAMINGS {
        let mut server = server(1, &Config::default());
        let mut sdk = Sdk::connect(&mut server, 0, framing);
        let pair = [json!({"id": 2, "presence_stats": {"channel": "r"}}), json!({"id": 3, "rpc": {}})];
        let replies = sdk.send(&mut server, &vec![pair; 30].concat());
        assert_eq!(sdk.close, None);
        assert_eq!(codes(&replies), [0, 108].repeat(30), "each in its place");
        // Nineteen behind the last success, and one more.
        let mut errors = vec![json!({"id": 4, "rpc": {}}); 19];
        errors.insert(0, json!({"id": 4, "presence_stats": {"channel": "r"}}));
        assert_eq!(sdk.send(&mut server, &errors).len(), 20);
        assert_eq!(sdk.close, None);
        assert_eq!(
            sdk.send(&mut server, &[json!({"id": 5, "publish": {"channel": "x", "data": 1}})]).len(),
            1
        );
        assert_eq!(sdk.closed(&mut server).0, 3509);
        server.finish();
    }
}

#[test]
fn over_the_command_rate_a_command_is_111_until_time_has_passed() {
    for rate in [2, 5, 10] {
        let mut server = server(1, &Config { command_rate: rate, ..Config::default() });
        let mut sdk = Sdk::connect(&mut server, 0, Framing::Json);
        // All that connect has taken comes back.
        server.advance(Duration::from_secs(1));
        let count = rate as usize;
        let pings = vec![json!({"id": 2, "ping": {}}); count + 1];
        assert_eq!(codes(&sdk.send(&mut server, &pings[..count - 1])), vec![0; count - 1]);
        assert_eq!(codes(&sdk.send(&mut server, &pings[..2])), [0, 111], "the last, and one too many");
        let each = Duration::from_secs(1) / rate;
        server.advance(each - Duration::from_nanos(1));
        assert_eq!(codes(&sdk.send(&mut server, &pings[..1])), [111]);
        server.advance(Duration::from_nanos(1));
        assert_eq!(codes(&sdk.send(&mut server, &pings[..2])), [0, 111]);
        server.advance(Duration::from_secs(20));
        let mut expected = vec![0; count];
        expected.push(111);
        assert_eq!(codes(&sdk.send(&mut server, &pings)), expected, "no more is kept than of a second");
        assert_eq!(sdk.close, None);
        server.finish();
    }
}

#[test]
fn who_is_only_too_fast_is_closed_so_that_it_comes_back() {
    for (too_many, closed) in [(19, false), (20, true)] {
        let mut server = server(1, &Config { command_rate: 2, ..Config::default() });
        let mut sdk = Sdk::connect(&mut server, 0, Framing::Json);
        let replies = sdk.send(&mut server, &vec![json!({"id": 2, "ping": {}}); 1 + too_many]);
        assert_eq!(codes(&replies)[1..], vec![111; too_many]);
        assert_eq!(sdk.close.is_some(), closed, "{too_many}");
        if closed {
            assert_eq!(sdk.closed(&mut server).0, 3013);
        }
        server.finish();
    }
}

#[test]
fn pongs_take_nothing_of_the_command_rate() {
    let mut server = server(1, &Config { command_rate: 1, ..Config::default() });
    let mut sdk = Sdk::connect(&mut server, 0, Framing::Json);
    server.advance(Config::default().ping_interval + Duration::from_millis(100));
    assert_eq!(sdk.inbox(&mut server), [json!({})]);
    assert_eq!(codes(&sdk.send(&mut server, &[json!({}), json!({"id": 2, "ping": {}})])), [0]);
    server.finish();
}

#[test]
fn a_frame_of_too_many_commands_ends_the_connection_behind_those_that_are_allowed() {
    let max = COMMANDS_PER_MESSAGE_MAX;
    for framing in FRAMINGS {
        for count in [max - 1, max, max + 1] {
            let mut server = server(1, &Config { command_rate: 1 << 20, ..Config::default() });
            let mut sdk = Sdk::connect(&mut server, 0, framing);
            let replies = sdk.send(&mut server, &vec![json!({"id": 2, "ping": {}}); count]);
            assert_eq!(replies.len(), count.min(max));
            assert_eq!(sdk.close.is_some(), count > max, "{count}");
            if count > max {
                assert_eq!(sdk.closed(&mut server).0, 3501);
            }
            server.finish();
        }
    }
}
