//! The order to stop, given from any thread to one that waits.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Wake;
use crate::sync::{AtomicBool, fence};

/// An order to stop for a thread that waits in [`super::Io::wait`] between two looks at it. Its clones are
/// the same order.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Gives the order, and wakes the thread.
    pub fn ask(&self, waker: &impl Wake) {
        self.0.store(true, Ordering::Relaxed);
        // A wake-up that finds another one on its way leaves it at that and writes nothing. So it is this
        // fence and the one below that make the thread see the order when that other one has ended its wait.
        fence(Ordering::SeqCst);
        waker.wake();
    }

    /// Whether it has been given. The thread looks after every return from its wait.
    pub fn is_asked(&self) -> bool {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed)
    }
}
