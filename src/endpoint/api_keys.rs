//! Who may publish and list over HTTP and call the server API: keys out of a file, sent as bearer keys
//! (RFC 6750 §2.1) or as Centrifugo's libraries send theirs.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use subtle::{Choice, ConstantTimeEq};

use super::OriginPolicy;
use super::origin::split_authority;
use crate::protocol::{Refusal, Request, shown};

/// The shortest key in bytes: 16 hexadecimal digits are the least that nobody tries out over a
/// network.
pub const API_KEY_BYTES_MIN: usize = 16;

/// The longest key in bytes.
pub const API_KEY_BYTES_MAX: usize = 256;

/// The most keys: each request is compared with all of them.
pub const API_KEYS_MAX: usize = 1000;

/// Characters of a host that are shown in a refusal.
const SHOWN_HOST_CHARS_MAX: usize = 200;

/// The keys of `--api-key-file`, at least one.
#[derive(Clone)]
pub struct ApiKeys {
    keys: Vec<Box<[u8]>>,
}

/// Why a text is no list of keys. Shows no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiKeysError {
    /// There is none.
    #[error("no key was found; one per line is expected, 1 to {API_KEYS_MAX}")]
    None,
    /// There are too many.
    #[error("line {line}: more than {API_KEYS_MAX} keys; 1 to {API_KEYS_MAX} are allowed")]
    TooMany {
        /// The first line beyond, counted from 1.
        line: usize,
    },
    /// One is too short or too long.
    #[error("line {line}: the key has {bytes} bytes; {API_KEY_BYTES_MIN} to {API_KEY_BYTES_MAX} are allowed")]
    Length {
        /// Its line, counted from 1.
        line: usize,
        /// Its length in bytes.
        bytes: usize,
    },
    /// One has other bytes.
    #[error("line {line}: the key has a space or a character that is not visible ASCII; neither is allowed")]
    Character {
        /// Its line, counted from 1.
        line: usize,
    },
    /// One is there twice.
    #[error("line {line}: the key is that of line {first} again; each is allowed once")]
    Duplicate {
        /// Its second line, counted from 1.
        line: usize,
        /// Its first line.
        first: usize,
    },
}

impl ApiKeys {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Never: there is at least one.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether these are the same, in the same order. Takes a time that tells of the keys: it is for lists that
    /// are both ours.
    pub fn are(&self, others: &ApiKeys) -> bool {
        self.keys == others.keys
    }
}

impl fmt::Debug for ApiKeys {
    /// Shows no key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKeys({})", self.keys.len())
    }
}

impl FromStr for ApiKeys {
    type Err = ApiKeysError;

    /// Reads a file's text: one key per line, whitespace around it ignored, and so are blank lines and
    /// those that begin with `#`. A key has [`API_KEY_BYTES_MIN`] to [`API_KEY_BYTES_MAX`] bytes of
    /// visible ASCII.
    fn from_str(text: &str) -> Result<ApiKeys, ApiKeysError> {
        let mut lines = HashMap::new();
        let mut keys = Vec::new();
        for (at, key) in text.lines().map(str::trim).enumerate() {
            let line = at + 1;
            if key.is_empty() || key.starts_with('#') {
                continue;
            }
            if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(ApiKeysError::Character { line });
            }
            if !(API_KEY_BYTES_MIN..=API_KEY_BYTES_MAX).contains(&key.len()) {
                return Err(ApiKeysError::Length { line, bytes: key.len() });
            }
            if let Some(first) = lines.insert(key, line) {
                return Err(ApiKeysError::Duplicate { line, first });
            }
            if keys.len() == API_KEYS_MAX {
                return Err(ApiKeysError::TooMany { line });
            }
            keys.push(key.as_bytes().into());
        }
        match keys.is_empty() {
            true => Err(ApiKeysError::None),
            false => Ok(ApiKeys { keys }),
        }
    }
}

impl ApiKeys {
    /// Checks the values of all `X-API-Key` and `Authorization` headers of a request. If there is one of
    /// the former, it counts alone, as with Centrifugo: exactly one `KEY`. Else exactly one `Bearer KEY` or
    /// `apikey KEY`, the scheme in any case (RFC 9110 §11.1). How long it takes tells nothing of the keys
    /// but lengths.
    ///
    /// # Errors
    ///
    /// 401 with `WWW-Authenticate: Bearer` (RFC 6750 §3). The text shows nothing of what was sent.
    pub fn check(
        &self,
        api_key: &mut dyn Iterator<Item = &[u8]>,
        authorization: &mut dyn Iterator<Item = &[u8]>,
    ) -> Result<(), Refusal> {
        if let Some(key) = api_key.next() {
            return match api_key.next() {
                Some(_) => Err(unauthorized("the request has several X-API-Key headers")),
                None if self.contain(key) => Ok(()),
                None => Err(unauthorized("the key of the X-API-Key header is none of ours")),
            };
        }
        let Some(value) = authorization.next() else {
            return Err(unauthorized("the request has no X-API-Key or Authorization header"));
        };
        if authorization.next().is_some() {
            return Err(unauthorized("the request has several Authorization headers"));
        }
        let Some(key) = key_of(value) else {
            return Err(unauthorized("the Authorization header is of another form"));
        };
        match self.contain(key) {
            true => Ok(()),
            false => Err(unauthorized("the key of the Authorization header is none of ours")),
        }
    }

    /// Compares with every key, also when one was found.
    fn contain(&self, candidate: &[u8]) -> bool {
        let found = self.keys.iter().fold(Choice::from(0), |found, key| found | key.ct_eq(candidate));
        found.into()
    }
}

/// The key of `Bearer KEY` or `apikey KEY`.
fn key_of(value: &[u8]) -> Option<&[u8]> {
    let space = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, key) = value.split_at(space);
    let known = [&b"Bearer"[..], b"apikey"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    known.then(|| key.trim_ascii())
}

fn unauthorized(seen: &str) -> Refusal {
    Refusal::new(
        401,
        format!(
            "{seen}; one Authorization: Bearer KEY with a key of --api-key-file is allowed, or one X-API-Key: KEY"
        ),
    )
    .with_header("WWW-Authenticate", "Bearer")
}

/// Decides about a call that needs a key ([`super::http::RoomsCall::needs_key`]). `trusted_listener`:
/// it came over loopback or a unix socket, and from this machine as far as a proxy says.
///
/// # Errors
///
/// What [`ApiKeys::check`] refuses; without keys 403 on other listeners, and for a page of a host by name that
/// is not in `origins`: any name can be made to lead to a loopback address, and its page is then here as one
/// of the same host. Both name the flags.
pub fn authorize(
    keys: Option<&ApiKeys>,
    trusted_listener: bool,
    origins: &OriginPolicy,
    request: &Request<'_>,
) -> Result<(), Refusal> {
    match keys {
        Some(keys) => {
            keys.check(&mut request.headers_named("X-API-Key"), &mut request.headers_named("Authorization"))
        }
        None if trusted_listener => match request.origin() {
            Some(origin) if !is_of_this_machine(request.host()) && !origins.lists(origin) => {
                let host = shown(request.host().as_bytes(), SHOWN_HOST_CHARS_MAX);
                Err(Refusal::new(
                    403,
                    format!(
                        "a page of {host} asked to publish, to list or for the server API on a server without keys; pages of \
                         localhost and of addresses may, others with --allow-origin, and everybody with a key of \
                         --api-key-file"
                    ),
                ))
            }
            _ => Ok(()),
        },
        None => Err(Refusal::new(
            403,
            "publishing, listing and the server API were asked for over HTTP on a public listener or through a \
             proxy of a server without keys; they are allowed on loopback and unix listeners, there through a \
             --trusted-proxy only to whom it names by a loopback address, and elsewhere with --api-key-file FILE",
        )),
    }
}

/// Whether a host with or without a port is an address or `localhost`, which no name service decides about
/// (RFC 6761 §6.3).
pub(super) fn is_of_this_machine(host: &str) -> bool {
    let Some((host, _)) = split_authority(host) else { return false };
    // No name ends in a number (URL standard §3.5).
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_number = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    let is_address = host.starts_with('[') || is_number;
    is_address || last == "localhost"
}

#[cfg(test)]
mod tests {
    use super::super::http::tests::request;
    use super::*;

    const KEY: &str = "0123456789abcdef";
    const OTHER: &str = "fedcba9876543210+/=~!";

    fn keys() -> ApiKeys {
        format!("{KEY}\n{OTHER}\n").parse().unwrap()
    }

    fn check(values: &[&str]) -> Result<(), Refusal> {
        keys().check(&mut std::iter::empty(), &mut values.iter().map(|value| value.as_bytes()))
    }

    fn error(text: &str) -> ApiKeysError {
        text.parse::<ApiKeys>().unwrap_err()
    }

    #[test]
    fn a_file_has_keys_comments_and_blank_lines() {
        let text = format!("# ours\r\n\r\n  {KEY}\t\r\n  # theirs\n{OTHER}");
        let keys: ApiKeys = text.parse().unwrap();
        assert_eq!(keys.keys.len(), 2);
        assert!(keys.contain(KEY.as_bytes()) && keys.contain(OTHER.as_bytes()));
        assert_eq!(format!("{keys:?}"), "ApiKeys(2)");
    }

    #[test]
    fn the_length_of_a_key_is_inclusive() {
        for (bytes, ok) in [(15, false), (16, true), (17, true), (255, true), (256, true), (257, false)] {
            let found = format!("\n{}", "k".repeat(bytes)).parse::<ApiKeys>();
            assert_eq!(found.is_ok(), ok, "{bytes}");
            if !ok {
                assert_eq!(found.unwrap_err(), ApiKeysError::Length { line: 2, bytes });
            }
        }
    }

    #[test]
    fn the_number_of_keys_is_inclusive() {
        let file = |count: usize| -> String { (0..count).map(|at| format!("{KEY}{at}\n")).collect() };
        assert_eq!(error(""), ApiKeysError::None);
        assert_eq!(error("# none\n\n"), ApiKeysError::None);
        for count in [1, 999, 1000] {
            assert_eq!(file(count).parse::<ApiKeys>().unwrap().keys.len(), count);
        }
        assert_eq!(error(&file(1001)), ApiKeysError::TooMany { line: 1001 });
    }

    #[test]
    fn other_keys_are_refused_and_never_shown() {
        let visible = ["0123456789abcde f", "0123456789abcde\u{7f}", "0123456789abcdeü", "0123456789abcde\0"];
        for key in visible {
            let error = error(&format!("#\n{key}"));
            assert_eq!(error, ApiKeysError::Character { line: 2 });
            assert!(error.to_string().contains("line 2") && !error.to_string().contains("0123"));
        }
        let twice = error(&format!("{KEY}\n#\n {KEY}"));
        assert_eq!(twice, ApiKeysError::Duplicate { line: 3, first: 1 });
        assert!(!twice.to_string().contains("0123"));
    }

    #[test]
    fn every_key_opens_in_any_case_of_the_scheme() {
        for scheme in ["Bearer ", "bearer ", "BEARER  ", "apikey ", "ApiKey "] {
            for key in [KEY, OTHER] {
                assert_eq!(check(&[&format!("{scheme}{key}")]), Ok(()), "{scheme}{key}");
            }
        }
    }

    #[test]
    fn an_api_key_of_its_own_header_counts_alone() {
        let keys = keys();
        let check = |lines: &str| {
            authorize(
                Some(&keys),
                true,
                &OriginPolicy::default(),
                &request(&format!("POST /api/info HTTP/1.1\r\n{lines}")),
            )
        };
        for key in [KEY, OTHER] {
            assert_eq!(check(&format!("x-api-key: {key}")), Ok(()));
            assert_eq!(check(&format!("X-API-Key: {key}\r\nAuthorization: Basic eDp5")), Ok(()));
        }
        let good = format!("Authorization: Bearer {KEY}");
        for (lines, seen) in [
            (format!("X-API-Key: {KEY}0\r\n{good}"), "none of ours"),
            (format!("X-API-Key: Bearer {KEY}"), "none of ours"),
            (format!("X-API-Key:\r\n{good}"), "none of ours"),
            (format!("X-API-Key: {KEY}\r\nX-API-Key: {KEY}"), "several X-API-Key"),
            ("A: b".to_owned(), "no X-API-Key or Authorization"),
        ] {
            let refusal = check(&lines).unwrap_err();
            assert_eq!(refusal.status, 401, "{lines}");
            assert!(
                refusal.body.contains(seen) && refusal.body.contains("X-API-Key: KEY"),
                "{}",
                refusal.body
            );
            assert!(!refusal.body.contains("0123"), "{}", refusal.body);
        }
    }

    #[test]
    fn anything_else_is_401_and_not_shown() {
        let good = format!("Bearer {KEY}");
        let short = good[..good.len() - 1].to_owned();
        let (long, upper) = (format!("{good}0"), format!("Bearer {}", KEY.to_uppercase()));
        let (bare, basic, both) = (KEY.to_owned(), format!("Basic {KEY}"), format!("Bearer {KEY} {OTHER}"));
        let tight = format!("Bearer{KEY}");
        let one = [short, long, upper, bare, basic, both, tight, String::new(), "Bearer ".to_owned()];
        let mut cases: Vec<Vec<&str>> = one.iter().map(|value| vec![value.as_str()]).collect();
        cases.push(Vec::new());
        cases.push(vec![&good, &good]);
        for values in cases {
            let refusal = check(&values).unwrap_err();
            assert_eq!(refusal.status, 401, "{values:?}");
            assert_eq!(refusal.headers, [("WWW-Authenticate", "Bearer".to_owned())]);
            assert!(refusal.body.contains("Authorization: Bearer KEY with a key of --api-key-file"));
            assert!(!refusal.body.contains("0123") && !refusal.body.contains("Basic"));
        }
    }

    #[test]
    fn keys_are_asked_for_everywhere_once_there_are_any() {
        let keys = keys();
        let with = request(&format!("POST /rooms/a HTTP/1.1\r\nauthorization: Bearer {KEY}"));
        let without = request("POST /rooms/a HTTP/1.1");
        for trusted in [false, true] {
            let authorize =
                |request: &Request<'_>| authorize(Some(&keys), trusted, &OriginPolicy::default(), request);
            assert_eq!(authorize(&with), Ok(()));
            assert_eq!(authorize(&without).unwrap_err().status, 401);
        }
    }

    #[test]
    fn without_keys_only_trusted_listeners_are_open() {
        let request = request("POST /rooms/a HTTP/1.1");
        assert_eq!(authorize(None, true, &OriginPolicy::default(), &request), Ok(()));
        let refusal = authorize(None, false, &OriginPolicy::default(), &request).unwrap_err();
        assert_eq!(refusal.status, 403);
        assert!(refusal.body.contains("--api-key-file"));
    }

    #[test]
    fn a_host_is_of_this_machine_if_it_is_no_name_but_localhost() {
        for (host, expected) in [
            ("localhost", true),
            ("LocalHost:9001", true),
            ("chat.localhost", true),
            ("127.0.0.1:9001", true),
            ("203.0.113.7", true),
            ("[::1]:9001", true),
            ("evil.example", false),
            ("localhost.evil.example:9001", false),
            ("127.0.0.1.evil.example", false),
            ("1.example", false),
            ("notlocalhost", false),
            ("localhost.", false),
            ("evil.example:80:80", false),
            ("", false),
        ] {
            assert_eq!(is_of_this_machine(host), expected, "{host}");
        }
    }
}
