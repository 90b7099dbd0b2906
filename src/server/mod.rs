//! Layer 5: the process. Listeners, the acceptor thread, one pinned thread per shard, start and stop.

mod acceptor;
mod descriptors;
mod listen;
mod placement;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use crate::config::{Config, ConfigError};
use crate::endpoint::{CloseKind, Echo, Endpoint, Relay, Resource, RouterPlan, page};
use crate::id::ShardId;
use crate::reactor::{MonotonicClock, PollIo, PollWaker, Wake};
use crate::shard::{Counter, Mailbox, Mesh, Progress, Shard, ShardStats, Shared};

use acceptor::Acceptor;
use listen::Listener;
use placement::Placement;

pub use listen::{BoundAddress, ListenAddress, ListenAddressError};
pub use placement::{Pin, PinError};

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration contradicts itself or what is possible.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address could not be listened on.
    #[error("--listen {address}: {error}")]
    Listen {
        /// The address as it was given.
        address: ListenAddress,
        /// What the operating system said.
        error: io::Error,
    },
    /// More connections were asked for than there are descriptors.
    #[error(
        "--max-connections {asked}: the descriptor limit of {limit} allows {allowed}; raise it with ulimit -n or LimitNOFILE="
    )]
    Descriptors {
        /// The value of the flag.
        asked: usize,
        /// Descriptors that the process may have.
        limit: u64,
        /// Connections that fit.
        allowed: usize,
    },
    /// A thread, poller or descriptor could not be had.
    #[error("{what}: {error}")]
    Resources {
        /// What was wanted.
        what: &'static str,
        /// What the operating system said.
        error: io::Error,
    },
}

/// Puts a server together: a configuration and what its paths are.
#[derive(Debug)]
pub struct ServerBuilder {
    config: Config,
    plan: RouterPlan,
}

impl ServerBuilder {
    /// A server without any path.
    pub fn new(config: Config) -> ServerBuilder {
        ServerBuilder { config, plan: RouterPlan::default() }
    }

    /// A server with the paths of the `fanfare` binary: `/`, `/healthz`, `/echo`, `/rooms/{room}`.
    pub fn standard(config: Config) -> ServerBuilder {
        let healthz = Resource { content_type: "text/plain", body: b"ok\n".into(), ..Resource::default() };
        ServerBuilder::new(config)
            .resource("/", page::resource())
            .resource("/healthz", healthz)
            .endpoint("/echo", |_| Echo)
            .endpoint("/rooms/{room}", |_| Relay)
    }

    /// Adds a WebSocket endpoint; `make` is called once per shard. A segment in braces, as in
    /// `/rooms/{room}`, matches any one segment and becomes a parameter.
    pub fn endpoint<E: Endpoint + 'static>(
        mut self,
        path: &str,
        make: impl Fn(ShardId) -> E + Send + Sync + 'static,
    ) -> ServerBuilder {
        self.plan.add_endpoint(path, Arc::new(move |shard| Box::new(make(shard))));
        self
    }

    /// Adds an answer to GET and HEAD.
    pub fn resource(mut self, path: &str, resource: Resource) -> ServerBuilder {
        self.plan.add_resource(path, resource);
        self
    }

    /// Opens the listeners and starts the threads.
    ///
    /// # Errors
    ///
    /// [`StartError`] in one line; nothing is left running then.
    pub fn start(mut self) -> Result<Server, StartError> {
        self.config.validate()?;
        self.plan.origins.allowed.clone_from(&self.config.allow_origin);
        let placement = Placement::new(self.config.workers, &self.config.pin);
        let descriptors = descriptors::raise_limit();
        let max_connections =
            descriptors::max_connections(self.config.max_connections, descriptors, placement.workers())?;
        let listeners = listen::open_all(&self.config)?;
        let addresses: Vec<BoundAddress> =
            listeners.iter().map(|listener| listener.address().clone()).collect();
        log_start(&self.config, &placement, &addresses, descriptors, max_connections);
        let connections = Arc::new(AtomicUsize::new(0));
        let shared = Shared {
            registry: Arc::default(),
            plan: Arc::new(self.plan),
            settings: Arc::new(self.config.settings()),
            connections: Arc::clone(&connections),
        };
        let clock = MonotonicClock::start();
        let (mesh, stats, shards) = start_shards(&self.config, &placement, &shared, clock)?;
        let (stop, acceptor) =
            start_acceptor(&self.config, listeners, clock, mesh, connections, max_connections)?;
        Ok(Server { addresses, stats, stop, acceptor, shards })
    }
}

type StartedShards = (Arc<Mesh<std::os::fd::OwnedFd>>, Vec<ShardStats>, Vec<JoinHandle<()>>);

fn start_shards(
    config: &Config,
    placement: &Placement,
    shared: &Shared,
    clock: MonotonicClock,
) -> Result<StartedShards, StartError> {
    let resources = |what| move |error| StartError::Resources { what, error };
    let mut ios = Vec::with_capacity(placement.workers());
    let mut wakers: Vec<Box<dyn Wake>> = Vec::with_capacity(placement.workers());
    for _ in 0..placement.workers() {
        let io = PollIo::new(clock).map_err(resources("a poller for a worker"))?;
        wakers.push(Box::new(io.waker()));
        ios.push(io);
    }
    let (mesh, mailboxes) = Mesh::new(wakers, config.mailbox_bytes);
    let stats: Vec<ShardStats> = ios.iter().map(|_| ShardStats::default()).collect();
    let mut threads = Vec::with_capacity(ios.len());
    for ((io, mailbox), stats) in ios.into_iter().zip(mailboxes).zip(&stats) {
        let (shared, stats, core) = (shared.clone(), stats.clone(), placement.core(mailbox.shard()));
        let thread = std::thread::Builder::new()
            .name(format!("fanfare-{}", mailbox.shard()))
            .spawn(move || run_shard(io, mailbox, shared, stats, core))
            .map_err(resources("a worker thread"))?;
        threads.push(thread);
    }
    Ok((mesh, stats, threads))
}

/// A shard's thread. A fault of the shard itself ends the process: a server that serves only some of
/// its connections is worse than one that is started again.
fn run_shard(
    io: PollIo,
    mailbox: Mailbox<std::os::fd::OwnedFd>,
    shared: Shared,
    stats: ShardStats,
    core: Option<core_affinity::CoreId>,
) {
    let id = mailbox.shard();
    if let Some(core) = core
        && !core_affinity::set_for_current(core)
    {
        tracing::warn!(worker = %id, core = core.id, "the worker could not be pinned to its core and runs unpinned");
    }
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let mut shard = Shard::new(io, mailbox, shared, stats);
        while shard.turn()? == Progress::Running {}
        Ok::<(), io::Error>(())
    }));
    match ran {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::error!(worker = %id, %error, "a worker cannot wait for its sockets; the process aborts");
            std::process::abort();
        }
        Err(_) => {
            tracing::error!(worker = %id, "a worker panicked; the process aborts");
            std::process::abort();
        }
    }
}

fn start_acceptor(
    config: &Config,
    listeners: Vec<Listener>,
    clock: MonotonicClock,
    mesh: Arc<Mesh<std::os::fd::OwnedFd>>,
    connections: Arc<AtomicUsize>,
    max_connections: usize,
) -> Result<(ServerHandle, JoinHandle<()>), StartError> {
    let resources = |what| move |error| StartError::Resources { what, error };
    let io = PollIo::new(clock).map_err(resources("a poller for the acceptor"))?;
    let stop = ServerHandle { stopping: Arc::new(AtomicBool::new(false)), waker: io.waker() };
    let acceptor = Acceptor::new(
        io,
        listeners,
        mesh,
        Arc::clone(&stop.stopping),
        connections,
        max_connections,
        config.drain,
    )
    .map_err(resources("the acceptor"))?;
    let thread = std::thread::Builder::new()
        .name("fanfare-accept".to_owned())
        .spawn(move || acceptor.run())
        .map_err(resources("the acceptor's thread"))?;
    Ok((stop, thread))
}

fn log_start(
    config: &Config,
    placement: &Placement,
    addresses: &[BoundAddress],
    descriptors: u64,
    max_connections: usize,
) {
    tracing::info!("fanfare {}", env!("CARGO_PKG_VERSION"));
    for address in addresses {
        tracing::info!("listening on {address}");
    }
    tracing::info!("{placement}");
    tracing::info!(
        "limits: {max_connections} connections of {descriptors} descriptors, {} bytes a message, {} bytes a queue",
        config.max_message,
        config.queue_bytes,
    );
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<BoundAddress>,
    stats: Vec<ShardStats>,
    stop: ServerHandle,
    acceptor: JoinHandle<()>,
    shards: Vec<JoinHandle<()>>,
}

/// Stops a server from anywhere.
#[derive(Clone, Debug)]
pub struct ServerHandle {
    stopping: Arc<AtomicBool>,
    waker: PollWaker,
}

impl ServerHandle {
    /// Stops accepting, sends Close 1001 to everyone and lets the queues run empty, for as long as
    /// [`Config::drain`] allows. Returns at once; [`Server::wait`] returns when it is done.
    pub fn shutdown(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.waker.wake();
    }
}

impl Server {
    /// Where it listens, with the ports that were chosen for port 0.
    pub fn addresses(&self) -> &[BoundAddress] {
        &self.addresses
    }

    /// What each shard has counted, by shard.
    pub fn shard_stats(&self) -> &[ShardStats] {
        &self.stats
    }

    /// A counter over all shards: the sum, or of a maximum the highest.
    pub fn counter(&self, counter: Counter) -> u64 {
        let values = self.stats.iter().map(|stats| stats.get(counter));
        if counter.is_maximum() { values.max().unwrap_or(0) } else { values.sum() }
    }

    /// Connections that ended for this kind of cause, over all shards.
    pub fn closes(&self, kind: CloseKind) -> u64 {
        self.stats.iter().map(|stats| stats.closes(kind)).sum()
    }

    /// What stops it.
    pub fn handle(&self) -> ServerHandle {
        self.stop.clone()
    }

    /// Waits until the server has been shut down and all of its threads have ended. Returns the
    /// final numbers of its shards.
    pub fn wait(self) -> Vec<ShardStats> {
        // The threads abort the process rather than end by a panic.
        let _ = self.acceptor.join();
        for shard in self.shards {
            let _ = shard.join();
        }
        self.stats
    }
}
