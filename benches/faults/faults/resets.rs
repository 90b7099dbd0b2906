//! F5: as many members again, and all of them reset their connections at once, during the broadcasts.

use crate::crowd::rooms;
use crate::finding::Round;
use crate::load::cast::{Cast, Role};
use crate::rounds::{Fault, Title};
use crate::settings::Size;
use crate::stage::Stage;

const CAST: &str = "storm";
const BACK_WITHIN_SECONDS: f64 = 1.0;

pub struct Resets;

impl Fault for Resets {
    fn title(&self) -> Title {
        Title::new("F5", "F5", "reset storm")
    }

    fn done(&self, size: &Size) -> String {
        format!("{} further members of the same rooms are reset at once", size.share(5_000))
    }

    fn ratio_goal(&self) -> f64 {
        2.0
    }

    fn prepare(&mut self, stage: &mut Stage<'_>) {
        let role = Role::Storm { rooms: rooms(stage.size) };
        stage.enter(&Cast::new(CAST, stage.size.share(5_000), role).apart());
        stage.pass(stage.size.warm_up / 2, |_| {});
    }

    fn begin(&mut self, stage: &mut Stage<'_>) {
        let took = stage.leave(&[CAST]).as_secs_f64();
        stage.bars.at_most("descriptors are back after", took, BACK_WITHIN_SECONDS, "s");
    }

    fn end(&mut self, stage: &mut Stage<'_>, _: &Round) {
        let count = stage.size.share(5_000) * (stage.round + 1);
        let reset = stage.load.state.count(CAST, "reset");
        stage.bars.must("all of them were members when they were reset", reset == count as u64, reset, count);
    }

    fn casts(&self) -> Vec<&'static str> {
        vec![CAST]
    }
}
