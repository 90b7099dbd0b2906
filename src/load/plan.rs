//! A run as it was asked for, checked: which connections there are and what each does.

use std::net::IpAddr;
use std::num::NonZeroU64;
use std::time::Duration;

use core_affinity::CoreId;

use fanfare::server::{Pin, raise_descriptor_limit};

use super::LoadError;
use super::args::{
    CommonArgs, EchoArgs, FanoutArgs, Header, IdleArgs, LoadArgs, RoomArgs, Scenario, Share, StalledArgs,
    StormArgs, TimeArgs, TrafficArgs,
};
use super::process::Usage;
use super::target::{ROOM, Sources, Target, Url};

/// Descriptors beside the connections: streams, files, signals, and what each thread waits on.
const DESCRIPTORS_KEPT: u64 = 32;
const DESCRIPTORS_PER_THREAD: u64 = 3;
/// Connections that are opened at a time, unless all are to come at once.
const OPENING: u32 = 128;
/// How long it runs before it is measured, unless it is to end with its messages.
const WARM_UP: Duration = Duration::from_secs(1);

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Each connection gets its own messages back.
    Echo,
    /// Each member gets the messages of its room's publisher.
    Fanout,
    /// Nobody says anything.
    Idle,
    /// All connections break and come back.
    Storm,
    /// A fan-out in which some members stop reading.
    Stalled,
}

impl Kind {
    /// The name of the scenario.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Echo => "echo",
            Kind::Fanout => "fanout",
            Kind::Idle => "idle",
            Kind::Storm => "storm",
            Kind::Stalled => "stalled",
        }
    }

    /// Whether publishers send to rooms.
    pub fn has_rooms(self) -> bool {
        matches!(self, Kind::Fanout | Kind::Stalled)
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
    /// Gets this flow until it stops reading.
    Stalling(u32),
    /// Sends this flow, and may get it back.
    Publisher(u32),
    /// Sends nothing, and does not care what it gets.
    Silent,
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
    /// The part of the members that stop reading.
    stalled: Option<Share>,
    /// How often all connections break.
    pub storms: u32,
    /// How long it is measured.
    pub duration: Duration,
    /// How long it is measured before that, while all read.
    pub calm: Duration,
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
            Scenario::Echo(EchoArgs { traffic, times, common }) => {
                let targets = resolve(&common.urls)?;
                let flows = common.connections;
                let plan = Plan::base(Kind::Echo, targets, flows, common)?;
                plan.with_traffic(&traffic).with_times(&times).check_descriptors()
            }
            Scenario::Fanout(FanoutArgs { rooms, traffic, times, common }) => {
                let plan = Plan::with_rooms(Kind::Fanout, &rooms, common)?;
                plan.with_traffic(&traffic).with_times(&times).check_descriptors()
            }
            Scenario::Idle(IdleArgs { duration, warm_up, common }) => {
                let targets = resolve(&common.urls)?;
                let plan = Plan::base(Kind::Idle, targets, 0, common)?;
                Plan { duration, warm_up, ..plan }.check_descriptors()
            }
            Scenario::Storm(StormArgs { storms, common }) => {
                let targets = resolve(&common.urls)?;
                let plan = Plan::base(Kind::Storm, targets, 0, common)?;
                Plan { storms, ..plan }.check_descriptors()
            }
            Scenario::Stalled(StalledArgs { stalled, rooms, traffic, times, common }) => {
                let plan = Plan::with_rooms(Kind::Stalled, &rooms, common)?;
                let plan = plan.with_traffic(&traffic).with_times(&times);
                Plan { stalled: Some(stalled), calm: plan.duration, ..plan }.check_descriptors()
            }
        }
    }

    /// A run whose members share rooms.
    fn with_rooms(kind: Kind, rooms: &RoomArgs, common: CommonArgs) -> Result<Plan, LoadError> {
        let targets = rooms_targets(rooms, &common)?;
        let flows = (targets.len() / 2) as u32;
        if common.connections < flows {
            return Err(LoadError::Usage(format!(
                "--connections {}: each of the {flows} rooms needs a member; at least {flows} are needed",
                common.connections
            )));
        }
        Plan::base(kind, targets, flows, common)
    }

    fn with_traffic(self, traffic: &TrafficArgs) -> Plan {
        Plan {
            size: traffic.size,
            pace: traffic.rate.map_or(Pace::InFlight(traffic.in_flight), Pace::Rate),
            messages: traffic.messages.map(NonZeroU64::get),
            checked: !traffic.no_check,
            ..self
        }
    }

    /// Behind the traffic: a count of messages is not for the time before it is measured, unless that is asked for.
    fn with_times(self, times: &TimeArgs) -> Plan {
        let usual = if self.messages.is_some() { Duration::ZERO } else { WARM_UP };
        Plan { duration: times.duration, warm_up: times.warm_up.unwrap_or(usual), ..self }
    }

    /// A run in which nothing is sent.
    fn base(kind: Kind, targets: Vec<Target>, flows: u32, common: CommonArgs) -> Result<Plan, LoadError> {
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
        let opening = common.opening.unwrap_or(match kind {
            Kind::Storm => common.connections,
            _ => OPENING,
        });
        Ok(Plan {
            kind,
            targets,
            headers: common.header,
            connections: common.connections,
            flows,
            size: 0,
            pace: Pace::InFlight(0),
            messages: None,
            checked: true,
            stalled: None,
            storms: 0,
            duration: Duration::ZERO,
            calm: Duration::ZERO,
            warm_up: Duration::ZERO,
            timeout: common.timeout,
            opening: opening.div_ceil(common.threads),
            cores: cores(&common.pin, common.threads as usize)?,
            sources,
            pid: common.pid,
            seed: common.seed.unwrap_or_else(rand::random),
            seeded: common.seed.is_some(),
        })
    }

    /// Threads that make the load.
    pub fn threads(&self) -> usize {
        self.cores.len()
    }

    /// Connections that publish and are no members.
    pub fn publishers(&self) -> u32 {
        if self.kind.has_rooms() { self.flows } else { 0 }
    }

    /// Waves in which connections are opened.
    pub fn waves(&self) -> u32 {
        if self.kind.has_rooms() { 3 } else { 1 }
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
        if !self.kind.has_rooms() {
            let target = number % self.targets.len() as u32;
            let part = if self.kind == Kind::Echo { Part::Echo(number) } else { Part::Silent };
            return (Spec { number, target, wave: 0, part }, number % threads);
        }
        if let Some(flow) = number.checked_sub(self.connections) {
            let spec = Spec { number, target: self.flows + flow, wave: 2, part: Part::Publisher(flow) };
            return (spec, flow % threads);
        }
        let (flow, row) = (number % self.flows, number / self.flows);
        let is_last = number + self.flows >= self.connections;
        let (wave, part) = match self.stalled {
            _ if is_last => (1, Part::Pacer(flow)),
            Some(stalled) if stalled.has(row) => (0, Part::Stalling(flow)),
            _ => (0, Part::Member(flow)),
        };
        let on = if is_last { flow } else { flow.wrapping_add(row) };
        (Spec { number, target: flow, wave, part }, on % threads)
    }

    /// The run, if there are descriptors for it.
    fn check_descriptors(self) -> Result<Plan, LoadError> {
        let limit = raise_descriptor_limit();
        let connections = u64::from(self.connections) + u64::from(self.publishers());
        let needed = connections + DESCRIPTORS_KEPT + DESCRIPTORS_PER_THREAD * self.threads() as u64;
        if needed <= limit {
            return Ok(self);
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        args: LoadArgs,
    }

    fn plan(arguments: &str) -> Plan {
        let arguments = ["load"].into_iter().chain(arguments.split(' '));
        Plan::new(Command::parse_from(arguments).args).unwrap()
    }

    fn specs(plan: &Plan) -> Vec<(usize, Spec)> {
        (0..plan.threads())
            .flat_map(|thread| plan.specs_of(thread).into_iter().map(move |spec| (thread, spec)))
            .collect()
    }

    #[test]
    fn a_count_of_messages_is_measured_from_the_first_on() {
        for (arguments, expected) in [
            ("echo ws://127.0.0.1:1/", 1000),
            ("idle ws://127.0.0.1:1/", 1000),
            ("echo ws://127.0.0.1:1/ --messages 5", 0),
            ("fanout ws://127.0.0.1:1/ --messages 1000 --rate 500", 0),
            ("stalled ws://127.0.0.1:1/ --messages 5 --warm-up 20ms", 20),
        ] {
            assert_eq!(plan(arguments).warm_up, Duration::from_millis(expected), "{arguments}");
        }
    }

    #[test]
    fn connections_are_shared_out_once_each() {
        for arguments in [
            "echo ws://127.0.0.1:1/ ws://127.0.0.1:2/",
            "idle ws://127.0.0.1:1/",
            "fanout ws://127.0.0.1:1/{room} --rooms 7",
        ] {
            for threads in [1, 3] {
                let plan = plan(&format!("{arguments} --connections 50 --threads {threads}"));
                let specs = specs(&plan);
                let mut numbers: Vec<u32> = specs.iter().map(|(_, spec)| spec.number).collect();
                numbers.sort_unstable();
                assert_eq!(numbers, (0..50 + plan.publishers()).collect::<Vec<_>>(), "{arguments}");
                for thread in 0..threads {
                    let waves = specs.iter().filter(|(on, _)| *on == thread).map(|(_, spec)| spec.wave);
                    assert!(waves.is_sorted());
                    let count = specs.iter().filter(|(on, _)| *on == thread).count();
                    assert!(count >= 40 / threads, "{arguments}: {count} on one of {threads}");
                }
            }
        }
    }

    #[test]
    fn a_room_has_a_publisher_and_a_pacer_that_joins_last_on_the_same_thread() {
        let plan = plan(
            "fanout ws://127.0.0.1:1/r{room} --publisher-url ws://127.0.0.1:1/p{room} --rooms 7 --connections 23 --threads 3",
        );
        let specs = specs(&plan);
        for flow in 0..7 {
            let with = |part| specs.iter().find(|(_, spec)| spec.part == part);
            let (thread, pacer) = with(Part::Pacer(flow)).unwrap();
            let (of_publisher, publisher) = with(Part::Publisher(flow)).unwrap();
            assert_eq!(thread, of_publisher);
            assert_eq!((pacer.wave, publisher.wave), (1, 2));
            let url = |spec: &Spec| plan.targets[spec.target as usize].url.to_string();
            assert_eq!(url(pacer), format!("ws://127.0.0.1:1/r{flow}"));
            assert_eq!(url(publisher), format!("ws://127.0.0.1:1/p{flow}"));
            let members = specs.iter().filter(|(_, spec)| spec.part == Part::Member(flow)).count();
            assert_eq!(members, if flow < 2 { 3 } else { 2 });
        }
    }

    #[test]
    fn a_share_of_the_members_stalls_but_never_the_pacer() {
        let stalling = |connections: u32| {
            let plan = plan(&format!("stalled ws://127.0.0.1:1/ --stalled 20% --connections {connections}"));
            specs(&plan).iter().filter(|(_, spec)| spec.part == Part::Stalling(0)).count()
        };
        // The last of 21 would be one, too.
        assert_eq!([1, 2, 20, 21].map(stalling), [0, 1, 4, 4]);
    }
}
