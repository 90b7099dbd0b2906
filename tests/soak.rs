//! A short soak of the real binary: see `tests/load/` and `benches/soak/`.

#[path = "load/mod.rs"]
mod load;

use std::time::Duration;

use load::{Cast, Habit, Launcher, Load, Role, Rooms, Setup};

#[test]
#[ignore = "a client process of the soak, which starts it"]
fn client_process() {
    load::client::run();
}

fn launcher() -> Launcher {
    Launcher::this_program(&["client_process", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
}

#[test]
fn every_role_plays() {
    let flags = ["--write-timeout", "1s"].map(str::to_owned).to_vec();
    let mut load = Load::start(&Setup { flags, ..Setup::new(launcher()) });
    let rooms = || Rooms::new("room", 5);
    let hot = || Rooms::new("hot", 1);
    load.begin(&Cast::new("members", 40, Role::member(rooms())));
    load.begin(&Cast::new("publishers", 5, Role::publisher(rooms(), 20.0, 200)));
    load.begin(&Cast::new("churn", 10, Role::with_habit(rooms(), Habit::Churn { stay_ms: 200 })));
    let back = Habit::Return { stay_ms: 300, away_ms: 200, held: 1000 };
    load.begin(&Cast::new("returning", 10, Role::with_habit(rooms(), back)));
    let pause = Habit::Pause { every_ms: 300, for_ms: 300 };
    load.begin(&Cast::new("pausing", 5, Role::with_habit(rooms(), pause)));
    load.begin(&Cast::new("events", 5, Role::Events { rooms: rooms() }));
    let publish = load::Publish { rate: 5.0, bytes: 100 };
    load.begin(&Cast::new("posts", 5, Role::Post { rooms: rooms(), publish }));
    load.begin(&Cast::new(
        "flood",
        1,
        Role::Post { rooms: hot(), publish: load::Publish { rate: 200.0, bytes: 20_000 } },
    ));
    for (name, bytes_per_second) in [("stalled", 0), ("slow", 64)] {
        let slow = load::Slow { rooms: hot(), bytes_per_second, look_ms: 2000, looks_max: 20 };
        load.begin(&Cast::new(name, 3, Role::Slow(slow)));
    }
    load.begin(&Cast::new("bytewise", 5, Role::Bytewise { every_ms: 1 }));
    load.begin(&Cast::new("resets", 5, Role::Reset { rooms: rooms(), within_ms: 100 }));
    load.begin(&Cast::new("half", 5, Role::HalfClose { rooms: rooms(), stay_ms: 200, patience_ms: 60_000 }));
    load.begin(&Cast::new("garbage", 5, Role::Garbage { pause_ms: 50 }));
    load.begin(&Cast::new("silent", 3, Role::Silent { patience_ms: 60_000 }));
    load.until("in", Duration::from_secs(20), |state| state.open("members") == 40);
    load.run_for(Duration::from_secs(8));
    let outcome = load.finish();
    let load::Outcome { casts, complaints, failures, told_by_log, untold, log, end_sockets, .. } = &outcome;
    println!("{casts:#?} {complaints:#?} {failures:#?} {told_by_log:?} {untold:?} {log:?} {end_sockets:?}");
}
