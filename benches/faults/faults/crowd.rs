//! F9: as many connections as a process carries, idle, and then one message a second to all of them.

use std::time::Duration;

use crate::bars::round;
use crate::crowd::{Crowd, Group};
use crate::finding::{Finding, Round};
use crate::judge::conclude;
use crate::load::cast::{Cast, Role, Rooms};
use crate::rounds::{Title, setup};
use crate::settings::Size;
use crate::stage::Stage;

const RATE: f64 = 1.0;
const MESSAGE_BYTES: usize = 128;
/// Of the server's memory, for an idle connection.
const CONNECTION_BYTES: f64 = 2048.0;
const P99_MS: f64 = 250.0;
/// More than this hides what a message to all takes.
const WINDOW_MIN: Duration = Duration::from_secs(10);

pub fn title() -> Title {
    Title::new("F9", "F9", "a full house, idle and in one room")
}

pub fn run(title: &Title, size: &Size) -> Finding {
    let room = Rooms::new("everyone", 1);
    let members = size.crowd - 1;
    let crowd = Crowd {
        casts: vec![Cast::new("members", members, Role::member(room.clone()))],
        groups: vec![Group::new("members", &["members"])],
    };
    let mut setup = setup(size);
    setup.apart.processes = 0;
    size.ask_for_flags(&mut setup.flags);
    let mut stage = Stage::new(&setup, size, crowd);
    let began = stage.load.now();
    let window = if size.smoke { size.window } else { size.window.max(WINDOW_MIN) };
    let base = stage.measure(|stage| stage.pass(window, |_| {}));
    let resident = stage.resident() - stage.load.outcome.base_memory.resident;
    let each = resident as f64 / members as f64;
    stage.bars.at_most("resident memory of an idle connection", each, CONNECTION_BYTES, "B");
    let idle = base.server_cores;
    stage.enter(&Cast::new("publisher", 1, Role::publisher(room, RATE, MESSAGE_BYTES)));
    let fault = stage.measure(|stage| stage.pass(window, |_| {}));
    let latency = fault.groups.get("members").copied().unwrap_or_default();
    stage.bars.at_most("p99 of a message to all", latency.p99_ms, P99_MS, "ms");
    stage.load.settle();
    let mut finding = Finding {
        number: title.number.to_owned(),
        key: title.key.to_owned(),
        name: title.name.clone(),
        connections: size.crowd,
        done: format!(
            "all in one room: idle for {window:?} ({} cores), then one message a second to all",
            round(idle)
        ),
        rounds: vec![Round { base, fault }],
        seconds: stage.load.now().since(began).as_secs_f64(),
        bars: std::mem::take(&mut stage.bars),
        ..Finding::default()
    };
    let outcome = stage.load.finish();
    conclude(&mut finding, &outcome, &[], 0);
    finding
}
