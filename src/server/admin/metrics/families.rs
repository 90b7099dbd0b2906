//! The metrics of a server, one behind the other. The README explains them in the same order.

use std::fmt;
use std::sync::atomic::Ordering;

use prometheus_client::encoding::NoLabelSet;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::page::{Family, Kind, Labelled, Page};
use super::process::Process;
use crate::endpoint::CloseKind;
use crate::id::ShardId;
use crate::server::Level;
use crate::shard::{Counter, Distribution};

const NANOSECONDS: f64 = 1e9;

const fn counter(name: &'static str, unit: Option<Unit>, help: &'static str) -> Family {
    Family { name, unit, kind: Kind::Counter, help }
}

const fn gauge(name: &'static str, unit: Option<Unit>, help: &'static str) -> Family {
    Family { name, unit, kind: Kind::Gauge, help }
}

/// Writes all of them.
pub fn encode(page: &mut Page<'_, '_>, process: &Process) -> fmt::Result {
    server(page)?;
    connections(page)?;
    traffic(page)?;
    rooms(page)?;
    slow_consumers(page)?;
    memory(page, process)?;
    loops(page)
}

fn server(page: &mut Page<'_, '_>) -> fmt::Result {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    page.encoder()
        .encode_descriptor("build", "The version of the server.", None, MetricType::Info)?
        .encode_info(&version)?;
    let view = page.view();
    let stopping = u64::from(view.is_stopping());
    page.total(&gauge("stopping", None, "1 while the server shuts down, else 0"), stopping)?;
    let limit = view.parts().connections_max.load(Ordering::Relaxed) as u64;
    page.total(&gauge("connections_limit", None, "Connections that there may be (--max-connections)"), limit)
}

fn connections(page: &mut Page<'_, '_>) -> fmt::Result {
    const STATES: &[Labelled] = &[
        (&[("state", "handshaking")], &[Counter::Handshaking]),
        (&[("state", "http")], &[Counter::BetweenRequests]),
        (&[("state", "websocket")], &[Counter::OpenWebSockets]),
        (&[("state", "events")], &[Counter::OpenStreams]),
        (&[("state", "closing")], &[Counter::Closing]),
    ];
    page.labelled(&gauge("connections", None, "Connections now, by state"), STATES)?;
    for (family, counted) in [
        (counter("accepts", None, "Connections taken over from the acceptor"), Counter::Accepted),
        (counter("opens", None, "WebSockets opened and streams of events begun"), Counter::Opened),
        (counter("http_requests", None, "HTTP requests, upgrades among them"), Counter::HttpRequests),
    ] {
        page.counters(&family, &[counted])?;
    }
    let refusals = counter("refusals", None, "Connections that were refused, by cause");
    causes(page, &refusals, |kind| kind.is_refusal())?;
    causes(page, &counter("closes", None, "Connections that have ended, by cause"), |_| true)
}

/// Ends of connections of some kinds; those that the acceptor has refused at once count in the total alone.
fn causes(page: &mut Page<'_, '_>, family: &Family, counts: impl Fn(CloseKind) -> bool) -> fmt::Result {
    let view = page.view();
    let kinds = || CloseKind::ALL.iter().copied().filter(|kind| counts(*kind));
    page.family(family, |encoder| {
        for kind in kinds() {
            let labels = [("cause", kind.name())];
            encoder
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, u64, f64>(&view.closes(kind), None)?;
        }
        Ok(())
    })?;
    page.shard_family(family, |encoder| {
        for (shard, stats) in view.parts().shards.iter().enumerate() {
            for kind in kinds() {
                let labels = ([("shard", shard)], [("cause", kind.name())]);
                encoder
                    .encode_family(&labels)?
                    .encode_counter::<NoLabelSet, u64, f64>(&stats.closes(kind), None)?;
            }
        }
        Ok(())
    })
}

fn traffic(page: &mut Page<'_, '_>) -> fmt::Result {
    const SENT: &[Counter] = &[Counter::Deliveries, Counter::Replies, Counter::Notices];
    for (family, counted) in [
        (counter("received_messages", None, "WebSocket messages received"), &[Counter::MessagesIn][..]),
        (
            counter(
                "sent_messages",
                None,
                "Messages sent: deliveries, replies of endpoints, joins and leaves",
            ),
            SENT,
        ),
        (counter("received", Some(Unit::Bytes), "Bytes received, of any kind"), &[Counter::BytesIn]),
        (counter("sent", Some(Unit::Bytes), "Bytes that the kernel took, of any kind"), &[Counter::BytesOut]),
        (counter("send_calls", None, "Send calls of which the kernel took something"), &[Counter::Sends]),
        (counter("publications", None, "Messages that entered a room"), &[Counter::Publications]),
        (counter("deliveries", None, "Messages of rooms given to a member"), &[Counter::Deliveries]),
    ] {
        page.counters(&family, counted)?;
    }
    page.distribution(
        (
            "flush_latency",
            Some(Unit::Seconds),
            "From the turn that has read a publication to the end of the turn that has sent it, and what was taken \
             with it, to the members of a shard",
        ),
        Distribution::FlushLatency,
        NANOSECONDS,
    )
}

fn rooms(page: &mut Page<'_, '_>) -> fmt::Result {
    page.counters(&gauge("members", None, "Memberships now: connections in rooms"), &[Counter::Memberships])?;
    let parts = page.view().parts();
    let rooms = gauge("rooms", None, "Rooms now, those without members but with a history among them");
    page.total(&rooms, parts.registry.len() as u64)?;
    let local = gauge("rooms", None, "Rooms with members there now");
    page.of_shards(&local, |shard| parts.shards[shard].get(Counter::Rooms))?;
    let history =
        gauge("history", Some(Unit::Bytes), "Memory that the histories of all rooms pin (--history-memory)");
    page.total(&history, parts.registry.memory_bytes() as u64)
}

fn slow_consumers(page: &mut Page<'_, '_>) -> fmt::Result {
    const BY_POLICY: &[Labelled] = &[
        (&[("policy", "disconnect"), ("outcome", "left_behind")], &[Counter::CutOutOfWindow]),
        (&[("policy", "disconnect"), ("outcome", "stalled")], &[Counter::CutStalled]),
        (&[("policy", "skip"), ("outcome", "removed")], &[Counter::RemovedOutOfWindow]),
        (&[("policy", "skip"), ("outcome", "skipped")], &[Counter::SkippedOutOfWindow]),
        (&[("policy", "skip"), ("outcome", "stalled")], &[Counter::CutStalledSkip]),
        (&[("policy", "latest"), ("outcome", "skipped")], &[Counter::SkippedLatest]),
        (&[("policy", "latest"), ("outcome", "stalled")], &[Counter::CutStalledLatest]),
    ];
    const PAUSES: &[Labelled] = &[
        (&[("reason", "replies")], &[Counter::ReplyPauses]),
        (&[("reason", "mailbox")], &[Counter::PublisherPauses]),
        (&[("reason", "rate")], &[Counter::RatePauses]),
    ];
    let slow = counter(
        "slow_consumers",
        None,
        "What became of members that did not keep up, by the lag policy of the room",
    );
    page.labelled(&slow, BY_POLICY)?;
    for (family, counted) in [
        (
            counter("skipped_messages", None, "Messages that slow members were not given, but for their own"),
            Counter::SkippedMessages,
        ),
        (
            gauge("waiting_connections", None, "Connections now whose sockets have not taken all"),
            Counter::Waiting,
        ),
    ] {
        page.counters(&family, &[counted])?;
    }
    let lag =
        ("lag_messages", None, "How many messages members are behind when they are served, 1 being in step");
    page.distribution(lag, Distribution::Lag, 1.0)?;
    let pauses =
        counter("read_pauses", None, "Times that a connection was not read from for a while, by reason");
    page.labelled(&pauses, PAUSES)
}

fn memory(page: &mut Page<'_, '_>, process: &Process) -> fmt::Result {
    let bytes = || Some(Unit::Bytes);
    for (family, counted) in [
        (gauge("queue", bytes(), "Memory that outbound queues pin now"), Counter::QueueBytes),
        (gauge("queue_max", bytes(), "The most that one outbound queue has pinned"), Counter::QueuePinnedMax),
        (
            gauge("answer", bytes(), "Memory that answers pin until they are taken (--http-bytes)"),
            Counter::AnswerBytes,
        ),
    ] {
        page.counters(&family, &[counted])?;
    }
    // Until the acceptor's first look it is not known.
    let level = page.view().parts().usage.memory();
    let value = |of: fn(Level) -> u64| level.map_or(f64::NAN, |level| of(level) as f64);
    let used =
        gauge("memory_used", bytes(), "Memory in use, as it is held against its limit (--memory-limit)");
    page.family(&used, |encoder| encoder.encode_gauge(&value(|level| level.used)))?;
    let limit = gauge("memory_limit", bytes(), "Memory that there may be in use (--memory-limit)");
    page.family(&limit, |encoder| encoder.encode_gauge(&value(|level| level.limit)))?;
    match process.bytes_per_connection() {
        Some(bytes) => page.total(
            &gauge(
                "memory_per_connection",
                Some(Unit::Bytes),
                "Resident memory that has come since the start, histories included, by connection",
            ),
            bytes,
        ),
        None => Ok(()),
    }
}

fn loops(page: &mut Page<'_, '_>) -> fmt::Result {
    let parts = page.view().parts();
    page.distribution(
        ("turn_duration", Some(Unit::Seconds), "How long turns take, without the wait before"),
        Distribution::TurnDuration,
        NANOSECONDS,
    )?;
    let waiting = |shard: usize| parts.mesh.mail_waiting(ShardId::new(shard)) as u64;
    let in_flight = |shard: usize| parts.mesh.bytes_in_flight(ShardId::new(shard)) as u64;
    let shards = 0..parts.shards.len();
    let depth = gauge("mailbox_depth", None, "Mail that waits in inboxes now");
    page.total(&depth, shards.clone().map(waiting).sum())?;
    page.of_shards(&depth, waiting)?;
    let bytes = gauge("mailbox", Some(Unit::Bytes), "Publications in flight to shards now (--mailbox-bytes)");
    page.total(&bytes, shards.map(in_flight).sum())?;
    page.of_shards(&bytes, in_flight)?;
    for (family, counted) in [
        (counter("turns", None, "Turns of the loops"), Counter::Turns),
        (counter("wake_ups", None, "Wake-ups that shards have given to others"), Counter::WakeUps),
    ] {
        page.counters(&family, &[counted])?;
    }
    since_turn(page)
}

/// How long ago each shard has turned. As all were just asked to, more than a moment is a shard that hangs.
fn since_turn(page: &mut Page<'_, '_>) -> fmt::Result {
    let parts = page.view().parts();
    let now = parts.clock.now().as_nanos();
    let since =
        |shard: usize| now.saturating_sub(parts.shards[shard].get(Counter::TurnEnd)) as f64 / NANOSECONDS;
    let family = gauge(
        "since_turn",
        Some(Unit::Seconds),
        "Time since the latest turn, which the request has asked for",
    );
    let longest = (0..parts.shards.len()).map(since).fold(0.0, f64::max);
    page.family(&family, |encoder| encoder.encode_gauge(&longest))?;
    page.shard_family(&family, |encoder| {
        for shard in 0..parts.shards.len() {
            encoder.encode_family(&[("shard", shard)])?.encode_gauge(&since(shard))?;
        }
        Ok(())
    })
}
