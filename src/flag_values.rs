//! How the values of flags are written.

use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;

/// On or off.
pub fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("expected on or off".to_owned()),
    }
}

/// A whole number.
pub fn number<T: FromStr>(text: &str) -> Result<T, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let expected = if digits { "a smaller number" } else { "a whole number" };
    text.parse().map_err(|_| format!("expected {expected}"))
}

/// A size in bytes.
pub fn size(text: &str) -> Result<usize, String> {
    let allowed = || "expected a size such as 65536, 64KiB or 1MiB".to_owned();
    let size: ByteSize = text.parse().map_err(|_| allowed())?;
    usize::try_from(size.as_u64()).map_err(|_| allowed())
}

/// A duration.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "expected a duration such as 500ms, 30s, 5m or 1h".to_owned())
}
