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

/// Bytes of a message.
const MESSAGE_BYTES: usize = 64;

/// Over the real server, where the kernel's part is in it, which is what a delivery costs; and over the floor, which
/// is nothing else.
pub fn real(size: &Size, generator: &Generator) -> Finding {
    let mut finding = Finding::new(
        "linear",
        "messages of 64 B, one in flight in each room, over sockets: CPU of the server per delivery, kernel and all, beside \
         the floor's: a bare loop that sends what it has ready to each member of a room. Both ends of 10,000 connections \
         fit the descriptor limits, those of 100,000 do not: more rooms are in the next part.",
    );
    let shapes: Vec<Shape> =
        ONE_ROOM.into_iter().chain([REAL_ROOMS[1]]).map(|shape| size.shrunk(shape)).collect();
    let mut costs = vec![Vec::new(); shapes.len()];
    for _ in 0..size.rounds {
        for (shape, costs) in shapes.iter().zip(&mut costs) {
            let checked = |server: &Server, is_checked| cost(server, *shape, is_checked, size, generator);
            let ours = checked(&Server::start(&[]), true);
            let floors = checked(&Server::start_floor(MESSAGE_BYTES), false);
            match (ours, floors) {
                (Ok(ours), Ok(floors)) => costs.push([ours, floors, ours / floors]),
                (Err(why), _) | (_, Err(why)) => {
                    finding.missing.push(format!("CPU per delivery by members and rooms: {why}"));
                    return finding;
                }
            }
        }
    }
    let costs: Vec<[f64; 3]> =
        costs.iter().map(|costs| [0, 1, 2].map(|at| median(costs.iter().map(|cost| cost[at])))).collect();
    for ((rooms, members), [ours, floors, ratio]) in shapes.iter().zip(&costs) {
        let value = format!(
            "{} µs of CPU per delivery, the floor {}: {} ×",
            round(*ours),
            round(*floors),
            round(*ratio)
        );
        finding.figure(format!("{rooms} × {members}"), value);
    }
    let of = |at: usize| costs.iter().map(|costs| costs[at]).collect::<Vec<f64>>();
    let (ours, floors) = (of(0), of(1));
    let rooms_over_one = |costs: &[f64]| costs[ONE_ROOM.len()] / costs[1];
    let one_room = ..ONE_ROOM.len();
    finding.at_most(
        "CPU per delivery at 100 to 10,000 members",
        spread(&ours[one_room]),
        bars::MEMBERS_SPREAD,
        "×",
    );
    finding.at_most("1,000 rooms of 10 over one of 1,000", rooms_over_one(&ours), bars::ROOMS_SPREAD, "×");
    finding.figure("the floor at 100 to 10,000 members", format!("{} ×", round(spread(&floors[one_room]))));
    let floors_rooms = format!("{} ×", round(rooms_over_one(&floors)));
    finding.figure("the floor, 1,000 rooms of 10 over one of 1,000", floors_rooms);
    finding
}

/// CPU of a server per delivery.
fn cost(
    server: &Server,
    (rooms, members): Shape,
    is_checked: bool,
    size: &Size,
    generator: &Generator,
) -> Result<f64, String> {
    let path = if rooms > 1 { "/rooms/{room}" } else { "/rooms/linear" };
    let connections = rooms * members;
    let load = Load { connections, rooms, in_flight: Some(1), is_checked, ..Load::new(server, path) };
    Ok(generator.fan_out(&load, size)?.cpu_us)
}

/// Over the simulated `Io`, where only the shard's own part is in it, and any number of connections fits.
pub fn simulated(size: &Size) -> Finding {
    let mut finding = Finding::new(
        "linear, simulated",
        "one shard over the simulated `Io`: its own CPU per delivery, without the kernel's, which is over a hundred times that \
         and knows nothing of rooms. In rooms of 10 the publisher's part is in it for 10 receivers.",
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
    // Of two numbers that both are nearly nothing beside what the kernel takes: shown, and not judged.
    let own = format!("{} ×", round(most / costs[1]));
    finding.figure("10,000 rooms of 10 over one room of 1,000, the shard's own part alone", own);
    finding
}

fn spread(values: &[f64]) -> f64 {
    let most = values.iter().copied().fold(0.0, f64::max);
    most / values.iter().copied().fold(f64::INFINITY, f64::min)
}
