//! Every failure once: the n-th call of each kind that the operating system can fail does so, for n = 1,
//! 2, 3 and so on until a run meets none. However it falls, no shard hangs, nothing leaks, every socket
//! has one cause of close, and nobody but the one whose call failed loses anything.
//!
//! Two calls of [`fanfare::reactor::Io`] are not here: `wait` fails only for a fault of our own, which
//! ends the process, and `wake` has no failure to give: a full eventfd means that the shard is awake.

#[path = "../common/mod.rs"]
mod common;

mod accepts;
mod allocation;
mod calls;
mod scenario;
