//! F1 and F2: members of rooms with much in them that read too little, or nothing.

use std::time::Duration;

use crate::crowd::{Crowd, FEED_ROOMS, feed, feed_bytes_per_second};
use crate::finding::Round;
use crate::load::cast::{Cast, Role, Slow};
use crate::machine;
use crate::rounds::{Fault, Title};
use crate::settings::Size;
use crate::stage::{PATIENCE, Stage};

const CAST: &str = "slow";
/// They never find out that they were cut, and so do not come back.
const NEVER_MS: u64 = 3_600_000;
/// Why they may be cut.
const CAUSES: [&str; 2] = ["slow_consumer_stalled", "slow_consumer_history"];
/// What the kernel may hold for one of them at its own end.
const RECEIVE_BUFFER: usize = 16 << 10;
/// What each may cost the server itself: a slot, a cursor, the frame that is half out, a Close.
const EACH_BYTES: u64 = 16 << 10;
/// What the rooms' windows may grow by, and an allocator's steps.
const WINDOWS_BYTES: u64 = (FEED_ROOMS as u64 + 3) << 20;
/// Of a delivery to the honest.
const MAX_MS: f64 = 250.0;
const LATE: Duration = Duration::from_secs(1);

/// So many percent of the members' number come, and read so little.
pub struct SlowReaders {
    title: Title,
    percent: usize,
    bytes_per_second: u32,
    first_cut: Option<Duration>,
    last_cut: Option<Duration>,
}

impl SlowReaders {
    pub fn new(
        number: &'static str,
        key: &'static str,
        percent: usize,
        bytes_per_second: u32,
    ) -> SlowReaders {
        let what = match bytes_per_second {
            0 => "members that never read".to_owned(),
            _ => format!("slow readers, {bytes_per_second} B/s"),
        };
        let title = Title::new(number, key, format!("{what}, {percent} % of N"));
        SlowReaders { title, percent, bytes_per_second, first_cut: None, last_cut: None }
    }

    fn count(&self, size: &Size) -> usize {
        (size.members * self.percent / 100).max(1)
    }

    /// How long it takes until their buffers are full, at most.
    fn filled(size: &Size) -> Duration {
        // The kernel doubles what is asked for.
        let bytes = 2 * size.send_buffer + RECEIVE_BUFFER;
        Duration::from_secs_f64(bytes as f64 / feed_bytes_per_second())
    }
}

impl Fault for SlowReaders {
    fn title(&self) -> Title {
        self.title.clone()
    }

    fn done(&self, size: &Size) -> String {
        let (count, timeout) = (self.count(size), size.deadlines.write_timeout);
        let feed = feed_bytes_per_second() / 1024.0;
        format!(
            "{count} join {FEED_ROOMS} rooms of {feed:.0} KiB/s and read {} B/s until they are cut \
             (--write-timeout {timeout:?})",
            self.bytes_per_second
        )
    }

    fn crowd(&self, size: &Size) -> Crowd {
        Crowd::new(size, size.rate).with_feed(size)
    }

    fn window(&self, size: &Size) -> Duration {
        // Small, nobody looks at when they are cut.
        let cut = Self::filled(size) + size.deadlines.write_timeout + LATE * 2;
        if size.smoke { size.window } else { size.window.max(cut) }
    }

    fn begin(&mut self, stage: &mut Stage<'_>) {
        (self.first_cut, self.last_cut) = (None, None);
        let slow = Slow {
            rooms: feed(stage.size),
            bytes_per_second: self.bytes_per_second,
            look_ms: NEVER_MS,
            looks_max: u32::MAX,
        };
        stage.enter(&Cast::new(CAST, self.count(stage.size), Role::Slow(slow)).apart());
        stage.mark();
    }

    fn watch(&mut self, stage: &mut Stage<'_>) {
        let cut = stage.ended(&CAUSES);
        if cut > 0 && self.first_cut.is_none() {
            self.first_cut = Some(stage.since_mark());
        }
        if cut >= self.count(stage.size) as u64 && self.last_cut.is_none() {
            self.last_cut = Some(stage.since_mark());
        }
    }

    fn end(&mut self, stage: &mut Stage<'_>, round: &Round) {
        let count = self.count(stage.size) as u64;
        let patience = stage.load.now() + PATIENCE;
        while stage.ended(&CAUSES) < count && stage.load.now() < patience && !stage.load.is_interrupted() {
            stage.pass(Duration::from_millis(100), |_| {});
        }
        let cut = stage.ended(&CAUSES);
        stage.bars.must("each of them is cut as a slow consumer", cut == count, cut, count);
        let timeout = stage.size.deadlines.write_timeout;
        let latest = timeout + Self::filled(stage.size) + LATE;
        let (first, last) = (self.first_cut, self.last_cut);
        let is_early = first.is_some_and(|first| first < timeout.saturating_sub(LATE));
        let seen =
            |cut: Option<Duration>| cut.map_or("not in the window".to_owned(), |cut| format!("{cut:.1?}"));
        stage.bars.figure("first cut after", !is_early, seen(first), format!("≥ {timeout:?} ± 1 s"));
        let in_time = last.is_some_and(|last| last <= latest);
        stage.bars.figure("last cut after", in_time, seen(last), format!("≤ {latest:.1?}"));
        let growth = stage.growth();
        let cap = WINDOWS_BYTES + count * EACH_BYTES;
        let bound = format!("≤ {} KiB: windows and 16 KiB each", cap >> 10);
        stage.bars.must("growth of the server's memory, KiB", growth <= cap, growth >> 10, bound);
        let (tcp, pressure) = (stage.tcp_peak() >> 20, machine::tcp_pressure_bytes() >> 20);
        stage.bars.figure(
            "TCP memory of the machine, MiB",
            tcp < pressure,
            tcp,
            format!("< {pressure}, tcp_mem"),
        );
        for (group, latency) in &round.fault.groups {
            stage.bars.at_most(&format!("longest delivery to the {group}"), latency.max_ms, MAX_MS, "ms");
        }
        stage.leave(&[CAST]);
    }

    fn casts(&self) -> Vec<&'static str> {
        vec![CAST]
    }
}
