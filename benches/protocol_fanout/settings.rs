//! What is run, how large and how long.

use std::time::Duration;

use crate::common::{arguments, numbers};

/// Of each of three kinds: an address has no more ports from which to connect to another.
const MEMBERS_MAX: usize = 9_000;
const ROUNDS_MAX: usize = 1_000;
const MILLISECONDS_MAX: u64 = 60_000;

/// The size of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Size {
    /// Of each kind.
    pub members: usize,
    pub rounds: usize,
    /// Of each measurement.
    pub slice: Duration,
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
        let because = "FANOUT_MEMBERS, FANOUT_ROUNDS and FANOUT_MILLISECONDS are in the environment";
        let smoke = arguments::is_smoke(arguments, because)?;
        let (members, rounds, milliseconds) = if smoke { (20, 1, 20) } else { (1000, 9, 200) };
        let slice =
            numbers::variable("FANOUT_MILLISECONDS", &environment, 1..=MILLISECONDS_MAX, milliseconds)?;
        Ok(Size {
            members: numbers::variable("FANOUT_MEMBERS", &environment, 1..=MEMBERS_MAX, members)?,
            rounds: numbers::variable("FANOUT_ROUNDS", &environment, 1..=ROUNDS_MAX, rounds)?,
            slice: Duration::from_millis(slice),
            smoke,
        })
    }
}
