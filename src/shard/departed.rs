//! The way back from the shards to the acceptor: who has gone of those that it has counted. Those that a shard has
//! counted itself it takes off itself ([`super::forwarded`]).

use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender};

use crate::reactor::PeerAddress;

use super::Core;
use super::session::{Flag, Session};

/// A socket that a shard was given and has closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departed {
    /// Who was at its other end.
    pub peer: PeerAddress,
    /// Whether it was a connection, or one that the shard was given to refuse it in order.
    pub admitted: bool,
}

/// Carries what shards report to the acceptor, which reads it before it lets others in. So no more waits in
/// it than there were connections, and those that were taken in since.
#[derive(Clone, Debug)]
pub struct Departures {
    sender: Sender<Departed>,
    receiver: Receiver<Departed>,
}

impl Default for Departures {
    fn default() -> Departures {
        let (sender, receiver) = crossbeam_channel::unbounded();
        Departures { sender, receiver }
    }
}

impl Departures {
    /// Reports one that the acceptor has counted. Connections of unix sockets have no address.
    pub fn report(&self, departed: Departed) {
        if departed.admitted && departed.peer == PeerAddress::Unix {
            return;
        }
        // Both ends live as long as this.
        let _ = self.sender.send(departed);
    }

    /// Takes the oldest report.
    pub fn take(&self) -> Option<Departed> {
        self.receiver.try_recv().ok()
    }
}

/// What the acceptor has counted a socket as.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    /// A connection, else one to refuse.
    pub admitted: bool,
    /// One of its address.
    pub at_accept: bool,
}

impl Counted {
    /// As the session keeps it.
    pub fn of(session: &Session) -> Counted {
        Counted { admitted: session.is(Flag::Admitted), at_accept: session.is(Flag::CountedAtAccept) }
    }
}

impl<S> Core<S> {
    /// Gives the place of a socket back that is closed.
    pub(super) fn departed(&self, peer: PeerAddress, counted: Counted) {
        let Counted { admitted, at_accept } = counted;
        if admitted {
            self.connections.fetch_sub(1, Ordering::Relaxed);
        }
        if at_accept || !admitted {
            self.departures.report(Departed { peer, admitted });
        }
    }
}
