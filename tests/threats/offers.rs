//! What is not offered: compression and tokens. Nothing of either is taken in by accident.

use fanfare::Config;
use fanfare::endpoint::CloseKind;
use fanfare::shard::Counter;
use serde_json::Value;

use crate::common::{Client, Frame, Server, binary, frames, request, split_response, text};
use crate::peers::{SDK, everything};
use crate::support::frame;

/// Offers of compression, in every way in which its parameters have broken servers.
fn offers() -> Vec<String> {
    let bits = ["", "=-1", "=0", "=7", "=8", "=9", "=15", "=16", "=99999999999", "=015", "=\"15\"", "=\"\""];
    let mut offers: Vec<String> =
        ["permessage-deflate", "x-webkit-deflate-frame", "permessage-bzip2; level=9"]
            .map(str::to_owned)
            .to_vec();
    for side in ["server_max_window_bits", "client_max_window_bits"] {
        offers.extend(bits.map(|bits| format!("permessage-deflate; {side}{bits}")));
        offers.push(format!("permessage-deflate; {side}=10; {side}=11"));
    }
    offers.push("permessage-deflate; server_no_context_takeover; client_no_context_takeover".to_owned());
    offers.push("permessage-deflate; unknown; __proto__=1".to_owned());
    offers.push("permessage-deflate, permessage-deflate; client_max_window_bits".to_owned());
    offers
}

#[test]
fn no_offer_of_compression_is_taken() {
    let mut server = everything(1, &Config::default());
    for path in ["/echo", "/rooms/a?echo=true", SDK] {
        for offer in offers() {
            let head = String::from_utf8(request(path)).expect("ASCII");
            let head = format!("{}Sec-WebSocket-Extensions: {offer}\r\n\r\n", &head[..head.len() - 2]);
            let peer = server.adopt(0);
            server.feed(peer, head.as_bytes());
            server.settle();
            let output = server.take_output(peer);
            let text = String::from_utf8_lossy(&output).to_ascii_lowercase();
            assert_eq!(split_response(&output).0, 101, "{offer}");
            assert!(
                !text.contains("sec-websocket-extensions") && !text.contains("deflate"),
                "{offer}: {text}"
            );
            server.socket(peer).eof = true;
            server.settle();
        }
    }
    server.finish();
}

#[test]
fn a_compressed_frame_is_a_broken_one_from_its_first_byte() {
    // 0xC1: FIN, RSV1 and text. The payload would inflate a thousandfold.
    let bomb = frame(0xC2, &[&b"\xec\xc0\x01"[..], &[0; 1_000]].concat());
    for bytes in [&bomb[..1], &bomb, &[frame(0x42, b"\x01"), frame(0x80, b"")].concat()] {
        let mut server = everything(1, &Config::default());
        let peer = server.connect(0, "/echo");
        server.feed(peer, bytes);
        server.settle();
        let (code, reason) = server.take_close(peer);
        assert_eq!((code, reason.contains("reserved bits")), (1002, true), "{reason}");
        server.finish();
    }
}

#[test]
fn a_body_that_says_it_is_compressed_is_refused_and_answers_never_are() {
    let mut server = everything(1, &Config::default());
    for coding in ["gzip", "deflate", "br", "zstd", "identity, gzip", "x"] {
        for (path, accept) in
            [("/rooms/a", ""), ("/rooms", ""), ("/api/publish", "Accept-Encoding: gzip\r\n")]
        {
            let peer = server.adopt(0);
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: test\r\nContent-Encoding: {coding}\r\n{accept}Content-Length: 4\r\n\r\nbody"
            );
            server.feed(peer, head.as_bytes());
            server.settle();
            let output = server.take_output(peer);
            assert_eq!(split_response(&output).0, 415, "{path} {coding}");
            assert!(!String::from_utf8_lossy(&output).contains("Content-Encoding:"));
        }
    }
    assert_eq!(server.counter(Counter::Publications), 0);
    server.finish();
}

/// A JSON Web Token without a signature, whose claims would be somebody else's.
const TOKEN: &str =
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290IiwiY2hhbm5lbHMiOlsic2VjcmV0Il0sImlzcyI6Imh0dHA6Ly8xMjcuMC4wLjEifQ.";

fn command(server: &mut Server, peer: Client, line: &str) -> Vec<Frame> {
    server.feed(peer, &text(line));
    server.settle();
    server.take_frames(peer)
}

#[test]
fn a_token_is_refused_before_anything_in_it_counts() {
    let mut server = everything(1, &Config::default());
    let peer = server.connect(0, SDK);
    let frames = command(&mut server, peer, &format!("{{\"id\":1,\"connect\":{{\"token\":\"{TOKEN}\"}}}}"));
    assert_eq!(frames.last().and_then(Frame::close).map(|(code, _)| code), Some(3500), "{frames:?}");
    assert_eq!(frames.len(), 1, "no reply but the Close");
    let peer = server.connect(0, SDK);
    command(&mut server, peer, "{\"id\":1,\"connect\":{\"data\":{\"name\":\"me\"}}}");
    let subscribe = format!("{{\"id\":2,\"subscribe\":{{\"channel\":\"secret\",\"token\":\"{TOKEN}\"}}}}");
    for line in [
        subscribe,
        format!("{{\"id\":2,\"refresh\":{{\"token\":\"{TOKEN}\"}}}}"),
        format!("{{\"id\":2,\"sub_refresh\":{{\"channel\":\"secret\",\"token\":\"{TOKEN}\"}}}}"),
    ] {
        let frames = command(&mut server, peer, &line);
        let reply: Value = serde_json::from_slice(&frames[0].payload).expect("JSON");
        assert_eq!(reply["error"]["code"], 108, "{reply}");
    }
    assert_eq!((server.counter(Counter::Memberships), server.registry.len()), (0, 0), "no room, no member");
    // In a header or in the query it is not looked at: who connects is nobody until a name is said.
    let head = String::from_utf8(request("/rooms/a?token=x&access_token=y")).expect("ASCII");
    let head = format!("{}Authorization: Bearer {TOKEN}\r\n\r\n", &head[..head.len() - 2]);
    let raw = server.adopt(0);
    server.feed(raw, head.as_bytes());
    server.settle();
    assert_eq!(split_response(&server.take_output(raw)), (101, &[][..]));
    let reader = server.connect(0, SDK);
    command(&mut server, reader, "{\"id\":1,\"connect\":{}}");
    command(&mut server, reader, "{\"id\":2,\"subscribe\":{\"channel\":\"a\"}}");
    let presence = command(&mut server, reader, "{\"id\":3,\"presence\":{\"channel\":\"a\"}}");
    assert!(!String::from_utf8_lossy(&presence[0].payload).contains("root"), "{presence:?}");
    server.finish();
}

#[test]
fn what_an_sdk_that_asks_for_much_is_refused_ends_its_connection() {
    let mut server = everything(1, &Config::default());
    let peer = server.connect(0, SDK);
    command(&mut server, peer, "{\"id\":1,\"connect\":{}}");
    let mut tries = 0;
    let close = loop {
        tries += 1;
        let line =
            format!("{{\"id\":{},\"subscribe\":{{\"channel\":\"s\",\"token\":\"{tries}\"}}}}", tries + 1);
        let frames = command(&mut server, peer, &line);
        if let Some(close) = frames.last().and_then(Frame::close) {
            break close;
        }
        assert!(tries < 100, "tries are counted");
    };
    assert_eq!((tries, close.0), (20, 3509), "{close:?}");
    assert_eq!(server.closes(CloseKind::Endpoint), 1);
    let _ = (binary(b""), frames(b""));
    server.finish();
}
