//! A record as a line: for people, and as JSON.

use std::fmt::Write;
use std::time::UNIX_EPOCH;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use tracing::Level;

use super::record::{Record, Value};

/// A line for people: time, level, message, fields.
pub fn human(record: &Record, colour: bool) -> String {
    let (before, after) = if colour { (colour_of(record.level), "\x1b[0m") } else { ("", "") };
    format!("{} {before}{:>5}{after} {}\n", time(record), record.level, message(record))
}

/// A line for a journal that takes lines: its level is in front (sd-daemon(3)), the time is the journal's.
pub fn with_priority(record: &Record) -> String {
    format!("<{}>{}\n", priority(record.level), message(record))
}

/// The level as syslog numbers it.
pub fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// Message and fields, with nothing in it that ends a line or moves a cursor.
pub fn message(record: &Record) -> String {
    let mut out = String::with_capacity(128);
    push_visible(&mut out, &record.message);
    for (name, value) in &record.fields {
        let between = if out.is_empty() { "" } else { " " };
        // Writing to a string does not fail.
        let _ = match value {
            Value::Text(text) => write!(out, "{between}{name}={text:?}"),
            Value::Shown(text) => {
                let _ = write!(out, "{between}{name}=");
                push_visible(&mut out, text);
                Ok(())
            }
            value => write!(out, "{between}{name}={value}"),
        };
    }
    out
}

/// A line with one object: `time`, `level`, `message`, and the fields beside them.
pub fn json(record: &Record) -> String {
    let mut line = serde_json::to_string(&Object(record)).unwrap_or_default();
    line.push('\n');
    line
}

struct Object<'a>(&'a Record);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Record { level, message, fields, .. } = self.0;
        let mut object = serializer.serialize_map(Some(3 + fields.len()))?;
        object.serialize_entry("time", &time(self.0))?;
        object.serialize_entry("level", &level.as_str().to_ascii_lowercase())?;
        object.serialize_entry("message", message)?;
        for (name, value) in fields {
            match value {
                Value::Text(text) | Value::Shown(text) => object.serialize_entry(name, text)?,
                Value::Signed(value) => object.serialize_entry(name, value)?,
                Value::Unsigned(value) => object.serialize_entry(name, value)?,
                Value::Float(value) => object.serialize_entry(name, value)?,
                Value::Bool(value) => object.serialize_entry(name, value)?,
            }
        }
        object.end()
    }
}

fn time(record: &Record) -> String {
    humantime::format_rfc3339_micros(UNIX_EPOCH + record.time).to_string()
}

fn colour_of(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

/// Characters that cannot be seen or do something are written as escapes.
fn push_visible(out: &mut String, text: &str) {
    for character in text.chars() {
        let escaped = character.escape_debug();
        if matches!(character, '"' | '\'' | '\\') || escaped.len() == 1 {
            out.push(character);
        } else {
            out.extend(escaped);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn record() -> Record {
        let fields = vec![
            ("room", Value::Text("a \"b\"\n".into())),
            ("peer", Value::Shown("127.0.0.1:80\x1b[2J".into())),
            ("code", Value::Unsigned(1008)),
            ("slack", Value::Signed(-1)),
            ("share", Value::Float(0.5)),
            ("late", Value::Bool(true)),
        ];
        let message = "closed: it's \\ \u{202e} late".to_owned();
        Record { time: Duration::from_micros(1_795_391_916_283_004), level: Level::WARN, message, fields }
    }

    #[test]
    fn people_get_a_line_that_hides_nothing_and_moves_nothing() {
        let plain = "2026-11-22T23:58:36.283004Z  WARN closed: it's \\ \\u{202e} late room=\"a \\\"b\\\"\\n\" \
                     peer=127.0.0.1:80\\u{1b}[2J code=1008 slack=-1 share=0.5 late=true\n";
        assert_eq!(human(&record(), false), plain);
        assert_eq!(human(&record(), true), plain.replacen(" WARN", "\x1b[33m WARN\x1b[0m", 1));
        let bare = Record { message: String::new(), fields: vec![("a", Value::Bool(false))], ..record() };
        assert_eq!(message(&bare), "a=false");
    }

    #[test]
    fn json_is_one_line_with_every_value_in_its_type() {
        let line = json(&record());
        assert_eq!(line.matches('\n').count(), 1);
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        let expected = serde_json::json!({
            "time": "2026-11-22T23:58:36.283004Z", "level": "warn", "message": "closed: it's \\ \u{202e} late",
            "room": "a \"b\"\n", "peer": "127.0.0.1:80\x1b[2J", "code": 1008, "slack": -1, "share": 0.5,
            "late": true,
        });
        assert_eq!(object, expected);
        assert!(line.starts_with("{\"time\":"), "{line}");
    }

    #[test]
    fn a_journal_of_lines_is_told_the_level() {
        for (level, begins) in [
            (Level::ERROR, "<3>closed"),
            (Level::WARN, "<4>closed"),
            (Level::INFO, "<6>closed"),
            (Level::DEBUG, "<7>closed"),
            (Level::TRACE, "<7>closed"),
        ] {
            assert!(with_priority(&Record { level, ..record() }).starts_with(begins));
        }
    }
}
