//! Rooms over several shards: who gets what, in which order, in how many sends.

use fanfare::shard::Counter;

use crate::common::endpoints::{Obedient, Record};
use crate::common::{Client, Server, close, settings, text};

fn members(server: &mut Server, count: usize, path: &str) -> Vec<Client> {
    let shards = server.shards.len();
    (0..count).map(|number| server.connect(number % shards, path)).collect()
}

#[test]
fn a_thousand_members_on_four_shards_each_get_every_message_once_and_in_order() {
    let mut server = Server::new(4, settings());
    let members = members(&mut server, 1000, "/rooms/a");
    let own = server.connect(2, "/rooms/a?echo=true");
    let sender = members[0];
    let sent: Vec<String> = (0..5).map(|number| format!("m{number}")).collect();
    for message in &sent {
        server.feed(sender, &text(message));
        server.feed(own, &text(&format!("own {message}")));
        server.settle();
    }
    let everything = server.take_texts(own);
    let mut expected = Vec::new();
    for message in &sent {
        expected.extend([message.clone(), format!("own {message}")]);
    }
    let mut sorted = everything.clone();
    sorted.sort_unstable();
    expected.sort_unstable();
    assert_eq!(sorted, expected, "with its own, each once");
    assert_eq!(server.take_texts(sender).len(), 5, "its own are left out");
    for member in &members[1..] {
        assert_eq!(server.take_texts(*member), everything);
    }
    assert_eq!(server.counter(Counter::Deliveries), 10 * 999 + 5 + 10);
    server.finish();
}

#[test]
fn a_burst_is_one_send_for_each_member() {
    let mut server = Server::new(2, settings());
    let members = members(&mut server, 20, "/rooms/a");
    for number in 0..100 {
        server.feed(members[0], &text(&format!("{number}")));
    }
    server.settle();
    let expected: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    for member in &members[1..] {
        let calls = server.socket(*member).calls;
        assert_eq!(calls.send, 2, "the handshake's and the burst's");
        assert_eq!(server.take_texts(*member), expected);
    }
    assert_eq!(server.socket(members[0]).calls.send, 1, "nothing for the sender");
    server.finish();
}

#[test]
fn publications_of_several_shards_at_once_have_one_order_for_everybody() {
    for shards in [1, 2, 8] {
        let mut server = Server::new(shards, settings());
        let members = members(&mut server, 24, "/rooms/a?echo=true");
        for round in 0..20 {
            for (number, member) in members.iter().enumerate() {
                server.feed(*member, &text(&format!("{number} {round}")));
            }
            // Not all shards have read when the first of them delivers.
            server.turn(round % shards);
            server.turn((round + 3) % shards);
        }
        server.settle();
        let order = server.take_texts(members[0]);
        assert_eq!(order.len(), 20 * 24);
        for member in &members[1..] {
            assert_eq!(server.take_texts(*member), order);
        }
        for number in 0..24 {
            let prefix = format!("{number} ");
            let own: Vec<&String> = order.iter().filter(|message| message.starts_with(&prefix)).collect();
            let in_order: Vec<String> = (0..20).map(|round| format!("{number} {round}")).collect();
            assert_eq!(own, in_order.iter().collect::<Vec<_>>(), "each sender's own order stands");
        }
        server.finish();
    }
}

#[test]
fn two_rooms_do_not_hear_each_other() {
    let mut server = Server::new(2, settings());
    let a = members(&mut server, 4, "/rooms/a");
    let b = members(&mut server, 4, "/rooms/b");
    server.feed(a[0], &text("for a"));
    server.feed(b[1], &text("for b"));
    server.settle();
    assert_eq!(server.take_texts(a[3]), ["for a"]);
    assert_eq!(server.take_texts(b[3]), ["for b"]);
    server.finish();
}

fn obedient(shards: usize) -> Server {
    let record = Record::default();
    let mut plan = fanfare::endpoint::RouterPlan::default();
    let make = move |_| Box::new(Obedient::new(record.clone())) as Box<dyn fanfare::endpoint::Endpoint>;
    plan.add_endpoint("/test", std::sync::Arc::new(make));
    Server::with(shards, settings(), 16 << 20, plan)
}

#[test]
fn a_member_gets_exactly_what_is_between_its_join_and_its_leave() {
    let mut server = obedient(2);
    let sender = server.connect(0, "/test");
    let stays = server.connect(0, "/test");
    let passing = [server.connect(0, "/test"), server.connect(1, "/test")];
    server.feed(stays, &text("join a"));
    server.settle();
    for number in 0..30 {
        for client in passing {
            match number {
                10 => server.feed(client, &text("join a")),
                20 => server.feed(client, &text("leave a")),
                _ => {}
            }
        }
        server.settle();
        server.feed(sender, &text(&format!("to a {number}")));
        server.settle();
    }
    let numbers = |from: usize, to: usize| -> Vec<String> { (from..to).map(|n| n.to_string()).collect() };
    assert_eq!(server.take_texts(stays), numbers(0, 30));
    for client in passing {
        assert_eq!(server.take_texts(client), numbers(10, 20));
    }
    server.finish();
}

#[test]
fn a_member_that_joins_while_messages_are_on_their_way_gets_the_rest_in_one_piece() {
    let mut server = obedient(2);
    let sender = server.connect(0, "/test");
    let stays = server.connect(1, "/test");
    let joins = server.connect(1, "/test");
    server.feed(stays, &text("join a"));
    server.settle();
    for number in 0..5 {
        server.feed(sender, &text(&format!("to a {number}")));
        server.turn(0);
    }
    // Five messages wait in the inbox of shard 1, which reads the join before it takes them.
    server.feed(joins, &text("join a"));
    server.turn(1);
    server.feed(sender, &text("to a 5"));
    server.settle();
    assert_eq!(server.take_texts(stays), ["0", "1", "2", "3", "4", "5"]);
    assert_eq!(server.take_texts(joins), ["5"]);
    server.finish();
}

#[test]
fn what_was_published_before_the_last_member_left_still_reaches_the_other_shards() {
    let mut server = obedient(2);
    let leaves = server.connect(0, "/test");
    let stays = server.connect(1, "/test");
    server.feed(stays, &text("join a"));
    server.feed(leaves, &text("join a"));
    server.settle();
    for command in ["all first", "leave a", "to a second", "join a", "all third"] {
        server.feed(leaves, &text(command));
    }
    server.settle();
    assert_eq!(server.take_texts(stays), ["first", "second", "third"]);
    assert_eq!(server.take_texts(leaves), [""; 0]);
    server.finish();
}

#[test]
fn a_member_that_closed_gets_nothing_after_its_close() {
    let mut server = Server::new(2, settings());
    let members = members(&mut server, 4, "/rooms/a");
    for round in 0..3 {
        server.feed(members[0], &text(&format!("before {round}")));
    }
    server.settle();
    server.feed(members[2], &close(1000, ""));
    server.feed(members[0], &text("in the same turn"));
    server.settle();
    server.feed(members[0], &text("after"));
    server.settle();
    let frames = server.take_frames(members[2]);
    let at = frames.iter().position(|frame| frame.close().is_some());
    assert_eq!(at, Some(frames.len() - 1), "{frames:?}");
    assert_eq!(server.take_texts(members[3]).len(), 5);
    assert_eq!(server.counter(Counter::Memberships), 3);
    server.finish();
}
