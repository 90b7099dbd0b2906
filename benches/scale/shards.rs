//! Two shards against one at the same load.

use core_affinity::CoreId;

use crate::bars;
use crate::common::median;
use crate::drum::{Scene, Took, run};
use crate::generator::{Generator, Load};
use crate::process::{CLIENT_CORE, Server, core};
use crate::report::{Finding, round};
use crate::settings::Size;

const MEMBERS: usize = 1_000;
/// Messages a second: what one worker does with less than half of a core.
const RATE: f64 = 60.0;

/// Over the simulated `Io`: over sockets the generator would take one of the two cores that a small machine has.
pub fn simulated(size: &Size) -> Finding {
    let (members, messages) = (size.count(MEMBERS), size.messages);
    let scene = |shards| Scene { shards, rooms: 1, members, publishers: 1, messages };
    let mut finding = Finding::new(
        "two shards, simulated",
        format!(
            "one room of {members} members, one of which publishes {messages} messages of 64 B, each as soon as the one before \
             is read, over the simulated `Io`: one thread per shard, each on a core, and nothing else."
        ),
    );
    let (mut ones, mut twos): (Vec<Took>, Vec<Took>) = Default::default();
    for _ in 0..size.rounds {
        ones.push(run(scene(1)));
        twos.push(run(scene(2)));
    }
    let throughput = "throughput, two shards over one";
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        finding.figure(throughput, "not measured: there is one core");
    } else {
        // Of neighbours: what else the machine does changes slowly.
        let ratios = ones.iter().zip(&twos).map(|(one, two)| two.rate / one.rate);
        finding.at_least(throughput, median(ratios), bars::TWO_SHARDS_THROUGHPUT, "×");
    }
    for (name, took) in [("one shard", &ones), ("two shards", &twos)] {
        let middle = |what: fn(&Took) -> f64| median(took.iter().map(what));
        finding.figure(
            name,
            format!(
                "{} million deliveries/s, {} ns of the shards' CPU and {} sends for each, {} ms asleep or off its core",
                round(middle(|took| took.rate) / 1e6),
                round(middle(|took| took.cpu_per_delivery)),
                round(middle(|took| took.sends_per_delivery)),
                round(middle(|took| took.asleep.as_secs_f64() * 1000.0))
            ),
        );
    }
    finding
}

/// What it is called, and how its server is started.
type Cell = (&'static str, fn() -> Server);

fn start(core: Option<CoreId>, workers: &str) -> Server {
    Server::start_on(core, &["--workers", workers, "--pin", "off", "--admin", "127.0.0.1:0"])
}

/// How far the share of a shard is from what it would be if all had the same.
fn away_from_even(deliveries: &[f64]) -> f64 {
    let (all, even) = (deliveries.iter().sum::<f64>(), 1.0 / deliveries.len() as f64);
    deliveries.iter().map(|each| (each / all - even).abs()).fold(0.0, f64::max)
}

/// Over the real server, as what a delivery costs is nearly all the kernel's.
pub fn real(size: &Size, generator: &Generator) -> Finding {
    let members = size.count(MEMBERS);
    let mut finding = Finding::new(
        "two shards",
        format!(
            "one room of {members} members, {RATE} messages of 64 B a second, over sockets, no worker bound to a core: CPU of \
             the server per delivery, kernel and all. Where there are two cores one of two workers shares its core with the \
             clients: what that alone costs is seen on one worker that is kept there. What each of two workers has delivered is \
             what its server says on /metrics."
        ),
    );
    let cells: [Cell; 3] = [
        ("one worker", || start(None, "1")),
        ("two workers", || start(None, "2")),
        ("one worker, on the core of the clients", || start(core(CLIENT_CORE), "1")),
    ];
    let mut costs = cells.map(|_| Vec::new());
    // Of all rounds: the one that is farthest from an even share.
    let mut away: f64 = 0.0;
    for _ in 0..size.rounds {
        for ((_, start), costs) in cells.iter().zip(&mut costs) {
            let server = start();
            let load = Load { connections: members, rate: Some(RATE), ..Load::new(&server, "/rooms/shards") };
            match generator.fan_out(&load, size) {
                Ok(seen) => {
                    costs.push(seen.cpu_us);
                    away = away.max(away_from_even(&server.deliveries_by_shard()));
                }
                Err(why) => {
                    finding.missing.push(format!("CPU per delivery: {why}"));
                    return finding;
                }
            }
        }
    }
    let over_one =
        |costs: &[f64], others: &[f64]| median(others.iter().zip(costs).map(|(other, one)| other / one));
    let [one, two, beside] = &costs;
    finding.at_most("CPU per delivery, two shards over one", over_one(one, two), bars::TWO_SHARDS_CPU, "×");
    finding.at_most("a worker's share of the deliveries, away from half", away, bars::HALF_TOLERANCE, "");
    for ((name, _), costs) in cells.iter().zip(&costs) {
        finding.figure(*name, format!("{} µs of CPU per delivery", round(median(costs.iter().copied()))));
    }
    let shared = format!("{} × one on a core of its own", round(over_one(one, beside)));
    finding.figure("one worker, on the core of the clients, over the first", shared);
    finding
}
