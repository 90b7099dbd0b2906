//! What the body of a publication is: text or binary, by its media type (RFC 9110 §8.3).

use super::parameters::only_header;
use super::{SHOWN_CHARS_MAX, bad_request};
use crate::protocol::{Kind, Refusal, Request, shown};

/// What a media type must be, for a 415.
const ALLOWED: &str = "text/*, application/*, image/*, audio/* and video/* are allowed, and none for text";

/// Text or binary, by `Content-Type`.
///
/// Text: none, `text/*`, JSON and XML with any prefix, and forms, as that is what `curl -d` says of
/// whatever it sends. Binary: the rest of `application`, and images, audio and video. RFC 6838 §4.2.
pub(super) fn payload_kind(request: &Request<'_>) -> Result<Kind, Refusal> {
    let Some(value) = only_header(request, "Content-Type")?.filter(|value| !value.is_empty()) else {
        return Ok(Kind::Text);
    };
    let refused = || {
        let seen = shown(value, SHOWN_CHARS_MAX);
        Refusal::new(415, format!("Content-Type is \"{seen}\"; {ALLOWED}"))
    };
    let text = str::from_utf8(value).map_err(|_| refused())?.to_ascii_lowercase();
    let mut parts = split_unquoted(&text);
    let (kind, subtype) = parts.next().and_then(|name| name.split_once('/')).ok_or_else(refused)?;
    if subtype.is_empty() {
        return Err(refused());
    }
    let in_words = ["json", "xml", "x-www-form-urlencoded"].contains(&subtype);
    match kind {
        "text" => {}
        _ if subtype.ends_with("+json") || subtype.ends_with("+xml") => {}
        "application" if in_words => {}
        "application" | "image" | "audio" | "video" => return Ok(Kind::Binary),
        _ => return Err(refused()),
    }
    for charset in parts.filter_map(|parameter| parameter.strip_prefix("charset=")) {
        let charset = charset.trim_matches('"');
        if !["utf-8", "us-ascii"].contains(&charset) {
            let seen = shown(charset.as_bytes(), SHOWN_CHARS_MAX);
            return Err(Refusal::new(415, format!("charset is {seen}; utf-8 and us-ascii are allowed")));
        }
    }
    Ok(Kind::Text)
}

/// The parts between semicolons outside quoted strings (RFC 9110 §5.6.6), without whitespace around.
fn split_unquoted(value: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = value.split(move |character| {
        let ends = character == ';' && !quoted;
        if character == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = quoted && character == '\\' && !escaped;
        ends
    });
    parts.map(str::trim)
}

/// A body in a content coding would reach the members as it is, without the header that names it.
pub(super) fn check_coding(request: &Request<'_>) -> Result<(), Refusal> {
    match request.headers_named("Content-Encoding").find(|value| !value.eq_ignore_ascii_case(b"identity")) {
        None => Ok(()),
        Some(value) => {
            let seen = shown(value, SHOWN_CHARS_MAX);
            let body = format!("Content-Encoding is \"{seen}\"; identity is allowed");
            // RFC 9110 §12.5.3: says that it is the coding, not the type.
            Err(Refusal::new(415, body).with_header("Accept-Encoding", "identity"))
        }
    }
}

/// Checks that a body is what its kind promises.
///
/// # Errors
///
/// 400 if text is not UTF-8.
pub fn check_payload(kind: Kind, body: &[u8]) -> Result<(), Refusal> {
    match kind {
        Kind::Binary => Ok(()),
        Kind::Text => simdutf8::compat::from_utf8(body).map(drop).map_err(|error| {
            bad_request(format!(
                "the body is no UTF-8 from byte {} on; text is allowed only in UTF-8, \
                 and other bytes with Content-Type: application/octet-stream",
                error.valid_up_to()
            ))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::request;
    use super::*;

    fn kind(content_type: &str) -> Result<Kind, Refusal> {
        payload_kind(&request(&format!("POST /rooms/a HTTP/1.1\r\nContent-Type: {content_type}")))
    }

    #[test]
    fn text_is_what_is_made_of_characters() {
        assert_eq!(payload_kind(&request("POST /rooms/a HTTP/1.1")), Ok(Kind::Text));
        for content_type in [
            "",
            "text/plain",
            "Text/HTML",
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/xml",
            "application/ld+json",
            "image/svg+xml",
            "model/x+json",
            "application/x-www-form-urlencoded",
            "text/plain;charset=\"utf-8\"",
            "text/plain ; format=flowed ; charset=us-ascii",
            "text/plain; note=\"; charset=latin1\"",
            "text/plain; note=\"\\\"; charset=latin1\"",
        ] {
            assert_eq!(kind(content_type), Ok(Kind::Text), "{content_type}");
        }
    }

    #[test]
    fn binary_is_the_rest_of_what_is_known() {
        for content_type in [
            "application/octet-stream",
            "application/pdf",
            "application/jsonx",
            "application/x-protobuf; charset=latin1",
            "image/png",
            "audio/ogg",
            "video/mp4; codecs=\"a;b\"",
        ] {
            assert_eq!(kind(content_type), Ok(Kind::Binary), "{content_type}");
        }
    }

    #[test]
    fn other_types_are_refused() {
        for content_type in [
            "multipart/form-data; boundary=x",
            "multipart/mixed",
            "message/rfc822",
            "text",
            "text/",
            "/",
            "/json",
            ";",
            "text; charset=utf-8",
            "\u{fc}/plain",
        ] {
            let refusal = kind(content_type).unwrap_err();
            assert_eq!(refusal.status, 415, "{content_type}");
            assert!(refusal.body.contains("application/*"), "{}", refusal.body);
        }
        assert!(kind(&format!("x/{}", "y".repeat(63))).unwrap_err().body.contains("y…\""));
        assert_eq!(kind("text/plain\r\nContent-Type: text/plain").unwrap_err().status, 400);
    }

    #[test]
    fn text_in_another_charset_is_refused() {
        for charset in ["latin1", "\"iso-8859-1\"", "utf-16", "", "utf-8; charset=utf-16"] {
            let refusal = kind(&format!("text/plain; Charset={charset}")).unwrap_err();
            assert_eq!(refusal.status, 415);
            assert!(refusal.body.contains("utf-8 and us-ascii"), "{}", refusal.body);
        }
    }

    #[test]
    fn only_the_identity_coding_is_read() {
        let check = |value: &str| {
            check_coding(&request(&format!("POST /rooms HTTP/1.1\r\nContent-Encoding: {value}")))
        };
        assert_eq!(check("Identity"), Ok(()));
        assert_eq!(check_coding(&request("POST /rooms HTTP/1.1")), Ok(()));
        for coding in ["gzip", "identity\r\nContent-Encoding: br"] {
            let refusal = check(coding).unwrap_err();
            assert_eq!(refusal.status, 415);
            assert!(refusal.headers.contains(&("Accept-Encoding", "identity".to_owned())));
        }
    }

    #[test]
    fn text_must_be_utf_8_and_bytes_need_not() {
        assert_eq!(check_payload(Kind::Text, "grüß".as_bytes()), Ok(()));
        assert_eq!(check_payload(Kind::Text, b""), Ok(()));
        assert_eq!(check_payload(Kind::Binary, b"\xff"), Ok(()));
        let refusal = check_payload(Kind::Text, b"ab\xff").unwrap_err();
        assert_eq!(refusal.status, 400);
        assert!(refusal.body.contains("byte 2") && refusal.body.contains("application/octet-stream"));
    }
}
