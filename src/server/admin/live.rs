//! The live page at `/`, and the WebSocket at `/live` that it draws from: each `sample` that is asked for is answered
//! with the numbers of now, of which the page makes rates.
//!
//! Nothing happens while nobody looks, and a page that does not take its answers gets no further ones.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::endpoint::{Accept, Effects, Endpoint, OpenRequest, RouterPlan, page};
use crate::id::ConnectionId;
use crate::protocol::{CloseCode, Message, Refusal};
use crate::server::{Inspected, Inspector, View};
use crate::shard::{
    ClosesWanted, ConnectionSeen, ConnectionSort, Counter, Distribution, Found, Query, RoomSort, ShardStats,
};
use crate::time::Time;

use super::shown::{ClosedShown, ConnectionShown, RoomShown};

/// What a page sends to get a sample.
const ASK: &str = "sample";
/// All that is a message to a peer.
const SENT: [Counter; 3] = [Counter::Deliveries, Counter::Replies, Counter::Notices];
/// Pages that ask within this time get the same sample: many open pages cost the shards no more than one.
const FRESH: Duration = Duration::from_millis(500);
/// Slow consumers and rooms that a sample lists.
const LISTED: usize = 10;
/// Closes that a sample lists.
const CLOSES_LISTED: usize = 20;
/// Without progress for less than this nobody counts as slow.
const STALLED_MIN: Duration = Duration::from_secs(1);

const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The files of the page.
const FILES: [page::File; 7] = [
    ("/", "text/html; charset=utf-8", include_str!("live/index.html")),
    ("/page/live.css", CSS, include_str!("live/live.css")),
    ("/page/live.js", JAVASCRIPT, include_str!("live/live.js")),
    ("/page/plot.js", JAVASCRIPT, include_str!("live/plot.js")),
    ("/page/show.js", JAVASCRIPT, include_str!("live/show.js")),
    ("/page/theme.js", JAVASCRIPT, page::THEME_JS),
    ("/page/icon.svg", "image/svg+xml", page::ICON_SVG),
];

/// Adds the page and its WebSocket.
pub fn add(plan: &mut RouterPlan, view: &View) {
    for (path, content_type, content) in FILES {
        plan.add_resource(path, page::resource(content_type, content));
    }
    let view = view.clone();
    let make = move |_| {
        let live = Live { view: view.clone(), inspector: view.inspector(), latest: None };
        Box::new(live) as Box<dyn Endpoint>
    };
    plan.add_endpoint("/live", Arc::new(make));
}

/// The WebSocket of the page.
struct Live {
    view: View,
    inspector: Inspector,
    latest: Option<(Time, String)>,
}

impl Endpoint for Live {
    fn open<'m>(
        &mut self,
        _: ConnectionId,
        _: &OpenRequest<'_>,
        _: &mut Effects<'m>,
    ) -> Result<Accept, Refusal> {
        Ok(Accept::default())
    }

    fn message<'m>(&mut self, _: ConnectionId, message: Message<'m>, effects: &mut Effects<'m>) {
        if message.text() != Some(ASK) {
            effects.close(CloseCode::POLICY_VIOLATION, "only the text \"sample\" means something here");
            return;
        }
        let now = effects.now();
        let is_fresh = |(taken, _): &&(Time, String)| now.since(*taken) < FRESH;
        let sample = match self.latest.as_ref().filter(is_fresh) {
            Some((_, sample)) => sample.clone(),
            None => {
                let sample = self.sample();
                self.latest = Some((now, sample.clone()));
                sample
            }
        };
        effects.send(sample);
    }
}

/// What a page is sent.
#[derive(Serialize)]
struct Sample {
    version: &'static str,
    /// Other than that of any server before.
    life: String,
    uptime_ms: u64,
    missing_workers: Vec<usize>,
    workers: Vec<WorkerShown>,
    /// Upper bounds of buckets, the last without one, and how many publications were in each so far.
    latency_us: Vec<(Option<f64>, u64)>,
    slow: Vec<ConnectionShown>,
    rooms: Vec<RoomShown>,
    closes: Vec<ClosedShown>,
}

/// The counters of a worker, as they stand.
#[derive(Serialize)]
struct WorkerShown {
    connections: u64,
    messages_in: u64,
    messages_out: u64,
    bytes_in: u64,
    bytes_out: u64,
    turns: u64,
}

impl WorkerShown {
    fn new(stats: &ShardStats) -> WorkerShown {
        WorkerShown {
            connections: stats.get(Counter::Connections),
            messages_in: stats.get(Counter::MessagesIn),
            messages_out: SENT.iter().map(|counter| stats.get(*counter)).sum(),
            bytes_in: stats.get(Counter::BytesIn),
            bytes_out: stats.get(Counter::BytesOut),
            turns: stats.get(Counter::Turns),
        }
    }
}

impl Live {
    fn sample(&self) -> String {
        let connections = |sort| (Query::Connections { room: None, sort }, LISTED);
        let [behind, stalled, rooms, closes] = self.inspector.ask_all([
            connections(ConnectionSort::Lag),
            connections(ConnectionSort::Stalled),
            (Query::Rooms { sort: RoomSort::Messages }, LISTED),
            (Query::Closes(ClosesWanted::default()), CLOSES_LISTED),
        ]);
        let missing_workers = behind.missing.iter().map(|shard| shard.index()).collect();
        let slow = slow(behind, stalled);
        let Found::Rooms(rooms) = rooms.found else { unreachable!("rooms were asked for") };
        let Found::Closes(closes) = closes.found else { unreachable!("closes were asked for") };
        let clock = self.view.parts().clock;
        let unix_time = clock.unix_time();
        let sample = Sample {
            version: env!("CARGO_PKG_VERSION"),
            life: self.view.parts().registry.life().to_string(),
            uptime_ms: clock.now().as_nanos() / 1_000_000,
            missing_workers,
            workers: self.view.parts().shards.iter().map(WorkerShown::new).collect(),
            latency_us: latency(&self.view),
            slow: slow.iter().map(|seen| ConnectionShown::new(seen, &self.inspector)).collect(),
            rooms: rooms.iter().map(|(_, room)| RoomShown::new(room)).collect(),
            closes: closes
                .iter()
                .map(|closed| ClosedShown::new(closed, unix_time, &self.inspector))
                .collect(),
        };
        serde_json::to_string(&sample).expect("it has no map with other keys than strings")
    }
}

/// How long publications took to be sent.
fn latency(view: &View) -> Vec<(Option<f64>, u64)> {
    let bounds = Distribution::FlushLatency.bounds().iter().map(|bound| Some(*bound as f64 / 1000.0));
    bounds.chain([None]).zip(view.distribution(Distribution::FlushLatency).buckets).collect()
}

/// Those that are behind in a room, and then those that take nothing else; each once.
fn slow(behind: Inspected, stalled: Inspected) -> Vec<ConnectionSeen> {
    let seen = |inspected: Inspected| match inspected.found {
        Found::Connections(found) => found.into_iter().map(|(_, seen)| seen),
        Found::Rooms(_) | Found::Closes(_) => unreachable!("connections were asked for"),
    };
    let behind = seen(behind).filter(|seen| seen.lag_messages > 0);
    let stalled = seen(stalled).filter(|seen| seen.stalled.is_some_and(|stalled| stalled >= STALLED_MIN));
    let mut listed = HashSet::new();
    behind.chain(stalled).filter(|seen| listed.insert(seen.connection)).take(LISTED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_self_contained_and_small() {
        page::checks::assert_nothing_missing_or_unused(&FILES);
        page::checks::assert_policy_and_types(&FILES);
        page::checks::assert_self_contained(&FILES);
        page::checks::assert_small(&FILES, 40 * 1024);
    }
}
