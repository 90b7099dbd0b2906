//! What any thread may see of a running server: its counters, its inboxes, and whether its shards turn.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;

use super::Inspector;
use super::gauge::Usage;
use super::health::Pulse;
use super::refusals::AcceptorStats;
use crate::endpoint::{CloseKind, RouterPlan};
use crate::id::ShardId;
use crate::reactor::{MonotonicClock, PollWaker, Stop};
use crate::rooms::Registry;
use crate::shard::{Counter, Distribution, Mail, Mesh, Observed, ShardStats};

/// A look at a running server from any thread. Its clones look at the same one.
#[derive(Clone, Debug)]
pub struct View(Arc<Seen>);

#[derive(Debug)]
struct Seen {
    parts: ViewParts,
    pulse: Pulse,
}

/// What a view looks at.
#[derive(Debug)]
pub struct ViewParts {
    /// What each shard has counted, by shard.
    pub shards: Vec<ShardStats>,
    /// What the acceptor has counted.
    pub acceptor: AcceptorStats,
    /// What was in use at the acceptor's latest look.
    pub usage: Usage,
    /// What wakes the acceptor.
    pub acceptor_waker: PollWaker,
    /// The shards' inboxes.
    pub mesh: Arc<Mesh<OwnedFd>>,
    /// All rooms.
    pub registry: Arc<Registry>,
    /// All paths.
    pub plan: Arc<RouterPlan>,
    /// Connections that were admitted and not closed yet.
    pub connections: Arc<AtomicUsize>,
    /// How many there may be, by the latest reload.
    pub connections_max: AtomicUsize,
    /// Descriptors that the process may have.
    pub descriptors_max: u64,
    /// The clock of all its threads.
    pub clock: MonotonicClock,
    /// The order to stop.
    pub stop: Stop,
}

impl View {
    pub(super) fn new(parts: ViewParts) -> View {
        let pulse = Pulse::new(parts.shards.len());
        View(Arc::new(Seen { parts, pulse }))
    }

    /// What it looks at.
    pub fn parts(&self) -> &ViewParts {
        &self.0.parts
    }

    pub(super) fn pulse(&self) -> &Pulse {
        &self.0.pulse
    }

    /// A counter over all shards: the sum, or of a maximum the highest.
    pub fn counter(&self, counter: Counter) -> u64 {
        let values = self.parts().shards.iter().map(|stats| stats.get(counter));
        if counter.is_maximum() { values.max().unwrap_or(0) } else { values.sum() }
    }

    /// Connections that ended for this kind of cause, over all shards, and those that the acceptor refused
    /// at once.
    pub fn closes(&self, kind: CloseKind) -> u64 {
        let ended: u64 = self.parts().shards.iter().map(|stats| stats.closes(kind)).sum();
        ended + self.parts().acceptor.refused_at_once(kind)
    }

    /// How values of this kind have spread, over all shards.
    pub fn distribution(&self, distribution: Distribution) -> Observed {
        let of_shards = self.parts().shards.iter().map(|stats| stats.distribution(distribution));
        let sum = |mut all: Observed, more: Observed| {
            all.add(&more);
            all
        };
        of_shards.reduce(sum).expect("a server has a shard")
    }

    /// What asks the shards what they hold.
    pub fn inspector(&self) -> Inspector {
        Inspector::new(Arc::clone(&self.parts().mesh), Arc::clone(&self.parts().plan))
    }

    /// Whether it has been told to stop.
    pub fn is_stopping(&self) -> bool {
        self.parts().stop.is_asked()
    }

    /// Asks every shard for the end of a turn, waits for that up to `patience`, and says which have not answered.
    /// What a shard had done before it was asked is in its numbers when it has. One that has ended in a shutdown
    /// owes nothing.
    pub fn ask_shards(&self, patience: Duration) -> Vec<ShardId> {
        let ViewParts { mesh, clock, .. } = self.parts();
        let deadline = clock.now() + patience;
        let mut silent: Vec<ShardId> = (0..mesh.shards()).map(ShardId::new).collect();
        let (reply, answers) = crossbeam_channel::bounded(silent.len());
        for shard in &silent {
            mesh.send(*shard, Mail::Report(reply.clone()));
            mesh.wake(*shard);
        }
        drop(reply);
        while !silent.is_empty() {
            match answers.recv_timeout(deadline.since(clock.now())) {
                Ok(answered) => silent.retain(|shard| *shard != answered),
                // Nobody holds the question any more: who has not answered has ended.
                Err(RecvTimeoutError::Disconnected) => silent.clear(),
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
        silent
    }
}
