//! What is wrong is told in one line each: what was seen, what is allowed, where it stands.

use std::process::Command;

use crate::{Scratch, command, printed, run};

/// All ways to meet the settings, each with status 2, nothing on standard output and these lines.
#[track_caller]
fn check_refused(arguments: &[&str], variables: &[(&str, &str)], lines: &[&[&str]]) {
    for before in [&[][..], &["check"], &["check", "--quiet"]] {
        let mut command: Command = command(&[before, arguments].concat());
        command.envs(variables.iter().copied());
        let ended = run(command);
        assert_eq!((ended.status, ended.stdout.as_str()), (Some(2), ""), "{before:?} {}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), lines.len(), "{before:?} {}", ended.stderr);
        for (line, parts) in ended.stderr.lines().zip(lines) {
            assert!(line.starts_with("error: "), "{line}");
            for part in *parts {
                assert!(line.contains(part), "{line} lacks {part}");
            }
        }
    }
}

#[test]
fn all_faults_of_a_file_are_told_with_their_lines() {
    let scratch = Scratch::new("faults");
    let file = scratch.file("fanfare.toml", "max-mesage = 1\ndrain = 'soon'\n\n[limits]\nping-rate = 1\n");
    check_refused(
        &["--config", &file],
        &[],
        &[
            &[&file, "line 1", "unknown key max-mesage", "the nearest is max-message"],
            &[&file, "line 2", "'soon'", "--drain", "30s"],
            &[&file, "line 4", "unknown section limits"],
        ],
    );
    // What a flag overrides is checked all the same.
    let file = scratch.file("overridden.toml", "drain = 'soon'");
    check_refused(&["--config", &file, "--drain", "1s"], &[], &[&["line 1", "'soon'"]]);
}

#[test]
fn what_is_no_toml_is_told_with_its_line() {
    let scratch = Scratch::new("toml");
    for (text, line) in
        [("drain = '1s'\nworkers == 2\n", "line 2"), ("\n\ndrain = '1s", "line 3"), ("a\n", "line 1")]
    {
        let file = scratch.file("fanfare.toml", text);
        check_refused(&["--config", &file], &[], &[&["--config", &file, line]]);
    }
    let file = scratch.file("bytes.toml", b"drain = '1s'\n# \xff\n");
    check_refused(&["--config", &file], &[], &[&[&file, "line 2", "UTF-8"]]);
}

#[test]
fn a_value_out_of_range_is_told_with_its_place() {
    let scratch = Scratch::new("range");
    let file = scratch.file("fanfare.toml", "\nworkers = 257\n");
    check_refused(
        &["--config", &file],
        &[],
        &[&["--workers 257", "1 to 256", &format!("(from {file} line 2)")]],
    );
    check_refused(
        &[],
        &[("FANFARE_WORKERS", "0")],
        &[&["--workers 0", "1 to 256", "(from FANFARE_WORKERS)"]],
    );
    check_refused(&[], &[("FANFARE_DRAIN", "soon")], &[&["'soon'", "--drain", "(from FANFARE_DRAIN)"]]);
    // A good flag over it, and only what is in effect counts.
    let listing = printed(command(&["check", "--config", &file, "--workers", "256"]));
    assert!(listing.contains("workers = 256"), "{listing}");
    let ended = run(command(&["check", "--drain", "soon"]));
    assert!(!ended.stderr.contains("(from"), "{}", ended.stderr);
}

#[test]
fn what_cannot_be_read_is_told() {
    let scratch = Scratch::new("unreadable");
    let folder = scratch.0.to_str().expect("UTF-8").to_owned();
    let missing = format!("{folder}/missing.toml");
    check_refused(&["--config", &missing], &[], &[&["--config", &missing, "No such file"]]);
    check_refused(&["--config", &folder], &[], &[&["--config", &folder, "not a regular file"]]);
    check_refused(&["--config", "/dev/null"], &[], &[&["/dev/null", "not a regular file"]]);
}

#[test]
fn a_file_has_up_to_one_mebibyte() {
    let scratch = Scratch::new("size");
    for (bytes, is_fine) in [((1 << 20) - 1, true), (1 << 20, true), ((1 << 20) + 1, false)] {
        let mut text = "drain = '1s'\n#".to_owned();
        text += &"x".repeat(bytes - text.len());
        let file = scratch.file("fanfare.toml", &text);
        let ended = run(command(&["check", "--config", &file]));
        assert_eq!(ended.status == Some(0), is_fine, "{bytes}: {}", ended.stderr);
        assert_eq!(ended.stderr.contains("more than 1048576 bytes"), !is_fine, "{}", ended.stderr);
    }
}

#[test]
fn a_quiet_check_says_nothing_of_what_is_fine() {
    for quiet in ["--quiet", "-q"] {
        let mut check = command(&["check", "--workers", "2", quiet]);
        check.env("FANFARE_MAX_MESAGE", "1MiB");
        assert_eq!(printed(check), "");
    }
    let scratch = Scratch::new("quiet");
    let file = scratch.file("fanfare.toml", "quiet = true");
    check_refused(&["--config", &file], &[], &[&["unknown key quiet"]]);
}

#[test]
fn commands_say_what_they_take() {
    for (arguments, parts) in [
        (&["completions", "tcsh"][..], &["tcsh", "bash", "zsh", "fish"][..]),
        (&["completions"], &["SHELL"]),
        (&["man", "colour"], &["colour", "check", "load"]),
        (&["man", "load", "colour"], &["colour", "echo", "fanout"]),
        (&["example", "--workers", "1"], &["--workers"]),
        (&["check", "--colour"], &["--colour"]),
        (&["--workers", "1", "check"], &["check"]),
    ] {
        let ended = run(command(arguments));
        assert_eq!((ended.status, ended.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        for part in parts {
            assert!(ended.stderr.contains(part), "{} lacks {part}", ended.stderr);
        }
    }
}
