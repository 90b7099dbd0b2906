//! One room, all doors: raw members, a reader of server-sent events, SDKs in both framings. Everybody
//! sees the same messages in the same order.

use fanfare::Config;
use serde_json::{Value, json};

use crate::common::{Client, Server, text};
use crate::recovery_races::Dice;
use crate::sdk::{FRAMINGS, Sdk, server};

const SHARDS: usize = 3;

/// Reads the room as server-sent events.
fn events(server: &mut Server, shard: usize) -> Client {
    let reader = server.adopt(shard);
    server.feed(reader, b"GET /rooms/r/events HTTP/1.1\r\nHost: test\r\n\r\n");
    server.settle();
    assert!(server.take_output(reader).starts_with(b"HTTP/1.1 200"));
    reader
}

/// The offsets and the data of all events that have come.
fn take_events(server: &mut Server, reader: Client) -> Vec<(u64, String)> {
    let stream = String::from_utf8(server.take_output(reader)).unwrap();
    stream
        .split_terminator("\n\n")
        .filter(|block| !block.contains("event: position"))
        .map(|block| {
            let (id, data) = block.split_once("\ndata: ").unwrap_or_else(|| panic!("{block:?}"));
            let (_, offset) = id.strip_prefix("id: ").unwrap().split_once(':').unwrap();
            (offset.parse().unwrap(), data.to_owned())
        })
        .collect()
}

fn take_pushes(server: &mut Server, sdk: &mut Sdk) -> Vec<(u64, String)> {
    let pushes = sdk.inbox(server).into_iter().filter_map(|reply| reply.get("push").cloned());
    pushes
        .map(|push| {
            let (offset, data) = crate::sdk::offset_and_data(&push["pub"]);
            (offset, data.to_string())
        })
        .collect()
}

#[test]
fn everybody_sees_one_order() {
    for seed in 0..4 {
        let mut dice = Dice::new(seed);
        let mut server = server(SHARDS, &Config { command_rate: 1 << 20, ..Config::default() });
        let readers: Vec<Client> = (0..SHARDS).map(|shard| events(&mut server, shard)).collect();
        let raw: Vec<Client> =
            (0..2 * SHARDS).map(|number| server.connect(number % SHARDS, "/rooms/r?echo=true")).collect();
        let mut sdks: Vec<Sdk> = (0..2 * SHARDS)
            .map(|number| Sdk::connect(&mut server, number % SHARDS, FRAMINGS[number / SHARDS]))
            .collect();
        sdks.iter_mut().for_each(|sdk| drop(sdk.subscribe(&mut server, "r")));
        let outside = server.connect(1, "/test");
        let mut published = 0;
        for round in 0..200 {
            for _ in 0..dice.below(4) {
                published += 1;
                let message = json!({"round": round, "number": published});
                match dice.below(3) {
                    0 => server.feed(raw[dice.below(raw.len())], &text(&message.to_string())),
                    1 => server.feed(outside, &text(&format!("to r {message}"))),
                    _ => {
                        let sdk = &mut sdks[dice.below(2 * SHARDS)];
                        let publish = sdk.command("publish", json!({"channel": "r", "data": message}));
                        sdk.feed(&mut server, &[publish]);
                    }
                }
            }
            for _ in 0..dice.below(5) {
                server.turn(dice.below(SHARDS));
            }
        }
        server.settle();
        let order = take_events(&mut server, readers[0]);
        assert!(order.iter().map(|(offset, _)| *offset).eq(1..=published), "seed {seed}");
        for reader in &readers[1..] {
            assert_eq!(take_events(&mut server, *reader), order);
        }
        for sdk in &mut sdks {
            assert_eq!(take_pushes(&mut server, sdk), order);
        }
        let texts: Vec<String> = order.iter().map(|(_, data)| data.clone()).collect();
        for member in raw {
            assert_eq!(server.take_texts(member), texts);
        }
        let all = json!({"channel": "r", "limit": -1});
        let history = sdks[0].ask(&mut server, "history", all).unwrap();
        let of_history = history["publications"].as_array().unwrap();
        assert!(
            of_history
                .iter()
                .map(|publication| publication["data"].to_string())
                .eq(texts.into_iter().take(300))
        );
        assert!(of_history.iter().all(|publication| publication["data"] != Value::Null));
        server.finish();
    }
}
