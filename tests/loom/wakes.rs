//! A shard that waits is woken for its mail, whatever else wakes it at that moment.

use std::sync::Arc;

use fanfare::shard::{Mailbox, Mesh};
use fanfare::slab::Key;
use loom::thread;

use crate::poller::Poller;
use crate::{batch, check, publication, shard};

/// How a shard may get its turns wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Right,
    /// It lowers the flag of a wake-up behind the last look for mail before the next wait.
    LowersLast,
    /// It waits though it has left mail for the next turn.
    ForgetsTheRest,
}

/// Takes turns until so many pieces of mail have come, one in each turn.
fn receive(poller: &Poller, mailbox: &Mailbox<()>, turn: Turn, expected: usize) {
    let (mut received, mut raised) = (0, None);
    while received < expected {
        let has_mail = mailbox.has_mail();
        if let Some(woken) = raised.take() {
            poller.lower(woken);
        }
        let woken = poller.report(turn != Turn::ForgetsTheRest && has_mail);
        match turn {
            Turn::LowersLast => raised = Some(woken),
            _ => poller.lower(woken),
        }
        if woken.readable {
            poller.read();
        }
        if mailbox.take().is_some() {
            received += 1;
        }
    }
    assert!(mailbox.take().is_none());
}

fn send_and_wake(mesh: &Mesh<()>) {
    mesh.send(shard(0), publication(Key::from_u64(0), &batch(1)));
    mesh.wake(shard(0));
}

/// A shard that two others send to.
fn two_senders(turn: Turn) {
    check(move || {
        let poller = Poller::new();
        let (mesh, mut mailboxes) = Mesh::new(vec![poller.waker()], 1000);
        let mailbox = mailboxes.remove(0);
        for _ in 0..2 {
            let mesh = Arc::clone(&mesh);
            thread::spawn(move || send_and_wake(&mesh));
        }
        receive(&poller, &mailbox, turn, 2);
        assert_eq!(mesh.bytes_in_flight(shard(0)), 0);
    });
}

/// A shard that another sends to while a socket of its own becomes ready.
fn sender_and_socket() {
    check(|| {
        let poller = Poller::new();
        let (mesh, mut mailboxes) = Mesh::new(vec![poller.waker()], 1000);
        let mailbox = mailboxes.remove(0);
        thread::spawn(move || send_and_wake(&mesh));
        let peer = poller.clone();
        thread::spawn(move || peer.feed());
        receive(&poller, &mailbox, Turn::Right, 1);
    });
}

#[test]
fn mail_of_two_senders_is_taken() {
    two_senders(Turn::Right);
}

#[test]
fn mail_is_taken_while_a_socket_wakes_the_shard() {
    sender_and_socket();
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_shard_that_waits_with_mail_left_sleeps_for_ever() {
    two_senders(Turn::ForgetsTheRest);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_shard_that_lowers_the_flag_behind_its_last_look_for_mail_sleeps_for_ever() {
    two_senders(Turn::LowersLast);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_shard_that_is_woken_before_its_mail_is_sent_sleeps_for_ever() {
    check(|| {
        let poller = Poller::new();
        let (mesh, mut mailboxes) = Mesh::new(vec![poller.waker()], 1000);
        let mailbox = mailboxes.remove(0);
        thread::spawn(move || {
            mesh.wake(shard(0));
            mesh.send(shard(0), publication(Key::from_u64(0), &batch(1)));
        });
        receive(&poller, &mailbox, Turn::Right, 1);
    });
}
