//! Processes that a bench starts: where they run, and that none outlives it.

use std::os::unix::process::CommandExt;
use std::process::Command;

use core_affinity::CoreId;
use rustix::process::{Signal, set_parent_process_death_signal};

/// What this command starts runs on the core, if on one, and ends with the thread that starts it: a bench that is
/// killed ends nothing itself. So that thread has to stay for as long as the process is needed.
#[allow(unsafe_code)]
pub fn bind(command: &mut Command, core: Option<CoreId>) {
    let prepare = move || {
        core.map(core_affinity::set_for_current);
        // Strace hands this one on to what it traces.
        set_parent_process_death_signal(Some(Signal::TERM))?;
        Ok(())
    };
    // SAFETY: between fork and exec these are two system calls on what is on the stack: no lock is taken and no memory.
    unsafe { command.pre_exec(prepare) };
}
