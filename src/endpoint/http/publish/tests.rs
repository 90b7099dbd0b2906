//! What is read of `POST /rooms` and answered to who published.

use super::*;
use crate::rooms::Epoch;

fn parse(body: &str) -> Result<PublishMany, Refusal> {
    parse_publish_many(body.as_bytes(), 1000)
}

fn rooms(names: &[&str]) -> Vec<RoomName> {
    names.iter().map(|name| RoomName::new(name).unwrap()).collect()
}

/// The text of a 400.
fn refused(body: &str) -> String {
    let refusal = parse(body).unwrap_err();
    assert_eq!(refusal.status, 400, "{body}");
    refusal.body
}

#[test]
fn data_is_published_byte_for_byte() {
    for data in ["{ \"b\": 1.0,\n\"a\":\"\\u00fc\" }", "null", "\"x\"", "[1, 2]", "1e999", "false"] {
        let many = parse(&format!("{{\"rooms\": [\"a\", \"b/ü\"], \"data\" : {data} }}")).unwrap();
        let expected = PublishMany {
            rooms: rooms(&["a", "b/ü"]),
            data: data.as_bytes().to_vec(),
            kind: Kind::Text,
            exclude: None,
        };
        assert_eq!(many, expected);
    }
}

#[test]
fn text_is_published_as_text_and_base64_as_bytes() {
    let many = parse(r#"{"rooms":["a"],"text":"h\u00e9\n"}"#).unwrap();
    assert_eq!((many.data.as_slice(), many.kind), ("hé\n".as_bytes(), Kind::Text));
    let many = parse(r#"{"base64":"//4=","rooms":["a"]}"#).unwrap();
    assert_eq!((many.data.as_slice(), many.kind), (&b"\xff\xfe"[..], Kind::Binary));
    for empty in ["text", "base64"] {
        assert_eq!(parse(&format!("{{\"rooms\":[\"a\"],\"{empty}\":\"\"}}")).unwrap().data, b"");
    }
}

#[test]
fn exactly_one_payload_is_allowed() {
    for (members, seen) in [
        ("", 0),
        (r#","data":1,"text":"x""#, 2),
        (r#","data":null,"text":"x""#, 2),
        (r#","text":"","base64":"""#, 2),
        (r#","data":1,"text":"x","base64":"""#, 3),
    ] {
        let body = refused(&format!("{{\"rooms\":[\"a\"]{members}}}"));
        assert!(body.contains(&format!("has {seen} of data, text and base64")), "{body}");
    }
}

#[test]
fn one_member_can_be_excluded() {
    let many = parse(r#"{"rooms":["a"],"data":1,"exclude":"1-2f"}"#).unwrap();
    assert_eq!(many.exclude, Some("1-2f".parse().unwrap()));
    let body = refused(r#"{"rooms":["a"],"data":1,"exclude":"me"}"#);
    assert!(body.contains("me") && body.contains("SHARD-KEY") && body.contains("line 1 column"), "{body}");
    refused(r#"{"rooms":["a"],"data":1,"exclude":null}"#);
}

#[test]
fn the_number_of_rooms_is_inclusive() {
    let with = |count: usize| {
        let names: Vec<String> = (0..count).map(|at| format!("\"r{at}\"")).collect();
        parse(&format!("{{\"rooms\":[{}],\"data\":1}}", names.join(",")))
    };
    for count in [1, 999, 1000] {
        assert_eq!(with(count).unwrap().rooms.len(), count);
    }
    assert!(with(1001).unwrap_err().body.contains("more than 1000"));
    assert!(with(0).unwrap_err().body.contains("rooms has no name"));
}

#[test]
fn each_name_is_checked_and_named() {
    let long = "x".repeat(129);
    for (name, rule) in [("", "1 to 128 bytes"), (&long, "1 to 128 bytes"), ("\\u0000", "U+0000")] {
        let body = refused(&format!("{{\"rooms\":[\"a\",\"{name}\"],\"data\":1}}"));
        assert!(body.contains("rooms[1]: ") && body.contains(rule), "{body}");
        assert!(body.contains("line 1 column"), "{body}");
    }
    let body = refused(r#"{"rooms":["a","b","a"],"data":1}"#);
    assert!(body.contains("rooms[2] is a again"), "{body}");
}

#[test]
fn bad_json_is_refused_with_line_and_column_and_the_form() {
    for (body, place, what) in [
        ("", "line 1 column 0", "EOF"),
        ("{\n  \"rooms\": [\"a\",],\n}", "line 2 column 17", "trailing comma"),
        ("{\"rooms\":[\"a\"],\"data\":{x}}", "line 1 column 24", "key must be a string"),
        ("{\"rooms\":[\"a\"],\"data\":1} x", "line 1 column 26", "trailing characters"),
        ("[[\"a\"],1]", "line 1 column ", "sequence, expected an object"),
        ("\"a\"", "line 1 column 3", "expected an object"),
        ("{\"rooms\":\"a\",\"data\":1}", "line 1 column 12", "expected an array of 1 to 1000 room names"),
        ("{\"rooms\":[1],\"data\":1}", "line 1 column 11", "expected a string"),
        ("{\"rooms\":[\"a\"],\"data\":1,\"room\":1}", "line 1 column 30", "unknown field `room`"),
        ("{\"rooms\":[\"a\"],\"data\":1,\"data\":1}", "line 1 column 30", "duplicate field `data`"),
        ("{\"data\":1}", "line 1 column 10", "missing field `rooms`"),
        ("{\"rooms\":[\"a\"],\"text\":null}", "line 1 column ", "expected a string"),
        ("{\"rooms\":[\"a\"],\"text\":\"\\ud800\"}", "line 1 column ", "hex escape"),
    ] {
        let found = refused(body);
        assert!(found.contains(place) && found.contains(what), "{body}: {found}");
        assert!(found.contains("{\"rooms\":[1 to 1000 names],\"data\":any JSON} is expected"), "{found}");
    }
}

#[test]
fn bytes_that_are_no_utf_8_are_refused() {
    for body in [&b"{\"rooms\":[\"\xff\"],\"data\":1}"[..], b"{\"rooms\":[\"a\"],\"data\":\"\xff\"}", b"\xff"]
    {
        assert_eq!(parse_publish_many(body, 100).unwrap_err().status, 400);
    }
}

#[test]
fn what_a_peer_wrote_is_escaped_and_cut() {
    let body = refused(&format!("{{\"{}\":1}}", "x".repeat(10_000)));
    assert!(body.len() < 600 && body.contains('…') && body.contains("line 1 column"), "{body}");
    let body = refused("{\"\\u001b\\n\":1}");
    assert!(body.contains("\\x1b\\n") && !body.contains('\n'), "{body}");
}

#[test]
fn bad_base64_is_refused_with_the_form() {
    for text in ["Zg", "Zg=", "Zg==Zg==", "-_8=", "Zh==", "Z g=", "====", "="] {
        let body = refused(&format!("{{\"rooms\":[\"a\"],\"base64\":\"{text}\"}}"));
        assert!(body.contains("standard alphabet with padding"), "{body}");
    }
}

#[test]
fn the_size_of_a_message_is_inclusive() {
    for bytes in [0_usize, 1, 2, 3, 4, 29, 30, 31] {
        let mut base64 = Vec::new();
        super::super::push_base64(&mut base64, &vec![7; bytes]);
        let base64 = String::from_utf8(base64).unwrap();
        assert_eq!(decoded_bytes(&base64), bytes);
        let mut payloads =
            vec![format!("\"text\":\"{}\"", "x".repeat(bytes)), format!("\"base64\":\"{base64}\"")];
        if bytes > 1 {
            payloads.push(format!("\"data\":  \"{}\"  ", "x".repeat(bytes - 2)));
        }
        for payload in payloads {
            let body = format!("{{\"rooms\":[\"a\"],{payload}}}");
            let max = |max| parse_publish_many(body.as_bytes(), max);
            assert_eq!(max(bytes).unwrap().data.len(), bytes);
            assert!(max(bytes + 1).is_ok());
            if bytes > 0 {
                let refusal = max(bytes - 1).unwrap_err();
                assert_eq!(refusal.status, 413);
                assert!(
                    refusal.body.contains(&format!("{bytes} bytes"))
                        && refusal.body.contains("--max-message")
                );
            }
        }
    }
}

#[test]
fn deep_data_is_read_without_recursion() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let body = format!("{{\"rooms\":[\"a\"],\"data\":{deep}}}");
    assert_eq!(parse_publish_many(body.as_bytes(), deep.len()).unwrap().data, deep.as_bytes());
}

#[test]
fn answers_say_where_the_message_is() {
    let at = |offset| Position { epoch: Epoch::new(0xab), offset };
    let names = rooms(&["a\"", "b"]);
    let answer = publish_answer(&names[0], at(1), false);
    assert_eq!((answer.status, answer.content_type), (200, "application/json"));
    assert_eq!(answer.body, br#"{"room":"a\"","epoch":"00000000000000ab","offset":1}"#);
    assert!(answer.headers.contains(&("Fanfare-Offset", "1".to_owned())));
    let repeat = publish_answer(&names[1], at(2), true);
    assert_eq!(repeat.body, br#"{"room":"b","epoch":"00000000000000ab","offset":2,"repeat":true}"#);
    let many = publish_many_answer(&[(names[0].clone(), at(1)), (names[1].clone(), at(2))]);
    assert_eq!(
        str::from_utf8(&many.body),
        Ok(
            r#"{"results":[{"room":"a\"","epoch":"00000000000000ab","offset":1},{"room":"b","epoch":"00000000000000ab","offset":2}]}"#
        )
    );
}
