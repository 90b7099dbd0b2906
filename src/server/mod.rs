//! Layer 5: the process. Listeners, the acceptor thread, one pinned thread per shard, start and stop.

mod acceptor;
mod addresses;
mod admin;
mod capacity;
mod descriptors;
mod gauge;
mod health;
mod inspect;
mod listen;
mod live_settings;
mod passed;
mod placement;
mod pressure;
mod refusals;
mod reload;
mod threads;
mod throttle;
mod trim;
mod view;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::config::{Config, ConfigError};
use crate::endpoint::client_protocol::ClientProtocol;
use crate::endpoint::http::Answer;
use crate::endpoint::{
    ApiKeys, ApiKeysError, Asked, CloseKind, DynamicResource, Echo, Endpoint, Following, Relay, Resource,
    RouterPlan, page,
};
use crate::id::ShardId;
use crate::protocol::Refusal;
use crate::reactor::{MonotonicClock, PollIo, PollWaker, Stop, Wake};
use crate::rooms::Registry;
use crate::shard::{Counter, Departures, Mailbox, Mesh, ShardStats, Shared};

use admin::{Admin, Opened};
use listen::Listener;
use placement::Placement;
use reload::Reloader;
use view::ViewParts;

pub use acceptor::{ACCEPT_BURST, ACCEPT_REST, Acceptor, AcceptorSettings, AcceptorShared, REFUSALS_MAX};
pub use addresses::{ADDRESSES_SPARE, AddressLimits, AddressTable, ExemptNetwork, ExemptNetworkError};
pub use admin::ADMIN_CONNECTIONS_MAX;
pub use capacity::{Capacity, capacity};
pub use descriptors::raise_limit as raise_descriptor_limit;
pub use gauge::{Gauge, Level, MemoryLimit, SystemGauge, Usage};
pub use health::{Health, ServerThread, ThreadHealth};
pub use inspect::{INSPECTION_WAIT, Inspected, Inspector};
pub use listen::{AdminAddress, AdminAddressError, BoundAddress, ListenAddress, ListenAddressError};
pub use live_settings::{LiveSettings, LiveSettingsSender};
pub use passed::PassedSockets;
pub use placement::{Pin, PinError};
pub use refusals::AcceptorStats;
pub use reload::{Change, ReloadError, ReloadReport};
pub use view::View;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration contradicts itself or what is possible.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address could not be listened on.
    #[error("{flag} {address}: {error}")]
    Listen {
        /// The flag that names it.
        flag: &'static str,
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

/// What the names of the threads begin with.
const MAIN: &str = "fanfare";

/// Puts a server together: a configuration and what its paths are.
#[derive(Debug)]
pub struct ServerBuilder {
    config: Config,
    plan: RouterPlan,
    passed: PassedSockets,
}

impl ServerBuilder {
    /// A server without any path.
    pub fn new(config: Config) -> ServerBuilder {
        ServerBuilder { config, plan: RouterPlan::default(), passed: PassedSockets::default() }
    }

    /// A server with the paths of the `fanfare` binary: `/`, `/healthz`, `/echo`, `/rooms/{room}`,
    /// `/connection/websocket` and the HTTP door to the rooms with the server API.
    pub fn standard(config: Config) -> ServerBuilder {
        let healthz = Resource { content_type: "text/plain", body: b"ok\n".into(), ..Resource::default() };
        let settings = config.endpoint_settings();
        let relay = move |_| {
            let relay = Relay { member_publish: settings.member_publish };
            Following::new(relay, |relay, settings| relay.member_publish = settings.member_publish)
        };
        let client_protocol =
            move |_| Following::new(ClientProtocol::new(settings), ClientProtocol::set_settings);
        let mut builder = ServerBuilder::new(config)
            .resource("/healthz", healthz)
            .endpoint("/echo", |_| Echo)
            .endpoint("/rooms/{room}", relay)
            .endpoint("/connection/websocket", client_protocol);
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

    /// Adds an answer to GET and HEAD that is made when it is asked for. The connection's worker waits for
    /// `make`, so it must be quick.
    pub fn dynamic_resource(
        mut self,
        path: &str,
        make: impl Fn(&Asked<'_>) -> Result<Answer, Refusal> + Send + Sync + 'static,
    ) -> ServerBuilder {
        self.plan.add_dynamic(path, DynamicResource::new(make));
        self
    }

    /// Adds the sockets that `--listen fd:NAME` and `--admin fd:NAME` mean.
    pub fn passed_sockets(mut self, passed: PassedSockets) -> ServerBuilder {
        self.passed = passed;
        self
    }

    /// Opens the listeners and starts the threads.
    ///
    /// # Errors
    ///
    /// [`StartError`] in one line; nothing is left running then.
    pub fn start(mut self) -> Result<Server, StartError> {
        self.config.validate()?;
        let mut passed = std::mem::take(&mut self.passed);
        let admin = Opened::open(&self.config, &mut passed)?;
        let Config { listen, listen_proxy, .. } = &self.config;
        let mut listeners = listen::open_all("--listen", listen, &self.config, &mut passed)?;
        let proxied = listen::open_all("--listen-proxy", listen_proxy, &self.config, &mut passed)?;
        listeners.extend(proxied.into_iter().map(|listener| Listener { proxied: true, ..listener }));
        passed.warn_of_those_left();
        self.start_on(listeners, admin, MAIN)
    }

    /// Gives the paths the origins and keys of the configuration.
    fn admit_by_config(&mut self) -> Result<(), StartError> {
        let Config { allow_origin, api_key_file, .. } = &self.config;
        self.plan.origins.allowed.clone_from(allow_origin);
        self.plan.api_keys = api_key_file.as_deref().map(read_api_keys).transpose()?.map(Arc::new);
        Ok(())
    }

    /// Starts the threads, whose names begin with `name`.
    fn start_on(
        mut self,
        listeners: Vec<Listener>,
        admin: Option<Opened>,
        name: &str,
    ) -> Result<Server, StartError> {
        self.admit_by_config()?;
        let placement = Placement::new(self.config.workers, &self.config.pin);
        let descriptors = descriptors::raise_limit();
        let (asked, others) = (self.config.max_connections, admin::descriptors(&self.config));
        let (workers, percent) = (placement.workers(), self.config.shed_at_percent);
        let max_connections = descriptors::max_connections(asked, descriptors, workers, others, percent)?;
        let addresses: Vec<BoundAddress> =
            listeners.iter().map(|listener| listener.address.clone()).collect();
        let straight = listeners.iter().filter(|listener| !listener.proxied).count();
        let settings = self.config.acceptor_settings(max_connections);
        let counted = Arc::new(AddressTable::new(settings.addresses.clone(), max_connections));
        let shared = share(&self.config, self.plan, Arc::clone(&counted));
        // All that can fail for want of descriptors comes before the first thread.
        let clock = MonotonicClock::start();
        let (ios, mesh, mailboxes) = open_shards(&placement, self.config.mailbox_bytes, clock)?;
        let io = PollIo::new(clock).map_err(resources("a poller for the acceptor"))?;
        let (stop, waker) = (Stop::default(), io.waker());
        let (news, settings_to_come) = LiveSettings::channel();
        let parts = AcceptorShared {
            seed: rand::random(),
            gauge: gauge_of(name, descriptors),
            farewell_max: if name == MAIN { Duration::MAX } else { admin::PATIENCE_AT_THE_END },
            mesh: Arc::clone(&mesh),
            stop: stop.clone(),
            news: settings_to_come,
            connections: Arc::clone(&shared.connections),
            departures: shared.departures.clone(),
            addresses: counted,
        };
        let acceptor = open_acceptor(io, listeners, parts, settings)?;
        let view = View::new(ViewParts {
            shards: mailboxes.iter().map(|_| ShardStats::default()).collect(),
            acceptor: acceptor.stats(),
            usage: acceptor.usage(),
            acceptor_waker: waker.clone(),
            mesh,
            registry: Arc::clone(&shared.registry),
            plan: Arc::clone(&shared.plan),
            connections: Arc::clone(&shared.connections),
            connections_max: AtomicUsize::new(max_connections),
            descriptors_max: descriptors,
            clock,
            stop: stop.clone(),
        });
        let reloader = Reloader::new(view.clone(), news, self.config.clone(), Arc::clone(&shared.plan));
        let handle = ServerHandle { stop, waker, view, reloader: Arc::new(reloader) };
        let (shards, view) = (ios.into_iter().zip(mailboxes), &handle.view);
        let (threads, admin) = threads::start(shards, acceptor, &shared, view, admin, (&placement, name))?;
        handle.reloader.add(admin.as_ref().map(Admin::handle));
        if name == MAIN {
            let all = (&addresses[..], straight, admin.as_ref().map_or(&[][..], Admin::addresses));
            log_start(&self.config, &placement, all, descriptors, max_connections);
        }
        Ok(Server { addresses, admin, handle, threads })
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

/// What the threads share, at the start.
fn share(config: &Config, plan: RouterPlan, addresses: Arc<AddressTable>) -> Shared {
    Shared {
        registry: Arc::new(Registry::new(config.room_settings())),
        plan: Arc::new(plan),
        settings: Arc::new(config.settings()),
        connections: Arc::default(),
        departures: Departures::default(),
        addresses,
    }
}

fn resources(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |error| StartError::Resources { what, error }
}

/// Who operates a server has to get in when it sheds.
fn gauge_of(name: &str, descriptors: u64) -> Option<Box<dyn Gauge>> {
    (name == MAIN).then(|| Box::new(SystemGauge::new(descriptors)) as Box<dyn Gauge>)
}

fn open_acceptor(
    io: PollIo,
    listeners: Vec<Listener>,
    shared: AcceptorShared<OwnedFd>,
    settings: AcceptorSettings,
) -> Result<Acceptor<PollIo>, StartError> {
    let listening = listeners.into_iter().map(Listener::into_entrance);
    Acceptor::new(io, listening.collect(), shared, settings).map_err(resources("the acceptor"))
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

fn log_start(
    config: &Config,
    placement: &Placement,
    (addresses, straight, admin): (&[BoundAddress], usize, &[BoundAddress]),
    descriptors: u64,
    max_connections: usize,
) {
    tracing::info!("fanfare {}", env!("CARGO_PKG_VERSION"));
    let (all, proxied) = addresses.split_at(straight);
    for address in all {
        tracing::info!("listening on {address}");
    }
    for address in proxied {
        tracing::info!("listening on {address} for proxies, which say first whom they speak for");
    }
    for address in admin {
        tracing::info!("admin on {address}");
        if !address.is_local() {
            tracing::warn!(
                "whoever can reach {address} (--admin) sees who is connected and what rooms there are"
            );
        }
    }
    tracing::info!("{placement}");
    tracing::info!(
        "limits: {max_connections} connections of {descriptors} descriptors, {} bytes a message, {} bytes a queue",
        config.max_message,
        config.queue_bytes,
    );
    let capacity = Capacity { workers: placement.workers(), descriptors, max_connections };
    if let Some(note) = capacity.note(config) {
        tracing::warn!("{note}");
    }
    gauge::warn_of_histories(config, &mut SystemGauge::new(descriptors));
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<BoundAddress>,
    admin: Option<Admin>,
    handle: ServerHandle,
    threads: Vec<JoinHandle<()>>,
}

/// Watches, reloads and stops a server from anywhere.
#[derive(Clone, Debug)]
pub struct ServerHandle {
    stop: Stop,
    waker: PollWaker,
    view: View,
    reloader: Arc<Reloader>,
}

impl ServerHandle {
    /// Stops accepting, sends Close 1001 to one connection after the other over the time of [`Config::drain`],
    /// and lets their queues run empty. Returns at once; [`Server::wait`] returns when it is done, by
    /// [`Config::shutdown_max`] at the latest.
    pub fn shutdown(&self) {
        self.stop.ask(&self.waker);
    }

    /// Whether it has been told to stop: it is not ready for anybody any more.
    pub fn is_draining(&self) -> bool {
        self.stop.is_asked()
    }
}

impl Server {
    /// Where it listens, with the ports that were chosen for port 0.
    pub fn addresses(&self) -> &[BoundAddress] {
        &self.addresses
    }

    /// Where its admin listener is ([`Config::admin`]), with the ports that were chosen for port 0.
    pub fn admin_addresses(&self) -> &[BoundAddress] {
        self.admin.as_ref().map_or(&[], Admin::addresses)
    }

    /// A look at it from any thread.
    pub fn view(&self) -> &View {
        &self.handle.view
    }

    /// What each shard has counted, by shard.
    pub fn shard_stats(&self) -> &[ShardStats] {
        &self.view().parts().shards
    }

    /// [`View::counter`].
    pub fn counter(&self, counter: Counter) -> u64 {
        self.view().counter(counter)
    }

    /// [`View::closes`].
    pub fn closes(&self, kind: CloseKind) -> u64 {
        self.view().closes(kind)
    }

    /// Memory and descriptors that were in use at the latest look, about a second ago at most.
    pub fn usage(&self) -> &Usage {
        &self.view().parts().usage
    }

    /// What watches, reloads and stops it.
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// Waits until the server has been shut down and all of its threads have ended. Returns the
    /// final numbers of its shards.
    pub fn wait(self) -> Vec<ShardStats> {
        // The threads abort the process rather than end by a panic.
        for thread in self.threads {
            let _ = thread.join();
        }
        // Until here it shows how the shutdown goes on.
        if let Some(admin) = self.admin {
            admin.stop();
        }
        self.handle.view.parts().shards.clone()
    }
}
