//! The results of a run, as they are written in JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use super::conductor::Measured;
use super::latency::Latency;
use super::plan::{Kind, Pace, Plan};
use super::process::Usage;
use super::tally::Errors;

/// The version of the JSON: it changes when a field is taken away or gets another meaning.
const VERSION: u32 = 1;
/// The part of the time for which the busiest thread has to run, or want to, to be called saturated.
const SATURATED: f64 = 0.95;

/// The results of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    version: u32,
    /// What was done.
    pub scenario: &'static str,
    /// Connections without publishers.
    pub connections: u32,
    /// Connections that published.
    pub publishers: u32,
    /// Bytes of each message.
    pub size_bytes: usize,
    /// Messages under way at a time, in a closed loop.
    pub in_flight: Option<u32>,
    /// Messages a second that were due, in an open loop.
    pub rate_per_s: Option<f64>,
    /// Whether payloads were compared.
    pub checked: bool,
    /// How long it was measured.
    pub duration_s: f64,
    /// Whether it was ended before its time.
    pub interrupted: bool,
    /// Messages that came back, or that were published.
    pub messages: u64,
    /// Messages that came, each at each receiver.
    pub deliveries: u64,
    /// The same in a second.
    pub messages_per_s: f64,
    /// The same in a second.
    pub deliveries_per_s: f64,
    /// How long messages took; nothing without any.
    pub latency_us: Option<LatencyUs>,
    /// What there was over the whole run, before and behind what was measured too.
    pub total: Total,
    /// What was wrong, over the whole run.
    pub errors: Errors,
    /// Messages that were due and could not be sent.
    pub unsent: u64,
    /// Pings of the server that were answered.
    pub pings: u64,
    /// Why connections ended before their time, and how many did.
    pub ended: BTreeMap<String, u64>,
    /// What the server used, if its process is known.
    pub server: Option<Server>,
    /// What this process used.
    pub generator: Generator,
    /// Who could do no more.
    pub saturated: Saturated,
}

/// What there was over the whole run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Total {
    /// Messages that were sent, first messages in rooms among them.
    pub sent: u64,
    /// Messages that came, each at each receiver.
    pub received: u64,
}

/// Quantiles in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LatencyUs {
    /// Half of all took at most this.
    pub p50: f64,
    /// 90 % did.
    pub p90: f64,
    /// 99 % did.
    pub p99: f64,
    /// 99.9 % did.
    pub p99_9: f64,
    /// All did.
    pub max: f64,
}

/// What the server used. A message is an echo, or a delivery to one member.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Server {
    /// Processor time per message; nothing without any.
    pub cpu_us_per_message: Option<f64>,
    /// Of it in its own code.
    pub user_us_per_message: Option<f64>,
    /// Of it in the kernel.
    pub system_us_per_message: Option<f64>,
    /// Seconds of processors a second.
    pub cores: f64,
    /// The part of the time for which its busiest thread ran or wanted to.
    pub busy: f64,
    /// Resident memory at the end.
    pub rss_bytes: u64,
    /// What it grew by since before the connections, for each.
    pub rss_bytes_per_connection: f64,
}

/// What this process used.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Generator {
    /// Seconds of processors a second.
    pub cores: f64,
    /// Threads that made the load.
    pub threads: usize,
    /// The part of the time for which its busiest thread ran or wanted to.
    pub busy: f64,
}

/// Who could do no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Saturated {
    /// The server: the results are about it.
    Server,
    /// The generator: the server can do more than was asked of it.
    Generator,
    /// Nobody, as far as is known.
    Neither,
}

impl Report {
    /// The results of a run.
    pub fn new(plan: &Plan, measured: Measured) -> Report {
        let Measured { tally, rss_before, is_interrupted } = measured;
        let seconds = tally.seconds;
        let per_second = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        let deliveries = tally.window.received;
        let messages = if plan.kind == Kind::Echo { deliveries } else { tally.window.sent };
        let per_connection = f64::from(plan.connections + plan.publishers());
        let server = tally.server.as_ref().filter(|_| seconds > 0.0).map(|(before, after)| {
            let grown = after.rss_bytes as f64 - rss_before.unwrap_or_default() as f64;
            Server::new(before, after, seconds, deliveries, grown / per_connection)
        });
        let ran: f64 = tally.threads.iter().map(|time| time.ran_s).sum();
        let busiest = tally.threads.iter().map(|time| time.ran_s + time.waited_s).fold(0.0, f64::max);
        let share = |part: f64| if seconds > 0.0 { part / seconds } else { 0.0 };
        let generator = Generator { cores: share(ran), threads: plan.threads(), busy: share(busiest) };
        Report {
            version: VERSION,
            scenario: plan.kind.name(),
            connections: plan.connections,
            publishers: plan.publishers(),
            size_bytes: plan.size,
            in_flight: match plan.pace {
                Pace::InFlight(count) => Some(count),
                Pace::Rate(_) => None,
            },
            rate_per_s: match plan.pace {
                Pace::InFlight(_) => None,
                Pace::Rate(rate) => Some(rate),
            },
            checked: plan.checked,
            duration_s: seconds,
            interrupted: is_interrupted,
            messages,
            deliveries,
            messages_per_s: per_second(messages),
            deliveries_per_s: per_second(deliveries),
            latency_us: LatencyUs::new(&tally.window.latency),
            total: Total { sent: tally.sent, received: tally.received },
            errors: tally.errors,
            unsent: tally.unsent,
            pings: tally.pings,
            ended: tally.causes,
            saturated: saturated(server.map(|server| server.busy), generator.busy),
            server,
            generator,
        }
    }

    /// Whether everything came, as it was sent.
    pub fn is_clean(&self) -> bool {
        self.errors.sum() == 0 && self.unsent == 0 && self.total.received > 0
    }
}

impl LatencyUs {
    fn new(latency: &Latency) -> Option<LatencyUs> {
        (latency.count() > 0).then(|| LatencyUs {
            p50: latency.quantile_us(0.5),
            p90: latency.quantile_us(0.9),
            p99: latency.quantile_us(0.99),
            p99_9: latency.quantile_us(0.999),
            max: latency.max_us(),
        })
    }
}

impl Server {
    fn new(
        before: &Usage,
        after: &Usage,
        seconds: f64,
        messages: u64,
        rss_bytes_per_connection: f64,
    ) -> Server {
        let spent = after.since(before, seconds);
        let per_message = |cpu_s: f64| (messages > 0).then(|| cpu_s * 1e6 / messages as f64);
        Server {
            cpu_us_per_message: per_message(spent.user_s + spent.system_s),
            user_us_per_message: per_message(spent.user_s),
            system_us_per_message: per_message(spent.system_s),
            cores: (spent.user_s + spent.system_s) / seconds,
            busy: spent.busy,
            rss_bytes: after.rss_bytes,
            rss_bytes_per_connection,
        }
    }
}

/// Who was busy for nearly all of the time; of both, who was more so. In doubt it is the generator, as the
/// results are then no limit of the server.
fn saturated(server: Option<f64>, generator: f64) -> Saturated {
    match server {
        Some(server) if server >= SATURATED && server > generator => Saturated::Server,
        _ if generator >= SATURATED => Saturated::Generator,
        _ => Saturated::Neither,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_saturated_is_who_is_busier_near_the_limit() {
        for (server, generator, expected) in [
            (Some(0.99), 0.80, Saturated::Server),
            (Some(0.99), 0.97, Saturated::Server),
            (Some(0.96), 0.99, Saturated::Generator),
            (Some(0.99), 0.99, Saturated::Generator),
            (Some(0.50), 0.99, Saturated::Generator),
            (Some(0.94), 0.94, Saturated::Neither),
            (None, 0.99, Saturated::Generator),
            (None, 0.10, Saturated::Neither),
        ] {
            assert_eq!(saturated(server, generator), expected, "{server:?} {generator}");
        }
    }

    #[test]
    fn quantiles_need_something_that_took_time() {
        let mut latency = Latency::default();
        assert!(LatencyUs::new(&latency).is_none());
        latency.record(1_000_000);
        let shown = LatencyUs::new(&latency).unwrap();
        assert!(shown.p50 >= 999.0 && shown.max <= 1001.0, "{shown:?}");
    }
}
