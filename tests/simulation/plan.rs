//! What a seed decides before the first step: the limits, the rooms, who comes, and how long it goes on.

use std::time::Duration;

use fanfare::config::Config;
use fanfare::rooms::{LagPolicy, RoomName};
use fanfare::shard::Settings;

use crate::chance::{Chance, Odds};
use crate::faults::FaultOdds;
use crate::proxy::TRUSTED;

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub shards: usize,
    pub config: Config,
    /// As `--mailbox-bytes` and `--http-bytes`, but smaller than these may be: a run says less than a server
    /// hears in a moment.
    pub mailbox_bytes: usize,
    pub http_bytes: usize,
    /// Members that a turn sends to: few, so that a fan-out takes several turns.
    pub fan_out_members: usize,
    pub rooms: Vec<RoomName>,
    /// Steps before everything calms down.
    pub steps: usize,
    /// Connections at a time.
    pub lines_max: usize,
    /// The longest message that is sent on purpose, and so about what a room's traffic is.
    pub payload_max: usize,
    /// What the kernel holds for a peer that does not read.
    pub send_room: usize,
    pub faults: FaultOdds,
    pub habits: Habits,
    pub drain: Drain,
    /// The server is told other settings.
    pub reload: Odds,
    /// It is checked that the memory of all messages is free in the end.
    pub watches_memory: bool,
}

/// When the server is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// While everything still goes wrong.
    InTheStorm,
    /// When that is over, and clients are still there.
    Early,
    /// When everybody has left.
    Last,
}

/// What clients tend to do, and what happens to them, in each step that is theirs.
#[derive(Clone, Debug)]
pub struct Habits {
    pub talk: Odds,
    pub leave: Odds,
    pub half_close: Odds,
    pub reset: Odds,
    pub vanish: Odds,
    pub stall: Odds,
    pub burst: Odds,
    pub freeze: Odds,
    pub jump: Odds,
    pub far_jump: Odds,
    pub hostile: Odds,
    pub tiny_reads: Odds,
    /// Everything calms down for a moment.
    pub rest: Odds,
    pub accept_errors: Odds,
    /// Descriptors run out, or are there again.
    pub shortage: Odds,
    /// Memory is nearly used up, or some is free again; the same for descriptors.
    pub pressure: Odds,
}

impl Habits {
    fn draw(chance: &mut Chance) -> Habits {
        let mut often = |most: usize| if chance.one_in(2) { 0 } else { chance.magnitude(64..=most) as Odds };
        Habits {
            leave: often(3_000),
            half_close: often(1_000),
            reset: often(1_500),
            vanish: often(1_000),
            stall: often(3_000),
            burst: often(6_000),
            freeze: often(3_000),
            jump: often(6_000),
            far_jump: often(200),
            hostile: often(30_000),
            tiny_reads: often(20_000),
            rest: often(500),
            accept_errors: often(8_000),
            shortage: often(4_000),
            pressure: often(8_000),
            talk: chance.magnitude(2_000..=40_000) as Odds,
        }
    }
}

/// The policy of a room is in its name.
pub fn policy_of(room: &str) -> LagPolicy {
    match room.as_bytes().first() {
        Some(b's') => LagPolicy::Skip,
        Some(b'l') => LagPolicy::Latest,
        _ => LagPolicy::Disconnect,
    }
}

impl Plan {
    /// Whether all rooms together may hold no more than one of them.
    pub fn is_forgetful(&self) -> bool {
        self.config.history_memory == self.config.history_bytes
    }

    /// What shards are told with a configuration.
    pub fn settings(&self, config: &Config) -> Settings {
        let (http_bytes_max, fan_out_members_max) = (self.http_bytes, self.fan_out_members);
        Settings { http_bytes_max, fan_out_members_max, ..config.settings() }
    }

    pub fn draw(seed: u64) -> Plan {
        let chance = &mut Chance::new(seed);
        let large = chance.one_in(8);
        let config = draw_config(chance);
        config.validate().expect("a plan is what a server may be told");
        let names = ["d0", "s0", "l0", "d1", "d ü/?", "s1"];
        let rooms = 1 + chance.below(names.len());
        let mut rooms: Vec<RoomName> =
            names[..rooms].iter().map(|name| RoomName::new(name).expect("a name")).collect();
        chance.shuffle(&mut rooms);
        let payload_max = chance.magnitude(1..=if large { 80_000 } else { 3_000 });
        Plan {
            seed,
            shards: 1 + if large { chance.below(8) } else { chance.magnitude(0..=3) },
            rooms,
            mailbox_bytes: chance.magnitude(256..=64 << 10),
            http_bytes: chance.magnitude(1 << 10..=1 << 20),
            steps: chance.magnitude(300..=if large { 12_000 } else { 5_000 }),
            lines_max: chance.within(2..=if large { 30 } else { 12 }),
            payload_max: payload_max.min(config.max_message),
            send_room: chance.magnitude(16..=64 << 10),
            faults: FaultOdds::draw(chance),
            habits: Habits::draw(chance),
            drain: *chance.pick(&[Drain::Early, Drain::Last, Drain::Last, Drain::InTheStorm]),
            watches_memory: chance.one_in(8),
            reload: if chance.one_in(2) { 0 } else { chance.magnitude(64..=2_000) as Odds },
            fan_out_members: *chance.pick(&[1, 2, 5, 1024]),
            config,
        }
    }
}

/// Limits and deadlines of whatever sizes a server may be told.
pub fn draw_config(chance: &mut Chance) -> Config {
    let mut time = |most_ms: usize| Duration::from_millis(chance.magnitude(100..=most_ms) as u64);
    let (handshake_timeout, http_idle_timeout, message_timeout) = (time(5_000), time(75_000), time(30_000));
    let (ping_interval, pong_timeout, close_timeout) = (time(30_000), time(10_000), time(2_000));
    let (write_timeout, presence_grace, history_age) = (time(10_000), time(5_000), time(300_000));
    let rate_grace = time(10_000);
    let history_bytes = chance.magnitude(4 << 10..=256 << 10);
    let rule = |text: &str| text.parse().expect("a rule");
    let rules = |text: &str| text.parse().expect("a rule");
    Config {
        max_message: *chance.pick(&[64, 1000, 4096, 70_000, 1 << 20]),
        max_fragments: *chance.pick(&[1, 2, 16, 1024]),
        max_memberships: *chance.pick(&[1, 2, 128]),
        max_connections: Some(chance.magnitude(6..=200)),
        handshake_timeout,
        http_idle_timeout,
        message_timeout,
        ping_interval,
        pong_timeout,
        close_timeout,
        write_timeout,
        presence_grace,
        history_bytes,
        history_messages: chance.magnitude(1..=1024) as u64,
        history_age,
        history_memory: if chance.one_in(3) { history_bytes } else { 256 << 20 },
        lag_policy: vec![rule("s*=skip"), rule("l*=latest")],
        presence: vec![rules("*1=count"), rules("l*=off")],
        presence_members: *chance.pick(&[1, 3, 1000]),
        command_rate: *chance.pick(&[5, 100, 1000]),
        trusted_proxy: vec![TRUSTED.parse().expect("a network")],
        connections_per_address: *chance.pick(&[2, 5, 1000]),
        handshakes_per_address: *chance.pick(&[1, 5, 100]),
        handshakes_per_second: *chance.pick(&[5, 50, 10_000]),
        message_rate: *chance.pick(&[3, 30, 20_000]),
        byte_rate: *chance.pick(&[64 << 10, 64 << 20]),
        ping_rate: *chance.pick(&[2, 50]),
        rate_grace,
        queue_bytes: chance.magnitude(4 << 10..=64 << 10),
        reply_bytes: chance.magnitude(4 << 10..=32 << 10),
        linger_bytes: chance.magnitude(0..=64 << 10),
        drain: Duration::from_millis(chance.magnitude(0..=10_000) as u64),
        ..Config::default()
    }
}
