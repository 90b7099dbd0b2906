//! Whether the threads of a server still turn: what a watchdog and probes for liveness and readiness go by.
//!
//! A thread that has nothing to do waits, and waiting looks like hanging. So each look asks every thread for a
//! turn, by a wake-up, and the next look tells who has made none.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::ServerHandle;
use super::view::{View, ViewParts};
use crate::id::ShardId;
use crate::reactor::Wake;
use crate::shard::Counter;
use crate::time::Time;

/// A thread that a server cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerThread {
    /// One with connections.
    Worker(ShardId),
    /// The one that takes connections in.
    Acceptor,
}

impl fmt::Display for ServerThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerThread::Worker(shard) => write!(f, "worker {shard}"),
            ServerThread::Acceptor => f.write_str("the acceptor"),
        }
    }
}

/// How one thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadHealth {
    /// Which one.
    pub thread: ServerThread,
    /// Turns that it has made.
    pub turns: u64,
    /// For how long it has owed the turn that it was asked for; zero if it has turned since the look before, by
    /// whomever that was.
    pub unanswered: Duration,
    /// It has ended, in a shutdown, and owes nothing.
    pub has_ended: bool,
}

/// How a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Every worker, by its number, and the acceptor.
    pub threads: Vec<ThreadHealth>,
    /// No listener has been lost.
    pub is_listening: bool,
    /// It was told to stop.
    pub is_draining: bool,
}

impl Health {
    /// Whether it takes connections and serves them: every thread has turned, every listener is open, and it was
    /// not told to stop.
    pub fn is_ready(&self) -> bool {
        self.is_listening && !self.is_draining && self.has_begun()
    }

    /// Whether every thread has made a turn.
    pub fn has_begun(&self) -> bool {
        self.threads.iter().all(|thread| thread.turns > 0)
    }

    /// Whether every thread has turned since an earlier look, or has ended.
    pub fn has_turned_since(&self, earlier: &Health) -> bool {
        let mut pairs = self.threads.iter().zip(&earlier.threads);
        pairs.all(|(now, before)| now.has_ended || now.turns > before.turns)
    }

    /// The thread that has owed a turn for longest, if one does.
    pub fn slowest(&self) -> Option<&ThreadHealth> {
        let owing = self.threads.iter().filter(|thread| !thread.unanswered.is_zero());
        owing.max_by_key(|thread| thread.unanswered)
    }
}

/// What each thread was last asked.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// The turns that it had made then.
    turns: u64,
    /// When, if anybody has looked yet.
    at: Option<Time>,
}

/// What is kept from look to look.
#[derive(Debug)]
pub struct Pulse {
    /// Of each worker, and then of the acceptor.
    ended: Vec<AtomicBool>,
    asked: Mutex<Vec<Asked>>,
}

impl Pulse {
    /// That of so many workers and the acceptor, which are not started yet.
    pub fn new(workers: usize) -> Pulse {
        let asked = Asked { turns: 0, at: None };
        Pulse {
            ended: (0..=workers).map(|_| AtomicBool::new(false)).collect(),
            asked: Mutex::new(vec![asked; workers + 1]),
        }
    }

    /// A thread will turn no more, as it should.
    fn end(&self, thread: ServerThread) {
        let at = match thread {
            ServerThread::Worker(shard) => shard.index(),
            ServerThread::Acceptor => self.ended.len() - 1,
        };
        self.ended[at].store(true, Ordering::Relaxed);
    }

    fn look(&self, parts: &ViewParts) -> Vec<ThreadHealth> {
        let now = parts.clock.now();
        let mut asked = self.asked.lock();
        let look = |(at, asked): (usize, &mut Asked)| {
            let (thread, turns) = match parts.shards.get(at) {
                Some(stats) => (ServerThread::Worker(ShardId::new(at)), stats.get(Counter::Turns)),
                None => (ServerThread::Acceptor, parts.acceptor.turns()),
            };
            let has_ended = self.ended[at].load(Ordering::Relaxed);
            if turns != asked.turns || has_ended {
                *asked = Asked { turns, at: None };
            }
            let since = *asked.at.get_or_insert(now);
            ThreadHealth { thread, turns, unanswered: now.since(since), has_ended }
        };
        asked.iter_mut().enumerate().map(look).collect()
    }
}

impl View {
    /// How the server is now. Asks each thread for a turn that it would not make otherwise, which costs an idle
    /// one some microseconds: for whoever looks every second or so.
    pub fn health(&self) -> Health {
        let parts = self.parts();
        let threads = self.pulse().look(parts);
        // Behind the look: what a thread is asked now it has not done yet.
        for shard in (0..parts.mesh.shards()).map(ShardId::new) {
            parts.mesh.wake(shard);
        }
        parts.acceptor_waker.wake();
        Health {
            threads,
            is_listening: !parts.acceptor.has_lost_listener(),
            is_draining: parts.stop.is_asked(),
        }
    }

    /// A thread will turn no more, as it should.
    pub(super) fn end(&self, thread: ServerThread) {
        self.pulse().end(thread);
    }
}

impl ServerHandle {
    /// [`View::health`].
    pub fn health(&self) -> Health {
        self.view.health()
    }

    /// [`View::counter`].
    pub fn counter(&self, counter: Counter) -> u64 {
        self.view.counter(counter)
    }

    /// Rooms that are there: those with members, and those that are remembered.
    pub fn rooms(&self) -> usize {
        self.view.parts().registry.len()
    }
}
