//! The admin listener: a second, small server of the same machinery, with one worker that is not pinned, for
//! those who operate the first one. What it shows it reads from a [`View`] or asks the shards for, so that it
//! never keeps one of them from its turn.

mod debug;
mod live;
mod metrics;
mod probes;
mod shown;

use std::time::Duration;

use crate::config::Config;
use crate::endpoint::RouterPlan;

use super::listen::{self, Listener};
use super::placement::Pin;
use super::{
    AdminAddress, BoundAddress, ListenAddress, PassedSockets, Server, ServerBuilder, ServerHandle,
    StartError, View, descriptors,
};

/// Connections to the admin listeners at a time: some scrapers, probes and open pages. They are beside
/// `--max-connections`, so that a full server can still be looked at.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;

fn wanted(config: &Config) -> impl Iterator<Item = &ListenAddress> {
    config.admin.iter().filter_map(|address| match address {
        AdminAddress::None => None,
        AdminAddress::At(address) => Some(address),
    })
}

/// Descriptors that the admin listener of a configuration takes beside its listening sockets.
pub fn descriptors(config: &Config) -> usize {
    match wanted(config).next() {
        Some(_) => ADMIN_CONNECTIONS_MAX + descriptors::kept(1),
        None => 0,
    }
}

/// Admin listeners that are open, before there is anything to show.
#[derive(Debug)]
pub struct Opened {
    listeners: Vec<Listener>,
    config: Config,
}

impl Opened {
    /// Opens them, if the configuration has any, or takes what was passed for them.
    ///
    /// # Errors
    ///
    /// [`StartError::Listen`] with the address that could not be had.
    pub fn open(config: &Config, passed: &mut PassedSockets) -> Result<Option<Opened>, StartError> {
        let wanted: Vec<ListenAddress> = wanted(config).cloned().collect();
        if wanted.is_empty() {
            return Ok(None);
        }
        let listeners = listen::open_all("--admin", &wanted, config, passed)?;
        Ok(Some(Opened { listeners, config: settings(config) }))
    }

    /// Starts to serve what `view` shows.
    ///
    /// # Errors
    ///
    /// When the operating system has no thread, poller or descriptor left for it.
    pub fn start(self, view: View) -> Result<Admin, StartError> {
        let Opened { listeners, config } = self;
        let only_local = listeners.iter().all(|listener| listener.address.is_local());
        // No web page reaches a unix socket.
        let only_unix = listeners.iter().all(|listener| matches!(listener.address, ListenAddress::Unix(_)));
        let mut builder = ServerBuilder::new(config);
        builder.plan = plan(&view);
        builder.plan.local_hosts_only = only_local && !only_unix;
        let server = builder.start_on(listeners, None, "fanfare-admin")?;
        Ok(Admin(Box::new(server)))
    }
}

/// What the admin listener shows.
fn plan(view: &View) -> RouterPlan {
    let mut plan = RouterPlan::default();
    probes::add(&mut plan, view);
    metrics::add(&mut plan, view);
    debug::add(&mut plan, view);
    live::add(&mut plan, view);
    plan
}

/// How long the end of the process waits for those who still look: they have seen what there was to see.
pub const PATIENCE_AT_THE_END: Duration = Duration::from_secs(1);

/// The configuration of the small server: what concerns its peers is that of the first one.
pub fn settings(config: &Config) -> Config {
    Config {
        drain: Duration::ZERO,
        close_timeout: config.close_timeout.min(PATIENCE_AT_THE_END),
        handshakes_per_second: Config::default().handshakes_per_second,
        admin: Vec::new(),
        workers: Some(1),
        pin: Pin::Off,
        max_connections: Some(ADMIN_CONNECTIONS_MAX),
        api_key_file: None,
        member_publish: false,
        ..config.clone()
    }
}

/// A running admin listener.
#[derive(Debug)]
pub struct Admin(Box<Server>);

impl Admin {
    /// Where it listens.
    pub fn addresses(&self) -> &[BoundAddress] {
        self.0.addresses()
    }

    /// What steers it.
    pub fn handle(&self) -> ServerHandle {
        self.0.handle()
    }

    /// Stops it, and waits for the end of its threads.
    pub fn stop(self) {
        self.0.handle().shutdown();
        self.0.wait();
    }
}
