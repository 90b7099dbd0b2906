//! The fan-out: members that are in step are sent what arrived straight from the rooms' batches.
//!
//! A server of rooms does this nearly all the time, so it is short: what there is to send is found once for all
//! members of a room that read the same encoding, and a member costs one look and one send. Everybody else is
//! marked for the flush (`write.rs`), which makes a plan for each; whose socket did not take all goes on there.
//!
//! A turn has a [`Share`]: a room with more members than that, or a long message, is gone through over several
//! turns, in which everybody is read from and answered. No other publication is taken in before all members have
//! been addressed.

use std::io::{ErrorKind, IoSlice};
use std::ops::Range;

use crate::mutant::{Mutant, strikes};
use crate::reactor::Io;
use crate::rooms::{Encoding, LagPolicy};
use crate::slab::{Key, Slab};

use super::distribution::Distribution;
use super::encode::encode;
use super::membership::{Arrived, LocalRoom, LocalRooms, Membership};
use super::publish::BATCH_BYTES_MAX;
use super::read::is_later;
use super::serve::set_cursor;
use super::session::{Flag, Slot};
use super::stats::Counter;
use super::write::SendError;
use super::{Core, FAN_OUT_BYTES_PER_TURN, Shard, TURN_BYTES_HIGH, mark_dirty};

/// Several publications are copied together, once for everybody, as one slice costs the kernel less than
/// several; more than this costs more to copy than it saves.
const JOINED_BYTES_MAX: usize = 32 << 10;
/// So many that are longer are a slice each.
const SLICES_MAX: usize = 4;
/// More than that are copied up to this all the same: a plan for each member costs more.
const MANY_JOINED_BYTES_MAX: usize = 2 * BATCH_BYTES_MAX;
/// Members that may be looked at in vain, as their sockets take nothing or they have had all, for each that may be
/// sent to: a look costs a cache miss or two, a send some microseconds.
const LOOKS_PER_MEMBER: usize = 16;

/// What the members of a room are sent that are in step and read the same encoding.
#[derive(Debug)]
struct Run {
    room: Key,
    encoding: Encoding,
    source: Source,
    /// Of all that a member is sent of the room.
    bytes: usize,
    /// Everybody's cursor before it.
    offset_before: u64,
    messages: u64,
    /// Members that are sent all of it.
    members: u64,
}

#[derive(Clone, Debug)]
enum Source {
    /// Each publication that has arrived.
    Arrived,
    /// A range of the joined bytes.
    Joined(Range<usize>),
    /// They are too many and too long to be joined, or not the same for all: everybody is marked for the flush.
    Apart,
}

/// What a member that reads an encoding is sent, at a glance.
#[derive(Clone, Copy, Debug)]
struct Way {
    encoding: Encoding,
    run: u32,
    bytes: usize,
    is_apart: bool,
}

#[derive(Clone, Copy, Debug)]
struct Recipient {
    connection: u32,
    membership: u32,
    run: u32,
}

/// The fan-out of a turn; empty between turns.
#[derive(Debug, Default)]
pub struct FanOut {
    runs: Vec<Run>,
    recipients: Vec<Recipient>,
    joined: Vec<u8>,
    /// Recipients whose socket did not take all, and what it did.
    cut: Vec<(u32, Result<usize, ErrorKind>)>,
}

impl FanOut {
    /// The way of an encoding in a room, whose runs begin with `first`.
    #[cold]
    fn way(&mut self, first: usize, room: (Key, &LocalRoom), encoding: Encoding) -> Way {
        let known = self.runs[first..].iter().position(|run| run.encoding == encoding);
        let at = known.map_or_else(|| self.begin_run(room, encoding), |at| first + at);
        let Run { bytes, source, .. } = &self.runs[at];
        Way { encoding, run: at as u32, bytes: *bytes, is_apart: matches!(source, Source::Apart) }
    }

    fn begin_run(&mut self, (room, local): (Key, &LocalRoom), encoding: Encoding) -> usize {
        let newest_only = gets_newest_only(local);
        let needed = if newest_only { local.arrived.len() - 1 } else { 0 };
        let mut bytes = 0;
        for Arrived { batch, offset_before } in &local.arrived[needed..] {
            encode(&local.room, batch, encoding, *offset_before);
            let begin = if newest_only { batch.start_of(encoding, batch.len() - 1) } else { 0 };
            bytes += batch.bytes(encoding).len() - begin;
        }
        let source = self.source(local, encoding, bytes);
        let offset_before = local.arrived.first().map_or(local.seen, |first| first.offset_before);
        let messages = local.seen - offset_before;
        self.runs.push(Run { room, encoding, source, bytes, offset_before, messages, members: 0 });
        self.runs.len() - 1
    }

    /// What the members are sent from that are sent all.
    fn source(&mut self, local: &LocalRoom, encoding: Encoding, bytes: usize) -> Source {
        let arrived = local.arrived.as_slice();
        let joined_bytes_max =
            if arrived.len() > SLICES_MAX { MANY_JOINED_BYTES_MAX } else { JOINED_BYTES_MAX };
        match arrived.len() {
            _ if !is_same_for_all(local) => Source::Apart,
            1 => Source::Arrived,
            _ if bytes <= joined_bytes_max => Source::Joined(self.join(arrived, encoding)),
            ..=SLICES_MAX => Source::Arrived,
            _ => Source::Apart,
        }
    }

    fn join(&mut self, several: &[Arrived], encoding: Encoding) -> Range<usize> {
        let start = self.joined.len();
        for arrived in several {
            self.joined.extend_from_slice(arrived.batch.bytes(encoding));
        }
        start..self.joined.len()
    }
}

impl Run {
    /// What its members are sent; the rest of the slices is empty.
    fn slices<'a>(&self, rooms: &'a LocalRooms, joined: &'a [u8]) -> ([IoSlice<'a>; SLICES_MAX], usize) {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let count = match &self.source {
            Source::Joined(range) => {
                slices[0] = IoSlice::new(&joined[range.clone()]);
                1
            }
            Source::Apart => 0,
            Source::Arrived => {
                let local = rooms.get(self.room).expect("a room that is fanned out has members");
                for (slice, arrived) in slices.iter_mut().zip(&local.arrived) {
                    *slice = IoSlice::new(arrived.batch.bytes(self.encoding));
                }
                local.arrived.len()
            }
        };
        (slices, count)
    }
}

/// What a turn may still send to members.
struct Share {
    members: usize,
    looks: usize,
    bytes: usize,
}

impl Share {
    fn new(members: usize) -> Share {
        Share { members, looks: members.saturating_mul(LOOKS_PER_MEMBER), bytes: FAN_OUT_BYTES_PER_TURN }
    }

    fn is_spent(&self) -> bool {
        self.members == 0 || self.looks == 0 || self.bytes == 0
    }

    /// For the last member it may be more than there is.
    fn take_member(&mut self, bytes: usize) {
        self.members -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl<I: Io> Shard<I> {
    pub(super) fn fan_out(&mut self) {
        let mut share = Share::new(self.core.settings.fan_out_members_max.max(1));
        let mut at = 0;
        while let Some(room) = self.core.rooms.arrived_in().get(at).filter(|_| !share.is_spent()) {
            self.address(*room, &mut share);
            at += 1;
        }
        if !self.core.fan_out.recipients.is_empty() {
            self.send_runs();
            self.end_cut();
        }
        let Core { fan_out, tally, .. } = &mut self.core;
        for run in &fan_out.runs {
            tally.add(Counter::Sends, run.members);
            tally.add(Counter::BytesOut, run.members * run.bytes as u64);
            tally.add(Counter::Deliveries, run.members * run.messages);
            tally.observe(Distribution::Lag, run.messages, run.members);
        }
        fan_out.runs.clear();
        fan_out.recipients.clear();
        fan_out.joined.clear();
        fan_out.joined.shrink_to(TURN_BYTES_HIGH);
    }

    /// Finds out who of a room's members is sent what arrived as it is, and moves their cursors over it. The
    /// others are marked for the flush, but not those whose socket takes nothing: they are served from the
    /// room's window when it does.
    fn address(&mut self, key: Key, share: &mut Share) {
        let Shard { connections, core, .. } = self;
        let Core { rooms, fan_out, dirty, .. } = core;
        let (rooms, memberships) = rooms.parts();
        let Some(local) = rooms.get(key) else { return };
        let Some(offset_before) = local.arrived.first().map(|first| first.offset_before) else { return };
        let first_run = fan_out.runs.len();
        let (mut addressed, mut way) = (0, None::<Way>);
        let looked_at = &local.members[local.addressed as usize..local.due as usize];
        for member in &looked_at[..looked_at.len().min(share.looks)] {
            if share.members == 0 || share.bytes == 0 {
                break;
            }
            addressed += 1;
            let membership = memberships.at(*member).expect("a member's membership is present");
            let connection = membership.connection;
            let slot = connections.at_mut(connection).expect("a member's connection is present");
            let session = &mut slot.session;
            if session.is(Flag::Blocked) {
                continue;
            }
            if membership.cursor >= local.seen {
                // It has had all together with something else.
                continue;
            }
            let others = match session.awaits_flush() {
                true => Some(0),
                false => others_due(rooms, memberships, session.memberships, *member),
            };
            let membership = memberships.at_mut(*member).expect("a member's membership is present");
            let Way { run, bytes, is_apart, .. } = match way {
                Some(way) if way.encoding == membership.encoding => way,
                _ => *way.insert(fan_out.way(first_run, (key, local), membership.encoding)),
            };
            share.take_member(bytes + others.unwrap_or(0));
            if is_apart || others.is_some() || !membership.is_in_step(offset_before) {
                mark_dirty(dirty, connection, session);
                continue;
            }
            if !strikes(Mutant::RepeatedDelivery) {
                membership.cursor = local.seen;
            }
            if !strikes(Mutant::LostDelivery) {
                fan_out.runs[run as usize].members += 1;
                fan_out.recipients.push(Recipient { connection, membership: *member, run });
            }
        }
        share.looks -= addressed;
        self.core.rooms.note_addressed(key, addressed);
    }

    fn send_runs(&mut self) {
        let Shard { io, connections, core, .. } = self;
        let Core { rooms, fan_out, .. } = core;
        let FanOut { runs, recipients, joined, cut } = fan_out;
        let mut first = 0;
        for group in recipients.chunk_by(|a, b| a.run == b.run) {
            let (slices, count) = runs[group[0].run as usize].slices(rooms, joined);
            let streams = group.iter().map(|recipient| {
                let slot = connections.at(recipient.connection);
                &slot.expect("it was there when it was addressed").stream
            });
            io.send_each(&slices[..count], streams, |at, sent| {
                cut.push(((first + at) as u32, sent.map_err(|error| error.kind())));
            });
            first += group.len();
        }
    }

    /// Goes on with those whose sockets did not take all: from here on they are as they would be had they been
    /// flushed.
    fn end_cut(&mut self) {
        let Shard { io, connections, core, .. } = self;
        let mut cut = std::mem::take(&mut core.fan_out.cut);
        for (at, sent) in cut.drain(..) {
            let Recipient { connection, membership, run } = core.fan_out.recipients[at as usize];
            let run = &mut core.fan_out.runs[run as usize];
            run.members -= 1;
            set_cursor(&mut core.rooms, membership, run.offset_before);
            let Some(key) = connections.key_at(connection) else { continue };
            let Some(slot) = connections.at_mut(connection) else { continue };
            let sent = match sent {
                Ok(sent) => core.advance_cut(key, slot, sent),
                Err(kind) if is_later(kind) => core.advance_cut(key, slot, 0),
                Err(kind) => Err(SendError::Transport(kind)),
            };
            core.end_flush(io, key, slot, false, sent);
        }
        core.fan_out.cut = cut;
    }
}

impl<S> Core<S> {
    /// Takes note of how much of what arrived a member's socket took.
    fn advance_cut<T>(&mut self, key: Key, slot: &mut Slot<T>, sent: usize) -> Result<(), SendError> {
        let session = &mut slot.session;
        let client = self.client(key, session);
        let (mut serving, plan) = self.serving(&mut session.outbound);
        plan.make(&mut serving, client, session.memberships).map_err(SendError::OutOfWindow)?;
        let next = plan.advance(&mut serving, sent);
        if let Some(next) = next {
            self.rooms.begin_with(&mut session.memberships, next);
        }
        if sent > 0 {
            self.tally.add(Counter::Sends, 1);
            self.tally.add(Counter::BytesOut, sent as u64);
        }
        self.block(session, sent);
        Ok(())
    }
}

/// Whether everybody in a room who is in step and reads the same encoding is sent the same: nobody is spared a
/// message.
fn is_same_for_all(local: &LocalRoom) -> bool {
    !gets_newest_only(local) && !local.arrived.iter().any(|arrived| arrived.batch.excludes())
}

/// Whether a room's members are spared all of what arrived but the newest message.
fn gets_newest_only(local: &LocalRoom) -> bool {
    local.policy == LagPolicy::Latest && local.arrived_messages() > 1
}

/// About how many bytes the flush has of other memberships of the list that starts at `first` than `membership`;
/// `None` if they have got all.
fn others_due(
    rooms: &Slab<LocalRoom>,
    memberships: &Slab<Membership>,
    first: u32,
    membership: u32,
) -> Option<usize> {
    let (mut at, mut due) = (first, None);
    while let Some(other) = memberships.at(at) {
        if at != membership
            && let Some(local) = rooms.at(other.room).filter(|local| other.cursor < local.seen)
        {
            *due.get_or_insert(0) += local.arrived_bytes_at_most();
        }
        at = other.next;
    }
    due
}
