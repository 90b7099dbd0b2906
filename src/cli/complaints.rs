//! What is wrong with the settings, each fault in one line.

use std::ffi::OsString;
use std::fmt;

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Faults of the settings, at least one.
#[derive(Debug)]
pub struct Complaints(Vec<String>);

impl Complaints {
    /// The only one.
    pub fn one(line: impl Into<String>) -> Complaints {
        Complaints(vec![line.into()])
    }

    /// All of them, if there are any.
    pub fn check(lines: Vec<String>) -> Result<(), Complaints> {
        if lines.is_empty() { Ok(()) } else { Err(Complaints(lines)) }
    }

    /// What the parser of the flags has found in `arguments`, or in the environment.
    pub fn of_parser(error: &clap::Error, arguments: &[OsString]) -> Complaints {
        let line = one_line(error);
        let line = line.strip_prefix("error: ").unwrap_or(&line);
        match variable_of(error, arguments) {
            Some(variable) => Complaints::one(format!("{line} (from {variable})")),
            None => Complaints::one(line),
        }
    }

    /// Each of them, without a line end.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Display for Complaints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Complaints {}

/// The variable of the environment that a bad value comes from, if it is none of `arguments`.
fn variable_of(error: &clap::Error, arguments: &[OsString]) -> Option<String> {
    if !matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation) {
        return None;
    }
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else { return None };
    let flag = shown.split([' ', '=']).next()?;
    let name = flag.strip_prefix("--")?;
    let is_given = arguments.iter().filter_map(|argument| argument.to_str()).any(|argument| {
        argument.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    });
    (!is_given).then(|| variable(name))
}

/// The variable of a flag, by its name without dashes.
pub fn variable(name: &str) -> String {
    format!("FANFARE_{}", name.to_uppercase().replace('-', "_"))
}

/// A complaint of the parser in one line, as `error: …`.
pub fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    // The usage has a line for each form, and ends with an empty one.
    let mut is_usage = false;
    let useful = text.lines().map(str::trim).filter(|line| {
        is_usage = line.starts_with("Usage:") || is_usage && !line.is_empty();
        !line.is_empty() && !is_usage && !line.starts_with("For more information")
    });
    useful.collect::<Vec<_>>().join("; ").replace(":; ", ": ")
}
