//! Messages that are their own answers: where they lie, and what stays together.

use super::*;

/// The payloads that a queue would send next, of frames that nothing precedes.
fn slices(queue: &Outbound, arena: &SendArena) -> Vec<(*const u8, usize)> {
    let mut slices = [IoSlice::new(&[]); SLICES_PER_SEND];
    let filled = queue.gather(arena, &mut slices);
    slices[..filled].iter().map(|slice| (slice.as_ptr(), slice.len())).collect()
}

#[test]
fn a_long_message_that_is_its_own_answer_stays_where_it_lies() {
    for bytes in [LOAN_BYTES_MIN - 1, LOAN_BYTES_MIN, 300 << 10] {
        let header = encode_server_header(Opcode::Binary, true, bytes);
        let lent = bytes >= LOAN_BYTES_MIN;
        let (mut arena, mut queue) = (SendArena::new(bytes), Outbound::default());
        let buffer = arena.take_receive_buffer();
        let place = buffer.as_ptr();
        arena.offer(&buffer, |_| Some(Place::Received(0)));
        for _ in 0..2 {
            queue.push_message(&mut arena, Opcode::Binary, &buffer);
        }
        // A part of it is another message.
        queue.push_message(&mut arena, Opcode::Binary, &buffer[1..]);
        assert!(!arena.end_offer());
        assert_eq!(arena.return_receive_buffer(buffer), lent);
        let found = slices(&queue, &arena).iter().filter(|slice| **slice == (place, bytes)).count();
        assert_eq!(found, if lent { 2 } else { 0 }, "{bytes}");
        queue.clear(&mut arena);

        let message = vec![7; bytes];
        let place = message.as_ptr();
        arena.offer(&message, |_| Some(Place::Own));
        for _ in 0..2 {
            queue.push_message(&mut arena, Opcode::Binary, &message);
        }
        let pinned = queue.pinned_reply_bytes();
        assert!(pinned > 2 * bytes);
        assert_eq!(arena.end_offer(), lent);
        queue.take_over(&mut arena, message);
        assert_eq!(queue.pinned_reply_bytes(), pinned, "it was counted before it was there");
        let found = slices(&queue, &arena).iter().filter(|slice| **slice == (place, bytes)).count();
        assert_eq!(found, usize::from(lent), "once, and a copy");
        let frame = [&header[..], &vec![7; bytes]].concat();
        assert_eq!(send(&mut queue, &mut arena, usize::MAX), frame.repeat(2));
        assert_eq!((arena.in_use(), queue.pinned_bytes()), ((0, 0), 0));
    }
}

#[test]
fn nothing_comes_between_a_header_that_is_out_and_its_payload() {
    let message = vec![7; LOAN_BYTES_MIN];
    let header = encode_server_header(Opcode::Binary, true, message.len());
    for drops in [false, true] {
        let (mut arena, mut queue) = (SendArena::default(), Outbound::default());
        arena.offer(&message, |_| Some(Place::Own));
        queue.push_message(&mut arena, Opcode::Binary, &message);
        assert!(arena.end_offer());
        queue.take_over(&mut arena, message.clone());
        assert_eq!(send(&mut queue, &mut arena, header.len()), *header);
        queue.push_ping();
        queue.push_reply(&mut arena, 0, |out| out.extend_from_slice(b"reply"));
        queue.settle(&mut arena);
        if drops {
            queue.drop_unstarted(&mut arena);
        }
        let rest: &[u8] = if drops { b"" } else { b"\x89\0reply" };
        assert_eq!(send(&mut queue, &mut arena, usize::MAX), [&message, rest].concat());
        assert_eq!((arena.in_use(), queue.pinned_bytes()), ((0, 0), 0));
    }
}
