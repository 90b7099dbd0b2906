//! A short soak: the real binary, client processes, every role; and proof that a run which is not clean is
//! seen not to be. The long one is `benches/soak/`.
//!
//! Nothing here depends on how fast the machine is: the flags of the server give honest clients as long as
//! they need, and a run goes on until each role has done what it is for.

#[path = "load/mod.rs"]
mod load;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use load::conductor::State;
use load::verdict::{Steady, judge};
use load::{Cast, Habit, Launcher, Load, Publish, Role, Rooms, Setup, Slow};
use rustix::process::Signal;

/// Waiting longer than this is a failure, never a result.
const PATIENCE: Duration = Duration::from_secs(100);

#[test]
#[ignore = "a client process of the other tests, which start it"]
fn client_process() {
    load::client::run();
}

/// Nobody who is honest is too late, and whoever does not read is cut soon.
fn setup() -> Setup {
    let arguments = ["client_process", "--exact", "--ignored", "--nocapture", "--test-threads=1"];
    let flags = [
        "--handshake-timeout 60s",
        "--ping-interval 60s",
        "--pong-timeout 60s",
        "--message-timeout 60s",
        "--write-timeout 1s",
        "--workers 2",
    ];
    let flags = flags.iter().flat_map(|flag| flag.split(' ')).map(str::to_owned).collect();
    Setup { flags, ..Setup::new(Launcher::this_program(&arguments)) }
}

fn rooms() -> Rooms {
    Rooms::new("room", 5)
}

fn members(count: usize) -> Cast {
    Cast::new("members", count, Role::member(rooms()))
}

fn publishers() -> Cast {
    Cast::new("publishers", 5, Role::publisher(rooms(), 20.0, 200))
}

/// Everybody that there is, a few of each.
fn everybody() -> Vec<Cast> {
    let habit = |name, habit| Cast::new(name, 10, Role::with_habit(rooms(), habit));
    let flooded = || Rooms::new("flooded", 1);
    let slow = |bytes_per_second| {
        Role::Slow(Slow { rooms: flooded(), bytes_per_second, look_ms: 1500, looks_max: u32::MAX })
    };
    let post = |rooms, rate, bytes| Role::Post { rooms, publish: Publish { rate, bytes } };
    vec![
        members(40),
        publishers(),
        habit("churn", Habit::Churn { stay_ms: 200 }),
        habit("returning", Habit::Return { stay_ms: 300, away_ms: 100, held: 1000 }),
        habit("pausing", Habit::Pause { every_ms: 300, for_ms: 300 }),
        Cast::new("events", 5, Role::Events { rooms: rooms() }),
        Cast::new("posts", 5, post(rooms(), 5.0, 100)),
        Cast::new("flood", 1, post(flooded(), 100.0, 20_000)),
        Cast::new("stalled", 3, slow(0)),
        Cast::new("slow", 3, slow(64)),
        Cast::new("bytewise", 5, Role::Bytewise { every_ms: 1 }),
        Cast::new("resets", 5, Role::Reset { rooms: rooms(), within_ms: 100 }),
        Cast::new("half", 5, Role::HalfClose { rooms: rooms(), stay_ms: 100, patience_ms: 90_000 }),
        Cast::new("garbage", 5, Role::Garbage { pause_ms: 20, limited: false }),
    ]
}

/// Whether each role has done what it is for.
fn all_have_played(state: &State) -> bool {
    let cut = |cast| state.count(cast, "cut with 1008") + state.count(cast, "cut, the Close not read");
    let garbage = |status: u16| state.count("garbage", &format!("answered with {status}"));
    cut("stalled") >= 3
        && cut("slow") >= 3
        && state.count("churn", "left") >= 30
        && state.count("returning", "came back where it was") >= 20
        && state.count("resets", "reset") >= 40
        && state.count("half", "ended by the server") >= 20
        && [400, 426, 431].into_iter().all(|status| garbage(status) > 0)
        && ["pausing", "events", "posts", "bytewise"].into_iter().all(|cast| state.received(cast) >= 20)
        && state.received("members") >= 2000
}

#[test]
fn a_mix_of_all_roles_is_clean() {
    let mut load = Load::start(&setup());
    for cast in everybody() {
        load.begin(&cast);
    }
    assert!(load.until("everybody has played", PATIENCE, all_have_played));
    let outcome = load.finish();
    let verdict = judge(&outcome, &Steady { to: f64::MAX, ..Steady::default() });
    assert!(verdict.is_clean(), "{verdict}\n{:#?}", outcome.complaints);
    let sent = |cast: &load::conductor::CastOutcome| cast.name == "publishers" && cast.sent > 0;
    assert!(outcome.casts.iter().any(sent) && outcome.latency.count() > 0 && !outcome.samples.is_empty());
}

/// A run that is up, with members in every room and publishers.
fn small_run(setup: &Setup) -> Load {
    let mut load = Load::start(setup);
    load.begin(&members(10));
    load.begin(&publishers());
    assert!(load.until("messages flow", PATIENCE, |state| state.received("members") >= 50));
    load
}

#[test]
fn a_message_that_nobody_of_us_published_makes_a_run_not_clean() {
    let load = small_run(&setup());
    let mut stream = TcpStream::connect(load.server.address).expect("the server accepts");
    let request = "POST /rooms/room-3 HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nConnection: close\r\n\
                   Content-Length: 7\r\n\r\nplanted";
    stream.write_all(request.as_bytes()).expect("the server reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the server answers");
    let (_, offset) = answer.rsplit_once("\"offset\":").expect("the position of what was published");
    let offset = offset.trim_end_matches(|end: char| !end.is_ascii_digit());
    drop(stream);
    let outcome = load.finish();
    // Two members of the ten, and the room's publisher, which gets its own messages too.
    assert_eq!(outcome.violations, 3, "{:#?}", outcome.complaints);
    let told = format!("room room-3: offset {offset}: not what anybody published");
    assert!(
        outcome.complaints.iter().all(|complaint| complaint.ends_with(&told)),
        "{:#?}",
        outcome.complaints
    );
    let verdict = judge(&outcome, &Steady::default());
    let failed: Vec<&str> = verdict.failed().map(|check| check.name).collect();
    assert_eq!(failed, ["every message at every honest client"]);
}

#[test]
fn a_server_that_dies_makes_a_run_not_clean() {
    let mut load = small_run(&setup());
    load.server.signal(Signal::KILL);
    for _ in 0..1000 {
        load.run_for(Duration::from_millis(100));
        if load.state.count("members", "cut") == 10 {
            break;
        }
    }
    let outcome = load.finish();
    assert_eq!(outcome.exit_code, None);
    let verdict = judge(&outcome, &Steady::default());
    let failed: Vec<&str> = verdict.failed().map(|check| check.name).collect();
    for name in ["honest connections are never cut", "SIGTERM ends the server with status 0"] {
        assert!(failed.contains(&name), "{name}: {failed:?}");
    }
    let cut = |complaint: &String| complaint.contains(": cut without a Close: ");
    assert!(outcome.violations >= 10 && outcome.complaints.iter().all(cut), "{:#?}", outcome.complaints);
}

#[test]
fn a_run_that_is_told_to_end_ends_in_order() {
    let stop = Arc::new(AtomicBool::new(false));
    let mut load = small_run(&Setup { stop: Arc::clone(&stop), ..setup() });
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    load.run_for(Duration::from_secs(3600));
    let outcome = load.finish();
    assert_eq!((outcome.violations, outcome.exit_code), (0, Some(0)), "{:#?}", outcome.failures);
    let verdict = judge(&outcome, &Steady::default());
    let failed: Vec<&str> = verdict.failed().map(|check| check.name).collect();
    assert_eq!(failed, ["the run was not ended early"]);
}
