//! Bodies become calls.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::endpoint::Recover;

const CLIENT: &str = "0-1";

fn parsed(method: &str, body: &str) -> Result<ApiCall<'static>, ApiError> {
    let body: &'static str = body.to_owned().leak();
    match parse_api(ApiMethod::find(method).unwrap(), body.as_bytes()) {
        Ok(ApiRequest::One(call)) => call,
        other => panic!("{method} {body}: {other:?}"),
    }
}

fn call(method: &str, body: &str) -> ApiCall<'static> {
    parsed(method, body).unwrap_or_else(|error| panic!("{method} {body}: {error}"))
}

/// The error of a call, which has to say this.
#[track_caller]
fn refused(method: &str, body: &str, code: ErrorCode, says: &str) {
    let error = parsed(method, body).unwrap_err();
    assert_eq!(error.code, code, "{method} {body}: {error}");
    assert!(error.message.contains(says), "{method} {body}: {error}");
}

fn room(name: &str) -> RoomName {
    RoomName::new(name).unwrap()
}

fn text(payload: &'static str) -> Message<'static> {
    Message { payload: payload.as_bytes().into(), kind: Kind::Text, idempotency_key: None }
}

fn target(user: &str, client: Option<&str>) -> Target {
    Target { user: user.to_owned(), client: client.map(|client| client.parse().unwrap()) }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("r{number}")).collect()
}

#[test]
fn every_method_has_its_call() {
    let query = HistoryQuery { since: None, limit: 0, reverse: false };
    let (code, reason) = (CloseCode::new(3503).unwrap(), "force disconnect".to_owned());
    let of = target("ann", None);
    for (method, body, expected) in [
        ("publish", r#"{"channel":"a","data":1}"#, ApiCall::Publish(room("a"), text("1"))),
        (
            "broadcast",
            r#"{"channels":["a","a"],"data":{}}"#,
            ApiCall::Broadcast(vec![Ok(room("a")), Ok(room("a"))], text("{}")),
        ),
        ("presence", r#"{"channel":"a"}"#, ApiCall::Presence(room("a"))),
        ("presence_stats", r#"{"channel":"ü"}"#, ApiCall::PresenceStats(room("ü"))),
        ("history", r#"{"channel":"a"}"#, ApiCall::History(room("a"), query)),
        ("channels", "{}", ApiCall::Channels("*".to_owned())),
        ("channels", r#"{"pattern":"a*b"}"#, ApiCall::Channels("a*b".to_owned())),
        ("info", "{}", ApiCall::Info),
        ("disconnect", r#"{"user":"ann"}"#, ApiCall::Disconnect { of, spared: vec![], code, reason }),
        (
            "unsubscribe",
            r#"{"channel":"a","user":"ann","client":"0-1"}"#,
            ApiCall::Unsubscribe(room("a"), target("ann", Some(CLIENT))),
        ),
    ] {
        assert_eq!(call(method, body), expected, "{method} {body}");
        // What newer libraries may add, and what is empty.
        let more = body.replacen('{', r#"{"newer":{"a":[1]},"#, 1).replace(",}", "}");
        assert_eq!(call(method, &more), expected, "{method} {more}");
    }
    let nulls = r#"{"channel":"a","limit":null,"since":null,"reverse":null}"#;
    assert_eq!(call("history", nulls), ApiCall::History(room("a"), query));
}

#[test]
fn what_is_no_json_of_the_form_is_refused_with_the_place_and_the_form() {
    for (method, body, place, says) in [
        ("publish", "", "line 1 column 0", "EOF"),
        ("publish", "{\n \"channel\": 1}", "line 2 column 13", "expected a string"),
        ("publish", r#"{"channel":"a","data":1}}"#, "line 1 column 25", "trailing"),
        ("publish", r#"{"channel":"a","data":tru}"#, "line 1 column 26", "expected"),
        ("publish", r#"{"channel":"a","channel":"b"}"#, "line 1", "duplicate field"),
        ("publish", r#"{"channel":"a","tags":{"a":1}}"#, "line 1", "a string"),
        ("publish", r#"{"channel":"a","skip_history":"yes"}"#, "line 1", "a boolean"),
        ("broadcast", r#"{"channels":"a"}"#, "line 1 column 15", "an array"),
        ("history", r#"{"channel":"a","limit":1.5}"#, "line 1", "i32"),
        ("history", r#"{"since":[1,"e"]}"#, "line 1", "an object"),
        ("disconnect", r#"{"disconnect":{"code":-1}}"#, "line 1", "u32"),
        ("presence", "[]", "line 1", "an object"),
        ("info", "null", "the body is null", "{} is expected"),
        ("batch", "null", "line 1", "an object"),
        ("batch", r#"{"commands":[{"publish":{"channel":5}}]}"#, "line 1", "a string"),
        ("batch", r#"{"commands":[[]]}"#, "line 1", "a command"),
    ] {
        let method = ApiMethod::find(method).unwrap();
        let refusal = parse_api(method, body.as_bytes()).unwrap_err();
        assert_eq!(refusal.status, 400, "{body}");
        for part in [place, says, method.form(), "expected"] {
            assert!(refusal.body.contains(part), "{body}: {} has no {part}", refusal.body);
        }
    }
    let broken = parse_api(ApiMethod::Publish, b"{\"channel\":\"a\",\"data\":\"\xff\"}").unwrap_err();
    assert_eq!(broken.status, 400);
}

#[test]
fn data_stands_as_it_was_written_and_b64data_is_binary() {
    for data in [r#"{ "b" : 1.0,"a":"\u00fc" }"#, "null", "\"\"", "[1,\n2]", "1e999", "18446744073709551616"]
    {
        let body = format!(r#"{{"data":{data},"channel":"a"}}"#);
        let ApiCall::Publish(_, message) = call("publish", &body) else { panic!("{body}") };
        assert_eq!((&*message.payload, message.kind), (data.as_bytes(), Kind::Text));
    }
    for body in [r#"{"channel":"a","b64data":"AP8="}"#, r#"{"channel":"a","b64data":"AP8=","data":""}"#] {
        let ApiCall::Publish(_, message) = call("publish", body) else { panic!("{body}") };
        assert_eq!((&*message.payload, message.kind), (&b"\0\xff"[..], Kind::Binary));
    }
    refused("publish", r#"{"channel":"a","b64data":"AP8"}"#, ErrorCode::BadRequest, "RFC 4648");
    refused("publish", r#"{"channel":"a","b64data":""}"#, ErrorCode::BadRequest, "data is missing");
    refused("publish", r#"{"channel":"a"}"#, ErrorCode::BadRequest, "data is missing");
}

#[test]
fn what_cannot_be_done_in_full_is_refused() {
    for (field, says) in [
        (r#""skip_history":true"#, "skip_history"),
        (r#""tags":{"a":"b"}"#, "tags"),
        (r#""version":1"#, "version"),
        (r#""version_epoch":"x""#, "version_epoch"),
    ] {
        for body in [r#""channel":"a""#, r#""channels":["a"]"#] {
            let method = if body.contains("channels") { "broadcast" } else { "publish" };
            let body = format!(r#"{{{body},"data":1,{field}}}"#);
            refused(method, &body, ErrorCode::NotAvailable, says);
        }
    }
    let nothing =
        r#""skip_history":false,"tags":{},"version":0,"version_epoch":"","delta":true,"idempotency_key":"""#;
    let body = format!(r#"{{"channel":"a","data":1,{nothing}}}"#);
    assert_eq!(call("publish", &body), ApiCall::Publish(room("a"), text("1")));
    for method in ["disconnect", "unsubscribe"] {
        let body = r#"{"channel":"a","user":"ann","session":"s"}"#;
        refused(method, body, ErrorCode::NotAvailable, "session");
    }
    for channel in ["", r#""channel":null,"#, r#""channel":"","#] {
        refused("unsubscribe", &format!(r#"{{{channel}"user":"ann"}}"#), ErrorCode::NotAvailable, "all");
    }
}

#[test]
fn a_channel_has_the_name_of_a_room() {
    for method in ["publish", "presence", "presence_stats", "history"] {
        refused(method, "{}", ErrorCode::BadRequest, "channel is missing");
        refused(method, r#"{"channel":""}"#, ErrorCode::BadRequest, "1 to 128 bytes");
        refused(method, r#"{"channel":"a\u0000"}"#, ErrorCode::BadRequest, "control");
    }
    for (bytes, ok) in [(127, true), (128, true), (129, false)] {
        let body = format!(r#"{{"channel":"{}","data":1}}"#, "x".repeat(bytes));
        assert_eq!(parsed("publish", &body).is_ok(), ok, "{bytes}");
    }
}

#[test]
fn the_idempotency_key_is_that_of_the_http_door() {
    let body = |key: &str| format!(r#"{{"channel":"a","data":1,"idempotency_key":"{key}"}}"#);
    for (bytes, ok) in [(1, true), (127, true), (128, true), (129, false)] {
        let key = "k".repeat(bytes);
        match parsed("publish", &body(&key)) {
            Ok(ApiCall::Publish(_, message)) => {
                assert!(ok && message.idempotency_key.as_deref() == Some(&*key), "{bytes}");
            }
            other => assert!(!ok && other.unwrap_err().message.contains("1 to 128"), "{bytes}"),
        }
    }
    refused("publish", &body("a b"), ErrorCode::BadRequest, "visible ASCII");
    refused("publish", &body("ü"), ErrorCode::BadRequest, "visible ASCII");
}

#[test]
fn the_channels_of_a_broadcast_are_counted_and_each_has_its_own_fault() {
    refused("broadcast", r#"{"data":1}"#, ErrorCode::BadRequest, "1 to 1000");
    refused("broadcast", r#"{"channels":[],"data":1}"#, ErrorCode::BadRequest, "1 to 1000");
    for (count, ok) in [(1, true), (999, true), (1000, true), (1001, false), (5000, false)] {
        let body = json!({"channels": names(count), "data": 1}).to_string();
        match parsed("broadcast", &body) {
            Ok(call) => assert!(ok && call.publications() == count, "{count}"),
            Err(error) => {
                assert!(!ok && error.code == ErrorCode::LimitExceeded, "{count}");
                assert!(error.message.contains(&format!("{count} names; up to 1000")), "{error}");
            }
        }
    }
    let ApiCall::Broadcast(rooms, _) = call("broadcast", r#"{"channels":["a","","b"],"data":1}"#) else {
        panic!("no broadcast");
    };
    assert_eq!((&rooms[0], &rooms[2]), (&Ok(room("a")), &Ok(room("b"))));
    assert_eq!(rooms[1].as_ref().unwrap_err().code, ErrorCode::BadRequest);
}

#[test]
fn what_one_request_publishes_is_bounded_over_all_of_its_commands() {
    let broadcast = |count: usize, payload: &str| {
        call("broadcast", &json!({"channels": names(count), "data": payload}).to_string())
    };
    let check = |calls: &[ApiCall<'_>], bytes| check_api_publications(calls, bytes);
    for (count, ok) in [(998, true), (999, true), (1000, false)] {
        let calls = [broadcast(count, ""), call("publish", r#"{"channel":"a","data":1}"#)];
        assert_eq!(check(&calls, usize::MAX).is_ok(), ok, "{count}");
    }
    // A payload of 10 bytes has a frame of 12.
    let calls = [broadcast(3, "12345678"), call("info", "{}")];
    for (bytes, ok) in [(35, false), (36, true), (37, true)] {
        let checked = check(&calls, bytes);
        assert_eq!(checked.is_ok(), ok, "{bytes}");
        if let Err(error) = checked {
            assert_eq!(error.code, ErrorCode::LimitExceeded);
            assert!(
                error.message.contains("36 bytes") && error.message.contains("--mailbox-bytes"),
                "{error}"
            );
        }
    }
    assert_eq!(check(&[call("publish", r#"{"channel":"a","data":"large"}"#)], 1), Ok(()), "one alone may");
}

#[test]
fn a_history_has_a_limit_a_place_and_a_direction() {
    let query = |fields: &str| match call("history", &format!(r#"{{"channel":"a",{fields}}}"#)) {
        ApiCall::History(_, query) => query,
        other => panic!("{other:?}"),
    };
    for (limit, expected) in [(-1, 10_000), (0, 0), (1, 1), (9_999, 9_999), (10_000, 10_000)] {
        assert_eq!(query(&format!(r#""limit":{limit}"#)).limit, expected);
    }
    let over = r#"{"channel":"a","limit":10001}"#;
    refused("history", over, ErrorCode::LimitExceeded, "up to 10000");
    let reads = |limit: i32| call("history", &format!(r#"{{"channel":"a","limit":{limit}}}"#)).reads();
    assert!(reads(1) && reads(-1) && !reads(0), "a position alone is short");
    let epoch = Epoch::new(0xab);
    let since = query(r#""since":{"offset":7,"epoch":"00000000000000ab"},"reverse":true"#);
    assert_eq!(since.since, Some(Recover { epoch: Some(epoch), offset: 7 }));
    assert!(since.reverse);
    assert_eq!(query(r#""since":{}"#).since, Some(Recover { epoch: None, offset: 0 }));
    let foreign = query(r#""since":{"offset":1,"epoch":"xyz"}"#).since.unwrap();
    assert_eq!(foreign.epoch, Some(Epoch::NONE), "no room is in that life");
}

#[test]
fn a_pattern_knows_only_the_star_and_is_as_long_as_a_name() {
    for (bytes, ok) in [(127, true), (128, true), (129, false)] {
        let body = json!({"pattern": "*".repeat(bytes)}).to_string();
        assert_eq!(parsed("channels", &body).is_ok(), ok, "{bytes}");
    }
    for pattern in ["a?", "[ab]", "{a,b}", "a\\*"] {
        let body = json!({"pattern": pattern}).to_string();
        refused("channels", &body, ErrorCode::NotAvailable, "only * has a meaning");
    }
    assert_eq!(call("channels", r#"{"pattern":""}"#), ApiCall::Channels("*".to_owned()));
}

#[test]
fn whose_connections_are_meant_is_said() {
    for method in ["disconnect", "unsubscribe"] {
        for body in [r#"{"channel":"a"}"#, r#"{"channel":"a","user":""}"#] {
            refused(method, body, ErrorCode::BadRequest, "user is empty");
        }
        let body = r#"{"channel":"a","user":"ann","client":"x"}"#;
        refused(method, body, ErrorCode::BadRequest, "SHARD-KEY");
    }
    let nameless = call("unsubscribe", r#"{"channel":"a","user":"","client":"0-1"}"#);
    assert_eq!(nameless, ApiCall::Unsubscribe(room("a"), target("", Some(CLIENT))));
}

#[test]
fn a_disconnect_has_a_code_and_a_reason_that_may_travel() {
    let close = |disconnect: Value| {
        let body = json!({"user": "ann", "disconnect": disconnect}).to_string();
        match parsed("disconnect", &body)? {
            ApiCall::Disconnect { code, reason, .. } => Ok((code.as_u16(), reason)),
            other => panic!("{other:?}"),
        }
    };
    let default = || Ok((3503, "force disconnect".to_owned()));
    for nothing in [Value::Null, json!({}), json!({"code": 0, "reason": ""})] {
        assert_eq!(close(nothing), default());
    }
    assert_eq!(close(json!({"reason": "bye"})), Ok((3503, "bye".to_owned())));
    for (code, ok) in [
        (1, false),
        (1000, false),
        (2999, false),
        (3000, true),
        (3001, true),
        (4998, true),
        (4999, true),
        (5000, false),
        (65_536 + 3000, false),
        (u32::MAX, false),
    ] {
        let closed: Result<_, ApiError> = close(json!({"code": code, "reason": "r"}));
        match closed {
            Ok((seen, _)) => assert!(ok && u32::from(seen) == code),
            Err(error) => assert!(!ok && error.message.contains("3000 to 4999"), "{code}: {error}"),
        }
    }
    for (bytes, ok) in [(122, true), (123, true), (124, false)] {
        assert_eq!(close(json!({"code": 4000, "reason": "r".repeat(bytes)})).is_ok(), ok, "{bytes}");
    }
}

#[test]
fn a_whitelist_is_a_list_of_ids_of_a_bounded_length() {
    for (count, ok) in [(0, true), (999, true), (1000, true), (1001, false)] {
        let body = json!({"user": "ann", "whitelist": vec![CLIENT; count]}).to_string();
        match parsed("disconnect", &body) {
            Ok(ApiCall::Disconnect { spared, .. }) => assert!(ok && spared.len() == count, "{count}"),
            other => assert!(!ok && other.unwrap_err().code == ErrorCode::LimitExceeded, "{count}"),
        }
    }
    let body = r#"{"user":"ann","whitelist":["0-1","x"]}"#;
    refused("disconnect", body, ErrorCode::BadRequest, "whitelist");
}

fn batch(body: &Value) -> Result<Vec<ApiCommand<'static>>, Refusal> {
    let body: &'static str = body.to_string().leak();
    match parse_api(ApiMethod::Batch, body.as_bytes())? {
        ApiRequest::Batch(commands) => Ok(commands),
        one => panic!("{one:?}"),
    }
}

#[test]
fn a_batch_has_commands_of_one_method_each() {
    let commands = batch(&json!({"parallel": true, "commands": [
        {"publish": {"channel": "a", "data": 1}},
        {"newer": 1, "presence": null, "info": {}},
        {"subscribe": {"user": 1}},
        {"presence": {"channel": ""}},
        {"info": {}, "channels": {}},
        {"batch": {"commands": []}},
        {},
    ]}))
    .unwrap();
    let code = |at: usize| commands[at].1.as_ref().unwrap_err().code;
    assert_eq!(commands[0], (Some(ApiMethod::Publish), Ok(ApiCall::Publish(room("a"), text("1")))));
    assert_eq!(commands[1], (Some(ApiMethod::Info), Ok(ApiCall::Info)));
    let expected = [
        ErrorCode::MethodNotFound,
        ErrorCode::BadRequest,
        ErrorCode::BadRequest,
        ErrorCode::MethodNotFound,
        ErrorCode::MethodNotFound,
    ];
    assert_eq!([code(2), code(3), code(4), code(5), code(6)], expected);
    assert!(batch(&json!({})).unwrap().is_empty());
}

#[test]
fn the_commands_of_a_batch_are_counted() {
    for (count, ok) in [(999, true), (1000, true), (1001, false), (3000, false)] {
        match batch(&json!({"commands": vec![json!({"info": {}}); count]})) {
            Ok(commands) => assert!(ok && commands.len() == count, "{count}"),
            Err(refusal) => {
                assert!(!ok && refusal.status == 413, "{count}");
                assert!(refusal.body.contains(&format!("{count} commands; up to 1000")), "{}", refusal.body);
            }
        }
    }
}

#[test]
fn methods_that_are_not_offered_say_so_whatever_the_body_is() {
    for method in ["subscribe", "refresh", "history_remove", "rpc", "connections", "map_publish"] {
        for body in ["{}", "", "\0"] {
            refused(method, body, ErrorCode::MethodNotFound, "method not found");
            refused(method, body, ErrorCode::MethodNotFound, method);
        }
    }
    for unknown in ["", "Publish", "publish/", "nothing", "presenceStats"] {
        assert_eq!(ApiMethod::find(unknown), None, "{unknown}");
    }
}

fn any_method() -> impl Strategy<Value = ApiMethod> {
    let names = [
        "batch",
        "broadcast",
        "channels",
        "disconnect",
        "history",
        "info",
        "presence",
        "presence_stats",
        "publish",
        "unsubscribe",
        "refresh",
    ];
    prop::sample::select(names.to_vec()).prop_map(|name| ApiMethod::find(name).unwrap())
}

/// Words of which bodies are made that come far.
fn words() -> impl Strategy<Value = String> {
    let words = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "null",
        "true",
        "1",
        "-1",
        "1e9",
        "\"\"",
        "\"a\"",
        "\"0-1\"",
        "\"*\"",
        "\"channel\"",
        "\"channels\"",
        "\"data\"",
        "\"b64data\"",
        "\"limit\"",
        "\"since\"",
        "\"offset\"",
        "\"epoch\"",
        "\"user\"",
        "\"client\"",
        "\"commands\"",
        "\"publish\"",
        "\"history\"",
        "\"whitelist\"",
        "\"disconnect\"",
        "\"code\"",
        "\"reason\"",
        "\"pattern\"",
        "\"tags\"",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..24).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn no_body_makes_it_panic(method in any_method(), body in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = parse_api(method, &body);
    }

    #[test]
    fn no_json_makes_it_panic_and_what_is_read_may_be_carried_out(method in any_method(), body in words()) {
        match parse_api(method, body.as_bytes()) {
            Ok(ApiRequest::One(Ok(ApiCall::Disconnect { code, reason, .. }))) => {
                prop_assert!((3000..=4999).contains(&code.as_u16()) && reason.len() <= 123);
            }
            Ok(ApiRequest::One(Ok(ApiCall::Publish(_, message)))) if message.kind == Kind::Text => {
                prop_assert!(serde_json::from_slice::<&serde_json::value::RawValue>(&message.payload).is_ok());
            }
            Ok(_) => {}
            Err(refusal) => prop_assert!([400, 413].contains(&refusal.status)),
        }
    }
}
