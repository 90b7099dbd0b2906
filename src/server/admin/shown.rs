//! What inspections find, as JSON for operators: every value under a name with its unit.

use std::time::Duration;

use serde::Serialize;

use crate::protocol::CloseCode;
use crate::rooms::RoomSummary;
use crate::server::{Inspected, Inspector};
use crate::shard::{Closed, ConnectionSeen, ConnectionState, Pause, RoomSeen};

/// A room of a connection.
#[derive(Debug, Serialize)]
pub struct MembershipShown {
    room: String,
    offset: u64,
    lag_messages: u64,
}

/// A connection.
#[derive(Debug, Serialize)]
pub struct ConnectionShown {
    connection: String,
    client: String,
    user: Option<String>,
    address: String,
    worker: usize,
    state: &'static str,
    path: Option<String>,
    lag_messages: u64,
    queued_bytes: usize,
    reply_bytes: usize,
    stalled_ms: Option<u64>,
    silent_ms: Option<u64>,
    ping_unanswered: bool,
    not_read_for: Vec<&'static str>,
    memberships: usize,
    rooms: Vec<MembershipShown>,
}

/// A room.
#[derive(Debug, Serialize)]
pub struct RoomShown {
    room: String,
    members: usize,
    workers: usize,
    messages_per_second: f64,
    bytes_per_second: f64,
    epoch: String,
    offset: u64,
    history_messages: u64,
    history_bytes: usize,
    lag_policy: String,
}

/// A connection that ended.
#[derive(Debug, Serialize)]
pub struct ClosedShown {
    unix_ms: u64,
    seconds_ago: f64,
    cause: &'static str,
    text: String,
    code: Option<u16>,
    connection: Option<String>,
    client: Option<String>,
    user: Option<String>,
    address: String,
    path: Option<String>,
    room: Option<String>,
    behind_messages: u64,
    memberships: usize,
    queued_bytes: usize,
}

/// How whole an answer is.
#[derive(Debug, Serialize)]
pub struct Wholeness {
    looked_at: usize,
    missing_workers: Vec<usize>,
    partial_workers: Vec<usize>,
}

impl Wholeness {
    /// Of these answers.
    pub fn of(inspected: &Inspected) -> Wholeness {
        let numbers = |shards: &[crate::ShardId]| shards.iter().map(|shard| shard.index()).collect();
        Wholeness {
            looked_at: inspected.looked_at,
            missing_workers: numbers(&inspected.missing),
            partial_workers: numbers(&inspected.partial),
        }
    }
}

impl ConnectionShown {
    /// Shows one.
    pub fn new(seen: &ConnectionSeen, inspector: &Inspector) -> ConnectionShown {
        let room = |RoomSeen { room, offset, lag_messages }: &RoomSeen| MembershipShown {
            room: room.to_string(),
            offset: *offset,
            lag_messages: *lag_messages,
        };
        ConnectionShown {
            connection: seen.connection.to_string(),
            client: seen.client.to_string(),
            user: seen.identity.as_ref().map(|identity| identity.to_string()),
            address: seen.peer.to_string(),
            worker: seen.connection.shard.index(),
            state: state_word(seen.state),
            path: path(seen.endpoint, seen.state == ConnectionState::Events, inspector),
            lag_messages: seen.lag_messages,
            queued_bytes: seen.queued_bytes,
            reply_bytes: seen.reply_bytes,
            stalled_ms: seen.stalled.map(milliseconds),
            silent_ms: seen.silent.map(milliseconds),
            ping_unanswered: seen.ping_unanswered,
            not_read_for: seen.pauses.iter().copied().map(pause_word).collect(),
            memberships: seen.memberships,
            rooms: seen.rooms.iter().map(room).collect(),
        }
    }
}

impl RoomShown {
    /// Shows one.
    pub fn new(room: &RoomSummary) -> RoomShown {
        RoomShown {
            room: room.name.to_string(),
            members: room.members,
            workers: room.shards,
            messages_per_second: rounded(room.traffic.messages),
            bytes_per_second: rounded(room.traffic.bytes),
            epoch: room.extent.epoch.to_string(),
            offset: room.extent.last,
            history_messages: room.extent.last - room.extent.start,
            history_bytes: room.bytes,
            lag_policy: room.policy.to_string(),
        }
    }
}

impl ClosedShown {
    /// Shows one at this time since 1970.
    pub fn new(closed: &Closed, unix_time: Duration, inspector: &Inspector) -> ClosedShown {
        ClosedShown {
            unix_ms: milliseconds(closed.unix_time),
            seconds_ago: rounded(unix_time.saturating_sub(closed.unix_time).as_secs_f64()),
            cause: closed.cause.kind().name(),
            text: closed.cause.to_string(),
            code: closed.code.map(CloseCode::as_u16),
            connection: closed.connection.map(|id| id.to_string()),
            client: closed.client.map(|id| id.to_string()),
            user: closed.identity.as_ref().map(|identity| identity.to_string()),
            address: closed.peer.to_string(),
            path: path(closed.endpoint, closed.events, inspector),
            room: closed.room.as_ref().map(|room| room.to_string()),
            behind_messages: closed.behind_messages,
            memberships: closed.memberships,
            queued_bytes: closed.queued_bytes,
        }
    }
}

fn path(endpoint: Option<u16>, events: bool, inspector: &Inspector) -> Option<String> {
    match endpoint {
        _ if events => Some("/rooms/{room}/events".to_owned()),
        Some(endpoint) => inspector.endpoint_path(endpoint).map(str::to_owned),
        None => None,
    }
}

fn state_word(state: ConnectionState) -> &'static str {
    match state {
        ConnectionState::Handshake => "handshake",
        ConnectionState::Http => "http",
        ConnectionState::WebSocket => "websocket",
        ConnectionState::Events => "events",
        ConnectionState::Closing => "closing",
    }
}

fn pause_word(pause: Pause) -> &'static str {
    match pause {
        Pause::Replies => "replies",
        Pause::Publisher => "inboxes",
        Pause::Rate => "rate",
        Pause::Requests => "requests",
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Three digits behind the point are enough for a reader.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
