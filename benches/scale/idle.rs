//! What connections cost that say nothing.

use std::time::Duration;

use fanfare::Config;
use fanfare::reactor::PollIo;
use fanfare::shard::Shard;

use crate::bars;
use crate::common::median;
use crate::holder::{AWAKE, hold};
use crate::process::{Server, resident};
use crate::report::{Finding, round};
use crate::settings::Size;

const ROOMS: usize = 100;
const PATH: &str = "/rooms/idle-{}";
/// Connections that come and go before, so that code and buffers are there.
const WARM_UP: usize = 20;
/// So rarely that no ping falls into a measurement, while its timer is armed all the same.
const RARE: &str = "1h";

pub fn measure(size: &Size) -> Finding {
    type Real = Shard<PollIo>;
    let connections = size.count(10_000);
    let mut finding = Finding::new(
        "idle",
        format!(
            "{connections} connections of other processes in {ROOMS} rooms, which say nothing but pongs. Resident memory \
             is that of the server's process, less what it had before they came; CPU is that of all its threads."
        ),
    );
    finding.figure(
        "by layout",
        format!("{} bytes a connection and {} a membership", Real::CONNECTION_BYTES, Real::MEMBERSHIP_BYTES),
    );
    let (mut bytes, mut anonymous, mut shares, mut pings) = (vec![], vec![], vec![], vec![]);
    for _ in 0..size.idle_rounds {
        let quiet = Stay::new(connections, &["--ping-interval", RARE], size, size.wheel);
        bytes.push(quiet.resident);
        anonymous.push(quiet.anonymous);
        shares.push(quiet.core_share * 100.0 * 10_000.0 / connections as f64);
        let pinged = Stay::new(connections, &[], size, size.wheel);
        bytes.push(pinged.resident);
        anonymous.push(pinged.anonymous);
        let extra = (pinged.core_share - quiet.core_share).max(0.0);
        let each = Config::default().ping_interval.as_secs_f64() / connections as f64;
        pings.push(extra * each * 1e6);
    }
    finding.at_most("resident memory of a connection", median(bytes.iter().copied()), bars::IDLE_BYTES, "B");
    finding.at_most("CPU beside pings", median(shares), bars::IDLE_CORE_PERCENT, "% of a core");
    let all: Vec<String> = bytes.iter().map(|bytes| round(*bytes)).collect();
    finding.figure("resident memory of a connection, by server", format!("{} B", all.join(", ")));
    finding.figure("of it without a file behind", format!("{} B", round(median(anonymous))));
    finding.figure("a ping and its pong", format!("{} µs of CPU", round(median(pings))));
    finding
}

/// Connections that stay for a while on a server of their own.
struct Stay {
    resident: f64,
    anonymous: f64,
    core_share: f64,
}

impl Stay {
    fn new(connections: usize, flags: &[&str], size: &Size, window: Duration) -> Stay {
        let server = Server::start(flags);
        drop(hold(&server.address, PATH, ROOMS, WARM_UP, AWAKE));
        size.pause(size.settle);
        let before = resident(server.id());
        let holders = hold(&server.address, PATH, ROOMS, connections, AWAKE);
        // Until the deadlines of their handshakes have passed.
        size.pause(size.handshakes);
        let (cpu_before, began) = (server.cpu(), size.clock.now());
        size.pause(window);
        let (cpu, lasted) = (server.cpu() - cpu_before, size.clock.now().since(began));
        let after = resident(server.id());
        drop(holders);
        let each = |before: f64, after: f64| (after - before) / connections as f64;
        Stay {
            resident: each(before.0, after.0),
            anonymous: each(before.1, after.1),
            core_share: cpu.as_secs_f64() / lasted.as_secs_f64(),
        }
    }
}
