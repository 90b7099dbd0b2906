//! The ranges of what a server is told, and the error that names flag, value and range.

use std::time::Duration;

use super::Config;
use crate::id::SHARDS_MAX;
use crate::server::{AdminAddress, ExemptNetwork, ListenAddress, MemoryLimit};
use crate::shard::TrustedProxy;

/// A value that is out of its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{flag} {seen}: {allowed} is allowed")]
pub struct ConfigError {
    /// The flag that sets the value.
    pub flag: &'static str,
    /// The value.
    pub seen: String,
    /// What it may be.
    pub allowed: String,
}

/// Sizes add up to less than 32 bits, in which queues count what they pin: deliveries, replies, and one
/// message over.
pub(super) const BYTES_MAX: usize = 1 << 30;
/// More than machines have today, so that sums do not overflow.
const HISTORY_MEMORY_MAX: usize = 1 << 44;
/// Less than a server without anybody takes.
const MEMORY_LIMIT_MIN: usize = 16 << 20;
/// Rates over a million a second are kept too roughly ([`crate::rate::Bucket`]).
const RATE_MAX: usize = 1 << 20;
/// More than a link carries today.
const BYTE_RATE_MAX: usize = 1 << 40;
/// A deadline over a day is a deadline forgotten.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// The timers' tick is 67 ms; shorter deadlines would be kept by chance.
const DURATION_MIN: Duration = Duration::from_millis(100);

impl Config {
    /// Checks every value against its range.
    ///
    /// # Errors
    ///
    /// The first value that is out of range, with its flag and what is allowed.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.listen.is_empty() && self.listen_proxy.is_empty() {
            return Err(ConfigError {
                flag: "--listen",
                seen: "(none)".to_owned(),
                allowed: "at least one address".to_owned(),
            });
        }
        count("--workers", self.workers.unwrap_or(1), 1, SHARDS_MAX)?;
        count("--max-connections", self.max_connections.unwrap_or(1), 1, BYTES_MAX)?;
        count("--connections-per-address", self.connections_per_address, 1, BYTES_MAX)?;
        count("--handshakes-per-address", self.handshakes_per_address as usize, 1, RATE_MAX)?;
        count("--handshakes-per-second", self.handshakes_per_second as usize, 1, RATE_MAX)?;
        if let MemoryLimit::Bytes(limit) = self.memory_limit {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            bytes("--memory-limit", limit, MEMORY_LIMIT_MIN, HISTORY_MEMORY_MAX)?;
        }
        count("--shed-at-percent", self.shed_at_percent.into(), 50, 100)?;
        self.validate_exempt_networks()?;
        self.validate_proxies()?;
        self.validate_admin()?;
        bytes("--max-head", self.max_head, 256, 1 << 20)?;
        count("--max-headers", self.max_headers, 8, 4096)?;
        bytes("--max-message", self.max_message, 1, BYTES_MAX)?;
        count("--max-fragments", self.max_fragments as usize, 1, 1 << 24)?;
        count("--max-memberships", self.max_memberships, 1, 1 << 16)?;
        bytes("--history-bytes", self.history_bytes, 4 << 10, BYTES_MAX)?;
        count("--history-messages", self.history_messages as usize, 1, 1 << 24)?;
        bytes("--history-memory", self.history_memory, self.history_bytes, HISTORY_MEMORY_MAX)?;
        count("--presence-members", self.presence_members, 1, 100_000)?;
        count("--command-rate", self.command_rate as usize, 1, RATE_MAX)?;
        count("--message-rate", self.message_rate as usize, 1, RATE_MAX)?;
        // A request head passes at once, or its deadline would run while we do not read it.
        bytes("--byte-rate", self.byte_rate, self.max_head.max(64 << 10), BYTE_RATE_MAX)?;
        count("--ping-rate", self.ping_rate as usize, 1, RATE_MAX)?;
        bytes("--queue-bytes", self.queue_bytes, 4 << 10, BYTES_MAX)?;
        bytes("--reply-bytes", self.reply_bytes, 4 << 10, BYTES_MAX / 4)?;
        bytes("--send-buffer", self.send_buffer, 4 << 10, BYTES_MAX)?;
        bytes("--receive-buffer", self.receive_buffer, 4 << 10, BYTES_MAX)?;
        bytes("--http-bytes", self.http_bytes, 64 << 10, BYTES_MAX)?;
        bytes("--mailbox-bytes", self.mailbox_bytes, 64 << 10, BYTES_MAX)?;
        bytes("--linger-bytes", self.linger_bytes, 0, BYTES_MAX)?;
        for (flag, value) in [
            ("--history-age", self.history_age),
            ("--handshake-timeout", self.handshake_timeout),
            ("--http-idle-timeout", self.http_idle_timeout),
            ("--message-timeout", self.message_timeout),
            ("--rate-grace", self.rate_grace),
            ("--ping-interval", self.ping_interval),
            ("--pong-timeout", self.pong_timeout),
            ("--close-timeout", self.close_timeout),
            ("--write-timeout", self.write_timeout),
        ] {
            duration(flag, value, DURATION_MIN)?;
        }
        duration("--presence-grace", self.presence_grace, Duration::ZERO)?;
        duration("--drain", self.drain, Duration::ZERO)
    }

    fn validate_exempt_networks(&self) -> Result<(), ConfigError> {
        let networks = &self.exempt_network;
        if networks.len() < 2 || !networks.contains(&ExemptNetwork::None) {
            return Ok(());
        }
        let seen: Vec<String> = networks.iter().map(ExemptNetwork::to_string).collect();
        Err(ConfigError {
            flag: "--exempt-network",
            seen: seen.join(","),
            allowed: "`none` alone, or networks,".to_owned(),
        })
    }

    fn validate_admin(&self) -> Result<(), ConfigError> {
        let addresses = &self.admin;
        let taken = addresses.iter().find(|address| match address {
            AdminAddress::At(ListenAddress::Tcp(tcp)) if tcp.port() == 0 => false,
            AdminAddress::At(at) => self.listen.contains(at) || self.listen_proxy.contains(at),
            AdminAddress::None => false,
        });
        if let Some(address) = taken {
            return Err(ConfigError {
                flag: "--admin",
                seen: address.to_string(),
                allowed: "an address that is none of --listen or --listen-proxy".to_owned(),
            });
        }
        if addresses.len() < 2 || !addresses.contains(&AdminAddress::None) {
            return Ok(());
        }
        let seen: Vec<String> = addresses.iter().map(AdminAddress::to_string).collect();
        Err(ConfigError {
            flag: "--admin",
            seen: seen.join(","),
            allowed: "`none` alone, or addresses,".to_owned(),
        })
    }

    /// Whoever reaches a listener for proxies may name any address; and where nobody may, nobody can come in.
    fn validate_proxies(&self) -> Result<(), ConfigError> {
        let mut open = self.listen_proxy.iter().filter(|address| !address.is_local());
        let trusted = &self.trusted_proxy;
        let only_unix = trusted.iter().all(|trusted| *trusted == TrustedProxy::Unix);
        // Of what was passed nobody can tell whether it is a unix socket.
        let is_shut = |address: &&ListenAddress| {
            trusted.is_empty() || (only_unix && matches!(address, ListenAddress::Tcp(_)))
        };
        let Some(address) = open.find(is_shut) else { return Ok(()) };
        let allowed = if trusted.is_empty() {
            "without --trusted-proxy only a loopback address or a unix socket"
        } else {
            "with --trusted-proxy unix alone, which nobody over TCP is, only a loopback address or a unix socket"
        };
        Err(ConfigError { flag: "--listen-proxy", seen: address.to_string(), allowed: allowed.to_owned() })
    }
}

fn count(flag: &'static str, seen: usize, least: usize, most: usize) -> Result<(), ConfigError> {
    if (least..=most).contains(&seen) {
        return Ok(());
    }
    Err(ConfigError { flag, seen: seen.to_string(), allowed: format!("{least} to {most}") })
}

fn bytes(flag: &'static str, seen: usize, least: usize, most: usize) -> Result<(), ConfigError> {
    count(flag, seen, least, most).map_err(|error| ConfigError {
        seen: format!("{seen} bytes"),
        allowed: format!("{} bytes", error.allowed),
        ..error
    })
}

fn duration(flag: &'static str, seen: Duration, least: Duration) -> Result<(), ConfigError> {
    if (least..=DURATION_MAX).contains(&seen) {
        return Ok(());
    }
    Err(ConfigError { flag, seen: format!("{seen:?}"), allowed: format!("{least:?} to 24h") })
}
