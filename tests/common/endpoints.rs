//! An endpoint that does what it is told and keeps a record of it.

use std::sync::{Arc, Mutex};

use fanfare::ConnectionId;
use fanfare::endpoint::{
    Accept, Ask, CloseCause, Effects, Endpoint, OpenRequest, OwnMessages, Removal, Subscription,
};
use fanfare::protocol::{CloseCode, Message, Refusal};
use fanfare::rooms::{Encoding, RoomName};

/// What an endpoint was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Open(ConnectionId),
    Message(ConnectionId, Vec<u8>),
    Close(ConnectionId, CloseCause),
}

/// The record, shared with the test.
#[derive(Clone, Debug, Default)]
pub struct Record(Arc<Mutex<Vec<Call>>>);

impl Record {
    fn push(&self, call: Call) {
        self.0.lock().expect("no holder panics").push(call);
    }

    /// What was recorded since the last call.
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.0.lock().expect("no holder panics"))
    }

    /// The causes of all closes since the last call; every connection was opened once before, and
    /// closed once.
    pub fn take_closes(&self) -> Vec<CloseCause> {
        let calls = self.take();
        let opens = calls.iter().filter(|call| matches!(call, Call::Open(_))).count();
        let closes: Vec<CloseCause> = calls
            .iter()
            .filter_map(|call| match call {
                Call::Close(_, cause) => Some(cause.clone()),
                _ => None,
            })
            .collect();
        assert_eq!(opens, closes.len(), "{calls:?}");
        closes
    }
}

/// Obeys: `echo …`, `echoes <count>`, `close <code> <reason>`, `join <room>`, `own <room>`, `leave <room>`,
/// `to <room> <text>`, `all <text>`, `joins <count>`, `panic`. Query: `?panic`, `?refuse`,
/// `?panic-close`, `?close`.
#[derive(Debug, Default)]
pub struct Obedient {
    pub record: Record,
    panic_on_close: Vec<ConnectionId>,
}

impl Obedient {
    pub fn new(record: Record) -> Obedient {
        Obedient { record, panic_on_close: Vec::new() }
    }
}

fn room(name: &str) -> RoomName {
    RoomName::new(name).expect("a valid name")
}

fn code(text: &str) -> CloseCode {
    CloseCode::new(text.parse().expect("a number")).expect("a code that may travel")
}

impl Endpoint for Obedient {
    fn open<'m>(
        &mut self,
        connection: ConnectionId,
        request: &OpenRequest<'_>,
        effects: &mut Effects<'m>,
    ) -> Result<Accept, Refusal> {
        assert!(request.query("panic")?.is_none(), "told to panic in open");
        if request.query("refuse")?.is_some() {
            return Err(Refusal::new(403, "told to refuse".to_owned()));
        }
        if request.query("panic-close")?.is_some() {
            self.panic_on_close.push(connection);
        }
        self.record.push(Call::Open(connection));
        if request.query("close")?.is_some() {
            effects.close(code("4000"), "told to close at once");
        }
        Ok(Accept::default())
    }

    fn message<'m>(&mut self, connection: ConnectionId, message: Message<'m>, effects: &mut Effects<'m>) {
        self.record.push(Call::Message(connection, message.payload.to_vec()));
        let text = message.text().unwrap_or_default();
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        match verb {
            "echo" => effects.send(rest),
            "echoes" => {
                for _ in 0..rest.parse::<usize>().expect("a count") {
                    effects.send("x".repeat(1000));
                }
            }
            "close" => {
                let (number, reason) = rest.split_once(' ').unwrap_or((rest, ""));
                effects.close(code(number), reason.to_owned());
            }
            "join" => effects.join(room(rest), OwnMessages::Skip),
            "own" => effects.join(room(rest), OwnMessages::Receive),
            "joins" => {
                for number in 0..rest.parse::<usize>().expect("a count") {
                    effects.join(room(&format!("room {number}")), OwnMessages::Skip);
                }
            }
            "leave" => effects.leave(room(rest)),
            "all" => effects.publish(rest),
            "to" => {
                let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                effects.publish_to(room(name), rest);
            }
            "panic" => panic!("told to panic in message"),
            _ => {}
        }
    }

    fn close(&mut self, connection: ConnectionId, cause: &CloseCause) {
        self.record.push(Call::Close(connection, cause.clone()));
        assert!(!self.panic_on_close.contains(&connection), "told to panic in close");
    }
}

/// Subscribes to the room `left`, and when it is taken out of it says `removed` in the room `a`.
#[derive(Debug)]
pub struct Mourner;

impl Endpoint for Mourner {
    fn open<'m>(
        &mut self,
        _: ConnectionId,
        _: &OpenRequest<'_>,
        effects: &mut Effects<'m>,
    ) -> Result<Accept, Refusal> {
        let subscription = Subscription {
            own: OwnMessages::Receive,
            recover: None,
            encoding: Encoding::JsonPushes,
            watches: false,
        };
        effects.ask(0, Ask::Subscribe(room("left"), subscription));
        Ok(Accept::default())
    }

    fn message<'m>(&mut self, _: ConnectionId, _: Message<'m>, _: &mut Effects<'m>) {}

    fn removed<'m>(&mut self, _: ConnectionId, _: &RoomName, _: Removal, effects: &mut Effects<'m>) {
        effects.publish_to(room("a"), "removed");
    }
}
