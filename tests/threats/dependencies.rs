//! What we build on: no version with a known fault, from one registry, under known licences. The database
//! of advisories is not at hand in a test, so the faults that concern a server like this are listed here.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;

use fanfare::id::ShardId;
use fanfare::reactor::Wake;
use fanfare::rooms::{Batch, Sender};
use fanfare::shard::{Mail, Mesh, Publication};
use fanfare::slab::Slab;
use fanfare::time::Time;
use serde_json::Value;

use crate::counting::asked;

const LOCK: &str = include_str!("../../Cargo.lock");

/// Crates that must not be older, each with the advisory that its version ends.
const AT_LEAST: [(&str, &str, &str); 3] = [
    ("crossbeam-channel", "0.5.15", "RUSTSEC-2022-0019, RUSTSEC-2025-0024: double free on drop"),
    ("tungstenite", "0.20.1", "CVE-2023-43669: time quadratic in the length of a head"),
    ("rustls", "0.23.45", "CVE-2024-32650, RUSTSEC-2024-0399, GHSA-2mjx-qc3c-rqvc: loop, panic, plaintext"),
];

/// Crates that must not be there at all.
const NEVER: [(&str, &str); 2] = [
    ("websocket", "RUSTSEC-2022-0035: allocates by the announced length"),
    ("ws", "CVE-2020-35896: unbounded outgoing buffer, never mended"),
];

/// What people may build on without asking a lawyer.
const LICENCES: [&str; 10] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// A package of the lock file.
#[derive(Debug, Default)]
struct Package {
    name: String,
    version: String,
    source: String,
    checksum: String,
}

fn packages() -> Vec<Package> {
    let parse = |block: &str| {
        let mut package = Package::default();
        for line in block.lines() {
            let Some((key, value)) = line.split_once(" = ") else { continue };
            let value = value.trim_matches('"').to_owned();
            match key {
                "name" => package.name = value,
                "version" => package.version = value,
                "source" => package.source = value,
                "checksum" => package.checksum = value,
                _ => {}
            }
        }
        package
    };
    LOCK.split("[[package]]\n").skip(1).map(parse).collect()
}

/// Compares versions by their numbers.
fn compare(one: &str, other: &str) -> Ordering {
    let numbers = |version: &str| -> Vec<u64> {
        let numbers = version.split(['-', '+']).next().unwrap_or_default();
        numbers.split('.').map(|number| number.parse().expect("a number")).collect()
    };
    numbers(one).cmp(&numbers(other))
}

#[test]
fn versions_are_compared_as_numbers() {
    assert_eq!(compare("0.5.15", "0.5.9"), Ordering::Greater);
    assert_eq!(compare("0.5.15", "0.5.15"), Ordering::Equal);
    assert_eq!(compare("0.23.4", "0.23.18"), Ordering::Less);
    assert_eq!(compare("1.0.0-rc.1", "1.0.0"), Ordering::Equal);
}

#[test]
fn no_package_has_a_version_with_a_fault_that_we_know_of() {
    let packages = packages();
    assert!(packages.iter().any(|package| package.name == "crossbeam-channel"));
    for (name, least, why) in AT_LEAST {
        for package in packages.iter().filter(|package| package.name == name) {
            assert_ne!(compare(&package.version, least), Ordering::Less, "{package:?}: {why}");
        }
    }
    for (name, why) in NEVER {
        assert!(packages.iter().all(|package| package.name != name), "{name}: {why}");
    }
}

#[test]
fn every_package_but_ours_comes_from_one_registry_with_its_checksum() {
    let (mut ours, mut sources) = (Vec::new(), BTreeMap::new());
    for package in packages() {
        if package.source.is_empty() {
            ours.push(package.name);
            continue;
        }
        assert!(package.source.starts_with("registry+"), "{package:?}");
        assert_eq!(package.checksum.len(), 64, "{package:?}");
        *sources.entry(package.source).or_insert(0) += 1;
    }
    assert_eq!(ours, ["fanfare"]);
    assert_eq!(sources.len(), 1, "{sources:?}");
}

/// Packages of the binary on this machine, with their licences, as cargo has them.
fn shipped() -> Vec<(String, String)> {
    let arguments = ["metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform"];
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let nodes = list(&metadata["resolve"]["nodes"]);
    let mut reached = vec![metadata["resolve"]["root"].clone()];
    let mut at = 0;
    while let Some(id) = reached.get(at).cloned() {
        at += 1;
        let node = nodes.iter().find(|node| node["id"] == id).expect("a node");
        for dependency in list(&node["deps"]) {
            let built_in = list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev");
            if built_in && !reached.contains(&dependency["pkg"]) {
                reached.push(dependency["pkg"].clone());
            }
        }
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages = list(&metadata["packages"]);
    let shipped = packages.iter().filter(|package| reached.contains(&package["id"]));
    shipped.map(|package| (text(&package["name"]), text(&package["license"]))).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn everything_that_is_shipped_has_a_licence_that_asks_for_no_more_than_its_name() {
    let shipped = shipped();
    assert!(shipped.len() > 20 && shipped.iter().any(|(name, _)| name == "polling"), "{shipped:?}");
    for (name, licence) in shipped {
        // Old manifests write a slash for OR. Of alternatives one is enough, of what is joined by AND all.
        let free = licence.replace('/', " OR ").split(" OR ").any(|choice| {
            let all = choice.split(" AND ").map(|part| part.trim().trim_matches(['(', ')']));
            let mut all = all.filter(|part| !part.is_empty()).peekable();
            all.peek().is_some() && all.all(|part| LICENCES.contains(&part))
        });
        assert!(free, "{name}: {licence:?}");
    }
}

struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}
}

#[test]
fn a_mailbox_full_of_shared_batches_is_dropped_once_and_whole() {
    const MAIL: usize = 1_000;
    let mut batch = Batch::default();
    batch.push(false, (Sender::Api { exclude: None }, None), 100, |out| out.resize(100, 7));
    let batch = Arc::new(batch);
    let local_room = Slab::default().insert(());
    // Not taken, taken in part, and from another thread while the receiver goes.
    for taken in [0, MAIL / 3] {
        let dropped = asked(|| {
            let (mesh, mailboxes) = Mesh::<()>::new(vec![Box::new(Nobody)], usize::MAX);
            for number in 0..MAIL {
                let batch = Arc::clone(&batch);
                let (offset_before, entered) = (number as u64, Time::ZERO);
                let mail = Publication { local_room, offset_before, entered, batch };
                mesh.send(ShardId::new(0), Mail::Publication(mail));
            }
            assert_eq!(Arc::strong_count(&batch), MAIL + 1);
            for _ in 0..taken {
                drop(mailboxes[0].take().expect("mail"));
            }
            drop(mailboxes);
            drop(mesh);
        });
        assert_eq!((Arc::strong_count(&batch), dropped.growth), (1, 0), "{taken} taken");
    }
    for _ in 0..50 {
        let (mesh, mailboxes) = Mesh::<()>::new(vec![Box::new(Nobody)], usize::MAX);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..MAIL {
                    let batch = Arc::clone(&batch);
                    let (offset_before, entered) = (number as u64, Time::ZERO);
                    let mail = Publication { local_room, offset_before, entered, batch };
                    mesh.send(ShardId::new(0), Mail::Publication(mail));
                }
            });
            scope.spawn(move || {
                for _ in 0..MAIL / 2 {
                    drop(mailboxes[0].take());
                }
            });
        });
        drop(mesh);
        assert_eq!(Arc::strong_count(&batch), 1);
    }
}
