//! What the kernel says about the machine: how busy it is, and what all of its TCP sockets hold.

use std::fs;

/// Ticks a second in what the kernel shows, on every machine.
const USER_HZ: f64 = 100.0;

/// Seconds that all cores together have computed, whoever for.
pub fn busy_seconds() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    // user, nice, system, idle, iowait, irq, softirq
    let ticks: Vec<f64> =
        line.split_whitespace().skip(1).take(7).filter_map(|field| field.parse().ok()).collect();
    let idle = |at: &usize| [3, 4].contains(at);
    (0..ticks.len()).filter(|at| !idle(at)).map(|at| ticks[at]).sum::<f64>() / USER_HZ
}

/// Bytes in all TCP sockets of the machine: of both ends of a loopback connection, and of whatever else runs.
pub fn tcp_bytes() -> u64 {
    let text = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let tcp = text.lines().find(|line| line.starts_with("TCP:")).unwrap_or_default();
    let pages: u64 = tcp.rsplit(' ').next().and_then(|pages| pages.parse().ok()).unwrap_or_default();
    pages * page_bytes()
}

/// The bytes from which on the kernel saves memory at all TCP sockets.
pub fn tcp_pressure_bytes() -> u64 {
    let text = fs::read_to_string("/proc/sys/net/ipv4/tcp_mem").unwrap_or_default();
    let pages: Option<u64> = text.split_whitespace().nth(1).and_then(|pages| pages.parse().ok());
    pages.map_or(u64::MAX, |pages| pages * page_bytes())
}

fn page_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("KernelPageSize:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().map_or(4096, |kibibytes: u64| kibibytes << 10)
}

pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
