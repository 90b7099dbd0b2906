//! The poller as the `polling` package has it on Linux, to the step: what wakes a wait, what its
//! epilogue takes away, and what a notification does that finds another one on its way.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use fanfare::reactor::Wake;
use loom::sync::atomic::AtomicBool;
use loom::sync::{Condvar, Mutex};

/// What the kernel knows.
#[derive(Debug, Default)]
struct Kernel {
    /// The eventfd counts.
    notified: bool,
    /// A socket is ready; it stays so until it is read.
    readable: bool,
}

#[derive(Debug)]
struct Shared {
    /// A notification is on its way, so that another one need not be written.
    notified: AtomicBool,
    kernel: Mutex<Kernel>,
    changed: Condvar,
}

/// A poller; its clones are the same one.
#[derive(Clone, Debug)]
pub struct Poller(Arc<Shared>);

/// Why a wait has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Woken {
    /// The kernel reported a notification; one may have been taken away unreported.
    pub notified: bool,
    /// The kernel reported the socket.
    pub readable: bool,
}

impl Poller {
    pub fn new() -> Poller {
        let (kernel, changed) = (Mutex::new(Kernel::default()), Condvar::new());
        Poller(Arc::new(Shared { notified: AtomicBool::new(false), kernel, changed }))
    }

    /// What it is woken with.
    pub fn waker(&self) -> Box<dyn Wake> {
        Box::new(self.clone())
    }

    /// Makes its socket ready.
    pub fn feed(&self) {
        self.0.kernel.lock().unwrap().readable = true;
        self.0.changed.notify_one();
    }

    /// Reads the socket empty.
    pub fn read(&self) {
        self.0.kernel.lock().unwrap().readable = false;
    }

    /// Waits without a deadline, or only looks.
    pub fn wait(&self, only_look: bool) -> Woken {
        let woken = {
            let mut kernel = self.0.kernel.lock().unwrap();
            while !only_look && !kernel.notified && !kernel.readable {
                kernel = self.0.changed.wait(kernel).unwrap();
            }
            Woken { notified: kernel.notified, readable: kernel.readable }
        };
        // Whatever has come since is taken away with what was reported.
        self.0.kernel.lock().unwrap().notified = false;
        self.0.notified.swap(false, Ordering::SeqCst);
        woken
    }
}

impl Wake for Poller {
    fn wake(&self) {
        let first = self.0.notified.compare_exchange(false, true, Ordering::SeqCst, Ordering::SeqCst);
        if first.is_ok() {
            self.0.kernel.lock().unwrap().notified = true;
            self.0.changed.notify_one();
        }
    }
}
