//! The conductor: it starts the processes, says who plays when, and watches the server once a second.

pub mod clients;
pub mod kernel;
mod load;
mod outcome;
pub mod server;
mod state;

pub use clients::Launcher;
pub use load::Load;
pub use outcome::{CastOutcome, CastWindow, Outcome, Setup, Window};
pub use state::{Sample, State};
