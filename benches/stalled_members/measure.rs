//! What the kernel says about memory: the server's own, and that of sockets.

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

/// Ticks a second in what the kernel shows, on every machine.
const USER_HZ: f64 = 100.0;

/// Bytes of memory of a process that no file is behind.
pub fn user_memory(process: u32) -> usize {
    kibibytes(&format!("/proc/{process}/smaps_rollup"), "Anonymous:")
}

/// The first figure of this name in a list of memory.
fn kibibytes(path: &str, name: &str) -> usize {
    let map = fs::read_to_string(path).expect("the process runs");
    let line = map.lines().find_map(|line| line.strip_prefix(name)).expect("a line of the kernel's");
    let kibibytes: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kibibytes << 10
}

/// The time that a process has computed.
pub fn cpu_time(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("the server runs");
    let (_, fields) = stat.rsplit_once(") ").expect("the name is in parentheses");
    let ticks: u64 =
        fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum();
    Duration::from_secs_f64(ticks as f64 / USER_HZ)
}

/// The TCP memory of the whole machine: of both ends of a loopback connection, and of whatever else runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kernel {
    pub tcp_bytes: usize,
}

pub fn kernel() -> Kernel {
    let text = fs::read_to_string("/proc/net/sockstat").expect("the kernel has TCP");
    let tcp = text.lines().find(|line| line.starts_with("TCP:")).expect("a line of the kernel's");
    let pages: usize = tcp.rsplit(' ').next().and_then(|pages| pages.parse().ok()).expect("a number");
    Kernel { tcp_bytes: pages * kibibytes("/proc/self/smaps", "KernelPageSize:") }
}

/// Bytes in the sockets of stalled members, without the kernel's overhead.
#[derive(Debug, Default)]
pub struct Sockets {
    /// At the server's end, not acknowledged by the member's kernel.
    pub ours_mean: usize,
    pub ours_max: usize,
    /// At the members' end, not read.
    pub theirs_mean: usize,
}

impl Sockets {
    /// Those of the server on a port with the members on these ports.
    pub fn of(server: u16, members: &[u16]) -> Sockets {
        let members: HashSet<u16> = members.iter().copied().collect();
        let text = fs::read_to_string("/proc/net/tcp").expect("the kernel has TCP");
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().take(5).collect();
            let [_, local, remote, _, queues] = fields[..] else { continue };
            let (Some(local), Some(remote)) = (port(local), port(remote)) else { continue };
            let Some((sending, received)) = queues.split_once(':') else { continue };
            if local == server && members.contains(&remote) {
                ours.push(number(sending));
            } else if remote == server && members.contains(&local) {
                theirs.push(number(received));
            }
        }
        let mean = |bytes: &[usize]| bytes.iter().sum::<usize>() / bytes.len().max(1);
        let ours_max = ours.iter().copied().max().unwrap_or_default();
        Sockets { ours_mean: mean(&ours), ours_max, theirs_mean: mean(&theirs) }
    }
}

fn number(hexadecimal: &str) -> usize {
    usize::from_str_radix(hexadecimal, 16).unwrap_or_default()
}

fn port(address: &str) -> Option<u16> {
    u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok()
}
