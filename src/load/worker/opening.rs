//! How a thread opens its connections, and how they end.

use std::io::ErrorKind;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::net::sockopt;

use fanfare::reactor::{Io, Ready};
use fanfare::slab::Key;
use fanfare::time::Time;

use super::Worker;
use crate::load::account::Account;
use crate::load::course::Note;
use crate::load::dial;
use crate::load::peer::{Life, Peer, Reader};
use crate::load::plan::{Kind, Part, Spec};
use crate::load::traffic::{Receiver, Span};

/// How long a connection that was refused or ended in a storm waits before it is tried again: whoever says no at
/// once, or is not there, would be asked without a pause.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

impl Worker<'_> {
    /// Opens connections, as many at a time as were asked for.
    pub(super) fn open_more(&mut self, now: Time) -> Result<(), String> {
        while let Some((_, spec)) = self.again.front().copied().filter(|(at, _)| *at <= now) {
            self.again.pop_front();
            self.to_open.push_back(spec);
        }
        let wave = self.course.wave();
        while let Some(spec) = self.to_open.front().copied().filter(|spec| spec.wave <= wave) {
            if self.opening >= self.plan.opening {
                return Ok(());
            }
            self.to_open.pop_front();
            self.open(spec, now)?;
        }
        if self.opening == 0 && self.again.is_empty() && self.opened_waves <= wave {
            self.opened_waves = wave + 1;
            self.note(Note::Opened(self.storm));
        }
        Ok(())
    }

    fn open(&mut self, spec: Spec, now: Time) -> Result<(), String> {
        let target = &self.plan.targets[spec.target as usize];
        let source = self.plan.source_of(spec.number);
        // What fails here is for want of something of ours: no server can be blamed, and nobody can go on.
        let explain = |error| dial::explain(target, source, &error);
        let (socket, is_there) = match dial::open(target.address, source) {
            // Some kernels know at once that nobody listens there.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused && self.tries_again(false) => {
                self.try_again(spec, (&explain(error), ""));
                return Ok(());
            }
            opened => opened.map_err(explain)?,
        };
        let stream = self.io.register(socket, self.peers.next_key()).map_err(explain)?;
        let (sends, receives) = self.part_of(spec);
        let key = self.peers.insert(Peer::new(stream, spec, now, sends, receives));
        self.opening += 1;
        if is_there {
            return self.upgrade(key);
        }
        let peer = self.peers.get_mut(key).expect("it was inserted right here");
        peer.await_connected(&mut self.io, key).map_err(explain)
    }

    /// What a connection sends and gets.
    fn part_of(&mut self, spec: Spec) -> (Option<u32>, Option<Receiver>) {
        let receiver = |flow, paces, joins, is_optional| {
            let stalls = matches!(spec.part, Part::Stalling(_));
            Some(Receiver { flow, paces, account: Account::default(), joins, is_optional, stalls })
        };
        let joins = self.traffic.can_join_anywhere();
        match spec.part {
            Part::Echo(flow) => {
                let at = self.traffic.add_flow(flow);
                (Some(at), receiver(flow, Some(at), false, false))
            }
            Part::Member(flow) | Part::Stalling(flow) => (None, receiver(flow, None, joins, false)),
            // The publisher comes later and is on the same thread: it finds this place.
            Part::Pacer(flow) => {
                let at = self.traffic.add_flow(flow);
                (None, receiver(flow, Some(at), joins, false))
            }
            Part::Publisher(flow) => (self.traffic.place_of(flow), receiver(flow, None, joins, true)),
            Part::Silent => (None, None),
        }
    }

    /// Goes on with a connection whose socket is there or has failed.
    pub(super) fn connected(&mut self, key: Key, ready: Ready) -> Result<(), String> {
        let Some(peer) = self.peers.get(key) else { return Ok(()) };
        if !ready.writable && !ready.hung_up {
            return Ok(());
        }
        match sockopt::socket_error(&peer.stream) {
            Ok(Ok(())) => self.upgrade(key),
            Ok(Err(error)) | Err(error) => {
                let target = &self.plan.targets[peer.spec.target as usize];
                let source = self.plan.source_of(peer.spec.number);
                let message = dial::explain(target, source, &error.into());
                self.give_up(key, (&message, ""), false, || message.clone())
            }
        }
    }

    /// Sends the request of the opening handshake.
    fn upgrade(&mut self, key: Key) -> Result<(), String> {
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        let target = &self.plan.targets[peer.spec.target as usize];
        let mut nonce = [0; 16];
        for part in nonce.as_chunks_mut::<4>().0 {
            *part = self.traffic.key();
        }
        let handshake = dial::handshake(target, &self.plan.headers, nonce);
        let io = &mut self.io;
        let sent = peer.flush(io, key).and_then(|_| peer.send(io, key, handshake.request()));
        peer.life = Life::Upgrading(Box::new(handshake));
        match sent {
            Ok(()) => Ok(()),
            Err(error) => {
                let message = || format!("{}: no WebSocket: {error}", target.url);
                self.give_up(key, ("no WebSocket", &error.to_string()), true, message)
            }
        }
    }

    /// Takes in the answer of the server, and gives the bytes of it if it accepts.
    pub(super) fn upgraded(&mut self, key: Key, received: usize) -> Result<Option<usize>, String> {
        let Some(peer) = self.peers.get_mut(key) else { return Ok(None) };
        let Life::Upgrading(handshake) = &mut peer.life else { return Ok(Some(0)) };
        let bytes = &self.buffer[..received];
        let accepted = match handshake.receive(bytes) {
            Ok(Some(accepted)) => accepted,
            Ok(None) => return Ok(None),
            Err(error) => {
                let target = &self.plan.targets[peer.spec.target as usize];
                let (kind, says) = dial::refusal(&error, bytes);
                let message = || dial::explain_refusal(target, &error, &says);
                return self.give_up(key, (&kind, &says), dial::may_mend(&error), message).map(|()| None);
            }
        };
        peer.life = Life::Open(Reader::new(self.plan.checked));
        if let Some(at) = peer.sends {
            self.traffic.flow_mut(at).sender = Some(key);
        }
        if self.plan.kind == Kind::Storm && self.traffic.measuring == Some(Span::Main) {
            self.traffic.tally.window.received += 1;
            let took = self.arrived.since(peer.since).as_nanos();
            self.traffic.tally.window.latency.record(u64::try_from(took).unwrap_or(u64::MAX));
        }
        self.traffic.tally.handshakes += 1;
        self.opening -= 1;
        self.course.live.open.fetch_add(1, Ordering::Relaxed);
        let open = self.peers.len() - self.opening as usize;
        if open > self.open_max || self.plan.kind != Kind::Storm {
            self.open_max = open;
            self.course.live.gained.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Some(accepted.used))
    }

    /// Notes that the server did not accept a connection. In a storm it is tried again; else nothing can go on
    /// without it, which the message says.
    fn give_up(
        &mut self,
        key: Key,
        (kind, detail): (&str, &str),
        may_mend: bool,
        message: impl FnOnce() -> String,
    ) -> Result<(), String> {
        if !self.tries_again(may_mend) {
            return Err(message());
        }
        let Some(peer) = self.peers.remove_at(key.index()) else { return Ok(()) };
        self.io.close(peer.stream);
        self.opening -= 1;
        self.try_again(peer.spec, (kind, detail));
        Ok(())
    }

    /// Whether a connection that was not accepted is tried again. Before the first storm that is not done for what
    /// no time mends, such as a wrong URL.
    fn tries_again(&self, may_mend: bool) -> bool {
        self.plan.kind == Kind::Storm && (self.storm > 0 || may_mend)
    }

    fn try_again(&mut self, spec: Spec, (kind, detail): (&str, &str)) {
        self.traffic.tally.note_refusal(kind, detail);
        self.again.push_back((self.io.now() + AGAIN_AFTER, spec));
    }

    /// Notes that the server ended a connection.
    pub(super) fn end(&mut self, key: Key, (kind, detail): (&str, &str)) -> Result<(), String> {
        let Some(peer) = self.peers.get(key) else { return Ok(()) };
        if !matches!(peer.life, Life::Open(_)) {
            let url = &self.plan.targets[peer.spec.target as usize].url;
            let message = || format!("{url}: no WebSocket: {kind} {detail}").trim_end().to_owned();
            return self.give_up(key, (&format!("no WebSocket: {kind}"), detail), true, message);
        }
        let Some(peer) = self.peers.remove_at(key.index()) else { return Ok(()) };
        let has_stopped = peer.has_stopped();
        self.io.close(peer.stream);
        self.course.live.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(receiver) = &peer.receives {
            self.traffic.settle_ended(receiver, has_stopped);
        }
        let tally = &mut self.traffic.tally;
        tally.note_cause(kind, detail);
        match has_stopped {
            true => tally.stalled.cut += 1,
            false => tally.errors.closed += 1,
        }
        if let Some(at) = peer.sends {
            self.traffic.flow_mut(at).sender = None;
        }
        if self.plan.kind == Kind::Storm {
            self.again.push_back((self.io.now() + AGAIN_AFTER, peer.spec));
            self.opened_waves = 0;
        } else if self.peers.is_empty() {
            self.note(Note::Gone);
        }
        Ok(())
    }

    /// Breaks all connections, to open them anew. They are reset, so that no port rests for a minute.
    pub(super) fn break_all(&mut self) {
        self.storm = self.course.storm();
        self.open_max = 0;
        self.to_open.extend(self.again.drain(..).map(|(_, spec)| spec));
        for key in self.keys() {
            let Some(peer) = self.peers.remove_at(key.index()) else { continue };
            // If it cannot be, it ends in the ordinary way.
            let _ = sockopt::set_socket_linger(&peer.stream, Some(Duration::ZERO));
            match peer.life {
                Life::Open(_) => {
                    self.course.live.open.fetch_sub(1, Ordering::Relaxed);
                }
                _ => self.opening -= 1,
            }
            self.io.close(peer.stream);
            self.to_open.push_back(peer.spec);
        }
        self.opened_waves = 0;
    }
}
