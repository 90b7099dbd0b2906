//! What stalled readers do to the others.

use crate::bars;
use crate::common::median;
use crate::generator::{Generator, Load, Seen};
use crate::holder::{STALLED, hold};
use crate::process::Server;
use crate::report::{Finding, round};
use crate::settings::Size;

/// They stay for the whole run: the window lets them skip, and the time to make progress is long.
const FLAGS: [&str; 6] = ["--lag-policy", "skip", "--write-timeout", "10m", "--admin", "127.0.0.1:0"];
const PATH: &str = "/rooms/tail";
/// Messages under way that keep the server busy: with one it waits for the generator most of the time.
const SATURATING: u32 = 16;

pub fn measure(size: &Size, generator: &Generator) -> Finding {
    let healthy = size.count(1_000);
    let stalled = healthy / 9;
    let mut finding = Finding::new(
        "tail",
        format!(
            "one room of {healthy} members that read, messages of 64 B at half of the rate that saturates, without \
             and with {stalled} more that have stopped reading; latency from the intended time of sending, of those \
             that read."
        ),
    );
    match rounds(size, generator, healthy, stalled, &mut finding) {
        Ok((without, with)) => {
            let p99 = |seen: &[Seen]| median(seen.iter().map(|seen| seen.p99_us));
            for (name, seen) in [("without", &without), ("with stalled readers", &with)] {
                let rate = median(seen.iter().map(|seen| seen.messages_per_s));
                finding.figure(name, format!("p99 {} µs at {} messages/s", round(p99(seen)), round(rate)));
            }
            let ratios = without.iter().zip(&with).map(|(without, with)| with.p99_us / without.p99_us);
            finding.at_most("p99 of the healthy, with over without", median(ratios), bars::TAIL, "×");
        }
        Err(why) => finding.missing.push(format!("p99 of the healthy: {why}")),
    }
    finding
}

/// Windows without and with stalled readers in turn, each on a server of its own.
fn rounds(
    size: &Size,
    generator: &Generator,
    healthy: usize,
    stalled: usize,
    finding: &mut Finding,
) -> Result<(Vec<Seen>, Vec<Seen>), String> {
    let window = |rate: Option<f64>, in_flight: Option<u32>, stalled: usize| {
        let server = Server::start(&FLAGS);
        let holders = (stalled > 0).then(|| hold(&server.address, PATH, 1, stalled, STALLED));
        if holders.is_some() {
            // More than their sockets hold, so that they have stalled when it counts.
            let fill = Load { connections: 1, in_flight: Some(64), ..Load::new(&server, PATH) };
            generator.fan_out(&fill, size)?;
        }
        let load = Load { connections: healthy, in_flight, rate, ..Load::new(&server, PATH) };
        let seen = generator.fan_out(&load, size)?;
        // At the level of its log that they start with, only those that are cut are told of.
        match server.cut() {
            0 => {}
            cut => return Err(format!("{cut} readers were cut meanwhile")),
        }
        match server.waiting_connections() {
            waiting if waiting < stalled => Err(format!("{waiting} readers have stalled, of {stalled}")),
            _ => Ok(seen),
        }
    };
    let saturated: Result<Vec<Seen>, String> =
        (0..size.rounds).map(|_| window(None, Some(SATURATING), 0)).collect();
    let saturated = median(saturated?.iter().map(|seen| seen.messages_per_s));
    finding.figure("saturated", format!("{} messages/s, with {SATURATING} in flight", round(saturated)));
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..size.rounds {
        without.push(window(Some(saturated / 2.0), None, 0)?);
        with.push(window(Some(saturated / 2.0), None, stalled)?);
    }
    Ok((without, with))
}
