//! The timer phase: what is due is done, and everything that expired is armed anew.

use crate::endpoint::CloseCause;
use crate::reactor::Io;

use super::session::Due;
use super::{Shard, TIMERS_PER_TURN};

impl<I: Io> Shard<I> {
    pub(super) fn run_timers(&mut self) {
        self.core.timers.expire(self.core.now, &mut self.expired);
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
        if deadline <= core.now {
            let settings = &core.settings;
            match due {
                Due::Ping => {
                    slot.session.ping_sent = true;
                    slot.session.deadline = core.now + settings.pong_timeout;
                    slot.session.outbound.push_ping();
                    core.mark_dirty(index, &mut slot.session);
                }
                Due::HandshakeTimeout => {
                    let limit = settings.handshake_timeout;
                    core.finish(key, slot, CloseCause::HandshakeTimeout { limit });
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
                    let limit = settings.write_timeout;
                    core.finish(key, slot, CloseCause::WriteTimeout { limit });
                }
                Due::TransportEnd => core.kill(index, slot),
            }
        }
        if let Some(slot) = connections.at(index) {
            core.arm(index, slot);
        }
    }
}
