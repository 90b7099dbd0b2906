//! Pages of other sites: refused on every path that does anything (RFC 6455 §10.2, and cross-site requests).

use fanfare::Config;
use fanfare::shard::Counter;

use crate::common::{Server, request, split_response, text};
use crate::peers::{SDK, everything};

const HOST: &str = "chat.example.com";

/// Every door at which a page could do or read something.
fn doors() -> Vec<Vec<u8>> {
    let upgrade = |path: &str| String::from_utf8(request(path)).expect("ASCII");
    let plain = |line: &str, body: &str| {
        format!("{line} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    [
        upgrade("/echo"),
        upgrade("/rooms/a"),
        upgrade(SDK),
        plain("POST /rooms/a", "stolen"),
        plain("POST /rooms", "{\"rooms\":[\"a\"],\"text\":\"stolen\"}"),
        plain("POST /api/publish", "{\"channel\":\"a\",\"data\":\"stolen\"}"),
        plain("GET /rooms", ""),
        plain("GET /rooms/a", ""),
        plain("GET /rooms/a/events", ""),
    ]
    .map(|head| head.replacen("Host: test", &format!("Host: {HOST}"), 1).into_bytes())
    .to_vec()
}

fn from(origins: &[&str], door: &[u8]) -> Vec<u8> {
    let at = door.windows(2).position(|end| end == b"\r\n").expect("a request line") + 2;
    let headers: String = origins.iter().map(|origin| format!("Origin: {origin}\r\n")).collect();
    [&door[..at], headers.as_bytes(), &door[at..]].concat()
}

fn answer(server: &mut Server, bytes: &[u8]) -> String {
    let page = server.adopt(0);
    server.feed(page, bytes);
    // What a refused page goes on to say is nothing either.
    server.feed(page, &text("stolen"));
    server.settle();
    server.socket(page).eof = true;
    server.settle();
    String::from_utf8_lossy(&server.take_output(page)).into_owned()
}

#[test]
fn no_door_opens_to_a_page_of_another_site() {
    let mut server = everything(1, &Config::default());
    let member = server.connect(0, "/rooms/a");
    for door in doors() {
        for origin in [
            "null",
            "",
            "http://evil.example",
            "http://evil-chat.example.com",
            "http://chat.example.com.evil.example",
            "http://example.com",
            "http://sub.chat.example.com",
            "http://chat.example.com:81",
            "https://chat.example.com:80",
            "http://chat.example.com@evil.example",
            "http://chat.example.com/",
            "http://chat.example.com, http://evil.example",
            "file://",
            "chat.example.com",
            // Addresses are origins like others.
            "http://127.0.0.1",
            "http://[::1]:9001",
            "http://2130706433",
            "http://192.168.0.1",
            "http://localhost",
        ] {
            let answer = answer(&mut server, &from(&[origin], &door));
            assert_eq!(split_response(answer.as_bytes()).0, 403, "{origin}: {}", door.escape_ascii());
            assert!(!answer.contains("Access-Control-Allow-Origin"), "{origin}: {answer}");
            assert!(answer.contains("--allow-origin"), "{answer}");
        }
        let own = format!("http://{HOST}");
        let answer = answer(&mut server, &from(&[&own, &own], &door));
        assert_eq!(split_response(answer.as_bytes()).0, 400, "two origins: {}", door.escape_ascii());
    }
    assert_eq!(server.counter(Counter::Publications), 0);
    assert_eq!(server.socket(member).output, b"");
    server.finish();
}

#[test]
fn every_door_opens_to_its_own_page_and_to_programs() {
    for door in doors() {
        let mut server = everything(1, &Config::default());
        server.connect(0, "/rooms/a");
        let upper = format!("HTTP://{}:80", HOST.to_uppercase());
        let own = ["http", "https"].map(|scheme| format!("{scheme}://{HOST}"));
        for origins in [&[][..], &[own[0].as_str()], &[own[1].as_str()], &[upper.as_str()]] {
            let answer = answer(&mut server, &from(origins, &door));
            let status = split_response(answer.as_bytes()).0;
            let by_name = needs_key(&door) && !origins.is_empty();
            let expected = if by_name { 403..=403 } else { 101..=200 };
            assert!(expected.contains(&status), "{status}: {origins:?} {}", door.escape_ascii());
        }
        server.finish();
    }
}

/// Whether a door publishes, lists, or is the server API: where there are keys, it needs one.
fn needs_key(door: &[u8]) -> bool {
    door.starts_with(b"POST ") || door.starts_with(b"GET /rooms HTTP")
}

/// The same request to another host.
fn at_host(door: &[u8], host: &str) -> Vec<u8> {
    let text = String::from_utf8(door.to_vec()).expect("ASCII");
    text.replacen(&format!("Host: {HOST}"), &format!("Host: {host}"), 1).into_bytes()
}

#[test]
fn a_page_whose_name_leads_to_this_machine_may_do_nothing_that_a_key_is_for() {
    let guarded: Vec<Vec<u8>> = doors().into_iter().filter(|door| needs_key(door)).collect();
    assert_eq!(guarded.len(), 4);
    let listed =
        Config { allow_origin: vec!["http://app.example:9001".parse().unwrap()], ..Config::default() };
    for (config, host, allowed) in [
        (Config::default(), "rebound.evil.example:9001", false),
        (Config::default(), "127.0.0.1.evil.example:9001", false),
        (Config::default(), "localhost.evil.example:9001", false),
        (Config::default(), "localhost:9001", true),
        (Config::default(), "127.0.0.1:9001", true),
        (Config::default(), "[::1]:9001", true),
        (listed.clone(), "app.example:9001", true),
        (listed, "other.example:9001", false),
    ] {
        let mut server = everything(1, &config);
        for door in &guarded {
            let answer = answer(&mut server, &from(&[&format!("http://{host}")], &at_host(door, host)));
            let status = split_response(answer.as_bytes()).0;
            assert_eq!(status, if allowed { 200 } else { 403 }, "{host}: {answer}");
            assert!(
                allowed || answer.contains("--api-key-file") && answer.contains("--allow-origin"),
                "{answer}"
            );
        }
        assert_eq!(server.counter(Counter::Publications), if allowed { 3 } else { 0 }, "{host}");
        server.finish();
    }
}
