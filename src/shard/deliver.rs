//! The mailbox phase: new connections, publications for this shard's members, and the order to drain.

use std::sync::atomic::Ordering;

use crate::endpoint::CloseCause;
use crate::protocol::{Connection, FrameBuf};
use crate::reactor::Io;
use crate::time::Time;

use super::mailbox::{Admission, Adopt, Mail, Publication};
use super::outbound::FrameIndex;
use super::session::{Session, Slot};
use super::stats::Counter;
use super::{DELIVERED_BYTES_PER_TURN, DELIVERIES_PER_TURN, Shard, mark_dirty};

impl<I: Io> Shard<I> {
    pub(super) fn take_mail(&mut self) {
        let (mut work, mut bytes) = (0, 0);
        let mut held: Option<(FrameIndex, FrameBuf)> = None;
        while work < DELIVERIES_PER_TURN && bytes < DELIVERED_BYTES_PER_TURN {
            let Some(mail) = self.core.mailbox.take() else { break };
            work += 1;
            match mail {
                Mail::Publication(publication) => {
                    let frame = self.hold_frame(&mut held, &publication.frame);
                    let members = self.deliver(frame, &publication);
                    work += members;
                    bytes += members * (publication.range.1 - publication.range.0) as usize;
                }
                Mail::Adopt(adopt) => self.adopt(adopt),
                Mail::Drain { deadline } => self.drain(deadline),
            }
        }
        if let Some((frame, _)) = held {
            self.core.arena.release(frame);
        }
        if work > 0 {
            self.core.mailbox.wake_waiters();
        }
    }

    /// Takes a publication's buffer into the arena, once for all publications in a row that share it.
    fn hold_frame(&mut self, held: &mut Option<(FrameIndex, FrameBuf)>, frame: &FrameBuf) -> FrameIndex {
        if let Some((index, last)) = held
            && last.is_same(frame)
        {
            return *index;
        }
        if let Some((index, _)) = held.take() {
            self.core.arena.release(index);
        }
        let index = self.core.arena.hold(frame.clone());
        *held = Some((index, frame.clone()));
        index
    }

    /// Queues a publication to the members of its room here, and returns how many it looked at.
    fn deliver(&mut self, frame: FrameIndex, publication: &Publication) -> usize {
        let Shard { connections, core, .. } = self;
        let Some(room) = core.rooms.get(publication.local_room) else { return 0 };
        let limit = core.settings.queue_bytes_max;
        let sender_here = (publication.sender.shard == core.id).then_some(publication.sender.key);
        let mut overflowed = Vec::new();
        let mut delivered = 0;
        let mut pinned_max = 0;
        for member in &room.members {
            if publication.offset_before < member.joined_after {
                continue;
            }
            if sender_here.is_some_and(|sender| {
                sender.index() == member.connection && connections.get(sender).is_some()
            }) && !core.rooms.receives_own(member)
            {
                continue;
            }
            let slot = connections.at_mut(member.connection).expect("a member's connection is present");
            let queued =
                slot.session.outbound.push_delivery(&mut core.arena, frame, publication.range, limit);
            match queued {
                Ok(()) => delivered += u64::from(publication.messages),
                Err(_) => overflowed.push(member.connection),
            }
            pinned_max = pinned_max.max(slot.session.outbound.pinned_bytes());
            if !slot.session.blocked {
                mark_dirty(&mut core.dirty, member.connection, &mut slot.session);
            }
        }
        let looked_at = room.members.len();
        core.tally.add(Counter::Deliveries, delivered);
        // A blocked connection is not flushed, so its queue grows unseen from there.
        core.tally.raise(Counter::QueuePinnedMax, pinned_max as u64);
        for index in overflowed {
            self.deliver_to_full_queue(index, frame, publication);
        }
        looked_at
    }

    /// A full queue may only mean that this turn has brought much: what the kernel takes now makes
    /// room. A peer that it does not help is a slow consumer.
    fn deliver_to_full_queue(&mut self, index: u32, frame: FrameIndex, publication: &Publication) {
        self.flush(index);
        let Shard { connections, core, .. } = self;
        let limit = core.settings.queue_bytes_max;
        let (Some(key), Some(slot)) = (connections.key_at(index), connections.at_mut(index)) else { return };
        if slot.session.dead {
            return;
        }
        match slot.session.outbound.push_delivery(&mut core.arena, frame, publication.range, limit) {
            Ok(()) => {
                core.tally.add(Counter::Deliveries, u64::from(publication.messages));
                if !slot.session.blocked {
                    core.mark_dirty(index, &mut slot.session);
                }
            }
            Err(_) => core.finish(key, slot, CloseCause::QueueOverflow { limit }),
        }
    }

    fn adopt(&mut self, adopt: Adopt<I::Socket>) {
        let Shard { io, connections, core, .. } = self;
        core.tally.add(Counter::Accepted, 1);
        let key = connections.next_key();
        let stream = match io.register(adopt.socket, key) {
            Ok(stream) => stream,
            Err(error) => {
                core.connections.fetch_sub(1, Ordering::Relaxed);
                tracing::warn!(peer = %adopt.peer, %error, "a connection could not be watched and was closed");
                return;
            }
        };
        let deadline = adopt.accepted + core.settings.handshake_timeout;
        let session = Session::new(adopt.peer, core.now, deadline);
        let inserted = connections.insert(Slot { stream, protocol: Connection::accepting(), session });
        debug_assert_eq!(inserted, key);
        let Some(slot) = connections.get_mut(key) else { return };
        core.arm(key.index(), slot);
        if let Admission::Full { limit } = adopt.admission {
            core.finish(key, slot, CloseCause::ServerFull { limit });
        } else if core.drain_deadline.is_some() {
            core.finish(key, slot, CloseCause::Shutdown);
        }
    }

    fn drain(&mut self, deadline: Time) {
        let Shard { connections, core, .. } = self;
        core.drain_deadline = Some(deadline);
        let keys: Vec<_> = connections.keys().collect();
        for key in keys {
            if let Some(slot) = connections.get_mut(key) {
                core.finish(key, slot, CloseCause::Shutdown);
            }
        }
    }
}
