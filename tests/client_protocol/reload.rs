//! Other settings while clients are connected.

use std::time::Duration;

use fanfare::Config;
use serde_json::json;

use crate::common::Server;
use crate::common::server::TICK;
use crate::sdk::{FRAMINGS, Sdk, server};

const SECOND: Duration = Duration::from_secs(1);

fn with_interval(seconds: u64) -> Config {
    Config { ping_interval: Duration::from_secs(seconds), ..Config::default() }
}

fn reload(server: &mut Server, config: &Config) {
    server.reload(config);
    server.settle();
}

/// Answers pings for so many seconds; gives the seconds between them.
fn gaps(server: &mut Server, sdk: &mut Sdk, seconds: u64) -> Vec<u64> {
    let mut at = Vec::new();
    for second in 1..=seconds {
        server.advance(SECOND);
        for reply in sdk.inbox(server) {
            assert_eq!(reply, json!({}));
            at.push(second);
            sdk.feed(server, &[json!({})]);
        }
    }
    server.settle();
    at.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn who_was_told_an_interval_is_never_left_longer_without_a_ping() {
    for framing in FRAMINGS {
        let mut server = server(1, &with_interval(10));
        let mut sdk = Sdk::connect(&mut server, 0, framing);
        for (interval, expected) in [(40, 10), (60, 10), (5, 5), (20, 5)] {
            reload(&mut server, &with_interval(interval));
            // The ping that is due already comes as it was to. Whoever came last was told 5 s, and all keep that.
            let gaps = gaps(&mut server, &mut sdk, 60);
            assert!(gaps.len() >= 4, "{interval}: {gaps:?}");
            let in_time = |gap: &u64| (expected..=expected + 1).contains(gap);
            assert!(gaps.iter().skip(1).all(in_time), "{interval}: {gaps:?}");
        }
        assert_eq!(sdk.close, None);
        server.finish();
    }
}

#[test]
fn who_connects_after_a_reload_is_told_the_new_interval_and_pinged_so() {
    for framing in FRAMINGS {
        let mut server = server(1, &with_interval(10));
        let waiting = Sdk::open(&mut server, 0, framing);
        reload(&mut server, &with_interval(20));
        for mut sdk in [Sdk::open(&mut server, 0, framing), waiting] {
            assert_eq!(sdk.introduce(&mut server, json!({"name": "js"}))["ping"], 20);
        }
        let mut sdk = Sdk::connect(&mut server, 0, framing);
        let gaps = gaps(&mut server, &mut sdk, 100);
        assert!(gaps.len() >= 3 && gaps.iter().all(|gap| (20..=21).contains(gap)), "{gaps:?}");
        server.finish();
    }
}

#[test]
fn whether_members_publish_and_how_fast_changes_for_who_is_connected() {
    for framing in FRAMINGS {
        let mut server = server(1, &Config::default());
        let mut sdk = Sdk::connect(&mut server, 0, framing);
        sdk.subscribe(&mut server, "r");
        assert!(sdk.publish(&mut server, "r", json!(1)).is_ok());
        reload(&mut server, &Config { member_publish: false, ..Config::default() });
        assert_eq!(sdk.publish(&mut server, "r", json!(2)), Err(103));
        reload(&mut server, &Config { command_rate: 2, ..Config::default() });
        server.advance(SECOND);
        sdk.inbox(&mut server);
        let results: Vec<_> = (0..3).map(|_| sdk.publish(&mut server, "r", json!(3)).map(|_| ())).collect();
        assert_eq!(results, [Ok(()), Ok(()), Err(111)]);
        server.finish();
    }
}

#[test]
fn a_shorter_grace_does_not_wait_for_those_who_have_a_longer_one() {
    let framing = FRAMINGS[0];
    let with_grace = |seconds| Config { presence_grace: Duration::from_secs(seconds), ..Config::default() };
    let mut server = server(1, &with_grace(60));
    let mut watcher = Sdk::connect(&mut server, 0, framing);
    watcher.ask(&mut server, "subscribe", json!({"channel": "r", "join_leave": true})).unwrap();
    let die = |server: &mut Server, name: &str| {
        let mut sdk = Sdk::named(server, 0, framing, name);
        sdk.subscribe(server, "r");
        server.socket(sdk.at).hung_up = true;
        server.settle();
    };
    die(&mut server, "slow");
    reload(&mut server, &with_grace(2));
    die(&mut server, "quick");
    let leaves = |server: &mut Server, watcher: &mut Sdk| -> Vec<String> {
        let pushes = watcher.pushes(server);
        let left = pushes.iter().filter_map(|push| push["leave"]["info"]["user"].as_str());
        left.map(str::to_owned).collect()
    };
    assert_eq!(leaves(&mut server, &mut watcher), [""; 0]);
    server.advance(2 * SECOND + TICK);
    assert_eq!(leaves(&mut server, &mut watcher), ["quick"]);
    for _ in 0..7 {
        server.advance(8 * SECOND);
        watcher.feed(&mut server, &[json!({"id": 1, "ping": {}})]);
    }
    server.advance(3 * SECOND);
    let mut left = Vec::new();
    for value in watcher.inbox(&mut server) {
        left.extend(value["push"]["leave"]["info"]["user"].as_str().map(str::to_owned));
    }
    assert_eq!(left, ["slow"]);
    server.finish();
}
