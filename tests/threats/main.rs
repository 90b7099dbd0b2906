//! What hostile peers do, one test for each threat, with its bar as the assertion: `SECURITY.md` lists them
//! beside those that stand elsewhere.
//!
//! Memory is what the allocator is asked for, so it is exact and the same on every machine. Where a bar is
//! a time, work is counted instead: turns, calls, bytes. What only a clock can show is in
//! `benches/threats`.

#[path = "../common/mod.rs"]
mod common;
#[path = "../counting/mod.rs"]
mod counting;
#[path = "../support/mod.rs"]
mod support;

mod closing;
mod control;
mod dependencies;
mod first_bytes;
mod fragments;
mod hashing;
mod heads;
mod kernel;
mod lengths;
mod logs;
mod masking;
mod offers;
mod origins;
mod output;
mod peers;
mod pinned;
mod resets;
mod slowloris;
mod smuggling;
mod text;
mod work;
