//! Whether workers hand the sends of a fan-out to the kernel together, by an io_uring.

use std::fmt;
use std::str::FromStr;

use super::StartError;
use crate::reactor::PollIo;

/// Whether sends to many are handed to the kernel together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BatchSends {
    /// Where the kernel lets this process.
    #[default]
    Auto,
    /// Where it does not, the server does not start.
    On,
    /// A system call for each.
    Off,
}

/// Why a text is no [`BatchSends`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected auto, on or off")]
pub struct BatchSendsError;

impl FromStr for BatchSends {
    type Err = BatchSendsError;

    fn from_str(text: &str) -> Result<BatchSends, BatchSendsError> {
        match text {
            "auto" => Ok(BatchSends::Auto),
            "on" => Ok(BatchSends::On),
            "off" => Ok(BatchSends::Off),
            _ => Err(BatchSendsError),
        }
    }
}

impl fmt::Display for BatchSends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BatchSends::Auto => "auto",
            BatchSends::On => "on",
            BatchSends::Off => "off",
        })
    }
}

impl BatchSends {
    /// Has the poller of a worker send so.
    ///
    /// # Errors
    ///
    /// [`StartError::BatchSends`] if it has to, and the kernel does not let it.
    pub(super) fn apply(self, io: &mut PollIo) -> Result<(), StartError> {
        if self == BatchSends::Off {
            return Ok(());
        }
        match io.batch_sends() {
            Err(error) if self == BatchSends::On => Err(StartError::BatchSends(error)),
            Err(error) => {
                tracing::debug!(%error, "no io_uring for this process: a system call for each send");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}
