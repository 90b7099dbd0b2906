//! A process that opens connections as fast as it can and resets each once its upgrade is accepted.

use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use crate::holder::open;

pub const ROLE: &str = "knock";

/// Says how many it has had accepted whenever it is asked.
pub fn run(arguments: &[String]) {
    let [address, path, threads] = arguments else { panic!("who knocks where?") };
    let threads: usize = threads.parse().expect("a number");
    let accepted = Arc::new(AtomicU64::new(0));
    for _ in 0..threads {
        let (address, path, accepted) = (address.clone(), path.clone(), Arc::clone(&accepted));
        std::thread::spawn(move || {
            loop {
                let socket = open(&address, &path);
                // A reset leaves no port behind that waits for its end.
                set_socket_linger(&socket, Some(Duration::ZERO)).expect("a socket option");
                accepted.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for _ in std::io::stdin().lock().lines() {
        println!("{}", accepted.load(Ordering::Relaxed));
    }
    std::process::exit(0);
}
