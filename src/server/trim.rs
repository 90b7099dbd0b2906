//! Has the allocator give memory that is free back to the kernel: glibc keeps what was freed, so that without this a
//! process that once had its memory in use would look as if it had it in use for ever.

use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crate::time::Time;

/// Between two trims. One takes some 15 ms of a processor for 100 MiB that are given back.
const TRIM_INTERVAL: Duration = Duration::from_secs(1);

/// Trims on a thread of its own, which ends with the trim, so that nobody waits for it.
#[derive(Debug, Default)]
pub struct Trimmer {
    began: Option<Time>,
    running: Option<JoinHandle<()>>,
}

impl Trimmer {
    /// Begins to trim if it is time. Returns whether what is measured now may still become less by it, which
    /// it is for a second at most.
    pub fn trim(&mut self, now: Time) -> bool {
        let is_running = self.running.as_ref().is_some_and(|thread| !thread.is_finished());
        let is_young = self.began.is_some_and(|began| now.since(began) < TRIM_INTERVAL);
        if is_running || is_young {
            return is_running && is_young;
        }
        self.began = Some(now);
        // Without a thread for it, things are as they are measured.
        self.running = Builder::new().name("fanfare-trim".to_owned()).spawn(give_back).ok();
        self.running.is_some()
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
fn give_back() {
    // SAFETY: it takes a number and no pointer, gives back only what nobody holds, and takes the locks of the
    // allocator itself: malloc(3) and malloc_trim(3) have it safe among threads.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other allocators give back by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(trimmer: &mut Trimmer) {
        trimmer.running.take().expect("it runs, or has").join().expect("nothing panics there");
    }

    #[test]
    fn it_trims_once_a_second_and_what_is_measured_behind_it_counts() {
        let mut trimmer = Trimmer::default();
        let at = |milliseconds| Time::ZERO + Duration::from_millis(milliseconds);
        assert!(trimmer.trim(at(5)));
        end(&mut trimmer);
        assert!(!trimmer.trim(at(6)) && !trimmer.trim(at(1004)));
        assert!(trimmer.running.is_none(), "not again within the second");
        assert!(trimmer.trim(at(1005)));
        end(&mut trimmer);
    }

    #[test]
    fn one_that_takes_long_is_waited_for_no_longer_than_a_second_and_stays_the_only_one() {
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let running = std::thread::spawn(move || {
            // Until the sender is gone.
            let _ = wait.recv();
        });
        let mut trimmer = Trimmer { began: Some(Time::ZERO), running: Some(running) };
        let after = |milliseconds| Time::ZERO + Duration::from_millis(milliseconds);
        assert!(trimmer.trim(after(999)));
        assert!(!trimmer.trim(after(1000)));
        assert_eq!(trimmer.began, Some(Time::ZERO), "no other began");
        drop(release);
        end(&mut trimmer);
        assert!(trimmer.trim(after(1001)), "the next");
        end(&mut trimmer);
    }
}
