//! Keys come from files and from credentials, and are shown nowhere.

use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use crate::support::Raw;
use crate::support::door::request;
use crate::support::running::Running;
use crate::{Scratch, command, listed, run};

const KEY: &str = "a-key-that-nobody-may-see";

fn private(path: &str) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("its mode");
}

/// Publishes with a key, or none.
fn publish(running: &Running, key: Option<&str>) -> u16 {
    let mut http = Raw::connect(running.address);
    let header = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
    http.send(&request("POST /rooms/r", &header, b"hello"));
    http.head().status
}

#[test]
fn a_credential_of_systemd_holds_the_keys() {
    let scratch = Scratch::new("credential");
    private(&scratch.file("api-keys", format!("{KEY}\n")));
    let config = scratch.file(
        "fanfare.toml",
        "api-key-file = 'credential:api-keys'\nlisten = '127.0.0.1:0'\nadmin = 'none'\n",
    );
    let mut serve = command(&["--config", &config, "--workers", "1"]);
    serve.env("CREDENTIALS_DIRECTORY", &scratch.0);
    let mut running = Running::spawn(serve);
    assert_eq!(publish(&running, None), 401);
    assert_eq!(publish(&running, Some("a-key-that-is-not-ours")), 401);
    assert_eq!(publish(&running, Some(KEY)), 200);
    // The process list has the name alone, and so has the log.
    let process = running.child.id();
    for file in ["cmdline", "environ"] {
        let shown = std::fs::read(format!("/proc/{process}/{file}")).expect("this process's own child");
        assert!(!String::from_utf8_lossy(&shown).contains(KEY), "{file}");
    }
    let start = std::mem::take(&mut running.start).concat();
    running.signal(Signal::TERM);
    let (status, log) = running.end();
    assert!(status.success() && !start.contains(KEY) && !log.contains(KEY), "{start}{log}");

    let mut check = command(&["check", "--config", &config]);
    check.env("CREDENTIALS_DIRECTORY", &scratch.0);
    let ended = run(check);
    assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(listed(&ended.stdout, "api-key-file").0, "\"credential:api-keys\"");
    assert!(!ended.stdout.contains(KEY));
}

#[test]
fn a_credential_that_is_not_there_is_told() {
    let scratch = Scratch::new("no-credential");
    let mut check = command(&["check", "--api-key-file", "credential:api-keys"]);
    check.env("CREDENTIALS_DIRECTORY", &scratch.0);
    let ended = run(check);
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(2), ""));
    for part in ["--api-key-file", "api-keys", "No such file"] {
        assert!(ended.stderr.contains(part), "{} lacks {part}", ended.stderr);
    }
}

#[test]
fn where_no_credentials_are_handed_over_a_check_notes_it_and_a_server_does_not_start() {
    let scratch = Scratch::new("unset-credential");
    let config =
        scratch.file("fanfare.toml", "api-key-file = 'credential:api-keys'\nlisten = '127.0.0.1:0'\n");
    let told = |ended: &str, begin: &str| {
        assert!(ended.starts_with(begin), "{ended}");
        for part in ["credential:api-keys", "CREDENTIALS_DIRECTORY", "LoadCredential=", "fanfare.toml line 1"]
        {
            assert!(ended.contains(part), "{ended} lacks {part}");
        }
    };
    let ended = run(command(&["check", "--config", &config]));
    assert_eq!(ended.status, Some(0));
    told(&ended.stderr, "note: --api-key-file ");
    assert_eq!(listed(&ended.stdout, "api-key-file").0, "\"credential:api-keys\"");
    // As in ExecReload=.
    let ended = run(command(&["check", "--quiet", "--config", &config]));
    assert_eq!((ended.status, ended.stdout.as_str(), ended.stderr.as_str()), (Some(0), "", ""));
    let ended = run(command(&["--config", &config]));
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(2), ""));
    told(&ended.stderr, "error: --api-key-file ");
}

#[test]
fn what_is_wrong_with_keys_is_told_without_them() {
    let scratch = Scratch::new("bad-keys");
    let keys = scratch.file("keys", format!("{KEY}\n{KEY}\n"));
    let ended = run(command(&["check", "--api-key-file", &keys]));
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(2), ""));
    assert!(ended.stderr.contains("line 2") && !ended.stderr.contains(KEY), "{}", ended.stderr);
}

#[test]
fn keys_that_everybody_may_read_are_noted() {
    let scratch = Scratch::new("open-keys");
    let keys = scratch.file("keys", format!("{KEY}\n"));
    for (mode, is_noted) in [(0o600, false), (0o640, false), (0o644, true)] {
        std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(mode)).expect("its mode");
        let ended = run(command(&["check", "--api-key-file", &keys]));
        assert_eq!(ended.status, Some(0));
        assert_eq!(ended.stderr.contains("chmod o="), is_noted, "{mode:o}: {}", ended.stderr);
    }
}
