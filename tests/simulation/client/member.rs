//! A member of a room on a bare WebSocket, which comes back where it was.

use std::collections::VecDeque;

use fanfare::endpoint::CloseCause;
use fanfare::rooms::LagPolicy;

use super::{Actor, Deed, End, Hand, percent};
use crate::plan::policy_of;
use crate::record::Record;
use crate::truth::Content;
use crate::wire::{
    ACCEPTED_KEY, BINARY, CLOSE, Ear, Frame, Heard, PING, PONG, Response, TEXT, close_payload, push_frame,
    upgrade_request,
};

/// Where it wants to begin.
#[derive(Clone, Debug)]
enum Start {
    Live,
    Last(u64),
    Since(String, u64),
}

#[derive(Debug)]
pub struct Member {
    room: String,
    echo: bool,
    start: Start,
    ear: Ear,
    /// While it is a member.
    record: Option<Record>,
    /// Pings whose answers have not come.
    pings: VecDeque<Vec<u8>>,
    close_sent: bool,
    close_heard: Option<(u16, String)>,
    /// It has sent what the server must not take.
    doomed: bool,
}

impl Member {
    pub fn new(hand: &mut Hand<'_>) -> Member {
        let room = hand.chance.pick(&hand.plan.rooms).as_str().to_owned();
        let start = match hand.chance.below(3) {
            0 => Start::Last(hand.chance.magnitude(0..=100) as u64),
            _ => Start::Live,
        };
        let echo = hand.chance.one_in(3);
        Member::at(room, echo, start)
    }

    fn at(room: String, echo: bool, start: Start) -> Member {
        let (ear, pings) = (Ear::default(), VecDeque::new());
        let (close_sent, close_heard, doomed) = (false, None, false);
        Member { room, echo, start, ear, record: None, pings, close_sent, close_heard, doomed }
    }

    fn response(&mut self, response: &Response, hand: &mut Hand<'_>) {
        match response.status {
            101 => self.opened(response, hand),
            408 | 429 | 503 => {}
            410 => {
                hand.truth.meet("a position refused to a member");
                self.refused_position(response, hand);
            }
            other => panic!("{other} to the handshake of a member: {response:?}"),
        }
    }

    fn opened(&mut self, response: &Response, hand: &mut Hand<'_>) {
        assert_eq!(response.header("sec-websocket-accept"), Some(ACCEPTED_KEY));
        let epoch = response.header("fanfare-epoch").expect("an epoch").to_owned();
        let client = response.header("fanfare-client").expect("an id").to_owned();
        let (last, from) = (response.number("fanfare-offset"), response.number("fanfare-from"));
        let policy = policy_of(&self.room);
        let most = |count: u64| if policy == LagPolicy::Latest { count.min(1) } else { count };
        let right = match &self.start {
            Start::Live => from == last,
            Start::Last(count) => (last.saturating_sub(most(*count))..=last).contains(&from),
            Start::Since(wanted, offset) => (&epoch, from) == (wanted, *offset),
        };
        assert!(right, "{:?} began at {from} of {last} in {epoch}", self.start);
        if matches!(self.start, Start::Since(..)) {
            hand.truth.meet("a return to a position");
        }
        hand.truth.member_opened(&self.room, &client);
        let (room, own) = (self.room.clone(), self.echo);
        self.record = Some(Record { room, epoch, client, own, policy, from, seen: Vec::new() });
    }

    /// A position that the room still holds is honoured.
    fn refused_position(&self, response: &Response, hand: &Hand<'_>) {
        let Start::Since(epoch, offset) = &self.start else { panic!("410 without a position") };
        let named = response.header("fanfare-epoch").is_some() && response.header("fanfare-offset").is_some();
        assert!(named, "a 410 names the position to go on from: {response:?}");
        if policy_of(&self.room) == LagPolicy::Latest {
            return;
        }
        hand.truth.assert_not_held(&self.room, epoch, *offset);
    }

    fn frame(&mut self, frame: Frame, hand: &mut Hand<'_>) {
        let record = self.record.as_mut().expect("frames come behind the 101");
        match frame.opcode {
            TEXT | BINARY => record.seen.push(Content::new(frame.opcode == TEXT, &frame.payload)),
            PING => self.send(PONG, &frame.payload, hand),
            PONG => {
                // The answers to older pings may be left out, and none comes twice or out of order.
                let at = self.pings.iter().position(|sent| *sent == frame.payload);
                let at = at.unwrap_or_else(|| panic!("no ping for {frame:?} in {:?}", self.pings));
                self.pings.drain(..=at);
            }
            _ => {
                self.close_heard = Some(frame.close());
                if !self.close_sent {
                    self.close_sent = true;
                    self.send(CLOSE, &frame.payload[..frame.payload.len().min(2)], hand);
                }
            }
        }
    }

    fn send(&self, opcode: u8, payload: &[u8], hand: &mut Hand<'_>) {
        let mask = (hand.chance.bits() as u32).to_be_bytes();
        push_frame(hand.out, 0x80 | opcode, payload, mask);
    }

    /// Sends a message, in one frame or in several with a ping between two of them.
    fn publish(&mut self, hand: &mut Hand<'_>) {
        let content = hand.truth.compose(hand.chance, hand.plan.payload_max);
        let opcode = if content.text { TEXT } else { BINARY };
        let most = (hand.plan.config.max_fragments as usize).min(5);
        let parts = if hand.chance.one_in(4) { hand.chance.within(1..=most) } else { 1 };
        let mut at = 0;
        for part in 1..=parts {
            let end = if part == parts {
                content.bytes.len()
            } else {
                hand.chance.within(at..=content.bytes.len())
            };
            let first = if part == 1 { opcode } else { 0 } | if part == parts { 0x80 } else { 0 };
            let mask = (hand.chance.bits() as u32).to_be_bytes();
            push_frame(hand.out, first, &content.bytes[at..end], mask);
            at = end;
            if part < parts && hand.chance.one_in(3) {
                self.ping(hand);
            }
        }
        let record = self.record.as_ref().expect("it is open");
        hand.truth.member_sent((&record.room, &record.client, 0), content);
    }

    fn ping(&mut self, hand: &mut Hand<'_>) {
        let mut payload = hand.chance.bits().to_be_bytes().to_vec();
        payload.resize(hand.chance.within(8..=125), b'.');
        self.send(PING, &payload, hand);
        self.pings.push_back(payload);
    }

    /// Sends more than a message may have.
    fn overdo(&mut self, hand: &mut Hand<'_>) {
        self.doomed = true;
        let size = hand.plan.config.max_message + 1;
        let payload = vec![b'x'; size.min(4096)];
        let mut out = Vec::new();
        push_frame(&mut out, 0x82, &vec![0; size.min(70_000)], [0; 4]);
        let header = if size <= 70_000 { out.len() - size } else { 0 };
        hand.out.extend_from_slice(&out[..header]);
        hand.out.extend_from_slice(&payload);
    }

    fn is_open(&self) -> bool {
        self.record.is_some() && !self.close_sent && self.close_heard.is_none() && !self.doomed
    }

    /// What its Close says must be what its endpoint was told.
    fn check_close(&self, record: &Record, hand: &mut Hand<'_>) {
        let Some((code, reason)) = &self.close_heard else { return };
        let cause = hand.ledger.cause_of(&record.client);
        let cause = cause.unwrap_or_else(|| panic!("{} got a Close and its endpoint none", record.client));
        let expected = cause.close_code().map_or(1005, |code| code.as_u16());
        assert_eq!(*code, expected, "the Close of {cause:?}");
        let whole = cause.to_string();
        let peers = matches!(cause, CloseCause::PeerClosed(_));
        assert!(
            if peers { reason.is_empty() } else { whole.starts_with(reason.as_str()) },
            "{reason} for {cause:?}"
        );
        match &cause {
            CloseCause::PeerClosed(_) if !self.doomed => hand.truth.all_entered(&record.room, &record.client),
            CloseCause::Shutdown => {
                assert!(
                    record.is_drained(hand.truth),
                    "shut down before it had all: {record:?}, {}",
                    record.shown(hand.truth)
                );
            }
            CloseCause::OutOfWindow { behind } => {
                hand.truth.meet("a Close with a position");
                let at = behind.position.offset;
                let positions = record.positions(hand.truth);
                let agree =
                    |position: &u64| *position <= at && record.nothing_between(hand.truth, *position, at);
                assert!(positions.iter().any(agree), "it is at {positions:?}, and was told {at}");
            }
            _ => {}
        }
    }

    /// Where it comes back to.
    fn returns_to(&self, record: &Record, hand: &mut Hand<'_>) -> Start {
        let positions = record.positions(hand.truth);
        match positions.as_slice() {
            [position] if record.policy == LagPolicy::Disconnect && !hand.chance.one_in(8) => {
                Start::Since(record.epoch.clone(), *position)
            }
            _ => Start::Last(hand.chance.below(4) as u64),
        }
    }
}

impl Actor for Member {
    fn name(&self) -> &'static str {
        "member"
    }

    fn connection(&self) -> Option<&str> {
        self.record.as_ref().map(|record| record.client.as_str())
    }

    fn rooms(&self) -> Vec<&str> {
        if self.is_open() { vec![&self.room] } else { Vec::new() }
    }

    fn is_doomed(&self) -> bool {
        self.doomed
    }

    fn greet(&mut self, hand: &mut Hand<'_>) {
        let mut target = format!("/rooms/{}?", percent(&self.room));
        if self.echo {
            target.push_str("echo=true&");
        }
        match &self.start {
            Start::Live => {}
            Start::Last(count) => target.push_str(&format!("last={count}&")),
            Start::Since(epoch, offset) => target.push_str(&format!("since={epoch}:{offset}&")),
        }
        if hand.chance.one_in(3) {
            target.push_str(&format!("name=user{}", hand.chance.below(3)));
        }
        self.ear.asked(false);
        hand.out.extend(upgrade_request(&target));
    }

    fn act(&mut self, hand: &mut Hand<'_>) -> Deed {
        if !self.is_open() {
            return Deed::GoOn;
        }
        match hand.chance.below(12) {
            0 => self.ping(hand),
            1 => self.send(PONG, b"unasked", hand),
            2 if hand.plan.config.max_message < 70_000 && hand.chance.one_in(16) => self.overdo(hand),
            _ => self.publish(hand),
        }
        Deed::GoOn
    }

    fn hear(&mut self, bytes: &[u8], hand: &mut Hand<'_>) {
        for heard in self.ear.hear(bytes) {
            match heard {
                Heard::Response(response) => self.response(&response, hand),
                Heard::Frame(frame) => self.frame(frame, hand),
                Heard::Event(event) => panic!("{event:?} on a WebSocket"),
            }
        }
    }

    fn end(&mut self, end: End, hand: &mut Hand<'_>) -> Option<Box<dyn Actor>> {
        let Some(record) = self.record.take() else {
            let again = Member::at(self.room.clone(), self.echo, Start::Live);
            return Some(Box::new(again))
                .filter(|_| hand.chance.one_in(2))
                .map(|again| again as Box<dyn Actor>);
        };
        if record.policy != LagPolicy::Disconnect {
            hand.truth.missed += record.missed(hand.truth);
        }
        self.check_close(&record, hand);
        let told = self.close_heard.is_some() || hand.half_closed || end == End::Broken;
        let client = &record.client;
        assert!(told || !hand.ledger.closed_in_calm(client), "{client} was dropped without a word");
        let start = self.returns_to(&record, hand);
        let again = Member::at(self.room.clone(), self.echo, start);
        Some(Box::new(again))
    }

    fn rest(&mut self, hand: &mut Hand<'_>) {
        if !self.is_open() || hand.half_closed {
            return;
        }
        assert!(!self.ear.is_within(), "a frame was begun and not ended: {self:?}");
        let record = self.record.as_ref().expect("it is open");
        let last = hand.truth.log(&record.room, &record.epoch).map_or(0, |log| log.last());
        record.assert_complete(hand.truth, last, "at rest");
        hand.truth.all_entered(&record.room, &record.client);
    }

    fn leave(&mut self, hand: &mut Hand<'_>) -> Deed {
        if !self.is_open() {
            return Deed::HalfClose;
        }
        let payload = match hand.chance.below(4) {
            0 => Vec::new(),
            1 => close_payload(1000, "bye"),
            2 => close_payload(1001, ""),
            _ => close_payload(4999, "ü"),
        };
        self.close_sent = true;
        self.send(CLOSE, &payload, hand);
        Deed::GoOn
    }
}
