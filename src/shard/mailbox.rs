//! What crosses from thread to thread: one inbox per shard, with a lane of its own for what must not wait, and
//! all of them together.
//!
//! A send never blocks. What is in flight to a shard is counted in bytes; past a limit the sender
//! stops reading from its publishers ([`Mesh::waits_for_room`]) and is woken when the count has
//! fallen, so a shard that lags gets back-pressure instead of an unbounded inbox.
//!
//! A shard looks into its inbox after every return from wait, and does not sleep while anything is in it, so "send,
//! then wake" loses no wake-up. The tests in `tests/loom` put this through every order of the threads' steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::endpoint::{CloseCause, Scarcity};
use crate::id::{ConnectionId, ShardId};
use crate::protocol::CloseCode;
use crate::reactor::{PeerAddress, Wake};
use crate::rooms::{Batch, RoomName};
use crate::slab::Key;
use crate::sync::channel::{self, Receiver, Sender};
use crate::time::Time;

use super::batch_pool::frame_bytes;
use super::draining::DrainOrder;
use super::in_flight::InFlight;
use super::inspect::Inspection;
use super::reload::Reload;
use super::shedding::ShedOrder;

/// What mail costs beside its bytes.
const MAIL_OVERHEAD_BYTES: usize = size_of::<Mail<()>>() + 8;
/// About what a joining or leaving pins with its encodings.
const PRESENCE_BYTES: usize = MAIL_OVERHEAD_BYTES + 512;

/// A message to a shard.
#[derive(Debug)]
pub enum Mail<S> {
    /// A new connection.
    Adopt(Adopt<S>),
    /// Messages for the members of a room.
    Publication(Publication),
    /// Somebody has joined or left a room.
    Presence(PresenceChange),
    /// A back end ends connections or memberships.
    Removal(Arc<RemovalOrder>),
    /// Somebody looks at what the shard holds.
    Inspect(Box<Inspection>),
    /// The server goes on with other settings.
    Reload(Arc<Reload>),
    /// Close slow consumers, as something is nearly used up.
    Shed(ShedOrder),
    /// Close every connection with 1001, and finish.
    Drain(DrainOrder),
    /// Say which shard this is at the end of the turn, once its numbers are published.
    Report(Reply<ShardId>),
}

/// Where an answer goes that another thread waits for. (No part of what `crate::sync` is for: a shard never
/// waits for it.)
pub type Reply<T> = crossbeam_channel::Sender<T>;

/// A socket on its way from the acceptor to its shard.
#[derive(Debug)]
pub struct Adopt<S> {
    /// The connected, non-blocking socket.
    pub socket: S,
    /// Who is at its other end.
    pub peer: PeerAddress,
    /// What it came over.
    pub entrance: Entrance,
    /// Whether it was counted for its address.
    pub counted: bool,
    /// Whether it is believed when it says for whom it makes a request; it is not counted then. The shard goes by
    /// this: its own settings may be of before or after those that the acceptor went by.
    pub trusted_proxy: bool,
    /// When it was accepted; the handshake's deadline runs from here.
    pub accepted: Time,
    /// What to do with it.
    pub admission: Admission,
}

/// A listener, as far as its connections depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entrance {
    /// Only this machine can reach it: a loopback address or a unix socket.
    pub local: bool,
    /// Proxies come over it, which say whom they speak for before anything else.
    pub proxied: bool,
}

impl Entrance {
    /// For this machine alone, without proxies that say anything first.
    pub const LOCAL: Entrance = Entrance { local: true, proxied: false };
}

/// Whether a socket becomes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may shake hands.
    Welcome,
    /// The server is full: it gets a 503 and is closed.
    Full {
        /// The limit that was met.
        limit: usize,
    },
    /// Its address has all the connections that it may have: it gets a 429 and is closed.
    AddressFull {
        /// The limit that was met.
        limit: usize,
    },
    /// Its address makes connections too fast: it gets a 429 and is closed.
    HandshakeRate {
        /// How many it may make in a second.
        limit: u32,
    },
    /// The server admits no more now: it gets a 503 and is closed.
    ServerHandshakeRate {
        /// How many it admits in a second.
        limit: u32,
        /// When it may come again, in seconds.
        retry_after_s: u32,
    },
    /// The server has nearly used up something: it gets a 503 and is closed.
    Overloaded {
        /// What it has little left of.
        scarcity: Scarcity,
        /// How much of it may be in use, in percent.
        percent: u8,
        /// When it may come again, in seconds.
        retry_after_s: u32,
    },
    /// It came where only trusted proxies may: it gets a 403 and is closed.
    UntrustedProxy,
}

impl Admission {
    /// Why it does not become one.
    pub fn refusal(self) -> Option<CloseCause> {
        match self {
            Admission::Welcome => None,
            Admission::Full { limit } => Some(CloseCause::ServerFull { limit }),
            Admission::AddressFull { limit } => Some(CloseCause::AddressFull { limit }),
            Admission::HandshakeRate { limit } => Some(CloseCause::HandshakeRate { limit }),
            Admission::ServerHandshakeRate { limit, retry_after_s } => {
                Some(CloseCause::ServerHandshakeRate { limit, retry_after_s })
            }
            Admission::Overloaded { scarcity, percent, retry_after_s } => {
                Some(CloseCause::Overloaded { scarcity, percent, retry_after_s })
            }
            Admission::UntrustedProxy => Some(CloseCause::UntrustedProxy),
        }
    }
}

/// Consecutive messages of one room, encoded once for everybody.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The receiving shard's entry for the room.
    pub local_room: Key,
    /// The room's offset before the first of the messages.
    pub offset_before: u64,
    /// The turn that has read them.
    pub entered: Time,
    /// The messages.
    pub batch: Arc<Batch>,
}

impl<S> Mail<S> {
    /// What it counts while it is in flight: what clients cause does.
    fn bytes_in_flight(&self) -> usize {
        match self {
            Mail::Publication(publication) => frame_bytes(&publication.batch) + MAIL_OVERHEAD_BYTES,
            Mail::Presence(_) => PRESENCE_BYTES,
            Mail::Adopt(_) | Mail::Removal(_) | Mail::Inspect(_) | Mail::Reload(_) => 0,
            Mail::Shed(_) | Mail::Drain(_) | Mail::Report(_) => 0,
        }
    }
}

/// What those members of a room are told who want to hear who joins and leaves.
#[derive(Clone, Debug)]
pub struct PresenceChange {
    /// The receiving shard's entry for the room.
    pub local_room: Key,
    /// Whether it has joined, else left.
    pub joined: bool,
    /// One message without a payload, whose sender it is; encoded once for everybody.
    pub batch: Arc<Batch>,
}

/// Which connections a back end ends, or takes out of a room.
#[derive(Clone, Debug)]
pub struct RemovalOrder {
    /// The user that they belong to.
    pub user: Option<String>,
    /// The client id that they have.
    pub client: Option<ConnectionId>,
    /// The client ids of those that stay.
    pub spared: Vec<ConnectionId>,
    /// What they are removed from.
    pub from: RemovedFrom,
}

/// What a back end removes a connection from.
#[derive(Clone, Debug)]
pub enum RemovedFrom {
    /// All: the connection ends with this code and reason.
    Server(CloseCode, String),
    /// One room.
    Room(RoomName),
}

/// One shard's inbox, seen from outside.
struct Inlet<S> {
    /// Publications, and what keeps its order with them.
    sender: Sender<Mail<S>>,
    /// New connections, questions of who looks, probes and the order to shed have a lane of their own: they do not
    /// wait behind what others publish.
    urgent: Sender<Mail<S>>,
    waker: Box<dyn Wake>,
    in_flight: InFlight,
}

/// All inboxes of a server.
pub struct Mesh<S> {
    inlets: Vec<Inlet<S>>,
    /// A waiter and who wakes it may see it before and after a change: all that can come of it is a wake-up
    /// too many, or one at a lower level.
    bytes_max: AtomicUsize,
}

impl<S> std::fmt::Debug for Mesh<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mesh").field("shards", &self.inlets.len()).finish_non_exhaustive()
    }
}

impl<S> Mesh<S> {
    /// One inbox per waker. `bytes_max` bounds what is in flight to each before publishers pause.
    pub fn new(wakers: Vec<Box<dyn Wake>>, bytes_max: usize) -> (Arc<Mesh<S>>, Vec<Mailbox<S>>) {
        let mut inlets = Vec::with_capacity(wakers.len());
        let mut receivers = Vec::with_capacity(wakers.len());
        for waker in wakers {
            let (sender, receiver) = channel::unbounded();
            let (urgent, received) = channel::unbounded();
            inlets.push(Inlet { sender, urgent, waker, in_flight: InFlight::new() });
            receivers.push((receiver, received));
        }
        let mesh = Arc::new(Mesh { inlets, bytes_max: AtomicUsize::new(bytes_max) });
        let mailbox = |(shard, (receiver, urgent))| Mailbox {
            mesh: Arc::clone(&mesh),
            shard: ShardId::new(shard),
            receiver,
            urgent,
        };
        let mailboxes = receivers.into_iter().enumerate().map(mailbox).collect();
        (mesh, mailboxes)
    }

    /// Bytes of publications that may be in flight to one shard before its publishers pause.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max.load(Ordering::Relaxed)
    }

    /// Takes another bound for that.
    pub fn set_bytes_max(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.inlets.len()
    }

    /// Puts mail into a shard's inbox. The shard must be woken before the sender waits.
    pub fn send(&self, to: ShardId, mail: Mail<S>) {
        let inlet = &self.inlets[to.index()];
        inlet.in_flight.add(mail.bytes_in_flight());
        let is_urgent = matches!(mail, Mail::Adopt(_) | Mail::Inspect(_) | Mail::Report(_) | Mail::Shed(_));
        let lane = if is_urgent { &inlet.urgent } else { &inlet.sender };
        // It fails only when the shard has ended, in a shutdown: nobody is left to deliver to.
        let _ = lane.send(mail);
    }

    /// Wakes a shard.
    pub fn wake(&self, shard: ShardId) {
        self.inlets[shard.index()].waker.wake();
    }

    /// Mail that waits in a shard's inbox.
    pub fn mail_waiting(&self, to: ShardId) -> usize {
        let inlet = &self.inlets[to.index()];
        inlet.sender.len() + inlet.urgent.len()
    }

    /// Bytes of publications in flight to a shard.
    pub fn bytes_in_flight(&self, to: ShardId) -> usize {
        self.inlets[to.index()].in_flight.bytes()
    }

    /// Whether more is in flight to a shard than publishers may add to.
    pub fn is_over_limit(&self, to: ShardId) -> bool {
        self.bytes_in_flight(to) > self.bytes_max()
    }

    /// Whether `shard` has to wait until some inbox has drained to half its limit. If so, it will be
    /// woken then.
    pub fn waits_for_room(&self, shard: ShardId) -> bool {
        self.inlets.iter().any(|inlet| inlet.in_flight.awaits(self.bytes_max() / 2, shard))
    }
}

/// One shard's inbox, seen from inside.
#[derive(Debug)]
pub struct Mailbox<S> {
    mesh: Arc<Mesh<S>>,
    shard: ShardId,
    receiver: Receiver<Mail<S>>,
    urgent: Receiver<Mail<S>>,
}

impl<S> Mailbox<S> {
    /// Whose inbox it is.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// All inboxes.
    pub fn mesh(&self) -> &Arc<Mesh<S>> {
        &self.mesh
    }

    /// Whether mail waits.
    pub fn has_mail(&self) -> bool {
        !self.receiver.is_empty() || !self.urgent.is_empty()
    }

    /// Takes the oldest mail that waits for nothing else.
    pub fn take_urgent(&self) -> Option<Mail<S>> {
        self.urgent.try_recv().ok()
    }

    /// Takes the oldest mail, what is urgent first.
    pub fn take(&self) -> Option<Mail<S>> {
        if let Some(urgent) = self.take_urgent() {
            return Some(urgent);
        }
        let mail = self.receiver.try_recv().ok()?;
        self.mesh.inlets[self.shard.index()].in_flight.remove(mail.bytes_in_flight());
        Some(mail)
    }

    /// Wakes the shards whose publishers wait for this inbox, if it has room for them now.
    pub fn wake_waiters(&self) {
        let inlet = &self.mesh.inlets[self.shard.index()];
        inlet.in_flight.take_waiters(self.mesh.bytes_max() / 2, |shard| self.mesh.wake(shard));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rooms::Sender;
    use crate::shard::inspect::{ClosesWanted, Query};
    use crate::slab::Slab;

    struct CountWakes(Arc<AtomicUsize>);

    impl Wake for CountWakes {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn publication(bytes: usize) -> Mail<()> {
        let mut batch = Batch::default();
        let sender = (Sender::Api { exclude: None }, None);
        batch.push(false, sender, bytes, |out| out.resize(bytes, 0));
        let local_room = Slab::default().insert(());
        let batch = Arc::new(batch);
        Mail::Publication(Publication { local_room, offset_before: 0, entered: Time::ZERO, batch })
    }

    #[test]
    fn bytes_in_flight_are_counted_with_overhead_until_taken() {
        let wakes = Arc::new(AtomicUsize::new(0));
        let (mesh, mailboxes) = Mesh::new(vec![Box::new(CountWakes(wakes)) as Box<dyn Wake>], 1000);
        let to = ShardId::new(0);
        let mut sent = 0;
        while !mesh.is_over_limit(to) {
            mesh.send(to, publication(100));
            sent += 1;
        }
        let each = 100 + MAIL_OVERHEAD_BYTES;
        assert_eq!(mesh.bytes_in_flight(to), sent * each);
        assert!((sent - 1) * each <= 1000 && sent * each > 1000);
        while mailboxes[0].take().is_some() {}
        assert_eq!(mesh.bytes_in_flight(to), 0);
    }

    #[test]
    fn who_looks_does_not_wait_behind_what_others_publish() {
        let wakes = CountWakes(Arc::default());
        let (mesh, mailboxes) = Mesh::new(vec![Box::new(wakes) as Box<dyn Wake>], 1000);
        mesh.send(ShardId::new(0), publication(2000));
        let before = mesh.bytes_in_flight(ShardId::new(0));
        let query = Query::Closes(ClosesWanted::default());
        let (reply, _answers) = crossbeam_channel::bounded(1);
        let (number, limit, patience) = (0, 1, std::time::Duration::ZERO);
        let inspection = Inspection { number, query, limit, patience, reply };
        mesh.send(ShardId::new(0), Mail::Inspect(Box::new(inspection)));
        assert_eq!(mesh.bytes_in_flight(ShardId::new(0)), before, "and holds nobody back");
        assert!(matches!(mailboxes[0].take(), Some(Mail::Inspect(_))));
        assert!(matches!(mailboxes[0].take(), Some(Mail::Publication(_))));
        assert_eq!(mesh.bytes_in_flight(ShardId::new(0)), 0);
    }

    #[test]
    fn a_waiter_is_woken_once_when_there_is_room_again() {
        let wakes: Vec<Arc<AtomicUsize>> = (0..70).map(|_| Arc::default()).collect();
        let wakers = wakes.iter().map(|wake| Box::new(CountWakes(Arc::clone(wake))) as Box<dyn Wake>);
        let (mesh, mailboxes) = Mesh::new(wakers.collect(), 1000);
        let (slow, waiting) = (ShardId::new(1), ShardId::new(69));
        assert!(!mesh.waits_for_room(waiting));
        mesh.send(slow, publication(2000));
        mesh.send(slow, publication(2000));
        assert!(mesh.waits_for_room(waiting));
        assert!(mailboxes[1].take().is_some());
        mailboxes[1].wake_waiters();
        assert_eq!(wakes[69].load(Ordering::SeqCst), 0, "still over half the limit");
        assert!(mailboxes[1].take().is_some());
        mailboxes[1].wake_waiters();
        mailboxes[1].wake_waiters();
        assert_eq!(wakes[69].load(Ordering::SeqCst), 1);
        assert!(!mesh.waits_for_room(waiting));
    }
}
