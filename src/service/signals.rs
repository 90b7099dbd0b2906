//! The signals that the process obeys, and waiting for them or for a time.

use std::io;
use std::os::unix::net::UnixStream;
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

/// The signals that have come and those that will.
#[derive(Debug)]
pub struct Signals(SignalDelivery<UnixStream, SignalOnly>);

impl Signals {
    /// From now on no signal of ours does what it would by itself.
    ///
    /// # Errors
    ///
    /// When the operating system has no descriptor left for it.
    pub fn catch() -> io::Result<Signals> {
        let (read, write) = UnixStream::pair()?;
        let wanted = [SIGTERM, SIGINT, SIGHUP];
        SignalDelivery::with_pipe(read, write, SignalOnly, wanted).map(Signals)
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
