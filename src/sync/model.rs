//! The model checker's side of [`crate::sync`]: a lock, a channel and a fence that know of it, and the
//! faults that its tests inject to prove that they would be found.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use loom::sync::MutexGuard;

/// What a test may break, to see the model checker find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Fences do nothing: a store and the load behind it may change places.
    NoFence,
    /// A slot's next occupancy has the same key as the one before.
    SameGeneration,
}

thread_local! {
    static FAULT: Cell<Option<Fault>> = const { Cell::new(None) };
}

/// Injects a fault into all models that this thread runs from now on.
pub fn inject(fault: Fault) {
    FAULT.set(Some(fault));
}

/// Whether this fault is injected.
pub fn is_injected(fault: Fault) -> bool {
    FAULT.get() == Some(fault)
}

/// An atomic fence.
pub fn fence(ordering: Ordering) {
    if !is_injected(Fault::NoFence) {
        loom::sync::atomic::fence(ordering);
    }
}

/// A lock with the interface of the one that ships.
#[derive(Debug, Default)]
pub struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// A lock that nobody holds.
    pub fn new(value: T) -> Mutex<T> {
        Mutex(loom::sync::Mutex::new(value))
    }

    /// Waits for the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect("a model ends at its first panic")
    }

    /// The lock, if nobody holds it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok()
    }
}

/// A channel with the interface of the one that ships, for several senders and one receiver.
///
/// It promises no more than that does. Whether something waits is looked up without the lock, so it is
/// as old as the memory model allows; as in crossbeam-channel 0.5 the place in the queue is taken by a
/// sequentially consistent write and looked up by a sequentially consistent read, which a fence behind
/// the one and before the other are to the model checker.
pub mod channel {
    use std::collections::VecDeque;
    use std::fmt;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use loom::sync::atomic::{AtomicUsize, fence};

    use super::Mutex;

    #[derive(Debug)]
    struct Shared<T> {
        /// Messages sent since the beginning.
        sent: AtomicUsize,
        /// None once the receiver has gone.
        waiting: Mutex<Option<VecDeque<T>>>,
    }

    /// Where messages go in.
    #[derive(Debug)]
    pub struct Sender<T>(Arc<Shared<T>>);

    /// Where they come out.
    pub struct Receiver<T> {
        shared: Arc<Shared<T>>,
        /// Messages taken since the beginning. Only the receiver has this.
        taken: std::sync::atomic::AtomicUsize,
    }

    /// The message that nobody will receive.
    #[derive(Debug)]
    pub struct SendError<T>(pub T);

    /// There is none.
    #[derive(Debug)]
    pub struct TryRecvError;

    /// A channel without a bound.
    pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
        let waiting = Mutex::new(Some(VecDeque::new()));
        let shared = Arc::new(Shared { sent: AtomicUsize::new(0), waiting });
        (Sender(Arc::clone(&shared)), Receiver { shared, taken: 0.into() })
    }

    impl<T> Sender<T> {
        /// Puts a message in; an error when the receiver has gone.
        pub fn send(&self, message: T) -> Result<(), SendError<T>> {
            let mut waiting = self.0.waiting.lock();
            let Some(queue) = &mut *waiting else { return Err(SendError(message)) };
            queue.push_back(message);
            self.0.sent.fetch_add(1, Ordering::Release);
            fence(Ordering::SeqCst);
            Ok(())
        }
    }

    impl<T> Sender<T> {
        /// How many messages wait.
        pub fn len(&self) -> usize {
            self.0.waiting.lock().as_ref().map_or(0, VecDeque::len)
        }
    }

    impl<T> Receiver<T> {
        /// Whether nothing waits.
        pub fn is_empty(&self) -> bool {
            fence(Ordering::SeqCst);
            self.shared.sent.load(Ordering::Acquire) == self.taken.load(Ordering::Relaxed)
        }

        /// Takes the oldest message.
        pub fn try_recv(&self) -> Result<T, TryRecvError> {
            if self.is_empty() {
                return Err(TryRecvError);
            }
            let message = self.shared.waiting.lock().as_mut().and_then(VecDeque::pop_front);
            self.taken.fetch_add(1, Ordering::Relaxed);
            message.ok_or(TryRecvError)
        }
    }

    impl<T> Drop for Receiver<T> {
        fn drop(&mut self) {
            // A model that has failed is not gone on with.
            if !std::thread::panicking() {
                let waiting = self.shared.waiting.lock().take();
                drop(waiting);
            }
        }
    }

    impl<T> fmt::Debug for Receiver<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Receiver").finish_non_exhaustive()
        }
    }
}
