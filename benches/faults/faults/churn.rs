//! F20: members that come and go all the time, with their connections or without.

use std::time::Duration;

use crate::crowd::rooms;
use crate::finding::Round;
use crate::http;
use crate::load::Setup;
use crate::load::cast::{Cast, Habit, Role};
use crate::rounds::{Fault, Title};
use crate::settings::{Size, set_flag};
use crate::stage::{PATIENCE, Stage};

const CONNECTIONS: &str = "coming and going";
const SUBSCRIPTIONS: &str = "subscribers";
/// Players for 5,000 members, and how long they stay.
const CONNECTING: usize = 500;
const STAY_MS: u64 = 500;
const SUBSCRIBING: usize = 200;
const EVERY_MS: u64 = 20;
/// How far memory may be off after a round: parts of all, or an allocator's steps.
const FLAT: f64 = 0.02;
const STEPS_BYTES: u64 = 1 << 20;

/// Leaves a second, and as many joins.
fn connection_rate(size: &Size) -> f64 {
    size.share(CONNECTING) as f64 * 1e3 / STAY_MS as f64
}

/// The same, where each second time is a leave.
fn subscription_rate(size: &Size) -> f64 {
    size.share(SUBSCRIBING) as f64 * 1e3 / EVERY_MS as f64 / 2.0
}

/// Windows that are full soon: what memory does then is the churn's.
fn small_windows(setup: &mut Setup) {
    set_flag(&mut setup.flags, "--history-messages", "8");
}

/// What must hold behind each round.
fn look_back(stage: &mut Stage<'_>, cast: &str) {
    stage.leave(&[cast]);
    let expected = stage.crowd.count() as u64;
    let until = stage.load.now() + PATIENCE;
    // Subscriptions end with their connections, and those when their shard gets to it.
    let mut members = http::members_of_all_rooms(stage.load.server.address);
    while members != Ok(expected) && stage.load.now() < until {
        stage.pass(Duration::from_millis(100), |_| {});
        members = http::members_of_all_rooms(stage.load.server.address);
    }
    let seen = members.as_ref().map_or_else(String::clone, u64::to_string);
    stage.bars.must("members of all rooms: no ghosts", members == Ok(expected), seen, expected);
    // What the first round has brought is there for good; after that nothing may be added.
    if stage.round > 0 {
        let (before, now) = (stage.resident_before, stage.resident());
        let allowed = ((before as f64 * FLAT) as u64).max(STEPS_BYTES);
        let seen = (now as i64 - before as i64) >> 10;
        let bound = format!("≤ {}: 2 % or 1 MiB", allowed >> 10);
        stage.bars.must("memory that is left of a round, KiB", now <= before + allowed, seen, bound);
    }
}

fn prepare(stage: &mut Stage<'_>) {
    if stage.round == 0 {
        stage.pass(stage.size.warm_up * 2, |_| {});
    }
}

/// Honest members with connections of their own.
pub struct Connections;

impl Fault for Connections {
    fn title(&self) -> Title {
        Title::new("F20", "F20", "churn of connections")
    }

    fn done(&self, size: &Size) -> String {
        let (count, rate) = (size.share(CONNECTING), connection_rate(size));
        format!(
            "{count} honest members stay {STAY_MS} ms and join the next room: {rate:.0} joins and leaves a second"
        )
    }

    fn set_up(&self, _: &Size, setup: &mut Setup) {
        small_windows(setup);
    }

    fn prepare(&mut self, stage: &mut Stage<'_>) {
        prepare(stage);
    }

    fn begin(&mut self, stage: &mut Stage<'_>) {
        let role = Role::with_habit(rooms(stage.size), Habit::Churn { stay_ms: STAY_MS });
        stage.load.begin(&Cast::new(CONNECTIONS, stage.size.share(CONNECTING), role).apart());
    }

    fn end(&mut self, stage: &mut Stage<'_>, round: &Round) {
        let left = stage.load.state.count(CONNECTIONS, "left");
        stage.bars.must("joined and left", left > 0, left, "> 0");
        let rate = left as f64 / (stage.round + 1) as f64 / round.fault.seconds;
        stage.bars.strength("leaves a second", rate, connection_rate(stage.size));
        look_back(stage, CONNECTIONS);
    }

    fn casts(&self) -> Vec<&'static str> {
        vec![CONNECTIONS]
    }
}

/// Honest clients of the client protocol, on one connection each.
pub struct Subscriptions;

impl Fault for Subscriptions {
    fn title(&self) -> Title {
        Title::new("F20", "F20-sub", "churn of subscriptions")
    }

    fn done(&self, size: &Size) -> String {
        let (count, rate) = (size.share(SUBSCRIBING), subscription_rate(size));
        format!(
            "{count} clients of the client protocol come or go each {EVERY_MS} ms: {rate:.0} joins and as many leaves \
             a second"
        )
    }

    fn set_up(&self, _: &Size, setup: &mut Setup) {
        small_windows(setup);
    }

    fn prepare(&mut self, stage: &mut Stage<'_>) {
        prepare(stage);
    }

    fn begin(&mut self, stage: &mut Stage<'_>) {
        let role = Role::Subscriber { rooms: rooms(stage.size), every_ms: EVERY_MS };
        stage.load.begin(&Cast::new(SUBSCRIPTIONS, stage.size.share(SUBSCRIBING), role).apart());
    }

    fn end(&mut self, stage: &mut Stage<'_>, round: &Round) {
        let joined = stage.load.state.count(SUBSCRIPTIONS, "joined");
        let rate = joined as f64 / (stage.round + 1) as f64 / round.fault.seconds;
        stage.bars.must("joined", joined > 0, joined, "> 0");
        stage.bars.strength("joins a second", rate, subscription_rate(stage.size));
        look_back(stage, SUBSCRIPTIONS);
    }

    fn casts(&self) -> Vec<&'static str> {
        vec![SUBSCRIPTIONS]
    }
}
