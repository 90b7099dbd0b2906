//! The protocols between threads, put through every order of their steps by a model checker, with up to
//! three preemptions. They exist only with `--cfg loom`:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release --no-default-features --target-dir target/loom --test loom
//! ```
//!
//! Beside the models stand broken ones: the model checker must find what is wrong with each.

#![cfg(loom)]

#[path = "../common/mod.rs"]
mod common;

mod pauses;
mod poller;
mod shards;
mod stopping;
mod wakes;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fanfare::id::ShardId;
use fanfare::protocol::{Kind, Opcode, push_server_frame};
use fanfare::rooms::{Batch, Sender};
use fanfare::shard::{Mail, Publication};
use fanfare::slab::Key;
use fanfare::time::Time;

/// Runs `model` in every order that matters, and prints how many that were.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.max_branches = 10_000;
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    println!("{} orders", runs.load(Ordering::Relaxed));
}

fn shard(number: usize) -> ShardId {
    ShardId::new(number)
}

/// A message of so many bytes.
fn batch(bytes: usize) -> Arc<Batch> {
    let mut batch = Batch::default();
    let sender = (Sender::Api { exclude: None }, None);
    batch.push(false, sender, bytes, |out| {
        push_server_frame(out, Opcode::from(Kind::Binary), &vec![0; bytes])
    });
    Arc::new(batch)
}

/// Mail with it for a room of the receiving shard.
fn publication(local_room: Key, batch: &Arc<Batch>) -> Mail<()> {
    let batch = Arc::clone(batch);
    Mail::Publication(Publication { local_room, offset_before: 0, entered: Time::ZERO, batch })
}
