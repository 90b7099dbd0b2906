//! The binary as a service: what it is handed at its start, the signals that it obeys, and what it tells the
//! service manager.
//!
//! One thread does all of it, in a loop: it waits for a signal or for what is due next. Without a service manager
//! only signals are.

mod environment;
mod notify;
mod reload;
mod signals;
mod status;
mod supervisor;

pub use environment::Environment;
pub use reload::Reloading;
pub use signals::{HeldReload, Signals};
pub use supervisor::Supervisor;
