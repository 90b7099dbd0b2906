//! Tests of what a connection may hold, and for how long it has held it.

use std::time::Duration;

use super::*;

#[test]
fn the_message_size_is_checked_from_the_header_alone() {
    for limit in [0, 1, 125, 126, 65535, 65536] {
        let limits = Limits { message_bytes_max: limit, ..Limits::default() };
        for size in [limit.saturating_sub(1), limit, limit + 1] {
            let bytes = frame(Opcode::Binary, true, &vec![0; size]);
            let header = &bytes[..bytes.len() - size];
            let mut connection = server();
            let events = feed_at(NOW, &mut connection, header, &limits);
            if size <= limit {
                assert!(!matches!(events.first(), Some(Owned::Failed(_))));
                continue;
            }
            let bytes = size as u64;
            let error = LimitError::MessageTooBig { bytes, limit };
            assert_eq!(events, [failed(error)]);
            assert_eq!(connection.heap_bytes(), 0);
        }
    }
}

#[test]
fn announced_lengths_neither_overflow_nor_allocate() {
    let limit = Limits::default().message_bytes_max;
    let lengths = [(1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 63) - 1_u64];
    for length in lengths {
        let events = events_of(server, &announced(0x82, length), &Limits::default());
        let bytes = length;
        let error = LimitError::MessageTooBig { bytes, limit };
        assert_eq!(events, [failed(error)]);

        let mut bytes = frame(Opcode::Binary, false, b"four");
        bytes.extend(announced(0x80, length));
        let bytes = events_of(server, &bytes, &Limits::default());
        let error = LimitError::MessageTooBig { bytes: length + 4, limit };
        assert_eq!(bytes, [failed(error)]);
    }
    for length in [1 << 63, u64::MAX] {
        let events = events_of(server, &announced(0x82, length), &Limits::default());
        assert_eq!(events, [failed(ProtocolError::LengthTopBit)]);
    }
    let mut nothing_bigger = server();
    let limits = Limits { message_bytes_max: usize::MAX, ..Limits::default() };
    let huge = announced(0x82, (1 << 63) - 1);
    assert_eq!(feed_at(NOW, &mut nothing_bigger, &huge, &limits), []);
    assert_eq!(feed_at(NOW, &mut nothing_bigger, b"abc", &limits), []);
    assert!(nothing_bigger.heap_bytes() < 5000);
}

#[test]
fn the_size_limit_holds_for_all_fragments_together() {
    let limits = Limits { message_bytes_max: 10, ..Limits::default() };
    for (last, allowed) in [(4, true), (5, true), (6, false)] {
        let bytes = frames(&[
            (Opcode::Binary, false, &[1; 5]),
            (Opcode::Ping, true, &[2; 100]),
            (Opcode::Continuation, true, &[1; 6][..last]),
        ]);
        let outcome = match allowed {
            true => Owned::Binary(vec![1; 5 + last]),
            false => failed(LimitError::MessageTooBig { bytes: 11, limit: 10 }),
        };
        let expected = [Owned::Ping(vec![2; 100]), outcome];
        assert_eq!(events_of(server, &bytes, &limits), expected);
    }
}

#[test]
fn fragments_are_counted_even_when_empty() {
    let limits = Limits { fragments_max: 3, ..Limits::default() };
    for (count, allowed) in [(2, true), (3, true), (4, false)] {
        let mut bytes = frame(Opcode::Binary, false, b"");
        for index in 1..count {
            bytes.extend(frame(Opcode::Pong, true, b""));
            bytes.extend(frame(Opcode::Continuation, index + 1 == count, b""));
        }
        let events = events_of(server, &bytes, &limits);
        let last = match allowed {
            true => Owned::Binary(Vec::new()),
            false => failed(LimitError::TooManyFragments { limit: 3 }),
        };
        assert_eq!(events.last(), Some(&last));
    }
    // The count begins anew with each message.
    let one = frames(&[(Opcode::Text, false, b"a"), (Opcode::Continuation, true, b"b")]);
    let events = events_of(server, &one.repeat(3), &limits);
    assert_eq!(events, vec![Owned::Text("ab".to_owned()); 3]);
}

#[test]
fn the_bytes_of_a_message_can_be_taken_over_if_they_are_not_in_the_input() {
    for (fin, cut) in [(true, 5), (true, 9), (false, 9)] {
        let mut bytes = frame(Opcode::Binary, fin, &[7; 20]);
        if !fin {
            bytes.extend(frame(Opcode::Continuation, true, &[7; 20]));
        }
        let expected = vec![7; if fin { 20 } else { 40 }];
        let mut connection = server();
        assert_eq!(feed(&mut connection, &bytes[..cut]), []);
        let mut rest = bytes.split_off(cut);
        let mut input = Input::new(&mut rest);
        let event = connection.next_event(NOW, &mut input, &Limits::default());
        assert_eq!(event.map(Owned::from), Some(Owned::Binary(expected.clone())));
        // A frame whose payload came in one piece lies where it came.
        let taken = if cut == 5 { Vec::new() } else { expected };
        assert_eq!(connection.take_message(), taken);
        assert!(connection.take_message().is_empty(), "it is taken once");
        assert_eq!(
            feed(&mut connection, &frame(Opcode::Ping, true, b"next")),
            [Owned::Ping(b"next".to_vec())]
        );
        assert_eq!((connection.heap_bytes(), connection.message_started()), (0, None));
    }
}

#[test]
fn nothing_is_held_after_each_message() {
    let messages = [
        frame(Opcode::Text, true, b"hello"),
        frame(Opcode::Ping, true, b"hello"),
        frame(Opcode::Binary, true, &[0; 70_000]),
        frames(&[
            (Opcode::Text, false, b"a"),
            (Opcode::Ping, true, b"p"),
            (Opcode::Continuation, true, b"b"),
        ]),
    ];
    for (bytes, closing) in messages.iter().flat_map(|bytes| [(bytes, false), (bytes, true)]) {
        for cut in (0..=bytes.len()).step_by(1 + bytes.len() / 50) {
            let mut connection = server();
            if closing {
                connection.close_sent();
            }
            feed(&mut connection, &bytes[..cut]);
            let pending = cut > 0 && cut < bytes.len();
            assert_eq!(connection.heap_bytes() > 0, pending, "cut at {cut}");
            assert_eq!(connection.message_started().is_some(), pending);
            feed(&mut connection, &bytes[cut..]);
            assert_eq!(connection.heap_bytes(), 0, "cut at {cut}");
            assert_eq!(connection.message_started(), None);
        }
    }
}

#[test]
fn the_buffer_follows_what_arrived_not_what_was_announced() {
    let bytes = frame(Opcode::Binary, true, &vec![1; 1024 * 1024]);
    let mut connection = server();
    let mut arrived = 0;
    for chunk in bytes[..bytes.len() - 1].chunks(1500) {
        feed(&mut connection, chunk);
        arrived += chunk.len();
        let bound = arrived + arrived / 4 + 4096;
        assert!(connection.heap_bytes() <= bound, "{arrived} arrived");
    }
    let total = bytes.len() + 4096;
    assert!(connection.heap_bytes() <= total, "capped by the known total");
}

#[test]
fn a_deadline_counts_from_the_first_byte_of_the_message() {
    let limits = Limits::default();
    let mut connection = server();
    let mut at = |seconds: u64, bytes: &[u8]| {
        let now = NOW + Duration::from_secs(seconds);
        feed_at(now, &mut connection, bytes, &limits);
        connection.message_started()
    };
    let started = |seconds: u64| Some(NOW + Duration::from_secs(seconds));
    let first = frame(Opcode::Text, false, b"abc");
    assert_eq!(at(1, &first[..1]), started(1), "a cut header");
    assert_eq!(at(2, &first[1..8]), started(1));
    assert_eq!(at(3, &first[8..]), started(1), "between fragments");
    let ping = frame(Opcode::Ping, true, b"abc");
    assert_eq!(at(4, &ping), started(1));
    assert_eq!(at(5, &ping[..7]), started(1), "a cut control frame");
    assert_eq!(at(6, &ping[7..]), started(1));
    assert_eq!(at(7, &frame(Opcode::Continuation, true, b"")), None);
    assert_eq!(at(8, &ping[..7]), started(8), "a lone control frame");
    let mut rest = ping[7..].to_vec();
    rest.extend(&first);
    assert_eq!(at(9, &rest), started(9), "the message after it");
}
