//! The acceptor: takes connections in and hands each to the next shard, round robin. It works in turns,
//! like a shard, over the seam of [`Listen`]:
//!
//! ```text
//! told to stop? → wait → clock → end of a rest → accept from each ready listener → wake the shards
//! ```

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::endpoint::CloseCause;
use crate::id::ShardId;
use crate::protocol::{Persistence, Refusal};
use crate::reactor::{AcceptError, Listen, PeerAddress, Ready};
use crate::shard::{Admission, Adopt, Mail, Mesh, Progress};
use crate::slab::{Key, Slab};
use crate::time::Time;

/// Accepts between two looks at everything else; the shards are woken once per so many.
pub const ACCEPT_BURST: usize = 256;
/// How long the listeners rest when nothing can be accepted and nothing can be refused.
pub const ACCEPT_REST: Duration = Duration::from_millis(100);
/// Connections over the limit that may be told so in order at the same time; the others are refused at once.
pub const REFUSALS_MAX: usize = 32;

const OUT_OF_DESCRIPTORS: &str = "out of descriptors: new connections are refused until some are free";

/// Whom the acceptor lets in, and how long they may stay after the stop.
#[derive(Clone, Debug)]
pub struct AcceptorSettings {
    /// Connections at a time, over all shards.
    pub max_connections: usize,
    /// From the stop to the end of the last connection.
    pub drain: Duration,
}

/// What the acceptor shares with the other threads.
#[derive(Debug)]
pub struct AcceptorShared<S> {
    /// The shards' inboxes.
    pub mesh: Arc<Mesh<S>>,
    /// Set to have it stop; it must be woken then.
    pub stopping: Arc<AtomicBool>,
    /// Connections that were admitted and not closed yet: [`crate::shard::Shared::connections`].
    pub connections: Arc<AtomicUsize>,
}

/// The acceptor. It owns the listeners and the round-robin counter, a plain integer. `I` is the operating
/// system, or a simulation of it.
pub struct Acceptor<I: Listen> {
    io: I,
    listeners: Slab<Option<Watched<I::Listener>>>,
    ready: Vec<Ready>,
    shared: AcceptorShared<I::Socket>,
    settings: AcceptorSettings,
    next_shard: usize,
    /// Shards that got a socket in this turn.
    reached: Vec<bool>,
    /// Given up for a moment to refuse a connection when no other descriptor is left.
    reserve: Option<I::Reserve>,
    /// The listeners are not watched until then.
    resting_until: Option<Time>,
    /// Why connections could not be accepted, until one was.
    trouble: Option<&'static str>,
    /// The last connection found no place.
    full: bool,
}

struct Watched<L> {
    listener: L,
    /// Only this machine can reach it.
    trusted: bool,
}

impl<I: Listen> Acceptor<I> {
    /// An acceptor for these listening sockets, each with whether only this machine can reach it.
    ///
    /// # Errors
    ///
    /// When the operating system has no descriptor or memory left for it.
    pub fn new(
        io: I,
        listening: Vec<(I::Listening, bool)>,
        shared: AcceptorShared<I::Socket>,
        settings: AcceptorSettings,
    ) -> io::Result<Acceptor<I>> {
        let mut acceptor = Acceptor {
            io,
            listeners: Slab::default(),
            ready: Vec::new(),
            reached: vec![false; shared.mesh.shards()],
            shared,
            settings,
            next_shard: 0,
            reserve: None,
            resting_until: None,
            trouble: None,
            full: false,
        };
        acceptor.reserve = Some(acceptor.io.open_reserve()?);
        for (listening, trusted) in listening {
            let key = acceptor.listeners.insert(None);
            let listener = acceptor.io.listen(listening, key)?;
            if let Some(watched) = acceptor.listeners.get_mut(key) {
                *watched = Some(Watched { listener, trusted });
            }
        }
        Ok(acceptor)
    }

    /// Waits for connections and takes them in, or once it is told to stop, tells the shards to drain.
    ///
    /// # Errors
    ///
    /// When the operating system fails the wait itself: the acceptor cannot go on.
    pub fn turn(&mut self) -> io::Result<Progress> {
        if self.shared.stopping.load(Ordering::SeqCst) {
            self.drain();
            return Ok(Progress::Finished);
        }
        self.io.wait(&mut self.ready, self.resting_until)?;
        let now = self.io.now();
        self.end_rest(now);
        for at in 0..self.ready.len() {
            self.accept_burst(self.ready[at].key, now);
        }
        self.wake_reached();
        Ok(Progress::Running)
    }

    /// The seam for a simulation and for tests that look at what the acceptor asked of it.
    pub fn io_mut(&mut self) -> &mut I {
        &mut self.io
    }

    fn drain(&mut self) {
        let deadline = self.io.now() + self.settings.drain;
        let seconds = self.settings.drain.as_secs_f32();
        tracing::info!("shutting down: no more connections are accepted, those open have {seconds} s");
        let mesh = &self.shared.mesh;
        for shard in (0..mesh.shards()).map(ShardId::new) {
            mesh.send(shard, Mail::Drain { deadline });
            mesh.wake(shard);
        }
    }

    fn accept_burst(&mut self, key: Key, now: Time) {
        for _ in 0..ACCEPT_BURST {
            if self.resting_until.is_some() {
                return;
            }
            let Some(Some(watched)) = self.listeners.get(key) else { return };
            match self.io.accept(&watched.listener) {
                Ok((socket, peer)) => {
                    let trusted = watched.trusted;
                    if self.trouble.take().is_some() {
                        tracing::info!("connections are accepted again");
                    }
                    self.admit(socket, (peer, trusted), now);
                }
                Err(AcceptError::NobodyWaits) => return,
                Err(AcceptError::Aborted) => {}
                Err(AcceptError::OutOfDescriptors) => match self.refuse_with_reserve(key) {
                    Reserve::Refused => {}
                    Reserve::NobodyWaits => return,
                    Reserve::Lost => {
                        self.trouble(OUT_OF_DESCRIPTORS);
                        self.rest(now);
                    }
                },
                Err(AcceptError::OutOfMemory) => {
                    self.trouble("the kernel has no memory for another connection");
                    self.rest(now);
                }
                Err(AcceptError::Failed) => {
                    self.trouble("a listener cannot be accepted from");
                    self.rest(now);
                }
            }
        }
    }

    fn admit(&mut self, socket: I::Socket, (peer, trusted): (PeerAddress, bool), now: Time) {
        let before = self.shared.connections.fetch_add(1, Ordering::Relaxed);
        let limit = self.settings.max_connections;
        let was_full = std::mem::replace(&mut self.full, before >= limit);
        if self.full && !was_full {
            tracing::warn!("all {limit} connections are taken (--max-connections): more are refused");
        }
        let admission = if before < limit {
            Admission::Welcome
        } else if before < limit + REFUSALS_MAX {
            Admission::Full { limit }
        } else {
            self.shared.connections.fetch_sub(1, Ordering::Relaxed);
            self.refuse_at_once(socket, &CloseCause::ServerFull { limit }.to_string());
            return;
        };
        let mesh = &self.shared.mesh;
        let shard = self.next_shard;
        self.next_shard = (shard + 1) % mesh.shards();
        self.reached[shard] = true;
        let adopt = Adopt { socket, peer, trusted, accepted: now, admission };
        mesh.send(ShardId::new(shard), Mail::Adopt(adopt));
    }

    fn wake_reached(&mut self) {
        for (shard, reached) in self.reached.iter_mut().enumerate() {
            if std::mem::take(reached) {
                self.shared.mesh.wake(ShardId::new(shard));
            }
        }
    }

    /// Takes one connection with the reserve descriptor, says why it cannot stay, and closes it, so
    /// that the peer is not left hanging and the listener does not stay ready.
    fn refuse_with_reserve(&mut self, key: Key) -> Reserve {
        let Some(Some(watched)) = self.listeners.get(key) else { return Reserve::NobodyWaits };
        if self.reserve.take().is_none() {
            return Reserve::Lost;
        }
        let accepted = self.io.accept(&watched.listener);
        let nobody_waits = matches!(accepted, Err(AcceptError::NobodyWaits));
        if let Ok((socket, _)) = accepted {
            self.trouble(OUT_OF_DESCRIPTORS);
            self.refuse_at_once(socket, "the server has no descriptor left for another connection");
        }
        self.reserve = self.io.open_reserve().ok();
        match &self.reserve {
            None => Reserve::Lost,
            Some(_) if nobody_waits => Reserve::NobodyWaits,
            Some(_) => Reserve::Refused,
        }
    }

    /// The last resort: no descriptor or slot is left to refuse it in order. The response is small enough
    /// for an empty send buffer; a peer that is quick may lose it to a reset.
    fn refuse_at_once(&mut self, socket: I::Socket, why: &str) {
        let mut response = Vec::new();
        let refusal = Refusal::new(503, why.to_owned()).with_header("Retry-After", "5".to_owned());
        refusal.push_response(&mut response, false, Persistence::Close);
        self.io.refuse(socket, &response);
    }

    /// Says once why connections cannot be accepted.
    fn trouble(&mut self, what: &'static str) {
        if self.trouble.replace(what) != Some(what) {
            tracing::warn!("{what}");
        }
    }

    /// Stops watching the listeners for a while, rather than spin on what cannot be accepted.
    fn rest(&mut self, now: Time) {
        self.resting_until = Some(now + ACCEPT_REST);
        self.watch(false);
    }

    fn end_rest(&mut self, now: Time) {
        if self.resting_until.is_none_or(|until| now < until) {
            return;
        }
        self.resting_until = None;
        if self.reserve.is_none() {
            self.reserve = self.io.open_reserve().ok();
        }
        self.watch(true);
    }

    fn watch(&mut self, waiting: bool) {
        let Acceptor { io, listeners, .. } = self;
        for key in listeners.keys() {
            if let Some(Some(watched)) = listeners.get(key)
                && let Err(error) = io.watch(&watched.listener, key, waiting)
            {
                tracing::error!(%error, "a listener can no longer be watched");
            }
        }
    }
}

/// What the reserve descriptor was good for.
enum Reserve {
    Refused,
    NobodyWaits,
    /// Somebody else has taken the descriptor.
    Lost,
}
