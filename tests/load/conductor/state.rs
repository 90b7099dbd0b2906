//! What the client processes have reported, added up.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::kernel::Memory;
use crate::load::latency::Latency;
use crate::load::wire::{CastReport, Report};

/// Violations that are kept in words.
const COMPLAINTS_MAX: usize = 50;

/// What one second of the run was like.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Seconds since the run began.
    pub at: f64,
    /// Open connections, and of them those of honest casts.
    pub open: u64,
    pub honest_open: u64,
    /// Messages a second to and from the server.
    pub sent: f64,
    pub received: f64,
    /// Milliseconds from when a message was meant to be sent to when an honest member has read it; `None`
    /// without messages.
    pub latency_ms: Option<[f64; 3]>,
    pub memory: Memory,
    pub descriptors: usize,
    /// Part of a core that each worker has used, and all other threads of the server together.
    pub workers: Vec<f64>,
    pub others: f64,
    /// Part of a core that the clients have used together.
    pub clients: f64,
    /// Open WebSockets on each shard.
    pub shards: Vec<u64>,
    /// Ends of connections a second, by cause.
    pub causes: BTreeMap<String, f64>,
}

/// Everything that is known about the clients.
#[derive(Debug, Default)]
pub struct State {
    /// The latest report of each process, and how many things it has been told.
    reports: Vec<Report>,
    told: Vec<u64>,
    honest: Vec<String>,
    /// Latencies of each cast since they were last taken.
    windows: BTreeMap<String, (Latency, Latency)>,
    second: Latency,
    pub complaints: Vec<String>,
    /// Slow readers that were cut and not looked up in the log yet.
    pub cut: Vec<SocketAddr>,
    /// Messages a second to and from the server, of each process between its last two reports.
    rates: Vec<(f64, f64)>,
}

impl State {
    pub fn new(processes: usize) -> State {
        State {
            reports: vec![Report::default(); processes],
            told: vec![0; processes],
            rates: vec![(0.0, 0.0); processes],
            ..State::default()
        }
    }

    /// Latencies of this cast count for everybody's from now on.
    pub fn add_honest(&mut self, cast: &str) {
        self.honest.push(cast.to_owned());
    }

    pub fn take(&mut self, process: usize, mut report: Report) {
        for cast in &report.casts {
            if !self.windows.contains_key(&cast.name) {
                self.windows.insert(cast.name.clone(), Default::default());
            }
            if let Some((latency, connect)) = self.windows.get_mut(&cast.name) {
                latency.add_pairs(&cast.latency);
                connect.add_pairs(&cast.connect);
            }
            if self.honest.contains(&cast.name) {
                self.second.add_pairs(&cast.latency);
            }
        }
        let room = COMPLAINTS_MAX.saturating_sub(self.complaints.len());
        self.complaints.extend(report.complaints.drain(..).take(room));
        self.cut.append(&mut report.cut);
        let before = &self.reports[process];
        let sum = |report: &Report, of: fn(&CastReport) -> u64| report.casts.iter().map(of).sum::<u64>();
        let rate = |of: fn(&CastReport) -> u64| {
            (sum(&report, of) - sum(before, of)) as f64 / (report.at - before.at).max(1e-3)
        };
        self.rates[process] = (rate(|cast| cast.sent), rate(|cast| cast.received));
        self.reports[process] = report;
    }

    fn casts(&self) -> impl Iterator<Item = &CastReport> {
        self.reports.iter().flat_map(|report| &report.casts)
    }

    fn sum(&self, cast: &str, what: impl Fn(&CastReport) -> u64) -> u64 {
        self.casts().filter(|report| report.name == cast).map(what).sum()
    }

    /// Open connections of a cast.
    pub fn open(&self, cast: &str) -> u64 {
        self.sum(cast, |report| report.open)
    }

    /// Players of a cast that have not left for good.
    pub fn players(&self, cast: &str) -> u64 {
        self.sum(cast, |report| report.players)
    }

    /// How often something was counted in a cast, such as `opened` or `cut`.
    pub fn count(&self, cast: &str, what: &str) -> u64 {
        self.sum(cast, |report| report.counts.get(what).copied().unwrap_or_default())
    }

    /// Everything that was counted in a cast.
    pub fn counts(&self, cast: &str) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for report in self.casts().filter(|report| report.name == cast) {
            for (what, count) in &report.counts {
                *counts.entry(what.clone()).or_default() += count;
            }
        }
        counts
    }

    pub fn sent(&self, cast: &str) -> u64 {
        self.sum(cast, |report| report.sent)
    }

    pub fn received(&self, cast: &str) -> u64 {
        self.sum(cast, |report| report.received)
    }

    pub fn names(&self) -> Vec<String> {
        {
            let mut names: Vec<String> = self.casts().map(|report| report.name.clone()).collect();
            names.sort();
            names.dedup();
            names
        }
    }

    pub fn players_in_all(&self) -> u64 {
        self.casts().map(|report| report.players).sum()
    }

    pub fn open_in_all(&self) -> u64 {
        self.casts().map(|report| report.open).sum()
    }

    pub fn honest_open(&self) -> u64 {
        self.casts().filter(|report| self.honest.contains(&report.name)).map(|report| report.open).sum()
    }

    /// Messages a second to the server and from it.
    pub fn rates(&self) -> (f64, f64) {
        self.rates.iter().fold((0.0, 0.0), |sum, rate| (sum.0 + rate.0, sum.1 + rate.1))
    }

    pub fn violations(&self) -> u64 {
        self.reports.iter().map(|report| report.violations).sum()
    }

    /// A process has been told something more.
    pub fn add_told(&mut self, process: usize) {
        self.told[process] += 1;
    }

    /// Whether every process has reported since it has done what it was told.
    pub fn is_current(&self) -> bool {
        self.reports.iter().zip(&self.told).all(|(report, told)| report.told == *told)
    }

    pub fn unsettled(&self) -> u64 {
        self.reports.iter().map(|report| report.unsettled).sum()
    }

    /// Open WebSockets on each shard.
    pub fn shards(&self) -> Vec<u64> {
        let mut shards = Vec::new();
        for report in &self.reports {
            shards.resize(shards.len().max(report.shards.len()), 0);
            for (shard, count) in report.shards.iter().enumerate() {
                shards[shard] += count;
            }
        }
        shards
    }

    /// Latencies of honest members since the last call.
    pub fn take_second(&mut self) -> Latency {
        std::mem::take(&mut self.second)
    }

    /// Latencies of messages and of handshakes of each cast since the last call.
    pub fn take_windows(&mut self) -> BTreeMap<String, (Latency, Latency)> {
        std::mem::take(&mut self.windows)
    }
}
