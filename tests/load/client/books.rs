//! What a client process keeps for all of its players: counts, rooms, violations.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use fanfare::protocol::MaskKeys;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::load::checker::RoomLog;
use crate::load::latency::Latency;
use crate::load::wire::{CastReport, Report};

/// Violations that are told in words.
const COMPLAINTS_MAX: u64 = 20;

/// What one cast has done.
#[derive(Debug, Default)]
pub struct Tally {
    pub name: String,
    pub players: u64,
    pub open: u64,
    pub sent: u64,
    pub received: u64,
    pub received_bytes: u64,
    pub latency: Latency,
    pub connect: Latency,
    counts: BTreeMap<String, u64>,
}

impl Tally {
    pub fn new(name: &str) -> Tally {
        Tally { name: name.to_owned(), ..Tally::default() }
    }

    pub fn count(&mut self, what: &str) {
        match self.counts.get_mut(what) {
            Some(count) => *count += 1,
            None => {
                self.counts.insert(what.to_owned(), 1);
            }
        }
    }

    fn report(&mut self) -> CastReport {
        CastReport {
            name: self.name.clone(),
            players: self.players,
            open: self.open,
            sent: self.sent,
            received: self.received,
            received_bytes: self.received_bytes,
            counts: self.counts.clone(),
            latency: self.latency.take_pairs(),
            connect: self.connect.take_pairs(),
        }
    }
}

/// What the players of a process share.
pub struct Books {
    pub process: usize,
    pub server: SocketAddr,
    pub casts: Vec<Tally>,
    pub rooms: Vec<RoomLog>,
    room_numbers: HashMap<String, usize>,
    pub keys: MaskKeys,
    random: StdRng,
    /// Nothing more is published, nobody comes or goes.
    pub quiet: bool,
    /// How many things it has been told and has done.
    pub told: u64,
    /// The last offset of each room, by its number, once it is known.
    pub goals: Option<HashMap<usize, u64>>,
    pub tolerated: Vec<u16>,
    pub shards: Vec<u64>,
    pub cut: Vec<SocketAddr>,
    violations: u64,
    complaints: Vec<String>,
}

impl Books {
    pub fn new(process: usize, server: SocketAddr, seed: u64) -> Books {
        Books {
            process,
            server,
            casts: Vec::new(),
            rooms: Vec::new(),
            room_numbers: HashMap::new(),
            keys: MaskKeys::from_os(),
            random: StdRng::seed_from_u64(seed),
            quiet: false,
            told: 0,
            goals: None,
            tolerated: Vec::new(),
            shards: Vec::new(),
            cut: Vec::new(),
            violations: 0,
            complaints: Vec::new(),
        }
    }

    /// A number from here to there, both inclusive.
    pub fn random(&mut self, from: u64, to: u64) -> u64 {
        self.random.random_range(from..=to.max(from))
    }

    /// The number of a room.
    pub fn room(&mut self, name: &str) -> usize {
        if let Some(number) = self.room_numbers.get(name) {
            return *number;
        }
        self.rooms.push(RoomLog::new(name));
        self.room_numbers.insert(name.to_owned(), self.rooms.len() - 1);
        self.rooms.len() - 1
    }

    /// Notes a violation, the first ones in words.
    pub fn complain(&mut self, cast: usize, player: usize, text: &str) {
        self.violations += 1;
        self.casts[cast].count("violation");
        if self.violations <= COMPLAINTS_MAX {
            let (process, name) = (self.process, &self.casts[cast].name);
            self.complaints.push(format!("{name} {player} (process {process}): {text}"));
        }
    }

    /// Whether an end with this code is none of the server's faults; 0 for none at all.
    pub fn tolerates(&self, code: u16) -> bool {
        self.tolerated.contains(&code)
    }

    /// A WebSocket has opened on a shard.
    pub fn shard_opened(&mut self, shard: usize) {
        if self.shards.len() <= shard {
            self.shards.resize(shard + 1, 0);
        }
        self.shards[shard] += 1;
    }

    pub fn set_goals(&mut self, goals: &BTreeMap<String, u64>) {
        let goals = goals.iter().map(|(name, offset)| (self.room(name), *offset)).collect();
        self.goals = Some(goals);
    }

    /// The last offset that was seen in each room.
    pub fn last_offsets(&self) -> BTreeMap<String, u64> {
        let seen = self.rooms.iter().filter(|room| room.last() > 0);
        seen.map(|room| (room.name.clone(), room.last())).collect()
    }

    pub fn report(&mut self, at: f64, unsettled: u64) -> Report {
        Report {
            at,
            casts: self.casts.iter_mut().map(Tally::report).collect(),
            shards: self.shards.clone(),
            violations: self.violations,
            complaints: std::mem::take(&mut self.complaints),
            told: self.told,
            unsettled,
            cut: std::mem::take(&mut self.cut),
        }
    }
}
