//! Limits at one below, exactly at, and one above.

use fanfare::Config;
use fanfare::endpoint::{CloseKind, RouterPlan};
use fanfare::shard::{Counter, Settings};

use crate::common::endpoints::{Obedient, Record};
use crate::common::server::TICK;
use crate::common::{Client, Server, binary, settings, split_response, text};

/// One shard whose rooms hold so many messages.
fn remembering(messages: u64) -> Server {
    let config = Config { history_messages: messages, ..Config::default() };
    let rooms = config.room_settings();
    Server::with_rooms(1, settings(), config.mailbox_bytes, RouterPlan::default(), rooms)
}

#[test]
fn a_member_is_cut_when_the_window_has_left_it_behind_and_the_others_do_not_notice() {
    let message = text("a small message");
    for (held, cut) in [(9, true), (10, false), (11, false)] {
        let mut server = remembering(held);
        let slow = server.connect(0, "/rooms/a");
        let fast = server.connect(0, "/rooms/a");
        let sender = server.connect(0, "/rooms/a");
        server.socket(slow).room = 0;
        for _ in 0..10 {
            server.feed(sender, &message);
            server.turn(0);
        }
        assert_eq!(server.counter(Counter::QueuePinnedMax), 0, "what it has not got is not its own");
        server.socket(slow).room = usize::MAX;
        server.settle();
        assert_eq!(server.closes(CloseKind::OutOfWindow), u64::from(cut), "{held}");
        assert_eq!(server.counter(Counter::CutOutOfWindow), u64::from(cut));
        if cut {
            let (code, reason) = server.take_close(slow);
            assert_eq!(code, 1008);
            assert!(reason.contains("slow consumer") && reason.ends_with(":0 in room a"), "{reason}");
        } else {
            assert_eq!(server.take_texts(slow), vec!["a small message"; 10]);
        }
        assert_eq!(server.take_texts(fast), vec!["a small message"; 10]);
        server.finish();
    }
}

#[test]
fn a_frame_whose_first_bytes_are_out_is_finished_before_the_close() {
    let mut server = remembering(3);
    let slow = server.connect(0, "/rooms/a");
    let sender = server.connect(0, "/rooms/a");
    server.socket(slow).room = 5;
    for _ in 0..5 {
        server.feed(sender, &text("a small message"));
        server.turn(0);
    }
    server.socket(slow).room = usize::MAX;
    server.settle();
    let frames = server.take_frames(slow);
    assert_eq!(frames.len(), 2, "{frames:?}");
    assert_eq!(frames[0].payload, b"a small message");
    let (code, reason) = frames[1].close().unwrap();
    assert_eq!(code, 1008);
    assert!(reason.ends_with(":1 in room a"), "the whole frame counts as sent: {reason}");
    server.finish();
}

#[test]
fn a_message_bigger_than_the_window_waits_for_a_slow_member() {
    let config = Config { history_bytes: 4096, ..Config::default() };
    let rooms = config.room_settings();
    let plan = RouterPlan::default();
    let mut server = Server::with_rooms(1, settings(), config.mailbox_bytes, plan, rooms);
    let slow = server.connect(0, "/rooms/a");
    let sender = server.connect(0, "/rooms/a");
    for (next, cut) in [("the newest stays", 0), ("one too many", 1)] {
        server.socket(slow).room = 0;
        server.feed(sender, &binary(&[9; 100_000]));
        server.turn(0);
        if cut > 0 {
            server.feed(sender, &text(next));
            server.turn(0);
        }
        server.socket(slow).room = usize::MAX;
        server.settle();
        assert_eq!(server.closes(CloseKind::OutOfWindow), cut, "{next}");
    }
    assert_eq!(server.take_frames(slow)[0].payload, [9; 100_000]);
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

#[test]
fn a_member_behind_more_messages_of_its_own_than_one_read_of_the_window_gets_what_follows() {
    let config = Config { history_bytes: 16 << 20, ..Config::default() };
    let rooms = config.room_settings();
    let plan = RouterPlan::default();
    let mut server = Server::with_rooms(1, settings(), config.mailbox_bytes, plan, rooms);
    let slow = server.connect(0, "/rooms/a");
    let other = server.connect(0, "/rooms/a");
    server.socket(slow).room = 0;
    server.feed(other, &text("blocks"));
    server.settle();
    for _ in 0..10 {
        server.feed(slow, &binary(&[1; 100_000]));
        server.settle();
    }
    server.feed(other, &text("follows"));
    server.settle();
    server.socket(slow).room = usize::MAX;
    server.settle();
    assert_eq!(server.take_texts(slow), ["blocks", "follows"]);
    server.finish();
}

#[test]
fn histories_are_refused_while_too_much_of_http_answers_is_not_taken() {
    let ask = b"GET /rooms/a HTTP/1.1\r\nHost: test\r\n\r\n";
    let publish = b"POST /rooms/a HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello";
    let pinned_by_two = {
        let mut server = Server::new(1, settings());
        let client = server.adopt(0);
        server.feed(client, publish);
        server.settle();
        server.socket(client).room = 0;
        server.feed(client, &[&ask[..], ask].concat());
        server.settle();
        let pinned = server.counter(Counter::QueuePinnedMax) as usize;
        server.finish();
        pinned
    };
    for (limit, status) in [(pinned_by_two - 1, 503), (pinned_by_two, 200), (pinned_by_two + 1, 200)] {
        let mut server = Server::new(1, Settings { http_bytes_max: limit, ..settings() });
        let slow = server.adopt(0);
        server.feed(slow, publish);
        server.settle();
        server.socket(slow).room = 0;
        server.feed(slow, &[&ask[..], ask].concat());
        server.settle();
        let other = server.adopt(0);
        server.feed(other, ask);
        server.settle();
        assert_eq!(split_response(&server.take_output(other)).0, status, "{limit}");
        for (call, bounded) in [
            (
                "POST /api/history HTTP/1.1\r\nHost: test\r\nContent-Length: 25\r\n\r\n{\"channel\":\"a\",\"limit\":1}",
                true,
            ),
            ("POST /api/info HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n{}", false),
        ] {
            server.feed(other, call.as_bytes());
            server.settle();
            let answer = String::from_utf8(server.take_output(other)).unwrap();
            assert_eq!(answer.contains("--http-bytes"), bounded && status == 503, "{limit}: {answer}");
            assert_eq!(answer.contains("\"code\":111"), bounded && status == 503, "{limit}: {answer}");
        }
        server.socket(slow).room = usize::MAX;
        server.settle();
        server.feed(other, ask);
        server.settle();
        assert_eq!(split_response(&server.take_output(other)).0, 200, "they are taken: {limit}");
        server.finish();
    }
}

#[test]
fn a_history_ends_where_its_answer_is_long_enough_however_it_is_escaped() {
    for byte in [b'a', 1] {
        let mut server = Server::new(1, settings());
        let client = server.adopt(0);
        let head = "POST /rooms/a HTTP/1.1\r\nHost: test\r\nContent-Length: 20000\r\n\r\n";
        for _ in 0..30 {
            server.feed(client, &[head.as_bytes(), &[byte; 20_000]].concat());
            server.settle();
        }
        server.take_output(client);
        server.feed(client, b"GET /rooms/a HTTP/1.1\r\nHost: test\r\n\r\n");
        server.settle();
        let answer = String::from_utf8(server.take_output(client)).unwrap();
        assert!(answer.contains("\"more\":true"));
        assert!((200 << 10..450 << 10).contains(&answer.len()), "{}", answer.len());
        server.finish();
    }
}
