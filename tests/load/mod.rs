//! Load for the real binary: a server process, client processes that hold thousands of connections each,
//! and what there is to say about the run afterwards.
//!
//! A [`Load`] is a server and its client processes. What the clients do is data: a [`Cast`] is so many
//! players of one [`Role`], spread over the processes when it is begun and taken off when it is stopped, so a
//! fault is a cast that comes later:
//!
//! ```ignore
//! let mut load = Load::start(&Setup { processes: 2, ..Setup::new(launcher) });
//! load.begin(&Cast::new("members", 1_000, Role::member(Rooms::new("room", 50))));
//! load.until("everybody is in", PATIENCE, |state| state.open("members") == 1_000);
//! let before = load.measure(Duration::from_secs(10));           // latency and counts of each cast
//! load.begin(&Cast::new("stalled", 100, Role::Slow(Slow { .. })));
//! let during = load.measure(Duration::from_secs(20));
//! load.stop("stalled");
//! load.settle();                     // publishers stop, everybody has everything: else it is a violation
//! let outcome = load.finish();       // clients leave, the server is back to its base and is stopped
//! let verdict = verdict::judge(&outcome, &Steady::default());
//! assert!(verdict.is_clean(), "{verdict}");
//! ```
//!
//! A client process is this same program with [`client::run`] called in it; a [`Launcher`] says how. Honest
//! players check every message that they get ([`checker`]): what is wrong is a violation, with its room, offset
//! and client. Latency is from the time at which a message was meant to be sent, on the clock that all
//! processes share, to when its receiver has read it.

#![allow(dead_code, unused_imports)] // each that includes this uses its part

pub mod cast;
pub mod checker;
pub mod client;
pub mod conductor;
pub mod latency;
pub mod mix;
pub mod payload;
pub mod report;
pub mod soak;
pub mod verdict;
pub mod wire;

pub use cast::{Cast, Habit, Member, Publish, Role, Rooms, Slow};
pub use conductor::{Apart, Launcher, Load, Outcome, Setup, Window};
