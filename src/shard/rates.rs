//! How fast a peer may send. What it sends is charged once it is read, so that a message larger than a
//! second's worth still passes; a peer in debt is not read from until that is paid, and one that gets into
//! debt again and again is closed.

use std::time::Duration;

use crate::endpoint::{CloseCause, PeerRate};
use crate::rate::Bucket;
use crate::slab::Key;
use crate::time::Time;

use super::Core;
use super::session::{Session, Slot};
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
    /// Its first pause since its buckets were last full.
    over_since: Time,
}

impl Rates {
    /// Nothing yet.
    pub const UNUSED: Rates =
        Rates { messages: Bucket::FULL, bytes: Bucket::FULL, pings: Bucket::FULL, over_since: Time::NEVER };

    fn charge(&mut self, bytes: usize, messages: u32, limits: &RateLimits, now: Time) {
        if self.messages.is_full(now) && self.bytes.is_full(now) {
            self.over_since = Time::NEVER;
        }
        self.bytes.charge(bytes as u64, limits.bytes, now);
        self.messages.charge(messages.into(), limits.messages.into(), now);
    }

    /// The rate that decides, and when the debt to it is paid.
    fn worst(&self) -> (PeerRate, Time) {
        let (messages, bytes) = (self.messages.paid_at(), self.bytes.paid_at());
        if messages > bytes { (PeerRate::Messages, messages) } else { (PeerRate::Bytes, bytes) }
    }

    /// When there is something to do for a connection that is paused: its debt is paid, or its time is over.
    pub fn due_at(&self, limits: &RateLimits) -> Time {
        self.worst().1.min(self.over_since + limits.grace)
    }
}

impl<S> Core<S> {
    /// Charges what was read from a connection, and stops reading from it if it is in debt.
    pub(super) fn charge<T>(&mut self, key: Key, slot: &mut Slot<T>, bytes: usize, messages: u32) {
        let session = &mut slot.session;
        if session.ended {
            return;
        }
        session.rates.charge(bytes, messages, &self.settings.rates, self.now);
        if session.rates.worst().1 <= self.now {
            return;
        }
        session.rates.over_since = session.rates.over_since.min(self.now);
        if !session.paused_rate {
            session.paused_rate = true;
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
            slot.session.paused_rate = false;
            self.reading_resumed(key.index(), slot);
            self.mark_dirty(key.index(), &mut slot.session);
            return;
        }
        let RateLimits { messages, bytes, grace, .. } = self.settings.rates;
        if slot.session.rates.over_since + grace <= self.now {
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
            tracing::warn!(peer = %session.peer, "peers send too fast and are closed: {cause}");
        }
    }

    /// Says how many were closed when it is over.
    pub(super) fn end_rate_flood(&mut self) {
        if let Some(over) = self.rate_flood.take_over(self.now) {
            let (count, seconds) = (over.count, over.lasted.as_secs());
            tracing::info!("closed {count} connections in {seconds} s that sent too fast");
        }
    }
}
