//! F8: requests that are none, or nearly one.

use std::time::Duration;

use crate::crowd::Crowd;
use crate::finding::Round;
use crate::load::Setup;
use crate::load::cast::{Cast, Role};
use crate::rounds::{Fault, Title};
use crate::settings::{Size, set_flag};
use crate::stage::Stage;

use super::flood::limit_addresses;

const CAST: &str = "garbage";
const PLAYERS: usize = 500;
const NEWCOMERS: usize = 25;
/// What one of them may hold at the server.
const EACH_BYTES: u64 = 64 << 10;
/// What may be left of all of them: an allocator's steps.
const LEFT_BYTES: u64 = 1 << 20;

/// From addresses that may have as many as they like, or not.
pub struct Garbage {
    limited: bool,
    requests: u64,
}

impl Garbage {
    pub fn new(limited: bool) -> Garbage {
        Garbage { limited, requests: 0 }
    }

    fn requests(stage: &Stage<'_>) -> u64 {
        let counts = stage.load.state.counts(CAST);
        let is_request = |what: &&String| what.starts_with("answered") || what.starts_with("ended");
        counts.keys().filter(is_request).map(|what| counts[what]).sum()
    }
}

impl Fault for Garbage {
    fn title(&self) -> Title {
        if self.limited {
            Title::new("F8", "F8-none", "handshake garbage, --exempt-network none")
        } else {
            Title::new("F8", "F8", "handshake garbage")
        }
    }

    fn done(&self, size: &Size) -> String {
        let (count, rate, requests) = (size.share(PLAYERS), size.flood_rate(), self.requests);
        format!("{count} send noise, mutated, too long and cut handshakes, up to {rate} a second: {requests}")
    }

    fn crowd(&self, size: &Size) -> Crowd {
        Crowd::new(size, size.rate).with_newcomers(size.share(NEWCOMERS), size)
    }

    fn set_up(&self, size: &Size, setup: &mut Setup) {
        setup.apart.connects_per_second = size.flood_rate();
        if self.limited {
            limit_addresses(size, setup);
        }
        // Windows that are full soon: what grows then is not theirs.
        set_flag(&mut setup.flags, "--history-messages", "8");
    }

    fn prepare(&mut self, stage: &mut Stage<'_>) {
        if stage.round == 0 {
            stage.pass(stage.size.warm_up * 2, |_| {});
        }
    }

    fn begin(&mut self, stage: &mut Stage<'_>) {
        let role = Role::Garbage { pause_ms: 10, limited: self.limited };
        stage.load.begin(&Cast::new(CAST, stage.size.share(PLAYERS), role).apart());
    }

    fn end(&mut self, stage: &mut Stage<'_>, round: &Round) {
        let before = self.requests;
        self.requests = Self::requests(stage);
        let rate = (self.requests - before) as f64 / round.fault.seconds;
        stage.bars.strength("requests a second", rate, f64::from(stage.size.flood_rate()));
        let requests = self.requests;
        stage.bars.must("requests that were answered or ended", requests > 0, requests, "> 0");
        let growth = stage.growth();
        let cap = EACH_BYTES * stage.size.share(PLAYERS) as u64;
        let allowed = format!("≤ {}: 64 each", cap >> 10);
        stage.bars.must("growth of the server's memory, KiB", growth <= cap, growth >> 10, allowed);
        stage.leave(&[CAST]);
        stage.pass(Duration::from_millis(200), |_| {});
        // What the first round has brought is there for good; after that nothing may be added.
        if stage.round > 0 {
            let left = stage.resident().saturating_sub(stage.resident_before);
            let allowed = format!("≤ {}", LEFT_BYTES >> 10);
            stage.bars.must("memory that is left of a round, KiB", left <= LEFT_BYTES, left >> 10, allowed);
        }
    }

    fn casts(&self) -> Vec<&'static str> {
        vec![CAST]
    }
}
