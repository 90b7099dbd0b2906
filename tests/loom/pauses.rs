//! A publisher that pauses because an inbox is full goes on when it has drained, and shards that pause for
//! each other do not wait for each other for ever.

use std::sync::Arc;

use fanfare::rooms::Batch;
use fanfare::shard::{Mailbox, Mesh};
use fanfare::slab::Key;
use fanfare::sync::model::{Fault, inject};
use loom::thread;

use crate::poller::Poller;
use crate::{batch, check, publication, shard};

/// Any publication is more than this.
const BYTES_MAX: usize = 100;

/// How a shard may get its turns wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Right,
    /// It reads the count and then sets its flag, but does not read the count again.
    CountsBeforeItSaysThatItWaits,
    /// It looks who waits for room, and then makes some.
    WakesBeforeItTakes,
    /// It takes a mail and does not tell.
    WakesNobody,
}

/// A shard that publishes to others and takes what they publish, in the order of the shipped turn: wait,
/// publish unless paused, take one mail.
struct Publisher {
    mailbox: Mailbox<()>,
    poller: Poller,
    turn: Turn,
    /// To which shards it still publishes.
    to_send: Vec<usize>,
    to_take: usize,
    batch: Arc<Batch>,
    paused: bool,
}

impl Publisher {
    fn new(
        (mailbox, poller): (Mailbox<()>, Poller),
        turn: Turn,
        to_send: &[usize],
        to_take: usize,
    ) -> Publisher {
        let (to_send, batch) = (to_send.to_vec(), batch(BYTES_MAX));
        Publisher { mailbox, poller, turn, to_send, to_take, batch, paused: false }
    }

    /// Takes turns until it has sent and taken everything and may go on.
    fn run(mut self) {
        loop {
            self.publish();
            self.take();
            if self.to_send.is_empty() && self.to_take == 0 && !self.paused {
                return;
            }
            let goes_on = !self.to_send.is_empty() && !self.paused;
            self.poller.wait(goes_on || self.mailbox.has_mail());
        }
    }

    fn publish(&mut self) {
        let mesh = self.mailbox.mesh();
        if self.paused {
            self.paused = self.waits(mesh);
        }
        if self.paused {
            return;
        }
        if let Some(to) = self.to_send.pop() {
            mesh.send(shard(to), publication(Key::from_u64(0), &self.batch));
            mesh.wake(shard(to));
            self.paused = mesh.is_over_limit(shard(to)) && self.waits(mesh);
        }
    }

    fn waits(&self, mesh: &Mesh<()>) -> bool {
        let me = self.mailbox.shard();
        if self.turn == Turn::CountsBeforeItSaysThatItWaits {
            let waits = (0..mesh.shards()).any(|to| mesh.is_over_limit(shard(to)));
            mesh.waits_for_room(me);
            return waits;
        }
        mesh.waits_for_room(me)
    }

    fn take(&mut self) {
        if self.turn == Turn::WakesBeforeItTakes {
            self.mailbox.wake_waiters();
        }
        if self.mailbox.take().is_none() {
            return;
        }
        self.to_take -= 1;
        if matches!(self.turn, Turn::Right | Turn::CountsBeforeItSaysThatItWaits) {
            self.mailbox.wake_waiters();
        }
    }
}

/// Runs shards, each of which publishes to some others, until all is taken.
fn run(turn: Turn, sends: &'static [&'static [usize]]) {
    check(move || {
        let pollers: Vec<Poller> = sends.iter().map(|_| Poller::new()).collect();
        let (mesh, mailboxes) = Mesh::new(pollers.iter().map(Poller::waker).collect(), BYTES_MAX);
        let sent_to = |number| sends.iter().flat_map(|to| to.iter()).filter(|to| **to == number).count();
        let make = |(number, inside)| Publisher::new(inside, turn, sends[number], sent_to(number));
        let mut shards = mailboxes.into_iter().zip(pollers).enumerate().map(make);
        let here = shards.next().expect("there is a shard");
        let threads: Vec<_> = shards.map(|shard| thread::spawn(move || shard.run())).collect();
        here.run();
        for thread in threads {
            thread.join().unwrap();
        }
        for number in 0..sends.len() {
            assert_eq!(mesh.bytes_in_flight(shard(number)), 0);
        }
    });
}

/// One publisher, and one shard that takes.
const ONE_TO_ONE: &[&[usize]] = &[&[1, 1], &[]];

#[test]
fn a_paused_publisher_goes_on() {
    run(Turn::Right, ONE_TO_ONE);
}

#[test]
fn two_publishers_to_one_shard_go_on() {
    run(Turn::Right, &[&[2], &[2], &[]]);
}

#[test]
fn a_publisher_that_waits_for_two_shards_goes_on() {
    run(Turn::Right, &[&[1, 2], &[], &[]]);
}

#[test]
fn two_shards_that_wait_for_each_other_go_on() {
    run(Turn::Right, &[&[1, 1], &[0, 0]]);
}

#[test]
fn a_shard_that_waits_for_itself_goes_on() {
    run(Turn::Right, &[&[0, 0], &[0]]);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_publisher_that_counts_before_it_says_that_it_waits_is_paused_for_ever() {
    run(Turn::CountsBeforeItSaysThatItWaits, ONE_TO_ONE);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_publisher_is_paused_for_ever_by_a_shard_that_looks_who_waits_before_it_takes() {
    run(Turn::WakesBeforeItTakes, ONE_TO_ONE);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_publisher_is_paused_for_ever_by_a_shard_that_wakes_nobody() {
    run(Turn::WakesNobody, ONE_TO_ONE);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_fences_a_publisher_is_paused_for_ever() {
    inject(Fault::NoFence);
    run(Turn::Right, ONE_TO_ONE);
}
