//! Who may publish and list: keys, listeners, members.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use fanfare::Config;
use fanfare::endpoint::CloseKind;
use fanfare::server::ListenAddress;

use crate::support::door::request;
use crate::support::{Frame, PATIENCE, Raw, TestServer, config, text};

/// A path of this process that is removed at the end.
struct Path(PathBuf);

impl Path {
    fn new(name: &str) -> Path {
        Path(std::env::temp_dir().join(format!("fanfare-door-{}-{name}", std::process::id())))
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn keys_open_publishing_and_listing_and_reading_needs_none() {
    let file = Path::new("keys");
    std::fs::write(&file.0, "# ours\nfirst-key-of-16-bytes\n\nsecond-key-of-16-bytes\n").unwrap();
    let server = TestServer::start(Config { api_key_file: Some(file.0.clone()), ..config() });
    let guarded = ["POST /rooms/r", "POST /rooms", "GET /rooms", "HEAD /rooms"];
    for line in guarded {
        for headers in [
            "",
            "Authorization: Bearer third-key-of-16-bytes\r\n",
            "Authorization: Bearer first-key-of-16-byte\r\n",
            "Authorization: Bearer \r\n",
            "Authorization: Basic first-key-of-16-bytes\r\n",
            "Authorization: first-key-of-16-bytes\r\n",
            "Authorization: Bearer first-key-of-16-bytes\r\nAuthorization: Bearer first-key-of-16-bytes\r\n",
        ] {
            let mut http = Raw::connect(server.address());
            http.send(&request(line, headers, b""));
            let head = http.head();
            assert_eq!(
                (head.status, head.header("www-authenticate")),
                (401, Some("Bearer")),
                "{line} {headers}"
            );
            assert!(head.has_token("connection", "close"), "a key costs a connection to try");
            http.rest();
        }
    }
    let mut http = Raw::connect(server.address());
    for key in ["first-key-of-16-bytes", "second-key-of-16-bytes"] {
        let key = format!("Authorization: Bearer {key}\r\n");
        http.publish("/rooms/r", &key, b"a");
        http.ask_json("POST /rooms", &key, br#"{"rooms":["r"],"text":"a"}"#);
        http.ask_json("GET /rooms", &key.replace("Bearer", "bearer"), b"");
    }
    let (_, page) = http.ask_json("GET /rooms/r", "", b"");
    assert_eq!(page["offset"], 4);
    let (mut reader, _) = Raw::events(server.address(), "/rooms/r/events?last=1", "");
    assert_eq!(reader.block().data.as_deref(), Some("a"));
    assert_eq!(http.ask("OPTIONS /rooms", "", b"").0.status, 204);
    // One without a key is refused before its body is read.
    http.send(b"POST /rooms/r HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    let (head, _) = http.refusal();
    assert_eq!((head.status, head.has_token("connection", "close")), (401, true));
}

#[test]
fn without_keys_it_is_the_listener_that_decides() {
    let socket = Path::new("socket");
    let listen = vec!["0.0.0.0:0".parse().unwrap(), ListenAddress::Unix(socket.0.clone())];
    let server = TestServer::start(Config { listen, ..config() });
    // It comes from the loopback, but others could come here too.
    let public = ([127, 0, 0, 1], server.address().port()).into();
    let mut http = Raw::connect(public);
    for line in ["POST /rooms/r", "POST /rooms", "GET /rooms"] {
        http.send(&request(line, "Authorization: Bearer whatever-it-is-no\r\n", b""));
        let (head, message) = http.refusal();
        assert_eq!(head.status, 403, "{line}");
        assert!(message.contains("--api-key-file"), "{message}");
    }
    let (mut member, _) = Raw::join(public, "/rooms/r");
    let mut local = UnixStream::connect(&socket.0).unwrap();
    local.set_read_timeout(Some(PATIENCE)).unwrap();
    local.write_all(&request("POST /rooms/r", "Connection: close\r\n", b"from here")).unwrap();
    let mut answer = Vec::new();
    local.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", answer.escape_ascii());
    assert_eq!(member.frame(), Frame::text("from here"));
    http.ask_json("GET /rooms/r", "", b"");
}

#[test]
fn members_may_be_kept_from_publishing_while_the_door_is_open() {
    let server = TestServer::start(Config { member_publish: false, ..config() });
    let (mut member, _) = Raw::join(server.address(), "/rooms/r");
    let (mut eager, _) = Raw::join(server.address(), "/rooms/r?echo=true");
    eager.send(&text("never"));
    let (code, reason) = eager.expect_close();
    assert_eq!(code, 1008);
    assert!(reason.contains("--member-publish"), "{reason}");
    server.until_closes(CloseKind::Endpoint, 1);
    assert_eq!(Raw::connect(server.address()).publish("/rooms/r", "", b"from the back end"), 1);
    assert_eq!(member.frame(), Frame::text("from the back end"));
}
