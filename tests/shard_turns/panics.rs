//! A panic of the application ends the one connection that it was called for, whichever call it is in.

use std::borrow::Cow;
use std::time::Duration;

use fanfare::ConnectionId;
use fanfare::endpoint::{
    Accept, Answer, Ask, CloseCause, CloseKind, Effects, Endpoint, Heartbeat, OpenRequest, OwnMessages,
    Removal, Subscription,
};
use fanfare::protocol::{CloseCode, Message, Refusal};
use fanfare::rooms::{Encoding, RoomName};
use fanfare::shard::{RemovalOrder, RemovedFrom};

use crate::common::server::TICK;
use crate::common::{Client, Frame, Server, frames, request, settings, split_response, text};

fn hall() -> RoomName {
    RoomName::new("hall").expect("a valid name")
}

/// Panics where it is told to. One instance serves all, so what it remembers must outlive its panics.
#[derive(Default)]
struct Fragile {
    closed: usize,
}

impl Endpoint for Fragile {
    fn open<'m>(
        &mut self,
        _: ConnectionId,
        request: &OpenRequest<'_>,
        effects: &mut Effects<'m>,
    ) -> Result<Accept, Refusal> {
        effects.join(hall(), OwnMessages::Skip);
        if request.query("panic")?.is_some() {
            effects.send("lost in the panic");
            panic!("told to panic in open");
        }
        let own = request.query("own-heartbeat")?.is_some();
        let heartbeat = if own { Heartbeat::Own } else { Heartbeat::Ping };
        Ok(Accept { heartbeat, ..Accept::default() })
    }

    fn message<'m>(&mut self, _: ConnectionId, message: Message<'m>, effects: &mut Effects<'m>) {
        let told = message.text().unwrap_or_default();
        effects.publish("lost in the panic");
        match told {
            "message" => panic!("told to panic in message"),
            "answered" => effects.ask(1, Ask::Nothing),
            "subscribe" => {
                let encoding = Encoding::JsonPushes;
                let wish = Subscription { own: OwnMessages::Skip, recover: None, encoding, watches: false };
                effects.leave(hall());
                effects.ask(2, Ask::Subscribe(hall(), wish));
            }
            "closed" => effects.send(self.closed.to_string()),
            reason => effects.close(CloseCode::NORMAL_CLOSURE, reason.to_owned()),
        }
    }

    fn answered<'m>(&mut self, _: ConnectionId, question: u32, _: Answer<'_>, _: &mut Effects<'m>) {
        assert_ne!(question, 1, "told to panic in answered");
    }

    fn removed<'m>(&mut self, _: ConnectionId, _: &RoomName, _: Removal, _: &mut Effects<'m>) {
        panic!("told to panic in removed");
    }

    fn heartbeat<'m>(&mut self, _: ConnectionId, _: &mut Effects<'m>) {
        panic!("told to panic in heartbeat");
    }

    fn close_with(&self, cause: &CloseCause) -> Option<(CloseCode, Cow<'static, str>)> {
        match cause {
            CloseCause::Endpoint(_, reason) if reason == "close_with" => panic!("told to panic"),
            CloseCause::Endpoint(_, reason) if reason == "1006" => {
                Some((CloseCode::ABNORMAL_CLOSURE, "no code of a Close".into()))
            }
            _ => None,
        }
    }

    fn close(&mut self, _: ConnectionId, cause: &CloseCause) {
        self.closed += 1;
        assert!(!matches!(cause, CloseCause::Endpoint(_, reason) if reason == "close"), "told to panic");
    }
}

type Case = (&'static str, u16, CloseKind, fn(&mut Server, Client));

fn say(server: &mut Server, client: Client, what: &str) {
    server.feed(client, &text(what));
    server.settle();
}

const CASES: &[Case] = &[
    ("message", 1011, CloseKind::EndpointPanic, |s, c| say(s, c, "message")),
    ("answered", 1011, CloseKind::EndpointPanic, |s, c| say(s, c, "answered")),
    ("removed", 1011, CloseKind::EndpointPanic, |s, c| {
        say(s, c, "subscribe");
        let from = RemovedFrom::Room(hall());
        s.remove(RemovalOrder { user: Some(String::new()), client: None, spared: Vec::new(), from });
    }),
    ("heartbeat", 1011, CloseKind::EndpointPanic, |s, _| s.advance(settings().ping_interval + TICK)),
    ("close_with", 1000, CloseKind::Endpoint, |s, c| say(s, c, "close_with")),
    ("close", 1000, CloseKind::Endpoint, |s, c| say(s, c, "close")),
    // No panic, but a code that may not travel: it is an error of the application all the same.
    ("1006", 1011, CloseKind::Endpoint, |s, c| say(s, c, "1006")),
];

#[test]
fn in_whichever_call_it_ends_that_connection_and_no_other() {
    for (name, code, kind, act) in CASES {
        let mut server = Server::with_endpoint(settings(), Fragile::default);
        // Its heartbeat is a ping, and it is in another room's place: nothing of the panics is about it.
        let neighbour = server.connect(0, "/echo");
        let other = server.connect(0, "/test");
        server.feed(other, &text("subscribe"));
        server.settle();
        let path = if *name == "heartbeat" { "/test?own-heartbeat" } else { "/test" };
        let victim = server.connect(0, path);
        server.take_output(victim);
        act(&mut server, victim);
        let closes: Vec<_> = frames(&server.take_output(victim)).iter().filter_map(Frame::close).collect();
        assert_eq!(closes.len(), 1, "{name}: {closes:?}");
        assert_eq!(closes[0].0, *code, "{name}: {closes:?}");
        let ended = if *name == "removed" { 2 } else { 1 };
        assert_eq!(server.closes(*kind), ended, "{name}");
        server.take_output(neighbour);
        server.feed(neighbour, &text("alive"));
        let late = server.connect(0, "/test");
        server.take_output(late);
        server.feed(late, &text("closed"));
        server.settle();
        assert_eq!(server.take_texts(neighbour), ["alive"], "{name}");
        assert_eq!(server.take_texts(late), [ended.to_string()], "{name}: told of each end once");
        server.advance(Duration::from_secs(1));
        server.finish();
    }
}

#[test]
fn in_open_it_is_a_500_and_nothing_of_it_takes_place() {
    let mut server = Server::with_endpoint(settings(), Fragile::default);
    let neighbour = server.connect(0, "/rooms/hall");
    let client = server.adopt(0);
    server.feed(client, &[request("/test?panic"), text("never read")].concat());
    server.settle();
    let output = server.take_output(client);
    assert_eq!(split_response(&output).0, 500);
    assert_eq!(server.closes(CloseKind::EndpointPanic), 1);
    server.feed(neighbour, &text("to nobody"));
    server.settle();
    assert_eq!(server.take_frames(neighbour), []);
    assert_eq!(server.take_output(client), b"", "it has not joined");
    server.finish();
}
