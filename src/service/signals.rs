//! The signals that the process obeys, and waiting for them or for a time.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

/// What a signal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// SIGTERM or SIGINT, by name.
    Stop(&'static str),
    /// SIGHUP.
    Reload,
}

/// A SIGHUP that comes before anybody can obey it: it waits, rather than end the process.
#[derive(Debug)]
pub struct HeldReload(Arc<AtomicBool>);

impl HeldReload {
    /// From now on, without a descriptor.
    ///
    /// # Errors
    ///
    /// When the operating system does not take the handler.
    pub fn hold() -> io::Result<HeldReload> {
        let has_come = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGHUP, Arc::clone(&has_come))?;
        Ok(HeldReload(has_come))
    }
}

/// The signals that have come and those that will.
#[derive(Debug)]
pub struct Signals(SignalDelivery<UnixStream, SignalOnly>);

impl Signals {
    /// From now on no signal of ours does what it would by itself. The SIGHUP that was held comes now.
    ///
    /// # Errors
    ///
    /// When the operating system has no descriptor left for it.
    pub fn catch(held: Option<&HeldReload>) -> io::Result<Signals> {
        let (read, write) = UnixStream::pair()?;
        let wanted = [SIGTERM, SIGINT, SIGHUP];
        let signals = SignalDelivery::with_pipe(read, write, SignalOnly, wanted).map(Signals)?;
        if held.is_some_and(|held| held.0.load(Ordering::SeqCst)) {
            signal_hook::low_level::raise(SIGHUP)?;
        }
        Ok(signals)
    }

    /// Waits for a signal, for so long or for ever, and gives what has come.
    pub fn wait(&mut self, most: Option<Duration>) -> Vec<Order> {
        let most = most.map(|most| Timespec {
            tv_sec: i64::try_from(most.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(most.subsec_nanos()),
        });
        // A signal that interrupts it is one to look for.
        let _ = poll(&mut [PollFd::new(self.0.get_read(), PollFlags::IN)], most.as_ref());
        let order = |signal| match signal {
            SIGHUP => Order::Reload,
            SIGINT => Order::Stop("SIGINT"),
            _ => Order::Stop("SIGTERM"),
        };
        self.0.pending().map(order).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_that_is_asked_for_too_early_comes_later() {
        let held = HeldReload::hold().expect("a handler");
        signal_hook::low_level::raise(SIGHUP).expect("a signal");
        let mut signals = Signals::catch(Some(&held)).expect("a pipe");
        assert_eq!(signals.wait(Some(Duration::from_secs(30))), [Order::Reload]);
    }
}
