//! The limit of open descriptors, and how many connections fit into it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::StartError;
use super::acceptor::REFUSALS_MAX;

/// Descriptors kept for the process itself: standard streams, log, listeners, the reserve of the
/// acceptor, and what an embedder has open.
const PROCESS_DESCRIPTORS: usize = 64;
/// The poller of a worker: epoll, eventfd, timerfd; and the eventfd that wakes it.
const DESCRIPTORS_PER_WORKER: usize = 4;
/// What is open in any case beside that: standard streams, a listener, the reserve of the acceptor.
const ALWAYS_OPEN: usize = 5;
/// The default never asks for more than this, however many descriptors there are.
const DEFAULT_CONNECTIONS_MAX: usize = 1_000_000;

/// Raises the soft limit to the hard one and returns what it is then.
pub fn raise_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current.unwrap_or(u64::MAX);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum.unwrap_or(u64::MAX),
        Err(error) => {
            tracing::warn!(%error, "the descriptor limit could not be raised");
            current.unwrap_or(u64::MAX)
        }
    }
}

/// What a server takes beside the descriptors of its connections.
pub fn kept(workers: usize) -> usize {
    DESCRIPTORS_PER_WORKER * (workers + 1) + REFUSALS_MAX
}

/// The most connections at a time: what was asked for, or what the descriptors allow. `others` are kept for
/// other servers of this process.
pub fn max_connections(
    asked: Option<usize>,
    descriptors: u64,
    workers: usize,
    others: usize,
    shed_at_percent: u8,
) -> Result<usize, StartError> {
    let kept = PROCESS_DESCRIPTORS + kept(workers) + others;
    let allowed = usize::try_from(descriptors).unwrap_or(usize::MAX).saturating_sub(kept);
    match asked {
        Some(asked) if asked > allowed => Err(StartError::Descriptors { asked, limit: descriptors, allowed }),
        Some(asked) => Ok(asked),
        None => {
            let reachable = reachable(descriptors, workers, shed_at_percent);
            Ok(allowed.min(reachable).clamp(1, DEFAULT_CONNECTIONS_MAX))
        }
    }
}

/// Connections beside which no other is let in for want of descriptors, if nothing else of the process is open than
/// what has to be. More are open in truth: whoever is turned away here has slow consumers make place, other than
/// one who finds `--max-connections` taken.
fn reachable(descriptors: u64, workers: usize, shed_at_percent: u8) -> usize {
    let used = u128::from(descriptors) * u128::from(shed_at_percent) / 100;
    let used = usize::try_from(used).unwrap_or(usize::MAX);
    used.saturating_sub(DESCRIPTORS_PER_WORKER * (workers + 1) + ALWAYS_OPEN)
}

/// What is to be said of more connections than are let in.
pub fn unreachable_note(
    max_connections: usize,
    descriptors: u64,
    workers: usize,
    shed_at_percent: u8,
) -> Option<String> {
    let reachable = reachable(descriptors, workers, shed_at_percent);
    (max_connections > reachable).then(|| {
        format!(
            "--max-connections {max_connections}: beside {reachable} nobody is let in, at {shed_at_percent} % \
             (--shed-at-percent) of {descriptors} descriptors; raise those with ulimit -n or LimitNOFILE="
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_follows_the_limit_and_leaves_a_reserve() {
        let kept = 64 + 3 * 4 + 32;
        assert_eq!(max_connections(None, 20_000, 2, 0, 100).unwrap(), 20_000 - kept);
        assert_eq!(max_connections(None, 20_000, 2, 100, 100).unwrap(), 20_000 - kept - 100);
        assert_eq!(max_connections(None, u64::MAX, 2, 0, 100).unwrap(), DEFAULT_CONNECTIONS_MAX);
        assert_eq!(max_connections(None, 20_000, 2, 0, 95).unwrap(), 19_000 - 3 * 4 - 5);
        assert_eq!(max_connections(None, 1000, 2, 100, 95).unwrap(), 1000 - kept - 100);
        assert_eq!(max_connections(None, 10, 2, 0, 50).unwrap(), 1);
    }

    #[test]
    fn more_than_are_let_in_is_worth_a_note_and_the_default_never_is() {
        let most = 19_000 - 3 * 4 - 5;
        for (asked, noted) in [(most - 1, false), (most, false), (most + 1, true)] {
            assert_eq!(unreachable_note(asked, 20_000, 2, 95).is_some(), noted, "{asked}");
        }
        let note = unreachable_note(19_500, 20_000, 2, 95).unwrap();
        assert!(note.contains("--max-connections 19500") && note.contains(&most.to_string()), "{note}");
        for descriptors in [1024, 20_000, 1 << 20, u64::MAX] {
            let default = max_connections(None, descriptors, 2, 0, 95).unwrap();
            assert_eq!(unreachable_note(default, descriptors, 2, 95), None);
        }
    }

    #[test]
    fn more_than_fits_is_an_error_that_says_how_many_fit() {
        let fits = max_connections(None, 1024, 1, 0, 100).unwrap();
        for (asked, ok) in [(fits - 1, true), (fits, true), (fits + 1, false)] {
            assert_eq!(max_connections(Some(asked), 1024, 1, 0, 95).is_ok(), ok, "{asked}");
        }
        let error = max_connections(Some(5000), 1024, 1, 0, 95).unwrap_err().to_string();
        assert!(error.contains("--max-connections 5000") && error.contains(&fits.to_string()), "{error}");
    }
}
