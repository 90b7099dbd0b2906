//! How wake-ups coalesce: a flag that the first one raises and the wait that it has ended lowers.

use std::sync::atomic::Ordering;

use crate::sync::AtomicBool;

/// Whether a wake-up is on its way to a thread that waits.
///
/// Who leaves something for the thread raises the flag behind that. The thread lowers it when its wait
/// reports the wake-up, before it looks for what was left. Both are sequentially consistent, so who finds the
/// flag raised has left its part before the thread looks, as far as that is left by such an operation, too.
#[derive(Debug, Default)]
pub struct WakeFlag(AtomicBool);

impl WakeFlag {
    /// Raises it, and says whether it was down: then the wait has to be ended.
    pub fn raise(&self) -> bool {
        self.0.compare_exchange(false, true, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Lowers it, for the next wake-up.
    pub fn lower(&self) {
        self.0.swap(false, Ordering::SeqCst);
    }
}
