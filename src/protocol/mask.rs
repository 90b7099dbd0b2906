//! Masking: the XOR of RFC 6455 §5.3 and the keys for it.
//!
//! Knows nothing of frames. Plain loops over fixed-size blocks, which the compiler turns into vector
//! instructions, and once more into those that not every processor has.

use std::fmt;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Words of the widest vector.
const VECTOR_WORDS: usize = 4;
/// Bytes that are read before they are written to another place: where both lie at like addresses in their
/// pages, the processor takes each read behind a write for one of what was written, and waits.
const COPY_BLOCK_BYTES: usize = 256;
const WORD_BYTES: usize = size_of::<u64>();

/// Masks or unmasks `bytes` in place (RFC 6455 §5.3; the operation is its own inverse).
///
/// `offset` says how many bytes of the payload precede `bytes`; only its remainder by 4 matters.
// Always inlined: a call costs as much as a short frame.
#[inline(always)]
pub fn unmask(bytes: &mut [u8], key: [u8; 4], offset: usize) {
    let wide = repeated(key, offset);
    match bytes.len() {
        0..=7 => xor_bytes(bytes, wide),
        8..=16 => xor_ends::<1>(bytes, wide),
        17..=32 => xor_ends::<2>(bytes, wide),
        33..=64 => xor_ends::<4>(bytes, wide),
        65..=128 => xor_ends::<8>(bytes, wide),
        _ => xor_long(bytes, wide),
    }
}

/// More than 128 bytes.
#[inline(always)]
fn xor_long(bytes: &mut [u8], wide: u64) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        #[allow(unsafe_code)]
        // SAFETY: the function asks nothing of its caller but a processor with AVX2, which this one is.
        return unsafe { xor_avx2(bytes, wide) };
    }
    xor_portable(bytes, wide);
}

/// The same for every processor.
// A call, as it is too long to stand wherever something is unmasked.
#[inline(never)]
fn xor_portable(bytes: &mut [u8], wide: u64) {
    xor_vectors(bytes, wide);
}

/// The same in vectors of twice the width.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn xor_avx2(bytes: &mut [u8], wide: u64) {
    xor_vectors(bytes, wide);
}

#[inline(always)]
fn xor_vectors(bytes: &mut [u8], wide: u64) {
    match bytes.len() {
        ..=256 => xor_ends::<16>(bytes, wide),
        _ => xor_aligned(bytes, wide),
    }
}

/// At least [`VECTOR_WORDS`], in vectors that are aligned: one that reaches into a second cache line costs
/// twice as much.
// Always inlined, so that it is compiled for the instructions of who calls it.
#[inline(always)]
fn xor_aligned(bytes: &mut [u8], wide: u64) {
    // Both ends are read before anything is written, so that they may overlap what lies between them.
    let first = xored(begin::<VECTOR_WORDS>(bytes), wide);
    let last = xored(end::<VECTOR_WORDS>(bytes), shifted(wide, bytes.len()));
    let start = bytes.as_ptr().align_offset(VECTOR_WORDS * WORD_BYTES);
    let (middle, wide) = (&mut bytes[start..], shifted(wide, start));
    let (words, _) = middle.as_chunks_mut::<WORD_BYTES>();
    for vector in words.as_chunks_mut::<VECTOR_WORDS>().0 {
        *vector = xored(vector, wide);
    }
    *begin_mut(bytes) = first;
    *end_mut(bytes) = last;
}

/// `WORDS` to twice as many, as two pieces that may overlap.
#[inline(always)]
fn xor_ends<const WORDS: usize>(bytes: &mut [u8], wide: u64) {
    let first = xored(begin::<WORDS>(bytes), wide);
    let last = xored(end::<WORDS>(bytes), shifted(wide, bytes.len()));
    *begin_mut(bytes) = first;
    *end_mut(bytes) = last;
}

// A call, as few frames are so short.
#[inline(never)]
fn xor_bytes(bytes: &mut [u8], wide: u64) {
    bytes.iter_mut().zip(wide.to_ne_bytes()).for_each(|(byte, key)| *byte ^= key);
}

type CopyBlock = [u8; COPY_BLOCK_BYTES];
/// Bytes as they are XORed.
type Word = [u8; WORD_BYTES];

#[inline(always)]
fn xored<const WORDS: usize>(words: &[Word; WORDS], wide: u64) -> [Word; WORDS] {
    words.map(|word| (u64::from_ne_bytes(word) ^ wide).to_ne_bytes())
}

#[inline(always)]
fn begin<const WORDS: usize>(bytes: &[u8]) -> &[Word; WORDS] {
    bytes.as_chunks().0.first_chunk().expect("so many words")
}

#[inline(always)]
fn begin_mut<const WORDS: usize>(bytes: &mut [u8]) -> &mut [Word; WORDS] {
    bytes.as_chunks_mut().0.first_chunk_mut().expect("so many words")
}

#[inline(always)]
fn end<const WORDS: usize>(bytes: &[u8]) -> &[Word; WORDS] {
    bytes.as_rchunks().1.last_chunk().expect("so many words")
}

#[inline(always)]
fn end_mut<const WORDS: usize>(bytes: &mut [u8]) -> &mut [Word; WORDS] {
    bytes.as_rchunks_mut().1.last_chunk_mut().expect("so many words")
}

/// Appends `payload` to `out`, masked with `key` from the payload's first byte on.
pub fn push_masked(out: &mut Vec<u8>, payload: &[u8], key: [u8; 4]) {
    push_unmasked(out, payload, key, 0);
}

/// Appends what [`unmask`] makes of `bytes` to `out`, in one pass over them.
pub fn push_unmasked(out: &mut Vec<u8>, bytes: &[u8], key: [u8; 4], offset: usize) {
    let (blocks, rest) = bytes.as_chunks();
    out.reserve(bytes.len());
    push_blocks(out, blocks, repeated(key, offset));
    let start = out.len();
    out.extend_from_slice(rest);
    // Whole blocks came before, which are a multiple of the key.
    unmask(&mut out[start..], key, offset);
}

fn push_blocks(out: &mut Vec<u8>, blocks: &[CopyBlock], wide: u64) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        #[allow(unsafe_code)]
        // SAFETY: this function, too, asks for nothing but a processor with AVX2, which this one is.
        return unsafe { push_avx2(out, blocks, wide) };
    }
    push_xored(out, blocks, wide);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn push_avx2(out: &mut Vec<u8>, blocks: &[CopyBlock], wide: u64) {
    push_xored(out, blocks, wide);
}

#[inline(always)]
fn push_xored(out: &mut Vec<u8>, blocks: &[CopyBlock], wide: u64) {
    for block in blocks {
        let words = begin::<{ COPY_BLOCK_BYTES / WORD_BYTES }>(block);
        out.extend_from_slice(xored(words, wide).as_flattened());
    }
}

/// The key twice, from the byte on that belongs to `offset`.
#[inline(always)]
fn repeated(key: [u8; 4], offset: usize) -> u64 {
    let once = u64::from(u32::from_ne_bytes(key));
    shifted(once << 32 | once, offset)
}

/// The repeated key, from the byte on that belongs to `offset`.
#[inline(always)]
fn shifted(wide: u64, offset: usize) -> u64 {
    u64::from_le(wide).rotate_right(8 * (offset % 4) as u32).to_le()
}

/// A source of masking keys, for the client role.
///
/// RFC 6455 §5.3 and §10.3: a key must be unpredictable and fresh for every frame, hence a
/// cryptographically secure generator (ChaCha).
pub struct MaskKeys(StdRng);

impl MaskKeys {
    /// Keys seeded from the operating system's entropy.
    ///
    /// # Panics
    ///
    /// If the operating system refuses to give entropy, before any peer is involved.
    pub fn from_os() -> MaskKeys {
        MaskKeys(rand::make_rng())
    }

    /// The same keys for the same seed: for simulations only, never towards a real peer.
    pub fn seeded(seed: u64) -> MaskKeys {
        MaskKeys(StdRng::seed_from_u64(seed))
    }

    /// A fresh key, for one frame.
    #[expect(
        clippy::should_implement_trait,
        reason = "keys never run out, an iterator's Option would be noise"
    )]
    pub fn next(&mut self) -> [u8; 4] {
        self.0.next_u32().to_le_bytes()
    }
}

impl fmt::Debug for MaskKeys {
    /// Shows nothing of the generator's state.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("MaskKeys(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    fn reference(bytes: &[u8], key: [u8; 4], offset: usize) -> Vec<u8> {
        let masked = bytes.iter().enumerate();
        masked.map(|(index, byte)| byte ^ key[(index + offset) % 4]).collect()
    }

    #[test]
    fn every_alignment_length_and_offset_matches_the_reference() {
        let plain: Vec<u8> = (0..=255).collect();
        for alignment in 0..16 {
            for length in 0..=200 {
                for offset in 0..8 {
                    let mut bytes = plain.clone();
                    unmask(&mut bytes[alignment..alignment + length], KEY, offset);
                    let middle = reference(&plain[alignment..alignment + length], KEY, offset);
                    assert_eq!(bytes[..alignment], plain[..alignment]);
                    assert_eq!(bytes[alignment..alignment + length], middle);
                    assert_eq!(bytes[alignment + length..], plain[alignment + length..]);
                }
            }
        }
    }

    #[test]
    fn long_pieces_match_the_reference_too() {
        let plain: Vec<u8> = (0..10_000_u32).map(|number| (number * 7 % 251) as u8).collect();
        for length in [2047, 2048, 2049, 2048 + 63, 2048 + 77, 9_000] {
            for offset in 0..4 {
                for alignment in [0, 1, 16, 31] {
                    let mut bytes = plain.clone();
                    unmask(&mut bytes[alignment..alignment + length], KEY, offset);
                    let middle = reference(&plain[alignment..alignment + length], KEY, offset);
                    assert_eq!(bytes[alignment..alignment + length], middle);
                    assert_eq!(bytes[alignment + length..], plain[alignment + length..]);
                }
            }
        }
    }

    #[test]
    fn the_largest_offset_counts_by_its_remainder() {
        let mut bytes = [0; 5];
        unmask(&mut bytes, KEY, usize::MAX);
        assert_eq!(bytes[0], KEY[3]);
        assert_eq!(bytes[1], KEY[0]);
    }

    #[test]
    fn any_split_gives_the_same_bytes() {
        let plain: Vec<u8> = (0..600_u32).map(|number| (number * 7 % 251) as u8).collect();
        let whole = reference(&plain, KEY, 0);
        for cut in 0..=plain.len() {
            let mut bytes = plain.clone();
            let (left, right) = bytes.split_at_mut(cut);
            unmask(left, KEY, 0);
            unmask(right, KEY, cut);
            assert_eq!(bytes, whole);
        }
    }

    #[test]
    fn whole_blocks_are_copied_like_the_reference_by_whichever_instructions() {
        type Push = fn(&mut Vec<u8>, &[u8], [u8; 4], usize);
        let portable: Push = |out, bytes, key, offset| {
            let (blocks, rest) = bytes.as_chunks();
            push_xored(out, blocks, repeated(key, offset));
            out.extend(reference(rest, key, offset % 4));
        };
        let plain: Vec<u8> = (0..4_000_u32).map(|number| (number * 7 % 251) as u8).collect();
        for push in [push_unmasked as Push, portable] {
            for length in [255, 256, 257, 511, 512, 513, 1_000, 2_048] {
                for (offset, start) in [(0, 0), (1, 1), (2, 6), (3, 31), (4, 0), (usize::MAX, 3)] {
                    let bytes = &plain[start..start + length];
                    let mut out = b"before".to_vec();
                    push(&mut out, bytes, KEY, offset);
                    assert_eq!(out[..6], *b"before");
                    assert!(out[6..] == reference(bytes, KEY, offset % 4)[..], "{length} {offset}");
                }
            }
        }
    }

    #[test]
    fn the_way_of_every_processor_gives_the_same_as_that_of_this_one() {
        let plain: Vec<u8> = (0..1_000_u32).map(|number| (number * 7 % 251) as u8).collect();
        for length in [129, 255, 256, 257, 700] {
            for (offset, start) in [(0, 0), (1, 1), (2, 6), (3, 31)] {
                let (mut portable, mut chosen) = (plain.clone(), plain.clone());
                xor_portable(&mut portable[start..start + length], repeated(KEY, offset));
                unmask(&mut chosen[start..start + length], KEY, offset);
                assert!(portable == chosen, "{length} {offset} {start}");
            }
        }
    }

    #[test]
    fn copying_masks_like_the_reference_and_appends() {
        let plain: Vec<u8> = (0..=255).collect();
        for length in 0..=200 {
            for offset in [0, 1, 2, 3, 4, usize::MAX] {
                let mut out = vec![9];
                push_unmasked(&mut out, &plain[..length], KEY, offset);
                assert_eq!(out[0], 9);
                assert_eq!(out[1..], reference(&plain[..length], KEY, offset % 4));
            }
            let mut out = vec![9];
            push_masked(&mut out, &plain[..length], KEY);
            assert_eq!(out[1..], reference(&plain[..length], KEY, 0));
        }
    }

    #[test]
    fn seeded_keys_repeat_and_differ_from_frame_to_frame() {
        let (mut one, mut other) = (MaskKeys::seeded(7), MaskKeys::seeded(7));
        let keys: Vec<_> = (0..100).map(|_| one.next()).collect();
        assert!(keys.iter().all(|key| *key == other.next()));
        assert!(keys.windows(2).all(|pair| pair[0] != pair[1]));
        assert_ne!(keys[0], MaskKeys::seeded(8).next());
    }

    #[test]
    fn keys_of_the_operating_system_differ() {
        let eight = |keys: &mut MaskKeys| -> Vec<_> { (0..8).map(|_| keys.next()).collect() };
        assert_ne!(eight(&mut MaskKeys::from_os()), eight(&mut MaskKeys::from_os()));
    }

    #[test]
    fn no_log_shows_what_the_next_keys_will_be() {
        assert_eq!(format!("{:?}", MaskKeys::seeded(7)), "MaskKeys(..)");
    }
}
