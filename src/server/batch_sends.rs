//! Whether workers hand the sends of a fan-out to the kernel together, by an io_uring.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::thread::Builder;

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
    /// Whether workers do, by what keeps this process from it (`probe`).
    ///
    /// # Errors
    ///
    /// [`StartError::BatchSends`] if they have to, and cannot.
    pub(super) fn decide(self, probe: impl FnOnce() -> io::Result<()>) -> Result<bool, StartError> {
        match self {
            BatchSends::Off => Ok(false),
            BatchSends::On => probe().map(|()| true).map_err(StartError::BatchSends),
            BatchSends::Auto => Ok(probe().is_ok()),
        }
    }
}

/// Asks in a thread that ends then ([`PollIo::can_batch_sends`]).
pub(super) fn probe() -> io::Result<()> {
    let thread = Builder::new().name("probe-ring".to_owned()).spawn(PollIo::can_batch_sends)?;
    thread.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_on_keeps_a_server_from_starting() {
        let refused = || Err(io::ErrorKind::PermissionDenied.into());
        assert!(BatchSends::On.decide(|| Ok(())).unwrap());
        assert!(BatchSends::Auto.decide(|| Ok(())).unwrap());
        assert!(!BatchSends::Auto.decide(refused).unwrap());
        assert!(!BatchSends::Off.decide(|| panic!("nobody asked")).unwrap());
        let error = BatchSends::On.decide(refused).unwrap_err().to_string();
        assert!(error.starts_with("--batch-sends on: ") && error.contains("auto or off"), "{error}");
    }

    #[test]
    fn it_is_written_as_it_is_read() {
        for text in ["auto", "on", "off"] {
            assert_eq!(text.parse::<BatchSends>().unwrap().to_string(), text);
        }
        assert_eq!("yes".parse::<BatchSends>().unwrap_err().to_string(), "expected auto, on or off");
    }
}
