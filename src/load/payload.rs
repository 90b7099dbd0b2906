//! What messages say of themselves, and whether they arrive as they were sent.
//!
//! A message of [`TIMED_BYTES`] or more has a seal, its sequence and the time it was meant to be sent, then
//! filling that is another for each sequence. The seal binds these to one flow of one run, so that no message
//! passes for another. Shorter ones say less: from [`SEALED_BYTES`] on all but the time; below, only the bytes
//! can be compared with those of the message that should come next.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use fanfare::protocol::{Kind, Message, Opcode, push_client_frame};

/// The least size at which a message has a seal and its sequence: order, loss and repeats are then known.
pub const SEALED_BYTES: usize = 8;
/// The least size at which it has its time too: latency is then known of every receiver.
pub const TIMED_BYTES: usize = 16;

/// Places in the filling where a message may begin; prime, so that no cycle of a server's buffers meets it.
const SHIFTS: u32 = 241;

/// Makes and reads the messages of a run, all of one size.
#[derive(Debug)]
pub struct Payloads {
    size: usize,
    secret: u64,
    /// Each message is a slice of it, with the stamp written over its beginning.
    filling: Vec<u8>,
}

/// What a message is to its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// As it was sent, of this sequence (its lower half), meant to be sent at this time in nanoseconds.
    Timed(u32, u64),
    /// As it was sent, of this sequence.
    Sealed(u32),
    /// The bytes of the message that should come next.
    Plain,
    /// Nothing that was sent on this flow.
    Wrong,
}

impl Payloads {
    /// Messages of `size` bytes; the same for the same seed.
    pub fn new(size: usize, seed: u64) -> Payloads {
        let mut random = StdRng::seed_from_u64(seed);
        let secret = random.next_u64();
        let mut filling = vec![0; size + SHIFTS as usize];
        random.fill_bytes(&mut filling);
        Payloads { size, secret, filling }
    }

    /// Whether messages say which they are.
    pub fn are_sealed(&self) -> bool {
        self.size >= SEALED_BYTES
    }

    /// Whether messages say when they were meant to be sent.
    pub fn are_timed(&self) -> bool {
        self.size >= TIMED_BYTES
    }

    /// Appends a message in a frame that is masked with `key`.
    pub fn push_frame(&mut self, out: &mut Vec<u8>, flow: u32, sequence: u64, intended: u64, key: [u8; 4]) {
        let sequence = sequence as u32;
        let start = shift(sequence);
        let intended = if self.are_timed() { intended } else { 0 };
        let seal = self.seal(flow, sequence, intended);
        let mut stamp = [0; TIMED_BYTES];
        stamp[..4].copy_from_slice(&seal.to_le_bytes());
        stamp[4..8].copy_from_slice(&sequence.to_le_bytes());
        stamp[8..].copy_from_slice(&intended.to_le_bytes());
        let stamp_bytes = match (self.are_sealed(), self.are_timed()) {
            (false, _) => 0,
            (true, false) => SEALED_BYTES,
            (true, true) => TIMED_BYTES,
        };
        let message = &mut self.filling[start..start + self.size];
        // The filling is put back behind it.
        message[..stamp_bytes].swap_with_slice(&mut stamp[..stamp_bytes]);
        push_client_frame(out, Opcode::Binary, true, message, key);
        message[..stamp_bytes].swap_with_slice(&mut stamp[..stamp_bytes]);
    }

    /// What `message` is on this flow, where the message of sequence `next` should come.
    pub fn read(&self, message: &Message<'_>, flow: u32, next: u64) -> Seen {
        let payload = message.payload;
        if payload.len() != self.size || message.kind != Kind::Binary {
            return Seen::Wrong;
        }
        let Some((head, rest)) = payload.split_first_chunk::<SEALED_BYTES>() else {
            let start = shift(next as u32);
            let same = payload == &self.filling[start..start + self.size];
            return if same { Seen::Plain } else { Seen::Wrong };
        };
        let [seal, sequence] = [[head[0], head[1], head[2], head[3]], [head[4], head[5], head[6], head[7]]];
        let (seal, sequence) = (u32::from_le_bytes(seal), u32::from_le_bytes(sequence));
        let (intended, rest) = match rest.split_first_chunk() {
            Some((intended, rest)) => (Some(u64::from_le_bytes(*intended)), rest),
            None => (None, rest),
        };
        let start = shift(sequence);
        let same = rest == &self.filling[start + self.size - rest.len()..start + self.size];
        if !same || seal != self.seal(flow, sequence, intended.unwrap_or(0)) {
            return Seen::Wrong;
        }
        match intended {
            Some(intended) => Seen::Timed(sequence, intended),
            None => Seen::Sealed(sequence),
        }
    }

    /// Another number for any other flow, sequence, time or run.
    fn seal(&self, flow: u32, sequence: u32, intended: u64) -> u32 {
        let place = u64::from(flow) << 32 | u64::from(sequence);
        let mixed = mix(self.secret ^ place).wrapping_add(intended);
        (mix(mixed) >> 32) as u32
    }
}

/// Spreads every bit over all others (the finalizer of MurmurHash3).
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ bits >> 33).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    bits = (bits ^ bits >> 33).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    bits ^ bits >> 33
}

fn shift(sequence: u32) -> usize {
    (sequence % SHIFTS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOW: u32 = 7;
    const INTENDED: u64 = 123_456_789;

    /// The payload of a message, unmasked: a key of zeros changes nothing.
    fn payload(payloads: &mut Payloads, sequence: u64) -> Vec<u8> {
        let mut frame = Vec::new();
        payloads.push_frame(&mut frame, FLOW, sequence, INTENDED, [0; 4]);
        frame[frame.len() - payloads.size..].to_vec()
    }

    fn read(payloads: &Payloads, flow: u32, next: u64, payload: &[u8]) -> Seen {
        payloads.read(&Message { kind: Kind::Binary, payload }, flow, next)
    }

    #[test]
    fn a_message_says_what_its_size_allows() {
        for size in 0..300 {
            let mut payloads = Payloads::new(size, 1);
            for sequence in [1, 2, 240, 241, (1 << 32) + 9] {
                let payload = payload(&mut payloads, sequence);
                assert_eq!(payload.len(), size);
                let expected = match size {
                    0..8 => Seen::Plain,
                    8..16 => Seen::Sealed(sequence as u32),
                    _ => Seen::Timed(sequence as u32, INTENDED),
                };
                assert_eq!(read(&payloads, FLOW, sequence, &payload), expected, "{size}");
            }
        }
    }

    #[test]
    fn any_changed_bit_is_seen() {
        for size in [1, 4, 8, 15, 16, 17, 64, 1000] {
            let mut payloads = Payloads::new(size, 2);
            let sent = payload(&mut payloads, 5);
            for bit in 0..size * 8 {
                let mut changed = sent.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(read(&payloads, FLOW, 5, &changed), Seen::Wrong, "bit {bit} of {size} bytes");
            }
        }
    }

    #[test]
    fn another_flow_run_size_or_kind_is_wrong() {
        let mut payloads = Payloads::new(64, 3);
        let sent = payload(&mut payloads, 5);
        assert_eq!(read(&payloads, FLOW + 1, 5, &sent), Seen::Wrong);
        assert_eq!(read(&Payloads::new(64, 4), FLOW, 5, &sent), Seen::Wrong);
        assert_eq!(read(&payloads, FLOW, 5, &sent[..63]), Seen::Wrong);
        let text = Message { kind: Kind::Text, payload: &sent };
        assert_eq!(payloads.read(&text, FLOW, 5), Seen::Wrong);
    }

    #[test]
    fn messages_that_follow_each_other_differ_in_every_part() {
        let mut payloads = Payloads::new(64, 5);
        let (one, other) = (payload(&mut payloads, 1), payload(&mut payloads, 2));
        let mut mixed = one;
        mixed[32..].copy_from_slice(&other[32..]);
        assert_eq!(read(&payloads, FLOW, 1, &mixed), Seen::Wrong);
    }
}
