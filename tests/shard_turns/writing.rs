//! What leaves: short writes, control frames at frame boundaries, one pong for a million pings.

use std::sync::Arc;

use fanfare::endpoint::{Accept, Effects, Endpoint, OpenRequest, OwnMessages, RouterPlan};
use fanfare::protocol::{Message, Opcode, Refusal};
use fanfare::rooms::{HistoryLimits, RoomName, RoomSettings};
use fanfare::shard::{Counter, RateLimits, Settings};
use fanfare::{Config, ConnectionId};

use crate::common::{Client, Frame, Server, binary, ping, settings, text};

/// Lets the kernel take `step` bytes a turn until everything is out.
fn trickle(server: &mut Server, client: Client, step: usize) {
    loop {
        let before = server.socket(client).output.len();
        server.socket(client).room = step;
        server.settle();
        if server.socket(client).output.len() == before {
            return;
        }
    }
}

/// Settings that do not hold a peer to a rate of pings.
fn any_pings() -> Settings {
    let settings = settings();
    Settings { rates: RateLimits { pings: u32::MAX, ..settings.rates }, ..settings }
}

#[test]
fn a_short_write_at_every_byte_resumes_exactly() {
    let payloads = ["first".to_owned(), "x".repeat(200), "third".to_owned()];
    let sent: usize = payloads.iter().map(|payload| payload.len() + 4).sum();
    for cut in 0..sent {
        for step in [1, 50, usize::MAX] {
            let mut server = Server::new(1, settings());
            let echo = server.connect(0, "/echo");
            let member = server.connect(0, "/rooms/a");
            let sender = server.connect(0, "/rooms/a");
            for client in [echo, member] {
                server.socket(client).room = cut;
            }
            for payload in &payloads {
                server.feed(echo, &text(payload));
                server.feed(sender, &text(payload));
                server.turn(0);
            }
            for client in [echo, member] {
                assert_eq!(server.socket(client).output.len(), cut.min(sent - 4));
                trickle(&mut server, client, step);
                assert_eq!(server.take_texts(client), payloads, "cut at {cut}, then {step}");
            }
            server.finish();
        }
    }
}

#[test]
fn long_echoes_of_one_turn_do_not_mix_however_they_are_read_and_taken() {
    const LENGTHS: [usize; 4] = [10 << 10, 5, 70_000, 8 << 10];
    let message = |client: usize, number: usize| vec![(client * 16 + number) as u8; LENGTHS[number]];
    let header = 4;
    for read_max in [usize::MAX, 9000, 65_000] {
        for room in [0, 2, header, header + 1, 5000, header + LENGTHS[0], 20_000, usize::MAX] {
            let mut server = Server::new(1, settings());
            let clients = [0; 3].map(|_| server.connect(0, "/echo"));
            for (at, client) in clients.into_iter().enumerate() {
                server.socket(client).room = room;
                server.socket(client).read_max = read_max;
                for number in 0..LENGTHS.len() {
                    server.feed(client, &binary(&message(at, number)));
                    server.feed(client, &ping(&[number as u8]));
                }
            }
            server.turn(0);
            for (at, client) in clients.into_iter().enumerate() {
                if read_max == usize::MAX && room == usize::MAX {
                    assert_eq!(server.socket(client).calls.send, 2, "the response, and all echoes");
                }
                trickle(&mut server, client, 30_000);
                let mut frames = server.take_frames(client);
                frames.retain(|frame| frame.opcode != Opcode::Pong);
                let expected: Vec<Frame> =
                    (0..LENGTHS.len()).map(|number| Frame::binary(&message(at, number))).collect();
                assert_eq!(frames, expected, "{read_max} a read, room for {room}");
            }
            server.finish();
        }
    }
}

#[test]
fn writability_is_watched_only_while_bytes_wait() {
    let mut server = Server::new(1, settings());
    let client = server.connect(0, "/echo");
    assert!(!server.socket(client).interest.writable);
    server.socket(client).room = 3;
    server.feed(client, &text("hello"));
    server.turn(0);
    assert!(server.socket(client).interest.writable);
    let sends = server.socket(client).calls.send;
    server.turn(0);
    assert_eq!(server.socket(client).calls.send, sends, "it is not tried before there is room");
    server.socket(client).room = usize::MAX;
    server.turn(0);
    assert!(!server.socket(client).interest.writable);
    assert_eq!(server.take_texts(client), ["hello"]);
    server.finish();
}

#[test]
fn a_pong_jumps_ahead_of_queued_data_but_never_into_a_frame() {
    let data = "y".repeat(40);
    for cut in 0..=42 {
        let mut server = Server::new(1, settings());
        let client = server.connect(0, "/rooms/a");
        let sender = server.connect(0, "/rooms/a");
        server.socket(client).room = cut;
        for _ in 0..3 {
            server.feed(sender, &text(&data));
            server.turn(0);
        }
        server.feed(client, &ping(b"old"));
        server.turn(0);
        server.feed(client, &ping(b"new"));
        server.turn(0);
        trickle(&mut server, client, 7);
        let at = usize::from(cut > 0);
        let mut expected = vec![Frame::text(&data); 3];
        expected.insert(at, Frame::pong(b"new"));
        assert_eq!(server.take_frames(client), expected, "cut at {cut}");
        server.finish();
    }
}

#[test]
fn pongs_are_in_the_order_of_their_pings_however_many_come_at_once() {
    for count in [15, 16, 17, 18, 100] {
        let mut server = Server::new(1, any_pings());
        let client = server.connect(0, "/echo");
        for number in 0..count {
            server.feed(client, &ping(&[number]));
        }
        server.settle();
        let pongs: Vec<u8> = server.take_frames(client).iter().map(|pong| pong.payload[0]).collect();
        let expected: Vec<u8> = (0..count.min(16)).chain((count > 16).then_some(count - 1)).collect();
        assert_eq!(pongs, expected);
        server.finish();
    }
}

#[test]
fn a_pong_whose_first_bytes_are_out_is_finished_before_the_next() {
    for cut in 1..5 {
        let mut server = Server::new(1, settings());
        let client = server.connect(0, "/echo");
        server.socket(client).room = cut;
        for payload in [b"one", b"two", b"six"] {
            server.feed(client, &ping(payload));
            server.turn(0);
        }
        server.socket(client).room = usize::MAX;
        server.settle();
        let expected = [Frame::pong(b"one"), Frame::pong(b"six")];
        assert_eq!(server.take_frames(client), expected, "cut at {cut}");
        server.finish();
    }
}

#[test]
fn a_pong_that_waits_does_not_come_behind_the_answer_to_a_newer_ping() {
    let mut server = Server::new(1, settings());
    let client = server.connect(0, "/echo");
    server.socket(client).room = 0;
    for payload in [b"one", b"two"] {
        server.feed(client, &ping(payload));
        server.turn(0);
    }
    // It takes bytes again, and has sent another ping meanwhile: both are found in one turn.
    server.socket(client).room = usize::MAX;
    server.feed(client, &ping(b"six"));
    server.settle();
    assert_eq!(server.take_frames(client), [Frame::pong(b"six")]);
    server.finish();
}

#[test]
fn a_ping_of_ours_waits_for_the_end_of_the_frame_that_is_half_out() {
    let data = "z".repeat(30);
    for cut in 0..=32 {
        let mut server = Server::new(1, settings());
        let client = server.connect(0, "/rooms/a");
        let sender = server.connect(0, "/rooms/a");
        server.advance(settings().ping_interval - settings().write_timeout / 2);
        server.feed(sender, &text("keeps itself alive"));
        server.settle();
        server.take_output(client);
        server.socket(client).room = cut;
        for _ in 0..2 {
            server.feed(sender, &text(&data));
            server.turn(0);
        }
        server.advance(settings().write_timeout * 3 / 4);
        assert_eq!(server.socket(client).output.len(), cut);
        trickle(&mut server, client, 5);
        let mut expected = vec![Frame::text(&data); 2];
        expected.insert(usize::from(cut > 0), Frame::ping());
        assert_eq!(server.take_frames(client), expected, "cut at {cut}");
        server.finish();
    }
}

#[test]
fn a_million_pings_of_a_peer_that_never_reads_leave_one_pong() {
    let mut server = Server::new(1, any_pings());
    let client = server.connect(0, "/echo");
    server.socket(client).room = 0;
    let burst: Vec<u8> = ping(b"again").repeat(10_000);
    let mut pinned = Vec::new();
    for _ in 0..100 {
        server.feed(client, &burst);
        server.settle();
        pinned.push(server.counter(Counter::QueuePinnedMax));
    }
    server.feed(client, &ping(b"last"));
    server.settle();
    assert_eq!(server.socket(client).unread(), 0, "all were read");
    assert_eq!(server.socket(client).output, b"");
    assert!(pinned.iter().all(|bytes| *bytes == pinned[0] && *bytes < 4096), "{pinned:?}");
    server.socket(client).room = usize::MAX;
    server.settle();
    assert_eq!(server.take_frames(client), [Frame::pong(b"last")]);
    server.finish();
}

#[test]
fn a_queue_of_many_pieces_needs_several_sends_and_keeps_its_order() {
    let mut server = Server::new(1, settings());
    let member = server.connect(0, "/rooms/a");
    let sender = server.connect(0, "/rooms/a");
    server.socket(member).room = 0;
    for number in 0..200 {
        server.feed(sender, &text(&number.to_string()));
        server.turn(0);
    }
    server.socket(member).room = usize::MAX;
    server.turn(0);
    let expected: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    assert_eq!(server.take_texts(member), expected);
    server.finish();
}

#[test]
fn pings_and_pongs_between_cut_frames_leave_every_frame_whole() {
    let mut server = Server::new(1, settings());
    let member = server.connect(0, "/rooms/a");
    let sender = server.connect(0, "/rooms/a");
    let mut sent = Vec::new();
    for number in 0..50u8 {
        sent.push(format!("{number} {}", "m".repeat(usize::from(number) * 3)));
        server.feed(sender, &text(&sent[usize::from(number)]));
        server.feed(member, &ping(&[number]));
        server.socket(member).room = 11;
        server.turn(0);
    }
    server.socket(member).room = usize::MAX;
    server.settle();
    let (pongs, data): (Vec<Frame>, Vec<Frame>) =
        server.take_frames(member).into_iter().partition(|frame| frame.opcode == Opcode::Pong);
    let sent: Vec<Frame> = sent.iter().map(|text| Frame::text(text)).collect();
    assert_eq!(data, sent);
    assert_eq!(pongs.last(), Some(&Frame::pong(&[49])), "the newest ping is answered");
    assert!(pongs.is_sorted_by_key(|pong| pong.payload[0]));
    server.finish();
}

/// Sends back what it gets, as a member of a room.
struct EchoingMember;

impl Endpoint for EchoingMember {
    fn open<'m>(
        &mut self,
        _: ConnectionId,
        _: &OpenRequest<'_>,
        effects: &mut Effects<'m>,
    ) -> Result<Accept, Refusal> {
        effects.join(RoomName::new("hall").expect("a name"), OwnMessages::Skip);
        Ok(Accept::default())
    }

    fn message<'m>(&mut self, _: ConnectionId, message: Message<'m>, effects: &mut Effects<'m>) {
        effects.send(message);
    }
}

#[test]
fn a_long_echo_gives_nobody_who_catches_up_a_second_share_of_the_turn() {
    const SHARE: usize = 1 << 20;
    const PIECE: usize = 64 << 10;
    let history = HistoryLimits { bytes_max: 8 << 20, ..Config::default().room_settings().history };
    let rooms = RoomSettings { history, ..Config::default().room_settings() };
    let mut plan = RouterPlan::default();
    plan.add_endpoint("/test", Arc::new(|_| Box::new(EchoingMember)));
    let mut server = Server::with_rooms(1, settings(), Config::default().mailbox_bytes, plan, rooms);
    let (client, other) = (server.connect(0, "/test"), server.connect(0, "/test"));
    let publisher = server.connect(0, "/rooms/hall");
    server.socket(client).room = 0;
    for _ in 0..5 * SHARE / PIECE {
        server.feed(publisher, &binary(&[1; PIECE]));
        server.turn(0);
    }
    server.take_frames(other);
    server.socket(client).room = usize::MAX;
    server.feed(client, &binary(&[2; 9000]));
    // Its entry among those to flush is not the last one then.
    server.feed(client, &text("short"));
    server.feed(other, &text("short"));
    let mut turns = 0;
    while server.socket(client).output.len() < 5 * SHARE {
        let before = server.socket(client).output.len();
        server.turn(0);
        let sent = server.socket(client).output.len() - before;
        assert!(sent <= SHARE + SHARE / 2, "{sent} bytes in turn {turns}");
        turns += 1;
        assert!(turns < 20, "it gets all in the end");
    }
    server.settle();
    let frames = server.take_frames(client);
    assert_eq!(frames.iter().filter(|frame| frame.payload.len() == PIECE).count(), 5 * SHARE / PIECE);
    assert_eq!(frames.iter().filter(|frame| frame.payload.len() == 9000).count(), 1);
    server.finish();
}
