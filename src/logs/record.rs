//! A record: one event as values, before it is put into a format.

use std::fmt;
use std::fmt::Write;
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// Longer texts are cut: nothing that is worth a line needs more, and it bounds what waits for the writer.
pub const TEXT_BYTES_MAX: usize = 1024;

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Since 1970.
    pub time: Duration,
    pub level: Level,
    pub message: String,
    pub fields: Vec<(&'static str, Value)>,
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text; people see it in quotes.
    Text(String),
    /// What something shows itself as; people see it as it is.
    Shown(String),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Bool(bool),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) | Value::Shown(text) => f.write_str(text),
            Value::Signed(value) => value.fmt(f),
            Value::Unsigned(value) => value.fmt(f),
            Value::Float(value) => value.fmt(f),
            Value::Bool(value) => value.fmt(f),
        }
    }
}

impl Record {
    /// What an event says.
    pub fn of(event: &Event<'_>, time: Duration) -> Record {
        let level = *event.metadata().level();
        let mut record = Record { time, level, message: String::new(), fields: Vec::new() };
        event.record(&mut record);
        record
    }
}

impl Visit for Record {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.fields.push((field.name(), Value::Float(value)));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields.push((field.name(), Value::Signed(value)));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.push((field.name(), Value::Unsigned(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.push((field.name(), Value::Bool(value)));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let text = bounded(&value);
        match field.name() {
            "message" => self.message = text,
            name => self.fields.push((name, Value::Text(text))),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = bounded(&format_args!("{value:?}"));
        match field.name() {
            "message" => self.message = text,
            name => self.fields.push((name, Value::Shown(text))),
        }
    }
}

/// What `shown` shows, up to [`TEXT_BYTES_MAX`], with an ellipsis where it was cut.
fn bounded(shown: &dyn fmt::Display) -> String {
    struct Bounded(String);

    impl Write for Bounded {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let room = TEXT_BYTES_MAX - self.0.len();
            if text.len() <= room {
                self.0.push_str(text);
                return Ok(());
            }
            let room = room.min(TEXT_BYTES_MAX - '…'.len_utf8());
            self.0.push_str(&text[..text.floor_char_boundary(room)]);
            Err(fmt::Error)
        }
    }

    let mut out = Bounded(String::new());
    if write!(out, "{shown}").is_err() {
        let end = out.0.floor_char_boundary(TEXT_BYTES_MAX - '…'.len_utf8());
        out.0.truncate(end);
        out.0.push('…');
    }
    out.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_a_character_when_they_are_over_the_limit() {
        for (length, cut) in
            [(TEXT_BYTES_MAX - 1, false), (TEXT_BYTES_MAX, false), (TEXT_BYTES_MAX + 1, true)]
        {
            let text = bounded(&"x".repeat(length));
            assert_eq!(text.ends_with('…'), cut, "{length}");
            assert_eq!(text.len(), length.min(TEXT_BYTES_MAX));
        }
        let wide = bounded(&"é".repeat(TEXT_BYTES_MAX));
        assert!(wide.len() <= TEXT_BYTES_MAX && wide.ends_with("é…"), "{wide}");
        let pieces = bounded(&format_args!("{}{}", "x".repeat(TEXT_BYTES_MAX - 1), "yz"));
        assert!(pieces.len() == TEXT_BYTES_MAX && pieces.ends_with("x…"), "{pieces}");
    }
}
