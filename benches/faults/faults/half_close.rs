//! F4: members that end their direction of the stream and wait for the server to end the other.

use std::time::Duration;

use crate::crowd::rooms;
use crate::finding::Round;
use crate::load::cast::{Cast, Role};
use crate::rounds::{Fault, Title};
use crate::settings::Size;
use crate::stage::Stage;

const CAST: &str = "half-closing";
const STAY_MS: u64 = 1_000;
/// What the server may take.
const ENDED_WITHIN: Duration = Duration::from_secs(5);

pub struct HalfCloses;

impl Fault for HalfCloses {
    fn title(&self) -> Title {
        Title::new("F4", "F4", "half-close by the client")
    }

    fn done(&self, size: &Size) -> String {
        format!(
            "{} join, end their direction after about {STAY_MS} ms, wait, and come back",
            size.share(1_000)
        )
    }

    fn begin(&mut self, stage: &mut Stage<'_>) {
        // Far longer than the goal: what is slow is a figure, what is stuck is wrong.
        let patience_ms = 6 * ENDED_WITHIN.as_millis() as u64;
        let role = Role::HalfClose { rooms: rooms(stage.size), stay_ms: STAY_MS, patience_ms };
        stage.load.begin(&Cast::new(CAST, stage.size.share(1_000), role).apart());
    }

    fn end(&mut self, stage: &mut Stage<'_>, round: &Round) {
        let waited = round.fault.others.get(CAST).copied().unwrap_or_default();
        let seconds = waited.max_ms / 1e3;
        stage.bars.must(
            "half-closes answered by the end of the stream",
            waited.count > 0,
            waited.count,
            "> 0",
        );
        stage.bars.at_most("the server ends its direction within", seconds, ENDED_WITHIN.as_secs_f64(), "s");
        let took = stage.leave(&[CAST]);
        stage.bars.at_most("descriptors are back after", took.as_secs_f64(), ENDED_WITHIN.as_secs_f64(), "s");
    }

    fn casts(&self) -> Vec<&'static str> {
        vec![CAST]
    }
}
