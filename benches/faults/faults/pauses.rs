//! F3: members of rooms with much in them that stop reading in the middle of it, and read on before they
//! would be cut.

use std::time::Duration;

use crate::crowd::{Crowd, FEED_ROOMS, feed, feed_bytes_per_second};
use crate::finding::Round;
use crate::load::Setup;
use crate::load::cast::{Cast, Habit, Role};
use crate::rounds::{Fault, Title};
use crate::settings::{Deadlines, Size, set_flag};
use crate::stage::Stage;

const CAST: &str = "pausing";
/// How long they read before they stop, on the average.
const READING_MS: u64 = 1_500;
/// How much shorter the pause is than the time after which they are cut.
const SPARE: f64 = 0.9;

pub struct Pauses;

impl Pauses {
    fn pause(size: &Size) -> Duration {
        // Small, it is not about being nearly cut.
        let part = if size.smoke { SPARE / 10.0 } else { SPARE };
        Deadlines::DEFAULT.write_timeout.mul_f64(part)
    }
}

impl Fault for Pauses {
    fn title(&self) -> Title {
        Title::new("F3", "F3", "reads stop and resume at 9 s, 10 % of N")
    }

    fn done(&self, size: &Size) -> String {
        let (count, pause) = (size.members / 10, Self::pause(size));
        let feed = feed_bytes_per_second() / 1024.0;
        format!(
            "{count} members of {FEED_ROOMS} rooms of {feed:.0} KiB/s stop reading for {pause:?}, then read on"
        )
    }

    fn crowd(&self, size: &Size) -> Crowd {
        Crowd::new(size, size.rate).with_feed(size)
    }

    fn set_up(&self, _: &Size, setup: &mut Setup) {
        let timeout = format!("{}s", Deadlines::DEFAULT.write_timeout.as_secs());
        set_flag(&mut setup.flags, "--write-timeout", &timeout);
    }

    fn window(&self, size: &Size) -> Duration {
        // The last begins to pause after one and a half of the time, and has then much to catch up on.
        size.window.max(Self::pause(size) + Duration::from_millis(READING_MS * 3 / 2 + 1_500))
    }

    fn begin(&mut self, stage: &mut Stage<'_>) {
        let for_ms = Self::pause(stage.size).as_millis() as u64;
        let role = Role::with_habit(feed(stage.size), Habit::Pause { every_ms: READING_MS, for_ms });
        stage.enter(&Cast::new(CAST, (stage.size.members / 10).max(1), role).apart());
    }

    fn end(&mut self, stage: &mut Stage<'_>, _: &Round) {
        let cut = stage.ended(&["slow_consumer_stalled", "slow_consumer_history", "heartbeat_timeout"]);
        stage.bars.must("none of them is cut", cut == 0, cut, 0);
        // Their buffers are full: the server is in the middle of what it sends them.
        let count = (stage.size.members / 10).max(1);
        let full = (count * stage.size.send_buffer) as f64 / f64::from(1 << 20);
        let grown = stage.tcp_growth() as f64 / f64::from(1 << 20);
        stage.bars.strength("MiB that wait in the kernel for them", grown, full);
        // The last ones stay until everybody must have everything.
        if !stage.is_last() {
            stage.leave(&[CAST]);
        }
    }

    fn casts(&self) -> Vec<&'static str> {
        vec![CAST]
    }
}
