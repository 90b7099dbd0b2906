//! The threads of a server: one for each shard, and the acceptor's.

use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::admin::{Admin, Opened};
use super::placement::Placement;
use super::{Acceptor, MAIN, ServerThread, StartError, View, resources};
use crate::id::ShardId;
use crate::reactor::PollIo;
use crate::shard::{DrainOrder, Mail, Mailbox, Mesh, Progress, Shard, ShardStats, Shared};
use crate::time::Time;

/// Starts the threads of the shards, the admin listener, and last the acceptor's thread. Names of threads begin
/// with `name`.
///
/// # Errors
///
/// When one cannot be had; nothing is left running then.
pub fn start(
    shards: impl Iterator<Item = (PollIo, Mailbox<OwnedFd>)>,
    acceptor: Acceptor<PollIo>,
    shared: &Shared,
    view: &View,
    admin: Option<Opened>,
    (placement, name): (&Placement, &str),
) -> Result<(Vec<JoinHandle<()>>, Option<Admin>), StartError> {
    let mut threads = Threads::new(Arc::clone(&view.parts().mesh));
    for ((io, mailbox), stats) in shards.zip(view.parts().shards.iter().cloned()) {
        let shard = mailbox.shard();
        let (shared, core, view) = (shared.clone(), placement.core(shard), view.clone());
        threads.spawn(format!("{name}-{shard}"), move || {
            run_shard(io, mailbox, shared, stats, core);
            view.end(ServerThread::Worker(shard));
        })?;
    }
    let admin = admin.map(|admin| admin.start(view.clone())).transpose()?;
    // Of the end of the admin listener, which comes behind that of its server, nobody has to hear.
    let (ended, is_main) = (view.clone(), name == MAIN);
    let accepting = threads.spawn(format!("{name}-accept"), move || {
        let drain = run_acceptor(acceptor);
        if is_main {
            let seconds = drain.as_secs_f32();
            tracing::info!(
                "shutting down: nobody is accepted any more, those connected are told within {seconds} s"
            );
        }
        ended.end(ServerThread::Acceptor);
    });
    match accepting {
        Ok(()) => Ok((threads.keep(), admin)),
        Err(error) => {
            if let Some(admin) = admin {
                admin.stop();
            }
            Err(error)
        }
    }
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
            self.mesh.send(ShardId::new(shard), Mail::Drain(DrainOrder::at_once(Time::ZERO)));
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

/// The acceptor's thread. Returns over which time the others are told of the end.
fn run_acceptor(mut acceptor: Acceptor<PollIo>) -> Duration {
    loop {
        match acceptor.turn() {
            Ok(Progress::Running) => {}
            Ok(Progress::Finished) => return acceptor.drain_time(),
            Err(error) => panic!("the acceptor cannot wait for connections: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::super::{AddressTable, Pin, open_shards};
    use super::*;
    use crate::config::Config;
    use crate::reactor::MonotonicClock;
    use crate::rooms::Registry;
    use crate::shard::Departures;

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
        let name = "server::threads::tests::a_panic_of_a_thread_of_the_server_aborts_the_process_loudly";
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
            addresses: Arc::new(AddressTable::new(Config::default().acceptor_settings(1).addresses, 1)),
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
