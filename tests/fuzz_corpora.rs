//! What is fuzzed, run on the seeds and on the inputs in `tests/fuzz/corpus/`, so that neither rots.

use std::fs;
use std::path::Path;

#[allow(dead_code, unused_imports)] // what only the fuzzer uses
#[path = "fuzz/src/lib.rs"]
mod fuzz;

/// Runs all inputs of a target.
fn replay(name: &str) {
    let (_, target) = fuzz::TARGETS.iter().find(|(known, _)| *known == name).unwrap();
    for (number, seed) in fuzz::seeds::seeds(name).iter().enumerate() {
        println!("seed {number}");
        target(seed);
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} has no inputs", folder.display());
    for file in files {
        // Seen only if it fails.
        println!("{}", file.display());
        target(&fs::read(&file).unwrap());
    }
}

macro_rules! replayed {
    ($($target:ident),*) => { $(#[test] fn $target() { replay(stringify!($target)); })* };
}

replayed!(request_head, frames, reassembly, commands_json, commands_protobuf, http_requests, shard);
