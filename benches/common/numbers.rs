//! Numbers that somebody sets, each with the least and the most that means something.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Parses a flag that can be in the environment as `variable` too, which a complaint does not name by itself.
pub fn flag<T>(
    variable: &'static str,
    allowed: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + Display + PartialOrd + Clone + Send + Sync + 'static,
{
    move |text| {
        within(text, &allowed).map_err(|expected| format!("{expected} (in the environment {variable})"))
    }
}

/// A number that only the environment has, where `environment` looks; else the default.
///
/// # Errors
///
/// If it is set to something that is not allowed.
pub fn variable<T: FromStr + Display + PartialOrd>(
    name: &str,
    environment: impl Fn(&str) -> Option<String>,
    allowed: RangeInclusive<T>,
    default: T,
) -> Result<T, String> {
    match environment(name) {
        Some(text) => within(&text, &allowed).map_err(|expected| format!("{name}={text}: {expected}")),
        None => Ok(default),
    }
}

/// What the environment says; what is no text is refused wherever a number is expected.
pub fn environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

fn within<T: FromStr + Display + PartialOrd>(text: &str, allowed: &RangeInclusive<T>) -> Result<T, String> {
    match text.parse() {
        Ok(number) if allowed.contains(&number) => Ok(number),
        _ => {
            // Of the types of numbers only whole ones refuse this.
            let kind = if "0.5".parse::<T>().is_ok() { "a number" } else { "a whole number" };
            Err(format!("expected {kind} from {} to {}", allowed.start(), allowed.end()))
        }
    }
}
