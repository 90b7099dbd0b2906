//! The mix of a soak: four fifths that behave, most of them in rooms or idle, and a fifth that does not stay,
//! does not read, or breaks off.

use std::time::Duration;

use super::cast::{Cast, Habit, Publish, Role, Rooms, Slow};

/// Bytes of a message in a room that has honest members.
const MESSAGE_BYTES: usize = 200;
/// Members of a room, about.
const ROOM_MEMBERS: usize = 40;
/// Members of a room that nothing is published to.
const IDLE_ROOM_MEMBERS: usize = 500;
/// What floods the rooms of slow readers: many times what they read, in messages large enough to be cheap.
const FLOOD: Publish = Publish { rate: 20.0, bytes: 16 << 10 };
/// Slow readers of one such room.
const FLOODED_MEMBERS: usize = 100;
/// A thing that takes too long after this has gone wrong, however busy the machine is.
const PATIENCE_MS: u64 = 60_000;

/// How large and how busy.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// Connections, about.
    pub connections: usize,
    /// Messages a second in each room.
    pub rate: f64,
    /// Seconds that those who come and go stay, about.
    pub stay: f64,
    /// How long rooms remember messages.
    pub history_age: Duration,
}

impl Mix {
    /// So many of a thousand, at least one.
    fn share(&self, of_thousand: usize) -> usize {
        (self.connections * of_thousand / 1000).max(1)
    }

    pub fn rooms(&self) -> Rooms {
        Rooms::new("room", self.share(480) / ROOM_MEMBERS)
    }

    /// Everybody.
    pub fn casts(&self) -> Vec<Cast> {
        [self.steady(), self.fleeting(), self.slow(), self.hostile()].concat()
    }

    /// Those who stay; the run is ready when they are all in.
    pub fn steady(&self) -> Vec<Cast> {
        let rooms = || self.rooms();
        let idle = self.share(270);
        let pause = Habit::Pause { every_ms: self.milliseconds(2.0), for_ms: self.milliseconds(1.0) };
        vec![
            Cast::new("members", self.share(480), Role::member(rooms())),
            Cast::new("publishers", rooms().count, Role::publisher(rooms(), self.rate, MESSAGE_BYTES)),
            Cast::new("idle", idle, Role::member(Rooms::new("idle", idle / IDLE_ROOM_MEMBERS))),
            Cast::new("pausing members", self.share(20), Role::with_habit(rooms(), pause)),
            Cast::new("event streams", self.share(5).min(100), Role::Events { rooms: rooms() }),
            Cast::new("HTTP publishers", self.share(2).min(20), self.post()),
            Cast::new("byte by byte", self.share(5).min(100), Role::Bytewise { every_ms: 10 }),
        ]
    }

    fn post(&self) -> Role {
        Role::Post { rooms: self.rooms(), publish: Publish { rate: self.rate, bytes: MESSAGE_BYTES } }
    }

    /// Honest members that come and go.
    fn fleeting(&self) -> Vec<Cast> {
        let churn = Habit::Churn { stay_ms: self.milliseconds(1.0) };
        // A room gets messages from its own publisher, and from one over HTTP at most.
        let held = (self.rate * self.history_age.as_secs_f64() / 2.0) as u64;
        let back = Habit::Return { stay_ms: self.milliseconds(2.0), away_ms: self.milliseconds(0.3), held };
        vec![
            Cast::new("churn", self.share(50), Role::with_habit(self.rooms(), churn)),
            Cast::new("returning", self.share(20), Role::with_habit(self.rooms(), back)),
        ]
    }

    /// Rooms that are flooded, for those who do not read.
    fn slow(&self) -> Vec<Cast> {
        let (slow, stalled) = (self.share(40), self.share(10));
        let rooms = || Rooms::new("flooded", (slow + stalled).div_ceil(FLOODED_MEMBERS));
        let reader = |bytes_per_second| {
            Role::Slow(Slow { rooms: rooms(), bytes_per_second, look_ms: 15_000, looks_max: 10 })
        };
        vec![
            Cast::new("flood", rooms().count, Role::Post { rooms: rooms(), publish: FLOOD }),
            Cast::new("slow, 64 B/s", slow, reader(64)),
            Cast::new("stalled", stalled, reader(0)),
        ]
    }

    /// Those who break off or never begin.
    fn hostile(&self) -> Vec<Cast> {
        let (stay_ms, within_ms) = (self.milliseconds(1.0), self.milliseconds(1.0));
        vec![
            Cast::new("resets", self.share(50), Role::Reset { rooms: self.rooms(), within_ms }),
            Cast::new(
                "half-closes",
                self.share(50),
                Role::HalfClose { rooms: self.rooms(), stay_ms, patience_ms: PATIENCE_MS },
            ),
            Cast::new("garbage", self.share(2).min(20), Role::Garbage { pause_ms: 200, limited: false }),
            Cast::new("silent", self.share(5).min(100), Role::Silent { patience_ms: PATIENCE_MS }),
        ]
    }

    fn milliseconds(&self, times: f64) -> u64 {
        ((self.stay * times * 1000.0) as u64).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_has_about_as_many_as_it_should_and_a_fifth_misbehaves_or_does_not_stay() {
        for connections in [2_000, 15_000, 50_000] {
            let mix = Mix { connections, rate: 1.0, stay: 5.0, history_age: Duration::from_secs(30) };
            let count = |casts: &[Cast]| casts.iter().map(|cast| cast.count).sum::<usize>() as f64;
            let all = count(&mix.casts());
            assert!((all / connections as f64 - 1.0).abs() < 0.03, "{all} of {connections}");
            let others = count(&[mix.fleeting(), mix.slow(), mix.hostile()].concat()) / all;
            assert!((0.18..0.26).contains(&others), "{others}");
        }
    }
}
