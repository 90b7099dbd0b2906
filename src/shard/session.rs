//! One connection's slot: transport, protocol, and what the shard itself keeps of it.

use std::sync::Arc;

use crate::id::ConnectionId;
use crate::protocol::Connection;
use crate::reactor::{Interest, PeerAddress};
use crate::rooms::Identity;
use crate::slab::Key;
use crate::time::Time;

use super::membership::NO_MEMBERSHIP;
use super::outbound::Outbound;
use super::publish::Publisher;
use super::rates::Rates;
use super::settings::Settings;

/// What stands in the slab for one connection.
#[derive(Debug)]
pub struct Slot<T> {
    pub stream: T,
    pub protocol: Connection,
    pub session: Session,
}

/// The shard's own state of a connection.
#[derive(Debug)]
pub struct Session {
    pub outbound: Outbound,
    pub peer: PeerAddress,
    /// How others know it: its own id, or that of the connection that it comes back for.
    pub client: ConnectionId,
    /// What it says of itself.
    pub identity: Option<Arc<Identity>>,
    /// When the peer last sent anything, or reading last resumed.
    pub received_at: Time,
    /// When it was last asked for a sign of life that its endpoint asks for in its own way.
    pub heartbeat_at: Time,
    /// When reading last resumed after a pause of ours; at first, when it began.
    pub resumed_at: Time,
    /// While [`Session::waiting`]: when the kernel last took bytes.
    pub progress_at: Time,
    /// The one fixed deadline: of the handshake at first, of the next request or heartbeat, of the pong while a ping is unanswered, of
    /// the transport's end once the conversation has ended.
    pub deadline: Time,
    /// What it has used up of the rates that it may send at.
    pub rates: Rates,
    /// Bytes read after the end of the conversation and, once we have sent everything, after that.
    pub lingered: u32,
    /// What it counts for in [`super::Core::http_bytes`].
    pub http_bytes: u32,
    /// Head of the list of memberships.
    pub memberships: u32,
    pub endpoint: u16,
    /// What the stream is watched for now.
    pub interest: Interest,
    /// The endpoint accepted it; it will be told of the end.
    pub opened: bool,
    /// It comes back by itself when it dies, and is then known as before. (Not so at the doors where it does
    /// not get what it sent itself: there a stranger of its name would not get that either.)
    pub returns: bool,
    /// It has to introduce itself before its deadline.
    pub introduces_itself: bool,
    /// Its endpoint asks for signs of life in its own way, whatever else comes and goes.
    pub own_heartbeat: bool,
    /// It came over a listener that only this machine can reach.
    pub trusted: bool,
    /// It counts as a connection; else it is only refused in order.
    pub admitted: bool,
    /// It has been answered an HTTP request.
    pub served: bool,
    /// It is sent server-sent events.
    pub streams: bool,
    /// The protocol holds requests back until answers are taken.
    pub holds_requests: bool,
    /// Its cause of close is known and acted upon.
    pub ended: bool,
    /// A ping of ours is unanswered.
    pub ping_sent: bool,
    /// It stands in the list of slots to flush.
    pub dirty: bool,
    /// The kernel took less than it was given; writability is awaited.
    pub blocked: bool,
    /// Bytes have been waiting since the queue was last empty.
    pub waiting: bool,
    /// Not read from until its own replies are taken.
    pub paused_replies: bool,
    /// Not read from until the shards' inboxes have drained.
    pub paused_publisher: bool,
    /// Not read from until it has been silent for as long as it was too fast.
    pub paused_rate: bool,
    /// Not read from any more, or until what was queued before the end is sent: it has sent enough
    /// since.
    pub paused_linger: bool,
    /// The peer's end of stream has been read.
    pub read_closed: bool,
    /// We have told the peer that nothing more comes.
    pub write_closed: bool,
    /// It is in the list of slots to free.
    pub dead: bool,
}

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
    pub fn new(
        client: ConnectionId,
        (peer, trusted): (PeerAddress, bool),
        admitted: bool,
        now: Time,
        handshake_deadline: Time,
    ) -> Session {
        Session {
            outbound: Outbound::default(),
            peer,
            client,
            identity: None,
            received_at: now,
            heartbeat_at: now,
            resumed_at: now,
            progress_at: now,
            deadline: handshake_deadline,
            rates: Rates::UNUSED,
            lingered: 0,
            http_bytes: 0,
            memberships: NO_MEMBERSHIP,
            endpoint: 0,
            interest: Interest { readable: true, writable: false },
            opened: false,
            returns: false,
            introduces_itself: false,
            own_heartbeat: false,
            trusted,
            admitted,
            served: false,
            streams: false,
            holds_requests: false,
            ended: false,
            ping_sent: false,
            dirty: false,
            blocked: false,
            waiting: false,
            paused_replies: false,
            paused_publisher: false,
            paused_rate: false,
            paused_linger: false,
            read_closed: false,
            write_closed: false,
            dead: false,
        }
    }

    /// It as the publisher of a message.
    pub fn publisher(&self, key: Key) -> Publisher {
        Publisher { connection: key, client: self.client, identity: self.identity.clone() }
    }

    /// Whether we have stopped reading by our own choice; silence is not the peer's fault then.
    pub fn is_paused(&self) -> bool {
        self.paused_replies || self.paused_publisher || self.paused_rate || self.holds_requests
    }

    /// What the stream should be watched for.
    pub fn wanted_interest(&self) -> Interest {
        let paused = if self.ended { self.paused_linger } else { self.is_paused() };
        Interest { readable: !self.read_closed && !paused, writable: self.blocked }
    }
}

impl<T> Slot<T> {
    /// The earliest deadline and what it means.
    pub fn next_deadline(&self, settings: &Settings) -> (Time, Due) {
        let session = &self.session;
        if session.ended {
            return (session.deadline, Due::TransportEnd);
        }
        let debt = match session.paused_rate {
            true => (session.rates.due_at(&settings.rates), Due::RateDebt),
            false => (Time::NEVER, Due::RateDebt),
        };
        if !session.opened {
            return debt.min(self.next_http_deadline(settings));
        }
        let mut earliest = debt;
        if session.waiting {
            earliest = earliest.min((session.progress_at + settings.write_timeout, Due::WriteTimeout));
        }
        if session.introduces_itself {
            return earliest.min((session.deadline, Due::IntroductionTimeout));
        }
        if session.own_heartbeat && !session.ping_sent {
            earliest = earliest.min((session.heartbeat_at + settings.ping_interval, Due::Ping));
        } else if !session.is_paused() && !session.ping_sent {
            earliest = earliest.min((session.received_at + settings.ping_interval, Due::Ping));
        }
        // Our ping may stand behind what is waiting: then progress is the sign of life that counts.
        if !session.is_paused() && session.ping_sent && !session.waiting {
            earliest = earliest.min((session.deadline, Due::HeartbeatTimeout));
        }
        if let Some(started) = self.protocol.message_started()
            && !session.is_paused()
        {
            // Each kind of pause starts its time anew once at most: nothing else is answered or published
            // before the message is whole.
            let counts_from = started.max(session.resumed_at);
            earliest = earliest.min((counts_from + settings.message_timeout, Due::MessageTimeout));
        }
        earliest
    }

    /// The same before a WebSocket is open, or without one.
    fn next_http_deadline(&self, settings: &Settings) -> (Time, Due) {
        let session = &self.session;
        if session.waiting {
            return (session.progress_at + settings.write_timeout, Due::WriteTimeout);
        }
        if session.streams {
            return (session.deadline, Due::EventsHeartbeat);
        }
        if session.is_paused() {
            return (Time::NEVER, Due::HttpIdle);
        }
        match self.protocol.message_started() {
            Some(started) if self.protocol.reads_body() => {
                (started.max(session.resumed_at) + settings.message_timeout, Due::MessageTimeout)
            }
            Some(started) if session.served => {
                (started.max(session.resumed_at) + settings.handshake_timeout, Due::HandshakeTimeout)
            }
            _ if session.served => (session.deadline, Due::HttpIdle),
            _ => (session.deadline, Due::HandshakeTimeout),
        }
    }
}
