//! Text that is none (RFC 3629): refused at its first bad byte, wherever it is cut.

use fanfare::Config;
use fanfare::protocol::Opcode;

use crate::common::{Frame, client_frame, text};
use crate::counting::asked;
use crate::peers::{everything, open_crowd};

/// A message in fragments that end at these places.
fn fragmented(payload: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut start = 0;
    for (number, end) in cuts.iter().copied().chain([payload.len()]).enumerate() {
        let opcode = if number == 0 { Opcode::Text } else { Opcode::Continuation };
        bytes.extend(client_frame(
            opcode,
            end == payload.len() && number == cuts.len(),
            &payload[start..end],
        ));
        start = end;
    }
    bytes
}

#[test]
fn a_bad_byte_late_in_a_mebibyte_of_fragments_fails_at_its_fragment() {
    const FRAGMENT: usize = 1 << 10;
    let fragments = Config::default().max_message / FRAGMENT;
    let mut server = everything(1, &Config::default());
    let peer = open_crowd(&mut server, "/echo", 1, 2 * FRAGMENT, 1 << 10)[0];
    let good = "é".repeat(FRAGMENT / 2).into_bytes();
    let mut bad = good.clone();
    bad[FRAGMENT / 2] = 0xFF;
    let assembly = asked(|| {
        for number in 0..fragments - 2 {
            let opcode = if number == 0 { Opcode::Text } else { Opcode::Continuation };
            server.feed(peer, &client_frame(opcode, false, &good));
            server.settle();
        }
    });
    assert_eq!(server.socket(peer).output, b"");
    server.feed(peer, &client_frame(Opcode::Continuation, false, &bad));
    let end = asked(|| server.settle());
    let (code, reason) = server.take_close(peer);
    assert_eq!((code, reason.contains("UTF-8")), (1007, true), "{reason}");
    assert!(end.growth < -assembly.growth + 4096, "{end:?}: what was assembled is free, {assembly:?}");
    server.finish();
}

#[test]
fn characters_may_be_cut_anywhere() {
    let whole = "aé€🎺\u{10FFFF}\u{D7FF}\u{E000}z";
    let bytes = whole.as_bytes();
    let mut server = everything(1, &Config::default());
    let peer = server.connect(0, "/echo");
    for first in 0..=bytes.len() {
        for second in first..=bytes.len() {
            server.feed(peer, &fragmented(bytes, &[first, second]));
        }
        server.settle();
        let expected = vec![Frame::text(whole); bytes.len() - first + 1];
        assert_eq!(server.take_frames(peer), expected, "cut at {first} and behind");
    }
    let single: Vec<usize> = (1..bytes.len()).collect();
    server.feed(peer, &fragmented(bytes, &single));
    server.settle();
    assert_eq!(server.take_frames(peer), [Frame::text(whole)]);
    server.finish();
}

#[test]
fn surrogates_overlong_forms_and_what_is_beyond_unicode_are_1007() {
    let mut bad: Vec<Vec<u8>> = Vec::new();
    // Surrogates, U+D800 to U+DFFF.
    bad.extend((0xA0..=0xBF).flat_map(|second| [0x80, 0xBF].map(|third| vec![0xED, second, third])));
    // Overlong forms of two, three and four bytes.
    bad.extend((0xC0..=0xC1).flat_map(|first| [0x80, 0xBF].map(|second| vec![first, second])));
    bad.extend((0x80..=0x9F).map(|second| vec![0xE0, second, 0x80]));
    bad.extend((0x80..=0x8F).map(|second| vec![0xF0, second, 0x80, 0x80]));
    // Beyond U+10FFFF, and bytes that begin nothing.
    bad.extend((0x90..=0xBF).map(|second| vec![0xF4, second, 0x80, 0x80]));
    bad.extend((0xF5..=0xFF).map(|first| vec![first, 0x80, 0x80, 0x80]));
    bad.extend((0x80..=0xBF).map(|alone| vec![alone]));
    // Characters that do not end.
    bad.extend([&b"\xC3"[..], b"\xE2\x82", b"\xF0\x9F\x8E", b"\xC3a", b"\xE2\x82a"].map(<[u8]>::to_vec));
    let mut server = everything(1, &Config::default());
    for bytes in &bad {
        let payload = [b"ok ", &bytes[..], b""].concat();
        for message in [
            client_frame(Opcode::Text, true, &payload),
            fragmented(&payload, &[4]),
            fragmented(&payload, &[1, 3, payload.len()]),
        ] {
            let peer = server.connect(0, "/echo");
            server.feed(peer, &[message, text("never")].concat());
            server.settle();
            let frames = server.take_frames(peer);
            let code = frames.last().and_then(Frame::close).map(|(code, _)| code);
            assert_eq!((code, frames.len()), (Some(1007), 1), "{}", bytes.escape_ascii());
            server.socket(peer).eof = true;
            server.settle();
        }
    }
    server.finish();
}
