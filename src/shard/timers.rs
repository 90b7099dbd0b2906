//! The timer phase: what is due is done, and everything that expired is armed anew.
//!
//! Under load a wait may not report everything that has arrived. Nobody is cut for what has arrived in time and
//! was not read yet: deadlines are judged only up to the time of which everything is read ([`ReadRound`]).

use crate::endpoint::events::push_heartbeat;
use crate::endpoint::{Behind, CloseCause};
use crate::reactor::{Io, READY_PER_WAIT, Tick};
use crate::rooms::{LagPolicy, Position};
use crate::slab::Key;
use crate::time::Time;

use super::session::{Due, Flag, Session, Slot};
use super::stats::Counter;
use super::{Core, Shard, TIMERS_PER_TURN};

/// Waits that follow each other because each was full: together they report everything that had arrived when
/// the first of them began.
#[derive(Debug, Default)]
pub(super) struct ReadRound {
    began: Time,
    waits: usize,
    /// Everything that had arrived by then is read.
    complete: Time,
}

impl ReadRound {
    /// Notes a wait that has reported so many of `connections`, all read by now.
    fn add(&mut self, now: Time, reported: usize, connections: usize) {
        if reported < READY_PER_WAIT {
            (self.waits, self.complete) = (0, now);
            return;
        }
        if self.waits == 0 {
            self.began = now;
        }
        self.waits += 1;
        if self.waits * READY_PER_WAIT > connections {
            (self.waits, self.complete) = (0, self.began);
        }
    }
}

impl<I: Io> Shard<I> {
    pub(super) fn run_timers(&mut self) {
        self.round.add(self.core.now, self.ready.len(), self.connections.len());
        self.core.timers.expire(self.round.complete, &mut self.expired);
        for _ in 0..TIMERS_PER_TURN {
            let Some(index) = self.expired.pop() else { return };
            self.timer_expired(index);
        }
    }

    fn timer_expired(&mut self, index: u32) {
        let Shard { connections, core, .. } = self;
        let Some(key) = connections.key_at(index) else { return };
        let Some(slot) = connections.at_mut(index) else { return };
        let (deadline, due) = slot.next_deadline(&core.settings);
        // A socket that has room again is judged by what it takes, when it is flushed in this turn.
        let has_room = due == Due::WriteTimeout && !slot.session.is(Flag::Blocked);
        if deadline <= self.round.complete && !has_room {
            let settings = &core.settings;
            match due {
                Due::Ping => core.ask_for_life(key, slot),
                Due::RateDebt => core.rate_due(key, slot),
                Due::IntroductionTimeout => {
                    let limit = settings.handshake_timeout;
                    core.finish(key, slot, CloseCause::IntroductionTimeout { limit });
                }
                Due::HandshakeTimeout => {
                    let limit = settings.handshake_timeout;
                    core.finish(key, slot, CloseCause::HandshakeTimeout { limit });
                }
                Due::HttpIdle => {
                    let limit = settings.http_idle_timeout;
                    core.finish(key, slot, CloseCause::HttpIdle { limit });
                }
                Due::EventsHeartbeat => {
                    slot.session.deadline = core.quiet_until;
                    slot.session.outbound.push_reply(&mut core.arena, 0, push_heartbeat);
                    core.mark_dirty(index, &mut slot.session);
                }
                Due::MessageTimeout => {
                    let limit = settings.message_timeout;
                    core.finish(key, slot, CloseCause::MessageTimeout { limit });
                }
                Due::HeartbeatTimeout => {
                    let limit = settings.pong_timeout;
                    core.finish(key, slot, CloseCause::HeartbeatTimeout { limit });
                }
                Due::WriteTimeout => {
                    let cause = core.stalled(&slot.session);
                    core.finish(key, slot, cause);
                }
                Due::TransportEnd => core.kill(index, slot),
            }
        }
        if let Some(slot) = connections.at(index) {
            core.arm(index, slot);
        }
    }
}

impl<S> Core<S> {
    /// Asks a peer for a sign of life.
    fn ask_for_life<T>(&mut self, key: Key, slot: &mut Slot<T>) {
        slot.session.set(Flag::PingSent, true);
        slot.session.deadline = Tick::after(self.now + self.settings.pong_timeout);
        if !slot.session.is(Flag::OwnHeartbeat) {
            slot.session.outbound.push_ping();
            self.mark_dirty(key.index(), &mut slot.session);
            return;
        }
        slot.session.quiet_until = self.heartbeat_due(&slot.session);
        let id = self.connection_id(key);
        let closed = self.call(key, &mut slot.session, |endpoint, effects| endpoint.heartbeat(id, effects));
        if let Some(cause) = closed {
            self.finish(key, slot, cause);
        }
    }

    /// The end of a connection that takes nothing.
    pub(super) fn stalled(&mut self, session: &Session) -> CloseCause {
        let behind = self.count_stalled(session);
        CloseCause::WriteTimeout { limit: self.settings.write_timeout, behind }
    }

    /// Counts a member that makes no progress, by its room's policy, and says where it is.
    fn count_stalled(&mut self, session: &Session) -> Option<Behind> {
        let (local, offset) = self.rooms.behind(session.memberships)?;
        self.tally.add(
            match local.policy {
                LagPolicy::Disconnect => Counter::CutStalled,
                LagPolicy::Skip => Counter::CutStalledSkip,
                LagPolicy::Latest => Counter::CutStalledLatest,
            },
            1,
        );
        let position = Position { epoch: local.room.epoch(), offset };
        Some(Behind { room: local.room.name().clone(), position })
    }
}
