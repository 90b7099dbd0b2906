//! A run that a fault plays in: a server with its crowd, and what is watched meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use fanfare::time::Time;

use crate::bars::Bars;
use crate::crowd::Crowd;
use crate::finding::Measured;
use crate::load::conductor::{State, kernel};
use crate::load::{Cast, Load, Setup, Window};
use crate::machine;
use crate::settings::Size;
use crate::statistics::Quantiles;

/// How long anything may take that the server has to do.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often a fault and the server's memory are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The run.
pub struct Stage<'a> {
    pub load: Load,
    pub size: &'a Size,
    pub crowd: Crowd,
    pub bars: Bars,
    /// The round, from 0.
    pub round: usize,
    /// When the fault of this round began.
    began: Time,
    marked: Time,
    /// Descriptors of the server with the crowd in.
    base_descriptors: usize,
    /// What was resident before the fault of this round, and in it at most.
    pub resident_before: u64,
    resident_peak: u64,
    tcp_before: u64,
    tcp_peak: u64,
    /// Ends of connections before the fault of this round, by cause.
    causes_before: BTreeMap<String, u64>,
}

impl<'a> Stage<'a> {
    /// Starts a server and has the crowd in.
    pub fn new(setup: &Setup, size: &'a Size, crowd: Crowd) -> Stage<'a> {
        let mut load = Load::start(setup);
        crowd.enter(&mut load);
        load.run_for(size.warm_up);
        let mut stage = Stage {
            began: load.now(),
            marked: load.now(),
            load,
            size,
            crowd,
            bars: Bars::default(),
            round: 0,
            base_descriptors: 0,
            resident_before: 0,
            resident_peak: 0,
            tcp_before: 0,
            tcp_peak: 0,
            causes_before: BTreeMap::new(),
        };
        stage.base_descriptors = stage.descriptors();
        stage
    }

    pub fn is_last(&self) -> bool {
        self.round + 1 == self.size.rounds
    }

    /// Since the fault of this round began.
    pub fn elapsed(&self) -> Duration {
        self.load.now().since(self.began)
    }

    /// Notes the time.
    pub fn mark(&mut self) {
        self.marked = self.load.now();
    }

    /// Since it was noted.
    pub fn since_mark(&self) -> Duration {
        self.load.now().since(self.marked)
    }

    pub fn resident(&self) -> u64 {
        kernel::memory(self.load.server.id()).resident
    }

    pub fn descriptors(&self) -> usize {
        kernel::descriptors(self.load.server.id())
    }

    /// Connections that ended in this round's fault for one of these causes.
    pub fn ended(&self, causes: &[&str]) -> u64 {
        let log = self.load.server.log();
        let count = |of: &BTreeMap<String, u64>, cause: &str| of.get(cause).copied().unwrap_or_default();
        causes.iter().map(|cause| count(&log.causes, cause) - count(&self.causes_before, cause)).sum()
    }

    /// From here on it is the fault's time.
    pub fn begin_fault(&mut self) {
        self.causes_before = self.load.server.log().causes.clone();
        self.resident_before = self.resident();
        self.tcp_before = machine::tcp_bytes();
        self.began = self.load.now();
    }

    /// What was measured while `play` ran, and what the kernel showed meanwhile.
    pub fn measure(&mut self, play: impl FnOnce(&mut Stage<'a>)) -> Measured {
        (self.resident_peak, self.tcp_peak) = (self.resident(), machine::tcp_bytes());
        let (busy, opening) = (machine::busy_seconds(), self.load.open_window());
        play(self);
        let window = self.load.close_window(opening);
        let machine_cores = (machine::busy_seconds() - busy) / window.seconds;
        self.measured(&window, machine_cores)
    }

    fn measured(&self, window: &Window, machine_cores: f64) -> Measured {
        let groups = self.crowd.groups.iter();
        let honest = self.crowd.casts.iter().filter_map(|cast| window.casts.get(&cast.name));
        let received: u64 = honest.map(|cast| cast.received).sum();
        let is_ours = |name: &String| self.crowd.casts.iter().any(|cast| cast.name == *name);
        let others = window.casts.iter().filter(|(name, cast)| !is_ours(name) && cast.latency.count() > 0);
        let entry = window.casts.get("newcomers").map(|cast| Quantiles::from(&cast.connect));
        Measured {
            seconds: window.seconds,
            groups: groups
                .map(|group| (group.name.to_owned(), Quantiles::from(&group.latency(window))))
                .collect(),
            others: others.map(|(name, cast)| (name.clone(), Quantiles::from(&cast.latency))).collect(),
            entry,
            deliveries_per_second: received as f64 / window.seconds,
            server_cores: window.server_seconds / window.seconds,
            client_cores: window.client_seconds / window.seconds,
            machine_cores,
            resident_peak_bytes: self.resident_peak,
            tcp_peak_bytes: self.tcp_peak,
        }
    }

    /// Lets time pass, and calls `watch` again and again.
    pub fn pass(&mut self, duration: Duration, mut watch: impl FnMut(&mut Stage<'a>)) {
        let end = self.load.now() + duration;
        while self.load.now() < end && !self.load.is_interrupted() {
            let rest = end.since(self.load.now());
            self.load.run_for(rest.min(LOOK_EVERY));
            self.resident_peak = self.resident_peak.max(self.resident());
            self.tcp_peak = self.tcp_peak.max(machine::tcp_bytes());
            watch(self);
        }
    }

    /// What memory has grown by in this round's fault, at most.
    pub fn growth(&self) -> u64 {
        self.resident_peak.saturating_sub(self.resident_before)
    }

    pub fn tcp_peak(&self) -> u64 {
        self.tcp_peak
    }

    /// What all TCP sockets of the machine have grown by in this round's fault, at most.
    pub fn tcp_growth(&self) -> u64 {
        self.tcp_peak.saturating_sub(self.tcp_before)
    }

    /// Waits until everybody of a cast is in.
    pub fn enter(&mut self, cast: &Cast) {
        self.load.begin(cast);
        let (name, count) = (cast.name.clone(), cast.count as u64);
        self.load.until(&format!("{name} are in"), PATIENCE, |state| state.open(&name) == count);
    }

    /// Takes casts off, and waits until the server has forgotten them. Gives how long it took for its descriptors
    /// to be as they were with the crowd alone.
    pub fn leave(&mut self, casts: &[&str]) -> Duration {
        for cast in casts {
            self.load.stop(cast);
        }
        self.await_descriptors(casts)
    }

    /// The same for casts that are leaving already.
    pub fn await_descriptors(&mut self, casts: &[&str]) -> Duration {
        let began = self.load.now();
        // Newcomers come and go all the time.
        let newcomers = self.crowd.casts.iter().filter(|cast| cast.name == "newcomers");
        let base = self.base_descriptors + newcomers.map(|cast| cast.count).sum::<usize>();
        let mut seen = self.descriptors();
        while seen > base && self.load.now().since(began) < PATIENCE && !self.load.is_interrupted() {
            self.load.run_for(LOOK_EVERY / 5);
            seen = self.descriptors();
        }
        let took = self.load.now().since(began);
        self.bars.must("descriptors are back to those of the crowd", seen <= base, seen, format!("≤ {base}"));
        let gone = |state: &State| casts.iter().all(|cast| state.players(cast) == 0);
        self.load.until(&format!("{} have left", casts.join(", ")), PATIENCE, gone);
        took
    }
}
