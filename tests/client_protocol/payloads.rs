//! Payloads through every door: a payload is as it was published, and one that is no JSON has a
//! documented form in JSON framing.

use fanfare::Config;
use fanfare::protocol::Opcode;
use prost::Message as _;
use serde_json::{Value, json};

use crate::common::{Server, binary, text};
use crate::schema;
use crate::sdk::{Framing, Sdk, server};

/// The text of the one frame that has come.
fn json_frame(server: &mut Server, sdk: &Sdk) -> String {
    let mut frames = server.take_frames(sdk.at);
    assert_eq!((frames.len(), frames[0].opcode), (1, Opcode::Text), "{frames:?}");
    String::from_utf8(frames.remove(0).payload).unwrap()
}

fn protobuf_publication(server: &mut Server, sdk: &Sdk) -> schema::Publication {
    let frames = server.take_frames(sdk.at);
    assert_eq!((frames.len(), frames[0].opcode), (1, Opcode::Binary), "{frames:?}");
    let reply = schema::Reply::decode_length_delimited(frames[0].payload.as_slice()).unwrap();
    reply.push.unwrap().publication.unwrap()
}

fn deep(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

#[test]
fn json_members_get_json_as_it_is_and_the_rest_in_a_form_that_is_named() {
    let mut server = server(2, &Config::default());
    let mut reader = Sdk::connect(&mut server, 0, Framing::Json);
    let mut protobuf = Sdk::connect(&mut server, 1, Framing::Protobuf);
    for sdk in [&mut reader, &mut protobuf] {
        sdk.subscribe(&mut server, "r");
    }
    let raw = server.connect(1, "/rooms/r");
    let form = |form: &str| format!(",\"tags\":{{\"form\":\"{form}\"}}");
    let cases: Vec<(bool, Vec<u8>, String, String)> = vec![
        (true, b"{\"a\":[1,2.50,null]}".to_vec(), "{\"a\":[1,2.50,null]}".to_owned(), String::new()),
        (true, b"1e2".to_vec(), "1e2".to_owned(), String::new()),
        (true, "\"gr\u{fc}\u{df}\\n\"".into(), "\"gr\u{fc}\u{df}\\n\"".to_owned(), String::new()),
        (
            true,
            b"{\n  \"a\": 1,\r\n  \"b\": \"x\\ny\"\n}".to_vec(),
            "{   \"a\": 1,    \"b\": \"x\\ny\" }".to_owned(),
            String::new(),
        ),
        (true, b"hello".to_vec(), "\"hello\"".to_owned(), form("text")),
        (true, b"{} {}".to_vec(), "\"{} {}\"".to_owned(), form("text")),
        (true, b"a\nb\"c".to_vec(), "\"a\\nb\\\"c\"".to_owned(), form("text")),
        (true, b"NaN".to_vec(), "\"NaN\"".to_owned(), form("text")),
        (true, b"".to_vec(), "\"\"".to_owned(), form("text")),
        (true, deep(60).into(), deep(60), String::new()),
        (true, deep(61).into(), format!("\"{}\"", deep(61)), form("text")),
        (true, b"\"\\ud800\"".to_vec(), "\"\\\"\\\\ud800\\\"\"".to_owned(), form("text")),
        (false, b"\x00\xff\xfe".to_vec(), "\"AP/+\"".to_owned(), form("base64")),
        (false, b"{}".to_vec(), "\"e30=\"".to_owned(), form("base64")),
        (false, b"".to_vec(), "\"\"".to_owned(), form("base64")),
    ];
    for (offset, (is_text, payload, data, tags)) in (1..).zip(cases) {
        let shown = String::from_utf8_lossy(&payload).into_owned();
        let bytes = if is_text { text(&shown) } else { binary(&payload) };
        server.feed(raw, &bytes);
        server.settle();
        let line = json_frame(&mut server, &reader);
        let client = serde_json::from_str::<Value>(&line).unwrap()["push"]["pub"]["info"]["client"].clone();
        let info = format!("{{\"user\":\"\",\"client\":{client}}}");
        let publication = format!("{{\"data\":{data},\"info\":{info},\"offset\":{offset}{tags}}}");
        assert_eq!(line, format!("{{\"push\":{{\"channel\":\"r\",\"pub\":{publication}}}}}"), "{shown}");
        let publication = protobuf_publication(&mut server, &protobuf);
        assert_eq!((publication.data, publication.offset), (payload, offset), "{shown}");
        assert!(publication.tags.is_empty());
    }
    server.finish();
}

#[test]
fn what_an_sdk_publishes_is_the_same_bytes_for_raw_members() {
    let mut server = server(1, &Config::default());
    let raw = server.connect(0, "/rooms/r");
    let mut in_json = Sdk::connect(&mut server, 0, Framing::Json);
    let mut in_protobuf = Sdk::connect(&mut server, 0, Framing::Protobuf);
    for sdk in [&mut in_json, &mut in_protobuf] {
        sdk.subscribe(&mut server, "r");
    }
    let spaced = "{\"id\":5,\"publish\":{\"channel\":\"r\",\"data\":{ \"b\":1.0, \"a\" : \"\\u00fc\" }}}";
    server.feed(in_json.at, &text(spaced));
    server.settle();
    assert_eq!(
        server.take_texts(raw),
        ["{ \"b\":1.0, \"a\" : \"\\u00fc\" }"],
        "not parsed and written again"
    );
    for (data, opcode) in
        [(&b"{\"a\": 1}"[..], Opcode::Text), (b"hello", Opcode::Text), (b"\xff\x00", Opcode::Binary)]
    {
        let publish = Some(schema::PublishRequest { channel: "r".to_owned(), data: data.to_vec() });
        let command = schema::Command { id: 6, publish, ..schema::Command::default() };
        server.feed(in_protobuf.at, &binary(&command.encode_length_delimited_to_vec()));
        server.settle();
        let frames = server.take_frames(raw);
        assert_eq!((frames.len(), frames[0].opcode, &*frames[0].payload), (1, opcode, data));
    }
    server.finish();
}

#[test]
fn forms_are_the_same_in_pushes_history_and_recovery() {
    let mut server = server(1, &Config::default());
    let mut sdk = Sdk::connect(&mut server, 0, Framing::Json);
    let epoch = sdk.subscribe(&mut server, "r")["epoch"].as_str().unwrap().to_owned();
    let raw = server.connect(0, "/rooms/r?name=ann");
    for bytes in [text("{\"a\":\n1}"), text("words"), binary(b"\xff"), text("")] {
        server.feed(raw, &bytes);
        server.settle();
    }
    let pushed: Vec<Value> = sdk.pushes(&mut server).iter().map(|push| push["pub"].clone()).collect();
    assert_eq!(
        pushed.iter().map(|publication| publication["data"].clone()).collect::<Vec<_>>(),
        [json!({"a": 1}), json!("words"), json!("/w=="), json!("")]
    );
    assert_eq!(pushed[0]["info"]["user"], "ann");
    let history = sdk.ask(&mut server, "history", json!({"channel": "r", "limit": -1})).unwrap();
    assert_eq!(history["publications"], json!(pushed));
    sdk.ask(&mut server, "unsubscribe", json!({"channel": "r"})).unwrap();
    assert_eq!(sdk.recover(&mut server, "r", &epoch, 0)["publications"], json!(pushed));
    server.finish();
}

#[test]
fn names_and_channels_are_escaped_where_they_stand() {
    let channel = "a\"b\\c\u{2028}\u{1f600}";
    let user = "Ann \"the\\first\" \u{fc}";
    let mut server = server(1, &Config::default());
    for framing in crate::sdk::FRAMINGS {
        let mut sdk = Sdk::named(&mut server, 0, framing, user);
        sdk.subscribe(&mut server, channel);
        sdk.publish(&mut server, channel, json!(1)).unwrap();
        let pushes = sdk.pushes(&mut server);
        assert_eq!(
            (&pushes[0]["channel"], &pushes[0]["pub"]["info"]["user"]),
            (&json!(channel), &json!(user))
        );
        let present = sdk.ask(&mut server, "presence", json!({"channel": channel})).unwrap();
        assert_eq!(present["presence"][&sdk.id]["user"], user);
        sdk.ask(&mut server, "unsubscribe", json!({"channel": channel})).unwrap();
    }
    server.finish();
}
