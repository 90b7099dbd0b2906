//! The configuration of a server: every limit and deadline with its unit, default and reason.
//!
//! All of them are on by default, and none can be switched off: there is no "0 = unlimited".

mod checks;

use std::path::PathBuf;
use std::time::Duration;

use crate::endpoint::{EndpointSettings, OriginRule};
use crate::protocol::{ForwardedHeader, Limits};
use crate::reactor::SocketOptions;
use crate::rooms::{HistoryLimits, LagRule, PresenceRule, RoomSettings};
use crate::server::{
    AcceptorSettings, AddressLimits, AdminAddress, ExemptNetwork, ListenAddress, MemoryLimit, Pin,
};
use crate::shard::{FAN_OUT_MEMBERS_PER_TURN, ProxySettings, RateLimits, Settings, TrustedProxy};

pub use checks::ConfigError;

/// What a server is told. Start from [`Config::default`] and change fields.
#[derive(Clone, Debug)]
pub struct Config {
    /// `--listen`: where to listen. Default `127.0.0.1:9001`: nobody else can reach it before you
    /// decide so.
    pub listen: Vec<ListenAddress>,
    /// `--listen-proxy`: where to listen for proxies that speak the PROXY protocol, version 1 or 2: each connection
    /// begins with its header, within [`handshake_timeout`](Config::handshake_timeout) and
    /// [`max_head`](Config::max_head). An address that others than this machine can reach is for
    /// [`trusted_proxy`](Config::trusted_proxy) alone. Default: none.
    pub listen_proxy: Vec<ListenAddress>,
    /// `--trusted-proxy`: the proxies that are believed when they say for whom they make a request. Nobody else
    /// is: who may name an address takes what others may have. Default: none.
    pub trusted_proxy: Vec<TrustedProxy>,
    /// `--forwarded-header`: where they say it. Default `X-Forwarded-For`, which most write.
    pub forwarded_header: ForwardedHeader,
    /// `--admin`: where the metrics, the health and the state of this server are shown, to its operators. Default
    /// none, as an embedder asks for what it wants to have open; the binary's is `127.0.0.1:9002`.
    pub admin: Vec<AdminAddress>,
    /// `--workers`: shards, each a thread with its own connections. Default: the cores that this
    /// process may use, by affinity mask and CPU quota.
    pub workers: Option<usize>,
    /// `--pin`: the workers' cores. Default `auto`.
    pub pin: Pin,
    /// `--max-connections`: connections at a time. Default: what the descriptor limit allows, less a
    /// reserve.
    pub max_connections: Option<usize>,
    /// `--connections-per-address`: connections at a time of one IPv4 address, or of one /64 of IPv6. Default
    /// 1000: an office behind one address has room, and one machine cannot take all the places.
    pub connections_per_address: usize,
    /// `--handshakes-per-address`: new connections of such an address in a second, and as many at once.
    /// Default 100: it bounds what handshakes and refusals of one address cost.
    pub handshakes_per_address: u32,
    /// `--handshakes-per-second`: new connections in a second over all addresses, and a tenth of them at once. Default
    /// 10,000: at some 15 to 50 µs each, the recovery of an SDK included, half of a core at most is taken from those
    /// who are connected, and the 100,000 whom a [`drain`](Config::drain) sends away in 10 s find all their places.
    pub handshakes_per_second: u32,
    /// `--memory-limit`: memory that may be in use. Default `auto`: what the control groups of the process allow, or
    /// the machine has.
    pub memory_limit: MemoryLimit,
    /// `--shed-at-percent`: percent of [`memory_limit`](Config::memory_limit), or of the descriptors, over which
    /// nobody else is let in, and slow consumers are closed, the worst first. Default 95: what is left is for those
    /// who are connected, and for what the second between two looks brings.
    pub shed_at_percent: u8,
    /// `--exempt-network`: networks whose addresses may have more. Default this machine, as a reverse proxy on
    /// it speaks for everybody. Unix sockets have no address, and none of these limits.
    pub exempt_network: Vec<ExemptNetwork>,
    /// `--allow-origin`: pages that may connect beside those of the same host. Default: none.
    pub allow_origin: Vec<OriginRule>,
    /// `--api-key-file`: a file with the keys of those who may publish and list over HTTP and call the server
    /// API, one a line. Default: none; then it is open on loopback addresses and unix sockets, and nowhere else.
    pub api_key_file: Option<PathBuf>,
    /// `--member-publish`: whether the members of a room may publish over their WebSockets. Default on.
    pub member_publish: bool,
    /// `--max-head`: bytes of a request head. Default 8 KiB, as common servers and proxies have it;
    /// it bounds what a peer can make us keep before it has said what it wants.
    pub max_head: usize,
    /// `--max-headers`: headers of a request. Default 64: browsers send about 15.
    pub max_headers: usize,
    /// `--max-message`: bytes of a message, all its fragments together. Default 1 MiB: it bounds what
    /// one connection can make us assemble.
    pub max_message: usize,
    /// `--max-fragments`: frames of one message. Default 1024: it bounds the work that tiny fragments
    /// cause.
    pub max_fragments: u32,
    /// `--max-memberships`: rooms that one connection may be in. Default 128.
    pub max_memberships: usize,
    /// `--handshake-timeout`: from accept to the whole request head. Default 5 s, enough for three
    /// lost packets on a bad line.
    pub handshake_timeout: Duration,
    /// `--http-idle-timeout`: between an HTTP response and the next request. Default 75 s: longer than
    /// common proxies keep a connection of theirs, so that theirs is the side that closes.
    pub http_idle_timeout: Duration,
    /// `--message-timeout`: from the first byte of a message to its last. Default 30 s: 1 MiB at
    /// 280 kbit/s.
    pub message_timeout: Duration,
    /// `--ping-interval`: silence after which a ping is sent. Default 30 s: below the idle limits of
    /// common proxies and address translators (60 s and more).
    pub ping_interval: Duration,
    /// `--pong-timeout`: how long the answer to a ping may take; any bytes count. Default 10 s.
    pub pong_timeout: Duration,
    /// `--close-timeout`: from our last byte to the end of the transport. Default 2 s: a round trip
    /// and a retransmission.
    pub close_timeout: Duration,
    /// `--write-timeout`: how long a peer may take no byte while some wait for it. Default 10 s. The
    /// kernel gets this and the close timeout for what it has been given (`TCP_USER_TIMEOUT`).
    pub write_timeout: Duration,
    /// `--history-bytes`: memory that a room's window of its latest messages may pin, overhead included.
    /// Default 1 MiB. The window is the queue of those who fall behind, too. The newest messages stay
    /// whatever their size. What a message takes as a server-sent event, made when the first such reader
    /// needs it, counts to `--history-memory` alone.
    pub history_bytes: usize,
    /// `--history-messages`: messages in a room's window. Default 1024.
    pub history_messages: u64,
    /// `--history-age`: how long a message stays in its room's window, and a room without members
    /// remembered. Default 5 min: a phone in a tunnel comes back within it.
    pub history_age: Duration,
    /// `--history-memory`: memory that all windows may pin together, and rooms without members. Over it
    /// the rooms that have been idle longest lose theirs. Default 256 MiB.
    pub history_memory: usize,
    /// `--lag-policy`: what happens to members that the window leaves behind. Default: disconnect.
    pub lag_policy: Vec<LagRule>,
    /// `--presence`: what a room keeps of who is in it. Default: full.
    pub presence: Vec<PresenceRule>,
    /// `--presence-members`: members of a room that a list of them has at most, and up to which those who
    /// want it are told who joins and leaves. Default 1000: a list of them is some 60 KB, and joining costs
    /// as many messages as there are members.
    pub presence_members: usize,
    /// `--presence-grace`: how long a client of the client protocol with a name that died without a word may take to come back
    /// before the others are told that it left. Default 5 s: a phone changes its network in that time.
    pub presence_grace: Duration,
    /// `--command-rate`: commands of the client protocol that a connection may send in a second, and as many
    /// at once. Default 1000.
    pub command_rate: u32,
    /// `--message-rate`: messages, and HTTP requests, that a connection may send in a second, and as many at
    /// once. Default 20,000: far more than people or their programs say, so that no peer has a worker to
    /// itself. Over it the connection is not read from for a while.
    pub message_rate: u32,
    /// `--byte-rate`: bytes of any kind that a connection may send in a second, and as many at once. Default
    /// 64 MiB: half of what a gigabit link carries. Over it the connection is not read from for a while.
    pub byte_rate: usize,
    /// `--ping-rate`: pings and pongs together that a connection may send in a second, and as many at once.
    /// Default 50: nobody has to ask more often whether we live. Over it the connection is closed.
    pub ping_rate: u32,
    /// `--rate-grace`: how long a peer may send more than the rates of messages and bytes allow before it is
    /// closed. Default 10 s: long enough for a burst of a backlog. It begins with the first pause and ends
    /// when as much as a second gives is there again.
    pub rate_grace: Duration,
    /// `--queue-bytes`: memory that the answers waiting for one connection may pin, overhead included.
    /// Default 1 MiB.
    pub queue_bytes: usize,
    /// `--reply-bytes`: memory pinned by a connection's own replies over which it is not read from.
    /// Default 64 KiB.
    pub reply_bytes: usize,
    /// `--send-buffer`: what the kernel may hold for one peer that does not read (`SO_SNDBUF`; it counts
    /// twice as much with its overhead, and never allows more than `net.core.wmem_max`). Default 128 KiB:
    /// left alone the kernel holds up to 4 MiB, so that some hundred peers that never read use up the TCP
    /// memory of the whole host. It also bounds what can be on its way to one peer, to no less than
    /// 10 Mbit/s over a round trip of 100 ms.
    pub send_buffer: usize,
    /// `--receive-buffer`: what the kernel may hold of what one TCP peer has sent and the server does not read
    /// yet (`SO_RCVBUF`; it counts twice as much with its overhead, and never allows more than
    /// `net.core.rmem_max`). Default 128 KiB: left alone the kernel lets it grow to the third value of
    /// `net.ipv4.tcp_rmem`, megabytes for each peer that sends on while it is not read from. It also bounds
    /// what can be on its way from one peer, like [`send_buffer`](Config::send_buffer): over the loopback
    /// messages of 64 KiB are as fast as ever, a lone one of 1 MiB takes 1.7 times as long to be echoed. On a
    /// unix socket the sender's own buffer is the bound.
    pub receive_buffer: usize,
    /// `--http-bytes`: memory that the answers of one worker, to HTTP requests and to clients, may pin until
    /// their readers take them. Over it histories and lists are refused with 503 or with error 111. Default
    /// 64 MiB: 256 histories at a time.
    pub http_bytes: usize,
    /// `--mailbox-bytes`: publications in flight to one worker over which the publishers of the
    /// others are not read from. Default 16 MiB.
    pub mailbox_bytes: usize,
    /// `--linger-bytes`: what is read and dropped after the conversation has ended, so that a peer in
    /// the middle of sending comes to read why. Default 16 MiB: some messages of the largest size. Over
    /// it nothing more is read, and the connection ends at the close timeout.
    pub linger_bytes: usize,
    /// `--drain`: the time over which a shutdown closes the connections, one after the other in random order.
    /// Default 10 s: 100,000 clients come back at 10,000 a second. Each then has `--write-timeout` for what waits
    /// for it, and `--close-timeout` to leave.
    pub drain: Duration,
}

impl Default for Config {
    fn default() -> Config {
        let limits = Limits::default();
        Config {
            listen: vec![ListenAddress::Tcp(([127, 0, 0, 1], 9001).into())],
            listen_proxy: Vec::new(),
            trusted_proxy: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            admin: Vec::new(),
            workers: None,
            pin: Pin::Auto,
            max_connections: None,
            connections_per_address: 1000,
            handshakes_per_address: 100,
            handshakes_per_second: 10_000,
            memory_limit: MemoryLimit::Auto,
            shed_at_percent: 95,
            exempt_network: exempt_by_default(),
            allow_origin: Vec::new(),
            api_key_file: None,
            member_publish: true,
            max_head: limits.head_bytes_max,
            max_headers: limits.headers_max,
            max_message: limits.message_bytes_max,
            max_fragments: limits.fragments_max,
            max_memberships: 128,
            handshake_timeout: Duration::from_secs(5),
            http_idle_timeout: Duration::from_secs(75),
            message_timeout: Duration::from_secs(30),
            ping_interval: Duration::from_secs(30),
            pong_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(2),
            write_timeout: Duration::from_secs(10),
            history_bytes: 1 << 20,
            history_messages: 1024,
            history_age: Duration::from_secs(5 * 60),
            history_memory: 256 << 20,
            lag_policy: Vec::new(),
            presence: Vec::new(),
            presence_members: 1000,
            presence_grace: Duration::from_secs(5),
            command_rate: 1000,
            message_rate: 20_000,
            byte_rate: 64 << 20,
            ping_rate: 50,
            rate_grace: Duration::from_secs(10),
            queue_bytes: 1 << 20,
            reply_bytes: 64 << 10,
            send_buffer: 128 << 10,
            receive_buffer: 128 << 10,
            http_bytes: 64 << 20,
            mailbox_bytes: 16 << 20,
            linger_bytes: 16 << 20,
            drain: Duration::from_secs(10),
        }
    }
}

impl Config {
    /// What the acceptor is told, with the connections that are possible.
    pub fn acceptor_settings(&self, max_connections: usize) -> AcceptorSettings {
        let addresses = AddressLimits {
            connections: self.connections_per_address,
            handshakes: self.handshakes_per_address,
            exempt: self.exempt_network.clone(),
        };
        let Config { drain, write_timeout, handshakes_per_second, memory_limit, shed_at_percent, .. } = *self;
        AcceptorSettings {
            max_connections,
            addresses,
            proxies: self.proxy_settings(),
            sockets: self.socket_options(),
            drain,
            write_timeout,
            handshakes_per_second,
            memory_limit,
            shed_at_percent,
        }
    }

    /// From the order to stop to the end of the last connection, at the latest.
    pub fn shutdown_max(&self) -> Duration {
        self.drain + self.write_timeout
    }

    /// What accepted sockets begin with. The kernel's timeout is for what only it knows of: it is later than our
    /// own deadline with the time of its Close, or the kernel could cut a slow consumer first, without the Close
    /// and with a cause that misleads.
    pub fn socket_options(&self) -> SocketOptions {
        let user_timeout = self.write_timeout + self.close_timeout;
        SocketOptions { send_buffer: self.send_buffer, receive_buffer: self.receive_buffer, user_timeout }
    }

    /// What the endpoints are told.
    pub fn endpoint_settings(&self) -> EndpointSettings {
        EndpointSettings {
            member_publish: self.member_publish,
            ping_interval: self.ping_interval,
            command_rate: self.command_rate,
        }
    }

    fn proxy_settings(&self) -> ProxySettings {
        ProxySettings { trusted: self.trusted_proxy.clone(), header: self.forwarded_header }
    }

    /// What rooms hold.
    pub fn room_settings(&self) -> RoomSettings {
        let history = HistoryLimits {
            bytes_max: self.history_bytes,
            messages_max: self.history_messages,
            age_max: self.history_age,
        };
        let (lag, presence) = (self.lag_policy.clone(), self.presence.clone());
        RoomSettings { history, memory_max: self.history_memory, lag, presence }
    }

    /// The part that every shard is told.
    pub fn settings(&self) -> Settings {
        Settings {
            limits: Limits {
                head_bytes_max: self.max_head,
                headers_max: self.max_headers,
                message_bytes_max: self.max_message,
                fragments_max: self.max_fragments,
            },
            rates: RateLimits {
                messages: self.message_rate,
                bytes: self.byte_rate as u64,
                pings: self.ping_rate,
                grace: self.rate_grace,
            },
            proxies: self.proxy_settings(),
            handshake_timeout: self.handshake_timeout,
            http_idle_timeout: self.http_idle_timeout,
            message_timeout: self.message_timeout,
            ping_interval: self.ping_interval,
            pong_timeout: self.pong_timeout,
            close_timeout: self.close_timeout,
            write_timeout: self.write_timeout,
            queue_bytes_max: self.queue_bytes,
            reply_bytes_high: self.reply_bytes,
            http_bytes_max: self.http_bytes,
            fan_out_members_max: FAN_OUT_MEMBERS_PER_TURN,
            memberships_max: self.max_memberships,
            presence_grace: self.presence_grace,
            presence_members_max: self.presence_members,
            linger_bytes_max: self.linger_bytes,
        }
    }
}

/// This machine.
fn exempt_by_default() -> Vec<ExemptNetwork> {
    let loopback = ["127.0.0.0/8", "::1/128"];
    loopback.iter().map(|network| network.parse().expect("a network")).collect()
}

mod values;

pub use values::{SETTINGS, Setting};

#[cfg(test)]
mod tests;
