//! A back end that publishes, reads and lists over HTTP, with several requests on the way at a time.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::api::Api;
use super::forms::{door_says, list, number, text};
use super::{Actor, Deed, End, Hand, percent};
use crate::chance::Chance;
use crate::truth::Content;
use crate::wire::{Ear, Heard, Mode, Response};

/// Requests on the way at a time.
const PIPELINED: usize = 4;

/// What was asked.
#[derive(Clone, Debug)]
pub enum What {
    Publish {
        room: String,
        content: Content,
        key: Option<String>,
    },
    PublishMany {
        rooms: Vec<String>,
        content: Content,
    },
    History {
        room: String,
        since: Option<(String, u64)>,
        limit: u64,
    },
    List,
    Health,
    Options,
    /// What is answered with this status whatever else happens.
    Wrong(u16),
    Api(Api),
}

/// A request without an answer yet.
#[derive(Debug)]
struct Asked {
    what: What,
    head_only: bool,
    body_bytes: usize,
    /// A 100 may come first.
    expects: bool,
}

/// A request as it is written.
pub struct Request<'a> {
    pub method: &'a str,
    pub target: String,
    pub headers: String,
    pub body: Option<Vec<u8>>,
}

#[derive(Debug, Default)]
pub struct HttpClient {
    ear: Ear,
    asked: VecDeque<Asked>,
    /// It has said that no further request comes.
    last_sent: bool,
    /// Publications that are sent again under their keys, on this connection or the next.
    keyed: Vec<(String, String, Content)>,
    /// Positions that it has read of.
    known: Vec<(String, String, u64)>,
}

impl HttpClient {
    fn ask(&mut self, hand: &mut Hand<'_>) {
        let room = hand.chance.pick(&hand.plan.rooms).as_str().to_owned();
        let what = match hand.chance.below(14) {
            0..=3 => self.publication(room, hand),
            4 => {
                let rooms = hand.plan.rooms.iter().map(|room| room.as_str().to_owned()).collect();
                let content = hand.truth.compose(hand.chance, hand.plan.payload_max);
                What::PublishMany { rooms, content }
            }
            5..=7 => {
                let of_room = self.known.iter().filter(|(known, ..)| *known == room);
                let known: Vec<(String, u64)> = of_room.map(|(_, epoch, at)| (epoch.clone(), *at)).collect();
                let since = if known.is_empty() { None } else { Some(hand.chance.pick(&known).clone()) };
                What::History { room, since, limit: hand.chance.within(1..=50) as u64 }
            }
            8 => What::List,
            9 => What::Health,
            10 => match hand.chance.below(3) {
                0 => What::Options,
                1 => What::Wrong(404),
                _ => What::Wrong(405),
            },
            _ => What::Api(Api::draw(room, hand)),
        };
        self.send(what, hand);
    }

    fn publication(&mut self, room: String, hand: &mut Hand<'_>) -> What {
        if !self.keyed.is_empty() && hand.chance.one_in(3) {
            let (room, key, content) = hand.chance.pick(&self.keyed).clone();
            return What::Publish { room, content, key: Some(key) };
        }
        let content = hand.truth.compose(hand.chance, hand.plan.payload_max);
        let key = hand.chance.one_in(2).then(|| format!("key-{:x}", hand.chance.bits()));
        if let Some(key) = &key {
            self.keyed.push((room.clone(), key.clone(), content.clone()));
        }
        What::Publish { room, content, key }
    }

    fn send(&mut self, what: What, hand: &mut Hand<'_>) {
        let mut request = self.written(&what, hand);
        let head_only = request.body.is_none()
            && matches!(what, What::Health | What::History { .. } | What::List)
            && hand.chance.one_in(6);
        if head_only {
            request.method = "HEAD";
        }
        let body_bytes = request.body.as_ref().map_or(0, Vec::len);
        let expects = request.body.is_some() && hand.chance.one_in(6);
        if expects {
            request.headers.push_str("Expect: 100-continue\r\n");
        }
        if hand.chance.one_in(16) {
            request.headers.push_str("Connection: close\r\n");
            self.last_sent = true;
        }
        push_request(hand.out, hand.chance, &request);
        self.ear.asked(head_only);
        self.asked.push_back(Asked { what, head_only, body_bytes, expects });
    }

    fn written(&self, what: &What, hand: &mut Hand<'_>) -> Request<'static> {
        let get = |target: String| Request { method: "GET", target, headers: String::new(), body: None };
        match what {
            What::Publish { room, content, key } => {
                hand.truth.api_sent(room, content.clone());
                let mut headers = match content.text {
                    true => String::new(),
                    false => "Content-Type: application/octet-stream\r\n".to_owned(),
                };
                if let Some(key) = key {
                    headers.push_str(&format!("Idempotency-Key: {key}\r\n"));
                }
                let (target, body) = (format!("/rooms/{}", percent(room)), Some(content.bytes.to_vec()));
                Request { method: "POST", target, headers, body }
            }
            What::PublishMany { rooms, content } => {
                rooms.iter().for_each(|room| hand.truth.api_sent(room, content.clone()));
                let body = match std::str::from_utf8(&content.bytes).ok().filter(|_| content.text) {
                    Some(text) => json!({"rooms": rooms, "text": text}),
                    None => json!({"rooms": rooms, "base64": super::api::base64(&content.bytes)}),
                };
                post("/rooms", &body)
            }
            What::History { room, since, limit } => {
                let since =
                    since.as_ref().map_or(String::new(), |(epoch, at)| format!("&since={epoch}:{at}"));
                get(format!("/rooms/{}?limit={limit}{since}", percent(room)))
            }
            What::List => get("/rooms?limit=1000".to_owned()),
            What::Health => get("/healthz".to_owned()),
            What::Options => Request { method: "OPTIONS", ..get("/rooms".to_owned()) },
            What::Wrong(405) => Request { method: "DELETE", ..get("/rooms".to_owned()) },
            What::Wrong(_) => get("/nothing/here".to_owned()),
            What::Api(api) => {
                let (method, body) = api.written(hand);
                post(&format!("/api/{method}"), &body)
            }
        }
    }

    fn answered(&mut self, response: &Response, hand: &mut Hand<'_>) {
        if matches!(response.status, 408 | 429 | 503) {
            // Too slow, too many, or too much that waits: none of it is for a particular request.
            self.asked.pop_front();
            return;
        }
        if response.status == 100 {
            let next = self.asked.front_mut().expect("100 is for a request");
            assert!(std::mem::take(&mut next.expects), "100 was not asked for, or comes twice");
            return;
        }
        let asked = self.asked.pop_front().unwrap_or_else(|| panic!("nobody asked for {response:?}"));
        let limit = hand.plan.config.max_message;
        if response.status == 413 {
            let copies = match &asked.what {
                What::PublishMany { .. } | What::Api(_) => hand.plan.rooms.len(),
                _ => 0,
            };
            let too_much = asked.body_bytes > limit || asked.body_bytes * copies > hand.plan.mailbox_bytes;
            assert!(too_much, "413 for {} bytes of {limit}: {:?}", asked.body_bytes, asked.what);
            return;
        }
        if asked.head_only {
            assert!(matches!(response.status, 200 | 404 | 410), "{response:?} to {asked:?}");
            return;
        }
        match asked.what {
            What::Publish { room, content, key } => self.published(response, &room, content, key, hand),
            What::PublishMany { rooms, content } => {
                assert_eq!(response.status, 200, "{response:?}");
                let answer = response.json();
                let results = list(&answer, "results");
                assert_eq!(results.len(), rooms.len());
                for (result, room) in results.iter().zip(&rooms) {
                    self.acknowledged(result, room, &content, hand);
                }
            }
            What::History { room, since, limit } => self.history(response, &room, since, limit, hand),
            What::List => {
                assert_eq!(response.status, 200, "{response:?}");
                list(&response.json(), "rooms")
                    .iter()
                    .for_each(|room| assert!(!text(room, "room").is_empty()));
            }
            What::Health => assert_eq!((response.status, &*response.body), (200, &b"ok\n"[..])),
            What::Options => assert_eq!(response.status, 204),
            What::Wrong(status) => assert_eq!(response.status, status, "{response:?}"),
            What::Api(api) => api.answered(response, hand),
        }
    }

    fn acknowledged(
        &mut self,
        result: &Value,
        room: &str,
        content: &Content,
        hand: &mut Hand<'_>,
    ) -> (String, u64) {
        assert_eq!(text(result, "room"), room);
        let (epoch, offset) = (text(result, "epoch").to_owned(), number(result, "offset"));
        hand.truth.acknowledge(room, &epoch, offset, content.clone());
        self.known.push((room.to_owned(), epoch.clone(), offset));
        (epoch, offset)
    }

    fn published(
        &mut self,
        response: &Response,
        room: &str,
        content: Content,
        key: Option<String>,
        hand: &mut Hand<'_>,
    ) {
        assert_eq!(response.status, 200, "{response:?}");
        let answer = response.json();
        let (epoch, offset) = self.acknowledged(&answer, room, &content, hand);
        assert_eq!(response.header("fanfare-epoch"), Some(epoch.as_str()));
        match key {
            Some(key) => hand.truth.entered_under_key(room, &key, (epoch, offset)),
            None => assert!(answer.get("repeat").is_none(), "{answer}"),
        }
    }

    fn history(
        &mut self,
        response: &Response,
        room: &str,
        since: Option<(String, u64)>,
        limit: u64,
        hand: &mut Hand<'_>,
    ) {
        match (response.status, &since) {
            (200, _) => {}
            (404, None) => return,
            (410, Some((epoch, offset))) => {
                hand.truth.meet("a position refused to a back end");
                return hand.truth.assert_not_held(room, epoch, *offset);
            }
            _ => panic!("{response:?} to a history since {since:?}"),
        }
        let answer = response.json();
        let (epoch, last, first) =
            (text(&answer, "epoch"), number(&answer, "offset"), number(&answer, "first"));
        let publications = list(&answer, "publications");
        assert!(publications.len() as u64 <= limit, "{answer}");
        let mut at = match &since {
            Some((wanted, offset)) => {
                assert_eq!(wanted, epoch, "a position of another life is refused");
                *offset
            }
            None => first.saturating_sub(1),
        };
        for publication in publications {
            at += 1;
            assert_eq!(number(publication, "offset"), at, "a history has no gap: {answer}");
            let who = "a history";
            hand.truth.confirm((room, epoch), at, who, |content| door_says(publication, content));
        }
        let complete = publications.is_empty() && first == 0 || at == last;
        assert_eq!(answer["more"].as_bool(), Some(!complete), "{answer}");
        self.known.push((room.to_owned(), epoch.to_owned(), at));
    }

    fn is_open(&self) -> bool {
        self.ear.mode == Mode::Http && !self.last_sent
    }
}

fn post(target: &str, body: &Value) -> Request<'static> {
    let body = Some(body.to_string().into_bytes());
    Request { method: "POST", target: target.to_owned(), headers: String::new(), body }
}

/// Writes a request, its body in one piece or in chunks.
pub fn push_request(out: &mut Vec<u8>, chance: &mut Chance, request: &Request<'_>) {
    let Request { method, target, headers, body } = request;
    out.extend(format!("{method} {target} HTTP/1.1\r\nHost: sim\r\n{headers}").as_bytes());
    let Some(body) = body else { return out.extend(b"\r\n") };
    if !chance.one_in(3) {
        out.extend(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        return out.extend(body);
    }
    out.extend(b"Transfer-Encoding: chunked\r\n\r\n");
    let mut rest = &body[..];
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(chance.magnitude(1..=rest.len()));
        out.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend(chunk);
        out.extend(b"\r\n");
        rest = behind;
    }
    out.extend(b"0\r\n\r\n");
}

impl Actor for HttpClient {
    fn name(&self) -> &'static str {
        "http"
    }

    fn greet(&mut self, hand: &mut Hand<'_>) {
        self.ask(hand);
    }

    fn act(&mut self, hand: &mut Hand<'_>) -> Deed {
        for _ in 0..hand.chance.within(1..=3) {
            if self.is_open() && self.asked.len() < PIPELINED {
                self.ask(hand);
            }
        }
        Deed::GoOn
    }

    fn hear(&mut self, bytes: &[u8], hand: &mut Hand<'_>) {
        for heard in self.ear.hear(bytes) {
            let Heard::Response(response) = heard else { panic!("{heard:?} over HTTP") };
            self.answered(&response, hand);
        }
    }

    fn end(&mut self, _: End, _: &mut Hand<'_>) -> Option<Box<dyn Actor>> {
        let (keyed, known) = (std::mem::take(&mut self.keyed), std::mem::take(&mut self.known));
        Some(Box::new(HttpClient { keyed, known, ..HttpClient::default() }))
    }

    fn rest(&mut self, hand: &mut Hand<'_>) {
        if self.ear.mode == Mode::Http && !hand.half_closed {
            assert!(self.asked.is_empty(), "without an answer: {:?}", self.asked);
        }
    }

    fn leave(&mut self, _: &mut Hand<'_>) -> Deed {
        Deed::HalfClose
    }
}
