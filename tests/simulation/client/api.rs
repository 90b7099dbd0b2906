//! The server API, as a back end of Centrifugo's would call it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Hand;
use super::forms::{list, number, protocol_says, text};
use crate::truth::Content;
use crate::wire::Response;

/// A call.
#[derive(Clone, Debug)]
pub enum Api {
    Publish { room: String, content: Content },
    Broadcast { rooms: Vec<String>, content: Content },
    Presence { room: String, stats: bool },
    History { room: String, limit: i64, reverse: bool },
    Channels,
    Info,
    Disconnect { user: String },
    Unsubscribe { room: String, user: String },
    Batch(Vec<Api>),
    NotOffered,
}

pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The names that clients say.
fn user(hand: &mut Hand<'_>) -> String {
    format!("user{}", hand.chance.below(3))
}

impl Api {
    pub fn draw(room: String, hand: &mut Hand<'_>) -> Api {
        match hand.chance.below(12) {
            0..=3 => Api::Publish { room, content: api_content(hand) },
            4 => {
                let rooms = hand.plan.rooms.iter().map(|room| room.as_str().to_owned()).collect();
                Api::Broadcast { rooms, content: api_content(hand) }
            }
            5 => Api::Presence { room, stats: hand.chance.one_in(2) },
            6 => {
                let limit = *hand.chance.pick(&[-1, 0, 1, 10, 10_000]);
                Api::History { room, limit, reverse: hand.chance.one_in(3) }
            }
            7 => hand.chance.pick(&[Api::Channels, Api::Info, Api::NotOffered]).clone(),
            8 if hand.chance.one_in(4) => Api::Disconnect { user: user(hand) },
            9 if hand.chance.one_in(4) => Api::Unsubscribe { room, user: user(hand) },
            _ => {
                let count = hand.chance.within(0..=3);
                let one = |hand: &mut Hand<'_>| match hand.chance.below(3) {
                    0 => Api::Presence { room: room.clone(), stats: true },
                    1 => Api::History { room: room.clone(), limit: 3, reverse: false },
                    _ => Api::Publish { room: room.clone(), content: api_content(hand) },
                };
                Api::Batch((0..count).map(|_| one(hand)).collect())
            }
        }
    }

    fn method(&self) -> &'static str {
        match self {
            Api::Publish { .. } => "publish",
            Api::Broadcast { .. } => "broadcast",
            Api::Presence { stats: false, .. } => "presence",
            Api::Presence { stats: true, .. } => "presence_stats",
            Api::History { .. } => "history",
            Api::Channels => "channels",
            Api::Info => "info",
            Api::Disconnect { .. } => "disconnect",
            Api::Unsubscribe { .. } => "unsubscribe",
            Api::Batch(_) => "batch",
            Api::NotOffered => "rpc",
        }
    }

    /// The method and the body; what it publishes is noted as sent.
    pub fn written(&self, hand: &mut Hand<'_>) -> (&'static str, Value) {
        let body = match self {
            Api::Publish { room, content } => {
                hand.truth.api_sent(room, content.clone());
                with_content(json!({"channel": room}), content)
            }
            Api::Broadcast { rooms, content } => {
                rooms.iter().for_each(|room| hand.truth.api_sent(room, content.clone()));
                with_content(json!({"channels": rooms}), content)
            }
            Api::Presence { room, .. } => json!({"channel": room}),
            Api::History { room, limit, reverse } => {
                json!({"channel": room, "limit": limit, "reverse": reverse})
            }
            Api::Channels | Api::Info | Api::NotOffered => json!({}),
            Api::Disconnect { user } => json!({"user": user, "disconnect": {"code": 4321, "reason": "sim"}}),
            Api::Unsubscribe { room, user } => json!({"channel": room, "user": user}),
            Api::Batch(calls) => {
                let command = |call: &Api| {
                    let (method, body) = call.written(hand);
                    json!({method: body})
                };
                json!({"commands": calls.iter().map(command).collect::<Vec<_>>()})
            }
        };
        (self.method(), body)
    }

    pub fn answered(&self, response: &Response, hand: &mut Hand<'_>) {
        assert_eq!(response.status, 200, "{response:?} to {self:?}");
        let answer = response.json();
        let Api::Batch(calls) = self else { return self.check(&answer, "result", hand) };
        let replies = list(&answer, "replies");
        assert_eq!(replies.len(), calls.len(), "{answer}");
        for (reply, call) in replies.iter().zip(calls) {
            call.check(reply, call.method(), hand);
        }
    }

    fn check(&self, answer: &Value, name: &str, hand: &mut Hand<'_>) {
        if let Some(error) = answer.get("error") {
            let code = number(error, "code");
            let expected: &[u64] = match self {
                Api::NotOffered => &[104],
                Api::Broadcast { .. } => &[106],
                Api::Presence { .. } => &[106, 108, 111],
                Api::History { .. } | Api::Channels | Api::Info => &[111],
                _ => &[],
            };
            assert!(expected.contains(&code), "{answer} to {self:?}");
            return;
        }
        let result = &answer[name];
        assert!(result.is_object(), "{answer} to {self:?}");
        match self {
            Api::Publish { room, content } => entered(result, room, content, hand),
            Api::Broadcast { rooms, content } => {
                let responses = list(result, "responses");
                assert_eq!(responses.len(), rooms.len());
                for (response, room) in responses.iter().zip(rooms) {
                    entered(&response["result"], room, content, hand);
                }
            }
            Api::Presence { stats: true, .. } => assert!(number(result, "num_clients") < 1000, "{result}"),
            Api::Presence { stats: false, .. } => {
                let present = result["presence"].as_object().expect("an object");
                assert!(present.len() <= hand.plan.config.presence_members, "{result}");
            }
            Api::History { room, limit, reverse } => history(result, room, *limit, *reverse, hand),
            _ => {}
        }
    }
}

/// JSON, or bytes.
fn api_content(hand: &mut Hand<'_>) -> Content {
    let composed = hand.truth.compose(hand.chance, hand.plan.payload_max);
    match std::str::from_utf8(&composed.bytes).ok().filter(|_| composed.text) {
        Some(text) => Content::new(true, Value::from(text).to_string().as_bytes()),
        // Without a byte it would count as not there.
        None if composed.bytes.is_empty() => Content::new(false, b"#"),
        None => Content::new(false, &composed.bytes),
    }
}

fn with_content(mut body: Value, content: &Content) -> Value {
    if content.text {
        body["data"] = serde_json::from_slice(&content.bytes).expect("it was composed as JSON");
    } else {
        body["b64data"] = base64(&content.bytes).into();
    }
    body
}

fn entered(result: &Value, room: &str, content: &Content, hand: &mut Hand<'_>) {
    hand.truth.acknowledge(room, text(result, "epoch"), number(result, "offset"), content.clone());
}

fn history(result: &Value, room: &str, limit: i64, reverse: bool, hand: &mut Hand<'_>) {
    let (epoch, last) = (text(result, "epoch"), number(result, "offset"));
    let publications = list(result, "publications");
    assert!(limit < 0 || publications.len() as i64 <= limit, "{result}");
    let mut offsets = Vec::new();
    for publication in publications {
        let offset = number(publication, "offset");
        offsets.push(offset);
        hand.truth.confirm((room, epoch), offset, "a history of the API", |content| {
            protocol_says(publication, content)
        });
    }
    if reverse {
        offsets.reverse();
    }
    assert!(offsets.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{offsets:?}");
    assert!(offsets.iter().all(|offset| *offset <= last), "{offsets:?} of {last}");
}
