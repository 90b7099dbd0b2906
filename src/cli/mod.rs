//! The flags of the `fanfare` binary. Each is in the environment too, as `FANFARE_` and its name, and in the
//! configuration file, by its name.

mod check;
mod commands;
mod complaints;
mod example;
mod file;
mod loader;
mod manual;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::styling::Styles;
use clap::{ArgAction, Parser, ValueHint};

use fanfare::Config;
use fanfare::endpoint::OriginRule;
use fanfare::protocol::ForwardedHeader;
use fanfare::rooms::{LagRule, PresenceRule};
use fanfare::server::{AdminAddress, ExemptNetwork, ListenAddress, MemoryLimit, Pin};
use fanfare::shard::TrustedProxy;

use crate::logs::{LogFormat, LogSettings};

pub use check::check;
pub use commands::{Task, parse};
pub use complaints::{Complaints, one_line};
pub use loader::{Loaded, Loader, Setting};
pub use values::{duration, number, size};
use values::{memory_limit, rate, secret_file, switch};

/// A WebSocket fan-out server: what enters a room leaves to everyone in it, in one order.
#[derive(Debug, Parser)]
#[command(
    name = "fanfare",
    version,
    styles = Styles::plain(),
    after_help = "Sizes are written 64KiB, 1MiB or in bytes; durations 500ms, 30s, 5m, 1h.\n\
        Each flag can be given in the environment instead, as shown, or in a file (--config), by its name;\n\
        a flag wins over the environment, and that over the file. `fanfare check` shows what came of it.\n\n\
        Paths: / (a page to try it), /healthz, /echo, /rooms/{room} (WebSocket; ?echo=true: own messages too,\n\
        ?last=N or ?since=EPOCH:OFFSET: past ones first; POST publishes, GET reads), /rooms (GET lists,\n\
        POST publishes to many), /rooms/{room}/events (server-sent events).\n\
        Exit status: 0 after a shutdown, 1 if it could not start or was told twice to stop, 2 for bad settings."
)]
pub struct Cli {
    /// File with settings, in TOML: a flag's name, without its dashes, = its value (`fanfare example` prints one
    /// with all of them)
    #[arg(long, env = "FANFARE_CONFIG", value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Configuration")]
    pub config: Option<PathBuf>,

    /// Address to listen on: IP:PORT, [IPv6]:PORT, unix:PATH, or fd:NAME for sockets that systemd passes; may be
    /// repeated
    #[arg(
        long,
        env = "FANFARE_LISTEN",
        value_name = "ADDRESS",
        value_delimiter = ',',
        default_value = "127.0.0.1:9001",
        help_heading = "Listening"
    )]
    pub listen: Vec<ListenAddress>,
    /// Address to listen on for proxies that speak the PROXY protocol, version 1 or 2: each connection begins with
    /// its header; may be repeated
    #[arg(
        long,
        env = "FANFARE_LISTEN_PROXY",
        value_name = "ADDRESS",
        value_delimiter = ',',
        help_heading = "Listening"
    )]
    pub listen_proxy: Vec<ListenAddress>,
    /// Network of proxies, or unix for those at unix sockets, that are believed when they say for whom they make a
    /// request; may be repeated
    #[arg(
        long,
        env = "FANFARE_TRUSTED_PROXY",
        value_name = "NETWORK",
        value_delimiter = ',',
        help_heading = "Listening"
    )]
    pub trusted_proxy: Vec<TrustedProxy>,
    /// Header in which they say it: X-Forwarded-For or Forwarded
    #[arg(
        long,
        env = "FANFARE_FORWARDED_HEADER",
        value_name = "HEADER",
        default_value = "X-Forwarded-For",
        help_heading = "Listening"
    )]
    pub forwarded_header: ForwardedHeader,
    /// Address of the metrics and of what operators look at, or none: as --listen; may be repeated
    #[arg(
        long,
        env = "FANFARE_ADMIN",
        value_name = "ADDRESS",
        value_delimiter = ',',
        default_value = "127.0.0.1:9002",
        help_heading = "Listening"
    )]
    pub admin: Vec<AdminAddress>,
    /// Origin of pages that may connect, beside those of the same host: scheme://host[:port], null or *;
    /// may be repeated
    #[arg(
        long,
        env = "FANFARE_ALLOW_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ',',
        help_heading = "Listening"
    )]
    pub allow_origin: Vec<OriginRule>,
    /// File with the keys of those who may publish and list over HTTP and call the server API, one a line, or
    /// credential:NAME for a credential of systemd; without it they may on loopback addresses and unix sockets,
    /// and nowhere else
    #[arg(long, env = "FANFARE_API_KEY_FILE", value_name = "FILE", value_parser = secret_file, value_hint = ValueHint::FilePath, help_heading = "Listening")]
    pub api_key_file: Option<PathBuf>,
    /// Whether the members of a room may publish over their WebSockets: on or off
    #[arg(long, env = "FANFARE_MEMBER_PUBLISH", value_name = "SWITCH", default_value = "on", value_parser = switch, action = ArgAction::Set, help_heading = "Listening")]
    pub member_publish: bool,
    /// Connections at a time; more get a 503 [default: what the descriptor limit allows]
    #[arg(long, env = "FANFARE_MAX_CONNECTIONS", value_name = "COUNT", value_parser = number::<usize>, allow_hyphen_values = true, help_heading = "Listening")]
    pub max_connections: Option<usize>,
    /// Connections at a time of one address, or of one /64 of IPv6; over it: 429
    #[arg(long, env = "FANFARE_CONNECTIONS_PER_ADDRESS", value_name = "COUNT", value_parser = number::<usize>, allow_hyphen_values = true, default_value_t = 1000, help_heading = "Listening")]
    pub connections_per_address: usize,
    /// New connections of one address in a second, and as many at once; over it: 429
    #[arg(long, env = "FANFARE_HANDSHAKES_PER_ADDRESS", value_name = "COUNT", value_parser = number::<u32>, allow_hyphen_values = true, default_value_t = 100, help_heading = "Listening")]
    pub handshakes_per_address: u32,
    /// New connections in a second over all addresses, a tenth of them at once; over it: 503
    #[arg(long, env = "FANFARE_HANDSHAKES_PER_SECOND", value_name = "COUNT", value_parser = number::<u32>, allow_hyphen_values = true, default_value_t = 10_000, help_heading = "Listening")]
    pub handshakes_per_second: u32,
    /// Memory that may be in use; auto: what the control groups allow, or the machine has
    #[arg(long, env = "FANFARE_MEMORY_LIMIT", value_name = "SIZE", value_parser = memory_limit, allow_hyphen_values = true, default_value = "auto", help_heading = "Listening")]
    pub memory_limit: MemoryLimit,
    /// Percent of the memory limit, or of the descriptors, over which new connections get a 503 and slow
    /// consumers are closed, the worst first
    #[arg(long, env = "FANFARE_SHED_AT_PERCENT", value_name = "PERCENT", value_parser = number::<u8>, allow_hyphen_values = true, default_value_t = 95, help_heading = "Listening")]
    pub shed_at_percent: u8,
    /// Network whose addresses may have more, or none; may be repeated. Unix sockets have no address
    #[arg(
        long,
        env = "FANFARE_EXEMPT_NETWORK",
        value_name = "NETWORK",
        value_delimiter = ',',
        default_value = "127.0.0.0/8,::1/128",
        help_heading = "Listening"
    )]
    pub exempt_network: Vec<ExemptNetwork>,

    /// Worker threads, each with its own connections [default: the cores this process may use]
    #[arg(long, env = "FANFARE_WORKERS", value_name = "COUNT", value_parser = number::<usize>, allow_hyphen_values = true, help_heading = "Workers")]
    pub workers: Option<usize>,
    /// Cores of the workers: auto, off, or numbers such as 0,2,4-7
    #[arg(
        long,
        env = "FANFARE_PIN",
        value_name = "CORES",
        default_value = "auto",
        allow_hyphen_values = true,
        help_heading = "Workers"
    )]
    pub pin: Pin,
    /// Publications in flight to one worker over which publishers are not read from
    #[arg(long, env = "FANFARE_MAILBOX_BYTES", value_name = "SIZE", default_value = "16MiB", value_parser = size, allow_hyphen_values = true, help_heading = "Workers")]
    pub mailbox_bytes: usize,

    /// Size of a message, all its fragments together; over it: close 1009
    #[arg(long, env = "FANFARE_MAX_MESSAGE", value_name = "SIZE", default_value = "1MiB", value_parser = size, allow_hyphen_values = true, help_heading = "Limits on what peers send")]
    pub max_message: usize,
    /// Frames of one message; over it: close 1008
    #[arg(
        long,
        env = "FANFARE_MAX_FRAGMENTS",
        value_name = "COUNT", value_parser = number::<u32>, allow_hyphen_values = true,
        default_value_t = 1024,
        help_heading = "Limits on what peers send"
    )]
    pub max_fragments: u32,
    /// Size of a request head; over it: 431
    #[arg(long, env = "FANFARE_MAX_HEAD", value_name = "SIZE", default_value = "8KiB", value_parser = size, allow_hyphen_values = true, help_heading = "Limits on what peers send")]
    pub max_head: usize,
    /// Headers of a request; over it: 431
    #[arg(
        long,
        env = "FANFARE_MAX_HEADERS",
        value_name = "COUNT", value_parser = number::<usize>, allow_hyphen_values = true,
        default_value_t = 64,
        help_heading = "Limits on what peers send"
    )]
    pub max_headers: usize,
    /// Rooms that one connection may be in; over it: close 1008
    #[arg(
        long,
        env = "FANFARE_MAX_MEMBERSHIPS",
        value_name = "COUNT", value_parser = number::<usize>, allow_hyphen_values = true,
        default_value_t = 128,
        help_heading = "Limits on what peers send"
    )]
    pub max_memberships: usize,
    /// Commands of the client protocol that a connection may send in a second, and as many at once; over
    /// it: error 111
    #[arg(long, env = "FANFARE_COMMAND_RATE", value_name = "COUNT", value_parser = number::<u32>, allow_hyphen_values = true, default_value_t = 1000, help_heading = "Limits on what peers send")]
    pub command_rate: u32,
    /// Messages, and HTTP requests, that a connection may send in a second, and as many at once; over it it
    /// is not read from until that is made up for
    #[arg(long, env = "FANFARE_MESSAGE_RATE", value_name = "COUNT", value_parser = number::<u32>, allow_hyphen_values = true, default_value_t = 20_000, help_heading = "Limits on what peers send")]
    pub message_rate: u32,
    /// Bytes that a connection may send in a second, and as many at once; over it it is not read from until
    /// that is made up for
    #[arg(long, env = "FANFARE_BYTE_RATE", value_name = "SIZE", default_value = "64MiB", value_parser = size, allow_hyphen_values = true, help_heading = "Limits on what peers send")]
    pub byte_rate: usize,
    /// How long a connection may go on sending more than its message rate and byte rate; over it: close 1008
    /// or 429
    #[arg(long, env = "FANFARE_RATE_GRACE", value_name = "DURATION", default_value = "10s", value_parser = duration, allow_hyphen_values = true, help_heading = "Limits on what peers send")]
    pub rate_grace: Duration,
    /// Pings and pongs that a connection may send in a second, and as many at once; over it: close 1008
    #[arg(long, env = "FANFARE_PING_RATE", value_name = "COUNT", value_parser = number::<u32>, allow_hyphen_values = true, default_value_t = 50, help_heading = "Limits on what peers send")]
    pub ping_rate: u32,
    /// What the kernel may hold of what one TCP peer has sent and is not read yet
    #[arg(long, env = "FANFARE_RECEIVE_BUFFER", value_name = "SIZE", default_value = "128KiB", value_parser = size, allow_hyphen_values = true, help_heading = "Limits on what peers send")]
    pub receive_buffer: usize,

    /// Memory that a room's window of its latest messages may pin
    #[arg(long, env = "FANFARE_HISTORY_BYTES", value_name = "SIZE", default_value = "1MiB", value_parser = size, allow_hyphen_values = true, help_heading = "What rooms remember")]
    pub history_bytes: usize,
    /// Messages in a room's window
    #[arg(long, env = "FANFARE_HISTORY_MESSAGES", value_name = "COUNT", value_parser = number::<u64>, allow_hyphen_values = true, default_value_t = 1024, help_heading = "What rooms remember")]
    pub history_messages: u64,
    /// How long a message stays in its room's window, and a room without members remembered
    #[arg(long, env = "FANFARE_HISTORY_AGE", value_name = "DURATION", default_value = "5m", value_parser = duration, allow_hyphen_values = true, help_heading = "What rooms remember")]
    pub history_age: Duration,
    /// Memory that all windows may pin together; over it the rooms idle longest lose theirs
    #[arg(long, env = "FANFARE_HISTORY_MEMORY", value_name = "SIZE", default_value = "256MiB", value_parser = size, allow_hyphen_values = true, help_heading = "What rooms remember")]
    pub history_memory: usize,
    /// What happens to members that the window leaves behind: disconnect (close 1008), skip (to the
    /// newest message) or latest (only ever the newest); PATTERN=POLICY for some rooms, * in the pattern
    /// for any characters; may be repeated [default: disconnect]
    #[arg(
        long,
        env = "FANFARE_LAG_POLICY",
        value_name = "POLICY",
        value_delimiter = ',',
        help_heading = "What rooms remember"
    )]
    pub lag_policy: Vec<LagRule>,

    /// What a room keeps of who is in it: off, count or full; PATTERN=LEVEL for some rooms, * in the
    /// pattern for any characters; may be repeated [default: full]
    #[arg(
        long,
        env = "FANFARE_PRESENCE",
        value_name = "LEVEL",
        value_delimiter = ',',
        help_heading = "Who is in a room"
    )]
    pub presence: Vec<PresenceRule>,
    /// Members of a room up to which they are listed, and told who joins and leaves
    #[arg(long, env = "FANFARE_PRESENCE_MEMBERS", value_name = "COUNT", value_parser = number::<usize>, allow_hyphen_values = true, default_value_t = 1000, help_heading = "Who is in a room")]
    pub presence_members: usize,
    /// How long an SDK's client with a name that died without a word may take to come back before the others
    /// are told that it left
    #[arg(long, env = "FANFARE_PRESENCE_GRACE", value_name = "DURATION", default_value = "5s", value_parser = duration, allow_hyphen_values = true, help_heading = "Who is in a room")]
    pub presence_grace: Duration,

    /// Memory that the answers waiting for one connection may pin; over it: close 1008
    #[arg(long, env = "FANFARE_QUEUE_BYTES", value_name = "SIZE", default_value = "1MiB", value_parser = size, allow_hyphen_values = true, help_heading = "Limits on what peers do not take")]
    pub queue_bytes: usize,
    /// Memory pinned by a connection's own replies over which it is not read from
    #[arg(long, env = "FANFARE_REPLY_BYTES", value_name = "SIZE", default_value = "64KiB", value_parser = size, allow_hyphen_values = true, help_heading = "Limits on what peers do not take")]
    pub reply_bytes: usize,
    /// What the kernel may hold for one peer that does not read
    #[arg(long, env = "FANFARE_SEND_BUFFER", value_name = "SIZE", default_value = "128KiB", value_parser = size, allow_hyphen_values = true, help_heading = "Limits on what peers do not take")]
    pub send_buffer: usize,
    /// Memory that the answers of one worker, to HTTP requests and to clients, may pin until they are taken;
    /// over it histories and lists are refused with 503 or error 111
    #[arg(long, env = "FANFARE_HTTP_BYTES", value_name = "SIZE", default_value = "64MiB", value_parser = size, allow_hyphen_values = true, help_heading = "Limits on what peers do not take")]
    pub http_bytes: usize,
    /// How long a peer may take nothing while something waits for it; over it: close 1008
    #[arg(long, env = "FANFARE_WRITE_TIMEOUT", value_name = "DURATION", default_value = "10s", value_parser = duration, allow_hyphen_values = true, help_heading = "Limits on what peers do not take")]
    pub write_timeout: Duration,

    /// From accept to the whole request head; over it: 408
    #[arg(long, env = "FANFARE_HANDSHAKE_TIMEOUT", value_name = "DURATION", default_value = "5s", value_parser = duration, allow_hyphen_values = true, help_heading = "Deadlines")]
    pub handshake_timeout: Duration,
    /// Between an HTTP response and the next request
    #[arg(long, env = "FANFARE_HTTP_IDLE_TIMEOUT", value_name = "DURATION", default_value = "75s", value_parser = duration, allow_hyphen_values = true, help_heading = "Deadlines")]
    pub http_idle_timeout: Duration,
    /// From the first byte of a message, or of a request's body, to its last; over it: close 1008 or 408
    #[arg(long, env = "FANFARE_MESSAGE_TIMEOUT", value_name = "DURATION", default_value = "30s", value_parser = duration, allow_hyphen_values = true, help_heading = "Deadlines")]
    pub message_timeout: Duration,
    /// Silence after which a ping is sent
    #[arg(long, env = "FANFARE_PING_INTERVAL", value_name = "DURATION", default_value = "30s", value_parser = duration, allow_hyphen_values = true, help_heading = "Deadlines")]
    pub ping_interval: Duration,
    /// How long the answer to a ping may take; over it: close 1008
    #[arg(long, env = "FANFARE_PONG_TIMEOUT", value_name = "DURATION", default_value = "10s", value_parser = duration, allow_hyphen_values = true, help_heading = "Deadlines")]
    pub pong_timeout: Duration,
    /// From our Close to the end of the connection
    #[arg(long, env = "FANFARE_CLOSE_TIMEOUT", value_name = "DURATION", default_value = "2s", value_parser = duration, allow_hyphen_values = true, help_heading = "Deadlines")]
    pub close_timeout: Duration,
    /// What is read and dropped after our Close; over it nothing more is read
    #[arg(long, env = "FANFARE_LINGER_BYTES", value_name = "SIZE", default_value = "16MiB", value_parser = size, allow_hyphen_values = true, help_heading = "Deadlines")]
    pub linger_bytes: usize,
    /// Time over which a shutdown closes the connections, in random order; then each has the write timeout
    /// for what waits for it
    #[arg(long, env = "FANFARE_DRAIN", value_name = "DURATION", default_value = "10s", value_parser = duration, allow_hyphen_values = true, help_heading = "Deadlines")]
    pub drain: Duration,

    /// What to log on standard error: error, warn, info, debug or trace; closes are debug, of slow
    /// consumers info
    #[arg(long, env = "FANFARE_LOG", value_name = "LEVEL", default_value = "info", help_heading = "Logs")]
    pub log: tracing::Level,
    /// What lines look like: human, json, journal (fields of the systemd journal), or auto: journal where
    /// standard error is the journal, else human
    #[arg(
        long,
        env = "FANFARE_LOG_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value = "auto",
        hide_possible_values = true,
        help_heading = "Logs"
    )]
    pub log_format: LogFormat,
    /// Lines of one kind in a second, and as many at once; those over it are counted and summed up
    #[arg(long, env = "FANFARE_LOG_RATE", value_name = "COUNT", value_parser = rate, allow_hyphen_values = true, default_value_t = 100, help_heading = "Logs")]
    pub log_rate: u32,
}

impl Cli {
    /// The configuration that the flags describe, and what is logged.
    pub fn into_config(self) -> (Config, LogSettings) {
        let log = LogSettings { level: self.log, format: self.log_format, rate: self.log_rate };
        let config = Config {
            listen: self.listen,
            listen_proxy: self.listen_proxy,
            trusted_proxy: self.trusted_proxy,
            forwarded_header: self.forwarded_header,
            admin: self.admin,
            workers: self.workers,
            pin: self.pin,
            max_connections: self.max_connections,
            connections_per_address: self.connections_per_address,
            handshakes_per_address: self.handshakes_per_address,
            handshakes_per_second: self.handshakes_per_second,
            memory_limit: self.memory_limit,
            shed_at_percent: self.shed_at_percent,
            exempt_network: self.exempt_network,
            allow_origin: self.allow_origin,
            api_key_file: self.api_key_file,
            member_publish: self.member_publish,
            max_head: self.max_head,
            max_headers: self.max_headers,
            max_message: self.max_message,
            max_fragments: self.max_fragments,
            max_memberships: self.max_memberships,
            handshake_timeout: self.handshake_timeout,
            http_idle_timeout: self.http_idle_timeout,
            message_timeout: self.message_timeout,
            ping_interval: self.ping_interval,
            pong_timeout: self.pong_timeout,
            close_timeout: self.close_timeout,
            write_timeout: self.write_timeout,
            history_bytes: self.history_bytes,
            history_messages: self.history_messages,
            history_age: self.history_age,
            history_memory: self.history_memory,
            lag_policy: self.lag_policy,
            presence: self.presence,
            presence_members: self.presence_members,
            presence_grace: self.presence_grace,
            command_rate: self.command_rate,
            message_rate: self.message_rate,
            byte_rate: self.byte_rate,
            ping_rate: self.ping_rate,
            rate_grace: self.rate_grace,
            queue_bytes: self.queue_bytes,
            reply_bytes: self.reply_bytes,
            send_buffer: self.send_buffer,
            receive_buffer: self.receive_buffer,
            http_bytes: self.http_bytes,
            mailbox_bytes: self.mailbox_bytes,
            linger_bytes: self.linger_bytes,
            drain: self.drain,
        };
        (config, log)
    }
}

/// Whether a flag may have several values.
fn is_list(flag: &clap::Arg) -> bool {
    flag.get_value_delimiter().is_some()
}

#[cfg(test)]
mod tests;
