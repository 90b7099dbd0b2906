//! What `deploy/` hands to operators: units that systemd takes, with the sandbox that is promised, and advice for the
//! kernel that exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The exposure that `systemd-analyze security` may find, in tenths: with the listeners from systemd, and with its own.
const EXPOSURE_MAX: [(&str, u8); 2] = [("fanfare.service", 5), ("own-port/fanfare.service", 12)];

/// Keys that systemd has from 254 on, and earlier ones ignore with a word.
const NEWER_KEYS: [&str; 2] = ["RestartSteps", "RestartMaxDelaySec"];

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file)
}

fn read(file: &str) -> String {
    fs::read_to_string(deploy(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The settings of a unit, with their sections.
fn settings(file: &str) -> BTreeSet<String> {
    let text = read(file);
    let mut section = "";
    let mut found = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        if line.starts_with('[') {
            section = line;
        } else {
            found.insert(format!("{section} {line}"));
        }
    }
    found
}

/// Runs systemd-analyze, if there is one.
fn analyze(arguments: &[&str]) -> Option<Output> {
    match Command::new("systemd-analyze").args(arguments).output() {
        Ok(output) => Some(output),
        Err(_) => {
            println!("skipped: needs systemd-analyze");
            None
        }
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn the_sandbox_is_as_tight_as_promised() {
    for (unit, tenths) in EXPOSURE_MAX {
        let (threshold, path) = (format!("--threshold={tenths}"), deploy(unit));
        let path = path.to_str().expect("UTF-8");
        let Some(output) = analyze(&["security", "--offline=true", "--no-pager", &threshold, path]) else {
            return;
        };
        assert!(output.status.success(), "{unit}: {}", said(&output));
        // The threshold is one that can be missed.
        let output = analyze(&["security", "--offline=true", "--no-pager", "--threshold=1", path])
            .expect("it is there");
        assert!(!output.status.success(), "{unit}: {}", said(&output));
    }
}

#[test]
fn systemd_has_nothing_to_say_about_the_units() {
    let folder = std::env::temp_dir().join(format!("fanfare-units-{}", std::process::id()));
    for units in
        [&["fanfare.service", "fanfare.socket", "fanfare-admin.socket"][..], &["own-port/fanfare.service"]]
    {
        fs::create_dir(&folder).expect("a folder");
        let mut arguments = vec!["verify".to_owned(), "--man=no".to_owned()];
        for unit in units {
            // Where it will be installed there is nothing yet.
            let text = read(unit).replace("/usr/bin/fanfare", env!("CARGO_BIN_EXE_fanfare"));
            let path = folder.join(Path::new(unit).file_name().expect("a name"));
            fs::write(&path, text).expect("a copy");
            arguments.push(path.to_str().expect("UTF-8").to_owned());
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = analyze(&arguments);
        fs::remove_dir_all(&folder).expect("it is ours");
        let Some(output) = output else { return };
        let said = said(&output);
        let folder = folder.to_str().expect("UTF-8");
        let ours = said.lines().filter(|line| line.contains(folder) || line.contains("fanfare"));
        let complaints: Vec<&str> =
            ours.filter(|line| !NEWER_KEYS.iter().any(|key| line.contains(key))).collect();
        assert_eq!(complaints, [""; 0], "{units:?}");
    }
}

#[test]
fn the_services_start_with_settings_that_the_binary_takes_and_reload_the_same() {
    let credentials = std::env::temp_dir().join(format!("fanfare-credentials-{}", std::process::id()));
    for (unit, _) in EXPOSURE_MAX {
        let text = read(unit);
        let of = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).expect("the line is there");
        let start = of("ExecStart=/usr/bin/fanfare ");
        // What is checked before a reload has no credentials.
        let reload = format!(
            "{} --api-key-file credential:api-keys",
            of("ExecReload=/usr/bin/fanfare check --quiet ")
        );
        assert_eq!(reload, start, "{unit}");
        let config = deploy("fanfare.toml");
        let start = start.replace("/etc/fanfare/fanfare.toml", config.to_str().expect("UTF-8"));
        fs::create_dir(&credentials).expect("a folder");
        fs::write(credentials.join("api-keys"), "a-key-of-16-bytes-and-more").expect("a key");
        let mut check = Command::new(env!("CARGO_BIN_EXE_fanfare"));
        check.arg("check").args(start.split(' ')).env_clear().env("CREDENTIALS_DIRECTORY", &credentials);
        let output = check.output().expect("it runs");
        fs::remove_dir_all(&credentials).expect("it is ours");
        assert!(output.status.success(), "{unit}: {}", said(&output));
    }
}

#[test]
fn the_two_services_differ_in_where_they_listen_alone() {
    let [activated, own_port] = EXPOSURE_MAX.map(|(unit, _)| settings(unit));
    let only = |one: &BTreeSet<String>, other: &BTreeSet<String>| -> Vec<String> {
        let key = |setting: &String| setting.split('=').next().unwrap_or_default().to_owned();
        one.difference(other).map(key).collect()
    };
    let sockets =
        ["[Install] Also", "[Service] ExecReload", "[Service] ExecStart", "[Service] IPAddressDeny"];
    let sockets = [&sockets[..], &["[Service] PrivateNetwork", "[Service] RestrictAddressFamilies"]].concat();
    let sockets = [&sockets[..], &["[Unit] After", "[Unit] Requires"]].concat();
    assert_eq!(only(&activated, &own_port), sockets);
    let network = ["[Service] ExecReload", "[Service] ExecStart", "[Service] RestrictAddressFamilies"];
    let network = [&network[..], &["[Unit] After", "[Unit] Wants"]].concat();
    assert_eq!(only(&own_port, &activated), network);
}

#[test]
fn every_line_for_the_kernel_has_its_reason_and_is_one_that_the_kernel_knows() {
    let text = read("sysctl/fanfare.conf");
    let mut reasoned = false;
    let mut keys = 0;
    for line in text.lines() {
        let Some((key, value)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) else {
            reasoned = line.starts_with('#');
            continue;
        };
        assert!(reasoned, "{key} has no reason");
        assert!(!value.is_empty());
        reasoned = false;
        keys += 1;
        let place = Path::new("/proc/sys").join(key.trim_start_matches('-').replace('.', "/"));
        let family = place.parent().expect("a folder");
        // In a container some of them cannot be seen.
        let unseen = !family.exists() || key.starts_with('-') || key == "net.core.netdev_max_backlog";
        assert!(unseen || place.exists(), "{} is there", place.display());
    }
    assert!(keys > 5);
}
