//! What the server logs, for a test to read.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// The fields of a line, its text under `message` and its level under `level`.
pub type Line = BTreeMap<&'static str, String>;

thread_local! {
    /// What has been logged on this thread, while somebody wants to know.
    static LINES: RefCell<Option<Vec<Line>>> = const { RefCell::new(None) };
}

/// Has everything logged pass here, from before the first line on: what is once found to be of no
/// interest stays so.
pub fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| tracing::subscriber::set_global_default(Capture).expect("nobody else logs"));
}

/// What has been logged while `act` ran.
pub fn lines_of(act: impl FnOnce()) -> Vec<Line> {
    LINES.set(Some(Vec::new()));
    act();
    LINES.take().expect("set above")
}

struct Capture;

struct Fields(Line);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl Subscriber for Capture {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        LINES.with_borrow_mut(|lines| {
            let Some(lines) = lines else { return };
            let mut fields = Fields(Line::new());
            event.record(&mut fields);
            fields.0.insert("level", event.metadata().level().to_string());
            lines.push(fields.0);
        });
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
