//! Those who behave: everybody's latency and account is theirs.

use std::time::Duration;

use crate::load::cast::{Cast, Habit, Role, Rooms};
use crate::load::latency::Latency;
use crate::load::{Load, Window};
use crate::settings::Size;

/// Members of a room.
pub const ROOM_MEMBERS: usize = 50;
/// Bytes of a message in the crowd's rooms.
const MESSAGE_BYTES: usize = 128;
/// Rooms with so much in them that a reader which stops has its buffers full in a few seconds, and what each of
/// them has: 60 KiB a second.
pub const FEED_ROOMS: usize = 5;
const FEED: &str = "feed";
const FEED_MEMBERS: usize = 20;
const FEED_RATE: f64 = 12.0;
pub const FEED_MESSAGE_BYTES: usize = 5 << 10;
/// How long somebody may take to come in.
const PATIENCE: Duration = Duration::from_secs(120);

/// The honest casts of a run, in groups whose latencies belong together.
#[derive(Clone, Debug)]
pub struct Crowd {
    pub casts: Vec<Cast>,
    pub groups: Vec<Group>,
}

/// Casts whose latencies are taken together.
#[derive(Clone, Debug)]
pub struct Group {
    pub name: &'static str,
    casts: Vec<&'static str>,
}

impl Group {
    pub fn new(name: &'static str, casts: &[&'static str]) -> Group {
        Group { name, casts: casts.to_vec() }
    }

    pub fn latency(&self, window: &Window) -> Latency {
        let mut sum = Latency::default();
        for cast in &self.casts {
            sum.add(&window.latency(cast));
        }
        sum
    }
}

/// The crowd's rooms.
pub fn rooms(size: &Size) -> Rooms {
    Rooms::new("room", size.members / ROOM_MEMBERS)
}

/// The rooms with much in them.
pub fn feed(size: &Size) -> Rooms {
    Rooms::new(FEED, if size.smoke { 1 } else { FEED_ROOMS })
}

/// Bytes a second in each of them.
pub fn feed_bytes_per_second() -> f64 {
    FEED_RATE * FEED_MESSAGE_BYTES as f64
}

impl Crowd {
    /// Rooms of 50, in each a publisher at this rate, and everybody reads.
    pub fn new(size: &Size, rate: f64) -> Crowd {
        let rooms = rooms(size);
        let publishers = rooms.count;
        let members = size.members.saturating_sub(publishers);
        Crowd {
            casts: vec![
                Cast::new("members", members, Role::member(rooms.clone())),
                Cast::new("publishers", publishers, Role::publisher(rooms, rate, MESSAGE_BYTES)),
            ],
            groups: vec![Group::new("crowd", &["members", "publishers"])],
        }
    }

    /// And rooms with much in them.
    pub fn with_feed(mut self, size: &Size) -> Crowd {
        let feed = feed(size);
        let (rooms, members) = (feed.count, if size.smoke { 3 } else { FEED_MEMBERS });
        self.casts.push(Cast::new("feed", rooms * (members - 1), Role::member(feed.clone())));
        let publisher = Role::publisher(feed, FEED_RATE, FEED_MESSAGE_BYTES);
        self.casts.push(Cast::new("feeders", rooms, publisher));
        self.groups.push(Group::new("room mates", &["feed", "feeders"]));
        self
    }

    /// And honest clients that come, stay for half a second and leave: how long do they take to come in?
    pub fn with_newcomers(mut self, count: usize, size: &Size) -> Crowd {
        let role = Role::with_habit(rooms(size), Habit::Churn { stay_ms: 500 });
        self.casts.push(Cast::new("newcomers", count, role));
        self
    }

    pub fn count(&self) -> usize {
        self.casts.iter().map(|cast| cast.count).sum()
    }

    /// Has everybody in.
    pub fn enter(&self, load: &mut Load) {
        for cast in &self.casts {
            load.begin(cast);
        }
        // Newcomers are never all in.
        let stay: Vec<_> = self.casts.iter().filter(|cast| cast.name != "newcomers").collect();
        load.until("the crowd is in", PATIENCE, |state| {
            stay.iter().all(|cast| state.open(&cast.name) == cast.count as u64)
        });
    }
}
