//! The configuration file: TOML, one key for each flag, named as the flag is without its dashes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use fanfare::config::SETTINGS;

use super::complaints::{Complaints, one_line};

/// The most that is read of a file, in bytes: far more than all settings take.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// The most faults that are told of a file: a reload is not held up by one that is of another kind altogether.
const FAULTS_MAX: usize = 20;

/// Characters of a fault that are shown: several lines of a terminal.
const FAULT_CHARS_MAX: usize = 400;

/// Names that are more unlike than this are not suggested; the parser of the flags has the same bound.
const LIKENESS_MIN: f64 = 0.7;

/// A setting of the file.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name of the flag, without dashes.
    pub name: String,
    /// Its values, as they would stand behind the flag.
    pub values: Vec<String>,
    /// Its line in the file, counted from 1.
    pub line: usize,
}

/// The settings of the file at `path`, each checked as `flags` would check it. `flags` knows of no environment.
///
/// # Errors
///
/// Everything that is wrong with the file, each with its line.
pub fn read(path: &Path, flags: &clap::Command) -> Result<Vec<Entry>, Complaints> {
    let shown = path.display().to_string().escape_debug().to_string();
    let text = text_of(path).map_err(|error| Complaints::one(format!("--config {shown}: {error}")))?;
    let (entries, faults) = entries(&text, flags);
    Complaints::check(
        faults.into_iter().map(|(line, fault)| format!("--config {shown}: line {line}: {fault}")).collect(),
    )?;
    Ok(entries)
}

fn text_of(path: &Path) -> Result<String, String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    // Others could block, or say something else when they are read again.
    if !metadata.is_file() {
        return Err("not a regular file".to_owned());
    }
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let most = FILE_BYTES_MAX as u64 + 1;
    file.take(most).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(format!("more than {FILE_BYTES_MAX} bytes; up to {FILE_BYTES_MAX} are allowed"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = line_at(error.as_bytes(), error.utf8_error().valid_up_to());
        format!("line {line}: bytes that are not UTF-8")
    })
}

/// A fault and its line, counted from 1.
type Fault = (usize, String);

/// The settings of a text in the order of its lines, and what is wrong with it.
fn entries(text: &str, flags: &clap::Command) -> (Vec<Entry>, Vec<Fault>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut faults: Vec<Fault> = errors
        .iter()
        .map(|error| {
            let at = error.span().map_or(0, |span| span.start);
            (line_at(text.as_bytes(), at), error.message().lines().collect::<Vec<_>>().join(", "))
        })
        .collect();
    if !faults.is_empty() {
        // What was made of the rest is a guess.
        faults.truncate(1);
        return (Vec::new(), faults);
    }
    let mut entries = Vec::new();
    let mut pairs: Vec<_> = table.get_ref().iter().collect();
    pairs.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in pairs {
        let line = line_at(text.as_bytes(), key.span().start);
        match entry(key.get_ref(), value.get_ref(), flags) {
            Ok(values) => entries.push(Entry { name: key.get_ref().to_string(), values, line }),
            Err(_) if faults.len() == FAULTS_MAX => {
                faults.push((line, "more is wrong from here on".to_owned()));
                break;
            }
            Err(fault) => faults.push((line, shortened(&fault))),
        }
    }
    (entries, faults)
}

/// What was seen may be long.
fn shortened(fault: &str) -> String {
    match fault.char_indices().nth(FAULT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &fault[..end]),
        None => fault.to_owned(),
    }
}

/// The values of one setting, if the flag of its name would take them.
fn entry(name: &str, value: &DeValue<'_>, flags: &clap::Command) -> Result<Vec<String>, String> {
    let Some(flag) = settings(flags).find(|flag| flag.get_long() == Some(name)) else {
        return Err(unknown(name, value, flags));
    };
    let is_list = super::is_list(flag);
    let is_switch = flag.get_value_names().is_some_and(|names| names.iter().any(|name| name == "SWITCH"));
    let values: Vec<String> = match value {
        DeValue::Array(items) if is_list => {
            items.iter().map(|item| scalar(name, item.get_ref(), is_switch)).collect::<Result<_, _>>()?
        }
        one => vec![scalar(name, one, is_switch)?],
    };
    let arguments = values.iter().map(|value| format!("--{name}={value}"));
    let checked = flags.clone().try_get_matches_from(std::iter::once("fanfare".to_owned()).chain(arguments));
    match checked {
        Ok(_) => Ok(values),
        Err(error) => Err(one_line(&error).trim_start_matches("error: ").to_owned()),
    }
}

fn scalar(name: &str, value: &DeValue<'_>, is_switch: bool) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => Ok(number.to_string()),
        DeValue::Float(number) => Ok(number.to_string()),
        DeValue::Boolean(is_on) if is_switch => Ok(if *is_on { "on" } else { "off" }.to_owned()),
        DeValue::Boolean(is_true) => Ok(is_true.to_string()),
        DeValue::Array(_) => Err(format!("{name} is a list; one value is expected")),
        DeValue::Datetime(_) => Err(format!("{name} is a date; a string or a number is expected")),
        DeValue::Table(_) => Err(format!("{name} is a table; a string or a number is expected")),
    }
}

fn unknown(name: &str, value: &DeValue<'_>, flags: &clap::Command) -> String {
    let shown = name.escape_debug();
    if value.as_table().is_some() {
        return format!("unknown section {shown}; the file has none, only NAME = VALUE");
    }
    if name == "config" {
        return "a file cannot name another".to_owned();
    }
    match nearest(name, settings(flags).filter_map(clap::Arg::get_long)) {
        Some(nearest) => format!("unknown key {shown}; the nearest is {nearest}"),
        None => format!("unknown key {shown}; `fanfare example` prints all"),
    }
}

/// What a file cannot say.
const NO_SETTINGS: [&str; 4] = ["help", "version", "config", "quiet"];

/// The flags that are settings.
pub fn settings(flags: &clap::Command) -> impl Iterator<Item = &clap::Arg> {
    flags.get_arguments().filter(|flag| !NO_SETTINGS.contains(&flag.get_id().as_str()))
}

/// The flags of the settings that a running server does not take up, in the order of the configuration.
pub fn at_start_only() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().filter(|setting| setting.needs_restart()).map(|setting| setting.flag)
}

/// What of `names` is most like `name`, if anything is.
pub fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let name = name.to_lowercase().replace('_', "-");
    let likeness = |other: &str| strsim::jaro(&name, other);
    let likely = names.map(|other| (likeness(other), other)).filter(|(likeness, _)| *likeness > LIKENESS_MIN);
    likely.max_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, name)| name)
}

/// The line of the byte `at`, counted from 1.
fn line_at(text: &[u8], at: usize) -> usize {
    1 + text.iter().take(at).filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::Cli;
    use super::*;

    fn read_text(text: &str) -> (Vec<Entry>, Vec<Fault>) {
        entries(text, &super::super::loader::without_variables(Cli::command(), |_| true))
    }

    #[test]
    fn keys_are_the_names_of_flags_and_values_what_stands_behind_them() {
        let (entries, faults) = read_text(
            "# a comment\nmax-message = \"2MiB\"\nmax-fragments = 1_000\nlisten = ['127.0.0.1:0', \"unix:/a b\"]\n\
             member-publish = false\nallow-origin = \"*\"\nexempt-network = []\nmax-head = 65536\n",
        );
        assert_eq!(faults, []);
        let found: Vec<(&str, Vec<&str>, usize)> = entries
            .iter()
            .map(|entry| (&*entry.name, entry.values.iter().map(String::as_str).collect(), entry.line))
            .collect();
        assert_eq!(
            found,
            [
                ("max-message", vec!["2MiB"], 2),
                ("max-fragments", vec!["1000"], 3),
                ("listen", vec!["127.0.0.1:0", "unix:/a b"], 4),
                ("member-publish", vec!["off"], 5),
                ("allow-origin", vec!["*"], 6),
                ("exempt-network", vec![], 7),
                ("max-head", vec!["65536"], 8),
            ]
        );
    }

    #[test]
    fn every_fault_has_its_line_what_was_seen_and_what_is_expected() {
        for (text, line, parts) in [
            ("\nmax_message = 1", 2, &["unknown key max_message", "the nearest is max-message"][..]),
            ("max-mesage = 1", 1, &["max-mesage", "the nearest is max-message"]),
            ("quux = 1", 1, &["unknown key quux", "`fanfare example`"]),
            ("config = 'other.toml'", 1, &["a file cannot name another"]),
            ("help = true", 1, &["unknown key help"]),
            ("drain = '1s'\n[limits]\nmax-message = 1", 2, &["unknown section limits", "NAME = VALUE"]),
            ("max-message = 'lots'", 1, &["'lots'", "--max-message", "64KiB"]),
            ("drain = 5", 1, &["'5'", "--drain", "30s"]),
            ("max-fragments = 1.5", 1, &["'1.5'", "--max-fragments", "whole number"]),
            ("max-fragments = -1", 1, &["'-1'", "--max-fragments", "whole number"]),
            ("max-message = true", 1, &["'true'", "--max-message"]),
            ("log = ['info']", 1, &["log is a list", "one value"]),
            ("drain = 1979-05-27", 1, &["drain is a date"]),
            ("drain = { seconds = 1 }", 1, &["drain is a table"]),
            ("listen = [['127.0.0.1:1']]", 1, &["listen is a list"]),
            ("listen = ['127.0.0.1:1',\n  'nowhere']", 1, &["'nowhere'", "--listen", "IP:PORT"]),
            ("drain = '1s'\n\ndrain = '2s'", 3, &["duplicate key"]),
            ("drain = ", 1, &[]),
            ("drain", 1, &[]),
            ("= 1", 1, &[]),
        ] {
            let (_, faults) = read_text(text);
            let [(seen, fault)] = &faults[..] else { panic!("{text}: {faults:?}") };
            assert_eq!(*seen, line, "{text}: {fault}");
            assert!(!fault.contains('\n') && !fault.is_empty(), "{text}: {fault}");
            for part in parts {
                assert!(fault.contains(part), "{text}: {fault} lacks {part}");
            }
        }
    }

    #[test]
    fn twenty_faults_are_told_and_whether_there_are_more() {
        for (wrong, told) in [(19, 19), (20, 20), (21, 21), (1000, 21)] {
            let text: String = (0..wrong).map(|number| format!("key-{number} = 1\n")).collect();
            let (_, faults) = read_text(&text);
            assert_eq!(faults.len(), told, "{wrong}");
            let (line, last) = &faults[told - 1];
            assert_eq!(*line, told);
            assert_eq!(last.starts_with("unknown key"), told <= FAULTS_MAX, "{last}");
        }
    }

    #[test]
    fn what_was_seen_is_not_shown_without_end() {
        let (_, faults) = read_text(&format!("drain = '{}'", "é".repeat(1000)));
        let [(1, fault)] = &faults[..] else { panic!("{faults:?}") };
        assert_eq!(fault.chars().count(), FAULT_CHARS_MAX + 1);
        assert!(fault.starts_with("invalid value 'é") && fault.ends_with('…'));
    }

    #[test]
    fn all_faults_are_told_at_once_in_the_order_of_their_lines() {
        let (entries, faults) = read_text("workers = 'x'\ndrain = '1s'\ncolour = 1\nadd = 2\n");
        assert_eq!(faults.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 3, 4]);
        assert_eq!(entries.len(), 1);
    }
}
