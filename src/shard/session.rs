//! One connection's slot: transport, protocol, and what the shard itself keeps of it.
//!
//! There is one for each of very many idle peers, so that every byte counts: a yes or no is a bit, a deadline a
//! tick of the wheel, and what few connections have stands in a table of those that have it
//! ([`super::persona`], [`super::peers`]).

use crate::protocol::Connection;
use crate::reactor::{Interest, Tick};
use crate::slab::NONE;
use crate::time::Time;

use super::membership::NO_MEMBERSHIP;
use super::outbound::Outbound;
use super::peers::Peer;
use super::rates::Rates;
use super::settings::Settings;
use super::stats::Counter;

/// How a stream is watched of which nothing special is known.
const READING: Interest = Interest { readable: true, writable: false };

/// What stands in the slab for one connection.
#[derive(Debug)]
pub struct Slot<T> {
    pub stream: T,
    /// Bytes read after the end of the conversation and, once we have sent everything, after that. (It stands
    /// here because it fits beside a descriptor.)
    pub lingered: u32,
    pub protocol: Connection,
    pub session: Session,
}

/// The shard's own state of a connection.
#[derive(Debug)]
pub struct Session {
    pub outbound: Outbound,
    /// Who is at the other end.
    pub peer: Peer,
    /// Who it is to others, if that is more than its own id: a number in [`super::persona::Personas`].
    pub persona: u32,
    /// When it is next to be asked for a sign of life: so long after the peer last sent anything or reading last
    /// resumed, or after it was last asked if its endpoint asks in its own way.
    pub quiet_until: Tick,
    /// While [`Flag::Waiting`]: when the kernel will have taken nothing for too long.
    pub stalled_at: Tick,
    /// The one fixed deadline: of the handshake at first, of the next request or heartbeat, of the pong while a ping is unanswered, of
    /// the transport's end once the conversation has ended.
    pub deadline: Tick,
    /// When it will have been over its rates for too long.
    pub over_until: Tick,
    /// What it has used up of the rates that it may send at.
    pub rates: Rates,
    /// What it counts for in [`super::Core::http_bytes`].
    pub http_bytes: u32,
    /// Head of the list of memberships.
    pub memberships: u32,
    flags: u32,
    pub endpoint: u16,
    /// What the stream is watched for now.
    pub interest: Interest,
}

/// What is so of a connection, or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// The endpoint accepted it; it will be told of the end.
    Opened,
    /// It comes back by itself when it dies, and is then known as before. (Not so at the doors where it does
    /// not get what it sent itself: there a stranger of its name would not get that either.)
    Returns,
    /// It has to introduce itself before its deadline.
    IntroducesItself,
    /// Its endpoint asks for signs of life in its own way, whatever else comes and goes.
    OwnHeartbeat,
    /// It was told a shorter interval of them than others are told now.
    KeepsInterval,
    /// It came over a listener that only this machine can reach, and without a header before the connection, or
    /// with one that names an address of this machine.
    Trusted,
    /// It counts as a connection; else it is only refused in order.
    Admitted,
    /// The acceptor has counted it for its address.
    CountedAtAccept,
    /// The shard has, for the address of whom a proxy has named.
    CountedHere,
    /// Its peer is believed when it says for whom it makes a request.
    TrustedProxy,
    /// That one has named who makes the request it is at, by an address of this machine.
    LocalClient,
    /// The body of the request it is at is awaited, or is there and not yet answered.
    ReadsBody,
    /// It has been answered an HTTP request.
    Served,
    /// It is sent server-sent events.
    Streams,
    /// The protocol holds requests back until answers are taken.
    HoldsRequests,
    /// Its cause of close is known and acted upon.
    Ended,
    /// A ping of ours is unanswered.
    PingSent,
    /// It stands in the list of slots to flush.
    Dirty,
    /// The kernel took less than it was given; writability is awaited.
    Blocked,
    /// Bytes have been waiting since the queue was last empty.
    Waiting,
    /// Not read from until its own replies are taken.
    PausedReplies,
    /// Not read from until the shards' inboxes have drained.
    PausedPublisher,
    /// Not read from until it has been silent for as long as it was too fast.
    PausedRate,
    /// Not read from any more, or until what was queued before the end is sent: it has sent enough
    /// since.
    PausedLinger,
    /// The peer's end of stream has been read.
    ReadClosed,
    /// We have told the peer that nothing more comes.
    WriteClosed,
    /// It is in the list of slots to free.
    Dead,
}

impl Flag {
    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

const _: () = assert!((Flag::Dead as u32) < u32::BITS, "each flag has a bit");

/// All pauses of reading that end by our own doing.
const PAUSES: u32 = Flag::PausedReplies.bit()
    | Flag::PausedPublisher.bit()
    | Flag::PausedRate.bit()
    | Flag::HoldsRequests.bit();

/// That there is more to do for a connection than to send it what arrived.
const BUSY: u32 = Flag::Dirty.bit()
    | Flag::Dead.bit()
    | Flag::Ended.bit()
    | Flag::Waiting.bit()
    | Flag::HoldsRequests.bit();

/// That there is more to a flush than that something is sent.
const MORE_THAN_SENDS: u32 = (BUSY & !Flag::Dirty.bit())
    | PAUSES
    | Flag::Blocked.bit()
    | Flag::PausedLinger.bit()
    | Flag::ReadClosed.bit();

/// What a timer finds to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    HandshakeTimeout,
    IntroductionTimeout,
    HttpIdle,
    MessageTimeout,
    RateDebt,
    Ping,
    EventsHeartbeat,
    HeartbeatTimeout,
    WriteTimeout,
    TransportEnd,
}

impl Session {
    /// A session at its accept.
    pub fn new(peer: Peer, handshake_deadline: Time) -> Session {
        Session {
            outbound: Outbound::default(),
            peer,
            persona: NONE,
            quiet_until: Tick::NEVER,
            stalled_at: Tick::NEVER,
            deadline: Tick::after(handshake_deadline),
            over_until: Tick::NEVER,
            rates: Rates::UNUSED,
            http_bytes: 0,
            memberships: NO_MEMBERSHIP,
            flags: 0,
            endpoint: 0,
            interest: READING,
        }
    }

    /// Whether it is so.
    pub fn is(&self, flag: Flag) -> bool {
        self.flags & flag.bit() != 0
    }

    /// Says whether it is so.
    pub fn set(&mut self, flag: Flag, value: bool) {
        if value {
            self.flags |= flag.bit();
        } else {
            self.flags &= !flag.bit();
        }
    }

    /// The state that it is counted in.
    pub fn state(&self) -> Counter {
        if self.is(Flag::Ended) {
            Counter::Closing
        } else if self.is(Flag::Streams) {
            Counter::OpenStreams
        } else if self.is(Flag::Opened) {
            Counter::OpenWebSockets
        } else if self.is(Flag::Served) {
            Counter::BetweenRequests
        } else {
            Counter::Handshaking
        }
    }

    /// Whether we have stopped reading by our own choice; silence is not the peer's fault then.
    pub fn is_paused(&self) -> bool {
        self.flags & PAUSES != 0
    }

    /// Whether there is more to do for it than to send it what arrived.
    pub fn awaits_flush(&self) -> bool {
        self.flags & BUSY != 0 || !self.outbound.is_empty()
    }

    /// Whether a flush has only to send the replies: there is no room to look into, nothing that waits, pauses or
    /// ends, and the stream is watched as it should be.
    pub fn awaits_replies_only(&self) -> bool {
        self.flags & MORE_THAN_SENDS == 0
            && self.memberships == NO_MEMBERSHIP
            && self.http_bytes == 0
            && self.interest == READING
    }

    /// What the stream should be watched for.
    pub fn wanted_interest(&self) -> Interest {
        let paused = if self.is(Flag::Ended) { self.is(Flag::PausedLinger) } else { self.is_paused() };
        Interest { readable: !self.is(Flag::ReadClosed) && !paused, writable: self.is(Flag::Blocked) }
    }
}

impl<T> Slot<T> {
    /// The earliest deadline and what it means.
    pub fn next_deadline(&self, settings: &Settings) -> (Time, Due) {
        let session = &self.session;
        if session.is(Flag::Ended) {
            return (session.deadline.time(), Due::TransportEnd);
        }
        let debt = match session.is(Flag::PausedRate) {
            true => (session.rates.paid_at().min(session.over_until.time()), Due::RateDebt),
            false => (Time::NEVER, Due::RateDebt),
        };
        if !session.is(Flag::Opened) {
            return debt.min(self.next_http_deadline(settings));
        }
        let mut earliest = debt;
        let waiting = session.is(Flag::Waiting);
        if waiting {
            earliest = earliest.min((session.stalled_at.time(), Due::WriteTimeout));
        }
        if session.is(Flag::IntroducesItself) {
            return earliest.min((session.deadline.time(), Due::IntroductionTimeout));
        }
        let (ping_sent, paused) = (session.is(Flag::PingSent), session.is_paused());
        if !ping_sent && (session.is(Flag::OwnHeartbeat) || !paused) {
            earliest = earliest.min((session.quiet_until.time(), Due::Ping));
        }
        // Our ping may stand behind what is waiting: then progress is the sign of life that counts.
        if !paused && ping_sent && !waiting {
            earliest = earliest.min((session.deadline.time(), Due::HeartbeatTimeout));
        }
        if let Some(started) = self.protocol.message_started()
            && !paused
        {
            // Each kind of pause starts its time anew once at most: nothing else is answered or published
            // before the message is whole.
            earliest = earliest.min((started + settings.message_timeout, Due::MessageTimeout));
        }
        earliest
    }

    /// The same before a WebSocket is open, or without one.
    fn next_http_deadline(&self, settings: &Settings) -> (Time, Due) {
        let session = &self.session;
        if session.is(Flag::Waiting) {
            return (session.stalled_at.time(), Due::WriteTimeout);
        }
        if session.is(Flag::Streams) {
            return (session.deadline.time(), Due::EventsHeartbeat);
        }
        if session.is_paused() {
            return (Time::NEVER, Due::HttpIdle);
        }
        match self.protocol.message_started() {
            Some(started) if self.protocol.reads_body() => {
                (started + settings.message_timeout, Due::MessageTimeout)
            }
            Some(started) if session.is(Flag::Served) => {
                (started + settings.handshake_timeout, Due::HandshakeTimeout)
            }
            _ if session.is(Flag::Served) => (session.deadline.time(), Due::HttpIdle),
            _ => (session.deadline.time(), Due::HandshakeTimeout),
        }
    }
}
