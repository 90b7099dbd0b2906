//! F19: one room has nearly all of the traffic.

use crate::crowd::Crowd;
use crate::finding::Round;
use crate::load::cast::{Cast, Role, Rooms};
use crate::rounds::{Fault, Title};
use crate::settings::Size;
use crate::stage::Stage;

const MEMBERS: &str = "hot";
const PUBLISHER: &str = "hot publisher";
/// Parts of all deliveries.
const SHARE: f64 = 0.9;
/// Members of it, of 5,000 in the others.
const HOT_MEMBERS: usize = 500;
/// What the others have, in parts of what they have in other faults: together it is not much more.
const QUIETER: f64 = 0.4;
const MESSAGE_BYTES: usize = 128;

pub struct HotRoom;

impl HotRoom {
    fn crowd_rate(size: &Size) -> f64 {
        size.rate * QUIETER
    }

    /// Messages a second, so that it has its share of all deliveries.
    fn rate(size: &Size) -> f64 {
        let others = size.members as f64 * Self::crowd_rate(size);
        others * SHARE / (1.0 - SHARE) / size.share(HOT_MEMBERS) as f64
    }
}

impl Fault for HotRoom {
    fn title(&self) -> Title {
        Title::new("F19", "F19", "hot room, 90 % of the traffic")
    }

    fn done(&self, size: &Size) -> String {
        let (members, rate) = (size.share(HOT_MEMBERS), Self::rate(size));
        format!(
            "a room of {members} gets {rate:.0} messages a second, the others {:.1}",
            Self::crowd_rate(size)
        )
    }

    fn ratio_goal(&self) -> f64 {
        2.0
    }

    fn crowd(&self, size: &Size) -> Crowd {
        Crowd::new(size, Self::crowd_rate(size))
    }

    fn begin(&mut self, stage: &mut Stage<'_>) {
        let (room, size) = (Rooms::new("hot", 1), stage.size);
        stage.load.begin(&Cast::new(MEMBERS, size.share(HOT_MEMBERS), Role::member(room.clone())).apart());
        let publisher = Role::publisher(room, Self::rate(size), MESSAGE_BYTES);
        stage.load.begin(&Cast::new(PUBLISHER, 1, publisher).apart());
    }

    fn end(&mut self, stage: &mut Stage<'_>, round: &Round) {
        let hot = round.fault.others.get(MEMBERS).copied().unwrap_or_default();
        let others: u64 = round.fault.groups.values().map(|group| group.count).sum();
        let share = hot.count as f64 / (hot.count + others).max(1) as f64;
        let shown = format!("{:.0} %", share * 100.0);
        // Its members come in while the window is open.
        stage.bars.figure("its part of all deliveries", share > SHARE - 0.1, shown, "about 90 %");
        // The last ones stay until everybody must have everything.
        if !stage.is_last() {
            stage.leave(&[MEMBERS, PUBLISHER]);
        }
    }

    fn casts(&self) -> Vec<&'static str> {
        vec![MEMBERS, PUBLISHER]
    }
}
