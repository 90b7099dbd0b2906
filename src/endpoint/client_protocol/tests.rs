//! What the tests of both framings compare with: the schema for a second reader and writer, and frames
//! of an SDK.

use std::borrow::Cow;

use super::{Command, Connect, Data, History, Request, StreamPosition, Subscribe};

const EPOCH: &str = "00000000000000ab";

/// What `centrifuge` 5.8.0 for JavaScript sends in JSON: connects, subscribes, publishes, asks, leaves.
pub(super) const JSON_FRAMES: &[&str] = &[
    "{\"connect\":{\"data\":{\"name\":\"ann\"},\"name\":\"shop\",\"version\":\"1.2\"},\"id\":1}\n\
     {\"subscribe\":{\"channel\":\"news\",\"positioned\":true,\"recoverable\":true,\"join_leave\":true,\
     \"flag\":1,\"recover\":true,\"offset\":7,\"epoch\":\"00000000000000ab\"},\"id\":2}",
    r#"{"publish":{"channel":"news","data":{"text":"grüß\n"}},"id":3}"#,
    r#"{"history":{"channel":"news","since":{"offset":3,"epoch":"00000000000000ab"},"limit":10,"reverse":true},"id":4}"#,
    r#"{"history":{"channel":"news","limit":-1},"id":5}"#,
    r#"{"presence":{"channel":"news"},"id":6}"#,
    r#"{"presence_stats":{"channel":"news"},"id":7}"#,
    "{\"publish\":{\"channel\":\"a\",\"data\":1},\"id\":8}\n{\"publish\":{\"channel\":\"b\",\"data\":null},\"id\":9}",
    r#"{"send":{"data":{}}}"#,
    r#"{"rpc":{"method":"sum","data":[1,2]},"id":10}"#,
    "{}",
    r#"{"unsubscribe":{"channel":"news"},"id":11}"#,
];

/// What its Protobuf build sends for the same calls.
pub(super) const PROTOBUF_FRAMES: &[&[u8]] = &[
    b"\x1f\x08\x01\x22\x1b\x12\x0e{\x22name\x22:\x22ann\x22}\x22\x04shop*\x031.2(\x08\x02*$\x0a\x04news\x18\
      \x012\x1000000000000000ab8\x07H\x01P\x01X\x01p\x01",
    b"\x1f\x08\x03:\x1b\x0a\x04news\x12\x13{\x22text\x22:\x22gr\xc3\xbc\xc3\x9f\x5cn\x22}",
    b"$\x08\x04R \x0a\x04news8\x0aB\x14\x08\x03\x12\x1000000000000000abH\x01",
    b"\x15\x08\x05R\x11\x0a\x04news8\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x0a\x08\x06B\x06\x0a\x04news",
    b"\x0a\x08\x07J\x06\x0a\x04news",
    b"\x0a\x08\x08:\x06\x0a\x01a\x12\x011\x0d\x08\x09:\x09\x0a\x01b\x12\x04null",
    b"\x06b\x04\x0a\x02{}",
    b"\x10\x08\x0aj\x0c\x0a\x05[1,2]\x12\x03sum",
    b"\x00",
    b"\x0a\x08\x0b2\x06\x0a\x04news",
];

pub(super) fn sdk_commands() -> Vec<Command<'static>> {
    let channel = || Cow::Borrowed("news");
    let connect = Connect {
        name: "shop".into(),
        version: "1.2".into(),
        token: false,
        data: Some(Data::text(r#"{"name":"ann"}"#)),
    };
    let subscribe = Subscribe {
        channel: channel(),
        recover: true,
        epoch: EPOCH.into(),
        offset: 7,
        positioned: true,
        recoverable: true,
        join_leave: true,
        flag: 1,
        ..Subscribe::default()
    };
    let publish =
        |channel: &'static str, data| Request::Publish { channel: channel.into(), data: Data::text(data) };
    let since = Some(StreamPosition { offset: 3, epoch: EPOCH.into() });
    let requests = [
        (1, Request::Connect(connect)),
        (2, Request::Subscribe(subscribe)),
        (3, publish("news", r#"{"text":"grüß\n"}"#)),
        (4, Request::History(History { channel: channel(), limit: 10, since, reverse: true })),
        (5, Request::History(History { channel: channel(), limit: -1, ..History::default() })),
        (6, Request::Presence { channel: channel() }),
        (7, Request::PresenceStats { channel: channel() }),
        (8, publish("a", "1")),
        (9, publish("b", "null")),
        (0, Request::Send),
        (10, Request::Rpc),
        (0, Request::Pong),
        (11, Request::Unsubscribe { channel: channel() }),
    ];
    requests.map(|(id, request)| Command { id, request }).to_vec()
}

/// The schema, for prost. Field numbers are copied from `client.proto`, not from the code under test.
pub(super) mod schema {
    use std::collections::HashMap;

    use prost::Message;

    #[derive(Clone, PartialEq, Message)]
    pub(in super::super) struct Command {
        #[prost(uint32, tag = "1")]
        pub(in super::super) id: u32,
        #[prost(message, optional, tag = "4")]
        pub(in super::super) connect: Option<ConnectRequest>,
        #[prost(message, optional, tag = "5")]
        pub(in super::super) subscribe: Option<SubscribeRequest>,
        #[prost(message, optional, tag = "6")]
        pub(in super::super) unsubscribe: Option<ChannelRequest>,
        #[prost(message, optional, tag = "7")]
        pub(in super::super) publish: Option<PublishRequest>,
        #[prost(message, optional, tag = "8")]
        pub(in super::super) presence: Option<ChannelRequest>,
        #[prost(message, optional, tag = "9")]
        pub(in super::super) presence_stats: Option<ChannelRequest>,
        #[prost(message, optional, tag = "10")]
        pub(in super::super) history: Option<HistoryRequest>,
        #[prost(message, optional, tag = "11")]
        pub(in super::super) ping: Option<Empty>,
        #[prost(message, optional, tag = "12")]
        pub(in super::super) send: Option<DataOnly>,
        #[prost(message, optional, tag = "13")]
        pub(in super::super) rpc: Option<DataOnly>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(in super::super) struct ConnectRequest {
        #[prost(string, tag = "1")]
        pub(in super::super) token: String,
        #[prost(bytes = "vec", tag = "2")]
        pub(in super::super) data: Vec<u8>,
        #[prost(string, tag = "4")]
        pub(in super::super) name: String,
        #[prost(string, tag = "5")]
        pub(in super::super) version: String,
        #[prost(map = "string, string", tag = "6")]
        pub(in super::super) headers: HashMap<String, String>,
        #[prost(int64, tag = "7")]
        pub(in super::super) flag: i64,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(in super::super) struct SubscribeRequest {
        #[prost(string, tag = "1")]
        pub(in super::super) channel: String,
        #[prost(string, tag = "2")]
        pub(in super::super) token: String,
        #[prost(bool, tag = "3")]
        pub(in super::super) recover: bool,
        #[prost(string, tag = "6")]
        pub(in super::super) epoch: String,
        #[prost(uint64, tag = "7")]
        pub(in super::super) offset: u64,
        #[prost(bytes = "vec", tag = "8")]
        pub(in super::super) data: Vec<u8>,
        #[prost(bool, tag = "9")]
        pub(in super::super) positioned: bool,
        #[prost(bool, tag = "10")]
        pub(in super::super) recoverable: bool,
        #[prost(bool, tag = "11")]
        pub(in super::super) join_leave: bool,
        #[prost(string, tag = "12")]
        pub(in super::super) delta: String,
        #[prost(message, optional, tag = "13")]
        pub(in super::super) tf: Option<Empty>,
        #[prost(int64, tag = "14")]
        pub(in super::super) flag: i64,
        #[prost(int32, tag = "15")]
        pub(in super::super) kind: i32,
        #[prost(string, tag = "17")]
        pub(in super::super) cursor: String,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(in super::super) struct ChannelRequest {
        #[prost(string, tag = "1")]
        pub(in super::super) channel: String,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(in super::super) struct PublishRequest {
        #[prost(string, tag = "1")]
        pub(in super::super) channel: String,
        #[prost(bytes = "vec", tag = "2")]
        pub(in super::super) data: Vec<u8>,
        #[prost(int32, tag = "3")]
        pub(in super::super) kind: i32,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(in super::super) struct HistoryRequest {
        #[prost(string, tag = "1")]
        pub(in super::super) channel: String,
        #[prost(int32, tag = "7")]
        pub(in super::super) limit: i32,
        #[prost(message, optional, tag = "8")]
        pub(in super::super) since: Option<StreamPosition>,
        #[prost(bool, tag = "9")]
        pub(in super::super) reverse: bool,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(in super::super) struct StreamPosition {
        #[prost(uint64, tag = "1")]
        pub(in super::super) offset: u64,
        #[prost(string, tag = "2")]
        pub(in super::super) epoch: String,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(in super::super) struct Empty {}

    #[derive(Clone, PartialEq, Message)]
    pub(in super::super) struct DataOnly {
        #[prost(bytes = "vec", tag = "1")]
        pub(in super::super) data: Vec<u8>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(in super::super) struct Reply {
        #[prost(uint32, tag = "1")]
        pub(in super::super) id: u32,
        #[prost(message, optional, tag = "2")]
        pub(in super::super) error: Option<Error>,
        #[prost(message, optional, tag = "4")]
        pub(in super::super) push: Option<Push>,
        #[prost(message, optional, tag = "5")]
        pub(in super::super) connect: Option<ConnectResult>,
        #[prost(message, optional, tag = "6")]
        pub(in super::super) subscribe: Option<SubscribeResult>,
        #[prost(message, optional, tag = "7")]
        pub(in super::super) unsubscribe: Option<Empty>,
        #[prost(message, optional, tag = "8")]
        pub(in super::super) publish: Option<Empty>,
        #[prost(message, optional, tag = "9")]
        pub(in super::super) presence: Option<PresenceResult>,
        #[prost(message, optional, tag = "10")]
        pub(in super::super) presence_stats: Option<PresenceStatsResult>,
        #[prost(message, optional, tag = "11")]
        pub(in super::super) history: Option<HistoryResult>,
        #[prost(message, optional, tag = "12")]
        pub(in super::super) ping: Option<Empty>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(in super::super) struct Error {
        #[prost(uint32, tag = "1")]
        pub(in super::super) code: u32,
        #[prost(string, tag = "2")]
        pub(in super::super) message: String,
        #[prost(bool, tag = "3")]
        pub(in super::super) temporary: bool,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(in super::super) struct Push {
        #[prost(string, tag = "2")]
        pub(in super::super) channel: String,
        #[prost(message, optional, tag = "4")]
        pub(in super::super) publication: Option<Publication>,
        #[prost(message, optional, tag = "5")]
        pub(in super::super) join: Option<InfoOnly>,
        #[prost(message, optional, tag = "6")]
        pub(in super::super) leave: Option<InfoOnly>,
        #[prost(message, optional, tag = "7")]
        pub(in super::super) unsubscribe: Option<Unsubscribe>,
        #[prost(message, optional, tag = "11")]
        pub(in super::super) disconnect: Option<Disconnect>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(in super::super) struct Publication {
        #[prost(bytes = "vec", tag = "4")]
        pub(in super::super) data: Vec<u8>,
        #[prost(message, optional, tag = "5")]
        pub(in super::super) info: Option<ClientInfo>,
        #[prost(uint64, tag = "6")]
        pub(in super::super) offset: u64,
        #[prost(map = "string, string", tag = "7")]
        pub(in super::super) tags: HashMap<String, String>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(in super::super) struct ClientInfo {
        #[prost(string, tag = "1")]
        pub(in super::super) user: String,
        #[prost(string, tag = "2")]
        pub(in super::super) client: String,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(in super::super) struct InfoOnly {
        #[prost(message, optional, tag = "1")]
        pub(in super::super) info: Option<ClientInfo>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(in super::super) struct Unsubscribe {
        #[prost(uint32, tag = "2")]
        pub(in super::super) code: u32,
        #[prost(string, tag = "3")]
        pub(in super::super) reason: String,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(in super::super) struct Disconnect {
        #[prost(uint32, tag = "1")]
        pub(in super::super) code: u32,
        #[prost(string, tag = "2")]
        pub(in super::super) reason: String,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(in super::super) struct ConnectResult {
        #[prost(string, tag = "1")]
        pub(in super::super) client: String,
        #[prost(string, tag = "2")]
        pub(in super::super) version: String,
        #[prost(uint32, tag = "7")]
        pub(in super::super) ping: u32,
        #[prost(bool, tag = "8")]
        pub(in super::super) pong: bool,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(in super::super) struct SubscribeResult {
        #[prost(bool, tag = "3")]
        pub(in super::super) recoverable: bool,
        #[prost(string, tag = "6")]
        pub(in super::super) epoch: String,
        #[prost(message, repeated, tag = "7")]
        pub(in super::super) publications: Vec<Publication>,
        #[prost(bool, tag = "8")]
        pub(in super::super) recovered: bool,
        #[prost(uint64, tag = "9")]
        pub(in super::super) offset: u64,
        #[prost(bool, tag = "10")]
        pub(in super::super) positioned: bool,
        #[prost(bool, tag = "12")]
        pub(in super::super) was_recovering: bool,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(in super::super) struct PresenceResult {
        #[prost(map = "string, message", tag = "1")]
        pub(in super::super) presence: HashMap<String, ClientInfo>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(in super::super) struct PresenceStatsResult {
        #[prost(uint32, tag = "1")]
        pub(in super::super) num_clients: u32,
        #[prost(uint32, tag = "2")]
        pub(in super::super) num_users: u32,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(in super::super) struct HistoryResult {
        #[prost(message, repeated, tag = "1")]
        pub(in super::super) publications: Vec<Publication>,
        #[prost(string, tag = "2")]
        pub(in super::super) epoch: String,
        #[prost(uint64, tag = "3")]
        pub(in super::super) offset: u64,
    }
}
