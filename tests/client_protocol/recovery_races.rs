//! Coming back while everybody publishes: on every shard, in the same turns, with sockets that take a
//! few bytes at a time.

use fanfare::Config;
use fanfare::shard::Counter;
use serde_json::{Value, json};

use crate::common::Server;
use crate::sdk::{FRAMINGS, Framing, Sdk, offset_and_data, server};

/// Numbers that look random and are the same each time (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}

/// A member that comes and goes, and what it has got: every offset once.
struct Wanderer {
    sdk: Sdk,
    epoch: String,
    offset: u64,
    /// It has asked to come back: an SDK drops what is told before the answer.
    awaits_reply: bool,
    replies: usize,
}

impl Wanderer {
    fn new(server: &mut Server, shard: usize, framing: Framing) -> Wanderer {
        let mut sdk = Sdk::connect(server, shard, framing);
        let epoch = sdk.subscribe(server, "r")["epoch"].as_str().unwrap().to_owned();
        Wanderer { sdk, epoch, offset: 0, awaits_reply: false, replies: 0 }
    }

    fn take(&mut self, publication: &Value) {
        let (offset, _) = offset_and_data(publication);
        assert_eq!(offset, self.offset + 1, "no gap and no repeat");
        self.offset = offset;
    }

    /// Handles what has come in the order in which an SDK does.
    fn handle(&mut self, server: &mut Server) {
        for reply in self.sdk.inbox(server) {
            if let Some(result) = reply.get("subscribe") {
                assert_eq!(result["recovered"], true, "{result}");
                assert_eq!(result["offset"], self.offset);
                self.replies += 1;
                self.awaits_reply = false;
                for publication in result["publications"].as_array().unwrap() {
                    self.take(publication);
                }
            } else if let Some(push) = reply.get("push").filter(|_| !self.awaits_reply) {
                self.take(&push["pub"]);
            }
        }
    }

    /// Leaves and comes back in one frame: what is on its way to it then is told behind the reply.
    fn come_back(&mut self, server: &mut Server) {
        self.handle(server);
        let subscribe = json!({
            "channel": "r", "flag": 1, "recover": true, "epoch": self.epoch, "offset": self.offset,
        });
        let leave = self.sdk.command("unsubscribe", json!({"channel": "r"}));
        let back = self.sdk.command("subscribe", subscribe);
        self.sdk.feed(server, &[leave, back]);
        self.awaits_reply = true;
    }

    /// The same on a new connection; the old one is cut.
    fn come_back_anew(&mut self, server: &mut Server, shard: usize) {
        self.handle(server);
        server.socket(self.sdk.at).eof = true;
        let mut sdk = Sdk::open(server, shard, self.sdk.framing);
        let connect = sdk.command("connect", json!({}));
        let params = json!({
            "channel": "r", "flag": 1, "recover": true, "epoch": self.epoch, "offset": self.offset,
        });
        let subscribe = sdk.command("subscribe", params);
        sdk.feed(server, &[connect, subscribe]);
        self.sdk = sdk;
        self.awaits_reply = true;
    }
}

fn run(seed: u64, shards: usize) {
    let config = Config { history_bytes: 16 << 20, command_rate: 1 << 20, ..Config::default() };
    let mut server = server(shards, &config);
    let mut dice = Dice::new(seed);
    let mut publishers: Vec<Sdk> = (0..2 * shards)
        .map(|number| Sdk::connect(&mut server, number % shards, FRAMINGS[number / shards]))
        .collect();
    for publisher in &mut publishers {
        publisher.subscribe(&mut server, "r");
    }
    let mut wanderers: Vec<Wanderer> = (0..2 * shards)
        .map(|number| Wanderer::new(&mut server, number % shards, FRAMINGS[number / shards]))
        .collect();
    let mut published = 0;
    for round in 0..150 {
        for publisher in &mut publishers {
            for _ in 0..dice.below(3) {
                let data = json!({"round": round, "filling": "x".repeat(dice.below(300))});
                let publish = publisher.command("publish", json!({"channel": "r", "data": data}));
                publisher.feed(&mut server, &[publish]);
                published += 1;
            }
        }
        for wanderer in &mut wanderers {
            match dice.below(6) {
                0 if !wanderer.awaits_reply => wanderer.come_back(&mut server),
                1 => {
                    let shard = dice.below(shards);
                    wanderer.come_back_anew(&mut server, shard);
                }
                2 => server.socket(wanderer.sdk.at).room = dice.below(400),
                3 => server.socket(wanderer.sdk.at).room = usize::MAX,
                _ => {}
            }
        }
        for _ in 0..dice.below(2 * shards) {
            server.turn(dice.below(shards));
        }
        if dice.below(4) == 0 {
            wanderers.iter_mut().for_each(|wanderer| wanderer.handle(&mut server));
        }
    }
    for wanderer in &mut wanderers {
        server.socket(wanderer.sdk.at).room = usize::MAX;
    }
    server.settle();
    for wanderer in &mut wanderers {
        wanderer.handle(&mut server);
        assert_eq!(wanderer.offset, published, "seed {seed}");
        assert!(wanderer.replies > 10, "it came back often: {}", wanderer.replies);
    }
    assert_eq!(server.counter(Counter::CutOutOfWindow), 0);
    server.finish();
}

#[test]
fn nobody_misses_or_repeats_a_publication_by_coming_back() {
    let seeds = std::env::var("RECOVERY_SEEDS").map_or(8, |seeds| seeds.parse().expect("a number"));
    for seed in 0..seeds {
        run(seed, 1 + seed as usize % 3);
    }
}
