//! Deterministic simulation: the shipped shard, protocol, rooms and endpoints, on one thread, over an
//! operating system and clients that a seed decides about. Everything that can go wrong does: calls that
//! are short, late, lying or fail, peers that stall, vanish, break off or send garbage, shards that get no
//! turn, and time that jumps. An oracle with a decoder of its own checks what comes out ([`wire`]), against
//! what was sent ([`truth`]), and that nothing is left behind ([`closing`]).
//!
//! Mail between shards is late by turns: a shard takes all that was sent before its turn, and may get none for
//! long while the others go on, with its wake-up seen or not. (A channel has no delay of its own, and between two
//! lanes of it `tests/loom` goes through every order.)
//!
//! `cargo test` runs 1,000 seeds; `SIM_SEEDS=100000 cargo test --release --test simulation` runs more, and
//! `SIM_SEED=7` one of them again, with what happened to the connection at which it failed; `SIM_TRACE=1` shows
//! all that happened, `SIM_FIRST=N` begins with another seed, and `SIM_MET=1` prints how often what was met.
//! A run of all 1,000 also fails if there is a counter or a cause of close that no seed has met.

#[path = "../common/mod.rs"]
mod common;

mod arrivals;
mod bounds;
mod chance;
mod client;
mod closing;
mod faults;
mod ledger;
#[cfg(feature = "mutants")]
mod mutants;
mod plan;
mod proxy;
mod record;
mod reloads;
mod run;
mod trace;
mod truth;
mod wire;
mod world;
