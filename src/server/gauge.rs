//! How much of its memory and of its descriptors the process has in use. The acceptor's thread asks, about once a
//! second.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::trim::Trimmer;
use crate::config::Config;
use crate::time::Time;

/// Between two counts of descriptors where the kernel does not give it at once (before Linux 6.2).
const COUNT_INTERVAL: Duration = Duration::from_secs(10);

/// How much memory there may be in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLimit {
    /// What the control groups of the process allow (cgroup v2: `MemoryMax=`, `MemoryHigh=`), against all that counts
    /// for them but for cached files: sockets, too. Where they allow everything, the memory of the machine.
    Auto,
    /// So many bytes of resident memory.
    Bytes(u64),
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MemoryLimit::Auto => f.write_str("auto"),
            MemoryLimit::Bytes(bytes) => bytes.fmt(f),
        }
    }
}

/// How much of something is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// What is in use: bytes, or descriptors.
    pub used: u64,
    /// What there may be.
    pub limit: u64,
}

impl Level {
    /// How much more than so many percent of the limit is in use.
    pub fn excess(self, percent: u8) -> u64 {
        let allowed = u128::from(self.limit) * u128::from(percent) / 100;
        self.used.saturating_sub(u64::try_from(allowed).unwrap_or(u64::MAX))
    }
}

/// Looks at what is in use.
pub trait Gauge: fmt::Debug + Send {
    /// Memory in bytes; `None` if it cannot be seen now.
    fn memory(&mut self, limit: MemoryLimit) -> Option<Level>;

    /// Descriptors; `None` if they cannot be seen now.
    fn descriptors(&mut self, now: Time) -> Option<Level>;

    /// Has memory that nobody holds given back to the kernel, at most once a second. Returns whether what
    /// [`Gauge::memory`] shows may still become less by it soon.
    fn give_back(&mut self, now: Time) -> bool;
}

/// The gauge of the operating system.
#[derive(Debug)]
pub struct SystemGauge {
    descriptors_max: u64,
    groups: Option<ControlGroups>,
    /// When they were counted last, where that has to be done.
    counted: Option<Time>,
    trimmer: Trimmer,
}

impl SystemGauge {
    /// One for a process that may have so many descriptors.
    pub fn new(descriptors_max: u64) -> SystemGauge {
        let groups = fs::read_to_string("/proc/self/cgroup").ok();
        let groups = groups.and_then(|list| ControlGroups::new(Path::new("/sys/fs/cgroup"), &list));
        SystemGauge { descriptors_max, groups, counted: None, trimmer: Trimmer::default() }
    }

    /// Counts descriptors one by one, if it is time. An old count is none: connections have come and gone since.
    fn count(&mut self, now: Time) -> Option<u64> {
        if self.counted.is_some_and(|at| now.since(at) < COUNT_INTERVAL) {
            return None;
        }
        // The one that the listing itself takes is in it.
        let count = (fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1);
        self.counted = Some(now);
        Some(count)
    }
}

impl Gauge for SystemGauge {
    fn memory(&mut self, limit: MemoryLimit) -> Option<Level> {
        match limit {
            MemoryLimit::Bytes(limit) => Some(Level { used: resident_bytes()?, limit }),
            MemoryLimit::Auto => self
                .groups
                .as_ref()
                .and_then(ControlGroups::memory)
                .or_else(|| Some(Level { used: resident_bytes()?, limit: machine_bytes() })),
        }
    }

    fn descriptors(&mut self, now: Time) -> Option<Level> {
        let at_once = fs::metadata("/proc/self/fd").ok()?.len();
        let used = if at_once > 0 { at_once } else { self.count(now)? };
        Some(Level { used, limit: self.descriptors_max })
    }

    fn give_back(&mut self, now: Time) -> bool {
        self.trimmer.trim(now)
    }
}

/// Says so if histories alone may use up the memory, over which nobody is let in.
pub(super) fn warn_of_histories(config: &Config, gauge: &mut impl Gauge) {
    let Some(Level { limit, .. }) = gauge.memory(config.memory_limit) else { return };
    let histories = Level { used: config.history_memory as u64, limit };
    if histories.excess(config.shed_at_percent) > 0 {
        tracing::warn!(
            "--history-memory {} may use up the memory of {limit} bytes: nobody is let in then (--memory-limit)",
            config.history_memory
        );
    }
}

/// Bytes of the process that are in memory, as the kernel counts them; a little behind.
fn resident_bytes() -> Option<u64> {
    let pages = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = pages.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn machine_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    (info.totalram as u64).saturating_mul(u64::from(info.mem_unit))
}

/// The control group of the process, and those around it.
#[derive(Debug)]
struct ControlGroups {
    root: PathBuf,
    own: PathBuf,
}

impl ControlGroups {
    /// From the list in `/proc/self/cgroup`; the second version is the line without a controller.
    fn new(root: &Path, list: &str) -> Option<ControlGroups> {
        let own = list.lines().find_map(|line| line.strip_prefix("0::/"))?;
        Some(ControlGroups { root: root.to_owned(), own: root.join(own) })
    }

    /// The memory of the group that has the lowest limit.
    fn memory(&self) -> Option<Level> {
        let mut lowest: Option<(u64, &Path)> = None;
        for group in self.own.ancestors().take_while(|group| group.starts_with(&self.root)) {
            let limits = ["memory.max", "memory.high"].map(|name| number(&group.join(name)));
            let limit = limits.into_iter().flatten().min();
            lowest =
                limit.map(|limit| (limit, group)).into_iter().chain(lowest).min_by_key(|(limit, _)| *limit);
        }
        let (limit, group) = lowest?;
        let used = number(&group.join("memory.current"))?;
        Some(Level { used: used.saturating_sub(cached_bytes(group)), limit })
    }
}

/// A file of one number; "max" is none.
fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Files that nobody has used lately: the kernel takes their memory back before it kills anybody.
fn cached_bytes(group: &Path) -> u64 {
    let statistics = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let value = statistics.lines().find_map(|line| line.strip_prefix("inactive_file "));
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// What was in use at the latest look, readable from any thread.
#[derive(Clone, Debug, Default)]
pub struct Usage(Arc<[AtomicU64; 4]>);

impl Usage {
    /// Memory in bytes, if it was seen.
    pub fn memory(&self) -> Option<Level> {
        self.level(0)
    }

    /// Descriptors, if they were seen.
    pub fn descriptors(&self) -> Option<Level> {
        self.level(2)
    }

    pub(super) fn publish(&self, memory: Option<Level>, descriptors: Option<Level>) {
        let cells = self.0.chunks(2);
        for (cells, level) in cells.zip([memory, descriptors]) {
            if let (Some(level), [used, limit]) = (level, cells) {
                used.store(level.used, Ordering::Relaxed);
                limit.store(level.limit, Ordering::Relaxed);
            }
        }
    }

    fn level(&self, at: usize) -> Option<Level> {
        let [used, limit] = [at, at + 1].map(|at| self.0[at].load(Ordering::Relaxed));
        (limit > 0).then_some(Level { used, limit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_excess_begins_behind_the_last_that_is_allowed() {
        for (used, limit, percent, excess) in [
            (94, 100, 95, 0),
            (95, 100, 95, 0),
            (96, 100, 95, 1),
            (19_000, 20_000, 95, 0),
            (19_001, 20_000, 95, 1),
            (18, 19, 95, 0),
            (19, 19, 95, 1),
            (20_000, 20_000, 100, 0),
            (u64::MAX, u64::MAX, 100, 0),
            (u64::MAX, 0, 50, u64::MAX),
        ] {
            assert_eq!(Level { used, limit }.excess(percent), excess, "{used} of {limit} at {percent} %");
        }
    }

    #[test]
    fn levels_are_read_as_they_were_published_and_are_unknown_before() {
        let usage = Usage::default();
        assert_eq!((usage.memory(), usage.descriptors()), (None, None));
        let level = |used| Some(Level { used, limit: 100 });
        usage.publish(level(1), level(2));
        usage.publish(None, level(3));
        assert_eq!((usage.memory(), usage.descriptors()), (level(1), level(3)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory_and_descriptors_in_use() {
        let mut gauge = SystemGauge::new(1000);
        let machine = gauge.memory(MemoryLimit::Auto).unwrap();
        assert!(machine.used > 0 && machine.limit > 100 << 20, "{machine:?}");
        let held = vec![1u8; 64 << 20];
        let resident = gauge.memory(MemoryLimit::Bytes(7)).unwrap();
        assert!(resident.used > held.len() as u64 && resident.limit == 7, "{resident:?}");
        let count = |time| gauge_count(&mut SystemGauge::new(1000), time);
        let before = count(Time::ZERO);
        let open: Vec<fs::File> = (0..100).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        // Other tests of this process open and close some, too.
        assert!(count(Time::ZERO) + 50 > before + open.len() as u64);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_old_count_of_descriptors_is_not_passed_off_as_a_new_one() {
        let mut gauge = SystemGauge::new(1000);
        let at = |milliseconds| Time::ZERO + Duration::from_millis(milliseconds);
        assert!(gauge.count(at(0)).is_some_and(|count| count > 0));
        assert_eq!([gauge.count(at(1000)), gauge.count(at(9999))], [None, None]);
        assert!(gauge.count(at(10_000)).is_some_and(|count| count > 0));
    }

    #[cfg(target_os = "linux")]
    fn gauge_count(gauge: &mut SystemGauge, now: Time) -> u64 {
        let level = gauge.descriptors(now).unwrap();
        assert_eq!(level.limit, 1000);
        level.used
    }

    /// A tree of control groups in a folder that is removed at the end.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str, files: &[(&str, &str)]) -> Tree {
            let root = std::env::temp_dir().join(format!("fanfare-{}-{name}", std::process::id()));
            for (file, content) in files {
                let file = root.join(file);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, content).unwrap();
            }
            Tree(root)
        }

        fn memory(&self, list: &str) -> Option<Level> {
            ControlGroups::new(&self.0, list)?.memory()
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_lowest_limit_of_all_groups_around_counts_without_cached_files() {
        let tree = Tree::new(
            "groups",
            &[
                ("system.slice/memory.max", "1000\n"),
                ("system.slice/memory.high", "max\n"),
                ("system.slice/memory.current", "900\n"),
                ("system.slice/memory.stat", "anon 5\ninactive_file 300\nfile 1\n"),
                ("system.slice/fanfare.service/memory.max", "max\n"),
                ("system.slice/fanfare.service/memory.high", "2000\n"),
                ("system.slice/fanfare.service/memory.current", "400\n"),
                ("system.slice/tight.service/memory.max", "500\n"),
                ("system.slice/tight.service/memory.high", "450\n"),
                ("system.slice/tight.service/memory.current", "400\n"),
                ("free/memory.max", "max\n"),
            ],
        );
        let level = |used, limit| Some(Level { used, limit });
        assert_eq!(tree.memory("0::/system.slice/fanfare.service\n"), level(600, 1000));
        assert_eq!(tree.memory("4:memory:/x\n0::/system.slice/tight.service\n"), level(400, 450));
        assert_eq!(tree.memory("0::/free\n"), None, "nothing is limited");
        assert_eq!(tree.memory("0::/\n"), None);
        assert_eq!(tree.memory("4:memory:/system.slice\n"), None, "the first version");
    }
}
