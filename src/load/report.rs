//! The results of a run, as they are written in JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use super::conductor::Measured;
use super::latency::Latency;
use super::plan::{Kind, Pace, Plan};
use super::process::Usage;
use super::tally::{Ended, Errors, Stalled, Tally, Window};

/// The version of the JSON: it changes when a field is taken away or gets another meaning.
const VERSION: u32 = 1;
/// The part of the time for which the busiest thread has to run, or want to, to be called saturated.
const SATURATED: f64 = 0.95;

/// The part of what is due in an open loop with which a server still keeps up.
pub const KEEPS_UP: f64 = 0.9;

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
    /// Bytes of each message, where there are any.
    pub size_bytes: Option<usize>,
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
    /// Why it could not go on, if that is why.
    pub failure: Option<String>,
    /// Messages that came back, or that were published; opening handshakes in a storm.
    pub messages: u64,
    /// Messages that came, each at each receiver.
    pub deliveries: u64,
    /// The same in a second.
    pub messages_per_s: f64,
    /// The same in a second.
    pub deliveries_per_s: f64,
    /// The part of what was due in the measured time that the server did in it, in an open loop; nothing if that was too
    /// little to tell. What has to be under way is allowed for.
    pub done_of_due: Option<f64>,
    /// How long messages took, those that came; nothing without any.
    pub latency_us: Option<LatencyUs>,
    /// What there was over the whole run, before and behind what was measured too.
    pub total: Total,
    /// What was wrong, over the whole run.
    pub errors: Errors,
    /// Messages that were due and could not be sent.
    pub unsent: u64,
    /// Seconds from the begin of each storm until all connections were back.
    pub storms_s: Option<Vec<f64>>,
    /// What became of those that stopped reading, and what there was before they did.
    pub stalled: Option<StalledReport>,
    /// Pings of the server that were answered.
    pub pings: u64,
    /// Why connections ended before their time, and how many did.
    pub ended: BTreeMap<String, u64>,
    /// Why the server did not accept connections in a storm or before the first, and how many times.
    pub refused: BTreeMap<String, u64>,
    /// What the server used, if its process is known.
    pub server: Option<Server>,
    /// The number of that process, if it ended during the run, so that there is nothing to say of it.
    pub server_ended: Option<u32>,
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

/// Members that stopped reading, and the others before.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StalledReport {
    /// Those that stopped.
    #[serde(flatten)]
    pub counts: Stalled,
    /// Deliveries a second before, to those that did not stop.
    pub before_deliveries_per_s: f64,
    /// How long messages took before, to the same.
    pub before_latency_us: Option<LatencyUs>,
    /// The p99 of the others over the p99 before.
    pub p99_ratio: Option<f64>,
}

/// Quantiles in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LatencyUs {
    /// How many messages these are of. What did not come has no latency and is missing here.
    pub count: u64,
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
    /// What it grew by since before the connections, for each; nothing if it did not grow, as they then had
    /// memory that it had before.
    pub rss_bytes_per_connection: Option<f64>,
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
    /// The server, as it was busy or did less than was due: the results are about it.
    Server,
    /// The generator: the server can do more than was asked of it.
    Generator,
    /// Nobody, as far as is known.
    Neither,
}

impl Report {
    /// The results of a run.
    pub fn new(plan: &Plan, measured: Measured) -> Report {
        let Measured { tally, rss_before, is_interrupted, back_s, failure } = measured;
        let seconds = tally.seconds;
        let deliveries = tally.window.received;
        let messages = if plan.kind.has_rooms() { tally.window.sent } else { deliveries };
        let connections = f64::from(plan.connections + plan.publishers());
        let server = tally.server.as_ref().filter(|_| seconds > 0.0).map(|(before, after)| {
            Server::new(before, after, seconds, deliveries, growth(rss_before, after.rss_bytes, connections))
        });
        let generator = Generator::new(&tally, plan.threads());
        let latency_us = LatencyUs::new(&tally.window.latency);
        let has_messages = plan.flows > 0;
        let Window { due, done, .. } = tally.window;
        let done_of_due = done_of_due(due, done, seconds, tally.quickest);
        Report {
            version: VERSION,
            scenario: plan.kind.name(),
            connections: plan.connections,
            publishers: plan.publishers(),
            size_bytes: has_messages.then_some(plan.size),
            in_flight: match plan.pace {
                Pace::InFlight(count) => has_messages.then_some(count),
                Pace::Rate(_) => None,
            },
            rate_per_s: match plan.pace {
                Pace::InFlight(_) => None,
                Pace::Rate(rate) => Some(rate),
            },
            checked: plan.checked,
            duration_s: seconds,
            interrupted: is_interrupted || failure.is_some(),
            failure,
            messages,
            deliveries,
            messages_per_s: per_second(messages as f64, seconds),
            deliveries_per_s: per_second(deliveries as f64, seconds),
            done_of_due,
            latency_us,
            total: Total { sent: tally.sent, received: tally.received },
            errors: tally.errors,
            unsent: tally.unsent,
            storms_s: (plan.kind == Kind::Storm).then_some(back_s),
            stalled: (plan.kind == Kind::Stalled).then(|| StalledReport::new(&tally, latency_us)),
            pings: tally.pings,
            ended: in_words(&tally.causes),
            refused: in_words(&tally.refusals),
            saturated: saturated(server.map(|server| server.busy), generator.busy, done_of_due),
            server,
            server_ended: tally.server_ended,
            generator,
        }
    }

    /// Whether something that was due has no latency.
    pub fn lacks_messages(&self) -> bool {
        let Errors { lost, wrong, unanswered, .. } = self.errors;
        lost + wrong + unanswered + self.unsent > 0
    }

    /// Whether everything came, as it was sent, from a server that was there until the end.
    pub fn is_clean(&self) -> bool {
        let has_all = self.size_bytes.is_none() || self.total.received > 0;
        self.errors.sum() == 0 && self.unsent == 0 && has_all && self.server_ended.is_none()
    }
}

fn in_words(causes: &BTreeMap<String, Ended>) -> BTreeMap<String, u64> {
    causes.iter().map(|(kind, ended)| (ended.cause(kind), ended.count)).collect()
}

/// What memory grew by for each connection; nothing if it did not.
fn growth(before: Option<u64>, after: u64, connections: f64) -> Option<f64> {
    let grown = after.checked_sub(before?).filter(|grown| *grown > 0)?;
    Some(grown as f64 / connections)
}

/// How much there is of something in a second; none where there was no time.
fn per_second(amount: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { amount / seconds } else { 0.0 }
}

impl Generator {
    fn new(tally: &Tally, threads: usize) -> Generator {
        let ran: f64 = tally.threads.iter().map(|time| time.ran_s).sum();
        let busiest = tally.threads.iter().map(|time| time.ran_s + time.waited_s).fold(0.0, f64::max);
        let share = |part| per_second(part, tally.seconds);
        Generator { cores: share(ran), threads, busy: share(busiest) }
    }
}

impl StalledReport {
    fn new(tally: &Tally, after: Option<LatencyUs>) -> StalledReport {
        let before_latency_us = LatencyUs::new(&tally.calm.latency);
        let p99_ratio = after.zip(before_latency_us).map(|(after, before)| after.p99 / before.p99);
        let before_deliveries_per_s = per_second(tally.calm.received as f64, tally.calm_seconds);
        StalledReport { counts: tally.stalled, before_deliveries_per_s, before_latency_us, p99_ratio }
    }
}

impl LatencyUs {
    fn new(latency: &Latency) -> Option<LatencyUs> {
        (latency.count() > 0).then(|| LatencyUs {
            count: latency.count(),
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
        rss_bytes_per_connection: Option<f64>,
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

/// The part of what was due that was done. A message on the border, and as many as the `quickest` one lets become due,
/// are under way however fast the server is.
fn done_of_due(due: u64, done: u64, seconds: f64, quickest: Option<u64>) -> Option<f64> {
    let quickest_s = quickest.unwrap_or(0) as f64 / 1e9;
    let expected = due as f64 - 1.0 - per_second(due as f64, seconds) * quickest_s;
    (seconds > 0.0 && expected >= 1.0).then(|| (done as f64 / expected).min(1.0))
}

/// Who was busy for nearly all of the time; of both, who was more so. In doubt it is the generator, as the
/// results are then no limit of the server. If neither was and clearly less was done than was due, it is the
/// server: a generator that has time to spare has sent all that the server's sockets took.
fn saturated(server: Option<f64>, generator: f64, done_of_due: Option<f64>) -> Saturated {
    match server {
        Some(server) if server >= SATURATED && server > generator => Saturated::Server,
        _ if generator >= SATURATED => Saturated::Generator,
        // Without any time of its own it is not known whether there was some to spare.
        _ if generator > 0.0 && done_of_due.is_some_and(|part| part < KEEPS_UP) => Saturated::Server,
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
            assert_eq!(saturated(server, generator, None), expected, "{server:?} {generator}");
        }
    }

    #[test]
    fn a_server_that_does_less_than_is_due_does_not_keep_up_if_the_generator_had_time_to_spare() {
        for (server, generator, done, expected) in [
            (Some(0.01), 0.05, 0.899, Saturated::Server),
            (Some(0.01), 0.05, 0.9, Saturated::Neither),
            (None, 0.949, 0.25, Saturated::Server),
            (None, 0.95, 0.25, Saturated::Generator),
            (Some(0.96), 0.96, 0.25, Saturated::Generator),
            (Some(0.01), 0.0, 0.25, Saturated::Neither),
        ] {
            assert_eq!(saturated(server, generator, Some(done)), expected, "{server:?} {generator} {done}");
        }
    }

    #[test]
    fn what_has_to_be_under_way_is_not_held_against_a_server() {
        let ms = |milliseconds: u64| Some(milliseconds * 1_000_000);
        for (due, done, seconds, quickest, expected) in [
            // It sleeps 20 ms a message.
            (2000, 495, 5.0, ms(20), Some(495.0 / 1991.0)),
            (2001, 2000, 5.0, ms(0), Some(1.0)),
            (2000, 2040, 5.0, ms(0), Some(1.0)),
            (2000, 0, 5.0, None, Some(0.0)),
            // Each takes 300 ms, and nothing was under way when it began.
            (101, 70, 1.0, ms(300), Some(1.0)),
            (101, 35, 1.0, ms(300), Some(35.0 / 69.7)),
            // Too few to tell.
            (2, 1, 1.0, ms(0), Some(1.0)),
            (1, 0, 1.0, ms(0), None),
            (0, 0, 1.0, None, None),
            (100, 0, 0.0, None, None),
            (100, 0, 1.0, ms(1000), None),
        ] {
            let found = done_of_due(due, done, seconds, quickest);
            let is_near = match (found, expected) {
                (Some(found), Some(expected)) => f64::abs(found - expected) < 1e-9,
                (found, expected) => found == expected,
            };
            assert!(is_near, "{due} {done} {seconds} {quickest:?}: {found:?} {expected:?}");
        }
    }

    #[test]
    fn memory_that_a_server_had_before_says_nothing_of_its_connections() {
        for (before, after, expected) in [
            (Some(1000), 1800, Some(8.0)),
            (Some(1000), 1000, None),
            (Some(1000), 999, None),
            (None, 1000, None),
        ] {
            assert_eq!(growth(before, after, 100.0), expected, "{before:?} {after}");
        }
    }

    #[test]
    fn quantiles_need_something_that_took_time() {
        let mut latency = Latency::default();
        assert!(LatencyUs::new(&latency).is_none());
        latency.record(1_000_000);
        let shown = LatencyUs::new(&latency).unwrap();
        assert!(shown.count == 1 && shown.p50 >= 999.0 && shown.max <= 1001.0, "{shown:?}");
    }
}
