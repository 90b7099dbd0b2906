//! Whole shards as they ship, two at a time: what one publishes reaches the other's members, a publisher that
//! was paused goes on, and mail for a room or a connection that has gone reaches nobody.

use std::sync::Arc;

use fanfare::id::ConnectionId;
use fanfare::protocol::CloseCode;
use fanfare::rooms::RoomName;
use fanfare::shard::{Mail, RemovalOrder, RemovedFrom};
use fanfare::sync::model::{Fault, inject};
use loom::thread;

use crate::common::frames::{Frame, close, text};
use crate::world::{World, run_to_the_end, take_turn};
use crate::{check, shard};

const ROOMY: usize = 1 << 20;

/// A member on one shard is served what another shard's member publishes, without anything else to wake
/// the first.
fn publication_arrives(mailbox_bytes: usize, messages: usize) {
    check(move || {
        let (world, mut shards) = World::new(2, mailbox_bytes);
        let (mut far, mut near) = (shards.remove(1), shards.remove(0));
        let member = world.join((0, &mut near), "/rooms/a");
        let publisher = world.join((1, &mut far), "/rooms/a");
        let sent: Vec<String> = (0..messages).map(|number| number.to_string()).collect();
        for message in &sent {
            world.socket(publisher).feed(&text(message));
        }
        world.socket(publisher).read_max = text(&sent[0]).len();
        // The member's shard is in the midst of a turn.
        world.mesh.wake(shard(0));
        let other = world.clone();
        let thread = thread::spawn(move || {
            while other.socket(publisher).unread() > 0 {
                take_turn(&mut far);
            }
        });
        let expected: Vec<Frame> = sent.iter().map(|message| Frame::text(message)).collect();
        while world.frames(member).len() < messages {
            take_turn(&mut near);
        }
        assert_eq!(world.frames(member), expected);
        thread.join().unwrap();
    });
}

#[test]
fn a_publication_reaches_the_member_of_another_shard() {
    publication_arrives(ROOMY, 1);
}

#[test]
fn a_publisher_that_was_paused_goes_on() {
    publication_arrives(2, 2);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_fences_a_publisher_that_was_paused_does_not_go_on() {
    inject(Fault::NoFence);
    publication_arrives(2, 2);
}

/// What a shard publishes when its turn is nearly over wakes the others too, though it waits for ever then.
#[test]
fn a_publication_late_in_a_turn_reaches_the_member_of_another_shard() {
    check(|| {
        let (world, mut shards) = World::new(2, ROOMY);
        let (mut far, mut near) = (shards.remove(1), shards.remove(0));
        world.join((0, &mut near), "/mourner");
        let member = world.join((1, &mut far), "/rooms/a");
        let from = RemovedFrom::Room(RoomName::new("left").unwrap());
        let order = RemovalOrder { user: None, client: None, spared: Vec::new(), from };
        world.mesh.send(shard(0), Mail::Removal(Arc::new(order)));
        // The member's shard is in the midst of a turn.
        world.mesh.wake(shard(1));
        let other = world.clone();
        let thread = thread::spawn(move || {
            while other.frames(member).is_empty() {
                take_turn(&mut far);
            }
        });
        take_turn(&mut near);
        thread.join().unwrap();
        assert_eq!(world.frames(member), [Frame::text("removed")]);
    });
}

/// One room of a shard goes and another takes its slot at once, while mail for the first is on its way.
fn slot_of_a_room_is_reused() {
    check(|| {
        let (world, mut shards) = World::new(2, ROOMY);
        let (mut far, mut near) = (shards.remove(1), shards.remove(0));
        let leaving = world.join((0, &mut near), "/rooms/a");
        let publisher = world.join((1, &mut far), "/rooms/a");
        world.socket(leaving).feed(&close(1000, ""));
        let coming = world.open(0, "/rooms/b");
        world.socket(publisher).feed(&text("for a"));
        let other = world.clone();
        let thread = thread::spawn(move || {
            while other.socket(publisher).unread() > 0 {
                take_turn(&mut far);
            }
            other.drain(0);
            other.drain(1);
            run_to_the_end(far);
        });
        run_to_the_end(near);
        thread.join().unwrap();
        if world.is_open(coming) {
            let frames = world.frames(coming);
            assert_eq!(frames.len(), 1, "nothing was said in b: {frames:?}");
            assert_eq!(frames[0].close().unwrap().0, 1001);
        }
        world.assert_ended();
    });
}

#[test]
fn mail_for_a_room_that_has_gone_does_not_reach_the_room_in_its_slot() {
    slot_of_a_room_is_reused();
}

#[test]
#[should_panic(expected = "nothing was said in b")]
fn mail_under_a_key_that_does_not_change_reaches_the_room_in_its_slot() {
    inject(Fault::SameGeneration);
    slot_of_a_room_is_reused();
}

/// A connection goes and another takes its slot at once, while the order to remove the first is on its way.
fn slot_of_a_connection_is_reused() {
    check(|| {
        let (world, mut shards) = World::new(1, ROOMY);
        let mut near = shards.remove(0);
        let leaving = world.join((0, &mut near), "/rooms/a");
        let key = world.socket(leaving).key.expect("it is watched");
        world.socket(leaving).feed(&close(1000, ""));
        let order = RemovalOrder {
            user: None,
            client: Some(ConnectionId { shard: shard(0), key }),
            spared: Vec::new(),
            from: RemovedFrom::Server(CloseCode::POLICY_VIOLATION, String::new()),
        };
        let other = world.clone();
        let thread = thread::spawn(move || {
            let coming = other.open(0, "/rooms/a");
            other.mesh.send(shard(0), Mail::Removal(Arc::new(order)));
            other.mesh.wake(shard(0));
            other.drain(0);
            coming
        });
        run_to_the_end(near);
        let coming = thread.join().unwrap();
        if world.is_open(coming) {
            let last = world.frames(coming).pop().and_then(|last| last.close());
            assert_eq!(last.map(|(code, _)| code), Some(1001), "it was not the one to be removed");
        }
        world.assert_ended();
    });
}

#[test]
fn an_order_to_remove_one_that_has_gone_spares_the_one_in_its_slot() {
    slot_of_a_connection_is_reused();
}

#[test]
#[should_panic(expected = "it was not the one to be removed")]
fn an_order_under_an_id_that_does_not_change_removes_the_one_in_its_slot() {
    inject(Fault::SameGeneration);
    slot_of_a_connection_is_reused();
}

/// Somebody joins a room while another publishes two messages to it.
#[test]
fn one_that_joins_while_another_publishes_gets_all_from_where_it_begins() {
    check(|| {
        let (world, mut shards) = World::new(2, ROOMY);
        let (mut far, near) = (shards.remove(1), shards.remove(0));
        let publisher = world.join((1, &mut far), "/rooms/a");
        for message in ["1", "2"] {
            world.socket(publisher).feed(&text(message));
        }
        world.socket(publisher).read_max = text("1").len();
        let joining = world.open(0, "/rooms/a");
        let other = world.clone();
        let thread = thread::spawn(move || {
            while other.socket(publisher).unread() > 0 {
                take_turn(&mut far);
            }
            other.drain(0);
            other.drain(1);
            run_to_the_end(far);
        });
        run_to_the_end(near);
        thread.join().unwrap();
        if world.is_open(joining) {
            let mut frames = world.frames(joining);
            assert_eq!(frames.pop().and_then(|last| last.close()).map(|(code, _)| code), Some(1001));
            let both = ["1", "2"].map(Frame::text);
            assert!(both.ends_with(&frames), "{frames:?}");
        }
        world.assert_ended();
    });
}
