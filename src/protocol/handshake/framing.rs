//! Where the body of a request ends: `Content-Length` and `Transfer-Encoding` (RFC 9112 §6).
//!
//! Strict on purpose: two parties that disagree about the end of a body let one client speak in
//! another's name (RFC 9112 §11.2). Reads no body; the connection does.

use super::request::Request;
use super::response::Refusal;
use super::shown;

/// Digits of a `Content-Length`: what always fits into 64 bits.
const LENGTH_DIGITS_MAX: usize = 19;

/// What a request head announces to follow it (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyLength {
    /// No body, or one of 0 bytes.
    #[default]
    None,
    /// This many bytes, at least 1.
    Length(u64),
    /// Chunks (RFC 9112 §7.1); how many bytes is known at their end.
    Chunked,
}

/// The 413 for a body of more than `limit` bytes (RFC 9110 §15.5.14); `seen` is its announced length,
/// which chunks do not have.
pub fn body_too_large(seen: Option<u64>, limit: usize) -> Refusal {
    let seen = match seen {
        Some(bytes) => format!("has {bytes} bytes"),
        None => format!("is longer than {limit} bytes"),
    };
    let body = format!("the body of the request {seen}; up to {limit} are allowed (--max-message)");
    Refusal::new(413, body)
}

/// What `request` announces, if it does so in the one way that cannot be misunderstood.
///
/// # Errors
///
/// 400 for both headers, for several of either, and for a value other than 1 to 19 digits or
/// `chunked`; also for a `Transfer-Encoding` in HTTP/1.0, which has none (RFC 9112 §6.1).
pub(super) fn body_length(request: &Request<'_>) -> Result<BodyLength, Refusal> {
    let mut encodings = request.headers_named("Transfer-Encoding");
    let mut lengths = request.headers_named("Content-Length");
    let Some(encoding) = encodings.next() else {
        return match (lengths.next(), lengths.next()) {
            (None, _) => Ok(BodyLength::None),
            (Some(value), None) => content_length(value),
            (Some(_), Some(_)) => Err(Refusal::new(
                400,
                "the request has several Content-Length headers; at most one is allowed, and it gives the \
                 length of the body",
            )),
        };
    };
    if request.is_http_1_0() {
        return Err(Refusal::new(
            400,
            "the request is HTTP/1.0 and has a Transfer-Encoding header; only HTTP/1.1 is allowed to",
        ));
    }
    if lengths.next().is_some() {
        return Err(Refusal::new(
            400,
            "the request has both Transfer-Encoding and Content-Length; one of them is allowed for a body",
        ));
    }
    if encodings.next().is_some() {
        return Err(Refusal::new(
            400,
            "the request has several Transfer-Encoding headers; one with \"chunked\" is allowed for a body",
        ));
    }
    if !encoding.eq_ignore_ascii_case(b"chunked") {
        let body = format!(
            "Transfer-Encoding is \"{}\"; exactly \"chunked\" is allowed for a body",
            shown(encoding)
        );
        return Err(Refusal::new(400, body));
    }
    Ok(BodyLength::Chunked)
}

fn content_length(value: &[u8]) -> Result<BodyLength, Refusal> {
    let digits = (1..=LENGTH_DIGITS_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    let length = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|text| text.parse().ok());
    match length {
        Some(0) => Ok(BodyLength::None),
        Some(length) => Ok(BodyLength::Length(length)),
        None => {
            let body = format!(
                "Content-Length is \"{}\"; 1 to {LENGTH_DIGITS_MAX} digits are allowed for the length of a \
                 body",
                shown(value)
            );
            Err(Refusal::new(400, body))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_is_too_large_names_the_numbers_and_the_flag() {
        let announced = body_too_large(Some(101), 100);
        let chunked = body_too_large(None, 100);
        assert_eq!((announced.status, chunked.status), (413, 413));
        assert!(announced.body.contains("101") && announced.body.contains("up to 100"), "{}", announced.body);
        assert!(chunked.body.contains("longer than 100 bytes"), "{}", chunked.body);
        assert!(announced.body.contains("--max-message") && chunked.body.contains("--max-message"));
    }
}
