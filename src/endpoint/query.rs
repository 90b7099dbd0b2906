//! Values out of a request target's path and query.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Why a percent-encoded value cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// A `%` without two hexadecimal digits behind it.
    #[error("a % must be followed by two hexadecimal digits")]
    Escape,
    /// The decoded bytes are no text.
    #[error("the percent-decoded bytes must be UTF-8")]
    Utf8,
}

/// Percent-decodes one path segment. A `+` stays a `+`, as it is only a space in a query.
///
/// # Errors
///
/// [`QueryError`] for a broken escape or bytes that are not UTF-8.
pub(super) fn decode(raw: &str) -> Result<Cow<'_, str>, QueryError> {
    let bytes = raw.as_bytes();
    let broken = |at: usize| {
        let digits = bytes.get(at + 1..at + 3);
        !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if bytes.iter().enumerate().any(|(at, byte)| *byte == b'%' && broken(at)) {
        return Err(QueryError::Escape);
    }
    percent_decode_str(raw).decode_utf8().map_err(|_| QueryError::Utf8)
}

/// The decoded value of the first `name=value` pair of a query string. A `+` is a space, as forms,
/// `URLSearchParams` and most HTTP clients write it (URL standard §5.1).
///
/// # Errors
///
/// [`QueryError`] if that value is badly encoded.
pub fn query_value<'q>(query: &'q str, name: &str) -> Result<Option<Cow<'q, str>>, QueryError> {
    query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| match value.contains('+') {
            true => decode(&value.replace('+', " ")).map(|value| Cow::Owned(value.into_owned())),
            false => decode(value),
        })
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pair_of_that_name_counts() {
        assert_eq!(query_value("a=1&echo=true&echo=false", "echo").unwrap().as_deref(), Some("true"));
        assert_eq!(query_value("echoes=1", "echo").unwrap(), None);
        assert_eq!(query_value("echo", "echo").unwrap().as_deref(), Some(""));
        assert_eq!(query_value("", "echo").unwrap(), None);
    }

    #[test]
    fn a_plus_is_a_space_in_a_query_and_itself_in_a_path() {
        assert_eq!(query_value("after=a+b%2B+%20", "after").unwrap().as_deref(), Some("a b+  "));
        assert_eq!(query_value("after=+%", "after"), Err(QueryError::Escape));
        assert_eq!(decode("a+b").unwrap(), "a+b");
    }

    #[test]
    fn escapes_are_decoded_once_and_checked() {
        assert_eq!(decode("a%2Fb%25").unwrap(), "a/b%");
        for broken in ["%", "%2", "%zz", "a%"] {
            assert_eq!(decode(broken), Err(QueryError::Escape), "{broken}");
        }
        assert_eq!(decode("%ff"), Err(QueryError::Utf8));
    }
}
