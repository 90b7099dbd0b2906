//! Layer 5: the process. Listeners, the acceptor thread, one pinned thread per shard, start and stop.

mod acceptor;
mod addresses;
mod capacity;
mod descriptors;
mod listen;
mod placement;
mod refusals;

use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;

use crate::config::{Config, ConfigError};
use crate::endpoint::client_protocol::{ClientProtocol, ClientProtocolSettings};
use crate::endpoint::{ApiKeys, ApiKeysError, CloseKind, Echo, Endpoint, Relay, Resource, RouterPlan, page};
use crate::id::ShardId;
use crate::reactor::{MonotonicClock, PollIo, PollWaker, Stop, Wake};
use crate::rooms::Registry;
use crate::shard::{Counter, Departures, Mail, Mailbox, Mesh, Progress, Shard, ShardStats, Shared};
use crate::time::Time;

use placement::Placement;

pub use acceptor::{ACCEPT_BURST, ACCEPT_REST, Acceptor, AcceptorSettings, AcceptorShared, REFUSALS_MAX};
pub use addresses::{ADDRESSES_SPARE, AddressLimits, ExemptNetwork, ExemptNetworkError};
pub use capacity::{Capacity, capacity};
pub use descriptors::raise_limit as raise_descriptor_limit;
pub use listen::{BoundAddress, ListenAddress, ListenAddressError};
pub use placement::{Pin, PinError};
pub use refusals::AcceptorStats;

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
    /// The file with the keys cannot be read or breaks its rules.
    #[error("--api-key-file {}: {error}", path.display())]
    ApiKeys {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: String,
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

    /// A server with the paths of the `fanfare` binary: `/`, `/healthz`, `/echo`, `/rooms/{room}`,
    /// `/connection/websocket` and the HTTP door to the rooms with the server API.
    pub fn standard(config: Config) -> ServerBuilder {
        let healthz = Resource { content_type: "text/plain", body: b"ok\n".into(), ..Resource::default() };
        let Config { member_publish, ping_interval, command_rate, .. } = config;
        let client_protocol = ClientProtocolSettings { member_publish, ping_interval, command_rate };
        let mut builder = ServerBuilder::new(config)
            .resource("/healthz", healthz)
            .endpoint("/echo", |_| Echo)
            .endpoint("/rooms/{room}", move |_| Relay { member_publish })
            .endpoint("/connection/websocket", move |_| ClientProtocol::new(client_protocol));
        for (path, resource) in page::resources() {
            builder = builder.resource(path, resource);
        }
        builder.plan.add_rooms_door();
        builder
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
        self.plan.api_keys =
            self.config.api_key_file.as_deref().map(read_api_keys).transpose()?.map(Arc::new);
        let placement = Placement::new(self.config.workers, &self.config.pin);
        let descriptors = descriptors::raise_limit();
        let max_connections =
            descriptors::max_connections(self.config.max_connections, descriptors, placement.workers())?;
        let listeners = listen::open_all(&self.config)?;
        let addresses: Vec<BoundAddress> =
            listeners.iter().map(|listener| listener.address.clone()).collect();
        let connections = Arc::new(AtomicUsize::new(0));
        let shared = Shared {
            registry: Arc::new(Registry::new(self.config.room_settings())),
            plan: Arc::new(self.plan),
            settings: Arc::new(self.config.settings()),
            connections: Arc::clone(&connections),
            departures: Departures::default(),
        };
        // All that can fail for want of descriptors comes before the first thread.
        let clock = MonotonicClock::start();
        let (ios, mesh, mailboxes) = open_shards(&placement, self.config.mailbox_bytes, clock)?;
        let io = PollIo::new(clock).map_err(resources("a poller for the acceptor"))?;
        let stop = ServerHandle { stop: Stop::default(), waker: io.waker() };
        let listening = listeners.into_iter().map(|listener| (listener.socket, listener.address.is_local()));
        let acceptor = Acceptor::new(
            io,
            listening.collect(),
            AcceptorShared {
                mesh: Arc::clone(&mesh),
                stop: stop.stop.clone(),
                connections,
                departures: shared.departures.clone(),
            },
            self.config.acceptor_settings(max_connections),
        )
        .map_err(resources("the acceptor"))?;
        let refused = acceptor.stats();
        let mut threads = Threads::new(mesh);
        let mut stats = Vec::with_capacity(placement.workers());
        for (io, mailbox) in ios.into_iter().zip(mailboxes) {
            let (shared, core) = (shared.clone(), placement.core(mailbox.shard()));
            let published = ShardStats::default();
            stats.push(published.clone());
            threads.spawn(format!("fanfare-{}", mailbox.shard()), move || {
                run_shard(io, mailbox, shared, published, core);
            })?;
        }
        threads.spawn("fanfare-accept".to_owned(), move || run_acceptor(acceptor))?;
        log_start(&self.config, &placement, &addresses, descriptors, max_connections);
        Ok(Server { addresses, stats, refused, stop, threads: threads.keep() })
    }
}

/// The keys of `--api-key-file`.
///
/// # Errors
///
/// [`StartError::ApiKeys`] if the file cannot be read or breaks its rules. No key is shown.
pub fn read_api_keys(path: &Path) -> Result<ApiKeys, StartError> {
    let bad = |error: String| StartError::ApiKeys { path: path.to_owned(), error };
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    text.parse().map_err(|error: ApiKeysError| bad(error.to_string()))
}

fn resources(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |error| StartError::Resources { what, error }
}

type OpenShards = (Vec<PollIo>, Arc<Mesh<OwnedFd>>, Vec<Mailbox<OwnedFd>>);

fn open_shards(
    placement: &Placement,
    mailbox_bytes: usize,
    clock: MonotonicClock,
) -> Result<OpenShards, StartError> {
    let mut ios = Vec::with_capacity(placement.workers());
    let mut wakers: Vec<Box<dyn Wake>> = Vec::with_capacity(placement.workers());
    for _ in 0..placement.workers() {
        let io = PollIo::new(clock).map_err(resources("a poller for a worker"))?;
        wakers.push(Box::new(io.waker()));
        ios.push(io);
    }
    let (mesh, mailboxes) = Mesh::new(wakers, mailbox_bytes);
    Ok((ios, mesh, mailboxes))
}

/// The threads of a server that is being started. Dropped before all of them run, it stops those that
/// do: they have no connection yet.
struct Threads {
    mesh: Arc<Mesh<OwnedFd>>,
    running: Vec<JoinHandle<()>>,
}

impl Threads {
    fn new(mesh: Arc<Mesh<OwnedFd>>) -> Threads {
        Threads { mesh, running: Vec::new() }
    }

    /// Starts a thread whose panic ends the process: a server that serves only some of its connections
    /// is worse than one that is started again.
    fn spawn(&mut self, name: String, body: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
        let abort_on_panic = move || {
            if catch_unwind(AssertUnwindSafe(body)).is_err() {
                tracing::error!("a thread of the server panicked; the process aborts");
                std::process::abort();
            }
        };
        let thread = std::thread::Builder::new().name(name).spawn(abort_on_panic);
        self.running.push(thread.map_err(resources("a thread"))?);
        Ok(())
    }

    fn keep(mut self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut self.running)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        for (shard, thread) in self.running.drain(..).enumerate() {
            self.mesh.send(ShardId::new(shard), Mail::Drain { deadline: Time::ZERO });
            self.mesh.wake(ShardId::new(shard));
            let _ = thread.join();
        }
    }
}

/// A shard's thread.
fn run_shard(
    io: PollIo,
    mailbox: Mailbox<OwnedFd>,
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
    let mut shard = Shard::new(io, mailbox, shared, stats);
    loop {
        match shard.turn() {
            Ok(Progress::Running) => {}
            Ok(Progress::Finished) => return,
            Err(error) => panic!("worker {id} cannot wait for its sockets: {error}"),
        }
    }
}

/// The acceptor's thread.
fn run_acceptor(mut acceptor: Acceptor<PollIo>) {
    loop {
        match acceptor.turn() {
            Ok(Progress::Running) => {}
            Ok(Progress::Finished) => return,
            Err(error) => panic!("the acceptor cannot wait for connections: {error}"),
        }
    }
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
    refused: AcceptorStats,
    stop: ServerHandle,
    threads: Vec<JoinHandle<()>>,
}

/// Stops a server from anywhere.
#[derive(Clone, Debug)]
pub struct ServerHandle {
    stop: Stop,
    waker: PollWaker,
}

impl ServerHandle {
    /// Stops accepting, sends Close 1001 to everyone and lets the queues run empty, for as long as
    /// [`Config::drain`] allows. Returns at once; [`Server::wait`] returns when it is done.
    pub fn shutdown(&self) {
        self.stop.ask(&self.waker);
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

    /// Connections that ended for this kind of cause, over all shards, and those that the acceptor refused
    /// at once.
    pub fn closes(&self, kind: CloseKind) -> u64 {
        let ended: u64 = self.stats.iter().map(|stats| stats.closes(kind)).sum();
        ended + self.refused.refused_at_once(kind)
    }

    /// What stops it.
    pub fn handle(&self) -> ServerHandle {
        self.stop.clone()
    }

    /// Waits until the server has been shut down and all of its threads have ended. Returns the
    /// final numbers of its shards.
    pub fn wait(self) -> Vec<ShardStats> {
        // The threads abort the process rather than end by a panic.
        for thread in self.threads {
            let _ = thread.join();
        }
        self.stats
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    /// Set for the process that is to abort.
    const ABORTS: &str = "FANFARE_TEST_ABORTS";

    /// Runs this very test in a process of its own, as an abort leaves nobody to look.
    #[test]
    fn a_panic_of_a_thread_of_the_server_aborts_the_process_loudly() {
        if std::env::var_os(ABORTS).is_some() {
            let (mesh, _) = Mesh::new(Vec::new(), 1 << 20);
            let mut threads = Threads::new(mesh);
            threads.spawn("doomed".to_owned(), || panic!("a fault of the shard itself")).unwrap();
            let _ = threads.keep().remove(0).join();
            return;
        }
        let name = "server::tests::a_panic_of_a_thread_of_the_server_aborts_the_process_loudly";
        let mut child = Command::new(std::env::current_exe().unwrap());
        let output = child.args([name, "--exact", "--nocapture"]).env(ABORTS, "1").output().unwrap();
        assert_eq!(output.status.signal(), Some(rustix::process::Signal::ABORT.as_raw()));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("a fault of the shard itself"), "{said}");
    }

    #[test]
    fn a_start_that_fails_halfway_leaves_no_thread_behind() {
        let placement = Placement::new(Some(2), &Pin::Off);
        let (ios, mesh, mailboxes) = open_shards(&placement, 1 << 20, MonotonicClock::start()).unwrap();
        let shared = Shared {
            registry: Arc::new(Registry::new(Config::default().room_settings())),
            plan: Arc::default(),
            settings: Arc::new(Config::default().settings()),
            connections: Arc::default(),
            departures: Departures::default(),
        };
        let plan = Arc::downgrade(&shared.plan);
        let mut threads = Threads::new(mesh);
        for (io, mailbox) in ios.into_iter().zip(mailboxes) {
            let shared = shared.clone();
            let body = move || run_shard(io, mailbox, shared, ShardStats::default(), None);
            threads.spawn("half".to_owned(), body).unwrap();
        }
        drop(shared);
        assert_eq!(threads.running.len(), 2);
        drop(threads);
        assert!(plan.upgrade().is_none(), "what the threads held is freed: they have ended");
    }
}
