//! An SDK's side of the protocol. Commands and replies are the values of JSON framing, whichever framing
//! the connection has.

use std::sync::Arc;

use fanfare::Config;
use fanfare::endpoint::client_protocol::ClientProtocol;
pub use fanfare::endpoint::client_protocol::Framing;
use fanfare::endpoint::{Following, RouterPlan};
use fanfare::protocol::Opcode;
use prost::Message as _;
use serde_json::{Value, json};

use crate::common::capture;
use crate::common::endpoints::{Obedient, Record};
use crate::common::frames::frames_and_rest;
use crate::common::{Client, Frame, Server, binary, text};
use crate::schema;

pub const FRAMINGS: [Framing; 2] = [Framing::Json, Framing::Protobuf];
pub const PATH: &str = "/connection/websocket";

/// Shards with the protocol under its path, as the binary has it, and [`Obedient`] under `/test`.
pub fn server(shards: usize, config: &Config) -> Server {
    let settings = config.endpoint_settings();
    let make = move || Following::new(ClientProtocol::new(settings), ClientProtocol::set_settings);
    capture::install();
    let mut plan = RouterPlan::default();
    plan.add_endpoint(PATH, Arc::new(move |_| Box::new(make())));
    plan.add_endpoint("/test", Arc::new(|_| Box::new(Obedient::new(Record::default()))));
    Server::with_rooms(shards, config.settings(), config.mailbox_bytes, plan, config.room_settings())
}

/// One connection.
#[derive(Debug)]
pub struct Sdk {
    pub at: Client,
    /// The client id that the server gave.
    pub id: String,
    pub framing: Framing,
    next_id: u64,
    partial: Vec<u8>,
    inbox: Vec<Value>,
    /// Pings of WebSocket itself.
    pub pings: usize,
    pub close: Option<(u16, String)>,
}

impl Sdk {
    /// A WebSocket on which nothing has been said.
    pub fn open(server: &mut Server, shard: usize, framing: Framing) -> Sdk {
        let path = match framing {
            Framing::Json => PATH.to_owned(),
            Framing::Protobuf => format!("{PATH}?format=protobuf"),
        };
        Sdk::open_at(server, shard, framing, &path)
    }

    pub fn open_at(server: &mut Server, shard: usize, framing: Framing, path: &str) -> Sdk {
        let at = server.connect(shard, path);
        let (id, partial, inbox) = (String::new(), Vec::new(), Vec::new());
        Sdk { at, id, framing, next_id: 1, partial, inbox, pings: 0, close: None }
    }

    /// One that has connected, without a name.
    pub fn connect(server: &mut Server, shard: usize, framing: Framing) -> Sdk {
        let mut sdk = Sdk::open(server, shard, framing);
        sdk.introduce(server, json!({"name": "js"}));
        sdk
    }

    /// One that has connected by a name.
    pub fn named(server: &mut Server, shard: usize, framing: Framing, name: &str) -> Sdk {
        let mut sdk = Sdk::open(server, shard, framing);
        sdk.introduce(server, json!({"name": "js", "data": {"name": name}}));
        sdk
    }

    /// Sends `connect`, and returns the result.
    pub fn introduce(&mut self, server: &mut Server, params: Value) -> Value {
        let result = self.ask(server, "connect", params).expect("it may connect");
        self.id = result["client"].as_str().expect("a client id").to_owned();
        result
    }

    /// Puts a frame of commands on the way.
    pub fn feed(&mut self, server: &mut Server, commands: &[Value]) {
        let bytes = frame(self.framing, commands);
        server.feed(self.at, &bytes);
    }

    /// The same, with everything that comes of it.
    pub fn send(&mut self, server: &mut Server, commands: &[Value]) -> Vec<Value> {
        self.feed(server, commands);
        server.settle();
        self.inbox(server)
    }

    /// A command with the next id.
    pub fn command(&mut self, method: &str, params: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        json!({"id": id, method: params})
    }

    /// The result of a command, or the code of its error.
    pub fn ask(&mut self, server: &mut Server, method: &str, params: Value) -> Result<Value, u64> {
        let command = self.command(method, params);
        self.feed(server, std::slice::from_ref(&command));
        server.settle();
        self.read(server);
        let is_reply = |reply: &Value| reply["id"] == command["id"];
        let at = self.inbox.iter().position(is_reply);
        let at = at.unwrap_or_else(|| panic!("no reply to {command}: {self:?}"));
        result_of(&self.inbox.remove(at), method)
    }

    pub fn subscribe(&mut self, server: &mut Server, room: &str) -> Value {
        self.ask(server, "subscribe", json!({"channel": room, "flag": 1})).expect("it may subscribe")
    }

    /// Subscribes from behind a position.
    pub fn recover(&mut self, server: &mut Server, room: &str, epoch: &str, offset: u64) -> Value {
        let params = json!({"channel": room, "flag": 1, "recover": true, "epoch": epoch, "offset": offset});
        self.ask(server, "subscribe", params).expect("it may subscribe")
    }

    pub fn publish(&mut self, server: &mut Server, room: &str, data: Value) -> Result<Value, u64> {
        self.ask(server, "publish", json!({"channel": room, "data": data}))
    }

    /// Takes what has come, replies and pushes in order.
    pub fn inbox(&mut self, server: &mut Server) -> Vec<Value> {
        self.read(server);
        std::mem::take(&mut self.inbox)
    }

    /// The same, which has to be pushes.
    pub fn pushes(&mut self, server: &mut Server) -> Vec<Value> {
        let push = |value: Value| {
            assert!(value["push"].is_object(), "{value}");
            value["push"].clone()
        };
        self.inbox(server).into_iter().map(push).collect()
    }

    /// Offsets and data of the publications that have come, in whatever room.
    pub fn publications(&mut self, server: &mut Server) -> Vec<(u64, Value)> {
        self.pushes(server).iter().map(|push| offset_and_data(&push["pub"])).collect()
    }

    /// The Close that has come, behind which nothing else may.
    pub fn closed(&mut self, server: &mut Server) -> (u16, String) {
        self.read(server);
        self.close.clone().unwrap_or_else(|| panic!("no Close: {self:?}"))
    }

    fn read(&mut self, server: &mut Server) {
        self.partial.extend(server.take_output(self.at));
        let (frames, rest) = frames_and_rest(&self.partial);
        let rest = rest.to_vec();
        for frame in frames {
            assert!(self.close.is_none(), "{frame:?} behind a Close");
            match frame.opcode {
                Opcode::Close => self.close = frame.close(),
                Opcode::Ping => self.pings += 1,
                _ => self.inbox.extend(replies(self.framing, &frame)),
            }
        }
        self.partial = rest;
    }
}

/// The result in a reply, or the code of its error.
pub fn result_of(reply: &Value, method: &str) -> Result<Value, u64> {
    if let Some(error) = reply.get("error") {
        assert!(!error["message"].as_str().expect("a text").is_empty(), "{reply}");
        return Err(error["code"].as_u64().expect("a number"));
    }
    assert!(reply[method].is_object(), "{reply}");
    Ok(reply[method].clone())
}

pub fn offset_and_data(publication: &Value) -> (u64, Value) {
    let offset = publication["offset"].as_u64().unwrap_or_else(|| panic!("no publication: {publication}"));
    (offset, publication["data"].clone())
}

/// The offsets of the publications in a result.
pub fn offsets(result: &Value) -> Vec<u64> {
    let publications = result["publications"].as_array().expect("a list");
    publications.iter().map(|publication| offset_and_data(publication).0).collect()
}

/// A client's frame with these commands.
pub fn frame(framing: Framing, commands: &[Value]) -> Vec<u8> {
    match framing {
        Framing::Json => {
            let lines: Vec<String> = commands.iter().map(Value::to_string).collect();
            text(&lines.join("\n"))
        }
        Framing::Protobuf => {
            let mut bytes = Vec::new();
            for command in commands {
                let command: schema::Command = serde_json::from_value(command.clone()).expect("a command");
                command.encode_length_delimited(&mut bytes).expect("a Vec takes all");
            }
            binary(&bytes)
        }
    }
}

/// The replies and pushes in a frame of the server's.
fn replies(framing: Framing, frame: &Frame) -> Vec<Value> {
    match framing {
        Framing::Json => {
            assert_eq!(frame.opcode, Opcode::Text);
            let text = std::str::from_utf8(&frame.payload).expect("UTF-8");
            text.split('\n').map(|line| serde_json::from_str(line).expect("JSON on each line")).collect()
        }
        Framing::Protobuf => {
            assert_eq!(frame.opcode, Opcode::Binary);
            let (mut rest, mut replies) = (frame.payload.as_slice(), Vec::new());
            while !rest.is_empty() {
                let reply = schema::Reply::decode_length_delimited(&mut rest).expect("a reply");
                replies.push(serde_json::to_value(reply).expect("JSON"));
            }
            replies
        }
    }
}
