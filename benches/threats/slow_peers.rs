//! Handshakes of those who behave, beside a crowd that never finishes its own.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Bar;
use super::common::output::say;
use super::common::{connect, start_server};

/// What the crowd may cost the others at the 99th percentile.
const RATIO_MAX: f64 = 2.0;
/// Handshakes in a row; as many are measured alone and beside the crowd.
const HANDSHAKES: usize = 2_000;
const ROUNDS: usize = 5;

/// Times of handshakes from `connect` to the 101, sorted.
#[allow(clippy::disallowed_methods)] // timing belongs in benches
fn handshakes(address: &str, count: usize) -> Vec<Duration> {
    let mut times: Vec<Duration> = (0..count)
        .map(|_| {
            let start = Instant::now();
            let stream = connect(address, "/echo");
            let time = start.elapsed();
            drop(stream);
            time
        })
        .collect();
    times.sort_unstable();
    times
}

/// Peers that are silent, that have begun, and that have sent all but the last byte.
fn crowd(address: &str, count: usize) -> Vec<TcpStream> {
    let head = format!("GET /echo HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n\r");
    let peer = |number: usize| {
        let mut stream = TcpStream::connect(address).expect("the server accepts");
        let bytes = [0, 1, head.len()][number % 3];
        stream.write_all(&head.as_bytes()[..bytes]).expect("the server reads");
        stream
    };
    (0..count).map(peer).collect()
}

pub fn run(smoke: bool, peers: usize) -> Vec<Bar> {
    let (count, rounds) = if smoke { (20, 1) } else { (HANDSHAKES, ROUNDS) };
    let limit = getrlimit(Resource::Nofile);
    // If that fails, the crowd's own connections say so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    // The crowd stays as long as it is measured.
    let flags = ["--handshake-timeout", "10m"];
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        // A server of its own for each round: both run on the same machine in turn.
        let (_server, address, log) = start_server(flags);
        let reader = std::thread::spawn(move || log.for_each(drop));
        alone.extend(handshakes(&address, count));
        let held = crowd(&address, peers);
        beside.extend(handshakes(&address, count));
        drop((held, _server));
        reader.join().expect("the log is read");
    }
    for times in [&mut alone, &mut beside] {
        times.sort_unstable();
    }
    let at = |times: &[Duration], part: f64| times[(times.len() as f64 * part) as usize].as_secs_f64() * 1e6;
    say("\nhandshakes, µs            p50      p99      max");
    for (name, times) in [("alone", &alone), ("beside the crowd", &beside)] {
        let max = times.last().map_or(0.0, |time| time.as_secs_f64() * 1e6);
        say(&format!("{name:<20} {:>8.0} {:>8.0} {max:>8.0}", at(times, 0.5), at(times, 0.99)));
    }
    vec![Bar {
        what: format!("p99 of a handshake beside {peers} peers that never finish, over alone"),
        seen: at(&beside, 0.99) / at(&alone, 0.99),
        allowed: RATIO_MAX,
        at_least: false,
    }]
}
