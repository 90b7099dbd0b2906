//! Members that fall behind: what the protocol tells them, by the room's policy.

use fanfare::Config;
use fanfare::endpoint::CloseKind;
use fanfare::shard::Counter;
use serde_json::{Value, json};

use crate::common::Server;
use crate::sdk::{FRAMINGS, Framing, Sdk, offsets, server};

const HELD: u64 = 4;

fn with_policy(policy: &str) -> Server {
    let lag_policy = vec![policy.parse().unwrap()];
    server(2, &Config { lag_policy, history_messages: HELD, ..Config::default() })
}

/// One that will be slow, a publisher on the other shard, and the room's epoch.
fn members(server: &mut Server, framing: Framing) -> (Sdk, Sdk, String) {
    let mut slow = Sdk::connect(server, 0, framing);
    let mut publisher = Sdk::connect(server, 1, Framing::Json);
    let epoch = slow.subscribe(server, "r")["epoch"].as_str().unwrap().to_owned();
    publisher.subscribe(server, "r");
    (slow, publisher, epoch)
}

fn publish(server: &mut Server, publisher: &mut Sdk, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        publisher.publish(server, "r", json!(number)).unwrap();
    }
    publisher.inbox(server);
}

fn resume(server: &mut Server, slow: &Sdk) {
    server.socket(slow.at).room = usize::MAX;
    server.settle();
}

#[test]
fn within_the_window_a_slow_member_gets_all() {
    for policy in ["disconnect", "skip"] {
        for framing in FRAMINGS {
            let mut server = with_policy(policy);
            let (mut slow, mut publisher, _) = members(&mut server, framing);
            server.socket(slow.at).room = 0;
            publish(&mut server, &mut publisher, 1..=HELD);
            resume(&mut server, &slow);
            let expected: Vec<(u64, Value)> = (1..=HELD).map(|number| (number, json!(number))).collect();
            assert_eq!(slow.publications(&mut server), expected);
            server.finish();
        }
    }
}

#[test]
fn under_disconnect_it_is_closed_as_slow_and_recovers_on_a_new_connection() {
    for framing in FRAMINGS {
        let mut server = with_policy("disconnect");
        let (mut slow, mut publisher, epoch) = members(&mut server, framing);
        server.socket(slow.at).room = 0;
        publish(&mut server, &mut publisher, 1..=HELD + 1);
        resume(&mut server, &slow);
        let (code, reason) = slow.closed(&mut server);
        assert_eq!((code, server.closes(CloseKind::OutOfWindow)), (3008, 1));
        let at = format!("slow consumer: out of the history (--history-bytes) at {epoch}:0 in room r");
        assert_eq!(reason, at);
        assert_eq!(slow.inbox(&mut server), [Value::Null; 0]);
        let mut back = Sdk::connect(&mut server, 0, framing);
        let result = back.recover(&mut server, "r", &epoch, 0);
        assert_eq!((result.get("recovered"), &result["offset"]), (None, &json!(HELD + 1)));
        server.finish();
    }
}

#[test]
fn under_skip_its_subscription_ends_and_it_comes_back_on_the_same_connection() {
    for framing in FRAMINGS {
        let mut server = with_policy("skip");
        let (mut slow, mut publisher, epoch) = members(&mut server, framing);
        slow.subscribe(&mut server, "other");
        publish(&mut server, &mut publisher, 1..=2);
        assert_eq!(slow.publications(&mut server).len(), 2);
        server.socket(slow.at).room = 0;
        publish(&mut server, &mut publisher, 3..=7);
        resume(&mut server, &slow);
        let told = json!({"channel": "r", "unsubscribe": {"code": 2500, "reason": "insufficient state"}});
        assert_eq!(slow.pushes(&mut server), [told]);
        assert_eq!(server.counter(Counter::RemovedOutOfWindow), 1);
        publish(&mut server, &mut publisher, 8..=8);
        assert_eq!(slow.inbox(&mut server), [Value::Null; 0], "it is no member now");
        // The truth: what it has not got is not held in full any more.
        let result = slow.recover(&mut server, "r", &epoch, 2);
        assert_eq!((result.get("recovered"), &result["was_recovering"]), (None, &json!(true)));
        assert_eq!((&result["offset"], offsets(&result)), (&json!(8), vec![]));
        publish(&mut server, &mut publisher, 9..=9);
        assert_eq!(slow.publications(&mut server), [(9, json!(9))]);
        slow.publish(&mut server, "other", json!("it is still there")).unwrap();
        assert_eq!(slow.publications(&mut server), [(1, json!("it is still there"))]);
        assert_eq!(slow.close, None);
        server.finish();
    }
}

#[test]
fn under_skip_what_is_half_out_is_finished_before_the_unsubscribe() {
    for framing in FRAMINGS {
        let mut server = with_policy("skip");
        let (mut slow, mut publisher, epoch) = members(&mut server, framing);
        server.socket(slow.at).room = 5;
        publish(&mut server, &mut publisher, 1..=HELD + 2);
        resume(&mut server, &slow);
        let told = slow.pushes(&mut server);
        assert_eq!(told[0]["pub"]["offset"], 1);
        assert_eq!(told[1]["unsubscribe"]["code"], 2500);
        assert_eq!(told.len(), 2);
        // It lacks 2: the window begins with 3.
        assert_eq!(slow.recover(&mut server, "r", &epoch, 1).get("recovered"), None);
        server.finish();
    }
}

#[test]
fn under_skip_two_rooms_are_told_one_by_one() {
    let mut server = with_policy("skip");
    let (mut slow, mut publisher, _) = members(&mut server, Framing::Json);
    slow.subscribe(&mut server, "s");
    publisher.subscribe(&mut server, "s");
    server.socket(slow.at).room = 0;
    for number in 0..HELD + 1 {
        for room in ["r", "s"] {
            publisher.publish(&mut server, room, json!(number)).unwrap();
        }
    }
    resume(&mut server, &slow);
    let told: Vec<Value> = slow.pushes(&mut server).iter().map(|push| push["channel"].clone()).collect();
    assert_eq!(told.len(), 2);
    assert!(told.contains(&json!("r")) && told.contains(&json!("s")));
    assert_eq!((slow.close, server.counter(Counter::Memberships)), (None, 2));
    server.finish();
}

#[test]
fn under_latest_a_slow_member_gets_the_newest_and_no_promise() {
    for framing in FRAMINGS {
        let mut server = with_policy("latest");
        let mut slow = Sdk::connect(&mut server, 0, framing);
        let result = slow.subscribe(&mut server, "r");
        let epoch = result["epoch"].as_str().unwrap().to_owned();
        assert_eq!((result.get("recoverable"), result.get("positioned")), (None, None));
        let mut publisher = Sdk::connect(&mut server, 1, Framing::Json);
        publisher.subscribe(&mut server, "r");
        server.socket(slow.at).room = 0;
        publish(&mut server, &mut publisher, 1..=HELD + 3);
        resume(&mut server, &slow);
        assert_eq!(slow.publications(&mut server), [(HELD + 3, json!(HELD + 3))]);
        slow.ask(&mut server, "unsubscribe", json!({"channel": "r"})).unwrap();
        for (offset, recovered, missed) in [
            (HELD, false, vec![]),
            (HELD + 1, false, vec![]),
            (HELD + 2, true, vec![HELD + 3]),
            (HELD + 3, true, vec![]),
        ] {
            let result = slow.recover(&mut server, "r", &epoch, offset);
            assert_eq!(result.get("recovered").is_some(), recovered, "{offset}");
            assert_eq!(result.get("recoverable"), None);
            assert_eq!(offsets(&result), missed);
            slow.ask(&mut server, "unsubscribe", json!({"channel": "r"})).unwrap();
        }
        server.finish();
    }
}

#[test]
fn a_back_end_that_ends_a_subscription_is_told_as_2000() {
    for framing in FRAMINGS {
        let mut server = with_policy("disconnect");
        let (mut member, mut publisher, _) = members(&mut server, framing);
        server.remove(fanfare::shard::RemovalOrder {
            user: None,
            client: Some(member.id.parse().unwrap()),
            spared: Vec::new(),
            from: fanfare::shard::RemovedFrom::Room(fanfare::rooms::RoomName::new("r").unwrap()),
        });
        let told = json!({"channel": "r", "unsubscribe": {"code": 2000, "reason": "server unsubscribe"}});
        assert_eq!(member.pushes(&mut server), [told]);
        publish(&mut server, &mut publisher, 1..=1);
        assert_eq!(member.publications(&mut server), []);
        assert_eq!(member.subscribe(&mut server, "r")["offset"], 1);
        server.finish();
    }
}
