//! Two shards against one at the same load.

use crate::bars;
use crate::drum::{Scene, Took, run};
use crate::report::{Finding, median, round};
use crate::settings::Size;

pub fn measure(size: &Size) -> Finding {
    let scene = |shards| Scene { shards, rooms: 1, members: 1_000, publishers: 2, messages: size.messages };
    let mut finding = Finding::new(
        "two shards",
        format!(
            "one room of 1,000 members, two of which publish {} messages of 64 B each as fast as they are read, over the \
             simulated `Io`: one thread per shard, each on a core, and nothing else. CPU is the shards' threads'.",
            size.messages
        ),
    );
    let (mut ones, mut twos): (Vec<Took>, Vec<Took>) = Default::default();
    for _ in 0..size.rounds {
        ones.push(run(scene(1)));
        twos.push(run(scene(2)));
    }
    let middle = |took: &[Took], what: fn(&Took) -> f64| median(took.iter().map(what));
    // Ratios of neighbours: what else the machine does changes slowly.
    let ratio =
        |what: fn(&Took) -> f64| median(ones.iter().zip(&twos).map(|(one, two)| what(two) / what(one)));
    let cpu: fn(&Took) -> f64 = |took| took.cpu_per_delivery;
    let rate: fn(&Took) -> f64 = |took| took.rate;
    let farthest =
        twos.iter().flat_map(|took| &took.shares).map(|share| (share - 0.5).abs()).fold(0.0, f64::max);
    finding.at_most("CPU per delivery, two shards over one", ratio(cpu), bars::TWO_SHARDS_CPU, "×");
    finding.at_most("a shard's share of the deliveries, away from half", farthest, bars::HALF_TOLERANCE, "");
    let throughput = "throughput, two shards over one";
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        finding.missing.push(format!("{throughput}: there is one core"));
    } else {
        finding.at_least(throughput, ratio(rate), bars::TWO_SHARDS_THROUGHPUT, "×");
    }
    for (name, took) in [("one shard", &ones), ("two shards", &twos)] {
        let asleep = median(took.iter().map(|took| took.asleep.as_secs_f64() * 1000.0));
        finding.figure(
            name,
            format!(
                "{} ns of CPU per delivery, {} million deliveries/s, {} ms asleep or off its core",
                round(middle(took, cpu)),
                round(middle(took, rate) / 1e6),
                round(asleep)
            ),
        );
    }
    finding
}
