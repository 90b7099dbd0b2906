//! Handshakes of one core.

use std::time::Duration;

use crate::bars;
use crate::common::median;
use crate::knocker::ROLE;
use crate::process::{Helper, Server};
use crate::report::{Finding, round};
use crate::settings::Size;

/// Connections that are being opened at a time.
const THREADS: &str = "32";
const PATH: &str = "/echo";

pub fn measure(size: &Size) -> Finding {
    let mut finding = Finding::new(
        "accept",
        format!(
            "{THREADS} threads of another process on another core open a WebSocket each and reset it once the upgrade is \
             accepted, again and again; the server's acceptor and its worker share one core, and its close is in it."
        ),
    );
    let (mut rates, mut costs, mut busy) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..size.rounds {
        let server = Server::start(&[]);
        let mut knocker = Helper::start(&[ROLE, &server.address, PATH, THREADS]);
        let mut count = || knocker.ask("how many?").parse::<f64>().expect("a number");
        size.pause(Duration::from_millis(size.window_ms / 4));
        let (first, cpu_before, clock) = (count(), server.cpu(), size.clock.now());
        size.pause(Duration::from_millis(size.window_ms));
        let (last, cpu, lasted) = (count(), server.cpu() - cpu_before, size.clock.now().since(clock));
        rates.push((last - first) / lasted.as_secs_f64());
        costs.push(cpu.as_secs_f64() * 1e6 / (last - first));
        busy.push(cpu.as_secs_f64() / lasted.as_secs_f64());
    }
    let (rate, cost, busy) = (median(rates), median(costs), median(busy));
    finding.figure(
        "measured",
        format!("{} handshakes/s, for which the server used {} of its core", round(rate), round(busy)),
    );
    finding.figure("CPU of a handshake", format!("{} µs, kernel and close and all", round(cost)));
    // The knocker's core is full first, so that the measured rate is the knocker's.
    let allowed = "handshakes/s that a full core could do, by the CPU of one (not a measured rate)";
    finding.at_least(allowed, 1e6 / cost, bars::HANDSHAKES, "/s");
    finding
}
