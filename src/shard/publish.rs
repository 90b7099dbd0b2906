//! This turn's publications: collected while connections are read, given their offsets and handed to
//! the mailboxes once per room at the end of reading.
//!
//! Collecting first is what makes a burst cheap: the messages of one room become few buffers and one
//! lock, however many they are.

use super::mailbox::{Mail, Mesh, Publication};
use super::membership::LocalRooms;
use crate::id::{ConnectionId, ShardId};
use crate::protocol::{FrameBuf, FramePool, Kind, Opcode, push_server_frame, server_frame_bytes};
use crate::rooms::Room;
use crate::slab::{Key, NONE};

#[cfg(test)]
mod tests;

/// One buffer gathers up to this much, so that what a slow receiver pins stays divisible.
const BATCH_BYTES_MAX: usize = 64 << 10;

/// Consecutive messages of one sender to one room, encoded.
#[derive(Debug)]
struct Entry {
    sender: ConnectionId,
    messages: u32,
    source: Source,
    /// The next entry of the same room.
    next: u32,
}

#[derive(Debug)]
enum Source {
    /// A range of the queue's bytes.
    Collected { start: usize, end: usize },
    /// A buffer of its own, for a message too big to be copied once more.
    Own(FrameBuf),
}

impl Source {
    fn len(&self) -> usize {
        match self {
            Source::Collected { start, end } => end - start,
            Source::Own(frame) => frame.len(),
        }
    }
}

/// The publications of one turn.
#[derive(Debug, Default)]
pub struct PublishQueue {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    rooms: Vec<Key>,
    /// Who has published into an inbox over its limit.
    congesting: Vec<ConnectionId>,
    pool: FramePool,
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
    pub fn congesting(&self) -> impl Iterator<Item = ConnectionId> + '_ {
        self.congesting.iter().copied()
    }

    /// Notes a sender whose message [`publish_elsewhere`] put into an inbox over its limit.
    pub fn add_congesting(&mut self, sender: ConnectionId) {
        self.congesting.push(sender);
    }

    /// Collects one message for a room with members on this shard.
    pub fn push(&mut self, rooms: &mut LocalRooms, room: Key, sender: ConnectionId, kind: Kind, data: &[u8]) {
        let Some(local) = rooms.get_mut(room) else { return };
        let encoded_bytes = server_frame_bytes(data.len());
        if encoded_bytes > BATCH_BYTES_MAX {
            let frame = encode_alone(kind, data);
            let pending = &mut local.pending;
            self.append(pending, room, Entry { sender, messages: 1, source: Source::Own(frame), next: NONE });
            return;
        }
        let start = self.bytes.len();
        push_server_frame(&mut self.bytes, Opcode::from(kind), data);
        let end = self.bytes.len();
        if let Some((_, last)) = local.pending
            && last as usize + 1 == self.entries.len()
            && let Entry {
                sender: same,
                messages,
                source: Source::Collected { start: first, end: until },
                ..
            } = &mut self.entries[last as usize]
            && *same == sender
            && end - *first <= BATCH_BYTES_MAX
        {
            *until = end;
            *messages += 1;
            return;
        }
        let source = Source::Collected { start, end };
        self.append(&mut local.pending, room, Entry { sender, messages: 1, source, next: NONE });
    }

    fn append(&mut self, pending: &mut Option<(u32, u32)>, room: Key, entry: Entry) {
        let index = self.entries.len() as u32;
        self.entries.push(entry);
        *pending = match *pending {
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
        mut reached: impl FnMut(ShardId),
    ) -> u64 {
        let mut published = 0;
        for at in 0..self.rooms.len() {
            published += self.publish_room(rooms, self.rooms[at], mesh, &mut reached);
        }
        published
    }

    /// Publishes what was collected for one room.
    pub fn publish_room<S>(
        &mut self,
        rooms: &mut LocalRooms,
        room: Key,
        mesh: &Mesh<S>,
        mut reached: impl FnMut(ShardId),
    ) -> u64 {
        let Some(local) = rooms.get_mut(room) else { return 0 };
        let Some((mut next, _)) = local.pending.take() else { return 0 };
        let mut published = 0;
        while next != NONE {
            next = self.publish_batch(&local.room, next, mesh, &mut reached, &mut published);
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

    /// Publishes the entries from `first` on that fit into one buffer, and returns the one after.
    fn publish_batch<S>(
        &mut self,
        room: &Room,
        first: u32,
        mesh: &Mesh<S>,
        reached: &mut impl FnMut(ShardId),
        published: &mut u64,
    ) -> u32 {
        let (frame, until) = self.build_batch(first);
        let PublishQueue { entries, congesting, .. } = self;
        room.publish(|last_offset, routes| {
            let mut offset_before = last_offset;
            let mut start = 0;
            for entry in entries_between(entries, first, until) {
                let end = start + entry.source.len() as u32;
                for route in routes {
                    let publication = Publication {
                        local_room: route.local_room,
                        offset_before,
                        messages: entry.messages,
                        range: (start, end),
                        frame: frame.clone(),
                        sender: entry.sender,
                    };
                    mesh.send(route.shard, Mail::Publication(publication));
                }
                start = end;
                offset_before += u64::from(entry.messages);
            }
            for route in routes {
                reached(route.shard);
            }
            if routes.iter().any(|route| mesh.is_over_limit(route.shard)) {
                congesting.extend(entries_between(entries, first, until).map(|entry| entry.sender));
            }
            *published += offset_before - last_offset;
            offset_before - last_offset
        });
        until
    }

    /// One buffer with the entries from `first` on that fit, and the entry after them.
    fn build_batch(&mut self, first: u32) -> (FrameBuf, u32) {
        if let Entry { source: Source::Own(frame), next, .. } = &self.entries[first as usize] {
            return (frame.clone(), *next);
        }
        let mut until = first;
        let mut bytes = 0;
        while until != NONE {
            let Entry { source: source @ Source::Collected { .. }, next, .. } = &self.entries[until as usize]
            else {
                break;
            };
            if until != first && bytes + source.len() > BATCH_BYTES_MAX {
                break;
            }
            bytes += source.len();
            until = *next;
        }
        let PublishQueue { bytes: collected, entries, pool, .. } = self;
        let frame = pool.build(bytes, |buffer| {
            for entry in entries_between(entries, first, until) {
                if let Source::Collected { start, end } = entry.source {
                    buffer.extend_from_slice(&collected[start..end]);
                }
            }
        });
        (frame, until)
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

/// Publishes one message at once, for a room without members on this shard. Says whether an inbox is
/// over its limit now.
pub fn publish_elsewhere<S>(
    room: &Room,
    mesh: &Mesh<S>,
    sender: ConnectionId,
    (kind, data): (Kind, &[u8]),
    mut reached: impl FnMut(ShardId),
) -> bool {
    let frame = encode_alone(kind, data);
    let range = (0, frame.len() as u32);
    let mut congested = false;
    room.publish(|offset_before, routes| {
        for route in routes {
            let publication = Publication {
                local_room: route.local_room,
                offset_before,
                messages: 1,
                range,
                frame: frame.clone(),
                sender,
            };
            mesh.send(route.shard, Mail::Publication(publication));
            reached(route.shard);
            congested |= mesh.is_over_limit(route.shard);
        }
        1
    });
    congested
}

fn encode_alone(kind: Kind, data: &[u8]) -> FrameBuf {
    let mut bytes = Vec::with_capacity(server_frame_bytes(data.len()));
    push_server_frame(&mut bytes, Opcode::from(kind), data);
    FrameBuf::new(bytes)
}
