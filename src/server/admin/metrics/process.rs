//! What the operating system says of this process. Where it says nothing, nothing is shown.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use rustix::process::{Resource, getrlimit};

use crate::server::View;
use crate::shard::Counter;

/// This process, and what it was like before it had a connection.
#[derive(Debug)]
pub struct Process {
    view: View,
    started: Duration,
    resident_at_start: Option<u64>,
}

impl Process {
    /// The process of a server that has no connection yet.
    pub fn start(view: &View) -> Process {
        let clock = view.parts().clock;
        let up = clock.now().since(crate::time::Time::ZERO);
        let started = clock.unix_time().saturating_sub(up);
        Process { view: view.clone(), started, resident_at_start: resident_bytes() }
    }

    /// What the memory that has come since the start is by connection; 0 without one.
    pub fn bytes_per_connection(&self) -> Option<u64> {
        let come = resident_bytes()?.saturating_sub(self.resident_at_start?);
        Some(come.checked_div(self.view.counter(Counter::Connections)).unwrap_or(0))
    }

    /// Writes what every process has.
    pub fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauge = |name: &str, unit: Option<Unit>, help: &str, value: Option<f64>| match value {
            Some(value) => {
                encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?.encode_gauge(&value)
            }
            None => Ok(()),
        };
        let whole = |value: Option<u64>| value.map(|value| value as f64);
        gauge("process_open_fds", None, "Descriptors that are open.", whole(open_descriptors()))?;
        gauge("process_max_fds", None, "Descriptors that may be open.", whole(descriptors_max()))?;
        gauge(
            "process_resident_memory",
            Some(Unit::Bytes),
            "Resident memory of the process.",
            whole(resident_bytes()),
        )?;
        gauge(
            "process_start_time",
            Some(Unit::Seconds),
            "When the server has started, since 1970.",
            Some(self.started.as_secs_f64()),
        )
    }
}

fn descriptors_max() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// The listing itself takes one.
fn open_descriptors() -> Option<u64> {
    Some((std::fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1))
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}
