//! A client of the Centrifugo client protocol in JSON, as an SDK behaves: it subscribes, recovers where it
//! was, publishes, asks for history and presence, and answers pings.

use std::collections::{BTreeMap, VecDeque};

use fanfare::endpoint::CloseCause;
use fanfare::rooms::LagPolicy;
use serde_json::{Value, json};

use super::forms::{list, number, protocol_says, text};
use super::{Actor, Deed, End, Hand};
use crate::plan::policy_of;
use crate::truth::Content;
use crate::wire::{CLOSE, Ear, Frame, Heard, PING, PONG, Response, TEXT, push_frame, upgrade_request};

/// Commands on the way at a time.
const PIPELINED: usize = 6;

/// What a reply is awaited to.
#[derive(Debug)]
enum What {
    Connect,
    Subscribe(Wish),
    Unsubscribe(String),
    /// To a room; which of its messages there it is.
    Publish(String, usize),
    History(String),
    Presence,
    Ping,
}

/// What it wants of a room.
#[derive(Debug)]
struct Wish {
    room: String,
    /// Whether it is told who joins and leaves.
    watches: bool,
    /// Where it was, if it comes back.
    recover: Option<(String, u64)>,
}

/// A room that it is subscribed to.
#[derive(Debug)]
struct Subscription {
    epoch: String,
    /// The last offset that it has.
    at: u64,
    watches: bool,
}

#[derive(Debug, Default)]
pub struct Sdk {
    name: Option<String>,
    /// Where it was in rooms that it goes back to.
    left_at: BTreeMap<String, (String, u64)>,
    ear: Ear,
    /// The ids of the connection, and of the client.
    connection: Option<String>,
    client: Option<String>,
    next_id: u64,
    asked: VecDeque<(u64, What)>,
    rooms: BTreeMap<String, Subscription>,
    /// Rooms that this connection has published to, and which life of the client id it is there.
    publishes_to: BTreeMap<String, usize>,
    /// It has sent more commands in a frame than a message may have.
    doomed: bool,
    close_sent: bool,
    close_heard: Option<u16>,
}

impl Sdk {
    pub fn new(hand: &mut Hand<'_>) -> Sdk {
        let name = hand.chance.one_in(2).then(|| format!("user{}", hand.chance.below(3)));
        Sdk { name, ..Sdk::default() }
    }

    fn send(&mut self, opcode: u8, payload: &[u8], hand: &mut Hand<'_>) {
        self.doomed |= payload.len() > hand.plan.config.max_message;
        let mask = (hand.chance.bits() as u32).to_be_bytes();
        push_frame(hand.out, 0x80 | opcode, payload, mask);
    }

    fn command(&mut self, what: What, method: &str, params: Value) -> Value {
        self.next_id += 1;
        self.asked.push_back((self.next_id, what));
        json!({"id": self.next_id, method: params})
    }

    /// Commands of its own accord, in one frame.
    fn ask(&mut self, hand: &mut Hand<'_>) {
        let mut lines = Vec::new();
        for _ in 0..hand.chance.within(1..=3) {
            if self.asked.len() < PIPELINED {
                lines.push(self.next_command(hand).to_string());
            }
        }
        if !lines.is_empty() {
            self.send(TEXT, lines.join("\n").as_bytes(), hand);
        }
    }

    fn next_command(&mut self, hand: &mut Hand<'_>) -> Value {
        let room = hand.chance.pick(&hand.plan.rooms).as_str().to_owned();
        match hand.chance.below(10) {
            0 | 1 if !self.rooms.contains_key(&room) => self.subscribe(room, hand),
            2 if hand.chance.one_in(3) => {
                let params = json!({"channel": room});
                self.command(What::Unsubscribe(room), "unsubscribe", params)
            }
            3 => {
                let limit = hand.chance.magnitude(0..=300);
                let reverse = hand.chance.one_in(4);
                let params = json!({"channel": room, "limit": limit, "reverse": reverse});
                self.command(What::History(room), "history", params)
            }
            4 => {
                let method = if hand.chance.one_in(2) { "presence" } else { "presence_stats" };
                self.command(What::Presence, method, json!({"channel": room}))
            }
            5 => self.command(What::Ping, "ping", json!({})),
            _ => self.publish(room, hand),
        }
    }

    fn subscribe(&mut self, room: String, hand: &mut Hand<'_>) -> Value {
        let (watches, recover) = (hand.chance.one_in(2), self.left_at.get(&room).cloned());
        let mut params = json!({"channel": room, "flag": 1, "join_leave": watches});
        if let Some((epoch, offset)) = &recover {
            params["recover"] = true.into();
            params["epoch"] = epoch.as_str().into();
            params["offset"] = (*offset).into();
        }
        self.command(What::Subscribe(Wish { room, watches, recover }), "subscribe", params)
    }

    /// Publishes JSON, as that is what this protocol carries.
    fn publish(&mut self, room: String, hand: &mut Hand<'_>) -> Value {
        let composed = hand.truth.compose(hand.chance, hand.plan.payload_max);
        let data = Value::from(String::from_utf8_lossy(&composed.bytes));
        let content = Content::new(true, data.to_string().as_bytes());
        let client = self.client.clone().expect("it is connected");
        let life = match self.publishes_to.get(&room) {
            Some(life) => *life,
            None => hand.truth.refusable_member_opened(&room, &client),
        };
        self.publishes_to.insert(room.clone(), life);
        let which = hand.truth.member_sent((&room, &client, life), content);
        let params = json!({"channel": room, "data": data});
        self.command(What::Publish(room, which), "publish", params)
    }

    fn frame(&mut self, frame: Frame, hand: &mut Hand<'_>) {
        match frame.opcode {
            TEXT => {
                let text = String::from_utf8(frame.payload).expect("it was checked");
                for line in text.split('\n') {
                    let value =
                        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
                    self.reply(&value, hand);
                }
            }
            PING => self.send(PONG, &frame.payload, hand),
            CLOSE => {
                let (code, reason) = frame.close();
                self.closed(code, &reason, hand);
                if !self.close_sent {
                    self.close_sent = true;
                    self.send(CLOSE, &frame.payload[..frame.payload.len().min(2)], hand);
                }
            }
            _ => panic!("{frame:?} to a client of the protocol"),
        }
    }

    fn reply(&mut self, reply: &Value, hand: &mut Hand<'_>) {
        if let Some(push) = reply.get("push") {
            return self.push(push, hand);
        }
        if reply.as_object().is_some_and(|reply| reply.is_empty()) {
            // The server's ping; its answer is the same.
            return self.send(TEXT, b"{}", hand);
        }
        let (id, what) = self.asked.pop_front().unwrap_or_else(|| panic!("nobody asked for {reply}"));
        assert_eq!(number(reply, "id"), id, "replies are in the order of the commands: {reply}");
        if let Some(error) = reply.get("error") {
            return self.refused(&what, number(error, "code"), hand);
        }
        match what {
            What::Connect => self.connected(&reply["connect"], hand),
            What::Subscribe(wish) => self.subscribed(wish, &reply["subscribe"], hand),
            What::Unsubscribe(room) => {
                assert!(reply["unsubscribe"].is_object(), "{reply}");
                self.leave_room(&room);
            }
            What::Publish(room, _) => {
                assert!(reply["publish"].is_object(), "{reply}");
                let client = self.client.as_ref().expect("it is connected");
                hand.truth.member_acknowledged(&room, client);
            }
            What::History(room) => {
                let history = &reply["history"];
                let epoch = text(history, "epoch");
                for publication in list(history, "publications") {
                    confirm((&room, epoch), publication, "a history of the protocol", hand);
                }
            }
            What::Presence => {
                let some = reply["presence"]["presence"].is_object() || reply["presence_stats"].is_object();
                assert!(some, "{reply}");
            }
            What::Ping => assert!(reply["ping"].is_object(), "{reply}"),
        }
    }

    fn refused(&mut self, what: &What, code: u64, hand: &mut Hand<'_>) {
        let expected: &[u64] = match what {
            What::Subscribe(..) => &[105, 106],
            What::Publish(..) => &[103],
            What::Presence => &[106, 108],
            _ => &[],
        };
        assert!(code == 111 || expected.contains(&code), "error {code} to {what:?}");
        if let What::Publish(room, which) = what {
            let client = self.client.as_ref().expect("it is connected");
            let life = self.publishes_to[room];
            hand.truth.member_was_refused((room, client, life), *which);
        }
    }

    fn connected(&mut self, result: &Value, hand: &mut Hand<'_>) {
        let client = text(result, "client").to_owned();
        if self.connection.as_ref() != Some(&client) {
            hand.truth.meet("a client known as before");
        }
        self.client = Some(client);
        let rooms: Vec<String> = self.left_at.keys().cloned().collect();
        let commands: Vec<String> =
            rooms.into_iter().map(|room| self.subscribe(room, hand).to_string()).collect();
        if !commands.is_empty() {
            self.send(TEXT, commands.join("\n").as_bytes(), hand);
        }
    }

    fn subscribed(&mut self, wish: Wish, result: &Value, hand: &mut Hand<'_>) {
        let Wish { room, watches, recover } = wish;
        let epoch = text(result, "epoch").to_owned();
        let recovered = result["recovered"].as_bool().unwrap_or_default();
        let publications = list(result, "publications");
        let mut at = number(result, "offset");
        if let Some((wanted, offset)) = &recover {
            match recovered {
                true => {
                    hand.truth.meet("a recovery of the protocol");
                    assert_eq!((wanted, *offset), (&epoch, at), "it recovers from where it was: {result}");
                }
                false if policy_of(&room) != LagPolicy::Latest => {
                    hand.truth.assert_not_held(&room, wanted, *offset)
                }
                false => {}
            }
        } else {
            assert!(!recovered, "{result}");
        }
        assert!(recovered || publications.is_empty(), "{result}");
        for publication in publications {
            at += 1;
            assert_eq!(number(publication, "offset"), at, "what was missed has no gap: {result}");
            confirm((&room, &epoch), publication, "a recovery", hand);
        }
        let before = self.rooms.insert(room, Subscription { epoch, at, watches });
        assert!(before.is_none(), "it was subscribed already: {before:?}");
    }

    fn push(&mut self, push: &Value, hand: &mut Hand<'_>) {
        let room = text(push, "channel").to_owned();
        let subscription = self.rooms.get_mut(&room);
        let subscription = subscription.unwrap_or_else(|| panic!("it is not subscribed to {push}"));
        if let Some(publication) = push.get("pub") {
            let offset = number(publication, "offset");
            let follows = match policy_of(&room) {
                LagPolicy::Latest => offset > subscription.at,
                LagPolicy::Skip | LagPolicy::Disconnect => offset == subscription.at + 1,
            };
            assert!(follows, "{offset} of {room} does not follow {}", subscription.at);
            subscription.at = offset;
            confirm((&room, &subscription.epoch), publication, "a push", hand);
        } else if let Some(gone) = push.get("unsubscribe") {
            let code = number(gone, "code");
            assert!(code == 2000 || (code == 2500 && policy_of(&room) != LagPolicy::Disconnect), "{push}");
            self.leave_room(&room);
        } else {
            let change = push.get("join").or_else(|| push.get("leave"));
            let change = change.unwrap_or_else(|| panic!("what is {push}?"));
            assert!(subscription.watches, "it did not want to hear {push}");
            assert!(!text(&change["info"], "client").is_empty(), "{push}");
            hand.truth.meet("a join or leave told");
        }
    }

    fn leave_room(&mut self, room: &str) {
        if let Some(Subscription { epoch, at, .. }) = self.rooms.remove(room) {
            self.left_at.insert(room.to_owned(), (epoch, at));
        }
    }

    /// The codes are the protocol's own where it has some (README, "Why a connection was closed").
    fn closed(&mut self, code: u16, reason: &str, hand: &mut Hand<'_>) {
        self.close_heard = Some(code);
        let connection = self.connection.as_ref().expect("it is open");
        let cause = hand.ledger.cause_of(connection);
        let cause = cause.unwrap_or_else(|| panic!("{connection} got a Close and its endpoint none"));
        let expected = match &cause {
            CloseCause::Shutdown => 3001,
            CloseCause::OutOfWindow { .. }
            | CloseCause::WriteTimeout { .. }
            | CloseCause::QueueOverflow { .. }
            | CloseCause::Shed { .. } => 3008,
            CloseCause::HeartbeatTimeout { .. } => 3012,
            CloseCause::IntroductionTimeout { .. } => 3502,
            CloseCause::MessageTimeout { .. } => 3000,
            CloseCause::RateExceeded { .. } => 3013,
            other => other.close_code().map_or(1005, |code| code.as_u16()),
        };
        assert_eq!(code, expected, "the Close of {cause:?}, {reason}");
        if cause != CloseCause::Shutdown {
            return;
        }
        for (room, subscription) in &self.rooms {
            let skips = policy_of(room) != LagPolicy::Disconnect;
            let complete = skips || hand.truth.is_drained(room, &subscription.epoch, subscription.at);
            assert!(complete, "shut down at {} of {room} before it had all", subscription.at);
        }
    }

    fn response(&mut self, response: &Response, hand: &mut Hand<'_>) {
        if response.status != 101 {
            return assert!(matches!(response.status, 408 | 429 | 503), "{response:?}");
        }
        self.connection = response.header("fanfare-client").map(str::to_owned);
        let mut params = json!({"name": "js"});
        if let Some(name) = &self.name {
            params["data"] = json!({"name": name});
        }
        let connect = self.command(What::Connect, "connect", params).to_string();
        self.send(TEXT, connect.as_bytes(), hand);
    }

    fn is_open(&self) -> bool {
        self.client.is_some() && !self.close_sent
    }
}

fn confirm((room, epoch): (&str, &str), publication: &Value, who: &str, hand: &Hand<'_>) {
    let offset = number(publication, "offset");
    hand.truth.confirm((room, epoch), offset, who, |content| protocol_says(publication, content));
}

impl Actor for Sdk {
    fn name(&self) -> &'static str {
        "sdk"
    }

    fn connection(&self) -> Option<&str> {
        self.connection.as_deref()
    }

    fn rooms(&self) -> Vec<&str> {
        if self.is_open() { self.rooms.keys().map(String::as_str).collect() } else { Vec::new() }
    }

    fn is_doomed(&self) -> bool {
        self.doomed
    }

    fn greet(&mut self, hand: &mut Hand<'_>) {
        self.ear.asked(false);
        let frames_ping = if hand.chance.one_in(3) { "?cf_ws_frame_ping_pong=true" } else { "" };
        hand.out.extend(upgrade_request(&format!("/connection/websocket{frames_ping}")));
    }

    fn act(&mut self, hand: &mut Hand<'_>) -> Deed {
        if self.is_open() {
            self.ask(hand);
        }
        Deed::GoOn
    }

    fn hear(&mut self, bytes: &[u8], hand: &mut Hand<'_>) {
        for heard in self.ear.hear(bytes) {
            match heard {
                Heard::Response(response) => self.response(&response, hand),
                Heard::Frame(frame) => self.frame(frame, hand),
                Heard::Event(event) => panic!("{event:?} on a WebSocket"),
            }
        }
    }

    fn end(&mut self, end: End, hand: &mut Hand<'_>) -> Option<Box<dyn Actor>> {
        if let Some(connection) = &self.connection {
            let told = self.close_heard.is_some() || hand.half_closed || end == End::Broken;
            assert!(
                told || !hand.ledger.closed_in_calm(connection),
                "{connection} was dropped without a word"
            );
        }
        let rooms: Vec<String> = self.rooms.keys().cloned().collect();
        rooms.iter().for_each(|room| self.leave_room(room));
        let (name, left_at) = (self.name.take(), std::mem::take(&mut self.left_at));
        Some(Box::new(Sdk { name, left_at, ..Sdk::default() }))
    }

    fn rest(&mut self, hand: &mut Hand<'_>) {
        if !self.is_open() || hand.half_closed {
            return;
        }
        assert!(!self.ear.is_within(), "a frame was begun and not ended: {self:?}");
        assert!(self.asked.is_empty(), "without a reply: {:?}", self.asked);
        for (room, subscription) in &self.rooms {
            let last = hand.truth.log(room, &subscription.epoch).map_or(0, |log| log.last());
            assert_eq!(subscription.at, last, "a subscription to {room} at rest");
        }
    }

    fn leave(&mut self, hand: &mut Hand<'_>) -> Deed {
        if !self.is_open() {
            return Deed::HalfClose;
        }
        self.close_sent = true;
        self.send(CLOSE, &1000u16.to_be_bytes(), hand);
        Deed::GoOn
    }
}
