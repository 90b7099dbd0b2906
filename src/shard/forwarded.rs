//! Who is really there: whom a proxy speaks for, and what that one's address may have.
//!
//! The acceptor counts who comes straight. It cannot know for whom a proxy comes before that is read, so here it
//! is counted: behind a PROXY header at once, behind a trusted proxy with the request that names a client. A
//! connection that a proxy keeps for several clients counts for whoever it asked for last. Until a client is
//! named, a trusted proxy's connection counts for nobody.

use std::fmt;
use std::io::ErrorKind;
use std::str::FromStr;

use crate::endpoint::CloseCause;
use crate::network::Network;
use crate::protocol::{ForwardedHeader, ProxySource, Request};
use crate::reactor::PeerAddress;
use crate::time::Time;

use super::mailbox::Admission;
use super::session::{Flag, Session};
use super::{Core, Step};

/// Where connections are counted by address.
pub trait AddressGate: Send + Sync + fmt::Debug {
    /// Counts a new connection of an address, or says why it may not have it.
    fn admit(&self, peer: PeerAddress, now: Time) -> Admission;

    /// Counts that a connection that was admitted is over.
    fn leave(&self, peer: PeerAddress, now: Time);
}

/// A proxy that is believed when it says whom it speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustedProxy {
    /// Whoever comes over a unix socket.
    Unix,
    /// Whoever comes from this network.
    Network(Network),
}

/// Why a text is no [`TrustedProxy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a network such as 10.0.0.0/8 or fd00::/8, an address, or unix")]
pub struct TrustedProxyError;

impl FromStr for TrustedProxy {
    type Err = TrustedProxyError;

    fn from_str(text: &str) -> Result<TrustedProxy, TrustedProxyError> {
        if text == "unix" {
            return Ok(TrustedProxy::Unix);
        }
        text.parse().map(TrustedProxy::Network).map_err(|_| TrustedProxyError)
    }
}

impl fmt::Display for TrustedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrustedProxy::Unix => f.write_str("unix"),
            TrustedProxy::Network(network) => network.fmt(f),
        }
    }
}

/// Which proxies are believed, and where they say whom they speak for.
#[derive(Clone, Debug, Default)]
pub struct ProxySettings {
    /// Those that are.
    pub trusted: Vec<TrustedProxy>,
    /// The header that counts.
    pub header: ForwardedHeader,
}

impl ProxySettings {
    /// Whether a peer is believed.
    pub fn trusts(&self, peer: PeerAddress) -> bool {
        self.trusted.iter().any(|trusted| match (trusted, peer.ip()) {
            (TrustedProxy::Unix, None) => true,
            (TrustedProxy::Network(network), Some(ip)) => network.contains(ip),
            _ => false,
        })
    }

    /// For whom a trusted proxy makes a request: the nearest that is no trusted proxy itself. Behind one that is
    /// no address nobody is looked for: whoever wrote it knows no more.
    fn client(&self, request: &Request<'_>, proxy: PeerAddress) -> Client {
        let mut client = Client { address: proxy, is_named: false };
        for named in self.header.addresses(request) {
            client.is_named = named.is_some();
            let Some(address) = named else { break };
            client.address = address.into();
            if !self.trusts(client.address) {
                break;
            }
        }
        client
    }
}

/// For whom a request is made, as far as a trusted proxy says it.
#[derive(Clone, Copy, Debug)]
struct Client {
    /// Its address, else that of the farthest proxy that is known.
    address: PeerAddress,
    /// Whether it is its own.
    is_named: bool,
}

impl<S> Core<S> {
    /// Takes in what the header before a connection says of it.
    pub(super) fn proxied(&mut self, session: &mut Session, source: ProxySource) -> Step {
        let mut is_local = false;
        if let ProxySource::Client(address) = source {
            let Ok(peer) = self.peers.try_insert(address.into()) else { return Step::Finish(NO_MEMORY) };
            self.peers.remove(std::mem::replace(&mut session.peer, peer));
            is_local = session.is(Flag::Trusted) && PeerAddress::from(address).is_local();
        }
        session.set(Flag::Trusted, is_local);
        let trusted = self.settings.proxies.trusts(self.peers.address(session.peer));
        session.set(Flag::TrustedProxy, trusted);
        if trusted || source == ProxySource::Proxy {
            return Step::Continue;
        }
        self.count(session).map_or(Step::Continue, Step::Finish)
    }

    /// Finds out for whom a request is made, and says why that one may not make it.
    pub(super) fn identify(&mut self, session: &mut Session, request: &Request<'_>) -> Option<CloseCause> {
        if !session.is(Flag::TrustedProxy) {
            return None;
        }
        // Who has another name at the end would stay counted for the first one.
        debug_assert!(!session.is(Flag::CountedAtAccept));
        let (before, proxy) = (self.peers.address(session.peer), self.peers.proxy(session.peer));
        let Client { address: client, is_named } = self.settings.proxies.client(request, proxy);
        session.set(Flag::LocalClient, is_named && client.is_local());
        let named = client != proxy;
        if client.ip() == before.ip() && named == session.is(Flag::CountedHere) {
            return None;
        }
        self.uncount(session);
        if self.peers.try_name(&mut session.peer, client).is_err() {
            return Some(NO_MEMORY);
        }
        if named { self.count(session) } else { None }
    }

    /// Of a request whose head is malformed nobody knows whose it is: it is the proxy's, not of whoever it asked for
    /// before.
    pub(super) fn unread(&mut self, session: &mut Session) {
        if !session.is(Flag::TrustedProxy) || session.is(Flag::ReadsBody) {
            return;
        }
        self.uncount(session);
        let proxy = self.peers.proxy(session.peer);
        // Without memory for it the old name stays.
        let _ = self.peers.try_name(&mut session.peer, proxy);
    }

    /// Whether whoever makes a request is of this machine: not by coming through a proxy that is, which may not know
    /// or not say who it is. Of a trusted proxy's requests those are that name a client by an address of this machine.
    pub(super) fn is_local(session: &Session) -> bool {
        session.is(Flag::Trusted) && (!session.is(Flag::TrustedProxy) || session.is(Flag::LocalClient))
    }

    /// Counts a connection no longer that was counted here.
    pub(super) fn uncount(&self, session: &mut Session) {
        if session.is(Flag::CountedHere) {
            session.set(Flag::CountedHere, false);
            self.addresses.leave(self.peers.address(session.peer), self.now);
        }
    }

    fn count(&mut self, session: &mut Session) -> Option<CloseCause> {
        let peer = self.peers.address(session.peer);
        let refusal = self.addresses.admit(peer, self.now).refusal();
        session.set(Flag::CountedHere, refusal.is_none());
        if let Some(cause) = &refusal
            && self.refused_flood.note(self.now)
        {
            tracing::warn!(%peer, "clients behind a proxy are refused: {cause}");
        }
        refusal
    }
}

/// The address of a client has no place.
const NO_MEMORY: CloseCause = CloseCause::NoResources(ErrorKind::OutOfMemory);
