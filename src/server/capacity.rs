//! What a configuration comes to in this process, without starting anything.

use super::placement::Placement;
use super::{StartError, admin, descriptors};
use crate::config::Config;

/// What this process has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Shards.
    pub workers: usize,
    /// Descriptors that the process may have.
    pub descriptors: u64,
    /// Connections at a time.
    pub max_connections: usize,
}

impl Capacity {
    /// What is to be said of `config` if it asks for more connections than are let in.
    pub fn note(&self, config: &Config) -> Option<String> {
        let Capacity { workers, descriptors, max_connections } = *self;
        descriptors::unreachable_note(max_connections, descriptors, workers, config.shed_at_percent)
    }
}

/// What `config` comes to here. Raises the soft limit of descriptors to the hard one, as a start does.
///
/// # Errors
///
/// [`StartError::Descriptors`] if more connections are asked for than there are descriptors.
pub fn capacity(config: &Config) -> Result<Capacity, StartError> {
    let workers = Placement::new(config.workers, &config.pin).workers();
    let descriptors = descriptors::raise_limit();
    let others = admin::descriptors(config);
    let (asked, percent) = (config.max_connections, config.shed_at_percent);
    let max_connections = descriptors::max_connections(asked, descriptors, workers, others, percent)?;
    Ok(Capacity { workers, descriptors, max_connections })
}
