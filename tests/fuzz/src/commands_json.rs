//! Target `commands_json`: commands of the client protocol in JSON. Each is what a general JSON parser makes
//! of it, is answered once, and what is published reaches everybody.

use std::collections::BTreeSet;

use fanfare::endpoint::client_protocol::{Command, Framing, Request, decode};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::choices::Choices;
use super::commands::{Session, member};
use super::world::{World, small};

const FRAMES_MAX: usize = 16;
const METHODS: [&str; 12] = [
    "connect",
    "subscribe",
    "unsubscribe",
    "publish",
    "presence",
    "presence_stats",
    "history",
    "ping",
    "send",
    "rpc",
    "refresh",
    "sub_refresh",
];

/// Choices: limits, whether `connect` is sent before. Then frames, with a byte 0 between.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let first = choices.byte();
    let mut config = small();
    config.command_rate = [8, 1000][usize::from(first & 1)];
    config.max_message = 2048;
    config.member_publish = first & 4 == 0;
    let frames: Vec<&[u8]> = choices.rest().split(|byte| *byte == 0).take(FRAMES_MAX).collect();
    for frame in &frames {
        check_against_parser(frame);
    }
    let mut session = Session::new(World::new(1, config), Framing::Json, first & 2 != 0);
    for frame in frames {
        session.frame(frame);
    }
    session.end();
}

/// What the decoder finds is what a general parser finds, where that can read it.
fn check_against_parser(frame: &[u8]) {
    let Ok(text) = std::str::from_utf8(frame) else {
        assert!(decode(Framing::Json, frame).next().is_some_and(|first| first.is_err()));
        return;
    };
    let lines = text.strip_suffix('\n').unwrap_or(text).split('\n');
    for (line, found) in lines.zip(decode(Framing::Json, frame)) {
        let Ok(Members(names)) = serde_json::from_str(line) else {
            assert!(found.is_err(), "no object: {line}");
            return;
        };
        let Ok(value) = serde_json::from_str::<Value>(line) else { return };
        match found {
            Ok(command) => check_command(&command, &value, &names),
            Err(error) => {
                let plausible = is_strange(&value, &names);
                assert!(plausible, "{error}: {line}");
                return;
            }
        }
    }
}

fn check_command(command: &Command<'_>, value: &Value, names: &[String]) {
    let known: Vec<&str> = METHODS.into_iter().filter(|method| member(value, method).is_some()).collect();
    assert_eq!(member(value, "id").and_then(Value::as_u64).unwrap_or(0), u64::from(command.id));
    let once: BTreeSet<&String> = names.iter().filter(|name| is_known(name)).collect();
    assert_eq!(once.len(), names.iter().filter(|name| is_known(name)).count(), "twice there: {value}");
    let channel = |method: &str| {
        let parameters = member(value, method).expect("the request");
        member(parameters, "channel").map_or("", |channel| channel.as_str().expect("a string")).to_owned()
    };
    let expected = match &command.request {
        Request::Pong => {
            assert!(known.is_empty());
            return;
        }
        Request::Publish { channel: room, data } => {
            assert_eq!(*room, channel("publish"));
            let data: Option<Value> = serde_json::from_slice(data.bytes).ok();
            assert_eq!(data.as_ref(), value["publish"].get("data"));
            "publish"
        }
        Request::MapPublish => "publish",
        Request::Subscribe(subscribe) => {
            assert_eq!(subscribe.channel, channel("subscribe"));
            let parameters = &value["subscribe"];
            assert_eq!(subscribe.offset, member(parameters, "offset").and_then(Value::as_u64).unwrap_or(0));
            let recover = member(parameters, "recover").and_then(Value::as_bool);
            assert_eq!(subscribe.recover, recover.unwrap_or(false));
            "subscribe"
        }
        Request::Unsubscribe { channel: room } => {
            assert_eq!(*room, channel("unsubscribe"));
            "unsubscribe"
        }
        Request::Presence { channel: room } => {
            assert_eq!(*room, channel("presence"));
            "presence"
        }
        Request::PresenceStats { channel: room } => {
            assert_eq!(*room, channel("presence_stats"));
            "presence_stats"
        }
        Request::History(history) => {
            assert_eq!(history.channel, channel("history"));
            let limit = member(&value["history"], "limit").and_then(Value::as_i64).unwrap_or(0);
            assert_eq!(i64::from(history.limit), limit);
            "history"
        }
        Request::Connect(_) => "connect",
        Request::Ping => "ping",
        Request::Send => "send",
        Request::Rpc => "rpc",
        Request::Refresh => "refresh",
        Request::SubRefresh => "sub_refresh",
    };
    assert_eq!(known, [expected]);
}

fn is_known(name: &str) -> bool {
    name == "id" || METHODS.contains(&name)
}

/// Whether something about an object may be refused: ids, numbers of requests, members of a wrong type or
/// twice there. A plain command must not be.
fn is_strange(value: &Value, names: &[String]) -> bool {
    let known: Vec<&String> = names.iter().filter(|name| is_known(name)).collect();
    let twice = known.iter().collect::<BTreeSet<_>>().len() < known.len();
    let id = match member(value, "id") {
        None => Some(0),
        Some(id) => id.as_u64().filter(|id| *id <= u64::from(u32::MAX)),
    };
    let requests: Vec<&Value> = METHODS.iter().filter_map(|method| member(value, method)).collect();
    let plain = |request: &Value| request.as_object().is_some_and(|members| members.is_empty());
    let usable = match id {
        None => false,
        Some(0) => requests.is_empty() || requests.len() == 1 && member(value, "send").is_some(),
        Some(_) => requests.len() == 1,
    };
    twice || !usable || !requests.iter().all(|request| plain(request))
}

/// The names of an object's members, as often as they are there.
struct Members(Vec<String>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Members, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = members.next_key::<String>()? {
                    members.next_value::<IgnoredAny>()?;
                    names.push(name);
                }
                Ok(Members(names))
            }
        }
        deserializer.deserialize_map(Names)
    }
}
