//! What another reader makes of what is sent, and that the bytes are the shortest there are.

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;

use super::super::tests::schema;
use super::super::{
    Framing, push_connect_reply, push_disconnect, push_empty_reply, push_error, push_error_saying,
    push_history_reply, push_join, push_leave, push_ping, push_presence_reply, push_presence_stats_reply,
    push_publication, push_subscribe_reply, push_unsubscribe,
};
use super::*;
use crate::rooms::{Epoch, Identity};

/// What prost reads; the bytes are also what it would write, so nothing is longer than it must be.
fn pushed(push: impl FnOnce(&mut Vec<u8>, Framing)) -> schema::Reply {
    let mut out = b"before".to_vec();
    push(&mut out, Framing::Protobuf);
    let bytes = out.strip_prefix(b"before").unwrap();
    let mut rest = bytes;
    let reply = schema::Reply::decode_length_delimited(&mut rest).unwrap();
    assert!(rest.is_empty(), "{} bytes behind the reply", rest.len());
    assert_eq!(reply.encode_length_delimited_to_vec().len(), bytes.len());
    reply
}

fn push(channel: &str) -> schema::Push {
    schema::Push { channel: channel.to_owned(), ..Default::default() }
}

fn reply_of(push: schema::Push) -> schema::Reply {
    schema::Reply { push: Some(push), ..Default::default() }
}

fn info(user: &str, client: &str) -> schema::ClientInfo {
    schema::ClientInfo { user: user.to_owned(), client: client.to_owned() }
}

fn binary(offset: u64, payload: &[u8]) -> Publication<'_> {
    Publication { offset, client: None, identity: None, text: false, payload }
}

fn read_as(offset: u64, data: &[u8]) -> schema::Publication {
    schema::Publication { offset, data: data.to_vec(), ..Default::default() }
}

#[test]
fn a_publication_stands_byte_for_byte() {
    let ann = Identity::new("ann").unwrap();
    let client = Some("1-2f".parse().unwrap());
    let publication = Publication { client, identity: Some(&ann), ..binary(300, b"{}") };
    let mut out = Vec::new();
    super::push_publication(&mut out, "a", &publication);
    assert_eq!(out, b"\x1b\x22\x19\x12\x01a\x22\x14\x22\x02{}\x2a\x0b\x0a\x03ann\x12\x041-2f\x30\xac\x02");
    out.clear();
    super::push_publication(&mut out, "a", &binary(1, b"\xff"));
    assert_eq!(out, b"\x0c\x22\x0a\x12\x01a\x22\x05\x22\x01\xff\x30\x01");
    out.clear();
    // Empty data is written all the same: readers differ in what a missing field is to them.
    super::push_publication(&mut out, "a", &binary(1, b""));
    assert_eq!(out, b"\x0b\x22\x09\x12\x01a\x22\x04\x22\x00\x30\x01");
}

#[test]
fn a_ping_is_an_empty_message() {
    let mut out = Vec::new();
    push_ping(&mut out, Framing::Protobuf);
    assert_eq!(out, [0]);
    assert_eq!(pushed(push_ping), schema::Reply::default());
}

#[test]
fn pushes_are_read_by_others() {
    let ann = Identity::new("ann").unwrap();
    let client = Client { client: "255-ffffffffffffffff".parse().unwrap(), identity: Some(&ann) };
    let only = Some(schema::InfoOnly { info: Some(info("ann", "255-ffffffffffffffff")) });
    assert_eq!(
        pushed(|out, framing| push_join(out, framing, "news", &client)),
        reply_of(schema::Push { join: only, ..push("news") })
    );
    let nobody = Client { client: "0-0".parse().unwrap(), identity: None };
    let only = Some(schema::InfoOnly { info: Some(info("", "0-0")) });
    assert_eq!(
        pushed(|out, framing| push_leave(out, framing, "news", &nobody)),
        reply_of(schema::Push { leave: only, ..push("news") })
    );
    let unsubscribe = Some(schema::Unsubscribe { code: 2500, reason: "insufficient state".to_owned() });
    let code = UnsubscribeCode::InsufficientState;
    assert_eq!(
        pushed(|out, framing| push_unsubscribe(out, framing, "news", code)),
        reply_of(schema::Push { unsubscribe, ..push("news") })
    );
    let disconnect = Some(schema::Disconnect { code: 3008, reason: "slow".to_owned() });
    assert_eq!(
        pushed(|out, framing| push_disconnect(out, framing, DisconnectCode::Slow)),
        reply_of(schema::Push { disconnect, ..push("") })
    );
}

#[test]
fn replies_are_read_by_others() {
    let reply =
        ConnectReply { client: "1-2f".parse().unwrap(), version: "fanfare 1", ping_seconds: 25, pong: true };
    let connect = schema::ConnectResult {
        client: "1-2f".to_owned(),
        version: "fanfare 1".to_owned(),
        ping: 25,
        pong: true,
    };
    assert_eq!(
        pushed(|out, framing| push_connect_reply(out, framing, 1, &reply)),
        schema::Reply { id: 1, connect: Some(connect), ..Default::default() }
    );
    let error = schema::Error { code: 100, message: "internal server error".to_owned(), temporary: true };
    assert_eq!(
        pushed(|out, framing| push_error(out, framing, 2, ErrorCode::Internal)),
        schema::Reply { id: 2, error: Some(error), ..Default::default() }
    );
    let error = schema::Error { code: 108, message: "no".to_owned(), temporary: false };
    assert_eq!(
        pushed(|out, framing| push_error_saying(out, framing, 2, ErrorCode::NotAvailable, "no")),
        schema::Reply { id: 2, error: Some(error), ..Default::default() }
    );
    let empty = |method| pushed(|out, framing| push_empty_reply(out, framing, u32::MAX, method));
    let reply = schema::Reply { id: u32::MAX, ..Default::default() };
    let result = Some(schema::Empty {});
    assert_eq!(empty(Method::Unsubscribe), schema::Reply { unsubscribe: result.clone(), ..reply.clone() });
    assert_eq!(empty(Method::Publish), schema::Reply { publish: result.clone(), ..reply.clone() });
    assert_eq!(empty(Method::Ping), schema::Reply { ping: result, ..reply });
    for (num_clients, num_users) in [(0, 0), (3, 2), (u32::MAX, u32::MAX)] {
        let presence_stats = Some(schema::PresenceStatsResult { num_clients, num_users });
        assert_eq!(
            pushed(|out, framing| push_presence_stats_reply(out, framing, 3, num_clients, num_users)),
            schema::Reply { id: 3, presence_stats, ..Default::default() }
        );
    }
}

#[test]
fn presence_is_a_map_by_client() {
    let ann = Identity::new("ann").unwrap();
    let clients = [
        Client { client: "1-2f".parse().unwrap(), identity: Some(&ann) },
        Client { client: "0-3".parse().unwrap(), identity: None },
    ];
    let presence = [("1-2f".to_owned(), info("ann", "1-2f")), ("0-3".to_owned(), info("", "0-3"))].into();
    assert_eq!(
        pushed(|out, framing| push_presence_reply(out, framing, 5, clients)),
        schema::Reply { id: 5, presence: Some(schema::PresenceResult { presence }), ..Default::default() }
    );
    assert_eq!(
        pushed(|out, framing| push_presence_reply(out, framing, 5, [])).presence,
        Some(schema::PresenceResult::default())
    );
}

proptest! {
    #[test]
    fn publications_are_read_by_others(
        channel in "\\PC{1,100}", name in proptest::option::of("[a-z]{1,64}"), offset: u64, shard in 0..256_usize,
        key: u64, text: bool, payload in prop_oneof![vec(any::<u8>(), 1..40), vec(any::<u8>(), 16_300..16_500)],
    ) {
        let identity = name.as_deref().map(|name| Identity::new(name).unwrap());
        let client = format!("{shard}-{key:x}");
        let publication = Publication {
            offset,
            client: Some(client.parse().unwrap()),
            identity: identity.as_ref(),
            text,
            payload: &payload,
        };
        let read = pushed(|out, framing| push_publication(out, framing, &channel, &publication));
        let expected = schema::Publication {
            info: Some(info(name.as_deref().unwrap_or_default(), &client)),
            ..read_as(offset, &payload)
        };
        prop_assert_eq!(read, reply_of(schema::Push { publication: Some(expected), ..push(&channel) }));
    }

    #[test]
    fn lists_of_publications_are_read_by_others(
        payloads in vec(vec(any::<u8>(), 1..200), 0..20), offset: u64, flags: u8, id in 1..u32::MAX,
    ) {
        let publications = || payloads.iter().map(|payload| binary(offset, payload));
        let read: Vec<_> = payloads.iter().map(|payload| read_as(offset, payload)).collect();
        let epoch = "00000000000000ab".to_owned();
        let flag = |bit: u8| flags & bit != 0;
        let reply = SubscribeReply {
            recoverable: flag(1), positioned: flag(2), epoch: Epoch::new(0xab), offset, recovered: flag(4),
            was_recovering: flag(8), publications: publications(),
        };
        let subscribe = schema::SubscribeResult {
            recoverable: flag(1), positioned: flag(2), epoch: epoch.clone(), offset, recovered: flag(4),
            was_recovering: flag(8), publications: read.clone(),
        };
        prop_assert_eq!(
            pushed(|out, framing| push_subscribe_reply(out, framing, id, reply)),
            schema::Reply { id, subscribe: Some(subscribe), ..Default::default() }
        );
        let reply = HistoryReply { epoch: Epoch::new(0xab), offset, publications: publications() };
        let history = schema::HistoryResult { epoch, offset, publications: read };
        prop_assert_eq!(
            pushed(|out, framing| push_history_reply(out, framing, id, reply)),
            schema::Reply { id, history: Some(history), ..Default::default() }
        );
    }
}
