//! What we send, to the byte: nothing of another's, nothing of our memory, and never masked.

use fanfare::Config;
use fanfare::shard::Admission;

use crate::common::server::TICK;
use crate::common::{Client, Server, binary, close, ping, text};
use crate::peers::everything;
use crate::support::frame;

/// What a peer gets when it sends these bytes.
fn answer(server: &mut Server, peer: Client, bytes: &[u8]) -> Vec<u8> {
    server.feed(peer, bytes);
    server.settle();
    server.take_output(peer)
}

#[test]
fn every_frame_that_we_send_is_what_the_rfc_says_to_the_byte() {
    let config = Config::default();
    let mut server = everything(1, &config);
    let peer = server.connect(0, "/echo");
    assert_eq!(answer(&mut server, peer, &text("")), b"\x81\x00");
    assert_eq!(answer(&mut server, peer, &text("hé")), b"\x81\x03h\xc3\xa9");
    for (length, header) in [
        (125, &b"\x82\x7d"[..]),
        (126, b"\x82\x7e\x00\x7e"),
        (65_535, b"\x82\x7e\xff\xff"),
        (65_536, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ] {
        let payload: Vec<u8> = (0..length).map(|at| at as u8).collect();
        assert_eq!(answer(&mut server, peer, &binary(&payload)), [header, &payload].concat(), "{length}");
    }
    assert_eq!(answer(&mut server, peer, &ping(b"p")), b"\x8a\x01p");
    assert_eq!(answer(&mut server, peer, &ping(&[0xAB; 125])), [&b"\x8a\x7d"[..], &[0xAB; 125]].concat());
    server.advance(config.ping_interval + TICK);
    assert_eq!(server.take_output(peer), b"\x89\x00", "our own ping");
    assert_eq!(answer(&mut server, peer, &close(1000, "bye")), b"\x88\x02\x03\xe8", "its code, no reason");
    server.finish();
}

#[test]
fn every_close_of_ours_is_a_code_and_its_reason_to_the_byte() {
    let config = Config::default();
    for (bytes, code, reason) in [
        (&b"\x81\x00"[..], 1002, "a frame of the client is not masked; a client must mask every frame"),
        (&frame(0x81, b"\xff"), 1007, "a text message is not valid UTF-8; text must be UTF-8"),
        (
            &frame(0xC1, b""),
            1002,
            "a frame has the reserved bits 100 set; without an extension they must be 000",
        ),
    ] as [(&[u8], u16, &str); 3]
    {
        let mut server = everything(1, &config);
        let peer = server.connect(0, "/echo");
        let seen = answer(&mut server, peer, bytes);
        let mut expected = vec![0x88, reason.len() as u8 + 2];
        expected.extend(u16::to_be_bytes(code));
        expected.extend(reason.bytes());
        assert_eq!(seen.escape_ascii().to_string(), expected.escape_ascii().to_string());
        server.finish();
    }
    let mut server = everything(1, &config);
    let peer = server.connect(0, "/echo");
    assert_eq!(answer(&mut server, peer, &frame(0x88, b"")), b"\x88\x00", "no code for no code");
    server.finish();
}

#[test]
fn a_reason_is_123_bytes_at_most_and_ends_with_a_character() {
    // A back end's reason and a room's name in ours are the long ones.
    for (name, characters) in [("€", 40), ("é", 60), ("x", 120), ("🎺", 30)] {
        let config = Config { history_messages: 1, ..Config::default() };
        let mut server = everything(1, &config);
        let room = format!("/rooms/{}", percent(&name.repeat(characters)));
        let [slow, fast] = [(); 2].map(|()| server.connect(0, &room));
        server.socket(slow).room = 1;
        for _ in 0..4 {
            answer(&mut server, fast, &text("x"));
        }
        server.socket(slow).room = usize::MAX;
        server.settle();
        let output = server.take_output(slow);
        let at = output.iter().rposition(|byte| *byte == 0x88).expect("a Close");
        let (length, reason) = (output[at + 1], &output[at + 4..]);
        assert_eq!(usize::from(length), output.len() - at - 2);
        assert!((120..=125).contains(&length), "{length}");
        let reason = std::str::from_utf8(reason).expect("whole characters");
        assert!(reason.contains("--history-bytes") && reason.ends_with(name), "{reason}");
        server.finish();
    }
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn a_slot_that_is_used_again_shows_nothing_of_who_was_there_before() {
    let config = Config::default();
    let mut server = everything(1, &config);
    let secret = "a secret of somebody else";
    for round in 0..50 {
        let before = server.connect(0, "/echo");
        // Half a message, half a head of its own, answers that are not taken: then it is gone.
        server.socket(before).room = round;
        server.feed(before, &text(secret));
        server.feed(before, &text(secret)[..10]);
        server.settle();
        server.socket(before).eof = true;
        server.socket(before).hung_up = true;
        server.settle();
        assert!(server.is_closed(before));
        let socket = server.net.borrow_mut().open();
        let next = server.adopt_socket(0, socket, Admission::Welcome);
        let bytes = [&crate::common::request("/echo")[..], &text("mine"), &binary(&[0; 300])].concat();
        let output = answer(&mut server, next, &bytes);
        assert!(!String::from_utf8_lossy(&output).contains("secret"), "{}", output.escape_ascii());
        let keys = [before, next].map(|client| server.socket(client).key.expect("registered").index());
        assert_eq!(keys[0], keys[1], "the slot is used again");
        server.socket(next).eof = true;
        server.settle();
    }
    server.finish();
}
