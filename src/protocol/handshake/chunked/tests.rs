//! Tests of the chunked transfer coding.

use super::*;

/// The data and how many bytes the body has, or the refusal and the index of the byte at which it came.
type Outcome = Result<(Vec<u8>, usize), (usize, Refusal)>;

fn decode(pieces: &[&[u8]], limit: usize, limits: &Limits) -> Option<Outcome> {
    let mut decoder = ChunkedDecoder::new(limit);
    let (mut body, mut before) = (Vec::new(), 0);
    for piece in pieces {
        match decoder.decode(piece, limits, |data| body.extend_from_slice(data)) {
            Ok(Some(used)) => return Some(Ok((body, before + used))),
            Ok(None) => before += piece.len(),
            Err(refusal) => return Some(Err((before, refusal))),
        }
    }
    None
}

/// Byte by byte, after checking that every cut gives the same.
fn outcome_with(bytes: &[u8], limit: usize, limits: &Limits) -> Option<Outcome> {
    let singles: Vec<&[u8]> = bytes.chunks(1).collect();
    let single = decode(&singles, limit, limits);
    let without_place =
        |outcome: Option<Outcome>| outcome.map(|outcome| outcome.map_err(|(_, refusal)| refusal));
    for cut in 0..=bytes.len() {
        let (left, right) = bytes.split_at(cut);
        let cut = decode(&[left, right], limit, limits);
        assert_eq!(without_place(cut), without_place(single.clone()), "{}", bytes.escape_ascii());
    }
    single
}

fn outcome(bytes: &[u8]) -> Option<Outcome> {
    outcome_with(bytes, 100, &Limits::default())
}

fn refused(bytes: &[u8]) -> (usize, Refusal) {
    match outcome(bytes) {
        Some(Err(refused)) => refused,
        other => panic!("{}: {other:?}", bytes.escape_ascii()),
    }
}

#[test]
fn chunks_become_the_data_in_them() {
    for (bytes, data) in [
        (&b"0\r\n\r\n"[..], &b""[..]),
        (b"000\r\n\r\n", b""),
        (b"1\r\na\r\n0\r\n\r\n", b"a"),
        (b"5\r\nhello\r\n00000006\r\n world\r\n0\r\n\r\n", b"hello world"),
        (b"a\r\n0123456789\r\nA\r\n\r\n0\r\n\r\nabc\r\n0\r\n\r\n", b"0123456789\r\n0\r\n\r\nabc"),
        (b"1;a\r\na\r\n1 ; a=\"b;\t\x80\"\r\nb\r\n0;z\r\n\r\n", b"ab"),
        (b"1\t;;\r\na\r\n0\r\nA: 1\r\nContent-Length: 7\r\nb:\r\n\r\n", b"a"),
    ] {
        let behind = [bytes, b"GET /"].concat();
        assert_eq!(outcome(&behind), Some(Ok((data.to_vec(), bytes.len()))), "{}", bytes.escape_ascii());
        for size in 0..bytes.len() {
            assert_eq!(outcome(&bytes[..size]), None, "incomplete");
        }
    }
}

#[test]
fn malformed_chunks_are_refused_at_the_byte_that_proves_it() {
    for (bytes, at, part) in [
        (&b"\r\n"[..], 0, "chunk-size"),
        (b"\n", 0, "chunk-size"),
        (b";a\r\n", 0, "chunk-size"),
        (b" 1\r\n", 0, "chunk-size"),
        (b"+1\r\n", 0, "chunk-size"),
        (b"-1\r\n", 0, "chunk-size"),
        (b"g\r\n", 0, "chunk-size"),
        (b"0x1\r\n", 1, "chunk-size"),
        (b"1_0\r\n", 1, "chunk-size"),
        (b"1,1\r\n", 1, "chunk-size"),
        (b"\xD9\xA1\r\n", 0, "chunk-size"),
        (b"000000001\r\n", 8, "more than 8 digits"),
        (b"FFFFFFFFF\r\n", 8, "more than 8 digits"),
        (b"1\na", 1, "chunk-size"),
        (b"1\ra", 2, "CR LF"),
        (b"1\r\r\n", 2, "CR LF"),
        (b"1 \r\na", 2, "extension"),
        (b"1 1\r\na", 2, "extension"),
        (b"1;a\n", 3, "extension"),
        (b"1;a\0", 3, "extension"),
        (b"1;a\rb", 4, "CR LF"),
        (b"1\r\nab", 4, "data of a chunk"),
        (b"1\r\na\n", 4, "data of a chunk"),
        (b"1\r\na\ra", 5, "data of a chunk"),
        (b"2\r\na\r\n0", 5, "data of a chunk"),
        (b"1\r\na\r\n\r\n", 6, "chunk-size"),
        (b"0\r\n\n", 3, "trailer"),
        (b"0\r\n\r\r", 4, "CR LF"),
        (b"0\r\n a: b\r\n", 3, "trailer"),
        (b"0\r\na b: c\r\n", 4, "trailer"),
        (b"0\r\na : c\r\n", 4, "trailer"),
        (b"0\r\n: c\r\n", 3, "trailer"),
        (b"0\r\na\r\n", 4, "trailer"),
        (b"0\r\na: b\n", 7, "trailer"),
        (b"0\r\na: b\0", 7, "trailer"),
        (b"0\r\na: b\rc", 8, "CR LF"),
        (b"0\r\na: b\r\n folded\r\n", 9, "trailer"),
    ] {
        let (index, refusal) = refused(bytes);
        let shown = format!("{}: {}", bytes.escape_ascii(), refusal.body);
        assert_eq!((index, refusal.status), (at, 400), "{shown}");
        assert!(refusal.body.contains(part) && refusal.body.contains("; "), "{shown}");
    }
}

#[test]
fn every_pair_of_bytes_is_survived_in_every_place() {
    let places: [&[u8]; 9] = [b"", b"1", b"1 ", b"1;", b"1\r\n", b"1\r\na", b"0\r\n", b"0\r\na", b"0\r\na:"];
    for place in places {
        for first in 0..=255 {
            for second in 0..=255 {
                let bytes = [place, &[first, second], b"0\r\n\r\n"].concat();
                let whole = decode(&[&bytes], 100, &Limits::default());
                let cut =
                    decode(&[&bytes[..=place.len()], &bytes[place.len() + 1..]], 100, &Limits::default());
                assert_eq!(whole.map(|outcome| outcome.is_ok()), cut.map(|outcome| outcome.is_ok()));
            }
        }
    }
}

#[test]
fn the_data_is_bounded_inclusively_and_by_the_size_alone() {
    let limits = Limits::default();
    for limit in [0, 1, 15, 16, 17, 255, 256] {
        for size in [limit.max(1) - 1, limit, limit + 1] {
            for step in [1, 2, size.max(1)] {
                let data = vec![b'x'; size];
                let chunk =
                    |piece: &[u8]| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
                let mut bytes: Vec<u8> = data.chunks(step).flat_map(chunk).collect();
                bytes.extend(b"0\r\n\r\n");
                match outcome_with(&bytes, limit, &limits).unwrap() {
                    Ok(whole) => assert!(size <= limit && whole == (data, bytes.len())),
                    Err((_, refusal)) => {
                        assert!(size > limit);
                        assert_eq!(refusal, body_too_large(None, limit));
                    }
                }
            }
        }
    }
    for (bytes, at) in [(&b"FFFFFFFF\r\n"[..], 9), (b"64\r\n", 4), (b"65\r\n", 3), (b"65;a\r\n", 5)] {
        match outcome(bytes) {
            Some(Err((index, refusal))) => assert_eq!((index, refusal.status), (at, 413)),
            other => assert!(other.is_none() && bytes == b"64\r\n", "100 bytes are allowed: {other:?}"),
        }
    }
    assert_eq!(outcome_with(b"FFFFFFFF\r\n", usize::MAX, &limits), None, "nothing overflows");
}

#[test]
fn extensions_of_a_chunk_are_bounded_inclusively() {
    for (size, allowed) in [(255, true), (256, true), (257, false)] {
        let extension = [b";".as_slice(), &vec![b'x'; size - 1]].concat();
        let chunk = [b"1".as_slice(), &extension, b"\r\na\r\n"].concat();
        let bytes = [chunk.repeat(2).as_slice(), b"0\r\n\r\n"].concat();
        match outcome(&bytes).unwrap() {
            Ok((data, _)) => assert!(allowed && data == b"aa"),
            Err((at, refusal)) => {
                assert!(!allowed);
                assert_eq!((at, refusal.status), (257, 400));
                assert!(refusal.body.contains("256"), "{}", refusal.body);
            }
        }
    }
}

#[test]
fn extensions_and_trailers_are_bounded_together_and_inclusively() {
    for (spare, allowed) in [(0, true), (1, true), (2, false)] {
        let trailer = [b"a:".as_slice(), &vec![b'x'; spare]].concat();
        let bytes = [b"1;ab\r\na\r\n0 ;\r\n".as_slice(), &trailer, b"\r\nb:\r\n\r\n"].concat();
        let limits = Limits { head_bytes_max: 10, ..Limits::default() };
        match outcome_with(&bytes, 100, &limits).unwrap() {
            Ok((data, _)) => assert!(allowed && data == b"a"),
            Err((_, refusal)) => {
                assert!(!allowed);
                assert_eq!(refusal.status, 431);
                assert!(refusal.body.contains("10 bytes") && refusal.body.contains("--max-head"));
            }
        }
    }
}

#[test]
fn each_byte_of_the_framing_is_looked_at_once() {
    let bytes = [b"3e8;x\r\n".as_slice(), &[b'x'; 1000], b"\r\n0\r\na: b\r\n\r\n"].concat();
    for size in [1, 7, 100, bytes.len()] {
        SCANNED.set(0);
        let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
        let whole = decode(&pieces, 1000, &Limits::default());
        assert!(matches!(whole, Some(Ok((_, used))) if used == bytes.len()));
        assert_eq!(SCANNED.get(), bytes.len() - 1000);
    }
}
