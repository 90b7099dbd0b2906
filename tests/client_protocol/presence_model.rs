//! A thousand random joins, leaves, crashes and reconnects, against a model of who is where. Observers on
//! every shard replay what they are told.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::time::Duration;

use fanfare::Config;
use fanfare::endpoint::CloseKind;
use fanfare::time::Time;
use serde_json::{Value, json};

use crate::common::{Client, Server, close, request, text};
use crate::recovery_races::Dice;
use crate::sdk::{FRAMINGS, Framing, Sdk, server};

const SHARDS: usize = 3;
const ROOMS: [&str; 4] = ["a", "b", "c", "d"];
const NAMES: [&str; 5] = ["", "ann", "bob", "cy", "dee"];
const CLIENTS_MAX: usize = 24;
const STEPS: usize = 1000;
/// Seeds of the short form; `PRESENCE_SEEDS` asks for more.
const SEEDS: u64 = 2;

fn config() -> Config {
    Config {
        ping_interval: Duration::from_secs(4),
        pong_timeout: Duration::from_secs(2),
        presence_grace: Duration::from_secs(5),
        command_rate: 1 << 20,
        ..Config::default()
    }
}

/// What others are told: the room, whether it is a join, and the client id.
type Told = (String, bool, String);

/// Orders ids as the server does: by shard, then by key.
fn place(id: &str) -> (u64, u64) {
    let (shard, key) = id.split_once('-').expect("SHARD-KEY");
    (shard.parse().expect("a shard"), u64::from_str_radix(key, 16).expect("a key"))
}

#[derive(Debug)]
struct Listed {
    user: String,
    /// Until when it lingers, if its connection has died.
    until: Option<Time>,
}

/// Who is where, and who may come back.
#[derive(Debug, Default)]
struct Model {
    rooms: BTreeMap<String, BTreeMap<String, Listed>>,
    /// By name, then by the end of the grace, then by id.
    waiting: BTreeSet<(String, Time, (u64, u64), String)>,
    told: Vec<Told>,
}

impl Model {
    /// The id that one of this name gets, if one waits for it.
    fn take(&mut self, user: &str, now: Time) -> Option<String> {
        let found = self.waiting.iter().find(|(name, until, ..)| name == user && *until > now)?.clone();
        self.waiting.remove(&found);
        Some(found.3)
    }

    fn join(&mut self, room: &str, id: &str, user: &str) {
        let listed = self.rooms.entry(room.to_owned()).or_default();
        match listed.get_mut(id) {
            Some(back) => assert!(back.until.take().is_some(), "{id} is in {room} already"),
            None => {
                listed.insert(id.to_owned(), Listed { user: user.to_owned(), until: None });
                self.told.push((room.to_owned(), true, id.to_owned()));
            }
        }
    }

    fn leave(&mut self, room: &str, id: &str) {
        let listed = self.rooms.get_mut(room).expect("a room with somebody");
        listed.remove(id).expect("it is there");
        self.told.push((room.to_owned(), false, id.to_owned()));
    }

    /// Its connection has died without a word.
    fn die(&mut self, rooms: &BTreeSet<String>, id: &str, user: &str, now: Time) {
        if user.is_empty() {
            rooms.iter().for_each(|room| self.leave(room, id));
            return;
        }
        let until = now + config().presence_grace;
        for room in rooms {
            let listed = self.rooms.get_mut(room).and_then(|listed| listed.get_mut(id));
            listed.expect("it is there").until = Some(until);
        }
        if !rooms.is_empty() {
            self.waiting.insert((user.to_owned(), until, place(id), id.to_owned()));
        }
    }

    /// Who has not come back by now has left.
    fn expire(&mut self, now: Time) {
        self.waiting.retain(|(_, until, ..)| *until > now);
        for (room, listed) in &mut self.rooms {
            let over = |listed: &Listed| listed.until.is_some_and(|until| until <= now);
            let gone: Vec<String> =
                listed.iter().filter(|(_, who)| over(who)).map(|(id, _)| id.clone()).collect();
            for id in gone {
                listed.remove(&id);
                self.told.push((room.clone(), false, id));
            }
        }
    }

    fn list(&self, room: &str) -> Value {
        let listed = self.rooms.get(room).into_iter().flatten();
        listed.map(|(id, who)| (id.clone(), json!({"user": who.user, "client": id}))).collect()
    }

    fn stats(&self, room: &str) -> Value {
        let users: BTreeSet<&str> =
            self.rooms.get(room).into_iter().flatten().map(|(_, who)| who.user.as_str()).collect();
        let clients = self.rooms.get(room).map_or(0, BTreeMap::len);
        json!({"num_clients": clients, "num_users": users.len()})
    }
}

/// A client that comes and goes.
struct Guest {
    sdk: Sdk,
    user: &'static str,
    rooms: BTreeSet<String>,
    /// It answers no ping any more.
    silent: bool,
}

/// One that is told of everybody, and the list that it makes of that.
struct Observer {
    sdk: Sdk,
    lists: BTreeMap<String, BTreeMap<String, Value>>,
    told: Vec<Told>,
}

impl Observer {
    fn handle(&mut self, server: &mut Server) {
        for reply in self.sdk.inbox(server) {
            if reply == json!({}) {
                self.sdk.feed(server, &[json!({})]);
                continue;
            }
            let push = &reply["push"];
            let room = push["channel"].as_str().expect("a push").to_owned();
            let joined = push.get("join").is_some();
            let info = if joined { &push["join"]["info"] } else { &push["leave"]["info"] };
            let id = info["client"].as_str().unwrap_or_else(|| panic!("{reply}")).to_owned();
            let list = self.lists.entry(room.clone()).or_default();
            let before = if joined { list.insert(id.clone(), info.clone()) } else { list.remove(&id) };
            assert_eq!(
                before.is_some(),
                !joined,
                "no join of one who is there, no leave of another: {reply}"
            );
            self.told.push((room, joined, id));
        }
    }
}

struct World {
    server: Server,
    model: Model,
    dice: Dice,
    guests: Vec<Guest>,
    observers: Vec<Observer>,
    /// Ids that have been given out.
    ids: BTreeSet<String>,
    returned: usize,
    deaths: usize,
}

impl World {
    fn new(seed: u64) -> World {
        let mut server = server(SHARDS, &config());
        let mut model = Model::default();
        let mut observers: Vec<Observer> = (0..SHARDS)
            .map(|shard| {
                let sdk = Sdk::named(&mut server, shard, FRAMINGS[shard % 2], "observer");
                Observer { sdk, lists: BTreeMap::new(), told: Vec::new() }
            })
            .collect();
        for observer in &mut observers {
            for room in ROOMS {
                let params = json!({"channel": room, "join_leave": true});
                observer.sdk.ask(&mut server, "subscribe", params).expect("it may");
                model.join(room, &observer.sdk.id, "observer");
            }
        }
        for observer in &mut observers {
            observer.sdk.inbox(&mut server);
            for room in ROOMS {
                let list = model.list(room).as_object().expect("a list").clone();
                observer.lists.insert(room.to_owned(), list.into_iter().collect());
            }
        }
        model.told.clear();
        let ids = observers.iter().map(|observer| observer.sdk.id.clone()).collect();
        let dice = Dice::new(seed);
        World { server, model, dice, guests: Vec::new(), observers, ids, returned: 0, deaths: 0 }
    }

    fn step(&mut self) {
        match self.dice.below(16) {
            0..=2 if self.guests.len() < CLIENTS_MAX => self.come(),
            3..=7 => self.join_or_leave(),
            8 => self.say_goodbye(),
            9..=11 => self.crash(),
            12 => self.fall_silent(),
            _ => {
                let by = Duration::from_millis(50 + self.dice.below(2500) as u64);
                self.pass(by);
            }
        }
        self.server.settle();
        self.check();
    }

    /// Takes one out who still talks.
    fn take_guest(&mut self) -> Option<Guest> {
        let talking: Vec<usize> = (0..self.guests.len()).filter(|at| !self.guests[*at].silent).collect();
        if talking.is_empty() {
            return None;
        }
        let at = talking[self.dice.below(talking.len())];
        Some(self.guests.swap_remove(at))
    }

    fn come(&mut self) {
        let user = NAMES[self.dice.below(NAMES.len())];
        let (shard, framing) = (self.dice.below(SHARDS), FRAMINGS[self.dice.below(2)]);
        let awaited = if user.is_empty() { None } else { self.model.take(user, self.server.now()) };
        let sdk = match user {
            "" => Sdk::connect(&mut self.server, shard, framing),
            name => Sdk::named(&mut self.server, shard, framing, name),
        };
        match awaited {
            Some(id) => {
                assert_eq!(sdk.id, id, "{user} is back");
                self.returned += 1;
            }
            None => assert!(self.ids.insert(sdk.id.clone()), "{} was another's", sdk.id),
        }
        self.guests.push(Guest { sdk, user, rooms: BTreeSet::new(), silent: false });
    }

    fn join_or_leave(&mut self) {
        let Some(mut guest) = self.take_guest() else { return };
        let room = ROOMS[self.dice.below(ROOMS.len())];
        if guest.rooms.remove(room) {
            guest.sdk.ask(&mut self.server, "unsubscribe", json!({"channel": room})).expect("it may");
            self.model.leave(room, &guest.sdk.id);
        } else {
            guest.sdk.subscribe(&mut self.server, room);
            guest.rooms.insert(room.to_owned());
            self.model.join(room, &guest.sdk.id, guest.user);
        }
        self.guests.push(guest);
    }

    fn say_goodbye(&mut self) {
        let Some(guest) = self.take_guest() else { return };
        self.server.feed(guest.sdk.at, &close(1000, ""));
        guest.rooms.iter().for_each(|room| self.model.leave(room, &guest.sdk.id));
    }

    fn crash(&mut self) {
        let Some(guest) = self.take_guest() else { return };
        match self.dice.below(3) {
            0 => self.server.socket(guest.sdk.at).eof = true,
            1 => self.server.socket(guest.sdk.at).error = Some(ErrorKind::ConnectionReset),
            // A page that is left says so and may be back.
            _ => self.server.feed(guest.sdk.at, &close(1001, "")),
        }
        self.model.die(&guest.rooms, &guest.sdk.id, guest.user, self.server.now());
    }

    fn fall_silent(&mut self) {
        let Some(mut guest) = self.take_guest() else { return };
        guest.silent = true;
        self.guests.push(guest);
    }

    /// Lets time pass, in which all who are not silent answer pings.
    fn pass(&mut self, by: Duration) {
        let mut left = by;
        while !left.is_zero() {
            let part = left.min(Duration::from_millis(700));
            left -= part;
            self.server.advance(part);
            let now = self.server.now();
            self.model.expire(now);
            let guests = std::mem::take(&mut self.guests);
            for mut guest in guests {
                let pinged = guest.sdk.inbox(&mut self.server).contains(&json!({}));
                if guest.sdk.close.is_some() {
                    assert!(guest.silent, "{:?}", guest.sdk.close);
                    assert_eq!(guest.sdk.closed(&mut self.server).0, 3012);
                    self.model.die(&guest.rooms, &guest.sdk.id, guest.user, now);
                    self.deaths += 1;
                    self.server.socket(guest.sdk.at).eof = true;
                    continue;
                }
                if pinged && !guest.silent {
                    guest.sdk.feed(&mut self.server, &[json!({})]);
                }
                self.guests.push(guest);
            }
            self.observers.iter_mut().for_each(|observer| observer.handle(&mut self.server));
            self.server.settle();
        }
    }

    /// Everybody is told the same as the model, and has the same lists.
    fn check(&mut self) {
        let mut expected = std::mem::take(&mut self.model.told);
        expected.sort();
        for observer in &mut self.observers {
            observer.handle(&mut self.server);
            let mut told = std::mem::take(&mut observer.told);
            told.sort();
            assert_eq!(told, expected);
            for (room, list) in &observer.lists {
                assert_eq!(json!(list), self.model.list(room), "{room}");
            }
        }
        let asker = self.dice.below(SHARDS);
        let room = ROOMS[self.dice.below(ROOMS.len())];
        let sdk = &mut self.observers[asker].sdk;
        let present = sdk.ask(&mut self.server, "presence", json!({"channel": room})).expect("it may");
        assert_eq!(present["presence"], self.model.list(room), "{room}");
        let stats = sdk.ask(&mut self.server, "presence_stats", json!({"channel": room})).expect("it may");
        assert_eq!(stats, self.model.stats(room), "{room}");
    }

    /// Everybody leaves, and nothing is left of them.
    fn end(mut self) {
        while let Some(guest) = self.guests.pop() {
            self.server.socket(guest.sdk.at).eof = true;
            self.model.die(&guest.rooms, &guest.sdk.id, guest.user, self.server.now());
        }
        self.server.settle();
        self.check();
        self.pass(config().presence_grace);
        self.check();
        for room in ROOMS {
            assert_eq!(self.model.stats(room), json!({"num_clients": SHARDS, "num_users": 1}));
        }
        assert!(self.server.registry.returning().is_empty());
        for observer in &self.observers {
            self.server.feed(observer.sdk.at, &close(1000, ""));
        }
        self.server.settle();
        self.server.advance(config().history_age + Duration::from_secs(60));
        self.server.settle();
        assert!(self.server.registry.is_empty());
        assert_eq!((self.server.registry.memory_bytes(), self.server.registry.returning().len()), (0, 0));
        let deaths = self.server.closes(CloseKind::HeartbeatTimeout);
        assert_eq!(deaths, self.deaths as u64);
        self.server.finish();
    }
}

#[test]
fn presence_is_right_after_a_thousand_joins_leaves_crashes_and_reconnects() {
    let seeds = std::env::var("PRESENCE_SEEDS").map_or(SEEDS, |seeds| seeds.parse().expect("a number"));
    for seed in 0..seeds {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        assert!(world.returned > 10 && world.deaths > 5, "{} {}", world.returned, world.deaths);
        world.end();
    }
}

/// At the raw door nobody gets what it sent itself: whoever came back as the one that died would miss that.
#[test]
fn a_name_at_the_raw_door_is_no_way_back() {
    let mut server = server(2, &config());
    let mut watcher = Sdk::connect(&mut server, 0, Framing::Json);
    watcher.ask(&mut server, "subscribe", json!({"channel": "a", "join_leave": true})).unwrap();
    watcher.inbox(&mut server);
    let raw: Client = server.connect(1, "/rooms/a?name=ann");
    server.feed(raw, &text("mine"));
    server.settle();
    let told = watcher.pushes(&mut server);
    let id = told[0]["join"]["info"]["client"].as_str().unwrap().to_owned();
    server.socket(raw).eof = true;
    server.settle();
    assert_eq!(watcher.pushes(&mut server).len(), 1, "it has left");
    let back = Sdk::named(&mut server, 0, Framing::Protobuf, "ann");
    assert_ne!(back.id, id);
    let again: Client = server.adopt(1);
    server.feed(again, &request("/rooms/a?name=ann&last=10"));
    server.settle();
    assert!(server.take_output(again).ends_with(b"mine"), "a stranger of its name gets it all");
    server.finish();
}
