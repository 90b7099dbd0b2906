//! Names that peers choose: hashed with a key that they cannot know, and bounded in what they pin.

use std::path::Path;

use fanfare::Config;
use fanfare::shard::Counter;
use serde_json::Value;

use crate::common::{Server, split_response, text};
use crate::counting::asked;
use crate::peers::{SDK, everything, open_crowd};

#[test]
fn every_hash_table_has_the_keyed_hasher_of_the_standard_library() {
    // Other hashers have to be named, and so do tables that come with one.
    const NAMES: [&str; 7] = [
        "BuildHasherDefault",
        "with_hasher",
        "impl Hasher",
        "FxHash",
        "ahash",
        "hashbrown",
        "DefaultHasher::new",
    ];
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let (mut tables, mut found) = (0, Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            tables += source.matches("HashMap<").count();
            let other = NAMES.iter().filter(|name| source.contains(**name));
            found.extend(other.map(|name| format!("{}: {name}", path.display())));
        }
    }
    assert!(tables > 0, "the search finds the tables that there are");
    assert_eq!(found, [""; 0]);
    let manifest = include_str!("../../Cargo.toml");
    let own = manifest
        .lines()
        .find(|line| ["ahash", "fxhash", "rustc-hash", "fnv"].iter().any(|name| line.starts_with(name)));
    assert_eq!(own, None, "a hasher of our own choice");
}

/// The rooms of a server in the order in which it lists them.
fn listed(server: &mut Server) -> Vec<String> {
    let peer = server.adopt(0);
    server.feed(peer, b"GET /rooms?limit=1000 HTTP/1.1\r\nHost: test\r\n\r\n");
    server.settle();
    let output = server.take_output(peer);
    let json: Value = serde_json::from_slice(split_response(&output).1).expect("JSON");
    let rooms = json["rooms"].as_array().expect("rooms");
    rooms.iter().map(|room| room["room"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn each_server_places_the_same_names_elsewhere() {
    let orders = [(); 2].map(|()| {
        let mut server = everything(1, &Config::default());
        for number in 0..100 {
            server.connect(0, &format!("/rooms/{number}"));
        }
        let order = listed(&mut server);
        server.finish();
        order
    });
    let sorted = orders.clone().map(|mut order| {
        order.sort();
        order
    });
    assert_eq!(sorted[0].len(), 100);
    assert_eq!(sorted[0], sorted[1]);
    assert_ne!(orders[0], orders[1], "64 stripes, chosen by a key at random");
}

#[test]
fn rooms_that_a_peer_passes_through_pin_no_more_than_all_rooms_may() {
    const ROOMS: usize = 6_000;
    const BATCH: usize = 100;
    let history_memory = 1 << 20;
    let config =
        Config { history_memory, history_bytes: 64 << 10, command_rate: 1 << 20, ..Config::default() };
    let mut server = everything(1, &config);
    let commands = |first: usize| {
        let mut lines = Vec::new();
        for number in first..first + BATCH {
            let name = format!("{number:n>128}");
            for (id, command) in [
                (1, format!("\"subscribe\":{{\"channel\":\"{name}\"}}")),
                (2, format!("\"publish\":{{\"channel\":\"{name}\",\"data\":\"{}\"}}", "d".repeat(200))),
                (3, format!("\"unsubscribe\":{{\"channel\":\"{name}\"}}")),
            ] {
                lines.push(format!("{{\"id\":{},{command}}}", number * 3 + id));
            }
        }
        text(&lines.join("\n"))
    };
    let peer = open_crowd(&mut server, SDK, 1, commands(0).len(), 256 << 10)[0];
    server.feed(peer, &text("{\"id\":1,\"connect\":{}}"));
    server.settle();
    let pass = |server: &mut Server, first: usize| {
        server.feed(peer, &commands(first));
        server.settle();
        server.socket(peer).output.clear();
        server.socket(peer).sends.clear();
    };
    // Until the memory is full, and what is there for any room has grown.
    for first in (0..ROOMS / 2).step_by(BATCH) {
        pass(&mut server, first);
    }
    assert!(server.registry.memory_bytes() <= history_memory + (64 << 10));
    let held = server.registry.len();
    assert!((100..ROOMS / 2).contains(&held), "the oldest are gone: {held}");
    let more = asked(|| {
        for first in (ROOMS / 2..ROOMS).step_by(BATCH) {
            pass(&mut server, first);
        }
    });
    println!("{held} rooms are held; {} more grew the server by {} bytes", ROOMS / 2, more.growth);
    assert!(more.growth <= (history_memory / 8) as i64, "{more:?}");
    assert_eq!(server.counter(Counter::Publications), ROOMS as u64);
    assert_eq!(server.counter(Counter::Memberships), 0);
    server.finish();
}
