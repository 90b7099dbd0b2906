//! The conductor: it starts the processes, says who plays when, and watches the server once a second.

pub mod clients;
pub mod kernel;
pub mod load;
pub mod server;
mod state;

pub use clients::Launcher;
pub use load::{Load, Outcome, Setup, Window};
pub use state::{Sample, State};
