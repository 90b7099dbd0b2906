//! The publish queue: order, buffers, and what the mailboxes get.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::endpoint::OwnMessages;
use crate::protocol::{Decoded, Role, SERVER_HEADER_BYTES_MAX, decode_header};
use crate::reactor::Wake;
use crate::rooms::{Encoding, HistoryLimits, Registry, RoomName, RoomSettings, Start};
use crate::shard::Mailbox;
use crate::shard::batch_pool::frame_bytes;
use crate::shard::membership::{NO_MEMBERSHIP, Wish};

const ROOMS: usize = 3;

struct NoWake;

impl Wake for NoWake {
    fn wake(&self) {}
}

/// Two shards that both have a member of every room.
struct Setup {
    mesh: Arc<Mesh<()>>,
    mailboxes: Vec<Mailbox<()>>,
    shards: Vec<LocalRooms>,
    names: Vec<RoomName>,
    queue: PublishQueue,
}

fn setup() -> Setup {
    let (mesh, mailboxes) = Mesh::new(vec![Box::new(NoWake), Box::new(NoWake)], usize::MAX);
    let history = HistoryLimits { bytes_max: 1 << 20, messages_max: 100, age_max: Duration::from_secs(60) };
    let settings = RoomSettings { history, memory_max: usize::MAX, lag: Vec::new(), presence: Vec::new() };
    let registry = Arc::new(Registry::new(settings));
    let names: Vec<RoomName> = (0..ROOMS).map(|room| RoomName::new(&format!("{room}")).unwrap()).collect();
    let mut shards: Vec<LocalRooms> =
        (0..2).map(|shard| LocalRooms::new(ShardId::new(shard), Arc::clone(&registry))).collect();
    for rooms in &mut shards {
        let mut first = NO_MEMBERSHIP;
        for name in &names {
            let wish = Wish {
                own: OwnMessages::Skip,
                start: Start::Live,
                encoding: Encoding::Frames,
                watches: false,
            };
            rooms.join((0, &mut first), name, wish, ROOMS, Time::ZERO).unwrap();
        }
    }
    Setup { mesh, mailboxes, shards, names, queue: PublishQueue::default() }
}

fn publisher(number: usize) -> Publisher {
    let client = sender(number);
    Publisher { connection: client.key, client, identity: None }
}

fn sender(number: usize) -> ConnectionId {
    ConnectionId { shard: ShardId::new(0), key: Key::from_u64(number as u64) }
}

/// What one room's members were handed: who sent it, its type, its payload.
type Message = (ConnectionId, Opcode, Vec<u8>);

fn messages(publication: &Publication) -> Vec<Message> {
    let batch = &publication.batch;
    let mut bytes = batch.bytes(Encoding::Frames);
    let mut found = Vec::new();
    for (index, entry) in (0..).zip(batch.entries()) {
        let Ok(Decoded::Done { header, size }) = decode_header(bytes, Role::Client) else {
            panic!("a batch holds whole frames");
        };
        let (payload, rest) = bytes[size..].split_at(header.payload_bytes as usize);
        assert_eq!((payload, entry.text), (batch.payload(index), header.opcode == Opcode::Text));
        found.push((entry.sender.member().unwrap(), header.opcode, payload.to_vec()));
        bytes = rest;
    }
    assert!(bytes.is_empty() && !found.is_empty(), "a batch holds its messages and nothing else");
    found
}

impl Setup {
    fn key(&self, shard: usize, room: usize) -> Key {
        self.shards[shard].find(&self.names[room]).unwrap()
    }

    fn push(&mut self, room: usize, from: usize, payload: &[u8]) -> Message {
        let key = self.key(0, room);
        let message = (Kind::Binary, payload);
        self.queue.push(&mut self.shards[0], (key, None), publisher(from), message);
        (sender(from), Opcode::Binary, payload.to_vec())
    }

    fn publish(&mut self) -> u64 {
        let mut reached = [0; 2];
        let published = self
            .queue
            .publish(&mut self.shards[0], &self.mesh, Time::ZERO, |shard| reached[shard.index()] += 1);
        self.queue.clear(0);
        assert!(self.queue.is_empty() && self.queue.collected_bytes() == 0);
        assert_eq!(reached[0] > 0, published > 0);
        assert_eq!(reached[0], reached[1]);
        published
    }

    fn take(&self, shard: usize) -> Vec<Publication> {
        std::iter::from_fn(|| self.mailboxes[shard].take())
            .map(|mail| match mail {
                Mail::Publication(publication) => publication,
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

/// A batch is full enough and never over its bound, unless one message is.
fn assert_batches(publications: &[Publication]) {
    for publication in publications {
        let alone = publication.batch.len() == 1;
        assert!(alone || frame_bytes(&publication.batch) <= BATCH_BYTES_MAX, "a big message is alone");
    }
    for pair in publications.windows(2) {
        let (first, second) = (frame_bytes(&pair[0].batch), &pair[1].batch);
        let next = second.start_of(Encoding::Frames, 1);
        let big = first > BATCH_BYTES_MAX || frame_bytes(second) > BATCH_BYTES_MAX;
        assert!(big || first + next > BATCH_BYTES_MAX, "what fits into a batch is in it");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_room_gets_its_messages_in_order_with_consecutive_offsets(
        turns in prop::collection::vec(
            prop::collection::vec(
                (0..ROOMS, 0usize..3, prop_oneof![0usize..200, 10_000usize..30_000, 65_500usize..65_600]),
                0..40,
            ),
            1..4,
        )
    ) {
        let mut setup = setup();
        let mut offsets = [0u64; ROOMS];
        for turn in turns {
            let mut expected: Vec<Vec<Message>> = vec![Vec::new(); ROOMS];
            for (number, (room, from, size)) in turn.iter().enumerate() {
                let message = setup.push(*room, *from, &vec![number as u8; *size]);
                expected[*room].push(message);
            }
            prop_assert_eq!(setup.publish(), turn.len() as u64);
            for shard in 0..2 {
                let publications = setup.take(shard);
                for (room, expected) in expected.iter().enumerate() {
                    let key = setup.key(shard, room);
                    let of_room: Vec<Publication> =
                        publications.iter().filter(|of| of.local_room == key).cloned().collect();
                    let mut offset = offsets[room];
                    for publication in &of_room {
                        prop_assert_eq!(publication.offset_before, offset);
                        offset += u64::from(publication.batch.len());
                    }
                    let got: Vec<Message> = of_room.iter().flat_map(messages).collect();
                    prop_assert_eq!(&got, expected);
                    assert_batches(&of_room);
                }
            }
            for (offset, expected) in offsets.iter_mut().zip(&expected) {
                *offset += expected.len() as u64;
            }
        }
    }
}

#[test]
fn a_message_alone_is_one_whose_frame_is_over_the_bound() {
    for (over, alone) in [(-1, false), (0, false), (1, true)] {
        let mut setup = setup();
        let payload = (BATCH_BYTES_MAX - SERVER_HEADER_BYTES_MAX).strict_add_signed(over);
        let frame = server_frame_bytes(payload);
        assert_eq!(frame, BATCH_BYTES_MAX.strict_add_signed(over));
        setup.push(0, 0, &vec![0; payload]);
        assert_eq!(setup.queue.collected_bytes() == 0, alone, "{over}: {frame}");
        setup.publish();
        let [publication] = &setup.take(0)[..] else { panic!("one publication") };
        assert_eq!(frame_bytes(&publication.batch), frame);
    }
}

#[test]
fn a_room_that_is_emptied_publishes_what_is_pending_once() {
    let mut setup = setup();
    setup.push(0, 0, b"a");
    setup.push(1, 0, b"b");
    setup.push(0, 1, b"c");
    let key = setup.key(0, 0);
    assert_eq!(setup.queue.publish_room(&mut setup.shards[0], key, &setup.mesh, Time::ZERO, |_| {}), 2);
    assert_eq!(setup.publish(), 1);
    let sent: Vec<Message> = setup.take(1).iter().flat_map(messages).collect();
    let payloads: Vec<&[u8]> = sent.iter().map(|(_, _, payload)| &payload[..]).collect();
    assert_eq!(payloads, [b"a", b"c", b"b"]);
}

#[test]
fn messages_share_a_batch_until_it_is_exactly_full() {
    let full = BATCH_BYTES_MAX / 1024;
    for (count, batches) in [(full - 1, 1), (full, 1), (full + 1, 2)] {
        let mut setup = setup();
        for number in 0..count {
            setup.push(0, number % 2, &[1; 1024 - 4]);
        }
        assert_eq!(setup.publish(), count as u64);
        assert_eq!(setup.take(1).len(), batches, "{count}");
    }
}
