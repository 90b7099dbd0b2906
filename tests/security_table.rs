//! `SECURITY.md` names tests, flags, commands and defaults; here it is held to them, so that it cannot drift.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../SECURITY.md");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What stands between backticks, on one line each.
fn quoted(text: &str) -> Vec<&str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// The tests that are named: a file and a function.
fn tests(text: &str) -> Vec<(&str, &str)> {
    quoted(text)
        .into_iter()
        .filter_map(|name| name.split_once("::"))
        .filter(|(file, _)| file.ends_with(".rs"))
        .collect()
}

/// The names of all test functions in a source, proptests too.
fn test_functions(source: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if line == "#[test]" {
            is_test = true;
        } else if is_test && let Some(name) = line.strip_prefix("fn ") {
            found.insert(name.split(['(', '<']).next().unwrap_or_default());
            is_test = false;
        } else if !line.starts_with("#[") && !line.starts_with("//") {
            is_test = false;
        }
    }
    found
}

fn missing_tests(text: &str) -> Vec<String> {
    let exists = |(file, name): &(&str, &str)| {
        fs::read_to_string(root().join(file)).is_ok_and(|source| test_functions(&source).contains(name))
    };
    let missing = tests(text).into_iter().filter(|test| !exists(test));
    missing.map(|(file, name)| format!("{file}::{name}")).collect()
}

/// The long names of the flags in the definition of the command line.
fn flags() -> BTreeSet<String> {
    let source = fs::read_to_string(root().join("src/cli/mod.rs")).unwrap();
    let fields = source.lines().filter_map(|line| line.trim().strip_prefix("pub "));
    let names = fields.filter_map(|field| field.split_once(": ")).filter(|(name, _)| !name.contains(' '));
    names.map(|(name, _)| format!("--{}", name.replace('_', "-"))).collect()
}

fn unknown_flags(text: &str) -> Vec<String> {
    let known = flags();
    let named = quoted(text).into_iter().filter(|name| name.starts_with("--"));
    named
        .map(|name| name.split(' ').next().unwrap_or_default().to_owned())
        .filter(|name| !known.contains(name))
        .collect()
}

/// The targets of cargo commands that are not there.
fn unknown_targets(text: &str) -> Vec<String> {
    let mut unknown = Vec::new();
    for command in quoted(text).into_iter().filter(|name| name.starts_with("cargo ")) {
        let mut words = command.split(' ').peekable();
        while let Some(word) = words.next() {
            let folder = match word {
                "--test" => "tests",
                "--bench" => "benches",
                _ => continue,
            };
            let name = words.peek().copied().unwrap_or_default();
            let places = [format!("{folder}/{name}.rs"), format!("{folder}/{name}/main.rs")];
            if !places.iter().any(|place| root().join(place).is_file()) {
                unknown.push(command.to_owned());
            }
        }
    }
    unknown
}

#[test]
fn every_test_that_is_named_exists() {
    assert!(tests(PAGE).len() > 80);
    assert_eq!(missing_tests(PAGE), [""; 0]);
}

#[test]
fn every_flag_that_is_named_exists() {
    assert!(flags().contains("--max-message") && flags().contains("--ping-rate"), "{:?}", flags());
    assert_eq!(unknown_flags(PAGE), [""; 0]);
}

#[test]
fn every_command_that_is_named_has_its_target() {
    assert!(PAGE.contains("`cargo bench --bench threats`"));
    assert_eq!(unknown_targets(PAGE), [""; 0]);
}

#[test]
fn every_test_of_a_threat_is_named() {
    let mut files: Vec<PathBuf> =
        fs::read_dir(root().join("tests/threats")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let named: BTreeSet<(&str, &str)> = tests(PAGE).into_iter().collect();
    // They prove a tool of the tests, or the page's other table.
    let tools = ["versions_are_compared_as_numbers", "a_peer_that_has_said_nothing_owns_its_slot_alone"];
    let mut unnamed = Vec::new();
    for path in files {
        let file = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let source = fs::read_to_string(&path).unwrap();
        let functions = test_functions(&source);
        let missing = functions
            .into_iter()
            .filter(|name| !named.contains(&(file.as_str(), name)) && !tools.contains(name));
        unnamed.extend(missing.map(|name| format!("{file}::{name}")));
    }
    assert_eq!(unnamed, [""; 0]);
}

#[test]
fn the_rows_are_numbered_and_each_has_a_test() {
    let table = PAGE.split("## Threats and their tests").nth(1).expect("the table");
    let rows = table.lines().filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit());
    let rows: Vec<&str> = rows.collect();
    assert!(rows.len() >= 25, "{}", rows.len());
    for (number, row) in (1..).zip(rows) {
        assert!(row.starts_with(&format!("| {number}. ")), "row {number}: {row}");
        assert_eq!(row.matches(" | ").count(), 3, "row {number} has four columns: {row}");
        assert!(!tests(row).is_empty(), "row {number} has no test");
    }
}

#[test]
fn the_checks_see_what_is_not_there() {
    let page = "| `tests/tidy.rs::no_such_test` | `--no-such-flag` | `cargo test --test no_such_target` |";
    assert_eq!(missing_tests(page), ["tests/tidy.rs::no_such_test"]);
    assert_eq!(unknown_flags(page), ["--no-such-flag"]);
    assert_eq!(unknown_targets(page), ["cargo test --test no_such_target"]);
    assert_eq!(missing_tests("`tests/none.rs::a`"), ["tests/none.rs::a"]);
    assert_eq!(
        test_functions("#[test]\n#[cfg(a)]\nfn a() {\nfn b() {\n#[test]\n    fn c(x in 1..2) {"),
        BTreeSet::from(["a", "c"])
    );
}
