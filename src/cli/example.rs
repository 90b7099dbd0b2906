//! The annotated configuration file, from the flags.

use clap::Command;

use super::check::quoted_value;
use super::file;

/// Columns of a comment.
const COLUMNS_MAX: usize = 100;

/// What stands there for the settings that have no value by default.
const EXAMPLES: &[(&str, &[&str])] = &[
    ("allow-origin", &["https://app.example"]),
    ("listen-proxy", &["127.0.0.1:9003"]),
    ("trusted-proxy", &["10.0.0.0/8"]),
    ("api-key-file", &["credential:api-keys"]),
    ("max-connections", &["10000"]),
    ("workers", &["2"]),
    ("lag-policy", &["disconnect", "ticker-*=latest"]),
    ("presence", &["full", "ticker-*=count"]),
];

const HEAD: &str = "\
# Every setting of fanfare, as `fanfare example` prints it. What is commented out is the default, or (where it
# says so) an example: take the # away and change it. A flag of the same name wins over FANFARE_NAME in the
# environment, and that over this file. Sizes are 65536, \"64KiB\" or \"1MiB\"; durations \"500ms\", \"30s\", \"5m\" or \"1h\".
#
# fanfare check --config FILE    says what is wrong, and where each value comes from
# systemctl reload fanfare       takes up all that does not say that it needs a restart
";

/// A file with every flag of `flags`, commented out.
pub fn example(flags: &Command) -> String {
    let mut text = HEAD.to_owned();
    let mut heading = None;
    for flag in file::settings(flags) {
        let name = flag.get_long().unwrap_or_default();
        if flag.get_help_heading() != heading {
            heading = flag.get_help_heading();
            text += &format!("\n\n## {}\n", heading.unwrap_or_default());
        }
        let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
        let defaults: Vec<String> =
            flag.get_default_values().iter().map(|value| value.display().to_string()).collect();
        let defaults: Vec<&str> =
            defaults.iter().flat_map(|value| split(value, super::is_list(flag))).collect();
        let given = EXAMPLES.iter().find(|(example, _)| *example == name).map(|(_, values)| *values);
        let is_example = defaults.is_empty();
        let values = if is_example { given.unwrap_or_default().to_vec() } else { defaults };
        text += "\n";
        let (help, default) = help.split_once(" [default: ").unwrap_or((&help, "not set"));
        text += &comment(help);
        if file::at_start_only().any(|flag| flag.strip_prefix("--") == Some(name)) {
            text += "# Needs a restart.\n";
        }
        if is_example {
            text += &format!("# By default {}; for example:\n", default.trim_end_matches(']'));
        }
        text += &format!("#{name} = {}\n", quoted_value(&values, super::is_list(flag)));
    }
    text
}

fn split(value: &str, is_list: bool) -> Vec<&str> {
    if is_list { value.split(',').collect() } else { vec![value] }
}

/// `text` as lines that begin with `# `.
fn comment(text: &str) -> String {
    let mut lines = vec![String::from("#")];
    for word in text.split_whitespace() {
        let is_full =
            lines.last().is_some_and(|line| line.len() > 1 && line.len() + 1 + word.len() > COLUMNS_MAX);
        if is_full {
            lines.push(String::from("#"));
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.join("\n") + "\n"
}
