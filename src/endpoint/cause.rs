//! Why a connection ended: a closed set. The frame on the wire, the log line and the counter all
//! come from the one [`CloseCause`], so they cannot disagree.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::protocol::{CloseCode, Failure, ProxyHeaderError, Refusal};
use crate::rooms::{Position, RoomName};

/// Why a connection ended, with what is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseCause {
    /// The peer started the closing handshake with this code, or with none.
    PeerClosed(Option<CloseCode>),
    /// The peer ended its stream without a Close.
    PeerGone,
    /// The transport failed: reset, timed out, out of memory.
    TransportFailed(std::io::ErrorKind),
    /// The peer broke the protocol or a limit on what it may send.
    Failed(Failure),
    /// A message was begun and not finished in time.
    MessageTimeout {
        /// How long it may take.
        limit: Duration,
    },
    /// A ping was not answered, by a pong or anything else.
    HeartbeatTimeout {
        /// How long the answer may take.
        limit: Duration,
    },
    /// A room's window has left the peer behind, and the room's policy is to disconnect.
    OutOfWindow {
        /// Where it was.
        behind: Behind,
    },
    /// The peer took the answers to it more slowly than the queue limit allows.
    QueueOverflow {
        /// Bytes that the queue may pin.
        limit: usize,
    },
    /// The peer took no byte for so long while some were waiting.
    WriteTimeout {
        /// How long it may make no progress.
        limit: Duration,
        /// Where it was, if it is in a room.
        behind: Option<Behind>,
    },
    /// The endpoint asked for more memberships than one connection may have.
    TooManyMemberships {
        /// How many it may have.
        limit: usize,
    },
    /// The peer sent faster than it may.
    RateExceeded {
        /// What it sent too much of.
        rate: PeerRate,
        /// How much of it it may send in a second.
        limit: u64,
        /// How long it may be over that; nothing is allowed over the rate of pings.
        grace: Duration,
    },
    /// The endpoint closed it.
    Endpoint(CloseCode, Cow<'static, str>),
    /// The peer did not introduce itself in time, where it has to.
    IntroductionTimeout {
        /// How long it may take.
        limit: Duration,
    },
    /// A back end closed it.
    Api(CloseCode, String),
    /// The endpoint panicked on it.
    EndpointPanic,
    /// The server is shutting down.
    Shutdown,
    /// The upgrade was refused with this HTTP status.
    Refused(u16),
    /// The path is an HTTP resource, which was answered with this status.
    HttpAnswered(u16),
    /// No further request came after an HTTP response.
    HttpIdle {
        /// How long one is waited for.
        limit: Duration,
    },
    /// A whole request head did not arrive in time.
    HandshakeTimeout {
        /// How long it may take.
        limit: Duration,
    },
    /// The system had no memory to take the socket over, of the process or of the kernel.
    NoResources(std::io::ErrorKind),
    /// The server has all the connections it may have.
    ServerFull {
        /// How many it may have.
        limit: usize,
    },
    /// The peer's address has all the connections that one address may have.
    AddressFull {
        /// How many it may have.
        limit: usize,
    },
    /// The peer's address makes connections faster than one address may.
    HandshakeRate {
        /// How many it may make in a second.
        limit: u32,
    },
    /// All together make connections faster than the server admits them.
    ServerHandshakeRate {
        /// How many it admits in a second.
        limit: u32,
        /// When this one may come again, in seconds.
        retry_after_s: u32,
    },
    /// The server has nearly used up what it has of something, and lets nobody else in.
    Overloaded {
        /// What it has little left of.
        scarcity: Scarcity,
        /// How much of it may be in use, in percent.
        percent: u8,
        /// When this one may come again, in seconds.
        retry_after_s: u32,
    },
    /// The peer takes what it is sent too slowly, and the server has nearly used up what it has of something.
    Shed {
        /// What it has little left of.
        scarcity: Scarcity,
        /// How much of it may be in use, in percent.
        percent: u8,
        /// Where the peer was, if it is in a room.
        behind: Option<Behind>,
    },
    /// The process or the machine has no descriptor left for another connection.
    OutOfDescriptors,
    /// It came where only trusted proxies may.
    UntrustedProxy,
    /// It did not begin with the header of a proxy, where it has to.
    ProxyHeader(ProxyHeaderError),
}

/// What a server has only so much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scarcity {
    /// Memory.
    Memory,
    /// Descriptors, which are connections mostly.
    Descriptors,
}

impl fmt::Display for Scarcity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scarcity::Memory => "memory",
            Scarcity::Descriptors => "descriptors",
        })
    }
}

/// What a peer may send only so much of in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerRate {
    /// Messages and HTTP requests.
    Messages,
    /// Bytes.
    Bytes,
    /// Pings and pongs.
    Pings,
}

/// A place in a room that a member did not get beyond.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    /// The room.
    pub room: RoomName,
    /// The last message that the member was sent.
    pub position: Position,
}

/// The position comes first: a long name is what is cut where there is no room for all.
impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {} in room {}", self.position, self.room)
    }
}

macro_rules! close_kinds {
    ($($kind:ident => $name:literal),* $(,)?) => {
        /// The kind of a [`CloseCause`]: what is counted, and the `cause` field of the log line.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs)] // each is the CloseCause of its name
        pub enum CloseKind { $($kind),* }

        impl CloseKind {
            /// All kinds, in order.
            pub const ALL: &'static [CloseKind] = &[$(CloseKind::$kind),*];

            /// The name in logs and counters.
            pub fn name(self) -> &'static str {
                match self { $(CloseKind::$kind => $name),* }
            }
        }
    };
}

close_kinds! {
    PeerClosed => "peer_closed",
    PeerGone => "peer_gone",
    TransportFailed => "transport_failed",
    ProtocolError => "protocol_error",
    LimitExceeded => "limit_exceeded",
    MessageTimeout => "message_timeout",
    HeartbeatTimeout => "heartbeat_timeout",
    OutOfWindow => "slow_consumer_history",
    QueueOverflow => "slow_consumer_queue",
    WriteTimeout => "slow_consumer_stalled",
    TooManyMemberships => "too_many_memberships",
    RateExceeded => "rate_exceeded",
    Endpoint => "endpoint",
    IntroductionTimeout => "introduction_timeout",
    Api => "api",
    EndpointPanic => "endpoint_panic",
    Shutdown => "shutdown",
    Refused => "refused",
    HttpAnswered => "http_answered",
    HttpIdle => "http_idle",
    HandshakeTimeout => "handshake_timeout",
    NoResources => "no_resources",
    ServerFull => "server_full",
    AddressFull => "address_full",
    HandshakeRate => "handshake_rate",
    ServerHandshakeRate => "server_handshake_rate",
    Overloaded => "overloaded",
    Shed => "slow_consumer_shed",
    OutOfDescriptors => "out_of_descriptors",
    UntrustedProxy => "untrusted_proxy",
    ProxyHeader => "proxy_header",
}

impl CloseKind {
    /// Whether the connection was not wanted in the first place, rather than ended later.
    pub fn is_refusal(self) -> bool {
        matches!(
            self,
            CloseKind::Refused
                | CloseKind::NoResources
                | CloseKind::ServerFull
                | CloseKind::AddressFull
                | CloseKind::HandshakeRate
                | CloseKind::ServerHandshakeRate
                | CloseKind::Overloaded
                | CloseKind::OutOfDescriptors
                | CloseKind::UntrustedProxy
                | CloseKind::ProxyHeader
        )
    }
}

impl CloseCause {
    /// The kind of this cause.
    pub fn kind(&self) -> CloseKind {
        match self {
            CloseCause::PeerClosed(_) => CloseKind::PeerClosed,
            CloseCause::PeerGone => CloseKind::PeerGone,
            CloseCause::TransportFailed(_) => CloseKind::TransportFailed,
            CloseCause::Failed(Failure::Protocol(_)) => CloseKind::ProtocolError,
            CloseCause::Failed(Failure::Limit(_)) => CloseKind::LimitExceeded,
            CloseCause::MessageTimeout { .. } => CloseKind::MessageTimeout,
            CloseCause::HeartbeatTimeout { .. } => CloseKind::HeartbeatTimeout,
            CloseCause::OutOfWindow { .. } => CloseKind::OutOfWindow,
            CloseCause::QueueOverflow { .. } => CloseKind::QueueOverflow,
            CloseCause::WriteTimeout { .. } => CloseKind::WriteTimeout,
            CloseCause::TooManyMemberships { .. } => CloseKind::TooManyMemberships,
            CloseCause::RateExceeded { .. } => CloseKind::RateExceeded,
            CloseCause::Endpoint(..) => CloseKind::Endpoint,
            CloseCause::IntroductionTimeout { .. } => CloseKind::IntroductionTimeout,
            CloseCause::Api(..) => CloseKind::Api,
            CloseCause::EndpointPanic => CloseKind::EndpointPanic,
            CloseCause::Shutdown => CloseKind::Shutdown,
            CloseCause::Refused(_) => CloseKind::Refused,
            CloseCause::HttpAnswered(_) => CloseKind::HttpAnswered,
            CloseCause::HttpIdle { .. } => CloseKind::HttpIdle,
            CloseCause::HandshakeTimeout { .. } => CloseKind::HandshakeTimeout,
            CloseCause::NoResources(_) => CloseKind::NoResources,
            CloseCause::ServerFull { .. } => CloseKind::ServerFull,
            CloseCause::AddressFull { .. } => CloseKind::AddressFull,
            CloseCause::HandshakeRate { .. } => CloseKind::HandshakeRate,
            CloseCause::ServerHandshakeRate { .. } => CloseKind::ServerHandshakeRate,
            CloseCause::Overloaded { .. } => CloseKind::Overloaded,
            CloseCause::Shed { .. } => CloseKind::Shed,
            CloseCause::OutOfDescriptors => CloseKind::OutOfDescriptors,
            CloseCause::UntrustedProxy => CloseKind::UntrustedProxy,
            CloseCause::ProxyHeader(_) => CloseKind::ProxyHeader,
        }
    }

    /// The code of the Close that an open connection is sent, if it is sent one.
    pub fn close_code(&self) -> Option<CloseCode> {
        match self {
            CloseCause::PeerClosed(code) => *code,
            CloseCause::Failed(failure) => Some(failure.close_code()),
            CloseCause::MessageTimeout { .. }
            | CloseCause::HeartbeatTimeout { .. }
            | CloseCause::OutOfWindow { .. }
            | CloseCause::QueueOverflow { .. }
            | CloseCause::WriteTimeout { .. }
            | CloseCause::IntroductionTimeout { .. }
            | CloseCause::RateExceeded { .. }
            | CloseCause::TooManyMemberships { .. } => Some(CloseCode::POLICY_VIOLATION),
            CloseCause::Endpoint(code, _) | CloseCause::Api(code, _) => Some(*code),
            CloseCause::EndpointPanic => Some(CloseCode::INTERNAL_ERROR),
            CloseCause::Shutdown => Some(CloseCode::GOING_AWAY),
            CloseCause::Shed { .. } => Some(CloseCode::TRY_AGAIN_LATER),
            CloseCause::PeerGone
            | CloseCause::TransportFailed(_)
            | CloseCause::Refused(_)
            | CloseCause::HttpAnswered(_)
            | CloseCause::HttpIdle { .. }
            | CloseCause::HandshakeTimeout { .. }
            | CloseCause::NoResources(_)
            | CloseCause::ServerFull { .. }
            | CloseCause::AddressFull { .. }
            | CloseCause::HandshakeRate { .. }
            | CloseCause::ServerHandshakeRate { .. }
            | CloseCause::Overloaded { .. }
            | CloseCause::OutOfDescriptors
            | CloseCause::UntrustedProxy
            | CloseCause::ProxyHeader(_) => None,
        }
    }

    /// The room that it is about, if it is about one.
    pub fn room(&self) -> Option<&RoomName> {
        match self {
            CloseCause::OutOfWindow { behind }
            | CloseCause::WriteTimeout { behind: Some(behind), .. }
            | CloseCause::Shed { behind: Some(behind), .. } => Some(&behind.room),
            _ => None,
        }
    }

    /// The HTTP response that says it to a peer without a WebSocket, if one does.
    pub fn refusal(&self) -> Option<Refusal> {
        let (status, retry_after_s) = match self {
            CloseCause::HandshakeTimeout { .. } | CloseCause::MessageTimeout { .. } => (408, None),
            CloseCause::RateExceeded { .. } | CloseCause::AddressFull { .. } => (429, Some(5)),
            CloseCause::HandshakeRate { .. } => (429, Some(1)),
            CloseCause::EndpointPanic => (500, None),
            CloseCause::ProxyHeader(_) => (400, None),
            CloseCause::UntrustedProxy => (403, None),
            CloseCause::Shutdown | CloseCause::ServerFull { .. } | CloseCause::OutOfDescriptors => {
                (503, Some(5))
            }
            CloseCause::ServerHandshakeRate { retry_after_s, .. }
            | CloseCause::Overloaded { retry_after_s, .. } => (503, Some(*retry_after_s)),
            _ => return None,
        };
        let refusal = Refusal::new(status, self.to_string());
        Some(match retry_after_s {
            Some(seconds) => refusal.with_header("Retry-After", seconds.to_string()),
            None => refusal,
        })
    }
}

/// One sentence; it is the reason of the Close too, and fits into its 123 bytes.
impl fmt::Display for CloseCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseCause::PeerClosed(Some(code)) => write!(f, "the peer closed with {code}"),
            CloseCause::PeerClosed(None) => f.write_str("the peer closed without a code"),
            CloseCause::PeerGone => f.write_str("the peer ended its stream without a Close"),
            CloseCause::TransportFailed(kind) => write!(f, "the transport failed: {kind}"),
            CloseCause::Failed(failure) => failure.fmt(f),
            CloseCause::MessageTimeout { limit } => {
                write!(f, "a message was not finished within {limit:?} (--message-timeout)")
            }
            CloseCause::HeartbeatTimeout { limit } => {
                write!(f, "no answer to a ping within {limit:?} (--pong-timeout)")
            }
            CloseCause::QueueOverflow { limit } => {
                write!(f, "slow consumer: over {limit} bytes of answers are waiting for it (--queue-bytes)")
            }
            CloseCause::OutOfWindow { behind } => {
                write!(f, "slow consumer: out of the history (--history-bytes) {behind}")
            }
            CloseCause::WriteTimeout { limit, behind } => {
                write!(f, "slow consumer: it took no byte for {limit:?} (--write-timeout)")?;
                behind.as_ref().map_or(Ok(()), |behind| write!(f, " {behind}"))
            }
            CloseCause::TooManyMemberships { limit } => {
                write!(f, "a connection may be in {limit} rooms (--max-memberships)")
            }
            CloseCause::RateExceeded { rate, limit, grace } => match rate {
                PeerRate::Messages => {
                    write!(f, "over {limit} messages a second (--message-rate) for {grace:?} (--rate-grace)")
                }
                PeerRate::Bytes => {
                    write!(f, "over {limit} bytes a second (--byte-rate) for {grace:?} (--rate-grace)")
                }
                PeerRate::Pings => write!(f, "over {limit} pings and pongs a second (--ping-rate)"),
            },
            CloseCause::Endpoint(_, reason) => f.write_str(reason),
            CloseCause::IntroductionTimeout { limit } => {
                write!(f, "it did not introduce itself within {limit:?} (--handshake-timeout)")
            }
            CloseCause::Api(_, reason) => f.write_str(reason),
            CloseCause::EndpointPanic => f.write_str("internal error"),
            CloseCause::Shutdown => f.write_str("the server is shutting down"),
            CloseCause::Refused(status) => write!(f, "the upgrade was refused with {status}"),
            CloseCause::HttpAnswered(status) => write!(f, "an HTTP request was answered with {status}"),
            CloseCause::HttpIdle { limit } => {
                write!(f, "no further request within {limit:?} (--http-idle-timeout)")
            }
            CloseCause::HandshakeTimeout { limit } => {
                write!(f, "no whole request head within {limit:?} (--handshake-timeout)")
            }
            CloseCause::NoResources(kind) => write!(f, "there was no memory to take it over: {kind}"),
            CloseCause::Shed { scarcity, percent, behind } => {
                write!(f, "slow consumer: over {percent} % of {scarcity} in use (--shed-at-percent)")?;
                behind.as_ref().map_or(Ok(()), |behind| write!(f, " {behind}"))
            }
            CloseCause::ServerFull { .. }
            | CloseCause::AddressFull { .. }
            | CloseCause::HandshakeRate { .. }
            | CloseCause::ServerHandshakeRate { .. }
            | CloseCause::Overloaded { .. }
            | CloseCause::OutOfDescriptors
            | CloseCause::UntrustedProxy => self.fmt_no_place(f),
            CloseCause::ProxyHeader(error) => error.fmt(f),
        }
    }
}

impl CloseCause {
    /// Why there is no place for a connection.
    fn fmt_no_place(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseCause::ServerFull { limit } => {
                write!(
                    f,
                    "the server has all of its {limit} connections (--max-connections; fixed for --admin)"
                )
            }
            CloseCause::AddressFull { limit } => {
                write!(f, "one address may have {limit} connections (--connections-per-address)")
            }
            CloseCause::HandshakeRate { limit } => {
                write!(f, "one address may connect {limit} times a second (--handshakes-per-address)")
            }
            CloseCause::ServerHandshakeRate { limit, .. } => {
                write!(f, "the server admits {limit} new connections a second (--handshakes-per-second)")
            }
            CloseCause::Overloaded { scarcity, percent, .. } => {
                write!(f, "the server has over {percent} % of its {scarcity} in use (--shed-at-percent)")
            }
            CloseCause::UntrustedProxy => f.write_str(
                "only trusted proxies may connect to this address (--listen-proxy, --trusted-proxy)",
            ),
            _ => f.write_str("the server has no descriptor left for another connection"),
        }
    }
}
