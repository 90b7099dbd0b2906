//! What commands are answered, one by one and in batches.

use fanfare::Config;
use fanfare::endpoint::client_protocol::ErrorCode;
use fanfare::shard::Counter;
use serde_json::{Value, json};

use crate::sdk::{FRAMINGS, Framing, Sdk, result_of, server};

fn ids(replies: &[Value]) -> Vec<u64> {
    replies.iter().filter_map(|reply| reply["id"].as_u64()).collect()
}

#[test]
fn a_batch_is_answered_in_order_and_in_one_send() {
    for framing in FRAMINGS {
        let mut server = server(2, &Config::default());
        let mut sdk = Sdk::open(&mut server, 0, framing);
        let batch = [
            json!({"id": 7, "connect": {"name": "js"}}),
            json!({"id": 1, "subscribe": {"channel": "r"}}),
            json!({"id": 4, "rpc": {}}),
            json!({"id": 2, "publish": {"channel": "r", "data": 1}}),
            json!({"id": 9, "presence_stats": {"channel": "r"}}),
            json!({"id": 3, "history": {"channel": "r"}}),
            json!({"id": 5, "unsubscribe": {"channel": "r"}}),
            json!({"id": 6, "ping": {}}),
            json!({"id": 8, "presence": {"channel": "r"}}),
        ];
        let sends = server.counter(Counter::Sends);
        let replies = sdk.send(&mut server, &batch);
        assert_eq!(ids(&replies), [7, 1, 4, 2, 9, 3, 5, 6, 8]);
        assert_eq!(server.counter(Counter::Sends) - sends, 1);
        assert_eq!(replies[2]["error"], json!({"code": 108, "message": "not available"}));
        assert_eq!(replies[4]["presence_stats"], json!({"num_clients": 1, "num_users": 1}));
        assert_eq!(replies[8]["presence"], json!({"presence": {}}), "it has left by then");
        for (at, method) in [(3, "publish"), (6, "unsubscribe"), (7, "ping")] {
            assert_eq!(replies[at][method], json!({}));
        }
        server.finish();
    }
}

#[test]
fn what_is_published_behind_a_subscribe_in_a_batch_comes_back() {
    for framing in FRAMINGS {
        let mut server = server(1, &Config::default());
        let mut sdk = Sdk::connect(&mut server, 0, framing);
        let replies = sdk.send(
            &mut server,
            &[
                json!({"id": 2, "subscribe": {"channel": "r"}}),
                json!({"id": 3, "publish": {"channel": "r", "data": {"n": 1}}}),
            ],
        );
        assert_eq!(ids(&replies), [2, 3]);
        assert_eq!(replies[0]["subscribe"]["offset"], 0);
        let info = json!({"user": "", "client": sdk.id});
        let publication = json!({"data": {"n": 1}, "info": info, "offset": 1});
        assert_eq!(replies[2]["push"], json!({"channel": "r", "pub": publication}));
        assert_eq!(replies.len(), 3);
        server.finish();
    }
}

#[test]
fn a_subscribe_is_answered_with_the_position_and_twice_is_105() {
    for framing in FRAMINGS {
        let mut server = server(1, &Config::default());
        let mut sdk = Sdk::connect(&mut server, 0, framing);
        let result = sdk.subscribe(&mut server, "r");
        let epoch = result["epoch"].as_str().unwrap().to_owned();
        assert_eq!(epoch.len(), 16);
        let empty =
            json!({"epoch": epoch, "offset": 0, "recoverable": true, "positioned": true, "publications": []});
        assert_eq!(result, empty);
        assert_eq!(sdk.ask(&mut server, "subscribe", json!({"channel": "r"})), Err(105));
        assert_eq!(server.counter(Counter::Memberships), 1);
        sdk.publish(&mut server, "r", json!(1)).unwrap();
        assert_eq!(sdk.publications(&mut server), [(1, json!(1))], "and once it is");
        sdk.ask(&mut server, "unsubscribe", json!({"channel": "r"})).unwrap();
        assert_eq!(sdk.subscribe(&mut server, "r")["offset"], 1);
        assert_eq!(sdk.publications(&mut server), [], "what it did not ask to recover stays out");
        server.finish();
    }
}

#[test]
fn an_unsubscribe_always_succeeds_and_ends_what_comes() {
    for framing in FRAMINGS {
        let mut server = server(1, &Config::default());
        let mut sdk = Sdk::connect(&mut server, 0, framing);
        let mut other = Sdk::connect(&mut server, 0, framing);
        for member in [&mut sdk, &mut other] {
            member.subscribe(&mut server, "r");
        }
        for _ in 0..2 {
            assert_eq!(sdk.ask(&mut server, "unsubscribe", json!({"channel": "r"})), Ok(json!({})));
        }
        other.publish(&mut server, "r", json!(1)).unwrap();
        assert_eq!(sdk.publications(&mut server), []);
        assert_eq!(other.publications(&mut server).len(), 1);
        assert_eq!(sdk.ask(&mut server, "unsubscribe", json!({"channel": ""})), Err(107));
        server.finish();
    }
}

#[test]
fn a_channel_that_is_no_room_is_107() {
    for framing in FRAMINGS {
        let mut server = server(1, &Config { command_rate: 1 << 20, ..Config::default() });
        let mut sdk = Sdk::connect(&mut server, 0, framing);
        for channel in [String::new(), "x".repeat(256), "a\nb".to_owned(), "\u{0}".to_owned()] {
            for method in ["subscribe", "unsubscribe", "publish", "history", "presence", "presence_stats"] {
                let params = json!({"channel": channel, "data": 1});
                assert_eq!(sdk.ask(&mut server, method, params), Err(107), "{method} {channel:?}");
                // A success in between, as 20 errors in a row are too many.
                sdk.ask(&mut server, "ping", json!({})).unwrap();
            }
        }
        assert_eq!(sdk.close, None);
        server.finish();
    }
}

#[test]
fn only_members_publish() {
    for framing in FRAMINGS {
        let mut server = server(1, &Config::default());
        let mut sdk = Sdk::connect(&mut server, 0, framing);
        let mut other = Sdk::connect(&mut server, 0, framing);
        other.subscribe(&mut server, "r");
        assert_eq!(sdk.publish(&mut server, "r", json!(1)), Err(103));
        assert_eq!(sdk.publish(&mut server, "nowhere", json!(1)), Err(103));
        sdk.subscribe(&mut server, "other");
        assert_eq!(sdk.publish(&mut server, "r", json!(1)), Err(103));
        sdk.subscribe(&mut server, "r");
        assert_eq!(sdk.publish(&mut server, "r", json!(1)), Ok(json!({})));
        assert_eq!(other.publications(&mut server), [(1, json!(1))]);
        server.finish();
    }
}

#[test]
fn where_members_may_not_publish_103_says_so() {
    let mut server = server(1, &Config { member_publish: false, ..Config::default() });
    let mut sdk = Sdk::connect(&mut server, 0, Framing::Json);
    sdk.subscribe(&mut server, "r");
    let replies = sdk.send(&mut server, &[json!({"id": 5, "publish": {"channel": "r", "data": 1}})]);
    let message = "members may not publish here, only read (--member-publish)";
    assert_eq!(replies, [json!({"id": 5, "error": {"code": 103, "message": message}})]);
    server.finish();
}

#[test]
fn a_publish_without_data_is_107() {
    let mut server = server(1, &Config::default());
    let mut json_sdk = Sdk::connect(&mut server, 0, Framing::Json);
    json_sdk.subscribe(&mut server, "r");
    assert_eq!(json_sdk.ask(&mut server, "publish", json!({"channel": "r"})), Err(107));
    assert_eq!(json_sdk.publish(&mut server, "r", Value::Null), Ok(json!({})), "null is data");
    assert_eq!(json_sdk.publications(&mut server), [(1, Value::Null)]);
    let mut protobuf = Sdk::connect(&mut server, 0, Framing::Protobuf);
    protobuf.subscribe(&mut server, "r");
    // id 5, publish to "r" without data.
    server.feed(protobuf.at, &crate::common::binary(b"\x07\x08\x05:\x03\x0a\x01r"));
    server.settle();
    let replies = protobuf.inbox(&mut server);
    assert_eq!(replies, [json!({"id": 5, "error": {"code": 107, "message": "data is missing"}})]);
    server.finish();
}

#[test]
fn what_is_not_offered_is_108_and_send_ends_the_connection() {
    for framing in FRAMINGS {
        let mut server = server(1, &Config::default());
        let mut sdk = Sdk::connect(&mut server, 0, framing);
        for method in ["rpc", "refresh", "sub_refresh"] {
            assert_eq!(sdk.ask(&mut server, method, json!({})), Err(108), "{method}");
        }
        let token = json!({"channel": "r", "token": "ey"});
        assert_eq!(sdk.ask(&mut server, "subscribe", token), Err(108));
        assert_eq!(server.counter(Counter::Memberships), 0);
        sdk.feed(&mut server, &[json!({"send": {}}), json!({"id": 9, "ping": {}})]);
        server.settle();
        let reason = "send is not offered here, and has no reply that could say so";
        assert_eq!(sdk.closed(&mut server), (3508, reason.to_owned()));
        assert_eq!(sdk.inbox(&mut server), [Value::Null; 0], "nothing behind it is answered");
        server.finish();
    }
}

#[test]
fn an_error_says_whether_it_is_temporary() {
    for framing in FRAMINGS {
        let mut server = server(1, &Config { command_rate: 1, ..Config::default() });
        let mut sdk = Sdk::connect(&mut server, 0, framing);
        let replies = sdk.send(&mut server, &[json!({"id": 2, "rpc": {}})]);
        let error = &replies[0]["error"];
        assert_eq!((&error["code"], &error["temporary"]), (&json!(111), &json!(true)));
        assert_eq!(result_of(&replies[0], "rpc"), Err(u64::from(ErrorCode::TooManyRequests.code())));
        server.finish();
    }
}
