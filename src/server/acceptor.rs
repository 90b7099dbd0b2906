//! The acceptor thread: takes connections in and hands each to the next shard, round robin.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown};

use super::descriptors::REFUSALS_MAX;
use super::listen::{Listener, accept};
use crate::endpoint::CloseCause;
use crate::id::ShardId;
use crate::protocol::{Persistence, Refusal};
use crate::reactor::{Interest, Io, PeerAddress, PollIo, PollStream, Ready};
use crate::shard::{Admission, Adopt, Mail, Mesh};
use crate::slab::{Key, Slab};
use crate::time::Time;

/// Accepts between two looks at everything else; the shards are woken once per so many.
const BURST: usize = 256;
/// How long the listeners rest when nothing can be accepted and nothing can be refused.
const REST: Duration = Duration::from_millis(100);

/// The acceptor. It owns the listeners and the round-robin counter, a plain integer.
pub(super) struct Acceptor {
    io: PollIo,
    listeners: Slab<Option<Watched>>,
    mesh: Arc<Mesh<OwnedFd>>,
    stopping: Arc<AtomicBool>,
    connections: Arc<AtomicUsize>,
    max_connections: usize,
    send_buffer: usize,
    drain: Duration,
    next_shard: usize,
    /// Shards that got a socket in this burst.
    reached: Vec<bool>,
    /// Given up for a moment to refuse a connection when no other descriptor is left.
    reserve: Option<OwnedFd>,
    /// The listeners are not watched until then.
    resting_until: Option<Time>,
    out_of_descriptors: bool,
    /// The last connection found no place.
    full: bool,
}

/// Whom the acceptor lets in, what the kernel may hold for each, and how long they may stay after the stop.
pub(super) struct AdmissionLimits {
    /// Connections over all shards.
    pub connections: Arc<AtomicUsize>,
    pub max_connections: usize,
    pub send_buffer: usize,
    pub drain: Duration,
}

struct Watched {
    stream: PollStream,
    /// Only this machine can reach it.
    trusted: bool,
    /// Dropped with the acceptor: removes the path of a unix socket.
    _listener: Listener,
}

impl Acceptor {
    pub(super) fn new(
        io: PollIo,
        listeners: Vec<Listener>,
        mesh: Arc<Mesh<OwnedFd>>,
        stopping: Arc<AtomicBool>,
        AdmissionLimits { connections, max_connections, send_buffer, drain }: AdmissionLimits,
    ) -> io::Result<Acceptor> {
        let mut acceptor = Acceptor {
            io,
            listeners: Slab::default(),
            reached: vec![false; mesh.shards()],
            mesh,
            stopping,
            connections,
            max_connections,
            send_buffer,
            drain,
            next_shard: 0,
            reserve: Some(open_reserve()?),
            resting_until: None,
            out_of_descriptors: false,
            full: false,
        };
        for mut listener in listeners {
            let trusted = listener.address().is_local();
            let Some(socket) = listener.take_socket() else { continue };
            let key = acceptor.listeners.insert(None);
            let stream = acceptor.io.register(socket, key)?;
            if let Some(watched) = acceptor.listeners.get_mut(key) {
                *watched = Some(Watched { stream, trusted, _listener: listener });
            }
        }
        Ok(acceptor)
    }

    /// Accepts until it is told to stop, then tells the shards to drain.
    pub(super) fn run(mut self) {
        let mut ready: Vec<Ready> = Vec::new();
        while !self.stopping.load(Ordering::SeqCst) {
            if let Err(error) = self.io.wait(&mut ready, self.resting_until) {
                panic!("the acceptor cannot wait for connections: {error}");
            }
            let now = self.io.now();
            self.end_rest(now);
            for ready in &ready {
                self.accept_burst(ready.key, now);
            }
            self.wake_reached();
        }
        let deadline = self.io.now() + self.drain;
        let seconds = self.drain.as_secs_f32();
        tracing::info!("shutting down: no more connections are accepted, those open have {seconds} s");
        for shard in (0..self.mesh.shards()).map(ShardId::new) {
            self.mesh.send(shard, Mail::Drain { deadline });
            self.mesh.wake(shard);
        }
    }

    fn accept_burst(&mut self, key: Key, now: Time) {
        for _ in 0..BURST {
            let Some(Some(listener)) = self.listeners.get(key) else { return };
            match accept(listener.stream.as_fd(), self.send_buffer) {
                Ok((socket, address)) => {
                    if std::mem::take(&mut self.out_of_descriptors) {
                        tracing::info!("descriptors are free again");
                    }
                    let peer = address.map_or(PeerAddress::Unix, PeerAddress::from);
                    let trusted = listener.trusted;
                    self.admit(socket, (peer, trusted), now);
                }
                Err(Errno::WOULDBLOCK) => return,
                // The kernel looks for a descriptor before it looks whether anybody waits.
                Err(Errno::MFILE | Errno::NFILE) => match self.refuse_with_reserve(key) {
                    Reserve::Refused => {}
                    Reserve::NobodyWaits => return,
                    Reserve::Lost => {
                        self.rest(now);
                        return;
                    }
                },
                Err(Errno::NOBUFS | Errno::NOMEM) => {
                    tracing::warn!("the kernel has no memory for another connection");
                    self.rest(now);
                    return;
                }
                // The connection died in the queue (ECONNABORTED and the network errors of accept(2)).
                Err(_) => {}
            }
        }
    }

    fn admit(&mut self, socket: OwnedFd, (peer, trusted): (PeerAddress, bool), now: Time) {
        let before = self.connections.fetch_add(1, Ordering::Relaxed);
        let limit = self.max_connections;
        let was_full = std::mem::replace(&mut self.full, before >= limit);
        if self.full && !was_full {
            tracing::warn!("all {limit} connections are taken (--max-connections): more are refused");
        }
        let admission = if before < limit {
            Admission::Welcome
        } else if before < limit + REFUSALS_MAX {
            Admission::Full { limit }
        } else {
            self.connections.fetch_sub(1, Ordering::Relaxed);
            refuse_at_once(&socket, &CloseCause::ServerFull { limit }.to_string());
            return;
        };
        let shard = self.next_shard;
        self.next_shard = (shard + 1) % self.mesh.shards();
        self.reached[shard] = true;
        let adopt = Adopt { socket, peer, trusted, accepted: now, admission };
        self.mesh.send(ShardId::new(shard), Mail::Adopt(adopt));
    }

    fn wake_reached(&mut self) {
        for (shard, reached) in self.reached.iter_mut().enumerate() {
            if std::mem::take(reached) {
                self.mesh.wake(ShardId::new(shard));
            }
        }
    }

    /// Takes one connection with the reserve descriptor, says why it cannot stay, and closes it, so
    /// that the peer is not left hanging and the listener does not stay ready.
    fn refuse_with_reserve(&mut self, key: Key) -> Reserve {
        let Some(Some(listener)) = self.listeners.get(key) else { return Reserve::NobodyWaits };
        if self.reserve.take().is_none() {
            return Reserve::Lost;
        }
        let accepted = accept(listener.stream.as_fd(), self.send_buffer);
        if let Ok((socket, _)) = &accepted {
            if !std::mem::replace(&mut self.out_of_descriptors, true) {
                tracing::warn!("out of descriptors: new connections are refused until some are free");
            }
            refuse_at_once(socket, "the server has no descriptor left for another connection");
        }
        let nobody_waits = matches!(accepted, Err(Errno::WOULDBLOCK));
        drop(accepted);
        self.reserve = open_reserve().ok();
        match &self.reserve {
            None => Reserve::Lost,
            Some(_) if nobody_waits => Reserve::NobodyWaits,
            Some(_) => Reserve::Refused,
        }
    }

    /// Stops watching the listeners for a while, rather than spin on what cannot be accepted.
    fn rest(&mut self, now: Time) {
        self.resting_until = Some(now + REST);
        self.watch(false);
    }

    fn end_rest(&mut self, now: Time) {
        if self.resting_until.is_none_or(|until| now < until) {
            return;
        }
        self.resting_until = None;
        if self.reserve.is_none() {
            self.reserve = open_reserve().ok();
        }
        self.watch(true);
    }

    fn watch(&mut self, readable: bool) {
        let Acceptor { io, listeners, .. } = self;
        for key in listeners.keys() {
            if let Some(Some(listener)) = listeners.get(key) {
                let interest = Interest { readable, writable: false };
                if let Err(error) = io.set_interest(&listener.stream, key, interest) {
                    tracing::error!(%error, "a listener can no longer be watched");
                }
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

/// Any descriptor will do.
fn open_reserve() -> io::Result<OwnedFd> {
    std::fs::File::open("/dev/null").map(OwnedFd::from)
}

/// The last resort: no descriptor or slot is left to refuse it in order. The response is small enough
/// for an empty send buffer; a peer that is quick may lose it to a reset.
fn refuse_at_once(socket: &OwnedFd, why: &str) {
    let mut response = Vec::new();
    let refusal = Refusal::new(503, why.to_owned()).with_header("Retry-After", "5".to_owned());
    refusal.push_response(&mut response, false, Persistence::Close);
    let _ = rustix::net::send(socket, &response, SendFlags::NOSIGNAL);
    let _ = rustix::net::shutdown(socket, Shutdown::Write);
}
