//! Joining and leaving faster than anybody can be told of it.

use fanfare::Config;
use fanfare::id::ShardId;
use fanfare::shard::{Counter, Settings};
use fanfare::time::Time;
use serde_json::{Value, json};

use crate::common::{Client, text};
use crate::sdk::{Framing, Sdk, server};

/// Commands that join a room and leave it, so many times.
fn churn(sdk: &mut Sdk, times: usize) -> Vec<Value> {
    let room = json!({"channel": "busy"});
    let pair = |_| ["subscribe", "unsubscribe"].map(|method| sdk.command(method, room.clone()));
    (0..times).flat_map(pair).collect()
}

#[test]
fn whoever_comes_and_goes_within_a_fan_out_waits_once_an_inbox_is_full() {
    const MAILBOX_BYTES: usize = 64 << 10;
    let config = Config { mailbox_bytes: MAILBOX_BYTES, ..Config::default() };
    let mut server = server(2, &config);
    let limits = Settings { fan_out_members_max: 1, ..config.settings() };
    server.reload_with(&config, limits, MAILBOX_BYTES);
    server.settle();
    let members: Vec<Client> = (0..60).map(|_| server.connect(0, "/test")).collect();
    members.iter().for_each(|member| server.feed(*member, &text("join hall")));
    let speaker = server.connect(1, "/test");
    let mut watcher = Sdk::connect(&mut server, 0, Framing::Json);
    watcher.ask(&mut server, "subscribe", json!({"channel": "busy", "join_leave": true})).unwrap();
    let mut churners: Vec<Sdk> = (0..20).map(|_| Sdk::connect(&mut server, 0, Framing::Json)).collect();
    server.feed(speaker, &text("to hall something"));
    server.turn(1);
    for _ in 0..40 {
        for churner in &mut churners {
            let commands = churn(churner, 5);
            churner.feed(&mut server, &commands);
        }
        server.turn(0);
        // Each may go over it with what one read has brought.
        let in_flight = server.mesh.bytes_in_flight(ShardId::new(0));
        assert!(in_flight < 3 * MAILBOX_BYTES, "{in_flight} bytes in flight");
    }
    assert!(server.shards[0].wait_deadline() == Some(Time::ZERO), "the fan-out goes on");
    assert!(server.counter(Counter::PublisherPauses) > 0, "some are not read from");
    server.settle();
    for member in members {
        assert_eq!(server.take_texts(member), ["something"]);
    }
    // Each has joined and left five times in every round; and its own joining.
    assert_eq!(watcher.pushes(&mut server).len(), 20 * 40 * 10 + 1);
    server.finish();
}

#[test]
fn whoever_hears_of_very_many_at_once_and_reads_is_no_slow_consumer() {
    const ROUNDS: usize = 600;
    let config = Config { command_rate: 100_000, ..Config::default() };
    let mut server = server(2, &config);
    let mut watcher = Sdk::connect(&mut server, 0, Framing::Json);
    watcher.ask(&mut server, "subscribe", json!({"channel": "busy", "join_leave": true})).unwrap();
    let mut churner = Sdk::connect(&mut server, 1, Framing::Json);
    for _ in 0..ROUNDS {
        let commands = churn(&mut churner, 10);
        churner.feed(&mut server, &commands);
        server.turn(1);
    }
    assert!(server.mesh.mail_waiting(ShardId::new(0)) >= 20 * ROUNDS, "all of it is taken in a few turns");
    server.settle();
    assert_eq!(watcher.pushes(&mut server).len(), 20 * ROUNDS + 1);
    assert_eq!(watcher.close, None);
    server.finish();
}
