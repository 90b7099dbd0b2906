//! `/debug/connections`, `/debug/rooms` and `/debug/closes`: what the shards hold, as JSON that people can read too.

use std::borrow::Cow;

use serde::Serialize;

use crate::endpoint::http::Answer;
use crate::endpoint::{Asked, CloseKind, DynamicResource, RouterPlan};
use crate::protocol::{Refusal, shown};
use crate::reactor::MonotonicClock;
use crate::rooms::RoomName;
use crate::server::{Inspector, View};
use crate::shard::{ClosesWanted, ConnectionSort, Found, LISTED_MAX, Query, RoomSort};

use super::shown::{ClosedShown, ConnectionShown, RoomShown, Wholeness};

/// Lines of an answer if the query does not say how many.
const LIMIT_DEFAULT: usize = 100;
/// Characters of a value that are shown in a refusal.
const SHOWN_CHARS_MAX: usize = 64;

const CONNECTION_SORTS: &[(&str, ConnectionSort)] = &[
    ("lag", ConnectionSort::Lag),
    ("queue", ConnectionSort::Queue),
    ("stalled", ConnectionSort::Stalled),
    ("rooms", ConnectionSort::Rooms),
];

const ROOM_SORTS: &[(&str, RoomSort)] = &[
    ("messages", RoomSort::Messages),
    ("bytes", RoomSort::Bytes),
    ("members", RoomSort::Members),
    ("history", RoomSort::History),
];

/// Adds the paths.
pub fn add(plan: &mut RouterPlan, view: &View) {
    let (asks, clock) = (view.inspector(), view.parts().clock);
    plan.add_dynamic("/debug/connections", DynamicResource::new(move |asked| connections(asked, &asks)));
    let asks = view.inspector();
    plan.add_dynamic("/debug/rooms", DynamicResource::new(move |asked| rooms(asked, &asks)));
    let asks = view.inspector();
    plan.add_dynamic("/debug/closes", DynamicResource::new(move |asked| closes(asked, &asks, clock)));
}

fn connections(asked: &Asked<'_>, inspector: &Inspector) -> Result<Answer, Refusal> {
    #[derive(Serialize)]
    struct Body {
        #[serde(flatten)]
        wholeness: Wholeness,
        connections: Vec<ConnectionShown>,
    }
    only_names(asked, &["room", "sort", "limit"])?;
    let sort = word(asked, "sort", CONNECTION_SORTS)?.unwrap_or_default();
    let inspected = inspector.ask(Query::Connections { room: room(asked)?, sort }, limit(asked)?);
    let wholeness = Wholeness::of(&inspected);
    let Found::Connections(found) = inspected.found else { unreachable!("connections were asked for") };
    let shown = found.iter().map(|(_, seen)| ConnectionShown::new(seen, inspector));
    Ok(json(&Body { wholeness, connections: shown.collect() }))
}

fn rooms(asked: &Asked<'_>, inspector: &Inspector) -> Result<Answer, Refusal> {
    #[derive(Serialize)]
    struct Body {
        #[serde(flatten)]
        wholeness: Wholeness,
        rooms: Vec<RoomShown>,
    }
    only_names(asked, &["sort", "limit"])?;
    let sort = word(asked, "sort", ROOM_SORTS)?.unwrap_or_default();
    let inspected = inspector.ask(Query::Rooms { sort }, limit(asked)?);
    let wholeness = Wholeness::of(&inspected);
    let Found::Rooms(found) = inspected.found else { unreachable!("rooms were asked for") };
    Ok(json(&Body { wholeness, rooms: found.iter().map(|(_, room)| RoomShown::new(room)).collect() }))
}

fn closes(asked: &Asked<'_>, inspector: &Inspector, clock: MonotonicClock) -> Result<Answer, Refusal> {
    #[derive(Serialize)]
    struct Body {
        #[serde(flatten)]
        wholeness: Wholeness,
        closes: Vec<ClosedShown>,
    }
    only_names(asked, &["cause", "address", "room", "limit"])?;
    let causes: Vec<(&str, CloseKind)> = CloseKind::ALL.iter().map(|kind| (kind.name(), *kind)).collect();
    let cause = word(asked, "cause", &causes)?;
    let address = asked.query("address")?.map(|text| {
        text.parse().map_err(|_| refused("address", &text, "an IPv4 or IPv6 address without a port"))
    });
    let wanted = ClosesWanted { cause, address: address.transpose()?, room: room(asked)? };
    let inspected = inspector.ask(Query::Closes(wanted), limit(asked)?);
    let wholeness = Wholeness::of(&inspected);
    let Found::Closes(found) = inspected.found else { unreachable!("closes were asked for") };
    let now = clock.unix_time();
    let shown = found.iter().map(|closed| ClosedShown::new(closed, now, inspector));
    Ok(json(&Body { wholeness, closes: shown.collect() }))
}

fn json(body: &impl Serialize) -> Answer {
    let mut text = serde_json::to_vec_pretty(body).expect("it has no map with other keys than strings");
    text.push(b'\n');
    Answer::json(text)
}

fn refused(name: &str, value: &str, allowed: &str) -> Refusal {
    let value = shown(value.as_bytes(), SHOWN_CHARS_MAX);
    Refusal::new(400, format!("{name}={value} is not allowed here; {allowed} is"))
}

/// A misspelt name would look like an answer to what was meant.
fn only_names(asked: &Asked<'_>, allowed: &[&str]) -> Result<(), Refusal> {
    match asked.query_names().find(|name| !allowed.contains(name)) {
        None => Ok(()),
        Some(name) => {
            let (name, allowed) = (shown(name.as_bytes(), SHOWN_CHARS_MAX), allowed.join(", "));
            Err(Refusal::new(400, format!("{name} in the query means nothing here; this path has {allowed}")))
        }
    }
}

fn word<T: Copy>(asked: &Asked<'_>, name: &str, words: &[(&str, T)]) -> Result<Option<T>, Refusal> {
    let Some(text) = asked.query(name)? else { return Ok(None) };
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    found.map(Some).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        refused(name, &text, &format!("one of {}", words.join(", ")))
    })
}

fn room(asked: &Asked<'_>) -> Result<Option<RoomName>, Refusal> {
    let name = asked.query("room")?.map(|text| RoomName::new(&text)).transpose();
    name.map_err(|error| Refusal::new(400, format!("query value of room: {error}")))
}

fn limit(asked: &Asked<'_>) -> Result<usize, Refusal> {
    let Some(text) = asked.query("limit")? else { return Ok(LIMIT_DEFAULT) };
    let digits = |text: &Cow<'_, str>| text.bytes().all(|byte| byte.is_ascii_digit());
    let limit = Some(&text).filter(|text| digits(text)).and_then(|text| text.parse().ok());
    limit
        .filter(|limit| (1..=LISTED_MAX).contains(limit))
        .ok_or_else(|| refused("limit", &text, &format!("1 to {LISTED_MAX}")))
}
