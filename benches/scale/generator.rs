//! `fanfare load fanout` as a process on the core of clients, and what it says.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::common::child::bind;
use crate::process::{CLIENT_CORE, Server, core};
use crate::settings::Size;

/// The program that makes the load.
#[derive(Debug)]
pub struct Generator {
    pub program: String,
}

/// What it is to do.
pub struct Load<'a> {
    pub server: &'a Server,
    pub path: &'a str,
    pub connections: usize,
    pub rooms: usize,
    /// Messages under way in each room.
    pub in_flight: Option<u32>,
    /// Or messages a second.
    pub rate: Option<f64>,
    /// Whether what comes is compared with what was sent: the floor sends what it has ready.
    pub is_checked: bool,
}

impl<'a> Load<'a> {
    pub fn new(server: &'a Server, path: &'a str) -> Load<'a> {
        Load { server, path, connections: 100, rooms: 1, in_flight: None, rate: None, is_checked: true }
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub messages_per_s: f64,
    pub p99_us: f64,
    /// The server's, for each delivery.
    pub cpu_us: f64,
}

impl Generator {
    /// Runs it. What is lost, doubled, reordered or changed is an error, as is a server that it cannot load.
    pub fn fan_out(&self, load: &Load<'_>, size: &Size) -> Result<Seen, String> {
        let mut command = Command::new(&self.program);
        command.args(["load", "fanout", "--json", "-", "--size", "64", "--timeout", "30s"]);
        command.args(["--warm-up", &format!("{}ms", size.window_ms / 3)]);
        command.args(["--connections", &load.connections.to_string(), "--rooms", &load.rooms.to_string()]);
        command.args([
            "--pid",
            &load.server.id().to_string(),
            "--duration",
            &format!("{}ms", size.window_ms),
        ]);
        if !load.is_checked {
            command.arg("--no-check");
        }
        match (load.in_flight, load.rate) {
            (_, Some(rate)) => command.args(["--rate", &format!("{rate:.3}")]),
            (in_flight, None) => command.args(["--in-flight", &in_flight.unwrap_or(1).to_string()]),
        };
        command.arg(load.server.url(load.path)).stdin(Stdio::null());
        bind(&mut command, core(CLIENT_CORE));
        let output = command.output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        let found: Value = serde_json::from_slice(&output.stdout)
            .map_err(|_| format!("{} load fanout gave no result: {last}", self.program))?;
        if !output.status.success() {
            return Err(format!("{} load fanout failed: {last} {}", self.program, found["errors"]));
        }
        let number = |value: &Value| value.as_f64().ok_or("the result lacks a number".to_owned());
        Ok(Seen {
            messages_per_s: number(&found["messages_per_s"])?,
            p99_us: number(&found["latency_us"]["p99"])?,
            cpu_us: number(&found["server"]["cpu_us_per_message"])?,
        })
    }
}
