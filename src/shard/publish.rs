//! This turn's publications: collected while connections are read, given their offsets and handed to
//! the mailboxes once per room at the end of reading.
//!
//! Collecting first is what makes a burst cheap: the messages of one room become few batches and one
//! lock each, however many they are.

use std::sync::Arc;

use super::batch_pool::BatchPool;
use super::mailbox::{Mail, Mesh, Publication};
use super::membership::LocalRooms;
use super::session::Flag;
use super::stats::Counter;
use super::{Core, RECEIVE_BYTES, Shard, TURN_BYTES_HIGH, mark_dirty};
use crate::id::{ConnectionId, ShardId};
use crate::mutant::{Mutant, strikes};
use crate::protocol::{Kind, Opcode, push_server_frame, server_frame_bytes};
use crate::reactor::Io;
use crate::rooms::{Batch, Identity, Published, Room, Route, Sender};
use crate::slab::{Key, NONE};
use crate::time::Time;

#[cfg(test)]
mod tests;

/// One batch gathers up to this much: what one read brings leaves in one send, and what a slow receiver pins stays
/// divisible. (One message may be longer.)
pub const BATCH_BYTES_MAX: usize = RECEIVE_BYTES;

/// A connection that publishes.
#[derive(Clone, Debug)]
pub struct Publisher {
    /// Its slot.
    pub connection: Key,
    /// How others know it.
    pub client: ConnectionId,
    /// What it says of itself.
    pub identity: Option<Arc<Identity>>,
}

impl Publisher {
    /// What its messages say of who they are from.
    pub fn sender(&self) -> (Sender, Option<Arc<Identity>>) {
        (Sender::Member(self.client), self.identity.clone())
    }
}

/// One message.
#[derive(Debug)]
struct Entry {
    publisher: Publisher,
    /// Its membership in the room, if it has one.
    membership: Option<Key>,
    kind: Kind,
    payload: Payload,
    /// The next entry of the same room.
    next: u32,
}

#[derive(Debug)]
enum Payload {
    /// A range of the queue's bytes.
    Collected { start: usize, end: usize },
    /// A batch of its own, for a message too big to be copied once more.
    Alone(Arc<Batch>),
}

/// The publications of one turn.
#[derive(Debug, Default)]
pub struct PublishQueue {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    rooms: Vec<Key>,
    /// Who has published into an inbox over its limit.
    congesting: Vec<Key>,
    pool: BatchPool,
    evicted: Vec<Arc<Batch>>,
}

impl PublishQueue {
    /// Whether nothing was collected.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.congesting.is_empty()
    }

    /// Bytes collected so far.
    pub fn collected_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The connections that have published into an inbox over its limit, with repeats.
    pub fn congesting(&self) -> impl Iterator<Item = Key> + '_ {
        self.congesting.iter().copied()
    }

    /// Notes a connection whose message [`hand_out`] put into an inbox over its limit.
    pub fn add_congesting(&mut self, connection: Key) {
        self.congesting.push(connection);
    }

    /// Collects one message for a room with members on this shard; `membership` is the publisher's in it.
    pub fn push(
        &mut self,
        rooms: &mut LocalRooms,
        (room, membership): (Key, Option<Key>),
        publisher: Publisher,
        (kind, data): (Kind, &[u8]),
    ) {
        let Some(local) = rooms.get_mut(room) else { return };
        let payload = if server_frame_bytes(data.len()) > BATCH_BYTES_MAX {
            Payload::Alone(batch_of_one(publisher.sender(), kind, data))
        } else {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(data);
            Payload::Collected { start, end: self.bytes.len() }
        };
        let index = self.entries.len() as u32;
        self.entries.push(Entry { publisher, membership, kind, payload, next: NONE });
        local.pending = match local.pending {
            Some((first, last)) => {
                self.entries[last as usize].next = index;
                Some((first, index))
            }
            None => {
                self.rooms.push(room);
                Some((index, index))
            }
        };
    }

    /// Gives every collected message its offset and hands it to the mailboxes of all shards with
    /// members, this one's among them. `reached` is told each shard that has new mail. Returns how
    /// many messages it were; [`PublishQueue::clear`] ends the phase.
    pub fn publish<S>(
        &mut self,
        rooms: &mut LocalRooms,
        mesh: &Mesh<S>,
        now: Time,
        mut reached: impl FnMut(ShardId),
    ) -> u64 {
        let mut published = 0;
        for at in 0..self.rooms.len() {
            published += self.publish_room(rooms, self.rooms[at], mesh, now, &mut reached);
        }
        published
    }

    /// Publishes what was collected for one room.
    pub fn publish_room<S>(
        &mut self,
        rooms: &mut LocalRooms,
        room: Key,
        mesh: &Mesh<S>,
        now: Time,
        mut reached: impl FnMut(ShardId),
    ) -> u64 {
        let Some(local) = rooms.get_mut(room) else { return 0 };
        let Some((mut next, _)) = local.pending.take() else { return 0 };
        let shared = Arc::clone(&local.room);
        let mut published = 0;
        while next != NONE {
            let (batch, until) = self.build_batch(next);
            published += u64::from(batch.len());
            let (last_offset, congested) = self.publish_batch(&shared, batch, mesh, now, &mut reached);
            for entry in entries_between(&self.entries, next, until) {
                if let Some(membership) = entry.membership {
                    rooms.note_own(membership, last_offset);
                }
                if congested {
                    self.congesting.push(entry.publisher.connection);
                }
            }
            next = until;
        }
        published
    }

    /// Forgets what was published, and the memory of a burst.
    pub fn clear(&mut self, keep_bytes: usize) {
        self.rooms.clear();
        self.entries.clear();
        self.congesting.clear();
        self.bytes.clear();
        self.bytes.shrink_to(keep_bytes);
    }

    /// Publishes one batch; returns the offset of its last message, and whether an inbox is over its
    /// limit now.
    fn publish_batch<S>(
        &mut self,
        room: &Room,
        batch: Arc<Batch>,
        mesh: &Mesh<S>,
        now: Time,
        reached: &mut impl FnMut(ShardId),
    ) -> (u64, bool) {
        let mut congested = false;
        let published = room.publish(now, Arc::clone(&batch), None, &mut self.evicted, |offset, routes| {
            congested = hand_out(mesh, (&batch, now), offset, routes, reached);
        });
        for evicted in self.evicted.drain(..) {
            self.pool.recycle(evicted);
        }
        let Published::Entered(position) = published else { unreachable!("there was no key") };
        (position.offset, congested)
    }

    /// One batch with the entries from `first` on that fit, and the entry after them.
    fn build_batch(&mut self, first: u32) -> (Arc<Batch>, u32) {
        if let Entry { payload: Payload::Alone(batch), next, .. } = &self.entries[first as usize] {
            return (Arc::clone(batch), *next);
        }
        let (mut until, mut bytes) = (first, 0);
        while until != NONE {
            let Entry { payload: Payload::Collected { start, end }, next, .. } = self.entries[until as usize]
            else {
                break;
            };
            let encoded_bytes = server_frame_bytes(end - start);
            if until != first && bytes + encoded_bytes > BATCH_BYTES_MAX {
                break;
            }
            bytes += encoded_bytes;
            until = next;
        }
        let PublishQueue { bytes: collected, entries, pool, .. } = self;
        let batch = pool.build(bytes, |batch| {
            for entry in entries_between(entries, first, until) {
                if let Payload::Collected { start, end } = entry.payload {
                    push_message(batch, entry.publisher.sender(), entry.kind, &collected[start..end]);
                }
            }
        });
        (batch, until)
    }
}

fn entries_between(entries: &[Entry], first: u32, until: u32) -> impl Iterator<Item = &Entry> {
    let mut at = first;
    std::iter::from_fn(move || {
        if at == until || at == NONE {
            return None;
        }
        let entry = &entries[at as usize];
        at = entry.next;
        Some(entry)
    })
}

/// Hands a batch to the mailboxes of its room's shards; called while the room gives it its offset, so
/// that the order stands. `reached` is told each shard. Returns whether an inbox is over its limit now.
pub fn hand_out<S>(
    mesh: &Mesh<S>,
    (batch, entered): (&Arc<Batch>, Time),
    offset_before: u64,
    routes: &[Route],
    mut reached: impl FnMut(ShardId),
) -> bool {
    let mut congested = false;
    for route in routes {
        let batch = Arc::clone(batch);
        let publication = Publication { local_room: route.local_room, offset_before, entered, batch };
        mesh.send(route.shard, Mail::Publication(publication));
        reached(route.shard);
        congested |= mesh.is_over_limit(route.shard);
    }
    congested
}

/// A batch of one message.
pub fn batch_of_one(sender: (Sender, Option<Arc<Identity>>), kind: Kind, data: &[u8]) -> Arc<Batch> {
    let mut batch = Batch::with_capacity(server_frame_bytes(data.len()));
    push_message(&mut batch, sender, kind, data);
    Arc::new(batch)
}

fn push_message(batch: &mut Batch, sender: (Sender, Option<Arc<Identity>>), kind: Kind, data: &[u8]) {
    let text = kind == Kind::Text;
    batch.push(text, sender, data.len(), |out| push_server_frame(out, Opcode::from(kind), data));
}

impl<I: Io> Shard<I> {
    /// The publish phase.
    pub(super) fn publish(&mut self) {
        let Core { publications, rooms, mailbox, reached, tally, now, .. } = &mut self.core;
        if publications.is_empty() && !reached.contains(&true) {
            self.resume_publishers();
            return;
        }
        let mesh = mailbox.mesh();
        let published = publications.publish(rooms, mesh, *now, |shard| reached[shard.index()] = true);
        tally.add(Counter::Publications, published);
        self.core.wake_reached();
        self.pause_publishers();
        self.core.publications.clear(TURN_BYTES_HIGH);
        self.resume_publishers();
    }

    /// Stops reading from the connections that have published into a full inbox in this turn.
    fn pause_publishers(&mut self) {
        let Shard { connections, core, .. } = self;
        for key in core.publications.congesting() {
            let Some(slot) = connections.get_mut(key) else { continue };
            if !slot.session.is(Flag::PausedPublisher) {
                slot.session.set(Flag::PausedPublisher, true);
                core.paused_publishers.push(key);
                core.tally.add(Counter::PublisherPauses, 1);
                mark_dirty(&mut core.dirty, key.index(), &mut slot.session);
            }
        }
    }

    fn resume_publishers(&mut self) {
        let Shard { connections, core, .. } = self;
        if core.paused_publishers.is_empty() || core.mailbox.mesh().waits_for_room(core.id) {
            return;
        }
        let mut paused = std::mem::take(&mut core.paused_publishers);
        for key in paused.drain(..) {
            let Some(slot) = connections.get_mut(key) else { continue };
            slot.session.set(Flag::PausedPublisher, strikes(Mutant::ForgottenResume));
            core.reading_resumed(key.index(), slot);
            core.mark_dirty(key.index(), &mut slot.session);
        }
        core.paused_publishers = paused;
    }
}
