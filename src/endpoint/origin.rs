//! Which web pages may connect: the check against cross-site WebSocket hijacking (RFC 6455 §10.2).

use std::fmt;
use std::str::FromStr;

use crate::protocol::{Refusal, shown};

/// Characters of an origin and of a host that are shown in a refusal.
const SHOWN_CHARS_MAX: usize = 200;

/// An allowed origin: `*`, `null`, or scheme, host and port, compared exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginRule {
    /// Every origin.
    Any,
    /// The origin that browsers give to sandboxed frames and files.
    Null,
    /// One web origin (RFC 6454).
    Web(WebOrigin),
}

/// Scheme, host and port of a page, in lower case and with the default port made explicit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebOrigin {
    scheme: String,
    host: String,
    port: u16,
}

/// Why a text is no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected scheme://host or scheme://host:port without a path, or * or null")]
pub struct OriginRuleError;

impl FromStr for OriginRule {
    type Err = OriginRuleError;

    fn from_str(text: &str) -> Result<OriginRule, OriginRuleError> {
        match text {
            "*" => Ok(OriginRule::Any),
            "null" => Ok(OriginRule::Null),
            web => WebOrigin::parse(web).map(OriginRule::Web).ok_or(OriginRuleError),
        }
    }
}

impl fmt::Display for OriginRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OriginRule::Any => f.write_str("*"),
            OriginRule::Null => f.write_str("null"),
            OriginRule::Web(WebOrigin { scheme, host, port }) => write!(f, "{scheme}://{host}:{port}"),
        }
    }
}

impl WebOrigin {
    fn parse(text: &str) -> Option<WebOrigin> {
        let (scheme, authority) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if scheme.is_empty() || !scheme.bytes().all(valid) {
            return None;
        }
        let (host, port) = split_authority(authority)?;
        let port = port.or(default_port(&scheme))?;
        Some(WebOrigin { scheme, host, port })
    }
}

/// Host in lower case and port of `host`, `host:port` or `[v6]:port`.
pub(super) fn split_authority(authority: &str) -> Option<(String, Option<u16>)> {
    let after_v6 = authority.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match authority[after_v6..].rfind(':') {
        Some(at) => (&authority[..after_v6 + at], Some(&authority[after_v6 + at + 1..])),
        None => (authority, None),
    };
    let port = match port {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().ok()?)
        }
        Some(_) => return None,
        None => None,
    };
    let in_host = |byte: u8| byte.is_ascii_graphic() && !b"/?#@\\\"<>,".contains(&byte);
    let bracketed =
        host.starts_with('[') == host.ends_with(']') && (host.starts_with('[') || !host.contains(':'));
    (!host.is_empty() && bracketed && host.bytes().all(in_host)).then(|| (host.to_ascii_lowercase(), port))
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// The origins that may connect: the host that the request itself names, and a list of others. A
/// request without Origin is allowed, as only browsers send one and no page can leave it out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OriginPolicy {
    /// Origins allowed beside the same host.
    pub allowed: Vec<OriginRule>,
}

impl OriginPolicy {
    /// Checks the values of all Origin headers of a request to `host`.
    ///
    /// # Errors
    ///
    /// 403 that says what was seen and which flag allows it; 400 for two Origin headers.
    pub fn check<'r>(&self, mut origins: impl Iterator<Item = &'r [u8]>, host: &str) -> Result<(), Refusal> {
        let Some(origin) = origins.next() else { return Ok(()) };
        if origins.next().is_some() {
            return Err(Refusal::new(400, "two Origin headers were seen; one is allowed".to_owned()));
        }
        if self.allows(origin, host) {
            return Ok(());
        }
        let origin = shown(origin, SHOWN_CHARS_MAX);
        let host = shown(host.as_bytes(), SHOWN_CHARS_MAX);
        Err(Refusal::new(
            403,
            format!("origin {origin} may not connect to host {host}; --allow-origin {origin} allows it"),
        ))
    }

    /// Whether an origin is in the list, whatever host was asked for.
    pub fn lists(&self, origin: &[u8]) -> bool {
        let seen = str::from_utf8(origin).ok().and_then(|text| text.parse().ok());
        self.allowed.iter().any(|rule| *rule == OriginRule::Any || Some(rule) == seen.as_ref())
    }

    fn allows(&self, origin: &[u8], host: &str) -> bool {
        self.lists(origin) || is_of_host(origin, host)
    }
}

/// Whether an origin is that of pages of `host`, with or without a port.
fn is_of_host(origin: &[u8], host: &str) -> bool {
    let Some(seen) = str::from_utf8(origin).ok().and_then(WebOrigin::parse) else { return false };
    split_authority(host).is_some_and(|(host, port)| {
        host == seen.host && port.or(default_port(&seen.scheme)) == Some(seen.port)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(rules: &[&str], origin: &str, host: &str) -> bool {
        let policy = OriginPolicy { allowed: rules.iter().map(|rule| rule.parse().unwrap()).collect() };
        policy.check(std::iter::once(origin.as_bytes()), host).is_ok()
    }

    #[test]
    fn the_same_host_is_allowed_with_either_spelling_of_the_port() {
        assert!(allowed(&[], "http://example.com", "example.com"));
        assert!(allowed(&[], "http://example.com", "EXAMPLE.com:80"));
        assert!(allowed(&[], "https://example.com", "example.com"));
        assert!(allowed(&[], "http://[::1]:9001", "[::1]:9001"));
        assert!(allowed(&[], "http://127.0.0.1:9001", "127.0.0.1:9001"));
    }

    #[test]
    fn other_hosts_are_refused() {
        for origin in [
            "http://evil-example.com",
            "http://example.com.evil",
            "http://example.com:81",
            "https://example.com:80",
            "null",
            "",
            "example.com",
            "http://example.com/",
            "http://user@example.com",
            "http://example.com, http://other",
            "http://192.168.0.1",
        ] {
            assert!(!allowed(&[], origin, "example.com"), "{origin}");
        }
    }

    #[test]
    fn listed_origins_are_compared_by_scheme_host_and_port() {
        let rules = ["https://app.example.com", "http://localhost:5173"];
        assert!(allowed(&rules, "https://app.example.com", "ws.example.com"));
        assert!(allowed(&rules, "https://APP.example.com:443", "ws.example.com"));
        assert!(allowed(&rules, "http://localhost:5173", "ws.example.com"));
        assert!(!allowed(&rules, "http://app.example.com", "ws.example.com"));
        assert!(!allowed(&rules, "http://localhost:5174", "ws.example.com"));
        assert!(allowed(&["null"], "null", "a"));
        assert!(allowed(&["*"], "null", "a"));
        assert!(allowed(&["*"], "http://anything", "a"));
    }

    #[test]
    fn the_refusal_names_what_was_seen_and_the_flag() {
        let refusal =
            OriginPolicy::default().check([&b"http://evil\xff\x1b"[..]].into_iter(), "good").unwrap_err();
        assert_eq!(refusal.status, 403);
        assert!(refusal.body.contains("http://evil\\xff\\x1b") && refusal.body.contains("--allow-origin"));
        let two = [&b"http://good"[..], b"http://good"];
        assert_eq!(OriginPolicy::default().check(two.into_iter(), "good").unwrap_err().status, 400);
        assert!(OriginPolicy::default().check(std::iter::empty(), "good").is_ok());
    }

    #[test]
    fn the_refusal_cuts_a_long_origin_and_a_long_host() {
        let check = |length: usize| {
            let origin = "o".repeat(length);
            let host = "h".repeat(length);
            let checked = OriginPolicy::default().check(std::iter::once(origin.as_bytes()), &host);
            checked.unwrap_err().body
        };
        let cut = |letter: &str| format!("{}…", letter.repeat(200));
        assert!(!check(200).contains('…'));
        assert!(check(201).contains(&cut("o")) && check(201).contains(&cut("h")));
    }

    #[test]
    fn rules_that_are_no_origin_are_refused() {
        for rule in ["", "example.com", "http://", "http://a/b", "http://a:99999", "ftp://a", "http://a:"] {
            assert_eq!(rule.parse::<OriginRule>(), Err(OriginRuleError), "{rule}");
        }
    }
}
