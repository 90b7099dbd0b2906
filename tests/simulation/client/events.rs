//! A reader of server-sent events, which comes back where it was, as an `EventSource` does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fanfare::rooms::LagPolicy;
use serde_json::Value;

use super::forms::number;
use super::{Actor, Deed, End, Hand, percent};
use crate::plan::policy_of;
use crate::truth::Content;
use crate::wire::{Ear, Event, Heard, Response};

#[derive(Debug)]
pub struct EventsClient {
    room: String,
    /// The id to come back to.
    last_id: Option<String>,
    /// How many of the past it wants, if it does not come back.
    last: Option<u64>,
    ear: Ear,
    /// Where it is, while it reads: the epoch, and the last offset that it has or is told to miss.
    at: Option<(String, u64)>,
    position_told: bool,
    close_told: bool,
}

impl EventsClient {
    pub fn new(hand: &mut Hand<'_>) -> EventsClient {
        let room = hand.chance.pick(&hand.plan.rooms).as_str().to_owned();
        let last = hand.chance.one_in(2).then(|| hand.chance.magnitude(0..=100) as u64);
        EventsClient::at(room, None, last)
    }

    fn at(room: String, last_id: Option<String>, last: Option<u64>) -> EventsClient {
        let (position_told, close_told) = (false, false);
        EventsClient { room, last_id, last, ear: Ear::default(), at: None, position_told, close_told }
    }

    fn response(&mut self, response: &Response, hand: &mut Hand<'_>) {
        match response.status {
            200 => {}
            408 | 429 | 503 => return,
            410 => {
                hand.truth.meet("a position refused to a stream");
                let position = self.last_id.take().expect("410 is for a position");
                let (epoch, offset) = parse_position(&position);
                if policy_of(&self.room) != LagPolicy::Latest {
                    hand.truth.assert_not_held(&self.room, epoch, offset);
                }
                return;
            }
            _ => panic!("{response:?} to a stream"),
        }
        let epoch = response.header("fanfare-epoch").expect("an epoch").to_owned();
        let (last, from) = (response.number("fanfare-offset"), response.number("fanfare-from"));
        match (&self.last_id, self.last) {
            (Some(id), _) => {
                hand.truth.meet("a return of a stream");
                assert_eq!(*id, format!("{epoch}:{from}"), "it comes back to where it was");
            }
            (None, None) => assert_eq!(from, last),
            (None, Some(count)) => assert!((last.saturating_sub(count)..=last).contains(&from)),
        }
        self.at = Some((epoch, from));
    }

    fn event(&mut self, event: &Event, hand: &mut Hand<'_>) {
        let (epoch, at) = self.at.as_mut().expect("events come behind the head");
        match event.kind.as_str() {
            "position" => {
                assert!(!self.position_told, "it is told once where it begins");
                assert_eq!(event.id.as_deref(), Some(format!("{epoch}:{at}").as_str()));
                self.position_told = true;
                self.last_id.clone_from(&event.id);
            }
            "gap" => {
                hand.truth.meet("a gap told");
                let gap = json_of(event);
                assert_eq!(number(&gap, "from"), *at + 1, "a gap begins where it is: {event:?}");
                assert!(
                    number(&gap, "to") > *at && policy_of(&self.room) != LagPolicy::Disconnect,
                    "{event:?}"
                );
                hand.truth.missed += number(&gap, "to") - *at;
                *at = number(&gap, "to");
            }
            "close" => {
                self.close_told = true;
                let code = number(&json_of(event), "code");
                assert!(matches!(code, 1001 | 1008 | 1013 | 4321), "{event:?}");
                let skips = policy_of(&self.room) != LagPolicy::Disconnect;
                let complete = code != 1001 || skips || hand.truth.is_drained(&self.room, epoch, *at);
                assert!(complete, "shut down at {at} before it had all");
            }
            kind => {
                *at += 1;
                let expected = format!("{epoch}:{at}");
                assert_eq!(
                    event.id.as_deref(),
                    Some(expected.as_str()),
                    "events follow each other: {event:?}"
                );
                let data = event.data.as_deref().unwrap_or_default();
                let same = |content: &Content| match kind {
                    "" => content.text && as_lines(&content.bytes) == data,
                    "binary" => {
                        !content.text && STANDARD.decode(data).is_ok_and(|bytes| bytes == *content.bytes)
                    }
                    _ => false,
                };
                hand.truth.confirm((&self.room, epoch), *at, "a stream", same);
                self.last_id = Some(expected);
            }
        }
    }
}

/// As a stream gives it: every line end is LF.
fn as_lines(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n")
}

fn json_of(event: &Event) -> Value {
    let data = event.data.as_deref().unwrap_or_default();
    serde_json::from_str(data).unwrap_or_else(|error| panic!("{error} in {event:?}"))
}

fn parse_position(text: &str) -> (&str, u64) {
    let (epoch, offset) = text.split_once(':').expect("a position");
    (epoch, offset.parse().expect("an offset"))
}

impl Actor for EventsClient {
    fn name(&self) -> &'static str {
        "events"
    }

    fn rooms(&self) -> Vec<&str> {
        if self.at.is_some() && !self.close_told { vec![&self.room] } else { Vec::new() }
    }

    fn greet(&mut self, hand: &mut Hand<'_>) {
        let mut target = format!("/rooms/{}/events?name=user{}", percent(&self.room), hand.chance.below(3));
        if let Some(count) = self.last {
            target.push_str(&format!("&last={count}"));
        }
        let mut head = format!("GET {target} HTTP/1.1\r\nHost: sim\r\n");
        if let Some(id) = &self.last_id {
            head.push_str(&format!("Last-Event-ID: {id}\r\n"));
        }
        head.push_str("\r\n");
        self.ear.asked(false);
        hand.out.extend(head.into_bytes());
    }

    fn act(&mut self, hand: &mut Hand<'_>) -> Deed {
        if self.at.is_some() && hand.chance.one_in(8) {
            // What it says here means nothing to anybody.
            hand.out.extend(b"GET / HTTP/1.1\r\n");
        }
        Deed::GoOn
    }

    fn hear(&mut self, bytes: &[u8], hand: &mut Hand<'_>) {
        for heard in self.ear.hear(bytes) {
            match heard {
                Heard::Response(response) => self.response(&response, hand),
                Heard::Event(event) => self.event(&event, hand),
                Heard::Frame(frame) => panic!("{frame:?} in a stream"),
            }
        }
    }

    fn end(&mut self, _: End, _: &mut Hand<'_>) -> Option<Box<dyn Actor>> {
        Some(Box::new(EventsClient::at(self.room.clone(), self.last_id.take(), self.last)))
    }

    fn rest(&mut self, hand: &mut Hand<'_>) {
        let Some((epoch, at)) = self.at.as_ref().filter(|_| !self.close_told && !hand.half_closed) else {
            return;
        };
        assert!(self.position_told && !self.ear.is_within(), "an event was begun and not ended: {self:?}");
        let last = hand.truth.log(&self.room, epoch).map_or(0, |log| log.last());
        assert_eq!(*at, last, "a stream of {} at rest", self.room);
    }

    fn leave(&mut self, _: &mut Hand<'_>) -> Deed {
        Deed::HalfClose
    }
}
