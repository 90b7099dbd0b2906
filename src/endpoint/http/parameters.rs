//! What a call takes from its query and headers.

use std::borrow::Cow;

use super::{IDEMPOTENCY_KEY_BYTES_MAX, LIMIT_DEFAULT, SHOWN_CHARS_MAX, bad_request};
use crate::endpoint::query_value;
use crate::id::ConnectionId;
use crate::protocol::{Refusal, Request, shown};
use crate::rooms::{Identity, Position, RoomName, Start};

fn query<'r>(request: &Request<'r>, name: &str) -> Result<Option<Cow<'r, str>>, Refusal> {
    query_value(request.query(), name).map_err(|error| bad_request(format!("query value of {name}: {error}")))
}

/// A value as a refusal shows it. Not a credential.
fn seen(value: &[u8]) -> String {
    shown(value, SHOWN_CHARS_MAX)
}

/// The number that `text` writes in decimal digits and nothing else.
fn decimal(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// `?limit=`, 1 to `max`, else [`LIMIT_DEFAULT`].
pub(super) fn limit(request: &Request<'_>, max: usize) -> Result<usize, Refusal> {
    let Some(text) = query(request, "limit")? else { return Ok(LIMIT_DEFAULT) };
    let limit = decimal(&text).and_then(|limit| usize::try_from(limit).ok());
    limit.filter(|limit| (1..=max).contains(limit)).ok_or_else(|| {
        bad_request(format!("limit={} is not allowed here; 1 to {max} is", seen(text.as_bytes())))
    })
}

/// `?after=` of a list.
pub(super) fn room_after(request: &Request<'_>) -> Result<Option<RoomName>, Refusal> {
    let Some(text) = query(request, "after")? else { return Ok(None) };
    RoomName::new(&text).map(Some).map_err(|error| bad_request(format!("query value of after: {error}")))
}

/// `?exclude=` of a publication.
pub(super) fn excluded(request: &Request<'_>) -> Result<Option<ConnectionId>, Refusal> {
    let Some(text) = query(request, "exclude")? else { return Ok(None) };
    text.parse().map(Some).map_err(|error| {
        bad_request(format!("exclude={} is not allowed here; {error}", seen(text.as_bytes())))
    })
}

/// `?since=` of a history.
pub(super) fn since(request: &Request<'_>) -> Result<Option<Position>, Refusal> {
    query(request, "since")?.map(|text| position("since", text.as_bytes())).transpose()
}

fn position(name: &str, text: &[u8]) -> Result<Position, Refusal> {
    let parsed = str::from_utf8(text).map_err(|_| crate::rooms::PositionError).and_then(str::parse);
    parsed.map_err(|error| bad_request(format!("{name} is \"{}\"; {error}", seen(text))))
}

/// Where a stream begins, of the decoded values of `?since=` (`EPOCH:OFFSET`) and `?last=` (decimal);
/// with neither it is live.
///
/// # Errors
///
/// 400 for both at once, and for a value that has not its form.
pub fn start_from_query(since: Option<&str>, last: Option<&str>) -> Result<Start, Refusal> {
    match (since, last) {
        (None, None) => Ok(Start::Live),
        (Some(since), None) => position("since", since.as_bytes()).map(Start::Since),
        (None, Some(last)) => decimal(last).map(Start::Last).ok_or_else(|| {
            bad_request(format!(
                "last is \"{}\"; a decimal number of messages up to {} is allowed",
                seen(last.as_bytes()),
                u64::MAX
            ))
        }),
        (Some(_), Some(_)) => {
            Err(bad_request("since and last were both given; one of them is allowed".to_owned()))
        }
    }
}

/// Where an event stream begins. `Last-Event-ID` wins over the query, as a reconnecting `EventSource`
/// repeats its URL (HTML standard §9.2.4, the `Last-Event-ID` header); empty is as none.
pub(super) fn start(request: &Request<'_>) -> Result<Start, Refusal> {
    match only_header(request, "Last-Event-ID")? {
        Some(id) if !id.is_empty() => position("Last-Event-ID", id).map(Start::Since),
        _ => start_from_query(query(request, "since")?.as_deref(), query(request, "last")?.as_deref()),
    }
}

/// `?name=` of one that joins a room: how it wants to be known to the others.
pub(super) fn identity(request: &Request<'_>) -> Result<Option<Identity>, Refusal> {
    identity_from_query(query(request, "name")?.as_deref())
}

/// Who somebody is, of the decoded value of `?name=`.
///
/// # Errors
///
/// 400 for a name that breaks the rule.
pub fn identity_from_query(name: Option<&str>) -> Result<Option<Identity>, Refusal> {
    let identity = name.map(Identity::new).transpose();
    identity.map_err(|error| bad_request(format!("query value of name: {error}")))
}

/// The value of a header that may be there once.
pub(super) fn only_header<'r>(request: &Request<'r>, name: &str) -> Result<Option<&'r [u8]>, Refusal> {
    match request.headers_named(name).count() {
        0 | 1 => Ok(request.header(name)),
        many => Err(bad_request(format!("the request has {many} {name} headers; 1 is allowed"))),
    }
}

/// `Idempotency-Key`.
pub(super) fn idempotency_key(request: &Request<'_>) -> Result<Option<Box<str>>, Refusal> {
    let Some(key) = only_header(request, "Idempotency-Key")? else { return Ok(None) };
    match str::from_utf8(key) {
        Ok(text) if is_idempotency_key(key) => Ok(Some(text.into())),
        _ => Err(bad_request(format!(
            "Idempotency-Key is \"{}\" of {} bytes; 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes of visible ASCII are \
             allowed",
            seen(key),
            key.len()
        ))),
    }
}

/// Whether a key has 1 to [`IDEMPOTENCY_KEY_BYTES_MAX`] bytes of visible ASCII.
pub(in crate::endpoint) fn is_idempotency_key(key: &[u8]) -> bool {
    (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic)
}

/// To ignore it would let a repeat publish twice, silently.
pub(super) fn refuse_idempotency_key(request: &Request<'_>) -> Result<(), Refusal> {
    match request.header("Idempotency-Key") {
        None => Ok(()),
        Some(_) => Err(bad_request(
            "an Idempotency-Key was seen; it is allowed for POST /rooms/{room} only, and idempotency_key in the body \
             for /api/publish and /api/broadcast"
                .to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::request;
    use super::*;
    use crate::rooms::Epoch;

    fn asked(query: &str) -> Request<'static> {
        request(&format!("GET /rooms?{query} HTTP/1.1"))
    }

    fn with(header: &str) -> Request<'static> {
        request(&format!("GET /rooms/a/events?since=00000000000000ab:1 HTTP/1.1\r\n{header}"))
    }

    fn at(offset: u64) -> Position {
        Position { epoch: Epoch::new(0xab), offset }
    }

    #[test]
    fn a_limit_is_inclusive_and_has_a_default() {
        assert_eq!(limit(&asked(""), 1000), Ok(100));
        for (text, allowed) in [
            ("0", None),
            ("1", Some(1)),
            ("2", Some(2)),
            ("999", Some(999)),
            ("1000", Some(1000)),
            ("1001", None),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.0", None),
            ("18446744073709551616", None),
        ] {
            let found = limit(&asked(&format!("limit={text}")), 1000);
            assert_eq!(found.as_ref().ok(), allowed.as_ref(), "{text}");
        }
        let refusal = limit(&asked("limit=%00x"), 1000).unwrap_err();
        assert_eq!(refusal.body, "limit=\\x00x is not allowed here; 1 to 1000 is");
        let refusal = limit(&asked("limit=%zz"), 1000).unwrap_err();
        assert!(refusal.status == 400 && refusal.body.contains("query value of limit"));
    }

    #[test]
    fn a_start_is_one_of_since_and_last() {
        assert_eq!(start_from_query(None, None), Ok(Start::Live));
        assert_eq!(start_from_query(Some("00000000000000ab:7"), None), Ok(Start::Since(at(7))));
        for (text, start) in [
            ("0", Some(Start::Last(0))),
            ("1", Some(Start::Last(1))),
            ("18446744073709551615", Some(Start::Last(u64::MAX))),
            ("18446744073709551616", None),
            ("", None),
            ("+1", None),
            ("-1", None),
            ("x", None),
        ] {
            assert_eq!(start_from_query(None, Some(text)).ok(), start, "{text}");
        }
        let refusal = start_from_query(Some("00000000000000ab:7"), Some("1")).unwrap_err();
        assert_eq!(refusal.status, 400);
        assert!(refusal.body.contains("since") && refusal.body.contains("last"));
    }

    #[test]
    fn a_bad_since_shows_the_form() {
        let from_query = start_from_query(Some("12"), None).unwrap_err();
        assert_eq!(
            from_query.body,
            "since is \"12\"; a position is EPOCH:OFFSET, 16 hexadecimal digits, a colon and a decimal number"
        );
        assert_eq!(since(&asked("since=12")).unwrap_err(), from_query);
        assert_eq!(since(&asked("since=")).unwrap_err().status, 400);
        assert_eq!(since(&asked("since=00000000000000ab%3A2")), Ok(Some(at(2))));
        assert_eq!(since(&asked("")), Ok(None));
        assert!(since(&asked(&format!("since={}", "1".repeat(65)))).unwrap_err().body.contains("1…\""));
    }

    #[test]
    fn the_last_event_id_wins_over_the_query() {
        assert_eq!(start(&with("Last-Event-ID: 00000000000000ab:9")), Ok(Start::Since(at(9))));
        assert_eq!(start(&with("Last-Event-ID:")), Ok(Start::Since(at(1))));
        assert_eq!(start(&with("X: y")), Ok(Start::Since(at(1))));
        let refusal = start(&with("Last-Event-ID: 9")).unwrap_err();
        assert!(refusal.status == 400 && refusal.body.contains("EPOCH:OFFSET"));
        let two = "Last-Event-ID: 00000000000000ab:9\r\nLast-Event-ID: 00000000000000ab:9";
        assert!(start(&with(two)).unwrap_err().body.contains("2 Last-Event-ID headers"));
        let both = request("GET /rooms/a/events?since=00000000000000ab:1&last=1 HTTP/1.1");
        assert_eq!(start(&both).unwrap_err().status, 400);
    }

    #[test]
    fn an_idempotency_key_is_short_visible_and_alone() {
        let key = |key: &str| idempotency_key(&with(&format!("Idempotency-Key: {key}")));
        assert_eq!(idempotency_key(&asked("")), Ok(None));
        for (length, ok) in [(1, true), (127, true), (128, true), (129, false)] {
            assert_eq!(key(&"k".repeat(length)).is_ok(), ok, "{length}");
        }
        assert_eq!(key("\"!~\"").unwrap().as_deref(), Some("\"!~\""));
        for wrong in ["", "a b", "ü", "a\tb"] {
            assert_eq!(key(wrong).unwrap_err().status, 400, "{wrong}");
        }
        let body = key(&"k".repeat(129)).unwrap_err().body;
        assert!(body.contains("129 bytes") && body.contains("1 to 128 bytes"), "{body}");
        assert!(key("a\r\nIdempotency-Key: a").unwrap_err().body.contains("2 Idempotency-Key headers"));
    }

    #[test]
    fn an_excluded_client_has_the_form_of_an_id() {
        assert_eq!(excluded(&asked("exclude=1-2f")), Ok(Some("1-2f".parse().unwrap())));
        assert_eq!(excluded(&asked("")), Ok(None));
        let body = excluded(&asked("exclude=me")).unwrap_err().body;
        assert!(body.contains("exclude=me") && body.contains("SHARD-KEY"), "{body}");
    }

    #[test]
    fn a_list_goes_on_behind_a_room() {
        assert_eq!(room_after(&asked("after=a%2Fb")), Ok(Some(RoomName::new("a/b").unwrap())));
        assert_eq!(room_after(&asked("")), Ok(None));
        assert!(room_after(&asked("after=")).unwrap_err().body.contains("1 to 128 bytes"));
    }
}
