//! The limit of open descriptors, and how many connections fit into it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::StartError;
use super::acceptor::REFUSALS_MAX;

/// Descriptors kept for the process itself: standard streams, log, listeners, the reserve of the
/// acceptor, and what an embedder has open.
const PROCESS_DESCRIPTORS: usize = 64;
/// The poller of a worker: epoll, eventfd, timerfd; and the eventfd that wakes it.
const DESCRIPTORS_PER_WORKER: usize = 4;
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
) -> Result<usize, StartError> {
    let kept = PROCESS_DESCRIPTORS + kept(workers) + others;
    let allowed = usize::try_from(descriptors).unwrap_or(usize::MAX).saturating_sub(kept);
    match asked {
        Some(asked) if asked > allowed => Err(StartError::Descriptors { asked, limit: descriptors, allowed }),
        Some(asked) => Ok(asked),
        None => Ok(allowed.clamp(1, DEFAULT_CONNECTIONS_MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_follows_the_limit_and_leaves_a_reserve() {
        let kept = 64 + 3 * 4 + 32;
        assert_eq!(max_connections(None, 20_000, 2, 0).unwrap(), 20_000 - kept);
        assert_eq!(max_connections(None, 20_000, 2, 100).unwrap(), 20_000 - kept - 100);
        assert_eq!(max_connections(None, u64::MAX, 2, 0).unwrap(), DEFAULT_CONNECTIONS_MAX);
    }

    #[test]
    fn more_than_fits_is_an_error_that_says_how_many_fit() {
        let fits = max_connections(None, 1024, 1, 0).unwrap();
        for (asked, ok) in [(fits - 1, true), (fits, true), (fits + 1, false)] {
            assert_eq!(max_connections(Some(asked), 1024, 1, 0).is_ok(), ok, "{asked}");
        }
        let error = max_connections(Some(5000), 1024, 1, 0).unwrap_err().to_string();
        assert!(error.contains("--max-connections 5000") && error.contains(&fits.to_string()), "{error}");
    }
}
