//! Other settings for a server that runs. All of them are checked before the first is taken, and no connection
//! ends by it.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use super::live_settings::LiveSettingsSender;
use super::view::ViewParts;
use super::{ServerHandle, StartError, View, admin, descriptors, read_api_keys};
use crate::config::{Config, SETTINGS};
use crate::endpoint::{ApiKeys, RouterPlan};
use crate::id::ShardId;
use crate::reactor::Wake;
use crate::shard::{Mail, Reload, Untaken};

/// How long a reload waits for the server's threads to take it. A turn of theirs takes milliseconds: one that
/// has not come to it by then hangs.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);

/// A setting that has another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The flag that sets it.
    pub flag: &'static str,
    /// What it was.
    pub old: String,
    /// What it is to be.
    pub new: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} → {}", self.flag, self.old, self.new)
    }
}

/// What came of a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadReport {
    /// What has changed.
    pub changed: Vec<Change>,
    /// What is as it was until the next start: `old` is in force.
    pub needs_restart: Vec<Change>,
    /// Whether every thread of the server has taken it within 5 s. If not, one of them hangs; it takes it when
    /// it goes on.
    pub taken: bool,
}

/// Why a reload changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// No server would start so.
    #[error(transparent)]
    Refused(#[from] StartError),
    /// It is too late.
    #[error("the server is shutting down and takes no other settings")]
    Stopping,
}

/// Where settings go, and those in force.
#[derive(Debug)]
pub struct Reloader {
    view: View,
    acceptor: LiveSettingsSender,
    /// The admin listener's server goes with this one.
    admin: OnceLock<ServerHandle>,
    running: Mutex<Running>,
}

/// What is in force.
#[derive(Debug)]
struct Running {
    config: Config,
    plan: Arc<RouterPlan>,
}

impl ServerHandle {
    /// Goes on with other settings, without losing a connection, and says what has changed. What only a
    /// start can change stays as it is, and is said too. The keys of [`Config::api_key_file`] are read anew
    /// in any case.
    ///
    /// When it returns, the new settings are in force for whatever comes next, on the connections that are
    /// there too: what a connection holds already, it keeps, and a deadline that runs ends as it began. Call
    /// it from no thread of the server, as it waits for those.
    ///
    /// # Errors
    ///
    /// [`ReloadError`] in one line if the settings are not valid, if the keys cannot be read, or in a
    /// shutdown; nothing has changed then.
    pub fn reload(&self, config: Config) -> Result<ReloadReport, ReloadError> {
        if self.stop.is_asked() {
            return Err(ReloadError::Stopping);
        }
        self.reloader.reload(config)
    }
}

impl Reloader {
    /// For the server that is seen there, with what it starts with.
    pub fn new(view: View, acceptor: LiveSettingsSender, config: Config, plan: Arc<RouterPlan>) -> Reloader {
        let running = Mutex::new(Running { config, plan });
        Reloader { view, acceptor, admin: OnceLock::new(), running }
    }

    /// Has the admin listener's server reloaded with this one.
    pub fn add(&self, admin: Option<ServerHandle>) {
        if let Some(admin) = admin {
            // A server has one at most.
            let _ = self.admin.set(admin);
        }
    }

    fn reload(&self, mut config: Config) -> Result<ReloadReport, ReloadError> {
        // One at a time.
        let mut running = self.running.lock();
        config.validate().map_err(StartError::from)?;
        let keys = config.api_key_file.as_deref().map(read_api_keys).transpose()?;
        let ViewParts { mesh, descriptors_max, .. } = self.view.parts();
        let others = admin::descriptors(&running.config);
        let (asked, workers) = (config.max_connections, mesh.shards());
        let connections =
            descriptors::max_connections(asked, *descriptors_max, workers, others, config.shed_at_percent)?;

        let mut report = compare(&running.config, &config);
        report.changed.extend(changed_keys(&running, &config, keys.as_ref()));
        for setting in SETTINGS {
            setting.keep_until_restart(&mut config, &running.config);
        }
        let mut plan = RouterPlan::clone(&running.plan);
        plan.origins.allowed.clone_from(&config.allow_origin);
        plan.api_keys = keys.map(Arc::new);
        *running = Running { config, plan: Arc::new(plan) };

        report.taken = self.hand_out(&running, connections);
        if let Some(admin) = self.admin.get() {
            match admin.reload(admin::settings(&running.config)) {
                Ok(of_admin) => report.taken &= of_admin.taken,
                Err(error) => tracing::warn!("the admin listener goes on as before: {error}"),
            }
        }
        Ok(report)
    }

    /// Gives what is in force now to whoever goes by it, and says whether all have taken it.
    fn hand_out(&self, Running { config, plan }: &Running, connections: usize) -> bool {
        let ViewParts { mesh, registry, acceptor_waker, connections_max, .. } = self.view.parts();
        connections_max.store(connections, Ordering::Relaxed);
        registry.reload(config.room_settings());
        mesh.set_bytes_max(config.mailbox_bytes);
        let (untaken, taken) = Untaken::pair();
        self.acceptor.send(config.acceptor_settings(connections), untaken.clone());
        acceptor_waker.wake();
        let reload = Arc::new(Reload {
            settings: Arc::new(config.settings()),
            plan: Arc::clone(plan),
            endpoints: config.endpoint_settings(),
            untaken,
        });
        for shard in (0..mesh.shards()).map(ShardId::new) {
            mesh.send(shard, Mail::Reload(Arc::clone(&reload)));
            mesh.wake(shard);
        }
        drop(reload);
        taken.wait(TAKEN_WITHIN)
    }
}

/// What differs, with nothing taken yet.
fn compare(old: &Config, new: &Config) -> ReloadReport {
    let mut report = ReloadReport { changed: Vec::new(), needs_restart: Vec::new(), taken: false };
    for setting in SETTINGS {
        let change = Change { flag: setting.flag, old: setting.value(old), new: setting.value(new) };
        if change.old == change.new {
            continue;
        }
        let list = if setting.needs_restart() { &mut report.needs_restart } else { &mut report.changed };
        list.push(change);
    }
    report
}

/// Other keys in the same file.
fn changed_keys(running: &Running, config: &Config, keys: Option<&ApiKeys>) -> Option<Change> {
    let (old, new) = (running.plan.api_keys.as_deref()?, keys?);
    if running.config.api_key_file != config.api_key_file || old.are(new) {
        return None;
    }
    let count = |keys: &ApiKeys| format!("{} key{}", keys.len(), if keys.len() == 1 { "" } else { "s" });
    Some(Change { flag: "--api-key-file", old: count(old), new: count(new) + ", not the same" })
}
