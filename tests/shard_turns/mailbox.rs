//! Back-pressure between shards: a shard that lags stops the publishers of the others, and nothing
//! is lost.

use std::sync::Arc;

use fanfare::endpoint::{Endpoint, RouterPlan};
use fanfare::id::ShardId;
use fanfare::rooms::RoomName;
use fanfare::shard::{Counter, Mail, RECEIVE_BYTES, RemovalOrder, RemovedFrom};
use fanfare::time::Time;

use crate::common::endpoints::{Mourner, Obedient, Record};
use crate::common::{Server, settings, text};

const MAILBOX_BYTES: usize = 64 << 10;

fn server(shards: usize) -> Server {
    let record = Record::default();
    let mut plan = RouterPlan::default();
    let make = move |_| Box::new(Obedient::new(record.clone())) as Box<dyn Endpoint>;
    plan.add_endpoint("/test", Arc::new(make));
    Server::with(shards, settings(), MAILBOX_BYTES, plan)
}

fn numbered(number: usize) -> String {
    format!("{number} {}", "p".repeat(1000))
}

#[test]
fn publishers_are_not_read_from_while_a_shard_lags_and_nothing_is_lost() {
    let mut server = server(3);
    let member = server.connect(1, "/rooms/a");
    let near = server.connect(0, "/rooms/a");
    let publishers = [server.connect(0, "/rooms/a"), server.connect(0, "/test"), server.connect(2, "/test")];
    let sent: Vec<String> = (0..600).map(numbered).collect();
    for message in &sent {
        server.feed(publishers[0], &text(message));
        for publisher in &publishers[1..] {
            server.feed(*publisher, &text(&format!("to a {message}")));
        }
    }
    let lagging = ShardId::new(1);
    server.settle_shards(&[0, 2]);
    for publisher in publishers {
        assert!(server.socket(publisher).unread() > 0, "not all is read");
        assert!(!server.socket(publisher).interest.readable);
    }
    let most = MAILBOX_BYTES + 3 * 2 * RECEIVE_BYTES;
    assert!((MAILBOX_BYTES..most).contains(&server.mesh.bytes_in_flight(lagging)));
    let calls = publishers.map(|publisher| server.socket(publisher).calls);
    for _ in 0..20 {
        server.turn(0);
        server.turn(2);
    }
    assert_eq!(publishers.map(|publisher| server.socket(publisher).calls), calls, "it does not spin");
    assert_eq!(server.counter(Counter::PublisherPauses), 3);
    server.settle();
    let everything = server.take_texts(member);
    assert_eq!(everything.len(), 3 * sent.len());
    assert_eq!(server.take_texts(near), everything);
    for (number, message) in sent.iter().enumerate() {
        assert_eq!(everything.iter().filter(|got| *got == message).count(), 3, "{number}");
    }
    assert_eq!(server.mesh.bytes_in_flight(lagging), 0);
    assert!(publishers.iter().all(|publisher| server.socket(*publisher).interest.readable));
    server.finish();
}

#[test]
fn a_connection_that_does_not_publish_is_read_from_while_a_shard_lags() {
    let mut server = server(2);
    server.connect(1, "/rooms/a");
    let publisher = server.connect(0, "/rooms/a");
    let other = server.connect(0, "/echo");
    for number in 0..300 {
        server.feed(publisher, &text(&numbered(number)));
    }
    server.settle_shards(&[0]);
    assert!(!server.socket(publisher).interest.readable);
    server.feed(other, &text("not concerned"));
    server.settle_shards(&[0]);
    assert_eq!(server.take_texts(other), ["not concerned"]);
    server.settle();
    server.finish();
}

#[test]
fn a_publisher_that_is_paused_and_closed_by_its_peer_leaves_nothing_behind() {
    let mut server = server(2);
    let member = server.connect(1, "/rooms/a");
    let publisher = server.connect(0, "/rooms/a");
    for number in 0..300 {
        server.feed(publisher, &text(&numbered(number)));
    }
    server.settle_shards(&[0]);
    server.socket(publisher).eof = true;
    server.settle();
    assert!(server.is_closed(publisher));
    assert_eq!(server.take_texts(member).len(), 300, "what it had sent is read first");
    server.finish();
}

#[test]
fn what_is_said_late_in_a_turn_is_published_without_another_event() {
    let mut server = Server::with_endpoint(settings(), || Mourner);
    server.connect(0, "/test");
    let member = server.connect(0, "/rooms/a");
    server.settle();
    let from = RemovedFrom::Room(RoomName::new("left").unwrap());
    let order = RemovalOrder { user: None, client: None, spared: Vec::new(), from };
    server.mesh.send(ShardId::new(0), Mail::Removal(Arc::new(order)));
    server.turn(0);
    assert!(server.take_texts(member).is_empty(), "mail comes after the publishing of a turn");
    server.turn(0);
    assert_eq!(server.shards[0].io_mut().deadline, Some(Time::ZERO), "it does not wait");
    assert_eq!(server.take_texts(member), ["removed"]);
    server.finish();
}
