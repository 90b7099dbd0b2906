//! `fanfare check`: every setting with its source, as a configuration file; and what is worth knowing.

use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;

use clap::{Arg, CommandFactory};

use fanfare::server::{self, Capacity, StartError};

use super::Cli;
use super::complaints::{Complaints, variable};
use super::file;
use super::loader::{Loaded, Loader, Setting, Source};

/// Where the sources stand.
const SOURCE_COLUMN: usize = 44;

/// What a check has found.
#[derive(Debug)]
pub struct Checked {
    /// The settings, as a file.
    pub text: String,
    /// What is no error but worth knowing, each in one line.
    pub notes: Vec<String>,
}

/// What a server would be started with.
///
/// # Errors
///
/// What would keep it from starting, as far as it can be seen without a start.
pub fn check(loader: &Loader) -> Result<Checked, Complaints> {
    let loaded = loader.load_for_check()?;
    let mut notes = unknown_variables();
    if let Some(unset) = loaded.unset_credential() {
        notes.push(format!("{unset}; a server without it does not start"));
    } else if let Some(path) = &loaded.config.api_key_file {
        server::read_api_keys(path).map_err(|error| Complaints::one(error.to_string()))?;
        let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
        if mode & 0o007 != 0 {
            let shown = path.display().to_string();
            notes.push(format!(
                "--api-key-file {}: everybody may use it; chmod o= is safer",
                shown.escape_debug()
            ));
        }
    }
    let capacity = server::capacity(&loaded.config);
    if let Err(error @ StartError::Descriptors { .. }) = &capacity {
        notes.push(format!("{error} (the limit of this shell; a service has its own)"));
    }
    let unreachable = capacity.as_ref().ok().and_then(|capacity| capacity.note(&loaded.config));
    notes.extend(unreachable.map(|note| format!("{note} (the limit of this shell; a service has its own)")));
    Ok(Checked { text: listing(&loaded, capacity.ok()), notes })
}

fn listing(loaded: &Loaded, capacity: Option<Capacity>) -> String {
    let mut text = String::new();
    for setting in &loaded.settings {
        let Setting { name, values, is_list, source } = setting;
        let effective = match (name.as_str(), &capacity) {
            ("workers", Some(capacity)) => capacity.workers.to_string(),
            ("max-connections", Some(capacity)) => capacity.max_connections.to_string(),
            _ => String::new(),
        };
        let assignment = match values.is_empty() && !is_list {
            // Not set: a comment, so that the listing stays what was set.
            true => format!("#{name} = {effective}"),
            false => {
                let values: Vec<&str> = values.iter().map(String::as_str).collect();
                format!("{name} = {}", quoted_value(&values, *is_list))
            }
        };
        let _ = writeln!(text, "{assignment:<SOURCE_COLUMN$} # {}", in_words(name, source));
    }
    text
}

fn in_words(name: &str, source: &Source) -> String {
    match source {
        Source::Flag => format!("flag --{name}"),
        Source::Environment(variable) => format!("environment {variable}"),
        Source::File { path, line } => format!("{} line {line}", path.display().to_string().escape_debug()),
        Source::Default(None) => "default".to_owned(),
        Source::Default(Some(words)) => format!("default: {words}"),
    }
}

/// A value of TOML: a list, a number that is written as one, or a string.
pub fn quoted_value(values: &[&str], is_list: bool) -> String {
    let quoted: Vec<String> = values.iter().map(|value| quoted(value)).collect();
    if is_list { format!("[{}]", quoted.join(", ")) } else { quoted.concat() }
}

fn quoted(value: &str) -> String {
    // Without leading zeros and in the range of TOML.
    if value.parse::<i64>().is_ok_and(|number| number.to_string() == value) {
        return value.to_owned();
    }
    let mut text = String::from('"');
    for character in value.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            control if control.is_control() => {
                let _ = write!(text, "\\u{:04X}", u32::from(control));
            }
            other => text.push(other),
        }
    }
    text.push('"');
    text
}

/// Variables that look as if they were ours. They are no error: others choose such names too, as orchestrators
/// do for a service called fanfare.
fn unknown_variables() -> Vec<String> {
    let command = Cli::command();
    let known: Vec<String> = command.get_arguments().filter_map(Arg::get_long).map(variable).collect();
    let mut notes: Vec<String> = std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with("FANFARE_") && !known.contains(name))
        .map(|name| {
            let shown = name.escape_debug();
            let flag = name.trim_start_matches("FANFARE_");
            match file::nearest(flag, command.get_arguments().filter_map(Arg::get_long)) {
                Some(nearest) => format!("{shown} is no setting; the nearest is {}", variable(nearest)),
                None => format!("{shown} is no setting"),
            }
        })
        .collect();
    notes.sort();
    notes
}
