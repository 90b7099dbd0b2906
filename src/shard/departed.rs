//! The way back from the shards to the acceptor: who has gone. The acceptor alone counts by address, so no
//! lock is needed.

use crossbeam_channel::{Receiver, Sender};

use crate::reactor::PeerAddress;

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
    /// Reports one, unless nobody counts it: connections of unix sockets have no address.
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
