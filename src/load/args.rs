//! The flags of `fanfare load`.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand, ValueHint};

use fanfare::server::Pin;

use super::target::{Sources, Url};
use crate::cli;

/// Load a WebSocket server, check every message and say what it cost.
#[derive(Debug, Args)]
#[command(
    about = "Load a WebSocket server, check every message and say what it cost",
    after_help = "The server is any that speaks RFC 6455 and is reached by ws://; for fanfare itself /echo and /rooms/{room}:\n\n  \
        fanfare load echo --connections 100 --in-flight 16 ws://127.0.0.1:9001/echo\n  \
        fanfare load fanout --connections 1000 --size 64 ws://127.0.0.1:9001/rooms/load\n\n\
        Every message is numbered and sealed: what is lost, comes twice, late or changed is counted.\n\
        Exit status: 0 for a clean run; 1 for one that failed, found such messages, had connections ended or refused by \
        the server, or whose --pid ended; 2 for bad flags."
)]
pub struct LoadArgs {
    /// What to do
    #[command(subcommand)]
    pub scenario: Scenario,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Scenario {
    /// Messages that each connection gets back
    #[command(
        after_help = "Sizes below 8 bytes are compared but not numbered, so that order and repeats are seen only as \
        wrong bytes; below 16 they do not carry their time, which is then taken from the order of the answers."
    )]
    Echo(EchoArgs),
    /// Messages of a publisher that every member of a room gets
    #[command(
        after_help = "The publisher is a connection beside the members. It begins when each of them has got a first \
        message. In a closed loop (--in-flight) it goes on when the member that joined last has got the oldest message \
        in flight. Below 16 bytes latency is that of this member only."
    )]
    Fanout(FanoutArgs),
    /// Connections that say nothing: what each costs the server
    #[command(
        after_help = "Pings of the server are answered and counted. --pid shows its memory for each connection and \
        its processor time."
    )]
    Idle(IdleArgs),
    /// Connections that all break at once and come back at once, again and again
    #[command(
        after_help = "Each storm resets every connection, opens all of them anew and waits until the last is back. What \
        the server refuses or ends meanwhile is counted as that, with its reason, and tried again after 100 ms. Before the \
        first storm so is what it has no room for (503, 429) or ends. If for --timeout no more are back, it ends with the \
        storms before. In the results a message is an opening handshake."
    )]
    Storm(StormArgs),
    /// A fan-out in which some members stop reading: what it does to the others
    #[command(
        after_help = "It is measured twice, for --duration each: while all members read, and after some have stopped. \
        Those may be cut by the server, or miss messages: that is counted and is no error. All others have to get \
        everything. At the end the stalled ones read again until the server has answered a Ping or ended the connection, and \
        what they find is checked too; with --no-check they only read what is there. Latency and deliveries \
        are those of the others alone, before too."
    )]
    Stalled(StalledArgs),
}

/// The flags of `fanfare load echo`.
#[derive(Debug, Args)]
pub struct EchoArgs {
    /// The traffic.
    #[command(flatten)]
    pub traffic: TrafficArgs,
    /// How long.
    #[command(flatten)]
    pub times: TimeArgs,
    /// What all scenarios have.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// The flags of `fanfare load fanout`.
#[derive(Debug, Args)]
pub struct FanoutArgs {
    /// The rooms.
    #[command(flatten)]
    pub rooms: RoomArgs,
    /// The traffic.
    #[command(flatten)]
    pub traffic: TrafficArgs,
    /// How long.
    #[command(flatten)]
    pub times: TimeArgs,
    /// What all scenarios have.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// The flags of `fanfare load idle`.
#[derive(Debug, Args)]
pub struct IdleArgs {
    /// How long to measure
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration, allow_hyphen_values = true, help_heading = "Measuring")]
    pub duration: Duration,
    /// How long to run before that
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration_or_none, allow_hyphen_values = true, help_heading = "Measuring")]
    pub warm_up: Duration,
    /// What all scenarios have.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// The flags of `fanfare load storm`.
#[derive(Debug, Args)]
pub struct StormArgs {
    /// How often all come back
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = count(1..=1_000_000), allow_hyphen_values = true, help_heading = "Measuring")]
    pub storms: u32,
    /// What all scenarios have.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// The flags of `fanfare load stalled`.
#[derive(Debug, Args)]
pub struct StalledArgs {
    /// Part of each room's members that stop reading: a percentage
    #[arg(
        long,
        value_name = "PERCENT",
        default_value = "10%",
        allow_hyphen_values = true,
        help_heading = "Traffic"
    )]
    pub stalled: Share,
    /// The rooms.
    #[command(flatten)]
    pub rooms: RoomArgs,
    /// The traffic.
    #[command(flatten)]
    pub traffic: TrafficArgs,
    /// How long.
    #[command(flatten)]
    pub times: TimeArgs,
    /// What all scenarios have.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Who publishes to whom.
#[derive(Debug, Args)]
pub struct RoomArgs {
    /// URL of the publisher of each room, for example one that gets its own messages too [default: the
    /// members' URL]
    #[arg(long, value_name = "URL", help_heading = "Traffic", value_hint = ValueHint::Url)]
    pub publisher_url: Option<Url>,
    /// Rooms that the connections are shared out among; the URLs need {room} then, which becomes the number of
    /// each, from 0 on
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = count(1..=1_000_000), allow_hyphen_values = true, help_heading = "Traffic")]
    pub rooms: u32,
}

/// What is sent, and when.
#[derive(Debug, Args)]
pub struct TrafficArgs {
    /// Bytes of each message's payload, which is binary
    #[arg(long, value_name = "SIZE", default_value = "64", value_parser = message_size, allow_hyphen_values = true, help_heading = "Traffic")]
    pub size: usize,
    /// Closed loop: messages under way at a time, of each connection or in each room
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = count(1..=65_536), allow_hyphen_values = true, conflicts_with = "rate", help_heading = "Traffic")]
    pub in_flight: u32,
    /// Open loop: messages a second, of all connections or in all rooms together, whatever comes back; latency
    /// counts from when a message was due
    #[arg(long, value_name = "PER_SECOND", value_parser = rate, allow_hyphen_values = true, help_heading = "Traffic")]
    pub rate: Option<f64>,
    /// End when each sender's messages, so many, have come back or reached the room, if that is before the end of
    /// --duration. Those of a --warm-up are among them
    #[arg(long, value_name = "COUNT", value_parser = cli::number::<NonZeroU64>, allow_hyphen_values = true, help_heading = "Traffic")]
    pub messages: Option<NonZeroU64>,
    /// Do not compare payloads, and take masked frames too: for servers that send back what they do not
    /// understand. Only how many messages come is counted then
    #[arg(long, help_heading = "Traffic")]
    pub no_check: bool,
}

/// How long.
#[derive(Debug, Args)]
pub struct TimeArgs {
    /// How long to measure
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration, allow_hyphen_values = true, help_heading = "Measuring")]
    pub duration: Duration,
    /// How long to run before that [default: 1s; with --messages 0s]
    #[arg(long, value_name = "DURATION", value_parser = duration_or_none, allow_hyphen_values = true, help_heading = "Measuring")]
    pub warm_up: Option<Duration>,
}

/// What all scenarios have.
#[derive(Debug, Args)]
pub struct CommonArgs {
    /// Where to connect to; several take turns: ws://HOST[:PORT]/PATH[?QUERY]. Where members share rooms each names
    /// another room, and one that no other run uses at the same time: its messages would be wrong here. So would
    /// earlier ones that ?last=N brings
    #[arg(required = true, value_name = "URL", value_hint = ValueHint::Url)]
    pub urls: Vec<Url>,
    /// Connections, without publishers
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = count(1..=10_000_000), allow_hyphen_values = true, help_heading = "Connections")]
    pub connections: u32,
    /// Local addresses to connect from, in turns: addresses and networks such as 127.0.0.0/24. Each allows about
    /// 28,000 connections to one server
    #[arg(long, value_name = "ADDRESSES", help_heading = "Connections")]
    pub source: Option<Sources>,
    /// Connections that are being opened at a time [default: 128; in a storm all]
    #[arg(long, value_name = "COUNT", value_parser = count(1..=10_000_000), allow_hyphen_values = true, help_heading = "Connections")]
    pub opening: Option<u32>,
    /// Header of each opening handshake, for example "Origin: http://localhost"; may be repeated
    #[arg(long, value_name = "HEADER", help_heading = "Connections")]
    pub header: Vec<Header>,
    /// How long nothing may change while connections are opened, members wait for a first message, or messages are
    /// missing at the end
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration, allow_hyphen_values = true, help_heading = "Connections")]
    pub timeout: Duration,
    /// The server's process, if it runs on this machine: its processor time and memory are shown. Memory that a
    /// server got for an earlier run it uses again: for bytes a connection start a fresh one. There are no figures of
    /// one that ends during the run
    #[arg(long, value_name = "PID", value_parser = count(1..=4_194_304), allow_hyphen_values = true, help_heading = "Measuring")]
    pub pid: Option<u32>,
    /// Write the results there as one JSON object; - for standard output, in place of the table
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Measuring")]
    pub json: Option<PathBuf>,
    /// Threads that make the load; connections are shared out among them
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = count(1..=256), allow_hyphen_values = true, help_heading = "This process")]
    pub threads: u32,
    /// Cores of the threads: auto, off, or numbers such as 0,2,4-7
    #[arg(
        long,
        value_name = "CORES",
        default_value = "off",
        allow_hyphen_values = true,
        help_heading = "This process"
    )]
    pub pin: Pin,
    /// Same number, same payloads and masks [default: a random one]
    #[arg(long, value_name = "NUMBER", value_parser = cli::number::<u64>, allow_hyphen_values = true, help_heading = "This process")]
    pub seed: Option<u64>,
}

/// A header line of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What is before the colon.
    pub name: String,
    /// What is behind it.
    pub value: String,
}

impl FromStr for Header {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Header, &'static str> {
        let (name, value) = text.split_once(':').ok_or("expected NAME: VALUE")?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(plain) {
            return Err("expected a name of letters, digits and hyphens before the colon");
        }
        if value.chars().any(char::is_control) {
            return Err("expected a value without control characters");
        }
        Ok(Header { name: name.to_owned(), value: value.trim().to_owned() })
    }
}

/// A part of all, above 0 and below 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(f64);

impl FromStr for Share {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Share, &'static str> {
        let percent = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
        let percent = percent.filter(|percent| *percent > 0.0 && *percent < 100.0);
        percent.map(|percent| Share(percent / 100.0)).ok_or("expected a percentage above 0% and below 100%")
    }
}

impl Share {
    /// Whether the thing of this number, from 0 on, is of the part; it is spread evenly over all, and has the
    /// first.
    pub fn has(self, number: u32) -> bool {
        let until = |number: f64| (number * self.0).ceil();
        until(f64::from(number) + 1.0) > until(f64::from(number))
    }
}

/// Message sizes that are allowed.
const SIZE_MAX: usize = 64 << 20;
/// Messages a second that are allowed.
const RATE_MAX: f64 = 100_000_000.0;
const DURATION_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

fn count(range: std::ops::RangeInclusive<u32>) -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(i64::from(*range.start())..=i64::from(*range.end()))
}

fn message_size(text: &str) -> Result<usize, String> {
    let size = cli::size(text)?;
    if size > SIZE_MAX { Err("expected at most 64MiB".to_owned()) } else { Ok(size) }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| *rate > 0.0 && *rate <= RATE_MAX);
    rate.ok_or_else(|| "expected a number above 0, up to 100000000, of messages a second".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = cli::duration(text)?;
    let allowed = Duration::from_millis(1)..=DURATION_MAX;
    if allowed.contains(&duration) { Ok(duration) } else { Err("expected 1ms to 7days".to_owned()) }
}

fn duration_or_none(text: &str) -> Result<Duration, String> {
    let duration = cli::duration(text)?;
    if duration.is_zero() { Ok(duration) } else { self::duration(text) }
}

impl LoadArgs {
    /// Where the JSON goes.
    pub fn json(&self) -> Option<&Path> {
        let common = match &self.scenario {
            Scenario::Echo(args) => &args.common,
            Scenario::Fanout(args) => &args.common,
            Scenario::Idle(args) => &args.common,
            Scenario::Storm(args) => &args.common,
            Scenario::Stalled(args) => &args.common,
        };
        common.json.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_spread_evenly() {
        let share: Share = "10%".parse().unwrap();
        let has: Vec<u32> = (0..40).filter(|number| share.has(*number)).collect();
        assert_eq!(has, [0, 10, 20, 30]);
        let half: Share = "50%".parse().unwrap();
        assert_eq!((0..1000).filter(|number| half.has(*number)).count(), 500);
        for text in ["0%", "100%", "10", "-5%", "x%", "NaN%"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_header_has_a_name_and_a_value() {
        let header: Header = "Origin:  http://a:80 ".parse().unwrap();
        assert_eq!((header.name.as_str(), header.value.as_str()), ("Origin", "http://a:80"));
        for text in ["Origin", ": a", "a b: c", "a: b\r\nc: d"] {
            assert!(text.parse::<Header>().is_err(), "{text}");
        }
    }
}
