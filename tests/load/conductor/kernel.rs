//! What the kernel says about the server: memory, threads, descriptors, sockets, its listener's queue.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddrV4;
use std::process::Command;

/// Ticks a second in what the kernel shows, on every machine.
const USER_HZ: f64 = 100.0;

/// Bytes of memory of a process: all that is resident, and of it what no file is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    pub resident: u64,
    pub anonymous: u64,
}

pub fn memory(process: u32) -> Memory {
    let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kibibytes.unwrap_or_default() << 10
    };
    Memory { resident: bytes("VmRSS:"), anonymous: bytes("RssAnon:") }
}

/// Seconds that each worker of the server has computed, by its number, and all other threads together.
pub fn worker_seconds(process: u32) -> (Vec<f64>, f64) {
    let (mut workers, mut others) = (BTreeMap::new(), 0.0);
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    for task in tasks {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        let Some((head, fields)) = stat.rsplit_once(") ") else { continue };
        let name = head.split_once('(').map_or("", |(_, name)| name);
        let ticks = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
        let seconds = ticks.sum::<f64>() / USER_HZ;
        match name.strip_prefix("fanfare-").and_then(|number| number.parse::<usize>().ok()) {
            Some(worker) => {
                workers.insert(worker, seconds);
            }
            None => others += seconds,
        }
    }
    (workers.into_values().collect(), others)
}

/// Seconds that a whole process has computed.
pub fn process_seconds(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let ticks = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / USER_HZ
}

/// The numbers of the open descriptors of a process.
pub fn descriptor_numbers(process: u32) -> BTreeSet<u64> {
    let entries = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Open descriptors of a process.
pub fn descriptors(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count)
}

/// Sockets at the server's end.
#[derive(Clone, Debug, Default)]
pub struct Sockets {
    /// How many there are in each state, without the listener and without those in `TIME_WAIT`, which belong
    /// to nobody any more.
    pub states: BTreeMap<&'static str, usize>,
    /// The peers of those in `CLOSE_WAIT`: the peer has ended its stream and the server not yet.
    pub close_wait: BTreeSet<String>,
}

pub fn sockets(server: SocketAddrV4) -> Sockets {
    sockets_in(&fs::read_to_string("/proc/net/tcp").unwrap_or_default(), server)
}

fn sockets_in(text: &str, server: SocketAddrV4) -> Sockets {
    let mut sockets = Sockets::default();
    // The kernel shows the address as it lies in memory; others may have the same port on another one.
    let server = format!("{:08X}:{:04X}", u32::from_ne_bytes(server.ip().octets()), server.port());
    for line in text.lines().skip(1) {
        let mut fields = line.split_whitespace().skip(1);
        let (Some(local), Some(peer), Some(state)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let state = match state {
            _ if local != server => continue,
            "01" => "ESTABLISHED",
            "02" => "SYN_SENT",
            "03" => "SYN_RECV",
            "04" => "FIN_WAIT1",
            "05" => "FIN_WAIT2",
            "07" => "CLOSE",
            "08" => "CLOSE_WAIT",
            "09" => "LAST_ACK",
            "0B" => "CLOSING",
            _ => continue,
        };
        *sockets.states.entry(state).or_default() += 1;
        if state == "CLOSE_WAIT" {
            sockets.close_wait.insert(peer.to_owned());
        }
    }
    sockets
}

/// Connections that a full queue of listeners has turned away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overflows {
    pub count: u64,
    /// Of this listener alone, else of all on this machine.
    pub exact: bool,
    /// Of all on this machine.
    machine: u64,
}

/// What was turned away at the server's listener; without the tool that knows it, on the whole machine.
pub fn overflows(port: u16) -> Overflows {
    let of_listener = Command::new("ss").args(["-Hlntm", &format!("sport = :{port}")]).output().ok();
    let of_listener = of_listener.and_then(|output| listener_drops(&String::from_utf8_lossy(&output.stdout)));
    let machine = machine_overflows(&fs::read_to_string("/proc/net/netstat").unwrap_or_default());
    Overflows { count: of_listener.unwrap_or(machine), exact: of_listener.is_some(), machine }
}

/// The same later. What a listener has dropped is more than what did not fit into its queue: late segments of
/// connections that are gone are among it. No more can have overflowed than on the whole machine.
pub fn overflows_since(before: Overflows, port: u16) -> Overflows {
    let now = overflows(port);
    let count = now.count.min(before.count + now.machine.saturating_sub(before.machine));
    Overflows { count, exact: now.exact && before.exact, ..now }
}

/// `skmem:(…,d3)` has the drops of a socket last.
fn listener_drops(text: &str) -> Option<u64> {
    let (_, memory) = text.split_once("skmem:(")?;
    let (fields, _) = memory.split_once(')')?;
    fields.split(',').find_map(|field| field.strip_prefix('d')?.parse().ok())
}

/// Names in one line, their values in the next.
fn machine_overflows(text: &str) -> u64 {
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let at = names.split(' ').position(|name| name == "ListenOverflows");
        if let Some(value) = at.and_then(|at| values.split(' ').nth(at)) {
            return value.parse().unwrap_or_default();
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_those_of_the_port_by_state() {
        let text = "  sl  local_address rem_address   st tx_queue\n\
                    0: 0100007F:2329 00000000:0000 0A 00000000:00000000\n\
                    1: 0100007F:2329 0200007F:8000 01 00000000:00000000\n\
                    2: 0200007F:8000 0100007F:2329 01 00000000:00000000\n\
                    3: 0100007F:2329 0200007F:8001 08 00000000:00000000\n\
                    4: 0100007F:2329 0200007F:8002 06 00000000:00000000\n\
                    5: 0200007F:2329 0100007F:8003 01 00000000:00000000\n";
        let sockets = sockets_in(text, "127.0.0.1:9001".parse().unwrap());
        let states: Vec<_> = sockets.states.into_iter().collect();
        assert_eq!(states, [("CLOSE_WAIT", 1), ("ESTABLISHED", 1)]);
        assert!(sockets.close_wait.contains("0200007F:8001"));
    }

    #[test]
    fn overflows_are_read_from_either_source() {
        let listener =
            "LISTEN 0 4096 127.0.0.1:9001 0.0.0.0:* \n\t skmem:(r0,rb131072,t0,tb87040,f0,w0,o0,bl0,d3)";
        assert_eq!(listener_drops(listener), Some(3));
        assert_eq!(listener_drops(""), None);
        let netstat = "TcpExt: A ListenOverflows ListenDrops\nTcpExt: 1 7 9\nIpExt: B\nIpExt: 2\n";
        assert_eq!(machine_overflows(netstat), 7);
    }

    #[test]
    fn this_process_has_memory_and_descriptors() {
        let process = std::process::id();
        let memory = memory(process);
        assert!(memory.anonymous > 0 && memory.resident > memory.anonymous, "{memory:?}");
        assert!(descriptors(process) >= 3);
    }
}
