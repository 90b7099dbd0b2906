//! Replies and pushes of the client protocol, read with `serde_json` and `prost` by the schema that the tests
//! of the protocol have.

use fanfare::endpoint::client_protocol::Framing;
use prost::Message as _;
use serde_json::Value;

use super::schema;
use super::wire::Frame;

/// What a server says.
#[derive(Clone, Debug)]
pub enum Said {
    Reply {
        id: u32,
        error: Option<u64>,
        body: Value,
    },
    Publication {
        channel: String,
        offset: u64,
        data: Payload,
    },
    /// Another push.
    Push,
    Ping,
}

/// A payload as it stands in a publication.
#[derive(Clone, Debug)]
pub enum Payload {
    Bytes(Vec<u8>),
    Json(Value),
    Text(String),
    Base64(String),
}

const METHODS: [&str; 8] =
    ["connect", "subscribe", "unsubscribe", "publish", "presence", "presence_stats", "history", "ping"];

/// Everything in a frame; nothing in a control frame.
pub fn said(framing: Framing, frame: &Frame) -> Vec<Said> {
    match (framing, frame.opcode) {
        (_, 8..) => Vec::new(),
        (Framing::Json, 1) => {
            let text = std::str::from_utf8(&frame.payload).expect("text is UTF-8");
            text.split('\n').map(json).collect()
        }
        (Framing::Protobuf, 2) => {
            let (mut rest, mut all) = (frame.payload.as_slice(), Vec::new());
            while !rest.is_empty() {
                let reply = schema::Reply::decode_length_delimited(&mut rest).expect("a reply");
                all.push(protobuf(reply));
            }
            all
        }
        (framing, opcode) => panic!("a frame of opcode {opcode} in {framing:?}"),
    }
}

fn json(line: &str) -> Said {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let object = value.as_object().expect("an object");
    if object.is_empty() {
        return Said::Ping;
    }
    if let Some(push) = object.get("push") {
        assert_eq!(object.len(), 1, "{line}");
        let Some(publication) = push.get("pub") else { return Said::Push };
        let data = publication["data"].clone();
        let text = || data.as_str().expect("a string").to_owned();
        let data = match publication["tags"]["form"].as_str() {
            None => Payload::Json(data),
            Some("text") => Payload::Text(text()),
            Some("base64") => Payload::Base64(text()),
            Some(other) => panic!("{other} is no form"),
        };
        let channel = push["channel"].as_str().expect("a channel").to_owned();
        return Said::Publication {
            channel,
            offset: publication["offset"].as_u64().expect("a number"),
            data,
        };
    }
    let id = object["id"].as_u64().and_then(|id| u32::try_from(id).ok()).expect("an id");
    let error = object.get("error").map(|error| error["code"].as_u64().expect("a code"));
    let results = METHODS.iter().filter(|method| object.contains_key(**method)).count();
    assert_eq!(object.len(), 2, "{line}");
    assert_eq!(results + usize::from(error.is_some()), 1, "{line}");
    Said::Reply { id, error, body: value }
}

fn protobuf(reply: schema::Reply) -> Said {
    if let Some(push) = reply.push {
        let Some(publication) = push.publication else { return Said::Push };
        assert!(publication.tags.is_empty());
        let data = Payload::Bytes(publication.data);
        return Said::Publication { channel: push.channel, offset: publication.offset, data };
    }
    if reply == schema::Reply::default() {
        return Said::Ping;
    }
    let (id, error) = (reply.id, reply.error.as_ref().map(|error| u64::from(error.code)));
    let body = serde_json::to_value(&reply).expect("JSON");
    let object = body.as_object().expect("an object");
    let results = METHODS.iter().filter(|method| object.contains_key(**method)).count();
    assert_eq!(results + usize::from(error.is_some()), 1, "{body}");
    assert!(id > 0);
    Said::Reply { id, error, body }
}

impl Said {
    /// A publication stands for this payload.
    pub fn check_payload(&self, payload: &[u8]) {
        let Said::Publication { data, .. } = self else { panic!("no publication: {self:?}") };
        match data {
            Payload::Bytes(bytes) => assert_eq!(bytes, payload),
            Payload::Text(text) => assert_eq!(text.as_bytes(), payload),
            Payload::Base64(text) => assert_eq!(unbase64(text), payload),
            Payload::Json(value) => {
                let published: Value = serde_json::from_slice(payload).expect("only JSON stands as it is");
                assert_eq!(*value, published);
            }
        }
    }
}

/// RFC 4648 §4, bit by bit.
fn unbase64(text: &str) -> Vec<u8> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    assert_eq!(text.len() % 4, 0, "{text}");
    let digits: Vec<u8> = text.trim_end_matches('=').bytes().collect();
    let value = |digit: &u8| ALPHABET.bytes().position(|known| known == *digit).expect("a digit");
    let bits: Vec<bool> =
        digits.iter().flat_map(|digit| (0..6).rev().map(move |bit| value(digit) >> bit & 1 == 1)).collect();
    let byte = |bits: &[bool]| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
    bits.chunks_exact(8).map(byte).collect()
}
