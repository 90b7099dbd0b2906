//! Target `request_head`: the opening handshake and HTTP/1.1 before it, in both roles. What the server takes
//! for a request, its body or an upgrade is held against [`http_reference`], at the byte where it is decided.

use fanfare::protocol::{
    BodyLength, ClientHandshake, Connection, Event, Input, Limits, Persistence, Refusal, Request, Role,
    State, Upgrade, accept_key,
};
use fanfare::time::Time;

use super::choices::{Choices, Cuts};
use super::http_reference::{self as reference, Head, is_token};
use super::{events, reference as frames, wire};

const STREAM_BYTES_MAX: usize = 2048;
/// Sixteen times 7 in base64.
const KEY: &str = "BwcHBwcHBwcHBwcHBwcHBw==";
const BODY_BYTES_MAX: usize = 60;
/// Heap bytes of a connection beside the head and the body that it holds.
const OVERHEAD_BYTES: usize = 2048;

/// What came of a stream, up to the byte at which it came.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Request(Head),
    /// The upgrade was accepted, or refused with this status.
    Upgrade(Result<(), u16>),
    Body(Vec<u8>),
    Refused(u16),
    Frame(events::Owned),
}

type At = (usize, Seen);

/// Choices: limits, four cuts. Then the stream.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let first = choices.byte();
    let head_bytes_max = [300, 60, 8192, 1][usize::from(first & 3)];
    let headers_max = [4, 1, 64, 0][usize::from(first >> 2 & 3)];
    let limits = Limits { head_bytes_max, headers_max, message_bytes_max: 400, fragments_max: 5 };
    let hold = first & 16 != 0;
    let cuts = Cuts::new(&mut choices);
    let stream = choices.rest();
    let stream = &stream[..stream.len().min(STREAM_BYTES_MAX)];

    let expected = expected(stream, &limits);
    let seen = |pieces: &[&[u8]], hold| seen(&expected, pieces, &limits, hold);
    assert_eq!(seen(&Cuts::BYTES.pieces(stream), hold), expected, "byte by byte");
    let only = |all: &[At]| all.iter().map(|(_, seen)| seen.clone()).collect::<Vec<Seen>>();
    assert_eq!(only(&seen(&[stream], hold)), only(&expected), "as a whole");
    assert_eq!(only(&seen(&cuts.pieces(stream), !hold)), only(&expected), "cut by {cuts:?}");
    check_client(stream, cuts);
}

/// What the reference makes of the stream.
fn expected(stream: &[u8], limits: &Limits) -> Vec<At> {
    let (mut all, mut at) = (Vec::new(), 0);
    loop {
        let head = match reference::head(&stream[at..], limits) {
            None => return all,
            Some(Err((size, status))) => {
                all.push((at + size, Seen::Refused(status)));
                return all;
            }
            Some(Ok((size, head))) => {
                at += size;
                all.push((at, Seen::Request(head.clone())));
                head
            }
        };
        if !head.http_1_0 && head.has_token("upgrade", "websocket") {
            let upgrade = check_upgrade(&head);
            all.push((at, Seen::Upgrade(upgrade)));
            if upgrade.is_ok() {
                let run = events::Run { role: Role::Server, limits: *limits, close_after: usize::MAX };
                let frames = frames::events(&run, &stream[at..]);
                all.extend(frames.into_iter().map(|(size, event)| (at + size, Seen::Frame(event))));
            }
            return all;
        }
        if matches!(head.body, BodyLength::Length(length) if length > BODY_BYTES_MAX as u64) {
            return all;
        }
        if head.body == BodyLength::None {
            continue;
        }
        match reference::body(&stream[at..], head.body, BODY_BYTES_MAX, limits) {
            None => return all,
            Some(Err((size, status))) => {
                all.push((at + size, Seen::Refused(status)));
                return all;
            }
            Some(Ok((size, body))) => {
                at += size;
                all.push((at, Seen::Body(body)));
            }
        }
    }
}

/// RFC 6455 §4.2.1, with the order in which the server looks.
fn check_upgrade(head: &Head) -> Result<(), u16> {
    let one = |name| {
        let mut values = head.values(name);
        values.next().filter(|_| values.next().is_none())
    };
    if head.method != "GET" {
        return Err(405);
    }
    if head.body != BodyLength::None {
        return Err(400);
    }
    let ascii = |name| head.values(name).all(<[u8]>::is_ascii);
    if !ascii("upgrade") || !ascii("connection") || !head.has_token("connection", "upgrade") {
        return Err(400);
    }
    if one("sec-websocket-version") != Some(b"13") {
        return Err(426);
    }
    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let key = one("sec-websocket-key").ok_or(400_u16)?;
    if key.len() != 24 || !key.ends_with(b"==") || !key[..22].iter().all(base64) {
        return Err(400);
    }
    let mut names = Vec::new();
    for value in head.values("sec-websocket-protocol") {
        for name in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if !std::str::from_utf8(name).is_ok_and(is_token) || names.contains(&name) {
                return Err(400);
            }
            names.push(name);
        }
    }
    let extensions = head
        .values("sec-websocket-extensions")
        .all(|value| std::str::from_utf8(value).is_ok_and(|value| value.is_ascii() && are_extensions(value)));
    if extensions { Ok(()) } else { Err(400) }
}

/// A list of elements that begin with a token; commas in quoted strings part nothing.
fn are_extensions(value: &str) -> bool {
    let (mut elements, mut quoted, mut characters) = (vec![String::new()], false, value.chars());
    while let Some(character) = characters.next() {
        let element = elements.last_mut().unwrap();
        match character {
            ',' if !quoted => elements.push(String::new()),
            '\\' if quoted => {
                if characters.next().is_none() {
                    return false;
                }
            }
            '"' => {
                quoted = !quoted;
                element.push(character);
            }
            _ if quoted => {}
            _ => element.push(character),
        }
    }
    let named = |element: &String| {
        let element = element.trim_matches([' ', '\t']);
        element.is_empty()
            || is_token(element.split(';').next().unwrap_or_default().trim_matches([' ', '\t']))
    };
    !quoted && elements.iter().all(named)
}

/// What the connection makes of the stream in these pieces; with `hold` the rest of an input is kept for
/// later behind each answer. Its requests must be those that are expected.
fn seen(expected: &[At], pieces: &[&[u8]], limits: &Limits, hold: bool) -> Vec<At> {
    let mut connection = Connection::accepting();
    let (mut all, mut given) = (Vec::new(), 0);
    for piece in pieces {
        given += piece.len();
        let mut next = Some(piece.to_vec());
        while let Some(mut bytes) = next.take() {
            let mut input = Input::new(&mut bytes);
            while let Some(event) = connection.next_event(Time::ZERO, &mut input, limits) {
                let decision = look(expected, &mut all, given, event);
                decide(decision, &mut connection, &mut input, hold);
            }
            assert_eq!(input.remaining(), 0, "everything is consumed");
            next = connection.take_held();
        }
        assert_eq!(connection.heap_bytes() == 0, connection.message_started().is_none());
        let held = limits.head_bytes_max.max(limits.message_bytes_max) + BODY_BYTES_MAX;
        assert!(connection.heap_bytes() <= held + held / 4 + OVERHEAD_BYTES);
    }
    all
}

/// What the driver does next.
#[derive(Clone, Copy)]
enum Decision {
    Nothing,
    Accept,
    Answer,
    ReadBody,
    Refuse,
}

fn look(expected: &[At], all: &mut Vec<At>, at: usize, event: Event<'_>) -> Decision {
    let (seen, decision) = match event {
        Event::Request(request) => {
            let Some((_, Seen::Request(head))) = expected.get(all.len()) else {
                panic!("no request is due behind {all:?}");
            };
            check_request(&request, head);
            all.push((at, Seen::Request(head.clone())));
            if request.is_upgrade() {
                let upgrade = Upgrade::check(&request);
                check_acceptance(&upgrade);
                let upgrade = upgrade.map(drop).map_err(|refusal| check_refusal(&refusal, false));
                let decision = if upgrade.is_ok() { Decision::Accept } else { Decision::Refuse };
                all.push((at, Seen::Upgrade(upgrade)));
                return decision;
            }
            return match request.body_length() {
                BodyLength::None => Decision::Answer,
                BodyLength::Length(length) if length > BODY_BYTES_MAX as u64 => Decision::Refuse,
                _ => Decision::ReadBody,
            };
        }
        Event::Body { body, .. } => (Seen::Body(body.to_vec()), Decision::Answer),
        Event::BadRequest(refusal) => {
            // In the body of a HEAD request it is that which is answered.
            let in_head_body = matches!(all.last(), Some((_, Seen::Request(head)))
                if head.method == "HEAD" && head.body != BodyLength::None);
            (Seen::Refused(check_refusal(&refusal, in_head_body)), Decision::Nothing)
        }
        other => (Seen::Frame(events::Owned::new(other)), Decision::Nothing),
    };
    all.push((at, seen));
    decision
}

fn decide(decision: Decision, connection: &mut Connection, input: &mut Input<'_>, hold: bool) {
    match decision {
        Decision::Nothing => {}
        Decision::Accept => connection.accept(),
        Decision::ReadBody => connection.read_body(BODY_BYTES_MAX),
        Decision::Refuse => {
            connection.refuse();
            assert_eq!(connection.state(), State::Closed);
        }
        Decision::Answer => {
            connection.answered();
            assert_eq!(connection.heap_bytes(), 0, "nothing is kept between requests");
            if hold {
                connection.hold_rest(input);
            }
        }
    }
}

/// A request is what the reference has read.
fn check_request(request: &Request<'_>, head: &Head) {
    assert_eq!((request.method(), request.path()), (head.method.as_str(), head.path.as_str()));
    assert_eq!((request.query(), request.host()), (head.query.as_str(), head.host.as_str()));
    assert_eq!(request.body_length(), head.body);
    assert_eq!(request.is_upgrade(), !head.http_1_0 && head.has_token("upgrade", "websocket"));
    assert_eq!(request.keeps_alive(), !head.http_1_0 && !head.has_token("connection", "close"));
    for (name, _) in &head.headers {
        assert!(request.headers_named(&name.to_ascii_uppercase()).eq(head.values(name)), "{name}");
    }
    let known = |value: &[u8]| value.eq_ignore_ascii_case(b"100-continue");
    let expected = match (head.http_1_0, head.values("expect").all(known)) {
        (true, _) => Ok(false),
        (false, true) => Ok(head.values("expect").next().is_some()),
        (false, false) => Err(417),
    };
    assert_eq!(request.expects_continue().map_err(|refusal| check_refusal(&refusal, false)), expected);
}

fn check_acceptance(upgrade: &Result<Upgrade<'_>, Refusal>) {
    let Ok(upgrade) = upgrade else { return };
    let subprotocol = upgrade.subprotocols().last();
    let mut out = Vec::new();
    upgrade.push_response(&mut out, subprotocol, &[]);
    let (size, response) = wire::response(&out, false).expect("a whole response");
    assert_eq!((size, response.status), (out.len(), 101));
    assert_eq!(response.header("sec-websocket-protocol"), subprotocol);
}

/// A refusal is a whole response that says why, without content where it answers a HEAD request; returns its
/// status.
fn check_refusal(refusal: &Refusal, answers_head: bool) -> u16 {
    for head_only in [false, true] {
        let mut out = Vec::new();
        refusal.push_response(&mut out, head_only, Persistence::Close);
        let (size, response) = wire::response(&out, head_only || answers_head).expect("a whole response");
        assert_eq!((size, response.status), (out.len(), refusal.status));
        assert!(response.closes() && response.header("content-type") == Some("application/json"));
    }
    refusal.status
}

/// The client's side takes the same answer however it is cut, and takes no other for an acceptance.
fn check_client(stream: &[u8], cuts: Cuts) {
    let handshake = || ClientHandshake::new("a", "/", [7; 16], &["chat"], &[]);
    let receive = |pieces: &[&[u8]]| {
        let (mut handshake, mut given) = (handshake(), 0);
        for piece in pieces {
            match handshake.receive(piece) {
                Ok(None) => given += piece.len(),
                Ok(Some(accepted)) => return Some(Ok((given + accepted.used, accepted.subprotocol))),
                Err(error) => return Some(Err(error)),
            }
        }
        None
    };
    let whole = receive(&[stream]);
    assert_eq!(receive(&Cuts::BYTES.pieces(stream)), whole);
    assert_eq!(receive(&cuts.pieces(stream)), whole);
    if let Some(Ok((used, subprotocol))) = whole {
        let head = String::from_utf8_lossy(&stream[..used]);
        assert!(head.starts_with("HTTP/1.1 101") && head.ends_with("\r\n\r\n"), "{head}");
        assert!(head.contains(&*String::from_utf8_lossy(&accept_key(KEY))), "{head}");
        assert!(subprotocol.is_none_or(|chosen| chosen == "chat"));
    }
}
