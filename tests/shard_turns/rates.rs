//! How fast a peer may send: who is over a rate is not read from for a while, loses nothing, is not blamed
//! for our pause, and is closed if it goes on.

use std::time::Duration;

use fanfare::config::Config;
use fanfare::endpoint::{CloseKind, RouterPlan};
use fanfare::protocol::{Limits, Opcode};
use fanfare::shard::{Counter, RateLimits, Settings};

use crate::common::server::TICK;
use crate::common::{Client, Frame, Server, binary, ping, pong, settings, split_response, text};

const GRACE: Duration = Duration::from_secs(10);

fn rates(messages: u32, bytes: u64) -> Settings {
    let rates = RateLimits { messages, bytes, pings: 50, grace: GRACE };
    Settings { rates, ..settings() }
}

/// Rates that no test of the other rate meets.
const MANY: u32 = 1 << 20;
const MUCH: u64 = 1 << 40;

fn is_read_from(server: &Server, client: Client) -> bool {
    server.socket(client).interest.readable
}

/// A member that feeds `each` and lets a tenth of a second pass, again and again.
fn flood(server: &mut Server, client: Client, each: &[u8], tenths: usize) {
    for _ in 0..tenths {
        server.feed(client, each);
        server.advance(Duration::from_millis(100));
    }
}

#[test]
fn a_second_of_messages_passes_at_once_and_one_more_is_a_pause() {
    for (count, pauses) in [(99, 0), (100, 0), (101, 1)] {
        let mut server = Server::new(1, rates(100, MUCH));
        let client = server.connect(0, "/echo");
        // The request of the handshake counted as one.
        server.advance(Duration::from_secs(1));
        server.feed(client, &text("m").repeat(count));
        server.settle();
        assert_eq!(server.take_texts(client).len(), count, "what was read is answered");
        assert_eq!(server.counter(Counter::RatePauses), pauses, "{count}");
        assert_eq!(is_read_from(&server, client), pauses == 0, "{count}");
        server.finish();
    }
}

#[test]
fn the_defaults_are_what_the_flags_say() {
    let defaults = Config::default().settings().rates;
    let RateLimits { messages, bytes, pings, grace } = defaults;
    assert_eq!((messages, bytes, pings, grace), (20_000, 64 << 20, 50, Duration::from_secs(10)));
    for (count, pauses) in [(19_999, 0), (20_000, 0), (20_001, 1)] {
        let mut server = Server::new(1, settings());
        let client = server.connect(0, "/rooms/a");
        server.advance(Duration::from_secs(1));
        server.feed(client, &text("").repeat(count));
        server.settle();
        assert_eq!(server.counter(Counter::RatePauses), pauses, "{count}");
        server.finish();
    }
}

#[test]
fn a_second_of_bytes_passes_at_once_and_one_more_is_a_pause() {
    const BYTES: usize = 64 << 10;
    for (extra, pauses) in [(-1, 0), (0, 0), (1, 1)] {
        let mut server = Server::new(1, rates(MANY, BYTES as u64));
        let client = server.connect(0, "/echo");
        server.advance(Duration::from_secs(1));
        let frame = binary(&vec![0; BYTES - 8]);
        assert_eq!(frame.len(), BYTES);
        let more = binary(b"");
        // A frame of the limit, cut short or with the first byte of the next one behind it.
        let sent = [&frame[..], &more].concat();
        let cut = BYTES.checked_add_signed(extra).unwrap();
        server.feed(client, &sent[..cut]);
        server.settle();
        assert_eq!(server.counter(Counter::RatePauses), pauses, "{extra}");
        server.feed(client, &sent[cut..]);
        server.advance(Duration::from_secs(2));
        assert_eq!(server.take_frames(client).len(), 2, "{extra}: nothing is lost");
        server.finish();
    }
}

#[test]
fn a_message_larger_than_the_bucket_passes_and_nothing_behind_it_is_lost() {
    let limits = Limits { message_bytes_max: 1 << 20, ..Limits::default() };
    let mut server = Server::new(1, Settings { limits, ..rates(MANY, 200 << 10) });
    let client = server.connect(0, "/rooms/a?echo=true");
    let large = vec![7; 1 << 20];
    server.feed(client, &binary(&large));
    server.feed(client, &text("behind it"));
    server.settle();
    assert!(!is_read_from(&server, client));
    assert_eq!(server.take_frames(client), [], "it is not read to its end yet");
    // A MiB at 200 KiB a second takes some four seconds beside the first one.
    server.advance(Duration::from_secs(3));
    let mut seen = Vec::new();
    for _ in 0..40 {
        server.advance(Duration::from_millis(100));
        seen.extend(server.take_frames(client));
    }
    assert_eq!(seen, [Frame::binary(&large), Frame::text("behind it")]);
    assert_eq!(server.closes(CloseKind::RateExceeded), 0);
    server.finish();
}

#[test]
fn reading_goes_on_when_the_debt_is_paid_to_within_a_tick() {
    let mut server = Server::new(1, rates(100, MUCH));
    let client = server.connect(0, "/echo");
    server.advance(Duration::from_secs(1));
    server.feed(client, &text("m").repeat(150));
    server.settle();
    server.take_output(client);
    server.feed(client, &text("next"));
    server.advance(Duration::from_millis(500) - Duration::from_nanos(1));
    assert_eq!(server.take_texts(client), [] as [&str; 0]);
    server.advance(TICK + Duration::from_nanos(1));
    assert_eq!(server.take_texts(client), ["next"]);
    server.finish();
}

#[test]
fn who_goes_on_for_the_whole_grace_is_closed_with_the_flag_that_decides() {
    let (small, large) = (text("m").repeat(30), binary(&[0; 30 << 10]));
    for (settings, each, reason) in [
        (rates(100, MUCH), &small, "over 100 messages a second (--message-rate) for 10s (--rate-grace)"),
        (rates(MANY, 100 << 10), &large, "over 102400 bytes a second (--byte-rate) for 10s (--rate-grace)"),
    ] {
        let mut server = Server::new(1, settings);
        let client = server.connect(0, "/rooms/a");
        // 300 of 100 a second, for as long as they may and about a second of the bucket.
        flood(&mut server, client, each, 90);
        assert_eq!(server.closes(CloseKind::RateExceeded), 0, "{reason}");
        flood(&mut server, client, each, 30);
        assert_eq!(server.take_close(client), (1008, reason.to_owned()));
        assert_eq!(server.closes(CloseKind::RateExceeded), 1);
        assert!(server.counter(Counter::RatePauses) > 1, "it was read from now and then");
        server.finish();
    }
}

#[test]
fn who_stays_in_debt_for_the_whole_grace_is_closed_although_it_sends_nothing_more() {
    let mut server = Server::new(1, rates(100, MUCH));
    let client = server.connect(0, "/rooms/a");
    server.feed(client, &text("m").repeat(2000));
    server.settle();
    server.advance(GRACE - Duration::from_nanos(1));
    assert_eq!(server.closes(CloseKind::RateExceeded), 0);
    server.advance(TICK);
    assert_eq!(server.take_close(client).0, 1008);
    assert_eq!(server.closes(CloseKind::RateExceeded), 1);
    server.finish();
}

#[test]
fn bursts_with_rests_between_them_are_never_closed() {
    let mut server = Server::new(1, rates(100, MUCH));
    let client = server.connect(0, "/rooms/a");
    for _ in 0..20 {
        server.feed(client, &text("m").repeat(190));
        // The debt is paid after 0.9 s, and the bucket full after another second.
        server.advance(Duration::from_secs(2));
    }
    assert_eq!(server.counter(Counter::RatePauses), 20);
    assert_eq!(server.counter(Counter::MessagesIn), 20 * 190);
    assert_eq!(server.closes(CloseKind::RateExceeded), 0);
    server.finish();
}

#[test]
fn a_pause_of_ours_is_no_silence_and_no_slowness_of_the_peer() {
    let grace = Duration::from_secs(3600);
    let rates = RateLimits { messages: 10, bytes: MUCH, pings: 50, grace };
    let mut server = Server::new(1, Settings { rates, ..settings() });
    let client = server.connect(0, "/rooms/a");
    // Two minutes of messages, and the beginning of one more.
    server.feed(client, &[text("m").repeat(1200), text("cut")[..3].to_vec()].concat());
    server.settle();
    for _ in 0..110 {
        server.advance(Duration::from_secs(1));
    }
    assert_eq!(server.take_frames(client), [], "who is not heard is not asked for a sign of life");
    assert!(!is_read_from(&server, client));
    for _ in 0..20 {
        server.advance(Duration::from_secs(1));
    }
    assert!(is_read_from(&server, client));
    server.feed(client, &text("cut")[3..]);
    server.settle();
    assert_eq!(server.counter(Counter::MessagesIn), 1201);
    for kind in [CloseKind::HeartbeatTimeout, CloseKind::MessageTimeout, CloseKind::RateExceeded] {
        assert_eq!(server.closes(kind), 0, "{kind:?}");
    }
    server.finish();
}

#[test]
fn a_paused_peer_that_hangs_up_is_noticed() {
    // A reset at once, the end of its stream when reading goes on.
    for reset in [true, false] {
        let mut server = Server::new(1, rates(100, MUCH));
        let client = server.connect(0, "/rooms/a");
        server.feed(client, &text("m").repeat(300));
        server.settle();
        assert!(!is_read_from(&server, client));
        server.socket(client).hung_up = reset;
        server.socket(client).eof = true;
        server.settle();
        assert_eq!(server.is_closed(client), reset);
        server.advance(Duration::from_secs(2) + TICK);
        assert!(server.is_closed(client));
        let kind = if reset { CloseKind::TransportFailed } else { CloseKind::PeerGone };
        assert_eq!(server.closes(kind), 1);
        server.finish();
    }
}

#[test]
fn so_many_pings_and_pongs_together_and_one_more_is_the_end() {
    for (count, ends) in [(49, false), (50, false), (51, true)] {
        let mut server = Server::new(1, settings());
        let client = server.connect(0, "/echo");
        for number in 0..count {
            server.feed(client, &if number % 2 == 0 { ping(b"?") } else { pong(b"!") });
        }
        server.settle();
        assert_eq!(server.closes(CloseKind::RateExceeded), u64::from(ends), "{count}");
        if ends {
            let reason = "over 50 pings and pongs a second (--ping-rate)";
            assert_eq!(server.take_close(client), (1008, reason.to_owned()));
        } else {
            assert!(server.take_frames(client).iter().all(|frame| frame.opcode == Opcode::Pong));
            // As many again after a second.
            server.advance(Duration::from_secs(1));
            server.feed(client, &pong(b"").repeat(50));
            server.settle();
            assert_eq!(server.closes(CloseKind::RateExceeded), 0);
        }
        server.finish();
    }
}

#[test]
fn requests_on_a_kept_connection_count_as_messages() {
    let get = b"GET /rooms HTTP/1.1\r\nHost: test\r\n\r\n";
    for (count, pauses) in [(99, 0), (100, 0), (101, 1)] {
        let mut server = Server::new(1, rates(100, MUCH));
        let client = server.adopt(0);
        server.feed(client, &get.repeat(count));
        server.settle();
        assert_eq!(server.counter(Counter::HttpRequests), count as u64);
        assert_eq!(server.counter(Counter::RatePauses), pauses, "{count}");
        assert_eq!(is_read_from(&server, client), pauses == 0);
        // Its time between two requests goes on, and it is served again.
        server.take_output(client);
        server.advance(Duration::from_secs(2));
        server.feed(client, get);
        server.settle();
        assert_eq!(split_response(&server.take_output(client)).0, 200);
        server.finish();
    }
}

#[test]
fn who_floods_with_requests_is_answered_all_of_them_and_then_429_to_the_one_it_is_in() {
    let get = b"GET /rooms HTTP/1.1\r\nHost: test\r\n\r\n";
    let mut server = Server::new(1, rates(10, MUCH));
    let client = server.adopt(0);
    server.feed(client, &get.repeat(200));
    server.feed(client, &get[..20]);
    server.settle();
    assert_eq!(server.counter(Counter::HttpRequests), 200);
    server.take_output(client);
    for _ in 0..11 {
        server.advance(Duration::from_secs(1));
    }
    assert_eq!(server.closes(CloseKind::RateExceeded), 1);
    let output = server.take_output(client);
    let (status, body) = split_response(&output);
    let body = String::from_utf8_lossy(body);
    assert_eq!(status, 429);
    assert!(body.contains("--message-rate") && body.contains("--rate-grace"), "{body}");
    assert!(String::from_utf8_lossy(&output).contains("\r\nRetry-After: 5\r\n"));
    server.finish();
}

#[test]
fn a_reader_of_events_that_sends_is_held_to_the_rate_of_bytes() {
    let mut server = Server::new(1, rates(MANY, 64 << 10));
    let client = server.adopt(0);
    server.feed(client, b"GET /rooms/a/events HTTP/1.1\r\nHost: test\r\n\r\n");
    server.settle();
    flood(&mut server, client, &[b'x'; 20 << 10], 150);
    assert_eq!(server.closes(CloseKind::RateExceeded), 1);
    let output = String::from_utf8(server.take_output(client)).unwrap();
    assert!(output.contains("event: close") && output.contains("--byte-rate"), "{output}");
    server.finish();
}

#[test]
fn what_comes_after_the_end_is_not_charged() {
    let mut server = Server::new(1, rates(10, MUCH));
    let client = server.connect(0, "/echo");
    server.feed(client, b"\x81\x00");
    server.settle();
    server.feed(client, &text("late").repeat(1000));
    server.settle();
    assert_eq!(server.counter(Counter::RatePauses), 0);
    assert_eq!(server.closes(CloseKind::RateExceeded), 0);
    assert_eq!(server.take_close(client).0, 1002);
    server.socket(client).eof = true;
    server.settle();
    assert!(server.is_closed(client));
    server.finish();
}

#[test]
fn a_publisher_that_is_paused_for_two_reasons_goes_on_when_both_are_over() {
    let mut server = Server::with(2, rates(100, MUCH), 64 << 10, RouterPlan::default());
    let publisher = server.connect(0, "/rooms/a");
    let member = server.connect(1, "/rooms/a");
    server.feed(publisher, &binary(&[1; 500]).repeat(200));
    // The other shard takes nothing yet: its inbox is full.
    server.turn(0);
    server.turn(0);
    assert_eq!(server.counter(Counter::PublisherPauses), 1);
    assert_eq!(server.counter(Counter::RatePauses), 1);
    server.settle();
    assert!(!is_read_from(&server, publisher), "the inbox has drained, the debt is not paid");
    server.advance(Duration::from_secs(2));
    assert!(is_read_from(&server, publisher));
    assert_eq!(server.take_frames(member).len(), 200);
    server.finish();
}
