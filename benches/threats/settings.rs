//! How large a run is.

use crate::common::{arguments, numbers};

/// An address has few more ports from which to connect to another, and handshakes need some too.
const PEERS_MAX: usize = 20_000;

/// The size of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Who never finish their handshakes.
    pub peers: usize,
    /// All is small, and nothing is judged.
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
        let because = "all parts always run; THREATS_PEERS is in the environment";
        let smoke = arguments::is_smoke(arguments, because)?;
        let peers = if smoke { 30 } else { 10_000 };
        let peers = numbers::variable("THREATS_PEERS", environment, 1..=PEERS_MAX, peers)?;
        Ok(Size { peers, smoke })
    }
}
