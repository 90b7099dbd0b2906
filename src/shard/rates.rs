//! How fast a peer may send. What it sends is charged once it is read, so that a message larger than a
//! second's worth still passes; a peer in debt is not read from until that is paid, and one that gets into
//! debt again and again is closed.

use std::time::Duration;

use crate::endpoint::{CloseCause, PeerRate};
use crate::rate::Bucket;
use crate::reactor::Tick;
use crate::slab::Key;
use crate::time::Time;

use super::Core;
use super::session::{Flag, Session, Slot};
use super::stats::Counter;

/// The rates of a connection, and how long it may be over them.
#[derive(Clone, Copy, Debug)]
pub struct RateLimits {
    /// Messages a second, and HTTP requests.
    pub messages: u32,
    /// Bytes a second, of any kind.
    pub bytes: u64,
    /// Pings and pongs a second, together.
    pub pings: u32,
    /// From the first pause to the end, unless all is paid back in between.
    pub grace: Duration,
}

/// What a connection has used up of its rates.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    messages: Bucket,
    bytes: Bucket,
    pings: Bucket,
}

impl Rates {
    /// Nothing yet.
    pub const UNUSED: Rates = Rates { messages: Bucket::FULL, bytes: Bucket::FULL, pings: Bucket::FULL };

    /// Whether nothing is missing.
    fn are_unused(&self, now: Time) -> bool {
        self.messages.is_full(now) && self.bytes.is_full(now)
    }

    fn charge(&mut self, bytes: usize, messages: u32, limits: &RateLimits, now: Time) {
        self.bytes.charge(bytes as u64, limits.bytes, now);
        self.messages.charge(messages.into(), limits.messages.into(), now);
    }

    /// The rate that decides, and when the debt to it is paid.
    fn worst(&self) -> (PeerRate, Time) {
        let (messages, bytes) = (self.messages.paid_at(), self.bytes.paid_at());
        if messages > bytes { (PeerRate::Messages, messages) } else { (PeerRate::Bytes, bytes) }
    }

    /// When the debt to all rates is paid.
    pub fn paid_at(&self) -> Time {
        self.worst().1
    }
}

impl<S> Core<S> {
    /// Charges what was read from a connection, and stops reading from it if it is in debt.
    pub(super) fn charge<T>(&mut self, key: Key, slot: &mut Slot<T>, bytes: usize, messages: u32) {
        let session = &mut slot.session;
        if session.is(Flag::Ended) {
            return;
        }
        if session.over_until != Tick::NEVER && session.rates.are_unused(self.now) {
            session.over_until = Tick::NEVER;
        }
        session.rates.charge(bytes, messages, &self.settings.rates, self.now);
        if session.rates.paid_at() <= self.now {
            return;
        }
        if session.over_until == Tick::NEVER {
            session.over_until = Tick::after(self.now + self.settings.rates.grace);
        }
        if !session.is(Flag::PausedRate) {
            session.set(Flag::PausedRate, true);
            self.tally.add(Counter::RatePauses, 1);
            self.mark_dirty(key.index(), &mut slot.session);
        }
        self.rate_due(key, slot);
        self.arm(key.index(), slot);
    }

    /// Goes on with a connection whose debt is paid, or ends it when its time is over.
    pub(super) fn rate_due<T>(&mut self, key: Key, slot: &mut Slot<T>) {
        let (rate, paid_at) = slot.session.rates.worst();
        if paid_at <= self.now {
            slot.session.set(Flag::PausedRate, false);
            self.reading_resumed(key.index(), slot);
            self.mark_dirty(key.index(), &mut slot.session);
            return;
        }
        let RateLimits { messages, bytes, grace, .. } = self.settings.rates;
        if slot.session.over_until.time() <= self.now {
            let limit = if rate == PeerRate::Messages { messages.into() } else { bytes };
            let cause = CloseCause::RateExceeded { rate, limit, grace };
            self.note_rate_exceeded(&slot.session, &cause);
            self.finish(key, slot, cause);
        }
    }

    /// Charges a ping or a pong of a peer, and says why the connection ends if that was one too many.
    pub(super) fn charge_ping(&mut self, session: &mut Session) -> Option<CloseCause> {
        let limit = self.settings.rates.pings.into();
        if session.rates.pings.take(limit, self.now) {
            return None;
        }
        let cause = CloseCause::RateExceeded { rate: PeerRate::Pings, limit, grace: Duration::ZERO };
        self.note_rate_exceeded(session, &cause);
        Some(cause)
    }

    fn note_rate_exceeded(&mut self, session: &Session, cause: &CloseCause) {
        if self.rate_flood.note(self.now) {
            let peer = self.peers.address(session.peer);
            tracing::warn!(%peer, "peers send too fast and are closed: {cause}");
        }
    }

    /// Says of the floods that are over how many were closed.
    pub(super) fn end_floods(&mut self) {
        if let Some(over) = self.refused_flood.take_over(self.now) {
            let (count, seconds) = (over.count, over.lasted.as_secs());
            tracing::info!("refused {count} clients behind proxies in {seconds} s");
        }
        if let Some(over) = self.rate_flood.take_over(self.now) {
            let (count, seconds) = (over.count, over.lasted.as_secs());
            tracing::info!("closed {count} connections in {seconds} s that sent too fast");
        }
    }
}
