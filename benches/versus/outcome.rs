//! What the load generator says about a server.

use serde::Deserialize;

use crate::cells::{Cell, Work};
use crate::results::Measured;

/// What the generator prints, as much of it as is used.
#[derive(Debug, Deserialize)]
struct Output {
    #[serde(default)]
    messages_per_s: f64,
    #[serde(default)]
    deliveries_per_s: f64,
    /// Messages that came, or handshakes.
    #[serde(default)]
    deliveries: f64,
    latency_us: Option<Latency>,
    errors: Errors,
    server: Option<ServerLoad>,
    #[serde(default)]
    saturated: String,
}

#[derive(Debug, Deserialize)]
struct Latency {
    p99: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Errors {
    lost: u64,
    duplicated: u64,
    reordered: u64,
    wrong: u64,
    closed: u64,
}

#[derive(Debug, Deserialize)]
struct ServerLoad {
    cpu_us_per_message: Option<f64>,
    user_us_per_message: Option<f64>,
    rss_bytes_per_connection: Option<f64>,
}

/// What the generator printed, if nothing went wrong in it.
pub fn measured(text: &str, cell: &Cell) -> Result<Measured, String> {
    let output: Output =
        serde_json::from_str(text.trim()).map_err(|error| format!("the generator says {text:?}: {error}"))?;
    let Errors { lost, duplicated, reordered, wrong, closed } = output.errors;
    if lost + duplicated + reordered + wrong + closed > 0 {
        return Err(format!(
            "lost {lost}, duplicated {duplicated}, reordered {reordered}, wrong {wrong}, closed {closed}"
        ));
    }
    let server = output.server.ok_or("the generator says nothing about the server's process")?;
    let rate = match cell.work {
        Work::Echo | Work::Storm => output.messages_per_s,
        Work::Fanout => output.deliveries_per_s,
        Work::Idle => cell.connections as f64,
    };
    if rate <= 0.0 {
        return Err(format!("no {} came", cell.units()));
    }
    if cell.work == Work::Idle && server.rss_bytes_per_connection.is_none() {
        return Err("the server's memory did not grow".to_owned());
    }
    Ok(Measured {
        rate,
        count: output.deliveries,
        cpu_us: server.cpu_us_per_message.unwrap_or_default(),
        user_s: server.user_us_per_message.unwrap_or_default() * output.deliveries / 1e6,
        p99_us: output.latency_us.map_or(0.0, |latency| latency.p99),
        rss_bytes: server.rss_bytes_per_connection.unwrap_or_default(),
        saturated: output.saturated,
    })
}
