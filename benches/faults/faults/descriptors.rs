//! F11: more clients than there is room for: by descriptors, or by `--max-connections`.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::crowd::rooms;
use crate::finding::Round;
use crate::load::Setup;
use crate::load::cast::{Cast, Role};
use crate::load::conductor::kernel;
use crate::rounds::{Fault, Title};
use crate::settings::{Size, set_flag};
use crate::stage::{PATIENCE, Stage};

const CAST: &str = "knocking";
const LATE: &str = "late";
/// Who comes, and how many of them there is room for.
const KNOCKING: usize = 100;
const ROOM: usize = 50;
/// In a run however small.
const KNOCKING_MIN: usize = 20;
const ROOM_MIN: usize = 10;
/// Knocks again after about so long.
const AGAIN_MS: u64 = 500;
/// Those who come when there is room again.
const LATE_COUNT: usize = 20;
/// Parts of a core that the refusals may cost.
const CORES_MAX: f64 = 0.05;

/// What there is too little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scarce {
    Descriptors,
    Connections,
}

/// More clients than there is room for.
pub struct Exhaustion {
    scarce: Scarce,
    before: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    knocked: u64,
    let_in: u64,
    refused: u64,
    unanswered: u64,
}

impl Counts {
    fn of(stage: &Stage<'_>) -> Counts {
        let count = |what| stage.load.state.count(CAST, what);
        Counts {
            knocked: count("knocked"),
            let_in: count("let in"),
            refused: count("refused with 503"),
            unanswered: count("ended without an answer"),
        }
    }
}

/// The limit below which so many numbers are free. The limit is one of numbers: what is open above it, such as
/// something inherited, does not count.
fn limit_for(open: &BTreeSet<u64>, free: usize) -> u64 {
    let unused = (0..).filter(|number| !open.contains(number));
    unused.take(free).last().map_or(0, |number| number + 1)
}

fn knocking(size: &Size) -> usize {
    size.share(KNOCKING).max(KNOCKING_MIN)
}

fn room(size: &Size) -> usize {
    size.share(ROOM).max(ROOM_MIN)
}

impl Exhaustion {
    pub fn new(scarce: Scarce) -> Exhaustion {
        Exhaustion { scarce, before: Counts::default() }
    }

    /// Gives the server so many descriptors more than it has open; as many as it may have without a number.
    fn limit(stage: &mut Stage<'_>, more: Option<usize>) {
        let Some(server) = Pid::from_raw(stage.load.server.id() as i32) else { return };
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        let open = kernel::descriptor_numbers(stage.load.server.id());
        let current = more.map_or(maximum, |more| Some(limit_for(&open, more)));
        if let Err(error) = prlimit(Some(server), Resource::Nofile, Rlimit { current, maximum }) {
            stage.load.fail(format!("the limit of descriptors cannot be set: {error}"));
        }
    }
}

impl Fault for Exhaustion {
    fn title(&self) -> Title {
        match self.scarce {
            Scarce::Descriptors => Title::new("F11", "F11", "descriptors run out"),
            Scarce::Connections => Title::new("F11", "F11-max", "--max-connections is reached"),
        }
    }

    fn done(&self, size: &Size) -> String {
        let (knocking, room) = (knocking(size), room(size));
        match self.scarce {
            Scarce::Descriptors => {
                format!("{knocking} more come where {room} descriptors are left (prlimit)")
            }
            Scarce::Connections => format!("{knocking} more come where {room} connections are left"),
        }
    }

    fn set_up(&self, size: &Size, setup: &mut Setup) {
        if self.scarce == Scarce::Connections {
            let max = size.members + room(size);
            set_flag(&mut setup.flags, "--max-connections", &max.to_string());
        }
    }

    fn begin(&mut self, stage: &mut Stage<'_>) {
        self.before = Counts::of(stage);
        if self.scarce == Scarce::Descriptors {
            Self::limit(stage, Some(room(stage.size)));
        }
        let patience_ms = PATIENCE.as_millis() as u64;
        let role = Role::Knock { rooms: rooms(stage.size), patience_ms, again_ms: AGAIN_MS };
        stage.load.begin(&Cast::new(CAST, knocking(stage.size), role).apart());
    }

    fn end(&mut self, stage: &mut Stage<'_>, round: &Round) {
        let room = room(stage.size) as u64;
        let (now, before) = (Counts::of(stage), self.before);
        let let_in = now.let_in - before.let_in;
        stage.bars.must("let in while there was room", let_in <= room && let_in + 5 >= room, let_in, room);
        let (refused, unanswered) = (now.refused - before.refused, now.unanswered - before.unanswered);
        let seen = format!("{refused} with 503, {unanswered} by the end alone");
        stage.bars.must("the others are refused", refused + unanswered > 0, seen, "> 0");
        let knocked = now.knocked - before.knocked;
        // Whoever knocks when the window ends has no answer yet.
        let open = knocked.saturating_sub(let_in + refused + unanswered);
        let waiting = knocking(stage.size) as u64;
        stage.bars.must(
            "nobody is left without an end",
            open <= waiting,
            open,
            format!("≤ {waiting} at work"),
        );
        let cores = round.fault.server_cores - round.base.server_cores;
        stage.bars.at_most("CPU that it costs the server", cores, CORES_MAX, "cores");
        stage.leave(&[CAST]);
        // With the same limit: it recovers by itself.
        let late = Cast::new(LATE, stage.size.share(LATE_COUNT), Role::member(rooms(stage.size)));
        stage.enter(&late);
        let entered = stage.load.state.open(LATE);
        stage.bars.must("let in when there is room again", entered == late.count as u64, entered, late.count);
        stage.leave(&[LATE]);
        if self.scarce == Scarce::Descriptors {
            Self::limit(stage, None);
        }
        stage.pass(Duration::from_millis(100), |_| {});
    }

    fn casts(&self) -> Vec<&'static str> {
        vec![CAST]
    }
}
