//! What came of calls, as it is answered.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::endpoint::client_protocol::ErrorCode;
use crate::rooms::{Batch, Identity, Piece, PresenceStats, Present, Sender};
use crate::time::Time;

const CLIENT: &str = "0-1";

fn room(name: &str) -> RoomName {
    RoomName::new(name).unwrap()
}

fn body(answer: &crate::endpoint::http::Answer) -> String {
    assert_eq!((answer.status, answer.content_type), (200, "application/json"));
    assert!(answer.headers.contains(&("Cache-Control", "no-store".to_owned())));
    String::from_utf8(answer.body.clone()).unwrap()
}

fn answered(result: ApiResult) -> String {
    body(&api_answer(&Ok(result)))
}

fn at(offset: u64) -> Position {
    Position { epoch: Epoch::new(0xab), offset }
}

/// Messages of these payloads with offsets from 1.
fn messages(payloads: &[&[u8]]) -> Messages {
    let mut batch = Batch::default();
    for payload in payloads {
        let sender = Sender::Api { exclude: None };
        batch.push(true, (sender, None), payload.len(), |out| out.extend_from_slice(payload));
    }
    let end = batch.len();
    let piece = Piece { batch: Arc::new(batch), first: 0, end, offset_before: 0, time: Time::ZERO };
    Messages { pieces: vec![piece], reader: None }
}

fn history(payloads: &[&[u8]], reverse: bool) -> Value {
    let last = payloads.len() as u64;
    let extent = Extent { epoch: Epoch::new(0xab), start: 0, last };
    let answer = answered(ApiResult::History { extent, messages: messages(payloads), reverse });
    serde_json::from_str(&answer).unwrap()
}

#[test]
fn results_have_the_schemas_shapes() {
    let error = ApiError::new(ErrorCode::BadRequest, "a \"b\"");
    let stats = PresenceStats { clients: 3, users: 2 };
    let ann = Some(Arc::new(Identity::new("ann").unwrap()));
    let present = vec![
        Present { client: CLIENT.parse().unwrap(), identity: ann },
        Present { client: "1-2".parse().unwrap(), identity: None },
    ];
    for (result, expected) in [
        (ApiResult::Published(at(7)), r#"{"offset":7,"epoch":"00000000000000ab"}"#),
        (
            ApiResult::Broadcast(vec![Ok(at(1)), Err(error.clone())]),
            r#"{"responses":[{"result":{"offset":1,"epoch":"00000000000000ab"}},{"error":{"code":107,"message":"a \"b\""}}]}"#,
        ),
        (
            ApiResult::Presence(present),
            r#"{"presence":{"0-1":{"user":"ann","client":"0-1"},"1-2":{"user":"","client":"1-2"}}}"#,
        ),
        (ApiResult::Presence(Vec::new()), r#"{"presence":{}}"#),
        (ApiResult::PresenceStats(stats), r#"{"num_clients":3,"num_users":2}"#),
        (
            ApiResult::Channels(vec![(room("a"), 1), (room("b\"c"), 20)]),
            r#"{"channels":{"a":{"num_clients":1},"b\"c":{"num_clients":20}}}"#,
        ),
        (ApiResult::Done, "{}"),
    ] {
        assert_eq!(answered(result), format!(r#"{{"result":{expected}}}"#));
    }
    let refused = body(&api_answer(&Err(error)));
    assert_eq!(refused, r#"{"error":{"code":107,"message":"a \"b\""}}"#);
}

#[test]
fn the_server_says_of_itself_what_it_knows() {
    let node = NodeInfo { life: Epoch::new(1), connections: 2, rooms: 3, uptime_seconds: 4 };
    let info: Value = serde_json::from_str(&answered(ApiResult::Info(node))).unwrap();
    let node = json!({
        "uid": "0000000000000001", "name": "fanfare", "version": env!("CARGO_PKG_VERSION"), "num_clients": 2,
        "num_channels": 3, "uptime": 4,
    });
    assert_eq!(info, json!({"result": {"nodes": [node]}}));
}

#[test]
fn a_history_keeps_order_payloads_and_the_rooms_position() {
    let answer = history(&[b"{\"a\": 1}", b"hello"], false);
    let first = json!({"data": {"a": 1}, "offset": 1});
    let second = json!({"data": "hello", "offset": 2, "tags": {"form": "text"}});
    let whole =
        |publications: Value| json!({"offset": 2, "epoch": "00000000000000ab", "publications": publications});
    assert_eq!(answer["result"], whole(json!([first, second])));
    let answer = history(&[b"{\"a\": 1}", b"hello"], true);
    assert_eq!(answer["result"], whole(json!([second, first])));
    assert_eq!(history(&[], false)["result"]["publications"], json!([]));
}

#[test]
fn a_history_ends_at_its_bytes_and_has_one_publication_at_least() {
    let around = r#"{"data":,"offset":1}"#.len();
    for (bytes, count) in [
        (HISTORY_ANSWER_BYTES - 1, 2),
        (HISTORY_ANSWER_BYTES, 1),
        (HISTORY_ANSWER_BYTES + 1, 1),
        (2 * HISTORY_ANSWER_BYTES, 1),
    ] {
        let payload = "1".repeat(bytes - around);
        let payload = format!("\"{}\"", &payload[2..]);
        for reverse in [false, true] {
            let answer = history(&[payload.as_bytes(), payload.as_bytes()], reverse);
            assert_eq!(answer["result"]["publications"].as_array().unwrap().len(), count, "{bytes}");
        }
    }
}

#[test]
fn a_batch_answers_in_order_under_the_names_of_the_methods() {
    let commands = [(Some(ApiMethod::Publish), 1), (None, 2), (Some(ApiMethod::PresenceStats), 3)];
    let mut lengths = Vec::new();
    let answer = api_batch_answer(commands, |command, answered| {
        lengths.push(answered);
        match command {
            1 => Ok(ApiResult::Published(at(1))),
            2 => Err(ApiError::new(ErrorCode::MethodNotFound, "m")),
            _ => Ok(ApiResult::PresenceStats(PresenceStats::default())),
        }
    });
    assert_eq!(
        body(&answer),
        r#"{"replies":[{"publish":{"offset":1,"epoch":"00000000000000ab"}},{"error":{"code":104,"message":"m"}},{"presence_stats":{"num_clients":0,"num_users":0}}]}"#
    );
    assert!(lengths.is_sorted() && lengths[0] < lengths[2]);
    let nothing = api_batch_answer(Vec::<(Option<ApiMethod>, ())>::new(), |(), _| unreachable!("no command"));
    assert_eq!(body(&nothing), r#"{"replies":[]}"#);
}
