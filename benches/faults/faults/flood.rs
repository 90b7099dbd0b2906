//! F7: a flood of connections that say nothing.

use crate::crowd::Crowd;
use crate::finding::Round;
use crate::load::Setup;
use crate::load::cast::{Cast, Role};
use crate::rounds::{Fault, Title};
use crate::settings::{Size, set_flag};
use crate::stage::Stage;

const CAST: &str = "silent";
/// How long an honest client may take to come in, in milliseconds.
const ENTRY_MS: f64 = 100.0;
/// How much later than it should the server may end one of them.
const LATE_SECONDS: f64 = 0.5;
const NEWCOMERS: usize = 25;
/// From 16 addresses, of which each may make 100 a second.
const HONEST_CONNECTS_PER_SECOND: u32 = 1_000;

/// From addresses that may have as many as they like, or not.
pub struct Flood {
    pub limited: bool,
}

impl Flood {
    /// As many as are waited for at a time.
    fn count(size: &Size) -> usize {
        (size.deadlines.handshake_timeout.as_secs_f64() * f64::from(size.flood_rate())).ceil() as usize
    }
}

/// Nobody is exempt from the limits for each address: the honest come slowly enough for theirs.
pub fn limit_addresses(size: &Size, setup: &mut Setup) {
    if size.smoke {
        // So that the little that comes is too much.
        set_flag(&mut setup.flags, "--handshakes-per-address", "10");
    }
    set_flag(&mut setup.flags, "--exempt-network", "none");
    setup.connects_per_second = HONEST_CONNECTS_PER_SECOND;
}

impl Fault for Flood {
    fn title(&self) -> Title {
        if self.limited {
            Title::new("F7", "F7-none", "connection flood, --exempt-network none")
        } else {
            Title::new("F7", "F7", "connection flood, no bytes sent")
        }
    }

    fn done(&self, size: &Size) -> String {
        let (rate, timeout) = (size.flood_rate(), size.deadlines.handshake_timeout);
        let waiting = Self::count(size);
        format!(
            "{rate} connections a second that send nothing (--handshake-timeout {timeout:?}: {waiting} at a time)"
        )
    }

    fn crowd(&self, size: &Size) -> Crowd {
        Crowd::new(size, size.rate).with_newcomers(size.share(NEWCOMERS), size)
    }

    fn window(&self, size: &Size) -> std::time::Duration {
        size.window.max(size.deadlines.handshake_timeout * 2)
    }

    fn set_up(&self, size: &Size, setup: &mut Setup) {
        setup.apart.connects_per_second = size.flood_rate();
        if self.limited {
            limit_addresses(size, setup);
        }
    }

    fn begin(&mut self, stage: &mut Stage<'_>) {
        // Far longer than the goal: what is slow is a figure, what is stuck is wrong.
        let patience_ms = stage.size.deadlines.handshake_timeout.as_millis() as u64 + 30_000;
        stage.load.begin(&Cast::new(CAST, Self::count(stage.size), Role::Silent { patience_ms }).apart());
    }

    fn end(&mut self, stage: &mut Stage<'_>, round: &Round) {
        let waited = round.fault.others.get(CAST).copied().unwrap_or_default();
        stage.bars.must("they are ended by the server", waited.count > 0, waited.count, "> 0");
        let timeout = stage.size.deadlines.handshake_timeout.as_secs_f64();
        stage.bars.at_most("the last one is ended after", waited.max_ms / 1e3, timeout + LATE_SECONDS, "s");
        if !self.limited {
            let timeouts = round.fault.seconds - timeout;
            let rate = waited.count as f64 / timeouts;
            stage.bars.strength("connections a second", rate, f64::from(stage.size.flood_rate()));
        }
        if self.limited {
            let refused = stage.load.state.count(CAST, "refused");
            stage.bars.must("refused for their addresses", refused > 0, refused, "> 0");
        }
        let entry = round.fault.entry.unwrap_or_default();
        stage.bars.must("honest clients come in meanwhile", entry.count > 0, entry.count, "> 0");
        stage.bars.at_most("p99 of coming in", entry.p99_ms, ENTRY_MS, "ms");
        stage.leave(&[CAST]);
    }

    fn casts(&self) -> Vec<&'static str> {
        vec![CAST]
    }
}
