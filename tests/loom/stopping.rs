//! The end of everything: the order to stop reaches the acceptor, the acceptor's reaches every shard, and
//! who comes or publishes meanwhile leaves nothing behind.

use std::sync::Arc;

use fanfare::reactor::{Stop, Wake};
use fanfare::shard::{DrainOrder, Mail, Mesh, Progress};
use fanfare::slab::Key;
use fanfare::sync::model::{Fault, inject};
use fanfare::time::Time;
use loom::thread;

use crate::common::frames::{Frame, split_response, text};
use crate::poller::Poller;
use crate::world::{World, run_to_the_end};
use crate::{batch, check, publication, shard};

const ROOMY: usize = 1 << 20;

/// The shipped acceptor and a shipped shard are told to stop while somebody connects.
#[test]
fn acceptor_and_shard_end_while_somebody_connects() {
    check(|| {
        let (world, mut shards) = World::new(1, ROOMY);
        let near = shards.remove(0);
        let (door, mut acceptor) = world.acceptor();
        let thread = thread::spawn(move || while acceptor.turn().unwrap() == Progress::Running {});
        let other = world.clone();
        let peer = thread::spawn(move || {
            let socket = other.dial(&door, "/rooms/a");
            door.stop.ask(&door.poller);
            socket
        });
        run_to_the_end(near);
        thread.join().unwrap();
        let socket = peer.join().unwrap();
        let output = world.socket(socket).output.clone();
        if !output.is_empty() {
            let (status, frames) = split_response(&output);
            assert!(status == 503 || (status == 101 && !frames.is_empty()), "{status}");
        }
        world.assert_ended();
    });
}

/// The order to stop is given while another wake-up of the acceptor is on its way.
fn order_among_wake_ups() {
    check(|| {
        let (stop, poller) = (Stop::default(), Poller::new());
        let (order, waker) = (stop.clone(), poller.clone());
        thread::spawn(move || order.ask(&waker));
        let other = poller.clone();
        thread::spawn(move || other.wake());
        while !stop.is_asked() {
            poller.wait(false);
        }
    });
}

#[test]
fn an_order_to_stop_among_other_wake_ups_is_seen() {
    order_among_wake_ups();
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_fences_an_order_to_stop_is_overlooked() {
    inject(Fault::NoFence);
    order_among_wake_ups();
}

#[test]
#[should_panic(expected = "deadlock")]
fn an_order_to_stop_that_is_looked_for_before_the_flag_is_lowered_is_overlooked() {
    check(|| {
        let (stop, poller) = (Stop::default(), Poller::new());
        let (order, waker) = (stop.clone(), poller.clone());
        thread::spawn(move || order.ask(&waker));
        let other = poller.clone();
        thread::spawn(move || other.wake());
        loop {
            let woken = poller.report(false);
            let is_asked = stop.is_asked();
            poller.lower(woken);
            if is_asked {
                return;
            }
        }
    });
}

/// Two shards are told to end, one after the other, while one publishes to the other.
#[test]
fn both_shards_end_while_one_publishes() {
    check(|| {
        let (world, mut shards) = World::new(2, 2);
        let (mut far, mut near) = (shards.remove(1), shards.remove(0));
        let member = world.join((0, &mut near), "/rooms/a");
        let publisher = world.join((1, &mut far), "/rooms/a");
        world.socket(publisher).feed(&text("the last"));
        let threads =
            [thread::spawn(move || run_to_the_end(near)), thread::spawn(move || run_to_the_end(far))];
        world.drain(0);
        world.drain(1);
        for thread in threads {
            thread.join().unwrap();
        }
        let frames = world.frames(member);
        let (last, before) = frames.split_last().expect("a Close at least");
        assert_eq!(last.close().unwrap().0, 1001);
        assert!(before.is_empty() || *before == [Frame::text("the last")], "{before:?}");
        world.assert_ended();
    });
}

#[test]
fn a_connection_that_comes_just_before_the_end_is_closed_in_order() {
    check(|| {
        let (world, mut shards) = World::new(1, ROOMY);
        let near = shards.remove(0);
        // It is in the midst of a turn then.
        world.mesh.wake(shard(0));
        let thread = thread::spawn(move || run_to_the_end(near));
        let socket = world.open(0, "/rooms/a");
        world.drain(0);
        thread.join().unwrap();
        assert_eq!(world.socket(socket).calls.shutdown_write, 1);
        world.assert_ended();
    });
}

/// Mail for a shard that ends meanwhile is freed, whether it was sent before or after.
#[test]
fn mail_for_a_shard_that_has_ended_is_freed() {
    check(|| {
        let poller = Poller::new();
        let (mesh, mut mailboxes) = Mesh::<()>::new(vec![poller.waker()], ROOMY);
        let mailbox = mailboxes.remove(0);
        let batch = batch(1);
        let (sender, sent) = (Arc::clone(&mesh), Arc::clone(&batch));
        let publisher = thread::spawn(move || {
            sender.send(shard(0), publication(Key::from_u64(0), &sent));
            sender.wake(shard(0));
        });
        mesh.send(shard(0), Mail::Drain(DrainOrder::at_once(Time::NEVER)));
        while !matches!(mailbox.take(), Some(Mail::Drain(_))) {}
        drop(mailbox);
        publisher.join().unwrap();
        drop(mesh);
        assert_eq!(Arc::strong_count(&batch), 1);
    });
}
