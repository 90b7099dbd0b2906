//! The figures that this server is to reach, and whether it did.

use serde::Serialize;

use crate::cells::{
    ECHO_1K_1, ECHO_1K_16, ECHO_16_1, ECHO_16_16, ECHO_64K_1, FANOUT_1K_1, FANOUT_1K_16, FANOUT_16K_1,
    FANOUT_16K_16, FANOUT_64_1, FANOUT_64_16, IDLE, STORM,
};
use crate::common::output::counted;
use crate::results::{CellResults, FANFARE, FLOOR, Measured, is_peer};

/// What is asked of a cell.
#[derive(Clone, Copy, Debug)]
enum Bar {
    /// Processor time against the floor of the same round.
    Floor(f64),
    /// Microseconds in user mode, of all rounds together.
    User(f64),
    /// Processor time is at most that of each peer in the same round.
    Peers,
    /// So many handshakes a second, or as many as the peer on the engine of uWebSockets.
    Handshakes(f64),
    /// Resident memory of a connection.
    Bytes(f64),
}

/// The peer that has uWebSockets' engine below.
const ON_UWEBSOCKETS: &str = "bun";

/// Figure, cell and what is asked.
const BARS: &[(u8, &str, Bar)] = &[
    (1, ECHO_16_1, Bar::Floor(1.03)),
    (1, ECHO_16_1, Bar::User(0.35)),
    (1, ECHO_16_1, Bar::Peers),
    (1, ECHO_1K_1, Bar::Floor(1.03)),
    (1, ECHO_1K_1, Bar::User(0.35)),
    (1, ECHO_1K_1, Bar::Peers),
    (1, ECHO_16_16, Bar::Floor(1.0)),
    (1, ECHO_16_16, Bar::User(0.06)),
    (1, ECHO_16_16, Bar::Peers),
    (1, ECHO_1K_16, Bar::Floor(1.0)),
    (1, ECHO_1K_16, Bar::Peers),
    (1, ECHO_64K_1, Bar::Floor(1.15)),
    (1, ECHO_64K_1, Bar::Peers),
    (2, FANOUT_64_1, Bar::Floor(1.03)),
    // Asked of sends that a ring hands to the kernel together. This server has none (README, "No io_uring"), so its
    // plain sends are judged, which cannot get there.
    (2, FANOUT_64_1, Bar::Floor(0.9)),
    (2, FANOUT_64_1, Bar::Peers),
    (2, FANOUT_1K_1, Bar::Floor(1.03)),
    (2, FANOUT_1K_1, Bar::Peers),
    (2, FANOUT_16K_1, Bar::Floor(1.03)),
    (2, FANOUT_16K_1, Bar::Peers),
    (2, FANOUT_64_16, Bar::Floor(1.05)),
    (2, FANOUT_64_16, Bar::User(0.03)),
    (2, FANOUT_64_16, Bar::Peers),
    (2, FANOUT_1K_16, Bar::Floor(1.05)),
    (2, FANOUT_1K_16, Bar::User(0.03)),
    (2, FANOUT_1K_16, Bar::Peers),
    (2, FANOUT_16K_16, Bar::Floor(1.05)),
    (2, FANOUT_16K_16, Bar::User(0.03)),
    (2, FANOUT_16K_16, Bar::Peers),
    (3, IDLE, Bar::Bytes(200.0)),
    (6, STORM, Bar::Handshakes(15_000.0)),
];

/// Whether a bar holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Met,
    NotMet,
    NotMeasured,
}

impl Verdict {
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Met => "met",
            Verdict::NotMet => "**not met**",
            Verdict::NotMeasured => "not measured",
        }
    }

    fn of(holds: bool) -> Verdict {
        if holds { Verdict::Met } else { Verdict::NotMet }
    }
}

/// A bar and what was seen.
#[derive(Clone, Debug, Serialize)]
pub struct Judgement {
    pub figure: u8,
    pub cell: &'static str,
    pub asked: String,
    pub seen: String,
    pub verdict: Verdict,
}

/// All bars, in the order of their figures; where the kernel looks so often in which mode a process is.
pub fn judge(results: &[CellResults], ticks_per_s: f64) -> Vec<Judgement> {
    let judged = |(figure, name, bar): &(u8, &'static str, Bar)| {
        let cell = results.iter().find(|results| results.cell.name == *name);
        let seen = cell.and_then(|cell| bar.judge(cell, ticks_per_s));
        let (verdict, seen) =
            seen.map_or((Verdict::NotMeasured, "–".to_owned()), |(holds, seen)| (Verdict::of(holds), seen));
        Judgement { figure: *figure, cell: name, asked: bar.words(), seen, verdict }
    };
    BARS.iter().map(judged).collect()
}

impl Bar {
    fn words(self) -> String {
        match self {
            Bar::Floor(most) => format!("≤ {most:.2} × floor"),
            Bar::User(most) => format!("user mode ≤ {most:.2} µs"),
            Bar::Peers => "≤ every peer".to_owned(),
            Bar::Handshakes(least) => {
                format!("≥ {least:.0} handshakes/s, or ≥ Bun, on uWebSockets' engine")
            }
            Bar::Bytes(most) => format!("≤ {most:.0} B of RSS per connection"),
        }
    }

    /// Whether it holds, and what was seen; none if what it needs was not measured.
    fn judge(self, cell: &CellResults, ticks_per_s: f64) -> Option<(bool, String)> {
        let ratio = |server: &str, most: f64| {
            let ratio = cell.ratio(server, FLOOR)?;
            let seen =
                format!("{:.2} ({:.2}–{:.2})", ratio.median, ratio.lower_quartile, ratio.upper_quartile);
            Some((ratio.median <= most, seen))
        };
        match self {
            Bar::Floor(most) => ratio(FANFARE, most),
            Bar::User(most) => {
                let user = cell.row(FANFARE)?.user_mode()?;
                let uncertain = user.uncertain(ticks_per_s);
                let ticks = counted(user.ticks(ticks_per_s).round() as usize, "tick");
                let seen =
                    format!("{:.3} µs ({uncertain}: about {ticks} of {ticks_per_s:.0} a second)", user.us);
                Some((user.us <= most, seen))
            }
            Bar::Peers => beside_peers(cell),
            Bar::Handshakes(least) => handshakes(cell, least),
            Bar::Bytes(most) => {
                let bytes = cell.spread(FANFARE, |measured| measured.rss_bytes)?.median;
                Some((bytes <= most, format!("{bytes:.0} B")))
            }
        }
    }
}

/// The peer that comes closest, or is ahead.
fn beside_peers(cell: &CellResults) -> Option<(bool, String)> {
    let peers = cell.rows.iter().map(|row| row.server).filter(|server| is_peer(server));
    let ratios = peers.filter_map(|peer| Some((peer, cell.ratio(FANFARE, peer)?.median)));
    let (peer, ratio) = ratios.max_by(|(_, one), (_, other)| one.total_cmp(other))?;
    Some((ratio <= 1.0, format!("{ratio:.2} × {peer}")))
}

fn handshakes(cell: &CellResults, least: f64) -> Option<(bool, String)> {
    let rate = |server: &str| {
        let rate: fn(&Measured) -> f64 = |measured| measured.rate;
        Some(cell.spread(server, rate)?.median)
    };
    let own = rate(FANFARE)?;
    let peer = rate(ON_UWEBSOCKETS);
    let beside = peer.map(|rate| format!(", {ON_UWEBSOCKETS} {rate:.0}/s")).unwrap_or_default();
    let holds = own >= least || peer.is_some_and(|rate| own >= rate);
    Some((holds, format!("{own:.0}/s{beside}")))
}
