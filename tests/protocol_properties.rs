//! Properties of the protocol over random inputs: splits, round trips, masking, UTF-8, garbage.

use fanfare::protocol::{
    CloseCode, Connection, Decoded, Event, Failure, InvalidUtf8, Kind, Limits, Opcode, ProxyHeaderError,
    ProxySource, Role, State, Utf8Validator, decode_header, encode_server_header, push_client_frame,
    push_server_frame, unmask,
};
use fanfare::protocol::{Input, push_close_frame};
use fanfare::time::Time;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

const LIMITS: Limits =
    Limits { head_bytes_max: 300, headers_max: 4, message_bytes_max: 400, fragments_max: 5 };

/// An event without borrows.
#[derive(Clone, Debug, PartialEq)]
enum Owned {
    Request(String, String),
    Body(String, Vec<u8>),
    BadRequest(u16, String),
    Message(Kind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<CloseCode>, String, bool),
    Failed(Failure),
    Proxied(ProxySource),
    BadProxyHeader(ProxyHeaderError),
}

fn owned(event: Event<'_>) -> Owned {
    match event {
        Event::Request(request) => Owned::Request(request.path().to_owned(), request.host().to_owned()),
        Event::Body { request, body } => Owned::Body(request.path().to_owned(), body.to_vec()),
        Event::BadRequest(refusal) => Owned::BadRequest(refusal.status, refusal.body),
        Event::Message(message) => {
            assert_eq!(message.text().is_some(), message.kind == Kind::Text);
            Owned::Message(message.kind, message.payload.to_vec())
        }
        Event::Ping(payload) => Owned::Ping(payload.to_vec()),
        Event::Pong(payload) => Owned::Pong(payload.to_vec()),
        Event::Close { code, reason, reply } => Owned::Close(code, reason.to_owned(), reply),
        Event::Failed(failure) => Owned::Failed(failure),
        Event::Proxied(source) => Owned::Proxied(source),
        Event::BadProxyHeader(error) => Owned::BadProxyHeader(error),
    }
}

/// Feeds `bytes` cut at the given places; every request is accepted, and a Close of ours is sent
/// after `close_after` events.
fn events(mut connection: Connection, bytes: &[u8], cuts: &[Index], close_after: usize) -> Vec<Owned> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    let mut all = Vec::new();
    for pair in places.windows(2) {
        let mut piece = bytes[pair[0]..pair[1]].to_vec();
        let mut input = Input::new(&mut piece);
        while let Some(event) = connection.next_event(Time::ZERO, &mut input, &LIMITS) {
            let event = owned(event);
            if matches!(event, Owned::Request(..)) {
                connection.accept();
            }
            all.push(event);
            if all.len() == close_after && connection.state() == State::Open {
                connection.close_sent();
            }
        }
        assert_eq!(input.remaining(), 0);
        assert_eq!(connection.heap_bytes() == 0, connection.message_started().is_none());
        assert!(connection.heap_bytes() <= LIMITS.message_bytes_max + 4096);
    }
    all
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..20), vec(any::<u8>(), 120..130), ".{0,30}".prop_map(String::into_bytes),]
}

fn control() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![Just(Opcode::Ping), Just(Opcode::Pong)];
    (opcode, vec(any::<u8>(), 0..=125), any::<[u8; 4]>()).prop_map(|(opcode, payload, key)| {
        let mut out = Vec::new();
        push_client_frame(&mut out, opcode, true, &payload, key);
        out
    })
}

/// One data message in fragments cut anywhere, each followed by control frames or not.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let text = ".{0,40}".prop_map(|text| (Opcode::Text, text.into_bytes()));
    let binary = payload().prop_map(|payload| (Opcode::Binary, payload));
    let fragments = vec((any::<Index>(), any::<[u8; 4]>(), vec(control(), 0..2)), 1..5);
    (prop_oneof![text, binary], fragments).prop_map(|((opcode, payload), fragments)| {
        let mut out = Vec::new();
        let mut rest = payload.as_slice();
        let last = fragments.len() - 1;
        for (number, (cut, key, controls)) in fragments.iter().enumerate() {
            let size = match number == last {
                true => rest.len(),
                false => cut.index(rest.len() + 1),
            };
            let (fragment, tail) = rest.split_at(size);
            let opcode = if number == 0 { opcode } else { Opcode::Continuation };
            push_client_frame(&mut out, opcode, number == last, fragment, *key);
            out.extend(controls.concat());
            rest = tail;
        }
        out
    })
}

/// A head, messages, and perhaps a Close.
fn session() -> impl Strategy<Value = Vec<u8>> {
    let path = "/[a-z0-9?=]{0,20}";
    (path, vec(message(), 0..5), any::<bool>()).prop_map(|(path, messages, close)| {
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend(messages.concat());
        if close {
            let mut payload = Vec::new();
            push_close_frame(&mut payload, CloseCode::new(4000), "bye");
            push_client_frame(&mut bytes, Opcode::Close, true, &payload[2..], [5; 4]);
        }
        bytes
    })
}

fn mutate(bytes: &mut [u8], mutations: &[(Index, u8)]) {
    for (place, bits) in mutations {
        let place = place.index(bytes.len());
        bytes[place] ^= bits;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_of_a_valid_session_gives_the_same_events(
        bytes in session(),
        cuts in vec(any::<Index>(), 0..30),
    ) {
        let start = Connection::accepting;
        let whole = events(start(), &bytes, &[], usize::MAX);
        prop_assert!(matches!(whole[0], Owned::Request(..)));
        prop_assert!(!whole.iter().any(|event| matches!(event, Owned::Failed(_))));
        prop_assert_eq!(events(start(), &bytes, &cuts, usize::MAX), whole);
    }

    #[test]
    fn any_split_of_a_mutated_session_gives_the_same_events(
        bytes in session(),
        mutations in vec((any::<Index>(), any::<u8>()), 1..4),
        cuts in vec(any::<Index>(), 0..30),
        close_after in 1..8_usize,
    ) {
        let mut bytes = bytes;
        mutate(&mut bytes, &mutations);
        let whole = events(Connection::accepting(), &bytes, &[], close_after);
        prop_assert_eq!(events(Connection::accepting(), &bytes, &cuts, close_after), whole);
    }

    #[test]
    fn any_split_of_mutated_frames_gives_the_same_events(
        messages in vec(message(), 1..4),
        mutations in vec((any::<Index>(), any::<u8>()), 0..3),
        cuts in vec(any::<Index>(), 0..30),
    ) {
        let mut bytes = messages.concat();
        mutate(&mut bytes, &mutations);
        let open = || Connection::open(Role::Server);
        let whole = events(open(), &bytes, &[], usize::MAX);
        prop_assert_eq!(events(open(), &bytes, &cuts, usize::MAX), whole);
    }

    #[test]
    fn what_a_client_sends_a_server_reads(
        payload in vec(any::<u8>(), 0..400),
        key in any::<[u8; 4]>(),
    ) {
        let mut bytes = Vec::new();
        push_client_frame(&mut bytes, Opcode::Binary, true, &payload, key);
        let received = events(Connection::open(Role::Server), &bytes, &[], usize::MAX);
        prop_assert_eq!(received, vec![Owned::Message(Kind::Binary, payload)]);
    }

    #[test]
    fn what_a_server_sends_a_client_reads(payload in vec(any::<u8>(), 0..400)) {
        let mut bytes = Vec::new();
        push_server_frame(&mut bytes, Opcode::Binary, &payload);
        let received = events(Connection::open(Role::Client), &bytes, &[], usize::MAX);
        prop_assert_eq!(received, vec![Owned::Message(Kind::Binary, payload)]);
    }

    #[test]
    fn encoded_headers_decode_to_themselves(length in any::<usize>(), fin in any::<bool>()) {
        let length = length >> 1;
        let encoded = encode_server_header(Opcode::Text, fin, length);
        match decode_header(&encoded, Role::Client) {
            Ok(Decoded::Done { header, size }) => {
                prop_assert_eq!(size, encoded.len());
                prop_assert_eq!(header.payload_bytes, length as u64);
                prop_assert_eq!((header.opcode, header.fin), (Opcode::Text, fin));
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn unmasking_is_the_reference(
        plain in vec(any::<u8>(), 0..300),
        key in any::<[u8; 4]>(),
        offset in any::<usize>(),
        start in any::<Index>(),
    ) {
        let start = start.index(plain.len() + 1);
        let mut bytes = plain.clone();
        unmask(&mut bytes[start..], key, offset);
        for (index, byte) in plain.iter().enumerate() {
            let expected = match index.checked_sub(start) {
                Some(place) => byte ^ key[(place % 4 + offset % 4) % 4],
                None => *byte,
            };
            prop_assert_eq!(bytes[index], expected);
        }
    }

    #[test]
    fn any_split_of_a_text_has_the_verdict_of_the_standard_library(
        text in ".{0,60}",
        mutations in vec((any::<Index>(), any::<u8>()), 0..2),
        cuts in vec(any::<Index>(), 0..10),
    ) {
        let mut bytes = text.into_bytes();
        if !bytes.is_empty() {
            mutate(&mut bytes, &mutations);
        }
        check_utf8(&bytes, &cuts)?;
    }

    #[test]
    fn any_split_of_random_bytes_has_the_verdict_of_the_standard_library(
        bytes in vec(prop_oneof![Just(b'a'), 0x80..=0xBF_u8, 0xC0..=0xFF_u8], 0..8),
        cuts in vec(any::<Index>(), 0..5),
    ) {
        check_utf8(&bytes, &cuts)?;
    }

    #[test]
    fn garbage_never_panics(
        bytes in vec(any::<u8>(), 0..600),
        cuts in vec(any::<Index>(), 0..10),
    ) {
        for start in [
            Connection::accepting,
            || Connection::open(Role::Server),
            || Connection::open(Role::Client),
        ] {
            events(start(), &bytes, &cuts, 1);
        }
    }

    #[test]
    fn garbage_behind_a_request_line_never_panics(
        bytes in vec(prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b':')], 0..100),
        cuts in vec(any::<Index>(), 0..10),
    ) {
        let mut head = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
        head.extend(bytes);
        let whole = events(Connection::accepting(), &head, &[], usize::MAX);
        prop_assert_eq!(events(Connection::accepting(), &head, &cuts, usize::MAX), whole);
    }
}

/// The index of the first byte that no valid text can have there, from the standard library.
fn first_impossible(bytes: &[u8]) -> Option<usize> {
    let error = std::str::from_utf8(bytes).err()?;
    let length = error.error_len()?;
    let at = error.valid_up_to();
    // The length covers only the possible part, unless the lead itself is impossible.
    let lead_possible = matches!(bytes[at], 0xC2..=0xF4);
    Some(if lead_possible { at + length } else { at })
}

fn check_utf8(bytes: &[u8], cuts: &[Index]) -> Result<(), TestCaseError> {
    let impossible = first_impossible(bytes);
    let mut single = Utf8Validator::default();
    let failed = bytes.iter().position(|byte| single.push(&[*byte]).is_err());
    prop_assert_eq!(failed, impossible);

    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    let mut validator = Utf8Validator::default();
    for pair in places.windows(2) {
        let pushed = validator.push(&bytes[pair[0]..pair[1]]);
        let fails = impossible.is_some_and(|at| at < pair[1]);
        prop_assert_eq!(pushed, if fails { Err(InvalidUtf8) } else { Ok(()) });
        if fails {
            return Ok(());
        }
    }
    let whole = std::str::from_utf8(bytes).is_ok();
    prop_assert_eq!(validator.finish().is_ok(), whole);
    Ok(())
}
