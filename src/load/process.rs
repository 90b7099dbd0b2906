//! What the kernel says a process has used: processor time and memory (`/proc`, see proc(5)).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Ticks a second in what the kernel shows, on every machine.
const USER_HZ: f64 = 100.0;

/// What a process had used at one time.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    user_s: f64,
    system_s: f64,
    threads: BTreeMap<String, ThreadTime>,
    /// Resident memory in bytes.
    pub rss_bytes: u64,
}

/// What a thread had used at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ThreadTime {
    /// Seconds on a processor.
    pub ran_s: f64,
    /// Seconds ready to run while others had the processor.
    pub waited_s: f64,
}

/// What a process used in a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spent {
    /// Seconds in its own code.
    pub user_s: f64,
    /// Seconds in the kernel.
    pub system_s: f64,
    /// The part of the time for which its busiest thread ran or wanted to.
    pub busy: f64,
}

impl Usage {
    /// What the process of this number has used so far.
    ///
    /// # Errors
    ///
    /// When there is no such process, or none any more that does anything.
    pub fn of_process(pid: u32) -> io::Result<Usage> {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let (user_s, system_s) = times(&fs::read_to_string(folder.join("stat"))?)?;
        let rss_bytes = rss_bytes(&fs::read_to_string(folder.join("status"))?).ok_or_else(ended)?;
        let mut threads = BTreeMap::new();
        for task in fs::read_dir(folder.join("task"))?.flatten() {
            // It may end meanwhile, and some kernels do not count so finely.
            if let Ok(time) = ThreadTime::read(&task.path()) {
                threads.insert(task.file_name().to_string_lossy().into_owned(), time);
            }
        }
        Ok(Usage { user_s, system_s, threads, rss_bytes })
    }

    /// What was used from `earlier` on, in `seconds`.
    pub fn since(&self, earlier: &Usage, seconds: f64) -> Spent {
        let (user_s, system_s) = (self.user_s - earlier.user_s, self.system_s - earlier.system_s);
        let mut fine_s = 0.0;
        let mut busy: f64 = 0.0;
        for (id, time) in &self.threads {
            let before = earlier.threads.get(id).copied().unwrap_or_default();
            fine_s += time.ran_s - before.ran_s;
            busy = busy.max((time.total_s() - before.total_s()) / seconds);
        }
        let coarse_s = user_s + system_s;
        let all_there = earlier.threads.keys().all(|id| self.threads.contains_key(id));
        if fine_s <= 0.0 || !all_there || coarse_s <= 0.0 {
            let busy = if fine_s <= 0.0 { coarse_s / seconds } else { busy };
            return Spent { user_s, system_s, busy };
        }
        // The ticks say in which proportion, the scheduler how much.
        Spent { user_s: fine_s * user_s / coarse_s, system_s: fine_s * system_s / coarse_s, busy }
    }
}

impl ThreadTime {
    /// What the calling thread has used so far; nothing where the kernel does not say.
    pub fn of_this_thread() -> ThreadTime {
        ThreadTime::read(Path::new("/proc/thread-self")).unwrap_or_default()
    }

    fn read(folder: &Path) -> io::Result<ThreadTime> {
        let text = fs::read_to_string(folder.join("schedstat"))?;
        let mut seconds = text.split_whitespace().map(|field| field.parse::<f64>().map(|ns| ns / 1e9));
        match (seconds.next(), seconds.next()) {
            (Some(Ok(ran_s)), Some(Ok(waited_s))) => Ok(ThreadTime { ran_s, waited_s }),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn total_s(self) -> f64 {
        self.ran_s + self.waited_s
    }

    /// What was used from `earlier` on.
    pub fn since(self, earlier: ThreadTime) -> ThreadTime {
        ThreadTime { ran_s: self.ran_s - earlier.ran_s, waited_s: self.waited_s - earlier.waited_s }
    }
}

/// User and system seconds: the twelfth and thirteenth field behind the name, which is in parentheses.
fn times(stat: &str) -> io::Result<(f64, f64)> {
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let mut seconds =
        fields.split(' ').skip(11).map(|field| field.parse::<f64>().map(|ticks| ticks / USER_HZ));
    match (seconds.next(), seconds.next()) {
        (Some(Ok(user)), Some(Ok(system))) => Ok((user, system)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Nothing of a process that has ended and is still listed: it has given its memory back before it closed its
/// sockets.
fn rss_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "it has no memory: it has ended, or is the kernel's")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(user_s: f64, system_s: f64, threads: &[(&str, f64, f64)]) -> Usage {
        let time = |(id, ran_s, waited_s): &(&str, f64, f64)| {
            ((*id).to_owned(), ThreadTime { ran_s: *ran_s, waited_s: *waited_s })
        };
        Usage { user_s, system_s, threads: threads.iter().map(time).collect(), rss_bytes: 0 }
    }

    #[test]
    fn the_fields_are_found_whatever_the_name_is() {
        let stat = "12 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 150 250 0 0 20 0 1 0";
        assert_eq!(times(stat).unwrap(), (1.5, 2.5));
        assert!(times("12 (a").is_err());
        assert_eq!(rss_bytes("Name:\ta\nVmRSS:\t   1024 kB\n"), Some(1 << 20));
        assert_eq!(rss_bytes("Name:\ta\nState:\tZ (zombie)\n"), None);
    }

    #[test]
    fn the_scheduler_says_how_much_and_the_ticks_in_which_proportion() {
        let before = usage(1.0, 3.0, &[("1", 4.0, 0.0)]);
        let after = usage(2.0, 6.0, &[("1", 6.0, 0.5), ("2", 2.4, 0.0)]);
        let spent = after.since(&before, 5.0);
        assert!((spent.user_s - 1.1).abs() < 1e-9 && (spent.system_s - 3.3).abs() < 1e-9, "{spent:?}");
        assert!((spent.busy - 0.5).abs() < 1e-9, "{spent:?}");
    }

    #[test]
    fn without_the_scheduler_or_a_thread_that_was_there_the_ticks_count() {
        let spent = usage(2.0, 6.0, &[]).since(&usage(1.0, 3.0, &[]), 5.0);
        assert_eq!(spent, Spent { user_s: 1.0, system_s: 3.0, busy: 0.8 });
        let before = usage(1.0, 3.0, &[("1", 1.0, 0.0), ("2", 3.0, 0.0)]);
        let spent = usage(2.0, 6.0, &[("1", 2.0, 0.0)]).since(&before, 5.0);
        assert_eq!((spent.user_s, spent.system_s), (1.0, 3.0));
    }

    #[test]
    fn this_process_has_memory_and_threads_and_no_other_has_this_number() {
        let usage = Usage::of_process(std::process::id()).unwrap();
        assert!(usage.rss_bytes > 0);
        assert!(Usage::of_process(u32::MAX).is_err());
    }
}
