//! Coming back to a room: all that was missed, each once, or the truth that it is not there.

use fanfare::Config;
use fanfare::shard::Counter;
use serde_json::{Value, json};

use crate::common::Server;
use crate::sdk::{FRAMINGS, Framing, Sdk, offset_and_data, offsets, server};

/// A room in which so many have been published, each in a turn of its own: who stays there, and its epoch.
fn filled(server: &mut Server, count: u64) -> (Sdk, String) {
    let mut keeper = Sdk::connect(server, 0, Framing::Json);
    let epoch = keeper.subscribe(server, "r")["epoch"].as_str().unwrap().to_owned();
    for number in 1..=count {
        keeper.publish(server, "r", json!(number)).unwrap();
    }
    keeper.inbox(server);
    (keeper, epoch)
}

#[test]
fn what_was_missed_is_in_the_reply_and_the_reply_has_the_offset_asked_from() {
    for framing in FRAMINGS {
        let mut server = server(2, &Config::default());
        let (mut keeper, epoch) = filled(&mut server, 5);
        let mut back = Sdk::connect(&mut server, 1, framing);
        let result = back.recover(&mut server, "r", &epoch, 2);
        let publication = |number: u64| {
            let info = json!({"user": "", "client": keeper.id});
            json!({"data": number, "info": info, "offset": number})
        };
        assert_eq!(
            result,
            json!({
                "epoch": epoch, "offset": 2, "recoverable": true, "positioned": true, "recovered": true,
                "was_recovering": true, "publications": [publication(3), publication(4), publication(5)],
            })
        );
        assert_eq!(back.publications(&mut server), [], "nothing comes twice");
        keeper.publish(&mut server, "r", json!(6)).unwrap();
        assert_eq!(back.publications(&mut server), [(6, json!(6))]);
        server.finish();
    }
}

#[test]
fn who_missed_nothing_has_recovered() {
    for framing in FRAMINGS {
        for (count, knows_epoch) in [(0, true), (0, false), (3, true), (3, false)] {
            let mut server = server(2, &Config::default());
            let (mut keeper, epoch) = filled(&mut server, count);
            let mut back = Sdk::connect(&mut server, 1, framing);
            let asked = if knows_epoch { &*epoch } else { "" };
            let result = back.recover(&mut server, "r", asked, count);
            assert_eq!((&result["recovered"], &result["epoch"]), (&json!(true), &json!(epoch)));
            assert_eq!((&result["offset"], offsets(&result)), (&json!(count), vec![]));
            keeper.publish(&mut server, "r", json!("next")).unwrap();
            assert_eq!(back.publications(&mut server), [(count + 1, json!("next"))]);
            server.finish();
        }
    }
}

#[test]
fn a_position_is_honoured_in_full_or_not_at_all() {
    const PUBLISHED: u64 = 10;
    const OTHER_EPOCH: &str = "00000000000000ab";
    for framing in FRAMINGS {
        let mut server = server(2, &Config { history_messages: 4, ..Config::default() });
        let (mut keeper, epoch) = filled(&mut server, PUBLISHED);
        let mut top = PUBLISHED;
        for (epoch_asked, offset, recovered) in [
            (&*epoch, 5, false),
            (&*epoch, 6, true),
            (&*epoch, 7, true),
            (&*epoch, 10, true),
            (&*epoch, 11, false),
            (&*epoch, u64::MAX, false),
            ("", 5, false),
            ("", 6, true),
            ("", 11, false),
            (OTHER_EPOCH, 10, false),
            (OTHER_EPOCH, 6, false),
            ("0000000000000000", 10, false),
            ("not ours", 10, false),
        ] {
            // What was published below has moved the window on.
            let moved = top - PUBLISHED;
            let offset = if offset == u64::MAX { offset } else { offset + moved };
            let mut back = Sdk::connect(&mut server, 1, framing);
            let result = back.recover(&mut server, "r", epoch_asked, offset);
            assert_eq!(result.get("recovered").is_some(), recovered, "{epoch_asked} {offset} of {top}");
            assert_eq!(result["was_recovering"], true);
            assert_eq!((&result["epoch"], &result["recoverable"]), (&json!(epoch), &json!(true)));
            let expected = if recovered { offset } else { top };
            assert_eq!(result["offset"], expected);
            let missed: Vec<u64> = (expected + 1..=top).collect();
            assert_eq!(offsets(&result), missed);
            top += 1;
            keeper.publish(&mut server, "r", json!(top)).unwrap();
            assert_eq!(back.publications(&mut server), [(top, json!(top))], "it goes on live");
            back.ask(&mut server, "unsubscribe", json!({"channel": "r"})).unwrap();
            keeper.inbox(&mut server);
        }
        server.finish();
    }
}

#[test]
fn who_wants_all_or_nothing_is_refused_with_112() {
    for framing in FRAMINGS {
        let mut server = server(2, &Config { history_messages: 4, ..Config::default() });
        let (_keeper, epoch) = filled(&mut server, 10);
        let mut back = Sdk::named(&mut server, 1, framing, "ann");
        let ask = |offset: u64| json!({"channel": "r", "flag": 3, "recover": true, "epoch": epoch, "offset": offset});
        assert_eq!(back.ask(&mut server, "subscribe", ask(5)), Err(112));
        assert_eq!(server.counter(Counter::Memberships), 1, "it is no member");
        assert_eq!(back.publish(&mut server, "r", json!(1)), Err(103));
        let stats = back.ask(&mut server, "presence_stats", json!({"channel": "r"})).unwrap();
        assert_eq!(stats["num_clients"], 1);
        let result = back.ask(&mut server, "subscribe", ask(6)).unwrap();
        assert_eq!((&result["recovered"], offsets(&result)), (&json!(true), vec![7, 8, 9, 10]));
        server.finish();
    }
}

#[test]
fn a_room_that_nobody_was_in_has_an_epoch_from_the_subscribe_on() {
    let mut server = server(2, &Config::default());
    let mut first = Sdk::connect(&mut server, 0, Framing::Json);
    let epoch = first.subscribe(&mut server, "r")["epoch"].as_str().unwrap().to_owned();
    let mut second = Sdk::connect(&mut server, 1, Framing::Json);
    second.subscribe(&mut server, "r");
    first.ask(&mut server, "unsubscribe", json!({"channel": "r"})).unwrap();
    second.publish(&mut server, "r", json!("missed")).unwrap();
    let result = first.recover(&mut server, "r", &epoch, 0);
    assert_eq!((&result["recovered"], offsets(&result)), (&json!(true), vec![1]));
    server.finish();
}

/// Comes back for all of a room with messages of so many bytes, `in_a_turn` of them in each turn.
fn recover_much(framing: Framing, bytes: usize, count: u64, in_a_turn: u64) -> (Vec<u64>, Vec<u64>) {
    let config = Config { history_bytes: 16 << 20, max_message: 4 << 20, ..Config::default() };
    let mut server = server(2, &config);
    let (mut keeper, epoch) = filled(&mut server, 0);
    let data = "x".repeat(bytes);
    let publish = json!({"id": 9, "publish": {"channel": "r", "data": data}});
    for _ in 0..count / in_a_turn {
        keeper.send(&mut server, &vec![publish.clone(); in_a_turn as usize]);
    }
    let mut back = Sdk::connect(&mut server, 1, framing);
    let result = back.recover(&mut server, "r", &epoch, 1);
    assert_eq!((&result["recovered"], &result["offset"]), (&json!(true), &json!(1)));
    let publications = result["publications"].as_array().unwrap();
    assert!(publications.iter().all(|publication| publication["data"] == data));
    let pushed: Vec<u64> = back
        .pushes(&mut server)
        .iter()
        .map(|push| {
            assert_eq!(push["pub"]["data"], data);
            offset_and_data(&push["pub"]).0
        })
        .collect();
    server.finish();
    (offsets(&result), pushed)
}

#[test]
fn what_is_too_much_for_one_reply_follows_as_pushes() {
    for framing in FRAMINGS {
        for (bytes, count, in_a_turn, in_reply) in [
            (10_000, 40, 1, 13),
            // Over what is read for one at once.
            (10_000, 200, 1, 13),
            // The first alone is too much.
            (200_000, 4, 1, 0),
            // Those of one turn stand together in up to 128 KiB.
            (10_000, 40, 20, 12),
            (1000, 100, 20, 99),
        ] {
            let (replied, pushed) = recover_much(framing, bytes, count, in_a_turn);
            let all: Vec<u64> = replied.iter().chain(&pushed).copied().collect();
            assert_eq!(all, (2..=count).collect::<Vec<u64>>(), "{count} of {bytes}: no gap, no repeat");
            assert_eq!(replied.len(), in_reply, "{count} of {bytes}");
        }
    }
}

#[test]
fn a_life_of_a_room_that_is_over_cannot_be_recovered() {
    let config = Config::default();
    let mut server = server(1, &config);
    let (mut keeper, epoch) = filled(&mut server, 2);
    keeper.ask(&mut server, "unsubscribe", json!({"channel": "r"})).unwrap();
    for _ in 0..40 {
        server.advance(config.history_age / 20);
        for ping in keeper.inbox(&mut server) {
            assert_eq!(ping, json!({}));
            keeper.feed(&mut server, &[json!({})]);
            server.settle();
        }
    }
    for asked in [2, 0] {
        let result = keeper.recover(&mut server, "r", &epoch, asked);
        assert_eq!(result.get("recovered"), None::<&Value>);
        assert_eq!(result["offset"], 0);
        assert_ne!(result["epoch"], json!(epoch));
        keeper.ask(&mut server, "unsubscribe", json!({"channel": "r"})).unwrap();
    }
    server.finish();
}
