//! Properties of HTTP/1.1 before a WebSocket opens: splits, pipelining, bodies, limits, garbage.

use fanfare::protocol::BodyLength;
use fanfare::protocol::{Connection, Event, Input, Limits, State, body_too_large};
use fanfare::time::Time;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

const LIMITS: Limits =
    Limits { head_bytes_max: 300, headers_max: 4, message_bytes_max: 400, fragments_max: 5 };
const BODY_MAX: usize = 60;

/// An event without borrows.
#[derive(Clone, Debug, PartialEq)]
enum Owned {
    Request(String, String, BodyLength),
    Body(String, Vec<u8>),
    Refused(u16, String),
}

/// What the driver does with an event.
enum Decision {
    Answer,
    ReadBody,
    Refuse,
    Nothing,
}

fn owned(event: Event<'_>) -> (Owned, Decision) {
    match event {
        Event::Request(request) => {
            let length = request.body_length();
            let decision = match length {
                BodyLength::None => Decision::Answer,
                BodyLength::Length(bytes) if bytes > BODY_MAX as u64 => Decision::Refuse,
                BodyLength::Length(_) | BodyLength::Chunked => Decision::ReadBody,
            };
            (Owned::Request(request.method().to_owned(), request.path().to_owned(), length), decision)
        }
        Event::Body { request, body } => {
            (Owned::Body(request.path().to_owned(), body.to_vec()), Decision::Answer)
        }
        Event::BadRequest(refusal) => (Owned::Refused(refusal.status, refusal.body), Decision::Nothing),
        other => panic!("no WebSocket was opened: {other:?}"),
    }
}

/// Feeds `bytes` cut at the given places. Every request is answered; with `hold` the rest of the input
/// is held and taken back each time.
fn events(bytes: &[u8], cuts: &[Index], hold: bool) -> Vec<Owned> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    let mut connection = Connection::accepting();
    let mut all = Vec::new();
    for pair in places.windows(2) {
        let mut next = Some(bytes[pair[0]..pair[1]].to_vec());
        while let Some(mut piece) = next.take() {
            let mut input = Input::new(&mut piece);
            while let Some(event) = connection.next_event(Time::ZERO, &mut input, &LIMITS) {
                let (event, decision) = owned(event);
                all.push(event);
                match decision {
                    Decision::Answer => {
                        connection.answered();
                        assert_eq!(connection.heap_bytes(), 0);
                        if hold {
                            connection.hold_rest(&mut input);
                        }
                    }
                    Decision::ReadBody => connection.read_body(BODY_MAX),
                    Decision::Refuse => connection.refuse(),
                    Decision::Nothing => assert_eq!(connection.state(), State::Closed),
                }
            }
            assert_eq!(input.remaining(), 0);
            next = connection.take_held();
        }
        assert_eq!(connection.heap_bytes() == 0, connection.message_started().is_none());
        assert!(connection.heap_bytes() <= LIMITS.head_bytes_max + BODY_MAX + 2048);
    }
    all
}

/// A request's bytes and what must come of them.
type Expected = (Vec<u8>, Vec<Owned>);

fn request(method: &str, path: &str, header: &str, length: BodyLength) -> (Vec<u8>, Owned) {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{header}\r\n").into_bytes();
    (head, Owned::Request(method.to_owned(), path.to_owned(), length))
}

fn without_body() -> impl Strategy<Value = Expected> {
    let header = prop_oneof![Just(""), Just("Content-Length: 0\r\n"), Just("Connection: keep-alive\r\n")];
    ("(GET|HEAD|POST|DELETE)", "/[a-z]{0,8}", header).prop_map(|(method, path, header)| {
        let (head, event) = request(&method, &path, header, BodyLength::None);
        (head, vec![event])
    })
}

fn with_length() -> impl Strategy<Value = Expected> {
    ("(GET|POST|PUT)", "/[a-z]{0,8}", data(1)).prop_map(|(method, path, body)| {
        let header = format!("Content-Length: {}\r\n", body.len());
        let (head, event) = request(&method, &path, &header, BodyLength::Length(body.len() as u64));
        ([head, body.clone()].concat(), vec![event, Owned::Body(path, body)])
    })
}

fn chunked() -> impl Strategy<Value = Expected> {
    let cuts = vec(any::<Index>(), 0..6);
    let extension = prop_oneof![Just(""), Just(";a"), Just(" ; a=\"b;c\"")];
    let trailers = prop_oneof![Just(""), Just("A: b\r\n"), Just("A:\r\nContent-Length: 5\r\n")];
    ("/[a-z]{0,8}", data(0), cuts, extension, trailers).prop_map(|(path, body, cuts, extension, trailers)| {
        let (mut bytes, event) =
            request("POST", &path, "Transfer-Encoding: chunked\r\n", BodyLength::Chunked);
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        places.extend([0, body.len()]);
        places.sort_unstable();
        places.dedup();
        for pair in places.windows(2) {
            bytes.extend(format!("{:X}{extension}\r\n", pair[1] - pair[0]).into_bytes());
            bytes.extend(&body[pair[0]..pair[1]]);
            bytes.extend(b"\r\n");
        }
        bytes.extend(format!("00{extension}\r\n{trailers}\r\n").into_bytes());
        (bytes, vec![event, Owned::Body(path, body)])
    })
}

/// Bytes that often look like what could follow.
fn data(least: usize) -> impl Strategy<Value = Vec<u8>> {
    let tricky = b"0\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
    prop_oneof![vec(any::<u8>(), least..=BODY_MAX), Just(tricky)]
}

fn pipeline() -> impl Strategy<Value = Expected> {
    let requests = vec(prop_oneof![without_body(), with_length(), chunked()], 1..6);
    requests.prop_map(|requests| {
        let (bytes, events): (Vec<_>, Vec<_>) = requests.into_iter().unzip();
        (bytes.concat(), events.concat())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_of_pipelined_requests_gives_the_same_events(
        (bytes, expected) in pipeline(),
        cuts in vec(any::<Index>(), 0..30),
        hold in any::<bool>(),
    ) {
        prop_assert_eq!(&events(&bytes, &[], false), &expected);
        prop_assert_eq!(events(&bytes, &cuts, hold), expected);
    }

    #[test]
    fn any_split_of_mutated_requests_gives_the_same_events(
        (bytes, _) in pipeline(),
        mutations in vec((any::<Index>(), any::<u8>()), 1..4),
        cuts in vec(any::<Index>(), 0..30),
        hold in any::<bool>(),
    ) {
        let mut bytes = bytes;
        for (place, bits) in mutations {
            let place = place.index(bytes.len());
            bytes[place] ^= bits;
        }
        let whole = events(&bytes, &[], false);
        prop_assert_eq!(events(&bytes, &cuts, hold), whole);
    }

    #[test]
    fn any_split_of_garbage_in_chunks_gives_the_same_events(
        garbage in vec(prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b'1'), Just(b';')], 0..60),
        cuts in vec(any::<Index>(), 0..10),
    ) {
        let mut bytes = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        bytes.extend(garbage);
        let whole = events(&bytes, &[], false);
        prop_assert_eq!(events(&bytes, &cuts, true), whole);
    }

    #[test]
    fn the_limit_of_a_body_is_inclusive_at_every_split(
        size in BODY_MAX - 1..=BODY_MAX + 1,
        step in 1..=BODY_MAX + 1,
        cuts in vec(any::<Index>(), 0..10),
    ) {
        let data = vec![b'x'; size];
        let outcome = |seen| match size <= BODY_MAX {
            true => Owned::Body("/".to_owned(), data.clone()),
            false => {
                let refusal = body_too_large(seen, BODY_MAX);
                Owned::Refused(refusal.status, refusal.body)
            }
        };
        let (mut bytes, event) = request("POST", "/", "Transfer-Encoding: chunked\r\n", BodyLength::Chunked);
        for piece in data.chunks(step) {
            bytes.extend([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
        }
        bytes.extend(b"0\r\n\r\n");
        prop_assert_eq!(events(&bytes, &cuts, false), vec![event, outcome(None)]);

        let header = format!("Content-Length: {size}\r\n");
        let (head, event) = request("POST", "/", &header, BodyLength::Length(size as u64));
        let expected = match size <= BODY_MAX {
            true => vec![event, outcome(None)],
            // The driver refuses it by the head alone.
            false => vec![event],
        };
        prop_assert_eq!(events(&[head, data.clone()].concat(), &cuts, false), expected);
    }

    #[test]
    fn the_limits_of_head_and_trailers_are_inclusive_at_every_split(
        extra in 0..3_usize,
        cuts in vec(any::<Index>(), 0..10),
    ) {
        let refused = |events: &[Owned]| matches!(events.last(), Some(Owned::Refused(431, _)));
        let (first, _) = request("GET", "/1", "", BodyLength::None);
        let (short, _) = request("GET", "/2", "X: \r\n", BodyLength::None);
        let filler = "x".repeat(LIMITS.head_bytes_max - 1 + extra - short.len());
        let (head, _) = request("GET", "/2", &format!("X: {filler}\r\n"), BodyLength::None);
        prop_assert_eq!(head.len(), LIMITS.head_bytes_max - 1 + extra);
        prop_assert_eq!(refused(&events(&[first, head].concat(), &cuts, false)), extra == 2);

        let (mut bytes, _) = request("POST", "/", "Transfer-Encoding: chunked\r\n", BodyLength::Chunked);
        let trailer = format!("X:{}", "x".repeat(LIMITS.head_bytes_max - 1 + extra - 2));
        bytes.extend(format!("0\r\n{trailer}\r\n\r\n").into_bytes());
        prop_assert_eq!(refused(&events(&bytes, &cuts, false)), extra == 2);
    }
}
