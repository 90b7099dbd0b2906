//! The conductor: it starts the processes, says who plays when, and watches the server once a second.

#[allow(clippy::duplicate_mod)] // some that include this have it by themselves
#[path = "../../../benches/common/child.rs"]
mod child;
pub mod clients;
pub mod kernel;
mod load;
mod outcome;
pub mod server;
mod state;
mod window;

pub use clients::Launcher;
pub use load::Load;
pub use outcome::{Apart, CastOutcome, Outcome, Setup};
pub use state::{Sample, State};
pub use window::{CastWindow, Opening, Window};
