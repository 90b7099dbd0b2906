//! The example file, the manual and the completions are made of the flags, so they have every one of them.

use std::io::Write;
use std::process::{Command, Stdio};

use fanfare::config::SETTINGS;

use crate::{Scratch, command, listed, printed};

const EXAMPLE: &str = include_str!("../../deploy/fanfare.toml");

/// The flags of the help, without dashes.
fn flags() -> Vec<String> {
    let help = printed(command(&["--help"]));
    let flags = help.lines().filter_map(|line| line.trim_start().strip_prefix("--"));
    let names = flags.map(|line| line.split([' ', '=']).next().unwrap_or_default().to_owned());
    let names: Vec<String> = names.filter(|name| !["help", "version"].contains(&name.as_str())).collect();
    assert!(names.len() > 40, "{names:?}");
    names
}

fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

#[test]
fn the_example_is_what_the_flags_make_of_it() {
    let now = printed(command(&["example"]));
    assert!(now == EXAMPLE, "deploy/fanfare.toml is not what `fanfare example` prints; print it there again");
}

#[test]
fn the_example_as_it_is_changes_nothing_and_uncommented_it_says_the_defaults() {
    let scratch = Scratch::new("example");
    let plain = printed(command(&["check"]));
    let file = scratch.file("as-it-is.toml", EXAMPLE);
    assert_eq!(printed(command(&["check", "--config", &file])), plain);

    // A setting is a # and no space.
    let is_setting = |line: &&str| line.starts_with('#') && !line.starts_with("# ") && line.contains(" = ");
    let settings: Vec<&str> = EXAMPLE.lines().filter(is_setting).map(|line| &line[1..]).collect();
    let mut names: Vec<&str> = settings.iter().filter_map(|line| Some(line.split_once(" = ")?.0)).collect();
    names.sort_unstable();
    let mut expected = flags();
    expected.retain(|flag| flag != "config");
    expected.sort_unstable();
    assert_eq!(names, expected);

    // The keys of the example are a credential, which is there only in a service.
    scratch.file("api-keys", "a-key-of-the-example\n");
    let file = scratch.file("uncommented.toml", settings.join("\n"));
    let mut check = command(&["check", "--config", &file]);
    check.env("CREDENTIALS_DIRECTORY", &scratch.0);
    let ended = crate::run(check);
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    let mut constants = 0;
    for name in names {
        let marked = ["#", ""].map(|mark| format!("{mark}{name}"));
        let is_set = plain.lines().any(|line| line.starts_with(&format!("{} = ", marked[1])));
        if is_set && listed(&plain, name).1 == "default" {
            let is_example = EXAMPLE.contains(&format!("for example:\n#{name} = "));
            assert!(is_example || listed(&ended.stdout, name).0 == listed(&plain, name).0, "{name}");
            constants += usize::from(!is_example);
        }
    }
    assert!(constants > 30, "{constants}");
}

#[test]
fn what_needs_a_restart_is_marked_in_the_example_and_named_in_the_manual() {
    let page = printed(command(&["man"])).replace("\\-", "-");
    let (_, named) = page.split_once("A restart is needed for ").expect("it is named");
    let named = named.split('.').next().expect("an end").split_whitespace().collect::<Vec<_>>().join(" ");
    let mut expected: Vec<String> = SETTINGS
        .iter()
        .filter(|setting| setting.needs_restart())
        .map(|setting| setting.flag.to_owned())
        .collect();
    assert_eq!(named, expected.join(", "));
    let (mut marked, mut is_marked) = (Vec::new(), false);
    for line in EXAMPLE.lines() {
        if line.starts_with('#') && !line.starts_with("# ") && is_marked {
            let name = line[1..].split_once(" = ").expect("a setting").0;
            marked.push(format!("--{name}"));
            is_marked = false;
        }
        is_marked |= line == "# Needs a restart.";
    }
    expected.sort_unstable();
    marked.sort_unstable();
    assert_eq!(marked, expected);
}

#[test]
fn the_manual_has_every_flag_variable_and_command() {
    let page = printed(command(&["man"])).replace("\\-", "-");
    for flag in flags() {
        let variable = format!("FANFARE_{}", flag.to_uppercase().replace('-', "_"));
        assert!(page.contains(&format!("--{flag}")) && page.contains(&variable), "{flag}");
    }
    for part in
        [".TH fanfare 1", "SYNOPSIS", "CONFIGURATION FILE", "SIGNALS", "fanfare-check(1)", "fanfare-load(1)"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    for (arguments, part) in [
        (&["man", "load"][..], "fanfare-load-echo(1)"),
        (&["man", "load", "echo"], "--in-flight"),
        (&["man", "check"], "--max-message"),
        (&["man", "example"], "fanfare-example"),
    ] {
        let page = printed(command(arguments)).replace("\\-", "-");
        assert!(page.contains(part), "{arguments:?} lacks {part}: {page}");
    }
}

#[test]
fn groff_sets_the_manual_without_a_warning() {
    if !is_installed("groff") {
        println!("skipped: needs groff");
        return;
    }
    for arguments in [&["man"][..], &["man", "check"], &["man", "load"], &["man", "load", "stalled"]] {
        let page = printed(command(arguments));
        let mut groff = Command::new("groff");
        groff
            .args(["-man", "-ww", "-Tutf8"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = groff.spawn().expect("groff runs");
        let mut stdin = child.stdin.take().expect("a pipe");
        let writer = std::thread::spawn(move || stdin.write_all(page.as_bytes()));
        let output = child.wait_with_output().expect("groff ends");
        writer.join().expect("no panic").expect("all is written");
        let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && complaints.is_empty(), "{arguments:?}: {complaints}");
        assert!(output.stdout.len() > 500, "{arguments:?}");
    }
}

#[test]
fn completions_have_every_flag() {
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(command(&["completions", shell]));
        for flag in flags() {
            let shown = if shell == "fish" { format!("-l {flag}") } else { format!("--{flag}") };
            assert!(script.contains(&shown), "{shell} {flag}");
        }
    }
}

#[test]
fn bash_completes_flags_and_commands() {
    if !is_installed("bash") {
        println!("skipped: needs bash");
        return;
    }
    let scratch = Scratch::new("completions");
    let script = scratch.file("fanfare.bash", printed(command(&["completions", "bash"])));
    for (words, expected) in [
        ("fanfare --max-m", "--max-message --max-memberships"),
        ("fanfare che", "check"),
        ("fanfare completions z", "zsh"),
        ("fanfare check --drai", "--drain"),
    ] {
        let ask = format!(
            "source '{script}'; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _fanfare fanfare \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; echo \"${{COMPREPLY[*]}}\""
        );
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", &ask]);
        assert_eq!(printed(bash).trim(), expected, "{words}");
    }
}

#[test]
fn other_shells_take_their_completions() {
    let scratch = Scratch::new("shells");
    for shell in ["zsh", "fish"] {
        if !is_installed(shell) {
            println!("skipped: needs {shell}");
            continue;
        }
        let script = scratch.file(shell, printed(command(&["completions", shell])));
        let mut check = Command::new(shell);
        check.args(["-n", &script]);
        assert_eq!(printed(check), "");
    }
}
