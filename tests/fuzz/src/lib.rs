//! What is fuzzed, as functions of bytes that panic when a property does not hold. The programs in
//! `fuzz_targets/` hand them what libFuzzer makes up; `tests/fuzz_corpora.rs` what is committed.
//!
//! An input begins with a few bytes of choices (limits, where it is cut) and goes on with what a peer sends,
//! so that inputs can be written by hand and mutated in place.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

pub mod choices;
pub mod commands;
pub mod commands_json;
pub mod commands_protobuf;
#[path = "../../common/mod.rs"]
pub mod common;
pub mod events;
pub mod frames;
pub mod http_reference;
pub mod http_requests;
pub mod order;
pub mod peer;
pub mod reassembly;
pub mod reference;
pub mod replies;
pub mod request_head;
#[path = "../../client_protocol/schema.rs"]
#[allow(dead_code)] // it belongs to the tests of the protocol
pub mod schema;
pub mod seeds;
pub mod shard;
pub mod wire;
pub mod world;

/// What is run on an input.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Target); 7] = [
    ("request_head", request_head::run),
    ("frames", frames::run),
    ("reassembly", reassembly::run),
    ("commands_json", commands_json::run),
    ("commands_protobuf", commands_protobuf::run),
    ("http_requests", http_requests::run),
    ("shard", shard::run),
];
