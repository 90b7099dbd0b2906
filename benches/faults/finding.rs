//! What the rounds of a fault have shown.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::bars::{Bars, Kind};
use crate::statistics::{Quantiles, median, ratio};

/// What was measured in a window.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Measured {
    pub seconds: f64,
    /// Latencies of the honest, by group.
    pub groups: BTreeMap<String, Quantiles>,
    /// Of those who play the fault, by cast: of what their role measures.
    pub others: BTreeMap<String, Quantiles>,
    /// How long honest newcomers took to come in.
    pub entry: Option<Quantiles>,
    /// Messages that the honest have received in a second.
    pub deliveries_per_second: f64,
    /// Cores that the server has used, all of its clients, and everybody on the machine.
    pub server_cores: f64,
    pub client_cores: f64,
    pub machine_cores: f64,
    pub resident_peak_bytes: u64,
    pub tcp_peak_bytes: u64,
}

/// A window without the fault and one with it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Round {
    pub base: Measured,
    pub fault: Measured,
}

/// A group's latency over all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    pub group: String,
    pub base: Quantiles,
    pub fault: Quantiles,
    /// Of the medians of the 99th percentiles, where there is a window without the fault.
    pub p99_ratio: Option<f64>,
}

/// Everything about one fault.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Finding {
    pub number: String,
    pub key: String,
    pub name: String,
    /// Honest connections, and what was done to them.
    pub connections: usize,
    pub done: String,
    /// The goal for the ratio of latencies; none for what has no baseline.
    pub ratio_goal: Option<f64>,
    pub rounds: Vec<Round>,
    pub compared: Vec<Compared>,
    /// Messages that an honest client lacks, has twice or out of order, and honest clients that were cut.
    pub lost: u64,
    pub complaints: Vec<String>,
    /// Ends of connections during the faults, by cause.
    pub causes: BTreeMap<String, u64>,
    /// What the players of the fault have counted.
    pub counts: BTreeMap<String, u64>,
    pub bars: Bars,
    pub seconds: f64,
}

impl Finding {
    /// Puts the rounds beside each other.
    pub fn compare(&mut self) {
        let names: Vec<String> =
            self.rounds.first().map(|round| round.fault.groups.keys().cloned().collect()).unwrap_or_default();
        let compared = names.into_iter().map(|group| {
            let of = |which: fn(&Round) -> &Measured| {
                let rounds: Vec<Quantiles> = self
                    .rounds
                    .iter()
                    .map(|round| which(round).groups.get(&group).copied().unwrap_or_default())
                    .collect();
                Quantiles::of_rounds(&rounds)
            };
            let (base, fault) = (of(|round| &round.base), of(|round| &round.fault));
            let p99_ratio = (base.count > 0).then(|| ratio(base.p99_ms, fault.p99_ms));
            Compared { group, base, fault, p99_ratio }
        });
        self.compared = compared.collect();
        let Some(goal) = self.ratio_goal else { return };
        for compared in &self.compared {
            let name = format!("p99 of the {}, with the fault : without", compared.group);
            self.bars.at_most(&name, compared.p99_ratio.unwrap_or_default(), goal, "");
        }
    }

    /// The group that fares worst.
    pub fn worst(&self) -> Option<&Compared> {
        let ratio = |compared: &&Compared| compared.p99_ratio.unwrap_or_default();
        self.compared.iter().max_by(|one, other| ratio(one).total_cmp(&ratio(other)))
    }

    /// The median over the rounds, without the fault and with it.
    pub fn medians(&self, what: fn(&Measured) -> f64) -> (f64, f64) {
        let base = median(self.rounds.iter().map(|round| what(&round.base)));
        (base, median(self.rounds.iter().map(|round| what(&round.fault))))
    }

    pub fn fails(&self, strict: bool) -> bool {
        self.bars.missed(Kind::Correctness).next().is_some()
            || strict && self.bars.missed(Kind::Figure).next().is_some()
    }
}
