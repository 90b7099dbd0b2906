//! The outbound queue against a naive one, and the rules that the comparison alone does not show.

use proptest::prelude::*;

use super::loan::LOAN_BYTES_MIN;
use super::*;
use crate::protocol::{encode_server_header, push_close_frame};
use crate::rooms::{Encoded, Sender};

mod loans;

/// Room for the messages that are lent, behind up to 200 bytes.
const RECEIVE_BYTES: usize = LOAN_BYTES_MIN + 500;

/// One node of the naive queue: bytes that nothing may interrupt once some are out.
#[derive(Debug)]
struct Item {
    bytes: Vec<u8>,
    sent: usize,
    purpose: Purpose,
    /// What the next push must continue to become a part of it.
    scratch_end: Option<usize>,
}

#[derive(Debug, Default)]
struct Model {
    items: Vec<Item>,
    pong: Option<Vec<u8>>,
    pongs_this_turn: u8,
    ping: bool,
}

impl Model {
    fn push(&mut self, bytes: &[u8], purpose: Purpose, at: Option<usize>) {
        let scratch_end = at.map(|start| start + bytes.len());
        if let Some(last) = self.items.last_mut()
            && purpose == Purpose::Reply
            && last.purpose == Purpose::Reply
            && at.is_some()
            && last.scratch_end == at
        {
            last.bytes.extend_from_slice(bytes);
            last.scratch_end = scratch_end;
            return;
        }
        self.items.push(Item { bytes: bytes.to_vec(), sent: 0, purpose, scratch_end });
    }

    /// A frame whose header is in the scratch and whose payload is not.
    fn push_loan(&mut self, header: &[u8], payload: &[u8], at: usize) {
        self.push(header, Purpose::Reply, Some(at));
        let last = self.items.last_mut().unwrap();
        last.bytes.extend_from_slice(payload);
        last.scratch_end = None;
    }

    /// Returns whether the pong went into the scratch.
    fn push_pong(&mut self, blocked: bool, bytes: &[u8], at: usize) -> bool {
        if blocked || self.pongs_this_turn == PONGS_PER_TURN {
            self.pong = Some(bytes.to_vec());
            return false;
        }
        self.pongs_this_turn += 1;
        self.push(bytes, Purpose::Pong, Some(at));
        true
    }

    /// Puts what waits behind what is half out, and sends.
    fn send(&mut self, room: usize) -> Vec<u8> {
        let at = usize::from(self.items.first().is_some_and(|item| item.sent > 0));
        let ping = std::mem::take(&mut self.ping).then(|| vec![0x89, 0]);
        let control = [(Purpose::Pong, self.pong.take()), (Purpose::Ping, ping)];
        for (purpose, bytes) in control {
            let Some(bytes) = bytes else { continue };
            let last_pong = self.items.iter().rposition(|item| item.purpose == Purpose::Pong);
            let at = match last_pong {
                Some(last) if purpose == Purpose::Pong => last + 1,
                _ => at,
            };
            let item = Item { bytes, sent: 0, purpose, scratch_end: None };
            self.items.insert(at, item);
        }
        let mut out = Vec::new();
        while out.len() < room && !self.items.is_empty() {
            let item = &mut self.items[0];
            let count = (item.bytes.len() - item.sent).min(room - out.len());
            out.extend_from_slice(&item.bytes[item.sent..item.sent + count]);
            item.sent += count;
            if item.sent == item.bytes.len() {
                self.items.remove(0);
            }
        }
        out
    }

    fn settle(&mut self) {
        self.pongs_this_turn = 0;
        let newest = match self.pong {
            Some(_) => None,
            None => self.items.iter().rposition(|item| item.purpose == Purpose::Pong),
        };
        let mut at = 0;
        self.items.retain(|item| {
            let stays = item.purpose != Purpose::Pong || item.sent > 0 || Some(at) == newest;
            at += 1;
            stays
        });
        for item in &mut self.items {
            item.scratch_end = None;
        }
    }

    fn drop_unstarted(&mut self) {
        self.items.retain(|item| item.sent > 0);
        (self.pong, self.ping) = (None, false);
    }

    fn left(&self) -> usize {
        self.items.iter().map(|item| item.bytes.len() - item.sent).sum()
    }
}

fn frame(opcode: Opcode, tag: usize, bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    push_server_frame(&mut out, opcode, &vec![tag as u8; bytes]);
    out
}

/// Sends up to `room` bytes as a shard does, and returns them.
fn send(queue: &mut Outbound, arena: &mut SendArena, room: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        queue.promote_control(arena);
        let mut slices = [IoSlice::new(&[]); SLICES_PER_SEND];
        let filled = queue.gather(arena, &mut slices);
        let mut taken = Vec::new();
        for slice in &slices[..filled] {
            assert!(!slice.is_empty(), "an empty slice would look like a full buffer");
            taken.extend_from_slice(&slice[..slice.len().min(room - out.len() - taken.len())]);
        }
        queue.advance(arena, taken.len());
        out.extend_from_slice(&taken);
        if taken.is_empty() {
            return out;
        }
    }
}

/// Three queues on one arena, as their models have them.
#[derive(Default)]
struct Pair {
    arena: SendArena,
    queues: [Outbound; 3],
    models: [Model; 3],
    blocked: [bool; 3],
    out: [Vec<u8>; 3],
    batches: Vec<Arc<Batch>>,
}

impl Pair {
    fn reply(&mut self, at: usize, bytes: &[u8], announced: usize) {
        let start = self.arena.scratch_bytes();
        self.queues[at].push_reply(&mut self.arena, announced, |out| out.extend_from_slice(bytes));
        let scratch = announced <= SCRATCH_REPLY_BYTES_MAX;
        self.models[at].push(bytes, Purpose::Reply, scratch.then_some(start));
    }

    fn pong(&mut self, at: usize, tag: usize) {
        let bytes = frame(Opcode::Pong, tag, 3);
        let start = self.arena.scratch_bytes();
        let blocked = self.blocked[at];
        self.queues[at].push_pong(&mut self.arena, blocked, |out| out.extend_from_slice(&bytes));
        let scratch = self.models[at].push_pong(blocked, &bytes, start);
        assert_eq!(self.arena.scratch_bytes() > start, scratch);
    }

    /// Three frames in one batch; `skip` is the receiver that does not get the second.
    fn deliver(&mut self, tag: usize, size: usize, skip: usize) {
        let mut batch = Batch::default();
        for part in 0..3 {
            let bytes = frame(Opcode::Text, tag + part, size);
            let sender = (Sender::Api { exclude: None }, None);
            batch.push(true, sender, size, |out| out.extend_from_slice(&bytes));
        }
        let batch = Arc::new(batch);
        self.batches.push(Arc::clone(&batch));
        for part in 0..3 {
            for at in (0..3).filter(|at| part != 1 || *at != skip) {
                let frames = (&batch, Encoding::Frames);
                let range = batch.start_of(frames.1, part)..batch.start_of(frames.1, part + 1);
                self.models[at].push(&batch.bytes(frames.1)[range.clone()], Purpose::Delivery, None);
                self.queues[at].push_messages(&mut self.arena, frames, range);
            }
        }
    }

    /// Answers a message with itself.
    fn loan(&mut self, at: usize, tag: usize, size: usize) {
        let (start, payload) = (self.arena.scratch_bytes(), vec![tag as u8; LOAN_BYTES_MIN + size]);
        let (queue, arena) = (&mut self.queues[at], &mut self.arena);
        arena.offer(&payload, |_| Some(Place::Own));
        queue.push_message(arena, Opcode::Binary, &payload);
        assert!(arena.end_offer());
        queue.take_over(arena, payload.clone());
        self.models[at].push_loan(
            &encode_server_header(Opcode::Binary, true, payload.len()),
            &payload,
            start,
        );
    }

    /// The same from the receive buffer, which has to be free again at once.
    fn loan_received(&mut self, at: usize, tag: usize, size: usize, room: usize) {
        let (start, bytes) = (self.arena.scratch_bytes(), LOAN_BYTES_MIN + size);
        let (queue, arena) = (&mut self.queues[at], &mut self.arena);
        let mut buffer = arena.take_receive_buffer();
        let payload = &mut buffer[tag..tag + bytes];
        payload.fill(tag as u8);
        arena.offer(payload, |_| Some(Place::Received(tag as u32)));
        queue.push_message(arena, Opcode::Text, payload);
        let header = encode_server_header(Opcode::Text, true, bytes);
        self.models[at].push_loan(&header, payload, start);
        assert!(!arena.end_offer());
        assert!(arena.return_receive_buffer(buffer), "it has to be flushed");
        self.flush(at, room);
        self.arena.received.fill(0xEE);
    }

    fn flush(&mut self, at: usize, room: usize) {
        let (queue, model) = (&mut self.queues[at], &mut self.models[at]);
        // A connection that was blocked and has no room is not tried at all.
        if room > 0 || !self.blocked[at] {
            let sent = send(queue, &mut self.arena, room);
            assert_eq!(sent, model.send(room));
            self.out[at].extend(sent);
            self.blocked[at] = !queue.is_empty();
        }
        queue.settle(&mut self.arena);
        model.settle();
    }

    fn end_turn(&mut self, rooms: [usize; 3]) {
        for (at, room) in rooms.into_iter().enumerate() {
            self.flush(at, room);
        }
        self.arena.end_flush(0);
    }

    fn check(&self) {
        for (queue, model) in self.queues.iter().zip(&self.models) {
            let empty = model.items.is_empty() && model.pong.is_none() && !model.ping;
            assert_eq!(queue.is_empty(), empty);
            let replies = model.items.iter().any(|item| item.purpose == Purpose::Reply);
            assert_eq!(queue.pinned_reply_bytes() > 0, replies);
            assert!(queue.pinned_reply_bytes() <= queue.pinned_bytes());
            assert!(queue.pinned_bytes() >= model.left() + model.items.len() * size_of::<Node>());
            assert!(queue.pinned_bytes() < 1 << 30, "it has not gone below zero");
            assert_eq!(queue.pinned_bytes() == 0, model.items.is_empty());
        }
    }

    fn step(&mut self, (action, at, size, number): (u8, usize, usize, usize)) {
        match action {
            0..=2 => self.reply(at, &frame(Opcode::Text, number, size), size),
            3 => self.reply(at, &frame(Opcode::Binary, number, size), SCRATCH_REPLY_BYTES_MAX + 1),
            4 | 5 => self.deliver(number, size, at),
            6 => self.pong(at, number),
            7 => (0..=number % 20).for_each(|pong| self.pong(at, pong)),
            8 => {
                self.queues[at].push_ping();
                self.models[at].ping = true;
            }
            9 => {
                self.queues[at].drop_unstarted(&mut self.arena);
                self.models[at].drop_unstarted();
                let mut close = Vec::new();
                push_close_frame(&mut close, None, "");
                self.reply(at, &close, 0);
            }
            10 => self.loan(at, number, size),
            11 => self.loan_received(at, number, size, 0),
            12 => self.loan_received(at, number, size, size * number),
            _ => {
                let mut rooms = [size * 2, number, usize::MAX];
                rooms.rotate_left(at);
                self.end_turn(rooms);
            }
        }
        self.check();
    }
}

/// Whole frames and nothing else, each with a payload of one value.
fn assert_whole_frames(mut bytes: &[u8]) {
    use crate::protocol::{Decoded, Role, decode_header};
    while !bytes.is_empty() {
        let Ok(Decoded::Done { header, size }) = decode_header(bytes, Role::Client) else {
            panic!("a header starts {bytes:?}");
        };
        let (payload, rest) = bytes[size..].split_at(header.payload_bytes as usize);
        assert!(payload.iter().all(|byte| *byte == payload[0]), "no frame is inside another");
        bytes = rest;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_sends_what_a_naive_queue_sends(
        steps in prop::collection::vec((0u8..17, 0usize..3, 0usize..300, 0usize..200), 1..80),
        cut in any::<bool>(),
    ) {
        let mut pair = Pair { arena: SendArena::new(RECEIVE_BYTES), ..Pair::default() };
        for step in steps {
            pair.step(step);
        }
        pair.end_turn([1, 0, 700]);
        pair.check();
        if cut {
            for queue in &mut pair.queues {
                queue.clear(&mut pair.arena);
                assert!(queue.is_empty() && queue.pinned_bytes() == 0);
            }
        } else {
            pair.end_turn([usize::MAX; 3]);
            pair.check();
            pair.out.iter().for_each(|out| assert_whole_frames(out));
        }
        prop_assert_eq!(pair.arena.in_use(), (0, 0));
        prop_assert!(pair.batches.iter().all(|batch| Arc::strong_count(batch) == 1), "only the test holds them");
    }
}

#[test]
fn the_rest_of_a_message_goes_first_and_pins_little() {
    let mut batch = Batch::default();
    let small = frame(Opcode::Text, 1, 100);
    let large = frame(Opcode::Text, 2, 60_000);
    for bytes in [&small, &large] {
        batch.push(true, (Sender::Api { exclude: None }, None), 0, |out| out.extend_from_slice(bytes));
    }
    let batch = Arc::new(batch);
    let end = batch.start_of(Encoding::Frames, 2);
    let large_start = small.len() + 1;
    for (range, shares) in [
        (1..small.len(), false),
        (large_start..end, true),
        (end - 4097..end, true),
        (end - 4096..end, false),
        (end - 1..end, false),
    ] {
        let (mut arena, mut queue) = (SendArena::default(), Outbound::default());
        let message = if range.start < large_start { 0..small.len() } else { small.len()..end };
        queue.push_begun(&mut arena, (&batch, Encoding::Frames), message, range.start);
        arena.end_flush(0);
        assert_eq!(Arc::strong_count(&batch) == 2, shares);
        assert!(shares || queue.pinned_bytes() <= range.len() + REST_COPY_ALIGN_BYTES + 200);
        queue.push_ping();
        queue.push_reply(&mut arena, 0, |out| out.extend_from_slice(b"reply"));
        let rest = &batch.bytes(Encoding::Frames)[range];
        assert_eq!(send(&mut queue, &mut arena, usize::MAX), [rest, b"\x89\0", b"reply"].concat());
        assert_eq!(arena.in_use(), (0, 0));
    }
}

#[test]
fn who_is_half_out_in_the_same_message_shares_one_copy() {
    let mut batch = Batch::default();
    let frames: Vec<Vec<u8>> = (0..20).map(|seed| frame(Opcode::Text, seed, 1500)).collect();
    for bytes in &frames {
        batch.push(true, (Sender::Api { exclude: None }, None), 0, |out| out.extend_from_slice(bytes));
    }
    let batch = Arc::new(batch);
    let bounds = |index| batch.start_of(Encoding::Frames, index)..batch.start_of(Encoding::Frames, index + 1);
    let mut arena = SendArena::default();
    let mut begin = |index, sent| {
        let (mut queue, message) = (Outbound::default(), bounds(index));
        let at = message.start + sent;
        queue.push_begun(&mut arena, (&batch, Encoding::Frames), message, at);
        queue
    };
    let places = [(3, 1), (3, 1023), (3, 1024), (4, 1), (4, 1023)];
    let mut queues = places.map(|(index, sent)| begin(index, sent));
    let copies = queues.each_ref().map(|queue| {
        let node = arena.nodes[queue.head as usize];
        arena.buffer(node.buffer).bytes().as_ptr()
    });
    let same = copies.map(|copy| copies.iter().filter(|other| **other == copy).count());
    assert_eq!(same, [2, 2, 1, 2, 2]);
    for (queue, (index, sent)) in queues.iter_mut().zip(places) {
        assert_eq!(send(queue, &mut arena, usize::MAX), frames[index as usize][sent..]);
    }
    arena.end_flush(0);
    assert_eq!((arena.in_use(), Arc::strong_count(&batch)), ((0, 0), 1));
}

#[test]
fn a_response_stays_and_nothing_overtakes_it() {
    let put = |text: &'static [u8]| move |out: &mut Vec<u8>| out.extend_from_slice(text);
    for (drops, rest) in [(false, &b"response\x89\0pongreply"[..]), (true, b"response")] {
        let (mut arena, mut queue) = (SendArena::default(), Outbound::default());
        queue.push_response(&mut arena, 0, put(b"answer "));
        queue.settle(&mut arena);
        assert_eq!(send(&mut queue, &mut arena, 3), b"ans");
        queue.push_response(&mut arena, 0, put(b"response"));
        queue.push_reply(&mut arena, 0, put(b"reply"));
        queue.push_ping();
        queue.push_pong(&mut arena, true, put(b"pong"));
        if drops {
            queue.drop_unstarted(&mut arena);
        }
        assert!(queue.pinned_reply_bytes() > 0);
        assert_eq!(send(&mut queue, &mut arena, usize::MAX), [b"wer ", rest].concat());
        assert_eq!((arena.in_use(), queue.pinned_bytes()), ((0, 0), 0));
    }
}

#[test]
fn a_batch_that_others_read_in_their_encoding_meanwhile_is_freed_for_what_it_was_counted() {
    let mut batch = Batch::default();
    batch.push(true, (Sender::Api { exclude: None }, None), 0, |out| out.extend_from_slice(b"notice"));
    let batch = Arc::new(batch);
    let (mut arena, mut queue) = (SendArena::default(), Outbound::default());
    queue.push_messages(&mut arena, (&batch, Encoding::Frames), 0..3);
    queue.push_notice(&mut arena, &batch, Encoding::Frames);
    let counted = (queue.pinned_bytes(), queue.pinned_reply_bytes());
    batch.make(Encoding::Events, |_| {
        let mut encoded = Encoded::default();
        encoded.push(|out| out.extend_from_slice(&[b'x'; 1000]));
        encoded
    });
    assert_eq!((queue.pinned_bytes(), queue.pinned_reply_bytes()), counted);
    assert_eq!(send(&mut queue, &mut arena, usize::MAX), b"notnotice");
    assert_eq!((queue.pinned_bytes(), queue.pinned_reply_bytes()), (0, 0));
}

#[test]
fn nodes_stay_small() {
    assert!(size_of::<Node>() <= 24);
    assert!(size_of::<Outbound>() <= 32);
}
