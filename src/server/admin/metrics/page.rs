//! How a family of metrics stands on the page: once for the whole server, and once for each shard.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::server::View;
use crate::shard::{Counter, Distribution, Observed, ShardStats};

/// Whether a number only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
}

impl Kind {
    fn metric_type(self) -> MetricType {
        match self {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
        }
    }

    fn put(self, encoder: &mut MetricEncoder<'_>, value: u64) -> fmt::Result {
        match self {
            Kind::Counter => encoder.encode_counter::<NoLabelSet, u64, f64>(&value, None),
            Kind::Gauge => encoder.encode_gauge(&value),
        }
    }
}

/// A family of metrics, without the prefix of all of them.
#[derive(Debug)]
pub struct Family {
    /// The name without the unit that ends it, and without `_total`.
    pub name: &'static str,
    /// The unit, if it is not a number of what the name says.
    pub unit: Option<Unit>,
    /// Whether it only grows.
    pub kind: Kind,
    /// What it is, in a sentence without its full stop.
    pub help: &'static str,
}

/// Labels of one metric of a family, and what is counted under them.
pub type Labelled = (&'static [(&'static str, &'static str)], &'static [Counter]);

/// The page that is being written.
pub struct Page<'e, 'v> {
    encoder: DescriptorEncoder<'e>,
    view: &'v View,
}

impl<'e, 'v> Page<'e, 'v> {
    pub fn new(encoder: DescriptorEncoder<'e>, view: &'v View) -> Page<'e, 'v> {
        Page { encoder, view }
    }

    pub fn view(&self) -> &'v View {
        self.view
    }

    pub fn encoder(&mut self) -> &mut DescriptorEncoder<'e> {
        &mut self.encoder
    }

    /// One number of the whole server.
    pub fn total(&mut self, family: &Family, value: u64) -> fmt::Result {
        let Family { name, unit, kind, help } = family;
        let help = format!("{help}.");
        let mut encoder = self.encoder.encode_descriptor(name, &help, unit.as_ref(), kind.metric_type())?;
        kind.put(&mut encoder, value)
    }

    /// A number of each shard.
    pub fn of_shards(&mut self, family: &Family, value: impl Fn(usize) -> u64) -> fmt::Result {
        let shards = self.view.parts().shards.len();
        self.shard_family(family, |encoder| {
            for shard in 0..shards {
                let labels = [("shard", shard)];
                family.kind.put(&mut encoder.encode_family(&labels)?, value(shard))?;
            }
            Ok(())
        })
    }

    /// The sum of counters, over all shards and by shard; of a maximum the highest.
    pub fn counters(&mut self, family: &Family, counters: &[Counter]) -> fmt::Result {
        let stats = &self.view.parts().shards;
        let total = counters.iter().map(|counter| self.view.counter(*counter)).sum();
        self.total(family, total)?;
        self.of_shards(family, |shard| sum(&stats[shard], counters))
    }

    /// The same for each of some sets of labels.
    pub fn labelled(&mut self, family: &Family, parts: &[Labelled]) -> fmt::Result {
        let view = self.view;
        self.family(family, |encoder| {
            for (labels, counters) in parts {
                let total = counters.iter().map(|counter| view.counter(*counter)).sum();
                family.kind.put(&mut encoder.encode_family(labels)?, total)?;
            }
            Ok(())
        })?;
        self.shard_family(family, |encoder| {
            for (shard, stats) in view.parts().shards.iter().enumerate() {
                for (labels, counters) in parts {
                    let labels = ([("shard", shard)], *labels);
                    family.kind.put(&mut encoder.encode_family(&labels)?, sum(stats, counters))?;
                }
            }
            Ok(())
        })
    }

    /// The family of the whole server.
    pub fn family(
        &mut self,
        family: &Family,
        put: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let Family { name, unit, kind, help } = family;
        let help = format!("{help}.");
        put(&mut self.encoder.encode_descriptor(name, &help, unit.as_ref(), kind.metric_type())?)
    }

    /// The family of the same name by shard.
    pub fn shard_family(
        &mut self,
        family: &Family,
        put: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let Family { name, unit, kind, help } = family;
        let (name, help) = (format!("shard_{name}"), format!("{help}, by shard."));
        put(&mut self.encoder.encode_descriptor(&name, &help, unit.as_ref(), kind.metric_type())?)
    }

    /// A distribution, over all shards and by shard. `scale` makes its values whole units.
    pub fn distribution(
        &mut self,
        (name, unit, help): (&str, Option<Unit>, &str),
        distribution: Distribution,
        scale: f64,
    ) -> fmt::Result {
        let stats = &self.view.parts().shards;
        let seen: Vec<Observed> = stats.iter().map(|stats| stats.distribution(distribution)).collect();
        let bounds: Vec<f64> = distribution.bounds().iter().map(|bound| *bound as f64 / scale).collect();
        let put = |encoder: &mut MetricEncoder<'_>, seen: &Observed| {
            let bounds = bounds.iter().copied().chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(seen.buckets.iter().copied()).collect();
            encoder.encode_histogram::<NoLabelSet>(seen.sum as f64 / scale, seen.count(), &buckets, None)
        };
        let (shard_name, shard_help) = (format!("shard_{name}"), format!("{help}, by shard."));
        let help = format!("{help}.");
        let all = self.view.distribution(distribution);
        put(&mut self.encoder.encode_descriptor(name, &help, unit.as_ref(), MetricType::Histogram)?, &all)?;
        let mut encoder =
            self.encoder.encode_descriptor(&shard_name, &shard_help, unit.as_ref(), MetricType::Histogram)?;
        for (shard, seen) in seen.iter().enumerate() {
            put(&mut encoder.encode_family(&[("shard", shard)])?, seen)?;
        }
        Ok(())
    }
}

fn sum(stats: &ShardStats, counters: &[Counter]) -> u64 {
    counters.iter().map(|counter| stats.get(*counter)).sum()
}
