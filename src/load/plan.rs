//! A run as it was asked for, checked: which connections there are and what each does.

use std::net::IpAddr;
use std::num::NonZeroU64;
use std::time::Duration;

use core_affinity::CoreId;

use fanfare::server::{Pin, raise_descriptor_limit};

use super::LoadError;
use super::args::{CommonArgs, FanoutArgs, Header, LoadArgs, RoomArgs, Scenario, TrafficArgs};
use super::process::Usage;
use super::target::{ROOM, Sources, Target, Url};

/// Descriptors beside the connections: streams, files, signals, and what each thread waits on.
const DESCRIPTORS_KEPT: u64 = 32;
const DESCRIPTORS_PER_THREAD: u64 = 3;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Each connection gets its own messages back.
    Echo,
    /// Each member gets the messages of its room's publisher.
    Fanout,
}

impl Kind {
    /// The name of the scenario.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Echo => "echo",
            Kind::Fanout => "fanout",
        }
    }
}

/// When messages are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So many are under way in each flow.
    InFlight(u32),
    /// So many a second become due, over all flows, whatever comes back.
    Rate(f64),
}

/// What a connection is for. A flow is the messages of one sender, and has a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Sends this flow and gets it back.
    Echo(u32),
    /// Gets this flow.
    Member(u32),
    /// Gets this flow, and sets its pace in a closed loop.
    Pacer(u32),
    /// Sends this flow, and may get it back.
    Publisher(u32),
}

/// One connection to open.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Its number among all.
    pub number: u32,
    /// Its place among the targets.
    pub target: u32,
    /// What is opened before it: all of a lower wave.
    pub wave: u32,
    /// What it is for.
    pub part: Part,
}

/// A run.
#[derive(Debug)]
pub struct Plan {
    /// What is done.
    pub kind: Kind,
    /// Where connections go: the URLs, or one for each room and then one for each publisher.
    pub targets: Vec<Target>,
    /// Header lines of all opening handshakes.
    pub headers: Vec<Header>,
    /// Connections without publishers.
    pub connections: u32,
    /// Flows in all.
    pub flows: u32,
    /// Bytes of each message.
    pub size: usize,
    /// When messages are sent.
    pub pace: Pace,
    /// Messages of each flow after which it ends, if that is earlier.
    pub messages: Option<u64>,
    /// Whether payloads are compared.
    pub checked: bool,
    /// How long it is measured.
    pub duration: Duration,
    /// How long it runs before that.
    pub warm_up: Duration,
    /// How long nothing may change while something is waited for.
    pub timeout: Duration,
    /// Connections that are being opened at a time.
    pub opening: u32,
    /// Cores of the threads.
    pub cores: Vec<Option<CoreId>>,
    /// Where connections come from.
    sources: Sources,
    /// The server's process.
    pub pid: Option<u32>,
    /// What payloads are made from.
    pub seed: u64,
    /// Whether masks are made from it too.
    pub seeded: bool,
}

impl Plan {
    /// The run that the flags ask for.
    ///
    /// # Errors
    ///
    /// When they do not fit each other or this machine.
    pub fn new(args: LoadArgs) -> Result<Plan, LoadError> {
        match args.scenario {
            Scenario::Echo(args) => {
                let targets = resolve(&args.common.urls)?;
                let flows = args.common.connections;
                Plan::build(Kind::Echo, targets, flows, args.traffic, args.common)
            }
            Scenario::Fanout(FanoutArgs { rooms, traffic, common }) => {
                let targets = rooms_targets(&rooms, &common)?;
                let flows = (targets.len() / 2) as u32;
                if common.connections < flows {
                    return Err(LoadError::Usage(format!(
                        "--connections {}: each of the {flows} rooms needs a member; at least {flows} are needed",
                        common.connections
                    )));
                }
                Plan::build(Kind::Fanout, targets, flows, traffic, common)
            }
        }
    }

    fn build(
        kind: Kind,
        targets: Vec<Target>,
        flows: u32,
        traffic: TrafficArgs,
        common: CommonArgs,
    ) -> Result<Plan, LoadError> {
        let sources = common.source.unwrap_or_default();
        for target in &targets {
            if let Some(source) = sources.misfit(target.address) {
                return Err(LoadError::Usage(format!(
                    "--source {source}: {} is at {}, which cannot be reached from there; expected addresses of \
                     the same family",
                    target.url, target.address
                )));
            }
        }
        if let Some(pid) = common.pid {
            Usage::of_process(pid)
                .map_err(|error| LoadError::Usage(format!("--pid {pid}: no process to look at: {error}")))?;
        }
        let plan = Plan {
            kind,
            targets,
            headers: common.header,
            connections: common.connections,
            flows,
            size: traffic.size,
            pace: traffic.rate.map_or(Pace::InFlight(traffic.in_flight), Pace::Rate),
            messages: traffic.messages.map(NonZeroU64::get),
            checked: !traffic.no_check,
            duration: common.duration,
            warm_up: common.warm_up,
            timeout: common.timeout,
            opening: common.opening.div_ceil(common.threads),
            cores: cores(&common.pin, common.threads as usize)?,
            sources,
            pid: common.pid,
            seed: common.seed.unwrap_or_else(rand::random),
            seeded: common.seed.is_some(),
        };
        plan.check_descriptors()?;
        Ok(plan)
    }

    /// Threads that make the load.
    pub fn threads(&self) -> usize {
        self.cores.len()
    }

    /// Connections that publish and are no members.
    pub fn publishers(&self) -> u32 {
        match self.kind {
            Kind::Echo => 0,
            Kind::Fanout => self.flows,
        }
    }

    /// Waves in which connections are opened.
    pub fn waves(&self) -> u32 {
        match self.kind {
            Kind::Echo => 1,
            Kind::Fanout => 3,
        }
    }

    /// The address that a connection comes from, if one was asked for.
    pub fn source_of(&self, connection: u32) -> Option<IpAddr> {
        self.sources.of(connection)
    }

    /// The connections of one thread, by wave.
    pub fn specs_of(&self, thread: usize) -> Vec<Spec> {
        let threads = self.threads() as u32;
        let mut specs = Vec::new();
        for number in 0..self.connections + self.publishers() {
            let (spec, on) = self.spec(number, threads);
            if on == thread as u32 {
                specs.push(spec);
            }
        }
        specs.sort_by_key(|spec| spec.wave);
        specs
    }

    /// A connection and its thread. A room's publisher and its pacer are on the same one.
    fn spec(&self, number: u32, threads: u32) -> (Spec, u32) {
        if self.kind == Kind::Echo {
            let target = number % self.targets.len() as u32;
            return (Spec { number, target, wave: 0, part: Part::Echo(number) }, number % threads);
        }
        if let Some(flow) = number.checked_sub(self.connections) {
            let spec = Spec { number, target: self.flows + flow, wave: 2, part: Part::Publisher(flow) };
            return (spec, flow % threads);
        }
        let (flow, row) = (number % self.flows, number / self.flows);
        let is_last = number + self.flows >= self.connections;
        let (wave, part) = if is_last { (1, Part::Pacer(flow)) } else { (0, Part::Member(flow)) };
        let on = if is_last { flow } else { flow.wrapping_add(row) };
        (Spec { number, target: flow, wave, part }, on % threads)
    }

    fn check_descriptors(&self) -> Result<(), LoadError> {
        let limit = raise_descriptor_limit();
        let connections = u64::from(self.connections) + u64::from(self.publishers());
        let needed = connections + DESCRIPTORS_KEPT + DESCRIPTORS_PER_THREAD * self.threads() as u64;
        if needed <= limit {
            return Ok(());
        }
        Err(LoadError::Usage(format!(
            "--connections {}: {needed} descriptors are needed, {limit} are allowed (ulimit -n)",
            self.connections
        )))
    }
}

fn resolve(urls: &[Url]) -> Result<Vec<Target>, LoadError> {
    urls.iter().map(|url| url.resolve().map_err(LoadError::Failed)).collect()
}

/// The members' target of each room, then the publisher's of each.
fn rooms_targets(rooms: &RoomArgs, common: &CommonArgs) -> Result<Vec<Target>, LoadError> {
    if rooms.publisher_url.is_some() && common.urls.len() > 1 {
        return Err(LoadError::Usage(format!(
            "--publisher-url: {} URLs are given; with it only one is allowed",
            common.urls.len()
        )));
    }
    let publishers = match &rooms.publisher_url {
        Some(url) => std::slice::from_ref(url),
        None => common.urls.as_slice(),
    };
    for url in common.urls.iter().chain(publishers).filter(|_| rooms.rooms > 1) {
        if !url.names_a_room() {
            return Err(LoadError::Usage(format!("--rooms {}: {url} needs {ROOM} then", rooms.rooms)));
        }
    }
    let mut targets = Vec::new();
    for urls in [common.urls.as_slice(), publishers] {
        for target in resolve(urls)? {
            let of_room = |room| Target { url: target.url.of_room(room), ..target.clone() };
            targets.extend((0..rooms.rooms).map(of_room));
        }
    }
    Ok(targets)
}

/// The core of each thread.
fn cores(pin: &Pin, threads: usize) -> Result<Vec<Option<CoreId>>, LoadError> {
    let allowed = core_affinity::get_core_ids().unwrap_or_default();
    let cores = match pin {
        Pin::Off => return Ok(vec![None; threads]),
        Pin::Auto => allowed,
        Pin::Cores(cores) => {
            if let Some(core) = cores.iter().find(|core| allowed.iter().all(|known| known.id != **core)) {
                let known: Vec<String> = allowed.iter().map(|core| core.id.to_string()).collect();
                return Err(LoadError::Usage(format!(
                    "--pin {pin}: core {core} is not for this process; it may use {}",
                    known.join(",")
                )));
            }
            cores.iter().map(|id| CoreId { id: *id }).collect()
        }
    };
    Ok((0..threads).map(|thread| cores.get(thread % cores.len().max(1)).copied()).collect())
}
