//! Refusals of the acceptor: counted, and logged as floods.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::endpoint::{CloseCause, CloseKind};
use crate::flood::{Flood, Over};
use crate::time::Time;

/// What the acceptor has counted, readable from any thread.
#[derive(Clone, Debug)]
pub struct AcceptorStats(Arc<Cells>);

#[derive(Debug)]
struct Cells {
    refused_at_once: Box<[AtomicU64]>,
    turns: AtomicU64,
    has_lost_listener: AtomicBool,
}

impl Default for AcceptorStats {
    fn default() -> AcceptorStats {
        AcceptorStats(Arc::new(Cells {
            refused_at_once: CloseKind::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            turns: AtomicU64::new(0),
            has_lost_listener: AtomicBool::new(false),
        }))
    }
}

impl AcceptorStats {
    /// Connections that were refused for this kind of cause before any shard saw them.
    pub fn refused_at_once(&self, kind: CloseKind) -> u64 {
        self.0.refused_at_once[kind as usize].load(Ordering::Relaxed)
    }

    /// Turns that the acceptor has made.
    pub fn turns(&self) -> u64 {
        self.0.turns.load(Ordering::Relaxed)
    }

    /// Whether a listener can no longer be accepted from.
    pub fn has_lost_listener(&self) -> bool {
        self.0.has_lost_listener.load(Ordering::Relaxed)
    }
}

/// What the acceptor lacks to take a connection in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    Descriptors,
    Memory,
    /// The listener itself is at fault.
    Listener,
    /// The memory that there may be is nearly used up.
    MemoryLimit,
}

impl Shortage {
    const ALL: [Shortage; 4] =
        [Shortage::Descriptors, Shortage::Memory, Shortage::Listener, Shortage::MemoryLimit];

    fn text(self) -> &'static str {
        match self {
            Shortage::Descriptors => "out of descriptors",
            Shortage::Memory => "the kernel has no memory for another connection",
            Shortage::Listener => "a listener cannot be accepted from",
            Shortage::MemoryLimit => "memory is nearly used up (--memory-limit, --shed-at-percent)",
        }
    }
}

/// The acceptor's side of it.
#[derive(Debug)]
pub struct Refusals {
    floods: Vec<Flood>,
    shortages: [Flood; Shortage::ALL.len()],
    stats: AcceptorStats,
}

impl Default for Refusals {
    fn default() -> Refusals {
        Refusals {
            floods: vec![Flood::default(); CloseKind::ALL.len()],
            shortages: Default::default(),
            stats: AcceptorStats::default(),
        }
    }
}

impl Refusals {
    /// What others read.
    pub fn stats(&self) -> &AcceptorStats {
        &self.stats
    }

    /// Logs the first refusal of a flood, of whoever it is.
    pub fn note(&mut self, cause: &CloseCause, who: impl fmt::Display, now: Time) {
        if !self.floods[cause.kind() as usize].note(now) {
            return;
        }
        match cause {
            CloseCause::ServerFull { limit } => {
                tracing::warn!("all {limit} connections are taken (--max-connections): more are refused");
            }
            CloseCause::ServerHandshakeRate { .. } | CloseCause::Overloaded { .. } => {
                tracing::warn!("{cause}: more are refused");
            }
            _ => tracing::warn!("connections of {who} are refused: {cause}"),
        }
    }

    /// Logs the first of a series of failures for want of something.
    pub fn note_shortage(&mut self, shortage: Shortage, now: Time) {
        if self.shortages[shortage as usize].note(now) {
            tracing::warn!("{}: new connections are refused or wait until that is over", shortage.text());
        }
    }

    /// Counts one that no shard will count.
    pub fn count_at_once(&self, cause: &CloseCause) {
        self.stats.0.refused_at_once[cause.kind() as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a turn. Nobody else writes.
    pub fn count_turn(&self) {
        self.stats.0.turns.store(self.stats.turns() + 1, Ordering::Relaxed);
    }

    /// A listener can no longer be watched.
    pub fn note_lost_listener(&self) {
        self.stats.0.has_lost_listener.store(true, Ordering::Relaxed);
    }

    /// Logs the floods that are over.
    pub fn end(&mut self, now: Time) {
        self.say_ended(|flood| flood.take_over(now));
    }

    /// Logs all floods: nobody is accepted any more.
    pub fn end_all(&mut self) {
        self.say_ended(Flood::cut);
    }

    fn say_ended(&mut self, ended: impl Fn(&mut Flood) -> Option<Over>) {
        for (flood, kind) in self.floods.iter_mut().zip(CloseKind::ALL) {
            if let Some(over) = ended(flood) {
                let (count, seconds, cause) = (over.count, over.lasted.as_secs(), kind.name());
                tracing::info!(cause, "refused {count} connections in {seconds} s");
            }
        }
        for (flood, shortage) in self.shortages.iter_mut().zip(Shortage::ALL) {
            if let Some(over) = ended(flood) {
                let (count, seconds) = (over.count, over.lasted.as_secs());
                tracing::info!("{}: over after {count} failures in {seconds} s", shortage.text());
            }
        }
    }

    /// When the next flood will be over if nothing more comes.
    pub fn over_at(&self) -> Option<Time> {
        self.floods.iter().chain(&self.shortages).filter_map(Flood::over_at).min()
    }
}
