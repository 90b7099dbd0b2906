//! The poller as it ships on Linux, to the step, with the shipped flag: what wakes a wait, what the wait
//! takes away, and what a wake-up does that finds another one on its way.

use std::sync::Arc;

use fanfare::reactor::{Wake, WakeFlag};
use loom::sync::{Condvar, Mutex};

/// What the kernel knows.
#[derive(Debug, Default)]
struct Kernel {
    /// The eventfd was written to and not reported since.
    notified: bool,
    /// A socket is ready; it stays so until it is read.
    readable: bool,
}

#[derive(Debug)]
struct Shared {
    flag: WakeFlag,
    kernel: Mutex<Kernel>,
    changed: Condvar,
}

/// A poller; its clones are the same one.
#[derive(Clone, Debug)]
pub struct Poller(Arc<Shared>);

/// Why a wait has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Woken {
    /// The kernel reported a wake-up.
    pub notified: bool,
    /// The kernel reported the socket.
    pub readable: bool,
}

impl Poller {
    pub fn new() -> Poller {
        let (kernel, changed) = (Mutex::new(Kernel::default()), Condvar::new());
        Poller(Arc::new(Shared { flag: WakeFlag::default(), kernel, changed }))
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
        let woken = self.report(only_look);
        self.lower(woken);
        woken
    }

    /// The first half of a wait: the kernel's.
    pub fn report(&self, only_look: bool) -> Woken {
        let mut kernel = self.0.kernel.lock().unwrap();
        while !only_look && !kernel.notified && !kernel.readable {
            kernel = self.0.changed.wait(kernel).unwrap();
        }
        // An edge is reported once.
        Woken { notified: std::mem::take(&mut kernel.notified), readable: kernel.readable }
    }

    /// The second half.
    pub fn lower(&self, woken: Woken) {
        if woken.notified {
            self.0.flag.lower();
        }
    }
}

impl Wake for Poller {
    fn wake(&self) {
        if self.0.flag.raise() {
            self.0.kernel.lock().unwrap().notified = true;
            self.0.changed.notify_one();
        }
    }
}
