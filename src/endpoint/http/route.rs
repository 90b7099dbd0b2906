//! Which path and method is which call.

use super::content::{check_coding, payload_kind};
use super::cors::{cors_headers, options_answer};
use super::parameters::{
    excluded, idempotency_key, identity, limit, refuse_idempotency_key, room_after, since, start,
};
use super::{HISTORY_LIMIT_MAX, LIST_LIMIT_MAX, RoomsCall, Routed, bad_request};
use crate::endpoint::OriginPolicy;
use crate::endpoint::api::ApiMethod;
use crate::endpoint::query::decode;
use crate::protocol::{Refusal, Request, shown};
use crate::rooms::RoomName;

/// The paths of the door, as a 404 lists them.
pub const PATHS: [&str; 4] = ["/rooms", "/rooms/{room}", "/rooms/{room}/events", "/api/{method}"];

/// Characters of a method that are shown in a refusal.
const SHOWN_METHOD_CHARS_MAX: usize = 32;

/// One of [`PATHS`], with the room as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path<'p> {
    Rooms,
    Room(&'p str),
    Events(&'p str),
    Api(ApiMethod),
}

impl<'p> Path<'p> {
    fn find(path: &'p str) -> Option<Path<'p>> {
        if let Some(method) = path.strip_prefix("/api/") {
            return ApiMethod::find(method).map(Path::Api);
        }
        let rest = path.strip_prefix("/rooms")?;
        if rest.is_empty() {
            return Some(Path::Rooms);
        }
        let mut segments = rest.strip_prefix('/')?.split('/');
        let room = segments.next().filter(|room| !room.is_empty())?;
        match (segments.next(), segments.next()) {
            (None, _) => Some(Path::Room(room)),
            (Some("events"), None) => Some(Path::Events(room)),
            _ => None,
        }
    }

    /// The methods, as `Allow` lists them (RFC 9110 §10.2.1).
    fn allow(self) -> &'static str {
        match self {
            Path::Rooms | Path::Room(_) => "GET, HEAD, POST, OPTIONS",
            Path::Events(_) => "GET, HEAD, OPTIONS",
            Path::Api(_) => "POST, OPTIONS",
        }
    }

    fn call(self, request: &Request<'_>) -> Result<RoomsCall, Refusal> {
        match (self, request.method()) {
            (Path::Rooms, "GET" | "HEAD") => {
                Ok(RoomsCall::List { after: room_after(request)?, limit: limit(request, LIST_LIMIT_MAX)? })
            }
            (Path::Rooms, "POST") => {
                check_coding(request)?;
                refuse_idempotency_key(request)?;
                Ok(RoomsCall::PublishMany)
            }
            (Path::Room(room), "GET" | "HEAD") => Ok(RoomsCall::History {
                room: room_name(room)?,
                since: since(request)?,
                limit: limit(request, HISTORY_LIMIT_MAX)?,
            }),
            (Path::Room(room), "POST") => {
                check_coding(request)?;
                Ok(RoomsCall::Publish {
                    room: room_name(room)?,
                    exclude: excluded(request)?,
                    idempotency_key: idempotency_key(request)?,
                    kind: payload_kind(request)?,
                })
            }
            (Path::Events(room), "GET" | "HEAD") => {
                let (room, start) = (room_name(room)?, start(request)?);
                Ok(RoomsCall::Events { room, start, identity: identity(request)? })
            }
            (Path::Api(method), "POST") => {
                check_coding(request)?;
                refuse_idempotency_key(request)?;
                Ok(RoomsCall::Api(method))
            }
            (_, method) => Err(self.method_not_allowed(method)),
        }
    }

    fn method_not_allowed(self, method: &str) -> Refusal {
        let method = shown(method.as_bytes(), SHOWN_METHOD_CHARS_MAX);
        let allow = self.allow();
        Refusal::new(405, format!("method {method} is not allowed here; {allow} are"))
            .with_header("Allow", allow)
    }
}

/// Whether `path`, not decoded, is one of the door's.
pub fn is_rooms_path(path: &str) -> bool {
    Path::find(path).is_some()
}

/// Finds what a request asks for; `None` if its path is none of [`PATHS`].
///
/// The caller has seen that it is no WebSocket upgrade. A page's origin is checked here, with what
/// [`cors_headers`] refuses; keys are not ([`crate::endpoint::authorize`]).
///
/// # Errors
///
/// 400, 403 (origin), 405 with `Allow`, or 415, each with what was seen and what is allowed, and with
/// the CORS headers that let an allowed page read it.
pub fn route(request: &Request<'_>, origins: &OriginPolicy) -> Result<Option<Routed>, Refusal> {
    let Some(path) = Path::find(request.path()) else { return Ok(None) };
    let headers = cors_headers(request, origins)?;
    if request.method() == "OPTIONS" {
        return Ok(Some(Routed::Answer(options_answer(request, path.allow()).with_headers(headers))));
    }
    match path.call(request) {
        Ok(call) => Ok(Some(Routed::Call { call, headers })),
        Err(mut refusal) => {
            refusal.headers.extend(headers);
            Err(refusal)
        }
    }
}

/// The room of a path segment.
fn room_name(raw: &str) -> Result<RoomName, Refusal> {
    let name = decode(raw).map_err(|error| bad_request(format!("room in the path: {error}")))?;
    RoomName::new(&name).map_err(|error| bad_request(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::request;
    use super::*;
    use crate::protocol::Kind;
    use crate::rooms::Start;

    fn routed(head: &str) -> Result<Option<Routed>, Refusal> {
        route(&request(head), &OriginPolicy::default())
    }

    fn called(head: &str) -> RoomsCall {
        match routed(head) {
            Ok(Some(Routed::Call { call, .. })) => call,
            other => panic!("{head}: {other:?}"),
        }
    }

    fn room(name: &str) -> RoomName {
        RoomName::new(name).unwrap()
    }

    #[test]
    fn whole_paths_are_the_doors() {
        for path in [
            "/rooms",
            "/rooms/a",
            "/rooms/a%2Fb",
            "/rooms/events",
            "/rooms/a/events",
            "/api/publish",
            "/api/rpc",
        ] {
            assert!(is_rooms_path(path), "{path}");
        }
        for path in [
            "/",
            "/room",
            "/roomsa",
            "/rooms/",
            "//rooms",
            "/rooms/a/",
            "/rooms//events",
            "/rooms/a/event",
            "/rooms/a/events/",
            "/rooms/a/b/events",
            "/Rooms",
            "/api",
            "/api/",
            "/api/nothing",
            "/api/publish/",
        ] {
            assert!(!is_rooms_path(path), "{path}");
            assert_eq!(routed(&format!("GET {path} HTTP/1.1")).unwrap(), None, "{path}");
        }
    }

    #[test]
    fn each_path_and_method_is_a_call() {
        let publish =
            |kind| RoomsCall::Publish { room: room("a/b"), exclude: None, idempotency_key: None, kind };
        let history = RoomsCall::History { room: room("a/b"), since: None, limit: 100 };
        let list = RoomsCall::List { after: None, limit: 100 };
        let events = RoomsCall::Events { room: room("a/b"), start: Start::Live, identity: None };
        for (line, call) in [
            ("GET /rooms", list.clone()),
            ("HEAD /rooms", list),
            ("POST /rooms", RoomsCall::PublishMany),
            ("GET /rooms/a%2Fb", history.clone()),
            ("HEAD /rooms/a%2fb", history),
            ("POST /rooms/a%2Fb", publish(Kind::Text)),
            ("GET /rooms/a%2Fb/events", events.clone()),
            ("HEAD /rooms/a%2Fb/events", events),
            ("POST /api/presence_stats", RoomsCall::Api(ApiMethod::PresenceStats)),
            ("POST /api/subscribe", RoomsCall::Api(ApiMethod::NotOffered("subscribe"))),
        ] {
            assert_eq!(called(&format!("{line} HTTP/1.1")), call, "{line}");
        }
        let typed = "POST /rooms/a%2Fb HTTP/1.1\r\nContent-Type: application/octet-stream";
        assert_eq!(called(typed), publish(Kind::Binary));
    }

    #[test]
    fn the_calls_take_their_parameters() {
        let epoch = "00000000000000ab";
        let call = called(&format!("GET /rooms/a?limit=7&since={epoch}:3&x=%zz HTTP/1.1"));
        let since = format!("{epoch}:3").parse().unwrap();
        assert_eq!(call, RoomsCall::History { room: room("a"), since: Some(since), limit: 7 });
        let call = called("GET /rooms?after=%C3%BC&limit=1000 HTTP/1.1");
        assert_eq!(call, RoomsCall::List { after: Some(room("ü")), limit: 1000 });
        let call = called("POST /rooms/a?exclude=3-1f HTTP/1.1\r\nIdempotency-Key: k1");
        let RoomsCall::Publish { exclude, idempotency_key, .. } = call else { panic!("{call:?}") };
        assert_eq!(exclude, Some("3-1f".parse().unwrap()));
        assert_eq!(idempotency_key.as_deref(), Some("k1"));
        let call = called("GET /rooms/a/events?last=4 HTTP/1.1");
        assert_eq!(call, RoomsCall::Events { room: room("a"), start: Start::Last(4), identity: None });
    }

    #[test]
    fn the_largest_limit_depends_on_the_path() {
        for (path, max) in [("/rooms", 1000), ("/rooms/a", 10_000)] {
            assert!(routed(&format!("GET {path}?limit={max} HTTP/1.1")).is_ok());
            let refusal = routed(&format!("GET {path}?limit={} HTTP/1.1", max + 1)).unwrap_err();
            assert_eq!(refusal.status, 400);
            assert!(refusal.body.contains(&format!("1 to {max}")), "{}", refusal.body);
        }
    }

    #[test]
    fn other_methods_are_refused_with_those_allowed() {
        for (path, allow) in [
            ("/rooms", "GET, HEAD, POST, OPTIONS"),
            ("/rooms/a", "GET, HEAD, POST, OPTIONS"),
            ("/rooms/a/events", "GET, HEAD, OPTIONS"),
            ("/api/info", "POST, OPTIONS"),
        ] {
            for method in ["PUT", "DELETE", "PATCH", "get"] {
                let refusal = routed(&format!("{method} {path} HTTP/1.1")).unwrap_err();
                assert_eq!(refusal.status, 405);
                assert!(refusal.headers.contains(&("Allow", allow.to_owned())));
                assert_eq!(refusal.body, format!("method {method} is not allowed here; {allow} are"));
            }
        }
        assert_eq!(routed("POST /rooms/a/events HTTP/1.1").unwrap_err().status, 405);
        let refused = |length: usize| routed(&format!("{} /rooms HTTP/1.1", "M".repeat(length))).unwrap_err();
        assert!(refused(32).body.contains(&format!("{} is", "M".repeat(32))));
        assert!(refused(33).body.contains(&format!("{}… is", "M".repeat(32))));
    }

    #[test]
    fn a_bad_room_name_is_refused_with_the_rule() {
        for (segment, rule) in [
            ("x".repeat(129), "1 to 128 bytes"),
            ("a%00".to_owned(), "no control characters"),
            ("a%2".to_owned(), "two hexadecimal digits"),
            ("%ff".to_owned(), "UTF-8"),
        ] {
            for line in [format!("GET /rooms/{segment}"), format!("POST /rooms/{segment}")] {
                let refusal = routed(&format!("{line} HTTP/1.1")).unwrap_err();
                assert_eq!(refusal.status, 400);
                assert!(refusal.body.contains(rule), "{}", refusal.body);
            }
            assert_eq!(routed(&format!("GET /rooms/{segment}/events HTTP/1.1")).unwrap_err().status, 400);
        }
        assert!(routed(&format!("GET /rooms/{} HTTP/1.1", "x".repeat(128))).is_ok());
    }

    #[test]
    fn a_body_in_a_content_coding_and_a_key_for_many_are_refused() {
        for path in ["/rooms", "/rooms/a", "/api/publish"] {
            let refusal = routed(&format!("POST {path} HTTP/1.1\r\nContent-Encoding: gzip")).unwrap_err();
            assert_eq!(refusal.status, 415);
        }
        for path in ["/rooms", "/api/publish"] {
            let refusal = routed(&format!("POST {path} HTTP/1.1\r\nIdempotency-Key: a")).unwrap_err();
            assert_eq!(refusal.status, 400);
            assert!(refusal.body.contains("/rooms/{room}") && refusal.body.contains("idempotency_key"));
        }
    }

    #[test]
    fn a_page_of_an_allowed_origin_may_read_calls_and_refusals_alike() {
        let own = "Host: example.com\r\nOrigin: http://example.com";
        let allow = ("Access-Control-Allow-Origin", "http://example.com".to_owned());
        let Ok(Some(Routed::Call { headers, .. })) = routed(&format!("GET /rooms HTTP/1.1\r\n{own}")) else {
            panic!("no call");
        };
        assert!(headers.contains(&allow));
        let refusal = routed(&format!("GET /rooms?limit=0 HTTP/1.1\r\n{own}")).unwrap_err();
        assert!(refusal.status == 400 && refusal.headers.contains(&allow));
    }

    #[test]
    fn a_page_of_another_origin_is_refused_whatever_it_asks() {
        for line in [
            "GET /rooms",
            "POST /rooms/a",
            "OPTIONS /rooms/a",
            "GET /rooms/a/events",
            "PUT /rooms",
            "POST /api/info",
        ] {
            let head = format!("{line} HTTP/1.1\r\nHost: good\r\nOrigin: http://evil");
            assert_eq!(routed(&head).unwrap_err().status, 403, "{line}");
        }
    }

    #[test]
    fn options_is_answered_at_once() {
        let Ok(Some(Routed::Answer(answer))) = routed("OPTIONS /rooms/a/events HTTP/1.1") else {
            panic!("no answer");
        };
        assert_eq!((answer.status, answer.body.len()), (204, 0));
        assert!(answer.headers.contains(&("Allow", "GET, HEAD, OPTIONS".to_owned())));
    }

    #[test]
    fn publishing_and_listing_need_a_key_and_publishing_a_body() {
        for (line, key, body) in [
            ("GET /rooms", true, false),
            ("POST /rooms", true, true),
            ("POST /rooms/a", true, true),
            ("POST /api/info", true, true),
            ("GET /rooms/a", false, false),
            ("GET /rooms/a/events", false, false),
        ] {
            let call = called(&format!("{line} HTTP/1.1"));
            assert_eq!((call.needs_key(), call.wants_body()), (key, body), "{line}");
        }
    }
}
