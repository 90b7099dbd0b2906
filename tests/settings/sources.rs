//! Flags over environment over file over defaults.

use rustix::process::Signal;

use crate::support::Raw;
use crate::support::running::Running;
use crate::{Scratch, command, listed, printed};

#[test]
fn a_flag_wins_over_the_environment_that_over_the_file_and_that_over_the_default() {
    let scratch = Scratch::new("sources");
    let file = scratch.file(
        "fanfare.toml",
        "drain = '1s'\nclose-timeout = '1s'\n\npong-timeout = '1s'\nlag-policy = ['skip', 'a=latest']\n",
    );
    let mut check = command(&["check", "--config", &file, "--drain", "3s"]);
    check.env("FANFARE_DRAIN", "2s").env("FANFARE_CLOSE_TIMEOUT", "2s").env("FANFARE_PONG_TIMEOUT", "");
    let listing = printed(check);
    let file_line = |line: usize| format!("{file} line {line}");
    for (name, value, source) in [
        ("drain", "\"3s\"", "flag --drain".to_owned()),
        ("close-timeout", "\"2s\"", "environment FANFARE_CLOSE_TIMEOUT".to_owned()),
        ("pong-timeout", "\"1s\"", file_line(4)),
        ("lag-policy", "[\"skip\", \"a=latest\"]", file_line(5)),
        ("ping-interval", "\"30s\"", "default".to_owned()),
        ("max-fragments", "1024", "default".to_owned()),
        ("exempt-network", "[\"127.0.0.0/8\", \"::1/128\"]", "default".to_owned()),
        ("presence", "[]", "default: full".to_owned()),
    ] {
        assert_eq!(listed(&listing, name), (value, source.as_str()));
    }
}

#[test]
fn the_file_may_be_named_by_the_environment_and_a_flag_names_another() {
    let scratch = Scratch::new("named");
    let (one, two) = (scratch.file("one.toml", "drain = '1s'"), scratch.file("two.toml", "drain = '2s'"));
    let mut check = command(&["check"]);
    check.env("FANFARE_CONFIG", &one);
    assert_eq!(listed(&printed(check), "drain").0, "\"1s\"");
    let mut check = command(&["check", "--config", &two]);
    check.env("FANFARE_CONFIG", &one);
    assert_eq!(listed(&printed(check), "drain").0, "\"2s\"");
}

#[test]
fn lists_of_one_source_replace_those_of_the_next() {
    let scratch = Scratch::new("lists");
    let file = scratch.file("fanfare.toml", "listen = ['127.0.0.1:1', 'unix:/a']\nexempt-network = []\n");
    let listing = printed(command(&["check", "--config", &file]));
    assert_eq!(listed(&listing, "listen").0, "[\"127.0.0.1:1\", \"unix:/a\"]");
    assert_eq!(listed(&listing, "exempt-network").0, "[]");
    let listing = printed(command(&["check", "--config", &file, "--listen", "[::1]:2"]));
    assert_eq!(listed(&listing, "listen").0, "[\"[::1]:2\"]");
}

/// Names and values, without the sources.
fn values(listing: &str) -> Vec<&str> {
    listing.lines().map(|line| line.split_once(" # ").expect("a source").0.trim()).collect()
}

#[test]
fn what_check_prints_is_a_file_that_says_the_same() {
    let scratch = Scratch::new("again");
    let arguments = [
        "check",
        "--listen=unix:/a \"quoted\" \\ path",
        "--member-publish=off",
        "--max-message=65536",
        "--lag-policy=skip,b*=latest",
        "--allow-origin=*",
        "--workers=3",
    ];
    let first = printed(command(&arguments));
    let file = scratch.file("fanfare.toml", &first);
    let second = printed(command(&["check", "--config", &file]));
    assert_eq!(values(&second), values(&first));
    assert_eq!(
        listed(&second, "workers"),
        ("3", format!("{file} line {}", line_of(&first, "workers")).as_str())
    );
}

fn line_of(listing: &str, name: &str) -> usize {
    1 + listing.lines().position(|line| line.starts_with(name)).expect("it is there")
}

#[test]
fn what_is_not_set_is_shown_as_what_it_comes_to() {
    let listing = printed(command(&["check", "--pin", "off"]));
    for (name, words) in [
        ("#workers", "default: the cores this process may use"),
        ("#max-connections", "default: what the descriptor limit allows"),
    ] {
        let (value, source) = listed(&listing, name);
        assert!(value.parse::<usize>().is_ok_and(|number| number > 0), "{name} {value}");
        assert_eq!(source, words);
    }
    assert_eq!(listed(&listing, "#api-key-file").0, "");
}

#[test]
fn variables_that_are_no_settings_are_noted() {
    let mut check = command(&["check"]);
    check.env("FANFARE_MAX_MESAGE", "1MiB").env("FANFARE_PORT", "tcp").env("OTHER", "1");
    let ended = crate::run(check);
    assert_eq!(ended.status, Some(0));
    assert_eq!(ended.stderr.lines().count(), 2, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("FANFARE_MAX_MESAGE is no setting; the nearest is FANFARE_MAX_MESSAGE"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_server_does_what_its_file_says() {
    let scratch = Scratch::new("serves");
    let file = scratch.file(
        "fanfare.toml",
        "listen = '127.0.0.1:0'\nadmin = 'none'\nworkers = 1\npin = 'off'\nmax-message = 100\nmax-connections = 77\n",
    );
    let running = Running::spawn(command(&["--config", &file, "--max-connections", "78"]));
    let start = running.start.concat();
    for part in ["1 worker", "--pin off", "78 connections"] {
        assert!(start.contains(part), "{part}: {start}");
    }
    let mut client = Raw::open(running.address, "/echo");
    client.send(&[&[0x82, 0x80 | 101, 0, 0, 0, 0][..], &[7; 101]].concat());
    assert_eq!(client.expect_close().0, 1009);
    drop(client);
    running.signal(Signal::TERM);
    assert!(running.end().0.success());
}
