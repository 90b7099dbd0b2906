//! `history`: a part of what a room holds, forward and in reverse.

use fanfare::Config;
use fanfare::endpoint::client_protocol::HISTORY_LIMIT_MAX;
use serde_json::{Value, json};

use crate::common::Server;
use crate::sdk::{FRAMINGS, Framing, Sdk, offsets, server};

const PUBLISHED: u64 = 10;

/// A client with a room of so many publications, and the room's epoch.
fn filled(server: &mut Server, framing: Framing, count: u64) -> (Sdk, String) {
    let mut sdk = Sdk::connect(server, 0, framing);
    let epoch = sdk.subscribe(server, "r")["epoch"].as_str().unwrap().to_owned();
    for number in 1..=count {
        sdk.publish(server, "r", json!(number)).unwrap();
    }
    sdk.inbox(server);
    (sdk, epoch)
}

fn ask(server: &mut Server, sdk: &mut Sdk, more: Value) -> Result<Value, u64> {
    let mut params = json!({"channel": "r"});
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    sdk.ask(server, "history", params)
}

fn numbers(range: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    range.collect()
}

fn backward(range: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    range.rev().collect()
}

#[test]
fn each_part_has_the_position_of_the_top() {
    for framing in FRAMINGS {
        let mut server = server(1, &Config::default());
        let (mut sdk, epoch) = filled(&mut server, framing, PUBLISHED);
        let since = |offset: u64| json!({"offset": offset, "epoch": epoch});
        let cases: [(Value, Vec<u64>); 17] = [
            (json!({}), vec![]),
            (json!({"limit": 0}), vec![]),
            (json!({"limit": 0, "since": since(3)}), vec![]),
            (json!({"limit": 1}), numbers(1..=1)),
            (json!({"limit": 10}), numbers(1..=10)),
            (json!({"limit": 11}), numbers(1..=10)),
            (json!({"limit": -1}), numbers(1..=10)),
            (json!({"limit": i32::MIN}), numbers(1..=10)),
            (json!({"limit": 2, "since": since(0)}), numbers(1..=2)),
            (json!({"limit": 2, "since": since(3)}), numbers(4..=5)),
            (json!({"limit": -1, "since": since(9)}), numbers(10..=10)),
            (json!({"limit": -1, "since": since(10)}), vec![]),
            (json!({"limit": 3, "reverse": true}), backward(8..=10)),
            (json!({"limit": -1, "reverse": true}), backward(1..=10)),
            (json!({"limit": 3, "reverse": true, "since": since(5)}), backward(2..=4)),
            (json!({"limit": -1, "reverse": true, "since": since(1)}), vec![]),
            (json!({"limit": 2, "since": {"offset": 3}}), numbers(4..=5)),
        ];
        for (params, expected) in cases {
            let result = ask(&mut server, &mut sdk, params.clone()).unwrap();
            assert_eq!(offsets(&result), expected, "{params}");
            assert_eq!((&result["epoch"], &result["offset"]), (&json!(epoch), &json!(PUBLISHED)), "{params}");
        }
        server.finish();
    }
}

#[test]
fn a_publication_in_it_is_as_it_was_pushed() {
    for framing in FRAMINGS {
        let mut server = server(1, &Config::default());
        let mut sdk = Sdk::named(&mut server, 0, framing, "ann");
        sdk.subscribe(&mut server, "r");
        sdk.publish(&mut server, "r", json!({"n": [1, 2]})).unwrap();
        let pushed = sdk.pushes(&mut server);
        let result = ask(&mut server, &mut sdk, json!({"limit": -1})).unwrap();
        let publication =
            json!({"data": {"n": [1, 2]}, "info": {"user": "ann", "client": sdk.id}, "offset": 1});
        assert_eq!(result["publications"], json!([publication]));
        assert_eq!(pushed[0]["pub"], publication);
        server.finish();
    }
}

#[test]
fn a_position_that_is_not_held_is_112_forward_and_in_reverse_gives_what_is_left() {
    for framing in FRAMINGS {
        let mut server = server(1, &Config { history_messages: 4, ..Config::default() });
        let (mut sdk, epoch) = filled(&mut server, framing, PUBLISHED);
        let since = |offset: u64| json!({"offset": offset, "epoch": epoch});
        for (offset, expected) in [(5, Err(112)), (6, Ok(numbers(7..=10))), (10, Ok(vec![])), (11, Err(112))]
        {
            let result = ask(&mut server, &mut sdk, json!({"limit": -1, "since": since(offset)}));
            assert_eq!(result.map(|result| offsets(&result)), expected, "{offset}");
        }
        for (offset, expected) in
            [(3, vec![]), (7, vec![]), (8, backward(7..=7)), (11, backward(7..=10)), (99, backward(7..=10))]
        {
            let params = json!({"limit": -1, "reverse": true, "since": since(offset)});
            let result = ask(&mut server, &mut sdk, params).unwrap();
            assert_eq!(offsets(&result), expected, "{offset}");
        }
        for reverse in [false, true] {
            let since = json!({"offset": 8, "epoch": "00000000000000ab"});
            let params = json!({"limit": -1, "reverse": reverse, "since": since});
            assert_eq!(ask(&mut server, &mut sdk, params), Err(112), "another life of the room");
        }
        server.finish();
    }
}

#[test]
fn one_reply_has_at_most_300() {
    assert_eq!(HISTORY_LIMIT_MAX, 300);
    for framing in FRAMINGS {
        let mut server = server(1, &Config { command_rate: 1 << 20, ..Config::default() });
        let (mut sdk, epoch) = filled(&mut server, framing, 302);
        for (limit, count) in [(299, 299), (300, 300), (301, 300), (i32::MAX, 300), (-1, 300)] {
            let result = ask(&mut server, &mut sdk, json!({"limit": limit})).unwrap();
            assert_eq!(offsets(&result), numbers(1..=count), "{limit}");
            let result = ask(&mut server, &mut sdk, json!({"limit": limit, "reverse": true})).unwrap();
            assert_eq!(offsets(&result), backward(303 - count..=302), "{limit}");
        }
        let rest = json!({"limit": -1, "since": {"offset": 300, "epoch": epoch}});
        assert_eq!(offsets(&ask(&mut server, &mut sdk, rest).unwrap()), numbers(301..=302));
        server.finish();
    }
}

#[test]
fn long_histories_come_in_parts_that_join() {
    for framing in FRAMINGS {
        for in_a_turn in [1, 6] {
            let mut server = server(1, &Config { history_bytes: 8 << 20, ..Config::default() });
            let mut sdk = Sdk::connect(&mut server, 0, framing);
            sdk.subscribe(&mut server, "r");
            let publish = json!({"id": 9, "publish": {"channel": "r", "data": "x".repeat(20_000)}});
            for _ in 0..30 / in_a_turn {
                sdk.send(&mut server, &vec![publish.clone(); in_a_turn]);
            }
            let (mut forward, mut parts) = (Vec::new(), 0);
            while forward.len() < 30 {
                let since = json!({"offset": forward.last().copied().unwrap_or(0)});
                let part =
                    offsets(&ask(&mut server, &mut sdk, json!({"limit": -1, "since": since})).unwrap());
                assert!(!part.is_empty());
                forward.extend(part);
                parts += 1;
            }
            assert_eq!(forward, numbers(1..=30));
            assert!(parts > 2, "{parts}");
            let mut reverse: Vec<u64> = Vec::new();
            while reverse.len() < 30 {
                let since = json!({"offset": reverse.last().copied().unwrap_or(31)});
                let params = json!({"limit": -1, "since": since, "reverse": true});
                let part = offsets(&ask(&mut server, &mut sdk, params).unwrap());
                assert!(!part.is_empty());
                reverse.extend(part);
            }
            assert_eq!(reverse, backward(1..=30));
            server.finish();
        }
    }
}

#[test]
fn a_room_that_is_not_there_is_empty_and_is_not_made() {
    for framing in FRAMINGS {
        let mut server = server(1, &Config::default());
        let mut sdk = Sdk::connect(&mut server, 0, framing);
        for limit in [0, -1] {
            let result = ask(&mut server, &mut sdk, json!({"limit": limit})).unwrap();
            assert_eq!(result, json!({"epoch": "", "offset": 0, "publications": []}));
        }
        assert!(server.registry.is_empty());
        sdk.subscribe(&mut server, "r");
        sdk.publish(&mut server, "r", json!(1)).unwrap();
        sdk.inbox(&mut server);
        let behind = ask(&mut server, &mut sdk, json!({"limit": -1, "since": {"epoch": "", "offset": 0}}));
        assert_eq!(offsets(&behind.unwrap()), [1], "the position that it was told goes on");
        server.finish();
    }
}

#[test]
fn who_does_not_take_its_answers_is_told_to_try_again() {
    let mut server = server(1, &Config::default());
    let (mut sdk, _) = filled(&mut server, Framing::Json, 1);
    let mut publisher = Sdk::connect(&mut server, 0, Framing::Json);
    publisher.subscribe(&mut server, "r");
    publisher.publish(&mut server, "r", json!("x".repeat(100_000))).unwrap();
    sdk.inbox(&mut server);
    let asks = vec![json!({"id": 9, "history": {"channel": "r", "limit": -1}}); 60];
    let replies = sdk.send(&mut server, &asks);
    let refused = replies.iter().position(|reply| reply["error"]["code"] == 111).unwrap();
    assert!((4..=6).contains(&refused), "{refused} answers of 100 KB are half of --queue-bytes");
    assert!(replies[..refused].iter().all(|reply| reply["error"].is_null()));
    assert!(replies[refused..].iter().all(|reply| reply["error"]["temporary"] == true));
    assert_eq!((replies.len(), sdk.close.clone()), (60, None), "which does not count as errors in a row");
    assert_eq!(
        ask(&mut server, &mut sdk, json!({"limit": -1})).map(|result| offsets(&result)),
        Ok(vec![1, 2])
    );
    server.finish();
}
