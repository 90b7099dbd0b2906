//! What is counted in instructions: fixed work for shards over a simulated operating system.

use std::rc::Rc;

use fanfare::protocol::server_frame_bytes;

use crate::flat::{Flat, Line, fan_out_turns, frames};

/// Members of a room that is not the subject.
const ROOM: &str = "/rooms/a";

/// What goes on in a round.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// Each connection sends so many messages and gets them back.
    Echo { connections: usize, in_flight: usize },
    /// One who is no member of its own audience publishes so many messages in each room.
    Fanout { rooms: usize, members: usize, in_flight: usize },
    /// So many connect, join a room, and go.
    Connections(usize),
}

/// Fixed work, and its name in the table.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub shards: usize,
    pub work: Work,
    /// Of a message.
    pub bytes: usize,
    /// The most that one receive gives.
    pub piece: usize,
    pub rounds: usize,
}

const fn echo(name: &'static str, connections: usize, bytes: usize, in_flight: usize) -> Scenario {
    let work = Work::Echo { connections, in_flight };
    let rounds = 8_000 / (connections * in_flight);
    Scenario { name, shards: 1, work, bytes, piece: usize::MAX, rounds: if rounds < 5 { 5 } else { rounds } }
}

const fn fanout(name: &'static str, members: usize, bytes: usize, in_flight: usize) -> Scenario {
    let work = Work::Fanout { rooms: 1, members, in_flight };
    Scenario { name, shards: 1, work, bytes, piece: usize::MAX, rounds: 62 }
}

/// All of them, as the table has them.
pub const ALL: &[Scenario] = &[
    echo("echo 16 B, 1 connection, 1 in flight", 1, 16, 1),
    echo("echo 16 B, 100 connections, 1 in flight", 100, 16, 1),
    echo("echo 16 B, 100 connections, 16 in flight", 100, 16, 16),
    echo("echo 1 KiB, 100 connections, 1 in flight", 100, 1 << 10, 1),
    echo("echo 1 KiB, 100 connections, 16 in flight", 100, 1 << 10, 16),
    Scenario { rounds: 40, ..echo("echo 64 KiB, 10 connections, 1 in flight", 10, 64 << 10, 1) },
    Scenario {
        piece: 24 << 10,
        rounds: 40,
        ..echo("echo 64 KiB in 3 reads, 10 connections, 1 in flight", 10, 64 << 10, 1)
    },
    fanout("fan-out 64 B to 100, 1 in flight", 100, 64, 1),
    fanout("fan-out 64 B to 1,000, 1 in flight", 1000, 64, 1),
    fanout("fan-out 64 B to 1,000, 16 in flight", 1000, 64, 16),
    fanout("fan-out 1 KiB to 1,000, 16 in flight", 1000, 1 << 10, 16),
    fanout("fan-out 16 KiB to 1,000, 1 in flight", 1000, 16 << 10, 1),
    Scenario { shards: 2, ..fanout("fan-out 64 B to 1,000 on 2 shards, 1 in flight", 1000, 64, 1) },
    Scenario {
        work: Work::Fanout { rooms: 100, members: 10, in_flight: 1 },
        ..fanout("fan-out 64 B in 100 rooms of 10, 1 in flight", 10, 64, 1)
    },
    Scenario {
        name: "handshake, join, leave",
        shards: 1,
        work: Work::Connections(20),
        bytes: 0,
        piece: usize::MAX,
        rounds: 50,
    },
];

impl Scenario {
    /// Messages, deliveries or connections of a round.
    fn per_round(&self) -> usize {
        match self.work {
            Work::Echo { connections, in_flight } => connections * in_flight,
            Work::Fanout { rooms, members, in_flight } => rooms * members * in_flight,
            Work::Connections(count) => count,
        }
    }

    /// Turns after which everything of a round has been done.
    fn turns(&self) -> usize {
        match self.work {
            Work::Connections(_) => 3,
            Work::Fanout { rooms, members, in_flight } => {
                fan_out_turns(rooms * (members + 1), in_flight * server_frame_bytes(self.bytes))
            }
            _ => (self.bytes + 14).div_ceil(self.piece),
        }
    }

    /// Does as much as makes everything as it stays, then `rounds` rounds whose turns are counted. Returns how
    /// many messages, deliveries or connections those are.
    ///
    /// # Panics
    ///
    /// If a message gets lost.
    pub fn run(&self, rounds: usize) -> usize {
        let mut stage = Stage::set(self);
        // Rooms' windows are full and memory is used again.
        let warm_up = rounds.max(80);
        (0..warm_up).for_each(|_| stage.round(self, Flat::turn));
        (0..rounds).for_each(|_| stage.round(self, counted_turn));
        stage.check(self, warm_up + rounds);
        rounds * self.per_round()
    }
}

/// Where counting begins and ends, for valgrind's `--toggle-collect`.
pub const COUNTED: &str = "*counted_turn";

/// What belongs to the simulated operating system, and is taken off again.
pub const NOT_COUNTED: [&str; 7] = [
    "FlatIo as fanfare::reactor::io::Io>::wait",
    "FlatIo as fanfare::reactor::io::Io>::now",
    "FlatIo as fanfare::reactor::io::Io>::unix_time",
    "FlatIo as fanfare::reactor::io::Io>::register",
    "FlatIo as fanfare::reactor::io::Io>::receive",
    "FlatIo as fanfare::reactor::io::Io>::send",
    "FlatIo as fanfare::reactor::io::Io>::set_interest",
];

/// A turn that counts. It has a name of its own so that a profile can begin and end here.
#[inline(never)]
fn counted_turn(flat: &mut Flat) {
    flat.turn();
}

/// The connections of a scenario.
struct Stage {
    flat: Flat,
    senders: Vec<Line>,
    listeners: Vec<Line>,
    /// What a listener has been sent before the first round.
    before: Vec<u64>,
    input: Rc<[u8]>,
}

impl Stage {
    fn set(scenario: &Scenario) -> Stage {
        let mut flat = Flat::new(scenario.shards);
        let (mut senders, mut listeners) = (Vec::new(), Vec::new());
        let mut messages = 0;
        match scenario.work {
            Work::Echo { connections, in_flight } => {
                senders = (0..connections).map(|_| flat.connect(0, "/echo")).collect();
                listeners.clone_from(&senders);
                messages = in_flight;
            }
            Work::Fanout { rooms, members, in_flight } => {
                for room in 0..rooms {
                    let path = format!("/rooms/{room}");
                    senders.push(flat.connect(0, &path));
                    listeners.extend((0..members).map(|at| flat.connect(at % scenario.shards, &path)));
                }
                messages = in_flight;
            }
            // It keeps the room.
            Work::Connections(_) => {
                flat.connect(0, ROOM);
            }
        }
        senders.iter().for_each(|sender| flat.cut(*sender, scenario.piece));
        let before = listeners.iter().map(|listener| flat.taken(*listener)).collect();
        let input = frames(scenario.bytes, messages);
        Stage { flat, senders, listeners, before, input }
    }

    fn round(&mut self, scenario: &Scenario, turn: impl Fn(&mut Flat)) {
        let Stage { flat, senders, input, .. } = self;
        if let Work::Connections(count) = scenario.work {
            let lines: Vec<Line> = (0..count).map(|_| flat.knock(0, ROOM)).collect();
            (0..2).for_each(|_| turn(flat));
            for line in &lines {
                assert!(flat.is_open(*line), "it is accepted");
                flat.end(*line);
            }
            turn(flat);
            assert!(lines.iter().all(|line| flat.is_closed(*line)), "it is closed");
            return;
        }
        senders.iter().for_each(|sender| flat.feed(*sender, input));
        (0..scenario.turns()).for_each(|_| turn(flat));
    }

    /// Everybody has got everything.
    fn check(&mut self, scenario: &Scenario, rounds: usize) {
        let in_flight = match scenario.work {
            Work::Echo { in_flight, .. } | Work::Fanout { in_flight, .. } => in_flight,
            Work::Connections(_) => return,
        };
        let expected = (rounds * in_flight * server_frame_bytes(scenario.bytes)) as u64;
        for (listener, before) in self.listeners.iter().zip(&self.before) {
            let got = self.flat.taken(*listener) - before;
            assert_eq!(got, expected, "{}: bytes that a connection is sent", scenario.name);
        }
        assert_eq!(self.flat.interest_changes(), 0, "{}: nobody has to wait", scenario.name);
    }
}
