//! The closes that are wanted.

use std::cmp::Reverse;
use std::net::IpAddr;

use crate::reactor::PeerAddress;

use super::ClosesWanted;
use crate::shard::Core;
use crate::shard::closes::Closed;

impl<S> Core<S> {
    /// The latest of the closes that are wanted, the latest first.
    pub(super) fn closes_wanted(&self, wanted: &ClosesWanted, limit: usize) -> Vec<Closed> {
        let kept = self.closes.of(wanted.cause);
        let mut found: Vec<&Closed> = kept.filter(|closed| wanted.wants(closed)).collect();
        found.sort_by_key(|closed| Reverse(closed.unix_time));
        found.into_iter().take(limit).cloned().collect()
    }
}

impl ClosesWanted {
    fn wants(&self, closed: &Closed) -> bool {
        self.address.is_none_or(|address| ip_of(closed.peer) == Some(address))
            && self.room.as_ref().is_none_or(|room| closed.room.as_ref() == Some(room))
    }
}

fn ip_of(peer: PeerAddress) -> Option<IpAddr> {
    match peer {
        PeerAddress::V4(ip, _) => Some(ip.into()),
        PeerAddress::V6(ip, _) => Some(ip.into()),
        PeerAddress::Unix => None,
    }
}
