//! Whole shards over a simulated operating system, turn by turn: what leaves, in which order, in how
//! many calls, and how everything ends.

#[path = "../common/mod.rs"]
mod common;

mod budgets;
mod deadlines;
mod drain;
mod endings;
mod fan_out;
mod fan_out_bounds;
mod fan_out_turns;
mod heartbeat;
mod inspect;
mod lag;
mod lag_own;
mod limits;
mod mailbox;
mod numbers;
mod panics;
mod rates;
mod reading;
mod reload;
mod rooms;
mod shedding;
mod writing;
