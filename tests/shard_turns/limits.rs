//! Limits at one below, exactly at, and one above.

use fanfare::endpoint::CloseKind;
use fanfare::shard::{Counter, Settings};

use crate::common::endpoints::{Obedient, Record};
use crate::common::server::TICK;
use crate::common::{Client, Server, binary, settings, text};

/// What one delivery pins, overhead included, as the shard counts it.
fn pinned_by_one_delivery(message: &[u8]) -> usize {
    let mut server = Server::new(1, settings());
    let slow = server.connect(0, "/rooms/a");
    let sender = server.connect(0, "/rooms/a");
    server.socket(slow).room = 0;
    let before = server.counter(Counter::QueuePinnedMax);
    server.feed(sender, message);
    server.turn(0);
    let pinned = server.counter(Counter::QueuePinnedMax);
    assert_eq!(before, 0, "nothing was pinned before");
    server.finish();
    pinned as usize
}

#[test]
fn a_queue_is_cut_when_it_would_pin_more_than_its_limit_and_the_others_do_not_notice() {
    let message = text("a small message");
    let one = pinned_by_one_delivery(&message);
    assert!(one > message.len() + 100, "the overhead counts: {one}");
    for (limit, fit) in [(10 * one - 1, 9), (10 * one, 10), (10 * one + 1, 10)] {
        let mut server = Server::new(1, Settings { queue_bytes_max: limit, ..settings() });
        let slow = server.connect(0, "/rooms/a");
        let fast = server.connect(0, "/rooms/a");
        let sender = server.connect(0, "/rooms/a");
        server.socket(slow).room = 0;
        for number in 1..=12 {
            server.feed(sender, &message);
            server.turn(0);
            let cut = server.closes(CloseKind::QueueOverflow) == 1;
            assert_eq!(cut, number > fit, "limit {limit}, message {number}");
        }
        server.socket(slow).room = usize::MAX;
        server.settle();
        let (code, reason) = server.take_close(slow);
        assert_eq!(code, 1008);
        assert!(reason.contains("slow consumer") && reason.contains(&limit.to_string()), "{reason}");
        assert_eq!(server.take_texts(fast), vec!["a small message"; 12]);
        server.finish();
    }
}

#[test]
fn a_frame_whose_first_bytes_are_out_is_finished_before_the_close_of_a_cut_queue() {
    let message = text("a small message");
    let one = pinned_by_one_delivery(&message);
    let mut server = Server::new(1, Settings { queue_bytes_max: 3 * one, ..settings() });
    let slow = server.connect(0, "/rooms/a");
    let sender = server.connect(0, "/rooms/a");
    server.socket(slow).room = 5;
    for _ in 0..4 {
        server.feed(sender, &message);
        server.turn(0);
    }
    server.socket(slow).room = usize::MAX;
    server.settle();
    let frames = server.take_frames(slow);
    assert_eq!(frames.len(), 2, "{frames:?}");
    assert_eq!(frames[0].payload, b"a small message");
    assert_eq!(frames[1].close().unwrap().0, 1008);
    server.finish();
}

#[test]
fn an_empty_queue_takes_one_message_bigger_than_the_limit() {
    let mut server = Server::new(1, Settings { queue_bytes_max: 4096, ..settings() });
    let slow = server.connect(0, "/rooms/a");
    let sender = server.connect(0, "/rooms/a");
    server.socket(slow).room = 0;
    server.feed(sender, &binary(&[9; 100_000]));
    server.settle();
    assert_eq!(server.closes(CloseKind::QueueOverflow), 0);
    server.feed(sender, &text("one too many"));
    server.settle();
    assert_eq!(server.closes(CloseKind::QueueOverflow), 1);
    server.finish();
}

/// Echoes one message per turn until one more than `messages` have been fed, with nothing taken.
fn unread_replies(high: usize, messages: usize) -> (Server, Client) {
    let mut server = Server::new(1, Settings { reply_bytes_high: high, ..settings() });
    let client = server.connect(0, "/echo");
    server.socket(client).room = 0;
    for _ in 0..messages {
        server.feed(client, &text("0123456789"));
        server.turn(0);
    }
    (server, client)
}

/// Bytes of the echo of [`unread_replies`] on the wire.
const ECHO_BYTES: usize = 12;

#[test]
fn reading_pauses_over_the_high_water_mark_and_resumes_at_half_of_it() {
    let (server, _) = unread_replies(1 << 20, 1);
    let one = server.counter(Counter::QueuePinnedMax) as usize;
    server.finish();
    // (mark, replies that just fit, replies left at which reading resumes)
    for (high, fit, resumes_at) in [(4 * one - 1, 3, 1), (4 * one, 4, 2), (4 * one + 1, 4, 2)] {
        let (mut server, client) = unread_replies(high, fit);
        assert!(server.socket(client).interest.readable, "{fit} replies do not pause at {high}");
        server.feed(client, &text("0123456789"));
        server.turn(0);
        assert!(!server.socket(client).interest.readable, "one more does");
        assert_eq!(server.counter(Counter::ReplyPauses), 1);
        server.feed(client, &text("0123456789"));
        for left in (0..=fit).rev() {
            assert!(!server.socket(client).interest.readable, "{left} left to send at {high}");
            server.socket(client).room = ECHO_BYTES - 1;
            server.turn(0);
            assert!(!server.socket(client).interest.readable, "a part of a reply frees nothing");
            server.socket(client).room = 1;
            server.turn(0);
            if left == resumes_at {
                break;
            }
        }
        assert!(server.socket(client).interest.readable, "it resumes at {resumes_at} of {high}");
        server.socket(client).room = usize::MAX;
        server.settle();
        assert_eq!(server.take_texts(client), vec!["0123456789"; fit + 2]);
        server.finish();
    }
}

#[test]
fn a_connection_may_be_in_as_many_rooms_as_the_limit_says() {
    let limit = settings().memberships_max;
    for (rooms, fits) in [(limit - 1, true), (limit, true), (limit + 1, false)] {
        let record = Record::default();
        let shared = record.clone();
        let mut server = Server::with_endpoint(settings(), move || Obedient::new(shared.clone()));
        let client = server.connect(0, "/test");
        server.feed(client, &text(&format!("joins {rooms}")));
        server.settle();
        if fits {
            assert_eq!(server.counter(Counter::Memberships), rooms as u64);
            assert_eq!(server.take_frames(client), []);
        } else {
            let (code, reason) = server.take_close(client);
            assert_eq!(code, 1008);
            assert!(reason.contains("128 rooms"), "{reason}");
            assert_eq!(server.counter(Counter::Memberships), 0);
            assert_eq!(record.take_closes().len(), 1);
        }
        server.finish();
    }
}

#[test]
fn what_comes_after_our_close_is_dropped_up_to_the_linger_limit() {
    let limit = 1000;
    for (bytes, stopped) in [(limit - 1, false), (limit, false), (limit + 1, true)] {
        for pieces in [1, 7] {
            let mut server =
                Server::with_endpoint(Settings { linger_bytes_max: limit, ..settings() }, || {
                    Obedient::new(Record::default())
                });
            let client = server.connect(0, "/test");
            server.feed(client, &text("close 4000 enough"));
            server.settle();
            assert_eq!(server.take_close(client), (4000, "enough".to_owned()));
            server.socket(client).read_max = bytes.div_ceil(pieces);
            server.feed(client, &vec![0xff; bytes]);
            server.settle();
            assert!(!server.is_closed(client), "it may still be reading our Close");
            assert_eq!(!server.socket(client).interest.readable, stopped, "{bytes} bytes in {pieces} pieces");
            server.advance(settings().close_timeout + TICK);
            assert!(server.is_closed(client));
            server.finish();
        }
    }
}
