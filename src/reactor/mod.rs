//! Layer 2: sockets, readiness, timers and wake-ups. It moves bytes for a key and knows neither a
//! frame nor a room.
//!
//! [`Io`] is the seam of a shard, [`Listen`] that of the acceptor: [`PollIo`] is the real one of both; a
//! simulated one can take its place without a change in either.

mod clock;
mod io;
mod listen;
mod peer;
mod poll_io;
mod poll_listen;
mod stop;
mod timer_wheel;
mod wake_flag;

pub use clock::MonotonicClock;
pub use io::{Interest, Io, READY_PER_WAIT, Ready, Wake};
pub use listen::{AcceptError, Listen, SocketOptions};
pub use peer::PeerAddress;
pub use poll_io::{PollIo, PollStream, PollWaker};
pub use poll_listen::{ListeningSocket, PollListener};
pub use stop::Stop;
pub use timer_wheel::{Tick, TimerWheel};
pub use wake_flag::WakeFlag;
