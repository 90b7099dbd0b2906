//! Layer 2: sockets, readiness, timers and wake-ups. It moves bytes for a key and knows neither a
//! frame nor a room.
//!
//! [`Io`] is the seam: [`PollIo`] is the real one; a simulated one can take its place without a
//! change in the shard.

mod clock;
mod io;
mod peer;
mod poll_io;
mod timer_wheel;

pub use clock::MonotonicClock;
pub use io::{Interest, Io, Ready, Wake};
pub use peer::PeerAddress;
pub use poll_io::{PollIo, PollStream, PollWaker};
pub use timer_wheel::TimerWheel;
