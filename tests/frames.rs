//! Frames over real sockets: what ends a connection and with which Close, limits, echoes.

mod support;

use std::time::Duration;

use fanfare::Config;
use fanfare::endpoint::CloseKind;
use fanfare::shard::Counter;
use support::{Frame, Raw, TestServer, config, dial, frame, header, long_length, next_data, text};
use tungstenite::Message;

/// Sends bytes to an echo and checks that one Close with this code and reason comes, and the end.
fn expect_closed(server: &TestServer, bytes: &[u8], code: u16, reason: &str) {
    let mut raw = Raw::open(server.address(), "/echo");
    // The valid messages ahead of what is wrong are answered first.
    raw.send(&[&text("before"), &text(""), bytes].concat());
    assert_eq!(raw.frame(), Frame::text("before"));
    assert_eq!(raw.frame(), Frame::text(""));
    let (seen_code, seen_reason) = raw.expect_close();
    let shown = format!("{} -> {seen_code} {seen_reason}", bytes.escape_ascii());
    assert_eq!(seen_code, code, "{shown}");
    assert!(seen_reason.contains(reason), "lacks {reason}: {shown}");
}

#[test]
fn a_frame_against_the_rules_ends_the_connection_with_one_close_that_says_why() {
    let server = TestServer::start(config());
    let unmasked = b"\x81\x01a".to_vec();
    let cases: Vec<(Vec<u8>, u16, &str)> = vec![
        (frame(0xC1, b"a"), 1002, "reserved bits 100"),
        (frame(0xA1, b"a"), 1002, "reserved bits 010"),
        (frame(0x91, b"a"), 1002, "reserved bits 001"),
        (frame(0x83, b"a"), 1002, "reserved opcode 0x3"),
        (frame(0x8F, b"a"), 1002, "reserved opcode 0xf"),
        (frame(0x09, b"a"), 1002, "fragmented"),
        (frame(0x08, b""), 1002, "fragmented"),
        (frame(0x89, &[0; 126]), 1002, "more than 125 bytes"),
        (unmasked, 1002, "not masked"),
        (frame(0x80, b"a"), 1002, "no message is open"),
        (frame(0x00, b""), 1002, "no message is open"),
        ([frame(0x01, b"a"), frame(0x81, b"b")].concat(), 1002, "new text message"),
        ([frame(0x02, b""), frame(0x82, b"b")].concat(), 1002, "new binary message"),
        ([&[0x81, 0x80 | 126, 0, 125][..], &[0; 4]].concat(), 1002, "shortest form"),
        (frame(0x81, b"\xff"), 1007, "UTF-8"),
        (frame(0x81, b"\xed\xa0\x80"), 1007, "UTF-8"),
        (frame(0x81, b"\xc3"), 1007, "UTF-8"),
        ([frame(0x01, b"\xe2\x82"), frame(0x80, b"")].concat(), 1007, "UTF-8"),
        ([frame(0x01, b"\xe2\x82"), frame(0x80, b"a")].concat(), 1007, "UTF-8"),
        (frame(0x88, b"\x03"), 1002, "1 byte"),
        (frame(0x88, b"\x03\xe8\xff"), 1007, "UTF-8"),
    ];
    let kinds = [CloseKind::ProtocolError];
    for (bytes, code, reason) in &cases {
        expect_closed(&server, bytes, *code, reason);
    }
    let count = cases.len() as u64;
    server.until("every failure is counted", |server| {
        kinds.iter().map(|kind| server.closes(*kind)).sum::<u64>() == count
    });
}

#[test]
fn text_is_refused_at_its_first_bad_byte_while_the_frame_is_unfinished() {
    let server = TestServer::start(config());
    for bad in [&b"\xff"[..], b"\xc0\x80", b"\xf5\x80", b"\xed\xa0", b"ok\xc3("] {
        // 100 bytes are announced, only these arrive.
        let whole = frame(0x81, &[bad, &[b'a'; 100][bad.len()..]].concat());
        expect_closed(&server, &whole[..6 + bad.len()], 1007, "UTF-8");
    }
    let mut raw = Raw::open(server.address(), "/echo");
    raw.send(&frame(0x01, b"\xf0\x9f"));
    raw.send(&frame(0x00, b"\x8e"));
    raw.send(&frame(0x80, b"\xba"));
    assert_eq!(raw.frame(), Frame::text("🎺"), "a character may be cut anywhere");
}

/// Whether two bytes at the start of a connection's frames are wrong whatever follows.
fn is_wrong(first: u8, second: u8) -> bool {
    let (opcode, length) = (first & 0x0F, second & 0x7F);
    let control = opcode >= 8;
    let known = matches!(opcode, 0 | 1 | 2 | 8 | 9 | 10);
    first & 0x70 != 0 || !known || second & 0x80 == 0 || control && (first & 0x80 == 0 || length > 125)
}

#[test]
fn no_two_first_bytes_hurt_the_server() {
    let server = TestServer::start(config());
    let address = server.address();
    // Every first byte with the second bytes at which a rule begins or ends.
    const SECONDS: [u8; 8] = [0x00, 0x01, 0x7F, 0x80, 0x81, 0xFD, 0xFE, 0xFF];
    std::thread::scope(|scope| {
        for quarter in 0..4u8 {
            scope.spawn(move || {
                for first in (0..=u8::MAX).filter(|first| first % 4 == quarter) {
                    for second in SECONDS {
                        let mut raw = Raw::open(address, "/echo");
                        raw.send(&[first, second]);
                        raw.half_close();
                        match raw.frame_or_end() {
                            Some(close) => {
                                assert_eq!(close.close().0, 1002, "{first:#x} {second:#x}");
                                assert!(is_wrong(first, second), "{first:#x} {second:#x}");
                                raw.expect_end();
                            }
                            None => assert!(!is_wrong(first, second), "{first:#x} {second:#x}"),
                        }
                    }
                }
            });
        }
    });
    Raw::open(address, "/echo").round_trip(b"alive");
}

#[test]
fn a_length_is_judged_from_the_header_alone() {
    let server = TestServer::start(config());
    let announced = |length| [&[0x82][..], &long_length(length), &[1, 2, 3, 4]].concat();
    for length in [0, 125, 126, 65_535] {
        expect_closed(&server, &announced(length), 1002, "shortest form");
    }
    for length in [(1 << 20) + 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 63) - 1] {
        let reason = format!("at least {length} bytes; 1048576 are allowed (--max-message)");
        expect_closed(&server, &announced(length), 1009, &reason);
    }
    for length in [1 << 63, u64::MAX] {
        expect_closed(&server, &announced(length), 1002, "top bit");
    }
}

#[test]
fn the_length_of_a_message_is_limited_inclusively_however_it_is_cut() {
    let server = TestServer::start(Config { max_message: 1000, ..config() });
    for length in [999, 1000, 1001] {
        let payload = vec![b'x'; length];
        let middle = length / 2;
        let whole = frame(0x82, &payload);
        let fragments = [frame(0x02, &payload[..middle]), frame(0x80, &payload[middle..])].concat();
        for bytes in [whole, fragments] {
            if length > 1000 {
                expect_closed(&server, &bytes, 1009, "at least 1001 bytes; 1000 are allowed");
                continue;
            }
            let mut raw = Raw::open(server.address(), "/echo");
            raw.send(&bytes);
            assert_eq!(raw.frame(), Frame::binary(&payload));
        }
    }
    server.until_closes(CloseKind::LimitExceeded, 2);
}

#[test]
fn the_fragments_of_a_message_are_limited_inclusively() {
    let server = TestServer::start(Config { max_fragments: 4, ..config() });
    for count in [3, 4, 5] {
        let middle = vec![frame(0x00, b""); count - 2].concat();
        let message = [frame(0x02, b"a"), middle, frame(0x80, b"b")].concat();
        if count > 4 {
            expect_closed(&server, &message, 1008, "more than 4 fragments; 4 are allowed (--max-fragments)");
            continue;
        }
        let mut raw = Raw::open(server.address(), "/echo");
        raw.send(&[message.clone(), message].concat());
        assert_eq!([raw.frame(), raw.frame()], [Frame::binary(b"ab"), Frame::binary(b"ab")]);
    }
}

#[test]
fn a_message_that_is_not_finished_in_time_ends_the_connection() {
    let message_timeout = Duration::from_millis(200);
    let server = TestServer::start(Config { message_timeout, ..config() });
    let open_message = frame(0x01, b"once upon a time");
    let cut_header = vec![0x81];
    let cut_payload = header(0x81, 10);
    let cut_ping = frame(0x89, b"ping")[..8].to_vec();
    for bytes in [open_message, cut_header, cut_payload, cut_ping] {
        expect_closed(&server, &bytes, 1008, "--message-timeout");
    }
    server.until_closes(CloseKind::MessageTimeout, 4);
}

#[test]
fn exactly_the_codes_that_may_travel_are_echoed() {
    let server = TestServer::start(config());
    let edges = [0, 1, 999, 1999, 2000, 2999, 3000, 3999, 4000, 4999, 5000, 32_768, 65_535];
    for code in edges.into_iter().chain(1000..=1017) {
        let mut raw = Raw::open(server.address(), "/echo");
        raw.send(&frame(0x88, &[&u16::to_be_bytes(code)[..], b"bye"].concat()));
        let (seen, reason) = raw.expect_close();
        if matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
            assert_eq!((seen, reason.as_str()), (code, ""));
        } else {
            assert_eq!(seen, 1002, "{code}");
            assert!(reason.contains(&format!("status code {code};")), "{reason}");
        }
    }
    let mut raw = Raw::open(server.address(), "/echo");
    raw.send(&frame(0x88, b""));
    assert_eq!(raw.frame(), Frame { first: 0x88, payload: Vec::new() }, "no code for no code");
    raw.expect_end();
}

#[test]
fn nothing_behind_a_close_is_answered() {
    let server = TestServer::start(config());
    let mut raw = Raw::open(server.address(), "/echo");
    raw.send(&[frame(0x88, b"\x03\xe8"), text("late"), frame(0x89, b"late")].concat());
    raw.send(&vec![0xFF; 100_000]);
    assert_eq!(raw.expect_close(), (1000, String::new()));
}

#[test]
fn a_ping_is_answered_with_its_payload_and_an_unasked_pong_is_ignored() {
    let server = TestServer::start(config());
    let mut raw = Raw::open(server.address(), "/echo");
    for payload in [&b""[..], b"p", &[0xAB; 125]] {
        raw.send(&frame(0x89, payload));
        assert_eq!(raw.frame(), Frame { first: 0x8A, payload: payload.to_vec() });
    }
    raw.send(&[frame(0x8A, b"unasked"), text("next")].concat());
    assert_eq!(raw.frame(), Frame::text("next"));
    // Control frames may stand between fragments.
    raw.send(&[frame(0x01, b"a"), frame(0x89, b"between"), frame(0x8A, b""), frame(0x80, b"b")].concat());
    assert_eq!(raw.frame(), Frame { first: 0x8A, payload: b"between".to_vec() });
    assert_eq!(raw.frame(), Frame::text("ab"));
}

#[test]
fn a_flood_of_pings_is_answered_in_part_and_with_the_newest() {
    let server = TestServer::start(Config { ping_rate: 1 << 20, ..config() });
    let mut raw = Raw::open(server.address(), "/echo");
    let pings: Vec<u8> = (0..1000u16).flat_map(|number| frame(0x89, &number.to_be_bytes())).collect();
    raw.send(&[pings, text("end")].concat());
    let (mut newest, mut ended) = (None, false);
    // The answer to the newest ping may come before or after that to the message behind it.
    while !ended || newest != Some(999) {
        match raw.frame() {
            Frame { first: 0x8A, payload } => {
                let number = u16::from_be_bytes(payload.try_into().unwrap());
                assert!(newest < Some(number), "{number} after {newest:?}");
                newest = Some(number);
            }
            other => {
                assert_eq!(other, Frame::text("end"));
                ended = true;
            }
        }
    }
    raw.round_trip(b"alive");
}

#[test]
fn a_peer_that_is_not_read_from_for_its_rate_and_resets_is_noticed_at_once() {
    let config = Config { message_rate: 1000, rate_grace: Duration::from_secs(600), ..config() };
    let server = TestServer::start(config);
    let mut raw = Raw::open(server.address(), "/rooms/a");
    raw.send(&text("").repeat(18_000));
    // The one who looks is held to the rate, too.
    server.until("a pause", |server| server.counter(Counter::RatePauses) >= 1);
    raw.reset();
    server.until_closes(CloseKind::TransportFailed, 1);
    assert_eq!(server.closes(CloseKind::RateExceeded), 0);
}

#[test]
fn large_messages_come_back_whole() {
    let server = TestServer::start(Config { max_message: 64 << 20, ..config() });
    for (bytes, is_text) in [(1 << 20, true), (1 << 20, false), (16 << 20, false)] {
        let mut socket = dial(server.address(), "/echo");
        let payload: Vec<u8> = (0..251u8).cycle().take(bytes).map(|byte| byte & 0x7F).collect();
        let message = match is_text {
            true => Message::text(String::from_utf8(payload).unwrap()),
            false => Message::binary(payload),
        };
        socket.send(message.clone()).unwrap();
        assert!(next_data(&mut socket) == message, "{bytes} bytes come back as they were");
    }
}

#[test]
fn a_message_of_each_length_class_comes_back_at_every_cut_of_its_header() {
    let server = TestServer::start(config());
    let mut raw = Raw::open(server.address(), "/echo");
    for length in [0, 1, 125, 126, 65_535, 65_536] {
        let payload = vec![0x5A; length];
        let whole = frame(0x82, &payload);
        for cut in 0..=whole.len().min(15) {
            raw.send(&whole[..cut]);
            raw.send(&whole[cut..]);
            assert_eq!(raw.frame(), Frame::binary(&payload));
        }
    }
}
