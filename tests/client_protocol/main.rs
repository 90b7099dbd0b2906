//! The Centrifugo client protocol over a simulated operating system: what a client sends, what it is
//! answered and told, in both framings, to the offset and to the code.

#[path = "../common/mod.rs"]
mod common;

mod churn;
mod closing;
mod commands;
mod connecting;
mod heartbeat;
mod history;
mod lagging;
mod limits;
mod order;
mod payloads;
mod presence;
mod presence_model;
mod recovery;
mod recovery_races;
mod reload;
mod schema;
mod sdk;
