//! A command out of one line of JSON.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::decode::{Problem, only};
use super::{Command, Connect, Data, History, Request, StreamPosition, Subscribe};
use crate::endpoint::http::{Object, Text, given};
use crate::protocol::shown;

/// Characters of the parser's words that are shown; a value of the wrong type is among them.
const SHOWN_CHARS_MAX: usize = 200;

/// Reads a command.
pub(super) fn command(line: &str) -> Result<Command<'_>, Problem> {
    let Object(wire) =
        serde_json::from_str::<Object<WireCommand<'_>>>(line).map_err(|error| problem(&error))?;
    let id = wire.id.unwrap_or_default();
    only(id, wire.requests().into_iter().flatten())
}

fn problem(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let what = shown(text.strip_suffix(&place).unwrap_or(&text).as_bytes(), SHOWN_CHARS_MAX);
    Problem::Json { column: error.column(), what }
}

/// What takes part in no decision, whatever is in it.
#[derive(Deserialize)]
struct Nothing {}

// An `Option` is for `null`, which stands for a field that is not there.

#[derive(Deserialize)]
struct WireCommand<'m> {
    id: Option<u32>,
    #[serde(borrow)]
    connect: Option<Object<WireConnect<'m>>>,
    #[serde(borrow)]
    subscribe: Option<Object<WireSubscribe<'m>>>,
    #[serde(borrow)]
    unsubscribe: Option<Object<WireChannel<'m>>>,
    #[serde(borrow)]
    publish: Option<Object<WirePublish<'m>>>,
    #[serde(borrow)]
    presence: Option<Object<WireChannel<'m>>>,
    #[serde(borrow)]
    presence_stats: Option<Object<WireChannel<'m>>>,
    #[serde(borrow)]
    history: Option<Object<WireHistory<'m>>>,
    ping: Option<Object<Nothing>>,
    send: Option<Object<Nothing>>,
    rpc: Option<Object<Nothing>>,
    refresh: Option<Object<Nothing>>,
    sub_refresh: Option<Object<Nothing>>,
}

#[derive(Deserialize)]
struct WireConnect<'m> {
    #[serde(borrow)]
    name: Option<Text<'m>>,
    #[serde(borrow)]
    version: Option<Text<'m>>,
    #[serde(borrow)]
    token: Option<Text<'m>>,
    #[serde(borrow)]
    data: Option<&'m RawValue>,
}

#[derive(Deserialize)]
struct WireSubscribe<'m> {
    #[serde(borrow)]
    channel: Option<Text<'m>>,
    #[serde(borrow)]
    token: Option<Text<'m>>,
    recover: Option<bool>,
    #[serde(borrow)]
    epoch: Option<Text<'m>>,
    offset: Option<u64>,
    positioned: Option<bool>,
    recoverable: Option<bool>,
    join_leave: Option<bool>,
    #[serde(borrow)]
    delta: Option<Text<'m>>,
    tf: Option<IgnoredAny>,
    flag: Option<i64>,
    r#type: Option<i32>,
}

#[derive(Deserialize)]
struct WireChannel<'m> {
    #[serde(borrow)]
    channel: Option<Text<'m>>,
}

#[derive(Deserialize)]
struct WirePublish<'m> {
    #[serde(borrow)]
    channel: Option<Text<'m>>,
    #[serde(borrow, default, deserialize_with = "given")]
    data: Option<&'m RawValue>,
    r#type: Option<i32>,
}

#[derive(Deserialize)]
struct WireHistory<'m> {
    #[serde(borrow)]
    channel: Option<Text<'m>>,
    limit: Option<i32>,
    #[serde(borrow)]
    since: Option<Object<WirePosition<'m>>>,
    reverse: Option<bool>,
}

#[derive(Deserialize)]
struct WirePosition<'m> {
    offset: Option<u64>,
    #[serde(borrow)]
    epoch: Option<Text<'m>>,
}

fn text(text: Option<Text<'_>>) -> Cow<'_, str> {
    text.unwrap_or_default().0
}

fn is_there(text: Option<Text<'_>>) -> bool {
    text.is_some_and(|text| !text.0.is_empty())
}

impl<'m> WireCommand<'m> {
    fn requests(self) -> [Option<Request<'m>>; 12] {
        let channel = |wire: Object<WireChannel<'m>>| text(wire.0.channel);
        [
            self.connect.map(|wire| Request::Connect(wire.0.into())),
            self.subscribe.map(|wire| Request::Subscribe(wire.0.into())),
            self.unsubscribe.map(|wire| Request::Unsubscribe { channel: channel(wire) }),
            self.publish.map(|wire| wire.0.into()),
            self.presence.map(|wire| Request::Presence { channel: channel(wire) }),
            self.presence_stats.map(|wire| Request::PresenceStats { channel: channel(wire) }),
            self.history.map(|wire| Request::History(wire.0.into())),
            self.ping.map(|_| Request::Ping),
            self.send.map(|_| Request::Send),
            self.rpc.map(|_| Request::Rpc),
            self.refresh.map(|_| Request::Refresh),
            self.sub_refresh.map(|_| Request::SubRefresh),
        ]
    }
}

impl<'m> From<WireConnect<'m>> for Connect<'m> {
    fn from(wire: WireConnect<'m>) -> Connect<'m> {
        Connect {
            name: text(wire.name),
            version: text(wire.version),
            token: is_there(wire.token),
            data: wire.data.map(|data| Data::text(data.get())),
        }
    }
}

impl<'m> From<WireSubscribe<'m>> for Subscribe<'m> {
    fn from(wire: WireSubscribe<'m>) -> Subscribe<'m> {
        Subscribe {
            channel: text(wire.channel),
            token: is_there(wire.token),
            recover: wire.recover.unwrap_or_default(),
            epoch: text(wire.epoch),
            offset: wire.offset.unwrap_or_default(),
            positioned: wire.positioned.unwrap_or_default(),
            recoverable: wire.recoverable.unwrap_or_default(),
            join_leave: wire.join_leave.unwrap_or_default(),
            delta: is_there(wire.delta),
            filter: wire.tf.is_some(),
            not_a_stream: wire.r#type.is_some_and(|kind| kind != 0),
            flag: wire.flag.unwrap_or_default().cast_unsigned(),
        }
    }
}

impl<'m> From<WirePublish<'m>> for Request<'m> {
    fn from(wire: WirePublish<'m>) -> Request<'m> {
        if wire.r#type.is_some_and(|kind| kind != 0) {
            return Request::MapPublish;
        }
        let data = Data::text(wire.data.map_or("", RawValue::get));
        Request::Publish { channel: text(wire.channel), data }
    }
}

impl<'m> From<WireHistory<'m>> for History<'m> {
    fn from(wire: WireHistory<'m>) -> History<'m> {
        let since = wire.since.map(|Object(since)| StreamPosition {
            offset: since.offset.unwrap_or_default(),
            epoch: text(since.epoch),
        });
        History {
            channel: text(wire.channel),
            limit: wire.limit.unwrap_or_default(),
            since,
            reverse: wire.reverse.unwrap_or_default(),
        }
    }
}
