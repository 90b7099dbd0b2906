//! Which pages may use the door, and telling their browsers so (Fetch standard §3.3, CORS protocol).

use super::{Answer, CLIENT_HEADER, EPOCH_HEADER, FROM_HEADER, OFFSET_HEADER};
use crate::endpoint::OriginPolicy;
use crate::protocol::{Refusal, Request};

/// Request headers that a page of an allowed origin may set.
const ALLOWED_HEADERS: &str = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-API-Key";

/// Seconds for which a browser may remember a preflight.
const MAX_AGE_SECONDS: u32 = 600;

/// The header fields that every answer to this request needs. `Vary` is there without an `Origin` too,
/// or a cache would give a page the answer that it stored for none.
///
/// # Errors
///
/// What [`OriginPolicy::check`] refuses. A browser sends a simple POST before it asks anybody, so not
/// to let a strange page read the answer would not be enough.
pub fn cors_headers(
    request: &Request<'_>,
    origins: &OriginPolicy,
) -> Result<Vec<(&'static str, String)>, Refusal> {
    origins.check(request.headers_named("Origin"), request.host())?;
    let mut headers = vec![("Vary", "Origin".to_owned())];
    // Only under `*` an allowed origin may be no text, and no browser has such a one.
    if let Some(origin) = request.origin().and_then(|origin| str::from_utf8(origin).ok()) {
        let exposed = [EPOCH_HEADER, OFFSET_HEADER, FROM_HEADER, CLIENT_HEADER].join(", ");
        headers.push(("Access-Control-Allow-Origin", origin.to_owned()));
        headers.push(("Access-Control-Expose-Headers", exposed));
    }
    Ok(headers)
}

/// The answer to OPTIONS on a path with these methods, without [`cors_headers`]. It needs no key: a
/// browser sends none with a preflight.
pub(super) fn options_answer(request: &Request<'_>, allow: &str) -> Answer {
    let preflight = request.origin().is_some() && request.header("Access-Control-Request-Method").is_some();
    let headers = match preflight {
        true => vec![
            ("Access-Control-Allow-Methods", allow.to_owned()),
            ("Access-Control-Allow-Headers", ALLOWED_HEADERS.to_owned()),
            ("Access-Control-Max-Age", MAX_AGE_SECONDS.to_string()),
        ],
        false => vec![("Allow", allow.to_owned())],
    };
    Answer { status: 204, headers, content_type: "", body: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::super::tests::request;
    use super::*;

    fn headers(lines: &str, rules: &[&str]) -> Result<Vec<(&'static str, String)>, Refusal> {
        let origins = OriginPolicy { allowed: rules.iter().map(|rule| rule.parse().unwrap()).collect() };
        cors_headers(&request(&format!("POST /rooms/a HTTP/1.1\r\nHost: own\r\n{lines}")), &origins)
    }

    fn names(headers: &[(&'static str, String)]) -> Vec<&'static str> {
        headers.iter().map(|(name, _)| *name).collect()
    }

    #[test]
    fn without_an_origin_only_caches_are_told() {
        assert_eq!(headers("X: y", &["*"]), Ok(vec![("Vary", "Origin".to_owned())]));
    }

    #[test]
    fn an_allowed_origin_is_named_and_may_read_our_headers() {
        for (origin, rules) in [
            ("http://own", &[][..]),
            ("https://app", &["https://app"]),
            ("http://any", &["*"]),
            ("null", &["null"]),
        ] {
            let expected = vec![
                ("Vary", "Origin".to_owned()),
                ("Access-Control-Allow-Origin", origin.to_owned()),
                (
                    "Access-Control-Expose-Headers",
                    "Fanfare-Epoch, Fanfare-Offset, Fanfare-From, Fanfare-Client".to_owned(),
                ),
            ];
            assert_eq!(headers(&format!("Origin: {origin}"), rules), Ok(expected), "{origin}");
        }
    }

    #[test]
    fn another_origin_is_refused_as_an_upgrade_is() {
        for origin in ["http://evil", "null", "http://own:81", ""] {
            let refusal = headers(&format!("Origin: {origin}"), &["https://app"]).unwrap_err();
            assert_eq!(refusal.status, 403);
            assert!(refusal.body.contains("--allow-origin"));
        }
        assert_eq!(headers("Origin: http://own\r\nOrigin: http://own", &[]).unwrap_err().status, 400);
    }

    #[test]
    fn a_preflight_is_told_what_it_may_send() {
        let preflight =
            "OPTIONS /rooms HTTP/1.1\r\nOrigin: http://own\r\nAccess-Control-Request-Method: POST";
        let answer = options_answer(&request(preflight), "GET, POST");
        assert_eq!((answer.status, answer.content_type, answer.body.len()), (204, "", 0));
        let expected = [
            ("Access-Control-Allow-Methods", "GET, POST"),
            (
                "Access-Control-Allow-Headers",
                "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-API-Key",
            ),
            ("Access-Control-Max-Age", "600"),
        ];
        assert_eq!(answer.headers, expected.map(|(name, value)| (name, value.to_owned())));
    }

    #[test]
    fn other_options_are_told_the_methods() {
        for lines in ["X: y", "Origin: http://own", "Access-Control-Request-Method: POST"] {
            let answer = options_answer(&request(&format!("OPTIONS /rooms HTTP/1.1\r\n{lines}")), "GET");
            assert_eq!((answer.status, names(&answer.headers)), (204, vec!["Allow"]), "{lines}");
        }
    }
}
