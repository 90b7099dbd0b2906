//! Byte for byte what is sent, and that it reads back.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use super::super::{
    Framing, push_connect_reply, push_disconnect, push_empty_reply, push_error, push_error_saying,
    push_history_reply, push_join, push_leave, push_ping, push_presence_reply, push_presence_stats_reply,
    push_publication, push_subscribe_reply, push_unsubscribe,
};
use super::*;
use crate::rooms::Identity;

fn text(payload: &[u8]) -> Publication<'_> {
    Publication { offset: 7, client: None, identity: None, text: true, payload }
}

fn pushed(push: impl FnOnce(&mut Vec<u8>, Framing)) -> String {
    // What is in the buffer already belongs to others.
    let mut out = b"before".to_vec();
    push(&mut out, Framing::Json);
    assert!(!out.contains(&b'\n'), "a line feed ends a reply");
    String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned()
}

fn published(publication: &Publication<'_>) -> String {
    pushed(|out, framing| push_publication(out, framing, "news", publication))
}

#[test]
fn a_publication_is_its_payload_its_sender_and_its_offset() {
    let ann = Identity::new("an\"n").unwrap();
    let client = Some("1-2f".parse().unwrap());
    for (publication, expected) in [
        (
            Publication { client, identity: Some(&ann), ..text(b"{\"a\": 1}") },
            r#"{"data":{"a": 1},"info":{"user":"an\"n","client":"1-2f"},"offset":7}"#,
        ),
        (
            Publication { client, ..text(b"1.0") },
            r#"{"data":1.0,"info":{"user":"","client":"1-2f"},"offset":7}"#,
        ),
        (text(b"\"\\u00fc\\n\""), r#"{"data":"\u00fc\n","offset":7}"#),
        (text(b" [1,\r\n\n2]\n"), r#"{"data": [1,   2] ,"offset":7}"#),
        (text(b"a\nb"), r#"{"data":"a\nb","offset":7,"tags":{"form":"text"}}"#),
        (text(b""), r#"{"data":"","offset":7,"tags":{"form":"text"}}"#),
        (text(b"1e999"), r#"{"data":"1e999","offset":7,"tags":{"form":"text"}}"#),
        (text(b"\"\\ud800\""), r#"{"data":"\"\\ud800\"","offset":7,"tags":{"form":"text"}}"#),
        (text(b"\xff"), r#"{"data":"/w==","offset":7,"tags":{"form":"base64"}}"#),
        (
            Publication { text: false, ..text(b"{}") },
            r#"{"data":"e30=","offset":7,"tags":{"form":"base64"}}"#,
        ),
        (Publication { offset: u64::MAX, ..text(b"1") }, r#"{"data":1,"offset":18446744073709551615}"#),
    ] {
        let expected = format!(r#"{{"push":{{"channel":"news","pub":{expected}}}}}"#);
        assert_eq!(published(&publication), expected);
    }
}

#[test]
fn pushes_stand_byte_for_byte() {
    let ann = Identity::new("ann").unwrap();
    let client = Client { client: "1-2f".parse().unwrap(), identity: Some(&ann) };
    assert_eq!(
        pushed(|out, framing| push_join(out, framing, "a\"b", &client)),
        r#"{"push":{"channel":"a\"b","join":{"info":{"user":"ann","client":"1-2f"}}}}"#
    );
    assert_eq!(
        pushed(|out, framing| push_leave(out, framing, "news", &Client { identity: None, ..client })),
        r#"{"push":{"channel":"news","leave":{"info":{"user":"","client":"1-2f"}}}}"#
    );
    let code = UnsubscribeCode::InsufficientState;
    assert_eq!(
        pushed(|out, framing| push_unsubscribe(out, framing, "news", code)),
        r#"{"push":{"channel":"news","unsubscribe":{"code":2500,"reason":"insufficient state"}}}"#
    );
    assert_eq!(
        pushed(|out, framing| push_disconnect(out, framing, DisconnectCode::Slow)),
        r#"{"push":{"disconnect":{"code":3008,"reason":"slow"}}}"#
    );
    assert_eq!(pushed(push_ping), "{}");
}

#[test]
fn replies_stand_byte_for_byte() {
    let reply =
        ConnectReply { client: "1-2f".parse().unwrap(), version: "fanfare 1", ping_seconds: 25, pong: true };
    assert_eq!(
        pushed(|out, framing| push_connect_reply(out, framing, 1, &reply)),
        r#"{"id":1,"connect":{"client":"1-2f","version":"fanfare 1","ping":25,"pong":true}}"#
    );
    let silent = ConnectReply { ping_seconds: 0, pong: false, ..reply };
    assert_eq!(
        pushed(|out, framing| push_connect_reply(out, framing, 1, &silent)),
        r#"{"id":1,"connect":{"client":"1-2f","version":"fanfare 1"}}"#
    );
    assert_eq!(
        pushed(|out, framing| push_error(out, framing, 2, ErrorCode::NotAvailable)),
        r#"{"id":2,"error":{"code":108,"message":"not available"}}"#
    );
    assert_eq!(
        pushed(|out, framing| push_error_saying(out, framing, 2, ErrorCode::Internal, "\"a\"\nb")),
        r#"{"id":2,"error":{"code":100,"message":"\"a\"\nb","temporary":true}}"#
    );
    for (method, name) in
        [(Method::Unsubscribe, "unsubscribe"), (Method::Publish, "publish"), (Method::Ping, "ping")]
    {
        let expected = format!(r#"{{"id":4294967295,"{name}":{{}}}}"#);
        assert_eq!(pushed(|out, framing| push_empty_reply(out, framing, u32::MAX, method)), expected);
    }
    assert_eq!(
        pushed(|out, framing| push_presence_stats_reply(out, framing, 3, 2, 0)),
        r#"{"id":3,"presence_stats":{"num_clients":2,"num_users":0}}"#
    );
}

#[test]
fn a_subscribe_reply_carries_the_position_and_what_was_missed() {
    let reply = SubscribeReply {
        recoverable: true,
        positioned: true,
        epoch: Epoch::new(0xab),
        offset: 6,
        recovered: true,
        was_recovering: true,
        publications: [text(b"1"), Publication { offset: 8, ..text(b"x") }],
    };
    assert_eq!(
        pushed(|out, framing| push_subscribe_reply(out, framing, 2, reply)),
        concat!(
            r#"{"id":2,"subscribe":{"epoch":"00000000000000ab","offset":6,"recoverable":true,"positioned":true,"#,
            r#""recovered":true,"was_recovering":true,"publications":[{"data":1,"offset":7},"#,
            r#"{"data":"x","offset":8,"tags":{"form":"text"}}]}}"#
        )
    );
    let plain = SubscribeReply {
        recoverable: false,
        positioned: false,
        offset: 0,
        recovered: false,
        was_recovering: false,
        epoch: Epoch::new(0xab),
        publications: [],
    };
    assert_eq!(
        pushed(|out, framing| push_subscribe_reply(out, framing, 2, plain)),
        r#"{"id":2,"subscribe":{"epoch":"00000000000000ab","offset":0,"publications":[]}}"#
    );
}

#[test]
fn history_and_presence_list_what_there_is() {
    let history = HistoryReply { epoch: Epoch::new(0xab), offset: 9, publications: [text(b"1"), text(b"2")] };
    assert_eq!(
        pushed(|out, framing| push_history_reply(out, framing, 4, history)),
        concat!(
            r#"{"id":4,"history":{"epoch":"00000000000000ab","offset":9,"publications":"#,
            r#"[{"data":1,"offset":7},{"data":2,"offset":7}]}}"#
        )
    );
    let nothing = HistoryReply { epoch: Epoch::new(0xab), offset: 0, publications: [] };
    assert_eq!(
        pushed(|out, framing| push_history_reply(out, framing, 4, nothing)),
        r#"{"id":4,"history":{"epoch":"00000000000000ab","offset":0,"publications":[]}}"#
    );
    let ann = Identity::new("ann").unwrap();
    let clients = [
        Client { client: "1-2f".parse().unwrap(), identity: Some(&ann) },
        Client { client: "0-3".parse().unwrap(), identity: None },
    ];
    assert_eq!(
        pushed(|out, framing| push_presence_reply(out, framing, 5, clients)),
        concat!(
            r#"{"id":5,"presence":{"presence":{"1-2f":{"user":"ann","client":"1-2f"},"#,
            r#""0-3":{"user":"","client":"0-3"}}}}"#
        )
    );
    assert_eq!(
        pushed(|out, framing| push_presence_reply(out, framing, 5, [])),
        r#"{"id":5,"presence":{"presence":{}}}"#
    );
}

#[test]
fn the_deepest_spliced_payload_leaves_every_reply_within_64_levels() {
    let at = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for (depth, spliced) in [(59, true), (60, true), (61, false), (100_000, false)] {
        let payload = at(depth);
        let history =
            HistoryReply { epoch: Epoch::new(1), offset: 7, publications: [text(payload.as_bytes())] };
        let reply = pushed(|out, framing| push_history_reply(out, framing, 1, history));
        assert_eq!(reply.contains(r#""form":"text""#), !spliced, "{depth}");
        let before = reply.split("[[").next().unwrap();
        let around = before.matches(['{', '[']).count() - before.matches(['}', ']']).count();
        assert!(!spliced || around + depth <= 64, "{depth} in {around}");
    }
}

proptest! {
    #[test]
    fn every_payload_reads_back(
        payload in prop_oneof![
            "\\PC{0,20}".prop_map(String::into_bytes),
            "[\\[\\]{}\",:0-9a-f\\\\ue.\\- \r\n]{0,12}".prop_map(String::into_bytes),
            "\\[( ?\r?\n?[0-9]{1,3},){0,3}\n\"a\"\r\n\\]".prop_map(String::into_bytes),
            vec(any::<u8>(), 0..24),
        ],
        text: bool,
        channel in "\\PC{0,12}",
        offset: u64,
    ) {
        let publication = Publication { offset, client: None, identity: None, text, payload: &payload };
        let push = pushed(|out, framing| push_publication(out, framing, &channel, &publication));
        let push: Value = serde_json::from_str(&push).unwrap();
        prop_assert_eq!(&push["push"]["channel"], &Value::String(channel));
        let publication = &push["push"]["pub"];
        prop_assert_eq!(&publication["offset"], &Value::from(offset));
        match publication["tags"]["form"].as_str() {
            None => {
                let published: Value = serde_json::from_slice(&payload).unwrap();
                prop_assert!(text);
                prop_assert_eq!(&publication["data"], &published);
            }
            Some("text") => {
                prop_assert!(text);
                prop_assert_eq!(publication["data"].as_str().unwrap().as_bytes(), &payload);
            }
            other => {
                prop_assert_eq!(other, Some("base64"));
                prop_assert!(!text || str::from_utf8(&payload).is_err());
                let mut base64 = Vec::new();
                push_base64(&mut base64, &payload);
                prop_assert_eq!(publication["data"].as_str().unwrap().as_bytes(), base64);
            }
        }
    }
}
