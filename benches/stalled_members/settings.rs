//! What is run, how large and how long.

use crate::common::{arguments, numbers};

/// Sockets of one process: below usual descriptor limits.
const SOCKETS_PER_PROCESS: usize = 5_000;
/// An address has no more ports from which to connect to another.
const MEMBERS_MAX: usize = 28_000;
const SECONDS_MAX: u64 = 86_400;
/// With this many all messages of the longest run can be numbered.
const RATE_MAX: u32 = 10_000;

/// The size of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Size {
    pub members: usize,
    pub stalled: usize,
    pub seconds: u64,
    pub rate: u32,
    /// Of the server.
    pub flags: String,
    /// No figure means anything.
    pub smoke: bool,
}

impl Size {
    /// What arguments and environment ask for.
    ///
    /// # Errors
    ///
    /// If one of them means nothing.
    pub fn of(
        arguments: impl IntoIterator<Item = String>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Size, String> {
        let because = "STALLED_MEMBERS, STALLED_STALLED, STALLED_SECONDS, STALLED_RATE and STALLED_FLAGS are in the environment";
        let smoke = arguments::is_smoke(arguments, because)?;
        let (members, seconds) = if smoke { (60, 2) } else { (10_000, 60) };
        let members = numbers::variable("STALLED_MEMBERS", &environment, 3..=MEMBERS_MAX, members)?;
        // One of each process has to read.
        let stalled_max = members - processes(members);
        let stalled = (members / 10).max(1);
        let stalled = numbers::variable("STALLED_STALLED", &environment, 1..=stalled_max, stalled)
            .map_err(|why| format!("{why} of the {members} members (STALLED_MEMBERS)"))?;
        Ok(Size {
            members,
            stalled,
            seconds: numbers::variable("STALLED_SECONDS", &environment, 1..=SECONDS_MAX, seconds)?,
            rate: numbers::variable("STALLED_RATE", &environment, 1..=RATE_MAX, 200)?,
            flags: environment("STALLED_FLAGS").unwrap_or_default(),
            smoke,
        })
    }

    /// Processes of members.
    pub fn processes(&self) -> usize {
        processes(self.members)
    }
}

fn processes(members: usize) -> usize {
    members.div_ceil(SOCKETS_PER_PROCESS).max(2)
}
