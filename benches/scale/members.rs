//! Whether the cost of a delivery depends on how many members or rooms there are.

use crate::bars;
use crate::common::median;
use crate::drum::{Scene, run};
use crate::generator::{Generator, Load};
use crate::process::Server;
use crate::report::{Finding, round};
use crate::settings::Size;

/// Rooms and members of each.
type Shape = (usize, usize);

const ONE_ROOM: [Shape; 3] = [(1, 100), (1, 1_000), (1, 10_000)];
/// As many as one server has descriptors for.
const REAL_ROOMS: [Shape; 2] = [(1, 1_000), (1_000, 10)];
const SIMULATED_ROOMS: [Shape; 3] = [(1_000, 10), (3_000, 10), (10_000, 10)];

/// Over the real server, where the kernel's part is in it, which is what a delivery costs.
pub fn real(size: &Size, generator: &Generator) -> Finding {
    let mut finding = Finding::new(
        "linear",
        "messages of 64 B, one in flight in each room, over sockets: CPU of the server per delivery, kernel and all. Both \
         ends of 10,000 connections fit the descriptor limits, those of 100,000 do not: more rooms are in the next part.",
    );
    let shapes: Vec<Shape> =
        ONE_ROOM.into_iter().chain([REAL_ROOMS[1]]).map(|shape| size.shrunk(shape)).collect();
    let mut costs = vec![Vec::new(); shapes.len()];
    for _ in 0..size.rounds {
        for (shape, costs) in shapes.iter().zip(&mut costs) {
            let server = Server::start(&[]);
            let (rooms, members) = *shape;
            let path = if rooms > 1 { "/rooms/{room}" } else { "/rooms/linear" };
            let load =
                Load { connections: rooms * members, rooms, in_flight: Some(1), ..Load::new(&server, path) };
            match generator.fan_out(&load, size) {
                Ok(seen) => costs.push(seen.cpu_us),
                Err(why) => {
                    finding.missing.push(format!("CPU per delivery by members and rooms: {why}"));
                    return finding;
                }
            }
        }
    }
    let costs: Vec<f64> = costs.into_iter().map(median).collect();
    for ((rooms, members), cost) in shapes.iter().zip(&costs) {
        finding.figure(format!("{rooms} × {members}"), format!("{} µs of CPU per delivery", round(*cost)));
    }
    let one_room = &costs[..ONE_ROOM.len()];
    finding.at_most("CPU per delivery at 100 to 10,000 members", spread(one_room), bars::MEMBERS_SPREAD, "×");
    let rooms = costs[ONE_ROOM.len()] / costs[1];
    finding.at_most("1,000 rooms of 10 over one of 1,000", rooms, bars::ROOMS_SPREAD, "×");
    finding
}

/// Over the simulated `Io`, where only the shard's own part is in it, and any number of connections fits.
pub fn simulated(size: &Size) -> Finding {
    let mut finding = Finding::new(
        "linear, simulated",
        "one shard over the simulated `Io`: its own CPU per delivery, without the kernel's, which is ten times that and \
         knows nothing of rooms. In rooms of 10 the publisher's part is in it for 10 receivers.",
    );
    let shapes: Vec<Shape> =
        ONE_ROOM.into_iter().chain(SIMULATED_ROOMS).map(|shape| size.shrunk(shape)).collect();
    let mut costs = vec![Vec::new(); shapes.len()];
    for _ in 0..size.rounds {
        for ((rooms, members), costs) in shapes.iter().zip(&mut costs) {
            let messages = (size.deliveries / (rooms * members)).max(1);
            let scene = Scene { shards: 1, rooms: *rooms, members: *members, publishers: 1, messages };
            costs.push(run(scene).cpu_per_delivery);
        }
    }
    let costs: Vec<f64> = costs.into_iter().map(median).collect();
    for ((rooms, members), cost) in shapes.iter().zip(&costs) {
        finding.figure(format!("{rooms} × {members}"), format!("{} ns of CPU per delivery", round(*cost)));
    }
    let many = &costs[ONE_ROOM.len()..];
    let (few, most) = (many[0], many[SIMULATED_ROOMS.len() - 1]);
    finding.at_most("10,000 rooms of 10 over 1,000 of them", most / few, bars::ROOMS_SPREAD, "×");
    finding
}

fn spread(values: &[f64]) -> f64 {
    let most = values.iter().copied().fold(0.0, f64::max);
    most / values.iter().copied().fold(f64::INFINITY, f64::min)
}
