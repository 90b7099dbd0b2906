//! What all casts did in a while.

use std::collections::BTreeMap;
use std::time::Duration;

use fanfare::time::Time;

use super::kernel;
use super::load::Load;
use super::state::State;
use crate::load::latency::Latency;

/// What a cast did in a while.
#[derive(Clone, Debug, Default)]
pub struct CastWindow {
    pub latency: Latency,
    /// From connecting to the end of the handshake.
    pub connect: Latency,
    pub sent: u64,
    pub received: u64,
}

/// What all casts did in a while.
#[derive(Clone, Debug, Default)]
pub struct Window {
    pub seconds: f64,
    /// Seconds that the server has computed, and all clients together.
    pub server_seconds: f64,
    pub client_seconds: f64,
    pub casts: BTreeMap<String, CastWindow>,
}

impl Window {
    /// The latency of a cast; an empty one if it is not known.
    pub fn latency(&self, cast: &str) -> Latency {
        self.casts.get(cast).map(|window| window.latency.clone()).unwrap_or_default()
    }
}

/// A window that is open: what had been counted before.
#[derive(Clone, Debug)]
pub struct Opening {
    began: Time,
    server_seconds: f64,
    client_seconds: f64,
    before: BTreeMap<String, (u64, u64)>,
}

impl Load {
    /// Latencies and counts of each cast over so long.
    pub fn measure(&mut self, duration: Duration) -> Window {
        let opening = self.open_window();
        self.run_for(duration);
        self.close_window(opening)
    }

    /// From here on latencies and counts are those of a window.
    pub fn open_window(&mut self) -> Opening {
        self.hear_all();
        self.state.take_windows();
        let counts = |name: String| {
            let counts = counts(&self.state, &name);
            (name, counts)
        };
        let before = self.state.names().into_iter().map(counts).collect();
        let (server_seconds, client_seconds) = self.computed();
        Opening { began: self.now(), server_seconds, client_seconds, before }
    }

    /// What all casts did since the window was opened, those that began meanwhile too.
    pub fn close_window(&mut self, opening: Opening) -> Window {
        self.hear_all();
        let seconds = self.now().since(opening.began).as_secs_f64();
        let (server, clients) = self.computed();
        let mut latencies = self.state.take_windows();
        let window = |name: String| {
            let (latency, connect) = latencies.remove(&name).unwrap_or_default();
            let before = opening.before.get(&name).copied().unwrap_or_default();
            let after = counts(&self.state, &name);
            let window =
                CastWindow { latency, connect, sent: after.0 - before.0, received: after.1 - before.1 };
            (name, window)
        };
        Window {
            seconds,
            server_seconds: server - opening.server_seconds,
            client_seconds: clients - opening.client_seconds,
            casts: self.state.names().into_iter().map(window).collect(),
        }
    }

    /// Seconds that the server has computed, and all clients together.
    fn computed(&self) -> (f64, f64) {
        let clients = self.clients.iter().map(|client| kernel::process_seconds(client.id())).sum();
        (kernel::process_seconds(self.server.id()), clients)
    }
}

fn counts(state: &State, name: &str) -> (u64, u64) {
    (state.sent(name), state.received(name))
}
