//! Who is in a room: lists, counts, who is told, and what each level keeps.

use std::sync::Arc;

use fanfare::Config;
use fanfare::endpoint::CloseKind;
use fanfare::id::ShardId;
use fanfare::rooms::RoomName;
use fanfare::shard::{Counter, Mail, RemovalOrder, RemovedFrom};
use serde_json::{Value, json};

use crate::common::Server;
use crate::common::server::TICK;
use crate::sdk::{FRAMINGS, Framing, Sdk, server};

fn presence(server: &mut Server, sdk: &mut Sdk, room: &str) -> Result<Value, u64> {
    sdk.ask(server, "presence", json!({"channel": room})).map(|result| result["presence"].clone())
}

fn stats(server: &mut Server, sdk: &mut Sdk, room: &str) -> Result<(u64, u64), u64> {
    let result = sdk.ask(server, "presence_stats", json!({"channel": room}))?;
    Ok((result["num_clients"].as_u64().unwrap(), result["num_users"].as_u64().unwrap()))
}

fn watch(server: &mut Server, sdk: &mut Sdk, room: &str) {
    sdk.ask(server, "subscribe", json!({"channel": room, "join_leave": true})).unwrap();
}

fn unsubscribe(server: &mut Server, sdk: &mut Sdk, room: &str) {
    sdk.ask(server, "unsubscribe", json!({"channel": room})).unwrap();
}

fn info(sdk: &Sdk, user: &str) -> Value {
    json!({"user": user, "client": sdk.id})
}

#[test]
fn clients_are_listed_and_users_counted_on_all_shards() {
    for framing in FRAMINGS {
        let mut server = server(3, &Config::default());
        let mut ann = Sdk::named(&mut server, 0, framing, "ann");
        let mut again = Sdk::named(&mut server, 1, framing, "ann");
        let mut nobody = Sdk::connect(&mut server, 2, framing);
        let mut other = Sdk::connect(&mut server, 0, framing);
        for sdk in [&mut ann, &mut again, &mut nobody, &mut other] {
            sdk.subscribe(&mut server, "r");
        }
        let expected = json!({
            &ann.id: info(&ann, "ann"), &again.id: info(&again, "ann"), &nobody.id: info(&nobody, ""),
            &other.id: info(&other, ""),
        });
        assert_eq!(presence(&mut server, &mut nobody, "r"), Ok(expected));
        assert_eq!(stats(&mut server, &mut nobody, "r"), Ok((4, 2)));
        unsubscribe(&mut server, &mut again, "r");
        unsubscribe(&mut server, &mut other, "r");
        assert_eq!(stats(&mut server, &mut nobody, "r"), Ok((2, 2)));
        unsubscribe(&mut server, &mut nobody, "r");
        assert_eq!(presence(&mut server, &mut nobody, "r"), Ok(json!({&ann.id: info(&ann, "ann")})));
        assert_eq!(stats(&mut server, &mut nobody, "r"), Ok((1, 1)));
        assert_eq!(presence(&mut server, &mut nobody, "nowhere"), Ok(json!({})));
        assert_eq!(stats(&mut server, &mut nobody, "nowhere"), Ok((0, 0)));
        server.finish();
    }
}

#[test]
fn raw_members_count_and_those_with_a_name_are_listed() {
    let mut server = server(2, &Config::default());
    let mut sdk = Sdk::connect(&mut server, 0, Framing::Json);
    watch(&mut server, &mut sdk, "r");
    sdk.inbox(&mut server);
    let anonymous = server.connect(1, "/rooms/r");
    let bob = server.connect(1, "/rooms/r?name=bob");
    server.settle();
    let told = sdk.pushes(&mut server);
    assert_eq!((told.len(), &told[0]["join"]["info"]["user"]), (1, &json!("bob")));
    let listed = presence(&mut server, &mut sdk, "r").unwrap();
    assert_eq!(listed.as_object().unwrap().len(), 2);
    assert_eq!(stats(&mut server, &mut sdk, "r"), Ok((3, 2)));
    for client in [anonymous, bob] {
        server.feed(client, &crate::common::close(1000, ""));
    }
    server.settle();
    let told = sdk.pushes(&mut server);
    assert_eq!((told.len(), &told[0]["leave"]["info"]["user"]), (1, &json!("bob")));
    assert_eq!(stats(&mut server, &mut sdk, "r"), Ok((1, 1)));
    server.finish();
}

#[test]
fn joining_twice_counts_once() {
    let mut server = server(1, &Config::default());
    let mut sdk = Sdk::connect(&mut server, 0, Framing::Json);
    let twice = server.connect(0, "/test");
    for order in ["join a", "join b", "join a", "own a", "join b"] {
        server.feed(twice, &crate::common::text(order));
        server.settle();
    }
    assert_eq!(stats(&mut server, &mut sdk, "a"), Ok((1, 1)));
    assert_eq!(stats(&mut server, &mut sdk, "b"), Ok((1, 1)));
    server.feed(twice, &crate::common::close(1000, ""));
    server.settle();
    assert_eq!(stats(&mut server, &mut sdk, "a"), Ok((0, 0)));
    assert_eq!(stats(&mut server, &mut sdk, "b"), Ok((0, 0)));
    server.finish();
}

#[test]
fn each_level_answers_what_it_keeps() {
    for framing in FRAMINGS {
        let rules = ["off", "counted*=count", "full*=full"].map(|rule| rule.parse().unwrap());
        let mut server = server(2, &Config { presence: rules.to_vec(), ..Config::default() });
        let mut sdk = Sdk::named(&mut server, 0, framing, "ann");
        let mut other = Sdk::named(&mut server, 1, framing, "bob");
        for (absent, list, count) in [
            ("silent", Err(108), Err(108)),
            ("counted", Err(108), Ok((0, 0))),
            ("full", Ok(json!({})), Ok((0, 0))),
        ] {
            assert_eq!(presence(&mut server, &mut sdk, absent), list, "{absent}");
            assert_eq!(stats(&mut server, &mut sdk, absent), count, "{absent}");
        }
        for room in ["silent", "counted", "full"] {
            watch(&mut server, &mut sdk, room);
            sdk.inbox(&mut server);
            other.subscribe(&mut server, room);
            unsubscribe(&mut server, &mut other, room);
            let told = sdk.pushes(&mut server).len();
            assert_eq!(told, if room == "full" { 2 } else { 0 }, "{room}");
        }
        assert_eq!(presence(&mut server, &mut sdk, "silent"), Err(108));
        assert_eq!(stats(&mut server, &mut sdk, "silent"), Err(108));
        assert_eq!(presence(&mut server, &mut sdk, "counted"), Err(108));
        assert_eq!(stats(&mut server, &mut sdk, "counted"), Ok((1, 1)));
        assert_eq!(presence(&mut server, &mut sdk, "full"), Ok(json!({&sdk.id: info(&sdk, "ann")})));
        assert_eq!(stats(&mut server, &mut sdk, "full"), Ok((1, 1)));
        server.finish();
    }
}

#[test]
fn over_presence_members_there_is_no_list_and_nobody_is_told() {
    const LIMIT: usize = 3;
    for framing in FRAMINGS {
        let mut server = server(2, &Config { presence_members: LIMIT, ..Config::default() });
        let mut watcher = Sdk::connect(&mut server, 0, framing);
        watch(&mut server, &mut watcher, "r");
        watcher.inbox(&mut server);
        let mut members: Vec<Sdk> = Vec::new();
        for count in 2..=LIMIT + 1 {
            let mut member = Sdk::connect(&mut server, 1, framing);
            member.subscribe(&mut server, "r");
            let told = watcher.pushes(&mut server);
            let listed = presence(&mut server, &mut watcher, "r").map(|list| list.as_object().unwrap().len());
            if count <= LIMIT {
                assert_eq!((told.len(), listed), (1, Ok(count)));
                assert_eq!(told[0]["join"]["info"], info(&member, ""));
            } else {
                assert_eq!((told.len(), listed), (0, Err(106)));
            }
            assert_eq!(stats(&mut server, &mut watcher, "r"), Ok((count as u64, 1)));
            members.push(member);
        }
        for left in (1..=LIMIT).rev() {
            let member = members.pop().unwrap();
            server.feed(member.at, &crate::common::close(1000, ""));
            server.settle();
            let told = watcher.pushes(&mut server);
            assert_eq!(told.len(), usize::from(left < LIMIT), "the one too many left without a word");
            let listed = presence(&mut server, &mut watcher, "r").map(|list| list.as_object().unwrap().len());
            assert_eq!(listed, Ok(left));
        }
        server.finish();
    }
}

#[test]
fn only_who_asks_is_told_who_joins_and_leaves() {
    for framing in FRAMINGS {
        let mut server = server(3, &Config::default());
        let mut watcher = Sdk::connect(&mut server, 0, framing);
        let mut deaf = Sdk::connect(&mut server, 1, framing);
        let mut elsewhere = Sdk::connect(&mut server, 1, framing);
        watch(&mut server, &mut watcher, "r");
        deaf.subscribe(&mut server, "r");
        watch(&mut server, &mut elsewhere, "other");
        for sdk in [&mut watcher, &mut deaf, &mut elsewhere] {
            sdk.inbox(&mut server);
        }
        let mut guest = Sdk::named(&mut server, 2, framing, "ann");
        guest.subscribe(&mut server, "r");
        let join = json!({"channel": "r", "join": {"info": info(&guest, "ann")}});
        assert_eq!(watcher.pushes(&mut server), [join]);
        unsubscribe(&mut server, &mut guest, "r");
        let leave = json!({"channel": "r", "leave": {"info": info(&guest, "ann")}});
        assert_eq!(watcher.pushes(&mut server), [leave]);
        for sdk in [&mut deaf, &mut elsewhere, &mut guest] {
            assert_eq!(sdk.inbox(&mut server), [Value::Null; 0]);
        }
        server.finish();
    }
}

#[test]
fn what_is_told_in_both_framings_counts_for_each_watcher_as_it_was_queued() {
    let mut server = server(1, &Config::default());
    let mut watchers = FRAMINGS.map(|framing| Sdk::connect(&mut server, 0, framing));
    for sdk in &mut watchers {
        watch(&mut server, sdk, "r");
    }
    for _ in 0..3 {
        let mut guest = Sdk::connect(&mut server, 0, Framing::Json);
        guest.subscribe(&mut server, "r");
        unsubscribe(&mut server, &mut guest, "r");
    }
    for sdk in &mut watchers {
        sdk.inbox(&mut server);
        let history = sdk.ask(&mut server, "history", json!({"channel": "r", "limit": 1}));
        assert!(history.is_ok(), "{history:?}");
    }
    assert!(server.counter(Counter::QueuePinnedMax) < 10_000);
    assert_eq!(server.closes(CloseKind::QueueOverflow), 0);
    server.finish();
}

#[test]
fn a_watcher_is_told_of_itself_behind_its_own_reply() {
    for framing in FRAMINGS {
        let mut server = server(1, &Config::default());
        let mut sdk = Sdk::connect(&mut server, 0, framing);
        let subscribe = json!({"id": 2, "subscribe": {"channel": "r", "join_leave": true}});
        let replies = sdk.send(&mut server, &[subscribe]);
        assert_eq!(replies.len(), 2);
        assert!(replies[0]["subscribe"].is_object());
        assert_eq!(replies[1]["push"]["join"]["info"], info(&sdk, ""));
        unsubscribe(&mut server, &mut sdk, "r");
        assert_eq!(sdk.inbox(&mut server), [Value::Null; 0], "it knows that it left");
        server.finish();
    }
}

#[test]
fn who_died_without_a_word_keeps_its_id_within_the_grace() {
    let grace = Config::default().presence_grace;
    for (waited, kept) in [(grace - TICK, true), (grace, false)] {
        let mut server = server(3, &Config::default());
        let mut watcher = Sdk::connect(&mut server, 0, Framing::Json);
        watch(&mut server, &mut watcher, "r");
        let mut ann = Sdk::named(&mut server, 1, Framing::Json, "ann");
        ann.subscribe(&mut server, "r");
        watcher.inbox(&mut server);
        server.socket(ann.at).eof = true;
        server.settle();
        assert_eq!(watcher.inbox(&mut server), [Value::Null; 0], "nobody is told yet");
        assert_eq!(stats(&mut server, &mut watcher, "r"), Ok((2, 2)));
        server.advance(waited);
        let mut back = Sdk::named(&mut server, 2, Framing::Protobuf, "ann");
        assert_eq!(back.id == ann.id, kept);
        back.subscribe(&mut server, "r");
        let told: Vec<Value> = watcher.pushes(&mut server);
        if kept {
            assert_eq!(told, [Value::Null; 0]);
            server.advance(grace * 2);
            assert_eq!(watcher.inbox(&mut server), [Value::Null; 0], "its old grace has no end any more");
        } else {
            assert_eq!(told.len(), 2, "{told:?}");
            assert_eq!(told[0]["leave"]["info"], info(&ann, "ann"));
            assert_eq!(told[1]["join"]["info"], info(&back, "ann"));
        }
        assert_eq!(stats(&mut server, &mut watcher, "r"), Ok((2, 2)));
        back.publish(&mut server, "r", json!(1)).unwrap();
        assert_eq!(watcher.pushes(&mut server)[0]["pub"]["info"], info(&back, "ann"), "it speaks by that id");
        server.finish();
    }
}

#[test]
fn who_says_goodbye_has_left_at_once() {
    for (code, lingers) in [(1000, false), (4000, false), (1001, true)] {
        let mut server = server(1, &Config::default());
        let mut watcher = Sdk::connect(&mut server, 0, Framing::Json);
        watch(&mut server, &mut watcher, "r");
        let mut ann = Sdk::named(&mut server, 0, Framing::Json, "ann");
        ann.subscribe(&mut server, "r");
        watcher.inbox(&mut server);
        server.feed(ann.at, &crate::common::close(code, ""));
        server.settle();
        assert_eq!(watcher.pushes(&mut server).len(), usize::from(!lingers), "{code}");
        server.advance(Config::default().presence_grace);
        assert_eq!(watcher.pushes(&mut server).len(), usize::from(lingers), "{code}");
        server.finish();
    }
}

#[test]
fn a_watcher_that_takes_nothing_is_cut_as_slow_and_harms_nobody() {
    const COMINGS: usize = 40;
    const IN_A_FRAME: usize = 100;
    for framing in FRAMINGS {
        let config = Config {
            max_message: 64 << 10,
            queue_bytes: 4 << 10,
            reply_bytes: 4 << 10,
            command_rate: 1 << 20,
            ..Config::default()
        };
        let mut server = server(2, &config);
        let mut watchers = [0, 1].map(|shard| Sdk::connect(&mut server, shard, framing));
        for watcher in &mut watchers {
            watch(&mut server, watcher, "r");
        }
        let [slow, reads] = &mut watchers;
        slow.inbox(&mut server);
        reads.inbox(&mut server);
        server.socket(slow.at).room = 0;
        let mut guest = Sdk::connect(&mut server, 1, framing);
        let pair = [
            json!({"id": 2, "subscribe": {"channel": "r"}}),
            json!({"id": 3, "unsubscribe": {"channel": "r"}}),
        ];
        let frame = vec![pair; IN_A_FRAME].concat();
        for _ in 0..COMINGS {
            assert_eq!(guest.send(&mut server, &frame).len(), 2 * IN_A_FRAME);
        }
        let leave = 1;
        assert_eq!(reads.pushes(&mut server).len(), 2 * IN_A_FRAME * COMINGS + leave, "the slow one's too");
        server.socket(slow.at).room = usize::MAX;
        server.settle();
        let (code, reason) = slow.closed(&mut server);
        assert_eq!((code, server.closes(CloseKind::QueueOverflow)), (3008, 1), "{reason}");
        server.finish();
    }
}

#[test]
fn a_leave_late_in_a_turn_wakes_the_watchers_of_other_shards() {
    let mut server = server(2, &Config::default());
    let mut watcher = Sdk::connect(&mut server, 1, Framing::Json);
    watch(&mut server, &mut watcher, "r");
    let mut ann = Sdk::named(&mut server, 0, Framing::Json, "ann");
    ann.subscribe(&mut server, "r");
    watcher.pushes(&mut server);
    let order = RemovalOrder {
        user: None,
        client: Some(ann.id.parse().unwrap()),
        spared: Vec::new(),
        from: RemovedFrom::Room(RoomName::new("r").unwrap()),
    };
    server.mesh.send(ShardId::new(0), Mail::Removal(Arc::new(order)));
    assert!(!server.wakers[1].is_set());
    server.turn(0);
    assert!(server.wakers[1].is_set(), "it would hear of the leave when something else wakes either shard");
    server.settle_shards(&[1]);
    assert_eq!(watcher.pushes(&mut server)[0]["leave"]["info"]["user"], json!("ann"));
    server.finish();
}
