//! Tests of the general rules for requests.

use super::*;
use crate::protocol::Limits;
use crate::protocol::handshake::HeadScanner;

fn parse(head: &[u8]) -> Result<Request<'_>, Refusal> {
    let mut scanner = HeadScanner::default();
    let size = scanner.scan(head, &Limits::default())?;
    assert_eq!(size, Some(head.len()));
    Request::parse(head, scanner.header_lines())
}

fn refused(head: impl AsRef<[u8]>) -> Refusal {
    let head = head.as_ref();
    match parse(head) {
        Err(refusal) => refusal,
        Ok(request) => panic!("allowed: {request:?}"),
    }
}

fn get(headers: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n")
}

#[test]
fn a_request_gives_its_parts() {
    let head = b"GET /room/1?name=%20&x=? HTTP/1.1\r\nhOsT: [::1]:80\r\nA: 1\r\n\
                 origin: \xFF\r\na:  2 \r\n\r\n";
    let request = parse(head).unwrap();
    assert_eq!(request.method(), "GET");
    assert_eq!(request.path(), "/room/1");
    assert_eq!(request.query(), "name=%20&x=?");
    assert_eq!(request.host(), "[::1]:80");
    assert_eq!(request.header("A"), Some(b"1".as_slice()));
    let all: Vec<_> = request.headers_named("a").collect();
    assert_eq!(all, [b"1", b"2"]);
    assert_eq!(request.origin(), Some(b"\xFF".as_slice()));
    assert_eq!(request.header("B"), None);
    assert!(!request.is_upgrade());
}

#[test]
fn a_target_without_a_query_has_an_empty_one() {
    for target in ["/", "/?"] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let request = parse(head.as_bytes()).unwrap();
        assert_eq!((request.path(), request.query()), ("/", ""));
    }
}

#[test]
fn an_upgrade_is_found_in_any_line_and_case() {
    for (headers, expected) in [
        ("Upgrade: websocket\r\n", true),
        ("upgrade: h2c , WebSocket\r\n", true),
        ("Upgrade: h2c\r\nUpgrade: WEBSOCKET\r\n", true),
        ("Upgrade: websockets\r\n", false),
        ("Upgrade:\r\n", false),
        ("", false),
    ] {
        let head = get(headers);
        assert_eq!(parse(head.as_bytes()).unwrap().is_upgrade(), expected);
    }
}

#[test]
fn a_target_in_absolute_form_names_the_host_itself() {
    for (target, host, path, query) in [
        ("http://b/rooms/1?x=/?", "b", "/rooms/1", "x=/?"),
        ("https://b:443/", "b:443", "/", ""),
        ("WS://[::1]:80//a", "[::1]:80", "//a", ""),
        ("wSs://b/http://c/", "b", "/http://c/", ""),
        ("http://b", "b", "/", ""),
        ("http://b?", "b", "/", ""),
        ("http://b?x=a@c", "b", "/", "x=a@c"),
        ("/http://b/", "a", "/http://b/", ""),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let request = parse(head.as_bytes()).unwrap();
        assert_eq!((request.host(), request.path(), request.query()), (host, path, query), "{target}");
    }
}

#[test]
fn a_target_in_absolute_form_does_not_replace_host() {
    for headers in ["", "Host: a\r\nHost: a\r\n", "Host: a/b\r\n"] {
        let refusal = refused(format!("GET http://b/ HTTP/1.1\r\n{headers}\r\n"));
        assert_eq!(refusal.status, 400, "{headers}");
        assert!(refusal.body.contains("Host"), "{}", refusal.body);
    }
}

#[test]
fn targets_in_other_forms_and_malformed_ones_are_refused() {
    for target in [
        "*",
        "a:80",
        "/a#b",
        "?a",
        "#",
        "http:",
        "http:/a",
        "http:a",
        "http:///a",
        "http://",
        "http://?a",
        "http://:80/",
        "http://@/",
        "http://a@b/",
        "http://a:b@c/",
        "http://a/#b",
        "http://a^b/",
        "ftp://a/",
        "httpx://a/",
        "xhttp://a/",
        "://a/",
    ] {
        let refusal = refused(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(refusal.status, 400);
        assert!(refusal.body.contains(target), "{}", refusal.body);
    }
}

#[test]
fn request_lines_must_have_three_parts() {
    for line in [
        "GET",
        "GET ",
        "GET /",
        "GET / ",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / / HTTP/1.1",
        "G(T / HTTP/1.1",
    ] {
        assert_eq!(refused(format!("{line}\r\nHost: a\r\n\r\n")).status, 400);
    }
}

#[test]
fn only_http_1_1_and_1_0_are_spoken() {
    for version in ["HTTP/1.2", "HTTP/0.9", "HTTP/2.0", "http/1.1", "HTTP/1.12"] {
        let refusal = refused(format!("GET / {version}\r\nHost: a\r\n\r\n"));
        assert_eq!(refusal.status, 400, "{version}");
        assert!(refusal.body.contains("HTTP/1.1"));
    }
}

#[test]
fn http_1_0_may_leave_host_out_but_not_send_a_bad_one() {
    for (target, headers, host) in [
        ("/a", "", ""),
        ("/a", "Host: a\r\n", "a"),
        ("http://b/a", "", "b"),
        ("http://b/a", "Host: a\r\n", "b"),
    ] {
        let head = format!("GET {target} HTTP/1.0\r\n{headers}\r\n");
        let request = parse(head.as_bytes()).unwrap();
        assert_eq!((request.path(), request.host()), ("/a", host), "{target} {headers}");
    }
    for headers in ["Host: a\r\nHost: a\r\n", "Host:\r\n", "Host: a/b\r\n"] {
        let refusal = refused(format!("GET / HTTP/1.0\r\n{headers}\r\n"));
        assert_eq!(refusal.status, 400, "{headers}");
        assert!(refusal.body.contains("Host"), "{}", refusal.body);
    }
}

#[test]
fn there_must_be_one_valid_host() {
    for headers in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nhost: b\r\n",
        "Host:\r\n",
        "Host: \t\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: a@b\r\n",
        "Host: ä\r\n",
    ] {
        let refusal = refused(format!("GET / HTTP/1.1\r\n{headers}\r\n"));
        assert_eq!(refusal.status, 400, "{headers}");
        assert!(refusal.body.contains("Host"));
        assert!(refusal.body.is_ascii(), "escaped");
    }
}

#[test]
fn the_length_of_a_body_is_known_for_every_method() {
    for (headers, expected) in [
        ("", BodyLength::None),
        ("Content-Length: 0\r\n", BodyLength::None),
        ("content-length:\t 00 \r\n", BodyLength::None),
        ("Content-Length: 1\r\n", BodyLength::Length(1)),
        ("Content-Length: 9999999999999999999\r\n", BodyLength::Length(9_999_999_999_999_999_999)),
        ("Transfer-Encoding: chunked\r\n", BodyLength::Chunked),
        ("transfer-encoding:CHUNKED \r\n", BodyLength::Chunked),
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "X"] {
            let head = get(headers).replace("GET", method);
            assert_eq!(parse(head.as_bytes()).unwrap().body_length(), expected, "{head}");
        }
    }
    let head = "POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(parse(head.as_bytes()).unwrap().body_length(), BodyLength::Length(5));
}

#[test]
fn a_body_whose_end_is_not_clear_is_refused() {
    const LENGTH: &str = "Content-Length: 5\r\n";
    const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
    let with_length = |value: &str| (format!("Content-Length: {value}\r\n"), "1 to 19 digits");
    let with_encoding = |value: &str| (format!("Transfer-Encoding: {value}\r\n"), "exactly \"chunked\"");
    let mut cases = vec![
        (format!("{LENGTH}{CHUNKED}"), "both Transfer-Encoding and Content-Length"),
        (format!("{CHUNKED}{LENGTH}"), "both Transfer-Encoding and Content-Length"),
        (format!("{CHUNKED}Content-Length: 0\r\n"), "both Transfer-Encoding and Content-Length"),
        (format!("{LENGTH}Transfer-Encoding: identity\r\n"), "both Transfer-Encoding and Content-Length"),
        (format!("{LENGTH}Transfer-Encoding:\r\n"), "both Transfer-Encoding and Content-Length"),
        (LENGTH.repeat(2), "several Content-Length headers"),
        (format!("{LENGTH}Content-Length: 6\r\n"), "several Content-Length headers"),
        (format!("{LENGTH}X: x\r\ncONTENT-lENGTH: 0\r\n"), "several Content-Length headers"),
        (CHUNKED.repeat(2), "several Transfer-Encoding headers"),
        (format!("Transfer-Encoding: gzip\r\n{CHUNKED}"), "several Transfer-Encoding headers"),
        ("Content-Length : 5\r\n".to_owned(), "followed by ':'"),
        ("Content-Length\t: 5\r\n".to_owned(), "followed by ':'"),
        ("Transfer-Encoding : chunked\r\n".to_owned(), "followed by ':'"),
        (format!("{LENGTH} 6\r\n"), "folded"),
        ("Transfer-Encoding:\r\n chunked\r\n".to_owned(), "folded"),
        ("Transfer-Encoding:\x0bchunked\r\n".to_owned(), "control byte"),
        ("Content-Length: 5\n".to_owned(), "bare LF"),
    ];
    let lengths = [
        "5, 5", "5,6", "5,", "+5", "-5", "5 5", "", "0x5", "5.0", "1e1", "5;", "\"5\"", "\u{665}", "five",
        "1_0",
    ];
    cases.extend(lengths.map(with_length));
    cases.push(with_length(&"1".repeat(20)));
    cases.push(with_length(&"0".repeat(20)));
    let encodings = [
        "gzip, chunked",
        "chunked, gzip",
        "identity",
        "chunked, chunked",
        "xchunked",
        "chunkedx",
        "chunked,",
        ",chunked",
        "chunked;a=b",
        "\"chunked\"",
        "chun ked",
        "",
        "gzip",
        "identity, chunked",
        "\u{212a}",
        "chunked\u{a0}",
    ];
    cases.extend(encodings.map(with_encoding));
    for (headers, part) in cases {
        for method in ["GET", "HEAD", "POST"] {
            let refusal = refused(get(&headers).replace("GET", method));
            assert_eq!(refusal.status, 400, "{headers}");
            assert!(refusal.body.contains(part), "{headers}: {}", refusal.body);
            assert!(refusal.body.is_ascii(), "escaped: {}", refusal.body);
        }
    }
    for value in ["chunked", "identity", ""] {
        let refusal = refused(format!("POST / HTTP/1.0\r\nTransfer-Encoding: {value}\r\n\r\n"));
        assert_eq!(refusal.status, 400);
        assert!(refusal.body.contains("HTTP/1.0") && refusal.body.contains("HTTP/1.1"), "{}", refusal.body);
    }
}

#[test]
fn only_one_expectation_is_known() {
    for (headers, expected) in [
        ("", Ok(false)),
        ("Expect: 100-continue\r\n", Ok(true)),
        ("expect: 100-Continue\r\n", Ok(true)),
        ("Expect: 100-continue\r\nExpect: 100-continue\r\n", Ok(true)),
        ("Expect: 200-maybe\r\n", Err(417)),
        ("Expect:\r\n", Err(417)),
        ("Expect: 100-continue, other\r\n", Err(417)),
        ("Expect: 100-continue\r\nExpect: other\r\n", Err(417)),
    ] {
        let head = get(headers);
        let expects = parse(head.as_bytes()).unwrap().expects_continue();
        assert_eq!(expects.map_err(|refusal| refusal.status), expected, "{headers}");
        let old = head.replace("HTTP/1.1", "HTTP/1.0");
        assert_eq!(parse(old.as_bytes()).unwrap().expects_continue(), Ok(false), "{headers}");
    }
    let head = get("Expect: 200-maybe\r\n");
    let refusal = parse(head.as_bytes()).unwrap().expects_continue().unwrap_err();
    assert!(refusal.body.contains("200-maybe") && refusal.body.contains("100-continue"), "{}", refusal.body);
}

#[test]
fn a_connection_persists_unless_the_request_says_otherwise() {
    for (version, headers, expected) in [
        ("1.1", "", true),
        ("1.1", "Connection: keep-alive\r\n", true),
        ("1.1", "Connection: closed\r\n", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: TE, Close\r\n", false),
        ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: keep-alive\r\n", false),
    ] {
        let head = get(headers).replace("HTTP/1.1", &format!("HTTP/{version}"));
        assert_eq!(parse(head.as_bytes()).unwrap().keeps_alive(), expected, "{head}");
    }
}

#[test]
fn header_names_must_be_tokens_up_to_the_colon() {
    for headers in ["A : 1\r\n", "A\r\n", ": 1\r\n", "A\u{e4}: 1\r\n", "A(: 1\r\n"] {
        assert_eq!(refused(get(headers)).status, 400, "{headers}");
    }
}

#[test]
fn values_may_have_any_bytes_in_headers_nobody_interprets() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nX: \x80\xFF\t\xC0\r\n\r\n";
    let request = parse(head).unwrap();
    assert_eq!(request.header("x"), Some(b"\x80\xFF\t\xC0".as_slice()));
}

#[test]
fn debug_shows_no_header_values() {
    let head = get("Cookie: secret\r\n");
    let shown = format!("{:?}", parse(head.as_bytes()).unwrap());
    assert!(shown.contains("GET") && !shown.contains("secret"));
}
