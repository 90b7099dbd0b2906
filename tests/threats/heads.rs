//! Request heads: every value in every header that is read, and limits at one below, at and above.

use std::collections::BTreeSet;
use std::path::Path;

use fanfare::Config;
use fanfare::endpoint::CloseKind;
use fanfare::protocol::ForwardedHeader;
use fanfare::shard::TrustedProxy;

use crate::common::{Client, Server, request, split_response};
use crate::counting::asked;
use crate::peers::{SDK, assert_served, crowd, everything};

/// Every header whose value is looked at, on whatever path.
const READ: [&str; 21] = [
    "Accept",
    "Access-Control-Request-Method",
    "Authorization",
    "Connection",
    "Content-Encoding",
    "Content-Length",
    "Content-Type",
    "Expect",
    "Forwarded",
    "Host",
    "Idempotency-Key",
    "Last-Event-ID",
    "Origin",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Version",
    "Transfer-Encoding",
    "Upgrade",
    "X-API-Key",
    "X-Forwarded-For",
];

/// The names in string literals behind the calls that read a header, in shipped code.
fn names_in(file: &Path, found: &mut BTreeSet<String>) {
    let source = std::fs::read_to_string(file).expect("a source file");
    let shipped = &source[..source.find("#[cfg(test)]\nmod tests {").unwrap_or(source.len())];
    for call in ["headers_named(\"", ".header(\"", "has_token(\"", "_header(request, \"", "_only(request, \""]
    {
        for (at, _) in shipped.match_indices(call) {
            let name = shipped[at + call.len()..].split('"').next().expect("a literal");
            let name = READ.iter().find(|known| known.eq_ignore_ascii_case(name)).copied().unwrap_or(name);
            found.insert(name.to_owned());
        }
    }
}

#[test]
fn every_header_that_is_read_is_tried() {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    // These two are read by what is set.
    let forwarded = [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded];
    let mut found = BTreeSet::from(forwarded.map(|header| header.name().to_owned()));
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap();
            match name {
                // The client's side reads responses.
                "tests.rs" | "client.rs" => {}
                _ if path.is_dir() => folders.push(path),
                _ if name.ends_with(".rs") => names_in(&path, &mut found),
                _ => {}
            }
        }
    }
    assert_eq!(found, BTreeSet::from(READ.map(str::to_owned)));
}

/// A request without one header, and with another line in its place.
fn with(head: &str, name: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in head.split_inclusive("\r\n") {
        if line == "\r\n" {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        if !line.to_ascii_lowercase().starts_with(&format!("{}:", name.to_ascii_lowercase())) {
            bytes.extend(line.as_bytes());
        }
    }
    bytes
}

fn heads() -> Vec<String> {
    let upgrade = |path: &str| String::from_utf8(request(path)).expect("ASCII");
    let plain = |line: &str| format!("{line} HTTP/1.1\r\nHost: test\r\n\r\n");
    vec![
        upgrade("/echo"),
        upgrade("/rooms/a"),
        upgrade(SDK),
        plain("POST /rooms/a"),
        plain("POST /rooms"),
        plain("GET /rooms/a/events"),
        plain("OPTIONS /rooms/a"),
        plain("POST /api/publish"),
    ]
}

fn strange_values() -> Vec<Vec<u8>> {
    let mut values: Vec<Vec<u8>> = (0x80..=0xFF).map(|byte| vec![byte]).collect();
    values.extend((0x80..=0xFF).step_by(9).map(|byte| vec![b'1', byte, b'3']));
    let texts = [
        "",
        " ",
        ",",
        ",,,",
        ";",
        "=",
        "\"",
        "\"\\",
        "__proto__",
        "constructor",
        "hasOwnProperty",
        "permessage-deflate; __proto__",
        "a; b=\"c,d\", e",
        "a; b=\"\\c\\c\\c\\c\\c\\c\\c\\c",
        "13, 13",
        "-1",
        "99999999999999999999",
        "0x10",
        "chunked, chunked",
        "[::1",
        "[",
        "]:99999",
        "http://[::1",
        "://",
        "null null",
        "Bearer",
        "\u{e9}\u{301}",
    ];
    values.extend(texts.map(|text| text.as_bytes().to_vec()));
    values.push(vec![b','; 4_000]);
    values.push(b"a,".repeat(2_000));
    values.push(vec![b'"'; 4_000]);
    values
}

/// The status that a request gets on a connection of its own, which then ends.
fn status(server: &mut Server, bytes: &[u8]) -> u16 {
    let peer = server.adopt(0);
    server.feed(peer, bytes);
    server.settle();
    server.socket(peer).eof = true;
    server.settle();
    assert!(server.is_closed(peer), "{}", bytes.escape_ascii());
    split_response(&server.take_output(peer)).0
}

#[test]
fn no_value_of_a_header_that_is_read_panics_or_gets_through_by_accident() {
    for forwarded_header in [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded] {
        let trusted_proxy = vec![TrustedProxy::Unix];
        try_values(&Config { trusted_proxy, forwarded_header, ..Config::default() });
    }
}

fn try_values(config: &Config) {
    let mut server = everything(1, config);
    let neighbour = server.connect(0, "/echo");
    let (heads, values) = (heads(), strange_values());
    // All of them once, and the other of the two that are set.
    let first = config.forwarded_header == ForwardedHeader::default();
    let names = READ.into_iter().filter(|name| first || *name == config.forwarded_header.name());
    for head in &heads {
        for name in names.clone() {
            for value in &values {
                let bytes = with(head, name, value);
                let status = status(&mut server, &bytes);
                let answered = matches!(status, 101 | 200 | 204 | 400..=431);
                assert!(answered, "{status} for {}", bytes.escape_ascii());
                let strict = name.starts_with("Sec-") || ["Host", "Origin", "Connection"].contains(&name);
                let refused = head.contains("Upgrade: ") && strict && !value.is_ascii();
                assert!(!refused || status >= 400, "{status} for {}", bytes.escape_ascii());
            }
        }
        // The test keeps no answer, and no two requests share a connection.
        server.net.borrow_mut().sockets.iter_mut().skip(1).for_each(|socket| {
            socket.output = Vec::new();
            socket.sends = Vec::new();
        });
    }
    assert_eq!(server.closes(CloseKind::EndpointPanic), 0);
    assert_served(&mut server, neighbour);
    server.finish();
}

/// A handshake of so many bytes with so many headers, filled up in its request line or in its last header.
fn sized(bytes: usize, headers: usize, in_request_line: bool) -> Vec<u8> {
    let valid = String::from_utf8(request("/echo")).expect("ASCII");
    let more = "X: y\r\n".repeat(headers - valid.matches(": ").count());
    let head = valid[..valid.len() - 2].to_owned() + &more;
    let filler = |spare: usize| "f".repeat(bytes - head.len() - spare);
    match in_request_line {
        true => head.replacen("/echo", &format!("/echo?{}", filler(3)), 1) + "\r\n",
        false => format!("{head}F: {}\r\n\r\n", filler(7)),
    }
    .into_bytes()
}

#[test]
fn a_head_over_a_limit_by_a_byte_or_a_line_is_431_and_the_end() {
    let Config { max_head, max_headers, .. } = Config::default();
    let mut server = everything(1, &Config::default());
    let mut try_all = |bytes: &[u8], expected: u16, flag: &str| {
        for piece in [bytes.len(), 1] {
            let peer = server.adopt(0);
            for piece in bytes.chunks(piece) {
                server.feed(peer, piece);
                server.turn(0);
            }
            // Whatever stands behind a refusal is not parsed.
            server.feed(peer, &request("/echo"));
            server.settle();
            let output = server.take_output(peer);
            assert_eq!(split_response(&output).0, expected, "{} bytes", bytes.len());
            let text = String::from_utf8_lossy(&output);
            let statuses = text.matches("HTTP/1.1 ").count();
            if expected == 431 {
                assert!(statuses == 1 && text.contains("Connection: close") && text.contains(flag), "{text}");
                assert_eq!(server.socket(peer).calls.shutdown_write, 1);
            }
            server.socket(peer).eof = true;
            server.settle();
        }
    };
    for (bytes, expected) in [(max_head - 1, 101), (max_head, 101), (max_head + 1, 431)] {
        try_all(&sized(bytes, 20, true), expected, "--max-head");
        try_all(&sized(bytes, 20, false), expected, "--max-head");
    }
    for (headers, expected) in [(max_headers - 1, 101), (max_headers, 101), (max_headers + 1, 431)] {
        try_all(&sized(2_000, headers, true), expected, "--max-headers");
    }
    try_all(&vec![b'G'; max_head + 1], 431, "--max-head");
    server.finish();
}

#[test]
fn a_head_that_comes_byte_by_byte_is_kept_once() {
    let max = Config::default().max_head;
    let mut server = everything(1, &Config::default());
    let peers: Vec<Client> = crowd(&mut server, 2, max, 1 << 10);
    let head = sized(max, 20, true);
    let mut pinned = 0;
    for (arrived, byte) in head[..max - 1].iter().enumerate() {
        let asked = asked(|| {
            server.feed(peers[0], &[*byte]);
            server.turn(0);
        });
        pinned += asked.growth;
        assert!(pinned as usize <= arrived + arrived / 4 + (2 << 10), "{pinned} for {arrived}");
    }
    println!("a head of {max} bytes without its last pins {pinned} bytes");
    server.feed(peers[0], &head[max - 1..]);
    server.settle();
    assert_eq!(split_response(&server.take_output(peers[0])).0, 101);
    server.finish();
}
