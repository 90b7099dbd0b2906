//! Frames of real SDKs, frames at every limit, and frames of nobody.

use std::borrow::Cow;

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;
use serde_json::json;

use super::super::tests::{JSON_FRAMES, PROTOBUF_FRAMES, schema, sdk_commands};
use super::super::{Connect, Data, History, StreamPosition, Subscribe};
use super::*;

fn all(framing: Framing, message: &[u8]) -> Vec<Result<Command<'_>, DecodeError>> {
    decode(framing, message).collect()
}

fn json(message: &str) -> Vec<Result<Command<'_>, DecodeError>> {
    all(Framing::Json, message.as_bytes())
}

#[track_caller]
fn only_one(framing: Framing, message: &[u8]) -> Command<'_> {
    let mut commands = all(framing, message);
    assert_eq!(commands.len(), 1, "{commands:?}");
    commands.remove(0).unwrap()
}

#[track_caller]
fn problem(framing: Framing, message: &[u8]) -> String {
    let mut commands = all(framing, message);
    assert_eq!(commands.len(), 1, "{commands:?}");
    commands.remove(0).unwrap_err().to_string()
}

fn ping(id: u32) -> Command<'static> {
    Command { id, request: Request::Ping }
}

/// A Protobuf message behind its length.
fn framed(message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    prost::encode_length_delimiter(message.len(), &mut frame).unwrap();
    frame.extend_from_slice(message);
    frame
}

#[test]
fn the_sdks_frames_are_read_alike_in_both_framings() {
    let json: Vec<_> = JSON_FRAMES.iter().flat_map(|frame| json(frame)).map(Result::unwrap).collect();
    assert_eq!(json, sdk_commands());
    let protobuf: Vec<_> =
        PROTOBUF_FRAMES.iter().flat_map(|frame| all(Framing::Protobuf, frame)).map(Result::unwrap).collect();
    assert_eq!(protobuf, sdk_commands());
}

#[test]
fn all_the_sdks_commands_in_one_frame_are_the_same_commands() {
    let frame = JSON_FRAMES.join("\n");
    let commands: Vec<_> = json(&frame).into_iter().map(Result::unwrap).collect();
    assert_eq!(commands, sdk_commands());
    let frame = PROTOBUF_FRAMES.concat();
    let commands: Vec<_> = all(Framing::Protobuf, &frame).into_iter().map(Result::unwrap).collect();
    assert_eq!(commands, sdk_commands());
}

#[test]
fn a_plain_frame_is_borrowed_from() {
    for (framing, frame) in
        [(Framing::Json, JSON_FRAMES[1].as_bytes()), (Framing::Protobuf, PROTOBUF_FRAMES[1])]
    {
        let Request::Publish { channel, data } = only_one(framing, frame).request else { panic!() };
        assert!(matches!(channel, Cow::Borrowed(_)));
        assert!(frame.as_ptr_range().contains(&data.bytes.as_ptr()));
    }
    let escaped = only_one(Framing::Json, br#"{"id":1,"presence":{"channel":"\u00fc"}}"#).request;
    assert_eq!(escaped, Request::Presence { channel: "ü".into() });
}

#[test]
fn lines_end_with_line_feeds_and_the_last_need_not() {
    for frame in ["{\"id\":1,\"ping\":{}}", "{\"id\":1,\"ping\":{}}\n", " {\"id\":1,\"ping\":{}}\r\n"] {
        assert_eq!(json(frame), [Ok(ping(1))], "{frame:?}");
    }
    let two = json("{\"id\":1,\"ping\":{}}\r\n{\"id\":2,\"ping\":{}}\r\n");
    assert_eq!(two, [Ok(ping(1)), Ok(ping(2))]);
    for frame in ["\n", " ", "\r\n", "\n{}"] {
        let text = problem(Framing::Json, frame.as_bytes());
        assert!(text.contains("EOF while parsing"), "{frame:?}: {text}");
    }
    let blank_between = json("{}\n\n{}");
    assert_eq!(blank_between.len(), 2);
    assert_eq!(blank_between[1].as_ref().unwrap_err().command, 2);
    assert!(json("{\"id\":1,\n\"ping\":{}}")[0].is_err(), "a command stands on one line");
}

#[test]
fn an_empty_frame_has_no_command() {
    for framing in [Framing::Json, Framing::Protobuf] {
        assert_eq!(
            problem(framing, b""),
            "command 1 of the frame: the frame is empty; at least one command is expected"
        );
    }
}

#[test]
fn commands_before_a_wrong_one_stand_and_none_behind_it() {
    let commands = json("{}\n{\"id\":1,\"ping\":{}}\n{\"id\":2}\n{}");
    assert_eq!(commands.len(), 3);
    assert_eq!(commands[1], Ok(ping(1)));
    let wrong = DecodeError { command: 3, problem: Problem::Requests { seen: 0 } };
    assert_eq!(commands[2], Err(wrong.clone()));
    let frame = b"\x00\x04\x08\x01\x5a\x00\x02\x08\x02\x00";
    assert_eq!(
        all(Framing::Protobuf, frame),
        [Ok(Command { id: 0, request: Request::Pong }), Ok(ping(1)), Err(wrong)]
    );
}

#[test]
fn a_command_has_one_request_and_an_id_unless_it_wants_no_reply() {
    for (frame, expected) in [
        (r#"{"id":1}"#, "it has 0 requests; a command with an id has exactly 1 of those"),
        (r#"{"id":1,"later":{}}"#, "it has 0 requests"),
        (r#"{"id":1,"ping":{},"send":{}}"#, "it has 2 requests"),
        (r#"{"ping":{},"connect":{},"send":{}}"#, "it has 3 requests"),
        (r#"{"ping":{}}"#, "it has no id; only an empty command and send go without one"),
        (r#"{"id":0,"subscribe":{"channel":"a"}}"#, "it has no id"),
    ] {
        let text = problem(Framing::Json, frame.as_bytes());
        assert!(text.contains(expected), "{frame}: {text}");
    }
    for (message, expected) in [
        (&b"\x08\x01"[..], "it has 0 requests"),
        (b"\x08\x01\x5a\x00\x62\x00", "it has 2 requests"),
        (b"\x08\x01\x5a\x00\x5a\x00", "it has 2 requests"),
        (b"\x5a\x00", "it has no id"),
    ] {
        let text = problem(Framing::Protobuf, &framed(message));
        assert!(text.contains(expected), "{message:x?}: {text}");
    }
    let send = Command { id: 7, request: Request::Send };
    assert_eq!(only_one(Framing::Json, br#"{"id":7,"send":{}}"#), send);
    assert_eq!(only_one(Framing::Protobuf, b"\x04\x08\x07\x62\x00"), send);
}

#[test]
fn wrong_types_say_where_they_are() {
    for (frame, expected) in [
        ("[]", "command 1 of the frame: column 0: invalid type: sequence, expected an object"),
        ("{\"id\":-1}", "invalid value: integer `-1`, expected u32"),
        ("{\"id\":4294967296}", "invalid value: integer `4294967296`, expected u32"),
        ("{\"id\":1.0}", "invalid type: floating point `1.0`, expected u32"),
        ("{\"id\":\"1\"}", "invalid type: string \\\"1\\\", expected u32"),
        ("{\"id\":1,\"ping\":[]}", "invalid type: sequence, expected an object"),
        ("{\"id\":1,\"ping\":true}", "invalid type: boolean `true`, expected an object"),
        (
            "{\"id\":1,\"presence\":{\"channel\":7}}",
            "column 31: invalid type: integer `7`, expected a string",
        ),
        ("{\"id\":1,\"subscribe\":{\"recover\":1}}", "invalid type: integer `1`, expected a boolean"),
        ("{\"id\":1,\"subscribe\":{\"offset\":-1}}", "expected u64"),
        ("{\"id\":1,\"subscribe\":{\"offset\":18446744073709551616}}", "expected u64"),
        ("{\"id\":1,\"history\":{\"limit\":2147483648}}", "expected i32"),
        ("{\"id\":1,\"history\":{\"since\":[1,\"a\"]}}", "invalid type: sequence, expected an object"),
        ("{\"id\":1,\"publish\":{\"data\":nul}}", "expected ident"),
        ("{\"id\":1,\"id\":1}", "duplicate field `id`"),
        ("{\"id\":1,\"ping\":{},\"ping\":{}}", "duplicate field `ping`"),
        ("{} {}", "column 4: trailing characters"),
        ("hello", "column 1: expected value; a command is one JSON object on a line of its own"),
    ] {
        let text = problem(Framing::Json, frame.as_bytes());
        assert!(text.contains(expected), "{frame}: {text}");
    }
    assert_eq!(
        problem(Framing::Json, b"{\"id\":1,\xff"),
        "command 1 of the frame: byte 9 of the frame is not UTF-8, which JSON is written in"
    );
}

#[test]
fn a_peers_words_are_escaped_and_cut_in_an_error() {
    let long = format!("{{\"id\":\"\u{1b}{}\"}}", "x".repeat(100_000));
    let escaped = long.replace('\u{1b}', "\\u001b");
    let text = problem(Framing::Json, escaped.as_bytes());
    assert!(text.len() < 400 && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn broken_protobuf_says_where_the_command_begins() {
    let string_not_utf8 = framed(b"\x08\x01\x42\x03\x0a\x01\xff");
    let group = |levels: usize| {
        let message = [[0xa3, 0x06].repeat(levels), [0xa4, 0x06].repeat(levels)].concat();
        framed(&message)
    };
    for (frame, expected) in [
        (&b"\x80"[..], "unexpected end of buffer"),
        (b"\x05\x08", "unexpected end of buffer"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "unexpected end of buffer"),
        (b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", "varint"),
        (b"\x0c\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", "varint"),
        (b"\x06\x08\x80\x80\x80\x80\x10", "the id 4294967296 has more than 32 bits"),
        (b"\x02\x5a\x7f", "unexpected end of buffer"),
        (b"\x03\x0a\x01a", "wire type mismatch on field 1"),
        (b"\x02\x58\x01", "wire type mismatch on field 11"),
        (b"\x02\x06\x01", "invalid wire type"),
        (b"\x02\x00\x01", "invalid field number"),
        (&string_not_utf8, "invalid UTF-8"),
        (&group(10_000), "recursion limit"),
    ] {
        let text = problem(Framing::Protobuf, frame);
        let place = "command 1 of the frame: from byte 1 of the frame: ";
        assert!(text.starts_with(place) && text.contains(expected), "{frame:x?}: {text}");
    }
    assert_eq!(only_one(Framing::Protobuf, &group(50)).request, Request::Pong);
    let second = all(Framing::Protobuf, b"\x04\x08\x01\x5a\x00\x02\x58\x01").remove(1).unwrap_err();
    assert!(second.to_string().starts_with("command 2 of the frame: from byte 6 of the frame: "), "{second}");
}

#[test]
fn unknown_fields_are_skipped() {
    let frame =
        br#"{"later":[{"a":1}],"id":1,"subscribe":{"channel":"a","x":null,"data":{},"y":{"channel":"b"}}}"#;
    let subscribe = Subscribe { channel: "a".into(), ..Subscribe::default() };
    let expected = Command { id: 1, request: Request::Subscribe(subscribe) };
    assert_eq!(only_one(Framing::Json, frame), expected);
    // Fields 100 of each wire type, and two that the reserved numbers 2 and 3 once had.
    let unknown = b"\xa0\x06\x01\xa1\x06abcdefgh\xa2\x06\x02hi\xa5\x06abcd\xa3\x06\x08\x01\xa4\x06";
    let inner = [unknown, &b"\x0a\x01a"[..], unknown].concat();
    let message = [&b"\x10\x01\x1a\x01x\x08\x01\x2a"[..], &framed(&inner), unknown].concat();
    assert_eq!(only_one(Framing::Protobuf, &framed(&message)), expected);
}

#[test]
fn null_is_a_field_that_is_not_there_but_for_data_of_a_publication() {
    let frame = br#"{"id":1,"ping":null,"connect":{"token":null,"data":null,"name":null,"subs":null}}"#;
    assert_eq!(
        only_one(Framing::Json, frame),
        Command { id: 1, request: Request::Connect(Connect::default()) }
    );
    assert_eq!(only_one(Framing::Json, br#"{"id":null}"#).request, Request::Pong);
    let publish = |data| Request::Publish { channel: "a".into(), data: Data::text(data) };
    let request = only_one(Framing::Json, br#"{"id":1,"publish":{"channel":"a","data":null}}"#).request;
    assert_eq!(request, publish("null"));
    let request = only_one(Framing::Json, br#"{"id":1,"publish":{"channel":"a"}}"#).request;
    assert_eq!(request, publish(""));
}

#[test]
fn the_last_of_a_protobuf_field_holds() {
    let message = b"\x08\x09\x42\x06\x0a\x01a\x0a\x01b\x08\x01";
    let expected = Command { id: 1, request: Request::Presence { channel: "b".into() } };
    assert_eq!(only_one(Framing::Protobuf, &framed(message)), expected);
}

#[test]
fn nesting_overflows_nothing() {
    for depth in [10_000, 100_000] {
        let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let frame =
            format!(r#"{{"id":1,"publish":{{"channel":"a","data":{nested},"x":{nested}}},"y":{nested}}}"#);
        let Request::Publish { data, .. } = only_one(Framing::Json, frame.as_bytes()).request else {
            panic!()
        };
        assert_eq!(data.bytes, nested.as_bytes());
        for open in ["[", "{\"a\":", "{\"id\":1,\"ping\":{\"a\":"] {
            assert!(json(&open.repeat(depth))[0].is_err());
        }
    }
}

#[test]
fn the_commands_of_a_frame_are_counted() {
    for (count, ok) in [
        (COMMANDS_PER_MESSAGE_MAX - 1, true),
        (COMMANDS_PER_MESSAGE_MAX, true),
        (COMMANDS_PER_MESSAGE_MAX + 1, false),
    ] {
        for (framing, frame) in
            [(Framing::Json, "{}\n".repeat(count).into_bytes()), (Framing::Protobuf, vec![0; count])]
        {
            let mut commands = all(framing, &frame);
            assert_eq!(commands.len(), count);
            let last = commands.pop().unwrap();
            assert!(commands.iter().all(Result::is_ok));
            let too_many = Err(DecodeError { command: count, problem: Problem::TooMany });
            assert_eq!(last.is_ok(), ok, "{framing:?} {count}");
            assert!(ok || last == too_many);
        }
    }
}

#[test]
fn what_we_do_not_offer_is_told_apart() {
    let map = br#"{"id":1,"publish":{"channel":"a","data":1,"type":1,"key":"k"}}"#;
    assert_eq!(only_one(Framing::Json, map).request, Request::MapPublish);
    let message = schema::Command {
        id: 1,
        publish: Some(schema::PublishRequest { kind: 1, ..Default::default() }),
        ..Default::default()
    };
    let frame = message.encode_length_delimited_to_vec();
    assert_eq!(only_one(Framing::Protobuf, &frame).request, Request::MapPublish);
    let frame = br#"{"id":1,"subscribe":{"token":"t","delta":"fossil","tf":{"key":"a"},"type":2,"flag":-1}}"#;
    let expected = Subscribe {
        token: true,
        delta: true,
        filter: true,
        not_a_stream: true,
        flag: u64::MAX,
        ..Subscribe::default()
    };
    assert_eq!(only_one(Framing::Json, frame).request, Request::Subscribe(expected));
}

prop_compose! {
    fn any_subscribe()(
        channel in "\\PC{0,12}", epoch in "\\PC{0,8}", token: bool, recover: bool, offset: u64,
        positioned: bool, recoverable: bool, join_leave: bool, delta: bool, filter: bool,
        not_a_stream: bool, flag: i64,
    ) -> Subscribe<'static> {
        let (channel, epoch, flag) = (channel.into(), epoch.into(), flag.cast_unsigned());
        Subscribe {
            channel, token, recover, epoch, offset, positioned, recoverable, join_leave, delta, filter,
            not_a_stream, flag,
        }
    }
}

prop_compose! {
    fn any_history()(
        channel in "\\PC{0,12}", limit: i32, since in proptest::option::of((any::<u64>(), "\\PC{0,8}")),
        reverse: bool,
    ) -> History<'static> {
        let since = since.map(|(offset, epoch)| StreamPosition { offset, epoch: epoch.into() });
        History { channel: channel.into(), limit, since, reverse }
    }
}

fn text_if(there: bool) -> String {
    if there { "x".to_owned() } else { String::new() }
}

fn subscribe_message(subscribe: &Subscribe<'_>) -> schema::Command {
    let request = schema::SubscribeRequest {
        channel: subscribe.channel.to_string(),
        token: text_if(subscribe.token),
        recover: subscribe.recover,
        epoch: subscribe.epoch.to_string(),
        offset: subscribe.offset,
        data: b"ignored".to_vec(),
        positioned: subscribe.positioned,
        recoverable: subscribe.recoverable,
        join_leave: subscribe.join_leave,
        delta: text_if(subscribe.delta),
        tf: subscribe.filter.then_some(schema::Empty {}),
        flag: subscribe.flag.cast_signed(),
        kind: subscribe.not_a_stream.into(),
        cursor: "ignored".to_owned(),
    };
    schema::Command { id: 5, subscribe: Some(request), ..Default::default() }
}

fn subscribe_json(subscribe: &Subscribe<'_>) -> String {
    let mut request = json!({
        "channel": subscribe.channel, "token": text_if(subscribe.token), "recover": subscribe.recover,
        "epoch": subscribe.epoch, "offset": subscribe.offset, "positioned": subscribe.positioned,
        "recoverable": subscribe.recoverable, "join_leave": subscribe.join_leave,
        "delta": text_if(subscribe.delta), "flag": subscribe.flag.cast_signed(),
        "type": i32::from(subscribe.not_a_stream), "data": {"ignored": [1]},
    });
    if subscribe.filter {
        request["tf"] = json!({"op": "and"});
    }
    json!({"id": 5, "subscribe": request}).to_string()
}

proptest! {
    #[test]
    fn whatever_arrives_ends_without_a_panic(
        message in prop_oneof![
            vec(any::<u8>(), 0..64),
            "(\\{(\"(id|ping|connect|publish|channel|data)\":|[0-9{}\\[\\]\",n\n]){0,12})".prop_map(String::into_bytes),
            vec(prop_oneof![0_u8..16, Just(0x22), Just(0x2a), Just(0x3a), Just(0x52)], 0..40),
        ],
    ) {
        for framing in [Framing::Json, Framing::Protobuf] {
            let commands = all(framing, &message);
            prop_assert!(!commands.is_empty() && commands.len() <= COMMANDS_PER_MESSAGE_MAX + 1);
            let wrong = commands.iter().position(Result::is_err);
            prop_assert!(wrong.is_none_or(|at| at + 1 == commands.len()));
        }
    }

    #[test]
    fn a_broken_frame_of_an_sdk_never_panics(at in 0..11_usize, cut in 0..80_usize, place in 0..80_usize, byte: u8) {
        for (framing, frame) in
            [(Framing::Json, JSON_FRAMES[at].as_bytes()), (Framing::Protobuf, PROTOBUF_FRAMES[at])]
        {
            let mut frame = frame[..cut.min(frame.len())].to_vec();
            if let Some(broken) = frame.get_mut(place) {
                *broken = byte;
            }
            prop_assert!(!all(framing, &frame).is_empty());
        }
    }

    #[test]
    fn subscribes_are_read_as_they_were_meant(subscribe in any_subscribe()) {
        let json = subscribe_json(&subscribe);
        let protobuf = subscribe_message(&subscribe).encode_length_delimited_to_vec();
        let expected = Command { id: 5, request: Request::Subscribe(subscribe) };
        prop_assert_eq!(only_one(Framing::Json, json.as_bytes()), expected.clone());
        prop_assert_eq!(only_one(Framing::Protobuf, &protobuf), expected);
    }

    #[test]
    fn histories_are_read_as_they_were_meant(history in any_history()) {
        let since = history.since.as_ref();
        let json = json!({"id": u32::MAX, "history": {
            "channel": history.channel, "limit": history.limit, "reverse": history.reverse,
            "since": since.map(|since| json!({"offset": since.offset, "epoch": since.epoch})),
        }}).to_string();
        let since = since
            .map(|since| schema::StreamPosition { offset: since.offset, epoch: since.epoch.to_string() });
        let request = schema::HistoryRequest {
            channel: history.channel.to_string(), limit: history.limit, since, reverse: history.reverse,
        };
        let protobuf = schema::Command { id: u32::MAX, history: Some(request), ..Default::default() }
            .encode_length_delimited_to_vec();
        let expected = Command { id: u32::MAX, request: Request::History(history) };
        prop_assert_eq!(only_one(Framing::Json, json.as_bytes()), expected.clone());
        prop_assert_eq!(only_one(Framing::Protobuf, &protobuf), expected);
    }

    #[test]
    fn connects_and_payloads_are_read_as_they_were_meant(
        name in "\\PC{0,12}", version in "\\PC{0,8}", token: bool, data in vec(any::<u8>(), 1..40),
    ) {
        let request = schema::ConnectRequest {
            token: text_if(token), data: data.clone(), name: name.clone(), version: version.clone(),
            headers: [("a".to_owned(), "b".to_owned())].into(), flag: 3,
        };
        let publish = schema::PublishRequest { channel: name.clone(), data: data.clone(), kind: 0 };
        let mut frame = Vec::new();
        let commands = [
            schema::Command { id: 1, connect: Some(request), ..Default::default() },
            schema::Command { id: 2, publish: Some(publish), ..Default::default() },
        ];
        for command in &commands {
            command.encode_length_delimited(&mut frame).unwrap();
        }
        let data = Data::bytes(&data);
        let connect = Connect { name: name.clone().into(), version: version.into(), token, data: Some(data) };
        prop_assert_eq!(all(Framing::Protobuf, &frame), [
            Ok(Command { id: 1, request: Request::Connect(connect) }),
            Ok(Command { id: 2, request: Request::Publish { channel: name.into(), data } }),
        ]);
    }

    #[test]
    fn payloads_keep_their_bytes_in_json(value in "\"\\PC{0,20}\"|[0-9]{1,20}|\\[ ?(1, ?)*2\\]|\\{ \"a\" :null\t\\}") {
        prop_assume!(serde_json::from_str::<serde_json::Value>(&value).is_ok());
        let frame = format!("{{\"id\":1,\"publish\":{{\"channel\":\"a\",\"data\":{value} }}}}");
        let request = Request::Publish { channel: "a".into(), data: Data::text(&value) };
        prop_assert_eq!(only_one(Framing::Json, frame.as_bytes()).request, request);
    }
}
