//! The part of a service manager, for one run of the binary.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use fanfare::reactor::MonotonicClock;

use crate::support::PATIENCE;
use crate::support::running::{self, Running};

/// Where the binary sends its notices, and what has come of them.
pub struct Manager {
    socket: UnixDatagram,
    name: String,
    /// Every assignment, in order.
    pub told: Vec<String>,
}

impl Manager {
    pub fn new() -> Manager {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fanfare-manager-{}-{count}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let socket = UnixDatagram::bind_addr(&address).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
        Manager { socket, name: format!("@{name}"), told: Vec::new() }
    }

    /// Two workers on a port of their own.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let usual = ["--listen", "127.0.0.1:0", "--admin", "none", "--workers", "2", "--pin", "off"];
        self.bare_command(&[&usual, arguments].concat())
    }

    /// These arguments and no other.
    pub fn bare_command(&self, arguments: &[&str]) -> Command {
        let mut command = running::command(env!("CARGO_BIN_EXE_fanfare"), arguments);
        command.env("NOTIFY_SOCKET", &self.name);
        command
    }

    pub fn start(&self, arguments: &[&str]) -> Running {
        Running::spawn(self.command(arguments))
    }

    /// The assignments of the next datagram.
    pub fn next(&mut self) -> Vec<String> {
        let mut datagram = [0; 4096];
        let received =
            self.socket.recv(&mut datagram).unwrap_or_else(|error| panic!("{error}: {:?}", self.told));
        let text = std::str::from_utf8(&datagram[..received]).expect("UTF-8");
        let told: Vec<String> = text.lines().map(str::to_owned).collect();
        self.told.extend_from_slice(&told);
        told
    }

    /// Waits for an assignment that begins so, and gives what is behind that.
    pub fn until(&mut self, start: &str) -> String {
        self.until_one(start, |_| true)
    }

    /// Waits for one of these that is as wanted.
    pub fn until_one(&mut self, start: &str, mut is_wanted: impl FnMut(&str) -> bool) -> String {
        let clock = MonotonicClock::start();
        let patience_ends = clock.now() + PATIENCE;
        loop {
            let told = self.next();
            let mut values = told.iter().filter_map(|line| line.strip_prefix(start));
            if let Some(value) = values.find(|value| is_wanted(value)) {
                return value.to_owned();
            }
            assert!(clock.now() < patience_ends, "no {start} as wanted: {:?}", self.told);
        }
    }

    pub fn was_told(&self, start: &str) -> bool {
        self.told.iter().any(|line| line.starts_with(start))
    }
}
